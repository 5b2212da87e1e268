"""What is asked before something is begun or ended: exactly what that would be, from what is known of the flow and its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from data_engine.cli.screen.cells import cut
from data_engine.cli.screen.state import Question, Said
from data_engine.counted import counted
from data_engine.flow.control import STOPS_AT
from data_engine.reasons.kinds import OwnOutput
from data_engine.typed import typed
from jupyter_extension.run_question import TO_RUN
from jupyter_extension.view import FlowRow, PanelView

if TYPE_CHECKING:
    from jupyter_extension.files import FilesView

_FEW, _LONGEST_NAME = 3, 40


def run_question(row: FlowRow, view: PanelView, entry: Mapping[str, Any], files: FilesView | None) -> Question | Said:
    """What a run by hand would be; or why there is nothing to run. `entry` is the flow as production runs it, `files` those of
    its source, None where it has none."""
    missing = [str(one["name"]) for one in entry.get("parameters") or () if not one["has_default"]]
    if missing:
        values = " ".join(f"--set {name}=..." for name in missing)
        return Said(f"{row.title} needs values that only you know: {typed('run', row.name)} {values}", "warn")
    runs = _runs(row, entry, files)
    if isinstance(runs, Said):
        return runs
    edit = []
    if row.edit:
        is_gone = row.deployment_kind == "gone"
        edit = [f"{row.deployment}." if is_gone else f"What is deployed runs, without your edit ({row.edit})."]
    text = " ".join([f"Run {row.title} now? {runs}", *edit, *_who_does_it(view)])
    return Question(text, "run", {"flow": row.name}, f"Asked to run {row.title}")


def retry_question(row: FlowRow, view: PanelView, files: FilesView) -> Question | Said:
    """Which held files would be tried again."""
    held = [one.name for one in files.files if one.retry is None]
    count = {group: number for group, _, number in files.groups}.get("held", 0)
    if not count:
        return Said(f"Nothing of {row.title} is held any more.")
    what = "the held file" if count == 1 else f"the {count:,} held files"
    text = " ".join([f"Try {what} of {row.title} again? {_named(held, count)}.", *_who_does_it(view)])
    return Question(text, "retry", {"flow": row.name}, f"Asked to try {row.title} again")


def stop_question(row: FlowRow, view: PanelView) -> Question:
    """Which runs would end, and that a flow that runs by itself is disabled for it."""
    running = [run for run in view.active if run.flow == row.name and run.in_daemon]
    what = "the run" if len(running) == 1 else f"the {len(running):,} runs"
    ends = "It ends at its" if len(running) == 1 else "They end at their"
    text = f"Stop {what} of {row.title}? {ends} {STOPS_AT}."
    if row.mode != "manual" and row.enabled:
        text += f" It runs by itself, so it is disabled until `{typed('enable', row.name)}`."
    return Question(text, "stop_run", {"flow": row.name}, f"Asked to stop {row.title}")


def _runs(row: FlowRow, entry: Mapping[str, Any], files: FilesView | None) -> str | Said:
    """How many runs it would be, over what."""
    if files is None:
        return "One run; it has no source files."
    counts = {group: number for group, _, number in files.groups}
    total = sum(counts.get(group, 0) for group in TO_RUN)
    if (entry.get("options") or {}).get("run_as") == "batch":
        return f"One run over its whole source, {counted(total, 'file')} now."
    if not total:
        where = f": {files.notes[0]}" if files.notes else ""
        return Said(f"{row.title} has no source file to run with{where}.", "warn")
    there = [one.name for one in files.files if one.read is None and (one.why or {}).get("kind") != OwnOutput.kind]
    if total == 1:
        return f"One run, for {_named(there, 1)}."
    done = ", also those that are done" if counts.get("done") else ""
    return f"{total:,} runs, one for each file of its source{done}: {_named(there, total)}."


def _named(names: list[str], total: int) -> str:
    """The first names, and how many more there are.

    Example:
        >>> _named(["a.csv", "b.csv", "c.csv", "d.csv"], 5), _named(["a.csv"], 1)
        ('a.csv, b.csv, c.csv and 2 more', 'a.csv')
    """
    shown = [cut(name, _LONGEST_NAME) for name in names[:_FEW]]
    more = total - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def _who_does_it(view: PanelView) -> list[str]:
    """Where it would run, when that is not the daemon of this machine that runs already."""
    if view.lease.kind in ("owned", "control_requested"):
        return [f"{view.lease_line}: it will be asked to do this."]
    return [] if view.daemon.kind == "running" else ["No daemon runs on this machine: one is started for it."]

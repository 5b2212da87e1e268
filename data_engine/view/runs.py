"""Runs: the list of them, one with its steps and log, and what differs between two."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from pathlib import Path
from typing import Annotated, Literal, TypeAlias
from urllib.parse import quote

from data_engine.display_hook import Listing
from data_engine.engine.kept_inputs import kept_facts
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line, day_time, duration_text, local_time, plural
from data_engine.ledger.logs import warned_text
from data_engine.ledger.run_warnings import runs_as_json
from data_engine.marks import Mark, mark_of
from data_engine.model import LogEntry, Run, StepRun
from data_engine.status.deployed_before import find_flow
from data_engine.status.run_comparison import Comparison
from data_engine.status.runs import (
    facts_of,
    find_runs,
    rejected_text,
    rows_text,
    slot_text,
    source_names,
    started,
    wanted_runs,
    with_slot_zones,
    with_text,
)
from data_engine.status.sentences import short_error
from data_engine.view.card import (
    Card,
    Cell,
    Code,
    Column,
    Faint,
    Lines,
    Link,
    Note,
    Pairs,
    Part,
    Picture,
    file_cell,
    run_id,
    table,
)
from data_engine.view.timeline import outcome_text, runs_picture, steps_picture
from data_engine.view.verb import Answer, Option, Place, Subject, said

_MOST_ERRORS = 3
MOST_RUNS = 20
"""How many runs are listed without `--limit`."""
_MOST_LINES = 100
"""Lines of a log that a cell shows."""

VARIABLES = "variables at the failing line"

RunStatus: TypeAlias = Literal["started", "success", "failed", "stopped", "killed", "abandoned"]
RunId = Annotated[str, Subject("RUN", "The run's id, or its first characters.", "run")]


def runs(
    place: Place,
    name: Annotated[str | None, Subject("NAME", "A flow, or a source file.", "flow or file")] = None,
    limit: Annotated[int | None, Option(f"How many, newest first; default {MOST_RUNS}.", "N", least=1)] = None,
    status: Annotated[RunStatus | None, Option("Only runs with this status: failed, success ...", "STATUS")] = None,
    since: Annotated[
        str | None,
        Option("Only runs that began on or after this day, month or time of this machine: 2013-03-01.", "D"),
    ] = None,
    until: Annotated[
        str | None, Option("Only runs that began before the end of this day or month of this machine.", "D")
    ] = None,
) -> Answer:
    """What ran on this machine, newest first; with a name only of that flow or source file."""
    home = place.workspace.home
    ledger = home.ledger()
    ledger.recover()
    page = find_runs(home, name, MOST_RUNS if limit is None else limit, wanted_runs(status, since, until))
    found = with_slot_zones(home, page.runs)
    notes = [words for words in [place.workspace.link.behind_text()] if words]
    if page.cut:
        options = {"--limit": page.total, "--status": status, "--since": since, "--until": until}
        words = [
            *filter(None, [name]),
            *(str(word) for pair in options.items() if pair[1] is not None for word in pair),
        ]
        notes.append(f"The newest {len(found):,} of {page.total:,} runs: `{cli_line('runs', *words)}` shows all.")
    return Answer(
        lambda: runs_card(found, now_s=time.time(), root=home.layout.root),
        lambda: runs_as_json(ledger, found),
        tuple(Note(Mark(words)) for words in notes),
        value=Listing(found),
    )


def runs_card(
    runs: Sequence[Run],
    *,
    now_s: float,
    zone: tzinfo | None = None,
    root: Path | None = None,
    has_errors: bool = False,
) -> Card:
    """Runs by time and as a table, in the order given; what failed with its whole error, folded.

    The errors of several runs are left out of a text, unless it `has_errors`. Runs from the future are in the table only. Of sources that share a name the path below the workspace's `root` is shown.
    """
    if not runs:
        return Card("No such runs on this machine.")
    names = source_names((run.source for run in runs if run.source is not None), root or Path("/"))
    rows = (
        (
            run_id(run.run_id),
            run.flow,
            slot_text(run, run.tz) if run.source is None else Code(names[run.source], run.source),
            mark_of(run.status),
            log_mark(run.warnings, rejected_text(run)),
            started(run) if run.from_the_future else day_time(run.started_at_utc),
            duration_text(run.elapsed_s),
            with_text(run),
            short_error(run.error or run.cause, run.why),
        )
        for run in runs
    )
    columns = (
        *(Column("Run", "id"), Column("Flow", "name"), Column("Source", "path"), "Status", "Log", "Started"),
        *(Column("Time", "number", is_spare=True), Column("Params", "name"), Column("Error", "name")),
    )
    timely = [run for run in runs if not run.from_the_future]
    parts: list[Part] = [Picture(runs_picture(timely, now_s=now_s, zone=zone))] if len(timely) > 1 else []
    parts.append(table(columns, rows, whole=f"`{cli_line('log')} RUN` shows all of a run."))
    return Card(plural(len(runs), "run"), (outcome_text(runs),), (*parts, *_errors(runs, has_errors)))


def _errors(runs: Sequence[Run], is_shown: bool) -> Iterator[Lines]:
    """The whole errors of the first that failed, folded where there are several runs."""
    for run in [run for run in runs if run.error and "\n" in run.error][:_MOST_ERRORS]:
        summary = f"error of run {run.run_id[:8]}" if len(runs) > 1 else ""
        yield Lines(tuple((run.error or "").splitlines()), summary, only_folded=len(runs) > 1 and not is_shown)


def log_mark(warnings: int | None, rejected: str) -> Cell:
    """The warnings of a run and its rejected rows; "" without any."""
    words = ", ".join(filter(None, [rejected, warned_text(warnings or 0)]))
    return Mark(words, "warn", "triangle") if words else ""


def log(
    place: Place,
    run_id: Annotated[
        str | None,
        Subject("RUN", "The run's id, or its first characters; by default the last run.", "run"),
    ] = None,
) -> Answer:
    """What one run did, printed and logged."""
    ws = place.workspace
    ws.home.ledger().recover()
    found = ws.runs(limit=1) if run_id is None else [ws.run_record(run_id)]
    if not found:
        fix = f"run a flow: {cli_line('run', 'NAME')}"
        raise FlowValidationError("there is no run yet", where=cli_line("log"), fix=fix)
    (run,) = with_slot_zones(ws.home, found)
    steps, lines = ws.steps(run.run_id), ws.log(run.run_id)
    texts = kept_facts(ws.home.local.replays_dir, run.run_id).locals if run.status == "failed" else {}
    return Answer(
        lambda: run_card(run, steps, lines, texts),
        lambda: {
            "run": runs_as_json(ws.home.ledger(), [run])[0],
            "steps": [step.as_dict() for step in steps],
            "log": [line.as_dict() for line in lines],
            **({"locals": dict(texts)} if texts else {}),
        },
        value=lines,
    )


def run_card(
    run: Run, steps: Sequence[StepRun], lines: Sequence[LogEntry], variables: Mapping[str, str] | None = None
) -> Card:
    """One run: how it ended, its facts, its steps, what it printed and logged, and the author's variables at the line that failed."""
    state = ", ".join(filter(None, [f"started {started(run)}", duration_text(run.elapsed_s)]))
    cause = f"{run.status} ({run.cause})" if run.cause else run.status
    mark = mark_of(run.status)
    facts: tuple[Cell, ...] = (
        *(Code(run.source or ""), Mark(cause, mark.tone, mark.shape), log_mark(run.warnings, ""), state),
    )
    pages = (("Report", _page_link(page.path)) for page in run.reports)
    parts: list[Part] = [Pairs((*facts_of(run, run.tz), *pages))]
    if run.error:
        parts.append(Lines(tuple(run.error.splitlines())))
    if variables:
        parts.append(Lines(tuple(f"{name} = {text}" for name, text in variables.items()), VARIABLES))
    if run.status == "failed" and any(step.status == "failed" for step in steps):
        parts.append(Note(Mark(f"`{cli_line('replay', run.run_id[:8])}` opens it with its data.")))
    if steps:
        parts.append(_steps_table(steps, has_errors=not run.error))
    if others := [line for line in lines if line.message != run.error]:
        parts.append(_log_table(others))
    return Card(f"run {run.run_id}  {run.flow}", facts, tuple(parts))


def _page_link(path: str) -> Cell:
    """The place of a report's page, which in a notebook leads to it: JupyterLab looks from the notebook's folder on."""
    try:
        return Link(path, quote(Path(os.path.relpath(path)).as_posix()))
    except ValueError:  # it lies on another drive
        return Code(path)


def steps_card(steps: Sequence[StepRun], *, now_s: float) -> Card:
    """The steps of one run by time, with their outputs and errors."""
    facts = (run_id(steps[0].run_id),) if steps else ()
    return Card(plural(len(steps), "step"), facts, (Picture(steps_picture(steps, now_s=now_s)), _steps_table(steps)))


def _steps_table(steps: Sequence[StepRun], *, has_errors: bool = True) -> Part:
    rows = (
        (
            mark_of(step.status),
            step.label,
            duration_text(step.elapsed_s),
            rows_text(step),
            file_cell(step.output_path),
            *([short_error(step.error, step.why)] if has_errors else []),
        )
        for step in steps
    )
    columns: list[str | Column] = ["Status", Column("Step", "name"), Column("Time", "number"), Column("Rows", "number")]
    columns += [Column("Output", "path"), *([Column("Error", "name")] if has_errors else [])]
    return table(columns, rows, most=len(steps))


def log_card(lines: Sequence[LogEntry]) -> Card:
    """What a run printed and logged; the last lines when there are many."""
    facts = (f"the last {_MOST_LINES}",) if len(lines) > _MOST_LINES else ()
    return Card(plural(len(lines), "log line"), facts, (_log_table(lines[-_MOST_LINES:]),))


def _log_table(lines: Sequence[LogEntry]) -> Part:
    rows = (
        (local_time(line.created_at_utc), Faint(line.step or ""), _level(line.level), Code(line.message))
        for line in lines
    )
    return table(("Time", "Step", "Level", Column("Message", "text")), rows, most=_MOST_LINES)


def _level(level: str) -> Cell:
    tones = {"WARNING": Mark("warning", "warn", "triangle"), "ERROR": Mark("error", "bad", "cross")}
    return tones.get(level, Faint(level.lower()))


def compare(
    place: Place,
    run_a: RunId,
    run_b: Annotated[str, Subject("RUN", "The run to compare it with.", "run")],
) -> Answer:
    """What differs between two runs, the most important first: code, params, metadata, inputs, environment, columns, rows, durations."""
    ws = place.workspace
    ws.home.ledger().recover()
    comparison = ws.compare(run_a, run_b)
    a, b = ws.run_record(run_a), ws.run_record(run_b)
    return Answer(lambda: comparison_card(comparison, (a, b)), comparison.as_dict, value=comparison)


def comparison_card(comparison: Comparison, runs: Sequence[Run] = ()) -> Card:
    """What differs between two runs; differences in code with their lines, folded."""
    parts: list[Part] = [
        Pairs(
            tuple(
                (
                    letter,
                    f"run {run.run_id[:8]}  {run.flow}  {run.status}, {started(run)}, {duration_text(run.elapsed_s)}",
                )
                for letter, run in zip("AB", runs, strict=False)
            )
        )
    ]
    lines = comparison.lines()
    if all(kind == "note" for kind, _ in lines):
        parts.append(Note(Mark("Nothing that was recorded differs.", "good", "disc")))
    if lines:
        rows = ((kind, Code(words.partition("\n")[0])) for kind, words in lines)
        parts.append(table(("What", Column("Difference", "text")), rows, most=100))
    parts += [Lines(part.lines, part.name) for part in comparison.code[:_MOST_ERRORS]]
    return Card(f"{comparison.flow}: {comparison.run_a[:8]} → {comparison.run_b[:8]}", (), tuple(parts))


def reset(
    place: Place,
    flow: Annotated[str | None, Subject("FLOW", "The flow whose history to forget.", "flow")] = None,
    every: Annotated[bool, Option("Every flow of the workspace.", flags=("--all",))] = False,
    yes: Annotated[bool, Option("Do not ask.")] = False,
) -> Answer:
    """Forget history, so that every source is due again. On this machine; no file is touched."""
    if (flow is None) == (not every):
        fix = f"{cli_line('reset')} FLOW, or {cli_line('reset', '--all')}"
        raise FlowValidationError("reset needs either a flow or --all", where=cli_line("reset"), fix=fix)
    ws = place.workspace
    if flow is not None and not ws.runs(flow, 1):
        find_flow(ws.home, flow)
    what = _history_of(flow)
    question = Card(f"Forget the history of {what} on this machine, so that every source is due again?")
    if not place.confirm(question, "reset forgets history", yes=yes):
        return said("Nothing was forgotten.", {"flow": flow, "runs": 0}, code=1)
    gone = ws.reset(flow)
    return said(forgot_text(flow, gone), {"flow": flow, "runs": gone})


def forgot_text(flow: str | None, count: int) -> str:
    """The sentence about history that was forgotten, of a flow or of all."""
    return f"Forgot {plural(count, 'run')} of {_history_of(flow)}; every source is due again."


def _history_of(flow: str | None) -> str:
    return "every flow" if flow is None else f'flow "{flow}"'

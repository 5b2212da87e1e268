"""What became of a flow's files before its code was deployed anew: those that count as done, and those that stay held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_engine.counted import counted
from data_engine.engine.gone_outputs import count_gone
from data_engine.engine.held_files import HeldFiles
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll
from data_engine.model import Deployment
from data_engine.notebook.catalog import CatalogEntry
from data_engine.scheduler.plan import PlannedFlow
from data_engine.typed import typed


@dataclass(frozen=True, slots=True)
class FilesBefore:
    """How many files of a flow were `done` before, so that it does not do them again, and how many are `held`, as their last run
    failed or was stopped."""

    done: int = 0
    held: int = 0


def files_before(
    home: LocalWorkspace, new: Sequence[Deployment], entries: Iterable[CatalogEntry]
) -> dict[str, FilesBefore]:
    """Of each flow that was deployed anew and has such files, how many; `entries` are the modules as they are deployed.

    Those that are gone do not count, where a look at all of them is soon over.
    """
    flows = {entry.name: entry.flow for entry in entries}
    found = {
        one: _of_flow(home, one, flows.get(one)) for one in sorted({one.flow for one in new if one.kind == "deploy"})
    }
    return {name: files for name, files in found.items() if files.done or files.held}


def _of_flow(home: LocalWorkspace, name: str, flow: Flow | None) -> FilesBefore:
    ledger = home.ledger()
    done = [key for key, one in ledger.source_states(name).items() if one.status == "success"]
    held = 0
    if flow is not None and isinstance(flow.trigger, Poll):
        watch = PlannedFlow.of(flow)
        done = [key for key in done if key == watch.key(key.path)]
        held = len(HeldFiles(ledger).of([watch]).get(name, ()))
    places = [home.layout.flow_modules_dir / Path(key.root).expanduser() / key.path for key in done]
    return FilesBefore(len(places) - count_gone(places), held)


def files_before_lines(
    found: Mapping[str, FilesBefore], *, disabled: Iterable[str] = (), is_engine_on: bool = True
) -> list[str]:
    """A line for each flow that has files which were done before, by code that may have been another, and one for its held files.

    Example:
        >>> files_before_lines({"claims": FilesBefore(done=1204)})
        ['not again     claims: 1,204 files were done before and count as done. To do them again: data-engine backfill claims --reprocess all']
        >>> files_before_lines({"claims": FilesBefore(held=1)})
        ['held          claims: 1 file is held, as its last run failed or was stopped. To try it again: data-engine retry claims']
        >>> files_before_lines({"claims": FilesBefore(held=2)}, is_engine_on=False)
        ['held          claims: 2 files are held, as their last run failed or was stopped. To try them again: data-engine start']
    """
    off = set(disabled)
    lines = []
    for flow, files in sorted(found.items()):
        if files.done:
            one = files.done == 1
            told = "1 file was done before and counts" if one else f"{files.done:,} files were done before and count"
            again = typed("backfill", flow, "--reprocess", "all")
            lines.append(f"not again     {flow}: {told} as done. To do {'it' if one else 'them'} again: {again}")
        if files.held:
            one = files.held == 1
            told = f"{counted(files.held, 'file is', 'files are')} held, as {'its' if one else 'their'} last run failed or was stopped"
            ways = [typed("enable", flow)] if flow in off else []
            ways.append(typed("retry", flow) if is_engine_on else typed("start"))
            lines.append(
                f"held          {flow}: {told}. To try {'it' if one else 'them'} again: {', then '.join(ways)}"
            )
    return lines

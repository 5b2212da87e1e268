"""What a person means who names a file: a flow of `flow_modules`, a notebook that is none and why, or a source of flows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from data_engine.engine.candidates import names_there
from data_engine.engine.reasons import NameFiltered, NotListed, NotThere, OwnOutput
from data_engine.engine.status import FlowFacts, WorkspaceFacts
from data_engine.errors import FlowValidationError
from data_engine.notebook.flow_files import SCRATCH_NAME
from data_engine.notebook.subfolders import how_to_be_a_flow
from data_engine.scheduler.plan import PlannedFlow, why_no_candidate, why_not_there
from data_engine.workspace.layout import WorkspaceLayout

_SUFFIXES = (".ipynb", ".py")


def flow_meant(known: WorkspaceFacts, subject: str, file: str) -> FlowFacts | None:
    """The flow that is called `subject`, or whose module is the file at `file`, or has that file name."""
    found = known.flow(subject)
    if found is not None:
        return found
    path = _module(known, subject, file)
    return None if path is None else known.flow(path.stem)


def why_no_flow(known: WorkspaceFacts, subject: str, file: str) -> FlowValidationError | None:
    """Why the file that is meant is no flow, though it lies in `flow_modules`; None where none is meant."""
    path = _module(known, subject, file)
    if path is None:
        return None
    fix = how_to_be_a_flow("it", is_scratch=SCRATCH_NAME.fullmatch(path.stem) is not None)
    return FlowValidationError(f"{path.name} is not a flow, so nothing runs it", where=str(path), fix=fix)


def flows_of_file(
    known: WorkspaceFacts, path: Path, *, named: str
) -> Iterator[tuple[FlowFacts, Path, str, NameFiltered | NotListed | OwnOutput | None]]:
    """The flows under whose source the file lies, with the file, its path inside, and why its name rules it out, if it does.

    A file at `path`, which is absolute, or one that is `named` by its path inside the source.
    """
    for flow in sorted(known.flows, key=lambda one: one.entry.name):
        watch = None if flow.entry.flow is None else PlannedFlow.of(flow.entry.flow)
        source = None if watch is None else watch.trigger.source
        if watch is None or source is None:
            continue
        found = path if path.is_relative_to(source) else Path(os.path.normpath(source / named))
        if found.is_relative_to(source) and (found == path or (found != source and found.exists())):
            inside = "" if found == source else found.relative_to(source).as_posix()
            yield flow, found, inside, why_no_candidate(watch, inside) if inside else None


def missing_file(flow: FlowFacts, root: Path, path: str) -> NotThere | None:
    """That there is no file at `path` inside the flow's folder `root`, with those of names like it; None where there is one, or no folder."""
    if flow.entry.flow is None or os.path.lexists(root / path) or not root.is_dir():
        return None
    return why_not_there(None, path, names_there(flow.entry.flow))


def _module(known: WorkspaceFacts, subject: str, file: str) -> Path | None:
    folder = WorkspaceLayout(Path(known.workspace_root)).flow_modules_dir
    named = [Path(file), folder / subject, *(folder / f"{subject}{suffix}" for suffix in _SUFFIXES)]
    for path in named:
        if path.suffix in _SUFFIXES and path.is_file() and path.parent.resolve() == folder.resolve():
            return path
    return None

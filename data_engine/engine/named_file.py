"""What a person means who names a file of `flow_modules`: a flow, or a notebook that is none and why."""

from __future__ import annotations

from pathlib import Path

from data_engine.engine.status import FlowFacts, WorkspaceFacts
from data_engine.errors import FlowValidationError
from data_engine.notebook.catalog import SCRATCH_NAME
from data_engine.notebook.subfolders import how_to_be_a_flow
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
    return FlowValidationError(f"{path.name} is no flow, so nothing runs it", where=str(path), fix=fix)


def _module(known: WorkspaceFacts, subject: str, file: str) -> Path | None:
    folder = WorkspaceLayout(Path(known.workspace_root)).flow_modules_dir
    named = [Path(file), folder / subject, *(folder / f"{subject}{suffix}" for suffix in _SUFFIXES)]
    for path in named:
        if path.suffix in _SUFFIXES and path.is_file() and path.parent.resolve() == folder.resolve():
            return path
    return None

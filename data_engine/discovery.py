"""Load the flows of a workspace by name, in a script or a notebook that needs nothing else of it."""

from __future__ import annotations

import os
import sys

from data_engine.argument_checks import checked
from data_engine.client import Workspace
from data_engine.verbs import Flow


@checked()
def load_flow(name: str, *, data_root: str | os.PathLike[str] | None = None) -> Flow:
    """The flow of the module `name` in the workspace at `data_root` (the current one without), executed afresh.

    Raises:
        FlowValidationError: no such module or workspace, or the module is broken.

    Example:
        >>> import tempfile
        >>> ws = Workspace.create(tempfile.mkdtemp())
        >>> flow = load_flow("example", data_root=ws.root)
        >>> flow.name, flow.mode, [context.error for context in flow.run_once()]
        ('example', 'manual', [None])
    """
    return _workspace(data_root).load_flow(name)


@checked()
def discover_flows(*, data_root: str | os.PathLike[str] | None = None) -> tuple[Flow, ...]:
    """The good flows of the workspace at `data_root` (the current one without), sorted by name.

    A broken module never hides the others: it is reported on standard error (`Workspace.catalog()` has the errors).

    Raises:
        FlowValidationError: no such workspace.

    Example:
        >>> import tempfile
        >>> ws = Workspace.create(tempfile.mkdtemp())
        >>> [flow.title for flow in discover_flows(data_root=ws.root)]
        ['Example']
    """
    entries = _workspace(data_root).catalog()
    for entry in entries:
        if entry.error is not None:
            print(f"flow module {entry.path.name} is broken: {entry.error}", file=sys.stderr)
    return tuple(Flow.of(entry.flow) for entry in entries if entry.flow is not None)


def _workspace(data_root: str | os.PathLike[str] | None) -> Workspace:
    return Workspace.current() if data_root is None else Workspace(data_root)

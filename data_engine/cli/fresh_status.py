"""The status as it is now, also where a notebook went away since the daemon last looked."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from data_engine.errors import FlowValidationError

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.status.record import WorkspaceStatus

_LOOK_S = 2.0
"""A daemon looks by itself about as often."""


def fresh_status(ws: Workspace) -> WorkspaceStatus:
    """The status. A daemon looks at once where the module of a deployed flow is not in flow_modules any more and it does not say so."""
    found = ws.status()
    if not found.daemon.answers or found.engine.starting or not _is_any_missing(found, ws):
        return found
    with suppress(FlowValidationError):
        ws.link.ask(lambda daemon: daemon.post("/look", timeout_s=_LOOK_S), otherwise=dict)
        return ws.status()
    return found


def _is_any_missing(found: WorkspaceStatus, ws: Workspace) -> bool:
    try:
        there = {os.path.splitext(name)[0] for name in os.listdir(ws.layout.flow_modules_dir)}
    except OSError:
        return False
    return any(flow.name not in there for flow in found.flows if flow.standing.kind in ("as_deployed", "edited"))

"""What the tests of the whole daemon share."""

from __future__ import annotations

from typing import Any

from data_engine import Workspace
from data_engine.model import Run


def ended(workspace: Workspace, flow: str, count: int) -> list[Run]:
    """The flow's runs that have ended, newest first, once there are so many."""
    runs = [run for run in workspace.runs(flow) if run.status != "started"]
    return runs if len(runs) >= count else []


def flow_of(workspace: Workspace, name: str) -> dict[str, Any]:
    """What the status says of the flow."""
    return next(flow for flow in workspace.status()["flows"] if flow["name"] == name)

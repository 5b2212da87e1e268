"""What the tests of the whole daemon share."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from data_engine import Workspace
from data_engine.model import Run
from tests.support import PATIENCE


def until(question: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """The first answer that is true."""
    deadline_s = time.monotonic() + timeout_s * PATIENCE
    while time.monotonic() < deadline_s:
        answer = question()
        if answer:
            return answer
        time.sleep(0.02)
    raise AssertionError(f"never: {question()!r}")


def ended(workspace: Workspace, flow: str, count: int) -> list[Run]:
    """The flow's runs that have ended, newest first, once there are so many."""
    runs = [run for run in workspace.runs(flow) if run.status != "started"]
    return runs if len(runs) >= count else []


def flow_of(workspace: Workspace, name: str) -> dict[str, Any]:
    """What the status says of the flow."""
    return next(flow for flow in workspace.status()["flows"] if flow["name"] == name)

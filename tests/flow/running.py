"""Running a flow's steps by hand, without the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_engine.cause import Cause
from data_engine.errors import FlowValidationError
from data_engine.flow.context import FlowContext
from data_engine.flow.control import RunInterrupted, StepControl
from data_engine.flow.flow import Flow
from data_engine.flow.steps import run_steps
from data_engine.model import Event


def run(flow: Flow, **context: Any) -> FlowContext:
    """The context after all steps."""
    return events_of(flow, **context)[0]


def events_of(flow: Flow, *, control: StepControl | None = None, **context: Any) -> tuple[FlowContext, list[Event]]:
    """The context after all steps, and the events, those from inside the steps in their place."""
    seen: list[Event] = []
    control = control or StepControl(run_id="r1")
    control.emit = seen.append
    made = FlowContext(flow_name=flow.name or "", group=flow.group, **context)
    for event in run_steps(flow, made, control=control):
        seen.append(event)
    return made, seen


def current(flow: Flow, **context: Any) -> Any:
    """What the last step returned."""
    return run(flow, **context).current


def failing(call: Callable[[], object]) -> FlowValidationError:
    """The error `call` raises; it has a fix and names a place, as every error of an author's call."""
    with pytest.raises(FlowValidationError) as caught:
        call()
    assert caught.value.fix, f"no fix: {caught.value}"
    assert caught.value.where, f"no place: {caught.value}"
    return caught.value


def stop_after(calls: int) -> Callable[[], None]:
    """A permission that is withdrawn after so many questions."""
    left = [calls]

    def may_work() -> None:
        if left[0] == 0:
            raise RunInterrupted("stopped", Cause("stop_requested"))
        left[0] -= 1

    return may_work


def files_in(folder: Path, *names: str) -> Path:
    """`folder` with these (empty) files."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    folder.mkdir(parents=True, exist_ok=True)
    return folder

"""The step loop: a run as a stream of events."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import GeneratorType
from typing import Any, NamedTuple

from data_engine.errors import FeedChangedError, FlowExecutionError, FlowValidationError, message_of
from data_engine.flow.batch import Batch, FileRef, rows_of
from data_engine.flow.context import FlowContext
from data_engine.flow.control import ItemFailed, StepControl, ends_run
from data_engine.flow.flow import Flow
from data_engine.flow.hints import StepFailure, fix_for, plain_text
from data_engine.flow.locations import IN_PLACE
from data_engine.flow.noted import seeded_of
from data_engine.flow.report import Report
from data_engine.flow.spec import StepSpec
from data_engine.formatting import beginning
from data_engine.model import Event, StepFinished, StepStarted
from data_engine.suggestions import near_offer


class Earlier(NamedTuple):
    """The steps before a flow that is a part of a longer one: the one whose result its first step gets, and the names that
    earlier steps saved, with their labels."""

    before: StepSpec | None = None
    saved: Mapping[str, str] = {}

    @classmethod
    def of(cls, whole: Flow, before: int | None, saved: Mapping[str, int]) -> Earlier:
        """The same from the numbers of steps of the longer flow."""
        step = None if before is None else whole.steps[before]
        return cls(step, {name: whole.steps[at].label for name, at in saved.items()})


NOTHING_EARLIER = Earlier()


def run_steps(
    flow: Flow,
    context: FlowContext,
    *,
    control: StepControl,
    stop: int | None = None,
    earlier: Earlier = NOTHING_EARLIER,
    check: Callable[[StepSpec], None] | None = None,
    is_told: bool = True,
) -> Iterator[Event]:
    """Run the flow's first `stop` steps (all by default) on `context`, yielding its events, or none without `is_told`.

    What happens inside a step (log lines, progress) goes to `control.emit` as it happens; `earlier` are the steps
    before, where the flow is a part of a longer one. `check` is called after each step that has returned, and may raise.

    Raises:
        FlowExecutionError: a step raised; the exception is its cause.
        FlowValidationError: a step uses an object no earlier step saved.
        FlowStoppedError: a step asked for a stop.
        RunInterrupted: `control.may_work` ended the run.
    """
    context.control = control
    may_work, run_id = control.may_work, control.run_id
    clock = time.perf_counter
    rows_in = rows_out = None
    check_metadata = seeded_of(context)
    index = -1
    for step in flow.steps[:stop]:
        index += 1
        may_work()
        control.index = index
        control.label = label = step.label
        use = step.use
        if use is not None and use != "current":
            if use not in context.objects:
                raise _missing_object(step, context.objects)
            context.current = context.objects[use]
        used_up = None
        if type(context.current) is GeneratorType:
            used_up = _used_up(step, context.current)
        started_s = clock()
        if is_told:
            rows_in = rows_of(context.current)
            yield StepStarted(run_id, index, label, time.time())
            started_s = clock()
        if used_up is not None:
            context.log(used_up, level="WARNING")
        try:
            result = step.fn(context)
            check_metadata()
        except BaseException as error:
            elapsed_s = clock() - started_s
            savers = {**earlier.saved, **{saver.save_as: saver.label for saver in flow.steps[:index] if saver.save_as}}
            raised, status = step_error(flow, step, context, error, earlier.before, savers, used_up)
            yield StepFinished(run_id, index, label, status, time.time(), elapsed_s, str(raised), (), rows_in)
            if raised is error:
                raise
            raise raised from raised.__cause__
        elapsed_s = clock() - started_s
        context.current = result
        if check is not None:
            check(step)
        if step.save_as is not None:
            context.objects[step.save_as] = result
        written = step.fn.target(context) if isinstance(step.fn, Report) else result
        outputs = () if written is None else outputs_of(written)
        if outputs:
            note_outputs(context, label, written)
            check_metadata = seeded_of(context)
            if context.places is not IN_PLACE:
                outputs = tuple(str(context.places.final(Path(path))) for path in outputs)
        if is_told:
            rows_out = rows_of(result)
            yield StepFinished(
                run_id, index, label, "success", time.time(), elapsed_s, None, outputs, rows_in, rows_out
            )
    control.label = None


def _used_up(step: StepSpec, current: GeneratorType[Any, Any, Any]) -> str | None:
    """The warning for a generator that an earlier step has read to its end; else None."""
    if current.gi_frame is not None:
        return None
    name = "the object before it" if step.use is None else step.use
    return (
        f"{name} is a generator, which is read once, and gives step {step.label!r} nothing more: "
        "let the step that makes it return list(...)"
    )


def _missing_object(step: StepSpec, objects: dict[str, Any]) -> FlowValidationError:
    names = ", ".join(sorted(objects)) or "none"
    return FlowValidationError(
        f"Step '{step.label}' requested missing object '{step.use}'",
        where=f"step {step.label!r} (use={step.use!r})",
        fix=f"{near_offer(str(step.use), objects)}save it with save_as={step.use!r} in an earlier step; saved so far: {names}",
    )


def outputs_of(result: object) -> tuple[str, ...]:
    """The files a result names, when it is an existing Path or a list, tuple or Batch of such."""
    if isinstance(result, Path):
        return (str(result.absolute()),) if os.path.exists(result) else ()
    if isinstance(result, (list, tuple, Batch)) and len(result) and all(isinstance(item, Path) for item in result):
        return tuple(str(item.absolute()) for item in result if os.path.exists(item))
    return ()


def note_outputs(context: FlowContext, label: str, result: object) -> None:
    """Put a result that names files into the context's `step_outputs`."""
    outputs = context.metadata.setdefault("step_outputs", {})
    name, number = label, 2
    while name in outputs:
        name, number = f"{label} ({number})", number + 1
    outputs[name] = result


def step_error(
    flow: Flow,
    step: StepSpec,
    context: FlowContext,
    error: BaseException,
    before: StepSpec | None,
    savers: Mapping[str, str],
    used_up: str | None,
) -> tuple[BaseException, str]:
    """The error for callers when a step raised, and the step's status."""
    item_note = ""
    cause = error
    if isinstance(error, ItemFailed):
        cause = error.error
        item_note = f" (item {error.index + 1} of {error.total}: {item_text(error.item)})"
    if ends_run(cause):
        return cause, "stopped"
    source_path = None if context.source is None else context.source.path
    if isinstance(cause, FlowValidationError):
        detail, fix = cause.what, cause.fix
    else:
        item = {"item": error.item} if isinstance(error, ItemFailed) else {}
        at = item.get("item")
        file = at.path if isinstance(at, FileRef) else at if isinstance(at, Path) else None
        failure = StepFailure(cause, source_path or file, flow, step, context, before, savers, **item)
        fix = "; or ".join(filter(None, (used_up, fix_for(failure)))) or None
        detail = message_of(cause) if fix is None else plain_text(message_of(cause))
    raised = FlowExecutionError(
        flow_name=context.flow_name,
        phase="step",
        detail=f"{type(cause).__name__}: {detail}{item_note}",
        step_label=step.label,
        function_name=step.function_name,
        source_path=source_path,
        fix=fix,
    )
    raised.__cause__ = cause
    if context.control.feed is not None and not isinstance(cause, FeedChangedError):
        raised.set_feed(context.control.feed.changes())
    return raised, "failed"


def item_text(item: object) -> str:
    """The words for a failed item in the error."""
    text = str(item) if isinstance(item, (str, os.PathLike, int, float)) else repr(item)
    return beginning(text, 200)

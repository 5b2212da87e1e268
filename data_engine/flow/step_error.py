"""The error that callers get for what a step raised, with what may help."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from data_engine.errors import FlowExecutionError, FlowValidationError, message_of
from data_engine.flow.batch import FileRef
from data_engine.flow.context import FlowContext
from data_engine.flow.control import ItemFailed, ends_run
from data_engine.flow.flow import Flow
from data_engine.flow.hints import Failure, fix_for, plain_words
from data_engine.flow.spec import StepSpec
from data_engine.formatting import beginning
from data_engine.secret import masked


def step_error(
    flow: Flow,
    step: StepSpec,
    context: FlowContext,
    error: BaseException,
    before: StepSpec | None,
    savers: Mapping[str, str],
    used_up: str | None,
) -> tuple[BaseException, str]:
    """The error callers get for what a step raised, and the step's status."""
    item_note = ""
    cause = error
    if isinstance(error, ItemFailed):
        cause = error.error
        item_note = f" (item {error.index + 1} of {error.total}: {item_words(error.item)})"
    if ends_run(cause):
        return cause, "stopped"
    source_path = None if context.source is None else context.source.path
    if isinstance(cause, FlowValidationError):
        detail, fix = cause.what, cause.fix
    else:
        item = {"item": error.item} if isinstance(error, ItemFailed) else {}
        failure = Failure(cause, source_path or _file_of(error), flow, step, context, before, savers, **item)
        fix = "; or ".join(filter(None, (used_up, fix_for(failure)))) or None
        detail = message_of(cause) if fix is None else plain_words(message_of(cause))
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
    return raised, "failed"


def _file_of(error: BaseException) -> Path | None:
    """The file that a map was at when it raised."""
    item = error.item if isinstance(error, ItemFailed) else None
    path = item.path if isinstance(item, FileRef) else item
    return path if isinstance(path, Path) else None


def item_words(item: object) -> str:
    """What a failed item is called in the error."""
    text = str(item) if isinstance(item, (str, os.PathLike, int, float)) else repr(item)
    return beginning(masked(text), 200)

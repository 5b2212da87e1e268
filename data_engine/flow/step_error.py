"""The error that callers get for what a step raised, with what may help."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from data_engine.cut import beginning
from data_engine.errors import FlowExecutionError, FlowValidationError, message_of
from data_engine.flow.batch import FileRef
from data_engine.flow.context import FlowContext
from data_engine.flow.control import ItemFailed, ends_run
from data_engine.flow.flow import Flow
from data_engine.flow.hints.calls import call_hint
from data_engine.flow.hints.context import misused_context
from data_engine.flow.hints.given import context_hints, item_hint, log_word, saved_object
from data_engine.flow.hints.paths import path_hint
from data_engine.flow.hints.tables import plain_words, table_hint
from data_engine.flow.spec import StepSpec
from data_engine.flow.suggestions import DRIVE_FULL, suggestion
from data_engine.secret import masked


def step_error(
    flow: Flow,
    step: StepSpec,
    context: FlowContext,
    error: BaseException,
    before: str | None,
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
        detail = message_of(cause)
        of_table = table_hint(cause, source_path or _file_of(error), context.current)
        if of_table is not None:
            detail = plain_words(detail)
        hints = (
            used_up,
            *context_hints(flow, step, context, cause, before),
            item_hint(step, error)
            or saved_object(context, cause, savers)
            or log_word(context, cause)
            or misused_context(step, context, error)
            or call_hint(cause)
            or _full_drive(context, suggestion(cause)),
            of_table,
            path_hint(cause, context.workspace_root),
            _odd_name(f"{source_path}{item_note}"),
        )
        fix = "; or ".join(filter(None, hints)) or None
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


def _full_drive(context: FlowContext, hint: str | None) -> str | None:
    """The hint; of a drive that is full with where the flow writes."""
    if hint != DRIVE_FULL or context.mirror is None:
        return hint
    return f"{hint} (the mirror is {context.mirror.final_root})"


def _odd_name(files: str) -> str | None:
    """A hint when a file has a name that native libraries, which take UTF-8, cannot open, whatever they say about it."""
    try:
        files.encode()
    except UnicodeEncodeError:
        return "the file's name holds bytes that are not UTF-8, so that Polars, DuckDB and others cannot open it: rename it"
    return None


def item_words(item: object) -> str:
    """What a failed item is called in the error."""
    text = str(item) if isinstance(item, (str, os.PathLike, int, float)) else repr(item)
    return beginning(masked(text), 200)

"""LazyFrames that a step gives: whether their query can be planned, and their first rows for whoever looks.

A run computes nothing of a LazyFrame before a step collects or writes it, so that a column it misspells fails nowhere.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from data_engine.errors import FlowExecutionError, message_of
from data_engine.flow.control import ends_run
from data_engine.flow.flow import Flow
from data_engine.flow.hints import Failure, fix_for, plain_words
from data_engine.flow.rows import is_lazy_frame
from data_engine.flow.spec import StepSpec
from data_engine.notebook.locate import place_of_function


def require_plan(flow: Flow, step: StepSpec, value: Any, source_path: Path | None) -> None:
    """Nothing where a LazyFrame can be planned, which runs none of it; also for every other value.

    Raises:
        FlowExecutionError: it cannot, as where it names a column that is not there; placed at the step's function.
    """
    if not is_lazy_frame(value):
        return
    try:
        value.collect_schema()
    except BaseException as cause:
        if ends_run(cause):
            raise
        raise _query_error(flow, step, cause, source_path) from cause


def first_rows(flow: Flow, step: StepSpec, value: Any, count: int) -> Any:
    """The first rows of a LazyFrame, which the step gave, as a DataFrame; every other value as it is.

    Raises:
        FlowExecutionError: the query fails; placed at the step's function.
    """
    if not is_lazy_frame(value):
        return value
    try:
        return value.head(count).collect()
    except BaseException as cause:
        if ends_run(cause):
            raise
        raise _query_error(flow, step, cause, None) from cause


def _query_error(flow: Flow, step: StepSpec, cause: BaseException, source_path: Path | None) -> FlowExecutionError:
    detail = plain_words(message_of(cause)).partition("\n\nResolved plan until failure")[0]
    error = FlowExecutionError(
        flow_name=flow.name or "",
        phase="step",
        detail=f"{type(cause).__name__}: {detail}, when the LazyFrame that it gives is computed",
        step_label=step.label,
        function_name=step.function_name,
        source_path=source_path,
        fix=fix_for(Failure(cause, source_path)),
    )
    place = place_of_function(inspect.unwrap(step.fn))
    if place is not None:
        error.set_place(str(place), place.text, place.note)
        error.places = place.as_places()
    return error

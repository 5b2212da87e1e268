"""Show an object that a flow made below its cell: IPython's own text of it, and of a very long one its two ends; and the line of progress."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from data_engine.display_hook import Displayable, fold_of
from data_engine.errors import FlowExecutionError, message_of
from data_engine.flow.batch import frame_kind, is_lazy_frame
from data_engine.flow.control import ends_run
from data_engine.flow.flow import Flow
from data_engine.flow.hints import StepFailure, fix_for, plain_text
from data_engine.flow.spec import Map, StepSpec
from data_engine.formatting import both_ends
from data_engine.model import Event, RunFinished, RunStarted, StepFinished, StepProgress
from data_engine.notebook.locate import place_of_function
from data_engine.workspace.layout import kernel_shell

MOST_SHOWN = 200_000
"""Characters of an object's text: one value of fifty megabytes must not become fifty megabytes of a notebook."""

_ROWS = 10
_HEADING = f"LazyFrame, its first {_ROWS} rows at most; .explain() tells its plan"


def bound_display(value: Any) -> None:
    """In a kernel, the cell that runs now shows no more than that of `value`, and below a frame the fold with its profile; elsewhere, and in
    other cells, nothing changes."""
    shell = kernel_shell()
    if shell is None or value is None or isinstance(value, (bool, int, float, Displayable)):  # ours bound themselves
        return
    formatters = shell.display_formatter.formatters
    formatter = formatters["text/plain"]
    printers = formatter.singleton_printers
    asked, is_shown = _request_of(shell), [False]
    as_html = formatters["text/html"].singleton_printers

    @cache
    def rows() -> Any:  # asked for once for both forms
        return rows_shown(value)

    def show(shown: Any, printer: Any, cycle: bool) -> None:
        is_shown[0] = True
        del printers[id(value)]  # what follows is the text without us
        try:
            printer.text(bounded_text(rows(), formatter))
        finally:
            printers[id(value)] = show

    def forget(*_: object) -> None:
        shell.events.unregister("post_run_cell", forget)
        printers.pop(id(value), None)
        as_html.pop(id(value), None)
        if is_shown[0] and frame_kind(value) and asked == _request_of(shell):  # a form shows it in no cell
            shell.display_pub.publish(fold_of(value))

    printers[id(value)] = show
    if is_lazy_frame(value):
        as_html[id(value)] = lambda shown: str(rows()._repr_html_())
    shell.events.register("post_run_cell", forget)


def _request_of(shell: Any) -> Any:
    """The id of the request that the kernel answers, by which a cell is known from the next one."""
    try:
        return shell.get_parent()["header"]["msg_id"]
    except (AttributeError, KeyError, TypeError, LookupError):
        return None


def rows_shown(value: Any) -> Any:
    """The first rows of a LazyFrame under a heading, in place of its plan; the plan where they cannot be computed, and any other value
    as it is.

    Example:
        >>> import polars as pl
        >>> rows_shown(pl.LazyFrame({"a": [1, 2]})).rows.rows(), rows_shown([1])
        ([(1,), (2,)], [1])
    """
    if not is_lazy_frame(value):
        return value
    try:
        return _FirstRows(value.head(_ROWS).collect())
    except BaseException as error:  # of a query that fails: its plan shows itself
        if ends_run(error):
            raise
        return value


class _FirstRows:
    """The first rows of a LazyFrame, as a cell shows them."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __repr__(self) -> str:
        return f"{_HEADING}\n{self.rows!r}"

    def _repr_html_(self) -> str:
        return f"<small>{_HEADING}</small>{self.rows._repr_html_()}"


def bounded_text(value: Any, formatter: Any = repr) -> str:
    """The text of a value, by `formatter`; of a long one its two ends. A long text or bytes are cut before, which costs nothing.

    Example:
        >>> bounded_text([1, 2]), len(bounded_text("x" * 1_000_000)) <= MOST_SHOWN
        ('[1, 2]', True)
        >>> bounded_text(b"x" * 1_000_000)[-40:]
        "xxxxx' … 900,000 bytes are left out here"
    """
    if type(value) is str and len(value) > MOST_SHOWN:
        return both_ends(repr(both_ends(value, MOST_SHOWN - 100)), MOST_SHOWN)
    if type(value) in (bytes, bytearray) and len(value) > MOST_SHOWN:
        most = MOST_SHOWN // 2
        return both_ends(f"{value[:most]!r} … {len(value) - most:,} bytes are left out here", MOST_SHOWN)
    return both_ends(formatter(value), MOST_SHOWN)


def require_plan(flow: Flow, step: StepSpec, value: Any, source_path: Path | None) -> None:
    """Return where a LazyFrame can be planned, which runs none of it; and for every other value.

    Raises:
        FlowExecutionError: it cannot be planned, as where it names a column that is not there; placed at the step's function.
    """
    if not is_lazy_frame(value):
        return
    with placed(flow, step, source_path):
        value.collect_schema()


def first_rows(flow: Flow, step: StepSpec, value: Any, count: int) -> Any:
    """The first rows of a LazyFrame, which the step gave, as a DataFrame; every other value as it is.

    Raises:
        FlowExecutionError: the query fails; placed at the step's function.
    """
    if not is_lazy_frame(value):
        return value
    with placed(flow, step):
        return value.head(count).collect()


@contextmanager
def placed(flow: Flow, step: StepSpec, source_path: Path | None = None) -> Iterator[None]:
    """Place the error of a query at the function of its step."""
    try:
        yield
    except BaseException as cause:
        if ends_run(cause):
            raise
        detail = plain_text(message_of(cause)).partition("\n\nResolved plan until failure")[0]
        error = FlowExecutionError(
            flow_name=flow.name or "",
            phase="step",
            detail=f"{type(cause).__name__}: {detail}, when the LazyFrame that it gives is computed",
            step_label=step.label,
            function_name=step.function_name,
            source_path=source_path,
            fix=fix_for(StepFailure(cause, source_path)),
        )
        place_at_step(error, step)
        raise error from cause


def place_at_step(error: BaseException, step: StepSpec) -> None:
    """Place a step's error that no line of the author's raised at the function of its step."""
    if not isinstance(error, FlowExecutionError) or error.phase != "step" or error.cell is not None:
        return
    place = place_of_function(inspect.unwrap(step.fn.fn if isinstance(step.fn, Map) else step.fn))
    if place is not None:
        error.set_place(str(place), place.text, place.note)
        error.places = place.as_places()


_SHOW_AFTER_S, _SOURCES_EVERY_S = 1.0, 0.1


class ProgressLine:
    """Draws itself (by Rich, in notebooks and terminals) from a run's events, once a second has passed.

    Call it with each event; close it at the end. With several sources it counts them, else the items of the running step.
    """

    def __init__(self, total_sources: int = 1, *, clock: Any = time.monotonic, console: Any = None) -> None:
        self._total = total_sources
        self._clock = clock
        self._console = console
        self._started_s: float = clock()
        self._drawn_s = float("-inf")
        self._done = 0
        self._bar: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self._done += 1
        now_s = self._clock()
        if now_s - self._started_s < _SHOW_AFTER_S:
            return
        if self._total > 1:
            is_last = self._done == self._total  # it stays
            if is_last or now_s - self._drawn_s >= _SOURCES_EVERY_S:  # drawing takes longer than a fast run
                self._drawn_s = now_s
                self._show_sources(event)
        elif isinstance(event, StepProgress):
            self._show(event.label, event.done, event.total)
            if event.done == event.total:
                self.close()
        elif isinstance(event, StepFinished):
            self.close()

    def close(self) -> None:
        """Remove the line; its last state stays in a notebook's output."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show_sources(self, event: Event) -> None:
        if isinstance(event, RunStarted) and event.source is not None:
            self._show("sources", self._done, self._total, event.source.rpartition("/")[2])
        elif isinstance(event, StepProgress):
            self._show("sources", self._done, self._total, f"{event.label} {event.done}/{event.total or '?'}")
        elif isinstance(event, RunFinished):
            self._show("sources", self._done, self._total)

    def _show(self, label: str, done: int, total: int | None, current: str = "") -> None:
        if self._bar is None:
            self._bar = _make_bar(self._console)
            self._bar.add_task(label, current="")
        (task,) = self._bar.task_ids
        self._bar.update(task, description=label, completed=done, total=total, current=current)
        self._bar.start()  # draws it the first time
        self._bar.refresh()


def _make_bar(console: Any) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    in_kernel = console.is_jupyter
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[current]}", markup=False),
        console=console,
        auto_refresh=False,
        transient=not in_kernel,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not (in_kernel or console.is_terminal),
    )

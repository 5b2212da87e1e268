"""The controls that a runner gives the steps of a run: where events go, whether it may go on, and how a map spreads its items."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from data_engine.cause import Cause
from data_engine.errors import FlowStoppedError, FlowValidationError
from data_engine.flow.batch import ItemError
from data_engine.model import Event, FrameChange, LogLine, ReportFacts, StepProgress
from data_engine.record import frozen

PROGRESS_INTERVAL_S = 0.05


def _ignore(event: Event) -> None:
    """The event sink of a run nobody listens to."""


def _always() -> None:
    """The permission of a run nobody can stop."""


@frozen
class ItemMap:
    """The items of one map and the call for each of them, at most `max_parallel` at once. With `keep_errors` an `ItemError` takes the
    place of the result of an item that fails."""

    call: Callable[[Any], Any]
    items: Sequence[Any]
    max_parallel: int
    keep_errors: bool
    step: StepControl


def one_by_one(work: ItemMap) -> list[Any]:
    """The results of the items in order; the first error raises `ItemFailed`, or its place holds an `ItemError`."""
    call, items, keep_errors, step = work.call, work.items, work.keep_errors, work.step
    results: list[Any] = []
    append = results.append
    may_work = step.may_work
    total = len(items)
    for item in items:
        may_work()
        try:
            append(call(item))
        except BaseException as error:
            if ends_run(error):
                raise
            if not keep_errors:
                raise ItemFailed(len(results), total, item, error) from error
            append(ItemError(item, error))
        step.progress(len(results), total)
    return results


class ItemCall:
    """The call for each item of a map whose function takes the context too."""

    __slots__ = ("context", "fn")

    def __init__(self, fn: Callable[[Any, Any], Any], context: Any) -> None:
        self.fn = fn
        self.context = context

    def __call__(self, item: Any) -> Any:
        return self.fn(self.context, item)


class ItemFailed(Exception):
    """One item's call raised; the step loop turns it into a `FlowExecutionError` that names the item."""

    def __init__(self, index: int, total: int, item: object, error: BaseException) -> None:
        super().__init__(index)
        self.index = index
        self.total = total
        self.item = item
        self.error = error


class FeedHistory(Protocol):
    """What the frames of a run are compared with: those of the good runs before it."""

    def judge(self, check: str, value: object) -> tuple[FrameChange, ...]:
        """How the frame that the check of this label is given differs from those of every good run; none where there was no run."""

    def changes(self) -> tuple[FrameChange, ...]:
        """How the frames of this run, as far as there are any, differ from those of every good run."""


@dataclass(slots=True)
class StepControl:
    """The controls of a run, for its steps.

    `emit` takes what happens inside a step, live. `may_work` returns when the run may go on; it waits, or raises
    `RunInterrupted`, when it may not. `spread` is how a map spreads its items. `lost` are the names that items have changed in other
    processes, as far as these reported it; `checked` are the results of its checks (`rules.CheckResult`), `findings` the same in words,
    `reports` the pages of its reports; `feed` compares its frames.
    """

    emit: Callable[[Event], None] = _ignore
    may_work: Callable[[], None] = _always
    spread: Callable[[ItemMap], list[Any]] = one_by_one
    run_id: str = ""
    flow: str = ""
    index: int = -1
    label: str | None = None
    last_progress_s: float = 0.0
    lost: set[str] = field(default_factory=set)
    checked: list[Any] = field(default_factory=list)
    feed: FeedHistory | None = None
    findings: list[str] = field(default_factory=list)
    reports: list[ReportFacts] = field(default_factory=list)

    def log(self, text: str, level: str = "INFO") -> None:
        """Add a line to the run's log."""
        self.emit(LogLine(self.run_id, self.flow, self.label, level, text, time.time()))

    def progress(self, done: int, total: int | None) -> None:
        """Report progress at most twenty times a second, and always the last item."""
        now_s = time.perf_counter()
        if now_s - self.last_progress_s >= PROGRESS_INTERVAL_S or done == total:
            self.last_progress_s = now_s
            self.emit(StepProgress(self.run_id, self.index, self.label or "", done, total, time.time()))


class RunInterrupted(BaseException):
    """The run must end now: a stop, a time limit. A BaseException, so that an author's `except Exception` lets it pass.

    `error` is what its caller receives instead of a `FlowStoppedError`.
    """

    def __init__(self, status: str, why: Cause, error: FlowValidationError | None = None) -> None:
        super().__init__(why.text)
        self.status = status
        self.why = why
        self.error = error

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.status, self.why, self.error)


def ends_run(error: BaseException) -> bool:
    """Whether an error ends its run instead of failing the step or item that raised it: a stop or Ctrl-C. A panic of a library in
    Rust, a cancelled task of asyncio and `sys.exit()` are errors of the code, though none is an `Exception`.

    Example:
        >>> ends_run(KeyboardInterrupt()), ends_run(SystemExit(3)), ends_run(ValueError())
        (True, False, False)
    """
    return isinstance(error, (RunInterrupted, FlowStoppedError, KeyboardInterrupt))

"""Items in threads, with the results, order and errors of a plain loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

from data_engine.flow.batch import ItemError
from data_engine.flow.control import ItemFailed, ItemMap, RunInterrupted, ends_run, one_by_one

IN_ITEM = "DATA_ENGINE_ITEM"
"""Set in a process that runs items: a run that an item starts spreads its own over threads."""

ON_NODE = "DATA_ENGINE_NODE"
"""Set in a process that runs whole runs on a cluster: their items stay on that node."""

_CHECK_EVERY_S = 0.1


class Threads:
    """Items in threads of this process."""

    def spread(self, work: ItemMap) -> list[Any]:
        """As `spread`."""
        return spread(work)

    def close(self) -> None:
        """Nothing is kept."""


def spread(work: ItemMap, *, give_up: Callable[[], None] | None = None) -> list[Any]:
    """The results of the items in input order.

    When an item fails, no later item is started; the error raised is that of the first failing item in input order, as a
    plain loop would give. A stop lets running items end and starts no other; where this is interrupted otherwise, `give_up`
    ends them.

    Raises:
        ItemFailed: an item's call raised and errors are not kept.
        FlowStoppedError: an item asked for a stop.
        RunInterrupted: the run may not go on.
    """
    if work.max_parallel <= 1 or len(work.items) <= 1:
        return one_by_one(work)
    going = _Spread(work)
    with ThreadPoolExecutor(work.max_parallel, thread_name_prefix="map") as pool:
        try:
            going.run(pool)
        except RunInterrupted:
            raise
        except BaseException:
            if give_up is not None:
                give_up()
            raise
    return going.outcomes.all()


class Outcomes:
    """What the items of one map gave or raised."""

    def __init__(self, work: ItemMap) -> None:
        self.items, self.keep_errors = work.items, work.keep_errors
        self.results: list[Any] = [None] * len(work.items)
        self.failed: dict[int, BaseException] = {}
        self.done = 0

    def take(self, index: int, result: Any, error: BaseException | None, *, ends_map: bool = False) -> None:
        """Take what an item gave, or raised; an error that `ends_map` is never kept in place of a result."""
        self.done += 1
        if error is None:
            self.results[index] = result
        elif self.keep_errors and not ends_map and not ends_run(error):
            self.results[index] = ItemError(self.items[index], error)
        else:
            self.failed[index] = error

    def all(self) -> list[Any]:
        """The results in order; the error of the first item that failed is raised, if one did."""
        if not self.failed:
            return self.results
        index = min(self.failed)
        error = self.failed[index]
        if ends_run(error):
            raise error
        raise ItemFailed(index, len(self.items), self.items[index], error) from error


class _Spread:
    """The items of one map on their way through a pool."""

    def __init__(self, work: ItemMap) -> None:
        self.work, self.items, self.step = work, work.items, work.step
        self.outcomes = Outcomes(work)
        self.running: dict[Future[Any], int] = {}
        self.started = 0

    @property
    def may_start(self) -> bool:
        """Whether another item is to be started."""
        return self.started < len(self.items) and not self.outcomes.failed

    def run(self, pool: ThreadPoolExecutor) -> None:
        """Go through the items, until all have ended or those that run have once one failed."""
        while self.running or self.may_start:
            while self.may_start and len(self.running) < self.work.max_parallel:
                self.step.may_work()
                self._start(pool)
            ended, _ = wait(self.running, timeout=_CHECK_EVERY_S, return_when=FIRST_COMPLETED)
            for future in ended:
                error = future.exception()
                self.outcomes.take(self.running.pop(future), None if error else future.result(), error)
            if ended:
                self.step.progress(self.outcomes.done, len(self.items))
            else:
                self.step.may_work()

    def _start(self, pool: ThreadPoolExecutor) -> None:
        future = pool.submit(copy_context().run, self._guarded, self.items[self.started])
        self.running[future] = self.started
        self.started += 1

    def _guarded(self, item: Any) -> Any:
        self.step.may_work()
        return self.work.call(item)

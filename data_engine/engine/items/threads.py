"""Items in threads, with the results, order and errors of a plain loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

from data_engine.errors import FlowStoppedError
from data_engine.flow.batch import ItemError
from data_engine.flow.control import ItemFailed, RunInterrupted, StepControl, one_by_one

IN_ITEM = "DATA_ENGINE_ITEM"
"""Set in a process that runs items: a run that an item starts spreads its own over threads."""

ON_NODE = "DATA_ENGINE_NODE"
"""Set in a process that runs whole runs on a cluster: their items stay on that node."""

_CHECK_EVERY_S = 0.1


class Threads:
    """Items in threads of this process."""

    def spread(
        self,
        call: Callable[[Any], Any],
        items: Sequence[Any],
        max_parallel: int,
        keep_errors: bool,
        step: StepControl,
    ) -> list[Any]:
        """As `spread`."""
        return spread(call, items, max_parallel, keep_errors, step)

    def close(self) -> None:
        """Nothing is kept."""


def spread(
    call: Callable[[Any], Any],
    items: Sequence[Any],
    max_parallel: int,
    keep_errors: bool,
    step: StepControl,
    *,
    give_up: Callable[[], None] | None = None,
) -> list[Any]:
    """The results of `call` in input order, at most `max_parallel` at once.

    When an item fails, no later item is started; the error raised is that of the first failing item in input order, as a
    plain loop would give. A stop lets running items end and starts no other; where this is interrupted otherwise, `give_up`
    ends them.

    Raises:
        ItemFailed: an item's call raised and errors are not kept.
        FlowStoppedError: an item asked for a stop.
        RunInterrupted: the run may not go on.
    """
    if max_parallel <= 1 or len(items) <= 1:
        return one_by_one(call, items, 1, keep_errors, step)
    total = len(items)
    results: list[Any] = [None] * total
    running: dict[Future[Any], int] = {}
    failed: dict[int, BaseException] = {}
    started = done = 0

    def guarded(item: Any) -> Any:
        step.may_work()
        return call(item)

    with ThreadPoolExecutor(max_parallel, thread_name_prefix="map") as pool:
        try:
            while running or (started < total and not failed):
                while started < total and len(running) < max_parallel and not failed:
                    step.may_work()
                    running[pool.submit(copy_context().run, guarded, items[started])] = started
                    started += 1
                ended, _ = wait(running, timeout=_CHECK_EVERY_S, return_when=FIRST_COMPLETED)
                for future in ended:
                    index = running.pop(future)
                    error = future.exception()
                    if error is None:
                        results[index] = future.result()
                    elif keep_errors and isinstance(error, Exception) and not isinstance(error, FlowStoppedError):
                        results[index] = ItemError(items[index], error)
                    else:
                        failed[index] = error
                    done += 1
                if ended:
                    step.progress(done, total)
                else:
                    step.may_work()
        except RunInterrupted:
            raise
        except BaseException:
            if give_up is not None:
                give_up()
            raise
    if failed:
        index = min(failed)
        error = failed[index]
        if isinstance(error, FlowStoppedError) or not isinstance(error, Exception):
            raise error
        raise ItemFailed(index, total, items[index], error) from error
    return results

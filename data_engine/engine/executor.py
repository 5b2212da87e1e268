"""How a map spreads its items over threads, with the results, order and errors of a plain loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

from data_engine.errors import FlowStoppedError
from data_engine.flow.batch import ItemError
from data_engine.flow.control import ItemFailed, StepControl, one_by_one

_CHECK_EVERY_S = 0.1


def spread(
    call: Callable[[Any], Any], items: Sequence[Any], max_parallel: int, keep_errors: bool, step: StepControl
) -> list[Any]:
    """The results of `call` in input order, at most `max_parallel` at once.

    When an item fails, no later item is started; the error raised is that of the first failing item in input order, as a
    plain loop would give. A stop lets running items end and starts no other.

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
    if failed:
        index = min(failed)
        error = failed[index]
        if isinstance(error, FlowStoppedError) or not isinstance(error, Exception):
            raise error
        raise ItemFailed(index, total, items[index], error) from error
    return results

"""Run items in threads, with the results, order and errors of a plain loop; and divide the cores of a machine among processes that
work at the same time.

Polars and OpenMP read their share from the environment when they load; DuckDB gets it after each connecting. What an author
has set stays.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from contextvars import copy_context
from functools import wraps
from typing import Any

from data_engine.after_import import AfterImport
from data_engine.flow.batch import ItemError
from data_engine.flow.control import ItemFailed, ItemMap, RunInterrupted, ends_run, one_by_one
from data_engine.keeping import keeping, of_item
from data_engine.record import frozen

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
        """Do nothing: nothing is kept."""


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
    items, step, outcomes = work.items, work.step, Outcomes(work)
    running: dict[Future[Any], int] = {}
    waiting = deque(range(len(items)))
    run = keeping.get()
    order = () if run is None else run.next_order()

    def call(index: int) -> Any:
        step.may_work()
        with of_item((*order, index)):
            return work.call(items[index])

    with ThreadPoolExecutor(work.max_parallel, thread_name_prefix="map") as pool:
        try:
            while running or (waiting and not outcomes.failed):
                while waiting and not outcomes.failed and len(running) < work.max_parallel:
                    step.may_work()
                    index = waiting.popleft()
                    running[pool.submit(copy_context().run, call, index)] = index
                ended, _ = wait(running, timeout=_CHECK_EVERY_S, return_when=FIRST_COMPLETED)
                for future in ended:
                    error = future.exception()
                    outcomes.take(running.pop(future), None if error else future.result(), error)
                if ended:
                    step.progress(outcomes.done, len(items))
                else:
                    step.may_work()
        except RunInterrupted:
            raise
        except BaseException:
            if give_up is not None:
                give_up()
            raise
    return outcomes.all()


class Outcomes:
    """The results and errors of the items of one map."""

    def __init__(self, work: ItemMap) -> None:
        self.items, self.keep_errors = work.items, work.keep_errors
        self.results: list[Any] = [None] * len(work.items)
        self.failed: dict[int, BaseException] = {}
        self.done = 0

    def take(self, index: int, result: Any, error: BaseException | None, *, ends_map: bool = False) -> None:
        """Take the result of an item, or its error; an error that `ends_map` is never kept in place of a result."""
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


VARIABLES = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS")
DUCKDB_THREADS = "DATA_ENGINE_DUCKDB_THREADS"
"""The variable that tells a process of ours how many threads DuckDB may use in it."""

_reported: set[str] = set()
_lock = threading.Lock()


@frozen
class ThreadShare:
    """The threads that a process gets for its libraries.

    Example:
        >>> ThreadShare.of(3, cores=8), ThreadShare.of(8, cores=2).threads
        (ThreadShare(threads=2), 1)
        >>> ThreadShare.of(2, cores=8).environment({"OMP_NUM_THREADS": "1"})
        {'POLARS_MAX_THREADS': '4', 'DATA_ENGINE_DUCKDB_THREADS': '4'}
    """

    threads: int

    @classmethod
    def of(cls, processes: int, *, cores: int | None = None) -> ThreadShare:
        """The share of one of `processes`, of `cores` (those of this machine by default)."""
        return cls(max(1, (cores or os.cpu_count() or 1) // max(1, processes)))

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """The variables to add to the environment of such a process."""
        names = [name for name in VARIABLES if not variables.get(name)]
        return dict.fromkeys([*names, DUCKDB_THREADS], str(self.threads))

    def tell_once(self, say: Callable[[str], None], at_once: int) -> None:
        """Log the share, once in this process."""
        set_by_hand = [f"{name}={value}" for name in VARIABLES if (value := os.environ.get(name))]
        rest = f"; set by you: {', '.join(set_by_hand)}" if set_by_hand else ""
        text = f"items run in {at_once} processes; Polars, OpenMP and DuckDB use {self.threads} threads in each{rest}"
        with _lock:
            is_new = text not in _reported
            _reported.add(text)
        if is_new:
            say(text)


def limit_duckdb() -> None:
    """Let each database that DuckDB opens in this process use as many threads as the environment says, unless its opener says how many."""
    threads = int(os.environ.get(DUCKDB_THREADS) or 0)
    if not threads:
        return
    if "duckdb" in sys.modules:
        _limit(sys.modules["duckdb"], threads)
    else:

        def limit(duckdb: Any) -> None:
            hook.remove()
            _limit(duckdb, threads)

        hook = AfterImport("duckdb".__eq__, limit)
        hook.install()


def _limit(duckdb: Any, threads: int) -> None:
    connect = duckdb.connect

    @wraps(connect)
    def connect_with_share(*arguments: Any, **options: Any) -> Any:
        connection = connect(*arguments, **options)
        config = options.get("config") or (arguments[2] if len(arguments) > 2 else None) or {}
        if "threads" not in config:
            with suppress(duckdb.Error):
                connection.execute(f"SET GLOBAL threads = {threads}")
        return connection

    duckdb.connect = connect_with_share
    with suppress(duckdb.Error):
        duckdb.execute(f"SET GLOBAL threads = {threads}")

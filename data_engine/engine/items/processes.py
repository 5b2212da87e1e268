"""Items in processes of this machine: started when a run first needs them, kept warm until it ends."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.items import threads
from data_engine.engine.items.far_call import FarCall
from data_engine.engine.items.process import ItemProcess, ProcessEnded
from data_engine.engine.items.threads import IN_ITEM
from data_engine.engine.shares import Share
from data_engine.errors import ProcessDiedError
from data_engine.flow.control import StepControl

_TRIES = 2


class Processes:
    """Items in at most `most` processes. Maps of one run are gone through by one thread."""

    def __init__(self, most: int, *, cores: int | None = None) -> None:
        self._most, self._cores = most, cores
        self._share = Share.of(most, cores=cores)
        self._folder: Path | None = None
        self._all: list[ItemProcess] = []
        self._free: SimpleQueue[ItemProcess | None] = SimpleQueue()
        self._is_killed = False
        self._lock = threading.Lock()
        self._starter: ThreadPoolExecutor | None = None

    def spread(
        self,
        call: Callable[[Any], Any],
        items: Sequence[Any],
        max_parallel: int,
        keep_errors: bool,
        step: StepControl,
    ) -> list[Any]:
        """As `threads.spread`, with each item in a process.

        Raises:
            FlowValidationError: what is called cannot leave this process.
        """
        at_once = min(max_parallel, self._most, len(items))
        if max_parallel <= 1 or len(items) <= 1:
            return threads.spread(call, items, 1, keep_errors, step)
        mark_unseen()
        far = FarCall(call, step, folder=self._own_folder())
        self._start(at_once)
        self._share.tell_once(far.say, at_once)

        def one(item: Any) -> Any:
            return self._run(far, item)

        try:
            return threads.spread(one, items, at_once, keep_errors, step, give_up=self.kill)
        finally:
            far.close()
            for process in self._all:
                process.forget(far.task.number)

    def kill(self) -> None:
        """End all processes now, with what runs in them."""
        self._is_killed = True
        for process in self._all:
            process.kill()

    def close(self) -> None:
        """Return when all processes are gone."""
        for process in self._all:
            process.begin_to_close()
        for process in self._all:
            process.close()
        self._all.clear()
        if self._starter is not None:
            self._starter.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _own_folder(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="data-engine-items-"))
        return self._folder

    def _start(self, wanted: int) -> None:
        if not self._all:
            self._share = Share.of(wanted, cores=self._cores)
        for _ in range(wanted - len(self._all)):
            self._free.put(self._new())

    def _new(self) -> ItemProcess:
        """A process, started by a thread that lives as long as this: on Linux it ends with the thread that has started it."""
        with self._lock:
            if self._starter is None:
                self._starter = ThreadPoolExecutor(1, thread_name_prefix="map-processes")
        return self._starter.submit(self._started).result()

    def _started(self) -> ItemProcess:
        environment = {**os.environ, **self._share.environment(os.environ), IN_ITEM: "1"}
        process = ItemProcess(self._own_folder(), environment, duckdb_threads=self._share.threads)
        with self._lock:
            self._all.append(process)
        return process

    def _run(self, far: FarCall, item: Any) -> Any:
        """Run one item, once more where its process has died."""
        parcel = far.pack(item)
        try:
            for number in range(1, _TRIES + 1):
                with self._process() as process:
                    try:
                        is_done, content = process.run(far.task, parcel, far.home)
                    except ProcessEnded as ended:
                        if number == _TRIES or self._is_killed:
                            raise died(ended.cause, _TRIES) from None
                        far.say_again(item, ended.cause)
                    else:
                        return far.outcome(is_done, content)
        finally:
            if parcel.file is not None:
                Path(parcel.file).unlink(missing_ok=True)
        raise AssertionError("never reached")

    @contextmanager
    def _process(self) -> Iterator[ItemProcess]:
        """A process for one item; there is one to take its place where it has not come to the end of it."""
        process = self._free.get()
        try:
            if process is None or not process.is_there:
                self._drop(process)
                process = None
                process = self._new()
            yield process
        finally:
            if process is not None and not process.is_idle:
                self._drop(process)
                process = None
            self._free.put(process)

    def _drop(self, process: ItemProcess | None) -> None:
        if process is not None:
            with self._lock:
                if process in self._all:
                    self._all.remove(process)
            process.kill()
            process.close()


def died(cause: Cause, tries: int) -> ProcessDiedError:
    """The error of an item whose process has died each time."""
    return ProcessDiedError(
        f"{cause.text} (tried {tries} times, each in a process of its own)",
        where='Flow.map with [executor] kind = "processes" or "dask"',
        fix="run this item alone with max_parallel=1 to see what ends the process; memory is the most frequent reason",
    )


def mark_unseen() -> None:
    """Let a preview know that what the items read is seen nowhere here."""
    memo = sys.modules.get("data_engine.engine.access.access_log")
    if memo is not None:
        for log in memo.active_logs():
            log.mark_unseen("its items, which ran in other processes")

"""Group commit: events wait in memory, and what waits is written in one transaction.

Adding costs about a microsecond. What was added is written at the next flush, at the latest after `every_s`, by one
thread that sleeps while nothing waits. A write that fails loses nothing: its events wait in front of the later ones
until a write succeeds, and the failure is raised where the next event is added.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Collection
from contextlib import suppress

from data_engine.interrupts import InterruptsHeld
from data_engine.model import Event


class GroupCommit:
    """Hands the events it was given to `write`, in order, in batches; a batch whose write raised is handed over again."""

    def __init__(self, write: Callable[[list[Event]], None], *, every_s: float) -> None:
        self._write = write
        self._every_s = every_s
        self._waiting: list[Event] = []
        self._failure: Exception | None = None
        self._waiting_lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._is_armed = False
        self._armed = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, *events: Event) -> None:
        """Keep `events` for the next write.

        Raises:
            Exception: what the last write raised, while none has succeeded since; the events are kept all the same.
        """
        with self._waiting_lock:
            self._waiting += events
            if not self._is_armed:
                self._arm()
        if self._failure is not None:
            raise copy.copy(self._failure) from self._failure

    def add_and_flush(self, *events: Event, forget: Collection[Event] = ()) -> None:
        """Write `events` now, after all that waits.

        Raises:
            Exception: what the write raised; all but `forget` is kept for the next one.
        """
        with self._waiting_lock:
            self._waiting += events
        self.flush(forget=forget)

    def flush(self, *, forget: Collection[Event] = ()) -> None:
        """Write all that waits; returns when it is written, by whichever thread.

        Raises:
            Exception: what the write raised; all but `forget` is kept for the next one.
        """
        # What a Ctrl-C breaks off is not known to be written: it strikes when that is settled.
        with InterruptsHeld(), self._write_lock:
            with self._waiting_lock:
                batch, self._waiting = self._waiting, []
            if not batch:
                return
            try:
                self._write(batch)
            except BaseException as failure:
                with self._waiting_lock:
                    self._waiting = [event for event in batch if event not in forget] + self._waiting
                    if self._waiting and not self._is_armed:
                        self._arm()
                if isinstance(failure, Exception):
                    self._failure = failure if self._waiting else None
                raise
            self._failure = None

    def close(self) -> None:
        """Write all that waits and end the thread.

        Raises:
            Exception: what the write raised; what waited is lost.
        """
        with self._waiting_lock:
            self._closing.set()
            self._armed.set()
        if self._thread is not None:
            self._thread.join()
        self.flush()

    def _arm(self) -> None:
        self._is_armed = True
        if self._closing.is_set():
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._keep_flushing, name="ledger-commit", daemon=True)
            self._thread.start()
        self._armed.set()

    def _keep_flushing(self) -> None:
        while True:
            self._armed.wait()
            self._closing.wait(self._every_s)
            with self._waiting_lock:
                if self._closing.is_set():
                    return
                if not self._waiting:
                    self._is_armed = False
                    self._armed.clear()
                    continue
            # What it raises is kept, and the next add() raises it.
            with suppress(Exception):
                self.flush()

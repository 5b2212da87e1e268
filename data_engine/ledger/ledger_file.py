"""The file of a ledger: opened, written in group commits, read, and closed by the process that records."""

from __future__ import annotations

import copy
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from data_engine import private
from data_engine.errors import LedgerError
from data_engine.files import trouble_of
from data_engine.ledger.connection import as_ledger_error, connect, transaction
from data_engine.ledger.migrations import migrate
from data_engine.ledger.rows import storable
from data_engine.locks import InterruptsHeld, RunnerLock
from data_engine.model import Event, PublishStarted, RunFinished, RunStarted, StepProgress, utc_text

if TYPE_CHECKING:
    from data_engine.ledger.journal import JournalReader


class GroupCommit:
    """Hands the events it was given to `write`, in order, in batches; a batch whose write raised is handed over again.

    Adding costs about a microsecond. What was added is written at the next flush, at the latest after `every_s`, by one
    thread that sleeps while nothing waits. A write that fails loses nothing: its events wait in front of the later ones
    until a write succeeds, and the failure is raised where the next event is added.
    """

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


_FLUSH_EVERY_S = 0.2
_BEGINNINGS = (RunStarted, PublishStarted)
_WRITTEN_AT_ONCE = (*_BEGINNINGS, RunFinished)
_HANDLED = (*_WRITTEN_AT_ONCE, StepProgress)


class LedgerFile:
    """The file that a ledger is, with what writes to it and reads from it; `Ledger` says what is asked of it."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._connection_lock = threading.Lock()
        self._pid, self._is_closed = os.getpid(), False
        self._runner: RunnerLock | None = None
        self._runner_id: str | None = None
        self._created_s, self._is_runner_stored = 0.0, False
        self._commit = GroupCommit(self._write, every_s=_FLUSH_EVERY_S)

    @classmethod
    def open(cls, path: Path, *, busy_timeout_s: float = 5.0) -> Self:
        """The ledger in the file `path`, made or brought to the newest version first; close it when done.

        `busy_timeout_s` is how long a write waits for another process's.

        Raises:
            LedgerError: disk full, read-only, not a ledger, or written by a newer Data Engine.
        """
        try:
            private.make_folder(path.parent)
            private.make_file(path)  # SQLite gives its log the mode of this file
        except OSError as error:
            raise LedgerError(
                f"the run history cannot be made: {trouble_of(error)}",
                where=str(error.filename or path),
                fix="make its folder a plain one that is writable for this user",
            ) from error
        try:
            connection = connect(path, busy_timeout_s=busy_timeout_s)
            try:
                migrate(connection, path)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise as_ledger_error(error, path) from error
        return cls(path, connection)

    @property
    def runners_dir(self) -> Path:
        """Where the lock of each process that records runs lies."""
        return self.path.parent / "runners"

    def new_journal(self) -> JournalReader:
        """A journal for one worker of this process; what it holds is recovered when this process dies.

        Raises:
            LedgerError: this process cannot be entered as one that records runs.
            OSError: the file cannot be made.
        """
        from data_engine.ledger.journal import JournalReader, journal_path

        self._require_usable()
        with self._use() as connection:
            if not self._is_runner_stored:
                with transaction(connection):
                    self._enter_runner(connection)
                self._is_runner_stored = True
        return JournalReader(journal_path(self.runners_dir, str(self._runner_id), os.urandom(8).hex()))

    def record(self, *events: Event, has_begun: bool = False, end_waits: bool = False) -> None:
        """Store what happened, in this order: with a run's start, its publishing or its end among it before this returns, in
        one commit; all else within 200 ms. Progress is not stored. Where `end_waits`, an end is stored with the next start: the next
        run of the same pass begins at once, and `flush` follows the last.

        The first end of a run decides; steps of a run that has ended or never began change nothing.

        Raises:
            LedgerError: these events, or earlier ones, cannot be written now. Starts of runs among them are then not
                stored, ever, unless these have begun all the same (`has_begun`: a journal has them); any other event is
                kept in memory and written as soon as the file can be.
        """
        self._require_usable()
        if len(events) == 1 and type(events[0]) not in _HANDLED:  # most
            self._commit.add(*events)
            return
        stored = [event for event in events if type(event) is not StepProgress]
        at_once = _BEGINNINGS if end_waits else _WRITTEN_AT_ONCE
        if any(type(event) in at_once for event in stored):
            unbegun = [] if has_begun else [event for event in stored if type(event) is RunStarted]
            self._commit.add_and_flush(*stored, forget=unbegun)
        elif stored:
            self._commit.add(*stored)

    def wait_at_most(self, busy_timeout_s: float) -> None:
        """From now on a write waits so long for another process's."""
        with self._use() as connection:
            connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout_s * 1000)}")

    def flush(self) -> None:
        """Write all that was recorded; raises `LedgerError` when that fails, keeping it for the next time."""
        self._require_usable()
        self._commit.flush()

    def require_writable(self) -> None:
        """Write all that was recorded, and see that more could be written now; raises `LedgerError` when not."""
        self.flush()
        with self._use() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")

    def close(self) -> None:
        """Write all that was recorded and close the file. Runs that are still open count as abandoned from now on.

        Raises:
            LedgerError: the last events could not be written; the file is closed all the same.
        """
        if self._is_closed or self._pid != os.getpid():
            return
        self._is_closed = True
        try:
            self._commit.close()
        finally:
            with self._connection_lock:
                self._connection.close()
            if self._runner is not None:
                self._runner.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def data_version(self) -> int:
        """A number that changes when another connection, of this or another process, has written."""
        return int(self._rows("PRAGMA data_version")[0][0])

    def version(self) -> tuple[int, int]:
        """Equal while nobody has written, this connection included."""
        with self.reading() as connection:
            return int(connection.execute("PRAGMA data_version").fetchone()[0]), connection.total_changes

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, to ask; for the other modules of this folder."""
        self._require_usable()
        with self._use() as connection:
            yield connection

    @contextmanager
    def writing(self, *, durable: bool = False) -> Iterator[tuple[sqlite3.Connection, int]]:
        """A transaction with the revision of its rows; `durable`: kept through a power cut. For the modules of this folder."""
        self._require_usable()
        with self._use() as connection:
            if durable:
                connection.execute("PRAGMA synchronous = FULL")
            try:
                with transaction(connection) as rev:
                    yield connection, rev
            finally:
                if durable:
                    connection.execute("PRAGMA synchronous = NORMAL")

    def _write(self, batch: list[Event]) -> None:
        try:
            self._write_rows(batch)
        except UnicodeEncodeError:
            self._write_rows([storable(event) for event in batch])

    def _write_rows(self, batch: list[Event]) -> None:
        from data_engine.ledger.writer import write_events

        with self._use() as connection:
            has_starts = any(type(event) is RunStarted for event in batch)
            with transaction(connection) as rev:
                if has_starts and not self._is_runner_stored:
                    self._enter_runner(connection)
                write_events(connection, batch, runner_id=self._runner_id, rev=rev)
            self._is_runner_stored = self._is_runner_stored or has_starts

    def _enter_runner(self, connection: sqlite3.Connection) -> None:
        """Store, in a transaction of the caller's, that this process records runs; its lock says for how long."""
        if self._runner is None:
            self._become_runner()
        connection.execute(
            "INSERT INTO runners (runner_id, pid, create_time, started_at_utc) VALUES (?, ?, ?, ?)",
            (self._runner_id, self._pid, self._created_s, utc_text(time.time())),
        )

    def _become_runner(self) -> None:
        import psutil

        runner_id = f"{self._pid}-{os.urandom(8).hex()}"
        runner = RunnerLock(self.runners_dir, runner_id)
        runner.try_acquire()
        self._created_s = psutil.Process().create_time()
        self._runner, self._runner_id = runner, runner_id

    def _rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        self._require_usable()
        with self._use() as connection:
            return connection.execute(statement, storable(parameters)).fetchall()

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with InterruptsHeld(), self._connection_lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise as_ledger_error(error, self.path) from error

    def _require_usable(self) -> None:
        if self._pid != os.getpid():
            raise LedgerError(
                "the run history was opened by the process this one was forked from",
                where=str(self.path),
                fix="open it here: Ledger.open(path)",
            )
        if self._is_closed:
            raise LedgerError("the run history is closed", where=str(self.path), fix="open it again")

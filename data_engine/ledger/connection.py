"""SQLite with WAL, short transactions that carry a revision, group commit, and errors that say the fix."""

from __future__ import annotations

import copy
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from data_engine.errors import LedgerError
from data_engine.locks import InterruptsHeld

if TYPE_CHECKING:
    from data_engine.model import Event

_CHECKPOINT_PAGES = 4000
"""A commit that moves the log into the file waits for the disk: once in 16 MB, not in 4."""
_CACHE_KIB = 1024
"""Half of SQLite's own, of every process that has the history open; nothing measured got slower by it."""

_CAUSES = (
    ("SQLITE_FULL", "the disk is full", "free some space on that drive"),
    ("SQLITE_READONLY", "the run history is read-only", "make the file and its folder writable for this user"),
    ("SQLITE_CANTOPEN", "the run history cannot be opened", "make the file and its folder writable for this user"),
    ("SQLITE_NOTADB", "the file is not a run history", "move the file away; a new history begins without it"),
    ("SQLITE_CORRUPT", "the run history is damaged", "move the file away; a new history begins without it"),
    ("SQLITE_BUSY", "another process keeps the run history locked", "let that process end its work, then try again"),
    ("SQLITE_IOERR", "the drive of the run history fails", "look for a full, disconnected or broken drive"),
)


def connect(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """A connection in WAL mode, synchronous NORMAL, without implicit transactions; any thread may use it.

    Raises:
        sqlite3.Error: the file cannot be opened, or is not a database.
    """
    connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    try:
        _enter_wal(connection, busy_timeout_s)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_look(path: Path) -> sqlite3.Connection:
    """A connection that only reads, and makes no file.

    Raises:
        sqlite3.Error: the file cannot be opened, or is not a database.
    """
    # A file in WAL mode without its log is in nobody's use: read as immutable, no log is made for it.
    is_in_use = Path(f"{path}-wal").exists()
    uri = f"{path.absolute().as_uri()}?{'mode=ro' if is_in_use else 'immutable=1'}"
    return sqlite3.connect(uri, uri=True, timeout=1.0)


def _enter_wal(connection: sqlite3.Connection, patience_s: float) -> None:
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Two processes that make a file WAL at once get "locked" without the busy timeout being waited for.
            if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() >= deadline_s:
                raise
            time.sleep(0.005)
        else:
            return


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[int]:
    """A write transaction with the revision its rows are stamped with; whole or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        ((rev,),) = connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'rev' RETURNING value").fetchall()
        yield rev
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class GroupCommit:
    """Writes added events in batches, in their order; a batch whose write raised is written again.

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
            with suppress(Exception):  # it is kept, and the next add() raises it
                self.flush()


def as_ledger_error(error: sqlite3.Error, path: Path) -> LedgerError:
    """An error of SQLite as a `LedgerError` with its fix.

    Example:
        >>> print(as_ledger_error(sqlite3.Error("odd"), Path("a.sqlite")))
        the run history cannot be used: odd
          where: a.sqlite
          fix:   run data-engine doctor
    """
    name = getattr(error, "sqlite_errorname", "")
    for prefix, what, fix in _CAUSES:
        if name.startswith(prefix):
            return LedgerError(f"{what}: {error}", where=str(path), fix=fix)
    return LedgerError(f"the run history cannot be used: {error}", where=str(path), fix="run data-engine doctor")


def meta(connection: sqlite3.Connection, key: str) -> int:
    """The number that the ledger keeps under this key."""
    return int(connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])


def put_setting(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Store a setting of this machine, in a transaction of the caller's."""
    connection.execute(
        "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def known_list(connection: sqlite3.Connection) -> tuple[int, str, frozenset[str]]:
    """The known end of the list of generations: the highest number, its nonce, and the nonces of its repairs."""
    number = meta(connection, "known_generation")
    rows = connection.execute("SELECT number, nonce, is_repair FROM known_list").fetchall()
    nonce = next((nonce for at, nonce, is_repair in rows if not is_repair and at == number), "")
    return number, nonce, frozenset(nonce for _, nonce, is_repair in rows if is_repair)

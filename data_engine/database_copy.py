"""One consistent copy of a database that other programs write, read a piece at a time so that no writer waits for it.

Between two pieces the file is closed: on Windows DuckDB lets no program open for writing what another one has open. On POSIX closing a
file drops all locks that the process has on it, so where code of authors runs a process of its own does this: `answer`.

Reference: fcntl_locking(2); https://duckdb.org/docs/stable/connect/concurrency; https://www.sqlite.org/backup.html
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from io import FileIO
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from data_engine.answering_process import ParentProcess
from data_engine.platforms.files import (
    CAN_REPLACE_OPEN_FILES,
    copy_range,
    is_open_elsewhere,
    open_shared,
    read_at,
    read_plainly,
)
from data_engine.user_files import clone, writer_of

PIECE_BYTES = 8 * 1024**2
_LOGS = (".wal", ".wal.checkpoint", ".wal.recovery", "-wal", "-journal")
_HEAD_BYTES = 3 * 4096
"""DuckDB's three headers, of which a checkpoint changes one; SQLite's counter of changes and a log's salts are before that, too."""
_SQLITE, _DUCKDB = b"SQLite format 3\0", b"DUCK"
_RESTARTS = 20
_WAIT_S = 5.0
_SOMEBODY = "another program"


class Look(NamedTuple):
    """A database as it is now: `state` stands for its content, "" where that is not known; `writer` is the program that writes it.

    After `take`, `is_copied` says whether the copy is there; where not and without a writer, it is too large or `trouble` says why.
    """

    state: str = ""
    size_bytes: int = 0
    writer: str | None = None
    is_copied: bool = False
    trouble: str = ""


class _WriterCameError(Exception):
    """The database was changed while it was copied."""


def look(database: Path) -> Look:
    """The database as it is now, seen by opening its files afresh: what a listing says may be old on a share.

    Raises:
        OSError: it cannot be read.

    Example:
        >>> import tempfile
        >>> database = Path(tempfile.mkdtemp()) / "a.db"
        >>> with closing(sqlite3.connect(database)) as connection:
        ...     _ = connection.execute("CREATE TABLE t (n)")
        >>> before = look(database)
        >>> before.writer is None, look(database) == before
        (True, True)
    """
    digest, size = hashlib.blake2b(digest_size=16), 0
    try:
        writer = None if _is_sqlite(database) else writer_of(database)
        for part in parts_of(database):
            with _opened(part) as descriptor:
                facts = os.fstat(descriptor)
                head, end = read_at(descriptor, _HEAD_BYTES, 0), b""
                if part != database:  # a log grows at its end
                    end = read_at(descriptor, _HEAD_BYTES, max(0, facts.st_size - _HEAD_BYTES))
            if facts.st_size or part == database:  # whoever opens a database may leave an empty log
                digest.update(repr((part.name, facts.st_size, facts.st_mtime_ns, head, end)).encode())
                size += facts.st_size
    except OSError as error:
        return _while_written(database, error)
    return Look(digest.hexdigest(), size, writer)


def take(database: Path, target: Path, limit_bytes: int, piece_bytes: int = PIECE_BYTES) -> Look:
    """Make `target`, in a folder of its own, a copy of the database with its logs that nobody writes; what it was when it was copied.

    It is a clone where the drive can; else no copy is made of more than `limit_bytes`. Where a writer is at work, or comes meanwhile,
    there is no copy; what lies in the folder then is nothing.

    Raises:
        OSError: the database cannot be read, or the copy not be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with closing(sqlite3.connect(folder / "a.db")) as connection:
        ...     _ = connection.execute("CREATE TABLE t (n)")
        >>> (folder / "copy").mkdir()
        >>> taken = take(folder / "a.db", folder / "copy" / "a.db", 10**6)
        >>> taken.is_copied, taken.state == look(folder / "a.db").state
        (True, True)
    """
    before = look(database)
    if before.writer is not None:
        return before
    try:
        is_sqlite = _is_sqlite(database)
        if is_sqlite and before.size_bytes > limit_bytes:
            return before
        if is_sqlite:
            _back_up(database, target, piece_bytes)
        else:
            for part in parts_of(database):
                copied = target.with_name(target.name + part.name.removeprefix(database.name))
                if not clone(part, copied):
                    if before.size_bytes > limit_bytes:
                        return before
                    _copy(part, copied, piece_bytes)
            if (after := look(database)) != before:
                return Look(writer=after.writer or _SOMEBODY)
    except _WriterCameError:
        return Look(writer=look(database).writer or _SOMEBODY)
    except OSError as error:
        return _while_written(database, error)
    if trouble := _why_not_opened(target, is_sqlite=is_sqlite):
        return before._replace(trouble=trouble)
    for path in parts_of(target):
        path.chmod(0o400)
    return before._replace(is_copied=True)


def _while_written(database: Path, error: OSError) -> Look:
    """What is seen where a writer is why a file could not be opened: it has that open, or removed a log."""
    if not is_open_elsewhere(error) and not (isinstance(error, FileNotFoundError) and database.is_file()):
        raise error
    return Look(writer=writer_of(database) or _SOMEBODY)


def answer(parent: ParentProcess) -> None:
    """Be the process that looks at and copies databases: answer [database] and [database, target, limit in bytes], as JSON."""
    read_plainly()
    while True:
        database, *wish = json.loads(parent.receive())
        try:
            seen = take(Path(database), Path(wish[0]), wish[1]) if wish else look(Path(database))
        except (OSError, sqlite3.Error) as error:
            seen = Look(trouble=str(error))
        parent.send(json.dumps(seen).encode())


def parts_of(database: Path) -> list[Path]:
    """The files that make up the database, itself first."""
    return [path for end in ("", *_LOGS) if (path := Path(f"{database}{end}")).is_file() or not end]


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = open_shared(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_sqlite(path: Path) -> bool:
    with _opened(path) as descriptor:
        return read_at(descriptor, len(_SQLITE), 0) == _SQLITE


def _copy(source: Path, target: Path, piece_bytes: int) -> None:
    """Copy the file, closing it after each piece."""
    offset, first = 0, None
    room = memoryview(bytearray(piece_bytes))  # new room for each piece would take longer than the reading
    with open(target, "wb", buffering=0) as writer:
        while True:
            started_s = time.perf_counter()
            with FileIO(open_shared(source, os.O_RDONLY)) as reader:
                facts = os.fstat(reader.fileno())
                copied = copy_range(reader.fileno(), writer.fileno(), piece_bytes, offset)
                reader.seek(offset)
                piece = room[: 0 if copied else reader.readinto(room)]
            took_s = time.perf_counter() - started_s
            now = facts.st_size, facts.st_mtime_ns
            if (first := first or now) != now:
                raise _WriterCameError
            if not (copied or piece):
                break
            writer.seek(offset)
            offset += copied or len(piece)
            while piece:
                piece = piece[writer.write(piece) :]
            if not CAN_REPLACE_OPEN_FILES:  # nor can a writer open what is open here
                time.sleep(took_s)
    os.utime(target, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _back_up(source: Path, target: Path, piece_bytes: int) -> None:
    """Copy a database of SQLite, which lets others write it between two pieces and then begins anew."""
    restarts, last_left = 0, sys.maxsize

    def count(status: int, left: int, total: int) -> None:
        nonlocal restarts, last_left
        restarts, last_left = restarts + (left >= last_left), left
        if restarts > _RESTARTS:
            raise _WriterCameError

    try:
        with (
            closing(sqlite3.connect(f"file:{quote(source.as_posix())}?mode=ro", uri=True, timeout=_WAIT_S)) as reader,
            closing(sqlite3.connect(target)) as writer,
        ):
            ((page_bytes,),) = reader.execute("PRAGMA page_size")
            reader.backup(writer, pages=max(1, piece_bytes // page_bytes), progress=count, sleep=0.01)
            writer.execute("PRAGMA journal_mode = DELETE")  # else each reader would need files beside it
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise _WriterCameError from error
        raise


def _why_not_opened(copied: Path, *, is_sqlite: bool) -> str:
    """The reason why the copy cannot be opened to read; "" where it can, or is of a format that only its author knows."""
    if is_sqlite:
        with closing(sqlite3.connect(f"file:{quote(copied.as_posix())}?mode=ro", uri=True)) as reader:
            reader.execute("SELECT count(*) FROM sqlite_master")
        return ""
    with _opened(copied) as descriptor:
        if read_at(descriptor, 4, 8) != _DUCKDB:
            return ""  # of another program, or empty
    import duckdb

    try:
        with duckdb.connect(
            str(copied), read_only=True, config={"autoinstall_known_extensions": "false"}
        ) as connection:
            connection.execute("SELECT count(*) FROM duckdb_tables()").fetchall()
    except duckdb.Error as error:
        return "" if "encrypt" in str(error) else str(error).splitlines()[0]
    return ""

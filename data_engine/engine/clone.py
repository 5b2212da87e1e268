"""Copies of files: clones where the drive can, which cost nothing, else plain copies; and consistent copies of databases.

Reference: the SQLite backup API, https://www.sqlite.org/backup.html; a DuckDB file is locked by its writer, https://duckdb.org/docs/stable/connect/concurrency.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.platforms.copies import clone, copy, head_of, writer_of
from data_engine.platforms.files import is_open_elsewhere

WAIT_FOR_HOLDER_S = 10.0
_SQLITE = b"SQLite format 3\0"
_PAUSE_S = 0.1
BESIDE = (".wal", "-wal", "-shm", "-journal")
"""What databases keep beside their file."""


def _allow_any(size_bytes: int) -> None:
    pass


def clone_or_copy(source: Path, target: Path, allow: Callable[[int], None] = _allow_any) -> None:
    """Make `target` as the file `source` is, with its time; `allow` is asked first how much may be copied, not cloned.

    Raises:
        OSError: `source` cannot be read, or `target` not be written whole.
    """
    if not clone(source, target):
        allow(os.stat(source).st_size)
        copy(source, target)


def copy_database(
    source: Path, target: Path, allow: Callable[[int], None] = _allow_any, *, wait_s: float = WAIT_FOR_HOLDER_S
) -> None:
    """Make `target` one consistent state of the database `source`, with what its log holds.

    A database that is held open for writing is waited for, `wait_s` at most; one of SQLite may be written meanwhile. `allow` is
    told of each part's size in bytes before it is copied; of none that is cloned.

    Raises:
        FlowValidationError: it is still held; says by which process.
        OSError: it cannot be read, or `target` not be written whole.
    """
    if _is_sqlite(source):
        allow(sum(one.stat().st_size for one in _parts(source)))
        _copy_sqlite(source, target)
        return
    deadline_s = time.monotonic() + wait_s
    while (holder := writer_of(source)) is not None:
        if time.monotonic() >= deadline_s:
            raise FlowValidationError(
                f"the database {source.name} is held open for writing by {holder}, so it cannot be copied",
                where="context.database",
                fix="close that connection, or read it with context.database(name, read_only=True) if the step only reads",
            )
        time.sleep(_PAUSE_S)
    for part in _parts(source):
        clone_or_copy(part, target.with_name(target.name + part.name.removeprefix(source.name)), allow)


def _parts(database: Path) -> list[Path]:
    """The files that make up the database."""
    return [one for beside in ("", *BESIDE) if (one := Path(f"{database}{beside}")).is_file()]


def _is_sqlite(path: Path) -> bool:
    try:
        return head_of(path, len(_SQLITE)) == _SQLITE
    except OSError as error:
        if writer_of(path) is None or not is_open_elsewhere(error):
            raise
        return False  # SQLite lets others read, also while it writes


def _copy_sqlite(source: Path, target: Path) -> None:
    try:
        with (
            closing(sqlite3.connect(f"file:{_quoted(source)}?mode=ro", uri=True, timeout=WAIT_FOR_HOLDER_S)) as reader,
            closing(sqlite3.connect(target)) as writer,
        ):
            reader.backup(writer)
    except sqlite3.Error as error:
        raise OSError(errno.EIO, f"the database cannot be copied: {error}", str(source)) from error
    shutil.copystat(source, target)


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(path.as_posix())

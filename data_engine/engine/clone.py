"""Copies of files: clones where the drive can, which cost nothing, else plain copies; and consistent copies of databases.

Reference: ioctl_ficlone(2) (Btrfs, XFS, bcachefs, OCFS2), clonefile(2) of macOS (APFS); the SQLite backup API,
https://www.sqlite.org/backup.html; a DuckDB file is locked by its writer, https://duckdb.org/docs/stable/connect/concurrency.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

from data_engine.errors import FlowValidationError

WAIT_FOR_HOLDER_S = 10.0
_FICLONE = 0x40049409
_SQLITE = b"SQLite format 3\0"
_PAUSE_S = 0.1
BESIDE = (".wal", "-wal", "-shm", "-journal")
"""What databases keep beside their file."""


def clone(source: Path, target: Path) -> bool:
    """Make `target` a clone of the file `source`, with its time; False, and nothing there, where the drive cannot.

    Raises:
        OSError: `source` cannot be read, or `target` not be made.
    """
    if sys.platform == "linux":
        import fcntl

        with open(source, "rb") as reader, open(target, "wb") as writer:
            try:
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            except OSError:
                is_cloned = False
            else:
                is_cloned = True
    elif sys.platform == "darwin":
        is_cloned = _clonefile(source, target)
    else:
        is_cloned = False
    if is_cloned:
        shutil.copystat(source, target)
    else:
        target.unlink(missing_ok=True)
    return is_cloned


def clone_or_copy(source: Path, target: Path) -> None:
    """Make `target` as the file `source` is, with its time.

    Raises:
        OSError: `source` cannot be read, or `target` not be written whole.
    """
    if not clone(source, target):
        shutil.copy2(source, target)


def copy_database(source: Path, target: Path, *, wait_s: float = WAIT_FOR_HOLDER_S) -> None:
    """Make `target` one consistent state of the database `source`, with what its log holds.

    A database that is held open for writing is waited for, `wait_s` at most; one of SQLite may be written meanwhile.

    Raises:
        FlowValidationError: it is still held; says by which process.
        OSError: it cannot be read, or `target` not be written whole.
    """
    if _is_sqlite(source):
        _copy_sqlite(source, target)
        return
    deadline_s = time.monotonic() + wait_s
    while (holder := writer_of(source)) is not None:
        if time.monotonic() >= deadline_s:
            raise FlowValidationError(
                f"the database {source.name} is held open for writing by {holder}, so no state of it can be copied",
                where="context.database",
                fix="close that connection, or read it with context.database(name, read_only=True) where only reading is meant",
            )
        time.sleep(_PAUSE_S)
    for beside in ("", *BESIDE):
        one = Path(f"{source}{beside}")
        if one.exists():
            clone_or_copy(one, Path(f"{target}{beside}"))


def writer_of(path: Path) -> str | None:
    """Who holds the file open for writing, in words; None when nobody does, as far as the system tells."""
    if path in _open_here(path):
        return f"this process ({os.getpid()})"
    if sys.platform == "win32":
        return _writer_by_opening(path)
    return _writer_by_lock(path)


def _writer_by_lock(path: Path) -> str | None:
    if sys.platform == "win32":
        return None
    import fcntl
    import struct

    # Asked, never taken: closing a file lets go of all locks that this process has on it (fcntl(2)).
    layout = "hhqqi4x" if sys.platform == "linux" else "qqihh"
    with open(path, "rb") as file:
        if sys.platform == "linux":
            asked = struct.pack(layout, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        else:
            asked = struct.pack(layout, 0, 0, 0, fcntl.F_RDLCK, os.SEEK_SET)
        try:
            found = struct.unpack(layout, fcntl.fcntl(file.fileno(), fcntl.F_GETLK, asked))
        except OSError:
            return None
    kind, pid = (found[0], found[4]) if sys.platform == "linux" else (found[3], found[2])
    return _named(pid) if kind == fcntl.F_WRLCK else None


def _writer_by_opening(path: Path) -> str | None:
    try:
        with open(path, "r+b"):
            return None
    except PermissionError as error:
        return "another program" if getattr(error, "winerror", None) in (32, 33) else None


def _named(pid: int) -> str:
    import psutil

    with suppress(psutil.Error):
        return f"{psutil.Process(pid).name()} (process {pid})"
    return f"process {pid}"


def _open_here(path: Path) -> set[Path]:
    """`path`, where this very process has it open to write: locks do not tell, they are between processes."""
    if sys.platform == "linux":
        with suppress(OSError):
            facts = os.stat(path)
            for name in os.listdir("/proc/self/fd"):
                with suppress(OSError, ValueError):
                    its = os.stat(f"/proc/self/fd/{name}")
                    if (its.st_ino, its.st_dev) == (facts.st_ino, facts.st_dev) and _is_writing(name):
                        return {path}
    return set()


def _is_writing(descriptor: str) -> bool:
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
        flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
    return bool(flags & (os.O_WRONLY | os.O_RDWR))


def _is_sqlite(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


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


def _clonefile(source: Path, target: Path) -> bool:
    import ctypes

    target.unlink(missing_ok=True)
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.clonefile(os.fsencode(source), os.fsencode(target), 0) == 0)

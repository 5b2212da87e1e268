"""Copies of files, clones where the drive can make them, and who holds a file open for writing.

`data_engine/user_files.py` calls it for the rest of the product: in a child process where a file may be a database.

Reference: ioctl_ficlone(2) (Btrfs, XFS, bcachefs, OCFS2), clonefile(2) of macOS (APFS); F_GETLK in fcntl(2).
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_engine.platforms.files import let_go, open_shared, read_at

_CHUNK_BYTES = 1024**2


def clone(source: Path, target: Path) -> bool:
    """Make `target` a clone of the file `source`, with its time; False, and nothing there, where the drive cannot.

    Raises:
        OSError: `source` cannot be read, or `target` not be made.
    """
    is_cloned = _clone(source, target)
    if is_cloned:
        shutil.copystat(source, target)
    else:
        target.unlink(missing_ok=True)
    return is_cloned


def copy(source: Path, target: Path) -> int:
    """Make `target` a plain copy of the file `source`, with its time; the size in bytes.

    Raises:
        OSError: `source` cannot be read, or `target` not be written whole.
    """
    offset = 0
    with _opened(source) as reader, open(target, "wb", buffering=0) as writer:
        while data := memoryview(read_at(reader, _CHUNK_BYTES, offset)):
            offset += len(data)
            while data:
                data = data[writer.write(data) :]
    shutil.copystat(source, target)
    return offset


if sys.platform == "win32":
    from data_engine.platforms.files import has_writer, who_holds

    def is_written_here(path: Path) -> bool:
        """Whether this process has the file open for writing, where `locked_by` does not tell."""
        return False

    def lock_again(path: Path) -> None:
        """Nothing: a lock stays when another handle is closed."""

    def _clone(source: Path, target: Path) -> bool:
        return False

    def locked_by(path: Path) -> str | None:
        """The program that holds the file open for writing, in words; None when none does, as far as the system tells."""
        return (who_holds(path) or "another program") if has_writer(str(path)) else None

else:
    import fcntl
    import struct

    from data_engine.platforms.files import own_descriptors

    _FLOCK, _KIND, _HOLDER = ("hhqqi4x", 0, 4) if sys.platform == "linux" else ("qqihh", 3, 2)
    """The fields of `struct flock`, and which of them are the kind of the lock and the number of its holder."""

    def is_written_here(path: Path) -> bool:
        """Whether this process has the file open for writing, where `locked_by` does not tell: locks are between processes."""
        return bool(_to_write(path))

    def lock_again(path: Path) -> None:
        """Take DuckDB's lock for what this process has open for writing anew, after DuckDB itself has let go of it."""
        with suppress(OSError):  # another process was quicker
            for own in _to_write(path):
                fcntl.lockf(own, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _to_write(path: Path) -> list[int]:
        with suppress(OSError):
            return [
                own
                for own in own_descriptors(os.stat(path))
                if fcntl.fcntl(own, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR)
            ]
        return []

    def locked_by(path: Path) -> str | None:
        """The program that has a lock to write the file, in words; None when none does, as far as the system tells."""
        request = struct.pack(_FLOCK, *(fcntl.F_RDLCK if field == _KIND else 0 for field in range(5)))
        with _opened(path) as descriptor:
            try:
                lock = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, request))
            except OSError:
                return None
        return _named(lock[_HOLDER]) if lock[_KIND] == fcntl.F_WRLCK else None

    if sys.platform == "linux":
        _FICLONE = 0x40049409

        def _clone(source: Path, target: Path) -> bool:
            with _opened(source) as reader, open(target, "wb") as writer:
                try:
                    fcntl.ioctl(writer.fileno(), _FICLONE, reader)
                except OSError:
                    return False
            return True

    else:

        def _clone(source: Path, target: Path) -> bool:
            import ctypes

            target.unlink(missing_ok=True)
            library = ctypes.CDLL(None, use_errno=True)
            return bool(library.clonefile(os.fsencode(source), os.fsencode(target), 0) == 0)


def head_of(path: Path, size: int) -> bytes:
    """The first bytes of the file.

    Raises:
        OSError: it cannot be read.
    """
    with _opened(path) as descriptor:
        return read_at(descriptor, size, 0)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = open_shared(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        let_go(descriptor, path)


def _named(pid: int) -> str:
    import psutil

    with suppress(psutil.Error):
        return f"{psutil.Process(pid).name()} (process {pid})"
    return f"process {pid}"

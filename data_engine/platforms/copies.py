"""Clones of files where the drive can make them, and who holds a file open for writing.

Reference: ioctl_ficlone(2) (Btrfs, XFS, bcachefs, OCFS2), clonefile(2) of macOS (APFS); F_GETLK in fcntl(2).
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path


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


if sys.platform == "linux":
    import struct

    _FICLONE = 0x40049409

    def _clone(source: Path, target: Path) -> bool:
        import fcntl

        with open(source, "rb") as reader, open(target, "wb") as writer:
            try:
                fcntl.ioctl(writer.fileno(), _FICLONE, reader.fileno())
            except OSError:
                return False
        return True

    def writer_of(path: Path) -> str | None:
        """Who holds the file open for writing, in words; None when nobody does, as far as the system tells."""
        if _is_open_here(path):  # locks do not tell, they are between processes
            return f"this process ({os.getpid()})"
        import fcntl

        # Asked, never taken: closing a file lets go of all locks that this process has on it (fcntl(2)).
        asked = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
        with open(path, "rb") as file:
            try:
                kind, _, _, _, pid = struct.unpack("hhqqi4x", fcntl.fcntl(file.fileno(), fcntl.F_GETLK, asked))
            except OSError:
                return None
        return _named(pid) if kind == fcntl.F_WRLCK else None

    def _is_open_here(path: Path) -> bool:
        with suppress(OSError):
            facts = os.stat(path)
            for name in os.listdir("/proc/self/fd"):
                with suppress(OSError, ValueError):
                    its = os.stat(f"/proc/self/fd/{name}")
                    if (its.st_ino, its.st_dev) == (facts.st_ino, facts.st_dev) and _is_writing(name):
                        return True
        return False

    def _is_writing(descriptor: str) -> bool:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as file:
            flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
        return bool(flags & (os.O_WRONLY | os.O_RDWR))

elif sys.platform == "win32":
    from data_engine.platforms.files import is_locked

    def _clone(source: Path, target: Path) -> bool:
        return False

    def writer_of(path: Path) -> str | None:
        """Who holds the file open for writing, in words; None when nobody does, as far as the system tells."""
        return "another program" if is_locked(str(path), to_write=True) else None

else:
    import struct

    def _clone(source: Path, target: Path) -> bool:
        import ctypes

        target.unlink(missing_ok=True)
        library = ctypes.CDLL(None, use_errno=True)
        return bool(library.clonefile(os.fsencode(source), os.fsencode(target), 0) == 0)

    def writer_of(path: Path) -> str | None:
        """Who holds the file open for writing, in words; None when nobody does, as far as the system tells."""
        import fcntl

        asked = struct.pack("qqihh", 0, 0, 0, fcntl.F_RDLCK, os.SEEK_SET)
        with open(path, "rb") as file:
            try:
                _, _, pid, kind, _ = struct.unpack("qqihh", fcntl.fcntl(file.fileno(), fcntl.F_GETLK, asked))
            except OSError:
                return None
        return _named(pid) if kind == fcntl.F_WRLCK else None


def _named(pid: int) -> str:
    import psutil

    with suppress(psutil.Error):
        return f"{psutil.Process(pid).name()} (process {pid})"
    return f"process {pid}"

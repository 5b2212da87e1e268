"""The kind of drive that holds a path, where a path that a user gives leads, and the library that watches folders.

On Windows a mapped drive and a UNC path are network drives, `subst` gives a folder another letter, and a junction leads to
another drive: all of them are resolved first.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any

_OF_NETWORKS = frozenset(
    "nfs nfs3 nfs4 cifs smb smb2 smb3 smbfs afpfs webdav davfs afs ncpfs lustre ceph glusterfs gpfs beegfs".split()
)
_OF_NETWORKS_BY_FUSE = frozenset("sshfs glusterfs ceph davfs s3fs rclone smbnetfs".split())

_OCTAL = r"\\([0-7]{3})"
"""A blank, tab, line break or backslash in the mount table."""

if sys.platform == "win32":
    from data_engine.platforms import _win32

    _DRIVE_REMOTE = 4

    def network_drive(path: Path) -> str | None:
        """The kind of network drive that holds `path`, existing or not; None for a local one.

        Reference: GetDriveTypeW, which takes `\\\\server\\share\\` too. `resolve` follows mapped drives to their UNC path.
        """
        anchor = path.resolve().anchor
        if anchor.startswith("\\\\") and not anchor.startswith(("\\\\?\\", "\\\\.\\")):
            return "network drive"
        return "network drive" if _win32.kernel32.GetDriveTypeW(anchor) == _DRIVE_REMOTE else None

    def new_observer() -> Any:
        """An observer of the library that watches folders, which is not started."""
        import threading

        from watchdog.observers.api import BaseObserver
        from watchdog.observers.read_directory_changes import WindowsApiEmitter
        from watchdog.observers.winapi import close_directory_handle  # type: ignore[attr-defined, unused-ignore]

        class _Emitter(WindowsApiEmitter):
            """The library's own, which closes the handle of its folder once.

            That one closes it whenever it is stopped: by itself when the folder goes, or when it reads as somebody stops it, and
            by whoever stops it then. The second time the number may be that of any other handle of this process: a file, a
            socket, a lock of the interpreter.
            """

            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **options)
                self._closing = threading.Lock()

            def on_thread_stop(self) -> None:
                with self._closing:
                    handle, self._whandle = self._whandle, None  # type: ignore[has-type, unused-ignore]
                if handle:
                    close_directory_handle(handle)

        return BaseObserver(_Emitter)

else:

    def network_drive(path: Path) -> str | None:
        """The kind of network drive that holds `path`, existing or not; None for a local one."""
        return network_file_system(path.resolve(), _mounts())

    def _mounts() -> list[tuple[str, str]]:
        """The mount table: folder and type.

        Reference: proc(5); on Linux psutil gives the same, but takes as long to import as a command has.
        """
        if sys.platform == "linux":
            with suppress(OSError), open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as table:
                fields = [line.split(" ") for line in table]
                return [(_plain(row[1]), row[2]) for row in fields]
        import psutil

        return [(part.mountpoint, part.fstype) for part in psutil.disk_partitions(all=True)]

    def new_observer() -> Any:
        """An observer of the library that watches folders, which is not started."""
        from watchdog.observers import Observer

        return Observer()


def lasting(path: Path) -> Path:
    """`path` for a process that starts before drives of Windows have their letters: a mapped drive by its UNC path."""
    target = path.resolve() if sys.platform == "win32" else path
    return target if target.anchor.startswith("\\\\") and not target.anchor.startswith("\\\\?") else path


def _plain(folder: str) -> str:
    return re.sub(_OCTAL, lambda code: chr(int(code[1], 8)), folder) if "\\" in folder else folder


def network_file_system(path: PurePath, mounts: Iterable[tuple[str, str]]) -> str | None:
    """The network file system that holds `path`, by the mount table's (folder, type); None for a local one.

    The deepest mount decides, of two on one folder the later.

    Example:
        >>> from pathlib import PurePosixPath
        >>> network_file_system(PurePosixPath("/home/ann/state"), [("/", "ext4"), ("/home", "nfs4")])
        'nfs4'
        >>> network_file_system(PurePosixPath("/homes"), [("/", "ext4"), ("/home", "nfs4")]) is None
        True
    """
    holding, kind = -1, ""
    for folder, type_name in mounts:
        depth = len(type(path)(folder).parts)
        if depth >= holding and path.is_relative_to(folder):
            holding, kind = depth, type_name.lower()
    driver, _, name = kind.partition(".")
    is_remote = name in _OF_NETWORKS_BY_FUSE if driver in ("fuse", "osxfuse", "macfuse") else kind in _OF_NETWORKS
    return kind if is_remote else None

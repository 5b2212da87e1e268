"""The shared folder as the protocol sees it, whether a drive is fit for it, and what this machine is known by.

References: RFC 1813 RENAME and rename(2): a folder is renamed atomically and never onto a filled one; NFS answers ESTALE
where a file was replaced by another client; on Windows, and with EBUSY on an SMB mount of Linux, a name that anything has
open cannot be replaced or removed yet.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TypeVar

from data_engine import private
from data_engine.errors import WorkspaceError
from data_engine.files import create_exclusive, replace_file, sync_folder

_RETRY_DELAYS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
_T = TypeVar("_T")

_CLIENT_NAMES = {
    "OneDrive": r"OneDrive([ -].*)?",
    "Dropbox": r"Dropbox([ -].*| \(.*\))?",
    "iCloud Drive": r"iCloud ?Drive|Mobile Documents|com~apple~CloudDocs",
    "Google Drive": r"Google ?Drive([ -].*)?|DriveFS|My Drive",
    "Nextcloud": r"Nextcloud\d?",
    "ownCloud": r"ownCloud( - .*)?",
    "Box": r"Box( Sync|-.*)",
    "Syncthing": r"Syncthing",
    "Synology Drive": r"SynologyDrive",
    "pCloud": r"pCloud ?Drive",
    "MEGA": r"MEGAsync",
    "Proton Drive": r"Proton ?Drive([ -].*)?",
}
_CLIENT_MARKS = {
    ".dropbox": "Dropbox",
    ".dropbox.cache": "Dropbox",
    ".tmp.drivedownload": "Google Drive",
    ".sync_folder_marker.nextcloud": "Nextcloud",
    ".nextcloudsync.log": "Nextcloud",
    ".owncloudsync.log": "ownCloud",
    ".stfolder": "Syncthing",
    ".SynologyWorkingDirectory": "Synology Drive",
}
_CLIENT_VARIABLES = {"OneDrive": "OneDrive", "OneDriveCommercial": "OneDrive", "OneDriveConsumer": "OneDrive"}


class FileSystem(Protocol):
    """The eight operations the protocol needs. Paths use '/' and are relative to the state folder; all raise OSError."""

    def read(self, path: str) -> bytes:
        """The whole file."""

    def listdir(self, path: str) -> list[str]:
        """The names in a folder; "" is the state folder itself."""

    def write(self, path: str, data: bytes) -> None:
        """Create a file that was not there, durably."""

    def replace(self, src: str, dst: str) -> None:
        """Rename a file over another one or onto a free name."""

    def rename_dir(self, src: str, dst: str) -> None:
        """Rename a folder in one step; refused where `dst` is a filled folder."""

    def mkdir(self, path: str) -> None:
        """Make one folder that was not there."""

    def unlink(self, path: str) -> None:
        """Remove a file."""

    def rmdir(self, path: str) -> None:
        """Remove a folder; refused where it is filled."""


class OsFolder:
    """The real thing under `root`: durable, readable for colleagues, patient with scanners for up to 1.6 s.

    Example:
        >>> import tempfile
        >>> folder = OsFolder(Path(tempfile.mkdtemp()))
        >>> folder.mkdir("a"), folder.write("a/entry", b"1")
        (None, None)
        >>> folder.rename_dir("a", "b"), folder.read("b/entry"), folder.listdir("")
        (None, b'1', ['b'])
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes:
        """The whole file."""
        return _patient(self._at(path).read_bytes)

    def listdir(self, path: str) -> list[str]:
        """The names in a folder."""
        target = self._at(path)
        return _patient(lambda: os.listdir(target))

    def write(self, path: str, data: bytes) -> None:
        """Create a file that was not there; its content and its name are on the drive when this returns."""
        target = self._at(path)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            with suppress(OSError):
                target.unlink()
            raise
        sync_folder(target.parent)

    def replace(self, src: str, dst: str) -> None:
        """Rename a file over another one or onto a free name."""
        target = self._at(dst)
        replace_file(self._at(src), target)
        sync_folder(target.parent)

    def rename_dir(self, src: str, dst: str) -> None:
        """Rename a folder in one step; refused where `dst` is a filled folder."""
        source, target = self._at(src), self._at(dst)
        sync_folder(source)
        _patient(lambda: os.rename(source, target), except_taken=target)
        sync_folder(target.parent)

    def mkdir(self, path: str) -> None:
        """Make one folder that was not there."""
        os.mkdir(self._at(path))

    def unlink(self, path: str) -> None:
        """Remove a file."""
        _patient(self._at(path).unlink)

    def rmdir(self, path: str) -> None:
        """Remove a folder; refused where it is filled."""
        _patient(self._at(path).rmdir)

    def _at(self, path: str) -> Path:
        return self.root.joinpath(*path.split("/"))


def probe(folder: FileSystem) -> list[str]:
    """What this drive does that the protocol cannot live with; empty when it is fit to own a workspace on.

    Example:
        >>> import tempfile
        >>> probe(OsFolder(Path(tempfile.mkdtemp())))
        []
    """
    base = f".probe-{secrets.token_hex(6)}.tmp"
    try:
        folder.mkdir(base)
    except OSError as error:
        return [f"nothing can be written: {drive_words(error)}"]
    try:
        return list(_wrong_in(folder, base))
    except OSError as error:
        return [drive_words(error, base)]
    finally:
        with suppress(OSError):
            _remove(folder, base)


def drive_words(error: OSError, path: str = "") -> str:
    """What the drive said, and about which file or folder; `path` where it did not say.

    Example:
        >>> drive_words(FileNotFoundError(2, "No such file or directory", "/mnt/team/.workspace_state"))
        'No such file or directory: /mnt/team/.workspace_state'
    """
    about = error.filename or path
    return (error.strerror or str(error)) + (f": {about}" if about else "")


def sync_client(path: Path) -> str | None:
    """The product that copies `path` between machines (OneDrive, Dropbox, ...), or None.

    Told by the names of its folders, by the marks such products leave in the folder they copy, and by their variables.

    Example:
        >>> sync_client(Path("/Users/ann/Library/CloudStorage/OneDrive-Acme/claims"))
        'OneDrive'
        >>> sync_client(Path("/srv/dropboxes/claims")) is None
        True
    """
    for part in path.parts:
        for client, pattern in _CLIENT_NAMES.items():
            if re.fullmatch(pattern, part, re.IGNORECASE):
                return client
    for variable, client in _CLIENT_VARIABLES.items():
        root = os.environ.get(variable, "").strip()
        if root and path.is_relative_to(root):
            return client
    for folder in (path, *path.parents):
        for mark, client in _CLIENT_MARKS.items():
            if os.path.lexists(folder / mark) and mark in _listed(folder):
                return client
    return None


def _listed(folder: Path) -> list[str]:
    """The names that are really there; where hosts are mounted when they are asked for, any name seems to be."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def host_id() -> str:
    """The operating system's own id with the host's name; "" where there is none. Never decides without the local lock.

    Reference: machine-id(5); the registry's MachineGuid on Windows; on macOS the first network card's address.
    """
    system = _system_id()
    return f"{system}@{socket.gethostname()}" if system else ""


def lock_id(path: Path) -> str:
    """The random id kept in the file `path`, made at the first call. It lies beside the local lock of the workspace.

    Raises:
        WorkspaceError: the file can be neither read nor made.
    """
    try:
        private.make_folder(path.parent)
        create_exclusive(path, secrets.token_hex(16) + "\n", mode=private.FILE)
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(
            f"the id of this machine's lock cannot be kept: {error}",
            where=str(path),
            mend="make its folder writable for this user",
        ) from error


def _system_id() -> str:
    if sys.platform == "win32":
        import winreg

        with suppress(OSError), winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SOFTWARE\Microsoft\Cryptography") as key:
            return str(winreg.QueryValueEx(key, "MachineGuid")[0])
        return ""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(OSError, UnicodeDecodeError):
            text = Path(path).read_text(encoding="ascii").strip()
            if text and text != "uninitialized":
                return text
    import uuid

    node = uuid.getnode()
    is_random = bool(node >> 40 & 1)  # RFC 4122: without a card's address the multicast bit is set, a new one each time
    return "" if is_random else f"{node:012x}"


def _patient(action: Callable[[], _T], *, except_taken: Path | None = None) -> _T:
    """`action`, tried again for a while where somebody has the name open; not where `except_taken` is there."""
    for delay_s in (*_RETRY_DELAYS_S, None):
        try:
            return action()
        except OSError as error:
            if error.errno == errno.ESTALE:
                if delay_s is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), error.filename) from error
                continue
            is_open = error.errno == errno.EBUSY or (os.name == "nt" and isinstance(error, PermissionError))
            if delay_s is None or not is_open or (except_taken is not None and except_taken.exists()):
                raise
            time.sleep(delay_s)
    raise AssertionError("the last try returns or raises")


def _wrong_in(folder: FileSystem, base: str) -> list[str]:
    wrong = []
    for name in ("a", "b"):
        folder.mkdir(f"{base}/{name}")
        folder.write(f"{base}/{name}/entry.json", name.encode())
    try:
        folder.rename_dir(f"{base}/a", f"{base}/b")
    except OSError:
        if folder.read(f"{base}/a/entry.json") != b"a" or folder.read(f"{base}/b/entry.json") != b"b":
            return ["a refused folder rename changed something"]
    else:
        return ["a folder rename replaced a filled folder"]
    folder.rename_dir(f"{base}/a", f"{base}/b/c")
    if folder.read(f"{base}/b/c/entry.json") != b"a":
        wrong.append("a renamed folder is not seen under its new name")
    try:
        folder.write(f"{base}/b/entry.json", b"x")
    except FileExistsError:
        pass
    else:
        wrong.append("an exclusive create replaced a file")
    try:
        folder.rmdir(f"{base}/b")
    except OSError:
        pass
    else:
        return [*wrong, "a filled folder was removed"]
    folder.write(f"{base}/new", b"2")
    folder.replace(f"{base}/new", f"{base}/b/entry.json")
    if folder.read(f"{base}/b/entry.json") != b"2":
        wrong.append("a replaced file still shows its old content")
    return wrong


def _remove(folder: FileSystem, path: str) -> None:
    try:
        names = folder.listdir(path)
    except NotADirectoryError:
        folder.unlink(path)
        return
    for name in names:
        _remove(folder, f"{path}/{name}")
    folder.rmdir(path)

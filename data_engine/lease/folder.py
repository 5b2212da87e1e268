"""The shared folder as the protocol sees it, whether a drive is fit for it, and the ids of this machine.

References: RFC 1813 RENAME and rename(2): a folder is renamed atomically and never onto a filled one; NFS answers ESTALE
where a file was replaced by another client; on Windows, and with EBUSY on an SMB mount of Linux, a name that anything has
open cannot be replaced or removed yet.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, TypeVar

from data_engine import private
from data_engine.errors import WorkspaceError
from data_engine.files import create_exclusive
from data_engine.nofollow import NotFollowedError, OpenFolder, opened, remove_tree
from data_engine.platforms.drives import network_drive
from data_engine.platforms.files import NO_FOLLOW, NO_WAIT, OWN, is_open_elsewhere, open_shared
from data_engine.platforms.host import host_name, system_id

GENERATIONS = "state/generations"
"""The list of generations, which is there once anybody has owned the workspace."""

_RETRY_DELAYS_S = (0.05, 0.1, 0.2, 0.4, 0.8)
_T = TypeVar("_T")
_Entry = TypeVar("_Entry")

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


LARGEST_READ_BYTES = 256_000_000
"""No file of ours is larger; a larger file is not read."""

_GROWN_BYTES = 65536
"""The most that is read at once of a file that has grown since it was looked at."""

LARGEST_LISTING = 100_000
"""Names in a folder; of one with more none is believed. Folds and retention keep a table below some hundred segments, and
collection the list at four generations; where a scanner holds one open, a commit each 5 s takes six days to this many."""

Kind = Literal["file", "folder", "foreign"]


class NotOursError(NotFollowedError):
    """A path holds none of Data Engine's files: no regular file, too large, or a folder with too many names."""


class FileSystem(Protocol):
    """The nine operations the protocol needs. Paths use '/' and are relative to the state folder; all raise OSError.

    A link, a junction or a mount point on the way, or at its end, is never followed: `NotFollowedError`. `readers` is how
    many files may be read at once.
    """

    @property
    def readers(self) -> int: ...

    def read(self, path: str, limit: int = LARGEST_READ_BYTES) -> bytes:
        """The whole file, of `limit` bytes at most."""

    def listdir(self, path: str) -> list[str]:
        """The names in a folder; "" is the state folder itself."""

    def kind(self, path: str) -> Kind:
        """Whether it is a folder, anything else that can be in one ("file"), or leads elsewhere ("foreign")."""

    def write(self, path: str, data: bytes) -> None:
        """Create a file that was not there, durably."""

    def replace(self, src: str, dst: str) -> None:
        """Rename a file, or what is foreign, over a file or onto a free name."""

    def rename_dir(self, src: str, dst: str) -> None:
        """Rename a folder in one step; refused where `dst` is a filled folder."""

    def mkdir(self, path: str) -> None:
        """Make one folder that was not there."""

    def unlink(self, path: str) -> None:
        """Remove a file."""

    def rmdir(self, path: str) -> None:
        """Remove a folder; refused where it is filled."""


class OsFolder:
    """The real folder `root`: durable, readable for colleagues, patient with scanners for up to 1.6 s.

    `root` itself may be a link, nothing below it is followed. What Windows cannot do in one step nofollow.py says.

    Example:
        >>> import tempfile
        >>> folder = OsFolder(Path(tempfile.mkdtemp()))
        >>> folder.mkdir("a"), folder.write("a/entry", b"1")
        (None, None)
        >>> folder.rename_dir("a", "b"), folder.read("b/entry"), folder.listdir(""), folder.kind("b")
        (None, b'1', ['b'], 'folder')
    """

    readers = 8

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str, limit: int = LARGEST_READ_BYTES) -> bytes:
        """The whole file, of `limit` bytes at most."""
        return _patient(lambda: self._read(path, limit))

    def listdir(self, path: str) -> list[str]:
        """The names in a folder."""
        return _patient(lambda: self._names(path))

    def kind(self, path: str) -> Kind:
        """Whether it is a folder, a file, or leads elsewhere."""

        def look() -> Kind:
            with self._above(path) as (place, name):
                return place.kind(name)

        return _patient(look)

    def write(self, path: str, data: bytes) -> None:
        """Create a file that was not there; its content and its name are on the drive when this returns."""
        with self._above(path) as (place, name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | OWN
            descriptor = open_shared(place.at(name), flags, 0o666, dir_fd=place.descriptor)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:
                with suppress(OSError):
                    os.unlink(place.at(name), dir_fd=place.descriptor)
                raise
            _sync(place)

    def replace(self, src: str, dst: str) -> None:
        """Rename a file, or what is foreign, over a file or onto a free name."""
        with self._above(src) as (source, old), self._above(dst) as (target, new):
            with suppress(FileNotFoundError):
                if (kind := target.kind(new)) != "file":
                    raise NotOursError(errno.EEXIST, _A_FOLDER if kind == "folder" else _A_LINK, str(target.path / new))
            _patient(
                lambda: os.replace(
                    source.at(old), target.at(new), src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor
                )
            )
            _sync(target)

    def rename_dir(self, src: str, dst: str) -> None:
        """Rename a folder in one step; refused where `dst` is a filled folder."""
        with opened(self.root, src) as moved:
            _sync(moved)
        with self._above(src) as (source, old), self._above(dst) as (target, new):
            _patient(
                lambda: os.rename(
                    source.at(old), target.at(new), src_dir_fd=source.descriptor, dst_dir_fd=target.descriptor
                ),
                is_refused=lambda: _is_there(target, new),
            )
            _sync(target)

    def mkdir(self, path: str) -> None:
        """Make one folder that was not there."""
        with self._above(path) as (place, name):
            os.mkdir(place.at(name), dir_fd=place.descriptor)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        with self._above(path) as (place, name):
            if (kind := place.kind(name)) != "file":
                raise NotOursError(errno.EISDIR, _A_FOLDER if kind == "folder" else _A_LINK, str(place.path / name))
            _patient(lambda: os.unlink(place.at(name), dir_fd=place.descriptor))

    def rmdir(self, path: str) -> None:
        """Remove a folder; refused where it is filled."""
        with self._above(path) as (place, name):
            if place.kind(name) == "foreign":
                raise NotOursError(errno.ELOOP, _A_LINK, str(place.path / name))
            _patient(lambda: os.rmdir(place.at(name), dir_fd=place.descriptor))

    @contextmanager
    def _above(self, path: str) -> Iterator[tuple[OpenFolder, str]]:
        """The folder that `path` is in, open, and its name there."""
        above, _, name = path.rpartition("/")
        with opened(self.root, above) as place:
            yield place, name

    def _read(self, path: str, limit: int) -> bytes:
        with self._above(path) as (place, name):
            where = str(place.path / name)
            kind = "file" if place.descriptor is not None else place.kind(name)  # there the open says what it is
            if kind != "file":
                raise NotOursError(errno.ELOOP, _A_LINK, where) if kind == "foreign" else _no_file(where)
            # A pipe is opened without waiting for its other end.
            flags = os.O_RDONLY | NO_FOLLOW | NO_WAIT | OWN
            try:
                descriptor = open_shared(place.at(name), flags, dir_fd=place.descriptor)
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENXIO):
                    what = _A_LINK if error.errno == errno.ELOOP else _NO_FILE
                    raise NotOursError(error.errno, what, where) from error
                error.filename = where
                raise
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):  # a folder cannot even be wrapped as a file
                os.close(descriptor)
                raise _no_file(where)
            with os.fdopen(descriptor, "rb") as file:
                data = _read_up_to(file, limit, facts.st_size) if facts.st_size <= limit else b""
            if facts.st_size > limit or len(data) > limit:
                raise NotOursError(errno.EFBIG, f"it has more than {limit:,} bytes", where)
            return data

    def _names(self, path: str) -> list[str]:
        with (
            opened(self.root, path) as place,
            os.scandir(place.path if place.descriptor is None else place.descriptor) as entries,
        ):
            names = [entry.name for entry in islice(entries, LARGEST_LISTING + 1)]
        if len(names) > LARGEST_LISTING:
            raise NotOursError(errno.EFBIG, f"it holds more than {LARGEST_LISTING:,} names", str(self.root / path))
        return names


_A_LINK, _A_FOLDER, _NO_FILE = "it is a link or a mount point", "it is a folder", "it is not a regular file"


def _sync(place: OpenFolder) -> None:
    """Ask the drive to keep the folder's names; does nothing where folders cannot be synced."""
    if place.descriptor is not None:
        with suppress(OSError):
            os.fsync(place.descriptor)


def _is_there(place: OpenFolder, name: str) -> bool:
    try:
        os.stat(place.at(name), dir_fd=place.descriptor, follow_symlinks=False)
    except OSError:
        return False
    return True


def probe(folder: FileSystem) -> list[str]:
    """The faults of this drive that the protocol cannot live with; empty when it is fit to own a workspace on.

    Example:
        >>> import tempfile
        >>> probe(OsFolder(Path(tempfile.mkdtemp())))
        []
    """
    base = f".probe-{os.urandom(6).hex()}.tmp"
    try:
        folder.mkdir(base)
    except OSError as error:
        return [f"nothing can be written: {drive_text(error)}"]
    try:
        return list(_faults_in(folder, base))
    except OSError as error:
        return [drive_text(error, base)]
    finally:
        with suppress(OSError):
            remove(folder, base)


@contextmanager
def probe_folder(parent: Path) -> Iterator[Path]:
    """A new folder in `parent` that scans skip; it is gone afterwards."""
    folder = parent / f".probe-{os.urandom(6).hex()}.tmp"
    folder.mkdir()
    try:
        yield folder
    finally:
        remove_tree(parent, folder)


def clock_offset_s(folder: Path) -> float:
    """How far the clock that stamps files on this drive is ahead of this machine's; 0 when it agrees, below 0 behind.

    Read from a new folder: a client may stamp a file that it writes by its own clock, and tell the server later.
    """
    path = folder / "stamped"
    before_s = time.time()
    path.mkdir()
    after_s = time.time()
    stamp_s = path.stat().st_mtime
    return stamp_s - min(max(stamp_s, before_s), after_s)


def server_ahead_s(folder: Path) -> float | None:
    """How far the clock of the file server that has `folder` is ahead of this machine's; None for a local drive's.

    Raises:
        OSError: nothing can be written there.
    """
    if network_drive(folder) is None:
        return None
    with probe_folder(folder) as probed:
        return clock_offset_s(probed)


def drive_text(error: OSError, path: str = "") -> str:
    """The drive's error in words, with its file or folder; `path` where the error names none.

    Example:
        >>> drive_text(FileNotFoundError(2, "No such file or directory", "/mnt/team/.workspace_state"))
        'No such file or directory: /mnt/team/.workspace_state'
    """
    place = error.filename or path
    return (error.strerror or str(error)) + (f": {place}" if place else "")


def sync_client(path: Path) -> str | None:
    """The product that copies `path` between machines (OneDrive, Dropbox, ...), or None.

    Recognised by the names of its folders, by the marks such products leave in the folder they copy, and by their variables.

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
    system = system_id()
    return f"{system}@{host_name()}" if system else ""


def lock_id(path: Path) -> str:
    """The random id kept in the file `path`, made at the first call. It lies beside the local lock of the workspace.

    Raises:
        WorkspaceError: the file can be neither read nor made.
    """
    try:
        private.make_folder(path.parent)
        create_exclusive(path, os.urandom(16).hex() + "\n", mode=private.FILE)
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise WorkspaceError(
            f"the id of this machine's lock cannot be kept: {error}",
            where=str(path),
            fix="make its folder writable for this user",
        ) from error


def _patient(action: Callable[[], _T], *, is_refused: Callable[[], bool] = lambda: False) -> _T:
    """`action`, tried again for a while where somebody has the name open; not where `is_refused`."""
    for delay_s in (*_RETRY_DELAYS_S, None):
        try:
            return action()
        except OSError as error:
            if error.errno == errno.ESTALE:
                if delay_s is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), error.filename) from error
                continue
            if delay_s is None or not is_open_elsewhere(error) or is_refused():
                raise
            time.sleep(delay_s)
    raise AssertionError("the last try returns or raises")


def _read_up_to(file: BinaryIO, limit: int, size: int) -> bytes:
    """The bytes of the file, `limit` + 1 at the most; of a file that grows meanwhile more than its `size`.

    Never reads for more than is there: Windows touches room for all that is asked for, 256 MB for a line.
    """
    data = file.read(min(size, limit) + 1)
    while size < len(data) <= limit and (more := file.read(min(_GROWN_BYTES, limit + 1 - len(data)))):
        data += more
    return data


def _no_file(where: str) -> NotOursError:
    return NotOursError(errno.EINVAL, _NO_FILE, where)


def _faults_in(folder: FileSystem, base: str) -> list[str]:
    faults = []
    for name in ("stage-a", "stage-b"):
        folder.mkdir(f"{base}/{name}")
        folder.write(f"{base}/{name}/entry.json", name.encode())
    try:
        folder.rename_dir(f"{base}/stage-a", f"{base}/stage-b")
    except OSError:
        if (
            folder.read(f"{base}/stage-a/entry.json") != b"stage-a"
            or folder.read(f"{base}/stage-b/entry.json") != b"stage-b"
        ):
            return ["a refused folder rename changed something"]
    else:
        return ["a folder rename replaced a filled folder"]
    folder.rename_dir(f"{base}/stage-a", f"{base}/stage-b/stage-c")
    if folder.read(f"{base}/stage-b/stage-c/entry.json") != b"stage-a":
        faults.append("a renamed folder is not seen under its new name")
    try:
        folder.write(f"{base}/stage-b/entry.json", b"x")
    except FileExistsError:
        pass
    else:
        faults.append("an exclusive create replaced a file")
    try:
        folder.rmdir(f"{base}/stage-b")
    except OSError:
        pass
    else:
        return [*faults, "a filled folder was removed"]
    folder.write(f"{base}/sent.json", b"2")
    folder.replace(f"{base}/sent.json", f"{base}/stage-b/entry.json")
    if folder.read(f"{base}/stage-b/entry.json") != b"2":
        faults.append("a replaced file still shows its old content")
    return faults


NOT_OURS = "not_ours"
"""Where what lay inside of an old generation and is not Data Engine's is put, untouched, when the generation is removed."""

_OURS = re.compile(
    r"\d{10}|entry\.json|stage-\w+|token-\d{10}|lease\.json|again-\d{3}|recovered|sent\.json(\.\w+\.tmp)?"
    r"|\.DS_Store|\._.*|Thumbs\.db|desktop\.ini"
)


def make(folder: FileSystem, path: str) -> None:
    """Make a folder unless it is there."""
    with suppress(FileExistsError):
        folder.mkdir(path)


def put(folder: FileSystem, path: str, data: bytes, temp_id: str, *, makes_folders: bool = True) -> None:
    """Write the file whole; readers never see half of it. Folders above it are made, unless not `makes_folders`.

    Raises:
        OSError: the share is away, full or read-only; nothing of it is left. FileNotFoundError: a folder above it is not there.
    """
    temp = f"{path}.{temp_id}.tmp"
    try:
        folder.write(temp, data)
    except FileNotFoundError:  # a folder above it is gone, or was never there
        if not makes_folders:
            raise
        names = path.split("/")
        for count in range(1, len(names)):
            make(folder, "/".join(names[:count]))
        folder.write(temp, data)
    try:
        folder.replace(temp, path)
    except BaseException:
        with suppress(OSError):
            folder.unlink(temp)
        raise


def read_each(folder: FileSystem, read: Callable[[_Entry], _T], entries: Collection[_Entry]) -> list[_T]:
    """`read` of each entry, as many at once as the folder's readers."""
    if folder.readers == 1 or len(entries) < 2:
        return [read(entry) for entry in entries]
    from concurrent.futures import ThreadPoolExecutor  # its import takes 10 ms, which what only looks need not wait for

    with ThreadPoolExecutor(folder.readers) as readers:
        return list(readers.map(read, entries))


def names_in(folder: FileSystem, path: str) -> list[str]:
    """The names in a folder; none when it is not there."""
    try:
        return folder.listdir(path)
    except FileNotFoundError:
        return []


def unlink(folder: FileSystem, path: str) -> None:
    """Remove a file unless it is gone."""
    with suppress(FileNotFoundError):
        folder.unlink(path)


def remove(folder: FileSystem, path: str) -> dict[str, str]:
    """Remove what is ours of a small folder, or a file of ours, unless it is gone; returns what was left alone, and why.

    Inside of folders only names that Data Engine or a file manager puts there are removed; a link never is.

    Raises:
        OSError: the share is away, or something of ours is in use.
    """
    try:
        kind = folder.kind(path)
        if kind == "foreign":
            return {path: "it is a link or a mount point"}
        if kind == "file":
            folder.unlink(path)
            return {}
        left: dict[str, str] = {}
        for name in folder.listdir(path):
            if _OURS.fullmatch(name):
                left |= remove(folder, f"{path}/{name}")
            else:
                left[f"{path}/{name}"] = "it is not Data Engine's"
        if not left:
            folder.rmdir(path)
    except FileNotFoundError:
        return {}
    return left


def forget_gone(folder: FileSystem, left_alone: dict[str, str]) -> None:
    """Take out of `left_alone` what is not there any more.

    Raises:
        OSError: the share is away.
    """
    for path in list(left_alone):
        try:
            folder.kind(path)
        except FileNotFoundError:
            del left_alone[path]
        except (NotFollowedError, NotADirectoryError):  # there is something else in its way by now
            continue


def put_aside(folder: FileSystem, path: str, prefix: str) -> dict[str, str]:
    """Move what is not ours, untouched, out of a place of ours; returns where it is now, and why.

    Raises:
        OSError: it cannot be moved, as a mount point cannot.
    """
    target = f"{NOT_OURS}/{prefix}-{path.rpartition('/')[2]}"
    make(folder, NOT_OURS)
    if folder.kind(path) == "folder":
        folder.rename_dir(path, target)
    else:
        folder.replace(path, target)
    return {target: f"it was {path}, and is not Data Engine's"}


def clear_way(folder: FileSystem, path: str, prefix: str, *, to: Literal["file", "folder"]) -> dict[str, str]:
    """Put aside, untouched, what keeps a file or a folder of ours from being at `path`: the first such thing on the way to it.

    Raises:
        OSError: the share is away, or it cannot be moved.
    """
    names = path.split("/")
    for count in range(1, len(names) + 1):
        way, kind = "/".join(names[:count]), to if count == len(names) else "folder"
        try:
            if folder.kind(way) != kind:
                return put_aside(folder, way, prefix)
        except FileNotFoundError:
            break
    return {}

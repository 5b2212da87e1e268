"""Folders of ours, used without following a link, a junction or a mount point that somebody put into them.

Each function takes a `root`, which is the user's choice and followed wherever it leads, and a path below it, in which
nothing is followed: a symbolic link, a junction, or a folder where something else is mounted is *foreign*, left as it is,
and reported.

On POSIX every folder on the way is opened by its own name in the one above, so that nothing that is exchanged meanwhile
leads elsewhere. On Windows every folder on the way is held by a handle that lets nobody rename or remove it, and looked at
then: until it is closed its path leads to it and nowhere else.

Reference: openat(2), O_NOFOLLOW; `mnt_id` in proc_pid_fdinfo(5), which alone tells a bind mount of the same drive; CreateFileW
(dwShareMode, FILE_FLAG_OPEN_REPARSE_POINT); name surrogates in [MS-FSCC] 2.1.2.1: cloud files and compressed files are reparse
points too, and lead nowhere else.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from data_engine.platforms.files import (
    FOLDER_ONLY,
    LOOK_ONLY,
    NO_FOLLOW,
    NO_WAIT,
    OWN,
    hold_folder,
    let_go,
    let_go_of_folder,
    mount_of,
    open_shared,
)
from data_engine.record import frozen

_HAS_DESCRIPTORS = {os.open, os.stat, os.unlink, os.rmdir} <= os.supports_dir_fd and bool(NO_FOLLOW)
_FOLDER_ONLY = FOLDER_ONLY | OWN | NO_FOLLOW
_NAME_SURROGATE = 0x20000000

FOREIGN = "a link or a mount point"
"""Why a foreign `Leftover` was left."""

_LINK, _MOUNT = "it is a link, which is not followed here", "something else is mounted there"


class NotFollowedError(OSError):
    """A link, a junction or a mount point is where a folder or a file of ours belongs; `filename` is its path."""

    @classmethod
    def link(cls, path: str | os.PathLike[str]) -> NotFollowedError:
        """The error for the link at `path`."""
        return cls(errno.ELOOP, _LINK, os.fspath(path))


class Entry(NamedTuple):
    """A name in a folder: a folder, foreign, or anything else ("file")."""

    name: str
    kind: Literal["file", "folder", "foreign"]


@frozen
class Leftover:
    """What was not removed, and why in a few words."""

    path: Path
    why: str

    def __str__(self) -> str:
        return f"{self.path}: {self.why}"


_Device: TypeAlias = tuple[int, bytes]


@frozen
class OpenFolder:
    """A folder that was opened without following anything. Use it while it is open:
    `os.unlink(place.at(name), dir_fd=place.descriptor)`, and likewise `open`, `mkdir`, `rmdir`, `rename`, `stat`.
    """

    path: Path
    descriptor: int | None
    _device: _Device
    _sees_binds: bool = True
    _handle: int | None = None
    """The handle that holds the folder in its place, where it has no descriptor."""

    def at(self, name: str) -> str:
        """The path of `name` in this folder for a function that takes `dir_fd=place.descriptor`."""
        return name if self.descriptor is not None else os.path.join(self.path, name)

    def names(self) -> list[str]:
        """Every name in this folder."""
        return os.listdir(self.path if self.descriptor is None else self.descriptor)

    def facts(self, name: str) -> os.stat_result | None:
        """The facts of `name`, of a link itself; None where nothing is."""
        try:
            return os.stat(self.at(name), dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def kind(self, name: str) -> Literal["file", "folder", "foreign"]:
        """The kind of `name`.

        Raises:
            OSError: it cannot be looked at; FileNotFoundError where it is not there.
        """
        facts = os.stat(self.at(name), dir_fd=self.descriptor, follow_symlinks=False)
        if _leads_away(facts):
            return "foreign"
        if not stat.S_ISDIR(facts.st_mode):
            return "file"
        try:
            with inside(self, [name], flags=LOOK_ONLY):
                return "folder"
        except NotFollowedError:
            return "foreign"
        except PermissionError:  # a folder that cannot be opened is one all the same; only O_PATH needs no right to it
            return "folder"

    def entries(self) -> list[Entry]:
        """Every name in this folder with its kind, sorted; names that went meanwhile are left out."""
        entries = []
        for name in sorted(self.names()):
            try:
                entries.append(Entry(name, self.kind(name)))
            except FileNotFoundError:
                continue
        return entries


@contextmanager
def opened(root: Path, folder: str | os.PathLike[str] = "", *, sees_binds: bool = True) -> Iterator[OpenFolder]:
    """Open the folder `folder` below `root`, given relative to it or as a path that begins with it.

    Without `sees_binds` a folder of the same drive that an administrator has mounted on the way is not noticed, which costs
    half as much: for callers that only rename, which fails there.

    Raises:
        NotFollowedError: a link, a junction or a mount point is on the way below `root`.
        ValueError: `folder` is not below `root`.
        OSError: it cannot be opened; FileNotFoundError or NotADirectoryError where it is not there.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp()).resolve()
        >>> (root / "ours").mkdir(), (root / "link").symlink_to(root / "ours")
        (None, None)
        >>> with opened(root) as place:
        ...     place.entries()
        [Entry(name='link', kind='foreign'), Entry(name='ours', kind='folder')]
        >>> try:
        ...     with opened(root, "link") as place:
        ...         pass
        ... except NotFollowedError as error:
        ...     print(error.strerror)
        it is a link, which is not followed here
    """
    names = _below(root, folder)
    with ExitStack() as held:
        place = _opened_root(root, sees_binds=sees_binds)
        held.callback(_close, place)
        for name in names:
            place = _open_inside(place, name)
            held.callback(_close, place)
        yield place


@contextmanager
def inside(
    place: OpenFolder, names: Sequence[str], *, make: bool = False, mode: int = 0o777, flags: int = os.O_RDONLY
) -> Iterator[OpenFolder]:
    """Open the folder that `names` lead to from an open one; with `make` missing folders are made.

    Raises:
        NotFollowedError: a link, a junction or a mount point is on the way.
        OSError: it cannot be opened, or made.
    """
    with ExitStack() as held:
        for name in names:
            place = _open_or_make(place, name, mode) if make else _open_inside(place, name, flags=flags)
            held.callback(_close, place)
        yield place


class FoundFile(NamedTuple):
    """Anything below a folder that is no folder: the names of the folders that lead to it, its name, and its facts."""

    folder: tuple[str, ...]
    name: str
    facts: os.stat_result

    @property
    def is_regular(self) -> bool:
        """Whether it is a plain file: no link, pipe, socket or device."""
        return stat.S_ISREG(self.facts.st_mode) and not _leads_away(self.facts)


def walk(place: OpenFolder, folder: tuple[str, ...] = ()) -> Iterator[FoundFile]:
    """Everything below an open folder that is no folder, in sort order; what goes meanwhile is left out.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp()).resolve()
        >>> (root / "deep").mkdir(), (root / "deep" / "a").write_text("1"), (root / "link").symlink_to("/")
        (None, 1, None)
        >>> with opened(root) as place:
        ...     [(file.folder, file.name, file.is_regular) for file in walk(place)]
        [((), 'link', False), (('deep',), 'a', True)]
    """
    folders = []
    for name in sorted(place.names()):
        facts = place.facts(name)
        if facts is None:
            continue
        if stat.S_ISDIR(facts.st_mode) and not _leads_away(facts):
            folders.append(name)
        else:
            yield FoundFile(folder, name, facts)
    for name in folders:
        with suppress(FileNotFoundError), inside(place, [name]) as inner:
            yield from walk(inner, (*folder, name))


@contextmanager
def opened_file(place: OpenFolder, name: str) -> Iterator[int]:
    """A descriptor to read the plain file `name` in an open folder; opening it waits for nobody.

    Raises:
        OSError: it is no plain file, or cannot be opened.
    """
    descriptor = open_shared(place.at(name), os.O_RDONLY | OWN | NO_FOLLOW | NO_WAIT, dir_fd=place.descriptor)
    try:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(errno.EINVAL, "it is no plain file", str(place.path / name))
        yield descriptor
    finally:
        let_go(descriptor, name)


def move(origin: OpenFolder, name: str, target: OpenFolder, new_name: str | None = None) -> None:
    """Move `name` from one open folder to another as `new_name`, replacing what is there; a link is moved itself."""
    path = target.at(new_name or name)
    os.replace(origin.at(name), path, src_dir_fd=origin.descriptor, dst_dir_fd=target.descriptor)


def check_own(root: Path, path: str | os.PathLike[str]) -> None:
    """Check that neither `path` nor a folder between it and `root` is foreign, whether they exist or not.

    For a library that takes a path and follows it; later changes are not seen.

    Raises:
        NotFollowedError: the first that is.
        OSError: a folder on the way cannot be opened, or is none.
    """
    *folders, name = _below(root, path) or [""]
    try:
        with opened(root, os.path.join(*folders) if folders else "") as place:
            if name and place.kind(name) == "foreign":
                raise NotFollowedError.link(place.path / name)
    except FileNotFoundError:
        return


def make_folder(root: Path, path: str | os.PathLike[str], *, mode: int = 0o777) -> None:
    """Make the folder `path` below `root`, with what is missing between them; `mode` is cut by the umask as `mkdir` does.

    Raises:
        NotFollowedError: a link, a junction or a mount point is on the way or in its place.
        OSError: it cannot be made; FileNotFoundError where there is no `root`.
    """
    names = _below(root, path)
    with opened(root) as place, inside(place, names, make=True, mode=mode):
        return


def is_link(path: str | os.PathLike[str]) -> bool:
    """Whether a link or a junction is at `path`; False for what is not there."""
    try:
        return _leads_away(os.lstat(path))
    except OSError:
        return False


def remove_tree(root: Path, path: str | os.PathLike[str], *, with_links: bool = False) -> list[Leftover]:
    """Remove the file or folder `path` below `root` with all in it; what was not removed. Does nothing when it is missing.

    What is foreign, or cannot be removed, stays with the folders around it; all else goes. `with_links`: links are removed
    themselves, and nothing of where they lead.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp()).resolve()
        >>> (root / "set" / "helpers").mkdir(parents=True)
        >>> remove_tree(root, "set"), list(root.iterdir())
        ([], [])
    """
    *folders, name = _below(root, path) or [""]
    if not name:
        raise ValueError(f"{root} itself is not removed")
    try:
        with opened(root, os.path.join(*folders) if folders else "") as place:
            return list(_removed(place, name, with_links=with_links))
    except FileNotFoundError:
        return []
    except OSError as error:
        return [Leftover(Path(str(error.filename or root)), error.strerror or str(error))]


def _removed(place: OpenFolder, name: str, *, with_links: bool) -> Iterator[Leftover]:
    """Remove `name` in `place`; yields what was left."""
    path = place.path / name
    try:
        kind = place.kind(name)
        if kind == "file":
            os.unlink(place.at(name), dir_fd=place.descriptor)
        elif kind == "folder":
            with inside(place, [name]) as inner:
                names = sorted(inner.names())
                left = [rest for child in names for rest in _removed(inner, child, with_links=with_links)]
            yield from left
            if not left:
                os.rmdir(place.at(name), dir_fd=place.descriptor)
        elif with_links and (facts := place.facts(name)) is not None and _leads_away(facts):
            is_junction = stat.S_ISDIR(facts.st_mode)
            (os.rmdir if is_junction else os.unlink)(place.at(name), dir_fd=place.descriptor)
        else:
            yield Leftover(path, FOREIGN)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Leftover(path, error.strerror or str(error))


def _below(root: Path, path: str | os.PathLike[str]) -> list[str]:
    text = os.fspath(path)
    if os.path.isabs(text):
        text = os.fspath(Path(text).relative_to(root))
    names = [name for name in Path(text).parts if name != "."]
    if ".." in names:
        raise ValueError(f"{text!r} is not below {root}")
    return names


def _opened_root(root: Path, *, sees_binds: bool = True) -> OpenFolder:
    if not _HAS_DESCRIPTORS:
        os.listdir(root)  # the same errors as where it is opened
        return OpenFolder(root, None, (os.stat(root).st_dev, b""), _handle=hold_folder(root, is_followed=True))
    descriptor = os.open(root, os.O_RDONLY | _FOLDER_ONLY & ~NO_FOLLOW)
    return OpenFolder(root, descriptor, _device(descriptor, sees_binds), sees_binds)


def _open_inside(place: OpenFolder, name: str, *, flags: int = os.O_RDONLY) -> OpenFolder:
    path = place.path / name
    if place.descriptor is None:
        handle = hold_folder(path)
        try:
            facts = os.lstat(path)
            if _leads_away(facts):
                raise NotFollowedError.link(path)
            if not stat.S_ISDIR(facts.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        except BaseException:
            let_go_of_folder(handle)
            raise
        return OpenFolder(path, None, place._device, _handle=handle)
    try:
        descriptor = os.open(name, flags | _FOLDER_ONLY, dir_fd=place.descriptor)
    except OSError as error:
        # Linux calls a link no folder here, others a loop; both mean also what they say.
        if error.errno in (errno.ENOTDIR, errno.ELOOP) and _is_link(place, name):
            raise NotFollowedError.link(path) from error
        error.filename = str(path)
        raise
    inner = OpenFolder(path, descriptor, _device(descriptor, place._sees_binds), place._sees_binds)
    if inner._device != place._device:
        _close(inner)
        raise NotFollowedError(errno.EXDEV, _MOUNT, str(path))
    return inner


def _open_or_make(place: OpenFolder, name: str, mode: int) -> OpenFolder:
    try:
        return _open_inside(place, name)
    except FileNotFoundError:
        with suppress(FileExistsError):  # somebody else was quicker
            os.mkdir(place.at(name), mode, dir_fd=place.descriptor)
        return _open_inside(place, name)


def _close(place: OpenFolder) -> None:
    if place.descriptor is not None:
        os.close(place.descriptor)
    let_go_of_folder(place._handle)


def _is_link(place: OpenFolder, name: str) -> bool:
    return stat.S_ISLNK(os.stat(name, dir_fd=place.descriptor, follow_symlinks=False).st_mode)


def _leads_away(facts: os.stat_result) -> bool:
    surrogate = getattr(facts, "st_reparse_tag", 0) & _NAME_SURROGATE
    return stat.S_ISLNK(facts.st_mode) or bool(surrogate)


def _device(descriptor: int, sees_binds: bool) -> _Device:
    """The drive and mount of an open folder. Folders only: for a file, an overlay names the drive beneath it."""
    return os.fstat(descriptor).st_dev, mount_of(descriptor) if sees_binds else b""

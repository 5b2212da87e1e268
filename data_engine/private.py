"""What this machine keeps is for one user alone: folders 0700 and files 0600, whatever the umask and whoever made them.

A *private root* is a folder no other user can enter, this machine's state root first of all. The modes of what is in it are
a second line, for the day it is moved or copied. Below a private root nothing is followed (`data_engine.nofollow`).

POSIX modes only. On Windows the access list of the user's profile keeps other users out, and what is made in a folder
takes its list from there; `_is_open`, `_close` and `_owner` are where a list of our own would be read and written.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from data_engine import nofollow
from data_engine.errors import WorkspaceError
from data_engine.nofollow import Left, NotFollowedError

FILE = 0o600
FOLDER = 0o700

_HAS_MODES = hasattr(os, "getuid")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_TOO_MUCH = {"folder": _OTHERS, "file": _OTHERS | stat.S_IXUSR}

_roots: set[Path] = set()
"""What is followed: the private roots of this process, and what the user chose besides. Nothing below them is."""
_stay_open: set[Path] = set()
"""Those on a drive that keeps no modes."""


def settle(root: Path) -> None:
    """Make the private root, or fix one that is open to others with all that is in it. One look at it where all is well.

    Raises:
        WorkspaceError: it belongs to another user.
        OSError: it cannot be made or repaired, or is no folder.
    """
    _roots.add(root)
    try:
        facts = os.stat(root)
    except FileNotFoundError:
        _make_root(root)
        return
    if not stat.S_ISDIR(facts.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is no folder", str(root))
    check_owner(root)
    fix_if_open(root)


def check_owner(root: Path) -> None:
    """Nothing where the private root is this user's, or not there.

    Raises:
        WorkspaceError: it belongs to another user.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        owner = _owner(os.stat(root))
        if owner is not None:
            raise WorkspaceError(
                f"this machine's own folder belongs to another user ({owner})",
                where=str(root),
                fix="every user needs a state root of their own: set DATA_ENGINE_STATE_ROOT, or state_root in settings.toml",
            )


def fix_if_open(path: Path) -> None:
    """`fix` a folder or a file that is open to others; one look at it where it is not, or not there.

    Raises:
        OSError: it cannot be closed.
    """
    with suppress(FileNotFoundError):
        if _is_open(os.stat(path)) and path not in _stay_open:
            fix(path)
            if _is_open(os.stat(path)):
                _stay_open.add(path)


def follow(root: Path) -> None:
    """Take a folder for a root that is the user's choice, wherever it leads and whoever may read it."""
    _roots.add(root)


def make_folder(path: Path) -> None:
    """Make a private folder and what is missing above it; nothing where it is there.

    Raises:
        NotFollowedError: a link, a junction or a mount point is in its place, or on the way from its private root.
        OSError: it cannot be made.
    """
    root = next((folder for folder in (path, *path.parents) if folder in _roots), None)
    if root is None:
        _refuse_link(path)
        root = next(folder for folder in (path, *path.parents) if folder.is_dir())
    elif not root.exists():
        _make_root(root)
    nofollow.make_folder(root, path, mode=FOLDER)


def open_file(path: str | Path, flags: int) -> int:
    """A descriptor of the private file `path`; one that is made or was open to others is this user's alone now.

    Also an `opener` for `open`.

    Raises:
        NotFollowedError: a link is in its place, or in its folder's.
        OSError: it cannot be opened.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "notes"
        >>> with open(path, "w", opener=open_file) as file:
        ...     _ = file.write("mine")
        >>> oct(path.stat().st_mode & 0o777)
        '0o600'
    """
    path = Path(path)
    _refuse_link(path.parent)
    if not nofollow.NO_FOLLOW:
        _refuse_link(path)
    try:
        descriptor = os.open(path, flags | nofollow.NO_FOLLOW, FILE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotFollowedError.link(path) from error
        raise
    if _HAS_MODES and _is_open(facts := os.fstat(descriptor)) and stat.S_ISREG(facts.st_mode):
        with suppress(OSError):
            os.fchmod(descriptor, FILE)
    return descriptor


def make_file(path: Path) -> None:
    """Make the private file `path`, empty, for a library that opens it by its path; close one that is there to others.

    One that is there is not opened: closing it would end the locks this process has on it.

    Raises:
        NotFollowedError: a link is in its place, or in its folder's.
        OSError: it cannot be made.

    Reference: fcntl(2) and https://www.sqlite.org/howtocorrupt.html#posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
    """
    try:
        os.close(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        _refuse_link(path)
        if _is_open(os.lstat(path)):
            with suppress(OSError):
                os.chmod(path, FILE)


def fix(path: Path) -> list[Left]:
    """Close `path`, a folder with all in it or a file, to other users; what could not be closed, and what is foreign.

    Raises:
        OSError: `path` itself cannot be closed.
    """
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return []
    if not _HAS_MODES:
        return []
    _close(path, facts)  # first: from then on nobody else can reach what is in it, or exchange it meanwhile
    return list(_walk(path, "", is_repairing=True)) if stat.S_ISDIR(facts.st_mode) else []


def told(path: Path) -> list[Left]:
    """What other users could open of `path`, a folder with all in it or a file, and what is foreign there; only looks.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "a").touch(mode=0o644), (root / "b").touch(mode=0o600)
        (None, None)
        >>> [one.path.name for one in told(root)]
        ['a']
    """
    try:
        facts = os.stat(path)
    except OSError:
        return []
    found = [_as_open(path, facts)] if _is_open(facts) else []
    if stat.S_ISDIR(facts.st_mode):
        found += _walk(path, "", is_repairing=False)
    return found


def _walk(root: Path, folder: str, *, is_repairing: bool) -> Iterator[Left]:
    try:
        with nofollow.opened(root, folder) as place:
            entries = place.entries()
            for name, kind in entries:
                if kind == "foreign":
                    yield Left(place.path / name, nofollow.FOREIGN)
                    continue
                try:
                    facts = os.stat(place.at(name), dir_fd=place.descriptor, follow_symlinks=False)
                    if is_repairing and facts.st_mode & _TOO_MUCH[kind]:
                        _close(place.at(name), facts, dir_fd=place.descriptor)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    yield Left(place.path / name, f"it cannot be closed to other users: {error.strerror}")
                else:
                    if not is_repairing and kind == "file" and _is_open(facts):
                        yield _as_open(place.path / name, facts)
    except FileNotFoundError:
        return  # it went meanwhile
    except OSError as error:
        yield Left(root / folder, error.strerror or str(error))
        return
    for name, kind in entries:
        if kind == "folder":
            yield from _walk(root, os.path.join(folder, name), is_repairing=is_repairing)


def _make_root(root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(root, FOLDER)


def _refuse_link(path: Path) -> None:
    if nofollow.is_link(path) and path not in _roots:
        raise NotFollowedError.link(path)


def _is_open(facts: os.stat_result) -> bool:
    return _HAS_MODES and bool(facts.st_mode & _OTHERS)


def _close(path: str | Path, facts: os.stat_result, *, dir_fd: int | None = None) -> None:
    # By name and not by descriptor: opening and closing a file would end the locks SQLite has on it in this process.
    os.chmod(path, FOLDER if stat.S_ISDIR(facts.st_mode) else FILE, dir_fd=dir_fd)


def _owner(facts: os.stat_result) -> str | None:
    return f"uid {facts.st_uid}" if _HAS_MODES and facts.st_uid != os.geteuid() else None


def _as_open(path: Path, facts: os.stat_result) -> Left:
    return Left(path, f"mode {stat.S_IMODE(facts.st_mode):04o}")

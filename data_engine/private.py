"""Keep this machine's state for one user alone: folders 0700 and files 0600, whatever the umask and whoever made them.

A *private root* is a folder no other user can enter, this machine's state root first of all. The modes inside it are a second
line of defence, for the day it is moved or copied. Below a private root nothing is followed (`data_engine.nofollow`).

On Windows a private root has an access list for this user, and what is made in it takes its list from there
(`platforms.access`).
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
from data_engine.nofollow import Leftover, NotFollowedError
from data_engine.platforms import access
from data_engine.platforms.files import NO_FOLLOW, open_shared

FILE, FOLDER = access.FILE, access.FOLDER
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_TOO_MUCH = {"folder": _OTHERS, "file": _OTHERS | stat.S_IXUSR}

_roots: set[Path] = set()
"""The folders that are followed: the private roots of this process, and other folders of the user's choice. Nothing below is."""
_stay_open: set[Path] = set()
"""Paths on a drive that keeps no modes."""


def settle(root: Path) -> None:
    """Make the private root, or fix one that is open to others with all that is in it. Costs one `stat` where all is well.

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
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", str(root))
    check_owner(root)
    fix_if_open(root)


def check_owner(root: Path) -> None:
    """Check that the private root is this user's, or missing.

    Raises:
        WorkspaceError: it belongs to another user.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        owner = access.owner(root, os.stat(root))
        if owner is not None:
            raise WorkspaceError(
                f"this machine's own folder belongs to another user ({owner})",
                where=str(root),
                fix="every user needs a state root of their own: set DATA_ENGINE_STATE_ROOT, or state_root in settings.toml",
            )


def fix_if_open(path: Path) -> None:
    """`fix` a folder or a file that is open to others; costs one `stat` where it is closed or missing.

    Raises:
        OSError: it cannot be closed.
    """
    with suppress(FileNotFoundError):
        if access.is_open(path, os.stat(path)) and path not in _stay_open:
            fix(path)
            if access.is_open(path, os.stat(path)):
                _stay_open.add(path)


def follow(root: Path) -> None:
    """Accept a folder of the user's choice as a root, wherever it leads and whoever may read it."""
    _roots.add(root)


def make_folder(path: Path) -> None:
    """Make a private folder and what is missing above it, unless it exists.

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
    """Open the private file `path`; a new one, or one that was open to others, is this user's alone now.

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
    if not NO_FOLLOW:
        _refuse_link(path)
    try:
        descriptor = open_shared(path, flags | NO_FOLLOW, FILE)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotFollowedError.link(path) from error
        raise
    with suppress(OSError):
        access.close_descriptor(descriptor)
    return descriptor


def make_file(path: Path) -> None:
    """Make the private file `path`, empty, for a library that opens it by its path; an existing one is closed to others.

    An existing file is not opened: closing it would end the locks this process has on it.

    Raises:
        NotFollowedError: a link is in its place, or in its folder's.
        OSError: it cannot be made.

    Reference: fcntl(2) and https://www.sqlite.org/howtocorrupt.html#posix_advisory_locks_canceled_by_a_separate_thread_doing_close_
    """
    try:
        os.close(open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        _refuse_link(path)
        facts = os.lstat(path)
        if access.EACH_HAS_ITS_OWN and access.is_open(path, facts):
            with suppress(OSError):
                access.close(path, facts)


def fix(path: Path) -> list[Leftover]:
    """Close `path`, a folder with all in it or a file, to other users; what could not be closed, and what is foreign.

    Raises:
        OSError: `path` itself cannot be closed.
    """
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return []
    access.close(path, facts)  # first: from then on nobody else can reach what is in it, or exchange it meanwhile
    return list(_walk(path, "", is_repairing=True)) if stat.S_ISDIR(facts.st_mode) else []


def exposures(path: Path) -> list[Leftover]:
    """What other users could open in `path`, a folder with all in it or a file, and what is foreign there; changes nothing.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "a").touch(mode=0o644), (root / "b").touch(mode=0o600)
        (None, None)
        >>> [leftover.path.name for leftover in exposures(root)]
        ['a']
    """
    try:
        facts = os.stat(path)
    except OSError:
        return []
    leftovers = [_as_open(path, facts)] if access.is_open(path, facts) else []
    if stat.S_ISDIR(facts.st_mode):
        leftovers += _walk(path, "", is_repairing=False)
    return leftovers


def _walk(root: Path, folder: str, *, is_repairing: bool) -> Iterator[Leftover]:
    try:
        with nofollow.opened(root, folder) as place:
            entries = place.entries()
            for name, kind in entries:
                if kind == "foreign":
                    yield Leftover(place.path / name, nofollow.FOREIGN)
                    continue
                try:
                    facts = os.stat(place.at(name), dir_fd=place.descriptor, follow_symlinks=False)
                    if is_repairing and access.EACH_HAS_ITS_OWN and facts.st_mode & _TOO_MUCH[kind]:
                        access.close(place.at(name), facts, dir_fd=place.descriptor)
                except FileNotFoundError:
                    continue
                except OSError as error:
                    yield Leftover(place.path / name, f"it cannot be closed to other users: {error.strerror}")
                else:
                    path = place.path / name
                    if not is_repairing and kind == "file" and access.EACH_HAS_ITS_OWN and access.is_open(path, facts):
                        yield _as_open(path, facts)
    except FileNotFoundError:
        return  # it went meanwhile
    except OSError as error:
        yield Leftover(root / folder, error.strerror or str(error))
        return
    for name, kind in entries:
        if kind == "folder":
            yield from _walk(root, os.path.join(folder, name), is_repairing=is_repairing)


def _make_root(root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(root, FOLDER)
        if not access.EACH_HAS_ITS_OWN:
            fix_if_open(root)


def _refuse_link(path: Path) -> None:
    if nofollow.is_link(path) and path not in _roots:
        raise NotFollowedError.link(path)


def _as_open(path: Path, facts: os.stat_result) -> Leftover:
    return Leftover(path, access.described(path, facts))

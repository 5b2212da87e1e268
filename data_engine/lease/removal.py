"""Making and removing what is ours on the share: what is not ours is left alone or put aside, untouched, and told."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Literal

from data_engine.lease.folder import FileSystem
from data_engine.nofollow import NotFollowedError

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
    """Let the file be there, whole, with `data` in it; readers never see half of it. Folders above it are made, where they may be.

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
    """Remove what is ours of a small folder, or a file of ours, unless it is gone; what was left alone, and why.

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
    """Move what is not ours, untouched, out of a place of ours; where it is now, and why.

    Raises:
        OSError: it cannot be moved, as a mount point cannot.
    """
    aside = f"{NOT_OURS}/{prefix}-{path.rpartition('/')[2]}"
    make(folder, NOT_OURS)
    if folder.kind(path) == "folder":
        folder.rename_dir(path, aside)
    else:
        folder.replace(path, aside)
    return {aside: f"it was {path}, and is not Data Engine's"}


def clear_way(folder: FileSystem, path: str, prefix: str, *, to: Literal["file", "folder"]) -> dict[str, str]:
    """Put aside, untouched, what keeps a file or a folder of ours from being at `path`: the first such thing on the way to it.

    Raises:
        OSError: the share is away, or it cannot be moved.
    """
    names = path.split("/")
    for count in range(1, len(names) + 1):
        way, wanted = "/".join(names[:count]), to if count == len(names) else "folder"
        try:
            if folder.kind(way) != wanted:
                return put_aside(folder, way, prefix)
        except FileNotFoundError:
            break
    return {}

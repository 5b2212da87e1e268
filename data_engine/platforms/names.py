"""Find file names and paths that a system refuses or takes for others, before anything is written."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Sequence, Sized

from data_engine.platforms.host import takes_long_paths

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[1-9\u00b9\u00b2\u00b3])[ ]*(\..*)?", re.IGNORECASE)
_OF_WINDOWS = r"[A-Za-z]:[\\/]|\\\\[^\\]"
_REFUSED = re.compile(r'[<>:"|?*\x00-\x1f]')


def why_windows_refuses(relative: str) -> tuple[str, str] | None:
    """Why Windows refuses a relative path, and the fix; None where it can be a file there.

    Reference: https://learn.microsoft.com/windows/win32/fileio/naming-a-file

    Example:
        >>> why_windows_refuses("out/aux.csv")
        ("Windows reserves the name 'aux.csv' for a device", "give it another name, such as '_aux.csv'")
        >>> why_windows_refuses("out/2024. /a.csv")[0]
        "Windows drops the dot or space at the end of '2024. '"
    """
    for name in re.split(r"[\\/]", relative):
        if name in ("", ".", ".."):
            continue
        if match := _REFUSED.search(name):
            return f"Windows allows no {match[0]!r} in the name {name!r}", "leave that character out"
        if name[-1] in ". ":
            return f"Windows drops the dot or space at the end of {name!r}", f"name it {name.rstrip('. ')!r}"
        if _RESERVED.fullmatch(name):
            return f"Windows reserves the name {name!r} for a device", f"give it another name, such as '_{name}'"
    return None


_ON_WINDOWS = sys.platform == "win32"
_LONGEST_NAME = 255
_MOST_OF_ANY = 32_767 if _ON_WINDOWS else 4_000
_MOST_LETTERS = 259
_VERBATIM, _VERBATIM_SERVER = "\\\\?\\", "\\\\?\\UNC\\"


def why_refused(relative: str) -> tuple[str, str] | None:
    """Why this system refuses a relative path, and the fix; None where it can be a file here, as elsewhere than on Windows."""
    return why_windows_refuses(relative) if _ON_WINDOWS else None


def why_foreign(path: str) -> str | None:
    r"""Why a path of another system can be nothing here; None where it can, and on Windows, which takes such a path for one of its own.

    Example:
        >>> why = why_foreign("C:/data")
        >>> why == why_foreign(r"C:\data") == why_foreign(r"\\server\in"), why in (None, "a path of Windows"), why_foreign("/data")
        (True, True, None)
    """
    return "a path of Windows" if not _ON_WINDOWS and re.match(_OF_WINDOWS, path) else None


def why_too_long(path: str) -> tuple[str, str] | None:
    """Why a path is too long for this machine, and the fix; None where it is not: only Windows has such a setting."""
    if not _ON_WINDOWS or len(path) <= _MOST_LETTERS or path.startswith(_VERBATIM) or takes_long_paths():
        return None
    fix = "shorten it, or let an administrator turn long paths on (`data-engine doctor` says how)"
    return f"its path has {len(path)} characters and Windows takes {_MOST_LETTERS} here", fix


def is_too_long(path: str) -> bool:
    """Whether no file of this system can have the path, or one of its names; a name takes 255 letters on Windows, else bytes.

    Example:
        >>> is_too_long("claims"), is_too_long("x" * 300), is_too_long("x/" * 17_000)
        (False, True, True)
    """
    data = path.encode("utf-8", "surrogatepass")
    whole: Sized = path if _ON_WINDOWS else data
    names: Sequence[Sized] = re.split(r"[\\/]", path) if _ON_WINDOWS else data.split(b"/")
    return len(whole) > _MOST_OF_ANY or any(len(name) > _LONGEST_NAME for name in names)


def compared(path: str) -> str:
    """The path in the spelling that all paths of the same folder share, once links are resolved: on Windows names differ in more than case."""
    return os.path.normcase(path)


def real_path(path: str | os.PathLike[str]) -> str:
    r"""The path with its links followed, as `os.path.realpath`, and spelled in one way.

    On Windows Python leaves `\\?\` in front when a folder of the path is made in the moment it looks, as another thread may.
    """
    text, resolved = os.fspath(path), os.path.realpath(path)
    if not resolved.startswith(_VERBATIM) or text.startswith(_VERBATIM):
        return resolved
    if resolved.startswith(_VERBATIM_SERVER):
        return "\\\\" + resolved.removeprefix(_VERBATIM_SERVER)
    return resolved.removeprefix(_VERBATIM)


def real_path_of_file(path: str, facts: os.stat_result | None) -> str:
    """The same for many files of few folders: a folder is resolved once, as long as its path leads to the same one.

    `facts` are those of `path` itself, which may be a link; None where nothing is there.

    Example:
        >>> real_path_of_file(__file__, os.lstat(__file__)) == real_path(__file__)
        True
    """
    folder, name = os.path.split(path)
    if _ON_WINDOWS or not name or (facts is not None and stat.S_ISLNK(facts.st_mode)):
        return real_path(path)
    try:
        facts = os.stat(folder)
    except (OSError, ValueError):
        return real_path(path)
    known = _real_folders.get(folder)
    if known is None or known[:2] != (facts.st_dev, facts.st_ino):
        if len(_real_folders) >= _MOST_FOLDERS:
            _real_folders.clear()
        known = _real_folders[folder] = facts.st_dev, facts.st_ino, real_path(folder)
    return os.path.join(known[2], name)


_MOST_FOLDERS = 256
_real_folders: dict[str, tuple[int, int, str]] = {}
"""The real path of each folder, with what its path led to."""


def as_listed(path: str) -> str:
    """A file's path as its folders list it, which is how a scan knows it: on Windows a person may type it in other case."""
    if not _ON_WINDOWS:
        return path
    real = real_path(path)
    return real if compared(real) == compared(path) else path


def with_home(path: str | os.PathLike[str]) -> str:
    """The path with `~` or `~user` in front as that user's home; on Windows only `~`.

    Python takes each `~name` for a home there, whether or not there is such a user: `~$a.xlsx` is a lock file of Excel.

    Reference: https://docs.python.org/3/library/os.path.html#os.path.expanduser

    Example:
        >>> with_home("~$a.xlsx"), with_home("~/a.xlsx") == os.path.expanduser("~/a.xlsx")
        ('~$a.xlsx', True)
    """
    text = os.fspath(path)
    return text if _ON_WINDOWS and text[:2] not in ("~", "~/", "~\\") else os.path.expanduser(text)


def lead_of(folder: str | os.PathLike[str]) -> str:
    """The beginning of each real path in this folder, as `compared`.

    Example:
        >>> lead_of(os.sep) == compared(real_path(os.sep))
        True
    """
    return compared(real_path(folder)).rstrip(os.sep) + os.sep

"""Walks a folder for candidates: the files that may be sources.

Candidates are regular files whose name is not hidden, temporary or a lock file, outside hidden folders. Watching and
`collect` share this filter, so that a batch has the files that a watcher would see.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.platforms.files import is_folder_itself
from data_engine.suggestions import nearest_name

_PREFIXES = (".", "~$")
_SUFFIXES = ("~", ".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".swp")
_SEPARATORS = re.compile(r"\s*[,;|]\s*|\s+(?=\.)")
_NO_EXTENSION = frozenset("/\\*?,;|")
_MOST_NAMES = 2_000
WRITE_SLASHES = 'write "/" between folders, which works on every machine: a "\\" is a part of the name here'
CORRECT_SOURCE = "correct source= (relative paths start at the flow_modules folder)"


def is_candidate_name(name: str) -> bool:
    """Whether a file of this name is somebody's finished work, judged by the name alone.

    Example:
        >>> [n for n in ("a.csv", ".a.csv", "~$a.xlsx", ".~lock.a.ods#", "a.csv.part", "a.csv~") if is_candidate_name(n)]
        ['a.csv']
    """
    return not name.startswith(_PREFIXES) and not name.lower().endswith(_SUFFIXES)


def parse_extensions(value: object, *, where: str) -> tuple[str, ...] | None:
    """Lower-case extensions with their leading dot, in the order given, each once; None means no filter.

    Raises:
        FlowValidationError: an empty collection, a blank extension, several in one text, or anything that is not text.

    Example:
        >>> parse_extensions("XLSX", where="example"), parse_extensions([".csv", "csv.gz"], where="example")
        (('.xlsx',), ('.csv', '.csv.gz'))
    """
    if value is None:
        return None
    fix = 'give one extension such as ".csv", or a collection of them'
    if isinstance(value, str):
        items: list[object] = [value]
    elif isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else list(value)
    else:
        raise FlowValidationError(f"extensions cannot be {type(value).__name__} {value!r}", where=where, fix=fix)
    if not items:
        raise FlowValidationError("At least one extension is required", where=where, fix=fix)
    return tuple(dict.fromkeys(_parse_extension(item, where, fix) for item in items))


def _parse_extension(item: object, where: str, fix: str) -> str:
    if not isinstance(item, str):
        raise FlowValidationError(f"an extension cannot be {type(item).__name__} {item!r}", where=where, fix=fix)
    text = item.strip().lower()
    if not text.strip("."):
        raise FlowValidationError(f"Empty extension {item!r}", where=where, fix=fix)
    several = [part for part in _SEPARATORS.split(text) if part.strip(".")]
    if len(several) > 1:
        offer = ", ".join(f'"{part if part.startswith(".") else f".{part}"}"' for part in several)
        raise FlowValidationError(f"{item!r} is one text, not several extensions", where=where, fix=f"give [{offer}]")
    if not _NO_EXTENSION.isdisjoint(text):
        raise FlowValidationError(f"{item!r} is a pattern or a path, not an extension", where=where, fix=fix)
    return text if text.startswith(".") else f".{text}"


def walk(
    root: str | os.PathLike[str],
    extensions: tuple[str, ...] | None,
    *,
    recursive: bool = True,
    skip: Path | None = None,
    on_error: Callable[[OSError], None] | None = None,
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """The candidates under `root` as (path inside the root with forward slashes, entry), in no particular order.

    Nothing under `skip` (a flow's own mirror) is visited. Linked folders are not followed, linked files count.

    Raises:
        OSError: `root` or a folder in it cannot be read, unless `on_error` takes it.
    """
    skipped = None if skip is None else os.path.normpath(skip)
    folders = [("", os.path.normpath(root))]
    while folders:
        prefix, folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith(_PREFIXES):
                        continue
                    lowered = name.lower()
                    is_wanted = extensions is None or lowered.endswith(extensions)
                    if is_wanted and not lowered.endswith(_SUFFIXES) and entry.is_file():
                        yield (prefix + name, entry)
                        continue
                    if recursive and is_folder_itself(entry) and entry.path != skipped:
                        folders.append((f"{prefix}{name}/", entry.path))
        except OSError as error:
            if on_error is None:
                raise
            on_error(error)


def missing_source_fix(source: Path) -> str:
    """The fix for a source that does not exist, with the path that was meant where one is nearly the same.

    Example:
        >>> missing_source_fix(Path("/nowhere/in"))
        'create it, connect its drive, or correct source= (relative paths start at the flow_modules folder)'
    """
    if "\\" in str(source) and os.sep == "/":
        return WRITE_SLASHES
    near = _beside_flow_modules(source) or _in_other_letters(source)
    begin = "create it" if near is None else f"did you mean {near}? Else create it"
    return f"{begin}, connect its drive, or {CORRECT_SOURCE}"


def _beside_flow_modules(source: Path) -> Path | None:
    """The path without its `flow_modules` folder, which relative paths start at; None where nothing is there."""
    parts = source.parts
    if "flow_modules" not in parts[1:]:
        return None
    at = len(parts) - 1 - parts[::-1].index("flow_modules")
    path = Path(*parts[:at], *parts[at + 1 :])
    return path if at + 1 < len(parts) and path.exists() else None


def _in_other_letters(source: Path) -> Path | None:
    """The path that differs from the source only in case or in a letter; None without one."""
    above = next((folder for folder in source.parents if folder.is_dir()), None)
    if above is None:
        return None
    missing, *rest = source.relative_to(above).parts
    try:
        with os.scandir(above) as entries:
            names = [entry.name for entry in islice(entries, _MOST_NAMES) if not entry.name.startswith(".")]
    except OSError:
        return None
    near = nearest_name(missing, names)
    path = None if near is None else above.joinpath(near, *rest)
    return path if path is not None and path.exists() else None

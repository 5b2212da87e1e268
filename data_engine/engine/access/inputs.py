"""The files that a run opens, at production's cost: what `interceptors` replaces also tells here, and only the path is kept.

A preview has to know all that a step read, and how it was; a run only names the files. So nothing is looked at while it
runs, queries in SQL are left alone, and after some files only their number is kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from data_engine.engine.access.libraries import library_folders
from data_engine.record import frozen
from data_engine.storage_version import is_made_here, make_missing

MOST_FILES = 50
"""So many are named, the others counted."""

_MOST_KNOWN = 10_000

_Note = Callable[[tuple[Any, ...], dict[str, Any]], Iterable[object]]
"""The arguments of a reader that may name files."""


@frozen
class _ToAppend:
    """A file that is opened to write behind what it holds."""

    path: str | os.PathLike[str]


class RunFiles:
    """The files of one run, `whose` it is: `read` in the order they were opened first. Those below `ours` are Data Engine's own.

    `appended` are the files that were opened to write behind what they hold.
    """

    def __init__(self, ours: tuple[str, ...] = (), whose: str = "") -> None:
        self.read: dict[str, None] = {}
        self.appended: set[str] = set()
        self.whose = whose
        self._ours = ours

    def note(self, path: object) -> None:
        """A file is about to be opened; anything that names none is left out."""
        if isinstance(path, (str, os.PathLike)):
            text = os.fspath(path)
            if (
                isinstance(text, str)
                and text
                and "://" not in text
                and "\0" not in text
                and len(self.read) < _MOST_KNOWN
            ):
                full = os.path.abspath(text)
                if not full.startswith((*self._ours, "/proc/", "/sys/", "/dev/")) and not full.startswith(
                    library_folders()
                ):
                    self.read.setdefault(full)
        elif isinstance(path, _ToAppend):
            self.appended.add(os.path.abspath(path.path))
        elif isinstance(path, (list, tuple)):
            for one in path[:_MOST_KNOWN]:
                self.note(one)


_current: ContextVar[RunFiles | None] = ContextVar("run_files", default=None)


@contextmanager
def noting(files: RunFiles) -> Iterator[None]:
    """Inside, what this context opens is noted there; map threads inherit it."""
    token = _current.set(files)
    try:
        yield
    finally:
        _current.reset(token)


def current_files() -> RunFiles | None:
    """Whose files those are that are opened in this context."""
    return _current.get()


def of_reader(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[object]:
    """`polars.read_csv(source)` and its like."""
    return (
        *args[:1],
        *(kwargs[word] for word in ("source", "path", "io", "filepath_or_buffer", "file") if word in kwargs),
    )


def of_open(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[object]:
    """`open(file, mode)`, where it reads."""
    mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
    path = args[0] if args else kwargs.get("file")
    if isinstance(mode, str) and "a" in mode and isinstance(path, (str, os.PathLike)):
        return (_ToAppend(path),)
    is_read = isinstance(mode, str) and not any(letter in mode for letter in "wx")
    return (path,) if is_read else ()


def of_database(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[object]:
    """`duckdb.connect(database)` and `sqlite3.connect`."""
    place = args[0] if args else kwargs.get("database")
    is_file = isinstance(place, os.PathLike) or (isinstance(place, str) and not place.startswith((":", "file:", "md:")))
    return (place,) if is_file else ()


def of_duckdb(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[object]:
    """As `of_database`, of `duckdb.connect(database, read_only, config)`; one that it would make is made first, in the workspace's format."""
    found = of_database(args, kwargs)
    read_only = args[1] if len(args) > 1 else kwargs.get("read_only", False)
    config = args[2] if len(args) > 2 else kwargs.get("config")
    for place in [] if read_only or is_made_here(config) else found:
        make_missing(os.fspath(place))  # type: ignore[call-overload]
    return found


_TARGET_WORDS = frozenset(
    "path path_or_buf file target where dest dst output_file excel_writer workbook file_name".split()
)


def of_writer(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterable[object]:
    """`frame.write_csv(path)` and its like: what is second, or named as a target."""
    return (*args[1:2], *(value for word, value in kwargs.items() if word in _TARGET_WORDS))

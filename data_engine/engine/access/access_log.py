"""What a step reads and writes, and who is looking.

Who reads is told by a context variable, which map threads inherit. Foreign threads have none: what they read counts for
every preview that runs at that moment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from data_engine.engine.access.libraries import library_folders
from data_engine.engine.access.signatures import Kind, Signature, signature_of
from data_engine.record import frozen
from data_engine.storage_version import is_made_here, make_missing

Namespace = dict[str, Any]


class ScratchState(Protocol):
    """Where a preview writes, as far as a log needs to know."""

    def holds(self, path: str) -> bool:
        """Whether the path lies there."""

    def version(self, path: str) -> str | None:
        """What stands for the content of a file that an earlier step wrote there."""

    def final(self, path: Path) -> Path:
        """The file of production that it stands for."""


@dataclass(slots=True)
class AccessLog:
    """What one step read and wrote while it ran.

    `written` are files it made anew, `targets` mirror paths it was given, `tables` the tables of the
    context it looked at; `unseen` is the first reason why there may be more. A file of the `scratch` folder counts as the
    one of production that it is a copy of; where an earlier step wrote it, `versions` tells which content it had. Files
    below `ours` are Data Engine's own. `doubts` says of what it read that its author hardly meant it so.
    """

    digest_frame: Callable[[object], bytes | None]
    reads: dict[tuple[Kind, str], Signature] = field(default_factory=dict)
    frames: dict[tuple[int, str], tuple[Namespace, bytes]] = field(default_factory=dict)
    written: dict[str, None] = field(default_factory=dict)
    targets: dict[str, None] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    is_duckdb_pristine: bool = False
    scratch: ScratchState | None = None
    versions: dict[str, str] = field(default_factory=dict)
    ours: tuple[str, ...] = ()
    unseen: str | None = None
    doubts: dict[str, None] = field(default_factory=dict)

    def read(self, kind: Kind, path: str) -> None:
        """Note a read, with what is there now, before it is read."""
        if self.scratch is not None and self.scratch.holds(path):
            if (version := self.scratch.version(path)) is not None and path not in self.written:
                self.versions.setdefault(path, version)
            path = str(self.scratch.final(Path(path)))
        key = (kind, path)
        if path.startswith(self.ours):
            return
        if key not in self.reads and path not in self.written and not path.startswith(library_folders()):
            self.reads[key] = signature_of(kind, path)

    def config(self, path: Path) -> None:
        """Note that the step asks the context for a config file, or for the names of all."""
        with not_logged():
            self.read("content" if path.suffix else "names", str(path))

    def wrote(self, path: str) -> None:
        """Note that the step makes this file anew."""
        if (self.scratch is not None and self.scratch.holds(path)) or not path.startswith(self.ours):
            self.written.setdefault(path)

    def mark_unseen(self, reason: str) -> None:
        """Note that something cannot be seen."""
        if self.unseen is None:
            self.unseen = reason

    def frame(self, space: Namespace, name: str) -> None:
        """Note that a query read the author's frame of this name."""
        key = (id(space), name)
        if key not in self.frames:
            digest = self.digest_frame(space[name])
            if digest is None:
                self.mark_unseen(f"{name}, which a query reads")
            else:
                self.frames[key] = (space, digest)


@contextmanager
def logging_to(access_log: AccessLog) -> Iterator[None]:
    """Inside, what this context reads is noted there."""
    token = _mine.set(access_log)
    with _lock:
        _running.append(access_log)
    try:
        yield
    finally:
        with _lock:
            _running[:] = [one for one in _running if one is not access_log]
        _mine.reset(token)


@contextmanager
def not_logged() -> Iterator[None]:
    """Inside, nothing this context reads is noted: it is the noting itself that reads."""
    token = _mine.set(_NOBODY)
    try:
        yield
    finally:
        _mine.reset(token)


def active_logs() -> tuple[AccessLog, ...]:
    """Whose access_log a read of this context is."""
    mine = _mine.get()
    if mine is None:
        return tuple(_running)
    return () if mine is _NOBODY else (mine,)


def is_not_logged() -> bool:
    """Whether this context is our own code beside the step's."""
    return _mine.get() is _NOBODY


_NOBODY = AccessLog(lambda value: None)
_mine: ContextVar[AccessLog | None] = ContextVar("preview_sightings", default=None)
_running: list[AccessLog] = []
_lock = threading.Lock()


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

    `doubts` says of what was read that its author hardly meant it so. `appended` are the files that were opened to write behind
    what they hold.
    """

    def __init__(self, ours: tuple[str, ...] = (), whose: str = "") -> None:
        self.read: dict[str, None] = {}
        self.doubts: dict[str, None] = {}
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

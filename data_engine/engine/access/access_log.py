"""What a step reads and writes, and who is looking.

Who reads is told by a context variable, which map threads inherit. Foreign threads have none: what they read counts for
every preview that runs at that moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from data_engine.engine.access.libraries import library_folders
from data_engine.engine.access.signatures import Kind, Signature, signature_of

Namespace = dict[str, Any]


class ScratchState(Protocol):
    """Where a preview writes, as far as a log needs to know."""

    def holds(self, path: str) -> bool:
        """Whether the path lies there."""

    def version(self, path: str) -> str | None:
        """What stands for the content of a file that an earlier step wrote there."""

    def final(self, path: Path) -> Path:
        """The file of production that it stands for."""


class ReadLog:
    """Who is told what this context reads and writes. This one keeps nothing, and lets what is about to be written be seen.

    `doubts` says of what was read that its author hardly meant it so; `is_duckdb_pristine` that DuckDB's default connection is as a new one.
    """

    is_duckdb_pristine = True

    def __init__(self) -> None:
        self.doubts: dict[str, None] = {}

    def note(self, kind: Kind, path: str) -> None:
        """Note a read, before it is done."""

    def append(self, path: str) -> None:
        """Note that a file is opened to write behind what it holds."""

    def wrote(self, path: str) -> None:
        """Note that this file is made anew."""

    def mark_unseen(self, reason: str) -> None:
        """Note that something cannot be seen."""

    def frame(self, space: Namespace, name: str) -> None:
        """Note that a query reads the author's frame of this name."""

    def config(self, path: Path) -> None:
        """Note that the step asks the context for a config file, or for the names of all."""
        with not_logged():
            self.note("content" if path.suffix else "names", str(path))


@dataclass(slots=True)
class AccessLog(ReadLog):
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

    def note(self, kind: Kind, path: str) -> None:
        """Note a read, with what is there now."""
        if self.scratch is not None and self.scratch.holds(path):
            if (version := self.scratch.version(path)) is not None and path not in self.written:
                self.versions.setdefault(path, version)
            path = str(self.scratch.final(Path(path)))
        key = (kind, path)
        if path.startswith(self.ours):
            return
        if key not in self.reads and path not in self.written and not path.startswith(library_folders()):
            self.reads[key] = signature_of(kind, path)

    def append(self, path: str) -> None:
        """What the file holds counts."""
        self.note("content", path)

    def wrote(self, path: str) -> None:
        """Note a file, unless it is Data Engine's own."""
        if (self.scratch is not None and self.scratch.holds(path)) or not path.startswith(self.ours):
            self.written.setdefault(path)

    def mark_unseen(self, reason: str) -> None:
        """Note the first reason."""
        if self.unseen is None:
            self.unseen = reason

    def frame(self, space: Namespace, name: str) -> None:
        """Note the frame with its content."""
        key = (id(space), name)
        if key not in self.frames:
            digest = self.digest_frame(space[name])
            if digest is None:
                self.mark_unseen(f"{name}, which a query reads")
            else:
                self.frames[key] = (space, digest)


@contextmanager
def logging_to(access_log: ReadLog) -> Iterator[None]:
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


def active_logs() -> tuple[ReadLog, ...]:
    """Who is told of a read of this context."""
    mine, files = _mine.get(), _current.get()
    if mine is _NOBODY:
        return ()
    logs = tuple(_running) if mine is None else (mine,)
    return logs if files is None else (*logs, files)


def is_not_logged() -> bool:
    """Whether this context is our own code beside the step's."""
    return _mine.get() is _NOBODY


_NOBODY = ReadLog()
_mine: ContextVar[ReadLog | None] = ContextVar("preview_sightings", default=None)
_running: list[ReadLog] = []
_lock = threading.Lock()


MOST_FILES = 50
"""So many are named, the others counted."""

_MOST_KNOWN = 10_000
_OPENED = ("content", "database", "tree")
"""What of a path is read where it is opened."""


class RunFiles(ReadLog):
    """The files of one run, `whose` it is: `read` in the order they were opened first. Those below `ours` are Data Engine's own.

    `appended` are the files that were opened to write behind what they hold.
    """

    def __init__(self, ours: tuple[str, ...] = (), whose: str = "") -> None:
        super().__init__()
        self.read: dict[str, None] = {}
        self.appended: set[str] = set()
        self.whose = whose
        self._ours = ours

    def note(self, kind: Kind, path: str) -> None:
        """Keep a file that is about to be opened."""
        if kind in _OPENED and len(self.read) < _MOST_KNOWN and not path.startswith((*self._ours, *library_folders())):
            self.read.setdefault(path)

    def append(self, path: str) -> None:
        """Keep a file that is none of those that are read."""
        self.appended.add(path)


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

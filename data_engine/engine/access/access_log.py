"""Log what a step reads and writes.

A context variable holds the log of a step; map threads inherit it. Foreign threads have none: what they read counts for
every preview that runs at that moment.

What was read has a signature, so that a change is noticed: of a file its times, size and inode. Times are coarse (two seconds on some
drives), so for a file that was changed just before it was looked at, its content counts too; once that has been compared later than
the coarsest clock could hide a change, the times suffice.

Reference: "racy git", https://git-scm.com/docs/racy-git: an entry as new as the look at it cannot be trusted.
"""

from __future__ import annotations

import glob as globbing
import hashlib
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Generic, Literal, Protocol, TypeVar

from data_engine.engine.access.code import library_folders
from data_engine.platforms.files import changed_ns
from data_engine.record import frozen
from data_engine.user_files import head_of

Kind = Literal["content", "stat", "kind", "folder", "names", "entries", "link", "database", "tree"]
"""What of a path was read: its content; all its facts; what it is, or only whether it is a folder; a folder's names, or its entries
with their facts; where its links lead; a database with its log; everything below it, or below where its pattern starts."""

_RACY_NS = 2_000_000_000
_LATER_NS = 2**63
_MAX_HASHED_BYTES = 64 * 1024 * 1024
_MAX_ENTRIES = 20_000

# Kept from before any preview wraps them, so that looking at a signature is never taken for a read.
_stat, _lstat, _scandir, _listdir = os.stat, os.lstat, os.scandir, os.listdir
_realpath, _exists, _islink, _isdir = os.path.realpath, os.path.exists, os.path.islink, os.path.isdir


@frozen
class PathState:
    """The state of a path: `facts` (None: nothing there), and for what was changed just before, its `content` too.

    `fresh_ns` is the newest change so young that the facts alone could hide another, 0 when there is none; with
    `content` None it is unknown then. `at_ns` is the time it was taken.
    """

    facts: object
    fresh_ns: int = 0
    content: str | None = None
    at_ns: int = 0


UNREADABLE = PathState("too large to check", fresh_ns=1)
"""The signature that always counts as changed."""


def signature_of(kind: Kind, path: str, now_ns: int | None = None) -> PathState:
    """The signature of `path` now; a change in the two seconds before `now_ns`, or later, is fresh."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    try:
        return _LOOKS[kind](path, now_ns)
    except (OSError, ValueError):
        return PathState(None)


def compare(kind: Kind, path: str, before: PathState) -> PathState | None:
    """The signature of `path` to remember from now on; None when it is not surely as it was."""
    if before is UNREADABLE or (before.fresh_ns and before.content is None):
        return None
    started_ns = time.time_ns()
    # The same freshness, so that the same contents are compared; none where the facts suffice.
    now = signature_of(kind, path, before.at_ns if before.fresh_ns else _LATER_NS)
    if now.facts != before.facts or (before.fresh_ns and now.content != before.content):
        return None
    is_settled = before.fresh_ns and before.fresh_ns < started_ns - _RACY_NS
    return replace(before, fresh_ns=0, content=None) if is_settled else before


def _file_signature(path: str, now_ns: int) -> PathState:
    facts = _stat(path)
    if stat.S_ISDIR(facts.st_mode):
        return _tree_signature(path, now_ns)
    if not stat.S_ISREG(facts.st_mode):
        return UNREADABLE
    return _content_signature(path, facts, now_ns)


def _facts_signature(path: str, now_ns: int) -> PathState:
    facts = _stat(path)
    return (
        PathState(_numbers(path, facts)) if not stat.S_ISREG(facts.st_mode) else _content_signature(path, facts, now_ns)
    )


def _content_signature(path: str, facts: os.stat_result, now_ns: int) -> PathState:
    fresh_ns = _fresh(path, facts, now_ns)
    return PathState(_numbers(path, facts), fresh_ns, _hash(path) if fresh_ns else None, now_ns)


def _database_signature(path: str, now_ns: int) -> PathState:
    signatures = [signature_of("content", path, now_ns)]
    for log in (f"{path}.wal", f"{path}-wal", f"{path}-journal"):
        signature = signature_of("content", log, now_ns)
        is_empty = isinstance(signature.facts, tuple) and signature.facts[2] == 0
        signatures.append(PathState(None) if is_empty else signature)  # opening a database makes an empty log
    return _joined(tuple(part.facts for part in signatures), signatures, now_ns)


def _tree_signature(path: str, now_ns: int) -> PathState:
    if not globbing.has_magic(path) or _exists(path):
        return _entries_signature([path], now_ns, is_deep=True)
    start = path
    while globbing.has_magic(start):
        start = os.path.dirname(start)
    return _entries_signature([start or "."], now_ns, is_deep=globbing.has_magic(os.path.dirname(path)))


def _entries_signature(folders: list[str], now_ns: int, *, is_deep: bool) -> PathState:
    rows: list[object] = []
    fresh: list[PathState] = []
    while folders:
        folder = folders.pop()
        with _scandir(folder) as entries:
            listing = sorted(entries, key=lambda entry: entry.name)
        for entry in listing:
            if len(rows) >= _MAX_ENTRIES:
                return UNREADABLE
            try:
                facts = _stat(entry.path)
            except OSError:
                rows.append((entry.path, "broken"))
                continue
            if stat.S_ISDIR(facts.st_mode):
                rows.append((entry.path, _realpath(entry.path) if entry.is_symlink() else "folder"))
                if is_deep:
                    folders.append(entry.path)
                continue
            rows.append((entry.path, _numbers(entry.path, facts)))
            if _fresh(entry.path, facts, now_ns):
                fresh.append(_content_signature(entry.path, facts, now_ns))
    return _joined(tuple(rows), fresh, now_ns)


_LOOKS: dict[Kind, Callable[[str, int], PathState]] = {
    "content": _file_signature,
    "database": _database_signature,
    "tree": _tree_signature,
    "stat": _facts_signature,
    "entries": lambda path, now_ns: _entries_signature([path], now_ns, is_deep=False),
    "kind": lambda path, now_ns: PathState(_kind_of(path)),
    "folder": lambda path, now_ns: PathState(_isdir(path)),
    "names": lambda path, now_ns: PathState(tuple(sorted(os.fsdecode(name) for name in _listdir(path)))),
    "link": lambda path, now_ns: PathState(_realpath(path)),
}


def _joined(facts: object, signatures: list[PathState], now_ns: int) -> PathState:
    fresh = [signature for signature in signatures if signature.fresh_ns]
    texts = [signature.content for signature in fresh]
    content = None if None in texts else " ".join(map(str, texts))
    return PathState(facts, max((signature.fresh_ns for signature in fresh), default=0), content, now_ns)


def _fresh(path: str, facts: os.stat_result, now_ns: int) -> int:
    newest_ns = max(facts.st_mtime_ns, changed_ns(path, facts))
    return newest_ns if newest_ns > now_ns - _RACY_NS else 0


def _numbers(path: str, facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_mtime_ns, changed_ns(path, facts), facts.st_size, facts.st_ino, facts.st_dev, facts.st_mode)


def _kind_of(path: str) -> str | None:
    try:
        mode = _stat(path).st_mode
    except (OSError, ValueError):
        try:
            return "broken link" if stat.S_ISLNK(_lstat(path).st_mode) else None
        except (OSError, ValueError):
            return None
    return f"{stat.S_IFMT(mode)} {_islink(path)}"


def _hash(path: str) -> str | None:
    try:
        size = _stat(path).st_size
        if size > _MAX_HASHED_BYTES:
            return None
        return hashlib.blake2b(head_of(Path(path), size), digest_size=16).hexdigest()
    except OSError:
        return None


Namespace = dict[str, Any]
T = TypeVar("T")


class ScratchState(Protocol):
    """The part of a preview's scratch folder that a log needs."""

    def holds(self, path: str) -> bool:
        """Whether the path lies there."""

    def version(self, path: str) -> str | None:
        """The token for the content of a file that an earlier step wrote there."""

    def final(self, path: Path) -> Path:
        """The file of production that a path there stands for."""


class ReadLog:
    """The log of what this context reads and writes. This class keeps nothing; what is about to be written goes to the guard all the same.

    `doubts` names what was read that its author hardly meant; `is_duckdb_pristine`: DuckDB's default connection is as a new one.
    """

    is_duckdb_pristine = True

    def __init__(self) -> None:
        self.doubts: dict[str, None] = {}

    def note(self, kind: Kind, path: str) -> None:
        """Note a read, before it is done."""

    def append(self, path: str, kind: Kind = "content") -> None:
        """Note that a file is opened to write behind what it holds, or that a database is opened to write."""

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
    """The log of what one step read and wrote while it ran.

    `written` are files it made anew, `targets` mirror paths it was given, `tables` the tables of the
    context it looked at; `unseen` is the first reason why there may be more. A file of the `scratch` folder counts as the
    one of production that it is a copy of (in `copied`); where an earlier step wrote it, `versions` tells which content it had. Files
    below `ours` are Data Engine's own. `doubts` names what it read that its author hardly meant.
    """

    digest_frame: Callable[[object], bytes | None]
    reads: dict[tuple[Kind, str], PathState] = field(default_factory=dict)
    frames: dict[tuple[int, str], tuple[Namespace, bytes]] = field(default_factory=dict)
    written: dict[str, None] = field(default_factory=dict)
    targets: dict[str, None] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    is_duckdb_pristine: bool = False
    scratch: ScratchState | None = None
    versions: dict[str, str] = field(default_factory=dict)
    copied: set[str] = field(default_factory=set)
    ours: tuple[str, ...] = ()
    unseen: str | None = None
    doubts: dict[str, None] = field(default_factory=dict)

    def note(self, kind: Kind, path: str) -> None:
        """Note a read, with what is there now."""
        if self.scratch is not None and self.scratch.holds(path):
            if (version := self.scratch.version(path)) is not None and path not in self.written:
                self.versions.setdefault(path, version)
            path = str(self.scratch.final(Path(path)))
            self.copied.add(path)
        key = (kind, path)
        if path.startswith(self.ours):
            return
        if key not in self.reads and path not in self.written and not path.startswith(library_folders()):
            self.reads[key] = signature_of(kind, path)

    def append(self, path: str, kind: Kind = "content") -> None:
        """Note the file as read."""
        self.note(kind, path)

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
    with bound(_mine, access_log):
        with _lock:
            _running.append(access_log)
        try:
            yield
        finally:
            with _lock:
                _running[:] = [log for log in _running if log is not access_log]


def not_logged() -> AbstractContextManager[None]:
    """Inside, nothing this context reads is noted: it is the noting itself that reads."""
    return bound(_mine, _NOBODY)


class bound(Generic[T]):
    """Inside, the variable has this value in this context."""

    __slots__ = ("_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[T], value: T) -> None:
        self._variable, self._value = variable, value

    def __enter__(self) -> None:
        self._token = self._variable.set(self._value)

    def __exit__(self, *_: object) -> None:
        self._variable.reset(self._token)


def active_logs() -> tuple[ReadLog, ...]:
    """The logs that note a read of this context."""
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
"""This many are named, the others counted."""

_MOST_KNOWN = 10_000
_OPENED = ("content", "database", "tree")
"""The kinds of a read that opens a path."""


class RunFiles(ReadLog):
    """The files that the run of the name `whose` opens: `read` in the order of opening, with the cell that opened each. Those below `ours` are Data Engine's own.

    `appended` are the files that were opened to write behind what they hold, `databases` those that were opened to write, with the cell,
    too, and `rows` those of frames that were written as a whole. `references` are the first of those that are read and no `is_source`, nor made by the run, with their size and time then.
    """

    def __init__(
        self, ours: tuple[str, ...] = (), whose: str = "", is_source: Callable[[str], bool] = lambda path: False
    ) -> None:
        super().__init__()
        self.read: dict[str, int | None] = {}
        self.appended: set[str] = set()
        self.databases: dict[str, int | None] = {}
        self.references: dict[str, tuple[int, int]] = {}
        self.rows: dict[str, int] = {}
        self.whose = whose
        self._ours, self._is_source, self._made = ours, is_source, set[str]()

    def note(self, kind: Kind, path: str) -> None:
        """Keep a file that is about to be opened; of a pattern the first files that it stands for."""
        if kind == "tree" and globbing.has_magic(path):
            for file in sorted(globbing.iglob(path, recursive=True))[:MOST_FILES]:
                self.note("content", file)
            return
        is_new = path not in self.read and len(self.read) < _MOST_KNOWN
        if kind not in _OPENED or not is_new or path.startswith((*self._ours, *library_folders())):
            return
        self.read[path] = _cell_that_runs()
        if kind == "content" and len(self.references) < MOST_FILES and path not in self._made:
            if self._is_source(path):
                return
            with suppress(OSError, ValueError):
                facts = _stat(path)
                if stat.S_ISREG(facts.st_mode):
                    self.references[path] = facts.st_size, facts.st_mtime_ns

    def take(self, path: str, cell: int | None, reference: tuple[int, int] | None) -> None:
        """Keep a file that an item of a map has opened in another process."""
        if path in self.read or len(self.read) >= _MOST_KNOWN or path.startswith(self._ours):
            return
        self.read[path] = cell
        if reference is None or len(self.references) >= MOST_FILES:
            return
        if path not in self._made and not self._is_source(path):
            self.references[path] = reference

    def append(self, path: str, kind: Kind = "content") -> None:
        """Keep a file that is appended to, or a database that is opened to write, apart from those that are read."""
        if kind == "database":
            if len(self.databases) < _MOST_KNOWN and not path.startswith(self._ours):
                self.databases.setdefault(path, _cell_that_runs())
            return
        self.appended.add(path)
        self.wrote(path)

    def wrote(self, path: str) -> None:
        """Note that the run makes this file itself."""
        self._made.add(path)
        self.references.pop(path, None)
        self.rows.pop(path, None)


def cell_of_code(code: CodeType | None) -> int | None:
    """The number of the notebook's cell that code was compiled from, by its file name: `claims.ipynb, cell 4`."""
    name, mark, number = ("" if code is None else code.co_filename).rpartition(", cell ")
    return int(number) if mark and name.endswith(".ipynb") and number.isdecimal() else None


def _cell_that_runs() -> int | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and (cell := cell_of_code(frame.f_code)) is None:
        frame = frame.f_back
    return None if frame is None else cell


_current: ContextVar[RunFiles | None] = ContextVar("run_files", default=None)


def noting(files: RunFiles) -> AbstractContextManager[None]:
    """Inside, what this context opens is noted there; map threads inherit it."""
    return bound(_current, files)


def current_files() -> RunFiles | None:
    """The files of the run that this context belongs to."""
    return _current.get()

"""Read copies: the databases of a workspace as they were when nobody wrote, kept on this machine for cells and previews.

A folder per database holds its copies, each in a folder that is named by when it was made and the state it stands for. In it two empty
files keep times: `given`, when the copy was last given; `seen`, when it was last known to be as the database is.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from data_engine import nofollow, private
from data_engine.answering_process import AnsweringProcess, KeptProcess, NoAnswer
from data_engine.clock import boot_clock
from data_engine.database_copy import Look
from data_engine.engine.access.access_log import not_logged
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import FlowValidationError
from data_engine.files import rename_folder, resolve
from data_engine.flow.paths import inside
from data_engine.formatting import duration_text, first_few, size_text
from data_engine.keeping import is_live, keeping, read_from, read_live
from data_engine.locks import Holding, OsLock
from data_engine.platforms.files import is_database
from data_engine.record import frozen
from data_engine.storage_version import fix_of_newer
from data_engine.user_files import head_of
from data_engine.workspace.layout import is_workspace, kernel_shell

WAIT_FOR_FIRST_S = 10.0
_PAUSE_S = 0.1
_IDLE_S = 300.0
_KEPT_S = 7 * 24 * 3600.0
_GIVEN_S = 10.0
"""A copy that was given so short a time ago may not be open yet: it is not removed to make room."""
_TIMES = ("given", "seen")
_HEAD_BYTES = 16
_CALLED = (".duckdb", ".ddb", ".sqlite", ".sqlite3")
_ELSEWHERE = "another program of this machine, which copies it,"

_processes: dict[int, KeptProcess] = {}
"""The process that looks and copies for this one; a forked child has its own."""


@frozen
class ReadCopy:
    """A copy in its `folder`: the file `name`, and perhaps its log, of `size_bytes` together."""

    folder: Path
    name: str
    size_bytes: int
    given_s: float
    current_s: float

    @property
    def state(self) -> str:
        """What `Look.state` was of the database."""
        return self.folder.name.partition("-")[2]

    @property
    def made_s(self) -> float:
        """When it was made."""
        return int(self.folder.name.partition("-")[0]) / 1e9

    def give(self, *, is_current: bool) -> Path | None:
        """Its path, for a reader of now; None where it was removed meanwhile. `is_current`: the database was just seen to be so."""
        try:
            for name in _TIMES if is_current else _TIMES[:1]:
                os.utime(self.folder / name)
        except OSError:
            return None
        return self.folder / self.name


def database_to_read(home: LocalWorkspace, name: str, *, live: bool) -> Path:
    """The file to read for the workspace's database `name`: in a preview what that has, in a run and when `live` production's own,
    else a read copy.

    Raises:
        FlowValidationError: as `read_copy`; or the name is absolute or leaves the folder, or the file is no database.
    """
    database = resolve(inside(home.databases, name, where="Workspace.database"))
    if not database.is_file():
        raise _missing(home, database)
    _require_database(database)
    if live:
        return read_live(database)
    if keeping.get() is not None:
        return database
    give = read_from.get()
    return read_copy(home, database) if give is None else give(database)


def copy_in_cell(database: Path) -> Path:
    """The file that a helper reads in a cell for `database`: a read copy where it is a workspace's and not open for writing in this
    process, which sees what it has committed, or asked for `live`; else itself.

    Raises:
        FlowValidationError: as `read_copy`.
    """
    path = resolve(database)
    root = next(
        (above.parent for above in path.parents if above.name == "databases" and is_workspace(above.parent)), None
    )
    if root is None or is_live(path) or not path.is_file():
        return database
    return read_copy(local_workspace(root), path, is_own_read=True)


def read_copy(home: LocalWorkspace, database: Path, *, is_own_read: bool = False) -> Path:
    """The read copy of a workspace's database, made where none is as the database is now.

    Where a program writes it the last copy is given, and a line says how old that is; a first one is waited for. With
    `is_own_read` a database that this process itself has open to write is read as it is.

    Raises:
        DatabaseBusyError: there is no copy yet, and it is still written after `WAIT_FOR_FIRST_S`; says by whom.
        FlowValidationError: it is too large, cannot be read, or a copy cannot be kept.
    """
    with not_logged():
        database = resolve(database)
        store = _Store(home, database)
        deadline_s = time.monotonic() + WAIT_FOR_FIRST_S
        while True:
            seen = store.look()
            copies = store.copies()
            if seen.writer is None:
                current = next((copy for copy in copies if copy.state == seen.state), None)
                if current is not None and (path := current.give(is_current=True)) is not None:
                    return path
                seen = store.make(copies)
                copies = store.copies()
                made = next((copy for copy in copies if seen.is_copied and copy.state == seen.state), None)
                if made is not None and (path := made.give(is_current=True)) is not None:
                    return path  # though it may have changed again
                if seen.writer is None:
                    continue
            is_own = f"process {os.getpid()})" in seen.writer
            if is_own and is_own_read:
                return database
            writer = "this process" if is_own else seen.writer
            if copies and (path := copies[0].give(is_current=False)) is not None:
                _say_age(copies[0], writer)
                return path
            if is_own or time.monotonic() > deadline_s:
                raise _busy(store, writer)
            time.sleep(_PAUSE_S)


def _say_age(copied: ReadCopy, writer: str) -> None:
    age = duration_text(max(0.0, time.time() - copied.current_s))
    where = sys.stderr if kernel_shell() is None else sys.stdout  # which a cell does not show as an error
    print(f"{copied.name}: {writer} writes it now; this is how it was {age} ago", file=where)


def _busy(store: _Store, writer: str) -> FlowValidationError:
    from data_engine.helpers.duckdb.connection import DatabaseBusyError

    name = store.database.name
    return DatabaseBusyError(
        f"{name} is open for writing in {writer}, and there is no copy of it on this machine yet",
        where=str(store.database),
        fix=f"try again when it has ended; or {store.live}",
    )


class _Store:
    """The copies of one database of a workspace, on this machine."""

    def __init__(self, home: LocalWorkspace, database: Path) -> None:
        self.database = database
        self.settings = home.settings().preview
        name = database.relative_to(resolve(home.databases)).as_posix()
        self.live = (
            f'read production\'s own file, which no run can write while it is open: Workspace.database("{name}", live=True),'
            f' in a step context.database("{name}", read_only=True, live=True)'
        )
        """What can be done without a copy, for the fix of an error."""
        self.root = home.local.runtime_dir / "read_copies"
        self.folder = self.root / hashlib.blake2b(str(database).encode(), digest_size=8).hexdigest()

    def look(self) -> Look:
        """The database as it is now.

        Raises:
            FlowValidationError: it cannot be read.
        """
        return self._ask(str(self.database))

    def copies(self) -> list[ReadCopy]:
        """Its copies, the newest first, without those that the machine may not have written whole before it started."""
        booted_s = time.time() - boot_clock()
        copies = [copy for copy in _copies_in(self.folder) if copy.made_s > booted_s]
        return sorted(copies, key=lambda copy: copy.made_s, reverse=True)

    def make(self, known: list[ReadCopy]) -> Look:
        """Make a copy, unless another process has made one since these were `known`; what was seen then, with who kept it from that.

        Raises:
            FlowValidationError: the database is too large or cannot be read, or the copy not be kept.
        """
        lock = OsLock(self.folder / "lock")
        with Holding(lock, lambda: lock.wait(timeout_s=WAIT_FOR_FIRST_S)):
            if not lock.is_held:
                return Look(writer=_ELSEWHERE)
            if [copy.folder for copy in self.copies()] != [copy.folder for copy in known]:
                return Look()
            making = self.folder / "making"
            _remove(self.root, making)
            private.make_folder(making)
            try:
                seen = self._ask(str(self.database), str(making / self.database.name), self.settings.copy_limit_bytes)
                if seen.is_copied:
                    for name in _TIMES:
                        (making / name).touch()
                    made = self.folder / f"{time.time_ns():020d}-{seen.state}"
                    rename_folder(making, made)
                    _make_room(self.root, made, self.settings.cache_bytes)
            finally:
                _remove(self.root, making)
        if not seen.is_copied and seen.writer is None:
            raise self._too_large(seen.size_bytes)
        return seen

    def _ask(self, *question: str | int) -> Look:
        try:
            new = KeptProcess(lambda: AnsweringProcess("data_engine.database_copy:answer"), _IDLE_S)
            with _processes.setdefault(os.getpid(), new).use() as process:
                seen = Look(*json.loads(process.ask(json.dumps(question).encode())))
        except (OSError, NoAnswer) as error:
            seen = Look(trouble=str(error))
        if seen.trouble:
            raise FlowValidationError(
                f"{self.database.name} cannot be copied to be read: {seen.trouble}",
                where=str(self.database),
                fix=fix_of_newer(seen.trouble, self.database.name) or self.live,
            )
        return seen

    def _too_large(self, size_bytes: int) -> FlowValidationError:
        return FlowValidationError(
            f"{self.database.name} has {size_text(size_bytes)}, and a read copy may have"
            f" {size_text(self.settings.copy_limit_bytes)}",
            where=str(self.database),
            fix=f"raise [preview] copy_limit in config/data_engine.toml; or {self.live}",
        )


def _copies_in(folder: Path) -> Iterator[ReadCopy]:
    with suppress(OSError):
        for entry in folder.iterdir():
            with suppress(OSError):
                if entry.name[:1].isdigit():
                    given_s, seen_s = (os.stat(entry / name).st_mtime for name in _TIMES)
                    files = [path for path in entry.iterdir() if path.name not in _TIMES]
                    size_bytes = sum(path.stat().st_size for path in files)
                    name = min((path.name for path in files), key=len)  # a log has a longer name
                    yield ReadCopy(entry, name, size_bytes, given_s, seen_s)


def _make_room(root: Path, made: Path, limit_bytes: int) -> None:
    """Remove what was made before the machine started or not given for long, and beyond the limit what was not given for longest."""
    now_s = time.time()
    copies = [copy for folder in root.iterdir() for copy in _copies_in(folder)]
    left_bytes = sum(copy.size_bytes for copy in copies)
    for copy in sorted(copies, key=lambda copy: copy.given_s):
        is_old = copy.given_s < now_s - _KEPT_S or copy.made_s < now_s - boot_clock()
        is_too_much = left_bytes > limit_bytes and copy.given_s < now_s - _GIVEN_S
        if copy.folder != made and (is_old or is_too_much):
            left_bytes -= copy.size_bytes
            _remove(root, copy.folder)


def _remove(root: Path, folder: Path) -> None:
    """Remove a copy; on Windows one that a reader has open stays, whole."""
    with suppress(OSError):
        removed = folder.rename(folder.with_name(f"removed-{uuid.uuid4().hex}"))
        for path in removed.iterdir():
            path.chmod(0o600)  # Windows removes no protected file
        nofollow.remove_tree(root, removed)


def _require_database(file: Path) -> None:
    """Refuse a file that is called a database of DuckDB or SQLite and is none; one without content is a new one of SQLite."""
    if file.suffix.lower() not in _CALLED:
        return  # another program's
    try:
        head = head_of(file, _HEAD_BYTES)
    except OSError:  # another program holds it: whoever opens it says so
        return
    if head and not is_database(head):
        raise FlowValidationError(
            f"{file.name} is no database of DuckDB or SQLite",
            where=str(file),
            fix="read it with the library of its kind; or let the flow that writes it make a database of that name",
        )


def _missing(home: LocalWorkspace, database: Path) -> FlowValidationError:
    names = sorted(path.name for path in home.databases.glob("*") if path.is_file())
    return FlowValidationError(
        f"there is no database {database.name}",
        where=str(database),
        fix=f"in the folder databases there are {first_few(names, 20) or 'none'}",
    )

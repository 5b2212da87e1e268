"""Keep a SQLite database from changes while it is read in a preview.

SQLite opens a file without being told what for. A file that must not change is opened to read only, which SQLite itself keeps; one with
a write-ahead log that nobody has open is opened as ever, since a reader would leave files beside it. What only a callback can refuse,
such as changes of a database that is attached, is refused there; the callback stays when the author sets another.

Reference: https://www.sqlite.org/c3ref/set_authorizer.html, https://www.sqlite.org/uri.html
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_engine.engine.access.access_log import is_not_logged, not_logged
from data_engine.engine.access.file_events import ChangeRefusedError, FileGuard, about_to_write, guards_here
from data_engine.engine.access.guards import database_file
from data_engine.user_files import head_of

_CHANGES = frozenset({1, 2, 7, 8, 9, 10, 11, 16, 17, 18, 23, 26, 27, 28, 29, 30})
"""SQLite's codes of actions that change a database: rows, tables, indexes, views and triggers that are not temporary."""
_SET = frozenset("user_version application_id journal_mode auto_vacuum encoding page_size schema_version".split())
"""The pragmas that change a database when they get a value."""
_DONE = frozenset("wal_checkpoint incremental_vacuum optimize".split())
"""Those that change it without one."""
_DENY, _OK, _PRAGMA, _ATTACH = 1, 0, 19, 24


def connected(connect: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The connection that `sqlite3.connect` gives for these arguments, held back from what a preview must not change."""
    guard = next((guard for guard in guards_here() if guard.keeps_databases), None)
    if guard is None:
        return connect(*args, **kwargs)
    import sqlite3

    place = args[0] if args else kwargs.get("database")
    is_uri = bool(args[7] if len(args) > 7 else kwargs.get("uri"))
    path = database_file(place, is_uri=is_uri)
    is_kept = path is not None and guard.protects(path)
    if path is not None and not is_kept:
        about_to_write(path)
    base = args[5] if len(args) > 5 else kwargs.get("factory", _original(sqlite3))
    if is_kept and path is not None and _can_be_read_only(path):
        query = str(place).partition("?")[2] if is_uri else ""
        address = f"{Path(path).as_uri()}?mode=ro" + "".join(
            f"&{part}" for part in query.split("&") if part and not part.startswith("mode=")
        )
        args, kwargs = ((address, *args[1:]), kwargs) if args else (args, {**kwargs, "database": address})
        args, kwargs = _with(args, kwargs, 7, "uri", True)
    args, kwargs = _with(args, kwargs, 5, "factory", _held_back(base, _Held(guard, path if is_kept else None)))
    with not_logged():  # its event would tell of it again
        return connect(*args, **kwargs)


def connection_class(original: Any) -> dict[str, Any]:
    """What the class `sqlite3.Connection` has while steps run: called itself, it does what `sqlite3.connect` does."""

    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if cls.__dict__.get("_records_reads") and not is_not_logged():
            import sqlite3

            connect = getattr(sqlite3.connect, "__wrapped__", sqlite3.connect)
            return connected(connect, args, {"factory": original, **kwargs})
        return original.__new__(cls)

    return {"__new__": new, "original": original}


def _original(sqlite3: Any) -> Any:
    return getattr(sqlite3.Connection, "original", sqlite3.Connection)


def _can_be_read_only(path: str) -> bool:
    with not_logged(), suppress(OSError):
        is_wal = head_of(Path(path), 20)[18:20] == b"\2\2"
        return not is_wal or os.path.exists(f"{path}-wal")
    return True


def _with(
    args: tuple[Any, ...], kwargs: dict[str, Any], at: int, name: str, value: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if len(args) > at:
        return (*args[:at], value, *args[at + 1 :]), kwargs
    return args, {**kwargs, name: value}


class _Held:
    """What a connection must not change: its main database `kept`, and those it attaches."""

    def __init__(self, guard: FileGuard, kept: str | None) -> None:
        self.guard, self.kept = guard, kept
        self.attached: list[str] = []

    def refuse(self, path: str) -> None:
        """Refuse a change, with an error."""
        self.guard.refuse_database(path)
        raise self.guard.refused[-1]

    def changed(self, database: str | None) -> str | None:
        """The database that must not change which a statement would change by this name."""
        if database == "main":
            return self.kept
        return next(iter(self.attached), None) if database != "temp" else None

    def allow(self, action: int, name: str | None, value: str | None, database: str | None, inner: str | None) -> int:
        """SQLite asks this for each action of a statement."""
        if action == _ATTACH and not self._attach(name):
            return _DENY
        is_change = action in _CHANGES
        if action == _PRAGMA and name is not None:
            is_change = name.lower() in _DONE or (name.lower() in _SET and value is not None)
            database = database or ("main" if self.kept or name.lower() != "journal_mode" else None)
        if is_change and (path := self.changed(database)) is not None:
            self.guard.refuse_database(path)
            return _DENY
        return _OK

    def _attach(self, name: str | None) -> bool:
        """Note a database that is attached, by VACUUM too; of one whose path is a parameter nothing is told."""
        path = database_file(name, is_uri=True)
        if not name and name is not None and (kept := self.kept or self.changed(None)) is not None:  # VACUUM
            self.guard.refuse_database(kept)
            return False
        if name is None or (path is not None and self.guard.protects(path)):
            self.attached.append("that is attached" if path is None else path)
        elif path is not None:
            try:
                about_to_write(path)
            except ChangeRefusedError:
                return False
        return True


def _held_back(base: Any, held: _Held) -> Any:
    """A class of connections that cannot leave what holds them back."""

    class Connection(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            super().set_authorizer(held.allow)

        def set_authorizer(self, callback: Any) -> None:
            def both(*about: Any) -> Any:
                return held.allow(*about) or callback(*about)

            super().set_authorizer(held.allow if callback is None else both)

        def backup(self, target: Any, *args: Any, **kwargs: Any) -> None:
            if (path := _kept_by(target)) is not None:
                held.refuse(path)
            super().backup(target, *args, **kwargs)

        def blobopen(self, *args: Any, **kwargs: Any) -> Any:
            path = None if kwargs.get("readonly") else held.changed(kwargs.get("name", "main"))
            if path is not None:
                held.refuse(path)
            return super().blobopen(*args, **kwargs)

    Connection.held = held
    Connection.__name__, Connection.__qualname__, Connection.__module__ = (
        base.__name__,
        base.__qualname__,
        base.__module__,
    )
    return Connection


def _kept_by(target: Any) -> str | None:
    """The file of a connection that must not change."""
    held = getattr(target, "held", None)
    if isinstance(held, _Held):
        return held.kept
    guard = next(iter(guards_here()), None)
    with suppress(Exception):  # a connection of before
        path = next((row[2] for row in target.execute("pragma database_list") if row[1] == "main"), "")
        return path if path and guard is not None and guard.protects(path) else None
    return None

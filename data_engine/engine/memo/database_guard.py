"""Databases that a previewed step opens: DuckDB and SQLite write past Python, so an existing one is opened to read only.

A DuckDB file is locked by who opens it to write, so that is refused. Nobody says of a SQLite file that he only reads: it is opened,
and a statement that changes it is refused.

Reference: https://www.sqlite.org/c3ref/set_authorizer.html
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from data_engine.engine.memo.file_events import FileGuard, about_to_open_database, about_to_write, current_guard


def opened(connect: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The connection that `duckdb.connect` or `sqlite3.connect` gives for these arguments.

    Raises:
        FlowValidationError: a DuckDB database exists, is not the preview's, and would be opened to write.
    """
    guard = current_guard()
    path = _path_of(args, kwargs)
    if guard is None:
        return connect(*args, **kwargs)
    if "sqlite" in (getattr(connect, "__module__", None) or ""):
        return _opened_sqlite(connect, args, kwargs, guard, path)
    if path is None:
        return connect(*args, **kwargs)
    is_to_read = args[1] if len(args) > 1 else kwargs.get("read_only", False)
    if not is_to_read:
        about_to_open_database(path)
    return connect(*args, **kwargs)


def _opened_sqlite(
    connect: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], guard: FileGuard, path: str | None
) -> Any:
    import sqlite3

    is_kept = path is not None and guard.protects(path)
    if path is not None and not is_kept:
        about_to_write(path)
    connection = connect(*args, **kwargs)
    attached: list[str] = []

    def allow(action: int, name: str | None, other: str | None, database: str | None, inner: str | None) -> int:
        if action == sqlite3.SQLITE_ATTACH:  # a path that is a parameter of the statement is not told
            there = "that is attached" if name is None else _path_of((name,), {"uri": name.startswith("file:")})
            attached.extend([there] if there is not None and (name is None or guard.protects(there)) else [])
        changed = [path] if is_kept and database == "main" else attached[:1] if database not in ("main", "temp") else []
        if action in _CHANGES and changed:
            guard.refuse_database(str(changed[0]))
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    connection.set_authorizer(allow)
    return connection


def _path_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """The file that is opened; None where it is none, or opened to read."""
    place = args[0] if args else kwargs.get("database")
    if not isinstance(place, (str, bytes, os.PathLike)):
        return None
    text = os.fsdecode(place)
    if kwargs.get("uri") and text.startswith("file:"):
        parts = urlsplit(text)
        options = parse_qs(parts.query)
        if options.get("mode") in (["ro"], ["memory"]) or options.get("immutable") == ["1"]:
            return None
        text = unquote(parts.path)
    return None if not text or text.startswith((":", "md:", "motherduck:")) else os.path.abspath(text)


_CHANGES = frozenset({1, 2, 7, 8, 9, 10, 11, 16, 17, 18, 23, 26, 27, 28, 29, 30})
"""SQLite's codes of actions that change a database: rows, tables, indexes, views and triggers that are not temporary."""

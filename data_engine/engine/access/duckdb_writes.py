"""Say before a DuckDB statement runs which files it writes.

DuckDB says where a statement ends and what its words are (`extract_statements`, `tokenize`), what a path is worth that is made in SQL (it
is asked for the value), what was prepared, and what it has opened. DuckDB itself lets COPY stand only at the head of a statement, after
EXPLAIN or PREPARE, or as a part of its WITH clause; not in a view, a macro or a text that SQL makes. A statement whose files cannot
be read is refused.

Reference: https://duckdb.org/docs/stable/sql/statements/copy, https://duckdb.org/docs/stable/configuration/overview
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from data_engine.engine.access.access_log import not_logged
from data_engine.engine.access.file_events import (
    FileGuard,
    about_to_open_database,
    about_to_write,
    about_to_write_unread,
    guards_here,
)
from data_engine.engine.access.writers import filling
from data_engine.platforms.files import content_of
from data_engine.record import frozen

_WRITES = ("copy", "export", "import", "attach", "execute", "set", "pragma", "logging", "profiling", "secret", "query")
"""The words one of which stands in every statement that writes a file; a keyword of SQL has no other spelling."""
_CHANGES = (
    "insert", "update", "delete", "truncate", "create", "alter", "drop", "merge", "vacuum", "analyze", "comment", "checkpoint", "copy",
    "import",
)  # fmt: skip
"""The words one of which stands in every statement that changes a database."""
SETTINGS = {
    **dict.fromkeys(("profiling_output", "profile_output", "log_query_path"), False),
    **dict.fromkeys(
        ("temp_directory", "secret_directory", "extension_directory", "extension_directories", "extension_repository_directory"),
        True,
    ),
}  # fmt: skip
"""The settings that name what DuckDB writes beside databases: a file, or (True) a folder for files with names of its own."""
_FOLDER_OPTIONS = frozenset(
    "partition_by per_thread_output overwrite overwrite_or_ignore append filename_pattern file_size_bytes".split()
)
"""The options with which COPY makes a folder of files."""
_NEW_FILE = "duckdb"
"""Stands for the name that DuckDB gives a new file in a folder."""


@contextmanager
def judged(
    connection: Any, query: object, values: Any = None, run: Callable[[Any], Any] = lambda _: None
) -> Iterator[object]:
    """Inside, the query may run: what it writes was shown to the guard. Gives its last statement; those before it are done, by `run`,
    since what a later one writes may depend on them. `values` are its parameters.

    Raises:
        FlowValidationError: it is refused.
    """  # fmt: skip
    text = query if isinstance(query, str) else getattr(query, "query", None)
    with ExitStack() as files:
        if isinstance(text, str) and (guards := guards_here()):
            words = (*_WRITES, *_CHANGES) if any(guard.keeps_databases for guard in guards) else _WRITES
            if _has(text.lower(), words):
                statements = _statements(connection, text)
                for statement in statements[:-1]:
                    _Judge(connection, statement.query, None, files).judge()
                    run(statement)
                if statements:
                    _Judge(connection, statements[-1].query, values, files).judge()
                    query = statements[-1] if statements[:-1] else query
        yield query


@contextmanager
def judged_file(path: object, options: Mapping[str, Any]) -> Iterator[None]:
    """Inside, a method of a relation may write its file, with these options."""
    with ExitStack() as files:
        if guards_here() and isinstance(path, (str, os.PathLike)):
            pattern = options.get("filename_pattern")
            if pattern is not None and not _is_name(str(pattern)):
                about_to_write_unread(f"filename_pattern={pattern!r}")
            names = frozenset(name for name, value in options.items() if value)
            _show_file(os.fspath(path), names, files)
        yield


def judge_settings(config: object) -> None:
    """Show the files of the settings of a new connection."""
    for name, value in config.items() if isinstance(config, dict) and guards_here() else ():
        _show_setting(str(name).lower(), value)


def refuse_changes(connection: Any, names: Iterable[str] = ()) -> None:
    """Refuse to change a database that a preview must not, on a connection that was opened before: one of these `names`, or the current.

    What a connection opens while it is guarded is judged then, so one that has none of these is asked once.

    Raises:
        FlowValidationError: it is refused.
    """
    named = {name.lower() for name in names}
    for guard in guards_here() if connection is not None else ():
        if not guard.keeps_databases or connection in (clean := _clean.setdefault(guard, WeakSet())):
            continue
        with not_logged():
            rows = _rows(connection, _OPEN_TO_WRITE)
        kept = [(name, path, is_current) for name, path, is_current in rows or () if guard.protects(path)]
        for name, path, is_current in kept:
            if is_current or name.lower() in named:
                guard.refuse_database(path)
                raise guard.refused[-1]
        if rows is not None and not kept:
            clean.add(connection)


_OPEN_TO_WRITE = "select database_name, path, database_name = current_database() from duckdb_databases() where not readonly and path is not null"
_clean: WeakKeyDictionary[FileGuard, WeakSet[Any]] = WeakKeyDictionary()
"""The connections that have no database open to write which the guard protects."""


def local_file(text: str) -> str | None:
    """The path that a text names to DuckDB; None of an address.

    Example:
        >>> local_file("file:///out/a.csv"), local_file("duckdb:/out/a.db"), local_file("s3://bucket/a.csv")
        ('/out/a.csv', '/out/a.db', None)
    """
    text = re.sub(r"^(duckdb|sqlite):(?=[^\\])", "", text)
    text = re.sub(r"^file:(//(localhost)?(?=/))?(/(?=[A-Za-z]:))?", "", text)
    return None if not text or "://" in text or text.startswith((":", "md:", "motherduck:")) else text


# -- the words of a statement ----------------------------------------------------------------------------------------------


@frozen
class _Word:
    """A word of a statement without comments: its text, lower where it is a keyword or a plain name, and where it stands in bytes."""

    text: str
    start: int
    end: int
    is_name: bool = False


def _words(sql: str) -> list[_Word]:
    duckdb: Any = sys.modules["duckdb"]
    raw = sql.encode()
    found = duckdb.tokenize(sql)
    ends = [start for start, _ in found[1:]] + [len(raw)]
    words = []
    for (start, kind), end in zip(found, ends, strict=True):
        name = str(kind).rpartition(".")[2]
        text = raw[start:end].decode(errors="replace").strip()
        if name != "comment":
            is_name = name == "identifier" or name == "keyword"
            text = text.lower() if is_name and not text.startswith('"') else text
            words.append(_Word(text, start, start + len(raw[start:end].rstrip()), is_name))
    return words


def _has(lowered: str, words: Iterable[str]) -> bool:
    return any(word in lowered for word in words)


def _is_name(text: str) -> bool:
    return not any(letter in text for letter in "/\\:")


def _statements(connection: Any, text: str) -> Sequence[Any]:
    """The statements of a text; none where DuckDB refuses it."""
    duckdb: Any = sys.modules["duckdb"]
    with not_logged():
        try:
            found: Sequence[Any] = (duckdb if connection is None else connection).extract_statements(text)
        except duckdb.Error:
            return ()
        except ValueError:  # a kind of statement that this version of its Python library does not know
            found = ()
    if not found:
        about_to_write_unread(text)
    return found


def _rows(connection: Any, query: object, values: Any = None) -> list[Any] | None:
    """The rows of a question to DuckDB; None where it has no answer. Without a connection, one of nobody's is asked."""
    duckdb: Any = sys.modules["duckdb"]
    try:
        if connection is not None:
            rows: list[Any] = connection.execute(query, values).fetchall()
            return rows
        with duckdb.connect() as alone:
            return list(alone.execute(query, values).fetchall())
    except duckdb.Error:
        return None


class _Unread(Exception):
    """A part of a statement cannot be read."""


class _Judge:
    """Judge one statement: `files` gets what is to be looked at after it."""

    def __init__(self, connection: Any, sql: str, values: Any, files: ExitStack) -> None:
        self._connection, self._sql, self._values, self._files = connection, sql, values, files
        self._words = _words(sql)

    def judge(self) -> None:
        """Show what the statement writes.

        Raises:
            FlowValidationError: it is refused, or cannot be read.
        """
        try:
            self._judge()
        except _Unread:
            about_to_write_unread(self._sql)

    def _judge(self) -> None:
        at = self._head()
        head = self._text(at)
        if head == "prepare":
            return  # it is judged when it is executed
        for place in self._copies(at):
            self._copy(place + 1)
        judge = {
            "export": self._export,
            "import": self._import,
            "attach": self._attach,
            "execute": self._execute,
            "set": self._set,
            "pragma": self._set,
            "create": self._secret,
        }.get(head)
        if judge is not None:
            judge(at + 1)
        for place, word in enumerate(self._words):
            if word.text in ("enable_logging", "enable_profiling") and self._text(place + 1) == "(":
                self._function(place + 2)
            elif word.text == "query" and self._text(place + 1) == "(":
                self._plan(at)
        if self._changes(at):
            refuse_changes(self._connection, (word.text.strip('"') for word in self._words if word.is_name))

    # -- where things stand ------------------------------------------------------------------------------------------------

    def _text(self, at: int) -> str:
        return self._words[at].text if 0 <= at < len(self._words) else ""

    def _head(self) -> int:
        """The place of the first word after EXPLAIN."""
        if self._text(0) != "explain":
            return 0
        at = 1 + (self._text(1) == "analyze")
        return self._after(at) if self._text(at) == "(" and self._text(at + 1) in ("analyze", "format") else at

    def _after(self, at: int) -> int:
        """The place after the bracket that closes the one at this place."""
        depth = 0
        for place in range(at, len(self._words)):
            depth += (self._text(place) in ("(", "[", "{")) - (self._text(place) in (")", "]", "}"))
            if not depth:
                return place + 1
        raise _Unread

    def _slice(self, start: int, end: int) -> str:
        """The statement's own text between two places."""
        if start >= end:
            raise _Unread
        return self._sql.encode()[self._words[start].start : self._words[end - 1].end].decode()

    def _end(self, at: int) -> int:
        """The place where the brackets around this place close, or the statement ends."""
        while at < len(self._words) and self._text(at) not in (")", ";"):
            at = self._after(at) if self._text(at) in ("(", "[", "{") else at + 1
        return at

    def _name(self, at: int) -> int:
        """The place after a name of one or several parts."""
        while at < len(self._words) and self._words[at].is_name:
            at += 1
            if self._text(at) != ".":
                return at
            at += 1
        raise _Unread

    def _copies(self, head: int) -> Iterator[int]:
        """The places of COPY ... TO: nothing else of SQL has that form."""
        for at, word in enumerate(self._words):
            if word.text == "copy":
                try:
                    to = self._source(at + 1)
                except _Unread:
                    if at == head:
                        raise
                    continue  # a column of that name
                if self._text(to) == "to":
                    yield at

    def _source(self, at: int) -> int:
        """The place after what COPY copies."""
        if self._text(at) == "(":
            return self._after(at)
        if self._text(at) == "from" and self._text(at + 1) == "database":
            return at
        at = self._name(at)
        return self._after(at) if self._text(at) == "(" else at

    # -- what is written ---------------------------------------------------------------------------------------------------

    def _target(self, at: int) -> tuple[object, int]:
        """The value of the path at this place, which may be made in SQL, and the place after it."""
        text = self._text(at)
        if text in ("?", "$"):
            end = at + 1 + (text == "$")
        elif text == "(":
            end = self._after(at)
        elif self._words[at : at + 1] and self._words[at].is_name:
            end = self._name(at)
            if self._text(end) == "(":
                end = self._after(end)
            else:
                return re.sub(r'"((?:[^"]|"")*)"', lambda match: match[1].replace('""', '"'), self._slice(at, end)), end
        else:
            end = at + 1
        return self._value(at, end), end

    def _value(self, start: int, end: int) -> object:
        """What DuckDB says that this part of the statement is worth."""
        expression, names = self._slice(start, end), []
        if any(self._text(at) == "nextval" for at in range(start, end)):
            raise _Unread  # asking would change what the statement gets
        for at in reversed(range(start, end)):
            if self._text(at) == "?":
                names.append(str(sum(word.text == "?" for word in self._words[: at + 1])))
                before, after = (
                    self._sql.encode()[self._words[start].start : self._words[at].start],
                    expression.encode(),
                )
                expression = (before + f"${names[-1]}".encode() + after[len(before) + 1 :]).decode()
            elif self._text(at) == "$":
                names.append(self._slice(at + 1, at + 2))
        with not_logged():
            rows = _rows(
                self._connection, f"select ({expression})", {name: self._given(name) for name in names} or None
            )
        if not rows:
            raise _Unread
        return rows[0][0]

    def _given(self, name: str) -> Any:
        """The parameter of this name or number."""
        values = self._values
        try:
            value = values[name] if isinstance(values, Mapping) else values[int(name) - 1]
        except (KeyError, ValueError, IndexError, TypeError):
            raise _Unread from None
        return os.fspath(value) if isinstance(value, os.PathLike) else value

    def _copy(self, at: int) -> None:
        path, options_at = self._target(self._source(at) + 1)
        options = range(options_at, self._end(options_at))
        for place in options:
            if self._text(place) == "filename_pattern":
                pattern = self._text(place + 1).strip("'") if self._text(place + 1).startswith("'") else "/"
                if not _is_name(pattern):
                    raise _Unread
        names = frozenset(self._text(place).strip('"').lower() for place in options)
        self._show(path, names & _FOLDER_OPTIONS)

    def _export(self, at: int) -> None:
        """EXPORT DATABASE 'folder', or one of several databases TO 'folder': it writes files of several names there."""
        start = next((place for place in range(at, len(self._words)) if self._text(place) == "to"), at)
        path, _ = self._target(start + 1)
        self._show(path, frozenset({"overwrite"}))

    def _import(self, at: int) -> None:
        """IMPORT DATABASE 'folder' runs the statements of two files there."""
        folder = local_file(self._path(self._target(at + 1)[0]))
        for name in ("schema.sql", "load.sql") if folder is not None else ():
            with not_logged():
                try:
                    text = content_of(os.path.join(str(folder), name)).decode()
                except (OSError, ValueError):
                    continue
            for statement in _statements(self._connection, text):
                _Judge(self._connection, statement.query, None, self._files).judge()

    def _attach(self, at: int) -> None:
        while self._text(at) in ("or", "replace", "database", "if", "not", "exists"):
            at += 1
        path, at = self._target(at)
        words = [self._text(place) for place in range(at, len(self._words))]
        if "read_only" in words and words[words.index("read_only") + 1 :][:1] in ([")"], [","], ["true"]):
            return
        file = local_file(self._path(path))
        if file is not None:
            about_to_open_database(self._expanded(file))

    def _execute(self, at: int) -> None:
        """EXECUTE name(values): the statement as it was prepared."""
        name = self._slice(at, at + 1).strip('"')
        with not_logged():
            rows = _rows(self._connection, "select statement from duckdb_prepared_statements() where name = $1", [name])
        if self._connection is None or rows is None:
            raise _Unread
        values = self._arguments(at + 2) if self._text(at + 1) == "(" else {}
        for (text,) in rows:
            _Judge(self._connection, text, values, self._files).judge()

    def _set(self, at: int) -> None:
        """SET or PRAGMA name = value; PRAGMA import_database(folder)."""
        while self._text(at) in ("global", "session", "local"):
            at += 1
        name = self._text(at).strip('"')
        if name == "import_database":
            self._import(at)
        elif name in SETTINGS and self._text(at + 1) in ("=", "to") and self._text(at + 2) != "default":
            _show_setting(name, self._value(at + 2, self._end(at + 2)))

    def _secret(self, at: int) -> None:
        """CREATE PERSISTENT SECRET name: a file in a folder of a setting."""
        words = [self._text(place) for place in range(at, len(self._words))]
        if "persistent" not in words[:3]:
            return
        name = next(
            (word for word in words[words.index("persistent") + 1 :] if word not in ("secret", "if", "not", "exists")),
            "",
        )
        with not_logged():
            rows = _rows(self._connection, "select current_setting('secret_directory')")
        if not rows:
            raise _Unread
        file = "__default" if name == "(" else name.strip('"')
        about_to_write(os.path.join(self._expanded(self._path(rows[0][0])), f"{file}.duckdb_secret"))

    def _function(self, at: int) -> None:
        """The files of enable_logging and enable_profiling."""
        given = self._arguments(at)
        if "storage_config" in given:
            raise _Unread
        for name in ("storage_path", "save_location"):
            if given.get(name) is not None:
                path = self._path(given[name])
                self._show(path, frozenset({"overwrite"}) if os.path.isdir(path) else frozenset())

    def _arguments(self, at: int) -> dict[str, object]:
        """The values from this place to the closing bracket, by name or number."""
        values: dict[str, object] = {}
        end = self._end(at)
        while at < end:
            stop = at
            while stop < end and self._text(stop) != ",":
                stop = self._after(stop) if self._text(stop) in ("(", "[", "{") else stop + 1
            is_named = self._text(at + 1) in ("=", ":=", "=>")
            values[self._text(at) if is_named else str(len(values) + 1)] = self._value(at + 2 * is_named, stop)
            at = stop + 1
        return values

    def _plan(self, head: int) -> None:
        """A query that SQL makes: its plan has the names of the functions that write files."""
        with not_logged():
            rows = _rows(self._connection, f"explain (format json) {self._slice(head, len(self._words))}", self._values)
        if rows is None or _has(str(rows).lower(), ("logging", "profiling")):
            raise _Unread

    def _changes(self, at: int) -> bool:
        """Whether the statement changes a database, not only temporary tables."""
        head = self._text(at)
        if head == "create":
            return not {"temp", "temporary"} & {self._text(place) for place in range(at + 1, at + 4)}
        if head in ("with", "("):
            return any(
                self._text(place) in ("insert", "update", "delete", "merge") for place in range(at, len(self._words))
            )
        if head in ("call", "pragma", "force"):
            return any(
                "checkpoint" in word.text or word.text in ("copy_database", "import_database") for word in self._words
            )
        return head in _CHANGES and not (head == "copy" and list(self._copies(at)))

    # -- showing -----------------------------------------------------------------------------------------------------------

    def _path(self, value: object) -> str:
        if not isinstance(value, str):
            raise _Unread
        return value

    def _expanded(self, path: str) -> str:
        """The path with the home folder of this connection."""
        if not path.startswith("~"):
            return path
        with not_logged():
            rows = _rows(self._connection, "select current_setting('home_directory')")
        home = rows[0][0] if rows and rows[0][0] else os.path.expanduser("~")
        return home + path[1:]

    def _show(self, value: object, options: frozenset[str]) -> None:
        _show_file(self._expanded(self._path(value)), options, self._files)


def _show_file(text: str, options: frozenset[str], files: ExitStack) -> None:
    """Show a target; that of several files is looked at again when they are written."""
    path = local_file(os.path.expanduser(text))
    if path is None or path == "/dev/stdout":
        return
    if os.path.isdir(path) or (options & _FOLDER_OPTIONS and not os.path.lexists(path)):
        replaces = bool(options & {"overwrite", "overwrite_or_ignore"})
        files.enter_context(filling(path, lambda name: replaces, _NEW_FILE))
    else:
        about_to_write(path)


def _show_setting(name: str, value: object) -> None:
    is_folder = SETTINGS.get(name)
    for text in () if is_folder is None else value if isinstance(value, (list, tuple)) else (value,):
        if isinstance(text, (str, os.PathLike)) and (path := local_file(os.path.expanduser(os.fspath(text)))):
            about_to_write(os.path.join(path, _NEW_FILE) if is_folder else path)

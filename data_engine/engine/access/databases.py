"""Record what DuckDB and SQLite read, whose queries name files in SQL, and let what they write be judged (`duckdb_writes`, `sqlite_guard`)."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import lru_cache, partial
from pathlib import Path
from types import FrameType
from typing import Any

from data_engine.engine.access.access_log import ReadLog, current_files, is_not_logged, not_logged
from data_engine.engine.access.code import identifiers
from data_engine.engine.access.duckdb_writes import judge_settings, judged, judged_file, local_file, refuse_changes
from data_engine.engine.access.file_events import about_to_open_database, about_to_write_unread
from data_engine.engine.access.guards import database_file
from data_engine.engine.access.recorders import mark_unseen, record_paths
from data_engine.engine.access.sqlite_guard import connected
from data_engine.errors import FlowValidationError
from data_engine.files import resolve
from data_engine.keeping import keeping
from data_engine.record import frozen
from data_engine.storage_version import is_made_here, make_attached, make_missing, new_databases_here

_Args = tuple[Any, ...]
_Kwargs = dict[str, Any]


def record_database(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    """`sqlite3.connect`."""
    _record_opened(logs, args[0] if args else kwargs.get("database", ":memory:"))
    return connected(original, args, kwargs)


def record_duckdb(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    """`duckdb.connect`; a database that it would make is made first, in the workspace's format. One that is there is locked by a program
    that opens it to write, so that is refused in a preview."""
    place = args[0] if args else kwargs.get("database", ":memory:")
    config = args[2] if len(args) > 2 else kwargs.get("config")
    read_only = args[1] if len(args) > 1 else kwargs.get("read_only", False)
    read_only = read_only or str((config or {}).get("access_mode")).lower() == "read_only"
    path = None if (file := database_file(place)) is None else local_file(os.fsdecode(place))
    if file is not None and not read_only and not is_made_here(config):
        with not_logged():
            make_missing(file)
    if path is not None and not _is_helper(sys._getframe(2)):
        _refuse_kept(path)
    _record_opened(logs, place, to_write=not read_only)
    if config:
        mark_unseen(logs, "a configured connection")
    judge_settings(config)
    if path is not None and not read_only:
        about_to_open_database(path)
    connect = partial(original, *args, **kwargs)
    return connect() if path is None or _is_helper(sys._getframe(2)) else _patiently(connect)


def _patiently(connect: Callable[[], Any]) -> Any:
    """What opens a database; in a run it is tried again for a moment where another process has the file open, as one that copies it has."""
    deadline_s = time.monotonic() + _RETRIED_S if new_databases_here() is not None else 0.0
    while True:
        try:
            return connect()
        except sys.modules["duckdb"].IOException as error:
            what = str(error)
            is_held = "Could not set lock" in what or ("Cannot open file" in what and "No such file" not in what)
            if not is_held or time.monotonic() > deadline_s:
                raise
        time.sleep(_PAUSE_S)


def _refuse_kept(path: str) -> None:
    """Return where the run of this context keeps no rows for the database.

    Raises:
        FlowValidationError: a connection of the author's own would not see them.
    """
    run = keeping.get()
    if run is None or run.tables is None or is_not_logged():
        return
    file = resolve(Path(path))
    if run.tables.has_rows(file):
        raise FlowValidationError(
            f"rows for {os.path.basename(path)} are kept until the run has succeeded ({run.tables.cells_of(file)}),"
            " and a connection of its own would not see them",
            where=run.cell() or path,
            fix="read it with read_sql, or call context.mirror.publish() before it, which applies them",
        )


def _is_helper(frame: FrameType) -> bool:
    """Whether it is a helper that calls, or what makes a missing database for it."""
    name = str(frame.f_globals.get("__name__", ""))
    return name.startswith("data_engine.helpers.") or name == make_missing.__module__


def _note_used(connection: Any, query: object) -> None:
    """Note the tables that a query of the author's own changes, for a run that fails after it, or that it reads the database."""
    run, files = keeping.get(), current_files()
    if run is None or is_not_logged() or not isinstance(query, str):
        return
    with not_logged(), suppress(sys.modules["duckdb"].Error):
        access = sql_access(query)
        for table in access.tables or ([] if access.changes else [""]):
            if (table, id(connection)) not in run.used:
                run.used.add((table, id(connection)))
                with connection.cursor() as cursor:
                    (path,) = cursor.execute(_PATH).fetchone()
                if path and table:
                    run.written.setdefault((Path(path), table))
                elif path and files is not None:
                    files.note("database", path)


_RETRIED_S = 1.5
_PAUSE_S = 0.02
_ATTACH = re.compile(r"\s*attach\b[^;]*;?\s*", re.IGNORECASE)
_PATH = "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"


def _record_opened(logs: tuple[ReadLog, ...], place: object, *, to_write: bool = False) -> None:
    text = place if isinstance(place, str) else None
    if text is not None and text in (":default:",):
        mark_unseen(logs, "the default DuckDB connection")
    elif text is not None and (text.startswith(("file:", "md:", "motherduck:")) or "?" in text):
        mark_unseen(logs, f"the database {text}")
    elif place not in (":memory:", "") and not (text or "").startswith(":memory:"):
        record_paths([place], "database", logs, native=False, is_appended=to_write)


def record_module_sql(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    connection = kwargs.get("connection")
    duckdb: Any = sys.modules["duckdb"]
    if connection is None and not all(log.is_duckdb_pristine for log in logs):
        if _is_pristine(duckdb):
            for log in logs:
                log.is_duckdb_pristine = True
        else:
            mark_unseen(logs, "the state of the default DuckDB connection")
    _record_sql(logs, args[0] if args else kwargs.get("query"), is_shared=connection is None)
    with not_logged():
        connection = duckdb.default_connection() if connection is None else connection
    return _run(original, connection, (), args, kwargs, sys._getframe(2))


def record_method_sql(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    text = args[1] if len(args) > 1 else kwargs.get("query")
    _record_sql(logs, text, is_shared=args[0] is sys.modules["duckdb"].default_connection())
    return _run(original, args[0], args[:1], args[1:], kwargs, sys._getframe(2))


def record_frame_query(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    """`relation.query(name, query)`, `duckdb.query_df(frame, name, query)`: they run what does not only read."""
    query = kwargs.get("sql_query", args[-1] if args else None)
    _record_sql(logs, query, is_shared=False)
    with judged(kwargs.get("connection"), query):
        return _call_for_frames(original, args, kwargs, sys._getframe(2))


def record_changes(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    """A method of a connection that changes a table, or a function of the module; the first text, if any, says which."""
    mark_unseen(logs, "what a DuckDB connection was given")
    texts = (value for value in (*args, *kwargs.values()) if isinstance(value, str))
    duckdb: Any = sys.modules["duckdb"]
    connection = args[0] if args and isinstance(args[0], duckdb.DuckDBPyConnection) else kwargs.get("connection")
    with not_logged():
        connection = duckdb.default_connection() if connection is None else connection
    refuse_changes(connection, identifiers(next(texts, "")))
    return original(*args, **kwargs)


def record_frame_file(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    """The methods by which a relation is written to a file, or to a folder of files."""
    path = args[1] if len(args) > 1 else kwargs.get("file_name", kwargs.get("filename"))
    with judged_file(path, kwargs):
        return original(*args, **kwargs)


def _run(original: Any, connection: Any, owner: _Args, args: _Args, kwargs: _Kwargs, caller: FrameType) -> Any:
    """Run a query when the files that it writes were shown to the guard."""
    query = args[0] if args else kwargs.get("query")
    values = args[1] if len(args) > 1 else kwargs.get("parameters", kwargs.get("params"))
    several = (
        values if getattr(original, "__name__", "") == "executemany" and isinstance(values, (list, tuple)) else [values]
    )

    def run(statement: Any) -> None:
        execute = vars(type(connection))["execute"]
        _call_for_frames(getattr(execute, "__wrapped__", execute), (connection, statement), {}, caller)
        connection.fetchall()  # else it is in the way of the next statement

    text, is_refused = query, True
    with ExitStack() as files:
        for one in several:
            query = files.enter_context(judged(connection, query, one, run))
        args, kwargs = ((query, *args[1:]), kwargs) if args else (args, {**kwargs, "query": query})
        call = partial(_call_for_frames, original, (*owner, *args), kwargs, caller)
        is_attach = isinstance(query, str) and _ATTACH.fullmatch(query) is not None
        try:
            result = _patiently(call) if is_attach and not _is_helper(caller) else call()
            is_refused = False
        finally:  # of several statements, those before the one that was refused have been done
            is_first = len(several) == 1 and isinstance(text, str) and ";" not in text.strip().removesuffix(";")
            if not _is_helper(caller) and not (is_refused and is_first):
                _note_used(connection, text)
        return result


def record_frames_sql(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    texts = [value for value in (*args, *kwargs.values()) if isinstance(value, str)]
    if not texts:
        mark_unseen(logs, "a query that is not a text")
    for text in texts:
        _record_sql(logs, text, is_shared=False)
    return original(*args, **kwargs)


def record_fragments(original: Any, logs: tuple[ReadLog, ...], args: _Args, kwargs: _Kwargs) -> Any:
    for text in (*args, *kwargs.values()):
        if isinstance(text, str):
            _record_sql(logs, text, is_shared=False)
            if "logging" in text.lower():  # the one function of these that can write a file
                about_to_write_unread(text)
    return _call_for_frames(original, args, kwargs, sys._getframe(2))


def _record_sql(logs: tuple[ReadLog, ...], text: object, *, is_shared: bool) -> None:
    if not isinstance(text, str):
        mark_unseen(logs, "a query that is not a text")
        return
    if (run := keeping.get()) is not None and run.tables is not None:
        for path in filter(None, map(local_file, sql_access(text).databases)):
            _refuse_kept(path)
    with not_logged():
        make_attached(text)
        if not logs:
            return
        statement: SqlAccess = sql_access(text)
    if statement.unseen is not None:
        mark_unseen(logs, statement.unseen)
    if is_shared and statement.changes:
        mark_unseen(logs, "the default DuckDB connection, which it changes")
    record_paths(statement.files, "content", logs)
    record_paths(statement.databases, "database", logs, native=False)
    _record_frames(identifiers(text), logs, sys._getframe(3))


def _record_frames(words: frozenset[str], logs: tuple[ReadLog, ...], frame: FrameType | None) -> None:
    """Record the frames that a query with these words may read by the name of a variable, from `frame` outwards."""
    is_outside = False
    while frame is not None:
        space = frame.f_globals
        if space.get("__name__", "").startswith("data_engine.engine"):
            is_outside = True  # beyond the step: who called the preview
        else:
            for word in words & space.keys():
                if is_frame(space[word]):
                    for log in logs:
                        log.frame(space, word)
            if is_outside and frame.f_locals is not space:
                variables = frame.f_locals  # from Python 3.13 on a proxy, whose keys() are a list
                name = next((word for word in words.intersection(variables) if is_frame(variables[word])), None)
                if name is not None:
                    mark_unseen(logs, f"{name}, a variable of whoever called the preview")
        frame = frame.f_back


def is_frame(value: object) -> bool:
    """Whether SQL can read `value` by the name of its variable."""
    return type(value).__module__.partition(".")[0] in ("polars", "pyarrow", "pandas", "numpy", "duckdb", "_duckdb")


_CALL = compile("__data_engine_call__()", "<preview>", "eval")


def _call_for_frames(original: Any, args: _Args, kwargs: _Kwargs, caller: FrameType) -> Any:
    """Call DuckDB as if from the caller's own frame, where it looks for frames by name."""
    names = {**caller.f_locals, "__data_engine_call__": partial(original, *args, **kwargs)}
    return eval(_CALL, caller.f_globals, names)


_STATE = """
    select (select count(*) from duckdb_tables()) + (select count(*) from duckdb_views() where not internal)
         + (select count(*) from duckdb_functions() where not internal)
         + (select count(*) from duckdb_types() where not internal),
    (select string_agg(concat(name, '=', value), ';' order by name) from duckdb_settings()
     where name not like '%progress_bar%') -- it depends on where the first connection was made, and changes no result
"""
_fresh_settings: list[object] = []


def _is_pristine(duckdb: Any) -> bool:
    """Whether the default connection is as a new one: no tables, no functions, no settings of its own."""
    with not_logged():
        if not _fresh_settings:
            with duckdb.connect() as fresh:
                _fresh_settings.append(fresh.execute(_STATE).fetchone()[1])
        with duckdb.default_connection().cursor() as cursor:
            count, settings = cursor.execute(_STATE).fetchone()
        return bool(count == 0 and settings == _fresh_settings[0])


@frozen
class SqlAccess:
    """The files and databases of a query: `files` that it reads and `databases` are paths in its text; `changes` when it does more than
    read, and `tables` are those that it changes."""

    files: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    changes: bool = False
    unseen: str | None = None
    tables: tuple[str, ...] = ()


_TOKEN = re.compile(
    r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$\$.*?\$\$|[A-Za-z_]\w*|[^\s\w]|\d[\w.]*", re.DOTALL
)
_NAME = r'(?:"(?:[^"]|"")*"|[A-Za-z_]\w*)'
_CHANGED = re.compile(
    r"(?:^|; )(?:with .*? )?(?:insert(?: or \w+)? into|update|delete from|truncate(?: table)?|alter table(?: if exists)?|merge into"
    r"|drop table(?: if exists)?|create(?: or replace)? table(?: if not exists)?|copy(?= [^;(]*(?:\([^)]*\) )?from ))"
    rf" ({_NAME}(?: \. {_NAME})*)",
    re.IGNORECASE | re.DOTALL,
)
_LOOKING_WORDS = frozenset(
    {"select", "from", "with", "values", "describe", "summarize", "show", "explain", "pivot", "unpivot", "("}
)
_READERS = frozenset(
    """read_csv read_csv_auto read_parquet parquet_scan read_json read_json_auto read_json_objects read_json_objects_auto
    read_ndjson read_ndjson_auto read_ndjson_objects read_text read_blob glob sniff_csv parquet_metadata parquet_schema
    parquet_file_metadata parquet_kv_metadata parquet_bloom_probe""".split()
)
_UNSEEN = {
    **dict.fromkeys(("random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "setseed", "tablesample"), "random numbers in SQL"),
    **dict.fromkeys(
        ("now", "today", "current_date", "current_time", "current_timestamp", "get_current_timestamp", "get_current_time",
         "localtime", "localtimestamp", "transaction_timestamp", "current_localtime", "current_localtimestamp"),
        "the clock in SQL",
    ),
    **dict.fromkeys(("getenv", "getvariable", "current_setting"), "the environment in SQL"),
    **dict.fromkeys(("nextval", "currval", "pragma", "install", "load", "import", "export", "use", "prepare", "deallocate"), "the state of a connection"),
    **dict.fromkeys(("sqlite_scan", "sqlite_attach", "postgres_scan", "postgres_query", "mysql_scan", "mysql_query", "iceberg_scan",
                     "delta_scan", "st_read", "read_xlsx", "query", "query_table", "duckdb_secrets"), "a table function in SQL"),
}  # fmt: skip

_ALSO_NAMES = frozenset({"uuid", "query", "load", "use", "import", "export", "now", "today", "random"})
"""Words that are as likely the name of a column; they count where they are called or begin a statement."""


@lru_cache(maxsize=512)
def sql_access(text: str) -> SqlAccess:
    """The files, databases and dangers in `text`.

    Example:
        >>> sql_access("select * from 'a.csv' join read_parquet(['b/*.parquet']) using (id)").files
        ('a.csv', 'b/*.parquet')
        >>> sql_access("create table t as select random()")
        SqlAccess(files=(), databases=(), changes=True, unseen='random numbers in SQL', tables=('t',))
    """
    tokens = [token for token in _TOKEN.findall(text) if not token.startswith(("--", "/*"))]
    paths: dict[str, list[str]] = {"file": [], "database": [], "target": []}
    unseen: str | None = None
    for at, token in enumerate(tokens):
        unseen = unseen or _why_unseen(tokens, at)
        if token[0] in "'\"":
            role, path = _role(tokens, at), token[1:-1].replace(token[0] * 2, token[0])
            if role == "file" and "://" in path:
                unseen = unseen or f"the address {path.partition('?')[0]}"
            else:
                paths[role].append(path)
    files = tuple(path for path in paths["file"] if 0 < len(path) < 1024 and "\n" not in path and "\0" not in path)
    changes = _changes(tokens)
    tables = [name.replace(" ", "").replace('"', "") for name in _CHANGED.findall(" ".join(tokens))] if changes else ()
    return SqlAccess(files, tuple(paths["database"]), changes, unseen, tuple(tables))


def _changes(tokens: list[str]) -> bool:
    """Whether one of the statements does more than read."""
    starts = [token for at, token in enumerate(tokens) if at == 0 or tokens[at - 1] == ";"]
    return any(start.lower() not in _LOOKING_WORDS and start != ";" for start in starts)


def _why_unseen(tokens: list[str], at: int) -> str | None:
    """Why the word at this place hides what the query reads; None where it does not."""
    token, word = tokens[at], tokens[at].lower()
    before = tokens[at - 1].lower() if at else ""
    is_call = tokens[at + 1 : at + 2] == ["("]
    if word in _UNSEEN and (is_call or word not in _ALSO_NAMES or before in ("", ";")):
        return _UNSEEN[word]
    if word == "sample" and before == "using":
        return "random numbers in SQL"
    if word in _READERS and is_call and not _has_literal_path(tokens, at + 2):
        return "a path made in SQL"
    if word in ("attach", "copy") and not any(text.startswith("'") for text in tokens[at:]):
        return "a path made in SQL"
    return "a dollar-quoted text in SQL" if token.startswith("$$") else None


def _role(tokens: list[str], at: int) -> str:
    """The role of the quoted text at this place: a file, a database or a target; a name of a table counts as a file."""
    before = " ".join(token.lower() for token in tokens[max(at - 5, 0) : at])
    if re.search(r"\battach( or replace)?( database)?( if not exists)?$", before):
        return "database"
    return "target" if before.endswith((" to", "export database")) else "file"


def _has_literal_path(tokens: list[str], at: int) -> bool:
    """Whether the first argument is one text, or a list of texts."""
    if at < len(tokens) and tokens[at].startswith("'"):
        return at + 1 < len(tokens) and tokens[at + 1] in (",", ")")
    if at >= len(tokens) or tokens[at] != "[":
        return False
    for token in tokens[at + 1 :]:
        if token == "]":
            return True
        if token != "," and not token.startswith("'"):
            return False
    return False

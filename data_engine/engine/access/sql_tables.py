"""Tell which tables of which databases SQL reads and writes: pure, from the texts and from what a connection had open then.

A text that cannot be read makes the tables of its databases unknown; it is never guessed. sqlglot is imported with the first text.

Reference: https://github.com/tobymao/sqlglot; https://duckdb.org/docs/stable/sql/statements/overview, https://www.sqlite.org/lang.html
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from data_engine.record import frozen

Dialect = Literal["duckdb", "sqlite"]
Name = tuple[str, str, str]
"""Database, schema and table, in lower case: names are the same in any case. SQLite has one schema, "main"."""

_OURS = frozenset({"_data_engine", "information_schema", "pg_catalog"})
_NOBODYS = frozenset({"temp", "system", "memory"})
_LONGEST_VIEW = 20


@frozen
class SqlState:
    """What a connection had open: `files` are those of its databases, by name (None: in memory); `names` are their tables, as they
    are written, `views` their texts; `unknown` where it could not be asked."""

    dialect: Dialect
    database: str = "main"
    schema: str = "main"
    files: Mapping[str, str | None] = field(default_factory=dict)
    names: Mapping[Name, str] = field(default_factory=dict)
    views: Mapping[Name, str] = field(default_factory=dict)
    triggers: Mapping[Name, tuple[str, ...]] = field(default_factory=dict)


@dataclass
class SqlTables:
    """The tables that were read and written, by the file of their database; `unknown` are files of which not all are known."""

    reads: dict[str, dict[str, None]] = field(default_factory=dict)
    writes: dict[str, dict[str, None]] = field(default_factory=dict)
    unknown: dict[str, None] = field(default_factory=dict)


def tables_of(states: Iterable[tuple[SqlState, Iterable[str]]]) -> SqlTables:
    """The tables of the texts of several connections, each text with the state of its connection before it.

    Example:
        >>> state = SqlState("duckdb", "mart", "main", {"mart": "/ws/mart.duckdb"}, {("mart", "main", "sales"): "sales"})
        >>> found = tables_of([(state, ["create table totals as with s as (from sales) select sum(a) as a from s join df using (a)"])])
        >>> {path: [*names] for path, names in found.reads.items()}, {path: [*names] for path, names in found.writes.items()}
        ({'/ws/mart.duckdb': ['sales']}, {'/ws/mart.duckdb': ['totals']})
        >>> tables_of([(state, ["select from from"])]).unknown
        {'/ws/mart.duckdb': None}
    """
    found = SqlTables()
    readers = [(_Reader(state, found), list(texts)) for state, texts in states]
    made: dict[str, dict[tuple[str, str], str]] = {}
    for reader, texts in readers:  # what one connection makes, another may read
        reader.made = made
        for text in texts:
            reader.note_made(text)
    for reader, texts in readers:
        for text in texts:
            reader.read(text)
    return found


class _Unread(Exception):
    """A part of a text that cannot be read."""


@lru_cache(maxsize=4096)
def _parsed(text: str, dialect: Dialect) -> tuple[Any, ...] | None:
    """The statements of a text; None where it cannot be read."""
    import sqlglot

    logger = logging.getLogger("sqlglot")
    before, logger.disabled = logger.disabled, True
    try:
        return tuple(part for part in sqlglot.parse(_LEADS.sub(r"\1", text), dialect=dialect) if part is not None)
    except (sqlglot.errors.SqlglotError, RecursionError, ValueError):
        return None
    finally:
        logger.disabled = before


_LEADS = re.compile(
    r"((?:^|;)(?:\s|--[^\n]*\n|/\*.*?\*/)*)(?:explain(?:\s+analyze|\s*\([^)]*\)|\s+query\s+plan)?|prepare\s+\w+\s*(?:\([^)]*\))?\s*as)\s+(?=[a-z(])",
    re.IGNORECASE | re.DOTALL,
)
"""What stands before a statement that is read all the same."""


_HARMLESS = frozenset(
    """load install checkpoint force vacuum analyze begin commit end rollback abort savepoint release set reset pragma call deallocate
    execute attach detach show start update_extensions reindex""".split()
)
_SCANS = frozenset(
    """range generate_series unnest json_each json_tree read_csv read_csv_auto read_parquet parquet_scan read_json read_json_auto
    read_json_objects read_json_objects_auto read_ndjson read_ndjson_auto read_ndjson_objects read_text read_blob glob sniff_csv read_xlsx
    parquet_metadata parquet_schema parquet_file_metadata parquet_kv_metadata parquet_bloom_probe repeat repeat_row test_all_types
    summary pandas_scan arrow_scan arrow_scan_dumb values generate_subscripts regexp_split_to_table string_split st_read iceberg_scan
    delta_scan postgres_scan postgres_query mysql_scan mysql_query icu_calendar_names which_secret dbstat bytecode sqlite_stmt
    explodingvalues readcsv readparquet""".split()
)
"""Table functions that read no table of a file that is open."""


class _Reader:
    """Reads the texts of one connection in their order."""

    def __init__(self, state: SqlState, found: SqlTables) -> None:
        self.state, self.found = state, found
        self.made: dict[str, dict[tuple[str, str], str]] = {}
        self.database, self.schema = state.database.lower(), state.schema.lower()
        self.files = {name.lower(): file for name, file in state.files.items()}
        self.views = dict(state.views)
        self.temporary = {name for (database, _, name) in state.names if database == "temp"}

    # -- what a text makes

    def note_made(self, text: str) -> None:
        """Note the tables that a text makes, which later texts may read."""
        from sqlglot import exp

        database, schema, files = self.database, self.schema, dict(self.files)
        for part in _parsed(text, self.state.dialect) or ():
            self._change_state(part)
            target = part.args.get("this")
            if isinstance(part, exp.Create) and part.kind == "TABLE" and not _is_temporary(part):
                self._note(self._target(_table_in(target)), _table_in(target).name)
            elif isinstance(part, exp.Alter) and isinstance(target, exp.Table):
                for action in part.args.get("actions") or ():
                    if isinstance(action, exp.AlterRename):
                        name = self._target(target)
                        self._note((*name[:2], action.this.name.lower()), action.this.name)
        self.database, self.schema, self.files = database, schema, files

    def _note(self, name: Name, written: str) -> None:
        if (file := self.files.get(name[0])) is not None:
            self.made.setdefault(file, {})[name[1:]] = written

    # -- one text

    def read(self, text: str) -> None:
        """Add the tables of a text to what was found."""
        parts = _parsed(text, self.state.dialect)
        try:
            if parts is None:
                raise _Unread
            for part in parts:
                self._statement(part)
        except (_Unread, RecursionError):
            self._is_unknown(text)

    def _is_unknown(self, text: str) -> None:
        lowered = text.lower()
        for name, file in self.files.items():
            if file is not None and (name == self.database or self.state.dialect == "sqlite" or name in lowered):
                self.found.unknown[file] = None

    def _statement(self, part: Any) -> None:
        from sqlglot import exp

        if isinstance(part, exp.Command):
            if str(part.this).lower() == "truncate":
                raise _Unread
            if str(part.this).lower() not in _HARMLESS:
                raise _Unread
            return
        if self._change_state(part) or isinstance(part, _silent()):
            return
        if isinstance(part, exp.Create):
            self._create(part)
        elif isinstance(part, exp.Drop):
            for table in part.args.get("tables") or [part.this] if part.kind in ("TABLE", None) else ():
                self._write(table)
        elif isinstance(part, exp.Alter):
            self._alter(part)
        elif isinstance(part, exp.Copy):
            self._copy(part)
        elif isinstance(part, exp.TruncateTable):
            for table in part.expressions:
                self._write(table)
        elif isinstance(
            part, (exp.Query, exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Pivot, exp.Summarize, exp.Values)
        ):
            self._tree(part)
        else:
            raise _Unread

    def _change_state(self, part: Any) -> bool:
        """Whether it is a statement that says where names lead, which it does from now on."""
        from sqlglot import exp

        if isinstance(part, exp.Attach):
            alias = part.this
            file = alias.this if isinstance(alias, exp.Alias) else alias
            if not isinstance(file, exp.Literal):
                raise _Unread
            name = alias.alias if isinstance(alias, exp.Alias) else os.path.splitext(os.path.basename(file.this))[0]
            if name.lower() not in self.files:
                is_file = "://" not in file.this and not file.this.startswith((":", "md:")) and bool(file.this)
                plain = re.sub(r"^(duckdb|sqlite|file):", "", file.this)
                self.files[name.lower()] = os.path.abspath(plain) if is_file else None
            return True
        if isinstance(part, exp.Detach):
            return True
        if isinstance(part, exp.Use):
            self._use(_table_in(part.this).sql(dialect=self.state.dialect).replace('"', ""))
            return True
        if isinstance(part, exp.Set):
            for item in part.expressions:
                equal = item.this
                if isinstance(equal, exp.EQ) and equal.left.name.lower() in ("schema", "search_path"):
                    if not isinstance(equal.right, (exp.Literal, exp.Column)) or "," in equal.right.name:
                        raise _Unread
                    self._use(equal.right.name)
            return True
        return False

    def _use(self, text: str) -> None:
        first, _, second = text.lower().partition(".")
        if second:
            self.database, self.schema = first, second
        elif first in self.files:
            self.database, self.schema = first, "main"
        else:
            self.schema = first

    def _create(self, part: Any) -> None:
        from sqlglot import exp

        kind = part.kind
        if kind == "TABLE":
            table = _table_in(part.this)
            for source in [part.expression, *(like.this for like in part.find_all(exp.LikeProperty))]:
                if source is not None:
                    self._tree(source if not isinstance(source, exp.Table) else exp.select("*").from_(source.copy()))
            if _is_temporary(part) or table.text("db").lower() == "temp" or table.catalog.lower() == "temp":
                self.temporary.add(table.name.lower())
            else:
                self._write(table)
        elif kind == "VIEW":
            table = _table_in(part.this)
            name = self._target(table)
            text = part.sql(dialect=self.state.dialect)
            if _is_temporary(part):
                name = ("temp", "main", table.name.lower())
            self.views[name] = text
        elif kind == "INDEX":
            return
        elif kind not in ("SCHEMA", "SEQUENCE", "TYPE", "MACRO", "FUNCTION", "SECRET", "DATABASE"):
            raise _Unread

    def _alter(self, part: Any) -> None:
        from sqlglot import exp

        if part.kind not in ("TABLE", None):
            return
        self._write(part.this)
        for action in part.args.get("actions") or ():
            if isinstance(action, exp.AlterRename):
                target = action.this.copy()
                if not target.db:
                    target.set("db", part.this.args.get("db"))
                    target.set("catalog", part.this.args.get("catalog"))
                self._write(target)

    def _copy(self, part: Any) -> None:
        from sqlglot import exp

        target = part.this
        if part.args.get("kind"):
            self._write(_table_in(target))
            return
        self._tree(target if not isinstance(target, exp.Table) else exp.select("*").from_(target.copy()))

    # -- the tables below a statement

    def _tree(self, root: Any) -> None:
        from sqlglot import exp

        is_change = isinstance(root, (exp.Insert, exp.Update, exp.Delete, exp.Merge))
        target = _table_in(root.this) if is_change else None
        if isinstance(root, exp.Delete) and root.args.get("tables"):
            raise _Unread
        if any(isinstance(node, exp.Command) for node in root.walk()):
            raise _Unread
        for table in root.find_all(exp.Table):
            if table is target or (isinstance(table.parent, exp.Delete) and table.arg_key == "this"):
                self._write(table)
            elif not _is_column_source(table) and not self._is_cte(table):
                self._read(table)
        for node in root.find_all(exp.Insert, exp.Update, exp.Delete, exp.Merge) if not is_change else ():
            self._write(_table_in(node.this))
        for node in root.find_all(exp.Copy):
            self._copy(node)

    @staticmethod
    def _is_cte(table: Any) -> bool:
        """Whether the name is that of a `with` that it can see."""
        from sqlglot import exp

        if table.db:
            return False
        node, name = table.parent, table.name.lower()
        while node is not None:
            with_ = node.args.get("with_") or node.args.get("with")
            if isinstance(with_, exp.With):
                for cte in with_.expressions:
                    if _is_below(table, cte) and not with_.args.get("recursive"):
                        break  # a `with` sees those before it
                    if cte.alias.lower() == name:
                        return True
            node = node.parent
        return False

    def _read(self, table: Any) -> None:
        from sqlglot import exp

        function = table.this
        if isinstance(function, exp.Func) or not isinstance(function, exp.Identifier):
            self._read_function(function)
            return
        for name in self._readable(table):
            self._read_name(name, 0)

    def _read_function(self, function: Any) -> None:
        from sqlglot import exp

        if function is None or isinstance(function, (exp.Values, exp.Subquery)):
            return
        name = (function.name if isinstance(function, exp.Anonymous) else function.sql_name()).lower()
        arguments = list(function.expressions)
        if isinstance(function, exp.Anonymous) and name in ("query_table", "query", "sqlite_scan"):
            if not arguments or not all(isinstance(one, exp.Literal) for one in arguments):
                raise _Unread
            if name == "query":
                self.read(arguments[0].this)
            elif name == "query_table":
                self._read(exp.to_table(arguments[0].this, dialect=self.state.dialect))
            elif len(arguments) > 1:
                self.found.reads.setdefault(os.path.abspath(arguments[0].this), {})[arguments[1].this] = None
            return
        known = name in _SCANS or name.startswith(("duckdb_", "pragma_", "json_", "generate_", "read_"))
        if not known and isinstance(function, exp.Anonymous):
            raise _Unread

    def _readable(self, table: Any) -> Iterator[Name]:
        """The table or view that a name means; none where it is nobody's: a variable of Python's, a file, a system table."""
        first, second, name = table.catalog.lower(), table.db.lower(), table.name.lower()
        if first in _NOBODYS or second in ("temp", *_OURS) or self._is_system(name):
            if (key := ("temp", "main", name)) in self.views:
                yield key
            return
        if first:
            yield first, second, name
        elif second:
            yield self._qualified(second, name)
        elif (key := ("temp", "main", name)) in self.views:
            yield key
        elif name not in self.temporary:
            yield from self._plain(name)

    def _plain(self, name: str) -> Iterator[Name]:
        others = [other for other in self.files if other != self.database] if self.state.dialect == "sqlite" else []
        places = [(self.database, self.schema), (self.database, "main"), *((other, "main") for other in others)]
        for key in ((*place, name) for place in places):
            if self._is_there(key):
                yield key
                return

    def _qualified(self, place: str, name: str) -> Name:
        if place in self.files and not any(key[:2] == (self.database, place) for key in self.state.names):
            return place, "main", name
        return self.database, place, name

    def _is_there(self, key: Name) -> bool:
        if key in self.state.names or key in self.views:
            return True
        file = self.files.get(key[0])
        return file is not None and key[1:] in self.made.get(file, {})

    def _is_system(self, name: str) -> bool:
        if self.state.dialect == "sqlite":
            return name.startswith(("sqlite_", "pragma_", "dbstat"))
        return name.startswith(("duckdb_", "pragma_", "sqlite_master", "pg_"))

    def _read_name(self, key: Name, depth: int) -> None:
        text = self.views.get(key)
        if text is None:
            self._add(self.found.reads, key)
            return
        parts = _parsed(text, self.state.dialect)
        file = self.files.get(key[0])
        if parts is None or len(parts) != 1 or depth > _LONGEST_VIEW or getattr(parts[0], "expression", None) is None:
            if file is not None:
                self.found.unknown[file] = None
            return
        inside = _Reader(self.state, self.found)
        inside.made, inside.views, inside.files, inside.temporary = self.made, self.views, self.files, self.temporary
        is_temporary = key[0] == "temp"
        inside.database, inside.schema = (self.database, self.schema) if is_temporary else key[:2]
        inside.views = {name: text for name, text in self.views.items() if name != key}  # no circle
        try:
            inside._tree(parts[0].expression)
        except _Unread:
            inside._is_unknown("")

    # -- what is written

    def _target(self, table: Any) -> Name:
        first, second, name = table.catalog.lower(), table.db.lower(), table.name.lower()
        if first:
            return first, second, name
        if second:
            return self._qualified(second, name)
        return next(self._plain(name), (self.database, self.schema if self.state.dialect == "duckdb" else "main", name))

    def _write(self, table: Any) -> None:
        from sqlglot import exp

        if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
            raise _Unread
        name = table.name.lower()
        is_plain = not table.db and name in self.temporary
        if is_plain or "temp" in (table.db.lower(), table.catalog.lower()) or self._is_system(name):
            return
        key = self._target(table)
        if key in self.views:
            raise _Unread  # a trigger says what it does
        self._add(self.found.writes, key, table.name)
        for trigger in self.state.triggers.get(key, ()):
            self._trigger(trigger)

    def _trigger(self, text: str) -> None:
        body = re.search(r"\bbegin\b(.*)\bend\b\s*;?\s*$", text, re.IGNORECASE | re.DOTALL)
        if body is None:
            raise _Unread
        inside = _Reader(SqlState(**{**_fields(self.state), "triggers": {}}), self.found)
        inside.made, inside.views, inside.files, inside.temporary = self.made, self.views, self.files, self.temporary
        parts = _parsed(body[1], self.state.dialect)
        if parts is None:
            raise _Unread
        for part in parts:
            inside._statement(part)

    def _add(self, found: dict[str, dict[str, None]], key: Name, written: str | None = None) -> None:
        file = self.files.get(key[0])
        if key[0] in _NOBODYS and file is None:
            return
        if key[0] not in self.files:
            raise _Unread
        if file is None or key[1] in _OURS:
            return
        name = self.state.names.get(key) or self.made.get(file, {}).get(key[1:]) or written or key[2]
        found.setdefault(file, {})[name if key[1] == "main" else f"{key[1]}.{name}"] = None


def _fields(state: SqlState) -> dict[str, Any]:
    return {
        name: getattr(state, name) for name in ("dialect", "database", "schema", "files", "names", "views", "triggers")
    }


def _is_below(node: Any, root: Any) -> bool:
    while node is not None:
        if node is root:
            return True
        node = node.parent
    return False


def _table_in(node: Any) -> Any:
    """The table of a target, which may stand with its columns."""
    from sqlglot import exp

    while isinstance(node, (exp.Schema, exp.Alias)):
        node = node.this
    return node if isinstance(node, exp.Table) else exp.Table()


def _is_temporary(part: Any) -> bool:
    from sqlglot import exp

    properties = part.args.get("properties")
    return properties is not None and any(isinstance(one, exp.TemporaryProperty) for one in properties.expressions)


def _is_column_source(table: Any) -> bool:
    """Whether a name that is parsed as a table is none, as the column that is unnested beside its own table."""
    from sqlglot import exp

    return isinstance(table.parent, (exp.Column, exp.AlterRename))


@lru_cache(maxsize=1)
def _silent() -> tuple[type, ...]:
    """The statements that read and write no rows of a table."""
    from sqlglot import exp

    names = "Pragma Transaction Commit Rollback Describe Show Comment Install Analyze Column Detach Command"
    return tuple(getattr(exp, name) for name in names.split() if name != "Command")

"""Rows that a run gives for tables are kept as Arrow files until it has succeeded; its reads see them, and the databases stay as they are.

A call is checked against the columns and types that its table has by then, which are all that most calls need. What must look at rows (a
read, or a call that changes a type) brings the rows of the calls so far into a scratch database. It holds, for each table of which rows
are kept, what stands in it in the end: the rows that the run has given (its columns have the types that the table will have), and the
values whose rows it has removed. A read opens the scratch database with the real one attached to read, and sees each of these tables as
a temporary view: the rows of the real one that are not removed, then those of the run. So one read costs the same after one call and
after ten thousand.

The files are the truth: they are applied, in the order of the calls, each database in one transaction. The scratch database can be
made of them again.

Reference: https://duckdb.org/docs/stable/sql/statements/create_view; a temporary view goes before a table of the same name.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from data_engine.clock import utc_text
from data_engine.duration import parse_duration
from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb.applied import last_number, record, records_of
from data_engine.helpers.duckdb.connection import (
    Database,
    DatabaseBusyError,
    IndexInTheWayError,
    TableName,
    drop_for_now,
    exclusive,
    patiently,
    transaction,
    translated,
)
from data_engine.helpers.duckdb.incoming import SOURCE
from data_engine.helpers.duckdb.names import find, folded, quoted, table_parts, text_literal
from data_engine.helpers.duckdb.rows import NewRows
from data_engine.keeping import Keeping, Order, RunOfRows, item_order
from data_engine.record import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import duckdb
    import polars as pl

SCRATCH = "__data_engine_kept"

_looking = threading.Lock()
_opening = threading.Lock()
"""DuckDB gives a second thread that opens a file an instance to which the first has not yet given the functions that read frames."""


_Key = tuple[str, str]
"""A table's schema and name, folded."""


@frozen
class KeptCall:
    """A call whose rows are kept: its place among the calls, the database, what it said, its file and how many rows are in it, how long
    to wait for the database, the author's line, and what `KeptTables.numbers` says of the
    database."""

    order: Order
    path: Path
    new: NewRows
    file: str
    rows: int
    wait_s: float
    cell: str
    number: int | str

    @property
    def table(self) -> _Key:
        parts = table_parts(self.new.table)
        return folded(parts[-2] if len(parts) > 1 else "main"), folded(parts[-1])


@frozen
class _Table:
    """What stands in a table in the end.

    `place` is the table of the scratch database with the run's rows; those of the last call are still in its `file`, where `query`
    selects them. `base` is the table of the real database, None where nothing
    of that is left; `values` is the SQL for each column of its rows `d`, and `removed` are the tables with the values whose rows are
    removed, each with the SQL for what is compared with them. `defaults` are what its columns get that a call does not name, as SQL.
    """

    schema: str
    name: str
    place: str
    base: str | None = None
    values: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    defaults: tuple[tuple[str, str], ...] = ()
    file: str = ""
    columns: tuple[str, ...] = ()
    query: str = ""

    def sql(self) -> str:
        """The query for its rows: those of the database in their order, then those of the run."""
        last = f" UNION ALL BY NAME {self.query}" if self.query else ""
        if self.base is None:
            return f"SELECT * FROM {self.place}{last}"
        columns = ", ".join(f"{value} AS {quoted(name)}" for name, value in self.values)
        kept = " AND ".join(
            f"NOT EXISTS (SELECT 1 FROM {values} AS k WHERE k.v IS NOT DISTINCT FROM {value})"
            for value, values in self.removed
        )
        return (
            f"SELECT {columns} FROM {self.base} AS d WHERE {kept or 'TRUE'} UNION ALL SELECT * FROM {self.place}{last}"
        )

    def with_last(self, query: str, columns: Sequence[str], file: str) -> _Table:
        """The same, where the rows of `query` follow: those of the frame in this file."""
        return replace(self, file=file, columns=tuple(columns), query=query.replace(SOURCE, _rows_in(file)))


def _rows_in(file: str) -> str:
    return f"{SCRATCH}_{file.partition('.')[0]}"


def _key(table: TableName) -> _Key:
    return folded(table.schema), folded(table.name)


def tables_of(run: Keeping) -> KeptTables:
    """The rows that the run keeps."""
    if run.tables is None:
        run.tables = KeptTables(run)
    kept: KeptTables = run.tables
    return kept


class KeptTables:
    """The rows that one run, or one item of a map in another process, keeps. Several threads may call it at once."""

    def __init__(self, run: Keeping) -> None:
        assert run.folder is not None
        self._run, self._folder = run, run.folder
        self._lock = threading.RLock()
        self.calls: list[KeptCall] = []
        self._scratch: dict[Path, _Scratch] = {}
        self._shown: set[tuple[Path, bool]] = set()
        if run.before:
            self.take_home(run.before)

    def has_rows(self, path: Path) -> bool:
        return path in self._scratch

    def numbers(self) -> dict[Path, int | str]:
        """The number of the last application to each database when the run first kept rows for it; the time where it was in use then."""
        first: dict[Path, int | str] = {}
        for call in sorted(self.calls, key=lambda call: call.order):
            first.setdefault(call.path, call.number)
        return first

    @property
    def own_calls(self) -> list[KeptCall]:
        """The calls that were made here, not those before."""
        return [call for call in self.calls if call not in self._run.before]

    def cells_of(self, path: Path, table: _Key | None = None) -> str:
        """The author's lines that have given rows for this database, or for one table of it."""
        calls = [call for call in self.calls if call.path == path and table in (None, call.table)]
        return ", ".join(dict.fromkeys(call.cell for call in calls if call.cell))

    def keep(self, path: Path, new: NewRows, frame: pl.DataFrame, arrow: Any, *, wait: Any) -> None:
        """Keep the frame's rows, as `arrow`, when the call was checked against the tables as this run sees them.

        Raises:
            FlowValidationError: a value would be lost, there is no such column, or the database is busy.
        """
        wait_s = parse_duration(wait, where="wait=", allow_zero=True)
        order = self._run.next_order()
        file = f"{'_'.join(map(str, order))}.arrow"
        call = KeptCall(order, path, new, file, len(frame), wait_s, self._run.cell(), "")
        deadline_s = time.monotonic() + wait_s
        with self._lock:
            self._show(path, to_write=True)
            if not self.calls:
                self._run.begin()
            with self._run.unseen():
                self._folder.mkdir(parents=True, exist_ok=True)
                scratch = self._scratch.get(path) or self._new_scratch(path)
                _write(self._folder / file, arrow)
                try:
                    if not scratch.is_in_use:
                        scratch.check(call, frame, arrow, deadline_s)
                except DatabaseBusyError:  # what cannot be read now is checked when it is applied
                    scratch.is_in_use, scratch.is_in_order, scratch.number = True, False, utc_text(time.time())
                except BaseException:
                    (self._folder / file).unlink()
                    raise
            self._scratch[path] = scratch
            self.calls.append(replace(call, number=scratch.number))
            scratch.is_in_order &= order > scratch.last
            scratch.last = max(scratch.last, order)

    def take_home(self, calls: Sequence[KeptCall]) -> None:
        """Take the calls of an item that ran in another process; those of an earlier try of it are none."""
        with self._lock:
            orders = {call.order[:-1] for call in calls}
            self.calls = [call for call in self.calls if call.order[:-1] not in orders] + list(calls)
            for path in {call.path for call in calls}:
                self._scratch[path] = self._new_scratch(path)
                self._scratch[path].is_in_order = False

    @contextmanager
    def reading(self, path: Path, deadline_s: float) -> Iterator[Database]:
        """The database for reading, with the rows that are kept for it."""
        self._show(path, to_write=False)
        with self._run.unseen():
            with self._lock:
                scratch = self._scratch[path]
                if not scratch.is_in_order and not item_order.get():
                    scratch = self._made_again(path)
            with scratch.opened(deadline_s) as conn:
                with self._lock:
                    scratch.take(conn)
                    tables = dict(scratch.tables)
                for table in tables.values():
                    if table.file:
                        conn.register(_rows_in(table.file), _read(self._folder / table.file)[1])
                    conn.execute(f"CREATE TEMP VIEW {quoted(_view_of(table))} AS {table.sql()}")
                yield _Overlaid(conn, path, tables=tables, cells_of=partial(self.cells_of, path))

    def _show(self, path: Path, *, to_write: bool) -> None:
        if (path, to_write) not in self._shown:
            self._run.opens(path, to_write)
            self._shown.add((path, to_write))

    def refuse_writing(self, path: Path, table: TableName | None) -> None:
        key = None if table is None else _key(table)
        if any(call.path == path and key in (None, call.table) for call in self.calls):
            what = "this database" if table is None else f'"{table.name}"'
            raise FlowValidationError(
                f"rows for {what} are kept until the run has succeeded ({self.cells_of(path, key)}),"
                " and this writes at once",
                where=self._run.cell() or str(path),
                fix="call context.mirror.publish() before it, which applies them",
            )

    def _new_scratch(self, path: Path) -> _Scratch:
        return _Scratch(path, self._folder / f"{SCRATCH}_{os.urandom(8).hex()}.duckdb")

    def _made_again(self, path: Path) -> _Scratch:
        """A scratch database that will be made of the files again, in the order of the calls."""
        old, new = self._scratch[path], self._new_scratch(path)
        new.left, new.is_known = in_order(self.calls, path), False
        new.last = new.left[-1].order
        self._scratch[path] = new
        with suppress(OSError):
            old.file.unlink()
        return new

    def forget(self) -> None:
        """Keep nothing any more: all is applied."""
        with self._lock:
            self.close()
            for call in self.calls:
                with suppress(OSError):
                    (self._folder / call.file).unlink()
            self.calls, self._scratch = [], {}

    def close(self) -> None:
        """Remove what only reads need."""
        for scratch in self._scratch.values():
            with suppress(OSError):
                scratch.file.unlink()


def in_order(calls: Sequence[KeptCall], path: Path) -> list[KeptCall]:
    """The calls of one database, in the order in which they hold."""
    return sorted((call for call in calls if call.path == path), key=lambda call: call.order)


_DEFAULTS = """
    SELECT column_name, column_default, data_type FROM duckdb_columns()
    WHERE database_name = ? AND schema_name = ? AND lower(table_name) = lower(?) AND column_default <> ''
    AND column_default NOT ILIKE '%nextval%' -- the next number of a sequence is drawn when the rows are applied
"""


def _view_of(table: _Table) -> str:
    return table.name if table.schema == "main" else f"{SCRATCH}:{table.schema}.{table.name}"


class _Scratch:
    """The scratch database of one real one: `left` are the calls whose rows are not yet in it, `types` the columns of the tables after
    them, where that `is_known`."""

    def __init__(self, path: Path, file: Path) -> None:
        self.path, self.file = path, file
        self.tables: dict[_Key, _Table] = {}
        self.types: dict[_Key, dict[str, str]] = {}
        self.left: list[KeptCall] = []
        self.is_known = True
        self.is_in_order = True
        self.last: Order = ()
        self.number: int | str = ""
        self.is_in_use = False

    def check(self, call: KeptCall, frame: pl.DataFrame, arrow: Any, deadline_s: float) -> None:
        """Check a call against the tables as they are after those before it; nothing is changed where it is refused."""
        with translated(self.path), _looked_at(self.path, deadline_s) as conn:
            database = _Types(conn, self.path, "stays", dict(self.types))
            if self.number == "":
                self.number = last_number(database)
            is_known = self.is_known
            try:
                call.new.write(database, frame, arrow)
            except _RowsNeededError:
                is_known = False
        self.left.append(call)
        if is_known:
            self.types = database.types
            return
        try:
            with translated(self.path), self.opened(deadline_s) as conn:
                self.take(conn)
        except BaseException:
            self.left.pop()
            raise

    def take(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Do to its tables what the calls that are left will do to the real ones."""
        scratch = quoted(self.file.stem)
        while self.left:
            call = self.left[0]
            database = _Folding(conn, self.path, "stays", dict(self.tables), scratch, self.file.with_name(call.file))
            with transaction(database):
                call.new.write(database, *_read(database.file))
            self.tables = database.tables
            place = TableName(*call.table, self.tables[call.table].place)
            self.types[call.table] = database.known_columns(place)
            del self.left[0]
        self.is_known = True

    @contextmanager
    def opened(self, deadline_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection to it, in which the real database is attached to read, and is the current one."""
        import duckdb

        with _opening:
            conn = duckdb.connect(str(self.file))
        try:
            patiently(lambda: conn.execute(_attach(self.path)), self.path, deadline_s, to_write=False)
            conn.execute(_use(self.path))
            yield conn
        finally:
            conn.close()


def _attach(path: Path) -> str:
    source, mode = (text_literal(str(path)), "(READ_ONLY)") if path.exists() else ("':memory:'", "")
    return f"ATTACH IF NOT EXISTS {source} AS {quoted(path.stem)} {mode}"


def _use(path: Path) -> str:
    return f"USE {quoted(path.stem)}; SET python_enable_replacements = false; SET TimeZone = 'UTC'"


@contextmanager
def _looked_at(path: Path, deadline_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in which the database is attached to read, and is the current one; one thread has it at a time."""
    base = _memory(os.getpid())

    def attach() -> bool:
        with ExitStack() as stack:
            stack.enter_context(_looking)
            base.execute(_attach(path))
            stack.pop_all()
        return True

    patiently(attach, path, deadline_s, to_write=False)
    try:
        with base.cursor() as conn:
            conn.execute(_use(path))
            yield conn
    finally:
        base.execute(f"DETACH {quoted(path.stem)}")
        _looking.release()


@cache
def _memory(pid: int) -> duckdb.DuckDBPyConnection:
    """A database in memory, for this process: to open a new one takes ten times as long as to attach a file to one."""
    import duckdb

    conn = duckdb.connect()
    conn.execute(f"ATTACH ':memory:' AS {SCRATCH}; USE {SCRATCH}; DETACH memory")
    return conn


class _RowsNeededError(Exception):
    """A call cannot be checked by the types alone."""


@frozen
class _Unread(TableName):
    @property
    def rows(self) -> str:
        raise _RowsNeededError


@frozen
class _Types(Database):
    """A database to which a call is done of which only the columns of the tables matter: `types` are those they have, and will have."""

    types: dict[_Key, dict[str, str]] = field(default_factory=dict)

    def table(self, table: str) -> TableName:
        real = super().table(table)
        target = _Unread(real.schema, real.name, ".".join(map(quoted, (self.path.stem, real.schema, real.name))))
        if _key(target) not in self.types and (columns := super().columns(target)) is not None:
            self._refuse_view(target)
            self.types[_key(target)] = columns
        return target

    def _refuse_view(self, table: TableName) -> None:
        views = self.execute(
            "SELECT view_name FROM duckdb_views() WHERE database_name = ? AND schema_name = ?",
            [self.path.stem, table.schema],
        )
        if find(table.name, [name for (name,) in views]) is not None:
            raise FlowValidationError(
                f'"{table.name}" is a view',
                where=str(self.path),
                fix="name a table, or drop the view first: a view is not written to",
            )

    def columns(self, table: TableName) -> dict[str, str] | None:
        return self.types.get(_key(table))

    def make_table(self, table: TableName, query: str) -> None:
        relation = self.conn.sql(f"{query} LIMIT 0")
        self.types[_key(table)] = dict(zip(relation.columns, map(str, relation.types), strict=True))

    def append(self, table: TableName, columns: Sequence[str], query: str) -> None:
        """Do nothing: rows have no types of their own."""

    def make_schema(self, table: TableName) -> None:
        """Do nothing: the schema is made in the real one."""

    def remove(self, table: TableName, column: str, values: str) -> None:
        """Do nothing: the types stay."""

    def add_column(self, table: TableName, column: str, kind: str) -> None:
        self.types[_key(table)] = {**self.types[_key(table)], column: kind}

    def changes_type(self, table: TableName, column: str, kind: str, using: str) -> None:
        self.add_column(table, column, kind)


@frozen
class _Folding(Database):
    """A scratch database to which a call is done: `tables` are those it has, and will have."""

    tables: dict[_Key, _Table] = field(default_factory=dict)
    scratch: str = ""
    file: Path = Path()

    def table(self, table: str) -> TableName:
        real = super().table(table)
        kept = self.tables.get(_key(real))
        if kept is None:
            kept = self._begun(real)
        elif kept.file:
            kept = self._settled(kept)
        self.tables[_key(real)] = kept
        return TableName(real.schema, real.name, kept.place, f"({kept.sql()})")

    def _begun(self, real: TableName) -> _Table:
        base = ".".join(map(quoted, (self.path.stem, real.schema, real.name)))
        place = f"{self.scratch}.main.{quoted(f't{len(self.tables)}')}"
        name = TableName(real.schema, real.name, base)
        columns = super().columns(name)
        if columns is None:
            return _Table(real.schema, real.name, place)
        self.execute(f"CREATE TABLE {place} AS FROM {base} LIMIT 0")
        values = tuple((column, f"d.{quoted(column)}") for column in columns)
        return _Table(real.schema, real.name, place, base, values, defaults=self._defaults(real))

    def _defaults(self, real: TableName) -> tuple[tuple[str, str], ...]:
        rows = self.execute(_DEFAULTS, [self.path.stem, real.schema, real.name])
        return tuple((column, f"CAST({value} AS {kind})") for column, value, kind in rows)

    def _settled(self, kept: _Table) -> _Table:
        """The table with the rows of the last call in the scratch database, too."""
        self.conn.register(_rows_in(kept.file), _read(self.file.with_name(kept.file))[1])
        self.execute(f"INSERT INTO {kept.place} ({', '.join(map(quoted, kept.columns))}) {kept.query}")
        return replace(kept, file="", columns=(), query="")

    def make_table(self, table: TableName, query: str) -> None:
        super().make_table(table, f"{query} LIMIT 0")
        names = [name for name, *_ in self.execute(f"DESCRIBE {table.sql}")]
        kept = replace(self.tables[_key(table)], base=None, values=(), removed=(), defaults=())
        self.tables[_key(table)] = kept.with_last(query, names, self.file.name)

    def append(self, table: TableName, columns: Sequence[str], query: str) -> None:
        kept = self.tables[_key(table)]
        missing = [(column, value) for column, value in kept.defaults if find(column, columns) is None]
        if missing:
            query = f"SELECT *, {', '.join(f'{value} AS {quoted(column)}' for column, value in missing)} FROM ({query})"
        self.tables[_key(table)] = kept.with_last(query, [*columns, *(column for column, _ in missing)], self.file.name)

    def make_schema(self, table: TableName) -> None:
        """Do nothing: the schema is made in the real one."""

    def remove(self, table: TableName, column: str, values: str) -> None:
        super().remove(table, column, values)
        kept = self.tables[_key(table)]
        if kept.base is None:
            return
        value = dict(kept.values)[column]
        place = dict(kept.removed).get(value)
        if place is None:
            place = f"{self.scratch}.main.{quoted(f'{kept.place}:{len(kept.removed)}')}"
            self.execute(f"CREATE TABLE {place} AS SELECT {quoted(column)} AS v FROM {kept.place} LIMIT 0")
            self.tables[_key(table)] = replace(kept, removed=(*kept.removed, (value, place)))
        self.execute(f"INSERT INTO {place} {values}")

    def add_column(self, table: TableName, column: str, kind: str) -> None:
        super().add_column(table, column, kind)
        self._set_value(table, column, f"CAST(NULL AS {kind})")

    def changes_type(self, table: TableName, column: str, kind: str, using: str) -> None:
        super().changes_type(table, column, kind, using)
        kept = self.tables[_key(table)]
        if kept.base is not None:
            self._set_value(table, column, using.replace(quoted(column), dict(kept.values)[column], 1))

    def _set_value(self, table: TableName, column: str, value: str) -> None:
        kept = self.tables[_key(table)]
        if kept.base is not None:
            self.tables[_key(table)] = replace(kept, values=tuple({**dict(kept.values), column: value}.items()))


@frozen
class _Overlaid(Database):
    """A database whose tables with kept rows are seen with these."""

    tables: dict[_Key, _Table] = field(default_factory=dict)
    cells_of: Callable[[_Key], str] = str

    def table(self, table: str) -> TableName:
        real = super().table(table)
        kept = self.tables.get(_key(real))
        return real if kept is None else TableName(kept.schema, kept.name, quoted(_view_of(kept)))

    def require_seen(self, sql: str) -> None:
        """Return where a query sees all rows of each table that it names.

        Raises:
            FlowValidationError: it names a table by its database, or by another schema than main.
        """
        import duckdb

        with duckdb.connect() as alone:  # which knows no table, so that it looks into none
            names = alone.get_table_names(sql, qualified=True)
        for name in names:
            parts = table_parts(name)
            schema = parts[-2] if len(parts) > 1 else "main"
            kept = self.tables.get((folded(schema), folded(parts[-1]))) or (
                self.tables.get(("main", folded(parts[-1])))
                if len(parts) == 2 and folded(schema) == folded(self.path.stem)
                else None
            )
            if kept is not None and len(parts) > 1 and (kept.schema != "main" or folded(parts[0]) != "main"):
                bare = kept.schema == "main"
                raise FlowValidationError(
                    f"this query would not see the rows that the run keeps for {name}"
                    f" ({self.cells_of((folded(kept.schema), folded(kept.name)))})",
                    where="sql=",
                    fix=(f"write {quoted(kept.name)} alone" if bare else "read it with read_table")
                    + ", or call context.mirror.publish() before it, which applies them",
                )


def apply(
    calls: Sequence[KeptCall],
    folder: Path,
    run: RunOfRows,
    *,
    since: Mapping[Path, int | str] | None = None,
    before: Callable[[Mapping[Path, int | str]], None] = lambda numbers: None,
) -> bool:
    """Apply the calls to their databases, each in one transaction: all are locked first, in the order of their names, and nothing is
    committed before each call is done. `before` is called before the first commit, with the number of the last application to each.

    With `since` those numbers, a call is left out whose rows have been applied since then, or others in their place; whether none was
    left out for others.

    Raises:
        DatabaseBusyError: a database is in use elsewhere.
        FlowValidationError: a call is refused, naming its cell; nothing is changed.
    """
    ordered = {path: in_order(calls, path) for path in sorted({call.path for call in calls})}
    is_whole = True
    numbers: dict[Path, int | str] = {}
    with ExitStack() as stack:
        databases = {
            path: stack.enter_context(exclusive(path, wait=longest_wait(of_one), create=True))
            for path, of_one in ordered.items()
        }
        for path, database in databases.items():
            stack.enter_context(transaction(database))
            numbers[path] = last_number(database)
            number = None if since is None else since[path]
            is_whole &= _applied(database, ordered[path], folder, run, number)
        before(numbers)
    return is_whole


def _applied(
    database: Database,
    calls: Sequence[KeptCall],
    folder: Path,
    run: RunOfRows,
    since: int | str | None,
) -> bool:
    """Apply the calls of one database in its transaction, as `apply`; an index in the way of a type is dropped before."""
    while True:
        try:
            return _applied_once(replace(database, indexed="again"), calls, folder, run, since)
        except IndexInTheWayError as found:
            database.conn.execute("ROLLBACK; BEGIN TRANSACTION")
            drop_for_now(database, found.indexes)


def _applied_once(
    database: Database, calls: Sequence[KeptCall], folder: Path, run: RunOfRows, since: int | str | None
) -> bool:
    left_out = () if since is None else records_of(database, since=since)
    is_whole, done = True, []
    for call in calls:
        with _of_call(call), translated(database.path):
            table = database.table(call.new.table)
            if others := [one for one in left_out if one.replaces(table, call.new)]:
                is_whole &= any(one.run_id == run.run_id for one in others)
                continue
            frame, arrow = _read(folder / call.file)
            call.new.write(database, frame, arrow)
            done.append((table, call.new, call.rows))
    if done:
        record(database, run, done)
    return is_whole


def longest_wait(calls: Sequence[KeptCall]) -> str:
    """How long to wait for the database of these calls, as `wait=` says it."""
    return f"{max(call.wait_s for call in calls)}s"


@contextmanager
def _of_call(call: KeptCall) -> Iterator[None]:
    try:
        yield
    except FlowValidationError as error:
        if not call.cell:
            raise
        raise FlowValidationError(f"{error.what} ({call.cell})", where=error.where, fix=error.fix) from error


def _write(file: Path, arrow: Any) -> None:
    import pyarrow as pa

    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, arrow.schema) as writer:
        writer.write_table(arrow)


def _read(file: Path) -> tuple[pl.DataFrame, Any]:
    import polars as pl
    import pyarrow as pa

    with pa.memory_map(str(file)) as source:
        arrow = pa.ipc.open_file(source).read_all()
    frame = pl.from_arrow(arrow)
    assert isinstance(frame, pl.DataFrame)
    return frame, arrow

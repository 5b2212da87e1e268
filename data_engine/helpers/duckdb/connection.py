"""One connection for each call: reads open read-only and never make a file, writers wait their turn and are one transaction.

DuckDB lets one process write a file at a time and refuses everyone else at once; here they wait, for as long as `wait` says.

Reference: https://duckdb.org/docs/stable/connect/concurrency
"""

from __future__ import annotations

import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from data_engine.argument_checks import is_unicode
from data_engine.duration import parse_duration
from data_engine.errors import FlowValidationError
from data_engine.files import identity_of
from data_engine.helpers.duckdb.names import find, folded, names_text, quoted, table_parts
from data_engine.helpers.targets import local_path
from data_engine.keeping import OUR_SCHEMA, is_looking, keeping
from data_engine.platforms.copies import lock_again
from data_engine.platforms.files import is_locked, who_holds
from data_engine.record import frozen
from data_engine.storage_version import fix_of_newer, make_database, wanted_version

TYPE_CHECKING = False

if TYPE_CHECKING:
    from datetime import timedelta

    import duckdb
    import polars as pl

    Wait = str | timedelta

T = TypeVar("T")

DEFAULT_WAIT = "60s"
_READ_AS = {
    "INTERVAL": "CASE WHEN datepart('year', {0}) <> 0 OR datepart('month', {0}) <> 0"
    " THEN error('an interval of months has no fixed length') ELSE epoch_us({0}) END",
    "HUGEINT": "CAST({0} AS DECIMAL(38,0))",
    "UHUGEINT": "CAST({0} AS DECIMAL(38,0))",
    **dict.fromkeys(("BIT", "BIGNUM", "TIME WITH TIME ZONE"), "CAST({0} AS VARCHAR)"),
}
"""SQL for what comes of a column of a type that Polars lacks; on its own it would cut such values, or panic."""
_NESTED = ("list", "array", "struct", "map", "union")
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.002, 0.05
_SILENT_S = 1.0
_FREE_LOOKS = 6
"""In a row that find a file free which could not be opened just before: others who open it in turn may each have let go of it."""
_ATTACHED_TWICE = "Unique file handle conflict"
_writers: dict[Path, threading.Lock] = {}
"""Threads of one process share DuckDB's lock on the file, so they take turns here."""


@frozen
class TableName:
    """A table by its schema and name, and how SQL names it: to change it, and to look at its `rows` where these are not all in it."""

    schema: str
    name: str
    sql: str
    kept: str = ""

    @property
    def rows(self) -> str:
        return self.kept or self.sql


def own_columns(table: TableName, existing: Iterable[str], names: Iterable[str], *, argument: str) -> list[str]:
    """The columns among the `existing` ones of the table that are meant by these names.

    Raises:
        FlowValidationError: one is not there; names those there are.
    """
    existing = list(existing)
    columns = {name: find(name, existing) for name in names}
    if missing := [name for name, own in columns.items() if own is None]:
        raise FlowValidationError(
            f'the table "{table.name}" has no column {names_text(missing)}',
            where=f"{argument}=",
            fix=f"it has {names_text(existing)}",
        )
    return [own for own in columns.values() if own is not None]


@frozen
class Database:
    """An open connection, and the file it is to."""

    conn: duckdb.DuckDBPyConnection
    path: Path
    indexed: Literal["commit", "again", "stays"] = "commit"
    """What a change of type does with indexes in its way: it drops them by `drop_for_now`, before a call has changed anything; it raises
    `IndexInTheWayError`, where other calls have; it lets them be, where the table is a copy without them."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows a statement gives."""
        return self.conn.execute(sql, list(parameters)).fetchall()

    def frame(self, sql: str, parameters: object = None) -> pl.DataFrame:
        """The exact rows of a query, as a frame: an INTERVAL becomes a Duration, what Polars has no type for becomes text.

        Raises:
            FlowValidationError: no query, a table that is not there, or a value that Polars cannot hold: months in an interval,
                more than 38 digits, an infinite date.
        """
        import duckdb
        import polars as pl
        from polars.selectors import by_name

        try:
            relation: Any = self.conn.sql(sql, params=parameters)
        except RecursionError as error:
            raise FlowValidationError("a parameter holds itself", where="params=", fix="give plain values") from error
        except duckdb.CatalogException as error:
            what = str(error).splitlines()[0]
            if "Table with name" not in what:
                raise
            raise FlowValidationError(  # DuckDB's own guesses are among its system tables
                what, where=str(self.path), fix=f"the database holds {names_text(self.table_names())}"
            ) from error
        if relation is None:
            raise FlowValidationError("the SQL gives no rows", where=sql, fix="write one query, such as SELECT ...")
        kinds = [str(kind) for kind in relation.types]
        intervals: list[str] = []
        if any(kind in _READ_AS or "INTERVAL" in kind for kind in kinds):
            relation = relation.project("*")  # names each column apart
            columns = list(zip(relation.columns, kinds, strict=True))
            for name, kind in zip(relation.columns, relation.types, strict=True):
                _refuse_nested_interval(name, kind)
            changed = [
                f"{_READ_AS[kind].format(quoted(name))} AS {quoted(name)}" for name, kind in columns if kind in _READ_AS
            ]
            intervals = [name for name, kind in columns if kind == "INTERVAL"]
            if changed:
                relation = relation.project(f"* REPLACE ({', '.join(changed)})")
        frame: pl.DataFrame = relation.pl()
        for series in frame:
            _refuse_infinite(series)
        return frame.with_columns(by_name(intervals).cast(pl.Duration("us"))) if intervals else frame

    def name(self) -> str:
        """The database's name in DuckDB, which is its file's. A schema may have the same name, so dotted names begin with it."""
        ((name,),) = self.execute("SELECT current_database()")
        return str(name)

    def storage_version(self) -> str:
        """The release whose format the file has, for one that takes its place.

        Asked of DuckDB: to read the file's own bytes would let go of the lock on it, as POSIX ends all locks of a process on a
        file when the process closes any descriptor of it. Reference: https://man7.org/linux/man-pages/man2/fcntl_locking.2.html
        """
        ((version,),) = self.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = current_database()"
        )
        return str(version).rstrip("+")

    def table(self, table: str) -> TableName:
        """The table meant; a name of two parts is a schema's table, whatever else is called so."""
        parts = table_parts(table)
        if len(parts) == 1:  # nothing before it that could mean two things
            return TableName("main", parts[0], quoted(parts[0]))
        database = self.name()
        if len(parts) == 3 and folded(parts[0]) != folded(database):
            raise FlowValidationError(
                f'"{parts[0]}" is not the database in this file',
                where=f"table={table!r}",
                fix=f'it is called "{database}"',
            )
        return TableName(parts[-2], parts[-1], ".".join(map(quoted, (database, *parts[-2:]))))

    def columns(self, table: TableName) -> dict[str, str] | None:
        """Each column's type by name; None when there is no such table or view."""
        import duckdb

        try:
            relation = self.conn.sql(f"FROM {table.sql} LIMIT 0")
        except duckdb.CatalogException:
            return None
        return {name: str(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}

    def known_columns(self, table: TableName) -> dict[str, str]:
        """As `columns`, of a table that must be there.

        Raises:
            FlowValidationError: no such table; names those there are.
        """
        columns = self.columns(table)
        if columns is None:
            raise FlowValidationError(
                f'there is no table "{table.name}"'
                + ("" if table.schema == "main" else f' in the schema "{table.schema}"'),
                where=str(self.path),
                fix=f"the database holds {names_text(self.table_names())}",
            )
        return columns

    def make_table(self, table: TableName, query: str) -> None:
        """Let the rows of the query be the table, whatever it was before."""
        self.execute(f"CREATE OR REPLACE TABLE {table.sql} AS {query}")

    def append(self, table: TableName, columns: Sequence[str], query: str) -> None:
        """Add the rows of the query, which has these columns of the table."""
        self.execute(f"INSERT INTO {table.sql} ({', '.join(map(quoted, columns))}) {query}")

    def remove(self, table: TableName, column: str, values: str) -> None:
        """Remove the rows with one of the values in the column: the query gives them as `v`, a null is one too."""
        self.execute(
            f"DELETE FROM {table.sql} AS d USING ({values}) AS k WHERE d.{quoted(column)} IS NOT DISTINCT FROM k.v"
        )

    def changes_type(self, table: TableName, column: str, kind: str, using: str) -> None:
        """Change the type of a column; `using` is the SQL for its values."""
        self.execute(f"ALTER TABLE {table.sql} ALTER COLUMN {quoted(column)} SET DATA TYPE {kind} USING {using}")

    def add_column(self, table: TableName, column: str, kind: str) -> None:
        """Add a column of nulls."""
        self.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quoted(column)} {kind}")

    def require_seen(self, sql: str) -> None:
        """Return where a query sees all rows of each table that it names."""

    def make_schema(self, table: TableName) -> None:
        """Make the schema of the table unless it is there."""
        if table.schema != "main":
            self.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(self.name())}.{quoted(table.schema)}")

    def table_names(self) -> list[str]:
        """Tables and views of the file; those outside the schema main with their schema."""
        rows = self.execute(
            "SELECT schema_name, name FROM (SELECT database_name, schema_name, table_name AS name FROM duckdb_tables()"
            " UNION ALL SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal)"
            f" WHERE database_name = current_database() AND schema_name <> '{OUR_SCHEMA}' ORDER BY schema_name, name"
        )
        return [name if schema == "main" else f"{schema}.{name}" for schema, name in rows]


def _refuse_nested_interval(name: str, kind: Any) -> None:
    """Polars panics at one, and goes on with a broken frame."""
    inner = [child for _, child in kind.children if hasattr(child, "id")] if kind.id in _NESTED else []
    for child in inner:
        if child.id == "interval":
            raise FlowValidationError(
                f'the column "{name}" is {kind}: Polars cannot hold an interval inside another type',
                where=f"column {name!r}",
                fix=f"split it in SQL, such as epoch_us({quoted(name)}[1])",
            )
        _refuse_nested_interval(name, child)


def _refuse_infinite(series: pl.Series) -> None:
    """DuckDB's infinite dates and moments would come as some day in a far year."""
    import polars as pl

    if series.dtype == pl.Date:
        numbers, largest = series.cast(pl.Int32), 2**31 - 1
    elif series.dtype == pl.Datetime:
        numbers, largest = series.cast(pl.Int64), 2**63 - 1
    else:
        return
    if numbers.max() == largest or numbers.min() == -largest:
        raise FlowValidationError(
            f'the column "{series.name}" holds infinity, for which Polars has no date',
            where=f"column {series.name!r}",
            fix=f"read it with SQL: CASE WHEN isfinite({quoted(series.name)}) THEN {quoted(series.name)} END",
        )


@frozen
class _WrittenAtOnce(Database):
    """A database that a helper writes at once in a run that keeps rows."""

    kept: Any = None

    def table(self, table: str) -> TableName:
        target = super().table(table)
        self.kept.refuse_writing(self.path, target)
        return target


@contextmanager
def reading(db_path: object, *, wait: Wait) -> Iterator[Database]:
    """The database for reading; other processes may read at the same time.

    Raises:
        FlowValidationError: no such file, no database, or still being written after `wait`.
    """
    path, deadline_s = path_of(db_path), deadline_of(wait)
    if (kept := kept_here(path)) is not None:
        with translated(path), kept.reading(path, deadline_s) as database:
            yield database
        return
    _require_file(path)
    with translated(path):
        conn = _connect(path, deadline_s, read_only=True)
        try:
            conn.execute("SET python_enable_replacements = false; SET TimeZone = 'UTC'")
            yield Database(conn, path)
        finally:
            conn.close()


@contextmanager
def writing(db_path: object, *, wait: Wait, create: bool = True) -> Iterator[Database]:
    """The database in one transaction, committed when the block ends and rolled back when it raises.

    Raises:
        FlowValidationError: no database, or still in use elsewhere after `wait`.
    """
    path = path_of(db_path)
    if not create and not path.exists() and (kept := kept_here(path)) is not None:
        kept.refuse_writing(path, None)
    with exclusive(path, wait=wait, create=create) as database, transaction(database):
        kept = kept_here(database.path)
        yield database if kept is None else _WrittenAtOnce(database.conn, database.path, kept=kept)


def kept_here(path: Path) -> Any:
    """The `kept.KeptTables` of the run of this context, where it keeps rows for this database; else None."""
    run = keeping.get()
    return None if run is None or run.tables is None or not run.tables.has_rows(path) else run.tables


@contextmanager
def transaction(database: Database) -> Iterator[None]:
    """A transaction of the database, committed when the block ends and rolled back when it raises."""
    database.conn.execute("BEGIN TRANSACTION")
    try:
        yield
        database.conn.execute("COMMIT")
    except BaseException:
        with suppress(Exception):  # a commit that failed has rolled back already
            database.conn.execute("ROLLBACK")
        raise


@contextmanager
def exclusive(
    db_path: object, *, wait: Wait, create: bool = False, config: dict[str, str] | None = None
) -> Iterator[Database]:
    """The database for writing, outside of a transaction; neither another process nor another helper writes meanwhile.

    With a `config` of its own it is the only connection of this process, too: DuckDB shares a file only between equal ones.
    """
    import duckdb

    path, deadline_s = path_of(db_path), deadline_of(wait)
    if path.is_dir():
        raise FlowValidationError(f"{path} is a folder", where="db_path=", fix="name a file in it")
    if not create:
        _require_file(path)
    else:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FlowValidationError(
                f"the folder {path.parent} cannot be made: {error.strerror}",
                where="db_path=",
                fix="name a folder you may write to",
            ) from error
    turn = _turn(path)
    if not turn.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
        raise _in_use(path, "another thread of this process writes it")
    try:
        with translated(path):
            conn = _connect(path, deadline_s, read_only=False, config=config)
            database = Database(conn, path)
            try:
                make_dropped_indexes(database)
                yield database
            finally:
                with suppress(duckdb.Error):  # else whoever writes next makes them
                    make_dropped_indexes(database)
                conn.close()
    finally:
        turn.release()


def _turn(path: Path) -> threading.Lock:
    return _writers.setdefault(path, threading.Lock())


def _connect(
    path: Path, deadline_s: float, *, read_only: bool, config: dict[str, str] | None = None
) -> duckdb.DuckDBPyConnection:
    import duckdb

    def connect() -> duckdb.DuckDBPyConnection | None:
        before = identity_of(path)
        if before is None and not read_only:
            make_database(str(path), wanted_version())
        try:
            conn = duckdb.connect(str(path), read_only=read_only, config=dict(config or {}))
        except duckdb.ConnectionException as error:
            # A connection of this process has the file open the other way. A read joins it: that takes no further lock.
            if read_only:
                with suppress(duckdb.Error):
                    return duckdb.connect(str(path))
                if is_looking():  # in a run another thread may close it in a moment
                    raise DatabaseBusyError(
                        f"{path} is open in this process with other settings: {str(error).splitlines()[0]}",
                        where=str(path),
                        fix="close that connection, or read through it",
                    ) from error
            raise
        except duckdb.Error:
            # Where another connection of this process has it attached, DuckDB has closed a descriptor of it before it refused this one.
            lock_again(path)
            raise
        # compact_database may have put a new file in place between the opening and the lock.
        if read_only or before is None or before == identity_of(path):
            return conn
        conn.close()
        return None

    return patiently(connect, path, deadline_s, to_write=not read_only)


def patiently(open_it: Callable[[], T | None], path: Path, deadline_s: float, *, to_write: bool) -> T:
    """What `open_it` gives, tried again while others have the file open, or it gives None.

    Raises:
        FlowValidationError: it was in use until then.
    """
    import duckdb

    pause_s = _FIRST_PAUSE_S
    free_looks = 0
    silent_until_s = time.monotonic() + _SILENT_S if not to_write and is_looking() else math.inf
    while True:
        try:
            if (conn := open_it()) is not None:
                return conn
            continue
        except duckdb.Error as error:
            reason = str(error)
            if isinstance(error, duckdb.IOException):
                # Of a lock DuckDB gives Python no number, only these words, which are its own and in no user's language; on Windows
                # its words hold the system's, which are, so that the system is asked by opening the file.
                is_held = "Could not set lock" in reason or is_locked(str(path), to_write=to_write)
            elif (
                _ATTACHED_TWICE in reason
            ):  # by a helper in another thread, or a connection of the author's own, which stays
                is_held = _turn(path).locked()
            elif isinstance(error, duckdb.ConnectionException):
                is_held = True
            else:
                raise
            free_looks = 0 if is_held else free_looks + 1
            if free_looks > _FREE_LOOKS:
                raise
        if time.monotonic() + pause_s > deadline_s:
            raise _in_use(path, reason)
        if time.monotonic() > silent_until_s:
            silent_until_s = math.inf
            print(f"waiting for {path.name}: {reason.splitlines()[0]}", file=sys.stderr)
        time.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)


def drop_for_now(database: Database, indexes: Mapping[str, str]) -> None:
    """Drop indexes (by their names in SQL, the SQL that makes them), commit the transaction and begin another: DuckDB changes or drops
    a column only when the drop of all indexes of its table is committed.

    They are listed in the database itself, and made again before it is closed; after a death of the process, by whoever writes next.
    """
    place = _dropped_indexes(database)
    database.conn.execute(
        f"CREATE SCHEMA IF NOT EXISTS {place.rpartition('.')[0]}; CREATE TABLE IF NOT EXISTS {place} (sql VARCHAR)"
    )
    for name, sql in indexes.items():
        database.execute(f"INSERT INTO {place} VALUES (?)", [sql])
        database.execute(f"DROP INDEX {name}")
    database.conn.execute("COMMIT; BEGIN TRANSACTION")


def make_dropped_indexes(database: Database) -> None:
    """Make the indexes that were dropped for now, outside of a transaction; not those of tables and columns that are gone."""
    import duckdb

    if not has_own_table(database, "dropped_indexes"):
        return
    for (sql,) in database.execute(f"FROM {_dropped_indexes(database)}"):
        with suppress(duckdb.CatalogException, duckdb.BinderException, duckdb.ConstraintException):
            database.execute(sql)
    database.execute(f"DROP TABLE {_dropped_indexes(database)}")


def has_own_table(database: Database, name: str) -> bool:
    """Whether the database has this table of Data Engine's own."""
    sql = (
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() AND schema_name = ? AND table_name = ?"
    )
    return bool(database.execute(sql, [OUR_SCHEMA, name]))


def _dropped_indexes(database: Database) -> str:
    return f"{quoted(database.name())}.{OUR_SCHEMA}.dropped_indexes"


class IndexInTheWayError(Exception):
    """A table has indexes, as `drop_for_now` takes them, that must be dropped before the transaction."""

    def __init__(self, indexes: Mapping[str, str]) -> None:
        super().__init__(", ".join(indexes))
        self.indexes = indexes


class DatabaseBusyError(FlowValidationError):
    """Somebody else has the database open."""


def _in_use(path: Path, reason: str) -> DatabaseBusyError:
    holder = who_holds(path)  # on Windows, where DuckDB names none
    return DatabaseBusyError(
        f"{path} is in use{f' by {holder}' if holder else ''}: {reason.splitlines()[0]}",
        where="wait=",
        fix="close the other connection, or wait longer: wait='5m'",
    )


def path_of(db_path: object) -> Path:
    fix = "give a file such as context.database('mart.duckdb')"
    path = local_path(db_path, argument="db_path", fix=fix)
    if not is_unicode(str(path)):
        raise FlowValidationError(f"DuckDB cannot open {path!r}: its name is not UTF-8", where="db_path=", fix=fix)
    return path


def deadline_of(wait: object) -> float:
    return time.monotonic() + parse_duration(wait, where="wait=", allow_zero=True)


def _require_file(path: Path) -> None:
    if path.is_file():
        return
    names: list[str] = []
    with suppress(OSError):
        names = sorted(file.name for file in path.parent.iterdir() if file.is_file() and file.suffix == path.suffix)
    raise FlowValidationError(
        f"there is no database {path}", where="db_path=", fix=f"in its folder there are {names_text(names)}"
    )


@contextmanager
def translated(path: Path) -> Iterator[None]:
    import duckdb
    from polars.exceptions import PolarsError

    try:
        yield
    except (duckdb.Error, PolarsError) as error:
        raise refusal(error, path) from error


_FIXES = (
    ("not a valid DuckDB database", "name a file that DuckDB made; for a new database, a file that is not there yet"),
    (_ATTACHED_TWICE, "close the other connection of this process to the database before the call"),
    ("No space left", "free some space on its drive"),
    (
        "Cannot execute statement of type",
        "write with replace_rows_by_file, replace_rows_by_values or replace_table; this only reads",
    ),
    ("type View", "name a table, or drop the view first: a view is not written to"),
    ("base table", "name a table: a view is not written to, and has no index"),
    ("ALTER VIEW", "name a table: a view is not written to"),
    ("is not an table", "name a table: a view is not written to"),
    ("foreign key", "fix the rows of the other table that refer to these first"),
    ("main key table", "drop the table that refers to it first, or replace its rows with replace_rows_by_values"),
    ("depends on", "drop what depends on it first, or replace its rows with replace_rows_by_values"),
    ("Constraint Error", "fix the rows that the table's constraint refuses; the table was not changed"),
    ("arameter", "give one value in params= for each ? in the SQL, or a dict with one for each $name"),
    ("python value", "give params= numbers, texts, dates, times or None"),
    ("Conversion Error", "fix the value, or read text that does not fit as null: TRY_CAST(x AS type)"),
    ("Out of Range", "cast to a wider type before computing: CAST(x AS DOUBLE)"),
    ("Parser Error", "fix the SQL in sql= or where=; write texts in single quotes, names in double quotes"),
    ("Binder Error", "fix the SQL in sql= or where=; it may use the table's own columns and DuckDB's functions"),
    ("Catalog Error", "fix the name, or make what it names first"),
    ("Out of Memory", "read fewer rows or columns at once"),
)
"""A part of DuckDB's message, and its remedy; the first that is found counts."""


def refusal(error: Exception, path: Path) -> FlowValidationError:
    """The error to raise in place of one of DuckDB's, or of Polars' on the way out of it.

    Example:
        >>> import duckdb
        >>> print(refusal(duckdb.ConstraintException("Constraint Error: NOT NULL constraint failed"), Path("mart.duckdb")))
        DuckDB refused it: Constraint Error: NOT NULL constraint failed
          where: mart.duckdb
          fix:   fix the rows that the table's constraint refuses; the table was not changed
    """
    what = str(error).strip().split("\n\n")[0]
    remedy = next((fix for words, fix in _FIXES if words in what), "try it with DuckDB itself, which may say more")
    fix = fix_of_newer(what) or remedy
    return FlowValidationError(f"DuckDB refused it: {what}", where=str(path), fix=fix)

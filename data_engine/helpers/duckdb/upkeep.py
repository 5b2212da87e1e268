"""Give space back: DuckDB reuses the room of deleted rows but never returns it, so a smaller copy takes the file's place."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from data_engine.argument_checks import checked
from data_engine.errors import FlowValidationError
from data_engine.files import replace_file, sync_file, sync_folder
from data_engine.helpers.duckdb.connection import (
    DEFAULT_WAIT,
    Database,
    TableName,
    drop_for_now,
    exclusive,
    kept_here,
    make_dropped_indexes,
    path_of,
    transaction,
)
from data_engine.helpers.duckdb.indexes import indexes_of
from data_engine.helpers.duckdb.names import folded, names_text, quoted, table_parts, text_literal
from data_engine.keeping import OUR_SCHEMA
from data_engine.nofollow import remove_tree
from data_engine.platforms.files import CAN_REPLACE_OPEN_FILES, is_open_elsewhere
from data_engine.record import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    import polars as pl

    from data_engine.helpers.duckdb.connection import Wait

_ALONE = {"custom_user_agent": "data_engine_compact"}
_COPY = "data_engine_compact_copy"
_MOST_ROUNDS = 10
"""In each of which somebody else is quicker, where a file must be closed before another takes its place."""


@frozen
class _Dropped:
    columns: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    recreated: tuple[str, ...] = ()


@checked(only=("bool",))
def compact_database(
    db_path: str | PathLike[str],
    *,
    tables: str | list[str] | None = None,
    drop_all_null_columns: bool = True,
    vacuum: bool = True,
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame:
    """What was saved: columns that hold no value are dropped, then the file is rewritten without its free space.

    The new file takes the old one's place in one step while the database is locked; until then the old one is untouched. A
    table without rows keeps its columns, every table keeps one, and a column stays whose name is used in a view or a macro.
    Nobody else may have the database open meanwhile, not even in this process.

    Args:
        db_path: the database file, which must be there.
        tables: whose columns to look at; None for all. The whole file is always rewritten.
        drop_all_null_columns: False drops no column.
        vacuum: False leaves the file's size as it is. A copy that would not be smaller is not kept.
        wait: how long to wait for another process that has the database open, such as "60s".

    Returns:
        One row per table: `db_path`, `table`, `dropped_column_count`, `dropped_columns`, `indexes_dropped` (on the way),
        `indexes_recreated`, `indexes_skipped` (they were on a dropped column), `vacuum_requested`, `vacuumed`,
        `size_before_bytes`, `size_after_bytes`.

    Raises:
        FlowValidationError: no such database or table; a busy database; no room for the copy; a column that cannot be dropped.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import compact_database, replace_table
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> _ = replace_table(db, "sales", df=pl.DataFrame({"amount": [1, 2], "note": [None, None]}))
        >>> compact_database(db).select("table", "dropped_columns", "vacuumed").rows()
        [('sales', ['note'], True)]
    """
    import polars as pl

    names, place = _table_names(tables), path_of(db_path)
    if (kept := kept_here(place)) is not None:
        kept.refuse_writing(place, None)
    with exclusive(db_path, wait=wait, config=_ALONE) as database:
        before_bytes = _size_bytes(database.path)
        targets = _targets(database, names)
        uses = _uses(database)
        dropped = {
            table: _drop_null_columns(database, table, uses) if drop_all_null_columns else _Dropped()
            for table in targets
        }
        database.execute("CHECKPOINT")
        is_in_place = not vacuum or _write_anew(database)
        path = database.path
    rounds = 0
    while not is_in_place:
        if rounds == _MOST_ROUNDS:
            raise FlowValidationError(
                f"the compacted copy of {path} cannot take its place: other processes write it all the time, or it may not be replaced",
                where=str(path),
                fix="compact it when nothing runs; the database was not changed",
            )
        rounds += 1
        with exclusive(db_path, wait=wait, config=_ALONE) as database:
            database.execute("CHECKPOINT")
            is_in_place = _write_anew(database)
    after_bytes = _size_bytes(path)
    rows = [
        {
            "db_path": str(path),
            "table": table.name if table.schema == "main" else f"{table.schema}.{table.name}",
            "dropped_column_count": len(loss.columns),
            "dropped_columns": list(loss.columns),
            "indexes_dropped": list(loss.indexes),
            "indexes_recreated": list(loss.recreated),
            "indexes_skipped": [name for name in loss.indexes if name not in loss.recreated],
            "vacuum_requested": vacuum,
            "vacuumed": vacuum,
            "size_before_bytes": before_bytes,
            "size_after_bytes": after_bytes,
        }
        for table, loss in dropped.items()
    ]
    texts = pl.List(pl.String)
    return pl.DataFrame(
        rows,
        schema={
            "db_path": pl.String,
            "table": pl.String,
            "dropped_column_count": pl.Int64,
            "dropped_columns": texts,
            "indexes_dropped": texts,
            "indexes_recreated": texts,
            "indexes_skipped": texts,
            "vacuum_requested": pl.Boolean,
            "vacuumed": pl.Boolean,
            "size_before_bytes": pl.Int64,
            "size_after_bytes": pl.Int64,
        },
    )


def _table_names(tables: object) -> list[str] | None:
    if tables is None:
        return None
    if isinstance(tables, str):
        tables = [tables]
    if not isinstance(tables, Iterable) or isinstance(tables, bytes):
        raise TypeError(f"tables must be a list of table names, not {tables!r}")
    names = list(tables)
    for name in names:
        table_parts(name)
    return names


def _targets(database: Database, names: list[str] | None) -> list[TableName]:
    """The base tables to look at, in the order of their names."""
    rows = database.execute(
        "SELECT database_name, schema_name, table_name FROM duckdb_tables()"
        f" WHERE database_name = current_database() AND NOT temporary AND schema_name <> '{OUR_SCHEMA}' ORDER BY schema_name, table_name"
    )
    tables = [TableName(schema, name, ".".join(map(quoted, (catalog, schema, name)))) for catalog, schema, name in rows]
    if names is None:
        return tables
    by_name = {(folded(table.schema), folded(table.name)): table for table in tables}
    choice = [(name, database.table(name)) for name in names]
    missing = [name for name, table in choice if (folded(table.schema), folded(table.name)) not in by_name]
    if missing:
        raise FlowValidationError(
            f"all tables must exist; there is no table {names_text(missing)}",
            where="tables=",
            fix=f"the database holds {names_text(database.table_names())}",
        )
    keys = dict.fromkeys((folded(table.schema), folded(table.name)) for _, table in choice)
    return [by_name[key] for key in keys]


def _uses(database: Database) -> str:
    """The SQL of all views and macros, which DuckDB lets break in silence when a column goes."""
    rows = database.execute(
        "SELECT sql FROM duckdb_views() WHERE database_name = current_database() AND NOT internal UNION ALL"
        " SELECT macro_definition FROM duckdb_functions() WHERE database_name = current_database() AND NOT internal"
    )
    return folded("\n".join(sql for (sql,) in rows if sql))


def _is_named(column: str, uses: str) -> bool:
    """Whether the name stands in the SQL as a word; whose column is meant does not matter, a kept one does no harm."""
    name = re.escape(folded(column).replace('"', '""'))
    return re.search(rf"(?<!\w){name}(?!\w)", uses) is not None


def _drop_null_columns(database: Database, table: TableName, uses: str) -> _Dropped:
    """Drop the columns of a table with rows in which no row has a value and that no view names; its indexes are dropped before and made again after."""
    columns = list(database.known_columns(table))
    counted = ", ".join(f"count({quoted(name)})" for name in columns)
    ((rows, *values),) = database.execute(f"SELECT count(*), {counted} FROM {table.sql}")
    empty = [name for name, count in zip(columns, values, strict=True) if count == 0 and not _is_named(name, uses)]
    dropped = empty[1:] if len(empty) == len(columns) else empty
    if not rows or not dropped:
        return _Dropped()
    indexes = indexes_of(database, table)
    gone = [index for index in indexes if any(index.covers(name) for name in dropped)]
    rest = [index for index in indexes if index not in gone]
    with transaction(database):
        if indexes:
            drop_for_now(database, {index.sql_name: index.create_sql(table) for index in indexes})
        for name in dropped:
            database.execute(f"ALTER TABLE {table.sql} DROP COLUMN {quoted(name)}")
    make_dropped_indexes(database)  # a copy takes the place of the file while it is open
    return _Dropped(tuple(dropped), tuple(index.name for index in indexes), tuple(index.name for index in rest))


class _OvertakenError(Exception):
    """Somebody has written the file between its closing and its replacement."""


def _write_anew(database: Database) -> bool:
    """Put a copy of everything in the file's place, if it is smaller, while this process holds the lock on it.

    False where the lock must be let go of for that and somebody else took it: what they wrote is kept, and the copy is not.
    """
    path = database.path
    folder = path.with_name(f".{path.name}.compact.tmp")
    copy = folder / "copy.duckdb"
    try:
        remove_tree(path.parent, folder, with_links=True)  # a killed call may have left one; nobody else is here now
        folder.mkdir(mode=0o700)  # others may write beside the database, and put a link where the copy is to be
        version = text_literal(database.storage_version())
        database.execute(f"ATTACH {text_literal(str(copy))} AS {_COPY} (STORAGE_VERSION {version})")
        _copy(database, database.name())
        database.execute(f"DETACH {_COPY}")
        if _size_bytes(copy) >= _size_bytes(path):  # a small file without free space: the copy's own blocks cost more
            return True
        shutil.copymode(path, copy)
        sync_file(copy)
        if CAN_REPLACE_OPEN_FILES:
            replace_file(copy, path)
        else:
            _replace_closed(database, copy)
    except _OvertakenError:
        return False
    except OSError as error:
        if not CAN_REPLACE_OPEN_FILES and is_open_elsewhere(error):
            return False
        raise FlowValidationError(
            f"the compacted copy of {path} cannot take its place: {error.strerror}",
            where=str(path),
            fix="free some space, or close what has the file open; the database was not changed",
        ) from error
    finally:
        remove_tree(path.parent, folder, with_links=True)
    sync_folder(path.parent)
    return True


def _replace_closed(database: Database, copy: Path) -> None:
    """Close the database and put the copy in its place, unless somebody has written it since."""
    path = database.path
    size = _size_bytes(path)
    database.conn.close()
    closed = path.stat()

    def check() -> None:
        now = path.stat()
        if now.st_size != size or (now.st_ino, now.st_mtime_ns) != (closed.st_ino, closed.st_mtime_ns):
            raise _OvertakenError

    replace_file(copy, path, before=check)


def _copy(database: Database, name: str) -> None:
    """Copy all of the database, or refuse: DuckDB copies what it knows how to copy."""
    import duckdb

    try:
        database.execute(f"COPY FROM DATABASE {quoted(name)} TO {_COPY}")
    except (
        duckdb.ConstraintException,
        duckdb.NotImplementedException,
    ) as error:  # such as foreign keys, for DuckDB 1.x
        raise _not_copied(database, str(error)) from error
    kinds = ("table", "view", "index", "sequence", "type", "function")
    sources = {kind: "duckdb_indexes" if kind == "index" else f"duckdb_{kind}s" for kind in kinds}

    def contents(catalog: str) -> list[tuple[object, ...]]:
        entries: list[tuple[object, ...]] = []
        for kind, source in sources.items():
            internal = "" if kind in ("index", "sequence") else " AND NOT internal"
            entries += database.execute(
                f"SELECT '{kind}', schema_name, {kind}_name FROM {source}() WHERE database_name = ?{internal} ORDER BY ALL",
                [catalog],
            )
        return [
            (
                *entry,
                *database.execute(
                    f"SELECT count(*) FROM {quoted(catalog)}.{quoted(str(entry[1]))}.{quoted(str(entry[2]))}"
                ),
            )
            if entry[0] == "table"
            else entry
            for entry in entries
        ]

    old, new = contents(name), contents(_COPY)
    if old != new:
        missing = [str(entry[2]) for entry in old if entry not in new]
        raise _not_copied(database, f"it left out {names_text(missing)}")


def _not_copied(database: Database, why: str) -> FlowValidationError:
    return FlowValidationError(
        f"DuckDB cannot copy this database: {why}",
        where=str(database.path),
        fix="compact with vacuum=False; the file was not changed",
    )


def _size_bytes(path: Path) -> int:
    total = 0
    for file in (path, path.with_name(path.name + ".wal")):
        with suppress(OSError):
            total += file.stat().st_size
    return total

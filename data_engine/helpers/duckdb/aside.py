"""Rows of one file are moved out of a table into a Parquet file, and back.

The Parquet file has the record of the rows with it. It is whole on the drive, and was compared with the table, before the rows are
removed. The record stays with no rows, so that its number is used once: moved back is only what nothing has replaced since.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Mapping
from dataclasses import astuple, replace
from pathlib import Path

from data_engine.errors import FlowValidationError
from data_engine.files import atomic_target
from data_engine.helpers.duckdb.applied import Applied, change_count, records_of
from data_engine.helpers.duckdb.connection import Database, TableName, reading, writing
from data_engine.helpers.duckdb.names import find, quoted, text_literal
from data_engine.helpers.duckdb.rows import NewRows

_WAIT = "2s"
_PLAIN = frozenset(
    "BOOLEAN TINYINT SMALLINT INTEGER BIGINT UTINYINT USMALLINT UINTEGER UBIGINT FLOAT DOUBLE VARCHAR BLOB DATE TIMESTAMP".split()
)
"""Types that Parquet has as DuckDB has them; values of others are written as text."""


def rows_of_files(path: Path) -> list[Applied]:
    """The records of the rows that runs wrote for one file each, and that stand in the database."""
    with reading(path, wait=_WAIT) as database:
        return [row for row in records_of(database) if row.kind == "file" and row.rows]


def move_rows(path: Path, number: int, folder: Path) -> Path | None:
    """Move the rows of the record with this number from their table into a new Parquet file in the folder; None without any.

    Raises:
        FlowValidationError: the database is in use, or Parquet cannot hold the rows; nothing was moved.
    """
    with writing(path, wait=_WAIT, create=False) as database:
        row = _record(database, number)
        if row is None:
            return None
        table = _table(database, row)
        columns = database.columns(table) or {}
        own = find(row.column, columns)
        if own is None:
            return None
        mine = _mine(table, own, row)
        ((count,),) = database.execute(f"SELECT count(*) {mine}")
        file = folder / f"{number}-{os.urandom(6).hex()}.parquet" if count else None
        if file is not None:
            _write(database, mine, columns, row, file)
        database.execute(f"DELETE {mine}")
        change_count(database, number, 0)
    return file


def put_rows_back(path: Path, file: Path) -> bool:
    """Move the rows of the Parquet file back into their table, unless rows were written in their place since; whether they were.

    Raises:
        FlowValidationError: the database is in use, or the table cannot hold the rows any more; nothing was moved.
    """
    row = record_in(file)
    with writing(path, wait=_WAIT, create=False) as database:
        table, now = _table(database, row), _record(database, row.number)
        columns, names = database.columns(table) or {}, _names(database, file)
        own = find(row.column, columns)
        if now != replace(row, rows=0) or own is None or not set(names) <= set(columns):
            return False
        new = NewRows(row.table, "file", row.column, row.key)
        if any(later.replaces(table, new) for later in records_of(database, since=row.number)):
            return False
        if database.execute(f"SELECT 1 {_mine(table, own, row)} LIMIT 1"):
            return False
        database.append(table, names, _rows({name: columns[name] for name in names}, file))
        change_count(database, row.number, row.rows)
    file.unlink()
    return True


def record_in(file: Path) -> Applied:
    """The record of the rows in a Parquet file that `move_rows` made."""
    import pyarrow.parquet as pq

    return Applied(*json.loads(pq.read_metadata(file).metadata[b"data_engine"]))


def _record(database: Database, number: int) -> Applied | None:
    return next((row for row in records_of(database, since=number - 1) if row.number == number), None)


def _table(database: Database, row: Applied) -> TableName:
    return TableName(row.schema, row.table, ".".join(map(quoted, (database.name(), row.schema, row.table))))


def _mine(table: TableName, column: str, row: Applied) -> str:
    return f"FROM {table.sql} WHERE CAST({quoted(column)} AS VARCHAR) = {text_literal(row.key)}"


def _rows(columns: Mapping[str, str], file: Path) -> str:
    """The query for the rows of the file, with the types of these columns."""
    values = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in columns.items())
    return f"SELECT {values} FROM {_in(file)}"


def _in(file: Path) -> str:
    return f"read_parquet({text_literal(glob.escape(str(file)))}, hive_partitioning = false)"


def _names(database: Database, file: Path) -> list[str]:
    return [str(row[0]) for row in database.execute(f"DESCRIBE FROM {_in(file)}")]


def _write(database: Database, mine: str, columns: Mapping[str, str], row: Applied, file: Path) -> None:
    """Write the rows to the file, and compare it with them."""
    values = ", ".join(
        quoted(name)
        if kind in _PLAIN or kind.startswith("DECIMAL(")
        else f"CAST({quoted(name)} AS VARCHAR) AS {quoted(name)}"
        for name, kind in columns.items()
    )
    about = text_literal(json.dumps(astuple(row)))
    with atomic_target(file) as fresh:
        database.execute(
            f"COPY (SELECT {values} {mine}) TO {text_literal(str(fresh))} (FORMAT parquet, KV_METADATA {{data_engine: {about}}})"
        )
        ((counts_differ, rows_differ),) = database.execute(
            f"SELECT (SELECT count(*) {mine}) <> (SELECT count(*) FROM ({_rows(columns, fresh)})),"
            f" EXISTS (SELECT * {mine} EXCEPT ALL {_rows(columns, fresh)})"
        )
        if counts_differ or rows_differ:
            raise FlowValidationError(
                f"a Parquet file cannot hold the rows of {row.key} in {row.table} as they are",
                where=str(database.path),
                fix="remove them yourself, with a DELETE of your own; nothing was moved",
            )

"""Whose rows stand in a database: a record of each application, written in the same transaction, in a schema of our own.

A table has one record for each key of a file, one for each flow and source that replaced rows by values, and one where the whole of it
was given. So the records say what stands in it now, and that a later run has replaced the rows of an earlier one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from data_engine.clock import utc_text
from data_engine.helpers.duckdb.connection import Database, TableName, has_own_table
from data_engine.helpers.duckdb.names import folded, quoted
from data_engine.helpers.duckdb.rows import NewRows
from data_engine.keeping import OUR_SCHEMA, RunOfRows
from data_engine.record import frozen

_COLUMNS = {
    "number": "BIGINT", "applied_at": "VARCHAR", "run_id": "VARCHAR", "flow": "VARCHAR", "source": "VARCHAR", "schema_name": "VARCHAR",
    "table_name": "VARCHAR", "kind": "VARCHAR", "column_name": "VARCHAR", "key": "VARCHAR", "row_count": "BIGINT",
}  # fmt: skip


@frozen
class Applied:
    """A record: the number and time of the application, the run with its flow and source, the table, and what the call said."""

    number: int
    at: str
    run_id: str
    flow: str
    source: str
    schema: str
    table: str
    kind: str
    column: str
    key: str
    rows: int

    def replaces(self, table: TableName, new: NewRows) -> bool:
        """Whether these rows may have taken the place of those that a call gives for the table."""
        if _key(table.schema, table.name) != _key(self.schema, self.table):
            return False
        is_of_file = new.kind == "file" == self.kind
        return not is_of_file or (folded(self.column), self.key) == (folded(new.column), new.key)


def _key(schema: str, table: str) -> tuple[str, str]:
    return folded(schema), folded(table)


def records_of(database: Database, *, since: int | str = 0) -> list[Applied]:
    """The records with a larger number, or of a later time, in their order; none where nothing was recorded."""
    if not has_own_table(database, "applied"):
        return []
    what = "number" if isinstance(since, int) else "applied_at"
    sql = f"SELECT {', '.join(_COLUMNS)} FROM {_place(database)} WHERE {what} > ? ORDER BY number"
    rows = database.execute(sql, [since])
    return [Applied(*row) for row in rows]


def last_number(database: Database) -> int:
    """The number of the last application, 0 before the first."""
    if not has_own_table(database, "applied"):
        return 0
    ((number,),) = database.execute(f"SELECT max(number) FROM {_place(database)}")
    return int(number or 0)


def record(database: Database, run: RunOfRows, done: Sequence[tuple[TableName, NewRows, int]]) -> None:
    """Record, in the transaction of the database, what the run has just given its tables: these calls, in their order."""
    import polars as pl

    if not has_own_table(database, "applied"):
        database.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(database.name())}.{OUR_SCHEMA}")
        columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
        database.execute(f"CREATE TABLE {_place(database)} ({columns})")
    first, at = last_number(database) + 1, utc_text(time.time())
    rows: dict[tuple[str, ...], tuple[Any, ...]] = {}
    for number, (table, new, count) in enumerate(done, first):
        if new.kind == "table":
            rows = {key: row for key, row in rows.items() if key[:2] != _key(table.schema, table.name)}
        about = (table.schema, table.name, new.kind, new.column, new.key)
        rows[(*_key(table.schema, table.name), new.kind, folded(new.column), new.key)] = (
            number,
            at,
            *run,
            *about,
            count,
        )
    schema = {name: pl.Int64 if kind == "BIGINT" else pl.String for name, kind in _COLUMNS.items()}
    frame = pl.DataFrame(list(rows.values()), schema=schema, orient="row")
    database.conn.register(_INCOMING, frame)
    same_table = "lower(o.schema_name) = lower(n.schema_name) AND lower(o.table_name) = lower(n.table_name)"
    same_call = "n.kind = o.kind AND lower(n.column_name) = lower(o.column_name)"
    same_rows = "CASE n.kind WHEN 'file' THEN n.key = o.key ELSE n.flow = o.flow AND n.source = o.source END"
    database.execute(
        f"DELETE FROM {_place(database)} AS o USING {_INCOMING} AS n"
        f" WHERE {same_table} AND (n.kind = 'table' OR ({same_call} AND {same_rows}))"
    )
    database.execute(f"INSERT INTO {_place(database)} FROM {_INCOMING}")
    database.conn.unregister(_INCOMING)


def change_count(database: Database, number: int, rows: int) -> None:
    """Let a record say that so many rows of it stand in the table."""
    database.execute(f"UPDATE {_place(database)} SET row_count = ? WHERE number = ?", [rows, number])


_INCOMING = "__data_engine_applied"


def _place(database: Database) -> str:
    return f"{quoted(database.name())}.{OUR_SCHEMA}.applied"

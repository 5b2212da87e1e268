"""Fit a table to an incoming frame: missing columns are added, narrower types widened, and what would be lost is refused.

For a column of both whose types differ, the first of these that holds:

1. every incoming value is null: the table stays as it is
2. the types differ in size or grain only, and every incoming value fits: it is stored as the column's type
3. a type of numbers, dates or times holds every value of both: the column takes it (int to float, date to timestamp)
4. the column holds no value yet: it takes the incoming type
5. every incoming value comes back the same from the column's type: it is stored so
6. text was asked for: the column becomes text
7. the call is refused, and nothing has changed
"""

from __future__ import annotations

from collections.abc import Sequence

from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb.connection import Database, IndexInTheWayError, TableName, drop_for_now
from data_engine.helpers.duckdb.incoming import SOURCE, IncomingColumn
from data_engine.helpers.duckdb.indexes import indexes_of
from data_engine.helpers.duckdb.names import find, names_text, quoted
from data_engine.helpers.duckdb.types import common_type, is_same_kind, kept_by, may_lose
from data_engine.record import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Widen = bool | Literal["text"]


@frozen
class _Change:
    name: str
    kind: str
    """The column's new type."""
    using: str


@frozen
class _Meeting:
    """A table, one of its columns, and the incoming column that is to go there."""

    database: Database
    table: TableName
    name: str
    kind: str
    column: IncomingColumn
    rest: str
    """An SQL condition for the rows that the call leaves in place."""


def check_widen(widen: object) -> None:
    """Raises:
    FlowValidationError: neither True, False nor "text".
    """
    if widen not in (True, False, "text"):
        raise FlowValidationError(
            f"widen cannot be {widen!r}", where="widen=", fix='use True (the default), False, or "text"'
        )


def fit(
    database: Database,
    table: TableName,
    existing: dict[str, str],
    columns: Sequence[IncomingColumn],
    *,
    widen: Widen,
    rest: str,
) -> dict[str, str]:
    """Make room in the table for `columns`; the SQL for the value of each of the table's columns that gets one. `rest` is an SQL
    condition for the rows that the call leaves in place.

    Raises:
        FlowValidationError: a value would be lost; the table is unchanged.
    """
    added, changes, values = [], [], {}
    for column in columns:
        name = find(column.name, existing)
        if name is None:
            added.append(column)
            values[column.name] = column.value
        elif existing[name] == column.kind:
            values[name] = column.value
        else:
            meeting = _Meeting(database, table, name, existing[name], column, rest)
            change = _decide(meeting, widen)
            kind = meeting.kind if change is None else change.kind
            values[name] = f"CAST({column.value} AS {kind})"
            if change is not None:
                changes.append(change)
    if changes:
        _alter(database, table, changes)
    for column in added:
        database.add_column(table, column.name, column.kind)
    return values


def _decide(meeting: _Meeting, widen: Widen) -> _Change | None:
    """The change the table needs; None when it can stay as it is."""
    name, column = quoted(meeting.name), meeting.column
    if column.is_null:
        return None
    common = common_type(meeting.kind, column.kind)
    if (common == meeting.kind or is_same_kind(meeting.kind, column.kind)) and _fits(meeting, meeting.kind):
        return None
    if (
        widen
        and common is not None
        and common != meeting.kind
        and _fits(meeting, common)
        and _rows_fit(meeting, common)
    ):
        # Of the rows that the call replaces, nobody asked whether they fit.
        return _Change(meeting.name, common, f"TRY_CAST({name} AS {common})")
    values, rows = _counts(meeting) if widen else (1, 1)
    retyped = _Change(meeting.name, column.kind, f"CAST(NULL AS {column.kind})")
    # A column of nulls says nothing of its type; that of an empty table was perhaps declared, but text is what nulls get.
    if values == 0 and (rows > 0 or meeting.kind == "VARCHAR"):
        return retyped
    if widen == "text" and "VARCHAR" in (meeting.kind, column.kind):
        return _as_text(meeting)
    if _fits(meeting, meeting.kind):
        return None
    if values == 0:
        return retyped
    if widen == "text":
        return _as_text(meeting)
    raise _refusal(meeting, widen)


def _as_text(meeting: _Meeting) -> _Change | None:
    if meeting.kind == "VARCHAR":
        return None
    return _Change(meeting.name, "VARCHAR", f"CAST({quoted(meeting.name)} AS VARCHAR)")


def _fits(meeting: _Meeting, kind: str) -> bool:
    """Whether every incoming value comes back the same from `kind`."""
    column = meeting.column
    if not may_lose(column.kind, kind):
        return True
    ((lost,),) = meeting.database.execute(
        f"SELECT count(*) FROM {SOURCE} WHERE NOT {kept_by(column.value, column.kind, kind)}"
    )
    return bool(lost == 0)


def _rows_fit(meeting: _Meeting, kind: str) -> bool:
    """Whether every value of the remaining rows comes back the same from `kind`."""
    if not may_lose(meeting.kind, kind):
        return True
    condition = kept_by(f"d.{quoted(meeting.name)}", meeting.kind, kind)
    ((lost,),) = meeting.database.execute(
        f"SELECT count(*) FROM {meeting.table.rows} AS d WHERE NOT {condition} AND {meeting.rest}"
    )
    return bool(lost == 0)


def _counts(meeting: _Meeting) -> tuple[int, int]:
    """How many values the column holds outside of the rows to be replaced, and how many rows the table has."""
    ((values, rows),) = meeting.database.execute(
        f"SELECT count(d.{quoted(meeting.name)}) FILTER (WHERE {meeting.rest}), count(*) FROM {meeting.table.rows} AS d"
    )
    return values, rows


def _refusal(meeting: _Meeting, widen: Widen) -> FlowValidationError:
    column = meeting.column
    examples = meeting.database.execute(
        f"SELECT CAST({column.value} AS VARCHAR) FROM {SOURCE} WHERE NOT {kept_by(column.value, column.kind, meeting.kind)} LIMIT 1"
    )
    example = f", such as {examples[0][0]!r}," if examples else ""
    return FlowValidationError(
        f'"{meeting.name}" is {meeting.kind} in the table "{meeting.table.name}"; the frame has {column.kind} values{example} that it cannot hold',
        where=str(meeting.database.path),
        fix="cast the frame's column"
        + (', or make the column text with widen="text"' if widen else ", or allow widen=True"),
    )


def _alter(database: Database, table: TableName, changes: Sequence[_Change]) -> None:
    """Change the types; the table's indexes are dropped for now."""
    indexes = indexes_of(database, table)
    for index in indexes:
        if index.is_unique:  # a promise about the data, and DuckDB 1.x cannot drop and make it in one transaction
            raise FlowValidationError(
                f'the type of {names_text(change.name for change in changes)} must change, but "{table.name}" has the unique index {index.sql_name}',
                where=str(database.path),
                fix=f"drop it with DuckDB (DROP INDEX {index.sql_name}), or cast the frame to the table's types",
            )
    in_the_way = {index.sql_name: index.create_sql(table) for index in indexes}
    if in_the_way and database.indexed == "again":
        raise IndexInTheWayError(in_the_way)
    if in_the_way and database.indexed == "commit":
        drop_for_now(database, in_the_way)
    for change in changes:
        database.changes_type(table, change.name, change.kind, change.using)

"""Rows that are to take their place in a table: those of a file, those of some values of a column, or all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data_engine.helpers.duckdb.connection import Database, TableName, own_columns
from data_engine.helpers.duckdb.fit import fit
from data_engine.helpers.duckdb.incoming import SOURCE, IncomingColumn, register
from data_engine.helpers.duckdb.names import find, quoted, text_literal
from data_engine.helpers.duckdb.types import kept_by, tried
from data_engine.record import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    import polars as pl

    from data_engine.helpers.duckdb.fit import Widen

    Kind = Literal["file", "values", "table"]


@frozen
class NewRows:
    """What a call says of the rows that it gives for `table`: whose place they take.

    Of the `kind` "file" it is that of the rows with `key` in `column`; of "values" that of all rows with one of the frame's values in
    `column`; of "table" that of all rows, with their columns and types.
    """

    table: str
    kind: Kind
    column: str = ""
    key: str = ""
    widen: Widen = True

    def write(self, database: Database, frame: pl.DataFrame, arrow: Any) -> None:
        """Let the frame's rows take their place, in the transaction of the database.

        Raises:
            FlowValidationError: a value would be lost, or there is no such column.
        """
        target = database.table(self.table)
        columns = register(database, frame, arrow)
        if self.kind == "file":
            value = f"CAST({text_literal(self.key)} AS VARCHAR)"
            columns.append(IncomingColumn(self.column, value, "VARCHAR", is_null=False))
        existing = None if self.kind == "table" else database.columns(target)
        if existing is None:
            _create(database, target, columns)
        elif self.kind == "file":
            self._replace_file(database, target, existing, columns, is_empty=frame.is_empty())
        else:
            incoming = columns[frame.columns.index(self.column)]
            (own,) = own_columns(target, existing, [self.column], argument="column")
            rest = _none_of(f"d.{quoted(own)}", existing[own], incoming)
            values = fit(database, target, existing, columns, widen=self.widen, rest=rest)
            database.remove(target, own, f"SELECT DISTINCT {values[own]} AS v FROM {SOURCE}")
            _append(database, target, values)

    def _replace_file(
        self,
        database: Database,
        target: TableName,
        existing: dict[str, str],
        columns: Sequence[IncomingColumn],
        *,
        is_empty: bool,
    ) -> None:
        own = find(self.column, existing)
        key = text_literal(self.key)
        rest = "TRUE" if own is None else f"CAST(d.{quoted(own)} AS VARCHAR) IS DISTINCT FROM {key}"
        values = fit(database, target, existing, columns, widen=self.widen, rest=rest)
        if own is not None:
            database.remove(target, own, f"SELECT {values[own]} AS v")
        if not is_empty:
            _append(database, target, values)


def _none_of(column: str, kind: str, incoming: IncomingColumn) -> str:
    """The condition that the table's `column` holds none of the incoming values."""
    fitting = kept_by(incoming.value, incoming.kind, kind)
    value = tried(f"s.{incoming.value}", incoming.kind, kind)
    return f"NOT EXISTS (SELECT 1 FROM {SOURCE} AS s WHERE {fitting} AND {column} IS NOT DISTINCT FROM {value})"


def _create(database: Database, table: TableName, columns: Sequence[IncomingColumn]) -> None:
    database.make_schema(table)
    selected = ", ".join(f"{column.value} AS {quoted(column.name)}" for column in columns)
    database.make_table(table, f"SELECT {selected} FROM {SOURCE}")


def _append(database: Database, table: TableName, values: dict[str, str]) -> None:
    selected = ", ".join(f"{value} AS {quoted(name)}" for name, value in values.items())
    database.append(table, list(values), f"SELECT {selected} FROM {SOURCE}")

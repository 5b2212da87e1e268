"""Tables kept up to date slice by slice: a file's rows, the rows of some values, or the whole."""

from __future__ import annotations

from collections.abc import Sequence

from data_engine.argument_checks import checked
from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb.connection import DEFAULT_WAIT, Database, TableName, own_columns, writing
from data_engine.helpers.duckdb.fit import check_widen, fit
from data_engine.helpers.duckdb.incoming import (
    SOURCE,
    IncomingColumn,
    as_arrow,
    as_frame,
    frame_column,
    new_column,
    register,
)
from data_engine.helpers.duckdb.names import find, quoted, table_parts, text_literal
from data_engine.helpers.duckdb.types import kept_by, tried

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike

    import polars as pl

    from data_engine.helpers.duckdb.connection import Wait
    from data_engine.helpers.duckdb.fit import Widen


@checked(only=("bool",))
def replace_rows_by_file(
    db_path: str | PathLike[str],
    table: str,
    *,
    df: pl.DataFrame | pl.LazyFrame,
    file_hash: str,
    file_hash_column: str = "file_key",
    return_df: bool = True,
    widen: Widen = True,
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame | None:
    """The frame with its file's key, after its rows took the place of the rows of the same file in the table.

    The table, its schema and its database are made when they are missing. A frame without rows only removes the file's rows.
    Columns the table lacks are added, and are null in the rows of other files; columns the frame lacks are null in its rows.
    All of it is one transaction.

    Args:
        db_path: the database file; it is made, with its folder, when it is missing.
        table: its name, or "schema.name".
        file_hash: what stands for the file, in the column `file_hash_column` of text; the frame must not have that column.
        return_df: False returns None.
        widen: True lets a column take a wider type of numbers, dates or times; "text" lets it become text if nothing else fits;
            False keeps the types. A value the column cannot hold as it is refuses the call, and nothing changes.
        wait: how long to wait for another process that has the database open.

    Raises:
        FlowValidationError: a blank key or column, a column that is there already, values that would be lost, a busy database.
        TypeError: `df` is not a Polars frame, or the key no text.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import read_table, replace_rows_by_file
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> _ = replace_rows_by_file(db, "sales", df=pl.DataFrame({"amount": [3, 4]}), file_hash="january.csv")
        >>> _ = replace_rows_by_file(db, "sales", df=pl.DataFrame({"amount": [2.5]}), file_hash="january.csv")
        >>> read_table(db, "sales").rows()
        [(2.5, 'january.csv')]
    """
    table_parts(table)
    check_widen(widen)
    frame = as_frame(df)
    if not isinstance(file_hash, str):
        raise TypeError(f"file_hash must be a text, not {file_hash!r}")
    if not file_hash.strip():
        raise FlowValidationError(
            "file_hash must be non-empty", where=f"file_hash={file_hash!r}", fix="give the file's key"
        )
    name = new_column(file_hash_column, frame.columns, argument="file_hash_column")
    arrow = as_arrow(frame)
    with writing(db_path, wait=wait) as database:
        key = IncomingColumn(name, f"CAST({text_literal(file_hash)} AS VARCHAR)", "VARCHAR", is_null=False)
        target = database.table(table)
        columns = [*register(database, frame, arrow), key]
        existing = database.columns(target)
        if existing is None:
            _create(database, target, columns)
        else:
            own = find(name, existing)
            condition = (
                "TRUE"
                if own is None
                else f"CAST(d.{quoted(own)} AS VARCHAR) IS DISTINCT FROM {text_literal(file_hash)}"
            )
            values = fit(database, target, existing, columns, widen=widen, rest=condition)
            if own is not None:
                database.execute(f"DELETE FROM {target.sql} WHERE {quoted(own)} = {values[own]}")
            if len(frame):
                _append(database, target, values)
    if not return_df:
        return None
    import polars as pl

    return frame.with_columns(pl.lit(file_hash, dtype=pl.String).alias(name))


@checked(only=("bool",))
def replace_rows_by_values(
    db_path: str | PathLike[str],
    table: str,
    *,
    df: pl.DataFrame | pl.LazyFrame,
    column: str,
    return_df: bool = True,
    widen: Widen = True,
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame | None:
    """The frame, after its rows took the place of all rows with one of its values in `column`; null is such a value too.

    A table that is missing is made. Columns, types and waiting are as in `replace_rows_by_file`.

    Args:
        db_path: the database file; it is made, with its folder, when it is missing.
        table: its name, or "schema.name".
        wait: how long to wait for another process that has the database open, such as "60s".

    Raises:
        FlowValidationError: no rows, no such column in the frame or the table, values that would be lost, a busy database.
        TypeError: `df` is not a Polars frame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import read_table, replace_rows_by_values
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> for days, amounts in [(["mon", None], [1, 2]), ([None, None], [3, 4])]:
        ...     _ = replace_rows_by_values(db, "sales", df=pl.DataFrame({"day": days, "amount": amounts}), column="day")
        >>> read_table(db, "sales").rows()
        [('mon', 1), (None, 3), (None, 4)]
    """
    table_parts(table)
    check_widen(widen)
    frame = as_frame(df)
    name = frame_column(frame, column, argument="column")
    if frame.is_empty():
        raise FlowValidationError(
            "df must hold at least one row: without values nothing says which rows to replace",
            where="df=",
            fix="skip the call for an empty frame",
        )
    arrow = as_arrow(frame)
    with writing(db_path, wait=wait) as database:
        target = database.table(table)
        columns = register(database, frame, arrow)
        existing = database.columns(target)
        if existing is None:
            _create(database, target, columns)
        else:
            (own,) = own_columns(target, existing, [name], argument="column")
            incoming = columns[frame.columns.index(name)]
            rest = _none_of(f"d.{quoted(own)}", existing[own], incoming)
            values = fit(database, target, existing, columns, widen=widen, rest=rest)
            database.execute(
                f"DELETE FROM {target.sql} AS d USING (SELECT DISTINCT {values[own]} AS v FROM {SOURCE}) AS k"
                f" WHERE d.{quoted(own)} IS NOT DISTINCT FROM k.v"
            )
            _append(database, target, values)
    return frame if return_df else None


def _none_of(column: str, kind: str, incoming: IncomingColumn) -> str:
    """The condition that the table's `column` holds none of the incoming values."""
    fitting = kept_by(incoming.value, incoming.kind, kind)
    value = tried(f"s.{incoming.value}", incoming.kind, kind)
    return f"NOT EXISTS (SELECT 1 FROM {SOURCE} AS s WHERE {fitting} AND {column} IS NOT DISTINCT FROM {value})"


@checked(only=("bool",))
def replace_table(
    db_path: str | PathLike[str],
    table: str,
    *,
    df: pl.DataFrame | pl.LazyFrame,
    return_df: bool = True,
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame | None:
    """The frame, after it became the table: rows, columns and types; what the table was before is gone, with its indexes.

    Args:
        db_path: the database file; it is made, with its folder, when it is missing.
        table: its name, or "schema.name".
        wait: how long to wait for another process that has the database open, such as "60s".

    Raises:
        FlowValidationError: no columns, a view of that name, a busy database.
        TypeError: `df` is not a Polars frame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import read_table, replace_table
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> _ = replace_table(db, "sales", df=pl.DataFrame({"day": ["mon"], "amount": [1]}))
        >>> _ = replace_table(db, "sales", df=pl.DataFrame({"amount": ["one"]}))
        >>> read_table(db, "sales").to_dict(as_series=False)
        {'amount': ['one']}
    """
    table_parts(table)
    frame = as_frame(df)
    arrow = as_arrow(frame)
    with writing(db_path, wait=wait) as database:
        columns = register(database, frame, arrow)
        _create(database, database.table(table), columns)
    return frame if return_df else None


def _create(database: Database, table: TableName, columns: Sequence[IncomingColumn]) -> None:
    database.make_schema(table)
    selected = ", ".join(f"{column.value} AS {quoted(column.name)}" for column in columns)
    database.execute(f"CREATE OR REPLACE TABLE {table.sql} AS SELECT {selected} FROM {SOURCE}")


def _append(database: Database, table: TableName, values: dict[str, str]) -> None:
    names = ", ".join(map(quoted, values))
    database.execute(f"INSERT INTO {table.sql} ({names}) SELECT {', '.join(values.values())} FROM {SOURCE}")

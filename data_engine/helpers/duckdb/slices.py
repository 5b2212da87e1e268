"""Tables kept up to date slice by slice: a file's rows, the rows of some values, or the whole."""

from __future__ import annotations

from data_engine.argument_checks import checked
from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb.applied import record
from data_engine.helpers.duckdb.connection import DEFAULT_WAIT, path_of, writing
from data_engine.helpers.duckdb.fit import check_widen
from data_engine.helpers.duckdb.incoming import as_arrow, as_frame, frame_column, new_column
from data_engine.helpers.duckdb.kept import tables_of
from data_engine.helpers.duckdb.names import table_parts
from data_engine.helpers.duckdb.rows import NewRows
from data_engine.keeping import keeping

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
    _place(db_path, NewRows(table, "file", name, file_hash, widen), frame, wait)
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
    _place(db_path, NewRows(table, "values", name, widen=widen), frame, wait)
    return frame if return_df else None


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
    _place(db_path, NewRows(table, "table"), frame, wait)
    return frame if return_df else None


def _place(db_path: str | PathLike[str], new: NewRows, frame: pl.DataFrame, wait: Wait) -> None:
    arrow = as_arrow(frame)
    path, run = path_of(db_path), keeping.get()
    if run is not None and not path.is_relative_to(run.root):
        run = None
    if run is not None and run.folder is not None:
        tables_of(run).keep(path, new, frame, arrow, wait=wait)
        return
    with writing(path, wait=wait) as database:
        new.write(database, frame, arrow)
        if run is not None:
            table = database.table(new.table)
            record(database, run.run, [(table, new, len(frame))])
    if run is not None:
        run.written.setdefault((path, new.table))

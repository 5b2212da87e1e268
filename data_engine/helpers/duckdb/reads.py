"""Read tables into frames; nothing is made, locked or changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from data_engine.argument_checks import is_unicode
from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb.connection import DEFAULT_WAIT, TableName, own_columns, path_of, reading
from data_engine.helpers.duckdb.incoming import as_arrow, register
from data_engine.helpers.duckdb.names import column_list, find, free_name, quoted, table_parts
from data_engine.helpers.duckdb.types import kept_by, tried
from data_engine.keeping import file_to_read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

    import polars as pl

    from data_engine.helpers.duckdb.connection import Database, Wait

    Parameters = Sequence[Any] | Mapping[str, Any] | None

_LOOKUP = "__data_engine_lookup"
_ROW = "__data_engine_row"


def read_sql(
    db_path: str | PathLike[str], *, sql: str, params: Parameters = None, wait: Wait = DEFAULT_WAIT
) -> pl.DataFrame:
    """What one query gives. The database is open for reading only, and the query sees its tables, not Python's variables.

    Times with a zone come in UTC, on every machine; whole numbers of 128 bits, such as sums, as Decimal(38, 0); what Polars has
    no type for (BIT, TIMETZ, BIGNUM) as text. Values go into `params`, for `?` or `$name` in the query.

    Args:
        db_path: the database file, which must be there.
        wait: how long to wait for another process that has the database open, such as "60s"; in previews and cells a read copy of a
            workspace's database is read, which nobody writes.

    Raises:
        FlowValidationError: no such database or table, blank or wrong SQL, a statement that writes to the database or a file, a
            busy database; a value that Polars cannot hold: an infinite date, an interval of months or inside a list, more than
            38 digits.
        TypeError: the SQL is not a text.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import read_sql, replace_table
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> _ = replace_table(db, "sales", df=pl.DataFrame({"day": ["mon", "tue"], "amount": [1, 2]}))
        >>> read_sql(db, sql="SELECT amount FROM sales WHERE day = ?", params=["tue"]).rows()
        [(2,)]
    """
    if not is_unicode(sql):
        raise TypeError(f"sql must be a text, not {type(sql).__name__}")
    if not sql.strip():
        raise FlowValidationError("sql must be non-empty", where="sql=", fix="write one query, such as SELECT ...")
    with reading(file_to_read(path_of(db_path)), wait=wait) as database:
        _refuse_files(database, sql)
        database.require_seen(sql)
        return database.frame(sql, _parameters(params))


def _refuse_files(database: Database, sql: str) -> None:
    """A database that is open for reading only would still let COPY and EXPORT write files beside it."""
    import duckdb

    kinds = duckdb.StatementType
    for statement in database.conn.extract_statements(sql):
        writes = statement.type in (kinds.COPY, kinds.EXPORT)
        holds_another = statement.type in (kinds.EXPLAIN, kinds.PREPARE)  # EXPLAIN ANALYZE runs it
        if writes or (holds_another and re.search(r"\b(copy|export)\b", statement.query, re.IGNORECASE)):
            raise FlowValidationError(
                "read_sql only reads, and this statement writes files",
                where=statement.query.strip(),
                fix="read the rows, then write them with write_parquet_atomic or write_excel_atomic",
            )


def read_table(
    db_path: str | PathLike[str],
    table: str,
    *,
    select: str | list[str] = "*",
    where: str | None = None,
    limit: int | None = None,
    params: Parameters = None,
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame:
    """The rows of a table or view, in its order.

    Args:
        db_path: the database file, which must be there.
        table: its name, or "schema.name".
        select: the columns, in this order and spelling; "*" for all.
        where: an SQL condition, in which columns may have the table's name before them, as in "sales.amount > 1"; its values
            go into `params`, for `?` or `$name`. None or blank keeps every row.
        limit: at most so many rows.
        wait: how long to wait for another process that has the database open, such as "60s"; in previews and cells a read copy of a
            workspace's database is read, which nobody writes.

    Raises:
        FlowValidationError: no such database, table or column; a wrong condition; a negative limit; a busy database; a value
            that Polars cannot hold, as of `read_sql`.
        TypeError: an argument of another type.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import read_table, replace_table
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> _ = replace_table(db, "sales", df=pl.DataFrame({"day": ["mon", "tue"], "amount": [1, 2]}))
        >>> read_table(db, "sales", select="amount", where="day = ?", params=["tue"]).rows()
        [(2,)]
        >>> try:
        ...     read_table(db, "sale")
        ... except ValueError as error:
        ...     print(error.what, "-", error.fix)
        there is no table "sale" - the database holds "sales"
    """
    table_parts(table)
    columns = column_list(select, argument="select")
    if where is not None and not isinstance(where, str):
        raise TypeError(f"where must be an SQL condition, not {where!r}")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
        raise TypeError(f"limit must be a whole number, not {limit!r}")
    if limit is not None and limit < 0:
        raise FlowValidationError("limit must be non-negative", where=f"limit={limit}", fix="leave it out for all rows")
    with reading(file_to_read(path_of(db_path)), wait=wait) as database:
        target = database.table(table)
        # No alias of ours: in `where` a name before a dot is the table's own, or a column's that is a struct.
        sql = f"SELECT {_selected(target, database.known_columns(target), columns)} FROM {target.sql}"
        if where is not None and where.strip():
            sql += f" WHERE (\n{where}\n)"  # on lines of its own: it may end in a comment
        if limit is not None:
            sql += f" LIMIT {limit}"
        return database.frame(sql, _parameters(params))


def read_rows_by_values(
    db_path: str | PathLike[str],
    table: str,
    *,
    column: str,
    is_in: Iterable[Any] | pl.Series,
    select: str | list[str],
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame:
    """The rows whose `column` holds one of the values, in the order of the values; a null finds nulls.

    Rows of one value come in the table's order. A value given twice finds its rows once; a value that the column's type
    cannot hold, such as 1.5 in a column of whole numbers, finds none.

    Args:
        db_path: the database file, which must be there.
        table: its name, or "schema.name".
        is_in: the values; none gives a frame without rows.
        select: the columns, in this order and spelling; "*" for all.
        wait: how long to wait for another process that has the database open, such as "60s"; in previews and cells a read copy of a
            workspace's database is read, which nobody writes.

    Raises:
        FlowValidationError: no such database, table or column; a busy database.
        TypeError: `is_in` is not a list of values of one type.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import read_rows_by_values, replace_table
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> _ = replace_table(db, "sales", df=pl.DataFrame({"day": ["mon", None, "tue"], "amount": [1, 2, 3]}))
        >>> read_rows_by_values(db, "sales", column="day", is_in=["tue", None], select="amount").rows()
        [(3,), (2,)]
    """
    table_parts(table)
    columns = column_list(select, argument="select")
    (name,) = column_list([column], argument="column")
    lookup = _lookup(is_in)
    arrow = as_arrow(lookup)
    with reading(file_to_read(path_of(db_path)), wait=wait) as database:
        target = database.table(table)
        existing = database.known_columns(target)
        (own,) = own_columns(target, existing, [name], argument="column")
        selected = _selected(target, existing, columns, prefix="d.")
        _, values = register(database, lookup, arrow, name=_LOOKUP)
        looked_up = _LOOKUP
        if values.kind != existing[own]:  # then several of the values may be one in the table
            looked_up = (
                f"(SELECT {tried('k.value', values.kind, existing[own])} AS value, min(k.position) AS position FROM {_LOOKUP} AS k"
                f" WHERE {kept_by('k.value', values.kind, existing[own])} GROUP BY ALL)"
            )
        # Only "=" lets DuckDB skip the blocks of rows that hold none of the values.
        is_one = "IS NOT DISTINCT FROM" if lookup["value"].null_count() else "="
        rows, order = target.sql, "k.position"
        if find("rowid", existing) is not None:  # a column of the table's own, which hides its row numbers
            row = free_name(_ROW, existing)
            rows, order = f"(SELECT row_number() OVER () AS {row}, * FROM {target.sql})", f"k.position, d.{row}"
        elif _has_row_numbers(database, target):  # as tables have; a view's rows of one value come as they come
            order = "k.position, d.rowid"
        return database.frame(
            f"SELECT {selected} FROM {rows} AS d JOIN {looked_up} AS k"
            f" ON d.{quoted(own)} {is_one} k.value ORDER BY {order}"
        )


def _lookup(is_in: object) -> pl.DataFrame:
    import polars as pl

    if isinstance(is_in, pl.Series):
        values = is_in.rename("value")
    elif isinstance(is_in, (str, bytes, pl.DataFrame)) or not isinstance(is_in, Iterable):
        raise TypeError(f"is_in must be a list of values or a Series, not {type(is_in).__name__} {is_in!r}")
    else:
        entries = list(is_in)
        if {type(entry) for entry in entries} - {type(None)} == {int, float} and all(
            entry is None or entry == float(entry) for entry in entries
        ):
            entries = [None if entry is None else float(entry) for entry in entries]
        try:
            values = pl.Series("value", entries)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
            raise TypeError(f"is_in must hold values of one type: {error}") from error
    if values.dtype == pl.Object:
        raise TypeError("is_in must hold values of a type that Polars has, not Python objects")
    return values.unique(maintain_order=True).to_frame().with_row_index("position")


def _has_row_numbers(database: Database, table: TableName) -> bool:
    import duckdb

    try:
        database.conn.sql(f"SELECT rowid FROM {table.sql} LIMIT 0")
    except duckdb.BinderException:
        return False
    return True


def _selected(table: TableName, existing: dict[str, str], columns: list[str], *, prefix: str = "") -> str:
    if columns == ["*"]:
        columns = list(existing)
    names: dict[str, str] = {}
    for name, own in zip(columns, own_columns(table, existing, columns, argument="select"), strict=True):
        names.setdefault(own, name)  # one column asked for in two spellings comes once, in the first
    return ", ".join(f"{prefix}{quoted(own)} AS {quoted(name)}" for own, name in names.items())


def _parameters(params: object) -> object:
    if params is None or isinstance(params, Mapping):
        return params
    if isinstance(params, (str, bytes)) or not isinstance(params, Iterable):
        raise TypeError(f"params must be a list or a dict of values, not {params!r}")
    return list(params)

"""Dimensions: one surrogate key for each combination of natural values, given once and never changed.

A null is a natural value like any other: it equals itself and has its key. Keys are given in one transaction that holds
DuckDB's lock on the file, so two writers never give one key twice. Joins happen in DuckDB on the key columns alone, by row
number, so the frame itself is neither copied nor reordered.
"""

from __future__ import annotations

from collections.abc import Sequence

from data_engine.argument_checks import checked
from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb.connection import DEFAULT_WAIT, Database, TableName, own_columns, reading, writing
from data_engine.helpers.duckdb.fit import fit
from data_engine.helpers.duckdb.incoming import (
    SOURCE,
    IncomingColumn,
    as_arrow,
    as_frame,
    frame_column,
    new_column,
    register,
)
from data_engine.helpers.duckdb.names import column_list, find, free_name, names_text, quoted, table_parts
from data_engine.helpers.duckdb.types import is_same_kind, kept_by, tried

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import PathLike
    from typing import Literal

    import polars as pl

    from data_engine.helpers.duckdb.connection import Wait

_ROW = "__data_engine_row"
_PROBE = "__data_engine_probe"


@checked(only=("bool",))
def build_dimension(
    db_path: str | PathLike[str],
    table: str,
    *,
    df: pl.DataFrame | pl.LazyFrame,
    key_column: str = "dimension_key",
    return_df: bool = True,
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame | None:
    """Each distinct row of the frame with its surrogate key, in the order of the rows, nulls last.

    All columns together are the natural key. Rows the dimension has keep their keys (BIGINT, from 1); new ones get the next
    keys in the order of their values. A table that is missing is made; one that is there must have the same columns.

    Args:
        db_path: the database file; it is made, with its folder, when it is missing.
        table: its name, or "schema.name".
        key_column: the key's name; not a column of the frame.
        return_df: False returns None.
        wait: how long to wait for another process that has the database open.

    Raises:
        FlowValidationError: no columns, a blank or taken key column, a table of other columns, a busy database.
        TypeError: `df` is not a Polars frame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import build_dimension
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> build_dimension(db, "dim_city", df=pl.DataFrame({"city": ["Rome", None, "Rome"]})).rows()
        [('Rome', 1), (None, 2)]
        >>> build_dimension(db, "dim_city", df=pl.DataFrame({"city": ["Oslo", None]}), key_column="dimension_key").rows()
        [('Oslo', 3), (None, 2)]
    """
    table_parts(table)
    frame = as_frame(df)
    key = new_column(key_column, frame.columns, argument="key_column")
    arrow = as_arrow(frame)
    with writing(db_path, wait=wait) as database:
        target, names = _add_missing(database, table, register(database, frame, arrow), key)
        return _mapping(database, target, frame, names, key) if return_df else None


@checked(only=("bool",))
def attach_dimension(
    db_path: str | PathLike[str],
    table: str,
    *,
    df: pl.DataFrame | pl.LazyFrame,
    on: str | list[str],
    key_column: str = "dimension_key",
    drop_key: bool = False,
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame:
    """The frame with the surrogate key of each row in a last column `key_column`; null where the dimension has no such row.

    Rows stay in their order. Nulls in `on` find the dimension's null. Only reads.

    Args:
        db_path: the database file, which must be there.
        table: its name, or "schema.name".
        on: the natural columns, of the frame and of the dimension alike.
        drop_key: drop the natural columns.
        wait: how long to wait for another process that has the database open, such as "60s".

    Raises:
        FlowValidationError: no such database, table or column; a row that matches more than one of the dimension.
        TypeError: `df` is not a Polars frame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import attach_dimension, build_dimension
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> _ = build_dimension(db, "dim_city", df=pl.DataFrame({"city": ["Oslo", None]}))
        >>> sales = pl.DataFrame({"city": [None, "Oslo", "Rome"], "amount": [1, 2, 3]})
        >>> attach_dimension(db, "dim_city", df=sales, on="city", drop_key=True).rows()
        [(1, 2), (2, 1), (3, None)]
    """
    table_parts(table)
    frame, natural, key = _checked(df, on, key_column)
    probing = _probing(frame, natural)
    arrow = as_arrow(probing)
    with reading(db_path, wait=wait) as database:
        target = database.table(table)
        existing = database.known_columns(target)
        own = own_columns(target, existing, natural, argument="on")
        (own_key,) = own_columns(target, existing, [key], argument="key_column")
        probed = register(database, probing, arrow, name=_PROBE)
        keys = _looked_up(database, target, existing, probed, own, {own_key: key}, len(frame))
    return _attached(frame, keys, natural if drop_key else [])


@checked(only=("bool",))
def normalize_columns(
    db_path: str | PathLike[str],
    table: str,
    *,
    df: pl.DataFrame | pl.LazyFrame,
    on: str | list[str],
    key_column: str = "dimension_key",
    drop_key: bool = True,
    returns: Literal["df", "map"] | None = "df",
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame | None:
    """The frame with a surrogate key in place of its columns `on`, whose new combinations were added to the dimension.

    `build_dimension` and `attach_dimension` in one transaction.

    Args:
        db_path: the database file; it is made, with its folder, when it is missing.
        table: its name, or "schema.name".
        on: the natural columns; together they are the dimension's natural key.
        drop_key: drop the natural columns.
        returns: "df" for the frame, "map" for the distinct natural rows with their keys, None to only store.
        wait: how long to wait for another process that has the database open, such as "60s".

    Raises:
        FlowValidationError: an unknown `returns`, no such column, a dimension of other columns, a busy database.
        TypeError: `df` is not a Polars frame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import normalize_columns
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> sales = pl.DataFrame({"city": ["Rome", "Oslo", "Rome"], "amount": [1, 2, 3]})
        >>> normalize_columns(db, "dim_city", df=sales, on="city", key_column="city_key").rows()
        [(1, 2), (2, 1), (3, 2)]
    """
    from polars.selectors import by_name

    table_parts(table)
    if returns not in ("df", "map", None):
        raise FlowValidationError(f"returns cannot be {returns!r}", where="returns=", fix='use "df", "map" or None')
    frame, natural, key = _checked(df, on, key_column)
    probing = _probing(frame, natural)
    arrow = as_arrow(probing)
    with writing(db_path, wait=wait) as database:
        probed = register(database, probing, arrow, name=_PROBE)
        database.conn.register(SOURCE, arrow)
        target, names = _add_missing(database, table, probed[1:], key)
        if returns is None:
            return None
        if returns == "map":
            return _mapping(database, target, frame.select(by_name(natural)), names, key)
        existing = database.known_columns(target)
        own = [names[name] for name in natural]
        keys = _looked_up(database, target, existing, probed, own, {find(key, existing) or key: key}, len(frame))
    return _attached(frame, keys, natural if drop_key else [])


@checked(only=("bool",))
def denormalize_columns(
    db_path: str | PathLike[str],
    table: str,
    *,
    df: pl.DataFrame | pl.LazyFrame,
    key_column: str = "dimension_key",
    select: str | list[str] = "*",
    drop_key: bool = False,
    wait: Wait = DEFAULT_WAIT,
) -> pl.DataFrame:
    """The frame with the dimension's columns after its own, found by the surrogate key; null where the key is none.

    Rows stay in their order. A column of a name the frame has gets the suffix `_right`. Only reads.

    Args:
        db_path: the database file, which must be there.
        table: its name, or "schema.name".
        select: the dimension's columns to bring, "*" for all but the key.
        drop_key: drop the key column.
        wait: how long to wait for another process that has the database open, such as "60s".

    Raises:
        FlowValidationError: no such database, table or column; the key among `select`; a key the dimension has twice.
        TypeError: `df` is not a Polars frame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import build_dimension, denormalize_columns
        >>> db = tempfile.mkdtemp() + "/mart.duckdb"
        >>> _ = build_dimension(db, "dim_city", df=pl.DataFrame({"city": ["Oslo", None]}))
        >>> sales = pl.DataFrame({"dimension_key": [2, 1, 9], "amount": [1, 2, 3]})
        >>> denormalize_columns(db, "dim_city", df=sales, drop_key=True).rows()
        [(1, None), (2, 'Oslo'), (3, None)]
    """
    table_parts(table)
    frame = as_frame(df)
    key = frame_column(frame, key_column, argument="key_column")
    columns = column_list(select, argument="select")
    probing = _probing(frame, [key])
    arrow = as_arrow(probing)
    with reading(db_path, wait=wait) as database:
        target = database.table(table)
        existing = database.known_columns(target)
        (own_key,) = own_columns(target, existing, [key], argument="key_column")
        brought = _brought(target, existing, own_key, columns)
        taken = [name for name in frame.columns if not (drop_key and name == key)]
        brought = {own: f"{name}_right" if name in taken else name for own, name in brought.items()}
        for name in brought.values():
            if name in taken:
                raise FlowValidationError(
                    f'the frame has a column "{name}" already', where="df=", fix="rename it, or narrow select="
                )
        probed = register(database, probing, arrow, name=_PROBE)
        values = _looked_up(database, target, existing, probed, [own_key], brought, len(frame), null_matches=False)
    return _attached(frame, values, [key] if drop_key else [])


def _brought(table: TableName, existing: dict[str, str], key: str, columns: list[str]) -> dict[str, str]:
    """The dimension's columns to bring, with their new names."""
    if columns == ["*"]:
        brought = {name: name for name in existing if name != key}
        if not brought:
            raise FlowValidationError(
                f'the table "{table.name}" has no column except its key "{key}"', where="table=", fix="name a dimension"
            )
        return brought
    brought = dict(zip(own_columns(table, existing, columns, argument="select"), columns, strict=True))
    if key in brought:
        raise FlowValidationError(
            f'select must not include the key column "{key}"', where="select=", fix="leave it out; the frame has it"
        )
    return brought


def _checked(df: object, on: object, key_column: object) -> tuple[pl.DataFrame, list[str], str]:
    """The frame, its natural columns and the name of the key to come."""
    frame = as_frame(df)
    natural = list(dict.fromkeys(frame_column(frame, name, argument="on") for name in column_list(on, argument="on")))
    return frame, natural, new_column(key_column, frame.columns, argument="key_column")


def _probing(frame: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """The columns to look up, with each row's number before them."""
    from polars.selectors import by_name

    return frame.select(by_name(columns)).with_row_index(free_name(_ROW, columns))


def _add_missing(
    database: Database, table: str, columns: Sequence[IncomingColumn], key: str
) -> tuple[TableName, dict[str, str]]:
    """Give each incoming combination that has no key the next one; the table, and its column for each of the frame's."""
    target = database.table(table)
    existing = database.columns(target)
    if existing is None:
        database.make_schema(target)
        names = ", ".join(quoted(column.name) for column in columns)
        database.execute(
            f"CREATE TABLE {target.sql} AS SELECT CAST(row_number() OVER () AS BIGINT) AS {quoted(key)}, * FROM"
            f" (SELECT DISTINCT {names} FROM {SOURCE} ORDER BY {_in_order(column.name for column in columns)})"
        )
        return target, {column.name: column.name for column in columns}
    own_key = find(key, existing)
    natural = {find(column.name, existing): column for column in columns}
    if own_key is None or None in natural or len(existing) != len(columns) + 1:
        raise FlowValidationError(
            f'the dimension "{target.name}" has the columns {names_text(existing)}; the frame and its key are {names_text([key, *(c.name for c in columns)])}',
            where="df=",
            fix="a dimension keeps its natural columns: give the same ones, or name another table",
        )
    if not is_same_kind(existing[own_key], "BIGINT"):
        raise FlowValidationError(
            f'the key "{own_key}" of the dimension "{target.name}" is {existing[own_key]}, not a whole number',
            where="table=",
            fix="name another table, or its key with key_column=",
        )
    values = fit(database, target, existing, columns, widen=True, rest="TRUE")
    names = ", ".join(map(quoted, values))
    distinct = (
        f"SELECT DISTINCT {', '.join(f'{value} AS {quoted(name)}' for name, value in values.items())} FROM {SOURCE}"
    )
    same = " AND ".join(f"d.{quoted(name)} IS NOT DISTINCT FROM n.{quoted(name)}" for name in values)
    database.execute(
        f"INSERT INTO {target.sql} ({quoted(own_key)}, {names})"
        f" SELECT (SELECT coalesce(max({quoted(own_key)}), 0) FROM {target.sql}) + row_number() OVER (), * FROM ("
        f"SELECT * FROM ({distinct}) AS n WHERE NOT EXISTS (SELECT 1 FROM {target.sql} AS d WHERE {same})"
        f" ORDER BY {_in_order(values)})"
    )
    return target, {column.name: name for name, column in natural.items() if name is not None}


def _in_order(names: object) -> str:
    return ", ".join(f"{quoted(name)} NULLS LAST" for name in names)  # type: ignore[attr-defined]


def _mapping(
    database: Database, table: TableName, frame: pl.DataFrame, names: dict[str, str], key: str
) -> pl.DataFrame:
    """The incoming combinations with their keys, in the frame's own types."""
    from polars.selectors import by_name

    selected = ", ".join(f"d.{quoted(own)} AS {quoted(name)}" for name, own in names.items())
    same = " AND ".join(f"d.{quoted(own)} IS NOT DISTINCT FROM s.{quoted(name)}" for name, own in names.items())
    mapping = database.frame(
        f"SELECT {selected}, d.{quoted(key)} AS {quoted(key)} FROM {table.sql} AS d"
        f" WHERE EXISTS (SELECT 1 FROM {SOURCE} AS s WHERE {same}) ORDER BY {_in_order(names)}"
    )
    return mapping.with_columns(
        by_name(name).cast(kind) for name, kind in frame.schema.items() if mapping.schema[name] != kind
    )


def _looked_up(
    database: Database,
    table: TableName,
    existing: dict[str, str],
    probed: Sequence[IncomingColumn],
    own: Sequence[str],
    brought: dict[str, str],
    rows: int,
    *,
    null_matches: bool = True,
) -> pl.DataFrame:
    """The table's columns `brought` for each row of the probing frame, in its order; nulls where nothing matches.

    Of `probed`, the first column is the row's number.
    """
    row, *columns = probed
    number = free_name(_ROW, brought.values())
    conditions = []
    for column, name in zip(columns, own, strict=True):
        value, kind = f"p.{column.value}", existing[name]
        if kind != column.kind:
            conditions.append(kept_by(value, column.kind, kind))
            value = tried(value, column.kind, kind)
        conditions.append(f"d.{quoted(name)} {'IS NOT DISTINCT FROM' if null_matches else '='} {value}")
    selected = ", ".join(f"d.{quoted(name)} AS {quoted(new)}" for name, new in brought.items())
    matches = database.frame(
        f"SELECT p.{row.value} AS {number}, {selected} FROM {_PROBE} AS p LEFT JOIN {table.sql} AS d ON {' AND '.join(conditions)}"
    )
    if len(matches) != rows:
        raise FlowValidationError(
            f'rows of the frame match more than one row of the table "{table.name}"',
            where=str(database.path),
            fix="name all columns of its natural key, or fix the table: each of its rows must be there once",
        )
    if not matches[number].is_sorted():
        matches = matches.sort(number)
    return matches.drop(number)


def _attached(frame: pl.DataFrame, columns: pl.DataFrame, dropped: Sequence[str]) -> pl.DataFrame:
    from polars.selectors import by_name

    return frame.drop(by_name(dropped)).hstack(columns)

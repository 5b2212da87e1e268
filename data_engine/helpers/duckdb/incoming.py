"""A frame on its way into DuckDB: checked before anything is opened, handed over as Arrow without a copy."""

from __future__ import annotations

from collections.abc import Sequence

from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb.connection import Database
from data_engine.helpers.duckdb.names import find, folded, names_text, quoted
from data_engine.helpers.targets import asking
from data_engine.record import frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    import polars as pl

SOURCE = "__data_engine_incoming"


@frozen
class IncomingColumn:
    """A column of the incoming frame: its name, the SQL for its value, its DuckDB type, whether every value is null."""

    name: str
    value: str
    kind: str
    is_null: bool


def as_frame(df: object, *, argument: str = "df") -> pl.DataFrame:
    """The DataFrame; a LazyFrame is collected.

    Raises:
        TypeError: neither of them.
        FlowValidationError: no column, two that DuckDB takes for one, or a lazy query that fails.
    """
    import polars as pl

    if isinstance(df, pl.LazyFrame):
        with asking(argument):
            df = df.collect()
    if not isinstance(df, pl.DataFrame):
        raise TypeError(f"{argument} must be a Polars DataFrame or LazyFrame, not {type(df).__name__}")
    if not df.columns:
        raise FlowValidationError(f"{argument} has no columns", where=f"{argument}=", fix="give it at least one column")
    names: dict[str, str] = {}
    for name in df.columns:
        other = names.setdefault(folded(name), name)
        if other != name:
            raise FlowValidationError(
                f'DuckDB treats the columns "{other}" and "{name}" as the same: it ignores upper and lower case',
                where=f"{argument}=",
                fix="rename one of them",
            )
        if not name.strip() or "\0" in name:
            raise FlowValidationError(
                f"{argument} has a column without a name, or with a NUL in it: {name!r}",
                where=f"{argument}=",
                fix="name it",
            )
    return df


def frame_column(frame: pl.DataFrame, name: object, *, argument: str) -> str:
    """The frame's column meant by `name`, in its own spelling.

    Raises:
        TypeError: not a text.
        FlowValidationError: blank, or no such column; names those there are.
    """
    column = find(_name(name, argument), frame.columns)
    if column is None:
        raise FlowValidationError(
            f'the frame has no column "{name}"', where=f"{argument}={name!r}", fix=f"it has {names_text(frame.columns)}"
        )
    return column


def new_column(name: object, taken: Sequence[str], *, argument: str) -> str:
    """`name`, which must not be one of the frame's columns.

    Raises:
        TypeError: not a text.
        FlowValidationError: blank or taken.
    """
    name = _name(name, argument)
    if find(name, taken) is not None:
        raise FlowValidationError(
            f'the column "{name}" must not already exist in the frame',
            where=f"{argument}={name!r}",
            fix=f"drop it, or choose another name with {argument}=",
        )
    return name


def _name(name: object, argument: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be a column name, not {name!r}")
    if not name.strip() or "\0" in name:
        raise FlowValidationError(f"{argument} needs a non-empty column name", where=f"{argument}={name!r}")
    return name


def as_arrow(frame: pl.DataFrame) -> Any:
    """The frame as an Arrow table DuckDB can scan; what it has no type for becomes its nearest equal.

    Raises:
        FlowValidationError: a value has no equal in DuckDB, or would not come back: a Python object, a duration in a list, an
            array of width 0, a field without a name, a whole number of more than 38 digits.
    """
    import polars as pl
    from polars.exceptions import PolarsError
    from polars.selectors import by_name

    changed = {name: _storable(kind) for name, kind in frame.schema.items() if _storable(kind) != kind}
    homeless = {name: reason for name, kind in frame.schema.items() if (reason := _homeless(kind))}
    if homeless:
        raise FlowValidationError(
            f"DuckDB cannot hold the column {names_text(homeless)}: {next(iter(homeless.values()))}",
            where="df=",
            fix="cast it, or drop it",
        )
    try:
        frame = frame.with_columns(by_name(name).cast(kind) for name, kind in changed.items())
        return frame.to_arrow(compat_level=pl.CompatLevel.newest())
    except (PolarsError, ValueError, TypeError) as error:
        raise FlowValidationError(
            f"DuckDB cannot hold the column {names_text(changed or frame.columns)}: {error}",
            where="df=",
            fix="cast it, or drop it",
        ) from error


def _homeless(kind: Any, *, is_nested: bool = False) -> str | None:
    """Why there is no type for it, if so."""
    import polars as pl

    if kind == pl.Object:
        return "Python objects have no type there"
    if kind == pl.Duration and is_nested:
        return "Polars cannot read a duration inside another type back"
    if isinstance(kind, pl.Array) and kind.size == 0:  # DuckDB divides by the width, and the process is gone
        return "an array of width 0 has no type there"
    if isinstance(kind, pl.Struct) and any(not field.name for field in kind.fields):
        return "a field without a name comes back under another, or not at all"
    inner = [field.dtype for field in kind.fields] if isinstance(kind, pl.Struct) else [getattr(kind, "inner", None)]
    return next((why for dtype in inner if dtype is not None and (why := _homeless(dtype, is_nested=True))), None)


def _storable(kind: Any) -> Any:
    import polars as pl

    if kind == pl.Null:  # text, so that the first typed values may decide: see `fit`
        return pl.String
    if kind in (pl.Int128, pl.UInt128):
        return pl.Decimal(38, 0)
    if kind == pl.Float16:
        return pl.Float32
    if isinstance(kind, pl.List):
        return pl.List(_storable(kind.inner))
    if isinstance(kind, pl.Array):
        return pl.Array(_storable(kind.inner), kind.size)
    if isinstance(kind, pl.Struct):
        return pl.Struct({field.name: _storable(field.dtype) for field in kind.fields})
    return kind


def register(database: Database, frame: pl.DataFrame, arrow: Any, *, name: str = SOURCE) -> list[IncomingColumn]:
    """Let `database` see the frame as the view `name`; its columns."""
    database.conn.register(name, arrow)
    relation = database.conn.sql(f"FROM {name} LIMIT 0")
    columns = []
    for series, kind in zip(frame, map(str, relation.types), strict=True):
        _refuse_lost_nanoseconds(series, kind)
        columns.append(IncomingColumn(series.name, quoted(series.name), kind, series.null_count() == len(series)))
    return columns


def _refuse_lost_nanoseconds(series: pl.Series, kind: str) -> None:
    """DuckDB 1.x has no moments in a zone finer than a microsecond and would cut them."""
    import polars as pl

    is_fine = isinstance(series.dtype, pl.Datetime) and series.dtype.time_unit == "ns"
    if is_fine and kind == "TIMESTAMP WITH TIME ZONE" and (series.to_physical() % 1000 != 0).any():
        raise FlowValidationError(
            f'"{series.name}" holds nanoseconds, which this DuckDB cannot keep with a time zone',
            where="df=",
            fix='cast it: pl.col(...).dt.cast_time_unit("us")',
        )

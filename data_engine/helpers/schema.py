"""Normalize column names, and describe a table's columns as one value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from data_engine.errors import FlowValidationError
from data_engine.helpers.targets import asking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    import polars as pl

    Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

__all__ = [
    "TableSchema",
    "normalize_column_name",
    "normalize_column_names",
    "normalized_column_renames",
]

_AROUND_SIGNS = re.compile(r"\s*([#_\-/\\])\s*")
_SPACES = re.compile(r"\s+")


def normalize_column_name(name: str) -> str:
    """The name in lower case with `_` for its spaces, and none around `#`, `_`, `-`, `/` and `\\`.

    Raises:
        TypeError: not a text.

    Example:
        >>> from data_engine.helpers import normalize_column_name
        >>> normalize_column_name(" Claim # Id"), normalize_column_name("Workflow\\tTo")
        ('claim#id', 'workflow_to')
    """
    if not isinstance(name, str):
        raise TypeError(f"a column's name must be a text, not {name!r}")
    return _SPACES.sub("_", _AROUND_SIGNS.sub(r"\1", name.strip())).lower()


def normalized_column_renames(columns: Iterable[str]) -> dict[str, str]:
    """The new name of each column whose name is not normal yet.

    Raises:
        FlowValidationError: two columns would get one name.
        TypeError: not texts.

    Example:
        >>> from data_engine.helpers import normalized_column_renames
        >>> normalized_column_renames(["Claim Id", "amount"])
        {'Claim Id': 'claim_id'}
    """
    if isinstance(columns, (str, bytes)) or not isinstance(columns, Iterable):
        raise TypeError(f"columns must be a list of names, not {columns!r}")
    names = list(dict.fromkeys(columns))
    return _renames(names, names)


def normalize_column_names(frame: Frame, columns: Iterable[str] | None = None) -> Frame:
    """The frame with normal names for all columns, or for those of `columns` it has. Lazy stays lazy.

    Raises:
        FlowValidationError: two columns would get one name; a lazy query that fails.
        TypeError: no Polars frame.

    Example:
        >>> import polars as pl
        >>> from data_engine.helpers import normalize_column_names
        >>> normalize_column_names(pl.DataFrame({"Claim Id": [1], "Amount": [2]})).columns
        ['claim_id', 'amount']
    """
    names = _names(frame)
    if isinstance(columns, (str, bytes)) or not (columns is None or isinstance(columns, Iterable)):
        raise TypeError(f"columns must be a list of names, not {columns!r}")
    columns = names if columns is None else [name for name in columns if name in names]
    return frame.rename(_renames(list(dict.fromkeys(columns)), names))


def _renames(columns: list[str], names: list[str]) -> dict[str, str]:
    renames = {name: normal for name in columns if (normal := normalize_column_name(name)) != name}
    taken: dict[str, str] = {}
    for name in names:
        new = renames.get(name, name)
        other = taken.setdefault(new, name)
        if other != name:
            raise FlowValidationError(
                f'the columns "{other}" and "{name}" would both be called "{new}"',
                where="normalize_column_names",
                fix="rename one of them first, or name the columns to normalize",
            )
    return renames


def _names(frame: object) -> list[str]:
    import polars as pl

    if isinstance(frame, pl.DataFrame):
        return frame.columns
    if isinstance(frame, pl.LazyFrame):
        with asking("frame"):
            return frame.collect_schema().names()
    raise TypeError(f"frame must be a Polars DataFrame or LazyFrame, not {type(frame).__name__}")


class Columns(tuple[str, ...]):
    """The columns to keep, in order."""

    __slots__ = ()

    def apply(self, df: Frame) -> Frame:
        """The frame with these columns alone.

        Raises:
            FlowValidationError: it lacks one; names those it has.
        """
        from polars.selectors import by_name

        _require(df, self, "columns")
        return df.select(by_name(list(self)))

    def normalize_column_names(self, df: Frame) -> Frame:
        """The frame with normal names for these of its columns."""
        return normalize_column_names(df, self)


class Dtypes(dict[str, "Any"]):
    """The types of the columns that are not text."""

    def apply(self, df: Frame) -> Frame:
        """The frame with these types; every other column becomes text. Text in ISO form becomes a date or a time.

        Raises:
            FlowValidationError: it lacks one of the columns, or a value cannot be of its type: 1.5 is not a whole number, and
                "01/02/2024" no date in ISO form. Of a lazy frame, values are looked at when it is collected.
        """
        import polars as pl
        from polars.exceptions import PolarsError

        _require(df, self, "dtypes")
        kinds = df.collect_schema()
        try:
            return df.with_columns(_as_kind(name, kind, self.get(name, pl.String)) for name, kind in kinds.items())
        except PolarsError as error:
            raise FlowValidationError(
                f"a value cannot be of its type: {error}",
                where="TableSchema.dtypes",
                fix="clean the column before it is cast",
            ) from error


def _as_kind(name: str, kind: Any, dtype: Any) -> pl.Expr:
    """A cast; text becomes a date or a time by its ISO form, which Polars does not call a cast."""
    import polars as pl
    from polars.selectors import by_name

    column = by_name(name).as_expr()
    if kind == pl.String and dtype == pl.Date:
        return column.str.to_date("%Y-%m-%d")
    if kind == pl.String and dtype == pl.Datetime:
        is_plain = dtype is pl.Datetime
        # Polars guesses the form, and takes 01/02/2024 for the first of February.
        return column.str.replace(r"^\s*(\d{1,2}[./-])", "no ISO form: $1").str.to_datetime(
            time_unit="us" if is_plain else dtype.time_unit, time_zone=None if is_plain else dtype.time_zone
        )
    if kind == pl.String and dtype == pl.Time:
        return column.str.to_time()
    if kind.is_float() and _kind(dtype).is_integer():
        # A cast would cut what is behind the point; NaN is what it refuses.
        return pl.when(column == column.round(0)).then(column).when(column.is_not_null()).then(float("nan")).cast(dtype)
    return column.cast(dtype)


class Rename(dict[str, str]):
    """New names by old ones."""

    def apply(self, df: Frame) -> Frame:
        """The frame with the new names.

        Raises:
            FlowValidationError: it lacks one of the columns, or two would get one name.
        """
        names = _require(df, self, "rename")
        new = [self.get(name, name) for name in names]
        doubles = sorted({name for name in new if new.count(name) > 1})
        if doubles:
            raise FlowValidationError(
                f"renaming gives more than one column {_listed(doubles)}",
                where="TableSchema.rename",
                fix="drop one of them first",
            )
        return df.rename(dict(self))


class Drop(tuple[str, ...]):
    """The columns to leave out."""

    __slots__ = ()

    def apply(self, df: Frame) -> Frame:
        """The frame without these columns; those it lacks do not matter."""
        from polars.selectors import by_name

        names = _names(df)
        return df.drop(by_name([name for name in self if name in names]))


@dataclass(frozen=True, init=False)
class TableSchema:
    """What a table should look like: four parts, each applied on its own, in the order a flow needs.

    Args:
        columns: those to keep, in order: `schema.columns.apply(frame)`.
        dtypes: types by column; every other column becomes text.
        rename: new names by old ones.
        drop: columns to leave out; they need not be there.

    Raises:
        FlowValidationError: a blank name, or one twice.
        TypeError: a part of another shape.

    Example:
        >>> import polars as pl
        >>> from data_engine.helpers import TableSchema
        >>> schema = TableSchema(columns=["id", "note"], dtypes={"id": pl.Int64}, rename={"claim id": "id"}, drop=["x"])
        >>> frame = pl.DataFrame({"claim id": ["1"], "note": [2], "x": [3]})
        >>> frame = schema.drop.apply(schema.rename.apply(frame))
        >>> schema.columns.apply(schema.dtypes.apply(frame)).rows()
        [(1, '2')]
    """

    columns: Columns
    dtypes: Dtypes
    rename: Rename
    drop: Drop

    def __init__(
        self,
        columns: Iterable[str] = (),
        dtypes: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
        rename: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        drop: Iterable[str] = (),
    ) -> None:
        object.__setattr__(self, "columns", _part(Columns, "columns", columns))
        object.__setattr__(self, "dtypes", _part(Dtypes, "dtypes", dtypes))
        object.__setattr__(self, "rename", _part(Rename, "rename", rename))
        object.__setattr__(self, "drop", _part(Drop, "drop", drop))

    def normalize_column_names(self, df: Frame) -> Frame:
        """The frame with normal names for those of its columns that this schema names anywhere, or for all if it names none.

        Raises:
            FlowValidationError: two columns would get one name; a lazy query that fails.
            TypeError: no Polars frame.

        Example:
            >>> import polars as pl
            >>> TableSchema(columns=["Claim Id"]).normalize_column_names(pl.DataFrame({"Claim Id": [1], "Note": [2]})).columns
            ['claim_id', 'Note']
        """
        names = [*self.columns, *self.dtypes, *self.rename, *self.drop]
        return normalize_column_names(df, names or None)


def _part(kind: Callable[..., Any], argument: str, value: Any) -> Any:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{argument} cannot be {value!r}")
    items = list(value.items()) if isinstance(value, Mapping) else list(value)
    is_mapping = argument in ("dtypes", "rename")
    if is_mapping and not all(isinstance(pair, tuple) and len(pair) == 2 for pair in items):
        raise TypeError(f"{argument} must be a dict, not {value!r}")
    named: list[list[Any]] = [[pair[0] for pair in items] if is_mapping else items]
    if argument == "rename":
        named.append([pair[1] for pair in items])
    if not all(isinstance(name, str) for names in named for name in names):
        raise TypeError(f"{argument} must name columns by texts, not {value!r}")
    if argument == "dtypes":
        for _, dtype in items:
            _kind(dtype)
    _check_names(argument, named)
    return kind(items)


def _check_names(argument: str, named: list[list[str]]) -> None:
    """Return when each list names columns, each of them once.

    Raises:
        FlowValidationError: a blank name, or one that stands there twice.
    """
    where = f"TableSchema({argument}=...)"
    if not all(name.strip() for names in named for name in names):
        raise FlowValidationError(f"{argument} holds a blank name", where=where, fix="name the column")
    for names in named:
        doubles = sorted({name for name in names if names.count(name) > 1})
        if doubles:
            raise FlowValidationError(f"{argument} holds {_listed(doubles)} twice", where=where, fix="name each once")


def _kind(dtype: Any) -> Any:
    """The type of Polars that is meant, also by a type of Python.

    Raises:
        TypeError: neither of them.
    """
    import polars as pl

    if isinstance(dtype, (pl.DataType, type(pl.Int64))):
        return dtype
    try:
        return pl.DataType.from_python(dtype)
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise TypeError(f"a column's type must be one of Polars, such as pl.Int64, not {dtype!r}") from error


def _require(frame: object, columns: Iterable[str], part: str) -> list[str]:
    names = _names(frame)
    missing = [name for name in columns if name not in names]
    if missing:
        raise FlowValidationError(
            f"the frame has no column {_listed(missing)}", where=f"TableSchema.{part}", fix=f"it has {_listed(names)}"
        )
    return names


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names) or "none"

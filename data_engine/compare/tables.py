"""Compare two tables column by column: memory is needed for the keys, or one number a row, and for one column.

Rows are paired by their key, or counted as wholes without one. A whole row is known by a number of 64 bits made of its values:
of a million rows that differ, one in ten million times one is taken for equal to another.

What is equal: what is equal in Python; NaN to NaN, null to null, -0.0 to 0.0; instants in any zone; a date and the midnight it
begins with. Floats are compared within a tolerance (`differing`), or by their significant digits where only equality of what
is kept will do (`hashed`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Literal

import polars as pl

from data_engine.compare.difference import (
    MOST_SAMPLES,
    ColumnDifference,
    Difference,
    Duplicates,
    Named,
    Order,
    Retyped,
    Rows,
    Sample,
)
from data_engine.errors import FlowValidationError
from data_engine.formatting import plural
from data_engine.record import frozen

TOLERANCE = 1e-9
"""Floats are equal that differ by so much of the larger one."""

_Kind = Literal["cast", "float", "instant", "decimal", "list", "struct", "python"]
_TICKS = {"ms": 1_000_000, "us": 1000, "ns": 1}
_DAY_NS = 86_400_000_000_000


@frozen
class Form:
    """The form in which values of two types are compared: as `dtype`, or by what `kind` says; `inner` forms of nested ones.

    `matters` is False where two different types hold the same things.
    """

    kind: _Kind
    dtype: Any = None
    inner: tuple[Form, ...] = ()
    fields: tuple[str, ...] = ()
    matters: bool = True

    @property
    def has_floats(self) -> bool:
        """Whether any value in it is a float."""
        return self.kind == "float" or any(form.has_floats for form in self.inner)


def common_form(before: Any, after: Any) -> Form | None:
    """The form in which values of the two Polars types can be equal; None where none is.

    Example:
        >>> common_form(pl.Int8(), pl.UInt64()).dtype, common_form(pl.Int64(), pl.Float32()).kind
        (Int128, 'float')
        >>> common_form(pl.String(), pl.Int64()) is None
        True
    """
    if before == pl.Null or after == pl.Null:
        other = after if before == pl.Null else before
        return Form("cast", pl.Null) if other == pl.Null else common_form(other, other)
    if _is_number(before) and _is_number(after):
        return _of_numbers(before, after)
    if _is_text(before) and _is_text(after):
        return Form("cast", pl.String, matters=False)
    if _is_nested(before) and _is_nested(after):
        return _of_nested(before, after)
    for kinds in ((pl.Date, pl.Datetime), (pl.Duration,)):
        if before in kinds and after in kinds:
            return _of_times(before, after)
    if before != after:
        return None
    if before in (pl.Boolean, pl.Binary, pl.Time):
        return Form("cast", before)
    return Form("python")


def _of_numbers(before: Any, after: Any) -> Form:
    both = (before, after)
    if any(dtype.is_float() for dtype in both):
        return Form("float", pl.Float64)
    if any(dtype == pl.Decimal for dtype in both):
        return Form("cast", before) if before == after else Form("decimal")
    if before == after:
        return Form("cast", before)
    kinds = {dtype for dtype in both if dtype != pl.Boolean}
    if any(dtype == pl.UInt128 for dtype in kinds):
        return Form("decimal")
    if pl.Int128 in kinds or (pl.UInt64 in kinds and kinds != {pl.UInt64}):
        return Form("cast", pl.Int128)
    return Form("cast", pl.UInt64 if pl.UInt64 in kinds else pl.Int64)


def _of_times(before: Any, after: Any) -> Form | None:
    is_aware = [getattr(dtype, "time_zone", None) is not None for dtype in (before, after)]
    if is_aware[0] != is_aware[1]:
        return None
    units = {getattr(dtype, "time_unit", "day") for dtype in (before, after)}
    matters = type(before) is not type(after) or len(units) > 1
    if len(units) == 1:
        return Form("cast", pl.Int64, matters=matters)
    return Form("instant", pl.Int128, matters=matters)


def _of_nested(before: Any, after: Any) -> Form | None:
    if before == pl.Struct and after == pl.Struct:
        then, now = dict(_fields_of(before)), dict(_fields_of(after))
        inner = [common_form(then[name], now[name]) for name in then if name in now]
        if then.keys() != now.keys() or None in inner:
            return None
        forms = tuple(form for form in inner if form is not None)
        if any(form.kind == "python" for form in forms):
            return Form("python", matters=before != after)
        return Form("struct", inner=forms, fields=tuple(then), matters=before != after)
    if pl.Struct in (before, after):
        return None
    form = common_form(before.inner, after.inner)
    if form is None or form.kind == "python":
        return form
    return Form("list", inner=(form,), matters=before != after)


def _fields_of(dtype: Any) -> list[tuple[str, Any]]:
    return [(part.name, part.dtype) for part in dtype.fields]


def _is_number(dtype: Any) -> bool:
    return bool(dtype.is_numeric() or dtype == pl.Boolean)


def _is_text(dtype: Any) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _is_nested(dtype: Any) -> bool:
    return dtype in (pl.List, pl.Array, pl.Struct)


def in_form(values: pl.Series, form: Form) -> pl.Series:
    """The values as they are compared."""
    if form.kind == "python":
        texts = [None if value is None else f"{type(value).__qualname__} {value!r}" for value in values]
        return pl.Series(values.name, texts, pl.String)
    if form.kind == "cast" and values.dtype == form.dtype:
        return values
    return values.to_frame().select(_in_form(pl.col(values.name), values.dtype, form)).to_series()


def _in_form(value: pl.Expr, dtype: Any, form: Form) -> pl.Expr:
    if dtype == pl.Null:
        return value.cast(_dtype_of(form))
    if form.kind == "instant":
        ticks = _DAY_NS if dtype == pl.Date else _TICKS[dtype.time_unit]
        return value.to_physical().cast(pl.Int128) * pl.lit(ticks, pl.Int128)
    if form.kind == "decimal":
        text = value.cast(pl.Int8 if dtype == pl.Boolean else dtype).cast(pl.String)
        whole = text.str.strip_chars_end("0").str.strip_chars_end(".")
        return pl.when(text.str.contains(".", literal=True)).then(whole).otherwise(text).replace("", "0")
    if form.kind == "list":
        listed = value.arr.to_list() if dtype == pl.Array else value
        return listed.list.eval(_in_form(pl.element(), dtype.inner, form.inner[0]))
    if form.kind == "struct":
        types = dict(_fields_of(dtype))
        fields = [
            _in_form(value.struct.field(name), types[name], inner).alias(name)
            for name, inner in zip(form.fields, form.inner, strict=True)
        ]
        struct = pl.struct(fields) if fields else value
        return pl.when(value.is_not_null()).then(struct)
    if dtype in (pl.Date, pl.Datetime, pl.Duration):
        return value.to_physical().cast(form.dtype)
    return value.cast(form.dtype)


def _dtype_of(form: Form) -> Any:
    """The Polars type of values in this form."""
    if form.kind == "list":
        return pl.List(_dtype_of(form.inner[0]))
    if form.kind == "struct":
        return pl.Struct({name: _dtype_of(inner) for name, inner in zip(form.fields, form.inner, strict=True)})
    return pl.String if form.kind in ("decimal", "python") else form.dtype


def differing(before: pl.Series, after: pl.Series, form: Form, tolerance: float = TOLERANCE) -> pl.Series:
    """For each pair of values in their form whether they differ."""
    mask = before.ne_missing(after)
    if not form.has_floats or not mask.any():
        return mask
    at = mask.arg_true()
    then, now = before.gather(at), after.gather(at)
    if form.kind == "float":
        flags = _float_differs(then, now, tolerance)
    else:
        pairs = zip(then.to_list(), now.to_list(), strict=True)
        flags = pl.Series([not are_equal(value, other, tolerance) for value, other in pairs], dtype=pl.Boolean)
    still = at.filter(flags)
    return mask if len(still) == len(at) else pl.select(pl.repeat(False, len(mask))).to_series().scatter(still, True)


def _float_differs(then: pl.Series, now: pl.Series, tolerance: float) -> pl.Series:
    frame = pl.DataFrame({"then": then, "now": now})
    a, b = pl.col("then"), pl.col("now")
    close = (a - b).abs() <= tolerance * pl.max_horizontal(a.abs(), b.abs())
    is_equal = (a == b) | (a.is_finite() & b.is_finite() & close)
    return frame.select(~is_equal.fill_null(False)).to_series()


def hashed(values: pl.Series, form: Form, tolerance: float = TOLERANCE) -> pl.Series:
    """A number of 64 bits for each value in its form, the same for those that are equal; floats by their first digits."""
    if form.has_floats:
        digits = max(1, min(17, round(3 - math.log10(tolerance)) if tolerance > 0 else 17))
        dtype = values.dtype
        values = values.to_frame().select(_rounded(pl.col(values.name), dtype, form, digits)).to_series()
    return values.hash()


def _rounded(value: pl.Expr, dtype: Any, form: Form, digits: int) -> pl.Expr:
    if form.kind == "float":
        return value.round_sig_figs(digits) + 0.0 if digits < 17 else value + 0.0
    if form.kind == "list" and form.has_floats:
        return value.list.eval(_rounded(pl.element(), dtype.inner, form.inner[0], digits))
    if form.kind == "struct" and form.has_floats:
        types = dict(_fields_of(dtype))
        fields = [
            _rounded(value.struct.field(name), types[name], inner, digits).alias(name)
            for name, inner in zip(form.fields, form.inner, strict=True)
        ]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    return value


def are_equal(before: Any, after: Any, tolerance: float = TOLERANCE) -> bool:
    """Whether two values of Python are equal: numbers within the tolerance where one is a float, containers by what they hold.

    Example:
        >>> are_equal([0.1 + 0.2, float("nan")], [0.3, float("nan")]), are_equal(1, "1"), are_equal({"a": 1}, {"a": 1.0})
        (True, False, True)
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return before.keys() == after.keys() and all(are_equal(before[key], after[key], tolerance) for key in before)
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        pairs = zip(before, after, strict=False)
        return len(before) == len(after) and all(are_equal(value, other, tolerance) for value, other in pairs)
    if isinstance(before, float) or isinstance(after, float):
        return _are_close(before, after, tolerance)
    return bool(before == after)


def _are_close(before: Any, after: Any, tolerance: float) -> bool:
    try:
        then, now = float(before), float(after)
    except (TypeError, ValueError, OverflowError):
        return bool(before == after)
    if isinstance(before, str) or isinstance(after, str):
        return False
    if math.isnan(then) or math.isnan(now):
        return math.isnan(then) and math.isnan(now)
    if math.isinf(then) or math.isinf(now):
        return then == now
    return abs(then - now) <= tolerance * max(abs(then), abs(now))


_FACTOR = 0x9E3779B97F4A7C15


@frozen
class Frame:
    """A table in memory."""

    frame: pl.DataFrame

    @property
    def height(self) -> int:
        """How many rows it has."""
        return self.frame.height

    @property
    def schema(self) -> Mapping[str, Any]:
        """The type of each column."""
        return self.frame.schema

    def column(self, name: str) -> pl.Series:
        """The column itself."""
        return self.frame.get_column(name)

    def rows(self, numbers: Sequence[int], names: Sequence[str]) -> pl.DataFrame:
        """These rows."""
        return self.frame.select(names)[list(numbers)]


class ParquetFile:
    """A Parquet file, of which one column at a time is in memory.

    Raises:
        Exception: of Polars, when the file is none.
    """

    def __init__(self, path: Path) -> None:
        self._scan = pl.scan_parquet(path, glob=False)
        self.schema: Mapping[str, Any] = self._scan.collect_schema()
        self.height = int(self._scan.select(pl.len()).collect().item())

    def column(self, name: str) -> pl.Series:
        """The column, read now."""
        return self._scan.select(pl.col(name)).collect().to_series()

    def rows(self, numbers: Sequence[int], names: Sequence[str]) -> pl.DataFrame:
        """These rows, found by one pass over the file."""
        row = _unused("row", names)
        order = pl.DataFrame({row: list(numbers)}, schema={row: pl.UInt32})
        lowest, highest = min(numbers, default=0), max(numbers, default=-1)
        part = self._scan.select(names).slice(lowest, highest - lowest + 1).with_row_index(row, lowest)
        matches = part.filter(pl.col(row).is_in(list(numbers))).collect(engine="streaming")
        return order.join(matches, on=row, how="left", maintain_order="left").drop(row)


Table = Frame | ParquetFile
"""Columns of equal height, read one at a time."""


def compare_tables(
    before: Table,
    after: Table,
    *,
    key: Sequence[str] = (),
    tolerance: float = TOLERANCE,
) -> Difference:
    """The difference of two tables.

    Raises:
        FlowValidationError: a column of the key is missing, holds floats, or is of types that do not compare.
    """
    forms = {
        name: common_form(before.schema[name], after.schema[name]) for name in before.schema if name in after.schema
    }
    columns = _columns(before.schema, after.schema, forms)
    both = {name: form for name, form in forms.items() if form is not None}
    sides = _Sides(before, after, both, tolerance)
    changes = _by_key(sides, tuple(key)) if key else _as_wholes(sides)
    others = [name for name in after.schema if name in forms]
    order = Order(changes.is_other_order, others != list(forms))
    return Difference(
        before=_shape(before),
        after=_shape(after),
        columns=columns,
        order=order,
        rows=changes.rows,
        changed_values=Named(changes.changed),
        samples=changes.samples,
        key=tuple(key),
        duplicates=changes.duplicates,
    )


@frozen
class _Sides:
    """Two tables and the forms in which their common columns compare."""

    before: Table
    after: Table
    forms: Mapping[str, Form]
    tolerance: float

    def column(self, name: str) -> tuple[pl.Series, pl.Series]:
        form = self.forms[name]
        return in_form(self.before.column(name), form), in_form(self.after.column(name), form)

    def differing(self, name: str, before: pl.Series, after: pl.Series) -> pl.Series:
        return differing(before, after, self.forms[name], self.tolerance)


@frozen
class _RowChanges:
    rows: Rows
    is_other_order: bool = False
    changed: Mapping[str, int] = field(default_factory=Named)
    samples: tuple[Sample, ...] = ()
    duplicates: Duplicates = field(default_factory=Duplicates)


def _columns(before: Mapping[str, Any], after: Mapping[str, Any], forms: Mapping[str, Form | None]) -> ColumnDifference:
    retyped = tuple(
        Retyped(name, str(before[name]), str(after[name]), form is None or form.matters, form is not None)
        for name, form in forms.items()
        if before[name] != after[name]
    )
    added = tuple(name for name in after if name not in before)
    return ColumnDifference(added, tuple(name for name in before if name not in after), retyped)


def _shape(table: Table) -> str:
    height, width = table.height, len(table.schema)
    return f"{plural(height, 'row')} × {plural(width, 'column')}"


def _unused(name: str, names: Iterable[str]) -> str:
    names = set(names)
    while name in names:
        name += "_"
    return name


def _as_wholes(sides: _Sides) -> _RowChanges:
    before, after = sides.before, sides.after
    then, now = _row_numbers(sides, None)
    if len(then) == len(now) and (then == now).all():
        rows = Rows(before.height, after.height)
        return _RowChanges(rows)
    removed, added = _counted(then, now)
    rows = Rows(before.height, after.height, int(added["n"].sum() or 0), int(removed["n"].sum() or 0))
    first_then, first_now = _first_rows(then, removed), _first_rows(now, added)
    half = MOST_SAMPLES // 2
    gone = first_then[: max(half, MOST_SAMPLES - len(first_now))]
    came = first_now[: MOST_SAMPLES - len(gone)]
    samples = (*_whole_rows(before, gone, "removed"), *_whole_rows(after, came, "added"))
    different = pl.concat([removed["h"], added["h"]])
    stayed = [side.filter(~side.is_in(different.implode())) if len(different) else side for side in (then, now)]
    return _RowChanges(rows, not stayed[0].equals(stayed[1]), samples=samples)


def _row_numbers(sides: _Sides, at: tuple[pl.Series, pl.Series] | None) -> tuple[pl.Series, pl.Series]:
    """A number for each row of both sides (of those `at`), equal for rows whose common columns are."""
    heights = (sides.before.height, sides.after.height) if at is None else (len(at[0]), len(at[1]))
    sums = [pl.select(pl.repeat(0, height, dtype=pl.UInt64)).to_series() for height in heights]
    for place, name in enumerate(sides.forms):
        factor = pl.Series([_FACTOR * (2 * place + 1) % 2**64], dtype=pl.UInt64)
        for side, values in enumerate(sides.column(name)):
            chosen = values if at is None else values.gather(at[side])
            numbers = hashed(chosen, sides.forms[name], sides.tolerance)
            sums[side] = sums[side] + numbers * factor  # so that the same value in two columns does not count the same
    return sums[0], sums[1]


def _counted(then: pl.Series, now: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The numbers that occur more often before, and those that do after, each with how much more often."""
    if then.n_unique() == len(then) and now.n_unique() == len(now):
        gone, came = then.filter(~then.is_in(now.implode())), now.filter(~now.is_in(then.implode()))
        once = (pl.repeat(1, len(side), dtype=pl.Int32, eager=True) for side in (gone, came))
        before, after = (pl.DataFrame({"h": side, "n": n}) for side, n in zip((gone, came), once, strict=True))
        return before, after
    sides = [
        side.alias("h").to_frame().lazy().select("h", pl.lit(weight, pl.Int32).alias("n"))
        for side, weight in ((then, 1), (now, -1))
    ]
    more = pl.concat(sides).group_by("h").agg(pl.col("n").sum()).filter(pl.col("n") != 0).collect(engine="streaming")
    return more.filter(pl.col("n") > 0), more.filter(pl.col("n") < 0).with_columns(-pl.col("n"))


def _first_rows(numbers: pl.Series, tally: pl.DataFrame) -> list[int]:
    """The places of the first rows with a number of the `tally`, each as often as it says; a sample of them."""
    if tally.is_empty():
        return []
    counts = dict(zip(tally["h"].to_list(), tally["n"].to_list(), strict=True)) if tally.height < 10_000 else None
    places: list[int] = []
    for at in numbers.is_in(tally["h"].implode()).arg_true().head(50 * MOST_SAMPLES).to_list():
        if counts is not None:
            left = counts[numbers[at]]
            if not left:
                continue
            counts[numbers[at]] = left - 1
        places.append(at)
        if len(places) == MOST_SAMPLES:
            break
    return places


def _whole_rows(table: Table, numbers: Sequence[int], kind: str, key: Sequence[str] = ()) -> tuple[Sample, ...]:
    is_added = kind == "added"
    rows = table.rows(numbers, list(table.schema)).to_dicts() if numbers else []
    return tuple(
        Sample(
            kind,
            Named({name: row[name] for name in key}),
            Named(
                {name: (None, value) if is_added else (value, None) for name, value in row.items() if name not in key}
            ),
        )
        for row in rows
    )


@frozen
class _Pairs:
    """The rows that have one key, by their numbers before and after (None: each with that of its own number), those that
    have none, and those whose key occurs more than once."""

    before: pl.Series | None
    after: pl.Series | None
    count: int
    removed: pl.Series
    added: pl.Series
    twice: tuple[pl.Series, pl.Series]
    duplicates: Duplicates
    is_other_order: bool = False

    def of(self, values: tuple[pl.Series, pl.Series]) -> tuple[pl.Series, pl.Series]:
        """The values that belong together."""
        before, after = values
        return (
            before if self.before is None else before.gather(self.before),
            after if self.after is None else after.gather(self.after),
        )

    def numbers(self, at: pl.Series) -> tuple[list[int], list[int]]:
        """The row numbers of the pairs `at`, before and after."""
        before, after = (at if side is None else side.gather(at) for side in (self.before, self.after))
        return before.to_list(), after.to_list()


def _by_key(sides: _Sides, key: tuple[str, ...]) -> _RowChanges:
    _check_key(sides, key)
    pairs = _pairs(sides, key)
    is_changed = pl.select(pl.repeat(False, pairs.count)).to_series()
    changed: dict[str, int] = {}
    for name in sides.forms:
        if name not in key:
            differs = sides.differing(name, *pairs.of(sides.column(name)))
            if number := int(differs.sum() or 0):
                changed[name] = number
                is_changed = is_changed | differs
    removed, added = len(pairs.removed), len(pairs.added)
    twice: tuple[list[int], list[int]] = ([], [])
    if len(pairs.twice[0]) + len(pairs.twice[1]):
        numbers = _row_numbers(sides, pairs.twice)
        gone, came = _counted(*numbers)
        removed, added = removed + int(gone["n"].sum() or 0), added + int(came["n"].sum() or 0)
        twice = (
            pairs.twice[0].gather(_first_rows(numbers[0], gone)).to_list(),
            pairs.twice[1].gather(_first_rows(numbers[1], came)).to_list(),
        )
    rows = Rows(sides.before.height, sides.after.height, added, removed, int(is_changed.sum() or 0))
    share = MOST_SAMPLES // (bool(removed) + bool(added) + bool(rows.changed) or 1)
    samples = (
        *_whole_rows(sides.before, [*pairs.removed.head(share).to_list(), *twice[0]][:share], "removed", key),
        *_whole_rows(sides.after, [*pairs.added.head(share).to_list(), *twice[1]][:share], "added", key),
        *_changed_rows(sides, key, pairs, is_changed.arg_true().head(share), list(changed)),
    )
    return _RowChanges(rows, pairs.is_other_order, changed, samples, pairs.duplicates)


def _check_key(sides: _Sides, key: tuple[str, ...]) -> None:
    for name in key:
        before, after = sides.before.schema.get(name), sides.after.schema.get(name)
        for dtype, side in ((before, "before"), (after, "after")):
            if dtype is None:
                columns = ", ".join(sides.before.schema if side == "before" else sides.after.schema) or "none"
                raise FlowValidationError(
                    f"the key {name!r} is not a column of what was there {side}",
                    where="key=",
                    fix=f"name columns that both sides have; there are: {columns}",
                )
        if name not in sides.forms:
            raise FlowValidationError(
                f"the key {name!r} is {after}, was {before}: no row before and after can have the same key",
                where="key=",
                fix="leave key= out, or name a column of one type",
            )
        if sides.forms[name].has_floats:
            raise FlowValidationError(
                f"the key {name!r} holds floats, and two floats are seldom exactly equal",
                where="key=",
                fix="name a column of whole numbers, texts or dates, or leave key= out",
            )


def _pairs(sides: _Sides, key: tuple[str, ...]) -> _Pairs:
    then, now = (pl.DataFrame(side) for side in zip(*(sides.column(name) for name in key), strict=True))
    i, j = _unused("i", key), _unused("j", key)
    empty = pl.Series(dtype=pl.UInt32)
    duplicates, twice = Duplicates(), (empty, empty)
    left, right = then.with_row_index(i), now.with_row_index(j)
    are_unique = _is_unique(then), _is_unique(now)
    if are_unique[0] and then.equals(now):
        return _Pairs(None, None, then.height, empty, empty, twice, duplicates)
    if not all(are_unique):
        repeated = [side.filter(side.is_duplicated()).unique() for side in (then, now)]
        duplicates = Duplicates(repeated[0].height, repeated[1].height)
        several = pl.concat(repeated).unique()
        twice = _among(left, several, key)[i], _among(right, several, key)[j]
        left, right = _among(left, several, key, is_in=False), _among(right, several, key, is_in=False)
    stayed, came_from = _among(left, right, key), _among(right, left, key)
    removed = empty if stayed.height == left.height else _among(left, right, key, is_in=False)[i]
    added = empty if came_from.height == right.height else _among(right, left, key, is_in=False)[j]
    heights = then.height, now.height
    del then, now, left, right  # of ten million rows each is 80 MB and more
    if stayed.select(key).equals(came_from.select(key)):
        numbers = stayed[i], came_from[j]
    else:
        aligned = _aligned(stayed, came_from, key, i, j)
        return _Pairs(*aligned, len(aligned[0]), removed, added, twice, duplicates, is_other_order=True)
    is_whole = [len(side) == height for side, height in zip(numbers, heights, strict=True)]
    before, after = (None if whole else side for side, whole in zip(numbers, is_whole, strict=True))
    return _Pairs(before, after, stayed.height, removed, added, twice, duplicates)


def _aligned(
    left: pl.DataFrame, right: pl.DataFrame, key: Sequence[str], i: str, j: str
) -> tuple[pl.Series, pl.Series]:
    """The numbers of rows with the same key, where both sides have the same keys, each once."""
    if len(key) == 1 and left[key[0]].dtype.is_integer():  # sorting numbers needs less memory than a join
        return left[i].gather(left[key[0]].arg_sort()), right[j].gather(right[key[0]].arg_sort())
    lazy = left.lazy().join(right.lazy(), on=list(key), how="inner", nulls_equal=True).select(i, j)
    both = lazy.collect(engine="streaming")
    return both[i], both[j]


def _is_unique(keys: pl.DataFrame) -> bool:
    return (keys.to_series().n_unique() if keys.width == 1 else keys.n_unique()) == keys.height


def _among(rows: pl.DataFrame, others: pl.DataFrame, key: Sequence[str], *, is_in: bool = True) -> pl.DataFrame:
    """The rows, in their order, whose key is among those of the others, or is not."""
    if len(key) == 1:
        mask = rows[key[0]].is_in(others[key[0]].implode(), nulls_equal=True)
        return rows.filter(mask if is_in else ~mask)
    return rows.join(others, on=list(key), how="semi" if is_in else "anti", nulls_equal=True, maintain_order="left")


def _changed_rows(
    sides: _Sides, key: tuple[str, ...], pairs: _Pairs, at: pl.Series, names: list[str]
) -> tuple[Sample, ...]:
    if at.is_empty():
        return ()
    before, after = pairs.numbers(at)
    then, now = sides.before.rows(before, [*key, *names]), sides.after.rows(after, [*key, *names])
    differs = {
        name: sides.differing(name, in_form(then[name], sides.forms[name]), in_form(now[name], sides.forms[name]))
        for name in names
    }
    return tuple(
        Sample(
            "changed",
            Named({name: now[name][row] for name in key}),
            Named({name: (_item(then[name], row), _item(now[name], row)) for name in names if differs[name][row]}),
        )
        for row in range(len(at))
    )


def _item(values: pl.Series, at: int) -> Any:
    value = values[at]
    return value.to_list() if isinstance(value, pl.Series) else value

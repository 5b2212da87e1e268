"""The common form of two types: how values are kept so that those which are equal look the same.

What is equal: what is equal in Python; NaN to NaN, null to null, -0.0 to 0.0; instants in any zone; a date and the midnight it
begins with. Floats are compared within a tolerance (`differing`), or by their significant digits where only equality of what
is kept will do (`hashed`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import polars as pl

from data_engine.record import frozen

TOLERANCE = 1e-9
"""Floats are equal that differ by so much of the larger one."""

_Kind = Literal["cast", "float", "instant", "decimal", "list", "struct", "python"]
_TICKS = {"ms": 1_000_000, "us": 1000, "ns": 1}
_DAY_NS = 86_400_000_000_000


@frozen
class Form:
    """How values of two types are kept to be compared: as `dtype`, or by what `kind` says; `inner` forms of nested ones.

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
        return self.kind == "float" or any(one.has_floats for one in self.inner)

    @property
    def is_nested(self) -> bool:
        """Whether one value holds others."""
        return self.kind in ("list", "struct")


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
    if any(one.is_float() for one in both):
        return Form("float", pl.Float64)
    if any(one == pl.Decimal for one in both):
        return Form("cast", before) if before == after else Form("decimal")
    if before == after:
        return Form("cast", before)
    kinds = {one for one in both if one != pl.Boolean}
    if any(one == pl.UInt128 for one in kinds):
        return Form("decimal")
    if pl.Int128 in kinds or (pl.UInt64 in kinds and kinds != {pl.UInt64}):
        return Form("cast", pl.Int128)
    return Form("cast", pl.UInt64 if pl.UInt64 in kinds else pl.Int64)


def _of_times(before: Any, after: Any) -> Form | None:
    is_aware = [getattr(one, "time_zone", None) is not None for one in (before, after)]
    if is_aware[0] != is_aware[1]:
        return None
    units = {getattr(one, "time_unit", "day") for one in (before, after)}
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
        forms = tuple(one for one in inner if one is not None)
        if any(one.kind == "python" for one in forms):
            return Form("python", matters=before != after)
        return Form("struct", inner=forms, fields=tuple(then), matters=before != after)
    if pl.Struct in (before, after):
        return None
    one = common_form(before.inner, after.inner)
    if one is None or one.kind == "python":
        return one
    return Form("list", inner=(one,), matters=before != after)


def _fields_of(dtype: Any) -> list[tuple[str, Any]]:
    return [(one.name, one.dtype) for one in dtype.fields]


def _is_number(dtype: Any) -> bool:
    return bool(dtype.is_numeric() or dtype == pl.Boolean)


def _is_text(dtype: Any) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)


def _is_nested(dtype: Any) -> bool:
    return dtype in (pl.List, pl.Array, pl.Struct)


# -- values in their form --------------------------------------------------------------------------------------------------


def in_form(values: pl.Series, form: Form) -> pl.Series:
    """The values as they are compared."""
    if form.kind == "python":
        return pl.Series(values.name, [None if one is None else _python_text(one) for one in values], pl.String)
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
            _in_form(value.struct.field(name), types[name], one).alias(name)
            for name, one in zip(form.fields, form.inner, strict=True)
        ]
        made = pl.struct(fields) if fields else value
        return pl.when(value.is_not_null()).then(made)
    if dtype in (pl.Date, pl.Datetime, pl.Duration):
        return value.to_physical().cast(form.dtype)
    return value.cast(form.dtype)


def _dtype_of(form: Form) -> Any:
    """The Polars type of values in this form."""
    if form.kind == "list":
        return pl.List(_dtype_of(form.inner[0]))
    if form.kind == "struct":
        return pl.Struct({name: _dtype_of(one) for name, one in zip(form.fields, form.inner, strict=True)})
    return pl.String if form.kind in ("decimal", "python") else form.dtype


def differing(before: pl.Series, after: pl.Series, form: Form, tolerance: float = TOLERANCE) -> pl.Series:
    """For each pair of values in their form whether they differ."""
    found = before.ne_missing(after)
    if not form.has_floats or not found.any():
        return found
    at = found.arg_true()
    then, now = before.gather(at), after.gather(at)
    if form.kind == "float":
        kept = _float_differs(then, now, tolerance)
    else:
        pairs = zip(then.to_list(), now.to_list(), strict=True)
        kept = pl.Series([not are_equal(one, other, tolerance) for one, other in pairs], dtype=pl.Boolean)
    still = at.filter(kept)
    return found if len(still) == len(at) else pl.select(pl.repeat(False, len(found))).to_series().scatter(still, True)


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
            _rounded(value.struct.field(name), types[name], one, digits).alias(name)
            for name, one in zip(form.fields, form.inner, strict=True)
        ]
        return pl.when(value.is_not_null()).then(pl.struct(fields))
    return value


# -- values of Python ------------------------------------------------------------------------------------------------------


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
        return len(before) == len(after) and all(are_equal(one, other, tolerance) for one, other in pairs)
    if isinstance(before, float) or isinstance(after, float):
        return _are_close(before, after, tolerance)
    return bool(before == after)


def _are_close(before: Any, after: Any, tolerance: float) -> bool:
    try:
        one, other = float(before), float(after)
    except (TypeError, ValueError, OverflowError):
        return bool(before == after)
    if isinstance(before, str) or isinstance(after, str):
        return False
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    if math.isinf(one) or math.isinf(other):
        return one == other
    return abs(one - other) <= tolerance * max(abs(one), abs(other))


def _python_text(value: Any) -> str:
    """What stands for a value that Polars cannot compare."""
    return f"{type(value).__qualname__} {value!r}"

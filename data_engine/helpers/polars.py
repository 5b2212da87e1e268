"""Working days, numbers as texts, propagated values and visits as Polars expressions; columns without values; Parquet files written whole.

The expressions are Polars' own: no Python runs per row, and a lazy query stays lazy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from data_engine.argument_checks import checked, is_unicode
from data_engine.errors import FlowValidationError
from data_engine.helpers.excel import write_excel_atomic
from data_engine.helpers.targets import asking, target_of, whole_or_nothing
from data_engine.unfinished import noted_target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import date, datetime
    from os import PathLike
    from typing import Any, TypeVar

    import polars as pl

    Day = str | date | datetime | pl.Expr
    Columns = str | pl.Expr | Iterable[str | pl.Expr]
    Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)

_MOST_DAYS = 3_652_059
"""From year 1 to year 9999."""

__all__ = [
    "networkdays",
    "parse_decimal",
    "propagate_first_value",
    "propagate_last_value",
    "remove_null_columns",
    "sink_parquet_atomic",
    "visit_counter",
    "workday",
    "write_excel_atomic",
    "write_parquet_atomic",
]


@checked(only=("bool",))
def networkdays(
    start: Day,
    end: Day,
    *,
    holidays: Iterable[date | datetime | str] | None = None,
    count_first_day: bool = False,
    mask: Sequence[bool] | None = None,
) -> pl.Expr:
    """The working days from `start` to `end`, both counted, as Excel's NETWORKDAYS: Int64, negative when `end` is earlier.

    Null where either day is null. The column is called "networkdays": in `with_columns` it replaces no other column.

    Args:
        start, end: a column's name, an expression, or one day for all rows. Of a datetime, the day in its own zone counts.
        holidays: days off, as dates or ISO texts; duplicates and weekends among them do not matter.
        count_first_day: count `start` also when it is no working day.
        mask: seven bools, Monday first: which weekdays are worked. Monday to Friday by default.

    Raises:
        FlowValidationError: a mask that is not seven long or has no working day, a holiday's text that is not a date.
        TypeError: a mask of other than bools, a day of another type.

    Reference: https://support.microsoft.com/office/networkdays-function-48e717bf-a7a3-495f-969e-5005e3eb18e7

    Example:
        >>> from datetime import date
        >>> import polars as pl
        >>> from data_engine.helpers import networkdays
        >>> project = pl.DataFrame({"start": [date(2012, 10, 1)], "end": [date(2013, 3, 1)]})
        >>> project.select(networkdays("start", "end", holidays=["2012-11-22", "2012-12-04", "2013-01-21"])).item()
        107
    """
    import polars as pl

    first, last = _day(start, "start"), _day(end, "end")
    week, off = _mask(mask), _holidays(holidays)
    # Polars counts up to, and not with, the end; one step further in the direction of travel it counts as Excel does.
    from_day, to_day = first.to_physical(), last.to_physical()  # whole numbers compare faster than dates
    step = pl.when(to_day >= from_day).then(pl.lit(1, dtype=pl.Int32)).otherwise(pl.lit(-1, dtype=pl.Int32))
    days = pl.business_day_count(first, (to_day + step).cast(pl.Date), week_mask=week, holidays=off)
    if count_first_day:
        is_off = ~first.dt.is_business_day(week_mask=week, holidays=off)
        days = days + step * is_off.cast(pl.Int32)
    return days.cast(pl.Int64).alias("networkdays")


@checked(only=("bool",))
def workday(
    start: Day,
    days: int | str | pl.Expr,
    *,
    holidays: Iterable[date | datetime | str] | None = None,
    count_first_day: bool = False,
    mask: Sequence[bool] | None = None,
) -> pl.Expr:
    """The day so many working days after `start` (before it, when negative), as Excel's WORKDAY: Date.

    Null where `start` or `days` is null. The column is called "workday". For 0 days a day off gives the next working day,
    where Excel gives that day itself.

    Args:
        start: a column's name, an expression, or one day for all rows.
        days: a whole number, a column's name or an expression.
        holidays, mask: as of `networkdays`.
        count_first_day: let `start` be the first of the days, working day or not; 0 gives `start`.

    Raises:
        FlowValidationError: a mask that is not seven long or has no working day, a holiday's text that is not a date, more days than a
            calendar has.
        TypeError: a mask of other than bools, a day or a number of another type.

    Reference: https://support.microsoft.com/office/workday-function-f764a5b7-05fc-4494-9486-60d494efbf33

    Example:
        >>> from datetime import date
        >>> import polars as pl
        >>> from data_engine.helpers import workday
        >>> pl.select(workday(date(2008, 10, 1), 151, holidays=["2008-11-26", "2008-12-04", "2009-01-21"])).item()
        datetime.date(2009, 5, 5)
    """
    import polars as pl

    first, count = _day(start, "start"), _count(days)
    week, off = _mask(mask), _holidays(holidays)
    if count_first_day:
        count = count - count.sign()
        is_given = count == 0
    is_off = ~first.dt.is_business_day(week_mask=week, holidays=off)
    # From a day off, forward to the next working day is the first step ahead, and no step back.
    steps = count - ((count > 0) & is_off).cast(pl.Int32)
    day = first.dt.add_business_days(steps, week_mask=week, holidays=off, roll="forward")
    return (pl.when(is_given).then(first).otherwise(day) if count_first_day else day).alias("workday")


@checked(only=("bool",))
def propagate_last_value(
    value: str | pl.Expr,
    *,
    by: Columns,
    sort_by: Columns,
    where: str | pl.Expr | None = None,
    descending: bool | Sequence[bool] = False,
    nulls_last: bool | Sequence[bool] = False,
    ignore_nulls: bool = True,
) -> pl.Expr:
    """On every row of a group, the group's last `value` in the order of `sort_by`; null where no row of the group counts.

    The rows of a tie keep their order. The column has the value's name and type: in `with_columns` it takes the place of that
    column, unless it gets another name with `.alias(...)`.

    Args:
        value: a column's name or an expression.
        by: what makes a group: one or several names or expressions; null is a group.
        sort_by: the order in a group: one or several names or expressions.
        where: count only the rows where this is true: an expression, or the name of a column of bools.
        descending, nulls_last: of the order, one for all or one for each of `sort_by`.
        ignore_nulls: pass over rows without a value.

    Raises:
        FlowValidationError: no column in `by` or `sort_by`, or directions that are not one for each column of `sort_by`.
        TypeError: an argument is neither name nor expression, a direction no bool.

    Example:
        >>> import polars as pl
        >>> from data_engine.helpers import propagate_last_value
        >>> claims = pl.DataFrame({"claim": [1, 1, 2], "day": [1, 2, 1], "state": ["open", "paid", "open"]})
        >>> claims.select(propagate_last_value("state", by="claim", sort_by="day")).to_series().to_list()
        ['paid', 'paid', 'open']
    """
    return _sorted(value, by, sort_by, where, descending, nulls_last, ignore_nulls).last().over(_columns(by, "by"))


@checked(only=("bool",))
def propagate_first_value(
    value: str | pl.Expr,
    *,
    by: Columns,
    sort_by: Columns,
    where: str | pl.Expr | None = None,
    descending: bool | Sequence[bool] = False,
    nulls_last: bool | Sequence[bool] = False,
    ignore_nulls: bool = True,
) -> pl.Expr:
    """On every row of a group, the group's first `value` in the order of `sort_by`; otherwise as `propagate_last_value`.

    Raises:
        FlowValidationError: no column in `by` or `sort_by`, or directions that are not one for each column of `sort_by`.
        TypeError: an argument is neither name nor expression, a direction no bool.

    Example:
        >>> import polars as pl
        >>> from data_engine.helpers import propagate_first_value
        >>> claims = pl.DataFrame({"claim": [1, 1, 2], "day": [1, 2, 1], "state": [None, "paid", "open"]})
        >>> claims.select(propagate_first_value("state", by="claim", sort_by="day")).to_series().to_list()
        ['paid', 'paid', 'open']
    """
    return _sorted(value, by, sort_by, where, descending, nulls_last, ignore_nulls).first().over(_columns(by, "by"))


def visit_counter(
    value: str | pl.Expr,
    *,
    by: Columns,
    sort_by: Columns,
    descending: bool | Sequence[bool] = False,
    nulls_last: bool | Sequence[bool] = False,
) -> pl.Expr:
    """Which visit of its value a row belongs to: UInt32 from 1, in the frame's own order of rows.

    Within a group `by`, in the order of `sort_by`, equal values side by side are one visit; the next time the value comes it
    is its second. Null is a value. The rows of a tie keep their order. The column is called "visit_counter".

    Raises:
        FlowValidationError: one name or expression stands for several columns (list them), none is given, or directions that
            are not one for each column of `sort_by`.
        TypeError: an argument is neither name nor expression, a direction no bool.

    Example:
        >>> import polars as pl
        >>> from data_engine.helpers import visit_counter
        >>> track = pl.DataFrame({"claim": [1] * 5, "day": range(5), "desk": ["a", "a", "b", "a", "b"]})
        >>> track.select(visit_counter("desk", by="claim", sort_by="day")).to_series().to_list()
        [1, 1, 1, 2, 2]
    """
    import polars as pl

    visited, groups, keys = _expression(value, "value"), _columns(by, "by"), _columns(sort_by, "sort_by")
    for expr in (visited, *groups, *keys):
        if expr.meta.has_multiple_outputs():
            raise FlowValidationError(
                f"{expr} stands for several columns", where="visit_counter", fix='list them: by=["a", "b"]'
            )
    row = pl.int_range(pl.len(), dtype=pl.UInt32)
    # Each row's place in time within its group ...
    order = pl.arg_sort_by(
        [*groups, *keys, row],
        descending=[*[False] * len(groups), *_flags(descending, keys), False],
        nulls_last=[*[False] * len(groups), *_flags(nulls_last, keys), False],
    )
    place = row.sort_by(order)
    # ... and the rows of one value of one group side by side, in time: a visit begins where the places are no neighbours.
    # A literal is one value, which is gathered only once it stands on every row.
    parts = [expr if expr.meta.is_column() else pl.when(row >= 0).then(expr) for expr in (*groups, visited)]
    by_value = pl.arg_sort_by([*parts, place])
    is_other = pl.any_horizontal(
        [row == 0, *(part.gather(by_value).ne_missing(part.gather(by_value).shift(1)) for part in parts)]
    )
    placed = place.gather(by_value).cast(pl.Int64)
    begun = (is_other | (placed - placed.shift(1) != 1)).cast(pl.UInt32).cum_sum()
    before = pl.when(is_other).then(begun - 1).forward_fill()
    return (begun - before).cast(pl.UInt32).sort_by(by_value).alias("visit_counter")


def remove_null_columns(frame: Frame) -> Frame:
    """The frame without the columns that hold no value; a frame without rows has none left. Lazy stays lazy.

    Of a LazyFrame the values are counted at once, by one query.

    Raises:
        FlowValidationError: a lazy query that fails.
        TypeError: no Polars frame.

    Example:
        >>> import polars as pl
        >>> from data_engine.helpers import remove_null_columns
        >>> remove_null_columns(pl.DataFrame({"a": [1, None], "b": [None, None]})).columns
        ['a']
    """
    import polars as pl
    from polars.selectors import by_name

    if isinstance(frame, pl.DataFrame):
        return frame.select(by_name([series.name for series in frame if series.null_count() < len(series)]))
    if not isinstance(frame, pl.LazyFrame):
        raise TypeError(f"frame must be a Polars DataFrame or LazyFrame, not {type(frame).__name__}")
    with asking("frame"):
        counts = frame.select(pl.all().count()).collect()
    return frame.select(by_name([name for name in counts.columns if counts[name].item() > 0]))


def write_parquet_atomic(df: pl.DataFrame, path: str | PathLike[str], **options: Any) -> Path:
    """The absolute path of the Parquet file, after the frame was written there, whole and on the drive; its folder is made.

    Until the new file is complete the old one stays, whatever fails; a program that has it open goes on reading the old.

    Args:
        options: of `polars.DataFrame.write_parquet`.

    Raises:
        FlowValidationError: the file cannot be written: no room, no permission, a wrong option; `partition_by`, which makes
            a folder.
        TypeError: no DataFrame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import write_parquet_atomic
        >>> path = write_parquet_atomic(pl.DataFrame({"a": [1]}), tempfile.mkdtemp() + "/out/a.parquet")
        >>> pl.read_parquet(path).rows()
        [(1,)]
    """
    import polars as pl

    if not isinstance(df, pl.DataFrame):
        raise TypeError(f"df must be a Polars DataFrame, not {type(df).__name__}; a LazyFrame has sink_parquet_atomic")
    if options.get("partition_by") is not None:
        raise FlowValidationError(
            "this writes one file; a partitioned data set is a folder of many",
            where="partition_by=",
            fix="leave it out, or use polars.DataFrame.write_parquet",
        )
    target = target_of(path)
    with whole_or_nothing(target), noted_target(target) as fresh:
        df.write_parquet(fresh, **options)
    return target


def sink_parquet_atomic(lf: pl.LazyFrame, path: str | PathLike[str], **options: Any) -> Path:
    """As `write_parquet_atomic`, of a lazy query that streams into the file and is never whole in memory.

    Args:
        options: of `polars.LazyFrame.sink_parquet`, without `lazy=True`.

    Raises:
        FlowValidationError: the query fails, the file cannot be written, `lazy=True`.
        TypeError: no LazyFrame.

    Example:
        >>> import tempfile, polars as pl
        >>> from data_engine.helpers import sink_parquet_atomic
        >>> path = sink_parquet_atomic(pl.LazyFrame({"a": [1]}), tempfile.mkdtemp() + "/a.parquet")
        >>> pl.read_parquet(path).rows()
        [(1,)]
    """
    import polars as pl

    if not isinstance(lf, pl.LazyFrame):
        raise TypeError(f"lf must be a Polars LazyFrame, not {type(lf).__name__}")
    if options.get("lazy"):
        raise FlowValidationError(
            "this is an eager sink: the file is there when it returns", where="lazy=True", fix="leave lazy out"
        )
    target = target_of(path)
    # Not by name: a query that fails may go on in the background, and would make the file again after it was removed.
    # Whatever it raises: the query may call any Python function.
    with whole_or_nothing(target, Exception), noted_target(target) as fresh, fresh.open("wb") as file:
        lf.sink_parquet(file, **options)
    return target


_GROUPS = {" ": " \u00a0\u202f", "'": "'\u2019"}
"""The characters that stand for a mark between thousands."""
_MOST_WRONG = 3


@checked(only=("bool",))
def parse_decimal(
    value: str | pl.Expr, *, decimal: str, thousands: str | None = None, dtype: pl.DataType | type | None = None
) -> pl.Expr:
    """The numbers that texts hold in the notation that is named: Float64, or a Polars Decimal. The column keeps its name.

    Null and blank texts are null, blanks around a number are left out, whole numbers stay what they are. Everything else must be a
    number in this notation, the whole text: a sign, digits, between which the mark of thousands stands before each three, and the
    decimal mark. What stands before the first mark of thousands does not begin with 0. So a text of the other notation, of both, or
    with a unit is an error, and never another number. Where a text such as "1234,5" shows that the column has no marks of
    thousands, "1.234" is an error too: its mark may be one of decimals.

    Args:
        value: a column's name, or an expression.
        decimal: "," or ".".
        thousands: what may stand between thousands: ".", ",", " " (also the narrow and the fixed blank) or "'"; None: nothing.
        dtype: `pl.Float64`, or a `pl.Decimal(precision, scale)`, which keeps each digit; more digits than its scale are an error.

    Raises:
        FlowValidationError: marks other than these, or the same one twice.
        TypeError: another `dtype`.
        ValueError: when the query runs: a text is no number in this notation, a whole number is too long for Float64 to keep each digit,
            or the column holds floats, which were read in another one.

    Example:
        >>> import polars as pl
        >>> from data_engine.helpers import parse_decimal
        >>> df = pl.DataFrame({"amount": ["1.234,50", "-7", " 12,5 ", "", None]})
        >>> df.select(parse_decimal("amount", decimal=",", thousands=".")).to_series().to_list()
        [1234.5, -7.0, 12.5, None, None]
        >>> try:
        ...     pl.DataFrame({"amount": ["1,5", "12.50"]}).select(parse_decimal("amount", decimal=",", thousands="."))
        ... except ValueError as error:
        ...     print(str(error).partition(":")[0])
        column "amount" holds '12.50', which is no number with "," before decimals and "." between thousands
    """
    import polars as pl

    for name, mark, allowed in (("decimal", decimal, (",", ".")), ("thousands", thousands, (None, ".", ",", *_GROUPS))):
        if mark not in allowed:
            known = ", ".join(map(repr, allowed))
            raise FlowValidationError(
                f"{name} is {mark!r}", where=f"parse_decimal({name}=...)", fix=f"give one of {known}"
            )
    if decimal == thousands:
        what = f"{decimal!r} cannot stand before decimals and between thousands"
        raise FlowValidationError(what, where="parse_decimal(thousands=...)", fix="give two marks")
    kind = pl.Float64() if dtype in (None, pl.Float64) else dtype
    if not isinstance(kind, (pl.Float64, pl.Decimal)):
        raise TypeError(f"dtype must be pl.Float64 or a pl.Decimal with its scale, not {dtype!r}")
    column = _expression(value, "value")
    # Not element by element: whether a column groups is seen in all of it.
    return column.map_batches(lambda texts: _numbers(texts, decimal, thousands, kind), return_dtype=kind)


def _numbers(texts: pl.Series, decimal: str, thousands: str | None, kind: pl.DataType) -> pl.Series:
    """The numbers of a column of texts."""
    import polars as pl

    if texts.dtype.is_integer() or texts.dtype == pl.Null:
        numbers = texts.cast(kind)
        _require_whole(texts, texts, numbers)
        return numbers
    if texts.dtype != pl.String:
        raise ValueError(
            f'column "{texts.name}" is {texts.dtype} and no text: it was read in another notation before. Read it as text: infer_schema=False'
        )
    plain = texts.str.strip_chars().str.replace("^\u2212", "-")
    groups = _GROUPS.get(thousands or "", thousands or "")
    inside = f"[1-9][0-9]{{0,2}}(?:[{groups}][0-9]{{3}})+|" if thousands else ""
    scale = kind.scale if isinstance(kind, pl.Decimal) else None
    decimals = "+" if scale is None else f"{{1,{scale}}}" if scale else "{0}"
    mark = f"[{decimal}]"
    is_number = plain.str.contains(f"^[+-]?(?:(?:{inside}[0-9]+)(?:{mark}[0-9]{decimals})?|{mark}[0-9]{decimals})$")
    numbers = plain.str.replace_all(f"[{groups}]", "") if thousands else plain
    pointed = numbers.str.replace(decimal, ".", literal=True).str.strip_prefix("+")
    numbers = pointed.cast(kind, strict=False)
    if thousands in (",", ".") and plain.str.contains(f"^[+-]?[0-9]{{4,}}(?:{mark}|$)").any():
        # else it may be a number with three decimals in the other notation
        is_number &= ~plain.str.contains(f"^[+-]?[0-9]{{1,3}}[{groups}][0-9]{{3}}$")
    is_lost = numbers.is_null() if scale is not None else numbers.is_null() | numbers.is_infinite()
    wrong = texts.filter(~is_number.fill_null(True) & (plain != "") | (is_number & is_lost)).unique(maintain_order=True)
    if len(wrong):
        shown = ", ".join(map(repr, wrong.head(_MOST_WRONG).to_list()))
        more = f" and {len(wrong) - _MOST_WRONG:,} other texts" if len(wrong) > _MOST_WRONG else ""
        between = f'"{thousands}" between thousands' if thousands else "nothing between thousands"
        fits = f" of at most {kind}" if isinstance(kind, pl.Decimal) else ""
        raise ValueError(
            f'column "{texts.name}" holds {shown}{more}, which is no number{fits} with "{decimal}" before decimals and {between}:'
            " name the notation of these texts (decimal=, thousands=), or correct or filter them before"
        )
    _require_whole(texts, pointed, numbers)
    return pl.select(pl.when(plain == "").then(None).otherwise(numbers).alias(texts.name)).to_series()


def _require_whole(given: pl.Series, plain: pl.Series, numbers: pl.Series) -> None:
    """Return when no whole number is another one as a float; those below 2 ** 53 are none."""
    import polars as pl

    if not numbers.dtype.is_float() or not (is_large := numbers.abs() >= 2.0**53).any():
        return
    digits = plain.filter(is_large).cast(pl.String).str.extract(r"^(-?[0-9]+)").cast(pl.Int128, strict=False)
    is_kept = digits == numbers.filter(is_large).cast(pl.Int128, strict=False)
    lost = given.filter(is_large).filter(~is_kept.fill_null(False)).unique(maintain_order=True)
    if len(lost):
        raise ValueError(
            f'column "{given.name}" holds {lost[0]!r}, of which Float64 does not keep each digit: give dtype=pl.Decimal(38, 0),'
            " or leave it a text where it is the name of something"
        )


def _day(day: object, argument: str) -> pl.Expr:
    from datetime import date, datetime

    import polars as pl

    if isinstance(day, datetime):
        return pl.lit(day.date())
    if isinstance(day, date):
        return pl.lit(day)
    if isinstance(day, (str, pl.Expr)):
        # A column of nulls alone may have no type yet; with a typed null beside it, it has one.
        return pl.coalesce(_expression(day, argument), pl.lit(None, dtype=pl.Date)).dt.date()
    raise TypeError(f"{argument} must be a column, an expression or a date, not {day!r}")


def _count(days: object) -> pl.Expr:
    import polars as pl

    if isinstance(days, int) and not isinstance(days, bool):
        if abs(days) > _MOST_DAYS:
            raise FlowValidationError(
                f"{days} days go beyond the calendar", where="days=", fix=f"give at most {_MOST_DAYS:,}"
            )
        return pl.lit(days, dtype=pl.Int32)
    if isinstance(days, (str, pl.Expr)):
        return _expression(days, "days").cast(pl.Int32)
    raise TypeError(f"days must be a whole number, a column or an expression, not {days!r}")


def _mask(mask: object) -> list[bool]:
    if mask is None:
        return [True] * 5 + [False] * 2
    if isinstance(mask, (str, bytes)) or not isinstance(mask, Iterable):
        raise TypeError(f"mask must be exactly seven bools, Monday first, not {mask!r}")
    week = list(mask)
    if not all(isinstance(flag, bool) for flag in week):
        raise TypeError(f"mask must be exactly seven bools, Monday first, not {week!r}")
    if len(week) != 7 or not any(week):
        what = "has no working day" if len(week) == 7 else f"is {len(week)} long"
        raise FlowValidationError(
            f"mask must be exactly seven bools with a working day; it {what}", where="mask=", fix="Monday first"
        )
    return week


def _holidays(holidays: object) -> list[date]:
    from datetime import date, datetime

    if holidays is None:
        return []
    if isinstance(holidays, (str, bytes)) or not isinstance(holidays, Iterable):
        raise TypeError(f"holidays must be a list of dates, not {holidays!r}")
    days = set()
    for day in holidays:
        if isinstance(day, str):
            try:
                day = datetime.fromisoformat(day)
            except ValueError as error:
                raise FlowValidationError(
                    f"{day!r} is not a date", where="holidays=", fix='write "2026-12-25"'
                ) from error
        if isinstance(day, datetime):
            day = day.date()
        if not isinstance(day, date):
            raise TypeError(f"a holiday must be a date, a datetime or an ISO text, not {day!r}")
        days.add(day)
    return sorted(days)


def _sorted(
    value: object,
    by: object,
    sort_by: object,
    where: object,
    descending: bool | Sequence[bool],
    nulls_last: bool | Sequence[bool],
    ignore_nulls: bool,
) -> pl.Expr:
    """The values of a group that count, in order."""
    values, keys = _expression(value, "value"), _columns(sort_by, "sort_by")
    counted = None if where is None else _expression(where, "where")
    if ignore_nulls:
        counted = values.is_not_null() if counted is None else counted & values.is_not_null()
    chosen = [values, *keys] if counted is None else [expr.filter(counted) for expr in (values, *keys)]
    return chosen[0].sort_by(
        chosen[1:], descending=_flags(descending, keys), nulls_last=_flags(nulls_last, keys), maintain_order=True
    )


def _flags(value: object, keys: Sequence[pl.Expr]) -> list[bool]:
    flags = [value] * len(keys) if isinstance(value, bool) else list(value) if isinstance(value, Iterable) else [value]
    if not all(isinstance(flag, bool) for flag in flags):
        raise TypeError(f"descending and nulls_last must be a bool or a list of bools, not {value!r}")
    if len(flags) != len(keys):
        raise FlowValidationError(
            f"{len(flags)} directions for {len(keys)} columns",
            where="descending=, nulls_last=",
            fix="give one for all, or one each",
        )
    return list(map(bool, flags))


def _columns(value: object, argument: str) -> list[pl.Expr]:
    import polars as pl

    if isinstance(value, (str, pl.Expr)) or not isinstance(value, Iterable):
        return [_expression(value, argument)]
    columns = [_expression(part, argument) for part in value]
    if not columns:
        raise FlowValidationError(f"{argument} needs at least one column", where=f"{argument}=", fix="name a column")
    return columns


def _expression(value: object, argument: str) -> pl.Expr:
    import polars as pl

    if isinstance(value, pl.Expr):
        return value
    if is_unicode(value):
        return pl.col(value)
    raise TypeError(f"{argument} must be a column's name or an expression, not {value!r}")

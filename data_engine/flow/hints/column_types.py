"""What helps where a column of Polars has another type than what is done with it takes: text where a number or a day is meant, keys of
a join that differ. Read from the error, its traceback, and the columns of the table."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from data_engine.cut import beginning, first_few
from data_engine.errors import message_of
from data_engine.flow.hints.columns import Marks, day_forms, marks_of, quoted, unquoted

_OPERATION = r"`?(\w+)`? operation not supported for dtypes? `(\w+)`"
_SERIES = "cannot do arithmetic with Series of dtype: String"
_NUMBER_AND_TEXT = "cannot compare string with numeric type"
_DAY_AND_TEXT = "cannot compare 'date/datetime/time' to a string value"
_KEYS = r"datatypes of join keys don't match - `(.+?)`: (\S+) on left does not match `(.+?)`: (\S+) on right"
_NO_TEXT = r"invalid series dtype: expected `String`, got `(\S+)` for series with name `(.*?)`"
_LIST = r"'is_in' cannot check for (\w+) values in List\((\w+)\) data"
_COLUMN = r'col\(("(?:[^"\\]|\\.)*")\)|column \'(.+?)\''
_SHOWN = r"following expression:\n\t([^\n]*)"
_SIDES = r"\(lhs: (.*?), rhs: (.*?)\); try"
_TEMPORAL = ("Date", "Datetime", "Time", "Duration")
_DAYS = (
    "year",
    "month",
    "day",
    "week",
    "weekday",
    "quarter",
    "hour",
    "minute",
    "second",
    "date",
    "truncate",
    "strftime",
)
_SHORT = {"i": "Int", "u": "UInt", "f": "Float"}
_MOST_COLUMNS, _MOST_VALUES, _MOST_VALUE, _MOST_TEXTS = 3, 3, 60, 1000


def type_hint(error: BaseException, current: object = None) -> str | None:
    """The fix of a column that has another type than is meant; None of any other error. `current` is what the step was given.

    Example:
        >>> import polars as pl
        >>> frame = pl.DataFrame({"net": ["1.234,50", "2"], "day": ["31.12.2026", "1.1.2027"]})
        >>> for wanted in (pl.col("net") * 2, pl.col("day").dt.year()):
        ...     try:
        ...         frame.select(wanted)
        ...     except Exception as error:
        ...         print(type_hint(error))
        column "net" is text ("1.234,50"): make numbers of it first, pl.col("net").str.replace_all(".", "", literal=True).str.replace(",", ".").cast(pl.Float64)
        column "day" is text ("31.12.2026"): make days of it first, pl.col("day").str.to_date("%d.%m.%Y")
    """
    kind, text = type(error).__name__, message_of(error)[:20_000]
    if kind not in ("InvalidOperationError", "ComputeError", "SchemaError", "TypeError"):
        return None
    with suppress(Exception):  # of what others' values do when they are looked at
        if (keys := re.search(_KEYS, text)) is not None:
            return _of_keys(*keys.groups())
        if (found := re.search(_NO_TEXT, text)) is not None:
            return f"column {quoted(found[2])} is {found[1]}, and .str is of text: cast it first, pl.col({quoted(found[2])}).cast(pl.String)"
        if (found := re.search(_LIST, text)) is not None:
            return (
                f"the column is {found[1]}, and the list of is_in holds {found[2]}: write its values as the column has them, with quotes"
                " where it is text, or cast the column first"
            )
        frame = _frame_in(error, current)
        if _DAY_AND_TEXT in text or re.match(r"[-+] not allowed on \S+ and \S+", text):
            return _of_days(_columns_in(error, text, ""), frame)
        if _NUMBER_AND_TEXT in text:
            return _of_comparison(_columns_in(error, text, ""), frame)
        operation = re.search(_OPERATION, text)
        if operation is not None and operation[2] == "str":
            named = _columns_in(error, text, operation[1])
            if operation[1] in _DAYS:
                return _of_text(named, frame, is_day=True)
            return _of_text(named, frame)
        if (
            _SERIES in text
            or "division with 'String'" in text
            or re.search(r"arithmetic on dtypes (?:str|\S+ and str\b)", text)
        ):
            return _of_text(_columns_in(error, text, ""), frame)
        if "not supported for dtype `str`" in text:
            return _of_text(_columns_in(error, text, ""), frame)
    return None


def texts_in(error: BaseException, current: object, column: str) -> list[str]:
    """The first different texts of a column of the frame that Polars worked on when it raised; none where that is not known."""
    with suppress(Exception):
        frame = _frame_in(error, current)
        if _schema_of(frame).get(column) == "String":
            return [str(one) for one in frame[column].drop_nulls().head(_MOST_TEXTS).unique(maintain_order=True)]
    return []


def text_for_column(error: BaseException, name: str) -> str | None:
    """The fix of a text in `then` or `otherwise`, which name a column; None where the missing column of that name stands elsewhere."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == "polars":
            for one in _expressions_in(frame.f_locals):
                if re.search(rf"\.(?:then|otherwise)\(col\({re.escape(quoted(name))}\)\)", str(one)):
                    return f"then and otherwise take a text for the name of a column: write pl.lit({quoted(name)}) for the text itself"
    return None


def _of_text(named: Sequence[str], frame: Any, *, is_day: bool = False) -> str | None:
    """The fix of columns of text that are to be numbers, or days; of those that are named, else of all that are text."""
    schema = _schema_of(frame)
    texts = [name for name in named if schema.get(name, "String") == "String"]
    if not texts:
        texts = [name for name, kind in schema.items() if kind == "String" and (is_day or _may_be_numbers(frame, name))]
        if named or not texts:
            return None
    if len(texts) > 1 and not is_day:
        texts = [name for name in texts if _may_be_numbers(frame, name)] or texts
    if len(texts) > 1:
        told = first_few([quoted(one) for one in texts], _MOST_COLUMNS)
        return f"columns {told} are text: make numbers of what is one first, such as {_number_of(texts[0], ())}"
    name, values = texts[0], _values_of(frame, texts[0])
    if is_day:
        return _day_fix(name, values)
    return _number_fix(name, frame)


def _number_fix(name: str, frame: Any) -> str:
    """The fix of a column of text that is to be a number, by the values that are none as they stand."""
    numbers, others = _no_numbers(frame, name)
    said = f"column {quoted(name)} is text"
    if not others:
        return f"{said}: make numbers of it first, {_number_of(name, ())}"
    odd = next((one for one in others if marks_of([one]) is None and re.search(r"\d", one)), None)
    if odd is not None and numbers:
        told = quoted(beginning(odd, _MOST_VALUE))
        return (
            f"{said}, since it holds {told}, which is not a number: correct the file, or clean the column and cast it"
        )
    told = quoted(beginning(others[0], _MOST_VALUE))
    marked = [one for one in others if marks_of([one]) is not None]
    if not numbers and not marked:
        return f"{said}, such as {told}, of which no number can be made: name another column, or correct the file"
    return f"{said} ({told}): make numbers of it first, {_number_of(name, others)}"


def _may_be_numbers(frame: Any, name: str) -> bool:
    """Whether a value of a column of text is a number, as a cast reads it or as people write it."""
    numbers, others = _no_numbers(frame, name)
    return numbers > 0 or any(marks_of([one]) is not None for one in others)


def _number_of(name: str, values: Sequence[str]) -> str:
    """The expression that makes numbers of a column with these texts, which are no numbers as they stand."""
    marks = marks_of([one for one in values if marks_of([one]) is not None]) or Marks("", "")
    nothing = [one for one in dict.fromkeys(values) if marks_of([one]) is None]
    return marks.expression(name, nothing=nothing[:_MOST_VALUES])


def _day_fix(name: str, values: Sequence[str]) -> str:
    form = next(iter(day_forms(values)), "%Y-%m-%d")
    told = f" ({quoted(beginning(values[0], _MOST_VALUE))})" if values else ""
    return f"column {quoted(name)} is text{told}: make days of it first, pl.col({quoted(name)}).str.to_date({quoted(form)})"


def _of_days(named: Sequence[str], frame: Any) -> str | None:
    """The fix of a day that is compared with a text: the column is one of them."""
    schema = _schema_of(frame)
    text = next((name for name in named if schema.get(name) == "String"), None)
    if text is not None:
        return _day_fix(text, _values_of(frame, text))
    day = next((name for name in named if schema.get(name, "").startswith(_TEMPORAL)), None)
    if day is None:
        return None
    return f"column {quoted(day)} is {schema[day]}: write a day for the text beside it, pl.date(2026, 1, 31) or datetime.date(2026, 1, 31)"


def _of_comparison(named: Sequence[str], frame: Any) -> str | None:
    """The fix of a number that is compared with a text: the column is one of them."""
    schema = _schema_of(frame)
    if any(schema.get(name, "String") == "String" for name in named):
        said = _of_text(named, frame)
        return None if said is None else f"{said}; or compare it with a text, in quotes"
    number = next(iter(named), None)
    if number is None:
        return None
    return f"column {quoted(number)} is {schema[number]}, and is compared with a text: write the number without quotes"


def _of_keys(left: str, of_left: str, right: str, of_right: str) -> str:
    """The fix of keys of a join that have two types."""
    said = f"the key {quoted(left)} is {of_left} on the left, and {quoted(right)} is {of_right} on the right"
    if "str" not in (of_left, of_right):
        return f"{said}: cast one of them to the type of the other before the join"
    text, other, of_other = (left, right, of_right) if of_left == "str" else (right, left, of_left)
    side, beside = ("left", "right") if of_left == "str" else ("right", "left")
    if of_other.startswith("date"):
        return f'{said}: make days of the text before the join, pl.col({quoted(text)}).str.to_date("%d.%m.%Y") on the {side}'
    kind = _SHORT.get(of_other[0], "") + of_other[1:] if of_other[1:].isdigit() else ""
    to_number = f"pl.col({quoted(text)}).cast(pl.{kind}) on the {side}, or " if kind else ""
    return (
        f"{said}: give both one type before the join, {to_number}pl.col({quoted(other)}).cast(pl.String) on the {beside}"
        ' (then "07" and "7" differ)'
    )


def _columns_in(error: BaseException, text: str, operation: str) -> list[str]:
    """The names of the columns that the error tells of: in its text, else in the expressions that Polars was given, of which only those
    with the operation where one is known; or the name of a series."""
    sides = re.search(_SIDES, text)
    shown = re.search(_SHOWN, text)
    told = [*(sides.groups() if sides is not None else ()), *((shown[1],) if shown is not None else ())]
    found = list(_names_in(told))
    if found:
        return found
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] != "polars":
            continue
        given = frame.f_locals
        if type(given.get("self")).__name__ == "Series":
            both = [given["self"], given.get("other")]
            return [one.name for one in both if type(one).__name__ == "Series" and str(one.dtype) == "String"]
        if frame.f_code.co_name == "pivot" and isinstance(given.get("values"), str):
            return [given["values"]]
        expressions = [str(one) for one in _expressions_in(given) if not operation or f".{operation}(" in str(one)]
        if found := list(_names_in(expressions)):
            return found
    return []


def _names_in(texts: Sequence[str]) -> Iterator[str]:
    seen: dict[str, None] = {}
    for text in texts:
        for in_quotes, bare in re.findall(_COLUMN, text):
            seen.setdefault(unquoted(in_quotes) if in_quotes else bare)
    yield from seen


def _expressions_in(given: Mapping[str, Any]) -> Iterator[Any]:
    for value in given.values():
        several = value if isinstance(value, (list, tuple)) else value.values() if isinstance(value, dict) else [value]
        for one in several:
            inner = one if isinstance(one, (list, tuple)) else [one]
            yield from (each for each in inner if type(each).__name__ == "Expr")


def _frame_in(error: BaseException, current: object) -> Any:
    """The frame that Polars worked on when it raised, else what the step was given where that is one; None where neither is known."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] != "polars":
            continue
        asked: Any = frame.f_locals.get("self")
        other: Any = frame.f_locals.get("other")
        if type(asked).__name__ == type(other).__name__ == "Series" and str(other.dtype) == "String":
            asked = other
        found = asked.to_frame() if type(asked).__name__ == "Series" else getattr(asked, "df", asked)
        if type(found).__name__ == "DataFrame":
            return found
    return current if type(current).__name__ in ("DataFrame", "LazyFrame") else None


def _schema_of(frame: Any) -> dict[str, str]:
    """The types of its columns as texts; none where no frame is known."""
    if frame is None or not type(frame).__module__.startswith("polars"):
        return {}
    schema = frame.schema if type(frame).__name__ == "DataFrame" else frame.collect_schema()
    return {name: str(kind) for name, kind in schema.items()}


def _values_of(frame: Any, name: str) -> list[str]:
    """The first values of a column of text; none of a lazy frame."""
    if type(frame).__name__ != "DataFrame" or name not in frame.columns:
        return []
    return [str(one) for one in frame[name].drop_nulls().head(_MOST_VALUES)]


def _no_numbers(frame: Any, name: str) -> tuple[int, list[str]]:
    """How many values of a column of text are numbers, and the first ones that are none; of a lazy frame nothing is known."""
    if not _values_of(frame, name):
        return 0, []
    import polars as pl

    texts = frame[name].drop_nulls()
    numbers = texts.str.strip_chars().cast(pl.Float64, strict=False)
    return numbers.count(), [
        str(one) for one in texts.filter(numbers.is_null()).unique(maintain_order=True).head(_MOST_VALUES)
    ]

"""What helps where tables of Polars cannot be put into one: which of them differs, in which column, and by which value."""

from __future__ import annotations

import re
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from data_engine.cut import beginning
from data_engine.errors import message_of
from data_engine.flow.hints.columns import marks_of, quoted

_COLUMN = re.compile(r"failed to vstack column '(.+)'")
_FIELDS = re.compile(r"Schema \{ fields: \{(.*?)\}, metadata")
_FIELD = re.compile(r'("(?:[^"\\]|\\.)*"): (\w+)')
_NUMBERS = re.compile(r"U?Int\d+|Float\d+|Decimal.*")
_FILE = re.compile(r"\.[A-Za-z]\w{1,6}$")
_FILE_WORDS = re.compile(r"file|path|datei|pfad|source|quelle", re.IGNORECASE)
_MOST_VALUE = 60


def concat_hint(error: BaseException) -> str | None:
    """The fix of tables whose columns or types differ; None of any other error.

    Example:
        >>> import polars as pl
        >>> tables = [pl.DataFrame({"file": name, "amount": [value]}) for name, value in (("a.csv", 1), ("b.csv", 2), ("c.csv", "n/a"))]
        >>> try:
        ...     pl.concat(tables)
        ... except Exception as error:
        ...     print(concat_hint(error))
        column "amount" is String in table 3 of 3 (file "c.csv") and Int64 in the others, since it holds "n/a": correct the file, or read it with null_values=["n/a"]
    """
    kind, text = type(error).__name__, message_of(error)[:20_000]
    with suppress(Exception):  # of what others' values do when they are looked at
        if kind == "SchemaError" and (found := _COLUMN.search(text)) is not None:
            return _of_type(found[1], _tables_in(error), _how_in(error))
        if kind == "ShapeError" and text.startswith(("unable to vstack", "unable to append to a DataFrame of width")):
            return _of_columns(_tables_in(error))
        if kind == "InvalidOperationError" and text.startswith(
            "'union'/'concat' inputs should all have the same schema"
        ):
            return _of_schemas([dict(_FIELD.findall(fields)) for fields in _FIELDS.findall(text)])
    return None


def _of_type(column: str, tables: Sequence[Any], how: str | None) -> str | None:
    """The fix of a column that has another type in one of the tables."""
    having = [number for number, table in enumerate(tables) if column in table.columns]
    types = {number: str(tables[number].schema[column]) for number in having}
    if len(set(types.values())) < 2:
        return None
    usual = Counter(types.values()).most_common(1)[0][0]
    odd = next(number for number in having if types[number] != usual)
    rest = "the others" if list(types.values()).count(usual) == len(types) - 1 else "most others"
    said = f"column {quoted(column)} is {types[odd]} in {_called(tables, odd)} and {usual} in {rest}"
    if all(map(_NUMBERS.fullmatch, types.values())):
        return (
            f'{said}: pl.concat(..., how="{(how or "vertical").removesuffix("_relaxed")}_relaxed") takes the wider one'
        )
    value = _no_number(tables[odd][column]) if types[odd] == "String" and _NUMBERS.fullmatch(usual) else None
    if value is None:
        return f"{said}: read all of them with schema_overrides={{{quoted(column)}: ...}}, or cast it in each"
    told = quoted(beginning(value, _MOST_VALUE))
    marks = marks_of([value])
    if marks is not None and marks.thousands:
        way = f"make numbers of it in each, as {marks.expression(column)} does where it is text"
    else:
        way = f"read it with {'decimal_comma=True' if marks is not None else f'null_values=[{told}]'}"
    return f"{said}, since it holds {told}: correct the file, or {way}"


def _of_columns(tables: Sequence[Any]) -> str | None:
    """The fix of a table that has other columns than the first one."""
    if not tables:
        return None
    first = tables[0].columns
    odd = next((number for number, table in enumerate(tables) if table.columns != first), None)
    if odd is None:
        return None
    lacks = [quoted(one) for one in first if one not in tables[odd].columns]
    more = [quoted(one) for one in tables[odd].columns if one not in first]
    told = [f"lacks {', '.join(lacks[:3])}"] * bool(lacks) + [f"has {', '.join(more[:3])} beside"] * bool(more)
    said = " and ".join(told) or "has its columns in another order"
    return (
        f"{_called(tables, odd)} {said}, compared with the first one: rename its columns, "
        'or pl.concat(..., how="diagonal"), which leaves empty what a table lacks'
    )


def _of_schemas(schemas: Sequence[dict[str, str]]) -> str | None:
    """The fix of lazy tables, of which the error tells the schemas of two."""
    if len(schemas) != 2:
        return None
    one, other = schemas
    differing = next((name for name in one if other.get(name, one[name]) != one[name]), None)
    if differing is None:
        return 'pl.concat(..., how="diagonal") leaves empty what a table lacks'
    types = f"{one[differing]} in one table and {other[differing]} in another"
    if all(map(_NUMBERS.fullmatch, (one[differing], other[differing]))):
        return f'column {differing} is {types}: pl.concat(..., how="vertical_relaxed") takes the wider one'
    return f"column {differing} is {types}: read all of them with schema_overrides={{{differing}: ...}}"


def _called(tables: Sequence[Any], number: int) -> str:
    """Which table that is, with a text that all its rows have and the others have not, as the name of its file may be.

    One that reads like a file's name comes first; another one counts where each table has one text of it in all its rows.
    """
    told = f"table {number + 1:,} of {len(tables):,}"
    table, found = tables[number], _texts_of_one(tables, number)
    of_file = next((name for name in found if _FILE.search(table[name][0]) or _FILE_WORDS.search(name)), None)
    longer = [one for one in tables if one.height > 1]
    of_each = (name for name in found if longer and all(one[name].n_unique() == 1 for one in longer))
    name = next(of_each, None) if of_file is None else of_file
    return told if name is None else f"{told} ({name} {quoted(beginning(table[name][0], _MOST_VALUE))})"


def _texts_of_one(tables: Sequence[Any], number: int) -> list[str]:
    """The columns of a table that hold one text in all its rows, which no row of the others has."""
    table, others = tables[number], [one for at, one in enumerate(tables) if at != number]
    found = []
    for name in table.columns:
        if str(table.schema[name]) != "String" or table[name].n_unique() != 1 or table[name][0] is None:
            continue
        if all(name in one.columns and str(one.schema[name]) == "String" for one in others) and not any(
            (one[name] == table[name][0]).any() for one in others
        ):
            found.append(name)
    return found


def _no_number(texts: Any) -> str | None:
    """The first text of a column that is no number; None where all are."""
    import polars as pl

    bad = texts.filter(texts.str.strip_chars().cast(pl.Float64, strict=False).is_null() & texts.is_not_null())
    return None if bad.is_empty() else str(bad[0])


def _tables_in(error: BaseException) -> list[Any]:
    """The frames that Polars was given to put into one; none where that is not known."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] != "polars":
            continue
        values = list(frame.f_locals.values())
        if frame.f_code.co_name in ("vstack", "extend"):
            values = [[frame.f_locals.get(name) for name in ("self", "other")]]
        for value in values:
            if isinstance(value, (list, tuple)) and value and all(type(one).__name__ == "DataFrame" for one in value):
                return list(value)
    return []


def _how_in(error: BaseException) -> str | None:
    for frame, _ in traceback.walk_tb(error.__traceback__):
        how = frame.f_locals.get("how")
        if frame.f_code.co_name == "concat" and isinstance(how, str):
            return how
    return None

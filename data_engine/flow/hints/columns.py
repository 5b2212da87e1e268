"""What helps where a table lacks the column that a step asks for: the name that was meant, or how the file is read right. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from data_engine.counted import counted
from data_engine.cut import beginning, first_few
from data_engine.flow.hints.readers import PANDAS, POLARS, Options, Table

_MARKS = (("", ","), (".", ","), (",", "."), *((mark, point) for mark in "'\u2019 \u00a0\u202f" for point in ",."))
"""What may stand between the thousands of a number, and what before its decimals, in the order in which they are tried."""

SEPARATORS = (";", "\t", "|")
_SURE, _LIKELY = 0.8, 0.6
_MOST_TOLD = 20
_UNNAMED = ("__UNNAMED__", "Unnamed: ")
_NUMBER = re.compile(r"[+-]?\d[\d.,]*")
_ODD_BLANKS = str.maketrans({"\ufeff": "\\ufeff", "\u00a0": "\\u00a0", "\u200b": "\\u200b"})

_FORMS = (
    (re.compile(r"\d{4}-\d\d?-\d\d?"), ("%Y-%m-%d",)),
    (re.compile(r"\d{4}-\d\d?-\d\d? \d\d?:\d\d:\d\d"), ("%Y-%m-%d %H:%M:%S",)),
    (re.compile(r"\d{4}-\d\d?-\d\d?T\d\d?:\d\d:\d\d"), ("%Y-%m-%dT%H:%M:%S",)),
    (re.compile(r"\d\d?\.\d\d?\.\d{4}"), ("%d.%m.%Y",)),
    (re.compile(r"\d\d?\.\d\d?\.\d{4} \d\d?:\d\d"), ("%d.%m.%Y %H:%M",)),
    (re.compile(r"\d\d?\.\d\d?\.\d{4} \d\d?:\d\d:\d\d"), ("%d.%m.%Y %H:%M:%S",)),
    (re.compile(r"\d\d?\.\d\d?\.\d\d"), ("%d.%m.%y",)),
    (re.compile(r"\d\d?/\d\d?/\d{4}"), ("%d/%m/%Y", "%m/%d/%Y")),
)


def column_fix(wanted: str | None, table: Table) -> str | None:
    """The fix of a column that the table does not have; None where nothing is known.

    Example:
        >>> column_fix("city", Table(("Sales report", "__UNNAMED__1")))
        'the first row that was read is no header ("Sales report"): name its row, counted from 0, as read_options={"header_row": 3} for row 4 of the sheet'
        >>> column_fix("Citty", Table(("City", "amount"))), column_fix("city", Table(("town", "amount")))
        ('did you mean "City"?', None)
    """
    columns = table.columns
    together = only_column_fix(table) or (only_column_fix(table, (",",)) if table.rows else None)
    if together is not None:
        return together
    if wanted is None:
        return _header_is_further(table)
    rules = [_header_is_further(table), _stands_in_row(wanted, table)]
    if table.options is PANDAS:  # of which the row's number is known
        rules.reverse()
    sure, likely = (_near(wanted, columns, least, table.options) for least in (_SURE, _LIKELY))
    return next((one for one in (sure, *rules, likely) if one is not None), None)


def columns_told(table: Table) -> str | None:
    """The columns of a table, where its library does not tell them; None where it has none.

    Example:
        >>> columns_told(Table(("city", "amount")))
        'the columns are "city", "amount"'
    """
    return f"the columns are {first_few([quoted(one) for one in table.columns], _MOST_TOLD)}" if table.columns else None


def skipped_header_fix(wanted: str, columns: Sequence[str], name: str, lines: Sequence[str], skip: str) -> str | None:
    """The fix of a header that was left out with the lines above it: the column stands in a line of the file, above the one whose
    values became the names of the columns. None where the lines do not show that.

    Example:
        >>> skipped_header_fix("city", ["Oslo", "1"], "a.csv", ["city;amount", "Oslo;1", "Rome;2"], "skip_lines")
        '"city" stands in line 1 of a.csv, and line 2 was read as the header: leave out no line, skip_lines=0'
        >>> skipped_header_fix("town", ["city", "amount"], "a.csv", ["city;amount", "town;1"], "skip_lines") is None
        True
    """
    rows = [[part.strip().strip('"') for part in re.split(r"[;,\t|]", line)] for line in lines]
    read = next((at for at, row in enumerate(rows) if len(columns) > 1 and {*columns} <= {*row}), None)
    found = None if read is None else next((at for at, row in enumerate(rows[:read]) if wanted in row), None)
    if found is None or read is None or len(rows[found]) < 2:
        return None
    way = f"leave out {counted(found, 'line')} above it, {skip}={found}" if found else f"leave out no line, {skip}=0"
    return f"{quoted(wanted)} stands in line {found + 1} of {name}, and line {read + 1} was read as the header: {way}"


def only_column_fix(table: Table, among: Sequence[str] = SEPARATORS) -> str | None:
    """The fix of a table whose only column is all columns of its file in one; None of another. `among` is what may stand between them.

    Example:
        >>> only_column_fix(Table(("city;amount",), (("Oslo;1",), ("Rome;2",))))
        'the only column is "city;amount": the file has ";" between its columns, so read it with separator=";"'
        >>> only_column_fix(Table(("city; town",), (("Oslo",), ("Rome",)))), only_column_fix(Table(("city", "a;b")))
        (None, None)
    """
    if len(table.columns) != 1:
        return None
    heading = table.columns[0]
    separator = next((one for one in among if one in heading), None)
    if separator is None or sum(any(separator in value for value in row) for row in table.rows) * 2 < len(table.rows):
        return None
    return (
        f"the only column is {quoted(beginning(heading, 60))}: the file has {quoted(separator)} between its columns, "
        f"so read it with {table.options.separator}={quoted(separator)}"
    )


class Marks(NamedTuple):
    """What stands between the thousands of numbers, "" where nothing does, and what before their decimals."""

    thousands: str
    point: str

    def expression(self, column: str, kind: str = "pl.Float64", nothing: Sequence[str] = ()) -> str:
        """The expression of Polars that makes numbers of a column of texts which have these marks; `nothing` are texts of it to empty.

        Example:
            >>> print(Marks(".", ",").expression("net"))
            pl.col("net").str.replace_all(".", "", literal=True).str.replace(",", ".").cast(pl.Float64)
            >>> print(Marks("", ",").expression("net", nothing=["n/a"]))
            pl.col("net").replace({"n/a": None}).str.replace(",", ".").cast(pl.Float64)
        """
        literal = ", literal=True" if self.thousands == "." else ""
        emptied = ", ".join(f"{quoted(one)}: None" for one in nothing)
        return (
            f"pl.col({quoted(column)})"
            + (f".replace({{{emptied}}})" if nothing else "")
            + (f'.str.replace_all({quoted(self.thousands)}, ""{literal})' if self.thousands else "")
            + ('.str.replace(",", ".")' if self.point == "," else "")
            + f".cast({kind})"
        )


def marks_of(values: Sequence[str]) -> Marks | None:
    """The marks of texts that are numbers as people write them; None where they are none, or where they need no marks to be read.

    Example:
        >>> marks_of(["1.234,50", "2,5"]), marks_of(["1,5"]), marks_of(["1,234.50"]), marks_of(["1.5"]), marks_of(["n/a", "1,5"])
        (Marks(thousands='.', point=','), Marks(thousands='', point=','), Marks(thousands=',', point='.'), None, None)
    """
    bare = [value.strip() for value in values]
    if not bare or all(map(re.compile(r"[+-]?\d+(\.\d+)?").fullmatch, bare)):
        return None
    for thousands, point in _MARKS:
        whole = r"\d+" if not thousands else rf"(?:\d{{1,3}}(?:{re.escape(thousands)}\d{{3}})+|\d+)"
        if all(map(re.compile(rf"[+-]?{whole}(?:{re.escape(point)}\d+)?").fullmatch, bare)):
            return Marks(thousands, point)
    return None


def day_forms(values: Sequence[str]) -> list[str]:
    """The formats by which all of these texts are days of the calendar; none where there is no such format.

    Example:
        >>> day_forms(["31.12.2026", "1.1.2027"]), day_forms(["1/2/2026"]), day_forms(["32.1.2026"]), day_forms(["soon"])
        (['%d.%m.%Y'], ['%d/%m/%Y', '%m/%d/%Y'], [], [])
    """
    bare = [value.strip() for value in values]
    forms = next((forms for shape, forms in _FORMS if bare and all(map(shape.fullmatch, bare))), ())
    return [form for form in forms if all(_is_day(one, form) for one in bare)]


def has_form_of_day(value: str) -> bool:
    """Whether a text is written as days are, also where there is no such day."""
    return any(shape.fullmatch(value.strip()) for shape, _ in _FORMS)


def _is_day(value: str, form: str) -> bool:
    """Whether a value is a day of the calendar by this format."""
    with suppress(ValueError):
        datetime.strptime(value, form)
        return True
    return False


def near_column(wanted: str, columns: Sequence[str]) -> str | None:
    """The offer of the column with a name like this; None where none has one.

    Example:
        >>> near_column("amount", ["city", "Amount "]), near_column("amount", ["city"])
        ('did you mean "Amount "?', None)
    """
    near = _nearest(wanted, columns, _LIKELY)
    return None if near is None else f"did you mean {quoted(near)}?"


def quoted(text: str) -> str:
    """The text in quotes, as Python reads it; blanks that look like others are told by their numbers."""
    return json.dumps(text, ensure_ascii=False).translate(_ODD_BLANKS)


def unquoted(text: str) -> str:
    """What stands in the quotes of a text, as an error of Polars or DuckDB has it.

    Example:
        >>> print(unquoted('"city \\\\"north\\\\""'), unquoted('"a\\\\u{200b}"'))
        city "north" a\\u{200b}
    """
    try:
        return str(json.loads(text))
    except ValueError:  # Rust has escapes of its own
        return text[1:-1]


def _near(wanted: str, columns: Sequence[str], least: float, options: Options) -> str | None:
    near = _nearest(wanted, columns, least)
    if near is None:
        return None
    offer = f"did you mean {quoted(near)}?"
    if near.strip("\ufeff\u200b").strip() != near:
        return f"{offer} Its name has blanks around it: {options.strip} takes them off all columns"
    return f"{offer} Upper and lower case matter" if near.casefold() == wanted.casefold() else offer


def _nearest(wanted: str, columns: Sequence[str], least: float) -> str | None:
    known: dict[str, str] = {}
    for column in columns:
        known.setdefault(_as_people_read(column), column)
    found = difflib.get_close_matches(_as_people_read(wanted), known, n=1, cutoff=least)
    return known[found[0]] if found else None


def _as_people_read(name: str) -> str:
    """A name as people read it: without the case of its letters, and without what looks like nothing or a blank."""
    return re.sub(r"[\s_\ufeff\u200b]+", " ", name).strip().casefold()


def _stands_in_row(wanted: str, table: Table) -> str | None:
    """What to do where a row holds the name of the column, and so may be the header."""
    names = (
        row
        for row in enumerate(table.rows, start=1)
        if any(_as_people_read(wanted) == _as_people_read(value) for value in row[1])
    )
    number, row = next(names, (0, ()))
    if not row or any(_NUMBER.fullmatch(value) for value in row):
        return None
    said = f"{quoted(wanted)} stands in row {number} of the table: where that is its header, read the file"
    if table.options is PANDAS:
        return f"{said} with header={number}"
    return f"{said} with {POLARS.skip}= (read_csv) or {POLARS.header} (read_excel, counted from 0)"


def _header_is_further(table: Table) -> str | None:
    unnamed = [column for column in table.columns if column.startswith(_UNNAMED)]
    if not unnamed:
        return _header_of_numbers(table) or _header_of_days(table)
    titled = next((column for column in table.columns if column not in unnamed), None)
    title = "" if titled is None else f" ({quoted(beginning(titled, 60))})"
    return (
        f"the first row that was read is no header{title}: name its row, counted from 0, as"
        f" {table.options.header} for row 4 of the sheet"
    )


def _header_of_days(table: Table) -> str | None:
    """What to do where the name of a column is a day beside names that are none, and so may be a row of the table."""
    days = [column for column in table.columns if has_form_of_day(column)]
    if len(days) != 1 or len(table.columns) < 2:
        return None
    return (
        f"the name of a column is a day ({quoted(days[0])}): where that is a row, its header was left out: {table.options.skip}= (a text"
        f" file) or {table.options.header} (a workbook) leaves out too much"
    )


def _header_of_numbers(table: Table) -> str | None:
    """What to do where the names of all columns are numbers, and so may be a row of the table."""
    if not table.columns or not all(map(_NUMBER.fullmatch, table.columns)):
        return None
    none = "header=None" if table.options is PANDAS else "has_header=False"
    return (
        f"the names of all columns are numbers ({', '.join(map(quoted, table.columns[:3]))}): where that row is no header, {none}"
        " reads it as a row; sheet_name= takes another sheet of a workbook"
    )

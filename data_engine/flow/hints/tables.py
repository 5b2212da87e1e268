"""What helps against an error of a reader of tables, or of a table that was read otherwise than its author meant.

Decided from the kind of the error, its text, the columns it tells of and the beginning of the file. A reader's own advice may give
wrong data (`strict=False` empties what it cannot read), so `without_advice` takes it out where there is a fix.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from data_engine.cut import beginning, first_few
from data_engine.errors import message_of
from data_engine.flow.hints.column_types import text_for_column, texts_in, type_hint
from data_engine.flow.hints.columns import (
    SEPARATORS,
    Marks,
    column_fix,
    columns_told,
    day_forms,
    has_form_of_day,
    marks_of,
    near_column,
    quoted,
    skipped_header_fix,
    unquoted,
)
from data_engine.flow.hints.concat import concat_hint
from data_engine.flow.hints.readers import PANDAS, POLARS, Options, Table, read_by, table_in, table_of
from data_engine.platforms.files import open_to_read

_HEAD_BYTES = 64 * 1024
_MOST_LINES = 20
_MOST_SHEETS = 10
_CONVERSION = re.compile(r"conversion from `(\w+)\S*` to `(\w+)\S*` failed in column '(.*?)' for [^\n]*?: (\[[^\n]*\])")
_SHEET = re.compile(
    r"no matching sheet found when `sheet_(?:name|id)` is (.+)|Worksheet (?:named|index) (.+?) (?:not found|is invalid)"
)
_ADVICE = re.compile(
    r"\n\n(?:You might want to try:\n(?:- .*\n?)+|Consider setting '\w+=\w+'\.|Did you mean \"[^\n]*\"\?)"
)
_PATH = re.compile(r"Path \(\w*Path\(['\"](.+?)['\"]\)\)")
_TEXT = r'"(?:[^"\\]|\\.)*"'
_WANTED = re.compile(rf"(?:unable to find column |^)({_TEXT})(?:;| not found)")
_BINDINGS = re.compile(
    rf"(?:Referenced column |have a column named )({_TEXT})[^\n]*\n+Candidate bindings: (?:: )?([^\n]+)"
)
_LONG_LINE = re.compile(r"Expected \d+ fields in line \d+, saw \d+")
_LISTED = re.compile(r"\[(['\"].*['\"])\]")
_WHOLE = (*(f"i{bits}" for bits in (8, 16, 32, 64, 128)), *(f"u{bits}" for bits in (8, 16, 32, 64, 128)))
_MEANT = {
    _WHOLE: "not a whole number",
    ("f16", "f32", "f64", "decimal"): "not a number",
    ("enum",): "none of its categories",
}
"""What a value is not that cannot be read as one of these types of Polars."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(\.\d{3})+")
_EVERY_LETTER = re.compile(r'\.str\.replace_all\(\["\."')
_WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
_FLOAT = re.compile(
    r"could not convert string to float: '(.+)'|Unable to parse string \"(.+)\" at position|Unable to parse string '(.+)' at"
)


def table_hint(error: BaseException, source: Path | None, current: object = None) -> str | None:
    """The fix of an error about a table; None where nothing is known.

    `source` is the file the step was given, where the error does not tell which was read, `current` the table it was given.

    Example:
        >>> class ColumnNotFoundError(Exception): ...
        >>> table_hint(ColumnNotFoundError('unable to find column "city"; valid columns: ["city;amount"]'), None)
        'the only column is "city;amount": the file has ";" between its columns, so read it with separator=";"'
    """
    kind, text = type(error).__name__, message_of(error)[:20_000]
    if kind in ("ColumnNotFoundError", "KeyError"):
        return _column_hint(error, text, current, source)
    if kind == "BinderException" and (bound := _BINDINGS.search(text)) is not None:
        return near_column(unquoted(bound[1]), _texts_in(bound[2]))
    if (said := concat_hint(error) or type_hint(error, current)) is not None:
        return said
    read = read_by(error, source)
    if "found more fields than defined" in text or (kind == "ParserError" and _LONG_LINE.search(text)):
        return ragged_fix(_name_of(read.path), separator_of(_head_of(read.path)), read.separator, read.options)
    if (found := _SHEET.search(text)) is not None:
        return sheet_fix(_name_of(read.path), (found[1] or found[2]).strip("'\""), _sheets_of(read.path))
    if kind in ("NoDataError", "EmptyDataError"):
        return empty_fix(_name_of(read.path), is_empty=_is_empty(read.path), text=text, options=read.options)
    if (conversion := _CONVERSION.search(text)) is not None:
        values, is_regex = _texts_in(conversion[4]), _EVERY_LETTER.search(text) is not None
        is_book = None if read.path is None else read.path.suffix.lower() in _WORKBOOKS
        head = _head_of(read.path)
        beside = texts_in(error, current, conversion[3])
        return conversion_fix(
            conversion[2], conversion[3], values, head=head, is_book=is_book, is_regex=is_regex, beside=beside
        )
    if read.options is PANDAS and (number := _FLOAT.search(text)) is not None:
        value = next(filter(None, number.groups()))
        return _pandas_fix(value)
    return None


def _column_hint(error: BaseException, text: str, current: object, source: Path | None) -> str | None:
    """The fix of a column that a table lacks: of Polars, or of pandas, which tells no columns; None of any other `KeyError`."""
    table = table_in(error)
    if type(error).__name__ == "KeyError":
        wanted = _wanted_of_pandas(error, table)
        return None if wanted is None or table is None else _column_fix(wanted, table, source) or columns_told(table)
    table = table or table_of(current)
    if told := tuple(_columns_told(text)):
        table = table if table is not None and table.columns == told else Table(told)
    found = _WANTED.search(text)
    wanted = None if found is None else unquoted(found[1])
    said = None if table is None else _column_fix(wanted, table, source)
    if said is None and wanted is not None:
        said = text_for_column(error, wanted)
    return columns_told(table) if said is None and table is not None and not told else said


def _wanted_of_pandas(error: BaseException, table: Table | None) -> str | None:
    """The column that a frame of pandas does not have; None of any other `KeyError`."""
    said = error.args[0] if error.args else None
    if table is None or table.options is not PANDAS or not isinstance(said, str):
        return None
    listed = _LISTED.search(said)
    said = said.removeprefix("Column not found: ")
    names = [said] if listed is None else [one[1:-1] for one in re.findall(r"'[^']*'|\"[^\"]*\"", listed[1])]
    return next((name for name in names if name not in table.columns), None)


def _column_fix(wanted: str | None, table: Table, source: Path | None) -> str | None:
    """The fix of a column that the table lacks, by the lines of its source, else by the table alone."""
    return _skipped(wanted, table, source) or column_fix(wanted, table)


def _skipped(wanted: str | None, table: Table, source: Path | None) -> str | None:
    """The fix of a header that was left out, by the lines of the source."""
    lines = _head_of(source).splitlines()[:_MOST_LINES]
    if wanted is None or source is None or not lines:
        return None
    columns, asked = [_as_bytes_read(one) for one in table.columns], _as_bytes_read(wanted)
    for one, names in ((wanted, table.columns), (asked, columns)):
        if (said := skipped_header_fix(one, names, source.name, lines, table.options.skip)) is not None:
            return said.replace(quoted(one), quoted(wanted), 1)
    return None


def _as_bytes_read(text: str) -> str:
    """A text of a UTF-8 file as its bytes read one by one, as `_head_of` reads them."""
    return text.encode("utf-8", "replace").decode("latin-1")


def plain_words(text: str) -> str:
    """The text of an error without the advice of Polars, and with paths as people write them.

    Example:
        >>> plain_words("it failed: ['x']\\n\\nYou might want to try:\\n- setting `strict=False`\\n- using `str.to_date`\\n\\nIn: col")
        "it failed: ['x']\\n\\nIn: col"
        >>> plain_words("found more fields\\n\\nConsider setting 'truncate_ragged_lines=True'.")
        'found more fields'
        >>> plain_words("empty CSV"), plain_words("empty Excel sheet")
        ('nothing to read in CSV', 'empty Excel sheet')
        >>> plain_words("empty data from Path (PosixPath('/in/may.csv'))")
        'nothing to read in /in/may.csv'
    """
    text = re.sub(r"^empty (?:data from |(?=CSV$))", "nothing to read in ", _PATH.sub(r"\1", text))
    return _ADVICE.sub("\n", text).replace("\n\n\n", "\n\n").rstrip("\n") if _ADVICE.search(text) else text


def separator_of(head: str) -> str | None:
    """What stands between the columns of a text that begins so, where it is no comma; None where that is not plain.

    Example:
        >>> separator_of("Sales report\\n\\ncity;amount\\nOslo;1,5\\nRome;2,5\\n"), separator_of("city,note\\nOslo,a;b\\n")
        (';', None)
    """
    lines = [line for line in head.splitlines() if line.strip()][:_MOST_LINES]
    best = max(SEPARATORS, key=lambda one: sum(one in line for line in lines))
    having = [line for line in lines if best in line]
    if len(having) * 2 <= len(lines) or not having:
        return None
    return best if having[0].count(best) > having[0].count(",") else None


def ragged_fix(name: str, separator: str | None, used: str | None, options: Options = POLARS) -> str:
    """The fix of a line with more columns than the first one, in a file with this separator that was read with `used`.

    Example:
        >>> ragged_fix("a.csv", ";", ",")
        'a.csv has ";" between its columns: read it with separator=";"'
        >>> ragged_fix("a.csv", None, ",")
        'the header of a.csv is further down, then skip_lines= leaves out what stands above; or one of its lines is too long'
    """
    asked = options.separator
    further = f"the header of {name} is further down, then {options.skip}= leaves out what stands above; or one of its lines is too long"
    if separator is None and used is None:
        return f'name what {name} has between its columns where that is no comma, such as {asked}=";"; or {further}'
    if separator is None or separator == used:
        return further
    said = f"{name} has {quoted(separator)} between its columns: read it with {asked}={quoted(separator)}"
    return said if used is not None else f"{said}; where that is done, {further}"


def sheet_fix(name: str, wanted: str, sheets: Sequence[str]) -> str | None:
    """The fix of a sheet that a workbook does not have: those it has, the nearest first.

    Example:
        >>> sheet_fix("a.xlsx", "Nrod", ["South", "North"]), sheet_fix("a.xlsx", "7", [])
        ('the sheets of a.xlsx: "North", "South"', None)
    """
    if not sheets:
        return None
    near = sorted(sheets, key=lambda one: -difflib.SequenceMatcher(None, one.casefold(), wanted.casefold()).ratio())
    shown = near if not wanted.isdecimal() else list(sheets)
    return f"the sheets of {name}: {first_few([quoted(one) for one in shown], _MOST_SHEETS)}"


def empty_fix(name: str, *, is_empty: bool, text: str, options: Options = POLARS) -> str:
    """The fix of a table without a row.

    Example:
        >>> empty_fix("a.csv", is_empty=True, text="empty CSV")
        'a.csv is empty: write it again, or take it out of the folder'
        >>> empty_fix("a.xlsx", is_empty=False, text="empty Excel sheet")
        'the sheet is empty: name another with sheet_name=; raise_if_empty=False gives a table without rows'
    """
    if "Excel sheet" in text:
        return "the sheet is empty: name another with sheet_name=; raise_if_empty=False gives a table without rows"
    if is_empty:
        return f"{name} is empty: write it again, or take it out of the folder"
    skip = dict.fromkeys((options.skip, "skip_rows" if options is POLARS else "header"))
    return f"nothing is left of {name} to read: {' or '.join(f'{one}=' for one in skip)} leaves out too much, or the file holds no row"


def conversion_fix(
    kind: str,
    column: str,
    values: Sequence[str],
    *,
    head: str = "",
    is_book: bool | None = False,
    is_regex: bool = False,
    beside: Sequence[str] = (),
) -> str | None:
    """The fix of values of a column that are no dates, times or numbers as the step reads them. `head` is the beginning of the
    file: where that has a comma for the point of a value, the step has replaced it, and the file's own text is told. `is_book` says
    whether the file is a workbook, which no reader reads by its commas (None: not known), `is_regex` whether the step took a sign away
    by an expression in which it stands for every letter, and `beside` are the first texts of the column.

    Example:
        >>> conversion_fix("date", "day", ["2026-01-31"])
        'column "day" holds "2026-01-31", which has the format "%Y-%m-%d": name that one, or correct the file'
        >>> conversion_fix("f64", "amount", ["1,5"])
        'column "amount" holds "1,5": read the file with decimal_comma=True, or write pl.col("amount").str.replace(",", ".").cast(pl.Float64)'
        >>> conversion_fix("f64", "net", ["1.234,50"])
        'column "net" holds "1.234,50": write pl.col("net").str.replace_all(".", "", literal=True).str.replace(",", ".").cast(pl.Float64)'
        >>> conversion_fix("date", "day", ["32.01.2027"])
        'column "day" holds "32.01.2027", and there is no such day: correct the file'
        >>> conversion_fix("date", "day", ["soon"])
        'column "day" holds "soon", which does not have the format that the step names: correct the file, or clean the column before'
        >>> conversion_fix("f64", "amount", ["12.x"], head="amount 12,x")
        'column "amount" holds "12,x" ("12.x" when it is cast), which is not a number: correct the file, or clean the column before the cast'
        >>> conversion_fix("i8", "count", ["300"])
        'column "count" holds "300", which i8 cannot hold: correct the file, or cast to a wider type'
    """
    if not values:
        return None
    said = f"column {quoted(column)} holds"
    first = f"{said} {_as_in_file(values[0], head)}"
    if kind in ("date", "datetime", "time"):
        return _day_fix(first, column, kind, [one.strip() for one in values], beside)
    meant = next((word for kinds, word in _MEANT.items() if kind in kinds), f"no {kind}")
    is_whole = kind in _WHOLE
    if is_whole or meant == "not a number":
        if not values[0].strip():
            return _emptied_fix(column, is_regex)
        if (of_marks := _marks_fix(column, values, head, is_whole, is_book)) is not None:
            return of_marks
    if is_whole and (number := _NUMBER.fullmatch(values[0].strip())) is not None:
        if number[1]:
            away = Marks(".", "").expression(column, "pl.Int64")
            point = (
                f"; where the point is that of thousands, write {away}"
                if _THOUSANDS.fullmatch(values[0].strip())
                else ""
            )
            return f"{first}, which has a decimal point: cast to pl.Float64, or correct the file{point}"
        return f"{first}, which {kind} cannot hold: correct the file, or cast to a wider type"
    return f"{first}, which is {meant}: correct the file, or clean the column before the cast"


def _marks_fix(column: str, values: Sequence[str], head: str, is_whole: bool, is_book: bool | None) -> str | None:
    """The fix of numbers that people read and a cast does not, for the marks in them; None where none of the values is one."""
    written = {one: _with_comma(one) for one in values}
    numbers = [one for one in values if marks_of([written[one]]) is not None]
    marks = marks_of([written[one] for one in numbers])
    if marks is None:
        return None
    others = [one for one in dict.fromkeys(values) if one not in numbers and _NUMBER.fullmatch(one.strip()) is None]
    odd = next((one for one in others if re.search(r"\d", one)), None)
    if odd is not None:  # such as "EUR 5", which is not to be emptied
        told, meant = quoted(beginning(odd, 60)), "not a whole number" if is_whole else "not a number"
        return f"column {quoted(column)} holds {told}, which is {meant}: correct the file, or clean the column before the cast"
    is_whole = is_whole and not any(marks.point in written[one] for one in numbers)
    way = f"write {marks.expression(column, 'pl.Int64' if is_whole else 'pl.Float64', others)}"
    beside = "".join(f" and {quoted(beginning(one, 60))}" for one in others[:1])
    said = f"column {quoted(column)} holds {_as_in_file(numbers[0], head)}{beside}: "
    return said + (way if marks.thousands or others else _by_option(way, is_book))


def _by_option(way: str, is_book: bool | None) -> str:
    """The way, beside the option of a reader that does the same; a workbook has none."""
    if is_book:
        return way
    return f"read {'a CSV file' if is_book is None else 'the file'} with {POLARS.decimal}, or {way}"


def _with_comma(value: str) -> str:
    """The value with a comma for its last point where it has several, as where the step has replaced the comma before."""
    if value.count(".") < 2 or "," in value or marks_of([value]) is not None:
        return value
    return ",".join(value.rsplit(".", 1))


def _emptied_fix(column: str, is_regex: bool) -> str:
    """The fix of texts of which nothing is left when they are cast."""
    every = 'in replace_all(".", "") the "." stands for every letter: write replace_all(".", "", literal=True)'
    if is_regex:
        return f"nothing is left of column {quoted(column)} when it is cast: {every}"
    return f'column {quoted(column)} holds "" when it is cast: empty it before, .replace({{"": None}}); or {every}'


def _pandas_fix(value: str) -> str | None:
    """The fix of a text that pandas does not take for a number."""
    marks = marks_of([value])
    if marks is None:
        return None
    said = f"the table holds {quoted(beginning(value, 60))}: read the file with"
    if marks.thousands:
        decimal = f"{PANDAS.decimal}, " if marks.point == "," else ""
        return f"{said} {decimal}thousands={quoted(marks.thousands)}"
    return f'{said} {PANDAS.decimal}, or replace "," by "." before the cast'


def _day_fix(first: str, column: str, kind: str, values: Sequence[str], beside: Sequence[str]) -> str:
    """The fix of values that are no days or times as the step reads them: the formats they have, and how each is read where the others
    of the column have another."""
    dated = [one for one in values if has_form_of_day(one)]
    if kind == "time" or values[0] not in dated:
        return (
            f"{first}, which does not have the format that the step names: correct the file, or clean the column before"
        )
    of_first = day_forms(values[:1])
    if not of_first:
        return f"{first}, and there is no such day: correct the file"
    of_all = day_forms(dated)
    said = f"{first}, which has the format {' or '.join(map(quoted, of_all or of_first))}"
    several = list(dict.fromkeys(form for one in (*beside, *dated) for form in day_forms([one])))
    if len(several) < 2 or any(len(day_forms([one])) > 1 for one in (*beside, *dated)):
        return f"{said}: name that one, or correct the file"
    read = f"pl.col({quoted(column)}).str.to_{kind}"
    each = ", ".join(f"{read}({quoted(form)}, strict=False)" for form in several)
    return f"{said}, and others have another one: correct the file, or write pl.coalesce({each}), which leaves empty what has none of these"


def _as_in_file(value: str, head: str) -> str:
    """The value, quoted as the beginning of its file has it."""
    told, commas = quoted(beginning(value, 60)), (value.replace(".", ","), ",".join(value.rsplit(".", 1)))
    written = None if value in head else next((one for one in commas if one != value and one in head), None)
    return told if written is None else f"{quoted(beginning(written, 60))} ({told} when it is cast)"


def _name_of(path: Path | None) -> str:
    return "the file" if path is None else path.name


def _texts_in(told: str) -> list[str]:
    """The quoted texts of a list as Polars tells it, which may be cut."""
    return [unquoted(one) for one in re.findall(r'"(?:[^"\\]|\\.)*"', told)]


def _columns_told(text: str) -> list[str]:
    found = re.search(r"valid columns: (\[[^\n]*\])", text)
    return [] if found is None else _texts_in(found[1])


def _head_of(path: Path | None) -> str:
    """The beginning of a text file; "" where it cannot be read, or holds no text of one byte a letter."""
    with suppress(OSError, ValueError):
        if path is not None and path.is_file():
            with open_to_read(path) as file:
                head = file.read(_HEAD_BYTES)
            return "" if b"\0" in head else head.decode("latin-1")
    return ""


def _is_empty(path: Path | None) -> bool:
    with suppress(OSError, ValueError):
        return path is not None and path.is_file() and path.stat().st_size == 0
    return False


def _sheets_of(path: Path | None) -> list[str]:
    if path is None or not path.is_file():
        return []
    try:
        import fastexcel

        return [str(name) for name in fastexcel.read_excel(path).sheet_names]
    except Exception:  # of a workbook that it cannot read, or where it is not installed
        return []

"""What of a workbook is read otherwise than its author meant, by the beginning of its sheets: formulas that have no stored result or an error
for one, a heading that stands twice, numbers that come too late to tell the type of their column, and texts, such as "n/a", that were
read as empty. Also which sheets and headings a reader was asked for.
"""

from __future__ import annotations

import html
import os
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from xml.etree import ElementTree

from data_engine.counted import counted
from data_engine.cut import first_few
from data_engine.flow.hints.columns import quoted
from data_engine.platforms.files import open_to_read

_MOST_FILES = 3
_SHEET_BYTES = 512 * 1024
_PARTS_BYTES = 1024 * 1024
_MOST_SHEETS = 5
_CELL = re.compile(rb"<c\s([^>]*[^/>])>(.*?)</c>", re.DOTALL)
_COLUMN = re.compile(rb'\br="([A-Z]+)\d')
_ROW = re.compile(rb"<row\b([^>]*?)(?:/>|>(.*?)</row>)", re.DOTALL)
_NUMBER = re.compile(rb'\br="(\d+)"')
_PLACE = re.compile(rb'\br="([A-Z]+\d+)"')
_SHARED = re.compile(rb'\bt="s"')
_VALUE = re.compile(rb"<v>([^<]+)</v>|<is>")
_STRING = re.compile(rb"<si>(.*?)</si>|<si/>", re.DOTALL)
_TEXTS = re.compile(rb"<t(?:\s[^>]*)?>([^<]*)</t>(?!</rPh>)")
_NO_VALUE = re.compile(rb"<v\s*/>|<v\s*></v>")
_TEXT = re.compile(rb'\bt="str"')
_ERROR = re.compile(rb'\bt="e"')
_MOST_EMPTIED = 3
_READ_AS_EMPTY = frozenset(
    (
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "None",
        "n/a",
        "null",
    )
)
"""Texts that calamine reads as empty in a column of numbers, dates or truth values."""
_HOLDS_ONE = re.compile(b">(?:%s)<" % b"|".join(re.escape(html.escape(one).encode()) for one in sorted(_READ_AS_EMPTY)))
_IS_TEXT = re.compile(rb'\bt="(?:s|str|inlineStr|e)"')
_DAMAGED = (OSError, KeyError, ValueError, zipfile.BadZipFile, ElementTree.ParseError)
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def workbook_place(reader: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """The workbook that `reader(*args, **kwargs)` will read, in words, with its sheet where that is one; None where it reads none.

    Example:
        >>> import pathlib, polars, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.xlsx"
        >>> _ = polars.DataFrame({"a": [1]}).write_excel(file, worksheet="Sales")
        >>> workbook_place(polars.read_excel, (file,), {}), workbook_place(polars.read_csv, ("a.csv",), {})
        ('a.xlsx, sheet "Sales"', None)
    """
    if getattr(reader, "__name__", "") != "read_excel" or len(paths := paths_of(args, kwargs)) != 1:
        return None
    name, found = os.path.basename(paths[0]), []
    wanted = sheets_wanted(getattr(reader, "__module__", "").partition(".")[0], args, kwargs)
    with suppress(*_DAMAGED), open_to_read(paths[0]) as file, zipfile.ZipFile(file) as book:
        found = [
            sheet
            for number, (sheet, _) in enumerate(_sheets(book))
            if wanted is None or sheet in wanted or number in wanted
        ]
    return f'{name}, sheet "{found[0]}"' if len(found) == 1 else name


class Header(NamedTuple):
    """Where a reader takes the headings from: the row of this number from 1 on, None for the first that holds something; `second`
    is what it appends to the heading of the second of two columns, None where that is not known."""

    row: int | None
    second: str | None


def workbook_doubts(
    path: str, wanted: list[str | int] | None, header: Header | None, looked_at: int | None = None
) -> Iterator[str]:
    """Of each sheet of the workbook that is `wanted` (by its name or its number from 0 on; None: all), which columns hold formulas
    whose result is not stored, as programs write them that are not Excel, which heading of `header` stands above several, and which
    columns have no value in the `looked_at` rows that tell their type, and numbers below."""
    with (
        suppress(*_DAMAGED),
        open_to_read(path) as file,
        zipfile.ZipFile(file) as book,
    ):
        name = os.path.basename(path)
        for number, (sheet, part) in enumerate(_sheets(book)):
            if wanted is None or sheet in wanted or number in wanted:
                with book.open(part) as rows:
                    data = rows.read(_SHEET_BYTES)
                place = f'{name}, sheet "{sheet}"'
                if columns := _columns_without_result(data):
                    places = f"column{'' if len(columns) == 1 else 's'} {', '.join(columns)}"
                    yield (
                        f"{place}: formulas in {places} have no stored result and are read as empty: open the file in Excel or"
                        " LibreOffice and save it, or compute the column in the step"
                    )
                errors = {} if header is None else _errors_of(data, header.row)
                if errors:
                    told = [f"column {column} ({texts})" for column, texts in errors.items()]
                    yield (
                        f"{place}: errors of formulas are read as empty: {first_few(told, _MOST_EMPTIED, '; ')}. Correct them in the"
                        " workbook, or compute the column in the step"
                    )
                late = [] if header is None or looked_at is None else _late_columns(data, header.row, looked_at)
                if late:
                    yield (
                        f"{place}: column{'' if len(late) == 1 else 's'} {', '.join(late)}: no value in the first {looked_at} rows, so"
                        " that the numbers below are read as text: read all rows first with infer_schema_length=None"
                    )
                doubled = None
                with suppress(*_DAMAGED):  # of its texts: what is known of formulas is told all the same
                    doubled = None if header is None else _doubled(book, data, header)
                if header is not None and doubled is not None:
                    text, cells = doubled
                    called = "another name" if header.second is None else f'"{text}{header.second}"'
                    yield (
                        f'{place}: the heading "{text}" is in {" and in ".join(cells[:2])}: the second'
                        f" column is called {called}. Name them all, frame.columns = [...], or correct the file"
                    )


def _doubled(book: zipfile.ZipFile, sheet: bytes, header: Header) -> tuple[str, list[str]] | None:
    """The first heading that stands in several cells, and their places."""
    places: dict[str, list[str]] = {}
    for place, text in _texts_of(book, _heading_cells(sheet, header.row)):
        places.setdefault(text, []).append(place)
    return next(((text, cells) for text, cells in places.items() if text and len(cells) > 1), None)


def _heading_cells(sheet: bytes, row: int | None) -> list[tuple[bytes, bytes]]:
    """The attributes and the content of each cell with a value, in the row of this number, or in the first that has one."""
    for found in _ROW.finditer(sheet):
        cells = [(cell[1], cell[2]) for cell in _CELL.finditer(found[2] or b"") if _VALUE.search(cell[2])]
        number = _NUMBER.search(found[1])
        if cells if row is None else (number is not None and int(number[1]) == row):
            return cells
    return []


def _texts_of(book: zipfile.ZipFile, cells: list[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    """The place of each cell, such as "B1", and its text; those in the common table of texts are looked up there."""
    shared: list[bytes] = []
    if any(_SHARED.search(about) for about, _ in cells):
        with book.open("xl/sharedStrings.xml") as file:
            shared = _STRING.findall(file.read(_PARTS_BYTES))
    for about, inside in cells:
        place, value = _PLACE.search(about), _VALUE.search(inside)
        if place is None or value is None:
            continue
        if _SHARED.search(about):
            number = int(value[1] or 0)
            inside = shared[number] if number < len(shared) else b""
        texts = _TEXTS.findall(inside) or [b"" if _SHARED.search(about) else value[1] or b""]
        yield place[1].decode(), html.unescape(b"".join(texts).decode())


def header_wanted(module: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Header | None:
    """Which row the headings are taken from; None where there are none, or where the columns are named or chosen otherwise."""
    if module == "pandas":
        row = args[2] if len(args) > 2 else kwargs.get("header", 0)
        is_odd = any(kwargs.get(word) is not None for word in ("names", "usecols", "skiprows"))
        return Header(row + 1, ".1") if isinstance(row, int) and not is_odd else None
    options = kwargs.get("read_options") or {}
    row = options.get("header_row") or 0
    chosen = {word for word in ("columns", "table_name") if kwargs.get(word)} | {
        "column_names",
        "use_columns",
    }.intersection(options)
    if not kwargs.get("has_header", True) or chosen or not isinstance(row, int):
        return None
    return Header(row + 1 if row else None, {"calamine": "_1", "openpyxl": "0"}.get(kwargs.get("engine", "calamine")))


def _columns_without_result(data: bytes) -> list[str]:
    if b"<f" not in data:
        return []
    found: dict[str, None] = {}
    for cell in _CELL.finditer(data):
        about, inside = cell[1], cell[2]
        is_empty = b"<v" not in inside or (_NO_VALUE.search(inside) is not None and not _TEXT.search(about))
        if b"<f" in inside and is_empty and (column := _COLUMN.search(about)) is not None:
            found.setdefault(column[1].decode())
    return sorted(found, key=lambda column: (len(column), column))


def _errors_of(data: bytes, header: int | None) -> dict[str, str]:
    """Of each column below the header that holds errors, such as #DIV/0!, how many of which."""
    if b't="e"' not in data:
        return {}
    found: dict[str, Counter[str]] = {}
    for about, inside in _cells_below(data, header):
        column, value = _COLUMN.search(about), _VALUE.search(inside)
        if column is not None and _ERROR.search(about):
            text = "" if value is None else html.unescape((value[1] or b"").decode())
            found.setdefault(column[1].decode(), Counter())[text] += 1
    return {
        column: ", ".join(f"{count} {text}".strip() for text, count in texts.items()) for column, texts in found.items()
    }


def _cells_below(data: bytes, header: int | None) -> Iterator[tuple[bytes, bytes]]:
    """The attributes and the content of each cell below the row of this number, or below the first that has a value."""
    for found in _ROW.finditer(data):
        number = _NUMBER.search(found[1])
        cells = [(cell[1], cell[2]) for cell in _CELL.finditer(found[2] or b"")]
        if number is None or (header is not None and int(number[1]) <= header):
            continue
        if header is None:
            header = int(number[1]) if any(_VALUE.search(inside) for _, inside in cells) else None
            continue
        yield from cells


def emptied_texts(table: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[str]:
    """Which texts of workbooks were read as empty, in columns that are no text. Nothing is read where no such column lacks a value."""
    frames = [table] if type(table).__name__ == "DataFrame" else list(table.values()) if isinstance(table, dict) else []
    lacking = {
        name: str(frame.schema[name])
        for frame in frames
        for name in frame.columns
        if str(frame.schema[name]) != "String" and frame[name].null_count()
    }
    header, wanted = header_wanted("polars", args, kwargs), sheets_wanted("polars", args, kwargs)
    if not lacking or header is None or kwargs.get("engine", "calamine") != "calamine":
        return
    for path in paths_of(args, kwargs):
        with suppress(*_DAMAGED), open_to_read(path) as file, zipfile.ZipFile(file) as book:
            for number, (sheet, part) in enumerate(_sheets(book)):
                if wanted is None or sheet in wanted or number in wanted:
                    with book.open(part) as rows:
                        data = rows.read(_SHEET_BYTES)
                    emptied = _texts_emptied(book, data, header.row, lacking)
                    for name, texts in list(emptied.items())[:_MOST_EMPTIED]:
                        count, told = (
                            sum(texts.values()),
                            ", ".join(quoted(text) for text in list(texts)[:_MOST_EMPTIED]),
                        )
                        yield (
                            f'{os.path.basename(path)}, sheet "{sheet}": column {quoted(name)} is {lacking[name]}, and {counted(count, "text")} in it'
                            f" ({told}) {'was' if count == 1 else 'were'} read as empty: read it with"
                            f" schema_overrides={{{quoted(name)}: pl.String}} and clean it, or correct the file"
                        )


def _texts_emptied(
    book: zipfile.ZipFile, data: bytes, header: int | None, lacking: Collection[str]
) -> dict[str, Counter[str]]:
    """Of each of these columns, by its heading, which of the texts that are read as empty it holds, and how often."""
    is_in_table = False
    with suppress(KeyError), book.open("xl/sharedStrings.xml") as file:
        is_in_table = _HOLDS_ONE.search(file.read(_PARTS_BYTES)) is not None
    if not is_in_table and _HOLDS_ONE.search(data) is None:
        return {}
    names = {
        place.rstrip("0123456789"): text
        for place, text in _texts_of(book, _heading_cells(data, header))
        if text in lacking
    }
    cells = [
        (about, inside)
        for about, inside in _cells_below(data, header)
        if _IS_TEXT.search(about) and (column := _COLUMN.search(about)) is not None and column[1].decode() in names
        if not _ERROR.search(about)
    ]
    found: dict[str, Counter[str]] = {}
    for place, text in _texts_of(book, cells):
        if text in _READ_AS_EMPTY:
            found.setdefault(names[place.rstrip("0123456789")], Counter())[text] += 1
    return found


def _late_columns(data: bytes, header: int | None, looked_at: int) -> list[str]:
    """The columns with no value in so many rows below the header, and with numbers further down."""
    if data.count(b"<row") <= looked_at:
        return []
    early: set[bytes] = set()
    late: dict[bytes, bool] = {}
    for found in _ROW.finditer(data):
        number = _NUMBER.search(found[1])
        if number is None or (header is not None and int(number[1]) <= header):
            continue
        for cell in _CELL.finditer(found[2] or b""):
            column = _COLUMN.search(cell[1])
            if column is None or not _VALUE.search(cell[2]):
                continue
            if header is None:
                header = int(number[1])
            below = int(number[1]) - header
            if 0 < below <= looked_at:
                early.add(column[1])
            elif below:
                late.setdefault(column[1], _IS_TEXT.search(cell[1]) is None)
    found_late = [column.decode() for column, is_number in late.items() if is_number and column not in early]
    return sorted(found_late, key=lambda column: (len(column), column))


def rows_looked_at(module: str, kwargs: Mapping[str, Any]) -> int | None:
    """How many rows tell Polars the type of a column; None where all do, or where types are given."""
    rows = kwargs.get("infer_schema_length", 100)
    is_odd = module != "polars" or kwargs.get("engine", "calamine") != "calamine" or kwargs.get("schema_overrides")
    is_odd = is_odd or {"schema_sample_rows", "dtypes", "dtype_coercion", "skip_rows"}.intersection(
        kwargs.get("read_options") or {}
    )
    return rows if isinstance(rows, int) and rows > 0 and not is_odd else None


def _sheets(book: zipfile.ZipFile) -> list[tuple[str, str]]:
    """The sheets in order, each with the part that holds it."""
    targets = {
        one.get("Id"): (one.get("Target") or "").lstrip("/") for one in _xml(book, "xl/_rels/workbook.xml.rels").iter()
    }
    sheets = [one for one in _xml(book, "xl/workbook.xml").iter() if one.tag.rpartition("}")[2] == "sheet"]
    found = [(one.get("name") or "", targets[one.get(_RELATION)]) for one in sheets[: _MOST_SHEETS + 1]]
    return [(name, part if part.startswith("xl/") else f"xl/{part}") for name, part in found]


def _xml(book: zipfile.ZipFile, name: str) -> ElementTree.Element:
    with book.open(name) as file:
        return ElementTree.fromstring(file.read(_PARTS_BYTES))


def sheets_wanted(module: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str | int] | None:
    """The sheets that are read, by name or by number from 0 on; None for all."""
    if module == "pandas":
        wanted = args[1] if len(args) > 1 else kwargs.get("sheet_name", 0)
        return None if wanted is None else list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    names, numbers = kwargs.get("sheet_name"), kwargs.get("sheet_id")
    if names is not None:
        return [names] if isinstance(names, str) else list(names)
    if numbers == 0:
        return None
    return [number - 1 for number in ([numbers or 1] if not isinstance(numbers, (list, tuple)) else numbers)]


def paths_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
    words = ("source", "path", "io", "filepath_or_buffer", "file")
    given = args[0] if args else next((kwargs[word] for word in words if word in kwargs), None)
    several = given[:_MOST_FILES] if isinstance(given, (list, tuple)) else [given]
    paths = [os.fspath(one) for one in several if isinstance(one, (str, os.PathLike))]
    return [path for path in paths if isinstance(path, str) and os.path.isfile(path)]

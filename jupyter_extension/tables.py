"""Which output files are tables, and how each is read: as one Polars frame, and as the code that reads it in a cell.

The first lines of a CSV file show its separator, encoding and decimal mark, which Excel writes differently in many countries.
"""

from __future__ import annotations

import atexit
import codecs
import csv
import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_engine.errors import FlowValidationError
from data_engine.record import frozen

if TYPE_CHECKING:
    import polars as pl

MOST_FILES = 10_000
CSV = (".csv", ".tsv")
TABLES = (".parquet", *CSV, ".json", ".jsonl", ".ndjson", ".arrow", ".feather", ".ipc")
EXCEL = (".xlsx", ".xls", ".xlsm", ".xlsb")
_IN_FOLDERS = (".parquet", *CSV, ".jsonl", ".ndjson", ".arrow", ".feather", ".ipc")
_SCANS = {
    ".parquet": "parquet",
    ".jsonl": "ndjson",
    ".ndjson": "ndjson",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
}
_GLOB = re.compile("[*?[]")
_HEAD_BYTES = 256 * 1024
_CHECKED_BYTES = 64 * 1024 * 1024
_SEPARATORS = (",", ";", "\t", "|")
_COMMA_NUMBER = re.compile(r"[+-]?\d+(?:\.\d{3})*,\d+")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")
"""With points between thousands, or three digits behind a point: ambiguous."""
_WITH_THOUSANDS = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)(?:,\d+)?")
_POINT_NUMBER = re.compile(r"[+-]?\d+\.\d+")
_excel: dict[tuple[str, int, str | None], Any] = {}


@frozen
class Dialect:
    """How a CSV file is written; `thousands` are the columns of numbers with points between thousands."""

    separator: str = ","
    encoding: str = "utf8"
    decimal_comma: bool = False
    thousands: tuple[str, ...] = ()

    @property
    def options(self) -> dict[str, Any]:
        """The options of `polars.read_csv` that differ from its own."""
        plain = Dialect()
        names = ("separator", "encoding", "decimal_comma")
        return {name: value for name in names if (value := getattr(self, name)) != getattr(plain, name)}


def dialect_of(path: Path) -> Dialect:
    r"""How a CSV file is written, by its first lines.

    Example:
        >>> file = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = file.write_bytes("Ort;Betrag\nKöln;3,50\nRom;12,00\n".encode("cp1252"))
        >>> dialect_of(file)
        Dialect(separator=';', encoding='cp1252', decimal_comma=True, thousands=())
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
        encoding = _encoding_of(head, file)
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head)
    lines = [line for line in re.sub(r'"[^"]*"', '""', text).splitlines()[:200] if line.strip()]
    if len(head) == _HEAD_BYTES:
        lines = lines[:-1]  # it was cut
    is_tsv = path.suffix.lower() == ".tsv"
    separator = "\t" if is_tsv else max(_SEPARATORS, key=lambda letter: _fits(letter, lines))
    fields = [field.strip() for line in lines[1:] for field in line.split(separator)]
    commas = sum(_COMMA_NUMBER.fullmatch(field) is not None for field in fields)
    points = sum(_POINT_NUMBER.fullmatch(field) is not None and not _GROUPED.fullmatch(field) for field in fields)
    if separator == "," or commas <= points:
        return Dialect(separator, encoding)
    return Dialect(
        separator,
        encoding,
        True,
        tuple(_with_thousands(text if len(head) < _HEAD_BYTES else "\n".join(lines), separator)),
    )


def _with_thousands(text: str, separator: str) -> Iterator[str]:
    """The columns that hold nothing but numbers, some of them with points between thousands."""
    names, *rows = [row for row in csv.reader(text.splitlines()[:200], delimiter=separator) if row] or [[]]
    for number, name in enumerate(names):
        values = [value for row in rows if number < len(row) and (value := row[number].strip())]
        if (
            names.count(name) == 1
            and any("." in value for value in values)
            and all(map(_WITH_THOUSANDS.fullmatch, values))
        ):
            yield name


def scan(path: Path, sheet: Any = None) -> tuple[pl.LazyFrame, list[str]]:
    """The file, or the files under the folder, as one table; and of a workbook its sheets, the shown one first.

    Raises:
        FlowValidationError: the folder holds no table, or too many.
        OSError, ValueError, polars.exceptions.PolarsError: it cannot be read.
    """
    import polars as pl

    if path.is_dir():
        return _scan_folder(path), []
    suffix = path.suffix.lower()
    if suffix in EXCEL:
        return _scan_excel(path, sheet)
    if suffix == ".json":
        return pl.read_json(path).lazy(), []
    return _scan_file(path), []


def reading_code(path: Path, sheet: str | None = None) -> str:
    """The expression that reads the file, or the files under the folder, with Polars in a cell; `sheet` is a workbook's."""
    if path.is_dir():
        files = _files_of(path)
        each = _call(Path(files[0]), "file", is_literal=any(map(_GLOB.search, files)))
        return f"pl.concat([{each} for file in sorted(Path({str(path)!r}).rglob({'*' + Path(files[0]).suffix!r}))], how='diagonal_relaxed')"
    return _call(path, repr(str(path)), sheet, is_literal=_GLOB.search(str(path)) is not None)


def _call(path: Path, argument: str, sheet: str | None = None, *, is_literal: bool) -> str:
    """The call that reads a file; one that `is_literal` has a name that Polars would take for a pattern."""
    suffix = path.suffix.lower()
    options: dict[str, Any] = {}
    if suffix in CSV:
        options = dialect_of(path).options | {"infer_schema_length": 10_000}
    elif suffix in EXCEL and sheet is not None:
        options = {"sheet_name": sheet}
    if is_literal and suffix in (*CSV, ".parquet"):
        options["glob"] = False
    elif is_literal and suffix in _SCANS:
        argument = f"Path({argument}).read_bytes()"  # of these no reader has glob=
    name = "csv" if suffix in CSV else "excel" if suffix in EXCEL else "json" if suffix == ".json" else _SCANS[suffix]
    read = f"pl.read_{name}({', '.join([argument, *(f'{option}={value!r}' for option, value in options.items())])})"
    columns = dialect_of(path).thousands if suffix in CSV else ()
    if not columns:
        return read
    plain = f"pl.col({', '.join(map(repr, columns))}).str.replace_all('.', '', literal=True).str.replace(',', '.', literal=True)"
    return f"{read}.with_columns({plain}.str.strip_chars().cast(pl.Float64))"


def _encoding_of(head: bytes, file: Any) -> str:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    decoder, data, size = codecs.getincrementaldecoder("utf-8")(), head, 0
    try:
        while data and size < _CHECKED_BYTES:
            decoder.decode(data)
            size += len(data)
            data = file.read(4 * _HEAD_BYTES)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf8"


def _fits(separator: str, lines: list[str]) -> tuple[float, int]:
    """How many of the lines have as many fields as the first one, and how many these are."""
    counts = [line.count(separator) for line in lines]
    if not counts or not counts[0]:
        return 0.0, 0
    return sum(count == counts[0] for count in counts) / len(counts), counts[0]


def _scan_file(path: Path) -> pl.LazyFrame:
    import polars as pl

    suffix = path.suffix.lower()
    if suffix in CSV:
        dialect = dialect_of(path)
        source = path if dialect.encoding == "utf8" else _as_utf8(path, dialect.encoding, os.stat(path).st_mtime_ns)
        table = pl.scan_csv(
            source,
            separator=dialect.separator,
            decimal_comma=dialect.decimal_comma,
            infer_schema_length=10_000,
            ignore_errors=True,
            encoding="utf8-lossy",
            schema_overrides=dict.fromkeys(dialect.thousands, pl.String),
            glob=False,
        )
        if not dialect.thousands:
            return table
        plain = pl.col(dialect.thousands).str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
        return table.with_columns(plain.str.strip_chars().cast(pl.Float64, strict=False))
    if suffix == ".parquet":
        return pl.scan_parquet(path, glob=False)
    if _SCANS[suffix] == "ipc":
        return pl.scan_ipc(path, glob=False)
    return pl.scan_ndjson(_GLOB.sub(r"[\g<0>]", str(path)))  # it has no glob=


def _scan_folder(folder: Path) -> pl.LazyFrame:
    import polars as pl

    files = _files_of(folder)
    if files[0].lower().endswith(".parquet"):
        return pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore", glob=False)
    return pl.concat([_scan_file(Path(file)) for file in files], how="diagonal_relaxed")


def _files_of(folder: Path) -> list[str]:
    """The files below a folder that make one table: the Parquet files, else those of the kind there are most of.

    Raises:
        FlowValidationError: there is none, or there are too many.
    """
    files = list(islice(_tables_under(folder), MOST_FILES + 1))
    kinds = Counter(os.path.splitext(file)[1].lower() for file in files)
    if not 0 < len(files) <= MOST_FILES:
        raise FlowValidationError(
            f"{folder} holds {'no' if not files else f'more than {MOST_FILES:,}'} files that are a table"
            " (Parquet, CSV, JSON lines, Arrow)",
            where=str(folder),
            fix="choose a file, or a folder that holds some",
        )
    kind = ".parquet" if ".parquet" in kinds else kinds.most_common(1)[0][0]
    return [file for file in files if file.lower().endswith(kind)]


def _tables_under(folder: Path) -> Iterator[str]:
    """The files below a folder, in order; links to folders are not followed, and only regular files count."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(place, name)
            with suppress(OSError):
                if name.lower().endswith(_IN_FOLDERS) and stat.S_ISREG(os.stat(path).st_mode):
                    yield path


def _scan_excel(path: Path, sheet: Any) -> tuple[pl.LazyFrame, list[str]]:
    import fastexcel
    import polars as pl

    names = fastexcel.read_excel(path).sheet_names
    sheet = sheet if sheet in names else names[0]
    key = (str(path), path.stat().st_mtime_ns, sheet)
    if key not in _excel:
        _excel.clear()
        _excel[key] = pl.read_excel(path, sheet_name=sheet)
    return _excel[key].lazy(), [sheet, *(name for name in names if name != sheet)]


@lru_cache(maxsize=1)
def scratch() -> Path:
    """A folder of this process for what it writes; it goes with the process."""
    folder = Path(tempfile.mkdtemp(prefix="data-engine-look-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@lru_cache(maxsize=8)
def _as_utf8(path: Path, encoding: str, mtime_ns: int) -> Path:
    """A copy of a text file in UTF-8."""
    descriptor, name = tempfile.mkstemp(suffix=path.suffix, dir=scratch())
    with (
        open(path, encoding=encoding, errors="replace", newline="") as source,
        open(descriptor, "w", encoding="utf-8", newline="") as target,
    ):
        shutil.copyfileobj(source, target, 1024 * 1024)
    return Path(name)

"""What a reader of tables (Polars, pandas) was given when it raised, and which table lacked a column: read from the error's traceback."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from data_engine.record import frozen

_READERS = ("read_csv", "read_table", "read_excel", "read_json", "read_ndjson")
_FILES = ("source", "filepath_or_buffer", "io", "path_or_buf")
_SEPARATORS = ("separator", "sep", "delimiter")
_TABLES = ("self", "obj", "frame", "left", "right")
_MOST_ROWS = 20


@frozen
class Options:
    """How a library calls what helps: the option for what stands between columns, the one that leaves lines out at the top, the header's
    row, decimal commas, and how blanks are taken from all names of columns."""

    separator: str
    skip: str
    header: str
    decimal: str
    strip: str


POLARS = Options("separator", "skip_lines", 'read_options={"header_row": 3}', "decimal_comma=True", "rename(str.strip)")
PANDAS = Options("sep", "skiprows", "header=3", 'decimal=","', "rename(columns=str.strip)")


@frozen
class Read:
    """The file that a reader was given, the separator where it is known, and how the library calls its options."""

    path: Path | None
    separator: str | None = None
    options: Options = POLARS


@frozen
class Table:
    """The names of a table's columns, and its first rows as texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...] = ()
    options: Options = POLARS


def read_by(error: BaseException, source: Path | None) -> Read:
    """What the reader that raised was given; of a lazy one, which reads later, only the `source` of the step is known."""
    options = POLARS
    for frame, options in _frames(error):
        if frame.f_code.co_name in _READERS:
            given = frame.f_locals
            path = next((Path(given[one]) for one in _FILES if isinstance(given.get(one), (str, os.PathLike))), None)
            separator = next((given[one] for one in _SEPARATORS if isinstance(given.get(one), str)), None)
            return Read(path, separator or ("," if frame.f_code.co_name == "read_csv" else None), options)
    return Read(source, options=options)


def table_in(error: BaseException) -> Table | None:
    """The table in which a library looked for a column when it raised; None where that is not known."""
    for frame, _ in _frames(error):
        for name in _TABLES:
            value = frame.f_locals.get(name)
            found = table_of(value) or table_of(vars(value).get("obj") if hasattr(value, "__dict__") else None)
            if found is not None:  # the second is that of a `groupby` of pandas
                return found
    return None


def table_of(value: object) -> Table | None:
    """What is known of a frame of Polars or pandas; None of another value. The columns of a lazy one cost a plan."""
    library = type(value).__module__.partition(".")[0]
    if type(value).__name__ != "DataFrame" or library not in ("polars", "pandas"):
        return None
    frame: Any = value
    rows: list[tuple[str, ...]] = []
    with suppress(Exception):  # of values that have no text
        head = frame.head(_MOST_ROWS)
        if library == "polars":
            rows = [tuple(map(str, row)) for row in head.rows()]
        else:  # values for which a line above the header has no columns are the index
            is_counted = type(frame.index).__name__ == "RangeIndex"
            rows = [tuple(map(str, _flat(row))) for row in head.itertuples(index=not is_counted, name=None)]
    columns = tuple(one for one in list(frame.columns) if isinstance(one, str))
    return Table(columns, tuple(rows), POLARS if library == "polars" else PANDAS)


def _flat(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[0], *row[1:]) if row and isinstance(row[0], tuple) else row


def _frames(error: BaseException) -> Iterator[tuple[FrameType, Options]]:
    """The frames of these libraries that the error went through, the outermost first, each with how that library calls options."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        library = str(frame.f_globals.get("__name__")).partition(".")[0]
        if library in ("polars", "pandas"):
            yield frame, POLARS if library == "polars" else PANDAS

"""What a reader gives that its author did not mean, told with the fix: UTF-8 read as another encoding, all columns of a file in one,
a workbook read as text, and a heading that stands twice.

All end as values that look like data. Only the beginning of a file and the names of columns are looked at.
"""

from __future__ import annotations

import codecs
import locale
import os
from collections.abc import Iterator, Mapping
from typing import Any

from data_engine.flow.hints import SEPARATORS, only_column_fix, quoted, workbook_fix
from data_engine.platforms.files import open_to_read

_HEAD_BYTES = 256 * 1024
_FEW_ROWS = 20
_MOST_FILES = 3
_SEPARATORS = (*SEPARATORS, ",")
_SECOND = "_duplicated_0"
_TEXT_READERS = ("read_csv", "scan_csv", "read_table")


def doubts_of(reader: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[str]:
    """What is doubtful of what `reader(*args, **kwargs)` will give: a sentence with its fix for each file."""
    name = getattr(reader, "__name__", "")
    encoding = _encoding(name, args, kwargs)
    if encoding is None and name not in _TEXT_READERS:
        return
    for path in paths_of(args, kwargs):
        if name in _TEXT_READERS and (fix := workbook_fix(path)) is not None:
            yield fix
        elif encoding is not None:
            yield from filter(None, [utf8_read_as(path, encoding)])


def doubts_of_table(reader: Any, table: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[str]:
    """What is doubtful of the `table` that `reader(*args, **kwargs)` gave: that its only column is all columns of the file.

    A file that is read on purpose without a separator, such as by lines, is told by the separator that was named.

    Example:
        >>> import polars as pl
        >>> table = pl.DataFrame({"city;amount": ["Oslo;1"]})
        >>> list(doubts_of_table(pl.read_csv, table, ("in/may.csv",), {}))
        ['the only column is "city;amount": the file has ";" between its columns, so read it with separator=";"']
    """
    used = [kwargs[word] for word in ("separator", "sep", "delimiter") if word in kwargs] or [","]
    if getattr(reader, "__name__", "") not in _TEXT_READERS or used[0] not in _SEPARATORS:
        return
    paths = paths_of(args, kwargs)
    if type(table).__name__ == "LazyFrame" and paths and len(table.collect_schema()) == 1:
        table = table.head(_FEW_ROWS).collect()
    doubt = _all_in_one(table, [one for one in _SEPARATORS if one not in used])
    if doubt is not None:
        yield doubt if len(paths) != 1 else f"{os.path.basename(paths[0])}: {doubt}"


def _all_in_one(table: Any, among: list[str]) -> str | None:
    """The fix of a frame whose only column holds in its heading, and in most rows, what stands between columns."""
    columns = list(table.columns) if type(table).__name__ == "DataFrame" else []
    if len(columns) != 1 or not isinstance(columns[0], str):
        return None
    separator = next((one for one in among if one in columns[0]), "")
    rows = [str(one) for one in table[columns[0]].head(_FEW_ROWS)]
    if type(getattr(table, "index", None)).__name__ not in ("NoneType", "RangeIndex"):
        rows = [
            str(one) for one in table.index[:_FEW_ROWS]
        ]  # pandas, whose values before those of the header are the index
    if sum(separator in value for value in rows) * 2 < len(rows):
        return None
    option = "sep" if type(table).__module__.startswith("pandas") else "separator"
    return only_column_fix(columns, option, among)


def headings_twice(result: Any) -> tuple[str, ...] | None:
    """What is said of each column of a frame of Polars that is the second one with its heading and has the name that Polars gave it;
    None of what is no such frame. Only the names are looked at. It holds until a later step gives a frame, which is asked then.

    Example:
        >>> import polars as pl
        >>> print(*headings_twice(pl.DataFrame({"amount": [1], "amount_duplicated_0": [2]})))
        the heading "amount" stands twice in what was read: the second column is called "amount_duplicated_0". Name them with new_columns=, rename it, or correct the file
        >>> headings_twice(pl.DataFrame({"amount": [1], "net": [2]})), headings_twice(None)
        ((), None)
    """
    if type(result).__name__ != "DataFrame" or not type(result).__module__.startswith("polars"):
        return None
    return tuple(
        f"the heading {quoted(name.removesuffix(_SECOND))} stands twice in what was read: the second column is called {quoted(name)}."
        " Name them with new_columns=, rename it, or correct the file"
        for name in result.columns
        if name.endswith(_SECOND)
    )


def utf8_read_as(path: str, encoding: str) -> str | None:
    r"""That a file is UTF-8 and is read as `encoding`; None where it is not, or has no letter that shows it.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = file.write_bytes("Köln".encode("utf-8"))
        >>> utf8_read_as(str(file), "cp1252")
        'a.csv is UTF-8 and was read as cp1252, so "ö" became "Ã¶": read it with encoding="utf8"'
        >>> _ = file.write_bytes("Köln".encode("cp1252"))
        >>> utf8_read_as(str(file), "cp1252")
    """
    with open_to_read(path) as file:
        head = file.read(_HEAD_BYTES)
    if head.isascii():
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return None
    letter = next((one for one in text if not one.isascii() and one != "\ufeff"), None)
    if letter is None:
        return None
    became = letter.encode("utf-8").decode(encoding, "replace")
    name = os.path.basename(path)
    return f'{name} is UTF-8 and was read as {encoding}, so "{letter}" became "{became}": read it with encoding="utf8"'


def _encoding(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """The encoding that a text is read with, where it is not UTF-8 or one like it."""
    encoding = kwargs.get("encoding")
    if name == "open":
        mode = args[1] if len(args) > 1 else kwargs.get("mode", "r")
        if not isinstance(mode, str) or "b" in mode or any(letter in mode for letter in "wxa"):
            return None
        encoding = (args[3] if len(args) > 3 else encoding) or locale.getencoding()
    if not isinstance(encoding, str):
        return None
    try:
        known = codecs.lookup(encoding).name
    except LookupError:  # such as utf8-lossy, or a mistake that the reader tells
        return None
    return None if known.startswith("utf") or known == "ascii" else encoding


def paths_of(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
    """The files that a reader is given."""
    words = ("source", "path", "io", "filepath_or_buffer", "file")
    first = args[0] if args else next((kwargs[word] for word in words if word in kwargs), None)
    several = first[:_MOST_FILES] if isinstance(first, (list, tuple)) else [first]
    paths = [os.fspath(one) for one in several if isinstance(one, (str, os.PathLike))]
    return [path for path in paths if isinstance(path, str) and os.path.isfile(path)]

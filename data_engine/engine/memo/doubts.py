"""What a reader gives that its author did not mean, told by the beginning of the file: UTF-8 read as another encoding, text read
as UTF-16, two columns with one heading, and what `workbook_doubts` tells. By the table itself: all columns of a file in one, and two
columns whose names look alike.

All end as values that look like data: "Ã¶" for "ö", and nothing where Excel shows a number. Only a bounded part is looked at.
"""

from __future__ import annotations

import codecs
import csv
import locale
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from data_engine.cut import first_few
from data_engine.engine.memo.workbook_doubts import (
    emptied_texts,
    header_wanted,
    paths_of,
    rows_looked_at,
    sheets_wanted,
    workbook_doubts,
)
from data_engine.flow.hints.columns import SEPARATORS, only_column_fix, quoted
from data_engine.flow.hints.readers import table_of
from data_engine.platforms.files import open_to_read

_HEAD_BYTES = 256 * 1024
_FEW_ROWS = 20
_SEPARATORS = (*SEPARATORS, ",")
_MOST_PAIRS = 3
_NOTHING = dict.fromkeys(map(ord, "\ufeff\u200b"))
_SAME_NAMES = {
    "polars": "frame.rename(lambda name: name.strip().lower())",
    "pandas": "frame.rename(columns=lambda name: name.strip().lower())",
}


def doubts_of(reader: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[str]:
    """What is doubtful of what `reader(*args, **kwargs)` will give: a sentence with its fix for each file."""
    name = getattr(reader, "__name__", "")
    if name == "read_excel":
        if (module := getattr(reader, "__module__", "").partition(".")[0]) in ("polars", "pandas"):
            wanted, header = sheets_wanted(module, args, kwargs), header_wanted(module, args, kwargs)
            looked_at = rows_looked_at(module, kwargs)
            for path in paths_of(args, kwargs):
                yield from workbook_doubts(path, wanted, header, looked_at)
        return
    encoding = _encoding(name, args, kwargs)
    if encoding is not None:
        read_as = bytes_read_as_utf16 if codecs.lookup(encoding).name.startswith("utf") else utf8_read_as
        for path in paths_of(args, kwargs):
            if (said := read_as(path, encoding)) is not None:
                yield said
    if name in ("read_csv", "scan_csv") and getattr(reader, "__module__", "").startswith("polars"):
        for path in paths_of(args, kwargs):
            yield from doubled_headings(path, kwargs)


def doubts_of_table(reader: Any, table: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Iterator[str]:
    """What is doubtful of the `table` that `reader(*args, **kwargs)` gave: that its only column is all columns of the file.

    A file that is read on purpose without a separator, such as by lines, is told by the separator that was named.

    Example:
        >>> import polars as pl
        >>> table = pl.DataFrame({"city;amount": ["Oslo;1"]})
        >>> list(doubts_of_table(pl.read_csv, table, ("in/may.csv",), {}))
        ['the only column is "city;amount": the file has ";" between its columns, so read it with separator=";"']
    """
    name = getattr(reader, "__name__", "")
    if name == "read_excel" and getattr(reader, "__module__", "").startswith("polars"):
        yield from emptied_texts(table, args, kwargs)
    if name not in ("read_csv", "scan_csv", "read_table"):
        return
    paths = paths_of(args, kwargs)
    if type(table).__name__ == "LazyFrame" and paths and len(table.collect_schema()) == 1:
        table = table.head(_FEW_ROWS).collect()
    used = [kwargs[word] for word in ("separator", "sep", "delimiter") if word in kwargs]
    if (used and used[0] not in _SEPARATORS) or getattr(table, "shape", (0, 0))[1] != 1:
        return
    known, among = table_of(table), [one for one in _SEPARATORS if one not in (used or [","])]
    if known is not None and (said := only_column_fix(known, among)) is not None:
        yield said if len(paths) != 1 else f"{os.path.basename(paths[0])}: {said}"


def doubts_of_result(result: Any) -> Iterator[str]:
    """What is doubtful of what a step gave: columns of a frame whose names differ only by blanks or case, as where many files
    became one and a heading of one file was written otherwise. Only the names are looked at.

    Example:
        >>> import polars as pl
        >>> for said in doubts_of_result(pl.DataFrame({"Amount ": [1], "amount": [2]})):
        ...     print(said)
        the columns "Amount " and "amount" differ only by blanks or case: before frames become one, give each the same names: frame.rename(lambda name: name.strip().lower())
        >>> list(doubts_of_result(pl.DataFrame({"Amount": [1], "net": [2]}))), list(doubts_of_result(None))
        ([], [])
    """
    kind, library = type(result).__name__, type(result).__module__.partition(".")[0]
    if kind != "DataFrame" or library not in _SAME_NAMES:
        return
    alike: dict[str, list[str]] = {}
    for name in dict.fromkeys(one for one in list(result.columns) if isinstance(one, str)):
        alike.setdefault("".join(name.translate(_NOTHING).split()).casefold(), []).append(name)
    pairs = [" and ".join(map(quoted, names[:2])) for names in alike.values() if len(names) > 1]
    if pairs:
        yield (
            f"the columns {first_few(pairs, _MOST_PAIRS, '; ')} differ only by blanks or case: before frames become one, give"
            f" each the same names: {_SAME_NAMES[library]}"
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


def bytes_read_as_utf16(path: str, encoding: str) -> str | None:
    """That a file is read as UTF-16 and is not, so that two of its letters become one; None where it may be.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = file.write_text("city;amount")
        >>> bytes_read_as_utf16(str(file), "utf-16")
        'a.csv is not UTF-16 and was read as utf-16, so "ci" became "楣": read it with encoding="cp1252" (Excel on Windows), or "utf8"'
        >>> _ = file.write_text("city;amount", encoding="utf-16")
        >>> bytes_read_as_utf16(str(file), "utf-16")
    """
    with open_to_read(path) as file:
        head = file.read(_HEAD_BYTES)
    if len(head) < 4 or b"\0" in head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    letters, became = head[:2].decode("cp1252", "replace"), head[:2].decode(encoding, "replace")
    return (
        f'{os.path.basename(path)} is not UTF-16 and was read as {encoding}, so "{letters}" became "{became}": '
        'read it with encoding="cp1252" (Excel on Windows), or "utf8"'
    )


def doubled_headings(path: str, kwargs: Mapping[str, Any]) -> Iterator[str]:
    """Which headings of a CSV file stand above several columns, as `polars.read_csv` names them then.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = file.write_text("city;amount;amount")
        >>> for said in doubled_headings(str(file), {"separator": ";"}):
        ...     print(said)
        a.csv has the heading "amount" twice: the second column is called "amount_duplicated_0". Name them all with new_columns=, or correct the file
    """
    if kwargs.get("comment_prefix"):
        return
    skipped = kwargs.get("skip_lines", 0) or kwargs.get("skip_rows", 0)
    if not kwargs.get("has_header", True) or not isinstance(skipped, int) or kwargs.get("new_columns"):
        return
    encoding = str(kwargs.get("encoding") or "utf8").removesuffix("-lossy")
    with open_to_read(path) as file:
        lines = file.read(_HEAD_BYTES).decode(encoding, "replace").splitlines()[skipped : skipped + 1]
    separator, quote = kwargs.get("separator", ","), kwargs.get("quote_char", '"')
    names = next(csv.reader(lines, delimiter=separator, quotechar=quote or None), [])
    doubled = [name for name, count in Counter(names).items() if count > 1 and name]
    if doubled:
        yield (
            f'{os.path.basename(path)} has the heading "{doubled[0]}" twice: the second column is called '
            f'"{doubled[0]}_duplicated_0". Name them all with new_columns=, or correct the file'
        )


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
    return None if (known.startswith("utf") and not known.startswith("utf-16")) or known == "ascii" else encoding

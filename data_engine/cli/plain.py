"""A table as text, laid out as Rich does it, without the import of Rich: it takes longer than most commands.

What needs more than letters side by side (a narrow terminal, wide letters, a console of Windows) is left to Rich.
"""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass, field, replace
from typing import TextIO

from data_engine.platforms.host import IS_STYLED_BY_CALLS

_GAP = "   "
_NARROWEST = 24
"""Of a column whose texts are cut or wrapped."""
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_LEFT_OUT = dict.fromkeys((7, 8, 11, 12, 13))
"""Control characters that Rich takes out of texts."""
_ASKED_OF_RICH = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES")


@dataclass(slots=True)
class Table:
    """Columns by name, those in `right` aligned so, and rows of texts; a row may have a style.

    Where the table is too wide, the texts of the columns in `cut` are cut, those of paths in the middle, and those in `wrap` go on
    in further lines. `whole` says what tells a cut text whole.
    """

    columns: tuple[str, ...]
    right: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()
    whole: str = ""
    rows: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def add_row(self, *cells: str | None, style: str = "") -> None:
        """Add a row of texts."""
        self.rows.append((tuple(cell or "" for cell in cells), style))


def fitted(table: Table, most: int) -> tuple[Table, bool]:
    """The table in `most` columns, as far as texts may be cut or wrapped for it, and whether any was cut.

    Example:
        >>> long = Table(("A", "B"), cut=("B",), rows=[(("x", "a text that is far too long for it"), "")])
        >>> fitted(long, 28)[0].rows, fitted(long, 28)[1], fitted(long, 80)[1]
        ([(('x', 'a text that is far too…'), '')], True, False)
    """
    widths = [
        max(
            _columns(line)
            for row in (table.columns, *(row for row, _ in table.rows))
            for line in row[number].split("\n")
        )
        for number in range(len(table.columns))
    ]
    over = sum(widths) + len(_GAP) * (len(widths) - 1) - most
    may = [number for number, name in enumerate(table.columns) if name in (*table.cut, *table.wrap)]
    while over > 0 and (wide := max(may, key=widths.__getitem__, default=None)) is not None:
        if widths[wide] <= _NARROWEST:
            break
        widths[wide] -= 1
        over -= 1
    rows, is_cut = [], False
    for row, style in table.rows:
        cells = list(row)
        for number in may:
            lines = cells[number].split("\n")
            if max(map(_columns, lines)) <= widths[number]:
                continue
            if table.columns[number] in table.wrap:
                cells[number] = "\n".join(part for line in lines for part in _wrapped(line, widths[number]))
            else:
                cells[number], is_cut = "\n".join(shortened(line, widths[number]) for line in lines), True
        rows.append((tuple(cells), style))
    return replace(table, rows=rows), is_cut


def shortened(text: str, most: int) -> str:
    """A text in so many letters: a path without what is in its middle, else without its end.

    Example:
        >>> shortened("/home/ann/team/inbox/january.csv", 20), shortened("a long text", 8), shortened("short", 8)
        ('/hom…box/january.csv', 'a long…', 'short')
    """
    if _columns(text) <= most:
        return text
    if _columns(text) != len(text):  # wide letters
        while _columns(text) > most - 1:
            text = text[:-1]
        return f"{text.rstrip()}…"
    if " " not in text and ("/" in text or "\\" in text):
        front = most // 4
        return f"{text[: front - 1]}…{text[front - most :]}"
    return f"{text[: most - 1].rstrip()}…"


def _columns(text: str) -> int:
    """How many columns of a terminal the letters take."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _wrapped(line: str, most: int) -> list[str]:
    from textwrap import wrap

    most = most if _columns(line) == len(line) else most // 2
    indent = " " * min(len(line) - len(line.lstrip()), most // 2)
    return wrap(line.strip(), most, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False) or [""]


def lines_of(table: Table, *, most: int, coloured: bool, rule: str = "─") -> list[str] | None:
    """The table's lines, with `rule` under its head; None where it is wider than `most`, or a letter is not one column wide.

    Example:
        >>> lines_of(Table(("A", "B"), rows=[(("x", "yyy"), "")]), most=80, coloured=False)
        ['A   B  ', '───────', 'x   yyy']
    """
    cells = [table.columns, *(row for row, _ in table.rows)]
    split = [[cell.split("\n") for cell in row] for row in cells]
    if not all(_is_plain(line) for row in split for lines in row for line in lines):
        return None
    widths = [max(len(line) for row in split for line in row[number]) for number in range(len(table.columns))]
    total = sum(widths) + len(_GAP) * (len(widths) - 1)
    if total > most:
        return None
    found = []
    for row, style in zip(split, ["bold", *(style for _, style in table.rows)], strict=True):
        for number in range(max(map(len, row))):
            parts = [lines[number] if number < len(lines) else "" for lines in row]
            padded = (
                part.rstrip().rjust(wide) if column in table.right else part.ljust(wide)
                for part, wide, column in zip(parts, widths, table.columns, strict=True)
            )
            found.append(styled(_GAP.join(padded), style if coloured else ""))
    found.insert(max(map(len, split[0])), rule * total)
    return found


def ragged(lines: list[str]) -> list[str]:
    """The lines of a table for a file or a pipe: each only as long as its own texts, the line below the head as long as the head.

    Example:
        >>> ragged(["A   B        ", "─────────────", "x   all of it"])
        ['A   B', '─────', 'x   all of it']
    """
    found = [line.rstrip() for line in lines]
    below = next((number for number, line in enumerate(found) if line and not line.strip("─-")), 0)
    return [*found[:below], found[below][: max(map(len, found[:below]), default=0)], *found[below + 1 :]]


def text_of(text: str) -> str:
    """A text as a terminal is given it: without characters that move the cursor, tabs as spaces."""
    return text.translate(_LEFT_OUT).expandtabs(8)


def _is_plain(text: str) -> bool:
    """Whether each letter is one column wide, and none moves the cursor."""
    return text.isprintable() and (
        text.isascii()
        or all(unicodedata.east_asian_width(one) not in "WF" and unicodedata.category(one)[0] != "M" for one in text)
    )


def styled(text: str, style: str) -> str:
    """The text in a style such as "bold red"."""
    codes = ";".join(_CODES[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


def terminal_width(stream: TextIO) -> int | None:
    """How wide the terminal is that the stream writes to; 0 where it is none, None where only Rich can tell."""
    try:
        if not stream.isatty():
            return 0 if "FORCE_COLOR" not in os.environ and "TTY_COMPATIBLE" not in os.environ else None
        if IS_STYLED_BY_CALLS or any(name in os.environ for name in _ASKED_OF_RICH):
            return None
        if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
            return None
        return os.get_terminal_size(stream.fileno()).columns or None
    except (OSError, ValueError):
        return None


def rule_is_known(stream: TextIO) -> bool:
    """Whether the stream can show the line under a table's head."""
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") in ("utf8", "utf16", "utf32")

"""A table as text, laid out as Rich does it, without the import of Rich: it takes longer than most commands.

What needs more than letters side by side (a narrow terminal, wide letters, a console of Windows) is left to Rich.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, TextIO

from data_engine.cut import visible
from data_engine.platforms.host import IS_STYLED_BY_CALLS

if TYPE_CHECKING:
    from textwrap import TextWrapper

_GAP = "   "
_OF_PATHS = ("SOURCE", "OUTPUT")
"""Columns whose texts are paths, also those with blanks."""
_NARROWEST = 24
"""Of a column whose texts are cut or wrapped."""
_NARROWEST_ON_SCREEN = 12
"""Of such a column, where a terminal has no room for that either."""
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_UP_TO_SEPARATOR = re.compile(r"[^/\\]*[/\\]+|[^/\\]+")
_ASKED_OF_RICH = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES")


@dataclass(slots=True)
class Table:
    """Columns by name, those in `right` aligned so, and rows of texts; a row may have a style.

    Where the table is too wide, the texts of the columns in `cut` are cut, those of paths in the middle, and those in `wrap` go on
    in further lines. On a screen that is too narrow for that the columns in `spare` are left out, the first one first. `whole` says what
    tells whole what was cut or left out.
    """

    columns: tuple[str, ...]
    right: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    wrap: tuple[str, ...] = ()
    spare: tuple[str, ...] = ()
    whole: str = ""
    rows: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def add_row(self, *cells: str | None, style: str = "") -> None:
        """Add a row of texts, each of one line."""
        self.rows.append((tuple(visible(cell or "") for cell in cells), style))


def fitted(table: Table, most: int, *, is_screen: bool = False) -> tuple[Table, bool]:
    """The table in `most` columns, as far as texts may be cut or wrapped for it, and whether any was cut.

    On a screen that is too narrow, columns without any text are left out, and other texts go on in further lines between words.

    Example:
        >>> long = Table(("A", "B"), cut=("B",), rows=[(("x", "a text that is far too long for it"), "")])
        >>> fitted(long, 28)[0].rows, fitted(long, 28)[1], fitted(long, 80)[1]
        ([(('x', 'a text that is far too…'), '')], True, False)
    """
    widths = _fitted_widths(table, most, is_screen=is_screen)
    left_out = 0
    if is_screen and _total(widths) > most:
        table = _without(table, [n for n in range(len(widths)) if _is_empty(table, n)])
        spare = [name for name in table.spare if name in table.columns]
        while _total(widths := _fitted_widths(table, most, is_screen=True)) > most and left_out < len(spare):
            table = _without(table, [table.columns.index(spare[left_out])])
            left_out += 1
        cut = _numbers(table, table.cut)
        for some in ([number for number in cut if number], cut):  # the first column says which row it is
            _shrink(widths, most, dict.fromkeys(some, _NARROWEST_ON_SCREEN))
    rows, is_cut = [], left_out > 0
    for row, style in table.rows:
        cells = list(row)
        for number, name in enumerate(table.columns):
            lines = cells[number].split("\n")
            if max(map(_columns, lines)) <= widths[number]:
                continue
            if name in table.cut:
                is_cut, is_path = True, name in _OF_PATHS
                cells[number] = "\n".join(shortened(line, widths[number], is_path=is_path) for line in lines)
            else:
                cells[number] = "\n".join(part for line in lines for part in _wrapped(line, widths[number]))
        rows.append((tuple(cells), style))
    return replace(table, rows=rows), is_cut


def _fitted_widths(table: Table, most: int, *, is_screen: bool) -> list[int]:
    """How wide each column is to be: on a screen no narrower than its longest word, but for those whose texts are cut."""
    widths = _widths(table)
    cut, wrap = _numbers(table, table.cut), _numbers(table, table.wrap)
    if not is_screen:
        _shrink(widths, most, dict.fromkeys([*cut, *wrap], _NARROWEST))
        return widths
    words = {number: _longest_word(table, number) for number in range(len(widths)) if number not in cut}
    right = _numbers(table, table.right)  # numbers, with their units
    _shrink(widths, most, dict.fromkeys(cut, _NARROWEST) | {number: max(words[number], _NARROWEST) for number in wrap})
    _shrink(widths, most, {number: wide for number, wide in words.items() if number not in right})
    return widths


def _numbers(table: Table, names: tuple[str, ...]) -> list[int]:
    return [number for number, name in enumerate(table.columns) if name in names]


def _widths(table: Table) -> list[int]:
    rows = (table.columns, *(row for row, _ in table.rows))
    return [max(_columns(line) for row in rows for line in row[n].split("\n")) for n in range(len(table.columns))]


def is_wider(table: Table, most: int) -> bool:
    """Whether the table takes more than so many columns of a terminal."""
    return _total(_widths(table)) > most


def _total(widths: list[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _is_empty(table: Table, number: int) -> bool:
    return bool(table.rows) and not any(row[number].strip() for row, _ in table.rows)


def _without(table: Table, numbers: list[int]) -> Table:
    """The table without these columns, of which one at least stays."""
    told = [number for number in range(len(table.columns)) if number not in numbers] or [0]
    rows = [(tuple(row[number] for number in told), style) for row, style in table.rows]
    return replace(table, columns=tuple(table.columns[number] for number in told), rows=rows)


def _shrink(widths: list[int], most: int, least: Mapping[int, int]) -> None:
    """Take from the widest of some columns, until all fit or each of these is as narrow as it may be."""
    over = _total(widths) - most
    while over > 0 and (may := [number for number, narrowest in least.items() if widths[number] > narrowest]):
        widths[max(may, key=widths.__getitem__)] -= 1
        over -= 1


def _longest_word(table: Table, number: int) -> int:
    words = (word for row, _ in table.rows for word in row[number].split())
    return max([_columns(table.columns[number]), *map(_columns, words)])


def shortened(text: str, most: int, *, is_path: bool = False) -> str:
    """A text in so many letters: a path without what is in its middle, else without its end. One with blanks is taken for a path where
    it is said to be one.

    Example:
        >>> shortened("/home/ann/team/inbox/january.csv", 20), shortened("a long text", 8), shortened("short", 8)
        ('/hom…box/january.csv', 'a long…', 'short')
        >>> shortened("/home/ann/My Documents/in/january.csv", 20, is_path=True)
        '/hom…/in/january.csv'
    """
    if _columns(text) <= most:
        return text
    if (is_path or " " not in text) and ("/" in text or "\\" in text):
        front = most // 4
        last = _beginning(text[::-1], most - front)[::-1]
        return f"{_beginning(text, max(front - 1, 0))}…{last}"
    return f"{_beginning(text, most - 1).rstrip()}…"


def _beginning(text: str, most: int) -> str:
    """As many letters of it as take so many columns."""
    if _columns(text) == len(text):
        return text[:most]
    end = taken = 0
    while end < len(text) and (taken := taken + _columns(text[end])) <= most:
        end += 1
    return text[:end]


def _columns(text: str) -> int:
    """How many columns of a terminal the letters take."""
    return len(text) if text.isascii() else sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text)


def _wrapped(line: str, most: int, *, whole_words: bool = False) -> list[str]:
    """The line in several of so many columns, between words; one that is too long, such as a path, behind its separators.

    Example:
        >>> _wrapped("see /team/claims/flow_helpers/prices.py, line 3", 24)
        ['see /team/claims/', 'flow_helpers/prices.py,', 'line 3']
        >>> _wrapped("see averylongword", 8)
        ['see aver', 'ylongwor', 'd']
    """
    most = most if _columns(line) == len(line) else most // 2
    indent = " " * min(len(line) - len(line.lstrip()), most // 2)
    wrapper = _wrapper()(
        most,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=not whole_words,
    )
    return wrapper.wrap(line.strip()) or [""]


@cache
def _wrapper() -> type[TextWrapper]:
    from textwrap import TextWrapper

    class AtSeparators(TextWrapper):
        def _split(self, text: str) -> list[str]:
            most = self.width - len(self.initial_indent) if self.break_long_words else len(text)
            found: list[str] = []
            for chunk in super()._split(text):
                found += [chunk] if len(chunk) <= most else _UP_TO_SEPARATOR.findall(chunk)
            return found

    return AtSeparators


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


def stacked(table: Table, most: int) -> list[tuple[list[str], str]]:
    """The rows for a screen that is too narrow for columns: each as the names and texts of its cells, in lines, with its style.

    Example:
        >>> stacked(Table(("RUN", "ERROR"), rows=[(("3f9c", "no such column"), ""), (("77aa", ""), "")]), 18)
        [(['RUN    3f9c', 'ERROR  no such', '       column'], ''), (['RUN    77aa'], '')]
    """
    indent = max(map(len, table.columns)) + 2
    found = []
    for row, style in table.rows:
        lines = []
        for name, cell in zip(table.columns, row, strict=True):
            parts = [
                part for line in cell.split("\n") for part in _wrapped(line, max(most - indent, 1), whole_words=True)
            ]
            lines += [f"{'' if n else name:{indent}}{part}".rstrip() for n, part in enumerate(parts) if part]
        found.append((lines, style))
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
    """A text as a terminal is given it: tabs as spaces."""
    return text.expandtabs(8)


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

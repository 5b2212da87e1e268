"""A card as a value: what people are shown of anything, as a title, facts, tables and pictures.

The functions of this package make the card of a noun (a run, a status, an outcome), once; `text` here, `cli/output.py` and
`jupyter_extension/html.py` draw any card, and know no noun.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from data_engine.formatting import MOST_CELL, both_ends
from data_engine.marks import Mark
from data_engine.record import frozen

MOST_ROWS = 20
"""Rows of a table in a cell; the rest is counted."""


@frozen
class Code:
    """Text in the fixed font: a path, an id, a line of code. `whole` is shown when the pointer rests on it."""

    text: str
    whole: str = ""


@frozen
class Faint:
    """Text that matters less."""

    text: str


@frozen
class Link:
    """Text in the fixed font that leads to a place in JupyterLab, such as a cell."""

    text: str
    href: str


@frozen
class Marked:
    """Text in the fixed font with marked parts: each part, and whether it is marked."""

    parts: tuple[tuple[str, bool], ...]

    @property
    def text(self) -> str:
        """The whole of it; what is marked stands in brackets where several parts are there."""
        return "".join(f"[{text}]" if is_marked and len(self.parts) > 1 else text for text, is_marked in self.parts)


@frozen
class Picture:
    """An SVG element, safe to embed, and the same in words or as a table for a terminal (neither where another part says it anyway).
    In a cell of a table it is as high as a line, and in words."""

    svg: str
    text: str | Table = ""


Cell: TypeAlias = str | Code | Faint | Link | Mark | Marked | Picture


@frozen
class Column:
    """A column of a table, and what becomes of its texts where there is little room.

    A "word" and an "id" stay whole; a "name" is cut at its end and a "path" at its beginning; a "text" goes on in further lines; a
    "number" stands right. Where that is not enough, `spare` columns are left out.
    """

    name: str
    kind: Literal["word", "id", "name", "path", "text", "number"] = "word"
    is_spare: bool = False


@frozen
class Table:
    """Columns and rows. A cell of a notebook shows the first `most` rows and counts the rest, with the `more` that are not among them.
    `whole` says how to see what a narrow terminal cuts."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    more: int = 0
    most: int = MOST_ROWS
    whole: str = ""


@frozen
class Note:
    """A sentence with a mark in front, and its fix below."""

    mark: Mark
    fix: str = ""

    @classmethod
    def warning(cls, text: object, fix: str | None = None) -> Note:
        """A warning, and what to do about it."""
        return cls(Mark(str(text), "warn", "triangle"), fix or "")


@frozen
class Lines:
    """Lines in the fixed font, such as code; folded away under a `summary` where there is one.

    What is `only_folded` is left out where nothing can be folded: in text.
    """

    lines: tuple[str, ...]
    summary: str = ""
    only_folded: bool = False


@frozen
class Pairs:
    """Names with their values, one below the other; those without a value are left out."""

    pairs: tuple[tuple[str, Cell], ...]


@frozen
class Section:
    """Parts under a title of their own; folded away where they matter less."""

    title: Cell
    parts: tuple[Part, ...]
    is_folded: bool = False


Part: TypeAlias = "Table | Picture | Note | Lines | Pairs | Section"


@frozen
class Card:
    """One output: a title with a few facts beside it, and what is below."""

    title: str
    facts: tuple[Cell, ...] = ()
    parts: tuple[Part, ...] = ()
    tone: str = ""


def table(
    columns: Sequence[str | Column],
    rows: Iterable[Sequence[Cell]],
    *,
    total: int = 0,
    most: int = MOST_ROWS,
    whole: str = "",
) -> Table:
    """A table without the columns that are empty in every row; `total` counts all rows when `rows` are only some.

    Example:
        >>> shown = table(["Run", Column("Time", "number"), "Error"], [("3f", "2 s", ""), ("77", "1 s", "")])
        >>> [column.name for column in shown.columns], shown.rows
        (['Run', 'Time'], (('3f', '2 s'), ('77', '1 s')))
    """
    data = [tuple(row) for row in rows]
    full = [n for n in range(len(columns)) if not data or any(plain(row[n]) for row in data)]
    cells = tuple(tuple(row[n] for n in full) for row in data)
    named = (columns[n] for n in full)
    heads = tuple(Column(column) if isinstance(column, str) else column for column in named)
    return Table(heads, cells, max(0, total - len(data)), most, whole)


def plain(cell: Cell) -> str:
    """The text of a cell, on one line and not longer than anybody reads."""
    whole = cell if isinstance(cell, str) else cell.word if isinstance(cell, Mark) else cell.text
    assert isinstance(whole, str)  # a picture in a cell has words
    line = both_ends(whole, MOST_CELL)
    return " ".join(line.split()) if "\n" in line else line


def file_cell(path: str | None) -> Cell:
    """The name of a file, its whole path as the tip."""
    return "" if path is None else Code(path.replace("\\", "/").rstrip("/").rpartition("/")[2] or path, path)


def run_id(whole: str) -> Cell:
    """The beginning of an id, which names a run, a deployment or a backfill; the whole as the tip."""
    return Code(whole[:8], whole)

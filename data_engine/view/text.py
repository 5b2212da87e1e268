"""A card as plain text, as notebooks keep it beside the HTML."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Iterable

from data_engine.formatting import MOST_CELL, MOST_TEXT, both_ends
from data_engine.view.card import Card, Lines, Note, Pairs, Part, Picture, Section, Table, plain

_MOST_LINES = 200_000
"""Characters of lines such as code, which are read in one piece."""


def text(card: Card) -> str:
    """The card for a terminal; columns are aligned by how wide letters are there."""
    parts = [part for part in map(_text_part, card.parts) if part]
    title = both_ends(card.title, MOST_TEXT)
    head = "  ".join(filter(None, [title, *map(plain, card.facts)]))
    return "\n".join(filter(None, [head, *parts]))


def _text_part(part: Part) -> str:
    match part:
        case Picture():
            return part.text if isinstance(part.text, str) else _text_table(part.text)
        case Note():
            word, fix = both_ends(part.mark.word, MOST_TEXT), both_ends(part.fix, MOST_TEXT)
            return f"{word}\n  fix: {fix}" if fix else word
        case Lines():
            lines = [] if part.only_folded else [f"    {line}" for line in bounded_lines(part.lines)]
            return "\n".join([part.summary, *lines] if part.summary and not part.only_folded else lines)
        case Section():
            title, inside = plain(part.title), "\n".join(filter(None, map(_text_part, part.parts)))
            return f"{title}\n{textwrap.indent(inside, '  ')}" if inside else title
        case Pairs():
            pairs = [(name, cell) for name, cell in ((name, plain(cell)) for name, cell in part.pairs) if cell]
            widest = max((_cells_wide(name) for name, _ in pairs), default=0)
            return "\n".join(f"{_pad(name, widest, False)}  {cell}" for name, cell in pairs)
        case Table():
            return _text_table(part)


def _text_table(table: Table) -> str:
    rows = [tuple(column.name for column in table.columns)]
    rows += [tuple(map(plain, row)) for row in table.rows[: table.most]]
    widths = [max(map(_cells_wide, column)) for column in zip(*rows, strict=True)]
    right = [column.kind == "number" for column in table.columns]
    lines = [
        "  ".join(_pad(cell, width, at) for cell, width, at in zip(row, widths, right, strict=True)).rstrip()
        for row in rows
    ]
    more = table.more + max(0, len(table.rows) - table.most)
    return "\n".join([*lines, f"and {more:,} more"] if more else lines)


def _pad(cell: str, width: int, right: bool) -> str:
    fill = " " * (width - _cells_wide(cell))
    return fill + cell if right else cell + fill


def _cells_wide(cell: str) -> int:
    return len(cell) if cell.isascii() else sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in cell)


def bounded_lines(lines: Iterable[str]) -> list[str]:
    """The lines up to a limit, and the number of the rest."""
    shown, room, left_out = list[str](), _MOST_LINES, 0
    for line in lines:
        if room > 0:
            shown.append(both_ends(line, MOST_CELL))
            room -= len(shown[-1]) + 1
        else:
            left_out += 1
    return [*shown, f"… {left_out:,} more lines are left out"] if left_out else shown

"""Text in a terminal: how many columns it takes, cut or broken to fit, and the signs that stand before words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from prompt_toolkit.utils import get_cwidth

from data_engine.marks import Shape

Piece: TypeAlias = tuple[str, str]
"""Words of style ("bad", "bold dim"; "" for plain), and a text."""

Line: TypeAlias = tuple[Piece, ...]
"""What stands in one row of the screen."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What is drawn with: a letter for each shape of a mark, the sign of what was cut, a rule, and the parts of a bar."""

    shapes: Mapping[Shape, str]
    cut: str
    rule: str
    chosen: str
    full: str
    empty: str
    between: str


UNICODE = Signs(
    {
        "disc": "●",
        "cross": "✗",
        "square": "■",
        "diamond": "◆",
        "triangle": "▲",
        "play": "►",
        "ring": "○",
        "half": "◐",
        "bar": "▬",
    },
    cut="…",
    rule="─",
    chosen="❯",
    full="█",
    empty="░",
    between="·",
)
ASCII = Signs(
    {
        "disc": "*",
        "cross": "x",
        "square": "#",
        "diamond": "%",
        "triangle": "!",
        "play": ">",
        "ring": "o",
        "half": "~",
        "bar": "-",
    },
    cut="~",
    rule="-",
    chosen=">",
    full="#",
    empty=".",
    between="-",
)
"""For terminals whose encoding has no more."""


def clean(text: str) -> str:
    """`text` as one line that moves no cursor and starts no sequence: a file's name may hold anything.

    Example:
        >>> clean("a\\tb\\nc\\x1b[2J\\udcff")
        'a b c?[2J?'
    """
    return "".join(" " if letter in "\t\n\r" else letter if letter.isprintable() else "?" for letter in text)


def width(text: str) -> int:
    """How many columns it takes.

    Example:
        >>> width("ab"), width("報告")
        (2, 4)
    """
    return get_cwidth(text)


def cut(text: str, room: int, signs: Signs = UNICODE) -> str:
    """`text` in at most `room` columns, with a sign where something is missing.

    Example:
        >>> cut("claims", 6), cut("claims", 4), cut("報告書", 4), cut("claims", 0)
        ('claims', 'cla…', '報…', '')
    """
    text = clean(text)
    if width(text) <= room:
        return text
    if room <= 0:
        return ""
    kept, taken = "", width(signs.cut)
    for letter in text:
        taken += width(letter)
        if taken > room:
            break
        kept += letter
    return kept + signs.cut


def cell(text: str, room: int, signs: Signs = UNICODE, *, right: bool = False) -> str:
    """`text` in exactly `room` columns.

    Example:
        >>> cell("ab", 4), cell("ab", 4, right=True), cell("報告書", 4)
        ('ab  ', '  ab', '報… ')
    """
    kept = cut(text, room, signs)
    blank = " " * max(room - width(kept), 0)
    return blank + kept if right else kept + blank


def broken(text: str, room: int) -> Iterator[str]:
    """`text` in rows of at most `room` columns, broken at spaces where there are any.

    Example:
        >>> list(broken("3 files are held", 8)), list(broken("abcdef", 4)), list(broken("", 4))
        (['3 files', 'are held'], ['abcd', 'ef'], [''])
    """
    rest = clean(text)
    while width(rest) > room:
        fitting = _fitting(rest, max(room, 1))
        at = rest.rfind(" ", 1, fitting + 1)
        end = at if at > 0 else fitting
        yield rest[:end].rstrip()
        rest = rest[end:].lstrip()
    yield rest


def fitted(line: Line, room: int, signs: Signs = UNICODE) -> Line:
    """A line in at most `room` columns.

    Example:
        >>> fitted((("bold", "claims"), ("", " runs")), 9)
        (('bold', 'claims'), ('', ' r…'))
    """
    kept: list[Piece] = []
    for style, text in line:
        text = cut(text, room, signs)
        room -= width(text)
        if text:
            kept.append((style, text))
    return tuple(kept)


def _fitting(text: str, room: int) -> int:
    """How many letters fit; one at least."""
    taken = 0
    for number, letter in enumerate(text):
        taken += width(letter)
        if taken > room:
            return max(number, 1)
    return len(text)


def signs_for(encoding: str | None) -> Signs:
    """What an encoding has letters for.

    Example:
        >>> signs_for("utf-8").cut, signs_for("latin-1").cut, signs_for(None).cut
        ('…', '~', '~')
    """
    drawn = [*UNICODE.shapes.values(), UNICODE.cut, UNICODE.rule, UNICODE.chosen, UNICODE.full, UNICODE.empty]
    try:
        "".join(drawn).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE

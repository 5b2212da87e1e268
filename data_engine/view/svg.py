"""Pieces of pictures: the shapes of marks, how wide letters are, and texts that may stand in SVG and HTML."""

from __future__ import annotations

import unicodedata
from html import escape

from data_engine.formatting import MOST_TEXT, both_ends
from data_engine.marks import Mark, Shape
from data_engine.secret import masked

_NARROW = frozenset("iljI.,:;'|!`")
_SLIM = frozenset('frt()[]{}/\\-" ')
_WIDE = frozenset("mwMW@%&—…")
_NARROWEST = 0.3


SHAPES: dict[Shape, str] = {
    "disc": '<circle cx="6" cy="6" r="4.5" fill="currentColor"/>',
    "cross": '<path d="M2.5 2.5l7 7m0-7l-7 7" stroke="currentColor" stroke-width="2.2" stroke-linecap="round"/>',
    "square": '<rect x="2" y="2" width="8" height="8" rx="1" fill="currentColor"/>',
    "diamond": '<path d="M6 .8L11.2 6 6 11.2.8 6z" fill="currentColor"/>',
    "triangle": '<path d="M6 1.8L11 10.4H1z" fill="none" stroke="currentColor" stroke-width="1.6" stroke-linejoin="round"/>',
    "play": '<path d="M3 1.8v8.4L10.5 6z" fill="currentColor" stroke="currentColor" stroke-linejoin="round"/>',
    "ring": '<circle cx="6" cy="6" r="3.9" fill="none" stroke="currentColor" stroke-width="1.5"/>',
    "half": '<circle cx="6" cy="6" r="3.9" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M6 2.1a3.9 3.9 0 0 1 0 7.8z" fill="currentColor"/>',
    "bar": '<circle cx="6" cy="6" r="4.2" fill="none" stroke="currentColor" stroke-width="1.5"/><path d="M3.2 6h5.6" stroke="currentColor" stroke-width="1.5"/>',
}
"""The drawing of each shape, 12 by 12; the panel's `shapes.js` is made of it."""


def shape_svg(mark: Mark, x: float = 0, y: float = 0, *, title: str = "") -> str:
    """The mark's shape as a group of 12 by 12 at (x, y) inside a picture; `title` is escaped already."""
    tip = f"<title>{title}</title>" if title else ""
    return f'<g class="de-{mark.tone}" transform="translate({x:g} {y:g})">{tip}{SHAPES[mark.shape]}</g>'


def icon_svg(mark: Mark) -> str:
    """The mark's shape as a picture of its own, for a line of text; the word must stand beside it."""
    return (
        f'<svg class="de-icon de-{mark.tone}" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">'
        f"{SHAPES[mark.shape]}</svg>"
    )


def width(text: str, size: float = 13.0, *, is_mono: bool = False) -> float:
    """About how many pixels `text` takes at `size` pixels, rather too many than too few.

    Example:
        >>> width("Read") < width("WWWW"), width("ab", is_mono=True)
        (True, 15.86)
    """
    return sum(map(_mono_em if is_mono else _em, text)) * size


def fit(text: str, room: float, size: float = 13.0, *, is_mono: bool = False) -> str:
    """`text` on one line, secrets masked, cut with an ellipsis where it would take more than `room` pixels.

    Example:
        >>> fit("Build the yearly summary", 90)
        'Build the y…'
    """
    most = int(room / (size * _NARROWEST)) + 2  # letters that could fit: a long text costs no more
    text = " ".join(masked(text)[: 4 * most].split())[:most]
    if width(text, size, is_mono=is_mono) <= room:
        return text
    while text and width(f"{text}…", size, is_mono=is_mono) > room:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _em(letter: str) -> float:
    if letter in _NARROW:
        return _NARROWEST
    if letter in _SLIM:
        return 0.42
    if letter in _WIDE:
        return 0.95
    if letter.isascii():
        return 0.7 if letter.isupper() else 0.59
    return 1.05 if unicodedata.east_asian_width(letter) in "WF" else 0.75


def _mono_em(letter: str) -> float:
    return 0.61 if letter.isascii() or unicodedata.east_asian_width(letter) not in "WF" else 1.22


def clean(text: str, most: int = MOST_TEXT) -> str:
    """`text` for HTML and SVG, of a longer one than `most` its two ends: markup escaped, and what no XML may hold (control
    letters, halves of pairs) replaced."""
    text = both_ends(text, most)
    if text.isascii() and text.isprintable():
        return escape(text)
    return escape("".join(letter if _may_stand(letter) else "\ufffd" for letter in text))


def _may_stand(letter: str) -> bool:
    code = ord(letter)
    return letter in "\t\n" or (
        code >= 0x20 and not 0x7F <= code < 0xA0 and not 0xD800 <= code < 0xE000 and code & 0xFFFE != 0xFFFE
    )

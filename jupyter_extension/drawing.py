"""Drawing inside a picture: the shape of a mark, how wide a text will be, and a text cut to fit, which nobody can measure before the page does."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

from data_engine.marks import Mark, Shape

_NARROW = frozenset("iljI.,:;'|!`")
_SLIM = frozenset('frt()[]{}/\\-" ')
_WIDE = frozenset("mwMW@%&—…")
_NARROWEST = 0.3


def _drawings() -> dict[Shape, str]:
    """The drawing of each shape. Its home is a module of the panel's that is JSON but for its first two words."""
    module = (Path(__file__).parent / "static" / "shapes.js").read_text(encoding="utf-8")
    found: dict[Shape, str] = json.loads(module.removeprefix("export default "))
    return found


_PATHS = _drawings()


def shape_svg(mark: Mark, x: float = 0, y: float = 0, *, title: str = "") -> str:
    """The mark's shape as a group of 12 by 12 at (x, y) inside a picture; `title` is escaped already."""
    tip = f"<title>{title}</title>" if title else ""
    return f'<g class="de-{mark.tone}" transform="translate({x:g} {y:g})">{tip}{_PATHS[mark.shape]}</g>'


def icon_svg(mark: Mark) -> str:
    """The mark's shape as a picture of its own, for a line of text; the word must stand beside it."""
    return (
        f'<svg class="de-icon de-{mark.tone}" width="12" height="12" viewBox="0 0 12 12" aria-hidden="true">'
        f"{_PATHS[mark.shape]}</svg>"
    )


def width(text: str, size: float = 13.0, *, is_mono: bool = False) -> float:
    """About how many pixels `text` takes at `size` pixels, rather too many than too few.

    Example:
        >>> width("Read") < width("WWWW"), width("ab", is_mono=True)
        (True, 15.86)
    """
    return sum(map(_mono_em if is_mono else _em, text)) * size


def fit(text: str, room: float, size: float = 13.0, *, is_mono: bool = False) -> str:
    """`text` on one line, cut with an ellipsis where it would take more than `room` pixels.

    Example:
        >>> fit("Build the yearly summary", 90)
        'Build the y…'
    """
    most = (
        int(room / (size * _NARROWEST)) + 2
    )  # letters that could fit, so that a long text costs no more than a short one
    text = " ".join(text[: 4 * most].split())[:most]
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

"""The drawing of a mark: its shape as a picture."""

from __future__ import annotations

import json
from pathlib import Path

from data_engine.marks import Mark, Shape


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

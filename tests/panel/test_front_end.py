"""What Python and the panel's modules must agree on."""

from __future__ import annotations

import json
import os
import re
from typing import get_args

from data_engine.marks import Mark, Shape
from data_engine.view.svg import SHAPES, icon_svg
from jupyter_extension.assets import STATIC, panel_js
from tests.panel.records import typescript


def test_the_pages_types_are_made_of_the_records_that_python_sends() -> None:
    """So that the type check knows what the page is sent. `WRITE_GOLDEN=1` writes them anew."""
    path = STATIC / "records.d.ts"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(typescript(), encoding="utf-8")

    assert path.read_text(encoding="utf-8") == typescript()


def test_the_panels_shapes_are_those_of_the_displays() -> None:
    """Each is drawn once. `WRITE_GOLDEN=1` writes them anew."""
    path = STATIC / "shapes.js"
    drawn = f"export default {json.dumps(SHAPES, indent=2)}\n"
    if os.environ.get("WRITE_GOLDEN"):
        path.write_text(drawn, encoding="utf-8")

    assert path.read_text(encoding="utf-8") == drawn


def test_every_shape_is_drawn() -> None:
    """In the displays and in the panel, from one place."""
    assert all(
        re.search(r"<svg [^>]*><(circle|path|rect) ", icon_svg(Mark("", shape=shape))) for shape in get_args(Shape)
    )


def test_the_panel_travels_as_one_module() -> None:
    """With the modules as they are in it, and what only the tools read left out."""
    script = panel_js()

    assert all(f'"{path.name}": ' in script for path in STATIC.glob("*.js") if path.name != "loader.js")
    assert ".d.ts" not in script
    assert "@import" not in script
    assert not re.search(r"@param \{.*\} \w+\\n \*", script)
    assert not re.search(r"^import ", script, re.MULTILINE)

"""What Python and the panel's modules must agree on."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, get_args

import pytest

from data_engine.marks import Mark, Shape, Tone
from data_engine.model import ActiveRun
from jupyter_extension.assets import STATIC, panel_js
from jupyter_extension.details import FlowView, RunView, StepView
from jupyter_extension.files import FilesView, FileView
from jupyter_extension.marks import icon_svg
from jupyter_extension.outputs import OutputsView, OutputView
from jupyter_extension.planning import PlanView
from jupyter_extension.troubles import TroubleLine
from jupyter_extension.view import BackfillLine, ExpectedLine, FlowRow, Group, LastRun, Notice, PanelView

TYPES = (STATIC / "types.d.ts").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "kind",
    [
        Mark,
        LastRun,
        FlowRow,
        BackfillLine,
        ExpectedLine,
        TroubleLine,
        Group,
        ActiveRun,
        Notice,
        PanelView,
        StepView,
        RunView,
        FileView,
        FilesView,
        FlowView,
        PlanView,
        OutputView,
        OutputsView,
    ],
    ids=lambda kind: str(kind.__name__),
)
def test_the_pages_types_have_the_fields_that_python_sends(kind: Any) -> None:
    """A field that is added here is added there, so that the type check knows what the page is sent."""
    body = re.search(rf"^export interface {kind.__name__} {{\n(.*?)^}}", TYPES, re.MULTILINE | re.DOTALL)

    assert body
    assert re.findall(r"^  (\w+)\??:", body[1], re.MULTILINE) == [one.name for one in fields(kind)]


@pytest.mark.parametrize(("name", "kind"), [("Tone", Tone), ("Shape", Shape)])
def test_the_page_knows_every_tone_and_shape(name: str, kind: Any) -> None:
    """And no other."""
    line = re.search(rf"^export type {name} = (.*);$", TYPES, re.MULTILINE)

    assert line
    assert re.findall(r'"(\w+)"', line[1]) == list(get_args(kind))


def test_every_shape_is_drawn() -> None:
    """In the displays and in the panel, from one place."""
    assert all(
        re.search(r"<svg [^>]*><(circle|path|rect) ", icon_svg(Mark("", shape=shape))) for shape in get_args(Shape)
    )


def test_the_panel_travels_as_one_module() -> None:
    """With the modules as they are in it, and what only the tools read left out."""
    script = panel_js()

    assert all(f'"{path.name}": ' in script for path in STATIC.glob("*.js") if path.name != "loader.js")
    assert "types.d.ts" not in script
    assert "@import" not in script
    assert not re.search(r"@param \{.*\} \w+\\n \*", script)
    assert not re.search(r"^import ", script, re.MULTILINE)

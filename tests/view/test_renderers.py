"""One card with each kind of part, as every renderer draws it: a golden file for each. `WRITE_GOLDEN=1` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_engine.cli.output import say_card
from data_engine.marks import Mark
from data_engine.view.card import (
    Card,
    Code,
    Column,
    Faint,
    Lines,
    Link,
    Marked,
    Note,
    Pairs,
    Picture,
    Section,
    Table,
    table,
)
from data_engine.view.text import text
from jupyter_extension.html import html

GOLDEN = Path(__file__).parent / "golden"
RUNS = table(
    ("Run", Column("Rows", "number"), Column("Error", "text"), "Empty"),
    [
        (Code("3f9c12ab", "3f9c12ab77"), "1,200", "", ""),
        (Code("77aa0c11", "77aa0c1109"), "7", "KeyError: <amount>", ""),
    ],
    total=5,
    whole="`data-engine runs` shows all.",
)
CARD = Card(
    "claims & parts",
    (Faint("deployed"), Mark("failing", "bad", "cross")),
    (
        Pairs((("trigger", "every 10 s"), ("cell", Link("claims.ipynb, cell 3", "#cell=3")), ("nothing", ""))),
        RUNS,
        Picture("<svg class='one'></svg>", Table((Column("Step"),), (("read",), ("write",)))),
        Picture("<svg class='two'></svg>", "read -> write"),
        Note(Mark("one file is held", "warn", "triangle"), "data-engine retry claims"),
        Note(Mark("all else is well", "good", "disc")),
        Lines(("def read(context):", "    return 1 < 2"), "the step"),
        Lines(("only where it can be folded",), "more", only_folded=True),
        Section(
            Marked((("amount ", False), ("> 0", True))),
            (Lines(("one", "two")), Pairs((("key", Code("id")),))),
            is_folded=True,
        ),
    ),
)


def on_terminal(capsys: pytest.CaptureFixture[str]) -> str:
    say_card(CARD)
    return capsys.readouterr().out


@pytest.mark.parametrize("renderer", ["terminal.txt", "text.txt", "cell.html"])
def test_a_card_is_drawn_as_before(renderer: str, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = {
        "terminal.txt": lambda: on_terminal(capsys),
        "text.txt": lambda: text(CARD),
        "cell.html": lambda: html(CARD),
    }
    shown = drawn[renderer]().rstrip("\n") + "\n"
    golden = GOLDEN / renderer
    if os.environ.get("WRITE_GOLDEN"):
        golden.write_text(shown, encoding="utf-8", newline="\n")

    assert shown == golden.read_text(encoding="utf-8")

"""Wherever a text is shortened, no half of a secret is left: whoever cuts masks first, and what a library has cut is masked after it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.argument_checks import value_text
from data_engine.compare.comparing import words
from data_engine.daemon.worker_process import line_text
from data_engine.engine.kept_inputs import local_text
from data_engine.engine.params import params_text
from data_engine.errors import FlowValidationError
from data_engine.flow.steps import item_text
from data_engine.formatting import TextEnd, beginning, both_ends
from data_engine.message import clean
from data_engine.proof.fingerprint import show
from data_engine.secret import learn, masked, masked_pieces
from data_engine.view.results import short_text
from data_engine.view.svg import fit
from tests.sources import product_files

SECRET = "Vx9-q_open+the.Xk7/door-of*Qz3"
PART = 4
"""Letters of a secret that tell something."""

PARTS = {SECRET[at : at + PART] for at in range(len(SECRET) - PART + 1)}

WAYS: dict[str, Callable[[str, int], str]] = {
    "beginning": lambda text, most: beginning(text, max(most, 1)),
    "both ends": both_ends,
    "a box of a picture": lambda text, most: fit(text, float(most)),
    "what leaves the machine": clean,
    "a local": lambda text, most: local_text(text),
    "a local's bytes": lambda text, most: local_text(text.encode()),
    "a local list": lambda text, most: local_text([1, text]),
    "a local dict": lambda text, most: local_text({"dsn": text, text: 1}),
    "a cell of a table": lambda text, most: short_text(text),
    "a cell that holds a list": lambda text, most: short_text([{"dsn": text}, text]),
    "a value that the proof shows": lambda text, most: show(text),
    "a list that the proof shows": lambda text, most: show([text, {"dsn": (text,)}]),
    "a path that the proof shows": lambda text, most: show(Path(text)),
    "a compared value": lambda text, most: words(text),
    "an option of an error": lambda text, most: value_text([text]),
    "a parameter": lambda text, most: params_text({"path": {text}}) or "",
    "an item": lambda text, most: item_text(text),
    "an error": lambda text, most: str(FlowValidationError(text, where="w", fix="f")),
    "a frame of Polars": lambda text, most: masked(str(pl.DataFrame({"dsn": [text, "b"]}))),
    "a series of Polars": lambda text, most: masked(repr(pl.Series("dsn", [text]))),
    "a frame of pandas": lambda text, most: masked(str(pd.DataFrame({"dsn": [text, "b"]}))),
}


@pytest.mark.parametrize("way", [*WAYS])
@settings(max_examples=60)
@given(before=st.integers(0, 260), after=st.integers(0, 60), most=st.integers(1, 300))
def test_no_part_of_a_secret_is_left(way: str, before: int, after: int, most: int) -> None:
    """However much stands before and after it, and wherever the cut falls."""
    learn(SECRET)

    shown = WAYS[way]("_" * before + SECRET + "_" * after, most)

    assert not [part for part in PARTS if part in shown], shown


@given(before=st.integers(0, 60), after=st.integers(0, 60), most=st.integers(1, 90), size=st.integers(1, 20))
def test_no_part_of_a_secret_is_left_in_the_end_of_a_stream(before: int, after: int, most: int, size: int) -> None:
    """Whose beginning is gone, wherever in the secret that ends."""
    learn(SECRET)
    data = f"{'_' * before}{SECRET}{'_' * after}\nKeyError: 3".encode()
    end = TextEnd(most)

    for at in range(0, len(data), size):
        end.add(data[at : at + size])

    assert not [part for part in PARTS if part in end.text()], end.text()


@settings(max_examples=60)
@given(before=st.integers(0, 3000), after=st.integers(0, 2000), most=st.integers(1, 900), size=st.integers(1, 700))
@pytest.mark.parametrize("kind", [str, bytes])
def test_no_part_of_a_secret_is_left_in_a_long_line_that_is_passed_on_in_pieces(
    kind: type, before: int, after: int, most: int, size: int
) -> None:
    """The pieces are read as they come, and one ends within the secret; together they are the line."""
    learn(SECRET)
    line = f"{'_' * before}{SECRET}{'_' * after}".encode()
    pieces, rest = [], b""

    for at in range(0, len(line), size):
        begun = rest + line[at : at + size]
        piece, rest = (
            masked_pieces(begun, most) if kind is bytes else map(str.encode, masked_pieces(begun.decode(), most))
        )
        pieces.append(piece)

    shown = [line_text(piece) for piece in (*pieces, rest)]
    assert not [part for part in PARTS for text in shown if part in text], shown
    assert "".join(shown) == masked(line.decode())


def test_texts_are_shortened_by_those_that_mask() -> None:
    """No text of an error or an object is cut by hand in the product."""
    by_hand = re.compile(r"(?:\b(?:str|repr)\([^()]*\)|error\b|![rs])(?:\[:\s*_?[A-Z0-9][A-Z0-9_]*\]|:\.\d+\})")
    found = [
        f"{path.name}: {match[0]}" for path in product_files() for match in by_hand.finditer(path.read_text("utf-8"))
    ]

    assert found == []

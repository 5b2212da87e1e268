"""What differs in the code of two deployed sets, as lines for a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine.notebook.compiled import CellPart
from data_engine.notebook.deployments import cell_differences, code_differences

FOLDER = Path("flow_modules")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_told_without_their_ends(end: str) -> None:
    """As an editor on Windows writes them too."""
    old, new = (f"import math{end}RATE = {number}{end}".encode() for number in (1, 2))

    sets = ({"claims.py": b"import flow_helpers.a", "flow_helpers/a.py": helper} for helper in (old, new))
    assert code_differences(*sets, "claims", FOLDER) == {"flow_helpers/a.py": ["- RATE = 1", "+ RATE = 2"]}


def test_a_file_that_only_ends_its_lines_in_another_way_says_so() -> None:
    """A checkout by Git may turn all of them; no line is shown as another one that looks the same."""
    assert code_differences({"claims.py": b"x = 1\n"}, {"claims.py": b"x = 1\r\n"}, "claims", FOLDER) == {
        "claims.py": ["only empty lines, or how lines end, differ"]
    }


def chunks(ids: str, *texts: str) -> list[CellPart]:
    return [CellPart(number, id, text, text) for number, (id, text) in enumerate(zip(ids, texts, strict=True), start=1)]


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        (chunks("xyz", "a = 1", "b = 1", "c = 1"), {}),
        (chunks("xyz", "a = 1", "b = 2", "c = 1"), {2: ["- b = 1", "+ b = 2"]}),
        (chunks("bca", "b = 1", "c = 1", "a = 1"), {}),
        (chunks("wxyz", "new = 1", "a = 1", "b = 1", "c = 1"), {1: ["+ new = 1"]}),
        (chunks("xz", "a = 1", "c = 1"), {2: ["- b = 1"]}),
        (chunks("cab", "c = 1", "a = 1", "b = 2"), {3: ["- b = 1", "+ b = 2"]}),
        (chunks("xy", "other = 1", "c = 1"), {1: ["- a = 1", "+ other = 1"], 2: ["- b = 1"]}),
    ],
    ids=[
        "new ids",
        "an edit with new ids",
        "moved",
        "a cell before",
        "one gone",
        "edited and moved",
        "edited, and one gone",
    ],
)
def test_cells_are_matched_by_their_text_before_their_ids(now: list[CellPart], lines: dict[int, list[str]]) -> None:
    """A copy of a notebook has new ids, and the same code."""
    assert cell_differences(chunks("abc", "a = 1", "b = 1", "c = 1"), now) == lines

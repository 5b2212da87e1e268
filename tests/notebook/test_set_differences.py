"""What differs in the code of two deployed sets, as lines for a person."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine.notebook.set_differences import code_differences

FOLDER = Path("flow_modules")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_told_without_their_ends(end: str) -> None:
    """As an editor on Windows writes them too."""
    old, new = (f"import math{end}RATE = {number}{end}".encode() for number in (1, 2))

    assert code_differences({"flow_helpers/a.py": old}, {"flow_helpers/a.py": new}, "claims", FOLDER) == {
        "flow_helpers/a.py": ["- RATE = 1", "+ RATE = 2"]
    }


def test_a_file_that_only_ends_its_lines_in_another_way_says_so() -> None:
    """A checkout by Git may turn all of them; no line is shown as another one that looks the same."""
    assert code_differences({"claims.py": b"x = 1\n"}, {"claims.py": b"x = 1\r\n"}, "claims", FOLDER) == {
        "claims.py": ["only empty lines, or how lines end, differ"]
    }

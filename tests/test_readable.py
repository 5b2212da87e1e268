"""Code that a reader can follow: no function of grade D or worse, no file that holds more than one idea."""

from __future__ import annotations

from pathlib import Path

import pytest

import data_engine
from tests.sources import product_files

ROOT = Path(data_engine.__file__).parent.parent
FILES = product_files()

WORST = 20
"""The cyclomatic complexity where grade C ends: more than so many ways through one function."""

LONGEST = 800
"""Lines of one file."""
HARD = {"data_engine/client.py": 1_490}
"""Files whose docstrings are a page of the documentation, with the lines they may have."""


def too_long(lines: dict[str, int]) -> list[str]:
    """The files that are longer, by their lengths."""
    return sorted(name for name, count in lines.items() if count > HARD.get(name, LONGEST))


def too_complex(source: str) -> list[str]:
    """The functions and methods with too many ways through them, each with how many."""
    cc = pytest.importorskip("radon.complexity", reason="radon is not installed: pip install -e '.[test]'")
    found = [block for block in cc.cc_visit(source) if not hasattr(block, "methods")]
    return [f"{block.fullname}: {block.complexity}" for block in found if block.complexity > WORST]


def test_every_function_can_be_followed() -> None:
    """Tables, named functions and polymorphism instead of one function that decides everything."""
    found = {path.relative_to(ROOT).as_posix(): too_complex(path.read_text(encoding="utf-8")) for path in FILES}

    assert {name: functions for name, functions in found.items() if functions} == {}


def test_every_file_is_one_idea() -> None:
    """And one idea needs no more than 800 lines here."""
    lines = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n") for path in FILES}

    assert too_long(lines) == []


def test_what_is_too_much_is_told() -> None:
    """The checks find what they are for."""
    branches = "".join(f"    if x == {number}: return {number}\n" for number in range(WORST))

    assert too_complex(f"def decide(x):\n{branches}") == [f"decide: {WORST + 1}"]
    assert too_complex("def decide(x):\n    return {1: 2}.get(x)\n") == []
    assert too_long({"a.py": LONGEST, "b.py": LONGEST + 1}) == ["b.py"]

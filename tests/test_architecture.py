"""The map of the house names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MOST_IN_A_CELL = 250
PAGES = ("ARCHITECTURE.md", "CONTRIBUTING.md", "data_engine/docs/pages/glossary.md", "SECURITY.md")
_PATH = re.compile(r"`([\w.]+(?:/[\w.]+)+/?|[\w.]+\.md)`")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_only_files_that_are_there(page: str) -> None:
    """A map of what was moved away leads astray."""
    text = (ROOT / page).read_text(encoding="utf-8")
    ours = [
        path for path in _PATH.findall(text) if path.split("/")[0] not in ("flow_modules", "config", ".workspace_state")
    ]

    assert [path for path in ours if not (ROOT / path).exists()] == []


def test_the_map_places_every_package() -> None:
    """A new folder of the product gets its line."""
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = [
        path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*/__init__.py") if "tests" not in path.parts
    ]

    assert [name for name in packages if f"`{name}/`" not in text] == []


def test_no_cell_of_the_map_is_long() -> None:
    """A reader scans the tables for one fact: a cell with several is split into rows."""
    rows = [line for line in (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    cells = [cell.strip() for row in rows for cell in row.strip("|").split("|")]

    assert cells
    assert [cell for cell in cells if len(cell) > MOST_IN_A_CELL] == []

"""A short `tests.soak.floods`: whatever is printed or dropped at once, the daemon stays small, answers, and loses nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.soak.floods import WAYS, Floods
from tests.support import ON_WINE, PATIENCE, WorkspaceFiles

SIZE_BYTES = 10_000_000 if sys.platform == "win32" else 30_000_000  # Wine's pipes are slow
FILES = 100 if ON_WINE else 300


@pytest.fixture
def floods(ws: WorkspaceFiles) -> Iterator[Floods]:
    found = Floods(ws)
    yield found
    found.close()


@pytest.mark.parametrize("how", WAYS)
def test_a_flood_of_text_is_bounded(floods: Floods, how: str) -> None:
    """Prints of 30 MB in each way end with a bounded log that says so."""
    floods.prints(how, SIZE_BYTES)


def test_of_a_flood_of_files_each_is_run_once(floods: Floods) -> None:
    """However many there are at once."""
    took_s, _ = floods.files(FILES)

    assert took_s < 60 * PATIENCE

"""A short `tests.soak.floods`: whatever is printed or dropped at once, the daemon stays small, answers, and loses nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.soak.floods import WAYS, Floods
from tests.support import WorkspaceFiles

SIZE_BYTES = 10_000_000 if sys.platform == "win32" else 100_000_000  # Wine's pipes are slow


@pytest.fixture
def floods(ws: WorkspaceFiles) -> Iterator[Floods]:
    found = Floods(ws)
    yield found
    found.close()


def test_floods_of_text_and_files_are_bounded(floods: Floods) -> None:
    """Prints of 100 MB in each way end with a bounded log that says so; of 1,000 files at once each is run exactly once."""
    for how in WAYS:
        floods.prints(how, SIZE_BYTES)
    took_s, _ = floods.files(1000)

    assert took_s < 60

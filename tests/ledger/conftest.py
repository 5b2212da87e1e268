"""A ledger in a folder of its own, and the events of ordinary runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine.ledger.ledger import Ledger


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's ledger lies."""
    return tmp_path / "runtime" / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger.open(path) as opened:
        yield opened

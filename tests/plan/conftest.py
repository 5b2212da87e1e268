"""A flow in production, and no scratch of other tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine.engine.scratch import remove_scratch
from tests.plan.production import Production


@pytest.fixture
def production(tmp_path: Path) -> Production:
    return Production.live(tmp_path / "ws")


@pytest.fixture(autouse=True)
def no_scratch() -> None:
    remove_scratch()

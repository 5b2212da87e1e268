"""A flow in production, and no scratch of other tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine.engine.scratch_folders import remove_scratch
from tests.planning.production import Production
from tests.support import WorkspaceFiles


@pytest.fixture
def production(tmp_path: Path) -> Production:
    made = Production(WorkspaceFiles(tmp_path / "ws"))
    made.go()
    return made


@pytest.fixture(autouse=True)
def no_scratch() -> None:
    remove_scratch()

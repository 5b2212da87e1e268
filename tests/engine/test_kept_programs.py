"""Random programs give the same tables with rows kept and written at once; `python -m tests.soak.table_programs` runs more of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.kept_programs import compare


@pytest.mark.parametrize("seed", range(8))
def test_a_program_gives_the_same_tables(seed: int, tmp_path: Path) -> None:
    """After success; after a failure those from before."""
    compare(seed, tmp_path)

"""The same protocol on a real folder of this machine: several processes at once, and kill -9 anywhere."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.lease.contenders import rows_at
from tests.soak.lease_kills import check, contender, kill_at_random, told_rows
from tests.support import ON_WINE

PROCESSES, TURNS, KILLS = (3, 2, 4) if ON_WINE else (4, 4, 6)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    folder, outputs = tmp_path / "share", tmp_path / "outputs"
    folder.mkdir()
    outputs.mkdir()
    return folder, outputs


def test_several_processes_lose_and_double_nothing(folders: tuple[Path, Path]) -> None:
    """They claim, commit, fold, collect and hand over on one folder as fast as they can."""
    folder, outputs = folders
    running = [contender(folder, f"m{n}", outputs / f"m{n}", str(TURNS)) for n in range(PROCESSES)]
    children = [one.__enter__() for one in running]
    codes = [child.wait(timeout=100) for child in children]

    assert codes == [0] * PROCESSES
    told = told_rows(outputs)
    assert len(told) >= PROCESSES * TURNS
    assert sorted(set(told)) == sorted(set(rows_at(folder)))
    check(folder, outputs)


def test_kills_at_random_instants_lose_nothing(folders: tuple[Path, Path]) -> None:
    """During claim, commit, folding, collection and hand-over; `python -m tests.soak.lease_kills` for more."""
    folder, outputs = folders
    seed = random.SystemRandom().randrange(10**9)
    print(f"seed {seed}")

    hit = kill_at_random(folder, outputs, KILLS, random.Random(seed))

    assert sum(hit.values()) == KILLS

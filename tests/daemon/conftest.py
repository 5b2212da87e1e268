"""Workstations that end with their test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.stations import Make, Station


@pytest.fixture
def station(team: Path, tmp_path: Path) -> Iterator[Make]:
    """Makes workstations that share the workspace `team`, which is the test's."""
    made: list[Station] = []

    def make(name: str) -> Station:
        made.append(Station(name, team, tmp_path / "stations"))
        return made[-1]

    yield make
    for one in made:
        one.end()

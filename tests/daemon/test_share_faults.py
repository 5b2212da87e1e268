"""The shared folder goes away or becomes read-only under its owner and an observer, and comes back."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from data_engine import Workspace
from tests.daemon.stations import POLL, SETTINGS, Station, begun, drop
from tests.daemon.test_sharing import HAND
from tests.support import until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounting needs root and Linux's mount"
)


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, capture_output=True)


class Drive:
    """A drive that can be taken away and made read-only; the workspace lies in `at`."""

    def __init__(self, folder: Path) -> None:
        self.behind, self.at = folder / "server", folder / "drive"
        for one in (self.behind, self.at):
            one.mkdir()
        mount("-t", "tmpfs", "-o", "size=64m", "none", self.behind)
        self.give()

    def give(self) -> None:
        mount("--bind", self.behind, self.at)

    def take(self) -> None:
        subprocess.run(["umount", "-l", self.at], check=True, capture_output=True)

    def allow_writing(self, is_allowed: bool) -> None:
        mount("-o", f"remount,bind,{'rw' if is_allowed else 'ro'}", self.at)

    def close(self) -> None:
        for one in (self.at, self.behind):
            with suppress(subprocess.CalledProcessError):
                subprocess.run(["umount", "-l", one], check=True, capture_output=True)


def reasons(station: Station) -> dict[str, str]:
    """Why each source does not run, by its name."""
    rows = station.daemon.get("/explain", subject="poll", file="/poll")["reasons"]
    return {Path(row["source"]).name: row["reason"] for row in rows if row["source"]}


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Drive]:
    try:
        made = Drive(tmp_path)
    except subprocess.CalledProcessError:
        pytest.skip("this machine lets nobody mount")
    yield made
    made.close()


@pytest.fixture
def pair(drive: Drive, tmp_path: Path) -> Iterator[tuple[Station, Station]]:
    """An owner whose engine is on, and one that observes."""
    ws = Workspace.create(drive.at / "team")
    (ws.root / "config" / "data_engine.toml").write_text(SETTINGS)
    (ws.root / "flow_modules" / "example.ipynb").unlink()
    (ws.root / "flow_modules" / "poll.py").write_text(POLL)
    (ws.root / "flow_modules" / "hand.py").write_text(HAND)
    (ws.root / "in").mkdir()
    anna = Station("anna", ws.root, tmp_path / "stations").start()
    ben = Station("ben", ws.root, tmp_path / "stations").start(engine=False)
    drop(ws.root, "a.txt")
    until(lambda: ben.runs() == {"a.txt": ["success"]})
    yield anna, ben
    for one in (anna, ben):
        one.end()


def test_a_drive_that_becomes_read_only_holds_the_owner_up_and_loses_nothing(
    drive: Drive, pair: tuple[Station, Station]
) -> None:
    """It lapses and says why, an observer sees it silent; once it can be written the owner goes on, and nothing is lost."""
    anna, ben = pair
    drive.allow_writing(False)
    until(lambda: anna.lease["lapsed"])
    until(lambda: "the heartbeat cannot be written" in (anna.lease["trouble"] or ""))
    until(lambda: ben.lease["state"] == "takeover_available")
    drop(drive.behind / "team", "b.txt")
    until(lambda: reasons(anna).get("b.txt", "").startswith("waiting for the workspace's drive"))
    drive.allow_writing(True)

    until(lambda: not anna.lease["lapsed"] and anna.lease["trouble"] is None)
    until(lambda: ben.runs() == {"a.txt": ["success"], "b.txt": ["success"]})
    assert begun(drive.at / "team").count("a.txt begin") == 1


def test_a_drive_that_goes_away_is_outlived_by_owner_and_observer(drive: Drive, pair: tuple[Station, Station]) -> None:
    """Both say so; when it is back the owner goes on, and nothing is run again."""
    anna, ben = pair
    drive.take()
    until(lambda: anna.lease["lapsed"])
    until(lambda: ben.lease["state"] == "unreachable")
    drive.give()

    until(lambda: anna.lease["state"] == "mine" and not anna.lease["lapsed"])
    until(lambda: ben.lease["state"] == "owned")
    drop(drive.at / "team", "b.txt")
    until(lambda: ben.runs() == {"a.txt": ["success"], "b.txt": ["success"]})
    assert begun(drive.at / "team").count("a.txt begin") == 1


def test_a_run_of_a_lapsed_owner_waits_at_its_next_step_and_goes_on(
    drive: Drive, pair: tuple[Station, Station], tmp_path: Path
) -> None:
    """Its worker has passed the deadline; a generation that is won when the drive can be written lets it go on."""
    anna, ben = pair
    go = tmp_path / "go"
    drop(drive.at / "team", "b.txt", f"until {go}")
    until(lambda: anna.runs().get("b.txt") == ["started"])
    drive.allow_writing(False)
    until(lambda: anna.lease["lapsed"])
    go.touch()
    time.sleep(2)
    assert anna.runs()["b.txt"] == ["started"]
    drive.allow_writing(True)

    until(lambda: ben.runs().get("b.txt") == ["success"])
    assert begun(drive.at / "team") == ["a.txt begin", "a.txt finish", "b.txt begin", "b.txt finish"]

"""A machine where no daemon follows the workspace says that it does not know all that other workstations ran."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.stations import POLL, Make, drop, shared_workspace
from tests.support import until

NOT_ALL = "not all of what other workstations ran is known here: `data-engine start --no-engine` fetches it"


@pytest.fixture
def team(tmp_path: Path) -> Path:
    return shared_workspace(tmp_path / "team", poll=POLL)


def test_a_machine_without_a_daemon_says_that_more_ran_than_it_knows(station: Make, team: Path) -> None:
    """`status`, `runs`, `explain` and the `log` of a run that is not known say it and what helps; once that is done they show the run, and say it no more."""
    anna, bob = station("anna"), station("bob")
    assert bob.says("runs") == "No such runs on this machine.\n"
    assert (told := anna.command("deploy", "poll"))[0] == 0, told
    anna.start()
    drop(team, "a.csv")
    until(lambda: anna.runs() == {"a.csv": ["success"]})
    until(lambda: NOT_ALL in bob.says("runs"))

    (run_id,) = (run["run_id"] for run in anna.daemon.get("/runs", limit=1)["runs"])
    log = ("log", str(run_id)[:8])
    before = [bob.says(*log), bob.says("status"), bob.says("explain", "poll"), bob.says("explain", "b.csv")]
    assert bob.command("start", "--no-engine")[0] == 0
    until(lambda: "a.csv" in bob.says("runs"))
    assert "error: there is no run" in before[0]
    after = [bob.says(*log), bob.says("status"), bob.says("explain", "poll"), bob.says("runs")]

    assert [NOT_ALL in one for one in before] == [True] * 4
    assert [NOT_ALL in one for one in after] == [False] * 4
    assert [NOT_ALL in anna.says(*words) for words in (("status",), ("runs",), ("log", "none"))] == [False] * 3

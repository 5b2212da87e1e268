"""Several workstations, one workspace: real daemons with state roots of their own, and shortened times."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from data_engine.errors import OwnedElsewhereError
from tests.daemon.stations import POLL, SETTINGS, Make, Station, begun, drop, shared_workspace
from tests.support import PATIENCE, end_now, pause, resume, until

WRITES = """
from data_engine import Flow

def write(context):
    try:
        context.mirror.root_file("out.txt").write_text("x")
    except Exception:
        pass

def build():
    return Flow(group="Writes").mirror(root="../out").step(lambda context: 1, save_as="one").step(write)
"""
HAND = """
from data_engine import Flow

def build():
    return Flow(group="Hand").step(lambda context: 1, label="one")
"""


@pytest.fixture
def team(tmp_path: Path) -> Path:
    """A shared workspace with a poll flow and one that runs by hand."""
    return shared_workspace(tmp_path / "team", poll=POLL, hand=HAND, writes=WRITES)


def statuses(station: Station) -> dict[str, list[str]]:
    return station.runs()


def flow_state(station: Station, flow: str) -> dict[str, Any]:
    """What its daemon says of the flow."""
    found: dict[str, Any] = next(one for one in station.daemon.get("/status")["flows"] if one["name"] == flow)
    return found


def test_what_was_just_deployed_elsewhere_is_never_told_as_not_deployed(team: Path, station: Make) -> None:
    """Its deployment is in this machine's history a moment before its daemon has looked at the module."""
    (team / "config" / "data_engine.toml").write_text(SETTINGS.replace('mode = "auto"', 'mode = "ask"'))
    anna, ben = station("anna"), station("ben")
    assert anna.command("start")[0] == 0
    ben.start(engine=False)
    until(lambda: ben.lease["state"] == "owned")
    told = set()
    for flow in ("poll", "hand", "writes"):
        assert anna.command("deploy", flow)[0] == 0
        until(lambda flow=flow: _is_published(ben, flow), every_s=0.001)
        told |= {one["why"]["kind"] for one in ben.daemon.get("/explain", subject=flow)["reasons"]}
        told.add(flow_state(ben, flow)["state"])

    assert "not_deployed" not in told, told


def _is_published(one: Station, flow: str) -> bool:
    """Whether its history has a deployment of the flow."""
    with closing(sqlite3.connect(one.local.ledger_path)) as connection:
        return bool(connection.execute("SELECT 1 FROM deployments WHERE flow_name = ?", (flow,)).fetchall())


def test_a_second_workstation_observes_and_sees_the_owners_runs(team: Path, station: Make) -> None:
    """It is refused with 3 and the fix, shows what the owner runs, and says why nothing runs here."""
    anna, ben = station("anna"), station("ben")
    assert anna.command("start")[0] == 0
    drop(team, "a.txt")
    until(lambda: statuses(anna) == {"a.txt": ["success"]})

    there = "anna owns the workspace, and its engine is on"
    without_a_daemon = ben.command("status")[1]
    assert (without_a_daemon["daemon"]["running"], without_a_daemon["lease"]["engine_there"]) == (False, True)
    assert {flow["name"]: flow["reason"] for flow in without_a_daemon["flows"] if flow["mode"] == "poll"} == {
        "poll": there
    }
    assert ben.command("explain", "poll")[1][0]["reason"] == there

    for refusal in (("start",), ("preview", "writes", "--write")):
        code, refused = ben.command(*refusal)
        assert code == 3, (refusal, refused)
        assert "owned by anna" in refused["error"]["what"]
        assert refused["error"]["where"]
        assert "lease request" in refused["error"]["fix"]
    code, released = ben.command("lease", "release")
    assert (code, released["said"]) == (0, "anna owns the workspace, not this workstation: nothing was given up")
    assert ben.command("preview", "writes") == (0, {"type": "NoneType", "value": None})  # to scratch, which is its own
    assert ben.command("preview", "writes", "--use", "one") == (0, {"type": "int", "value": 1})
    assert ben.command("reset", "poll", "--yes")[0] == 3
    assert ben.command("start", "--no-engine")[0] == 0
    assert ben.command("reset", "poll", "--yes")[0] == 3
    assert ben.command("run", "hand")[0] == 0  # the owner does it
    assert ben.command("run", "--once", "hand")[0] == 3
    for verb in ("disable", "enable"):
        assert ben.command(verb, "poll")[0] == 0
    until(lambda: statuses(ben) == {"a.txt": ["success"], "": ["success"]})
    assert ben.lease["state"] == "owned"
    until(lambda: ben.daemon.get("/explain", subject="poll", file="/poll")["reasons"][0]["reason"] == there)
    assert begun(team) == ["a.txt begin", "a.txt finish"]


def test_ownership_moves_by_consent_and_nothing_is_run_again(team: Path, station: Make) -> None:
    """The requester's daemon goes on by itself, with the engine and the switches as they were."""
    anna, ben = station("anna"), station("ben")
    anna.start()
    drop(team, "a.txt")
    until(lambda: statuses(anna) == {"a.txt": ["success"]})
    anna.daemon.post("/disable", {"flow": "hand"})
    ben.start(engine=False).lease_do("request-control")
    until(lambda: anna.lease["state"] == "control_requested")
    drop(team, "b.txt", "until go")
    until(lambda: statuses(anna).get("b.txt") == ["started"])

    anna.lease_do("release-control")
    (team / "go").touch()
    until(lambda: ben.lease["state"] == "mine")
    assert statuses(anna)["b.txt"] == ["success"]  # when its work was done
    assert until(lambda: ben.daemon.get("/status")["engine"]["on"])
    assert anna.daemon.get("/status")["engine"]["on"] is False
    drop(team, "c.txt")
    until(lambda: statuses(ben) == {"a.txt": ["success"], "b.txt": ["success"], "c.txt": ["success"]})
    assert flow_state(ben, "hand")["enabled"] is False
    assert begun(team).count("a.txt begin") == begun(team).count("b.txt begin") == 1


def test_after_the_owners_death_another_takes_over_what_it_left(team: Path, station: Make) -> None:
    """Not before the threshold; the run that died is abandoned and its file is done by the new owner."""
    anna, ben = station("anna"), station("ben")
    anna.start()
    ben.start(engine=False)
    drop(team, "a.txt")
    until(lambda: statuses(ben) == {"a.txt": ["success"]})
    drop(team, "b.txt", "until ever")
    until(lambda: statuses(ben).get("b.txt") == ["started"])
    end_now(anna.pid)
    anna.end()

    with pytest.raises(OwnedElsewhereError):
        ben.lease_do("take-over")
    drop(team, "b.txt", 0)
    ben.take_over()
    until(lambda: statuses(ben) == {"a.txt": ["success"], "b.txt": ["abandoned", "success"]})
    assert begun(team).count("a.txt begin") == 1


def test_a_frozen_owner_starts_nothing_more_when_it_wakes_up(team: Path, station: Make) -> None:
    """Its worker is not frozen: it waits before its next step until the deadline, and ends there when it is fenced."""
    anna, ben = station("anna"), station("ben")
    anna.start()
    ben.start(engine=False)
    drop(team, "a.txt", "until go")
    until(lambda: statuses(ben).get("a.txt") == ["started"])
    pause(anna.pid)
    until(lambda: ben.lease["state"] == "takeover_available")
    drop(team, "a.txt", 0)
    ben.take_over()
    until(lambda: statuses(ben)["a.txt"][-1] == "success")
    until(lambda: "a.txt finish" in begun(team))
    (team / "go").touch()
    resume(anna.pid)

    until(lambda: anna.lease["lost_to"] == "ben")
    until(lambda: any(run["status"] == "stopped" for run in anna.daemon.get("/runs")["runs"]))
    (ended,) = [run for run in anna.daemon.get("/runs")["runs"] if run["status"] == "stopped"]
    assert "ben took the workspace over" in ended["cause"]
    assert begun(team).count("a.txt finish") == 1  # the one of ben
    assert anna.daemon.get("/status")["engine"]["on"] is False


def test_of_three_that_take_over_at_once_one_wins(team: Path, station: Make) -> None:
    stations = [station(name) for name in ("anna", "ben", "carl", "dora")]
    stations[0].start()
    drop(team, "a.txt")
    for one in stations[1:]:
        one.start(engine=False)
    for one in stations[1:]:
        until(lambda one=one: statuses(one) == {"a.txt": ["success"]})
    stations[0].end()
    for one in stations[1:]:
        until(lambda one=one: one.lease["state"] == "takeover_available")
    outcomes: list[bool] = []

    def take_over(one: Station) -> None:
        with suppress(OwnedElsewhereError):
            one.lease_do("take-over")
            outcomes.append(True)

    def all_at_once() -> bool:
        threads = [threading.Thread(target=take_over, args=(one,)) for one in stations[1:]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return bool(outcomes)  # none where this machine was too busy to look: silence begins anew then

    until(all_at_once)
    assert outcomes == [True]
    (owner,) = [one for one in stations[1:] if one.lease["state"] == "mine"]
    drop(team, "b.txt")
    until(lambda: statuses(owner).get("b.txt") == ["success"])
    for one in stations[1:]:
        until(lambda one=one: statuses(one).get("b.txt") == ["success"])
    assert begun(team).count("a.txt begin") == begun(team).count("b.txt begin") == 1


def test_takeover_auto_needs_nobody(team: Path, station: Make) -> None:
    (team / "config" / "data_engine.toml").write_text(SETTINGS + 'takeover = "auto"\n')
    anna, ben = station("anna"), station("ben")
    anna.start()
    ben.start(engine=False)
    until(lambda: ben.lease["state"] == "owned" and ben.lease["engine_on"])
    anna.end()

    until(lambda: ben.lease["state"] == "mine")
    drop(team, "a.txt")
    until(lambda: statuses(ben) == {"a.txt": ["success"]})


def test_an_idle_owner_tells_its_panel_nothing(team: Path, station: Make) -> None:
    """Heartbeats go out and the folder is looked at all the time; a status is sent only when something has happened."""
    owner, observer = station("anna"), station("ben")
    owner.start()
    observer.start(engine=False)
    with owner.events() as told, observer.events() as told_there:
        until(lambda: told and told[-1]["lease"]["state"] == "mine" and told[-1]["engine"]["on"])
        until(lambda: told_there and told_there[-1]["lease"]["state"] == "owned")
        time.sleep(2 * PATIENCE)  # what follows from the start
        before = len(told), len(told_there)
        time.sleep(5)  # ten heartbeats
        assert (len(told), len(told_there)) == before, [told[-2:], told_there[-2:]]

        drop(team, "a.txt", 0)
        until(lambda: any(run["last_run"] and run["last_run"]["status"] == "success" for run in told[-1]["flows"]))
        assert len(told) > before[0]


def test_whoever_only_observes_is_told_of_databases_that_it_could_not_read(team: Path, station: Make) -> None:
    """Before a run fails there: in its status, with a daemon and without one; the owner has made it, so it is not told."""
    anna, ben = station("anna"), station("ben")
    anna.start()
    drop(team, "a.txt", 0)
    until(lambda: statuses(anna) == {"a.txt": ["success"]})
    databases = team / "databases"
    databases.mkdir(exist_ok=True)
    (databases / "mart.duckdb").write_bytes(bytes(8) + b"DUCK" + (999).to_bytes(8, "little"))

    words = "mart.duckdb was made by a newer DuckDB"
    assert any(words in warning for warning in ben.command("status")[1]["warnings"])
    ben.start(engine=False)
    until(lambda: any(words in warning for warning in ben.daemon.get("/status")["warnings"]))
    assert not any(words in warning for warning in anna.daemon.get("/status")["warnings"])


def test_only_an_engine_or_a_run_owns_the_workspace_not_somebody_who_watches(team: Path, station: Make) -> None:
    """An event stream, as a panel has one, keeps the daemon and not the lease; after `idle_exit` anybody may own."""
    (team / "config" / "data_engine.toml").write_text(SETTINGS + '[daemon]\nidle_exit = "1s"\n')
    anna = station("anna").start(engine=False)
    with anna.events():
        assert anna.lease["state"] == "available"
        anna.daemon.post("/run", {"flow": "hand"})
        until(lambda: statuses(anna) == {"": ["success"]})
        assert anna.lease["state"] == "mine"

        until(lambda: anna.lease["state"] == "available")
        time.sleep(1.5)
        assert anna.daemon.endpoint.is_alive()

"""From any workstation: what an observer asks for is carried out by the owner, at most once, and answered."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from data_engine import Workspace
from data_engine.lease.folder import OsFolder
from data_engine.lease.requests import RemoteRequest, RequestFiles
from data_engine.ledger import deployments as deployment_rows
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.requests import RequestRows
from data_engine.model import KernelComparison
from data_engine.proof.verdict import Verdict, cells_of
from tests.daemon.stations import Make, Station, shared_workspace
from tests.support import end_now, notebook_bytes, until

FLOW = """
from pathlib import Path
from data_engine import Flow

def note(context):
    with open(Path(__file__).parent.parent / "ran.txt", "a") as file:
        file.write({value!r} + "\\n")

def build():
    return Flow(group="Hand").step(note)
"""
SLOW = """
import time
from data_engine import Flow

def build():
    return Flow(group="Slow").step(lambda context: time.sleep(30))
"""
FILES = """
import time
from pathlib import Path
from data_engine import Flow

TEAM = Path(__file__).parent.parent

def note(context):
    name = context.source.path.name
    while (TEAM / "wait").exists() and name in (TEAM / "wait").read_text():
        time.sleep(0.01)
    with open(TEAM / "ran.txt", "a") as file:
        file.write(name + "\\n")

def build():
    return Flow(group="Files").watch(mode="manual", source="../in").step(note)
"""
SETTINGS = '[deploy]\nmode = "ask"\n[lease]\nheartbeat = "500ms"\nstale_after = "6s"\n'


@pytest.fixture
def team(tmp_path: Path) -> Path:
    root = shared_workspace(tmp_path / "team", hand=FLOW.format(value="one"))
    (root / "config" / "data_engine.toml").write_text(SETTINGS)
    return root


@pytest.fixture
def owner(station: Make) -> Station:
    anna = station("anna")
    assert anna.command("deploy", "--yes")[0] == 0
    anna.start()
    until(lambda: anna.lease["state"] == "mine")
    return anna


@pytest.fixture
def asker(owner: Station, station: Make) -> Station:
    bob = station("bob").start(engine=False)
    until(lambda: bob.lease["state"] == "owned")
    until(lambda: flow_of(bob, "hand")["state_kind"] == "manual")
    return bob


class Pair(NamedTuple):
    """An owner and an observer of a workspace that several tests ask something; `hand` is deployed once and enabled."""

    owner: Station
    asker: Station
    team: Path


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_ENGINE_STATE_ROOT", str(folder / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        team = shared_workspace(folder / "team", hand=FLOW.format(value="one"))
        (team / "config" / "data_engine.toml").write_text(SETTINGS)
        anna, bob = (Station(name, team, folder / "stations") for name in ("anna", "bob"))
    try:
        assert anna.command("deploy", "--yes")[0] == 0
        anna.start()
        until(lambda: anna.lease["state"] == "mine")
        bob.start(engine=False)
        until(lambda: flow_of(bob, "hand")["state_kind"] == "manual")
        time.sleep(1.5)  # what lies there when an owner begins to look is not carried out
        yield Pair(anna, bob, team)
    finally:
        for one in (anna, bob):
            one.end()


@pytest.fixture
def pair(long_lived: Pair) -> Pair:
    (long_lived.team / "ran.txt").unlink(missing_ok=True)
    return long_lived


def flow_of(one: Station, name: str) -> dict[str, Any]:
    return next((flow for flow in one.daemon.get("/status")["flows"] if flow["name"] == name), {"state_kind": ""})


def told_of(request: dict[str, Any]) -> tuple[str, str, str]:
    return request["machine"], request["verb"], request["outcome"]


def ran(team: Path) -> list[str]:
    path = team / "ran.txt"
    return path.read_text().splitlines() if path.exists() else []


def ledger_of(one: Station) -> Ledger:
    return Ledger.open(one.local.ledger_path)


def left(team: Path) -> list[str]:
    folder = team / ".workspace_state" / "requests"
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def a_request(verb: str = "run", flow: str = "hand", **arguments: Any) -> RemoteRequest:
    return RemoteRequest(
        uuid.uuid4().hex, verb, flow, json.dumps(arguments), "eve", "eves", "EVE-PC", "2026-01-01T00:00:00+00:00"
    )


def files_of(team: Path) -> RequestFiles:
    return RequestFiles(OsFolder(team / ".workspace_state"), lambda: uuid.uuid4().hex[:8])


def outcome_of(one: Station, request: RemoteRequest) -> str | None:
    with ledger_of(one) as ledger:
        row = RequestRows(ledger).known([request.request_id]).get(request.request_id)
        return None if row is None else row.outcome


def test_an_observer_deploys_exactly_what_it_saw(owner: Station, asker: Station, team: Path) -> None:
    (team / "flow_modules" / "hand.py").write_text(FLOW.format(value="two"))

    code, (told,) = asker.command("deploy", "hand", "--note", "from bob")

    assert (code, told["error"]) == (0, None)
    with ledger_of(owner) as ledger:
        newest = deployment_rows.published(ledger)[0]
    assert (newest.flow, newest.machine, newest.note) == ("hand", "bob", "from bob")
    assert newest.asked_by
    assert owner.command("run", "hand")[0] == 0
    assert ran(team) == ["two"]
    until(lambda: left(team) == [])


def test_how_a_notebook_compared_with_its_kernel_travels_with_what_an_observer_deploys(pair: Pair) -> None:
    """Its kernel ran there, and every workstation sees it."""
    owner, asker, team = pair
    cells = ("from data_engine import Flow", "def build(): return Flow(group='G').step(lambda context: 1)")
    (team / "flow_modules" / "rates.ipynb").write_bytes(notebook_bytes(*cells))
    verdict = Verdict("2026-01-05T09:32:00+00:00", cells_of(cells))
    with ledger_of(asker) as ledger:
        ledger.set_setting("verdict rates", json.dumps(verdict.as_dict()))

    code, _ = asker.command("deploy", "rates")

    assert code == 0
    for one in (owner, asker):
        with ledger_of(one) as ledger:
            newest = deployment_rows.published(ledger)[0]
        assert (newest.flow, newest.compared) == ("rates", KernelComparison(verdict.at_utc))


def test_an_observer_approves_a_deploy_that_the_owners_goldens_hold_back(
    station: Make, team: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The goldens run at the owner; who approved stands in the history, as the machine that asked."""
    returning = """
from data_engine import Flow

def note(context):
    return {value!r}

def build():
    return Flow(group="Hand").step(note)
"""
    module = team / "flow_modules" / "hand.py"
    module.write_text(returning.format(value="one"))
    (team / "config" / "data_engine.toml").write_text(SETTINGS.replace('"ask"', '"ask"\ngate = "golden"'))
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(tmp_path / "kernel"))
    Workspace(team).load_flow("hand").golden()
    anna = station("anna")
    assert anna.command("deploy", "--yes")[0] == 0
    anna.start()
    bob = station("bob").start(engine=False)
    until(lambda: flow_of(bob, "hand")["state_kind"] == "manual")
    module.write_text(returning.format(value="two"))

    code, refused = bob.command("deploy", "hand")
    assert (code, "does not hold" in str(refused)) == (1, True), refused
    assert len(bob.command("deployments", "hand")[1]) == 1
    code, (told,) = bob.command("deploy", "hand", "--approve", "--note", "two is right")

    assert (code, told["error"]) == (0, None)
    with ledger_of(anna) as ledger:
        newest = deployment_rows.published(ledger)[0]
    assert newest.machine == "bob"
    assert newest.note == f"two is right [goldens approved by {newest.who}]"


def test_a_machine_that_has_not_looked_does_not_say_that_nothing_is_deployed(owner: Station, station: Make) -> None:
    bob = station("bob")

    told = bob.says("list")

    assert "not known here" in told
    assert "What anna deployed is known here after a daemon has started" in told
    assert "not deployed" not in told


def test_an_observer_says_which_notebook_replaces_one_that_is_gone(owner: Station, asker: Station, team: Path) -> None:
    """Its owner cannot tell either, where two could be the one."""
    folder = team / "flow_modules"
    (folder / "copy.py").write_text(FLOW.format(value="one"))
    (folder / "hand.py").rename(folder / "by_hand.py")

    code, (told,) = asker.command("deploy", "by_hand", "--replaces", "hand")

    assert (code, told["error"]) == (0, None)
    with ledger_of(owner) as ledger:
        new, old = sorted(deployment_rows.published(ledger)[:2], key=lambda one: one.kind)
    assert (new.flow, old.flow, old.kind, old.of) == ("by_hand", "hand", "withdraw", new.id)


def test_an_observer_runs_and_rolls_back_and_switches(owner: Station, asker: Station, team: Path) -> None:
    code, told = asker.command("run", "hand")
    assert (code, [run["status"] for run in told["runs"]]) == (0, ["success"])
    assert ran(team) == ["one"]

    (team / "flow_modules" / "hand.py").write_text(FLOW.format(value="two"))
    assert asker.command("deploy", "hand")[0] == 0
    assert asker.command("rollback", "hand")[0] == 0
    assert asker.command("run", "hand")[0] == 0
    assert ran(team) == ["one", "one"]

    (team / "flow_modules" / "hand.py").rename(team / "hand.py")
    assert asker.command("undeploy", "hand")[0] == 0
    assert owner.command("run", "hand")[0] != 0
    assert asker.command("restore", "hand")[0] == 0
    assert asker.command("rollback", "hand")[0] == 0

    assert asker.command("disable", "hand", "--note", "stock-taking")[0] == 0
    off = flow_of(owner, "hand")
    assert (off["enabled"], off["disabled"]["note"]) == (False, "stock-taking")
    told = owner.daemon.get("/status")["requests"]
    (asked,) = (one for one in told if one["verb"] == "disable")
    assert off["disabled"]["by"] == f"{asked['by']}@{asked['machine']}"
    assert {one["verb"] for one in told} == {"run", "deploy", "rollback", "disable"}
    assert {one["outcome"] for one in told} == {"done"}
    assert "asked to" not in owner.says("status")  # what is done shows itself


def test_what_is_refused_there_ends_with_1_here(pair: Pair) -> None:
    _, asker, _ = pair
    code, told = asker.command("rollback", "hand")

    assert code == 1
    assert "no earlier deployment" in told["error"]["what"]


def test_a_machine_can_take_no_deployments_or_no_requests(station: Make, team: Path, tmp_path: Path) -> None:
    settings = tmp_path / "machine" / "config" / "data_engine" / "settings.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text('[daemon]\nrequests = "no-deploy"\n')
    anna = station("anna")
    assert anna.command("deploy", "--yes")[0] == 0
    anna.start()
    bob = station("bob").start(engine=False)
    until(lambda: bob.lease["state"] == "owned")
    until(lambda: flow_of(bob, "hand")["state_kind"] == "manual")

    code, told = bob.command("deploy", "hand")
    assert (code, "no-deploy" in told["error"]["what"]) == (3, True)
    assert bob.command("run", "hand")[0] == 0

    settings.write_text('[daemon]\nrequests = "off"\n')
    assert bob.command("run", "hand")[0] == 3
    assert ran(team) == ["one"]


def test_an_asker_whose_clock_is_a_year_off_is_served(pair: Pair) -> None:
    """No time another machine has written is compared."""
    owner, _, team = pair
    request = a_request()
    object.__setattr__(request, "at_utc", "2035-01-01T00:00:00+00:00")
    files_of(team).put(request)

    until(lambda: outcome_of(owner, request) == "done")
    assert ran(team) == ["one"]


def test_two_that_contradict_are_both_done_in_turn(pair: Pair) -> None:
    owner, _, team = pair
    on, off = a_request("enable"), a_request("disable")
    files_of(team).put(off)
    files_of(team).put(on)

    until(lambda: outcome_of(owner, on) and outcome_of(owner, off))
    assert (outcome_of(owner, on), outcome_of(owner, off)) == ("done", "done")
    assert isinstance(flow_of(owner, "hand")["enabled"], bool)
    until(lambda: left(team) == [])
    assert owner.command("enable", "hand")[0] == 0


def test_an_answered_request_put_back_from_a_backup_is_not_carried_out_again(pair: Pair) -> None:
    owner, _, team = pair
    request = a_request()
    files_of(team).put(request)
    path = team / ".workspace_state" / "requests" / f"{request.request_id}.json"
    backup = path.read_bytes()
    until(lambda: outcome_of(owner, request) == "done")
    until(lambda: not path.exists())

    path.write_bytes(backup)
    until(lambda: not path.exists())

    assert ran(team) == ["one"]


def test_what_lay_there_before_the_owner_looked_expires(station: Make, team: Path) -> None:
    anna = station("anna")
    assert anna.command("deploy", "--yes")[0] == 0
    request = a_request()
    files_of(team).put(request)
    anna.start()

    until(lambda: outcome_of(anna, request) == "expired")
    until(lambda: left(team) == [])
    assert ran(team) == []


def test_a_request_that_its_owner_died_with_is_answered_by_the_next_and_not_begun(
    owner: Station, asker: Station, team: Path
) -> None:
    """Between taken and answered: kill -9 of the owner's daemon while the run is under way."""
    (team / "flow_modules" / "slow.py").write_text(SLOW)
    assert owner.command("deploy", "slow")[0] == 0
    request = a_request("run", "slow")
    files_of(team).put(request)
    until(lambda: owner.daemon.get("/status")["active_runs"])
    end_now(owner.pid)

    asker.take_over()

    until(lambda: outcome_of(asker, request) == "interrupted")
    time.sleep(1)
    assert asker.daemon.get("/status")["active_runs"] == []
    until(lambda: left(team) == [])


def test_a_request_that_cannot_be_read_or_leads_outside_does_nothing(pair: Pair) -> None:
    owner, _, team = pair
    folder = team / ".workspace_state" / "requests"
    folder.mkdir(exist_ok=True)
    (folder / f"{'a' * 32}.json").write_text("{}")
    outside = a_request("run", "hand", source="../../../etc/passwd")
    nothing = a_request("deploy", "hand", set_id="../../x")
    for request in (outside, nothing):
        files_of(team).put(request)

    until(lambda: {outcome_of(owner, outside), outcome_of(owner, nothing)} == {"refused"})
    assert ran(team) == []


def test_without_an_owner_a_deploy_and_a_switch_own_for_one_commit(station: Make, team: Path) -> None:
    anna, bob = station("anna"), station("bob")

    assert anna.command("deploy", "--yes")[0] == 0
    assert bob.command("disable", "hand")[0] == 0
    assert bob.command("lease", "status")[1]["state"] == "available"
    assert [one["machine"] for one in bob.command("deployments")[1]] == ["anna"]
    anna.start()
    assert not until(lambda: (one := flow_of(anna, "hand"))["state_kind"] and one)["enabled"]


def test_who_does_not_wait_is_told_later(pair: Pair) -> None:
    _, asker, team = pair
    code, told = asker.command("run", "hand", "--no-wait")

    assert (code, told) == (0, {"asked": True})
    until(lambda: ran(team) == ["one"])
    until(lambda: ("bob", "run", "done") in [told_of(one) for one in asker.daemon.get("/status")["requests"]])


def test_an_observer_asks_for_a_backfill_of_exactly_what_it_saw(pair: Pair) -> None:
    """It runs at the owner, is seen here, and can be stopped and tried again from here; other runs than were seen are refused."""
    owner, asker, team = pair
    shutil.rmtree(team / "in", ignore_errors=True)
    (team / "in").mkdir()
    for name in ("a.csv", "b.csv"):
        (team / "in" / name).write_text("a")
    (team / "flow_modules" / "files.py").write_text(FILES)
    assert owner.command("deploy", "files")[0] == 0
    until(
        lambda: flow_of(asker, "files").get("deployment") == "as deployed"
    )  # its history has it before its daemon has looked

    code, told = asker.command("backfill", "files", "--reprocess", "missing", "--yes")
    assert (code, told.get("total")) == (0, 2), told
    until(lambda: sorted(ran(team)) == ["a.csv", "b.csv"])
    until(lambda: asker.command("backfill", told["id"], "--status")[1]["text"] == "2 of 2, done")
    code, again = asker.command("backfill", told["id"], "--retry")
    assert (code, "nothing of backfill" in again["error"]["what"]) == (1, True)

    shown = asker.command("backfill", "files", "--reprocess", "all")[1]
    assert "digest" in shown, shown
    request = a_request("backfill", "files", reprocess="all", digest=shown["digest"])
    (team / "in" / "c.csv").write_text("a")
    files_of(team).put(request)
    until(lambda: outcome_of(owner, request) == "refused")
    assert sorted(ran(team)) == ["a.csv", "b.csv"]


def test_a_backfill_goes_on_with_the_next_owner(owner: Station, asker: Station, team: Path) -> None:
    """kill -9 of the owner's daemon in the middle: whoever takes over runs the rest, and nothing of it twice."""
    shutil.rmtree(team / "in", ignore_errors=True)
    (team / "in").mkdir()
    for number in range(12):
        (team / "in" / f"{number:02d}.csv").write_text("a")
    (team / "flow_modules" / "files.py").write_text(FILES)
    assert owner.command("deploy", "files")[0] == 0
    until(lambda: flow_of(asker, "files")["state_kind"] == "manual")
    (team / "wait").write_text("05.csv")
    code, told = owner.command("backfill", "files", "--reprocess", "all", "--yes")
    assert code == 0
    until(lambda: len(ran(team)) == 5)
    time.sleep(6)  # a commit comes every 5 s
    end_now(owner.pid)

    asker.take_over()
    (team / "wait").unlink()  # its worker, which waits for that, is gone by now

    until(lambda: asker.command("backfill", told["id"], "--status")[1]["text"] == "12 of 12, done")
    assert sorted(ran(team)) == [f"{number:02d}.csv" for number in range(12)]

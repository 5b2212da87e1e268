"""The keeper: the thread of a daemon that owns, publishes, hands over and loses a workspace on a real folder."""

from __future__ import annotations

import itertools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from data_engine.errors import OwnedElsewhereError
from data_engine.lease.folder import OsFolder
from data_engine.lease.keeper import Keeper, KeeperRules
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import Identity, Limits
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.parquet_process import perform
from data_engine.ledger.share import SharedHistory
from data_engine.ledger.wall_clock import Believed, Doubted, Verdict
from data_engine.model import RunFinished, RunStarted, Switch
from tests.support import PATIENCE, until

LIMITS = Limits(0.15 * PATIENCE, 0.6 * PATIENCE)


class Machine:
    """One workstation: its ledger and its keeper."""

    def __init__(
        self,
        name: str,
        share: Path,
        state: Path,
        *,
        daemon: str = "daemon",
        limits: Limits = LIMITS,
        is_started: bool = True,
        **more: object,
    ) -> None:
        self.limits = limits
        self.ledger = Ledger.open(state / name / "ledger.sqlite")
        me = Identity(name, f"{name}-{daemon}", f"{name.upper()}-PC", os.getpid(), "1", f"{name}-lock", "one host")
        self.share = SharedHistory(self.ledger, share, perform=perform)
        observer = Observer(OsFolder(share), me, workspace="w", limits=limits, holds_lock=lambda: True)
        asked = {one.name: more.pop(one.name) for one in fields(KeeperRules) if one.name in more}
        rules = KeeperRules(lambda: self.limits, **asked)  # type: ignore[arg-type]
        self.keeper = Keeper(observer, self.share, rules, **more)  # type: ignore[arg-type]
        if is_started:
            self.keeper.start()

    def run(self, run_id: str) -> None:
        """Record a run that went well."""
        self.ledger.record(RunStarted(run_id, "claims", "Claims", None, time.time()))
        self.ledger.record(RunFinished(run_id, "success", time.time(), 0.1))

    def runs(self) -> set[str]:
        """The ids of the runs it knows."""
        return {run.run_id for run in self.ledger.runs()}

    def close(self, *, release: bool = True) -> None:
        self.keeper.close(release=release)
        self.ledger.close()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    share = tmp_path / "share"
    share.mkdir()
    made: list[Machine] = []

    def make(name: str, **more: Any) -> Machine:
        made.append(Machine(name, share, tmp_path / "state", **more))
        return made[-1]

    yield make
    for one in made:
        one.close(release=False)


def test_an_owner_may_work_and_publishes_what_it_records(machine: Callable[..., Machine]) -> None:
    """Rows of the owner are in the ledgers of all who look; a second machine is refused, and told whom to ask."""
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    until(anna.keeper.can_work)

    anna.run("r1")
    until(lambda: ben.runs() == {"r1"})
    with pytest.raises(OwnedElsewhereError, match="owned by ANNA-PC") as refused:
        ben.keeper.own().result(10 * PATIENCE)
    assert "lease request" in str(refused.value.fix)
    assert not ben.keeper.can_work()


def test_what_a_watch_has_put_aside_is_told(machine: Callable[..., Machine]) -> None:
    """By an observer too, as long as it is there."""
    left_alone = {"not_ours/a-alarms": "it was alarms, and is not Data Engine's"}
    anna = machine("anna")
    anna.keeper.after_look = lambda view, held: left_alone

    until(
        lambda: (
            "not_ours/a-alarms in .workspace_state was left alone: it was alarms" in (anna.keeper.state.trouble or "")
        )
    )
    left_alone.clear()
    until(lambda: anna.keeper.state.trouble is None)


def test_a_decision_is_published_while_runs_go_on(machine: Callable[..., Machine]) -> None:
    """Whoever waits for it waits for its rows, and not for what is written meanwhile: there is always more of that."""
    anna = machine("anna")
    anna.keeper.own().result(5)
    is_over, count = threading.Event(), itertools.count()

    def go_on() -> None:
        while not is_over.is_set():
            anna.run(f"r{next(count)}")

    runs = threading.Thread(target=go_on)
    runs.start()
    try:
        anna.keeper.publish(lambda: anna.ledger.set_switch("claims", Switch(False))).result(10 * PATIENCE)
        assert runs.is_alive()
    finally:
        is_over.set()
        runs.join()


def test_a_decision_renews_a_lease_that_is_only_late(machine: Callable[..., Machine]) -> None:
    """A machine that did much else has not beaten in time: nobody else owns the workspace, and so the decision is taken."""
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    held = anna.keeper._held
    assert held is not None
    anna.keeper._beat_due_s = math.inf
    held._proved_s -= 100.0
    assert not held.can_work()

    anna.keeper.publish(lambda: anna.ledger.set_switch("claims", Switch(False))).result(10 * PATIENCE)

    assert anna.keeper.can_work()


def test_a_decision_of_an_owner_that_cannot_beat_changes_nothing_and_says_so(machine: Callable[..., Machine]) -> None:
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    held = anna.keeper._held
    assert held is not None
    with patch.object(held, "heartbeat", side_effect=OSError("the drive is away")):
        held._proved_s -= 100.0
        refused = anna.keeper.publish(lambda: anna.ledger.set_switch("claims", Switch(False)))
        with pytest.raises(OwnedElsewhereError, match=r"owns the workspace, but its heartbeat .*the drive is away"):
            refused.result(10 * PATIENCE)

    assert anna.ledger.switches() == {}


def test_what_was_recorded_before_owning_is_published_by_the_first_commit(machine: Callable[..., Machine]) -> None:
    anna, ben = machine("anna"), machine("ben")
    ben.run("by-hand")
    anna.keeper.own().result(10 * PATIENCE)
    anna.run("r1")
    until(lambda: "r1" in ben.runs())
    anna.keeper.release().result(10 * PATIENCE)

    ben.keeper.own().result(10 * PATIENCE)
    until(lambda: anna.runs() == {"r1", "by-hand"})


def test_a_request_waits_for_consent_and_the_requester_then_claims_by_itself(machine: Callable[..., Machine]) -> None:
    anna, ben, carl = machine("anna"), machine("ben"), machine("carl")
    anna.keeper.own().result(10 * PATIENCE)
    anna.keeper.set_engine(True)
    ben.keeper.request("cli").result(10 * PATIENCE)

    until(lambda: anna.keeper.state.lease.state == "control_requested")
    time.sleep(LIMITS.stale_after_s)
    until(anna.keeper.can_work)  # nothing happens by itself; a busy machine may be late with a heartbeat
    assert not ben.keeper.can_work()
    requested_by = anna.keeper.state.lease.requested_by
    assert requested_by is not None
    assert requested_by["host_name"] == "BEN-PC"

    anna.keeper.release(to_requester=True).result(10 * PATIENCE)
    assert not anna.keeper.can_work()
    until(ben.keeper.can_work)
    assert ben.keeper.state.engine_on
    assert not carl.keeper.can_work()
    until(lambda: anna.keeper.state.lease.requested_by is None)


def test_a_dead_owner_is_taken_over_by_a_person_only_after_its_silence(machine: Callable[..., Machine]) -> None:
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    anna.run("r1")
    until(lambda: ben.runs() == {"r1"})
    anna.close(release=False)  # it says nothing any more

    with pytest.raises(OwnedElsewhereError):
        ben.keeper.take_over().result(10 * PATIENCE)
    until(lambda: ben.keeper.state.lease.state == "takeover_available")
    with pytest.raises(OwnedElsewhereError, match="takeover available"):
        ben.keeper.own().result(10 * PATIENCE)  # an engine that starts asks a person first
    ben.keeper.take_over().result(10 * PATIENCE)
    assert ben.keeper.can_work()


def test_takeover_auto_goes_on_with_an_engine_that_was_on(machine: Callable[..., Machine]) -> None:
    anna, ben = machine("anna"), machine("ben", takes_over_by_itself=lambda: True)
    anna.keeper.own().result(10 * PATIENCE)
    anna.keeper.set_engine(True)
    until(lambda: ben.keeper.state.lease.engine_on)
    assert ben.keeper.is_waiting
    anna.close(release=False)

    until(ben.keeper.can_work)
    assert ben.keeper.state.engine_on


def test_an_owner_that_was_taken_over_learns_it_and_keeps_its_rows(machine: Callable[..., Machine]) -> None:
    """A frozen owner that wakes up is fenced, says by whom, and what it recorded is published when it owns again."""
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    wakes = threading.Event()
    freeze = anna.keeper._thread.ask(wakes.wait)
    try:
        until(lambda: ben.keeper.state.lease.state == "takeover_available")
        assert not anna.keeper.can_work()  # its deadline has passed before anybody may take over
        ben.keeper.take_over().result(10 * PATIENCE)
        anna.run("late")
    finally:
        wakes.set()
    freeze.result(10 * PATIENCE)

    until(lambda: anna.keeper.state.lost_to == "BEN-PC")
    assert anna.runs() == {"late"}
    ben.keeper.release().result(10 * PATIENCE)
    anna.keeper.own().result(10 * PATIENCE)
    until(lambda: ben.runs() == {"late"})


def test_a_daemon_of_the_same_machine_goes_on_at_once(machine: Callable[..., Machine], tmp_path: Path) -> None:
    """The same local lock proves that the owner is dead."""
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    anna.close(release=False)
    again = Machine("anna", tmp_path / "share", tmp_path / "state", daemon="second-daemon")
    try:
        started_s = time.monotonic()
        again.keeper.own().result(10 * PATIENCE)
        assert time.monotonic() - started_s < LIMITS.stale_after_s
    finally:
        again.close()


def test_a_place_that_cannot_be_owned_is_observed_only(machine: Callable[..., Machine]) -> None:
    ben = machine("ben", unfit=lambda: "Dropbox copies this folder")

    with pytest.raises(OwnedElsewhereError, match="only observe the workspace: Dropbox"):
        ben.keeper.own().result(10 * PATIENCE)


def test_an_owner_whose_share_is_away_lapses_and_goes_on_when_it_is_back(
    machine: Callable[..., Machine], tmp_path: Path
) -> None:
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    (tmp_path / "share").rename(tmp_path / "away")

    until(lambda: anna.keeper.state.trouble is not None)
    while anna.keeper.can_work():  # and it is said all the time until the share is back
        assert anna.keeper.state.trouble is not None
    assert "the heartbeat cannot be written" in (anna.keeper.state.trouble or "")
    assert anna.keeper.state.token is not None
    anna.run("meanwhile")
    (tmp_path / "away").rename(tmp_path / "share")
    until(anna.keeper.can_work)
    until(lambda: anna.keeper.state.trouble is None)


def test_an_observer_that_could_not_refresh_says_so_until_it_has(
    machine: Callable[..., Machine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged segment, here for a while."""
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    anna.run("r1")
    until(lambda: ben.runs() == {"r1"})
    anna.run("r2")
    segments = tmp_path / "share" / "state" / "runs"
    until(lambda: len(list(segments.iterdir())) == 2)
    anna.close(release=False)
    segment = max(segments.iterdir())
    content = segment.read_bytes()
    segment.write_bytes(content[:-1])

    carl = machine("carl")
    until(lambda: "does not match its checksum" in (carl.keeper.state.trouble or ""))
    segment.write_bytes(content)
    until(lambda: carl.runs() == {"r1", "r2"})
    until(lambda: carl.keeper.state.trouble is None)


def test_an_edit_of_the_limits_holds_from_the_next_claim(machine: Callable[..., Machine]) -> None:
    """Not in the middle of an ownership: observers go by the limits of its claim."""
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    anna.limits = Limits(0.2, 30.0)
    time.sleep(LIMITS.heartbeat_s * 2)
    assert anna.keeper.limits == LIMITS
    anna.keeper.release().result(10 * PATIENCE)

    anna.keeper.own().result(10 * PATIENCE)
    assert anna.keeper.limits == Limits(0.2, 30.0)
    until(lambda: (ben.keeper.state.lease.takeover_in_s or 0) > 20)


def test_an_owner_has_not_asked_itself(machine: Callable[..., Machine]) -> None:
    """Whoever asks for what nobody owns gets it, and its own request with it."""
    anna = machine("anna")
    anna.keeper.request("ui").result(10 * PATIENCE)
    until(anna.keeper.can_work)

    assert anna.keeper.state.lease.state == "mine"
    assert anna.keeper.state.lease.requested_by is None


def test_a_clock_in_doubt_takes_nothing_from_what_is_published(machine: Callable[..., Machine]) -> None:
    """Segments that are too old by it stay until it is believed; it is judged once what others published is here."""
    verdict: list[Verdict] = [Doubted(time.time() + 400 * 86_400, time.time())]
    known: list[set[str]] = []
    ben = machine("ben")
    ben.run("theirs")
    ben.keeper.own().result(10 * PATIENCE)
    until(lambda: published(ben) != [])
    ben.keeper.release().result(10 * PATIENCE)

    made: list[Machine] = []

    def judge() -> Verdict:
        if made:  # its thread begins before it is there
            known.append(made[0].runs())
        return verdict[0]

    anna = machine("anna", judge_clock=judge)
    made.append(anna)
    anna.keeper.own().result(10 * PATIENCE)
    until(lambda: isinstance(anna.keeper.state.clock, Doubted))
    (old,) = published(anna)
    anna.run("r1")
    until(lambda: len(published(anna)) == 2)
    assert old in published(anna)
    assert known[0] == {"theirs"}

    verdict[0] = Believed(time.time() + 400 * 86_400, time.time() + 400 * 86_400)
    until(lambda: isinstance(anna.keeper.state.clock, Believed))
    anna.run("r2")
    until(lambda: old not in published(anna))


def published(machine: Machine) -> list[str]:
    """The segments of runs that the newest generation lists, as that machine holds it."""
    held = machine.keeper._held
    return [] if held is None else [segment.name for segment in held.head.files.get("runs", ())]


def changes_of(machine: Machine) -> list[object]:
    """What is told from now on, as it is then."""
    told: list[object] = []
    machine.keeper.on_change = lambda: told.append(machine.keeper.state)
    return told


def test_while_nothing_happens_nobody_is_told(machine: Callable[..., Machine]) -> None:
    """Neither at the owner nor where somebody looks on, however often they look; what happens then is told."""
    calm = Limits(30, 90)
    anna, ben = machine("anna", limits=calm), machine("ben", limits=calm)
    anna.keeper.own().result(10 * PATIENCE)
    anna.run("r1")
    anna.keeper.set_engine(True)  # commits
    until(lambda: anna.share.unpublished(anna.keeper.state.token or 0) is None)
    for one in (anna, ben):
        one.keeper.look().result(10 * PATIENCE)
    told = {one: changes_of(one) for one in (anna, ben)}

    for one in (anna, ben) * 5:
        one.keeper.look().result(10 * PATIENCE)
    assert not any(told.values())

    ben.keeper.request("cli").result(10 * PATIENCE)
    anna.keeper.look().result(10 * PATIENCE)
    assert all(told.values())


def test_a_heartbeat_tells_its_deadline_and_nothing_else(machine: Callable[..., Machine]) -> None:
    anna = machine("anna")
    anna.keeper.own().result(10 * PATIENCE)
    until(lambda: not anna.keeper.state.is_lapsed)
    anna.keeper.look().result(10 * PATIENCE)
    before = anna.keeper.state

    until(lambda: anna.keeper.state.work_until_s > before.work_until_s)
    assert anna.keeper.state.unaged == before.unaged


def test_rows_that_others_published_are_told(machine: Callable[..., Machine]) -> None:
    """Who looks on has nothing else by which to notice that the history has grown."""
    anna, ben = machine("anna"), machine("ben")
    anna.keeper.own().result(10 * PATIENCE)
    until(lambda: ben.keeper.state.lease.owner)
    told = changes_of(ben)

    anna.run("r1")
    until(lambda: ben.runs() == {"r1"})
    until(lambda: told)

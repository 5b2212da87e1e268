"""What an alerter decides while flows come and go around it: one flow's end or error keeps no other from being told of."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data_engine import Flow, Workspace
from data_engine.cause import Cause
from data_engine.daemon.alerter import Alerter
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import LedgerError
from data_engine.model import RuleCount, RunAbout, RunFinished, RunSpent, RunStarted, SourceKey, Switch, utc_text
from data_engine.reasons.kinds import UpstreamRunning
from data_engine.scheduler.dispatcher import ReadyFlow
from tests.alerts.conftest import AT_S
from tests.support import WorkspaceFiles


@pytest.fixture
def home(tmp_path: Path) -> LocalWorkspace:
    files = WorkspaceFiles(tmp_path / "team", '[alerts]\nto = ["ops"]\n')
    return local_workspace(files.root)


class Around:
    """An owner whose flows are what a test says; `asked` is called whenever an alerter asks what a flow holds."""

    def __init__(self, *flows: Flow) -> None:
        self.is_engine_on = True
        self.flows = {flow.name or "": flow for flow in flows}
        self.asked: Callable[[str], object] = lambda flow: None

    def tells_of_flows(self) -> bool:
        return True

    def ready_flows(self) -> Mapping[str, ReadyFlow]:
        return {name: ReadyFlow(flow) for name, flow in self.flows.items()}

    def held(self, flow: str) -> int:
        self.asked(flow)
        return 0

    def tell(self) -> None: ...


class Scene:
    """An alerter of such an owner, whose clock the test moves."""

    def __init__(self, home: LocalWorkspace, around: Around) -> None:
        self.home, self.around, self.now_s = home, around, AT_S
        self.tasks: list[asyncio.Task[Any]] = []
        dispatcher: Any = SimpleNamespace(active={}, why_waiting=lambda flow, others: None, handed_out=list)
        waits = SimpleNamespace(ended_s=lambda flow: None)
        self.triggers: Any = SimpleNamespace(
            names=list, why=lambda flow: None, waits=waits, feed_shrunk=lambda flow: None
        )
        self.alerter = Alerter(
            home, dispatcher, self.triggers, around, self._spawn, sender="team on ws-7", clock=lambda: self.now_s
        )
        self.alerter.tick()

    def _spawn(self, work: Any) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def fails(self, flow: str, run_id: str = "r", detail: str = "ValueError: no", path: str = "") -> None:
        """A run of the flow ends badly."""
        self.ends(flow, "failed", run_id, Cause("code_raised", {"step": "One", "detail": detail}), path=path)

    def ends(
        self,
        flow: str,
        status: str,
        run_id: str = "r",
        why: Cause | None = None,
        spent: RunSpent | None = None,
        path: str = "",
    ) -> None:
        """A run of the flow, of the file at `path` if any, ends, and is recorded."""
        for event in (
            RunStarted(f"{run_id}-{flow}", flow, "G", None, self.now_s, SourceKey("/in", path) if path else None),
            RunFinished(f"{run_id}-{flow}", status, self.now_s, 1.0, why=why, spent=spent),
        ):
            self.home.ledger().record(event)
            self.alerter.heard(flow, [event])

    def withdraw(self, flow: str) -> None:
        """Production runs the flow no more."""
        self.around.flows.pop(flow, None)
        self.alerter.flows_changed()

    async def decided(self) -> None:
        """Whatever is decided about is done."""
        while self.tasks:
            await self.tasks.pop()

    def told(self) -> list[tuple[str, str]]:
        """The flow and the text of what is in the outbox."""
        with closing(sqlite3.connect(self.home.ledger().path)) as connection:
            return connection.execute("SELECT flow_name, body_text FROM outbox ORDER BY flow_name").fetchall()

    def kinds(self) -> list[str]:
        """The kinds of what is in the outbox, oldest first."""
        return [kind for kind, _ in self._outbox()]

    def subjects(self) -> list[str]:
        """The subjects of what is in the outbox, oldest first."""
        return [subject for _, subject in self._outbox()]

    def _outbox(self) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self.home.ledger().path)) as connection:
            return connection.execute("SELECT kind, subject FROM outbox ORDER BY rowid").fetchall()


def play(home: LocalWorkspace, around: Around, scene: Callable[[Scene], Any]) -> Scene:
    """A scene, played on a loop of its own."""

    async def run() -> Scene:
        made = Scene(home, around)
        await made.decided()  # what it found when it began
        await scene(made)
        return made

    return asyncio.run(run())


def test_a_flow_that_is_withdrawn_while_others_are_decided_about_costs_them_nothing(home: LocalWorkspace) -> None:
    """Both have failed; the second goes while the first is looked at. Nothing is lost, and later looks go on."""
    around = Around(Flow("G", "a"), Flow("G", "b").expect(every="1h"), Flow("G", "c"))

    async def scene(made: Scene) -> None:
        around.asked = lambda flow: made.withdraw("b") if flow == "a" else None
        for flow in "abc":
            made.fails(flow)
        await made.decided()
        made.now_s += 7200
        made.alerter.tick()  # the time comes at which the flow that is gone would have been looked at
        made.fails("c")

    made = play(home, around, scene)

    assert {"a", "c"} <= {flow for flow, _ in made.told()}


def test_who_is_still_told_of_anything_is_said_only_where_it_is_known(home: LocalWorkspace) -> None:
    """Who is taken out of the settings is not; while the settings or a deployed flow cannot be read, nobody can say."""
    around = Around(Flow("G", "a").alert(to=["boss"]))
    notifier: Any = SimpleNamespace(wake=lambda: None)
    found: list[object] = []

    async def scene(made: Scene) -> None:
        made.alerter.tells_by(notifier)
        found.append(notifier.recipients())
        for text in ("[alerts]\nto = []\n", "[alerts\n"):
            home.layout.settings_path.write_text(text)
            home.refresh_settings()
            found.append(notifier.recipients())
        home.layout.settings_path.unlink()
        home.refresh_settings()
        found.append(notifier.recipients())
        home.layout.settings_path.write_text("")
        home.refresh_settings()
        module = home.layout.flow_modules_dir / "unread.py"
        module.write_text("from data_engine import Flow\ndef build():\n    return Flow(group='G').step(print)\n")
        Workspace(home.layout.root).deploy("unread")
        found.append(notifier.recipients())

    play(home, around, scene)

    assert found == [{"ops", "boss"}, {"boss"}, None, None, None]


@pytest.mark.parametrize(
    ("error", "told"), [(RuntimeError("nobody expected it"), ["b"]), (LedgerError("it is locked"), ["a", "b"])]
)
def test_an_error_about_one_flow_keeps_no_other_from_being_told_of(
    home: LocalWorkspace, error: Exception, told: list[str]
) -> None:
    """Whatever it is; what cannot be read just now is decided about again."""
    around = Around(Flow("G", "a"), Flow("G", "b"))
    when_b_was_told: list[tuple[str, str]] = []

    async def scene(made: Scene) -> None:
        def asked(flow: str) -> None:
            when_b_was_told.extend(made.told())
            if flow == "a" and not when_b_was_told:
                raise error

        around.asked = asked
        made.fails("a")
        made.fails("b")
        await made.decided()

    made = play(home, around, scene)

    assert [flow for flow, _ in made.told()] == told


def test_a_message_names_the_command_that_runs_it_again(home: LocalWorkspace) -> None:
    """Files that failed are held and tried again; nothing is held of what has none, and `retry` would find nothing."""
    folder = home.layout.root / "in"
    folder.mkdir()
    slots = Flow("G", "a").watch(mode="schedule", time="06:00")
    around = Around(slots, Flow("G", "b").watch(mode="poll", source=folder, interval="5s"))

    async def scene(made: Scene) -> None:
        made.fails("a")
        made.fails("b")
        await made.decided()

    told = dict(play(home, around, scene).told())

    assert "deploy it, then: data-engine run a\n" in told["a"]
    assert "deploy it, then: data-engine retry b\n" in told["b"]


def test_a_flow_that_comes_back_owes_nothing_from_before(home: LocalWorkspace) -> None:
    """What was known of it when it was withdrawn is forgotten."""
    hourly = Flow("G", "a").expect(every="1h")
    around = Around(hourly)
    due: list[float | None] = []

    async def scene(made: Scene) -> None:
        for _ in range(2):
            due.append(made.alerter.expecting.of(hourly).next_s)
            made.now_s += 600
            made.withdraw("a")
            around.flows["a"] = hourly
            made.alerter.flows_changed()
        await made.decided()

    play(home, around, scene)

    assert due == [AT_S + 3600, AT_S + 4200]


@pytest.mark.parametrize("kinds", [("failed",), ("held",)])
def test_of_many_files_that_fail_at_once_the_digest_counts_all_that_followed_the_first(
    home: LocalWorkspace, kinds: tuple[str, ...]
) -> None:
    """Also those that had failed by when the first was told, a moment after it."""
    folder = home.layout.root / "in"
    folder.mkdir()
    flow = Flow("G", "a").watch(mode="poll", source=folder, interval="5s").alert(on=[*kinds, "recovered"])

    async def scene(made: Scene) -> None:
        for number in range(40):
            made.now_s += 0.0025
            made.fails("a", f"r{number}", path=f"{number}.csv")
        await made.decided()
        made.now_s += 299
        made.alerter.tick()
        await made.decided()
        assert len(made.told()) == 1
        made.now_s += 2
        made.alerter.tick()
        await made.decided()

    made = play(home, Around(flow), scene)

    assert len(made.subjects()) == 2
    assert made.subjects()[1] == "a: 39 more runs failed"


def test_what_several_first_messages_told_is_not_counted_again(home: LocalWorkspace) -> None:
    """Errors of two kinds are told at once; three runs more have failed of them when the digest ends."""
    around = Around(Flow("G", "a"))

    async def scene(made: Scene) -> None:
        for number, detail in enumerate(["ValueError: no", "KeyError: 'x'", "ValueError: no", "KeyError: 'x'"]):
            made.now_s += 0.001
            made.fails("a", f"r{number}", detail)
        await made.decided()
        made.now_s += 10
        made.fails("a", "later")
        await made.decided()
        made.now_s += 300
        made.alerter.tick()
        await made.decided()

    made = play(home, around, scene)

    assert made.subjects()[1:] == ["a: 3 more runs failed"]


def test_the_first_failure_of_a_flow_that_is_late_is_no_further_one(home: LocalWorkspace) -> None:
    """The digest tells of it as the failure that it is."""

    async def scene(made: Scene) -> None:
        made.ends("a", "success")
        made.now_s += 3601
        made.alerter.tick()
        await made.decided()
        made.now_s += 10
        made.fails("a", "r2")
        await made.decided()
        made.now_s += 300
        made.alerter.tick()
        await made.decided()

    made = play(home, Around(Flow("G", "a").expect(every="1h")), scene)

    assert made.kinds() == ["late", "digest"]
    assert made.subjects()[1] == "a: failed"


@pytest.mark.parametrize(("was_off", "told"), [(False, ["missed"]), (True, [])])
def test_a_slot_that_passes_is_missed_unless_a_person_had_the_engine_off(
    home: LocalWorkspace, was_off: bool, told: list[str]
) -> None:
    """Whoever starts it: a daemon that was killed with its engine on owes the slot all the same."""
    flow = Flow("G", "a").watch(mode="schedule", time="06:00", tz="UTC", catch_up="none")

    async def scene(made: Scene) -> None:
        made.triggers.names = lambda: ["a"]
        made.now_s += 86_400
        made.alerter.engine_started(was_off=was_off)
        made.now_s += 6
        made.alerter.tick()
        await made.decided()

    assert play(home, Around(flow), scene).kinds() == told


def test_a_late_message_says_that_the_flow_is_disabled(home: LocalWorkspace) -> None:
    """By whom, and what was noted; it is what is in the way."""
    home.ledger().set_switch("a", Switch(False, "anna", "ANNA-PC", note="holidays"))

    async def scene(made: Scene) -> None:
        made.ends("a", "success")
        made.now_s += 3601
        made.alerter.tick()
        await made.decided()

    ((_, text),) = play(home, Around(Flow("G", "a").expect(every="1h")), scene).told()

    assert "disabled by anna@ANNA-PC: holidays" in text


NIGHTLY = Flow("G", "a").watch(mode="schedule", time="06:00", tz="UTC")
EACH_NEW = Flow("G", "a").watch(mode="poll", source="/in", interval="30s", run_as="batch", extensions=".csv")


@pytest.mark.parametrize(
    ("flow", "minutes", "kinds"),
    [
        pytest.param(NIGHTLY, 59, [], id="slot"),
        pytest.param(NIGHTLY, 200, ["late"], id="slot, an hour"),
        pytest.param(NIGHTLY.expect(grace="20m"), 30, ["late"], id="slot, its grace"),
        pytest.param(EACH_NEW, 59, [], id="poll"),
        pytest.param(EACH_NEW, 200, ["late"], id="poll, an hour"),
    ],
)
def test_a_wait_for_what_feeds_it_is_told_once_after_an_hour(
    home: LocalWorkspace, flow: Flow, minutes: int, kinds: list[str]
) -> None:
    """And never as a slot that was missed: not while it waits, and not when it has begun after that."""
    six_s = datetime.fromisoformat("2026-06-01T06:00:00+00:00").timestamp()
    why = UpstreamRunning("clean", "0123456789ab", utc_text(six_s))

    async def scene(made: Scene) -> None:
        made.triggers.names, made.triggers.why = (lambda: ["a"]), (lambda name: why)
        made.now_s = six_s - 60
        made.alerter.engine_started(was_off=True)
        for minute in (minutes - 1, minutes):
            made.now_s = six_s + 60 * minute
            made.alerter.files_changed(["a"])
            made.alerter.tick()
            await made.decided()
        assert made.kinds() == kinds
        ended_s = made.now_s
        made.triggers.why, made.triggers.waits.ended_s = (lambda name: None), (lambda name: ended_s)
        about = RunAbout("slot", None, "x", scheduled_for=utc_text(six_s)) if flow.mode == "schedule" else None
        for event in (
            RunStarted("r", "a", "G", None, made.now_s + 9, about=about),
            RunFinished("r", "success", made.now_s + 1200, 1191.0),
        ):
            made.home.ledger().record(event)
            made.now_s += 600
            made.alerter.heard("a", [event])
            made.alerter.files_changed(["a"])
            await made.decided()

    made = play(home, Around(flow), scene)

    assert [kind for kind in made.kinds() if kind != "digest"] == (kinds and [*kinds, "recovered"])
    assert all('for flow "clean", which feeds it: run 01234567 is under way' in text for _, text in made.told()[:1])


def rejects(made: Scene, run_id: str, rule: str, count: int) -> None:
    """A good run of flow `a` rejects so many rows."""
    made.ends("a", "success", run_id, spent=RunSpent(checks=(RuleCount("Check", rule, 9, count, 0),), rejected=count))


def test_rows_that_are_rejected_are_told_again_when_there_are_more(home: LocalWorkspace) -> None:
    """By the same rule, or by another one; a run that rejects none is the end of it."""
    told = []

    async def scene(made: Scene) -> None:
        runs = [("positive", 2), ("positive", 2), ("positive", 1), ("positive", 3), ("known", 1), ("known", 0)]
        for number, (rule, count) in enumerate(runs):
            rejects(made, f"r{number}", rule, count)
            await made.decided()
            told.append(made.kinds())
            made.now_s += 3600
            made.alerter.tick()
            await made.decided()

    made = play(home, Around(Flow("G", "a")), scene)

    assert [len(kinds) for kinds in told] == [1, 1, 1, 2, 3, 4]
    assert made.kinds() == ["rejected", "rejected", "rejected", "recovered"]
    assert "2 rows: positive 2" in made.told()[0][1]
    assert "3 rows: positive 3" in made.told()[1][1]
    assert made.subjects()[0] == "a rejects rows"


def test_more_rows_within_a_digest_are_told_at_its_end(home: LocalWorkspace) -> None:
    """And that all is good again is told, though it was before that end."""

    async def scene(made: Scene) -> None:
        for number, count in enumerate((1, 2, 0)):
            rejects(made, f"r{number}", "positive", count)
            await made.decided()
            made.now_s += 1
        made.now_s += 3600
        made.alerter.tick()
        await made.decided()

    assert play(home, Around(Flow("G", "a")), scene).kinds() == ["rejected", "recovered"]


def test_a_run_whose_daemon_died_before_it_told_of_it_is_told_of_by_the_next_one(home: LocalWorkspace) -> None:
    """Rows that it rejects, and that it rejects none any more."""

    async def dies(made: Scene) -> None:
        made.alerter.heard = lambda flow, events: None  # type: ignore[method-assign]
        rejects(made, "r1", "positive", 2)

    async def dies_again(made: Scene) -> None:
        made.alerter.heard = lambda flow, events: None  # type: ignore[method-assign]
        made.now_s += 3600
        rejects(made, "r2", "positive", 0)

    async def lives(made: Scene) -> None:
        made.now_s += 7200
        made.alerter.tick()
        await made.decided()

    flows = Around(Flow("G", "a"))
    assert play(home, flows, dies).kinds() == []
    assert play(home, flows, dies_again).kinds() == ["rejected"]
    assert play(home, flows, lives).kinds() == ["rejected", "recovered"]


def test_rows_of_a_source_that_is_gone_are_rejected_no_more(home: LocalWorkspace, tmp_path: Path) -> None:
    """Its file is removed by hand: that is the end of it."""
    source = tmp_path / "in" / "a.csv"
    source.parent.mkdir()
    source.touch()

    async def scene(made: Scene) -> None:
        key = SourceKey("../in", "a.csv")
        spent = RunSpent(checks=(RuleCount("Check", "positive", 9, 2, 0),), rejected=2)
        for event in (
            RunStarted("r", "a", "G", str(source), made.now_s, key),
            RunFinished("r", "success", made.now_s, 1.0, spent=spent),
        ):
            made.home.ledger().record(event)
            made.alerter.heard("a", [event])
        await made.decided()
        assert made.kinds() == ["rejected"]
        source.unlink()
        made.now_s += 3600
        made.alerter.files_changed(["a"])
        await made.decided()

    flow = Flow("G", "a").watch(mode="poll", source=source.parent, interval="1s")
    assert play(home, Around(flow), scene).kinds() == ["rejected", "recovered"]


def test_rejected_rows_are_looked_for_only_where_a_check_puts_some_apart(home: LocalWorkspace) -> None:
    """After the first look, at what ended before."""
    looks = []

    async def scene(made: Scene) -> None:
        look = made.alerter._finder.rejected
        made.alerter._finder.rejected = lambda *given, **more: looks.append(1) or look(*given, **more)  # type: ignore
        for number in range(3):
            made.ends("a", "success", f"r{number}")
            await made.decided()
        rejects(made, "r3", "positive", 0)
        await made.decided()

    play(home, Around(Flow("G", "a")), scene)

    assert len(looks) == 1

"""What an alerter decides while flows come and go around it: one flow's end or error keeps no other from being told of."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data_engine import Flow, Workspace
from data_engine.cause import Cause
from data_engine.daemon.alerter import Alerter
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.errors import LedgerError
from data_engine.model import RunFinished, RunStarted
from data_engine.scheduler.surroundings import ReadyFlow
from tests.alerts.conftest import AT_S
from tests.support import WorkspaceFiles

BROKEN = Cause("code_raised", {"step": "One", "detail": "ValueError: no"})


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
        triggers: Any = SimpleNamespace(names=list, why=lambda flow: None)
        self.alerter = Alerter(
            home, dispatcher, triggers, around, self._spawn, sender="team on ws-7", clock=lambda: self.now_s
        )
        self.alerter.beat()

    def _spawn(self, work: Any) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def fails(self, flow: str) -> None:
        """A run of the flow ends badly."""
        self.alerter.heard(flow, [RunStarted(f"r-{flow}", flow, "G", None, self.now_s)])
        self.alerter.heard(flow, [RunFinished(f"r-{flow}", "failed", self.now_s, 1.0, why=BROKEN)])

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
        made.alerter.beat()  # the time comes at which the flow that is gone would have been looked at
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
        found.append(notifier.named())
        for text in ("[alerts]\nto = []\n", "[alerts\n"):
            home.layout.settings_path.write_text(text)
            home.refresh_settings()
            found.append(notifier.named())
        home.layout.settings_path.unlink()
        home.refresh_settings()
        found.append(notifier.named())
        home.layout.settings_path.write_text("")
        home.refresh_settings()
        module = home.layout.flow_modules_dir / "unread.py"
        module.write_text("from data_engine import Flow\ndef build():\n    return Flow(group='G').step(print)\n")
        Workspace(home.layout.root).deploy("unread")
        found.append(notifier.named())

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

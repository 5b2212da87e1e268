"""What waits for a daemon is heard when a person breaks it off."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from data_engine import Workspace
from data_engine.commands.runs import Run
from data_engine.daemon import control, link
from data_engine.daemon.control import DaemonClient, DaemonGoneError, UnknownRouteError
from data_engine.daemon.link import DaemonLink
from data_engine.errors import ShortInterrupt
from tests.cli.conftest import REPOSITORY
from tests.support import WorkspaceFiles, until


class Daemon:
    """One whose run ends after some questions; `asked` has how long each was to wait."""

    def __init__(self, questions: int) -> None:
        self.questions = questions
        self.asked: list[float] = []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body["timeout_s"])
        return {"pending": body["run_ids"] if len(self.asked) < self.questions else [], "why": None}


@pytest.mark.parametrize(("longest_s", "at_most_s"), [(1.0, 1.0), (float("inf"), 20.0)])
def test_no_question_waits_longer_than_a_call_may(
    monkeypatch: pytest.MonkeyPatch, longest_s: float, at_most_s: float
) -> None:
    """On Windows Ctrl-C is heard between two calls only; elsewhere it breaks one off, and the daemon is asked seldom."""
    daemon = Daemon(4)
    monkeypatch.setattr(link, "LONGEST_CALL_S", longest_s)
    monkeypatch.setattr(DaemonLink, "require", lambda self: daemon)

    DaemonLink(SimpleNamespace()).wait_for_runs(["3f9c"], print)  # type: ignore[arg-type]

    assert daemon.asked == [1.0, at_most_s, at_most_s, at_most_s]


def test_an_interrupt_before_the_answer_says_what_becomes_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon has it, so it is not called off; of a run no id is known yet."""

    class Asked:
        def post(self, path: str, body: dict[str, Any], *, timeout_s: float) -> dict[str, Any]:
            raise KeyboardInterrupt

    monkeypatch.setattr(DaemonLink, "start", lambda self: Asked())

    with pytest.raises(ShortInterrupt, match="asked to run hand, and does it; `data-engine status`"):
        DaemonLink(SimpleNamespace()).send(Run("hand"), waits=True)  # type: ignore[arg-type]


@pytest.mark.parametrize(("verb", "ends"), [("undeploy", True), ("rollback", True), ("rollback", False)])
def test_a_request_whose_answer_was_lost_is_done_once(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, verb: str, ends: bool
) -> None:
    """It is asked for again, and answered with what the first one did."""
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    workspace = Workspace(ws.root)
    for number in range(3):
        ws.notebook(
            "claims", f"from data_engine import Flow\ndef build():\n    return Flow('G').step(lambda c: {number})"
        )
        workspace.deploy("claims")
    before = {one.id for one in workspace.deployments()}
    workspace.start()
    post, lost = DaemonClient.post, []

    def losing(self: DaemonClient, path: str, *given: Any, **options: Any) -> dict[str, Any]:
        told = post(self, path, *given, **options)
        if path in ("/undeploy", "/rollback") and not lost:
            lost.append(told.get("id") or told["deployments"][0]["id"])
            if ends:
                workspace.kill()
            raise DaemonGoneError("it was cut off")
        return told

    monkeypatch.setattr(DaemonClient, "post", losing)
    try:
        row = getattr(workspace, verb)("claims")
    finally:
        workspace.kill()

    assert lost == [row.id]
    assert {one.id for one in workspace.deployments()} - before == {row.id}
    assert workspace.deployments("claims")[0].set_id == row.set_id
    assert (row.kind == "withdraw") == (workspace.deployment("claims") == "not deployed")


def test_who_waits_for_a_run_of_a_frozen_daemon_is_not_kept_for_ever(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked after that waits for no whole ping again; once it answers, all is as before."""
    wait = "import time\nfrom data_engine import Flow\ndef wait(c):\n    time.sleep(60)\ndef build():\n    return Flow('G').step(wait)"
    ws.notebook("slow", wait)
    workspace = Workspace(ws.root)
    workspace.deploy("slow")
    run_ids = workspace.run("slow", wait=False)
    process = psutil.Process(workspace.status().daemon.pid or 0)
    for name in ("TOLD_AFTER_S", "_HEARS_S", "GIVEN_UP_AFTER_S"):
        monkeypatch.setattr(control, name, 0.5)

    process.suspend()
    try:
        began_s = time.monotonic()
        with pytest.raises(DaemonGoneError, match=rf"the daemon \(pid {process.pid}\) does not answer"):
            workspace.wait([str(one) for one in run_ids])
        took_s = time.monotonic() - began_s
        began_s = time.monotonic()
        silent = [workspace.status().daemon.silent for _ in range(3)]
        looked_s = time.monotonic() - began_s
    finally:
        process.resume()
    answers = until(lambda: not workspace.status().daemon.silent)
    workspace.kill()

    assert took_s < control.LONG_S / 2
    assert (silent, looked_s < 2 * control.PING_S) == ([True] * 3, True)
    assert answers


def test_a_daemon_that_does_not_know_a_request_says_so(ws: WorkspaceFiles) -> None:
    """One of another revision, which has work: the error says what starts this one."""
    workspace = Workspace(ws.root)
    workspace.start()
    try:
        with pytest.raises(UnknownRouteError, match="there is no request 'dance'") as caught:
            workspace.link.require().post("/dance")
        assert caught.value.fix == "`data-engine start` starts this one"
    finally:
        workspace.kill()


@pytest.mark.parametrize("by_person", [True, False])
def test_who_waits_for_a_run_is_told_whether_its_daemon_was_killed_or_died(ws: WorkspaceFiles, by_person: bool) -> None:
    """Also where that is seen before whoever killed the daemon has recorded it."""
    workspace = Workspace(ws.root)
    workspace.home.ledger()
    record = (
        "import os, sys\nfrom data_engine import Workspace\nfrom tests.ledger.events import start\n"
        "ledger = Workspace(sys.argv[1]).home.ledger()\nledger.record(start('3f9c'))\nledger.flush()\nos._exit(9)"
    )
    subprocess.run([sys.executable, "-c", record, str(ws.root)], cwd=REPOSITORY, check=False)
    if by_person:
        control.remember_stop(workspace.home.local)

    (run,) = workspace.wait(["3f9c"])

    assert run.status == "abandoned"
    assert (
        run.cause == "the daemon was killed, and its runs with it"
        if by_person
        else "its process died" in str(run.cause)
    )

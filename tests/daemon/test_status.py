"""The status tells of everything on this machine: the same shape without a daemon, and what other processes run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command_line
from data_engine.errors import FlowValidationError
from data_engine.view.feed import View, ViewSender
from data_engine.view.panel import render
from data_engine.view.status import status_card
from data_engine.view.text import text
from tests.daemon.support import flow_of
from tests.support import WorkspaceFiles, end_now, until

FLOW = """
    from pathlib import Path
    import time
    from data_engine import Flow

    def work(context):
        is_bad = str(context.source and context.source.path).endswith("bad.txt")
        until = 5 if is_bad else context.params.get("until")
        while until and not Path(until).exists():
            time.sleep(0.01)
            context.progress(1)
        return 1

    def build():
        return Flow(group="{group}").watch({trigger}).step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    (ws.root / "in").mkdir()
    ws.notebook("first", FLOW.format(group="G", trigger='mode="manual"'))
    ws.notebook("second", FLOW.format(group="G", trigger='mode="manual"'))
    ws.notebook("polled", FLOW.format(group="P", trigger='mode="poll", source="../in", interval="200ms", settle=0'))
    ws.notebook("nightly", FLOW.format(group="N", trigger='mode="schedule", time="03:30", tz="Asia/Kolkata"'))
    found = Workspace(ws.root)
    yield found
    found.kill()


Elsewhere = Callable[[str, Path], psutil.Process]


@pytest.fixture
def elsewhere(workspace: Workspace) -> Iterator[Elsewhere]:
    """Runs a flow in a process of its own, as a kernel would, until a file is there."""
    started: list[tuple[subprocess.Popen[bytes], psutil.Process]] = []

    def start(name: str, until_there: Path) -> psutil.Process:
        code = (
            "import os; print(os.getpid(), flush=True); "  # in an environment on Windows the one that is started is a launcher
            f"from data_engine import load_flow; load_flow({name!r}, data_root={str(workspace.root)!r})"
            f".run_once(params={{'until': {str(until_there)!r}}})"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert process.stdout is not None
        started.append((process, psutil.Process(int(process.stdout.readline()))))
        return started[-1][1]

    yield start
    for process, runs in started:
        with suppress(psutil.NoSuchProcess):
            runs.kill()
        process.communicate()


def active(workspace: Workspace) -> list[dict[str, Any]]:
    return list(workspace.status()["active_runs"])


def test_with_and_without_a_daemon_the_flows_are_told_alike(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Deployed, switched off, edited so that it breaks, never good: the same keys, states and texts."""
    workspace.deploy()
    workspace.disable("polled")
    ws.notebook("second", FLOW.format(group="G", trigger='mode="manual"').replace("return 1", "return 1 +"))
    ws.notebook("never", "from data_engine import Flow", "def build():\n    return 1 +")
    workspace.run("first")
    until(lambda: flow_of(workspace, "second")["edit"])
    with_daemon = workspace.status()
    workspace.shutdown()
    until(lambda: not workspace.status()["daemon"]["running"])
    without = workspace.status()

    assert without["flows"] == with_daemon["flows"]
    for part in ("daemon", "engine", "lease"):
        assert set(without[part]) == set(with_daemon[part])
    assert set(without) == set(with_daemon)
    states = {flow["name"]: (flow["state"], flow["deployment"]) for flow in without["flows"]}
    assert states == {
        "first": ("manual", "as deployed"),
        "second": ("edit has errors", "edited, not deployed: cell 1"),
        "polled": ("disabled", "as deployed"),
        "nightly": ("idle", "as deployed"),
        "never": ("broken", "not deployed"),
    }
    assert "cell 1, line 11: return 1 +" in without["flows"][4]["edit"]


def test_with_and_without_a_daemon_the_reasons_are_the_same(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """The same facts give the same kinds, data and sentences, and the same status; also of a file that is held, and why."""
    workspace.deploy()
    workspace.disable("nightly")
    for name in ("new.txt", "bad.txt", "also.tmp"):
        ws.source(f"in/{name}", name)
    with pytest.raises(FlowValidationError):
        workspace.load_flow("polled").run_once(source="bad.txt")
    workspace.start()
    until(lambda: not workspace.status().engine.starting and flow_of(workspace, "polled")["held"])

    def told() -> tuple[Any, ...]:
        reasons = [row.as_dict() for name in ("first", "nightly", "polled") for row in workspace.explain(name)]
        file = [row.as_dict() for row in workspace.explain(ws.root / "in/also.tmp")]
        return workspace.status().as_dict()["flows"], reasons, file

    live = told()
    workspace.shutdown()
    until(lambda: not workspace.status().daemon.running)

    assert told() == live
    _, reasons, (filtered,) = live
    assert [row["why"]["kind"] for row in reasons] == ["by_hand", "disabled", "engine_off", "held", "engine_off"]
    held = reasons[3]
    assert held["why"]["run_id"] == workspace.runs("polled", 1)[0].run_id
    assert (held["cause"]["kind"], held["cause"]["step"]) == ("code_raised", "Work")
    assert held["cause"]["places"] == [{"notebook": "polled.ipynb", "cell": 1, "line": 8}]
    assert filtered["why"] == {"kind": "name_filtered", "part": "also.tmp"}


@pytest.mark.parametrize("has_daemon", [True, False], ids=["with a daemon", "without"])
def test_a_run_of_another_process_is_told_with_its_step(
    workspace: Workspace, elsewhere: Elsewhere, tmp_path: Path, has_daemon: bool
) -> None:
    """And no more once that process has ended, or died."""
    workspace.deploy()
    if has_daemon:
        workspace.start()
        until(lambda: workspace.status()["flows"])
    process = elsewhere("first", tmp_path / "go on")
    (run,) = until(lambda: [run for run in active(workspace) if run["step"]])

    assert (run["flow"], run["step"], run["pid"], run["in_daemon"]) == ("first", "Work", process.pid, False)
    assert flow_of(workspace, "first")["state"] == "running"
    process.kill()
    process.wait()
    until(lambda: not active(workspace))
    until(lambda: flow_of(workspace, "first")["last_run"]["status"] == "abandoned")
    assert flow_of(workspace, "first")["state"] == "manual"


def test_what_ends_an_overlong_run_of_another_process_is_told(
    workspace: Workspace, ws: WorkspaceFiles, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """No command of the daemon reaches it."""
    ws.notebook(
        "first", FLOW.format(group="G", trigger='mode="manual"').replace(".step(", '.expect(within="1s").step(')
    )
    workspace.deploy()
    process = elsewhere("first", tmp_path / "go on")
    (row,) = until(lambda: [one for one in workspace.explain("first") if one.why.kind == "overlong"])

    assert f"process {process.pid}" in str(row.fix)


def test_who_waits_for_its_group_is_told_for_whom(workspace: Workspace, elsewhere: Elsewhere, tmp_path: Path) -> None:
    """For a run of another process, and for one of the daemon."""
    workspace.start()
    process = elsewhere("first", tmp_path / "go on")
    (theirs,) = until(lambda: active(workspace))
    (waiting,) = workspace.run("second", wait=False, params={"until": str(tmp_path / "end")})
    whom = f'waiting for group "G": flow "first" (run {theirs["run_id"][:8]}, pid {process.pid})'
    assert until(lambda: flow_of(workspace, "second"))["reason"] == whom
    assert [one["reason"] for one in workspace.explain("second")] == [f"{whom} (as run {waiting[:8]})"]
    (running,) = workspace.explain("first")
    assert (running.why.kind, running.why.run_id) == ("running", theirs["run_id"])
    assert f"process {process.pid}" in str(running.fix)

    (tmp_path / "go on").touch()
    process.wait()
    (ours,) = until(lambda: [run for run in active(workspace) if run["run_id"] == waiting])
    daemon = workspace.status()["daemon"]
    assert (ours["flow"], ours["pid"], ours["in_daemon"]) == ("second", daemon["pid"], True)
    workspace.run("first", wait=False)
    whom = f'waiting for group "G": flow "second" (run {ours["run_id"][:8]}, pid {daemon["pid"]})'
    assert flow_of(workspace, "first")["reason"] == whom
    (tmp_path / "end").touch()
    until(lambda: flow_of(workspace, "first")["why"]["kind"] == "by_hand")
    until(lambda: workspace.runs("first", 1)[0].status == "success")


def test_a_file_that_waits_for_the_group_says_so(
    workspace: Workspace, ws: WorkspaceFiles, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    ws.notebook("polled", FLOW.format(group="G", trigger='mode="poll", source="../in", interval="200ms", settle=0'))
    process = elsewhere("first", tmp_path / "go on")
    until(lambda: active(workspace))
    workspace.start_engine()
    ws.source("in/a.txt")

    (row,) = until(lambda: [one for one in workspace.explain("polled") if "waiting" in one["reason"]])
    assert row["source"].endswith("a.txt")
    assert f"pid {process.pid}" in row["reason"]
    (tmp_path / "go on").touch()
    until(lambda: flow_of(workspace, "polled")["last_run"])


def test_as_many_runs_as_there_are_workers_is_a_reason(
    workspace: Workspace, ws: WorkspaceFiles, tmp_path: Path
) -> None:
    ws.source("config/data_engine.toml", "[executor]\nworkers = 1\n")
    workspace.run("first", wait=False, params={"until": str(tmp_path / "end")})
    workspace.run("nightly", wait=False)

    assert "[executor] workers" in flow_of(workspace, "nightly")["reason"]
    (tmp_path / "end").touch()
    until(lambda: flow_of(workspace, "nightly")["last_run"])


def test_the_next_run_is_told_wherever_a_schedule_is(workspace: Workspace) -> None:
    """Status, reasons and the explanation come from what planning said; no time without an engine."""
    assert workspace.next_runs() == {}
    workspace.start_engine()
    next_utc = until(lambda: flow_of(workspace, "nightly")["next_run_utc"])

    (row,) = workspace.explain("nightly")
    assert (row["next_run_utc"], row["reason"]) == (next_utc, flow_of(workspace, "nightly")["reason"])
    assert row["reason"].startswith("next at ")
    assert workspace.next_runs() == {"nightly": next_utc}
    status = workspace.status()
    assert render(status).flows["nightly"].tz == "Asia/Kolkata"
    assert " 03:30:00 Asia/Kolkata" in text(status_card(status))
    workspace.stop_engine()
    (row,) = workspace.explain("nightly")
    assert (row.next_run_utc, row.why.kind) == (None, "engine_off")
    assert flow_of(workspace, "nightly")["next_run_utc"] is None


def test_while_the_daemon_is_dead_its_engine_is_said_to_go_on(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the command line, Python and the panel, until the next daemon really does; not once somebody has stopped it."""
    command = ["--workspace", str(workspace.root), "status"]
    workspace.start_engine()
    with_daemon = workspace.status()
    end_now(with_daemon["daemon"]["pid"])
    until(lambda: not workspace.status()["daemon"]["running"])
    dead = workspace.status()
    command_line(command)
    said = capsys.readouterr().out
    view = render(dead)
    card = text(status_card(dead))
    workspace.start()
    until(lambda: workspace.status()["engine"]["on"])
    again = workspace.status()
    end_now(again["daemon"]["pid"])
    until(lambda: not workspace.status()["daemon"]["running"])
    ran = command_line(["--workspace", str(workspace.root), "run", "first"])
    told_by_run = capsys.readouterr().err
    until(lambda: workspace.status()["engine"]["on"])
    end_now(workspace.status()["daemon"]["pid"])
    until(lambda: not workspace.status()["daemon"]["running"])
    workspace.stop_engine()
    command_line(command)
    stopped = capsys.readouterr().out

    assert (with_daemon["engine"]["goes_on"], dead["engine"]["goes_on"], dead["engine"]["on"]) == (False, True, False)
    words = "the daemon is not running; the engine is on again as soon as a daemon starts"
    assert f"{words} fix: data-engine start" in " ".join(said.split())
    assert [(notice.tone, notice.text.lower()) for notice in view.notices] == [("warn", words)]
    assert view.buttons["stop_engine"] is None
    assert words in " ".join(card.split())
    assert again["engine"]["goes_on"] is False
    assert workspace.status()["engine"]["goes_on"] is False
    assert "goes on" not in stopped
    assert ran == 0
    assert "The engine was on when the last daemon died, and is on again: data-engine stop turns it off." in told_by_run


def test_a_setting_that_cannot_be_is_told_to_who_follows_the_status(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Within some seconds, with nothing else that happens; and that it is right again."""
    workspace.start()
    told: list[View] = []
    leave = ViewSender(workspace).listen(told.append)

    def is_told(words: str) -> bool:
        return any(words in one["text"] for one in told[-1]["notices"]) if told else False

    try:
        until(lambda: bool(told) and told[-1]["daemon"]["word"] == "running")
        ws.source("config/data_engine.toml", '[deploy]\ngate = "goldn"\n')
        until(lambda: is_told("config/data_engine.toml: deploy.gate: gate cannot be 'goldn'"))
        ws.source("config/data_engine.toml", '[deploy]\ngate = "golden"\n')
        until(lambda: not is_told("goldn"))
    finally:
        leave()


def test_a_folder_that_goes_away_is_told_to_who_follows_the_status(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """With what helps, and without a run that would tell of anything; and that it is back."""
    workspace.start_engine()
    told: list[View] = []
    leave = ViewSender(workspace).listen(told.append)
    folder = ws.root / "in"

    def polled() -> dict[str, Any]:
        return told[-1]["flows"].get("polled", {}) if told else {}

    try:
        until(lambda: polled().get("mark", {}).get("kind") == "polling")
        folder.rmdir()
        until(lambda: polled().get("mark", {}).get("kind") == "unreachable")
        reason = polled()["reason"]
        assert f": {folder}: " in reason
        assert "create it, connect its drive" in reason
        folder.mkdir()
        until(lambda: polled().get("mark", {}).get("kind") == "polling")
    finally:
        leave()

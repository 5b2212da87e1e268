"""A daemon that cannot write for a while: what is due waits, what happened is kept, and nothing runs unrecorded."""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command_line
from data_engine.files import write_text_atomic
from data_engine.model import Run
from tests.daemon.test_daemon import MANUAL, POLL
from tests.support import WorkspaceFiles, fill_drive, until

TICKS = """
    from data_engine import Flow
    def build():
        return Flow(group="T").watch(mode="schedule", interval="500ms").step(lambda context: 1)
"""


def filled(ws: WorkspaceFiles) -> Workspace:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    (ws.root / "in").mkdir()
    ws.notebook("poll", POLL)
    ws.notebook("manual", MANUAL)
    ws.notebook("ticks", TICKS)
    return Workspace(ws.root)


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    found = filled(ws)
    yield found
    found.kill()


def drop(ws: WorkspaceFiles, *names: str) -> None:
    for name in names:
        write_text_atomic(ws.root / "in" / f"{name}.txt", name, durable=False)


def outputs(ws: WorkspaceFiles) -> int:
    return len(list((ws.root / "out").glob("*.out"))) if (ws.root / "out").exists() else 0


def status_of(workspace: Workspace, run_id: object) -> str | None:
    run = workspace.home.ledger().run(str(run_id))
    return None if run is None else run.status


def of_poll(workspace: Workspace) -> list[Run]:
    return workspace.runs("poll", 1000)


def test_a_ledger_that_others_lock_for_long_delays_work_and_loses_none(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    """Beyond every busy timeout: nothing runs unrecorded, a run under way ends as it did, and the daemon answers."""
    workspace.start_engine()
    drop(ws, "before")
    until(lambda: outputs(ws) == 1)
    (under_way,) = workspace.run("manual", wait=False, params={"beats": 50})
    until(lambda: workspace.status()["active_runs"])
    other = sqlite3.connect(workspace.home.local.ledger_path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    begun_s = time.monotonic()
    drop(ws, *(str(number) for number in range(20)))
    (asked,) = workspace.run("manual", wait=False)
    longest_s = 0.0
    while time.monotonic() - begun_s < 2.5:
        asked_s = time.monotonic()
        status = workspace.status()
        longest_s = max(longest_s, time.monotonic() - asked_s)
        time.sleep(0.2)
    assert "locked" in status["trouble"]["what"]
    assert (outputs(ws), longest_s < 2.5) == (1, True)
    other.execute("COMMIT")
    other.close()

    until(lambda: outputs(ws) == 21)
    until(lambda: workspace.status()["trouble"] is None)
    assert Counter(run.source for run in of_poll(workspace)).most_common(1)[0][1] == 1
    assert {run.status for run in of_poll(workspace)} == {"success"}
    for run_id in (under_way, asked):
        until(lambda run_id=run_id: status_of(workspace, run_id) == "success")  # type: ignore[misc]
    ticks = len(workspace.runs("ticks", 1000))
    until(lambda: len(workspace.runs("ticks", 1000)) > ticks + 2)


def test_a_full_disk_under_the_daemon_delays_work_and_loses_none(
    ws: WorkspaceFiles, small_drive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and goes on by itself when there is room again; no file counts as failed for it."""
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(small_drive / "state"))
    workspace = filled(ws)
    try:
        workspace.start_engine()
        drop(ws, "before")
        until(lambda: [run.status for run in of_poll(workspace)] == ["success"])
        fill_drive(small_drive)
        drop(ws, *(str(number) for number in range(20)))
        (asked,) = workspace.run("manual", wait=False, params={"beats": 1})
        ws.notebook("new", MANUAL)
        until(lambda: workspace.status()["trouble"])
        time.sleep(1.5)
        filler = fill_drive(small_drive)
        begun = outputs(ws)
        recorded = len([run for run in of_poll(workspace) if run.status == "success"])
        assert begun - recorded in (0, 1)  # the journal of the run before may have had room for one more
        filler.unlink()

        until(lambda: outputs(ws) == 21)
        until(lambda: workspace.status()["trouble"] is None)
        until(lambda: any(flow["name"] == "new" and flow["error"] is None for flow in workspace.status()["flows"]))
        until(lambda: status_of(workspace, asked) == "success")
        assert Counter(run.status for run in of_poll(workspace)) == {"success": 21}
        until(lambda: workspace.runs("ticks"))
        log = workspace.home.local.daemon_log_path.read_text()
        assert "disk is full" in log or "No space left on device" in log  # the ledger said so, or the journal
    finally:
        workspace.kill()


@pytest.mark.parametrize("before", ["nothing", "looked at", "a daemon ran"])
def test_a_daemon_that_finds_a_full_drive_says_so(
    ws: WorkspaceFiles,
    small_drive: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    before: str,
) -> None:
    """To whoever starts it, though it can write nothing down; whatever of its state is there. With room again it starts."""
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(small_drive / "state"))
    workspace = filled(ws)
    command = ["--workspace", str(ws.root), "start", "--no-engine"]
    try:
        if before == "looked at":
            workspace.runs()
        elif before == "a daemon ran":
            workspace.start()
            workspace.kill()
        filler = fill_drive(small_drive)
        assert command_line(command) == 2
        said = capsys.readouterr().err

        assert "disk is full" in said
        assert "it ended with exit code" not in said
        assert "Traceback" not in said
        filler.unlink()
        assert command_line(command) == 0
    finally:
        workspace.kill()


def test_a_daemon_tells_its_starter_why_it_ends_and_is_heard_no_longer(ws: WorkspaceFiles) -> None:
    """All it says goes to whoever starts it, until it works; what comes after goes into a file."""
    workspace = filled(ws)
    workspace.start()
    pid = workspace.status()["daemon"]["pid"]
    try:
        if sys.platform == "linux":
            streams = {os.readlink(f"/proc/{pid}/fd/{number}") for number in (1, 2)}
            assert streams == {str(workspace.home.local.runtime_dir / "daemon-start.log")}
        assert [one.name for one in threading.enumerate() if one.name == "daemon-start"] == []
    finally:
        workspace.kill()


@pytest.mark.parametrize("wrong", ['[executor]\nkind = "proceses"\n', "[executor]\nkind = processes\n"])
def test_settings_of_runs_that_become_wrong_stop_runs(workspace: Workspace, ws: WorkspaceFiles, wrong: str) -> None:
    """What is due waits, and says why with the fix; it runs when they are right again. The daemon works on."""
    workspace.start_engine()
    until(lambda: workspace.runs("ticks"))
    ws.source("config/data_engine.toml", wrong)
    until(lambda: workspace.status()["trouble"])
    drop(ws, "a")

    def waits() -> bool:
        flow = next(flow for flow in workspace.status()["flows"] if flow["name"] == "poll")
        return flow["why"] is not None and flow["why"]["kind"] == "trouble"

    until(waits)
    (row,) = (row for row in workspace.explain("poll") if row.source and row.source.endswith("a.txt"))
    assert (row.why.kind, "data_engine.toml" in row.why.text) == ("trouble", True)
    assert row.fix
    assert outputs(ws) == 0

    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    until(lambda: outputs(ws) == 1)
    until(lambda: workspace.status()["trouble"] is None)


def test_settings_of_no_run_that_become_wrong_stop_none(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """What is said of them is told, runs go on, and nothing is deployed by itself meanwhile."""
    workspace.start_engine()
    ws.source("config/data_engine.toml", '[deploy]\nmode = "aks"\n[alerts]\ndigest = 5\n')
    until(lambda: workspace.status()["trouble"])
    ws.notebook("late", MANUAL)
    drop(ws, "a")
    until(lambda: outputs(ws) == 1)
    time.sleep(1.5)
    assert workspace.deployments("late") == []

    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    until(lambda: workspace.status()["trouble"] is None)
    until(lambda: workspace.deployments("late"))

"""The workspace under a running daemon is deleted, moved, cleaned or read-only: work stops or waits, and nothing is made anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command_line
from data_engine.daemon.control import DaemonClient, read_endpoint
from data_engine.errors import FlowValidationError, OwnedElsewhereError
from data_engine.files import write_text_atomic
from tests.support import WorkspaceFiles, end_now, until

POLL = """
    import time
    from data_engine import Flow

    def read(context):
        return context.source.path.read_text()

    def write(context):
        time.sleep(0.05)
        target = context.mirror.with_suffix(".out")
        target.write_text(context.current)
        return target

    def build():
        return (
            Flow(group="G").watch(mode="poll", source="../in", interval="200ms", extensions=".txt", settle=0)
            .mirror(root="../out").step(read).step(write)
        )
"""
MANUAL = """
    from data_engine import Flow
    def build():
        return Flow(group="M").step(lambda context: 1)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    (ws.root / "in").mkdir()
    ws.notebook("poll", POLL)
    ws.notebook("manual", MANUAL)
    found = Workspace(ws.root)
    home = found.home
    yield found
    endpoint = read_endpoint(home.local)
    if endpoint is not None and endpoint.is_alive():
        end_now(endpoint.pid)


def drop(ws: WorkspaceFiles, count: int) -> None:
    for number in range(count):
        write_text_atomic(ws.root / "in" / f"{number}.txt", str(number), durable=False)


def outputs(ws: WorkspaceFiles) -> int:
    return len(list((ws.root / "out").glob("*.out"))) if (ws.root / "out").exists() else 0


def test_a_deleted_workspace_ends_its_work_and_is_not_made_anew(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """In the middle of a backlog; the daemon says so, answers, and can still be ended."""
    workspace.start_engine()
    drop(ws, 30)
    until(lambda: outputs(ws) > 2)
    local, endpoint = workspace.home.local, read_endpoint(workspace.home.local)
    assert endpoint is not None
    gone = ws.root.with_name("gone")
    ws.root.rename(gone)  # all at once, in the middle of a step
    until(lambda: shutil.rmtree(gone, ignore_errors=True) or not gone.exists())  # on Windows not what a step has open

    until(lambda: f"{ws.root} is gone" in local.daemon_log_path.read_text())
    time.sleep(1)
    client = DaemonClient.connect(local)
    assert client is not None
    status = client.get("/status")
    assert "cannot be re" in status["trouble"]["what"]
    assert status["active_runs"] == []
    client.close()
    assert command_line(["--workspace", str(ws.root), "kill"]) == 0
    until(lambda: not endpoint.is_alive())
    assert command_line(["--workspace", str(ws.root), "kill"]) == 2
    assert not ws.root.exists()
    assert local.daemon_log_path.read_text().count("Traceback") == 0


def test_a_workspace_that_is_away_for_a_while_loses_nothing(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """As a share is: no file counts as failed for it, but the one that was being worked on, which says why."""
    workspace.start_engine()
    drop(ws, 20)
    until(lambda: outputs(ws) > 2)
    endpoint = read_endpoint(workspace.home.local)
    away = ws.root.with_name("away")
    ws.root.rename(away)
    time.sleep(1.5)
    assert not ws.root.exists()
    away.rename(ws.root)

    def is_done() -> bool:
        workspace.retry("poll")
        return outputs(ws) == 20

    until(is_done)
    until(lambda: not workspace.status()["active_runs"])
    assert read_endpoint(workspace.home.local) == endpoint
    counts = Counter(run.status for run in workspace.runs("poll", 1000))
    assert counts["success"] == 20
    assert counts["failed"] <= 1, [run.error for run in workspace.runs("poll", 1000) if run.status != "success"]
    until(lambda: workspace.status()["trouble"] is None)


def test_a_workspace_that_was_moved_gets_a_daemon_in_its_new_place(
    workspace: Workspace, ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever starts it there: the old one, which looks where nothing is any more, is ended; engine, history, freshness stay."""
    workspace.start_engine()
    drop(ws, 3)
    until(lambda: outputs(ws) == 3)
    until(lambda: not workspace.status()["active_runs"])
    before = read_endpoint(workspace.home.local)
    assert before is not None
    ws.root.rename(ws.root.with_name("moved"))
    moved = Workspace(ws.root.with_name("moved"))
    moved.start()
    try:
        after = read_endpoint(moved.home.local)
        assert after is not None
        assert (moved.status().workspace_root, after.daemon_id != before.daemon_id) == (str(moved.root), True)
        assert f"(pid {before.pid}) is ended: {ws.root} is gone" in capsys.readouterr().err
        until(lambda: moved.status().engine.on)
        write_text_atomic(moved.root / "in" / "later.txt", "x", durable=False)
        until(lambda: (moved.root / "out" / "later.out").exists())
        until(lambda: not moved.status()["active_runs"])
        assert Counter(run.status for run in moved.runs("poll", 1000)) == {"success": 4}
        assert not ws.root.exists()
    finally:
        moved.kill()


def test_workspace_state_that_is_cleaned_away_keeps_the_history(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """As `git clean` does: one daemon goes on under the same identity, and no file is run again."""
    workspace.start_engine()
    drop(ws, 5)
    until(lambda: outputs(ws) == 5)
    endpoint = read_endpoint(workspace.home.local)
    shutil.rmtree(ws.root / ".workspace_state")
    until(lambda: (ws.root / ".workspace_state" / "identity.json").exists())

    code = (
        f"from data_engine import Workspace; w = Workspace({str(ws.root)!r}); w.start(); print(w.status().daemon.pid)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True, text=True)
    assert endpoint is not None
    assert int(found.stdout) == endpoint.pid
    write_text_atomic(ws.root / "in" / "later.txt", "x", durable=False)
    until(lambda: outputs(ws) == 6)
    assert len(workspace.runs("poll", 1000)) == 6


def test_deployments_that_are_cleaned_away_are_stored_again(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Somebody removes the copies production runs from; the daemon fetches what is deployed from the workspace, and runs it."""
    workspace.start()
    workspace.run("manual")
    deployments = workspace.home.local.runtime_dir / "deployments"

    shutil.rmtree(deployments)
    until(lambda: deployments.is_dir() and [*deployments.glob("*/manual.*")])
    workspace.run("manual")

    assert workspace.deployment("manual") == "as deployed"
    assert [run.status for run in workspace.runs("manual")] == ["success", "success"]


def test_another_workspace_in_its_place_ends_the_daemon(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Whoever starts one then gets a daemon of that one."""
    workspace.start_engine()
    endpoint, local = read_endpoint(workspace.home.local), workspace.home.local
    assert endpoint is not None
    identity = ws.root / ".workspace_state" / "identity.json"
    write_text_atomic(identity, '{"identity": "another0000000000000", "folder": 1}')

    until(lambda: not endpoint.is_alive())
    assert "is another workspace now" in local.daemon_log_path.read_text()
    assert "another0000000000000" in identity.read_text()


def test_a_read_only_workspace_is_observed(ws: WorkspaceFiles) -> None:
    """Nobody can own it there, which is said; the daemon answers, and nothing is written."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a drive")
    ws.source("in/a.txt", "1")
    ws.notebook("poll", POLL)
    ws.notebook("manual", MANUAL)
    if subprocess.run(["mount", "--bind", str(ws.root), str(ws.root)], check=False).returncode != 0:
        pytest.skip("this machine does not let root mount a drive")
    workspace = Workspace(ws.root)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(ws.root)], check=True)
        workspace.start()
        with pytest.raises(FlowValidationError, match="not deployed"):
            workspace.run("manual")
        with pytest.raises(OwnedElsewhereError, match="can only observe the workspace: its drive"):
            workspace.start_engine()

        assert {flow["error"] for flow in workspace.status()["flows"]} == {None}
        assert not (ws.root / ".workspace_state").exists()
    finally:
        workspace.kill()
        subprocess.run(["umount", "--lazy", str(ws.root)], check=True)

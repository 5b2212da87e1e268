"""With a daemon: a flow whose notebook is gone says so and runs on, and its new name takes its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command
from tests.daemon.support import ended, flow_of
from tests.support import AUTO, WorkspaceFiles, until

CELLS = (
    "from data_engine import Flow",
    "def one(context):\n    target = context.mirror.with_extension('.txt')\n    target.write_text('1')\n    return target",
    "def build():\n    return (Flow(group='G').watch(mode='poll', source='../in', interval='1s', settle=0)"
    ".mirror(root='../out').step(one))",
)


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    ws.source("in/a.csv")
    ws.notebook("claims", *CELLS)
    workspace = Workspace(ws.root)
    workspace.deploy()
    workspace.start_engine()
    until(lambda: ended(workspace, "claims", 1))
    yield workspace
    workspace.kill()


def test_the_engine_runs_on_and_follows_a_new_name(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """No file that was done runs again, and the old flow is there no more."""
    (ws.modules / "claims.ipynb").rename(ws.modules / "monthly claims.ipynb")
    until(lambda: flow_of(workspace, "claims")["deployment_status"].get("renamed_to") == "monthly claims")
    assert flow_of(workspace, "claims")["state"] == "module gone"
    ws.source("in/b.csv")
    until(lambda: ended(workspace, "claims", 2))
    workspace.deploy("monthly claims")

    until(lambda: {flow.name: flow.state for flow in workspace.status().flows} == {"monthly claims": "polling"})
    ws.source("in/c.csv")
    until(lambda: ended(workspace, "monthly claims", 3))
    names = [Path(run.source or "").name for run in workspace.runs("monthly claims")]
    assert names == ["c.csv", "b.csv", "a.csv"]  # with those under the old name
    assert len(workspace.runs("claims")) == 2


def test_the_status_knows_at_once_that_a_notebook_was_moved_or_deleted(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not wait for the daemon's next look."""

    def deployment_status() -> dict[str, object]:
        assert command(["--workspace", str(ws.root), "status", "--json"]) == 0
        (flow,) = [one for one in json.loads(capsys.readouterr().out)["flows"] if one["name"] == "claims"]
        return {name: flow["deployment_status"].get(name) for name in ("kind", "moved_to")}

    (ws.modules / "old").mkdir()
    for _ in range(3):
        (ws.modules / "claims.ipynb").rename(ws.modules / "old" / "claims.ipynb")
        assert deployment_status() == {"kind": "gone", "moved_to": "old/claims.ipynb"}
        (ws.modules / "old" / "claims.ipynb").rename(ws.modules / "claims.ipynb")
        workspace.link.require().post("/look")
    (ws.modules / "claims.ipynb").unlink()
    assert deployment_status() == {"kind": "gone", "moved_to": None}


def test_a_running_daemon_withdraws_a_flow_and_takes_it_back(ws: WorkspaceFiles, workspace: Workspace) -> None:
    (ws.modules / "claims.ipynb").unlink()
    until(lambda: flow_of(workspace, "claims")["state"] == "module gone")

    row = workspace.undeploy("claims")
    assert row is not None
    assert (row.kind, workspace.status().flows) == ("withdraw", ())
    workspace.rollback("claims")
    until(lambda: flow_of(workspace, "claims")["state"] == "module gone")
    workspace.restore("claims")
    assert flow_of(workspace, "claims")["deployment_status"]["kind"] == "as_deployed"  # not only at the next look
    until(lambda: flow_of(workspace, "claims")["state"] == "polling")


def test_what_goes_live_by_itself_follows_a_new_name_too(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """The old flow runs until the new one is good, and is withdrawn with it."""
    ws.source("config/data_engine.toml", AUTO)
    ws.notebook("claims", *CELLS[:2], CELLS[2] + "\n1 +").rename(ws.modules / "monthly.ipynb")
    until(
        lambda: (
            {flow.name: flow.error is None for flow in workspace.status().flows} == {"claims": True, "monthly": False}
        )
    )
    assert "claims" in workspace.home.deployments().deployed()

    ws.notebook("monthly", *CELLS)
    until(lambda: {flow.name: flow.state for flow in workspace.status().flows} == {"monthly": "polling"})
    ws.source("in/b.csv")
    until(lambda: ended(workspace, "monthly", 2))
    assert [Path(run.source or "").name for run in workspace.runs("monthly")] == ["b.csv", "a.csv"]


def test_an_absence_of_a_moment_withdraws_nothing(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """A program that syncs or saves takes a file away and puts it back: by itself only what stays away is withdrawn."""
    ws.source("config/data_engine.toml", AUTO.replace("0s", "1h"))
    path = ws.modules / "claims.ipynb"
    data = path.read_bytes()
    path.unlink()
    until(lambda: flow_of(workspace, "claims")["state"] == "module gone")
    path.write_bytes(data)
    until(lambda: flow_of(workspace, "claims")["state"] == "polling")

    assert [one.kind for one in workspace.deployments("claims")] == ["deploy"]

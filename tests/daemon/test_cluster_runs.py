"""`runs = "dask"`: the daemon plans, records and owns; whole runs are on the nodes of a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.daemon.doctor import examine
from data_engine.workspace.layout import WorkspaceLayout
from tests.daemon.dask_cluster import DaskCluster
from tests.daemon.support import ended
from tests.support import WorkspaceFiles, end_now, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the mount of another path is a link")

POLL = """
import os
from data_engine import Flow
from flow_helpers.rates import RATE

def read(context):
    text = context.source.path.read_text()
    print("read", text, "with", RATE)
    out = context.mirror.with_suffix(".out")
    out.write_text(text + str(os.getpid()))
    (context.mirror.root / "cwd.txt").write_text(os.getcwd())
    return out

def build():
    return (
        Flow(group="G")
        .watch(mode="poll", source="../in", interval="1s", settle=0, max_parallel=4, extensions=".txt")
        .mirror(root="../out")
        .step(read)
    )
"""

SLOW = """
import os, time
from pathlib import Path
from data_engine import Flow

def work(context):
    (context.config.config_dir.parent / "pid.txt").write_text(str(os.getpid()))
    for beat in range(3000):
        time.sleep(0.01)
        context.progress(beat)
        if context.params.get("die_of") and not Path(context.params["die_of"]).exists():
            Path(context.params["die_of"]).write_text("x")
            os.kill(os.getppid(), 9)
        if context.params.get("beats") and beat >= context.params["beats"]:
            return "done"

def build():
    return Flow(group="S").step(work)
"""

CHECKED = """
import polars as pl
from data_engine import Flow

def read(context):
    return pl.read_csv(context.source.path)

def build():
    flow = Flow(group="C").watch(mode="manual", source="../in", extensions=".csv").step(read)
    return flow.check({"positive": "amount > 0"}, on_fail="quarantine")
"""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A cluster whose workers have the workspace of the test under another path."""
    folder = tmp_path_factory.mktemp("cluster")
    found = DaskCluster(folder, folder / "mnt")
    yield found
    found.close()


@pytest.fixture
def mount(ws: WorkspaceFiles, shared: DaskCluster) -> Path:
    """The other path of the workspace."""
    assert shared.mount is not None
    shared.mount.unlink(missing_ok=True)
    shared.mount.symlink_to(ws.root, target_is_directory=True)
    return shared.mount


@pytest.fixture
def cluster(shared: DaskCluster, mount: Path) -> DaskCluster:
    """With two workers."""
    for _ in range(2 - sum(one.poll() is None for one in shared.workers)):
        shared.add_worker()
    shared.wait_for_workers()
    return shared


@pytest.fixture
def workspace(ws: WorkspaceFiles, cluster: DaskCluster) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", cluster.settings())
    (ws.root / "in").mkdir()
    ws.helper("rates", "RATE = 7\n")
    ws.notebook("poll", POLL)
    ws.notebook("slow", SLOW)
    found = Workspace(ws.root)
    yield found
    found.kill()


def log_of(workspace: Workspace, run_id: str) -> list[str]:
    return [line.message for line in workspace.log(run_id)]


def test_runs_are_on_the_nodes_and_recorded_here(workspace: Workspace, ws: WorkspaceFiles, mount: Path) -> None:
    """With paths as this machine has them, in the folder of the modules as the node has it."""
    ws.source("in/a.txt", "1")
    ws.source("in/b.txt", "2")
    workspace.start_engine()
    runs = until(lambda: ended(workspace, "poll", 2), 60)

    assert {run.status for run in runs} == {"success"}, [log_of(workspace, run.run_id) for run in runs]
    assert {run.source for run in runs} == {str(ws.root / "in/a.txt"), str(ws.root / "in/b.txt")}
    log = log_of(workspace, runs[0].run_id)
    assert log[0].startswith("runs on tcp://127.0.0.1:")
    assert any(line.startswith("read ") and line.endswith("with 7") for line in log)
    (step,) = workspace.steps(runs[0].run_id)
    assert step.output_path is not None
    assert step.output_path.startswith(str(ws.root / "out"))
    assert (ws.root / "out/cwd.txt").read_text() in (str(mount / "flow_modules"), str(ws.root / "flow_modules"))


def test_what_checks_reject_on_a_node_lies_here_and_is_recorded(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """In the workspace, with the run and the source as this machine has them; and an error names the cell of its check."""
    ws.notebook("checked", CHECKED)
    ws.source("in/a.csv", "id,amount\n1,5\n2,-5\n")
    (run,) = workspace.run("checked")

    assert run.status == "success", log_of(workspace, run.run_id)
    assert [(one.rule, one.failed) for one in run.checks] == [("positive", 1)]
    assert [(one.source, one.rows, one.run_id) for one in workspace.rejected()] == [("a.csv", 1, run.run_id)]
    assert [one.rejected for one in workspace.status().flows if one.name == "checked"] == [1]

    ws.notebook("strict", CHECKED.replace(', on_fail="quarantine"', ""))
    (run,) = workspace.run("strict")
    assert "strict.ipynb, cell 1, line 9" in str(run.error)
    assert "row 1 (amount=-5)" in str(run.error)


def test_a_run_on_a_node_can_be_stopped_and_killed(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """As one of this machine."""
    for end, status in ((workspace.stop_run, "stopped"), (workspace.kill_run, "killed")):
        (run_id,) = workspace.run("slow", wait=False)
        until(lambda: (ws.root / "pid.txt").exists() and workspace.runs("slow")[:1], 60)
        until(lambda run_id=run_id: workspace.runs("slow")[0].run_id == run_id)
        end(run_id)
        run = until(
            lambda run_id=run_id: [
                one for one in workspace.runs("slow") if one.run_id == run_id and one.finished_at_utc
            ]
        )[0]

        assert (run.status, run.cause) == (status, f"{status} by request")
        (ws.root / "pid.txt").unlink()


def test_a_place_that_a_node_does_not_see_is_named(workspace: Workspace, ws: WorkspaceFiles, mount: Path) -> None:
    """With the node, before anything runs; nothing is made on the node's own disk."""
    ws.notebook("far", SLOW.replace('Flow(group="S")', 'Flow(group="F").mirror(root="/not/there/out")'))
    ws.module("gone", "x = 1")
    (run,) = workspace.run("far", params={"beats": 1})

    assert run.status == "failed"
    assert "does not see the mirror" in str(run.error)
    assert "tcp://127.0.0.1:" in str(run.error)
    assert not Path("/not").exists()


def test_a_run_whose_node_dies_is_begun_once_more_elsewhere(
    workspace: Workspace, ws: WorkspaceFiles, cluster: DaskCluster
) -> None:
    """Under the same run; it is in the history once."""
    (run_id,) = workspace.run("slow", wait=False, params={"beats": 60})
    until(lambda: (ws.root / "pid.txt").exists() and workspace.runs("slow"), 60)
    address = next(line for line in log_of(workspace, run_id) if line.startswith("runs on")).split()[2].rstrip(";")
    (ws.root / "pid.txt").unlink()
    for process in cluster.workers:
        if f"{address} " in _listening(process.pid, address):
            end_now(process.pid)
    run = until(lambda: [one for one in workspace.runs("slow") if one.run_id == run_id and one.finished_at_utc], 60)[0]

    assert run.status == "success", log_of(workspace, run_id)
    assert [line for line in log_of(workspace, run_id) if "begun once more elsewhere" in line]
    assert len(workspace.runs("slow")) == 1


def _listening(pid: int, address: str) -> str:
    import psutil

    port = int(address.rpartition(":")[2])
    ports = [one.laddr.port for one in psutil.Process(pid).net_connections() if one.status == "LISTEN"]
    return f"{address} " if port in ports else ""


def test_doctor_measures_the_cluster(workspace: Workspace, shared: DaskCluster) -> None:
    """Reached, versions, what the workers see and may write, clocks, round trip; and what is not secured."""
    found = {one.name: one for one in examine(WorkspaceLayout(workspace.root)) if one.name.startswith("cluster")}

    assert {name: one.ok for name, one in found.items()} == {
        "cluster": True,
        "cluster round trip": True,
        "cluster workspace": True,
        "cluster clocks": True,
        "cluster security": None,
    }
    assert "2 workers with 2 threads" in found["cluster"].measured


def test_status_tells_of_the_cluster(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Where a run is, and how much of the cluster is in use."""
    (run_id,) = workspace.run("slow", wait=False)
    active = until(lambda: [one for one in workspace.status().active_runs if one.run_id == run_id], 60)[0]
    cluster = workspace.status().daemon.cluster
    workspace.kill_run(run_id)

    assert str(active.worker).startswith("tcp://127.0.0.1:")
    assert cluster is not None
    assert cluster.text == "cluster: 1 of 2 threads in use on 2 workers"

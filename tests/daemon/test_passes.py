"""A pass executes the flow's module once, in a worker as in `run --once`: its sources share the module's globals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from tests.daemon.support import ended
from tests.support import WorkspaceFiles, until

COUNTS = """
    import os, time, uuid
    from pathlib import Path
    from data_engine import Flow

    EXECUTION = uuid.uuid4().hex
    seen = []

    def work(context):
        seen.append(context.source.path.name)
        time.sleep({slow_s})
        print(f"{{os.getpid()}} {{EXECUTION}} {{len(seen)}}")

    def build():
        return (
            Flow(group="G")
            .watch(mode={mode!r}, source="../in", {options} max_parallel={parallel})
            .step(work)
        )
"""
POLL = 'interval="100ms", settle=0,'


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    (ws.root / "in").mkdir()
    workspace = Workspace(ws.root)
    yield workspace
    workspace.kill()


def executions(workspace: Workspace) -> list[tuple[str, str, int]]:
    """Process, execution of the module, and sources it had seen, of each run in the order of their starts."""
    runs = sorted(workspace.runs("claims"), key=lambda run: run.started_at_utc)
    said = [workspace.log(run.run_id)[0].message.split() for run in runs]
    return [(pid, execution, int(count)) for pid, execution, count in said]


@pytest.mark.parametrize("slow_s", [0.0, 0.4])
def test_the_sources_of_one_request_share_the_module(workspace: Workspace, ws: WorkspaceFiles, slow_s: float) -> None:
    """Slow ones too, which are handed out one by one; the next request executes it afresh."""
    for number in range(4):
        ws.source(f"in/{number}.csv")
    ws.notebook("claims", COUNTS.format(mode="manual", options="", slow_s=slow_s, parallel=1))

    workspace.run("claims")
    first = executions(workspace)
    workspace.run("claims")
    second = executions(workspace)[4:]

    assert [count for _, _, count in first] == [1, 2, 3, 4]
    assert len({(pid, execution) for pid, execution, _ in first}) == 1
    assert [count for _, _, count in second] == [1, 2, 3, 4]
    assert {execution for _, execution, _ in first}.isdisjoint(execution for _, execution, _ in second)


def test_the_due_sources_of_one_poll_share_the_module(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """What comes later is another pass."""
    for number in range(4):
        ws.source(f"in/{number}.csv")
    ws.notebook("claims", COUNTS.format(mode="poll", options=POLL, slow_s=0.4, parallel=1))
    workspace.start_engine()
    until(lambda: ended(workspace, "claims", 4))
    time.sleep(0.5)  # the pass is over once the daemon has heard of its end
    ws.source("in/later.csv")
    until(lambda: ended(workspace, "claims", 5))

    assert [count for _, _, count in executions(workspace)] == [1, 2, 3, 4, 1]


def test_workers_that_share_a_pass_execute_the_module_once_each(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", "[executor]\nworkers = 2\n")
    for number in range(6):
        ws.source(f"in/{number}.csv")
    ws.notebook("claims", COUNTS.format(mode="manual", options="", slow_s=0.4, parallel=2))

    workspace.run("claims")

    found = executions(workspace)
    assert len({(pid, execution) for pid, execution, _ in found}) == len({pid for pid, _, _ in found}) == 2


def test_what_a_pass_holds_is_let_go_at_its_end(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """A file under the workspace that the module keeps open makes its worker unfit for what comes after, not for the pass."""
    for number in range(3):
        ws.source(f"in/{number}.csv")
    module = COUNTS.replace("seen = []", "seen = []\n    kept = open(Path(__file__).parent.parent / 'kept.txt', 'a')")
    ws.notebook("claims", module.format(mode="manual", options="", slow_s=0.3, parallel=1))

    workspace.run("claims")
    workspace.run("claims")

    found = executions(workspace)
    assert [count for _, _, count in found] == [1, 2, 3, 1, 2, 3]
    kept = ws.root / "kept.txt"
    until(lambda: not _holders(kept))


def _holders(path: Path) -> list[int]:
    import psutil

    holders = []
    for process in psutil.process_iter():
        try:
            if any(one.path == str(path) for one in process.open_files()):
                holders.append(process.pid)
        except psutil.Error:
            continue
    return holders

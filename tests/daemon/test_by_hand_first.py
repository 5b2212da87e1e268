"""A run by hand goes before a backlog: it starts next, whatever waits in its flow, its group, or for all workers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.model import Run, utc_text
from tests.support import WorkspaceFiles, until

POLL = """
    import time
    from pathlib import Path
    from data_engine import Flow

    def work(context):
        while Path({slow!r}).exists() and not Path({end!r}).exists():
            time.sleep(0.01)
        time.sleep(0.15 if Path({slow!r}).exists() else 0.001)

    def build():
        return Flow(group={group!r}).watch(mode="poll", source="../in/{name}", interval="200ms", settle=0).step(work)
"""
ASKED = """
    from data_engine import Flow

    def build():
        return Flow(group={group!r}).step(lambda context: 1)
"""
ALL = 1_000_000
Backlog = Callable[[Sequence[str]], Workspace]


@pytest.fixture
def backlog(ws: WorkspaceFiles, tmp_path: Path) -> Iterator[Backlog]:
    """Starts an engine of two workers on 300 sources, over one flow in each of the groups given; `asked` is in group G.

    Once `slow` is there each run takes long, the first until `end` is there.
    """
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n[executor]\nworkers = 2\n')
    ws.notebook("asked", ASKED.format(group="G"))
    slow, end = str(tmp_path / "slow"), str(tmp_path / "end")
    workspace = Workspace(ws.root)

    def start(groups: Sequence[str]) -> Workspace:
        for flow, group in enumerate(groups):
            ws.notebook(f"poll{flow}", POLL.format(name=flow, group=group, slow=slow, end=end))
            for number in range(300 // len(groups)):
                ws.source(f"in/{flow}/{number:03d}.txt")
        workspace.run("asked")
        workspace.start_engine()
        return workspace

    yield start
    workspace.kill()


def hold_up(workspace: Workspace, tmp_path: Path, after: int) -> None:
    """Let all runs wait from now on, once so many are done."""
    until(lambda: len(workspace.runs(limit=ALL)) >= after)
    (tmp_path / "slow").touch()
    until(lambda: workspace.status()["active_runs"])


def let_go(tmp_path: Path) -> str:
    """Let them go on; the time."""
    at_utc = utc_text(time.time())
    (tmp_path / "end").touch()
    return at_utc


def went_first(workspace: Workspace, asked: Run, since_utc: str) -> int:
    """How many runs of the backlog began between that time and the run that was asked for before it."""
    runs = [run for run in workspace.runs(limit=ALL) if run.run_id != asked.run_id and run.flow != "asked"]
    return len([run for run in runs if since_utc < run.started_at_utc < asked.started_at_utc])


@pytest.mark.parametrize(
    "groups",
    [
        pytest.param(["G"] * 6, id="six flows of its group"),
        pytest.param(["A", "B", "C", "D", "E", "F"], id="six groups for two workers"),
        pytest.param(["G"], id="quick work handed ahead that turned slow"),
    ],
)
def test_a_run_by_hand_is_the_next_to_start(backlog: Backlog, tmp_path: Path, groups: Sequence[str]) -> None:
    """As soon as a worker is free, though its flow has just had a turn; and of the backlog nothing is lost or done twice."""
    workspace = backlog(groups)
    hold_up(workspace, tmp_path, after=100)
    (first,) = workspace.run("asked", wait=False)
    (second,) = workspace.run("asked", wait=False)
    since_utc = let_go(tmp_path)
    runs = workspace.wait([str(first), str(second)])

    assert [run.status for run in runs] == ["success", "success"]
    assert runs[0].started_at_utc < runs[1].started_at_utc
    for run in runs:
        assert went_first(workspace, run, since_utc) <= 2
    assert len(workspace.runs(limit=ALL)) < 300
    (tmp_path / "slow").unlink()
    until(lambda: len([run for run in workspace.runs(limit=ALL) if run.status == "success"]) == 303)
    sources = [run.source for run in workspace.runs(limit=ALL) if run.flow != "asked"]
    assert len(sources) == len(set(sources)) == 300


def test_a_run_of_the_backlogs_own_flow_is_the_next_of_it(backlog: Backlog, tmp_path: Path) -> None:
    workspace = backlog(["G"])
    hold_up(workspace, tmp_path, after=100)
    (run_id,) = workspace.run("poll0", wait=False, source="000.txt")
    since_utc = let_go(tmp_path)
    (asked,) = workspace.wait([str(run_id)])

    assert asked.status == "success"
    assert went_first(workspace, asked, since_utc) <= 1


def test_a_run_by_hand_in_another_process_goes_before_the_daemons_backlog(backlog: Backlog, tmp_path: Path) -> None:
    """A kernel that waits for the group has it next, though the daemon could go on with it at once."""
    workspace = backlog(["G", "G"])
    hold_up(workspace, tmp_path, after=100)
    code = f"from data_engine import load_flow; load_flow('asked', data_root={str(workspace.root)!r}).run_once()"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as kernel:
        assert kernel.stderr is not None
        assert kernel.stderr.readline().startswith('waiting for group "G"')
        since_utc = let_go(tmp_path)
        assert kernel.wait(60) == 0
    newest = workspace.runs("asked", 1)[0]

    assert newest.status == "success"
    assert went_first(workspace, newest, since_utc) <= 2
    (tmp_path / "slow").unlink()
    until(lambda: len([run for run in workspace.runs(limit=ALL) if run.status == "success"]) == 302)

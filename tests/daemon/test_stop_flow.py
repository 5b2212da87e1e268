"""Stopping a flow ends it: what runs ends at its next step, and what waits does not begin."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.reasons.remedies import STOPS_AT
from jupyter_extension.assets import panel_js
from tests.support import WorkspaceFiles, until

FLOW = """
    import time
    from pathlib import Path
    from data_engine import Flow

    def work(context):
        for beat in range(10_000):
            context.progress(beat, 10_000)
            if Path({go!r}).exists():
                return
            time.sleep(0.01)

    def build():
        return Flow(group="G").watch(mode={mode}, source="../in", settle=0, max_parallel=2).step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles, tmp_path: Path) -> Iterator[Workspace]:
    go = str(tmp_path / "go")
    poll = FLOW.format(go=go, mode='"poll", interval="100ms"')
    ws.notebook("poll", poll)
    ws.notebook("hand", FLOW.format(go=go, mode='"manual"').replace(", settle=0", "").replace('"G"', '"H"'))
    for number in range(20):
        ws.source(f"in/{number:02}.txt")
    workspace = Workspace(ws.root)
    workspace.deploy()
    yield workspace
    workspace.kill()


def statuses(workspace: Workspace, flow: str) -> list[str]:
    return sorted(run.status for run in workspace.runs(flow))


def test_a_polled_flow_ends_and_waits_until_it_is_enabled_again(workspace: Workspace, tmp_path: Path) -> None:
    workspace.start_engine()
    until(lambda: len(workspace.status()["active_runs"]) == 2)

    assert workspace.stop_flow("poll")

    until(lambda: statuses(workspace, "poll") == ["stopped", "stopped"])
    time.sleep(0.5)
    assert statuses(workspace, "poll") == ["stopped", "stopped"]
    (flow,) = (one for one in workspace.status().flows if one.name == "poll")
    assert not flow.enabled
    assert not workspace.stop_flow("poll")

    (tmp_path / "go").touch()
    workspace.enable("poll")
    until(lambda: statuses(workspace, "poll") == ["stopped"] * 2 + ["success"] * 18)


def test_what_was_asked_for_by_hand_is_dropped_and_told(workspace: Workspace) -> None:
    workspace.start()
    run_ids = workspace.run("hand", wait=False)
    until(lambda: workspace.status()["active_runs"])

    assert not workspace.stop_flow("hand")

    runs = workspace.wait([str(run_id) for run_id in run_ids])
    assert {run.status for run in runs} == {"stopped"}
    assert len(runs) == 20
    assert workspace.status().daemon.running


def test_no_such_flow_and_no_daemon(workspace: Workspace) -> None:
    with pytest.raises(FlowValidationError, match="no daemon"):
        workspace.stop_flow("hand")
    workspace.start()
    with pytest.raises(FlowValidationError, match="not available"):
        workspace.stop_flow("hnd")


def test_where_a_stop_takes_effect_is_told_alike_by_page_panel_and_commands() -> None:
    """A line that a step prints is none of these places."""
    pages = Path(__file__).parents[2] / "data_engine" / "docs" / "pages"

    assert f"end at their {STOPS_AT}" in (pages / "howto" / "stop.md").read_text(encoding="utf-8")
    assert f"it ends at its {STOPS_AT}" in panel_js()

"""A reset through the running daemon: refused beside a run, and otherwise everything is due again at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.cli.app import run as command_line
from data_engine.model import utc_text
from tests.daemon.support import ended
from tests.support import WorkspaceFiles, until

FLOW = """
    from pathlib import Path
    import time
    from data_engine import Flow

    def work(context):
        until = context.params.get("until")
        while until and not Path(until).exists():
            time.sleep(0.01)
        return context.source.path if context.source else 1

    def build():
        return Flow(group="{group}").watch({trigger}).step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("in/a.txt")
    ws.source("in/b.txt")
    ws.notebook("polled", FLOW.format(group="P", trigger='mode="poll", source="../in", interval="100ms", settle=0'))
    ws.notebook("manual", FLOW.format(group="M", trigger='mode="manual"'))
    found = Workspace(ws.root)
    yield found
    found.kill()


def test_every_source_runs_again_at_once(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """By the Python face, and by the command line for all flows; also files that a step returned as its result."""
    workspace.start_engine()
    before = {run.run_id for run in until(lambda: ended(workspace, "polled", 2))}
    assert workspace.reset("polled") == 2
    again = {run.run_id for run in until(lambda: ended(workspace, "polled", 2))}
    until(lambda: workspace.explain("polled")[0]["reason"].startswith("already done"))
    assert command_line(["--workspace", str(workspace.root), "reset", "--all", "--yes"]) == 0
    third = {run.run_id for run in until(lambda: ended(workspace, "polled", 2))}

    assert "Forgot 2 runs" in capsys.readouterr().out
    assert (len(before), len(again), len(third)) == (2, 2, 2)
    assert len(before | again | third) == 6


def test_beside_a_run_of_the_flow_it_is_refused(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is forgotten; another flow can be reset, and this one when its run has ended."""
    workspace.run("polled")
    (run_id,) = workspace.run("manual", wait=False, params={"until": str(tmp_path / "end")})
    until(lambda: workspace.status()["active_runs"])
    for name in ("manual", None):
        with pytest.raises(FlowValidationError, match=r'flow "manual" is running') as caught:
            workspace.reset(name)
        assert "stop them" in (caught.value.fix or "")
    assert command_line(["--workspace", str(workspace.root), "reset", "manual", "--yes"]) == 2
    assert 'flow "manual" is running' in capsys.readouterr().err
    assert len(workspace.runs("polled")) == 2

    assert workspace.reset("polled") == 2
    (tmp_path / "end").touch()
    until(lambda: workspace.run_record(str(run_id)).status == "success" and workspace.status()["daemon"]["idle"])
    assert workspace.reset() == 1
    assert workspace.runs() == []


def test_a_held_failure_is_forgotten_too(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.notebook(
        "polled",
        FLOW.format(group="P", trigger='mode="poll", source="../in", interval="100ms", settle=0').replace(
            "until = context.params.get", "1 / 0\n        until = context.params.get"
        ),
    )
    workspace.start_engine()
    until(lambda: ended(workspace, "polled", 2))
    until(lambda: all("held" in one["reason"] for one in workspace.explain("polled") if one["source"]))
    before = {run.run_id for run in workspace.runs("polled")}
    workspace.reset("polled")

    again = {run.run_id for run in until(lambda: ended(workspace, "polled", 2))}
    assert not before & again


@pytest.mark.parametrize("has_daemon", [True, False], ids=["with a daemon", "without"])
def test_a_schedule_owes_nothing_for_the_time_before(
    workspace: Workspace, ws: WorkspaceFiles, has_daemon: bool
) -> None:
    """A slot was missed; after a reset the engine does not catch it up."""
    ws.notebook("hourly", FLOW.format(group="H", trigger='mode="schedule", cron="0 * * * *", tz="UTC"'))
    workspace.home.ledger().serve_slot("hourly", utc_text(0.0), "long ago")
    if has_daemon:
        workspace.start()
        until(lambda: not workspace.status()["engine"]["starting"])
    workspace.reset("hourly")
    workspace.start_engine()

    until(lambda: "next at" in workspace.explain("hourly")[0]["reason"])
    assert workspace.runs("hourly") == []

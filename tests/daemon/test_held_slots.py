"""A slot whose run takes its whole daemon along: tried twice, then held until a person tries it again."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psutil
import pytest

from data_engine import Workspace
from data_engine.model import utc_text
from tests.daemon.support import ended, flow_of
from tests.support import WorkspaceFiles, end_now, until

HOURLY = """
    from pathlib import Path
    import time
    from data_engine import Flow

    def work(context):
        while not Path("../harmless").exists():
            time.sleep(0.01)

    def build():
        return Flow(group="H").watch(mode="schedule", cron="0 * * * *", tz="UTC").step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.notebook("hourly", HOURLY)
    found = Workspace(ws.root)
    found.home.ledger().serve_slot("hourly", utc_text(0.0), "long ago")
    yield found
    found.kill()


def test_a_slot_that_kills_its_daemon_twice_is_held_until_a_person_frees_it(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    workspace.start_engine()
    for deaths in (1, 2):
        until(lambda: workspace.status()["active_runs"])
        pid = workspace.status()["daemon"]["pid"]
        end_now(pid)
        workspace.start()
        until(lambda deaths=deaths: len(workspace.runs("hourly")) == deaths + (deaths < 2))  # type: ignore[misc]
    rows = until(
        lambda: [one for one in workspace.explain("hourly") if "held" in one["reason"] and one["next_run_utc"]]
    )

    assert "abandoned twice: its process died" in rows[0]["reason"]
    assert flow_of(workspace, "hourly")["state"] == "failing"
    assert flow_of(workspace, "hourly")["reason"] == rows[0]["reason"]
    assert flow_of(workspace, "hourly")["next_run_utc"] == rows[0]["next_run_utc"]
    assert [run.status for run in workspace.runs("hourly")] == ["abandoned", "abandoned"]
    ws.source("harmless")
    assert workspace.retry("hourly") == 1
    until(lambda: len(ended(workspace, "hourly", 3)) == 3)
    until(lambda: "next at" in workspace.explain("hourly")[0]["reason"])
    assert workspace.runs("hourly")[0].status == "success"
    assert psutil.pid_exists(workspace.status()["daemon"]["pid"])


@pytest.mark.parametrize("how", ["stop_engine", "shutdown", "stop_engine and start it meanwhile"])
def test_a_slot_whose_run_ends_after_the_engine_was_stopped_is_served(
    workspace: Workspace, ws: WorkspaceFiles, how: str
) -> None:
    """Running work may finish, and what it does is not done again when the engine is on again, before its end or after."""
    workspace.start_engine()
    until(lambda: workspace.status()["active_runs"])

    if how == "stop_engine":
        workspace.stop_engine()
        ws.source("harmless")
        until(lambda: ended(workspace, "hourly", 1))
    elif how == "shutdown":
        threading.Timer(0.5, ws.source, ["harmless"]).start()
        workspace.shutdown()
    else:
        workspace.stop_engine()
    workspace.start_engine()
    ws.source("harmless")
    until(lambda: flow_of(workspace, "hourly")["next_run_utc"] and not workspace.status()["active_runs"])

    assert [run.status for run in workspace.runs("hourly")] == ["success"]

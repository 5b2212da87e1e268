"""A short `tests.soak.daemon_kills`: whatever is killed, every file is done once, and nothing stays behind."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from tests.daemon.worker_harness import is_running
from tests.soak.daemon_kills import Campaign
from tests.soak.staged_kills import StagedCampaign
from tests.support import WorkspaceFiles, until


def test_killed_workers_and_daemons_lose_no_file_and_leave_no_run_or_process(ws: WorkspaceFiles) -> None:
    """Every file is done by its ledger with its right output; runs that were hit say why; held ones run when freed."""
    report = Campaign(ws, kills=6, files=60, seed=5).run()

    assert report.kills["workers"] >= 2
    assert report.kills["daemons"] >= 2
    assert report.runs["success"] >= 60


def test_outputs_of_a_staged_mirror_are_whole_whatever_is_killed(ws: WorkspaceFiles) -> None:
    """A short `tests.soak.staged_kills`: somebody reads them all the time."""
    campaign = StagedCampaign(ws, kills=6, files=40, seed=7)

    campaign.run()

    assert campaign.looks > 100


SLOW_WORKER = """
import os, sys, time
told, argv = {told!r}, sys.orig_argv
if "data_engine.daemon.worker" in argv:
    if not os.path.exists(told + ".slow"):
        open(told + ".slow", "w").close()
        time.sleep(4)
elif "data_engine.daemon" in argv and not os.path.exists(told):
    from data_engine.daemon import worker_process
    child = worker_process.Child

    def started(*given, **named):
        made = child(*given, **named)
        with open(told, "w") as file:
            file.write(str(made.pid))
        os.kill(os.getpid(), 9)

    worker_process.Child = started
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a job object ends a worker with its daemon there")
def test_a_worker_that_had_not_begun_when_its_daemon_was_killed_is_gone_after_the_next_start(
    ws: WorkspaceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is slow: the daemon dies before it has noted the process, and that takes seconds to see it."""
    told = tmp_path / "told"
    (tmp_path / "sitecustomize.py").write_text(SLOW_WORKER.format(told=str(told)))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    workspace = Workspace(ws.root)
    try:
        with suppress(FlowValidationError):  # it is killed while it starts
            workspace.start()
        until(lambda: told.exists() and told.read_text() and not workspace.status().daemon.running)
        workspace.start()

        assert not is_running(int(told.read_text()))
    finally:
        workspace.kill()

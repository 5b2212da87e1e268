"""A short `tests.soak.daemon_kills`: whatever is killed, every file is done once, and nothing stays behind."""

from __future__ import annotations

from tests.soak.daemon_kills import Campaign
from tests.support import WorkspaceFiles


def test_killed_workers_and_daemons_lose_no_file_and_leave_no_run_or_process(ws: WorkspaceFiles) -> None:
    """Every file is done by its ledger with its right output; runs that were hit say why; held ones run when freed."""
    report = Campaign(ws, kills=6, files=60, seed=5).run()

    assert report.kills["workers"] >= 2
    assert report.kills["daemons"] >= 2
    assert report.runs["success"] >= 60

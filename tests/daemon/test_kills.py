"""A short `tests.soak.daemon_kills`: whatever is killed, every file is done once, and nothing stays behind."""

from __future__ import annotations

from tests.soak.daemon_kills import Campaign
from tests.soak.staged_kills import StagedCampaign
from tests.support import WorkspaceFiles


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

"""Some rounds in which a shared folder is damaged under daemons that are killed and frozen; see `chaos.py` for what must hold.

The campaign is `python -m tests.soak.share_chaos`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.chaos import Report, ViolationError, run_together


@pytest.mark.timeout(600)  # of a machine that does much else
def test_a_damaged_share_costs_nobody_what_was_done(tmp_path: Path) -> None:
    """Histories agree, nothing done is done again but what a repair said is lost, and no link is followed."""
    report = Report()
    for done in run_together(tmp_path, seeds=range(1, 2), rounds=4, at_a_time=1):
        if isinstance(done, ViolationError):
            raise done
        report.add(done)

    assert report.rounds == 4

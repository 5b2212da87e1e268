"""A short `tests.soak.crafted`: whatever a hostile writer puts on the share is taken in or refused, and the ledger goes on."""

from __future__ import annotations

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the bounds of the child are those of POSIX")


def test_a_hundred_crafted_segments_and_records_are_taken_in_or_refused() -> None:
    """No other error than the one for it, nothing half done, nothing that others would not believe again."""
    from tests.soak.crafted import campaign

    counts, broken = campaign(11, cases=100)

    assert broken == []
    assert sum(counts.values()) == 100
    assert min(counts[what] for what in ("taken in", "refused", "record believed", "record refused")) > 3

"""Whether another workstation was ever seen at a workspace."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from data_engine.lease.status import LeaseStatus, Machine
from data_engine.ledger.ledger import Ledger
from data_engine.status.build import OthersSeen

MINE = LeaseStatus("mine", Machine("me", "MY-PC"), is_mine=True)


def test_another_workstation_is_remembered_once_it_was_seen(tmp_path: Path) -> None:
    """Alone there is none; an owner that is another one, or one that asks, is remembered by whoever looks later."""
    with closing(Ledger.open(tmp_path / "ledger.sqlite")) as ledger:
        alone = OthersSeen(ledger, "me").complete(MINE)
        OthersSeen(ledger, "me").complete(LeaseStatus("owned", Machine("other", "ANNA-PC")))
        later = OthersSeen(ledger, "me").complete(MINE)

    assert (alone.is_shared, alone.is_worth_words) == (False, False)
    assert (later.is_shared, later.is_worth_words) == (True, True)

"""Whether another workstation has ever been seen at a workspace: who works alone is told nothing of ownership."""

from __future__ import annotations

from dataclasses import replace

from data_engine.lease.status import LeaseStatus
from data_engine.ledger.ledger import Ledger

_SEEN = "another workstation was seen"


class OthersSeen:
    """What of other workstations is known at this machine; it is kept in the ledger, and asked there once.

    `machine_id` is this machine's.
    """

    def __init__(self, ledger: Ledger, machine_id: str) -> None:
        self._ledger, self._machine_id = ledger, machine_id
        self._known: bool | None = None

    def told(self, lease: LeaseStatus) -> LeaseStatus:
        """The lease with whether another workstation was ever seen.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        if self._known is None:
            self._known = self._ledger.setting(_SEEN) is not None or self._ledger.has_rows_of_others()
        who = [one["machine_id"] for one in (lease.owner, lease.requested_by) if one is not None]
        if not self._known and (lease.lost_to or any(machine != self._machine_id for machine in who)):
            self._known = True
            self._ledger.set_setting(_SEEN, "yes")
        return replace(lease, is_shared=self._known)

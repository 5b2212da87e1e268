"""Old history is removed once an hour, while this machine's clock is believed."""

from __future__ import annotations

import time

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.ledger.belief import Believed, Verdict

_EVERY_S = 3600.0


class Pruner:
    """Removes what is older than `[history] retention_days`."""

    def __init__(self, home: LocalWorkspace) -> None:
        self._home = home
        self._pruned_s = 0.0

    def look(self, clock: Verdict | None) -> None:
        """Remove it when an hour has passed; `clock` is what was found of this machine's.

        Raises:
            LedgerError: the history cannot be written.
        """
        is_due = time.monotonic() - self._pruned_s > _EVERY_S or not self._pruned_s
        if is_due and isinstance(clock, Believed):
            self._pruned_s = time.monotonic()
            self._home.ledger().prune(retention_days=self._home.settings().history.retention_days, at=clock)

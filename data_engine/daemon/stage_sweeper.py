"""What runs that were killed have left in stages is finished or removed: when the engine starts, and every hour."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress

from data_engine.engine.stage import tidy
from data_engine.errors import LedgerError
from data_engine.flow.flow import Flow
from data_engine.ledger.ledger import Ledger

log = logging.getLogger(__name__)

_EVERY_S = 3600.0


class StageSweeper:
    """Sweeps the stages of a workspace's flows; `machine` is this machine's identity."""

    def __init__(self, ledger: Ledger, machine: str) -> None:
        self._ledger, self._machine = ledger, machine
        self._swept_s = float("-inf")
        self._was_owner = False

    def sweep_when_due(self, flows: Iterable[Flow | None], *, is_owner: bool) -> None:
        """Sweep beside every staged mirror, if an hour has passed or the workspace has become ours. Takes a drive's time."""
        is_due = time.monotonic() - self._swept_s > _EVERY_S or (is_owner and not self._was_owner)
        self._was_owner = is_owner
        if not is_due:
            return
        self._swept_s = time.monotonic()
        with suppress(LedgerError):
            under_way = {run.run_id for run in self._ledger.running()}
            roots = {
                flow.mirror_spec.root
                for flow in flows
                if flow is not None and flow.mirror_spec is not None and flow.mirror_spec.staged
            }
            for root in roots:
                count = tidy(
                    root,
                    machine=self._machine,
                    is_under_way=under_way.__contains__,
                    is_owner=is_owner,
                    now_s=time.time(),
                )
                if count:
                    log.info("%d stages beside %s, of runs that are over, are finished or removed", count, root)

"""What runs that were killed have left in stages is finished or removed: when the engine starts, and every hour."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from data_engine.engine.left_stages import tidy
from data_engine.errors import LedgerError
from data_engine.flow.flow import Flow
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.publications import runs_of_stages

log = logging.getLogger(__name__)

_EVERY_S = 3600.0


class StageSweeper:
    """Sweeps the stages of a workspace's flows; `machine` is this machine's identity."""

    def __init__(self, ledger: Ledger, machine: str) -> None:
        self._ledger, self._machine = ledger, machine
        self._swept_s = float("-inf")
        self._was_owner = False

    def is_due(self, *, is_owner: bool) -> bool:
        """Whether an hour has passed, or the workspace has become ours; asked at each beat."""
        has_become_ours, self._was_owner = is_owner and not self._was_owner, is_owner
        return has_become_ours or time.monotonic() - self._swept_s > _EVERY_S

    def sweep(self, flows: Iterable[Flow | None], *, is_owner: bool) -> None:
        """Sweep beside every staged mirror. Takes a drive's time."""
        self._swept_s = time.monotonic()
        with suppress(LedgerError):
            self._ledger.flush()
            runs = partial(runs_of_stages, self._ledger.path)
            roots = {flow.mirror_spec.root for flow in flows if flow and flow.is_staged and flow.mirror_spec}
            for root in roots:
                count = tidy(root, machine=self._machine, runs=runs, is_owner=is_owner, now_s=time.time())
                if count:
                    log.info("%d stages beside %s, of runs that are over, are finished or removed", count, root)

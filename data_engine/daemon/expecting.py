"""How the flows of a daemon stand to what is expected of them: judged when a run ends, a time comes or others have written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import datetime

from data_engine.alerting.expectations import Judgement
from data_engine.alerting.looking import look
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.flow.flow import Flow
from data_engine.scheduler.under_way import Active


class Expecting:
    """Judges flows and keeps it until it may be another. On the daemon's loop; `active` are the runs under way that count."""

    def __init__(
        self,
        home: LocalWorkspace,
        active: Callable[[], Iterable[Active]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._ledger, self._active, self._clock = home, home.ledger(), active, clock
        self._judged: dict[str, tuple[Flow, str | None, Judgement]] = {}
        self._version: tuple[int, int] | None = None

    def of(self, flow: Flow | None) -> Judgement:
        """How the flow stands.

        Raises:
            LedgerError: the history cannot be read.
        """
        if flow is None or not flow.expectations or flow.name is None:
            return Judgement()
        now_s, timezone = self._clock(), self._home.settings().timezone
        known = self._judged.get(flow.name)
        if known is not None and known[:2] == (flow, timezone) and not _is_over(known[2], now_s):
            return known[2]
        runs = {run.run_id: run.started_at_s for run in self._active() if run.flow == flow.name}
        found = look(self._ledger, flow, timezone=timezone, active=runs, now_s=now_s)
        self._judged[flow.name] = flow, timezone, found
        return found

    def forget(self, flow: str) -> None:
        """A run of the flow has begun or ended."""
        self._judged.pop(flow, None)

    def have_others_written(self, *, is_owner: bool) -> bool:
        """Whether the history is another than when this was last asked; all is judged anew then.

        Of an owner what it writes itself does not count: it has heard of that.

        Raises:
            LedgerError: the history cannot be read.
        """
        version = (self._ledger.data_version(), 0) if is_owner else self._ledger.version()
        if version == self._version:
            return False
        self._version = version
        self._judged.clear()
        return True


def _is_over(found: Judgement, now_s: float) -> bool:
    """Whether a time has come that it changes at; or the clock was set back over it."""
    if found.next_s is not None and now_s >= found.next_s:
        return True
    return found.late is not None and now_s < datetime.fromisoformat(found.late.since_utc).timestamp()

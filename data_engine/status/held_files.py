"""The files that are held, judged from the history and a look at each of them: for whoever does not look through their
folders.

A poller knows those of its own folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from data_engine.engine.candidates import signature_of
from data_engine.flow.trigger import Poll
from data_engine.ledger.checks import is_inside
from data_engine.ledger.ledger import Ledger
from data_engine.model import SourceKey, SourceState
from data_engine.reasons.kinds import Held
from data_engine.scheduler.plan import Candidate, PlannedFlow, Rules, judge, why_no_candidate

_MOST_LOOKS = 1000


class HeldFiles:
    """Tells what is held; the history is read again only when somebody has written there."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._version: tuple[int, int] | None = None
        self._bad: Sequence[SourceState] = ()

    def of(self, watches: Iterable[PlannedFlow]) -> dict[str, set[SourceKey]]:
        """The files of each poll flow that are there, and held as the history has it; flows without one are left out.

        Of a great many the first thousand are looked at; the others are taken to be there.

        Raises:
            LedgerError: the history cannot be read.
        """
        polled = {watch.flow: watch for watch in watches if isinstance(watch.trigger, Poll)}
        if not polled:
            return {}
        version = self._ledger.version()
        if version != self._version:
            self._bad, self._version = self._ledger.not_good(), version
        found: dict[str, set[SourceKey]] = {}
        for number, state in enumerate(state for state in self._bad if state.flow in polled):
            if _is_held(polled[state.flow], state, is_looked_at=number < _MOST_LOOKS):
                found.setdefault(state.flow, set()).add(state.key)
        return found


def _is_held(watch: PlannedFlow, state: SourceState, *, is_looked_at: bool) -> bool:
    trigger, path = watch.trigger, state.key.path
    assert trigger.source is not None
    if state.key != watch.key(path) or not is_inside(path) or (path and why_no_candidate(watch, path) is not None):
        return False
    signature = signature_of(trigger.source / path) if is_looked_at else state.last
    if signature is None:
        return False
    seen = Candidate(state.key, signature, 0.0, 0.0)
    # What else rules decide, such as comparing contents, comes after a file that differs.
    return isinstance(judge(seen, state, Rules(), settle_s=0.0, now_s=0.0).why, Held)

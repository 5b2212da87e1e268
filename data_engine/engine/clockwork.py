"""Watching one scheduled flow: which of its slots or ticks is due, and which a run has served.

Slots that were served are kept in the ledger and travel with the workspace. The moment a schedule was first seen is kept
beside them as if it were one, so that a new or a changed schedule owes nothing for the past.
"""

from __future__ import annotations

from datetime import datetime

from data_engine.engine.plan import Due, NotDue, Watch, plan_interval, plan_slots
from data_engine.engine.reasons import NotYet, Slot, Tick
from data_engine.engine.slots import zone_of
from data_engine.flow.trigger import Schedule
from data_engine.ledger.ledger import Ledger
from data_engine.model import utc_text
from data_engine.workspace.settings import WorkspaceSettings

_RECENT_S = 40 * 86400.0


class Clockwork:
    """What of a schedule is due. Without a ledger what was served is known until the process ends.

    `now_s` is wall time; `local_s` is a clock that only goes forward, and when the first look is made on it the intervals
    begin.
    """

    def __init__(
        self, watch: Watch, *, settings: WorkspaceSettings, ledger: Ledger | None, now_s: float, local_s: float
    ) -> None:
        trigger = watch.trigger
        assert isinstance(trigger, Schedule)
        self.watch = watch
        self._trigger = trigger
        self._ledger = ledger
        self._zone = zone_of(trigger.tz or settings.timezone)
        self._retention_s = settings.history.retention_days * 86400.0
        self._started_s = local_s
        self._ticks_done = 0
        self._next_s: float | None = None
        self._asked_s = now_s
        self._served_until_s = now_s
        self.refresh(now_s=now_s)

    def look(self, *, now_s: float, local_s: float, on_since_s: float) -> Due | NotDue:
        """The slot or tick that is due now, or when the next one is."""
        if self._trigger.interval_seconds is not None:
            return plan_interval(
                self._trigger, started_s=self._started_s, ticks_done=self._ticks_done, local_s=local_s, now_s=now_s
            )
        if self._next_s is not None and self._asked_s <= now_s < self._next_s:
            return NotDue(None, NotYet(utc_text(self._next_s)))
        verdict = plan_slots(
            self._trigger,
            zone=self._zone,
            served_until_s=self._served_until_s,
            on_since_s=on_since_s,
            now_s=now_s,
            retention_s=self._retention_s,
        )
        self._next_s = None
        if isinstance(verdict.why, NotYet) and verdict.why.next_utc is not None:
            self._next_s = _seconds(verdict.why.next_utc)
        self._asked_s = now_s
        return verdict

    def refresh(self, *, now_s: float) -> None:
        """See which slots others have served.

        Raises:
            LedgerError: it cannot be read.
        """
        if self._trigger.interval_seconds is None and self._ledger is not None:
            self._served_until_s = served_until(self._ledger, self.watch, now_s=now_s)
            self._next_s = None

    def begin(self, due: Due) -> None:
        """A tick's runs begin: the next interval counts from its place."""
        if isinstance(due.why, Tick):
            self._ticks_done = due.why.number

    def serve(self, due: Due, run_id: str) -> None:
        """The slot's runs have ended, the last of them `run_id` ("" when there was nothing to run).

        Raises:
            LedgerError: it cannot be kept.
        """
        if isinstance(due.why, Slot):
            self._served_until_s = _seconds(due.why.slot_utc)
            self._next_s = None
            if self._ledger is not None:
                self._ledger.serve_slot(self.watch.flow, due.why.slot_utc, run_id)


def served_until(ledger: Ledger, watch: Watch, *, now_s: float) -> float:
    """Until when the flow's slots are served: its newest served slot, or the moment its schedule was first seen.

    Raises:
        LedgerError: it cannot be read or kept.
    """
    trigger = watch.trigger
    assert isinstance(trigger, Schedule)
    setting = f"schedule of {watch.flow}"
    known, schedule = ledger.setting(setting), f"{' | '.join(trigger.cron_lines)} @ {trigger.tz or ''}"
    now_utc = utc_text(now_s)
    served = ledger.served_slots(watch.flow, since_utc=utc_text(now_s - _RECENT_S)) or ledger.served_slots(watch.flow)
    # Without a known schedule, slots that are there came from another workstation: they stand for this schedule.
    if (known is None and not served) or (known is not None and known != schedule):
        ledger.serve_slot(watch.flow, now_utc, "")
        served.add(now_utc)
    if known != schedule:
        ledger.set_setting(setting, schedule)
    # What a wrong clock served in the future does not count before its time.
    return max((_seconds(slot) for slot in served if slot <= now_utc), default=now_s)


def _seconds(utc: str) -> float:
    return datetime.fromisoformat(utc).timestamp()

"""The clock of one scheduled flow: which of its slots or ticks is due, and which a run has served.

A slot is a time of a calendar schedule, a tick one of an interval. A slot is served when a run for it has ended; served slots are
kept in the ledger, which every owner of the workspace has. The moment at which a schedule was first seen is kept as a served slot,
too: a new or changed schedule runs for no slot before it. Where two runs for a slot died with their process, the slot is held: it is
not tried again by itself, and the schedule goes on with the next one.
"""

from __future__ import annotations

import math
from collections import deque
from datetime import datetime
from functools import partial

from data_engine.flow.trigger import Schedule
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outputs import writers_of_gone
from data_engine.model import Run, future_utc, utc_text
from data_engine.planning import due as due_now
from data_engine.planning.due import Due, NotDue, PlannedFlow, plan_interval, plan_slots
from data_engine.planning.slots import Slots, slots_of
from data_engine.reasons.kinds import FeedShrunk, HeldSlot, NotYet, Slot, Tick
from data_engine.reasons.remedies import Reason
from data_engine.scheduler.feed_hold import FeedHold, FeedWaits
from data_engine.workspace.settings import WorkspaceSettings

_RECENT_S = 40 * 86400.0
_MOST_DEATHS = 2
_DEATHS_LOOKED_AT = 50


class ScheduleClock:
    """Finds the due slots of a schedule. Without a ledger the served ones are known until the process ends.

    `now_s` is wall time, in seconds since 1970; `local_s` is a monotonic clock, by which ticks are counted from the moment this object
    is made. With `frees_held` (a person started the engine) held slots are tried again. `held` is the slot that is held, as long as
    no later one has been served; `owed` the slot or tick that is due or under way. `waits` are those for flows that feed others.
    """

    def __init__(
        self,
        planned: PlannedFlow,
        *,
        settings: WorkspaceSettings,
        ledger: Ledger | None,
        now_s: float,
        local_s: float,
        frees_held: bool = False,
        waits: FeedWaits | None = None,
    ) -> None:
        trigger = planned.trigger
        assert isinstance(trigger, Schedule)
        self.planned = planned
        self._trigger = trigger
        self._ledger = ledger
        self._timezone = settings.timezone
        self._retention_s = settings.history.retention_days * 86400.0
        self._started_s = local_s
        self._ticks_done = 0
        self._next_s: float | None = None
        self._last: tuple[Slots, NotDue] | None = None
        self._asked_s = self._seen_s = now_s
        self._served_until_s = now_s
        self.held: HeldSlot | None = None
        self._hold = FeedHold(planned, waits)
        self.owed: str | int | None = None
        self._freed: deque[str] = deque()
        self._is_freeing = frees_held
        self.refresh(now_s=now_s)

    def check(self, *, now_s: float, local_s: float, on_since_s: float) -> Due | NotDue:
        """The slot or tick that is due now, or when the next one is; a batch waits for flows that feed it, and one with far fewer
        sources than before is held."""
        verdict = self._check(now_s=now_s, local_s=local_s, on_since_s=on_since_s)
        self.owed = verdict.why.slot_utc if isinstance(verdict.why, Slot) else None
        if isinstance(verdict.why, Tick):
            self.owed = verdict.why.number
        why: Reason | None = None
        if isinstance(verdict, Due):
            why = self._hold.upstream(math.inf) or self._why_held(local_s, now_s)
        else:
            self._hold.end_wait(is_begun=False)
        self._hold.why = None
        if isinstance(why, FeedShrunk):
            self._hold.why, self.owed = why, None
        return verdict if why is None else NotDue(None, why)

    def _why_held(self, local_s: float, now_s: float) -> FeedShrunk | None:
        ledger, root = self._ledger, self.planned.key("").root
        if ledger is None or not self._hold.intakes:
            return None
        return self._hold.judge(
            ledger.feeds(self.planned.flow).get(root),
            partial(writers_of_gone, ledger),
            local_s=local_s,
            now_s=now_s,
        )

    @property
    def feed_shrunk(self) -> FeedShrunk | None:
        """The reason that holds the batch, whose files are gone; None where there is none."""
        return self._hold.why

    def accept(self) -> FeedShrunk | None:
        """Let the slot run with the sources that are there; the reason that held it, None where there was none. From any thread."""
        held = self._hold.why
        self._hold.is_accepted |= held is not None
        return held

    def _check(self, *, now_s: float, local_s: float, on_since_s: float) -> Due | NotDue:
        self._seen_s = now_s
        if self._trigger.interval_seconds is not None:
            return plan_interval(
                self._trigger, started_s=self._started_s, ticks_done=self._ticks_done, local_s=local_s, now_s=now_s
            )
        if self._is_freeing:
            self._is_freeing = False
            self._freed = deque(slot for slot, _ in self._held_slots())
        if self._freed:
            return Due(None, Slot(self._freed[0], is_freed=True))
        slots = slots_of(self._trigger, self._timezone)
        if self._last is not None and self._last[0] == slots and self._asked_s <= now_s < (self._next_s or 0.0):
            return self._last[1]
        if now_s < self._asked_s:  # the clock was set back
            self.refresh(now_s=now_s)
        verdict = self._plan(slots, now_s, on_since_s)
        while (
            isinstance(verdict.why, Slot)
            and self._ledger is not None
            and verdict.why.slot_utc in self._ledger.served_slots(self.planned.flow, since_utc=verdict.why.slot_utc)
        ):  # a clock that was set back comes to it a second time
            self._served_until_s = _seconds(verdict.why.slot_utc)
            verdict = self._plan(slots, now_s, on_since_s)
        self._next_s = None
        if isinstance(verdict.why, NotYet) and verdict.why.next_utc is not None:
            self._next_s = _seconds(verdict.why.next_utc)
            self._last = slots, verdict
        self._asked_s = now_s
        return verdict

    def _plan(self, slots: Slots, now_s: float, on_since_s: float) -> Due | NotDue:
        return plan_slots(
            self._trigger,
            slots,
            served_until_s=self._served_until_s,
            on_since_s=on_since_s,
            now_s=now_s,
            retention_s=self._retention_s,
        )

    def free(self) -> int:
        """Free the held slots, each to be tried once; how many. From any thread; it takes effect at the next look.

        Raises:
            LedgerError: the history cannot be read.
        """
        count = len(self._held_slots())
        self._is_freeing = True
        return count

    def refresh(self, *, now_s: float) -> None:
        """See which slots others have served, and hold one whose runs died.

        Raises:
            LedgerError: it cannot be read, or the hold cannot be kept.
        """
        self._seen_s = now_s
        if self._trigger.interval_seconds is None and self._ledger is not None:
            hold_abandoned_slot(self._ledger, self.planned.flow, now_s=now_s)
            self._served_until_s = _first_seen(self._ledger, self.planned, now_s=now_s)
            self._next_s = None
            self._note_held()

    def begin(self, due: Due, *, now_s: float) -> None:
        """Note that runs begin: the next interval counts from their tick, and their deaths count for their slot.

        Raises:
            LedgerError: it cannot be kept.
        """
        self._hold.end_wait(is_begun=True)
        if isinstance(due.why, Tick):
            self._ticks_done = due.why.number
        elif isinstance(due.why, Slot) and not due.why.is_freed and self._ledger is not None:
            setting = _under_way(self.planned.flow)
            if (self._ledger.setting(setting) or "").partition(" ")[0] != due.why.slot_utc:
                self._ledger.set_setting(setting, f"{due.why.slot_utc} {utc_text(now_s)}")

    def serve(self, due: Due, run_id: str) -> None:
        """Record that the slot's runs have ended, the last of them `run_id` ("" when there was nothing to run).

        Raises:
            LedgerError: it cannot be kept.
        """
        self._hold.is_accepted = False
        if isinstance(due.why, Slot):
            self._served_until_s = max(self._served_until_s, _seconds(due.why.slot_utc))
            self._next_s = None
            if self._ledger is not None:
                self._ledger.serve_slot(self.planned.flow, due.why.slot_utc, run_id)
                self._note_held()
            if self._freed and self._freed[0] == due.why.slot_utc:
                self._freed.popleft()

    def _held_slots(self) -> list[tuple[str, Run]]:
        """The slots that a person can free: with `catch_up="all"` all that are held, else one that no later one has replaced."""
        if self._trigger.interval_seconds is not None or self._ledger is None:
            return []
        future = future_utc(self._seen_s)
        held = [(slot, run) for slot, run in self._ledger.abandoned_slots(self.planned.flow) if slot <= future]
        is_owed = self._trigger.catch_up == "all"
        return [(slot, run) for slot, run in held if is_owed or _seconds(slot) >= self._served_until_s]

    def _note_held(self) -> None:
        held = self._held_slots()
        self.held = None
        if held:
            slot, run = held[-1]
            self.held = HeldSlot(slot, run.finished_at_utc, run.cause)


def hold_abandoned_slot(ledger: Ledger, flow: str, *, now_s: float) -> None:
    """Let the flow's slot under way count as served by its last run, when its runs died with their process twice.

    Runs that died together count once, runs from the future not at all. Whoever calls has recovered the ledger.

    Raises:
        LedgerError: it cannot be read or kept.
    """
    slot, _, begun_utc = (ledger.setting(_under_way(flow)) or "").partition(" ")
    if not slot or slot in ledger.served_slots(flow, since_utc=slot):
        return
    abandoned = ledger.runs(flow, _DEATHS_LOOKED_AT, status="abandoned")
    lost = [run for run in abandoned if begun_utc <= run.started_at_utc <= future_utc(now_s)]
    if len({run.finished_at_utc for run in lost}) >= _MOST_DEATHS:
        ledger.serve_slot(flow, slot, lost[0].run_id)


def owed_slots(ledger: Ledger, planned: PlannedFlow, *, settings: WorkspaceSettings, now_s: float) -> list[str]:
    """The slots that a schedule runs at once when its engine starts, or when it is deployed or enabled, in their order.

    Raises:
        LedgerError: the history cannot be read.
    """
    trigger, until_s = planned.trigger, served_until(ledger, planned, now_s=now_s)
    assert isinstance(trigger, Schedule)
    if trigger.interval_seconds is not None or trigger.catch_up == "none" or until_s is None:
        return []
    owed = due_now.owed_slots(
        trigger,
        slots_of(trigger, settings.timezone),
        after_s=until_s,
        now_s=now_s,
        retention_s=settings.history.retention_days * 86400.0,
    )
    served = ledger.served_slots(planned.flow, since_utc=utc_text(until_s))
    return [slot for slot in map(utc_text, owed) if slot not in served]


def served_until(ledger: Ledger, planned: PlannedFlow, *, now_s: float) -> float | None:
    """Until when the flow's slots are served: its newest slot that its schedule has served, or the moment that was first seen. A
    backfill serves single slots. None where this schedule was never seen: it owes nothing for the past.

    Raises:
        LedgerError: the history cannot be read.
    """
    now_utc = utc_text(now_s)
    # What a wrong clock served in the future does not count before its time.
    for since_utc in (utc_text(now_s - _RECENT_S), ""):
        served = ledger.served_slots(planned.flow, since_utc=since_utc, by_schedule=True)
        if served := {slot for slot in served if slot <= now_utc}:
            break
    # Without a known schedule, slots that are there came from another workstation: they stand for this schedule.
    is_same = ledger.setting(_schedule_setting(planned.flow)) in (None, _schedule_text(planned))
    return max(map(_seconds, served)) if served and is_same else None


def _first_seen(ledger: Ledger, planned: PlannedFlow, *, now_s: float) -> float:
    """Until when the flow's slots are served; a schedule that was never seen is known from now on.

    Raises:
        LedgerError: it cannot be read or kept.
    """
    until_s = served_until(ledger, planned, now_s=now_s)
    if until_s is None:
        ledger.serve_slot(planned.flow, utc_text(now_s), "")
    setting, schedule = _schedule_setting(planned.flow), _schedule_text(planned)
    if ledger.setting(setting) != schedule:
        ledger.set_setting(setting, schedule)
    return now_s if until_s is None else until_s


def _schedule_setting(flow: str) -> str:
    """The setting that keeps the flow's schedule as it was seen last."""
    return f"schedule of {flow}"


def _schedule_text(planned: PlannedFlow) -> str:
    trigger = planned.trigger
    assert isinstance(trigger, Schedule)
    return f"{' | '.join(trigger.cron_lines)} @ {trigger.tz or ''}"


def _seconds(utc: str) -> float:
    return datetime.fromisoformat(utc).timestamp()


def _under_way(flow: str) -> str:
    """The setting that keeps the slot of the flow that was begun last, and when its first run was about to begin."""
    return f"slot under way of {flow}"

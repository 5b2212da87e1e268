"""Judge a flow by its expectations: when the next success is due, since when one is late, which runs take too long.

`judge` decides from plain values: the flow's past and the time are arguments; `look` reads them from the history. Times of day
are slots, so days on which the clock changes are treated as in a schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from data_engine.engine.params import is_as_scheduled
from data_engine.flow.expectation import Expectation
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Schedule, Trigger
from data_engine.ledger.freshness import Fresh, began_at, deployed_since, fresh_of
from data_engine.ledger.ledger import Ledger
from data_engine.model import utc_text
from data_engine.planning.slots import Slots, slots_of, zone_of
from data_engine.reasons.kinds import Expected, Late, Overlong
from data_engine.record import frozen

GRACE_S = 300.0
"""How late a slot may begin, where `Flow.expect` does not say."""

WAIT_GRACE_S = 3600.0
"""How long a batch may wait for flows that feed it, where `Flow.expect` does not say."""

LONGEST_LOOK_BACK_S = 40 * 86_400.0
"""Nothing counts as late for longer."""

_DAY_S = 86_400.0
_LONGEST_DAY_S = _DAY_S + 4 * 3600.0
"""The clock may be set back on it."""
_MOST_STEPS = 3000


@frozen
class ExpectationState:
    """How a flow meets its expectations; without events that changes at `next_s` at the earliest (None: never)."""

    late: Late | None = None
    overlong: tuple[Overlong, ...] = ()
    due: Expected | None = None
    next_s: float | None = None

    @property
    def fact(self) -> Late | Overlong | Expected | None:
        """The worst of it, to show to people."""
        return self.late or next(iter(self.overlong), None) or self.due


def judge(
    expectations: Sequence[Expectation],
    trigger: Trigger | None,
    *,
    timezone: str | None,
    fresh: Fresh,
    known_since_s: float,
    active: Mapping[str, float],
    now_s: float,
) -> ExpectationState:
    """Judge the flow at `now_s`.

    `timezone` is the workspace's. Nothing is owed from before `known_since_s`, when the flow came into production.
    `active` are its runs under way, by id, with the time when each began.

    Example:
        >>> from data_engine.flow.flow import Flow
        >>> flow = Flow("Claims").expect(by="07:00", tz="Europe/Berlin")
        >>> at_s = datetime.fromisoformat("2026-01-05T08:00:00+01:00").timestamp()
        >>> judgement = judge(flow.expectations, None, timezone=None, fresh=Fresh(), known_since_s=at_s - 7200, active={}, now_s=at_s)
        >>> judgement.late.since_utc
        '2026-01-05T06:00:00.000000+00:00'
    """
    at: list[tuple[float, str | None]] = []
    for rule in expectations:
        deadlines = (_by(rule, trigger, timezone, fresh, known_since_s, now_s), _every(rule, fresh, known_since_s))
        at += [(at_s, rule.tz or timezone) for at_s in deadlines if at_s is not None]
    overlong, looks = _overlong(expectations, active, timezone, now_s)
    late = min((pair for pair in at if pair[0] <= now_s), default=None, key=lambda pair: pair[0])
    due = min((pair for pair in at if pair[0] > now_s), default=None, key=lambda pair: pair[0])
    return ExpectationState(
        None if late is None else Late(utc_text(late[0]), late[1]),
        overlong,
        None if due is None else Expected(utc_text(due[0]), due[1]),
        min([*looks, *([] if due is None else [due[0]])], default=None),
    )


def grace_of(expectations: Iterable[Expectation], default_s: float = GRACE_S) -> float:
    """How late a slot of the flow may begin, in seconds, or how long it may wait for flows that feed it."""
    return next((rule.grace_s for rule in expectations if rule.grace_s is not None), default_s)


def slot_to_check(
    trigger: Schedule, *, timezone: str | None, grace_s: float, after_s: float, now_s: float
) -> tuple[float | None, float | None]:
    """The newest slot after `after_s` that should have begun by now, and when the next one should.

    Example:
        >>> trigger = Schedule(times=("06:00",), time_slots=((6, 0),), tz="UTC")
        >>> six_s = datetime.fromisoformat("2026-01-05T06:00:00+00:00").timestamp()
        >>> slots = [slot_to_check(trigger, timezone=None, grace_s=300, after_s=six_s - 60, now_s=six_s + s)[0] for s in (299, 300)]
        >>> slots == [None, six_s]
        True
    """
    slots = slots_of(trigger, timezone)
    slot_s = slots.newest(max(after_s, now_s - grace_s - _DAY_S), now_s - grace_s)
    coming_s = slots.next(max(after_s, now_s - grace_s))
    return slot_s, None if coming_s is None else coming_s + grace_s


def owed_since(deadline_s: float, deadlines: Slots, slots: Slots | None) -> float:
    """The time from which a success counts for a deadline of `deadlines`: midnight, or the earlier deadline of that day.

    Where the flow has no slot in between, its newest slot before counts: a run at 23:50 is for a deadline at 00:30.
    """
    deadline = datetime.fromtimestamp(deadline_s, deadlines.zone)
    midnight_s = deadline.replace(hour=0, minute=0, second=0, microsecond=0, fold=0).timestamp()
    before_s = deadlines.newest(midnight_s, deadline_s - 1)
    since_s = min(midnight_s if before_s is None else before_s, deadline_s)
    if slots is None:
        return since_s
    first_s = slots.next(since_s - 1)
    if first_s is not None and first_s < deadline_s:
        return since_s
    newest_s = slots.newest(deadline_s - _DAY_S, deadline_s - 1)
    return since_s if newest_s is None else newest_s


def _by(
    rule: Expectation, trigger: Trigger | None, timezone: str | None, fresh: Fresh, known_since_s: float, now_s: float
) -> float | None:
    """The first deadline without a success; late when it is past."""
    if not rule.by:
        return None
    days = ",".join(str((day + 1) % 7) for day in rule.days) or "*"  # cron counts from Sunday
    lines = tuple(f"{minute} {hour} * * {days}" for hour, minute in rule.times)
    deadlines = Slots(lines, zone_of(rule.tz or timezone))
    slots = None
    if isinstance(trigger, Schedule) and trigger.cron_lines:
        slots = slots_of(trigger, timezone)
    done_s = float("-inf") if fresh.for_s is None else fresh.for_s
    deadline_s = max(known_since_s, done_s, now_s - LONGEST_LOOK_BACK_S)
    for _ in range(_MOST_STEPS):
        next_s = deadlines.next(deadline_s)
        if next_s is None or next_s - _LONGEST_DAY_S > done_s or owed_since(next_s, deadlines, slots) > done_s:
            return next_s
        deadline_s = next_s
    return None


def _every(rule: Expectation, fresh: Fresh, known_since_s: float) -> float | None:
    if rule.every_s is None:
        return None
    return (known_since_s if fresh.ended_s is None else fresh.ended_s) + rule.every_s


def _overlong(
    expectations: Sequence[Expectation], active: Mapping[str, float], timezone: str | None, now_s: float
) -> tuple[tuple[Overlong, ...], list[float]]:
    """The runs that take too long, the longest first, and when others will."""
    within_s = min((rule.within_s for rule in expectations if rule.within_s is not None), default=None)
    if within_s is None:
        return (), []
    ends = sorted((began_s + within_s, run_id) for run_id, began_s in active.items())
    over = [(end_s - within_s, run_id) for end_s, run_id in ends if end_s <= now_s]
    runs = tuple(Overlong(utc_text(began_s), within_s, run_id, timezone) for began_s, run_id in over)
    return runs, [end_s for end_s, _ in ends if end_s > now_s]


# -- from the history --------------------------------------------------------------------------------------------------------


def counts_of(flow: Flow) -> Callable[[Mapping[str, Any]], bool]:
    """A test whether a run with these params counts for expectations: they are those of a run that comes by itself."""
    return lambda params: is_as_scheduled(flow, params)


def freshness(ledger: Ledger, flow: Flow) -> Fresh:
    """The flow's newest successes.

    Raises:
        LedgerError: the history cannot be read.
    """
    every_s = next((rule.every_s for rule in flow.expectations if rule.every_s is not None), None)
    return fresh_of(ledger, flow.name or "", counts=counts_of(flow), every_s=every_s)


def look(
    ledger: Ledger, flow: Flow, *, timezone: str | None, active: Mapping[str, float], now_s: float
) -> ExpectationState:
    """Judge the flow from its history; one that is not in production owes nothing yet.

    Raises:
        LedgerError: the history cannot be read.
    """
    if not flow.expectations:
        return ExpectationState()
    since_s = deployed_since(ledger, flow.name or "")
    return judge(
        flow.expectations,
        flow.trigger,
        timezone=timezone,
        fresh=freshness(ledger, flow),
        known_since_s=now_s if since_s is None else since_s,
        active=active,
        now_s=now_s,
    )


def late_slot(
    ledger: Ledger, flow: Flow, *, timezone: str | None, after_s: float, now_s: float
) -> tuple[float | None, str | None, float | None]:
    """The newest slot after `after_s` that did not begin in time and has no success, the begin of its late run (None: it has
    none), and when to check the next slot.

    Raises:
        LedgerError: the history cannot be read.
    """
    trigger = flow.trigger
    if not isinstance(trigger, Schedule) or not trigger.cron_lines:
        return None, None, None
    grace_s = grace_of(flow.expectations)
    slot_s, next_s = slot_to_check(trigger, timezone=timezone, grace_s=grace_s, after_s=after_s, now_s=now_s)
    if slot_s is None:
        return None, None, next_s
    began = began_at(ledger, flow.name or "", utc_text(slot_s))
    if began == "" or (began and datetime.fromisoformat(began).timestamp() <= slot_s + grace_s):
        return None, None, next_s
    done_s = freshness(ledger, flow).for_s
    return (None if done_s is not None and done_s >= slot_s else slot_s), began, next_s

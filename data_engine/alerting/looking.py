"""What a flow's history says of it, for decisions: how it stands to what is expected, and what of its slots did not begin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from data_engine.alerting.expectations import Judgement, grace_of, judge, slot_to_check
from data_engine.engine.params import is_as_scheduled
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Schedule
from data_engine.ledger.freshness import Fresh, began_at, deployed_since, fresh_of
from data_engine.ledger.ledger import Ledger
from data_engine.model import utc_text


def counts_of(flow: Flow) -> Callable[[Mapping[str, Any]], bool]:
    """Tells whether a run with these params counts for what is expected: they are those of a run that comes by itself."""
    return lambda given: is_as_scheduled(flow, given)


def freshness(ledger: Ledger, flow: Flow) -> Fresh:
    """How fresh the flow is.

    Raises:
        LedgerError: the history cannot be read.
    """
    every_s = next((one.every_s for one in flow.expectations if one.every_s is not None), None)
    return fresh_of(ledger, flow.name or "", counts=counts_of(flow), every_s=every_s)


def look(ledger: Ledger, flow: Flow, *, timezone: str | None, active: Mapping[str, float], now_s: float) -> Judgement:
    """How the flow stands to what is expected of it; of one that is not in production nothing is owed yet.

    Raises:
        LedgerError: the history cannot be read.
    """
    if not flow.expectations:
        return Judgement()
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
    """The newest slot after `after_s` that did not begin in time and has no success, when its run began after all (None: it
    has not), and when the next slot is to be looked at.

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

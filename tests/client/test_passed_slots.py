"""`explain` tells which slots of a schedule passed without a run, and the command it names runs just those."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from data_engine import Workspace
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Schedule
from data_engine.model import utc_text
from data_engine.reasons.kinds import SlotsPassed
from data_engine.status.explain import passed_slots
from tests.support import WorkspaceFiles

NIGHTLY = """
    from data_engine import Flow

    def build():
        return Flow(group="N").watch(mode="schedule", time="07:00", tz="Europe/Berlin", catch_up="none").step(print)
"""
NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)


def slot(days_ago: int) -> str:
    """07:00 UTC, so many days before NOON's."""
    return utc_text((NOON.replace(hour=7) - timedelta(days=days_ago)).timestamp())


def daily(**options: Any) -> Schedule:
    trigger = Flow("A").watch(mode="schedule", tz="UTC", **({"time": "07:00"} | options)).trigger
    assert isinstance(trigger, Schedule)
    return trigger


def passed(trigger: Schedule, *served: tuple[str, str], is_busy: bool = False) -> SlotsPassed | None:
    return passed_slots(trigger, served, timezone=None, now_s=NOON.timestamp(), is_busy=is_busy)


def test_nothing_is_told_from_before_the_schedule_was_known() -> None:
    """Nor from before it was changed, or of slots that a later run replaces or will."""
    seen = (utc_text((NOON - timedelta(days=4)).timestamp()), "")
    ran = (slot(1), "r1")

    assert passed(daily(catch_up="none")) is None
    assert passed(daily(catch_up="none"), (slot(20), "r0"), seen) == SlotsPassed(4, slot(3), slot(0), "UTC")
    assert passed(daily(catch_up="none"), seen, ran, is_busy=True) == SlotsPassed(2, slot(3), slot(2), "UTC")
    assert passed(daily(catch_up="none"), seen, *((slot(n), "r") for n in range(4))) is None
    assert passed(daily(), seen, ran) == SlotsPassed(2, slot(3), slot(2), "UTC")
    assert passed(daily(), seen) is None
    assert passed(daily(catch_up="all"), seen, ran) is None
    assert passed(daily(catch_up="none"), seen, (slot(2), "")) == SlotsPassed(3, slot(3), slot(0), "UTC")


def test_of_many_slots_the_newest_are_told() -> None:
    found = passed(daily(time=None, cron="* * * * *", catch_up="none"), (slot(40), ""))

    assert found is not None
    assert 2_000 <= found.count < 4_000
    assert found.last_utc == utc_text(NOON.timestamp() - 60)


def test_the_command_that_is_named_runs_them(ws: WorkspaceFiles) -> None:
    ws.notebook("nightly", NIGHTLY)
    workspace = Workspace(ws.root)
    workspace.deploy("nightly")
    ledger = workspace.home.ledger()
    ledger.serve_slot("nightly", utc_text(time.time() - 6 * 86400), "")

    (row,) = (row for row in workspace.explain("nightly") if row.why.kind == "slots_passed")
    assert isinstance(row.why, SlotsPassed)
    since, until = row.why.days
    assert row.fix == f"`data-engine backfill nightly --since {since} --until {until} --reprocess missing` runs them"
    shown = workspace.backfill("nightly", since, until, reprocess="missing", dry_run=True)
    assert shown.total == row.why.count >= 5

"""Which slots of a schedule passed without a run, while the engine was off or the flow disabled."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from data_engine.engine.flow_reasons import SlotsPassed
from data_engine.flow.trigger import Schedule
from data_engine.model import utc_text
from data_engine.scheduler.slots import slots_between, zone_of

LOOK_BACK_S = 31 * 86400.0
_DAY_S = 86400.0
_MOST = 2_000
_MAY_BEGIN_S = 60.0


def passed_slots(
    trigger: Schedule, served: Sequence[tuple[str, str]], *, timezone: str | None, now_s: float, is_busy: bool = False
) -> SlotsPassed | None:
    """The slots of the last `LOOK_BACK_S` that no run has served and that none will: all with `catch_up="none"`, with "latest"
    those before the newest that one did; None where there are none.

    `served` are the slots as the ledger has them, each with its run; one without a run that is no time of this schedule is when
    the schedule was first seen, and nothing before it is told. While the flow `is_busy` the newest may have its run yet.

    Example:
        >>> from data_engine.flow.flow import Flow
        >>> daily = Flow("A").watch(mode="schedule", time="07:00", catch_up="none", tz="UTC").trigger
        >>> known = [("2026-01-05T12:00:00.000000+00:00", ""), ("2026-01-06T07:00:00.000000+00:00", "r1")]
        >>> now_s = datetime.fromisoformat("2026-01-09T08:00+00:00").timestamp()
        >>> passed_slots(daily, known, timezone=None, now_s=now_s).text.partition(" (")[0]
        '3 slots since 2026-01-07 passed without a run, the last of them 2026-01-09 07:00:00 UTC'
    """
    if trigger.interval_seconds is not None or trigger.catch_up == "all" or not served:
        return None
    name = trigger.tz or timezone
    runs = {_seconds(slot): run_id for slot, run_id in served}
    slots = _newest(trigger, zone_of(name), max(now_s - LOOK_BACK_S, min(runs)), now_s - _MAY_BEGIN_S)
    known = set(slots)
    floor_s = max((at_s for at_s, run_id in runs.items() if not run_id and at_s not in known), default=0.0)
    if is_busy:
        slots = slots[:-1]
    if trigger.catch_up == "latest":
        newest_s = max((slot_s for slot_s, run_id in runs.items() if run_id), default=0.0)
        slots = [slot_s for slot_s in slots if slot_s < newest_s]
    passed = [slot_s for slot_s in slots if slot_s > floor_s and slot_s not in runs]
    if not passed:
        return None
    return SlotsPassed(len(passed), utc_text(passed[0]), utc_text(passed[-1]), name)


def _newest(trigger: Schedule, zone: tzinfo, after_s: float, until_s: float) -> list[float]:
    """The slots between these times, in order; of very many those of the newest days."""
    slots: list[float] = []
    while until_s > after_s and len(slots) < _MOST:
        begin_s = max(after_s, until_s - _DAY_S)
        slots = [*slots_between(trigger.cron_lines, zone, begin_s, until_s), *slots]
        until_s = begin_s
    return slots


def _seconds(utc: str) -> float:
    return datetime.fromisoformat(utc).timestamp()

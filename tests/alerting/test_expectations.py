"""When something is late: by a time of a day, within an interval, longer than a run may take; over days on which clocks are set."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine import Flow, FlowValidationError
from data_engine.alerting.expectations import ExpectationState, grace_of, judge, slot_to_check
from data_engine.flow.expectation import DAYS, make_expectation
from data_engine.flow.trigger import Schedule
from data_engine.ledger.freshness import Fresh
from data_engine.model import utc_text

BERLIN = ZoneInfo("Europe/Berlin")
LONG_AGO = "2025-12-01 00:00"


def at(text: str) -> float:
    """A time in Berlin, such as "2026-01-05 07:00" (a Monday)."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


def standing(
    flow: Flow, now: str, *, done: str | None = None, ended: str | None = None, known: str = LONG_AGO, **active: str
) -> ExpectationState:
    fresh = Fresh(None if done is None else at(done), at(ended or done) if (ended or done) else None)
    return judge(
        flow.expectations,
        flow.trigger,
        timezone="Europe/Berlin",
        fresh=fresh,
        known_since_s=at(known),
        active={run_id: at(text) for run_id, text in active.items()},
        now_s=at(now),
    )  # fmt: skip


def words(found: ExpectationState) -> str:
    """As "late since 2026-01-05 07:00" or "due 2026-01-05 07:00", in Berlin."""
    if found.late is not None:
        return f"late since {local(found.late.since_utc)}"
    return "nothing" if found.due is None else f"due {local(found.due.due_utc)}"


def local(utc: str) -> str:
    return datetime.fromisoformat(utc).astimezone(BERLIN).strftime("%Y-%m-%d %H:%M")


NIGHTLY = Flow("G", "nightly").watch(mode="schedule", time="06:00").expect(by="07:00", days="mon-fri")
FOLDER = Flow("G", "folder").watch(mode="poll", source="/in", interval="5s").expect(by="07:00", days="mon-fri")
LATE_NIGHT = Flow("G", "late").watch(mode="schedule", time="23:50").expect(by="00:30")
OFTEN = Flow("G", "often").watch(mode="schedule", cron="*/15 * * * *").expect(by="07:00")
TWICE = Flow("G", "twice").watch(mode="poll", source="/in", interval="5s").expect(by=["07:00", "18:00"])
HOURLY = Flow("G", "hourly").watch(mode="poll", source="/in", interval="5s").expect(every="1h")

SENTENCES: list[tuple[str, Flow, dict[str, Any], str]] = [
    ("before the time it is due", NIGHTLY, {"now": "2026-01-05 06:59", "done": "2026-01-02 06:00"}, "due 2026-01-05 07:00"),
    ("at the time it is late", NIGHTLY, {"now": "2026-01-05 07:00", "done": "2026-01-02 06:00"}, "late since 2026-01-05 07:00"),
    ("what was done for today's slot counts", NIGHTLY, {"now": "2026-01-05 07:10", "done": "2026-01-05 06:00"}, "due 2026-01-06 07:00"),
    ("a weekend is no business day", NIGHTLY, {"now": "2026-01-03 12:00", "done": "2026-01-02 06:00"}, "due 2026-01-05 07:00"),
    ("a run of Friday afternoon is not Monday's", NIGHTLY, {"now": "2026-01-05 07:00", "done": "2026-01-02 15:00"}, "late since 2026-01-05 07:00"),
    ("a run of yesterday afternoon is not today's", FOLDER, {"now": "2026-01-06 07:00", "done": "2026-01-05 15:00"}, "late since 2026-01-06 07:00"),
    ("a backfilled old slot is not today's", NIGHTLY, {"now": "2026-01-06 07:30", "done": "2026-01-01 06:00", "ended": "2026-01-06 06:30"}, "late since 2026-01-02 07:00"),
    ("it stays late since the first time", NIGHTLY, {"now": "2026-01-08 09:00", "done": "2026-01-02 06:00"}, "late since 2026-01-05 07:00"),
    ("a success after the time ends it", NIGHTLY, {"now": "2026-01-05 08:01", "done": "2026-01-05 06:00", "ended": "2026-01-05 08:00"}, "due 2026-01-06 07:00"),
    ("a folder's file in the night counts", FOLDER, {"now": "2026-01-05 07:10", "done": "2026-01-05 00:10"}, "due 2026-01-06 07:00"),
    ("a slot before midnight is for the time after it", LATE_NIGHT, {"now": "2026-01-06 00:31", "done": "2026-01-05 23:50"}, "due 2026-01-07 00:30"),
    ("the slot of the night before is not", LATE_NIGHT, {"now": "2026-01-06 00:31", "done": "2026-01-04 23:50"}, "late since 2026-01-06 00:30"),
    ("of many slots any of that day counts", OFTEN, {"now": "2026-01-05 07:05", "done": "2026-01-05 06:45"}, "due 2026-01-06 07:00"),
    ("of many slots none of the day before", OFTEN, {"now": "2026-01-05 07:05", "done": "2026-01-04 23:45"}, "late since 2026-01-05 07:00"),
    ("each time of a day needs one of its own", TWICE, {"now": "2026-01-05 18:00", "done": "2026-01-05 06:30"}, "late since 2026-01-05 18:00"),
    ("and the second has it", TWICE, {"now": "2026-01-05 18:00", "done": "2026-01-05 12:00"}, "due 2026-01-06 07:00"),
    ("what is new owes nothing for the past", NIGHTLY, {"now": "2026-01-05 10:00", "known": "2026-01-05 09:00"}, "due 2026-01-06 07:00"),
    ("what never ran is late from its first time on", NIGHTLY, {"now": "2026-01-06 10:00", "known": "2026-01-05 09:00"}, "late since 2026-01-06 07:00"),
    ("within an interval it is due", HOURLY, {"now": "2026-01-05 07:59", "done": "2026-01-05 07:00"}, "due 2026-01-05 08:00"),
    ("after the interval it is late", HOURLY, {"now": "2026-01-05 08:00", "done": "2026-01-05 07:00"}, "late since 2026-01-05 08:00"),
    ("an interval counts from when it came into production", HOURLY, {"now": "2026-01-05 08:00", "known": "2026-01-05 07:30"}, "due 2026-01-05 08:30"),
    ("nothing expected is nothing", Flow("G", "f"), {"now": "2026-01-05 08:00"}, "nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "flow", "given", "expected"), SENTENCES, ids=[one[0] for one in SENTENCES])
def test_when_it_is_late(sentence: str, flow: Flow, given: dict[str, Any], expected: str) -> None:
    assert words(standing(flow, **given)) == expected


ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Africa/Casablanca",
)
DATES = st.dates(date(2015, 1, 1), date(2035, 12, 31))


@given(
    zone=st.sampled_from(ZONES),
    day=DATES,
    hour=st.integers(0, 23),
    minute=st.integers(0, 59),
    days=st.sets(st.integers(0, 6), min_size=1),
)
def test_each_day_that_counts_has_one_time_in_every_zone(
    zone: str, day: date, hour: int, minute: int, days: set[int]
) -> None:
    """Over days on which the clock is set too: a time that does not exist is right after the gap, one that comes twice is its first."""
    flow = Flow("G", "f").expect(by=f"{hour}:{minute:02}", days=[DAYS[one] for one in days], tz=zone)
    there = ZoneInfo(zone)
    now_s = datetime(day.year, day.month, day.day, 0, 0, tzinfo=there).timestamp() - 1
    wanted = next(
        day + timedelta(days=number) for number in range(8) if (day + timedelta(days=number)).weekday() in days
    )

    due = judge(flow.expectations, None, timezone=None, fresh=Fresh(), known_since_s=now_s, active={}, now_s=now_s).due

    assert due is not None
    found = datetime.fromisoformat(due.due_utc).astimezone(there)
    written = datetime(wanted.year, wanted.month, wanted.day, hour, minute, tzinfo=there)
    exists = written.astimezone(ZoneInfo("UTC")).astimezone(there).replace(tzinfo=None) == written.replace(tzinfo=None)
    assert found.date() == wanted
    assert (
        (found.hour, found.minute) == (hour, minute)
        if exists
        else found.replace(tzinfo=None) > written.replace(tzinfo=None)
    )
    assert not exists or found.timestamp() == written.timestamp()


@given(
    zone=st.sampled_from(ZONES),
    day=DATES,
    hour=st.integers(1, 23),
    seconds=st.integers(-3 * 86_400, 3 * 86_400),
    done=st.integers(0, 3 * 86_400),
)
def test_a_success_ends_lateness_and_time_alone_does_not(
    zone: str, day: date, hour: int, seconds: int, done: int
) -> None:
    """Right after a success nothing is late; without another one, what is late stays so."""
    flow = Flow("G", "f").expect(by=f"{hour}:00", tz=zone)
    start_s = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)).timestamp() + seconds

    def late(now_s: float, done_s: float | None) -> str | None:
        found = judge(
            flow.expectations,
            None,
            timezone=None,
            fresh=Fresh(done_s, done_s),
            known_since_s=start_s - 5 * 86_400,
            active={},
            now_s=now_s,
        ).late
        return None if found is None else found.since_utc

    assert late(start_s, start_s) is None
    first = late(start_s + done, start_s)
    if first is not None:
        assert late(start_s + done + 86_400, start_s) == first
    assert late(start_s + 2 * 86_400 + 7_200, start_s) is not None


def test_a_run_that_takes_too_long_is_told_from_then_on() -> None:
    flow = Flow("G", "f").expect(within="30m")
    runs = {"r1": "2026-01-05 07:00", "r2": "2026-01-05 07:20"}

    found = standing(flow, "2026-01-05 07:30", **runs)

    assert [(one.run_id, local(one.since_utc)) for one in found.overlong] == [("r1", "2026-01-05 07:00")]
    assert found.next_s == at("2026-01-05 07:50")
    assert standing(flow, "2026-01-05 07:29", **runs).overlong == ()


def test_a_slot_is_looked_at_when_its_grace_is_over() -> None:
    """Five minutes, or what the flow says."""
    trigger = NIGHTLY.trigger
    assert isinstance(trigger, Schedule)

    def found(now: str, grace_s: float) -> tuple[bool, str]:
        slot_s, next_s = slot_to_check(
            trigger, timezone="Europe/Berlin", grace_s=grace_s, after_s=at("2026-01-05 00:00"), now_s=at(now)
        )
        return slot_s is not None, local(utc_text(next_s or 0))

    assert found("2026-01-05 06:04", 300) == (False, "2026-01-05 06:05")
    assert found("2026-01-05 06:05", 300) == (True, "2026-01-06 06:05")
    assert found("2026-01-05 06:05", 600) == (False, "2026-01-05 06:10")
    assert grace_of(NIGHTLY.expectations) == 300
    assert grace_of(NIGHTLY.expect(grace="10m").expectations) == 600


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("mon-fri", (0, 1, 2, 3, 4)),
        ("Fri-Mon", (0, 4, 5, 6)),
        ("mon, Thursday", (0, 3)),
        (["sat", "sun"], (5, 6)),
        ("mon-sun", ()),
        (None, ()),
    ],
)
def test_days_as_people_write_them(days: Any, expected: tuple[int, ...]) -> None:
    assert make_expectation(by="07:00", every=None, within=None, grace=None, days=days, tz=None).days == expected


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (lambda: Flow("G").expect(), "nothing is expected"),
        (lambda: Flow("G").expect(every="1h", days="mon"), "days= belongs to by="),
        (lambda: Flow("G").expect(by="07:00", days="mon-foo"), "'foo' is not a day of the week"),
        (lambda: Flow("G").expect(by="07:00", days=[]), "names no day"),
        (lambda: Flow("G").expect(by="07:00", days=3), "days cannot be 3"),
        (lambda: Flow("G").expect(by="24:00"), "Invalid schedule time"),
        (lambda: Flow("G").expect(by="07:00", tz="Berlin"), "is not a time zone"),
        (lambda: Flow("G").expect(within="0s"), "must be positive"),
        (lambda: Flow("G").expect(every=5), "a duration cannot be"),
        (lambda: Flow("G").expect(every="1h").expect(every="2h"), "every= is said twice"),
        (lambda: NIGHTLY.expect(by="7:00", days="fri"), "is said twice for the same days"),
        (lambda: FOLDER.expect(grace="10m"), "this flow has no times"),
        (lambda: Flow("G").expect(grace="10m").watch(mode="schedule", interval="5m"), "this flow has no times"),
        (lambda: Flow("G").expect(untill="7:00"), "no option 'untill'"),  # type: ignore[call-arg]
        (lambda: Flow("G").alert(), "neither who is told nor of what"),
        (lambda: Flow("G").alert(to="mailto://me:secret@x.org"), "not the name of a secret"),
        (lambda: Flow("G").alert(on=["failing"]), "'failing' is not a kind of trouble"),
        (lambda: Flow("G").alert(on=["fialed"]), r"did you mean failed\? Else use some of"),
        (lambda: Flow("G").alert(too=["ops"]), r"did you mean to=\?"),  # type: ignore[call-arg]
        (lambda: Flow("G").alert(on="silent_owner"), "about the whole workspace"),
        (lambda: Flow("G").alert(on=[]), "names no kind"),
    ],
)
def test_a_mistake_is_told_where_it_is_written(build: Any, what: str) -> None:
    with pytest.raises(FlowValidationError, match=what) as caught:
        build()

    assert caught.value.fix
    assert "secret@x" not in str(caught.value)


def test_expectations_are_part_of_the_value() -> None:
    """Two flows of which different things are expected are not equal, and one does not change the other."""
    one = Flow("G", "f").expect(by="07:00")

    assert one != Flow("G", "f")
    assert one == Flow("G", "f").expect(by="7:00")
    assert len(one.expect(every="1d").expectations) == 2
    assert len(one.expectations) == 1

"""Wall-clock slots: at the times the author wrote, in their zone, each once, also where the clocks change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine.planning.slots import MachineZone, Slots, zone_of

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata", "UTC")
DAY_S = 86400.0
EPOCHS = st.integers(
    int(datetime(2008, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2030, 1, 1, tzinfo=UTC).timestamp())
)


def local(zone: str, day: str, lines: list[str], days: int = 1) -> list[str]:
    """The slots of these local days, as local times with their offset."""
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    end = start + timedelta(days=days)
    slots = Slots(tuple(lines), zone_of(zone)).between(start.timestamp() - 1, end.timestamp() - 1)
    return [datetime.fromtimestamp(slot, ZoneInfo(zone)).strftime("%d %H:%M%z") for slot in slots]


def test_a_time_that_does_not_exist_fires_right_after_the_gap() -> None:
    assert local("Europe/Berlin", "2026-03-28", ["30 2 * * *"], 3) == [
        "28 02:30+0100",
        "29 03:00+0200",
        "30 02:30+0200",
    ]


def test_two_times_in_one_gap_are_one_slot() -> None:
    assert local("Europe/Berlin", "2026-03-29", ["15 2 * * *", "45 2 * * *"]) == ["29 03:00+0200"]


def test_a_time_that_occurs_twice_fires_once() -> None:
    assert local("Europe/Berlin", "2026-10-24", ["30 2 * * *"], 3) == [
        "24 02:30+0200",
        "25 02:30+0200",
        "26 02:30+0100",
    ]


def test_in_the_hour_that_occurs_twice_its_first_slot_is_past() -> None:
    """At 02:15 for the second time, 02:30 has been."""
    second_time = datetime(2026, 10, 25, 2, 15, tzinfo=ZoneInfo("Europe/Berlin"), fold=1).timestamp()

    slots = Slots(("30 2 * * *",), zone_of("Europe/Berlin")).between(second_time, second_time + 2.5 * DAY_S)

    assert [datetime.fromtimestamp(slot, ZoneInfo("Europe/Berlin")).day for slot in slots] == [26, 27]
    assert Slots(("30 2 * * *",), zone_of("Europe/Berlin")).next(second_time) == slots[0]


def test_a_day_that_does_not_exist_fires_when_the_next_begins() -> None:
    """Samoa left out the 30th of December 2011."""
    assert local("Pacific/Apia", "2011-12-29", ["0 8 * * *"], 3) == [
        "29 08:00-1000",
        "31 00:00+1400",
        "31 08:00+1400",
    ]


@pytest.mark.parametrize(("day", "count"), [("2026-03-29", 23 * 4), ("2026-10-25", 25 * 4)])
def test_a_quarter_hourly_line_goes_by_elapsed_time(day: str, count: int) -> None:
    """Neither a pause of an hour in autumn nor a doubled hour in spring."""
    assert len(local("Europe/Berlin", day, ["*/15 * * * *"])) == count


@given(st.sampled_from(ZONES), EPOCHS, st.integers(0, 23), st.integers(0, 59))
def test_a_daily_time_has_one_slot_on_every_local_day(zone: str, epoch: int, hour: int, minute: int) -> None:
    there = ZoneInfo(zone)
    start = datetime.fromtimestamp(epoch, there).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    end = (start + timedelta(days=3)).timestamp()

    slots = Slots((f"{minute} {hour} * * *",), there).between(start.timestamp() - 1, end - 1)

    days = [datetime.fromtimestamp(slot, there).date() for slot in slots]
    assert days == [(start + timedelta(days=number)).date() for number in range(3)]


@given(
    st.sampled_from(ZONES),
    EPOCHS,
    st.sampled_from(["30 2 * * *", "0 0 * * *", "*/20 * * * *", "15 1-3 * * *", "0 * * * *", "5 4 * * 1-5"]),
    st.lists(st.integers(1, 4 * 86400), min_size=1, max_size=5),
)
def test_slots_are_the_same_however_the_time_is_cut(zone: str, epoch: int, line: str, cuts: list[int]) -> None:
    """An engine that looks every second and one that slept for days see the same slots: none twice, none lost."""
    there = zone_of(zone)
    edges = [float(epoch)]
    for cut in cuts:
        edges.append(edges[-1] + cut)

    pieces = [slot for one, two in pairwise(edges) for slot in Slots((line,), there).between(one, two)]

    assert pieces == Slots((line,), there).between(edges[0], edges[-1])
    assert pieces == sorted(set(pieces))
    assert Slots((line,), there).next(edges[0]) == next(iter(pieces), Slots((line,), there).next(edges[-1]))
    assert Slots((line,), there).newest(edges[0], edges[-1]) == (pieces[-1] if pieces else None)


@pytest.fixture
def berlin_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone of a process cannot be set")
@pytest.mark.usefixtures("berlin_machine")
def test_the_machines_own_zone_has_its_daylight_saving_rules() -> None:
    """Without its name being known."""
    start = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    for line in ("30 2 * * *", "*/30 2 * * *", "0 * * * *"):
        ours = Slots((line,), MachineZone()).between(start, start + 365 * DAY_S)

        assert ours == Slots((line,), ZoneInfo("Europe/Berlin")).between(start, start + 365 * DAY_S)


def test_a_line_without_a_slot_in_reach_has_none() -> None:
    leap_day = ("0 0 29 2 *",)
    start = datetime(2025, 1, 1, tzinfo=UTC).timestamp()

    assert Slots(leap_day, UTC).newest(start, start + 365 * DAY_S) is None
    assert Slots(leap_day, UTC).next(start) == datetime(2028, 2, 29, tzinfo=UTC).timestamp()

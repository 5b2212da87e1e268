"""Which runs a backfill is, whatever the range, the zone and what is known of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine import Flow
from data_engine.engine.params import is_as_scheduled
from data_engine.errors import FlowValidationError
from data_engine.flow.trigger import Schedule
from data_engine.ledger.backfills import LastEnd
from data_engine.model import Signature, SourceKey, SourceState
from data_engine.planning.backfill import (
    MOST_RUNS,
    Wanted,
    choose_files,
    choose_slots,
    ends_of_states,
    moment,
)
from data_engine.planning.slots import Slots, zone_of
from tests.support import examples

LATER_S = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
ZONES = st.sampled_from(
    ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kolkata"]
)
DAYS = st.dates(date(2018, 1, 1), date(2027, 12, 1))
LINES = st.sampled_from(
    ["30 2 * * *", "0 0 * * *", "15 1,2,3 * * *", "*/30 * * * *", "0 6 * * 1-5", "0 12 29 2 *", "30 23 1 * *"]
)


def schedule(line: str) -> Schedule:
    return Schedule(cron=line)


def slots(line: str, zone: str, since: str | None, until: str | None, **known: Any) -> list[str]:
    wanted = Wanted(since, until, reprocess=known.pop("reprocess", "all"))
    chosen = choose_slots(
        schedule(line), [None], known.get("ends", {}), wanted, zone, now_s=known.get("now_s", LATER_S)
    )
    return [str(one.scheduled_for) for one in chosen.planned]


@settings(deadline=None, max_examples=examples(30))
@given(LINES, ZONES, DAYS, st.integers(0, 20))
def test_the_slots_of_a_range_are_those_its_schedule_fires_in_it(line: str, zone: str, day: date, days: int) -> None:
    """Both ends in it: over days of 23, 24 and 25 hours, each slot once and in order, none outside."""
    there = zone_of(zone)
    found = [datetime.fromisoformat(slot) for slot in slots(line, zone, str(day), str(day + timedelta(days=days)))]
    begin = datetime(day.year, day.month, day.day, tzinfo=there).timestamp()
    after = day + timedelta(days=days + 1)
    end = datetime(after.year, after.month, after.day, tzinfo=there).timestamp()
    expected = [slot for slot in Slots((line,), there).between(begin - 1, end) if begin <= slot < end]

    assert [slot.timestamp() for slot in found] == expected
    assert all(day <= slot.astimezone(there).date() <= after - timedelta(days=1) for slot in found)


@settings(deadline=None, max_examples=examples(30))
@given(LINES, ZONES, DAYS, st.integers(1, 20), st.integers(0, 19))
def test_two_ranges_that_meet_are_one(line: str, zone: str, day: date, days: int, cut: int) -> None:
    """No slot is in both, and none in neither."""
    last, middle = day + timedelta(days=days), day + timedelta(days=min(cut, days - 1))
    whole = slots(line, zone, str(day), str(last))

    assert (
        slots(line, zone, str(day), str(middle)) + slots(line, zone, str(middle + timedelta(days=1)), str(last))
        == whole
    )


@pytest.mark.parametrize(
    ("line", "day", "count"),
    [
        ("0 * * * *", "2026-03-29", 23),
        ("0 * * * *", "2026-03-28", 24),
        ("0 * * * *", "2026-10-25", 25),
        ("30 2 * * *", "2026-03-29", 1),
        ("30 2 * * *", "2026-10-25", 1),
        ("*/15 * * * *", "2026-10-25", 100),
    ],
)
def test_a_day_has_as_many_hours_as_it_has(line: str, day: str, count: int) -> None:
    assert len(slots(line, "Europe/Berlin", day, day)) == count


@given(st.lists(st.tuples(st.sampled_from(["none", "success", "failed", "killed", "then failed"])), max_size=20))
def test_failed_missing_and_all_say_which(ends: list[tuple[str]]) -> None:
    """What failed without ever a success is missing too; what never ran has not failed."""
    known = {
        "success": LastEnd("success", True),
        "failed": LastEnd("failed", False),
        "killed": LastEnd("killed", False),
        "then failed": LastEnd("failed", True),
    }
    files = {f"{number:02d}": Signature(1, 0) for number in range(len(ends))}
    of_files = {path: known[end] for path, (end,) in zip(files, ends, strict=True) if end in known}

    def chosen(word: Any) -> list[str | None]:
        return [one.source for one in choose_files(files, of_files, Wanted(reprocess=word), zone_of("UTC")).planned]

    words = {path: end for path, (end,) in zip(files, ends, strict=True)}
    assert chosen("all") == list(files)
    assert chosen("missing") == [path for path, end in words.items() if end in ("none", "failed", "killed")]
    assert chosen("failed") == [path for path, end in words.items() if end in ("failed", "killed", "then failed")]


def test_files_are_chosen_by_their_day_in_the_flows_zone_and_their_name() -> None:
    """A file of half past midnight in Berlin is of the day before in UTC."""
    at = datetime(2013, 3, 2, 0, 30, tzinfo=zone_of("Europe/Berlin"))
    files = {"2013/a.csv": Signature(1, int(at.timestamp()) * 10**9), "gone.csv": None}

    def found(zone: str, **wanted: Any) -> list[str | None]:
        return [one.source for one in choose_files(files, {}, Wanted(**wanted, reprocess="all"), zone_of(zone)).planned]

    assert found("Europe/Berlin", since="2013-03-02", until="2013-03-02") == ["2013/a.csv"]
    assert found("UTC", since="2013-03-02", until="2013-03-02") == []
    assert found("UTC", since="2013-03", until="2013-03") == ["2013/a.csv"]
    assert found("UTC", where="a.*") == ["2013/a.csv"]
    assert found("UTC") == ["2013/a.csv", "gone.csv"]


def test_of_a_polled_file_the_version_that_is_there_counts() -> None:
    """One that changed since its last success has none."""
    key, good = SourceKey("../in", "a.csv"), Signature(1, 7)
    state = SourceState("claims", key, "success", good, success=good)

    assert ends_of_states({"a.csv": good}, {key: state}, "../in") == {"a.csv": LastEnd("success", True)}
    assert ends_of_states({"a.csv": Signature(2, 9)}, {key: state}, "../in")["a.csv"].has_success is False
    twice = state._replace(status="abandoned", abandoned_in_a_row=2)
    assert ends_of_states({"a.csv": good}, {key: twice}, "../in")["a.csv"].status == "failed"


def test_no_slot_is_of_the_future_and_an_old_failure_is_found_without_a_day() -> None:
    now_s = datetime(2026, 3, 3, 1, tzinfo=UTC).timestamp()
    failed = "2026-03-01T00:00:00.000000+00:00"
    ends = {(failed, None): LastEnd("failed", False)}

    assert len(slots("0 0 * * *", "UTC", "2026-03-01", "2026-03-31", now_s=now_s)) == 3
    assert slots("0 0 * * *", "UTC", None, None, now_s=now_s, ends=ends, reprocess="failed") == [failed]
    with pytest.raises(FlowValidationError, match="no first slot"):
        slots("0 0 * * *", "UTC", None, None, now_s=now_s, ends=ends)
    with pytest.raises(FlowValidationError, match=f"more than {MOST_RUNS:,} runs"):
        slots("* * * * *", "UTC", "1990-01-01", None)


@pytest.mark.parametrize("text", ["", "soon", "2013-13", "2013-02-30", "99999-01-01", "2013-01-01T25:00"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(FlowValidationError, match="since cannot be"):
        moment(text, zone_of("UTC"), name="since")


def test_params_are_those_of_a_run_by_itself_where_each_is_its_default() -> None:
    from dataclasses import dataclass, field

    @dataclass
    class Settings:
        month: date = date(2013, 1, 1)
        names: list[str] = field(default_factory=lambda: ["a", "b"])

    flow = Flow("G").params(Settings)

    assert is_as_scheduled(flow, {})
    assert is_as_scheduled(flow, {"month": "2013-01-01", "names": ["a", "b"]})
    assert not is_as_scheduled(flow, {"month": "2013-02-01"})


def test_a_value_that_an_earlier_version_was_given_is_not_its_default() -> None:
    """A run of a time when the parameter was of another type keeps nothing from being told of the flow."""
    from dataclasses import dataclass

    @dataclass
    class Settings:
        month: date = date(2013, 1, 1)

    assert not is_as_scheduled(Flow("G").params(Settings), {"month": "any month"})


def test_a_day_written_without_dashes_is_the_whole_day() -> None:
    """As with dashes; Python alone would take it for its midnight, and leave out what came later that day."""
    zone = zone_of("Europe/Berlin")

    ends = [moment(text, zone, name="until", is_end=True) for text in ("20130301", "2013-03-01")]

    assert ends[0] == ends[1]
    assert ends[0] - moment("20130301", zone, name="since") > 86_399


@pytest.mark.parametrize("text", ["2013-W09", "2013W09", "2013-W09-1"])
def test_a_week_is_refused(text: str) -> None:
    """It would be its first midnight."""
    with pytest.raises(FlowValidationError, match="since cannot be"):
        moment(text, zone_of("UTC"), name="since")

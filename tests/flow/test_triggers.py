"""Every option of `Flow.watch`: what is accepted, what it means, and how the rest is refused."""

from __future__ import annotations

import zoneinfo
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine import Flow
from data_engine.duration import parse_duration
from data_engine.errors import FlowValidationError
from data_engine.flow.paths import module_folder
from data_engine.flow.trigger import Manual, Poll, Schedule, Trigger
from tests.flow.running import failing


def watch(**options: Any) -> Trigger:
    trigger = Flow("G").watch(**options).trigger
    assert trigger is not None
    return trigger


def poll(**options: Any) -> Poll:
    trigger = watch(**{"mode": "poll", "source": "/in", "interval": "30s"} | options)
    assert isinstance(trigger, Poll)
    return trigger


def schedule(**options: Any) -> Schedule:
    trigger = watch(mode="schedule", **options)
    assert isinstance(trigger, Schedule)
    return trigger


def refused(**options: Any) -> str:
    """The whole text of the refusal; it always says where in `watch` and how to fix it."""
    error = failing(lambda: watch(**options))
    assert error.where is not None
    assert error.where.startswith("Flow.watch")
    return str(error)


# -- modes and what they need ------------------------------------------------------------------------------------------


def test_each_mode_gives_its_own_value() -> None:
    """A trigger is a frozen value with the defaults the contract names."""
    assert watch(mode="manual") == Manual()
    assert isinstance(watch(mode="schedule", time="08:00"), Schedule)
    assert (poll().run_as, poll().max_parallel, poll().settle, poll().extensions) == ("individual", 1, 1, None)
    assert schedule(time="08:00").catch_up == "latest"


@pytest.mark.parametrize(("mode", "kind"), [(" Manual", Manual), ("POLL", Poll), ("Schedule ", Schedule)])
def test_mode_and_run_as_ignore_case_and_blanks(mode: str, kind: type) -> None:
    """Words are words."""
    needs = {Manual: {}, Poll: {"source": "/in", "interval": "1s"}, Schedule: {"time": "08:00"}}[kind]

    trigger = watch(mode=mode, run_as=" BATCH ", **needs)

    assert isinstance(trigger, kind)
    assert trigger.run_as == "batch"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "hourly"}, "'schedule'"),
        ({"mode": None}, "'manual'"),
        ({"mode": 5}, "'poll'"),
        ({"mode": "manual", "run_as": "each"}, "'individual'"),
        ({"mode": "manual", "run_as": None}, "'batch'"),
        ({"mode": "manual", "max_parallel": 0}, "greater than or equal to one"),
        ({"mode": "manual", "max_parallel": -2}, "greater than or equal to one"),
        ({"mode": "manual", "max_parallel": 1.5}, "greater than or equal to one"),
        ({"mode": "manual", "max_parallel": True}, "greater than or equal to one"),
        ({"mode": "manual", "max_parallel": "2"}, "greater than or equal to one"),
        ({"mode": "manual", "interval": "5s"}, "interval= does not belong to mode='manual'"),
        ({"mode": "manual", "time": "08:00"}, "time= does not belong to mode='manual'"),
        ({"mode": "manual", "cron": "* * * * *"}, "cron= does not belong to mode='manual'"),
        ({"mode": "manual", "tz": "UTC"}, "tz= does not belong to mode='manual'"),
        ({"mode": "manual", "settle": 2}, "settle= does not belong to mode='manual'"),
        ({"mode": "manual", "settle": 0}, "settle= does not belong to mode='manual'"),
        ({"mode": "manual", "catch_up": "all"}, "catch_up= does not belong to mode='manual'"),
        ({"mode": "poll"}, "requires source="),
        ({"mode": "poll", "interval": "5s"}, "requires source="),
        ({"mode": "poll", "source": "/in"}, "requires interval="),
        ({"mode": "poll", "source": "/in", "interval": "5s", "time": "08:00"}, "time= does not belong to mode='poll'"),
        ({"mode": "poll", "source": "/in", "interval": "5s", "cron": "* * * * *"}, "cron= does not belong"),
        ({"mode": "poll", "source": "/in", "interval": "5s", "tz": "UTC"}, "tz= does not belong"),
        ({"mode": "poll", "source": "/in", "interval": "5s", "catch_up": "none"}, "catch_up= does not belong"),
        ({"mode": "schedule"}, "exactly one"),
        ({"mode": "schedule", "interval": "5s", "time": "08:00"}, "exactly one"),
        ({"mode": "schedule", "cron": "* * * * *", "time": "08:00"}, "exactly one"),
        ({"mode": "schedule", "interval": "5s", "cron": "* * * * *"}, "exactly one"),
        ({"mode": "schedule", "interval": "5s", "cron": "* * * * *", "time": "08:00"}, "exactly one"),
        ({"mode": "schedule", "interval": "5s", "tz": "UTC"}, "tz= belongs to wall-clock schedules"),
        ({"mode": "schedule", "interval": "5s", "catch_up": "all"}, "catch_up= belongs to wall-clock schedules"),
        ({"mode": "schedule", "time": "08:00", "settle": 5}, "settle= does not belong to mode='schedule'"),
        ({"mode": "poll", "source": "/in", "interval": "5s", "skip": "2026-12-25"}, "skip= does not belong"),
        ({"mode": "schedule", "interval": "5s", "skip": ["2026-12-25"]}, "skip= belongs to wall-clock schedules"),
        ({"mode": "schedule", "time": "08:00", "skip": ["2026-12-32"]}, "skip cannot hold '2026-12-32'"),
        ({"mode": "schedule", "time": "08:00", "skip": 25}, "skip cannot hold 25"),
        ({"mode": "schedule", "time": "08:00", "skip": "../holidays.txt"}, "the name of a file in config/"),
        ({"mode": "schedule", "time": "08:00", "catch_up": "some"}, "'latest', 'all', 'none'"),
        ({"mode": "schedule", "time": "08:00", "catch_up": None}, "'latest', 'all', 'none'"),
        ({"mode": "poll", "source": 5, "interval": "5s"}, "a path cannot be int"),
        ({"mode": "poll", "source": b"/in", "interval": "5s"}, "a path cannot be bytes"),
        ({"mode": "poll", "source": " ", "interval": "5s"}, "blank"),
        ({"mode": "manual", "source": "a\0b"}, "impossible"),
    ],
)
def test_what_a_mode_cannot_mean_is_refused(options: dict[str, Any], words: str) -> None:
    """Wrong, missing and misplaced options: the text names the option or the words that would do."""
    assert words in refused(**options)


def test_the_fix_of_a_misplaced_option_can_be_typed_as_it_stands() -> None:
    """Several homes are quoted one by one."""
    assert "use mode='poll' or 'schedule'" in refused(mode="manual", interval="5s")
    assert "use mode='poll'" in refused(mode="schedule", time="08:00", settle=5)


def test_defaults_given_by_name_are_accepted_in_every_mode() -> None:
    """Saying the default changes nothing."""
    assert watch(mode="manual", settle=1, catch_up="latest") == watch(mode="manual")
    assert schedule(interval="5s", settle=1, catch_up="latest") == schedule(interval="5s")


def test_extensions_and_source_are_for_every_mode() -> None:
    """A manual or scheduled flow may have files too; the source need not exist."""
    for options in ({"mode": "manual"}, {"mode": "schedule", "time": "08:00"}):
        trigger = watch(source="/not/there", extensions="csv", **options)

        assert trigger.source == Path("/not/there").absolute()
        assert trigger.extensions == (".csv",)


# -- durations ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "seconds"),
    [
        ("10ms", 0.01),
        ("2s", 2),
        ("3m", 180),
        ("15m", 900),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        (" 5 m ", 300),
        ("2 S", 2),
        ("1e3s", 1000),
        (timedelta(minutes=5), 300),
        (timedelta(microseconds=1), 0.000001),
        (timedelta(days=1, seconds=1), 86_401),
    ],
)
def test_an_interval_is_a_number_with_a_unit_or_a_timedelta(interval: Any, seconds: float) -> None:
    """The same grammar for poll and schedule."""
    assert poll(interval=interval).interval_seconds == pytest.approx(seconds, rel=1e-12)
    assert schedule(interval=interval).interval_seconds == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ("", "Unsupported duration format"),
        ("5", "Unsupported duration format"),
        ("5x", "Unsupported duration format"),
        ("abc s", "Invalid duration"),
        ("ms", "Invalid duration"),
        ("1h30m", "Invalid duration"),
        ("1h 30m", "Invalid duration"),
        ("0s", "must be positive"),
        ("-1m", "must be positive"),
        ("-0s", "must be positive"),
        (timedelta(0), "must be positive"),
        (timedelta(days=-1), "must be positive"),
        ("nans", "not finite"),
        ("infs", "not finite"),
        ("-infd", "not finite"),
        ("1e999s", "not finite"),
        ("1e308w", "not finite"),
        ("1e300s", "longer than a century"),
        (timedelta.max, "longer than a century"),
        (5, "invalid duration"),
        (1.5, "invalid duration"),
        (True, "invalid duration"),
        (b"5s", "invalid duration"),
        (["5s"], "invalid duration"),
    ],
)
def test_any_other_interval_is_refused(interval: Any, words: str) -> None:
    """Not finite, not positive, compound, without unit, or another type: never a raw AttributeError or OverflowError."""
    assert words in refused(mode="poll", source="/in", interval=interval)
    assert words in refused(mode="schedule", interval=interval)


@given(st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=36_000)))
def test_the_text_of_a_timedelta_means_the_timedelta(value: timedelta) -> None:
    """The interval that is shown parses back to the seconds that are used, to the microsecond."""
    trigger = schedule(interval=value)

    assert trigger.interval is not None
    assert parse_duration(trigger.interval, where="test") == trigger.interval_seconds == value.total_seconds()


@given(
    st.integers(1, 9999),
    st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("w", 604800)]),
)
def test_a_duration_is_its_number_times_its_unit(number: int, unit: tuple[str, float]) -> None:
    """For every unit up to a century, with or without blanks and capitals."""
    name, factor = unit
    if number * factor > 3e9:
        return
    for text in (f"{number}{name}", f" {number} {name.upper()} "):
        assert parse_duration(text, where="test") == pytest.approx(number * factor)


@given(st.text(max_size=8) | st.integers() | st.floats() | st.none() | st.binary(max_size=4))
def test_no_value_makes_a_duration_leak_another_error(value: object) -> None:
    """Whatever is given: positive seconds, or a refusal with its fix."""
    try:
        seconds = parse_duration(value, where="test")
    except ValueError:
        error = failing(lambda: parse_duration(value, where="test"))
        assert error.where == "test"
    else:
        assert 0 < seconds < 1e10


# -- settle ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settle", "seconds"),
    [(0, 0), (1, 1), (30, 30), ("0s", 0), ("500ms", 0.5), ("2m", 120), (timedelta(seconds=3), 3), (timedelta(0), 0)],
)
def test_settle_is_whole_seconds_or_a_duration(settle: Any, seconds: float) -> None:
    """Zero takes the first sighting."""
    assert poll(settle=settle).settle == seconds


@pytest.mark.parametrize(
    ("settle", "words"),
    [
        (-1, "greater than or equal to zero"),
        (1.0, "greater than or equal to zero"),
        (True, "greater than or equal to zero"),
        (None, "greater than or equal to zero"),
        ("-1s", "must be positive"),
        ("5", "Unsupported duration format"),
        ("nans", "not finite"),
        (10**400, "longer than a century"),
    ],
)
def test_any_other_settle_is_refused(settle: Any, words: str) -> None:
    """The fix shows both spellings."""
    assert words in refused(mode="poll", source="/in", interval="5s", settle=settle)


# -- wall clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "times", "shown"),
    [
        ("08:15", ("08:15",), "08:15"),
        (" 08:15 ", ("08:15",), "08:15"),
        ("00:00", ("00:00",), "00:00"),
        ("23:59", ("23:59",), "23:59"),
        (["08:15"], ("08:15",), "08:15"),
        (["17:00", "08:15", "17:00"], ("08:15", "17:00"), ("08:15", "17:00")),
        (("17:00", "08:15"), ("08:15", "17:00"), ("08:15", "17:00")),
        ({"17:00", "08:15"}, ("08:15", "17:00"), ("08:15", "17:00")),
    ],
)
def test_times_are_sorted_and_each_once(value: Any, times: tuple[str, ...], shown: object) -> None:
    """One text or a collection; `time` is the one text when there is one."""
    trigger = schedule(time=value)

    assert trigger.times == times
    assert trigger.time_slots == tuple((int(text[:2]), int(text[3:])) for text in times)
    assert trigger.time == shown


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("24:00", "Invalid schedule time"),
        ("08:60", "Invalid schedule time"),
        ("08:15:00", "Invalid schedule time"),
        ("8am", "Invalid schedule time"),
        ("", "Invalid schedule time"),
        ("08:15,17:00", "Invalid schedule time"),
        ("٠٨:١٥", "Invalid schedule time"),
        (["08:15", "x"], "Invalid schedule time 'x'"),
        ([8], "Invalid schedule time 8"),
        ([], "must include at least one time"),
        (set(), "must include at least one time"),
        (8, "a time cannot be int"),
        (time(8, 15), "a time cannot be time"),
        (b"08:15", "a time cannot be bytes"),
    ],
)
def test_impossible_times_are_refused(value: Any, words: str) -> None:
    """Two digits, colon, two digits, on a clock of 24 hours."""
    assert words in refused(mode="schedule", time=value)


@given(st.times())
def test_every_minute_of_the_day_is_a_time(value: time) -> None:
    """And its cron line names that minute."""
    trigger = schedule(time=f"{value:%H:%M}")

    assert trigger.time_slots == ((value.hour, value.minute),)
    assert trigger.cron_lines == (f"{value.minute} {value.hour} * * *",)


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("0 6 * * 1-5", "0 6 * * 1-5"),
        ("  */5   *\t* * *  ", "*/5 * * * *"),
        ("0 0 29 2 *", "0 0 29 2 *"),
        ("0 0 L * *", "0 0 L * *"),
        ("15 8 1,15 * *", "15 8 1,15 * *"),
        ("0 0 * JAN MON", "0 0 * JAN MON"),
    ],
)
def test_cron_lines_have_five_fields(line: str, kept: str) -> None:
    """Blanks between the fields are one."""
    assert schedule(cron=line).cron == kept
    assert schedule(cron=line).cron_lines == (kept,)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "* * * * * *",
        "@daily",
        "60 * * * *",
        "0 24 * * *",
        "0 0 31 2 *",
        "*/0 * * * *",
        "a b c d e",
        5,
        None,
    ],
)
def test_cron_lines_that_cannot_fire_are_refused(line: Any) -> None:
    """Wrong fields, too few or too many, dates that never come: told when the flow is written, not in the night."""
    if line is None:
        assert "exactly one" in refused(mode="schedule", cron=line)
    else:
        text = refused(mode="schedule", cron=line)
        assert repr(line) in text
        assert "minute hour day-of-month month day-of-week" in text


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("60 6 * * *", "is wrong in its minute: '60'"),
        ("0 24 * * *", "is wrong in its hour: '24'"),
        ("0 6 L-2 * *", "is wrong in its day of the month: 'L-2'"),
        ("0 6 ? * *", "is wrong in its day of the month: '?'"),
        ("0 6 1 13 *", "is wrong in its month: '13'"),
        ("0 6 * * Fr", "is wrong in its day of the week: 'Fr'"),
        ("0 18 30 2 *", "never fires: month 2 has no day 30"),
    ],
)
def test_the_wrong_part_of_a_cron_line_is_named(line: str, told: str) -> None:
    assert told in refused(mode="schedule", cron=line)


def test_what_a_part_of_a_cron_line_takes_is_told() -> None:
    assert "a hour is" not in (text := refused(mode="schedule", cron="0 24 * * *"))
    assert "an hour is 0 to 23" in text
    assert "L for the last day" in refused(mode="schedule", cron="0 6 ? * *")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/New_York"])
def test_a_zone_is_an_iana_name(zone: str) -> None:
    """For `time` and for `cron`."""
    assert schedule(time="08:00", tz=zone).tz == zone
    assert schedule(cron="* * * * *", tz=zone).tz == zone


@pytest.mark.parametrize(
    ("zone", "offer"),
    [
        ("Europe/Berln", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        ("America/NewYork", "America/New_York"),
        ("Berlin", "did you mean Europe/Berlin?"),
        ("new york", "did you mean America/New_York?"),
        ("Deutschland", "IANA name"),
        ("utc+1", "Etc/GMT-1"),
        ("Mars/Phobos", "IANA name"),
        ("", "IANA name"),
        ("../etc/passwd", "IANA name"),
        ("/etc/passwd", "IANA name"),
        ("\0", "IANA name"),
        (1, "IANA name"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_names(zone: Any, offer: str) -> None:
    """The fix offers what was probably meant."""
    text = refused(mode="schedule", time="08:00", tz=zone)

    assert "is not a time zone" in text
    assert offer in text


@pytest.mark.parametrize(
    ("written", "meant"), [("GMT+1", "Etc/GMT-1"), ("UTC-05", "Etc/GMT+5"), ("UTC +2", "Etc/GMT-2")]
)
def test_an_offset_is_offered_as_the_zone_that_has_it(written: str, meant: str) -> None:
    """Their names have the other sign; the one that is spelled alike would be hours off."""
    assert f'"{meant}"' in refused(mode="schedule", time="07:00", tz=written)
    hours = zoneinfo.ZoneInfo(meant).utcoffset(datetime(2026, 1, 1))
    assert hours == timedelta(hours=int(written[3:].replace(" ", "")))


@pytest.mark.parametrize("word", ["latest", "all", "none", " ALL "])
def test_catch_up_is_one_of_three_words(word: str) -> None:
    """For wall-clock schedules."""
    assert schedule(time="08:00", catch_up=word).catch_up == word.strip().lower()


# -- extensions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        ("xlsx", (".xlsx",)),
        (".xlsx", (".xlsx",)),
        (" XLSX ", (".xlsx",)),
        (".csv.gz", (".csv.gz",)),
        ([".csv", "CSV", "csv.gz"], (".csv", ".csv.gz")),
        (("b", "a"), (".b", ".a")),
        ({"b", "a"}, (".a", ".b")),
        ((x for x in ("a", "b")), (".a", ".b")),
    ],
)
def test_extensions_are_lower_case_with_a_dot_each_once(value: Any, kept: object) -> None:
    """One text is one extension, never its letters."""
    assert watch(mode="manual", extensions=value).extensions == kept


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "At least one extension"),
        ((), "At least one extension"),
        ("", "Empty extension"),
        (".", "Empty extension"),
        (["csv", " "], "Empty extension"),
        ("*.csv", "not an extension"),
        ("in/csv", "not an extension"),
        (".cs?", "not an extension"),
        ("csv,", "not an extension"),
        (".csv,.xlsx", "not several extensions"),
        ([".csv; xlsx"], "not several extensions"),
        (".csv .xlsx", "not several extensions"),
        (5, "extensions cannot be int"),
        (b"csv", "extensions cannot be bytes"),
        (["csv", None], "an extension cannot be NoneType"),
    ],
)
def test_extensions_that_match_nothing_are_refused(value: Any, words: str) -> None:
    """In `watch` and in `collect`."""
    assert words in refused(mode="manual", extensions=value)
    assert words in failing(lambda: Flow("G").collect(value)).what


def test_several_extensions_in_one_text_are_offered_as_a_list() -> None:
    assert failing(lambda: watch(mode="manual", extensions="CSV, .xlsx")).fix == 'give [".csv", ".xlsx"]'


def test_collect_needs_extensions() -> None:
    """None is no filter in `watch`, but a mistake in `collect`."""
    nothing: Any = None
    assert "At least one extension" in failing(lambda: Flow("G").collect(nothing)).what


def test_times_and_intervals_are_read_as_people_write_them() -> None:
    """One digit for the hour, units as words."""
    early = Flow(group="G").watch(mode="schedule", time=["17:05", "7:30"]).trigger
    assert isinstance(early, Schedule)
    assert early.times == ("07:30", "17:05")
    for text, seconds in (("5 min", 300), ("2 hours", 7200), ("1 Day", 86_400), ("90 secs", 90), ("5ms", 0.005)):
        trigger = Flow(group="G").watch(mode="schedule", interval=text).trigger
        assert isinstance(trigger, Schedule)
        assert trigger.interval_seconds == seconds


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ({"mode": "daily", "time": "07:00"}, "schedule"),
        ({"mode": "odd", "cron": "0 7 * * *"}, "schedule"),
        ({"mode": "pol", "source": "in"}, "poll"),
        ({"mode": "odd"}, None),
        ({"mode": None}, None),
    ],
)
def test_a_mode_that_is_none_names_the_one_that_is_meant(options: dict[str, Any], meant: str | None) -> None:
    """By a typing mistake, or by what belongs to it; all are named in either case."""
    error = failing(lambda: Flow("G").watch(**options))

    modes = "'manual', 'poll', 'schedule'"
    assert error.fix == (f"write mode={meant!r}; the modes are {modes}" if meant else f"use one of {modes}")


def test_days_without_slots_are_dates_or_a_file_of_the_workspace(tmp_path: Path) -> None:
    """A file is read as it is when somebody asks; what is wrong in it is told with its line."""
    (tmp_path / "config").mkdir()
    file = tmp_path / "config" / "holidays.txt"
    with (
        module_folder(tmp_path / "flow_modules"),
        pytest.raises(FlowValidationError, match="days without slots cannot be read"),
    ):
        schedule(time="08:00", skip="holidays.txt")
    file.write_text("2026-12-25  # Christmas\n\n2026-12-26\n")
    with module_folder(tmp_path / "flow_modules"):
        trigger = schedule(time="08:00", skip="holidays.txt")
    assert isinstance(trigger, Schedule)

    assert trigger.skipped_days() == {date(2026, 12, 25), date(2026, 12, 26)}
    assert schedule(time="08:00", skip=[date(2026, 12, 25), "2026-01-01"]).skip == ("2026-01-01", "2026-12-25")
    assert schedule(time="08:00", skip="2026-12-25") == schedule(time="08:00", skip=datetime(2026, 12, 25, 7))
    file.write_text("2027-01-01\n25.12.2027\n")
    with pytest.raises(FlowValidationError, match=r"(?s)'25.12.2027' is not a date.*line 2.*2026-12-25"):
        trigger.skipped_days()

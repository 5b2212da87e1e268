"""The triggers of a flow: by hand, when source files change, or on a schedule. One frozen value for each.

`make_trigger` chooses which to build, and refuses wrong options.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import KW_ONLY
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from data_engine.duration import is_timedelta, parse_duration
from data_engine.errors import FlowValidationError
from data_engine.flow.paths import AuthoredPath, author_path
from data_engine.flow.scan import parse_extensions
from data_engine.flow.spec import check_count
from data_engine.formatting import beginning
from data_engine.platforms.files import content_of
from data_engine.record import frozen
from data_engine.suggestions import nearest_name

if TYPE_CHECKING:
    from datetime import date


CATCH_UPS = ("latest", "all", "none")
SHRINKS = ("hold", "tell")
_WHERE = "Flow.watch"
_TIME = r"([01]?\d|2[0-3]):([0-5]\d)"

_CRON_PARTS = (
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, L for the last day or LW for the last one from Monday to Friday"),
    ("month", "1 to 12, or JAN to DEC"),
    ("day of the week", "0 to 7 (both Sunday), or SUN to SAT, 5#1 for the first Friday, 5L for the last"),
)
"""The fields of a cron line, and what each takes beside `*`, lists (1,15), ranges (1-5) and steps (*/5)."""


@frozen
class _Trigger:
    _: KW_ONLY
    mode: ClassVar[str]
    run_as: str = "individual"
    max_parallel: int = 1
    source: Path | None = None
    source_as_authored: str | None = None
    extensions: tuple[str, ...] | None = None
    shrink: str = "hold"


@frozen
class Manual(_Trigger):
    """Run when somebody asks. With a `source` folder it runs once for each of its files."""

    mode: ClassVar[str] = "manual"


@frozen
class Poll(_Trigger):
    """Run when a source file is new or changed since its last good run.

    `interval` is the text, `interval_seconds` its seconds; `settle` is in seconds.
    """

    _: KW_ONLY
    mode: ClassVar[str] = "poll"
    interval: str = ""
    interval_seconds: float = 0.0
    settle: float = 1


@frozen
class Schedule(_Trigger):
    """Run every `interval_seconds`, at wall-clock `times`, or as `cron` says, in zone `tz` (None: the workspace's).

    `times` are "HH:MM" texts, sorted, each once; `time_slots` the same as (hour, minute). Days without slots are `skip`, as texts, and
    those in `skip_file`.
    """

    _: KW_ONLY
    mode: ClassVar[str] = "schedule"
    interval: str | None = None
    interval_seconds: float | None = None
    times: tuple[str, ...] = ()
    time_slots: tuple[tuple[int, int], ...] = ()
    cron: str | None = None
    tz: str | None = None
    catch_up: str = "latest"
    skip: tuple[str, ...] = ()
    skip_file: Path | None = None

    @property
    def skip_name(self) -> str:
        """The name of the place with the days without slots, for people; "" without such days."""
        return "skip=" if self.skip else "" if self.skip_file is None else f"config/{self.skip_file.name}"

    def skipped_days(self) -> frozenset[date]:
        """The days without slots, those of a file as it is now.

        Raises:
            FlowValidationError: the file cannot be read, or a line of it is no date.
        """
        return skipped_days(self.skip, self.skip_file)

    @property
    def time(self) -> str | tuple[str, ...] | None:
        """The one time as text, several as a tuple, None without."""
        return (self.times[0] if len(self.times) == 1 else self.times) or None

    @property
    def cron_lines(self) -> tuple[str, ...]:
        """The wall-clock slots as five-field cron lines: `time="08:15"` is "15 8 * * *"."""
        if self.cron is not None:
            return (self.cron,)
        return tuple(f"{minute} {hour} * * *" for hour, minute in self.time_slots)


Trigger: TypeAlias = Manual | Poll | Schedule


def make_trigger(**options: Any) -> Trigger:
    """The trigger that the options of `Flow.watch`, all of them, mean.

    Raises:
        FlowValidationError: an option is wrong, missing, or does not belong to the mode; names it and the fix.
    """
    word = _mode(options["mode"], by_clock=options["time"] is not None or options["cron"] is not None)
    shared: dict[str, Any] = {
        "run_as": _choice(options["run_as"], ("individual", "batch"), "run_as"),
        "max_parallel": check_count(options["max_parallel"], "max_parallel", _WHERE),
    }
    settle_s = _settle_seconds(options["settle"])
    authored: AuthoredPath | None = (
        None if options["source"] is None else author_path(options["source"], where=f"{_WHERE}(source=...)")
    )
    if authored is not None:
        shared |= {"source": authored.path, "source_as_authored": authored.text}
    shared["extensions"] = parse_extensions(options["extensions"], where=f"{_WHERE}(extensions=...)")
    catch_up_word = _choice(options["catch_up"], CATCH_UPS, "catch_up")
    shared["shrink"] = _choice(options["shrink"], SHRINKS, "shrink")

    if word != "poll" and settle_s != 1:
        raise _misplaced("settle", word, "'poll'")
    if word != "schedule":
        for name in ("time", "cron", "tz", "skip"):
            if options[name] is not None:
                raise _misplaced(name, word, "'schedule'")
        if catch_up_word != "latest":
            raise _misplaced("catch_up", word, "'schedule'")
    if shared["shrink"] != "hold":
        _check_shrink(word, shared)
    if word == "manual":
        if options["interval"] is not None:
            raise _misplaced("interval", word, "'poll' or 'schedule'")
        return Manual(**shared)
    if word == "poll":
        if authored is None or options["interval"] is None:
            missing = "source" if authored is None else "interval"
            raise FlowValidationError(
                f'mode="poll" requires {missing}=', where=_WHERE, fix='for example source="../in", interval="30s"'
            )
        seconds = parse_duration(options["interval"], where=f"{_WHERE}(interval=...)")
        return Poll(**shared, interval=duration_text(options["interval"]), interval_seconds=seconds, settle=settle_s)
    by_clock = {
        "tz": None if options["tz"] is None else check_zone(options["tz"], where=f"{_WHERE}(tz=...)"),
        "catch_up": catch_up_word,
        **_parse_skip(options["skip"]),
    }
    return _make_schedule(shared, options, by_clock)


def _check_shrink(mode: str, shared: Mapping[str, Any]) -> None:
    if mode == "manual":
        raise _misplaced("shrink", mode, "'poll' or 'schedule'")
    if shared["run_as"] != "batch" and not (mode == "schedule" and shared.get("source") is None):
        raise FlowValidationError(
            "shrink= belongs to batches: other runs take one file each",
            where=_WHERE,
            fix='add run_as="batch", or leave shrink= out',
        )


def _make_schedule(shared: dict[str, Any], options: Mapping[str, Any], by_clock: dict[str, Any]) -> Schedule:
    interval, time, cron = options["interval"], options["time"], options["cron"]
    if sum(value is not None for value in (interval, time, cron)) != 1:
        raise FlowValidationError(
            'mode="schedule" takes exactly one of interval=, time= and cron=',
            where=_WHERE,
            fix='for example time="06:30", interval="15m" or cron="0 6 * * 1-5"',
        )
    if interval is not None:
        names = [name.partition("_file")[0] for name, value in by_clock.items() if value not in (None, "latest", ())]
        if names:
            name = names[0]
            raise FlowValidationError(
                f"{name}= belongs to wall-clock schedules, not to interval=",
                where=_WHERE,
                fix=f"leave {name}= out, or use time= or cron= instead of interval=",
            )
        seconds = parse_duration(interval, where=f"{_WHERE}(interval=...)")
        return Schedule(**shared, interval=duration_text(interval), interval_seconds=seconds)
    if time is not None:
        times, slots = parse_times(time)
        return Schedule(**shared, **by_clock, times=times, time_slots=slots)
    return Schedule(**shared, **by_clock, cron=_parse_cron(cron))


_SKIP_FIX = (
    'give dates, skip=["2026-12-25"], or the name of a file in config/ with one date a line, skip="holidays.txt"'
)


def _parse_skip(value: object) -> dict[str, Any]:
    """The fields of a schedule for days without slots; a file is read, so that its mistakes show now."""
    from datetime import date

    where = f"{_WHERE}(skip=...)"
    if value is None:
        return {}
    if isinstance(value, str) and _read_day(value) is None:
        if not value.strip() or "/" in value or "\\" in value:
            raise FlowValidationError(f"skip cannot be {value!r}", where=where, fix=_SKIP_FIX)
        path = author_path(f"../config/{value}", where=where).path
        read_days(path)
        return {"skip_file": path}
    days = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
    dates = [day if isinstance(day, date) else _read_day(day) if isinstance(day, str) else None for day in days]
    for entry, day in zip(days, dates, strict=True):
        if day is None:
            raise FlowValidationError(f"skip cannot hold {entry!r}", where=where, fix=_SKIP_FIX)
    return {"skip": tuple(sorted({f"{day:%Y-%m-%d}" for day in dates if day is not None}))}


def _read_day(text: str) -> date | None:
    from datetime import date

    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        return None


def skipped_days(skip: Collection[str], skip_file: Path | None) -> frozenset[date]:
    """As `Schedule.skipped_days`, from its fields."""
    return frozenset(filter(None, map(_read_day, skip))) if skip_file is None else read_days(skip_file)


def read_days(path: Path) -> frozenset[date]:
    """The dates in a file, one a line; blank lines, and what follows a `#`, do not count.

    Raises:
        FlowValidationError: it cannot be read, or a line is no date.
    """
    try:
        facts = path.stat()
        return _read_days(path, facts.st_mtime_ns, facts.st_size)
    except (OSError, UnicodeError) as error:
        raise FlowValidationError(
            f"the days without slots cannot be read: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            fix="put the file there with one date a line, such as 2026-12-25, or correct skip=",
        ) from error


@lru_cache(maxsize=64)
def _read_days(path: Path, changed_ns: int, size: int) -> frozenset[date]:
    """Read again when the file has another time or size."""
    days = set()
    for number, line in enumerate(content_of(path).decode("utf-8-sig").splitlines(), 1):
        if text := line.partition("#")[0].strip():
            day = _read_day(text)
            if day is None:
                raise FlowValidationError(
                    f"{beginning(text, 40)!r} is not a date",
                    where=f"{path}, line {number}",
                    fix="write it as 2026-12-25",
                )
            days.add(day)
    return frozenset(days)


def check_zone(value: object, *, where: str) -> str:
    """`value` when it is the name of a time zone.

    Raises:
        FlowValidationError: it is not; offers the nearest names.
    """
    import zoneinfo

    if isinstance(value, str):
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            pass
        else:
            return value
    zones = sorted(zoneinfo.available_timezones())
    of_city = {
        zone.rpartition("/")[2].casefold(): zone for zone in zones if "/" in zone and not zone.startswith("Etc/")
    }
    near = of_city.get(str(value).replace(" ", "_").casefold()) or nearest_name(str(value), zones)
    hint = f"did you mean {near}?" if near else 'use an IANA name such as "Europe/Berlin"'
    if offset := re.fullmatch(r"(?:GMT|UTC) ?([+-])(\d{1,2})", str(value), re.IGNORECASE):
        sign, hours = offset[1], int(offset[2])
        name = f"Etc/GMT{'-' if sign == '+' else '+'}{hours}"  # the names of these zones have the sign of POSIX
        hint = f'use the zone of a place, such as "Europe/Berlin", or "{name}", which is UTC{sign}{hours} all year'
    raise FlowValidationError(f"{value!r} is not a time zone", where=where, fix=hint)


def _choice(value: object, allowed: tuple[str, ...], name: str) -> str:
    word = value.strip().lower() if isinstance(value, str) else None
    if word not in allowed:
        raise FlowValidationError(
            f"{name}={value!r} is not possible", where=_WHERE, fix=f"use one of {', '.join(map(repr, allowed))}"
        )
    return word


def _mode(value: object, *, by_clock: bool) -> str:
    """The mode; `by_clock` says that there is a `time` or `cron`."""
    modes = ("manual", "poll", "schedule")
    word = value.strip().lower() if isinstance(value, str) else ""
    near = nearest_name(word, modes)
    if word not in modes and (by_clock or near):
        fix = f"write mode={'schedule' if by_clock else near!r}; the modes are {', '.join(map(repr, modes))}"
        raise FlowValidationError(f"mode={value!r} is not possible", where=_WHERE, fix=fix)
    return _choice(value, modes, "mode")


def _settle_seconds(value: object) -> float:
    where = f"{_WHERE}(settle=...)"
    if isinstance(value, str) or is_timedelta(value):
        return parse_duration(value, where=where, allow_zero=True)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FlowValidationError(
            f"settle={value!r} must be whole seconds greater than or equal to zero, or a duration text",
            where=where,
            fix='settle=2 or settle="500ms"; settle=0 takes the first sighting',
        )
    parse_duration(f"{min(value, 10**10)}s", where=where, allow_zero=True)  # as long as a duration may be
    return value


def duration_text(value: object) -> str:
    """A duration that `parse_duration` takes, as people read it."""
    if is_timedelta(value):
        return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
    return str(value).strip()


def parse_times(
    value: object, *, where: str = f"{_WHERE}(time=...)", name: str = "time"
) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Times of day, sorted, each once: as "HH:MM" texts, and as (hour, minute).

    Raises:
        FlowValidationError: neither such a text nor some of them.
    """
    fix = 'give "HH:MM", such as "08:15", or a list of them'
    if isinstance(value, str):
        texts: Collection[object] = (value,)
    elif isinstance(value, (list, tuple, set, frozenset)):
        texts = value
    else:
        raise FlowValidationError(f"a time cannot be {type(value).__name__} {value!r}", where=where, fix=fix)
    if not texts:
        raise FlowValidationError(f"{name}= must include at least one time", where=where, fix=fix)
    slots = set()
    for text in texts:
        match = re.fullmatch(_TIME, text.strip()) if isinstance(text, str) else None
        if match is None:
            raise FlowValidationError(f"Invalid schedule time {text!r}", where=where, fix=fix)
        slots.add((int(match[1]), int(match[2])))
    ordered = tuple(sorted(slots))
    return tuple(f"{hour:02}:{minute:02}" for hour, minute in ordered), ordered


def _parse_cron(value: object) -> str:
    """A five-field cron line that fires at least once.

    Reference: cronsim follows Debian's cron, and its handling of daylight-saving changes.
    """
    where = f"{_WHERE}(cron=...)"
    fix = 'give five fields: minute hour day-of-month month day-of-week, such as "0 6 * * 1-5"'
    if not isinstance(value, str) or len(value.split()) != 5:
        raise FlowValidationError(f"{value!r} is not a cron line of five fields", where=where, fix=fix)
    line = " ".join(value.split())
    for index, (name, takes) in enumerate(_CRON_PARTS):
        part = line.split()[index]
        if not _fires(" ".join(part if at == index else "*" for at in range(5))):
            raise FlowValidationError(
                f"the cron line {value!r} is wrong in its {name}: {part!r}",
                where=where,
                fix=f"{'an' if name == 'hour' else 'a'} {name} is {takes}; {fix}",
            )
    if not _fires(line):
        _, _, day, month, _ = line.split()
        raise FlowValidationError(
            f"the cron line {value!r} never fires: month {month} has no day {day}", where=where, fix=fix
        )
    return line


def _fires(line: str) -> bool:
    from datetime import datetime

    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(line, datetime(2024, 1, 1)))
    except (CronSimError, StopIteration):
        return False
    return True


def _misplaced(name: str, mode: str, home: str) -> FlowValidationError:
    return FlowValidationError(
        f"{name}= does not belong to mode={mode!r}", where=_WHERE, fix=f"leave {name}= out, or use mode={home}"
    )


_MOST_TIMES = 4
_INTERVAL = re.compile(r"([\d.]+) ?(ms|[smhdw])")
_NUMBERED = re.compile(r"\b(\d+)th\b")
_NOT_IN_EACH = re.compile(r"(on the (?:29th|30th|31st) day) of every month")


def interval_text(text: str) -> str:
    """A duration in its author's words, with a blank before its unit.

    Example:
        >>> interval_text("5s"), interval_text("15m"), interval_text("2 hours")
        ('5 s', '15 min', '2 hours')
    """
    match = _INTERVAL.fullmatch(text)
    return f"{match[1]} {'min' if match[2] == 'm' else match[2]}" if match else text


def schedule_text(schedule: Schedule) -> str:
    """The times of a schedule in words; with its zone where it names one.

    Example:
        >>> schedule_text(Schedule(cron="0 6 * * 1-5", tz="Europe/Berlin"))
        'at 06:00 on business days (Monday to Friday), Europe/Berlin'
        >>> schedule_text(Schedule(times=("06:30", "18:00")))
        'every day at 06:30 and 18:00'
        >>> schedule_text(Schedule(cron="0 18 31 * *"))
        'at 18:00 on the 31st day, in months that have one (L is the last day)'
        >>> schedule_text(Schedule(times=tuple(f"{hour:02}:00" for hour in range(6, 18))))
        'every day at 06:00, 07:00, 08:00 and 9 more times until 17:00'
    """
    if schedule.interval is not None:
        return f"every {interval_text(schedule.interval)}"
    words = _cron_text(schedule.cron) if schedule.cron else f"every day at {_times_text(schedule.times)}"
    if schedule.skip_name:
        words += f", not on the days in {schedule.skip_name}"
    return f"{words}, {schedule.tz}" if schedule.tz else words


def _times_text(times: tuple[str, ...]) -> str:
    if len(times) > _MOST_TIMES:
        shown = times[: _MOST_TIMES - 1]
        return f"{', '.join(shown)} and {len(times) - len(shown)} more times until {times[-1]}"
    return and_text(times)


def and_text(words: Sequence[str]) -> str:
    """One or more words as people list them.

    Example:
        >>> and_text(["Monday"]), and_text(["06:30", "12:00", "18:00"])
        ('Monday', '06:30, 12:00 and 18:00')
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _cron_text(line: str) -> str:
    from datetime import datetime

    from cronsim import CronSim

    words = CronSim(line, datetime(2024, 1, 1)).explain()
    words = _NUMBERED.sub(lambda match: _ordinal(int(match[1])), words[:1].lower() + words[1:])
    words = _NOT_IN_EACH.sub(r"\1, in months that have one (L is the last day)", words)
    return words.replace("on Monday through Friday", "on business days (Monday to Friday)").replace(" through ", " to ")


def _ordinal(number: int) -> str:
    is_teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if is_teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"

"""Wall-clock slots: when a schedule's `time` or `cron` fires, in its zone.

A line with fixed minutes and hours fires once a day that has it: a local time that does not exist fires right after the
gap, one that occurs twice fires the first time. A line whose minute or hour is `*` goes by elapsed time, so that a
quarter-hourly flow neither stops for an hour in autumn nor fires twice in spring.

Reference: cronsim follows Debian's cron, https://manpages.debian.org/cron.8
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import groupby, islice, takewhile

from data_engine.errors import FlowValidationError
from data_engine.flow.trigger import Schedule
from data_engine.record import frozen

_FIRST_WINDOW_S = 3600.0
_DAY_S = 86_400.0


def zone_of(name: str | None) -> tzinfo:
    """The zone with this IANA name; the machine's for None."""
    if name is None:
        return _OF_MACHINE
    import zoneinfo

    return zoneinfo.ZoneInfo(name)


class MachineZone(tzinfo):
    """The machine's own zone with its daylight-saving rules, whatever its name.

    `datetime.astimezone()` knows the rules but answers with a fixed offset, which would be wrong half a year later.
    """

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        """The offset at that local time; `fold` counts."""
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:
        """Unknown; nothing uses it."""
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        """The zone's abbreviation at that local time."""
        return None if dt is None else dt.replace(tzinfo=None).astimezone().tzname()

    def fromutc(self, dt: datetime) -> datetime:
        """The local time of a UTC time."""
        moment = dt.replace(tzinfo=UTC).astimezone()
        local = moment.replace(tzinfo=self, fold=0)
        return local if self.utcoffset(local) == moment.utcoffset() else local.replace(fold=1)


_OF_MACHINE = MachineZone()
"""A single value, so that slots in it are equal."""


@frozen
class Slots:
    """When cron `lines` fire in a `zone`, but on none of the days `without`; times are seconds since the epoch.

    `trouble` says why the days without slots are not known.
    """

    lines: tuple[str, ...]
    zone: tzinfo
    without: frozenset[date] = frozenset()
    trouble: FlowValidationError | None = None

    def between(self, after_s: float, until_s: float) -> list[float]:
        """Every slot after `after_s` and not after `until_s`, in order, each once.

        Example:
            >>> berlin = zone_of("Europe/Berlin")
            >>> begin = datetime(2026, 3, 28, tzinfo=berlin).timestamp()
            >>> [str(datetime.fromtimestamp(slot, berlin)) for slot in Slots(("30 2 * * *",), berlin).between(begin, begin + 172800)]
            ['2026-03-28 02:30:00+01:00', '2026-03-29 03:00:00+02:00']
            >>> len(Slots(("30 2 * * *",), berlin, frozenset({date(2026, 3, 28)})).between(begin, begin + 172800))
            1
        """
        return list(takewhile(lambda slot_s: slot_s <= until_s, self.after(after_s)))

    def after(self, after_s: float) -> Iterator[float]:
        """Every slot after `after_s`, in order, each once; it ends where there are no more in fifty years."""
        return (slot_s for slot_s, _ in groupby(heapq.merge(*(self._fires(line, after_s) for line in self.lines))))

    def next(self, after_s: float) -> float | None:
        """The first slot after `after_s`; None when there is none in fifty years."""
        return next(self.after(after_s), None)

    def upcoming(self, after_s: float, count: int = 5) -> list[float]:
        """The first `count` slots after `after_s`; fewer where there are no more in fifty years."""
        return list(islice(self.after(after_s), count))

    def newest(self, after_s: float, until_s: float) -> float | None:
        """The last slot after `after_s` and not after `until_s`; None when there is none."""
        window_s = _FIRST_WINDOW_S
        while after_s < until_s:
            start_s = max(after_s, until_s - window_s)
            if slots := self.between(start_s, until_s):
                return slots[-1]
            if start_s == after_s:
                break
            window_s *= 8
        return None

    def skipped(self, now_s: float) -> float | None:
        """The slot of the last 24 hours, else the next before `next`, that is left out because its day has no slots."""
        if not self.without:
            return None
        coming_s = self.next(now_s)
        every = Slots(self.lines, self.zone).after(now_s - _DAY_S)
        before = takewhile(lambda slot_s: coming_s is None or slot_s < coming_s, every)
        return next((at_s for at_s in before if datetime.fromtimestamp(at_s, self.zone).date() in self.without), None)

    def _fires(self, line: str, after_s: float) -> Iterator[float]:
        from cronsim import CronSim

        # Where local times occur twice, cronsim starts from the first of them: some of what it gives may lie before.
        for fires in CronSim(line, datetime.fromtimestamp(after_s, self.zone)):
            slot_s = fires.timestamp()
            if slot_s > after_s and fires.date() not in self.without:
                yield slot_s


def slots_of(trigger: Schedule, timezone: str | None) -> Slots:
    """The slots of a schedule by the clock, in its zone, or in that of the workspace where it names none.

    Where the days without slots cannot be read, `trouble` says why.
    """
    zone = zone_of(trigger.tz or timezone)
    try:
        return Slots(trigger.cron_lines, zone, trigger.skipped_days())
    except FlowValidationError as error:
        return Slots(trigger.cron_lines, zone, trouble=error)


def slot_text(slots: Sequence[float], zone: tzinfo) -> str:
    """Slots as people read them, with the name of the zone.

    Example:
        >>> slot_text([1767600000.0, 1767628800.0, 1767686400.0], zone_of("Europe/Berlin"))
        'Mon 2026-01-05 09:00 and 17:00, Tue 2026-01-06 09:00 (Europe/Berlin)'
    """
    by_day: dict[str, list[str]] = {}
    for slot_s in slots:
        at = datetime.fromtimestamp(slot_s, zone)
        by_day.setdefault(at.strftime("%a %Y-%m-%d"), []).append(at.strftime("%H:%M"))
    days = (f"{day} {', '.join(times[:-1])}{' and ' if times[1:] else ''}{times[-1]}" for day, times in by_day.items())
    name = getattr(zone, "key", None) or f"{datetime.now().astimezone().tzname()}, this machine's zone"
    return f"{', '.join(days)} ({name})" if slots else ""

"""Times and durations as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def time_words(utc: str | None) -> str:
    """A stored time as this machine's clock shows it; "?" where it is not known."""
    return "?" if utc is None else datetime.fromisoformat(utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def zoned_words(utc: str | None, tz: str | None = None) -> str:
    """A stored time of a schedule in the zone that it is meant in, which is named; "" for None.

    Where none is given, as this machine's clock shows it, with how far that clock is from UTC: the machine may be far from who reads it.

    Example:
        >>> zoned_words("2026-01-05T06:30:00+00:00", "Europe/Berlin")
        '2026-01-05 07:30:00 Europe/Berlin'
    """
    if utc is None:
        return ""
    if tz is not None:
        from zoneinfo import ZoneInfo

        return f"{datetime.fromisoformat(utc).astimezone(ZoneInfo(tz)):%Y-%m-%d %H:%M:%S} {tz}"
    at = datetime.fromisoformat(utc).astimezone()
    return f"{at:%Y-%m-%d %H:%M:%S} {offset_words(at)}"


def offset_words(at: datetime) -> str:
    """How far the zone of a time is from UTC then.

    Example:
        >>> [offset_words(datetime.fromisoformat(f"2026-01-05T06:00:00{zone}")) for zone in ("+01:00", "-09:30", "+00:00")]
        ['UTC+1', 'UTC-9:30', 'UTC']
    """
    minutes = round((at.utcoffset() or timedelta()).total_seconds() / 60)
    hours, rest = divmod(abs(minutes), 60)
    return "UTC" + (f"{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "") if minutes else "")


def lasting_words(seconds: float) -> str:
    """A duration in words.

    Example:
        >>> lasting_words(0.503), lasting_words(40.2), lasting_words(300), lasting_words(5400)
        ('0.5 s', '40 s', '5 min', '1.5 h')
    """
    for size_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size_s:
            return f"{seconds / size_s:.2g} {unit}"
    return f"{seconds:.2g} s"


def clock_words(utc: str, tz: str | None = None) -> str:
    """A stored time in a zone (None: this machine's): the time alone on the day that it is there now, else with its date.

    The zone is named, but this machine's own.

    Example:
        >>> clock_words("2026-01-05T06:00:00+00:00", "Europe/Berlin")
        'Mon 2026-01-05 07:00 Europe/Berlin'
    """
    from zoneinfo import ZoneInfo

    at = datetime.fromisoformat(utc)
    local, now = (one.astimezone(None if tz is None else ZoneInfo(tz)) for one in (at, datetime.now(UTC)))
    words = local.strftime("%H:%M" if local.date() == now.date() else "%a %Y-%m-%d %H:%M")
    return words if tz is None else f"{words} {tz}"


def local_time(utc: str | None) -> str:
    """The same; "" for None."""
    return "" if utc is None else time_words(utc)


def seconds(elapsed_s: float | None) -> str:
    """A duration for people.

    Example:
        >>> seconds(0.1234), seconds(75), seconds(3700), seconds(None)
        ('0.12 s', '1 min 15 s', '1 h 1 min', '')
    """
    if elapsed_s is None:
        return ""
    if elapsed_s < 59.995:
        return f"{elapsed_s:.2f} s"
    minutes, rest = divmod(round(elapsed_s), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"

"""When a schedule runs, in words."""

from __future__ import annotations

import re

from data_engine.flow.trigger import Schedule

_MOST_TIMES = 4
_INTERVAL = re.compile(r"([\d.]+) ?(ms|[smhdw])")
_NUMBERED = re.compile(r"\b(\d+)th\b")
_ENDS = {
    "21": "st",
    "22": "nd",
    "23": "rd",
    "31": "st",
    "32": "nd",
    "33": "rd",
    "41": "st",
    "42": "nd",
    "43": "rd",
    "51": "st",
}
_ENDS |= {"52": "nd", "53": "rd"}
_NOT_IN_EACH = re.compile(r"(on the (?:29th|30th|31st) day) of every month")


def interval_words(text: str) -> str:
    """A duration as it was written, with a blank before its unit.

    Example:
        >>> interval_words("5s"), interval_words("15m"), interval_words("2 hours")
        ('5 s', '15 min', '2 hours')
    """
    found = _INTERVAL.fullmatch(text)
    return f"{found[1]} {'min' if found[2] == 'm' else found[2]}" if found else text


def schedule_words(schedule: Schedule) -> str:
    """When it runs, in words; its zone only where it names one.

    Example:
        >>> schedule_words(Schedule(cron="0 6 * * 1-5", tz="Europe/Berlin"))
        'at 06:00 on business days (Monday to Friday), Europe/Berlin'
        >>> schedule_words(Schedule(times=("06:30", "18:00")))
        'every day at 06:30 and 18:00'
        >>> schedule_words(Schedule(cron="0 18 31 * *"))
        'at 18:00 on the 31st day, in months that have one (L is the last day)'
        >>> schedule_words(Schedule(times=tuple(f"{hour:02}:00" for hour in range(6, 18))))
        'every day at 06:00, 07:00, 08:00 and 9 more times until 17:00'
    """
    if schedule.interval is not None:
        return f"every {interval_words(schedule.interval)}"
    words = _cron_words(schedule.cron) if schedule.cron else f"every day at {_times_words(schedule.times)}"
    if schedule.skip_name:
        words += f", not on the days in {schedule.skip_name}"
    return f"{words}, {schedule.tz}" if schedule.tz else words


def _times_words(times: tuple[str, ...]) -> str:
    if len(times) > _MOST_TIMES:
        shown = times[: _MOST_TIMES - 1]
        return f"{', '.join(shown)} and {len(times) - len(shown)} more times until {times[-1]}"
    return " and ".join(filter(None, (", ".join(times[:-1]), times[-1])))


def _cron_words(line: str) -> str:
    from datetime import datetime

    from cronsim import CronSim

    words = CronSim(line, datetime(2024, 1, 1)).explain()
    words = _NUMBERED.sub(lambda found: f"{found[1]}{_ENDS.get(found[1], 'th')}", words[:1].lower() + words[1:])
    words = _NOT_IN_EACH.sub(r"\1, in months that have one (L is the last day)", words)
    return words.replace("on Monday through Friday", "on business days (Monday to Friday)").replace(" through ", " to ")

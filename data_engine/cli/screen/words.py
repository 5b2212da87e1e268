"""Times, progress and flows in the few letters that a row of the screen has."""

from __future__ import annotations

from datetime import datetime, timedelta

from data_engine.cli.screen.cells import Signs
from data_engine.lease.status import duration_words
from data_engine.model import ActiveRun
from jupyter_extension.view import ExpectedLine, FlowRow

_BAR = 10


def short_time(utc: str | None, now: datetime) -> str:
    """A stored time on the clock of `now`: the time of this day, with the weekday within six days of it, else the date.

    Example:
        >>> from datetime import UTC
        >>> now = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
        >>> [short_time(f"2026-01-{day}:30:00+00:00", now) for day in ("05T19", "07T08", "20T08")]
        ['19:30', 'Wed 08:30', '2026-01-20']
    """
    if utc is None:
        return ""
    at = datetime.fromisoformat(utc).astimezone(now.tzinfo)
    if at.date() == now.date():
        return f"{at:%H:%M}"
    return f"{at:%a %H:%M}" if abs(at.date() - now.date()) < timedelta(days=6) else f"{at:%Y-%m-%d}"


def since(utc: str, now: datetime) -> str:
    """How long ago, as a clock that runs would show it; "" for what is to come.

    Example:
        >>> from datetime import UTC
        >>> now = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
        >>> [since(f"2026-01-05T{at}+00:00", now) for at in ("11:59:48", "11:55:00", "09:00:00", "12:00:01")]
        ['12 s', '5 min', '3 h 0 min', '']
    """
    passed_s = int((now - datetime.fromisoformat(utc)).total_seconds())
    if passed_s < 0:
        return ""
    if passed_s < 60:
        return f"{passed_s} s"
    minutes = passed_s // 60
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def progress(run: ActiveRun, signs: Signs) -> str:
    """How far the step is, where it says so.

    Example:
        >>> from data_engine.cli.screen.cells import ASCII
        >>> run = ActiveRun("r1", "claims", "G", None, "", 7, True, step="Read", done=40, total=100)
        >>> progress(run, ASCII)
        '####...... 40 of 100'
    """
    if run.done is None:
        return ""
    if not run.total:
        return f"{run.done:,} done"
    full = round(_BAR * min(max(run.done / run.total, 0), 1))
    return f"{signs.full * full}{signs.empty * (_BAR - full)} {run.done:,} of {run.total:,}"


def waiting_words(row: FlowRow) -> str:
    """How many runs of the flow wait."""
    return f"{row.waiting:,} waiting" if row.waiting else ""


def last_words(row: FlowRow, now: datetime) -> str:
    """How its last run ended, and when."""
    return "never ran" if row.last is None else f"{row.last.mark.word} {short_time(row.last.at_utc, now)}"


def expected_words(expected: ExpectedLine | None, now: datetime) -> tuple[str, str]:
    """How a flow stands to what is expected of it, with the time that is left, and the style to say it in.

    Example:
        >>> from datetime import UTC
        >>> due = ExpectedLine("expected", "due by 07:00", "2026-01-05T12:12:00+00:00")
        >>> expected_words(due, datetime(2026, 1, 5, 12, 0, tzinfo=UTC))
        ('', 'due by 07:00, 12 min left')
        >>> expected_words(ExpectedLine("late", "late since 07:00"), datetime(2026, 1, 5, 12, 0, tzinfo=UTC))
        ('bad', 'late since 07:00')
    """
    if expected is None:
        return "", ""
    if expected.due_utc is None:
        return ("bad" if expected.kind == "late" else "warn"), expected.text
    left_s = (datetime.fromisoformat(expected.due_utc) - now).total_seconds()
    return "", f"{expected.text}, {duration_words(left_s)} left" if left_s > 0 else expected.text

"""The values of `Flow.expect` and `Flow.alert`: what is expected of a flow, and who gets alerts of which troubles."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY

from data_engine.duration import parse_duration
from data_engine.errors import FlowValidationError
from data_engine.flow.trigger import Schedule, Trigger, and_text, check_zone, duration_text, parse_times
from data_engine.message import TROUBLES
from data_engine.record import frozen
from data_engine.secret import is_secret_name
from data_engine.suggestions import near_offer

OF_FLOWS = tuple(kind for kind in TROUBLES if kind not in ("silent_owner", "unreachable"))
"""The kinds of trouble that a flow can have; the others are of a whole workspace."""

OF_ALERTS = (*OF_FLOWS, "report")
"""The kinds that `Flow.alert` takes; "report" is a page that a run has made."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""The words of `days=`; a day's number is its place here."""

_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_EXPECT, _ALERT = "Flow.expect", "Flow.alert"
_DAYS_FIX = 'give days="mon-fri", days="mon,thu" or days=["sat", "sun"]; without it every day counts'


@frozen
class Expectation:
    """The expectation of one call of `Flow.expect`: a success `by` these times of `days` (numbers, Monday is 0; () is every day) in
    zone `tz` (None: the workspace's), one within `every` interval, runs no longer than `within`, and slots that begin within
    `grace`. Durations are there as their author wrote them and in seconds.

    Example:
        >>> make_expectation(by="7:00", every=None, within=None, grace=None, days="mon-fri", tz=None).days
        (0, 1, 2, 3, 4)
    """

    _: KW_ONLY
    by: tuple[str, ...] = ()
    days: tuple[int, ...] = ()
    tz: str | None = None
    every: str | None = None
    every_s: float | None = None
    within: str | None = None
    within_s: float | None = None
    grace: str | None = None
    grace_s: float | None = None

    @property
    def times(self) -> tuple[tuple[int, int], ...]:
        """The times of `by` as (hour, minute)."""
        return tuple((int(text[:2]), int(text[3:])) for text in self.by)


@frozen
class AlertRule:
    """The rule of one call of `Flow.alert`: alerts `on` these kinds go `to` these (names of secrets); None: as the workspace says."""

    _: KW_ONLY
    to: tuple[str, ...] | None = None
    on: tuple[str, ...] | None = None


def make_expectation(
    *, by: object, every: object, within: object, grace: object, days: object, tz: object
) -> Expectation:
    """The expectation that these options of `Flow.expect` mean.

    Raises:
        FlowValidationError: nothing is expected, or an option is wrong; names it and the fix.
    """
    if by is None and every is None and within is None and grace is None:
        raise FlowValidationError(
            "nothing is expected", where=_EXPECT, fix='for example by="07:00", every="1h", within="30m" or grace="10m"'
        )
    if by is None and (days is not None or tz is not None):
        name = "days" if days is not None else "tz"
        raise FlowValidationError(
            f"{name}= belongs to by=",
            where=f"{_EXPECT}({name}=...)",
            fix=f'leave {name}= out, or say by="07:00" with it',
        )
    values = {"every": every, "within": within, "grace": grace}
    durations = {name: value for name, value in values.items() if value is not None}
    options: dict[str, object] = {name: duration_text(value) for name, value in durations.items()}
    for name, value in durations.items():
        options[f"{name}_s"] = parse_duration(value, where=f"{_EXPECT}({name}=...)", allow_zero=name == "grace")
    if by is not None:
        options["by"] = parse_times(by, where=f"{_EXPECT}(by=...)", name="by")[0]
        options["days"] = _parse_days(days)
        options["tz"] = None if tz is None else check_zone(tz, where=f"{_EXPECT}(tz=...)")
    return Expectation(**options)  # type: ignore[arg-type]


def with_expectation(expectations: tuple[Expectation, ...], new: Expectation) -> tuple[Expectation, ...]:
    """The expectations and the new one.

    Raises:
        FlowValidationError: the new one repeats an earlier one.
    """
    for name in ("every", "within", "grace"):
        values = (getattr(expectation, name) for expectation in expectations)
        before = next((value for value in values if value is not None), None)
        if getattr(new, name) is not None and before is not None:
            raise FlowValidationError(
                f"{name}= is said twice: {before} and {getattr(new, name)}",
                where=f"{_EXPECT}({name}=...)",
                fix=f"say {name}= in one of the calls",
            )
    for expectation in expectations:
        twice = set(expectation.by) & set(new.by)
        has_same_day = not expectation.days or not new.days or set(expectation.days) & set(new.days)
        if twice and expectation.tz == new.tz and has_same_day:
            raise FlowValidationError(
                f"by={min(twice)!r} is said twice for the same days",
                where=f"{_EXPECT}(by=...)",
                fix="leave it out of one of the calls, or give other days=",
            )
    return (*expectations, new)


def check_grace(expectations: Iterable[Expectation], trigger: Trigger | None) -> None:
    """Return when the flow has slots that could begin late, or `grace` is not used.

    Raises:
        FlowValidationError: it has none.
    """
    has_slots = isinstance(trigger, Schedule) and trigger.interval_seconds is None
    if trigger is not None and not has_slots and any(expectation.grace_s is not None for expectation in expectations):
        raise FlowValidationError(
            "grace= is how late a time of a schedule may begin, and this flow has no times",
            where=f"{_EXPECT}(grace=...)",
            fix='leave grace= out, or give the flow times: .watch(mode="schedule", time="06:00")',
        )


def make_alert(*, to: object, on: object) -> AlertRule:
    """The rule that these options of `Flow.alert` mean.

    Raises:
        FlowValidationError: neither is given, a text that is not the name of a secret, or an unknown kind.
    """
    if to is None and on is None:
        raise FlowValidationError(
            "it says neither who is told nor of what", where=_ALERT, fix='for example to=["ops"], on=["failed", "late"]'
        )
    return AlertRule(to=None if to is None else _secret_names(to), on=None if on is None else _kinds(on))


def expectation_text(expectations: Sequence[Expectation]) -> str:
    """The expectations in words; "" without any.

    Example:
        >>> expectation = make_expectation(by="07:00", every=None, within="30m", grace=None, days="mon-fri", tz="Europe/Berlin")
        >>> expectation_text([expectation])
        'done by 07:00 on business days (Monday to Friday), Europe/Berlin; a run takes no longer than 30m'
    """
    parts: list[str] = []
    for expectation in expectations:
        if expectation.by:
            zone = f", {expectation.tz}" if expectation.tz else ""
            parts.append(f"done by {and_text(expectation.by)} {_days_text(expectation.days)}{zone}")
        if expectation.every:
            parts.append(f"done at least once within every {expectation.every}")
        if expectation.within:
            parts.append(f"a run takes no longer than {expectation.within}")
        if expectation.grace:
            parts.append(f"begins within {expectation.grace} of its time")
    return "; ".join(parts)


def _days_text(days: tuple[int, ...]) -> str:
    if not days:
        return "every day"
    if days == (0, 1, 2, 3, 4):
        return "on business days (Monday to Friday)"
    return f"on {and_text([_DAY_NAMES[day] for day in days])}"


def _parse_days(value: object) -> tuple[int, ...]:
    """The numbers of the days, sorted; () for every day."""
    where = f"{_EXPECT}(days=...)"
    if value is None:
        return ()
    if not isinstance(value, (str, list, tuple, set, frozenset)):
        raise FlowValidationError(f"days cannot be {value!r}", where=where, fix=_DAYS_FIX)
    texts = value.split(",") if isinstance(value, str) else list(value)
    days: set[int] = set()
    for text in texts:
        days |= set(_span(text, where))
    if not days:
        raise FlowValidationError("days= names no day", where=where, fix=_DAYS_FIX)
    return () if len(days) == len(DAYS) else tuple(sorted(days))


def _span(text: object, where: str) -> list[int]:
    """The days from one to another, also over the end of a week."""
    ends = [_day(part, where) for part in re.split(r"[-–]", text)] if isinstance(text, str) else []
    if not 1 <= len(ends) <= 2:
        raise FlowValidationError(f"{text!r} is not a day of the week", where=where, fix=_DAYS_FIX)
    first, last = ends[0], ends[-1]
    return [(first + number) % 7 for number in range((last - first) % 7 + 1)]


def _day(text: str, where: str) -> int:
    words = [*DAYS, *(name.lower() for name in _DAY_NAMES)]
    if (word := text.strip().lower()) not in words:
        raise FlowValidationError(f"{text.strip()!r} is not a day of the week", where=where, fix=_DAYS_FIX)
    return words.index(word) % len(DAYS)


def _secret_names(value: object) -> tuple[str, ...]:
    where, fix = (
        f"{_ALERT}(to=...)",
        'name a secret, to=["ops"], and keep the address in it: data-engine secret set ops',
    )
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not all(is_secret_name(name) for name in names):
        # It may be the address itself, which no message may show.
        raise FlowValidationError("to= holds something that is not the name of a secret", where=where, fix=fix)
    return tuple(dict.fromkeys(names))


def _kinds(value: object) -> tuple[str, ...]:
    where, fix = f"{_ALERT}(on=...)", f"use some of {', '.join(map(repr, OF_ALERTS))}"
    kinds = [value] if isinstance(value, str) else value
    if not isinstance(kinds, (list, tuple, set, frozenset)) or not kinds:
        raise FlowValidationError(f"on={value!r} names no kind of trouble", where=where, fix=fix)
    for kind in kinds:
        if kind in ("silent_owner", "unreachable"):
            raise FlowValidationError(
                f"{kind!r} is about the whole workspace and not about one flow",
                where=where,
                fix="say it in the workspace's settings: [alerts] on",
            )
        if kind not in OF_ALERTS:
            raise FlowValidationError(
                f"{kind!r} is not a kind of trouble", where=where, fix=f"{near_offer(str(kind), OF_ALERTS)}{fix}"
            )
    return tuple(kind for kind in OF_ALERTS if kind in kinds)

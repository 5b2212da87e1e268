"""Choose the runs of a backfill: the files of a range by their time and name, or the slots of a range. Pure, over frozen values.

A range has both ends in it. Its texts are read in the flow's zone: a month is all its days, a day all its hours, be they 23
or 25; any other text is that moment.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import date, datetime, timedelta, tzinfo
from fnmatch import fnmatchcase
from itertools import takewhile
from typing import Literal, TypeAlias, get_args

from data_engine.errors import FlowValidationError
from data_engine.flow.trigger import Schedule, Trigger
from data_engine.formatting import beginning
from data_engine.ledger.backfills import LastEnd
from data_engine.model import PlannedRun, Signature, SourceKey, SourceState, utc_text
from data_engine.planning.due import HELD_STATUSES, holds, matches
from data_engine.planning.slots import slots_of
from data_engine.record import frozen
from data_engine.suggestions import nearest_files

Reprocess: TypeAlias = Literal["failed", "missing", "outdated", "all"]
MOST_RUNS = 100_000
"""The most runs of one backfill."""

_NEAREST = 3
"""The number of similar names in an answer."""
_MONTH = re.compile(r"(\d{4})-(\d{2})")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}")
_WEEK = re.compile(r"\d{4}-?W", re.IGNORECASE)
_TICK_S = 1e-6


@frozen
class Wanted:
    """The choice of a person: a range (None: without that end), which files of it by name, and which of those.

    Raises:
        FlowValidationError: `reprocess` is none of its words.
    """

    since: str | None = None
    until: str | None = None
    where: str | None = None
    reprocess: Reprocess = "failed"

    def __post_init__(self) -> None:
        if self.reprocess not in get_args(Reprocess):
            raise FlowValidationError(
                f"reprocess cannot be {self.reprocess!r}",
                where="backfill(reprocess=...)",
                fix='give "failed" (held, or the last run failed), "missing" (no success), "outdated" (what it read has changed) or "all"',
            )


@frozen
class Chosen:
    """The runs of a backfill, in order, and how many lie in its range: all, those without a success, those that failed.

    `nearest` are files of the source where none is named as was asked for.
    """

    kind: Literal["files", "slots"]
    planned: tuple[PlannedRun, ...]
    known: Mapping[str, int]
    nearest: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of exactly these runs, so that another machine begins no others."""
        rows = [(run.source, run.scheduled_for) for run in self.planned]
        return hashlib.sha256(json.dumps([self.kind, rows]).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def has_slots(trigger: Trigger) -> bool:
    """Whether a flow with this trigger is backfilled by its slots."""
    return isinstance(trigger, Schedule) and trigger.interval_seconds is None


def is_backfilled(trigger: Trigger | None) -> bool:
    """Whether a flow with this trigger has slots or files that a backfill can run again."""
    return trigger is not None and (has_slots(trigger) or trigger.source is not None)


def choose_files(
    files: Mapping[str, Signature | None],
    ends: Mapping[str, LastEnd],
    wanted: Wanted,
    zone: tzinfo,
    outdated: Set[str | None] = frozenset(),
) -> Chosen:
    """The files of the range to run again: of `files`, by their paths inside the folder (None: it is gone). `ends` has the end of the
    last run of each that counts, `outdated` those whose outputs are.

    Example:
        >>> from data_engine.planning.slots import zone_of
        >>> files = {"a.csv": Signature(1, 0), "b.csv": Signature(1, 86_400 * 10**9)}
        >>> ends = {"a.csv": LastEnd("failed", False), "b.csv": LastEnd("success", True)}
        >>> chosen = choose_files(files, ends, Wanted(until="1970-01-01"), zone_of("UTC"))
        >>> [run.source for run in chosen.planned], chosen.known["all"]
        (['a.csv'], 1)
    """
    since_s, until_s = bounds(wanted.since, wanted.until, zone)

    def is_in(path: str, signature: Signature | None) -> bool:
        if not is_named(path, wanted.where):
            return False
        if signature is None:
            return since_s is None and until_s is None
        at_s = signature.mtime_ns / 1_000_000_000
        return (since_s is None or at_s >= since_s) and (until_s is None or at_s <= until_s)

    runs = [PlannedRun(path) for path, signature in files.items() if is_in(path, signature)]
    chosen = _chosen("files", runs, wanted, lambda run: ends.get(run.source or ""), lambda run: run.source in outdated)
    return chosen if runs else replace(chosen, nearest=nearest(list(files), wanted.where))


def ends_of_states(
    files: Mapping[str, Signature | None], states: Mapping[SourceKey, SourceState], root: str
) -> dict[str, LastEnd]:
    """The end of the last run of each file of a poll flow, as the file is now; `root` is the source as authored."""
    ends = {}
    for path, signature in files.items():
        state = states.get(SourceKey(root, path))
        if state is None:
            continue
        is_good = (
            state.success is not None
            and signature is not None
            and matches(signature, state.success, by_content=False) is True
        )
        ends[path] = LastEnd("failed" if holds(state) else state.status, is_good)
    return ends


def choose_slots(
    trigger: Schedule,
    sources: Sequence[str | None],
    ends: Mapping[tuple[str, str | None], LastEnd],
    wanted: Wanted,
    timezone: str | None,
    *,
    now_s: float,
    outdated: Set[tuple[str | None, str | None]] = frozenset(),
) -> Chosen:
    """The slots of the range to run again, each for every source; none that is still to come. `outdated` are the slots and sources whose
    outputs are; a result without a slot is made again by the newest one.

    Raises:
        FlowValidationError: there are too many, or nothing says with which to begin.

    Example:
        >>> trigger = Schedule(times=("06:00",), time_slots=((6, 0),))
        >>> chosen = choose_slots(trigger, [None], {}, Wanted("2026-03-28", "2026-03-29", reprocess="all"),
        ...                       "Europe/Berlin", now_s=2e9)
        >>> [run.scheduled_for for run in chosen.planned]
        ['2026-03-28T05:00:00.000000+00:00', '2026-03-29T04:00:00.000000+00:00']
    """
    rule = slots_of(trigger, timezone)
    if rule.trouble is not None:
        raise rule.trouble
    since_s, until_s = bounds(wanted.since, wanted.until, rule.zone)
    until_s = now_s if until_s is None else min(until_s, now_s)
    if since_s is None:
        first = min((slot for slot, _ in ends), default=None)
        if first is None or wanted.reprocess not in ("failed", "outdated"):
            raise FlowValidationError(
                "a schedule has no first slot, so the range needs a first day",
                where="backfill(since=...)",
                fix="give the first day: --since 2013-03-01, since=date(2013, 3, 1)",
            )
        since_s = datetime.fromisoformat(first).timestamp()
    slots: list[float] = []
    for slot in takewhile(lambda slot: slot <= until_s, rule.after(since_s - _TICK_S)):
        slots.append(slot)
        _refuse_too_many(len(slots))
    names = [source for source in sources if is_named(source or "", wanted.where)]
    planned = [PlannedRun(name, utc_text(slot)) for slot in slots for name in names]

    def end_of(run: PlannedRun) -> LastEnd | None:
        slot = run.scheduled_for or ""
        return ends.get((slot, run.source)) or ends.get((slot, None))

    last = utc_text(slots[-1]) if slots else None

    def is_outdated(run: PlannedRun) -> bool:
        at_slot = {run.scheduled_for, None} if run.scheduled_for == last else {run.scheduled_for}
        return any((slot, run.source) in outdated for slot in at_slot)

    chosen = _chosen("slots", planned, wanted, end_of, is_outdated)
    return chosen if names else replace(chosen, nearest=nearest([source or "" for source in sources], wanted.where))


def is_named(path: str, where: str | None) -> bool:
    """Whether `where` names a file, by its path inside the folder or by its name.

    Example:
        >>> is_named("2013/a.csv", "a*.csv"), is_named("2013/a.csv", "2013/*"), is_named("b.csv", "a*"), is_named("b", None)
        (True, True, False, True)
    """
    return where is None or fnmatchcase(path, where) or fnmatchcase(path.rpartition("/")[2], where)


def nearest(paths: Sequence[str], where: str | None) -> tuple[str, ...]:
    """The files of a source with names most like `where`, which names none, else the first ones; none where it names a file.

    Example:
        >>> nearest(["2013/claims-01.csv", "2013/parts.csv"], "clams-01.csv"), nearest(["a.csv", "b.csv"], "*.xlsx")
        (('2013/claims-01.csv',), ('a.csv', 'b.csv'))
        >>> nearest(["A.csv", "ab.csv"], "a.CSV"), nearest(["a.csv", "b.csv"], "b*")
        (('A.csv',), ())
    """
    if where is None or any(is_named(path, where) for path in paths):
        return ()
    alike = [path for path in paths if is_named(path.lower(), where.lower())]
    return tuple((alike or nearest_files(where, paths) or paths)[:_NEAREST])


def bounds(
    since: str | None, until: str | None, zone: tzinfo, *, of: str = "backfill"
) -> tuple[float | None, float | None]:
    """A range as seconds since the epoch, both ends in it (None: without that end); `of` names the call in errors.

    Raises:
        FlowValidationError: a text is no day, or the range ends before it begins.
    """
    since_s = None if since is None else moment(since, zone, name="since", of=of)
    until_s = None if until is None else moment(until, zone, name="until", is_end=True, of=of)
    if since_s is not None and until_s is not None and until_s < since_s:
        raise FlowValidationError(
            f"the range ends ({until}) before it begins ({since})",
            where=f"{of}(since=..., until=...)",
            fix="swap the two",
        )
    return since_s, until_s


def moment(text: str, zone: tzinfo, *, name: str, is_end: bool = False, of: str = "backfill") -> float:
    """A day, a month or a time of that zone, as seconds since the epoch; as the end of a range the last moment of it.

    Raises:
        FlowValidationError: it is none.

    Example:
        >>> from data_engine.planning.slots import zone_of
        >>> berlin = zone_of("Europe/Berlin")
        >>> ranges = ("2026-03-29", "2026-10-25", "2026-10")
        >>> ends = [moment(text, berlin, name="until", is_end=True) for text in ranges]
        >>> [round(end - moment(text, berlin, name="since")) / 3600 for text, end in zip(ranges, ends)]
        [23.0, 25.0, 745.0]
    """
    text = text.strip()
    try:
        if match := _MONTH.fullmatch(text):
            first = date(int(match[1]), int(match[2]), 1)
            return _of_days(first, (first + timedelta(days=32)).replace(day=1), zone, is_end)
        if _DAY.fullmatch(text):
            day = date.fromisoformat(text)
            return _of_days(day, day + timedelta(days=1), zone, is_end)
        if _WEEK.match(text):  # Python takes a week for the midnight it begins with
            raise ValueError(text)
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise FlowValidationError(
            f"{name} cannot be {beginning(text, 80)!r}",
            where=f"{of}({name}=...)",
            fix="give a day as 2013-03-01, a month as 2013-03, or a time as 2013-03-01T06:00",
        ) from error


def _of_days(first: date, after: date, zone: tzinfo, is_end: bool) -> float:
    def begin(day: date) -> float:
        return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()

    return begin(after) - _TICK_S if is_end else begin(first)


def _chosen(
    kind: Literal["files", "slots"],
    runs: Sequence[PlannedRun],
    wanted: Wanted,
    end_of: Callable[[PlannedRun], LastEnd | None],
    is_outdated: Callable[[PlannedRun], bool],
) -> Chosen:
    ends = [(run, end_of(run)) for run in runs]
    by_choice: dict[str, list[PlannedRun]] = {
        "all": list(runs),
        "missing": [run for run, end in ends if end is None or not end.has_success],
        "failed": [run for run, end in ends if end is not None and end.status in HELD_STATUSES],
    }
    if wanted.reprocess == "outdated":  # else nobody has looked
        by_choice["outdated"] = [run for run in runs if is_outdated(run)]
    planned = by_choice[wanted.reprocess]
    _refuse_too_many(len(planned))
    return Chosen(kind, tuple(planned), {name: len(part) for name, part in by_choice.items()})


def _refuse_too_many(count: int) -> None:
    if count > MOST_RUNS:
        raise FlowValidationError(
            f"that would be more than {MOST_RUNS:,} runs",
            where="backfill",
            fix="give shorter ranges, one after the other",
        )

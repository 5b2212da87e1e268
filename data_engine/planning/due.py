"""Decide what is due and why: pure functions over frozen values. Clocks are arguments, nothing is read, nothing is kept.

Two clocks: `now_s` is wall time, seconds since the epoch; `local_s` and the times of a `SeenFile` are seconds of a clock
that only goes forward. `PlannedFlow.flow` is a name: whoever plans need not have loaded the flow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Set
from dataclasses import field, replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple, TypeAlias

from data_engine.flow.flow import Flow
from data_engine.flow.scan import is_candidate_name
from data_engine.flow.spec import Collect
from data_engine.flow.trigger import Manual, Schedule, Trigger
from data_engine.model import RunFinished, SeenSource, Signature, SourceKey, SourceState, Switch, utc_text
from data_engine.notebook.mirror_warnings import Folders, folders_of
from data_engine.planning.slots import Slots
from data_engine.reasons.kinds import (
    ByHand,
    Changed,
    DaemonSilent,
    DaysUnknown,
    Disabled,
    Done,
    EngineOff,
    Freed,
    Held,
    Interrupted,
    Locked,
    MayBeOutput,
    NameFiltered,
    NeedsHash,
    New,
    NoFiles,
    NotListed,
    NotThere,
    NotYet,
    OwnedElsewhere,
    OwnOutput,
    Retried,
    RetryLater,
    Settling,
    Slot,
    Tick,
    WaitsForSettling,
    WhyDue,
)
from data_engine.reasons.remedies import Reason
from data_engine.record import frozen
from data_engine.suggestions import nearest_files
from data_engine.workspace.settings import WorkspaceSettings

HELD_STATUSES = ("failed", "stopped", "killed")
"""A source whose last run ended so is held."""

_LOCKED_S = 1.0
"""A source that somebody lets nobody read is looked at again after so long, or after the flow's `settle` where that is longer."""

_SECOND_NS = 10**9


@frozen
class PlannedFlow:
    """The facts of a flow that planning needs: no code of its author, so they may come from another process."""

    flow: str
    group: str
    trigger: Trigger
    mirror: Path | None = None
    collects: tuple[Collect, ...] = ()
    folders: Folders = Folders()

    @classmethod
    def of(cls, flow: Flow) -> PlannedFlow:
        """The facts of a flow with a name; without a trigger it is manual."""
        mirror = None if flow.mirror_spec is None or flow.mirrors_into_source else flow.mirror_spec.root
        trigger = flow.trigger or Manual()
        return cls(flow.name or "", flow.group, trigger, mirror, flow.collects, folders_of(flow))

    def key(self, path: str) -> SourceKey:
        """The identity of the source at `path` inside the root; "" is a single file, or a batch as a whole."""
        return SourceKey(self.trigger.source_as_authored or "", path)


class SeenFile(NamedTuple):
    """A source file that was the same from `since_s` to `last_s`, on this machine's forward clock.

    `suspects` are the runs that were under way when it was first seen, None until it is first judged, and empty for what is known to be
    a source. `locked_by` is the program that lets nobody read it; `is_elsewhere` where its content is in a cloud or an archive: it is
    not fetched to be compared, size and time decide.
    """

    signature: Signature
    since_s: float
    last_s: float
    suspects: frozenset[str] | None = None
    locked_by: str | None = None
    is_elsewhere: bool = False

    def second_look_s(self, settle_s: float) -> float | None:
        """When to see whether it is still the same; None once it was so for as long as a flow's `settle_s`.

        Example:
            >>> file = SeenFile(Signature(7, 1), since_s=10.0, last_s=10.0)
            >>> file.second_look_s(5.0), file._replace(last_s=15.0).second_look_s(5.0)
            (15.0, None)
            >>> file._replace(locked_by="EXCEL.EXE").second_look_s(0.2)
            11.0
        """
        if self.locked_by is not None:
            settle_s = max(settle_s, _LOCKED_S)
        return self.since_s + settle_s if settling_s(self.since_s, self.last_s, settle_s) else None


@frozen
class Due:
    """Run it. `seen` are the sources the run settles, as they were seen; `key` is None where there is no source."""

    key: SourceKey | None
    why: WhyDue
    seen: tuple[SeenSource, ...] = ()


@frozen
class NotDue:
    """Leave it, for this reason."""

    key: SourceKey | None
    why: Reason


Verdict: TypeAlias = Due | NotDue


@frozen
class SourceRules:
    """The rules that decide about sources beside their state.

    `freed` are the ids of runs whose bad end no longer holds their source (somebody retried, or started the engine);
    `failures` counts the failures in a row of sources that `retries` may try again, after `retry_delay_s`, doubled each time.
    """

    by_content: bool = False
    freed: Set[str] = frozenset()
    failures: Mapping[SourceKey, int] = field(default_factory=dict)
    retries: int = 0
    retry_delay_s: float = 30.0

    @classmethod
    def of(cls, settings: WorkspaceSettings) -> SourceRules:
        """The rules in a workspace's settings, before anything was freed or failed."""
        return cls(
            by_content=settings.freshness == "content",
            retries=settings.retry.retries,
            retry_delay_s=settings.retry.delay_s,
        )


def settling_s(since_s: float, last_s: float, settle_s: float) -> float:
    """The seconds that a file that was the same from `since_s` to `last_s` must still be so before it is whole; 0 when it is.

    Example:
        >>> settling_s(10.0, 11.5, 2.0), settling_s(10.0, 12.0, 2.0)
        (0.5, 0.0)
    """
    return max(settle_s - (last_s - since_s), 0.0)


def judge(
    key: SourceKey,
    file: SeenFile,
    state: SourceState | None,
    rules: SourceRules,
    *,
    settle_s: float,
    now_s: float,
    output: OwnOutput | MayBeOutput | None = None,
) -> Verdict:
    """Whether one source file is due; `output` is why it is no source, where the flow wrote it or a run under way may have."""
    signature, since_s, last_s, _, locked_by, is_elsewhere = file
    if is_elsewhere:
        rules = replace(rules, by_content=False)
    left_s = settling_s(since_s, last_s, settle_s)
    waits = Locked(locked_by) if locked_by else Settling(left_s) if left_s else None
    why: WhyDue
    if state is None:
        if output is not None:
            return NotDue(key, output)
        why = New()
    else:
        decision = _compare(key, signature, state, rules, now_s)
        if isinstance(decision, NotDue):
            if waits is not None and isinstance(decision.why, NeedsHash):
                return NotDue(key, waits)
            return decision
        why = decision
    if waits is not None:
        return NotDue(key, waits)
    if rules.by_content and signature.content_hash is None:
        return NotDue(key, NeedsHash())
    return Due(key, why, (SeenSource(key, signature),))


def _compare(
    key: SourceKey, signature: Signature, state: SourceState, rules: SourceRules, now_s: float
) -> WhyDue | NotDue:
    if state.status != "success":
        is_as_last = matches(signature, state.last, by_content=rules.by_content)
        if is_as_last is None:
            return NotDue(key, NeedsHash())
        if is_as_last:
            return _after_a_bad_end(key, state, rules, now_s)
    if state.success is not None:
        is_as_good = matches(signature, state.success, by_content=rules.by_content)
        if is_as_good is None:
            return NotDue(key, NeedsHash())
        if is_as_good:
            return NotDue(key, Done(state.success_run_id, state.success_at_utc))
    return Changed()


def holds(state: SourceState) -> bool:
    """Whether the end of its last run holds a source that is as it was then; a run that was abandoned once is run again."""
    return state.status != "success" and (state.status != "abandoned" or state.abandoned_in_a_row > 1)


def _after_a_bad_end(key: SourceKey, state: SourceState, rules: SourceRules, now_s: float) -> WhyDue | NotDue:
    error = (state.error or "").partition("\n")[0] or None
    if not holds(state):
        return Interrupted(state.last_run_id, error)
    if state.last_run_id in rules.freed:
        return Freed(state.status)
    failures = rules.failures.get(key, 0)
    if 0 < failures <= rules.retries and state.last_at_utc is not None:
        last_s = datetime.fromisoformat(state.last_at_utc).timestamp()
        at_s = last_s + rules.retry_delay_s * 2 ** (failures - 1)
        if now_s >= at_s or now_s < last_s:  # or the clock was set back since
            return Retried(failures, rules.retries)
        return NotDue(key, RetryLater(utc_text(at_s), failures, rules.retries, error, state.last_run_id))
    return NotDue(key, Held(state.last_at_utc, state.status, error, state.last_run_id))


def judge_batch(
    key: SourceKey,
    verdicts: Iterable[Verdict],
    seen: Iterable[SeenSource],
    why_held: Callable[[int], Reason | None] = lambda count: None,
) -> Verdict:
    """Whether a batch is due: one of its candidates is, and none settles or is locked. It settles all that is `seen`, unless
    `why_held` has a reason against their number."""
    verdicts = list(verdicts)
    whys = [entry.why for entry in verdicts if isinstance(entry, NotDue) and not isinstance(entry.why, OwnOutput)]
    settling = [why.left_s for why in whys if isinstance(why, Settling)]
    if settling:
        return NotDue(key, WaitsForSettling(len(settling), max(settling)))
    for kind in (Locked, MayBeOutput, NeedsHash):
        if (waits := next((why for why in whys if isinstance(why, kind)), None)) is not None:
            return NotDue(key, waits)
    if (due := next((entry for entry in verdicts if isinstance(entry, Due)), None)) is not None:
        sources = tuple(seen)
        held = why_held(len(sources))
        return Due(key, due.why, sources) if held is None else NotDue(key, held)
    last = whys[-1] if whys else NoFiles()
    return NotDue(key, next((why for why in whys if not isinstance(why, Done)), last))


def matches(signature: Signature, other: Signature, *, by_content: bool) -> bool | None:
    """Whether two signatures are of the same content; None when only the hash of `signature` could tell.

    Times compare at the coarser granularity of the two, because file servers round them. With `by_content` a hash
    decides where the times differ.

    Example:
        >>> local, server = Signature(5, 1_700_000_000_123_456_789), Signature(5, 1_700_000_000_000_000_000)
        >>> matches(local, server, by_content=False), matches(server, Signature(6, server[1]), by_content=False)
        (True, False)
    """
    if signature.size_bytes != other.size_bytes:
        return False
    if is_same_time(signature.mtime_ns, other.mtime_ns):
        return True
    if not by_content or other.content_hash is None:
        return False
    return None if signature.content_hash is None else signature.content_hash == other.content_hash


def is_same_time(time_ns: int, other_ns: int) -> bool:
    """Whether two modification times are one instant at the coarser granularity, which their zeros tell; at most a second."""
    if time_ns == other_ns:
        return True
    apart_ns = abs(time_ns - other_ns)
    return apart_ns < _SECOND_NS and apart_ns < max(_granularity_ns(time_ns), _granularity_ns(other_ns))


def _granularity_ns(time_ns: int) -> int:
    if time_ns % _SECOND_NS == 0:
        return _SECOND_NS
    granularity_ns = 1
    while time_ns % (granularity_ns * 10) == 0:
        granularity_ns *= 10
    return granularity_ns


def state_after(state: SourceState | None, flow: str, seen: SeenSource, end: RunFinished) -> SourceState:
    """The state of a source when a run that saw it has ended, as the ledger keeps it."""
    state = state or SourceState(flow, seen.key, end.status, seen.signature)
    at_utc = utc_text(end.at_s)
    is_good = end.status == "success"
    return SourceState(
        flow=flow,
        key=seen.key,
        status=end.status,
        last=seen.signature,
        last_run_id=end.run_id,
        last_at_utc=at_utc,
        error=None if is_good else end.error or end.cause,
        success=seen.signature if is_good else state.success,
        success_run_id=end.run_id if is_good else state.success_run_id,
        success_at_utc=at_utc if is_good else state.success_at_utc,
        abandoned_in_a_row=state.abandoned_in_a_row + 1 if end.status == "abandoned" else 0,
    )


def is_retryable(end: RunFinished) -> bool:
    """Whether `[retry]` counts this end: a failure that may pass, or a time limit; never what a person asked for."""
    kind = None if end.why is None else end.why.kind
    return (end.status == "failed" and kind != "overwrites_source") or (end.status == "killed" and kind == "time_limit")


def why_no_candidate(planned: PlannedFlow, path: str) -> NameFiltered | NotListed | OwnOutput | None:
    """Why the file at `path` inside the source root can be no candidate, judged by its name; None when it can.

    Example:
        >>> planned = PlannedFlow.of(Flow("Claims", "claims").watch(mode="poll", source="/in", interval="30s", extensions=".csv"))
        >>> [getattr(why_no_candidate(planned, path), "text", None) for path in ("a.csv", "a.txt", ".git/a.csv")]
        [None, 'extension not listed: the flow takes .csv', "name filtered: '.git' is hidden, temporary or a lock file"]
    """
    *folders, name = path.split("/")
    hidden = next((part for part in folders if part.startswith((".", "~$"))), None)
    if hidden is not None or not is_candidate_name(name):
        return NameFiltered(hidden or name)
    source, mirror = planned.trigger.source, planned.mirror
    if source and mirror and mirror.is_relative_to(source) and (source / path).is_relative_to(mirror):
        return OwnOutput()
    extensions = planned.trigger.extensions
    if extensions is not None and not name.lower().endswith(extensions):
        return NotListed(extensions)
    return None


def why_not_there(state: SourceState | None, path: str, there: Iterable[str]) -> NotThere:
    """The reason of a file at `path` inside the source root that is not there: how its last run ended, where `state` has one, else
    which of the files `there` have names like it.

    Example:
        >>> why_not_there(None, "2026/mai.csv", ["2026/may.csv", "total.xlsx"]).text
        'no such file was seen: did you mean 2026/may.csv?'
    """
    if state is None:
        return NotThere(near=nearest_files(path, there))
    return NotThere(state.status, state.last_run_id, state.last_at_utc)


def plan_slots(
    trigger: Schedule,
    slots: Slots,
    *,
    served_until_s: float,
    on_since_s: float,
    now_s: float,
    retention_s: float,
) -> Due | NotDue:
    """The wall-clock slot that is due at `now_s`, or when the next one is.

    `served_until_s` is the newest slot a run has served, or the moment a flow was first seen: nothing before is owed.
    `on_since_s` is since when somebody has been looking without a gap: slots before it were missed. With
    `catch_up="all"` the oldest slot owed is due, at most `retention_s` back; otherwise the newest.
    """
    if slots.trouble is not None:
        return NotDue(None, DaysUnknown(slots.trouble.what, slots.trouble.where or ""))
    oldest_s = now_s - retention_s
    floor_s = max(served_until_s, on_since_s) if trigger.catch_up == "none" else served_until_s
    owed = next(owed_slots(trigger, slots, after_s=floor_s, now_s=now_s, retention_s=retention_s), None)
    if owed is None:
        coming, skipped_s = slots.next(max(now_s, served_until_s)), slots.skipped(now_s)
        without = {} if skipped_s is None else {"skipped_utc": utc_text(skipped_s), "by": trigger.skip_name}
        return NotDue(None, NotYet(None if coming is None else utc_text(coming), **without))
    is_skipping = trigger.catch_up == "all" and floor_s < oldest_s
    skipped = is_skipping and slots.newest(floor_s, oldest_s) is not None
    return Due(None, Slot(utc_text(owed), owed <= on_since_s, utc_text(oldest_s) if skipped else None))


def owed_slots(trigger: Schedule, slots: Slots, *, after_s: float, now_s: float, retention_s: float) -> Iterator[float]:
    """The wall-clock slots after `after_s` that are run at `now_s`, in their order: all within `retention_s` with
    `catch_up="all"`, otherwise the newest alone. To have the first costs no look at the others."""
    if trigger.catch_up == "all":
        return takewhile(lambda slot_s: slot_s <= now_s, slots.after(max(after_s, now_s - retention_s)))
    newest_s = slots.newest(after_s, now_s)
    return iter(() if newest_s is None else (newest_s,))


def plan_interval(
    trigger: Schedule, *, started_s: float, ticks_done: int, local_s: float, now_s: float
) -> Due | NotDue:
    """Whether an interval has passed since the last tick; intervals that were missed are one.

    Ticks keep their distance to `started_s`, the engine's start on the forward clock, and do not drift.
    """
    every_s = trigger.interval_seconds
    assert every_s is not None
    number = math.floor((local_s - started_s) / every_s + 1e-9)
    if number > ticks_done:
        return Due(None, Tick(number))
    next_s = started_s + (max(number, ticks_done) + 1) * every_s
    return NotDue(None, NotYet(utc_text(now_s + next_s - local_s)))


def why_blocked(
    switch: Switch | None, *, is_engine_on: bool = True, unasked: OwnedElsewhere | DaemonSilent | None = None
) -> Disabled | OwnedElsewhere | DaemonSilent | EngineOff | None:
    """The reason that keeps the whole flow from running, whatever is due; None when nothing does.

    `switch` is the last decision of a person, None where there is none; `unasked` says why this machine's daemon does not know: another
    workstation owns the workspace, or it does not answer.
    """
    return disabled_by(switch) or unasked or (None if is_engine_on else EngineOff())


def disabled_by(switch: Switch | None) -> Disabled | None:
    """The reason why a disabled flow does not run by itself: who disabled it; None where it may run.

    Example:
        >>> disabled_by(Switch(False, "anna", "ANNA-PC")).by, disabled_by(Switch()), disabled_by(None)
        ('anna@ANNA-PC', None, None)
    """
    if switch is None or switch.is_enabled:
        return None
    return Disabled(switch.who, switch.at_utc, switch.note)


def by_hand(switch: Switch | None) -> Disabled | ByHand:
    """The reason why a manual flow does not run by itself; a note of who disabled it is shown, though it changes nothing.

    Example:
        >>> by_hand(None).text, by_hand(Switch(False, "anna", "ANNA-PC", note="holidays")).text
        ('runs by hand only', 'disabled by anna@ANNA-PC: holidays')
    """
    return disabled_by(switch) or ByHand()


def next_in_group(waiting: Collection[str], turns: Mapping[str, int]) -> str | None:
    """The flow of a group that runs next: the one whose last turn (numbered by `turns`) is longest ago.

    A flow keeps the group for one source while others wait, so a busy folder starves no schedule.

    Example:
        >>> next_in_group(["busy", "nightly"], {"busy": 7})
        'nightly'
    """
    return min(waiting, key=lambda flow: turns.get(flow, -1), default=None)

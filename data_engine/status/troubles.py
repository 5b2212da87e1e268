"""Notifications in JupyterLab: what is wrong with each flow, once for each trouble, except in runs that the reader began.

A trouble has the key that alerts give it (flow, step, error type, cell). A failure and the files that it holds are one trouble.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import field
from os.path import basename
from typing import Any

from data_engine.alerting.deciding import held_trouble, is_failure
from data_engine.alerting.wording import failure, notice, subject
from data_engine.files import file_exists
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.troubles import TroubleKey, TroubleRecord, all_troubles
from data_engine.message import message_id
from data_engine.model import Run
from data_engine.reasons.kinds import FeedShrunk, HeldSlot, Late, Overlong
from data_engine.record import Record, frozen
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.status.sentences import first_line, is_source_gone, places_of

_BY_PEOPLE = ("hand", "backfill")
_HOLDING = ("failed", "abandoned")
"""The statuses of runs that hold their file, when nobody ended them on purpose."""


@frozen
class TroubleLine(Record):
    """A trouble in a line. `id` is the same for the same trouble, `at_utc` when it was last seen, `cells` are its links, `run_id` the
    run whose step failed, where one did.

    `good_utc` is the last good run, where known: a message before that was about another trouble.
    """

    id: str
    kind: str
    text: str
    at_utc: str
    good_utc: str | None = None
    cells: tuple[Mapping[str, Any], ...] = ()
    run_id: str | None = None


@frozen
class Failure:
    """The newest failed run of a flow, and when its last good run began."""

    run: Run
    good_utc: str | None = None


@frozen
class Known:
    """What the history knows of flows beyond their status: failures, the open troubles of alerts, and the flows whose last run
    failed with a file that is `gone` since. `me` is person@machine."""

    me: str = ""
    failures: Mapping[str, Failure] = field(default_factory=dict)
    troubles: Mapping[str, Sequence[TroubleRecord]] = field(default_factory=dict)
    gone: Set[str] = frozenset()


def troubles_of(flow: FlowStatus, history: Known) -> tuple[TroubleLine, ...]:
    """The troubles of the flow that its people should hear of.

    Example:
        >>> from data_engine.cause import Cause
        >>> why = Cause("code_raised", {"step": "Clean", "detail": "KeyError: 3"})
        >>> run = Run("3f", "claims", "G", None, "failed", "2026-01-05T06:30:00+00:00", why=why)
        >>> [line.text for line in troubles_of(FlowStatus("claims", mode="schedule", last_run=run), Known())]
        ['claims failed in Clean: KeyError: 3']
    """
    lines = []
    if isinstance(flow.why, (HeldSlot, FeedShrunk)):
        held = held_trouble(flow.name, flow.why, "")
        lines.append(TroubleLine(_id(held.key), "failed", f"{flow.name}: {flow.why.text}", held.since_utc))
    elif (bad := _failure_of(flow, history)) is not None and not (
        bad.run.trigger is not None and bad.run.trigger.kind in _BY_PEOPLE and bad.run.by == history.me
    ):  # its end is shown where this person began it
        lines.append(_line_of(bad, flow.name))
    expected = flow.expected
    if isinstance(expected, (Late, Overlong)):
        key = TroubleKey(flow.name, expected.kind)
        text = (
            f"{flow.name} has been {expected.text}" if isinstance(expected, Late) else f"{flow.name}: {expected.text}"
        )
        lines.append(TroubleLine(_id(key), expected.kind, first_line(text), expected.since_utc))
    return (*lines, *_slots_of(flow, history.troubles.get(flow.name, ())))


def has_recovered(flow: FlowStatus, history: Known) -> bool:
    """Whether the flow has no failure any more: its last run went well or failed with a file that is gone, and no other is held.

    False while that is undecided, as during a run.

    Example:
        >>> good = Run("3f", "claims", "G", None, "success", "2026-01-05T06:30:00+00:00")
        >>> [has_recovered(FlowStatus("claims", last_run=run), Known()) for run in (good, None)]
        [True, True]
        >>> has_recovered(FlowStatus("claims", state_kind="being_read"), Known())
        False
    """
    if flow.state_kind == "being_read" or _has_bad_files(flow) or isinstance(flow.why, (HeldSlot, FeedShrunk)):
        return False
    return flow.last_run is None or flow.last_run.status == "success" or flow.name in history.gone


class History:
    """The `Known` of one status after the other; reads the history only for what is new."""

    def __init__(self, ledger: Ledger, me: str, exists: Callable[[str], bool | None] = file_exists) -> None:
        self.ledger, self._me, self._exists = ledger, me, exists
        self._failures: dict[str, Failure] = {}
        self._troubles: tuple[tuple[int, int], dict[str, list[TroubleRecord]]] | None = None

    def of(self, status: WorkspaceStatus) -> Known:
        """The knowledge that belongs to this status.

        Raises:
            LedgerError: the history cannot be read.
        """
        before, self._failures = self._failures, {}
        for flow in status.flows:
            failure = self._failure(flow, before.get(flow.name))
            if failure is not None:
                self._failures[flow.name] = failure
        return Known(
            self._me, self._failures, self._open(), {flow.name for flow in status.flows if self._is_gone(flow)}
        )

    def _is_gone(self, flow: FlowStatus) -> bool:
        """Whether the last run failed with a file that is gone from a folder that exists."""
        return flow.last_run is not None and is_failure(flow.last_run) and is_source_gone(flow, self._exists)

    def _failure(self, flow: FlowStatus, before: Failure | None) -> Failure | None:
        last = flow.last_run
        if has_recovered(flow, Known()):
            return None
        if last is not None and is_failure(last):
            if before is not None or flow.mode == "poll":  # where a good run says nothing of the files that failed
                return Failure(last, None if before is None else before.good_utc)
            good = self.ledger.runs(flow.name, 1, status="success")
            return Failure(last, good[0].started_at_utc if good else None)
        if before is not None or not flow.held:
            return before
        held = [state for state in self.ledger.not_good() if state.flow == flow.name and state.status in _HOLDING]
        newest = max(held, key=lambda state: state.last_at_utc or "", default=None)
        run = None if newest is None or newest.last_run_id is None else self.ledger.run(newest.last_run_id)
        return None if run is None else Failure(run)

    def _open(self) -> Mapping[str, Sequence[TroubleRecord]]:
        version = self.ledger.version()
        if self._troubles is None or self._troubles[0] != version:
            troubles: dict[str, list[TroubleRecord]] = {}
            for trouble in all_troubles(self.ledger):
                if not trouble.is_closed and trouble.recovered_at_utc is None:
                    troubles.setdefault(trouble.key.flow, []).append(trouble)
            self._troubles = version, troubles
        return self._troubles[1]


def _failure_of(flow: FlowStatus, history: Known) -> Failure | None:
    """The failure that still holds; None without one, or while that is undecided."""
    last = flow.last_run
    if flow.state_kind == "being_read":
        return None
    if last is not None and is_failure(last) and (flow.mode != "poll" or _has_bad_files(flow)):
        return history.failures.get(flow.name) or Failure(last)
    return history.failures.get(flow.name) if flow.held else None


def _has_bad_files(flow: FlowStatus) -> bool:
    """Whether files of it failed and exist: held, or tried again later."""
    return bool(flow.held or flow.retried)


def _line_of(bad: Failure, name: str) -> TroubleLine:
    """The line for a failure of the flow that has this name now."""
    run = bad.run
    why = None if run.why is None else run.why.as_dict()
    key, detail = failure(name, "failed", why, run.error or run.cause)
    at_utc = run.last_at_utc
    file = None if run.source is None else basename(run.source)
    return TroubleLine(
        _id(key),
        "failed",
        first_line(subject(TroubleRecord(key, at_utc, detail), file)),
        at_utc,
        bad.good_utc,
        places_of(why, was=run.flow, now=name),
        run.run_id if run.why is not None and run.why.kind == "code_raised" else None,
    )


def _slots_of(flow: FlowStatus, troubles: Iterable[TroubleRecord]) -> Iterable[TroubleLine]:
    """The slots that did not begin in time, from the owner's messages, until a run goes well."""
    last = flow.last_run
    good_utc = last.started_at_utc if last is not None and last.status == "success" else ""
    for trouble in troubles:
        is_of_slot = trouble.key.kind == "missed" or (trouble.key.kind == "late" and trouble.key.step == "slot")
        if is_of_slot and trouble.since_utc > good_utc:
            words = notice(trouble, None)
            text = " ".join(filter(None, [words.headline, words.reason]))
            yield TroubleLine(_id(trouble.key), trouble.key.kind, first_line(text), trouble.since_utc)


def _id(key: TroubleKey) -> str:
    return message_id("notification", *key)

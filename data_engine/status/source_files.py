"""List the files of a flow's source for people: how many are done, wait, failed or are gone, and those a search finds.

Like `explain` it reads a source of facts: the running daemon, or the files and the ledger. A folder may hold a hundred
thousand files, so a list that took long is kept for a while; its age and the time of the next one are in the answer.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import NamedTuple

from data_engine.cause import Cause, read_cause
from data_engine.errors import FlowValidationError
from data_engine.flow.trigger import Poll, Trigger
from data_engine.model import SourceState
from data_engine.planning.due import PlannedFlow, Verdict
from data_engine.reasons.kinds import (
    ByHand,
    Done,
    FeedShrunk,
    Held,
    NoFiles,
    NotDeployed,
    NotThere,
    OwnOutput,
    RetryLater,
    Running,
    Unreachable,
    read_reason,
)
from data_engine.reasons.remedies import Reason
from data_engine.record import Record, frozen
from data_engine.status.build import FactSource, FlowFacts, WorkspaceFacts
from data_engine.status.deployed_before import names_of, tell_earlier
from data_engine.status.explain import look_now, reason_now, what_blocks

GROUPS = ("held", "running", "waiting", "away", "gone", "done", "output")
"""The groups of files, those that need a person first. `away`: their folder cannot be read now."""

_QUICK_S = 0.1
"""A list that took less is made anew each time."""

_FEW_ALIKE = 10
"""Up to so many files that wait for the same reason are listed one by one."""

_KEPT_S = 60.0
_SPARED = 20
"""At most this part of the time goes into lists that are made anew."""


@frozen
class SourceStatus(Record):
    """One file: `why` it does or does not run, and how its last run ended (`status`, `at_utc`, `run_id`, and its `cause`)."""

    path: str
    name: str
    group: str
    why: Reason = field(metadata={"of": read_reason})
    status: str | None = None
    at_utc: str | None = None
    run_id: str | None = None
    cause: Cause | None = field(default=None, metadata={"of": read_cause})


@frozen
class AlikeFiles(Record):
    """The number of files that wait for the same reason."""

    why: Reason = field(metadata={"of": read_reason})
    count: int


@frozen
class SourceFiles(Record):
    """One page of the files of a flow.

    `counts` has all of its files by group, `found` how many pass the search; `notes` are about all of them; where the first is a reason,
    `noted` is its kind.
    Without a search, many that wait for the same reason are `alike` and not among `files`.
    `is_looking` while the folder is being looked through; the list was made `age_s` ago, and may be newer in `again_s`.
    """

    flow: str
    notes: tuple[str, ...]
    counts: Mapping[str, int]
    found: int
    files: tuple[SourceStatus, ...] = field(metadata={"of": SourceStatus.read})
    is_looking: bool = False
    age_s: float = 0.0
    again_s: float = 2.0
    alike: tuple[AlikeFiles, ...] = field(default=(), metadata={"of": AlikeFiles.read})
    noted: str | None = None


class FileLists:
    """The lists of files of one workspace, for any thread; makes one list at a time."""

    def __init__(self, source: FactSource, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._clock = clock
        self._kept: dict[str, _List] = {}
        self._making = threading.Lock()
        self._under_way: set[str] = set()

    def page(
        self, workspace: WorkspaceFacts, flow: str, *, search: str = "", group: str = "", limit: int = 300
    ) -> SourceFiles:
        """The first `limit` files of a flow that have each word of `search` in their name or reason, of one `group` if given.

        `workspace` are the facts of now.

        Raises:
            FlowValidationError: no such flow.
            LedgerError: the history cannot be read.
        """
        facts = workspace.flow(flow)
        if facts is None or facts.entry.flow is None:
            raise FlowValidationError(
                f"{flow!r} has no files: it is not a flow that can run", where="files", fix="name a flow"
            )
        listed = self._list(workspace, facts)
        places = listed.places(search, group)
        page = [listed.rows[at] for at in places[:limit]]
        causes: Mapping[str, Cause] = {}
        if any(row.group == "held" for row in page):
            ledger = self._source.home.ledger()
            causes = ledger.causes(*names_of(ledger, flow))
        files = tell_earlier([listed.status_of(row, causes) for row in page], self._source.home.ledger(), flow)
        age_s = self._clock() - listed.made_s
        return SourceFiles(
            flow=flow,
            notes=(*(why.text for why in listed.reasons), *listed.notes),
            noted=listed.reasons[0].kind if listed.reasons else None,
            counts={name: listed.counts.get(name, 0) for name in GROUPS},
            found=len(places),
            files=tuple(files),
            is_looking=listed.is_looking,
            age_s=round(age_s, 3),
            alike=() if search.strip() or group else listed.alike,
            again_s=round(max(2.0, _SPARED * listed.took_s - age_s) if listed.took_s > _QUICK_S else 2.0, 3),
        )

    def _list(self, workspace: WorkspaceFacts, facts: FlowFacts) -> _List:
        name, now_s = facts.entry.name, self._clock()
        # what the list depends on beside files and history
        stamp = what_blocks(workspace, facts), facts.entry.source, facts.waiting
        for other in [other for other, files in self._kept.items() if now_s - files.asked_s > _KEPT_S]:
            self._kept.pop(other, None)
        listing = self._kept.get(name)
        if listing is None or listing.stamp != stamp or listing.took_s <= _QUICK_S:
            with self._making:
                listing = self._made(workspace, facts, stamp)
        elif now_s - listing.made_s > _SPARED * listing.took_s and name not in self._under_way:
            self._under_way.add(name)
            threading.Thread(
                target=self._make_later, args=(workspace, facts, stamp), name="data-engine-files", daemon=True
            ).start()
        listing.asked_s = now_s
        return listing

    def _make_later(self, workspace: WorkspaceFacts, facts: FlowFacts, stamp: object) -> None:
        try:
            with self._making:
                self._made(workspace, facts, stamp)
        except Exception:  # whoever asks next makes the list, and gets the error
            self._kept.pop(facts.entry.name, None)
        finally:
            self._under_way.discard(facts.entry.name)

    def _made(self, workspace: WorkspaceFacts, facts: FlowFacts, stamp: object) -> _List:
        began_s = self._clock()
        files = _List(self._source, workspace, facts, stamp)
        files.made_s = files.asked_s = self._clock()
        files.took_s = files.made_s - began_s
        if files.took_s > _QUICK_S:
            self._kept[facts.entry.name] = files
        else:
            self._kept.pop(facts.entry.name, None)
        return files


class _Row(NamedTuple):
    """A file of a list. A search looks in `searched`; `why` is None for a file that is done, and made when it is shown."""

    rank: int
    name: str
    group: str
    searched: str
    why: Reason | None


class _List:
    """The list of a flow's files as it was at one moment."""

    made_s = asked_s = took_s = 0.0

    def __init__(self, source: FactSource, workspace: WorkspaceFacts, facts: FlowFacts, stamp: object) -> None:
        assert facts.entry.flow is not None
        watch = PlannedFlow.of(facts.entry.flow)
        self.stamp = stamp
        self.notes: list[str] = []
        self.reasons: list[Reason] = []
        self.is_looking = False
        self._root = watch.trigger.source
        self._known: Callable[[str], SourceState | None] = lambda name: None
        self._holds = facts.entry.mode == "poll"
        self.rows: list[_Row] = sorted(self._rows(source, workspace, facts, watch)) if self._root is not None else []
        self._texts = [row.searched for row in self.rows]
        self.alike, self._single = _alike(self.rows)
        self.counts = Counter(row.group for row in self.rows)
        if self._root is None:
            self.notes.append("this flow has no source files")
        elif not (self.rows or self.notes or self.reasons):
            self.reasons.append(NoFiles())

    def places(self, search: str, group: str) -> Sequence[int]:
        """The indexes of the rows that pass."""
        if not group and not search.strip():
            return self._single
        first = sum(self.counts[name] for name in GROUPS[: _RANKS.get(group, 0)])
        passing: Sequence[int] = range(first, first + self.counts[group]) if group else range(len(self.rows))
        for word in search.casefold().split():
            texts = self._texts
            passing = [at for at in passing if word in texts[at]]
        return passing

    def status_of(self, row: _Row, causes: Mapping[str, Cause]) -> SourceStatus:
        """The file of a row with all that is known of it."""
        assert self._root is not None
        state = self._known(row.name)
        why = row.why
        if why is None:
            why = Done(None, None) if state is None else Done(state.success_run_id, state.success_at_utc)
        path = os.path.join(self._root, row.name) if row.name else str(self._root)
        cause = causes.get(why.run_id or "") if isinstance(why, (Held, RetryLater)) else None
        file = SourceStatus(path, row.name or self._root.name, row.group, why, cause=cause)
        if state is None:
            return file
        return replace(file, status=state.status, at_utc=state.last_at_utc, run_id=state.last_run_id)

    def _rows(
        self, source: FactSource, workspace: WorkspaceFacts, facts: FlowFacts, watch: PlannedFlow
    ) -> Iterator[_Row]:
        under_way = {run.source for run in workspace.active if run.flow == watch.flow}
        blocked = what_blocks(workspace, facts)
        if not isinstance(watch.trigger, Poll):
            blocked = blocked if isinstance(blocked, NotDeployed) else facts.why or ByHand()
            watch = replace(watch, trigger=_as_polled(watch.trigger))
        poller = None if blocked is not None else source.poller(watch.flow)
        if poller is None:
            poller = look_now(source, watch)
            if blocked is not None:
                self.reasons.append(blocked)
        self._known, self.is_looking = poller.state, poller.is_scanning
        if poller.unreachable is not None:
            self.reasons.append(poller.unreachable)
        self.notes += [f"{folder}: {why}" for folder, why in sorted(poller.troubles.items()) if folder]
        for name, verdict in poller.listing():
            yield self._row(name, verdict, under_way, blocked, facts.waiting)

    def _row(
        self,
        name: str,
        verdict: Verdict | None,
        under_way: set[str | None],
        blocked: Reason | None = None,
        waiting: Reason | None = None,
    ) -> _Row:
        is_under_way = bool(under_way) and os.path.join(str(self._root), name) in under_way
        if verdict is None and not is_under_way:
            return _Row(_RANKS["done"], name, "done", f"{name} done".casefold(), None)
        why: Reason = Running()
        if verdict is not None:
            running = Running() if is_under_way else None
            why = reason_now(verdict.why, under_way=running, blocked=blocked, waiting=waiting)
        if blocked is not None and not self._holds and isinstance(why, (Held, RetryLater)):
            why = blocked
        group = "running" if is_under_way else _GROUPS.get(why.kind, "waiting")
        words = "done" if group == "done" else f"{group} {why.text}"
        return _Row(_RANKS[group], name, group, f"{name} {words}".casefold(), None if group == "done" else why)


def _alike(rows: Sequence[_Row]) -> tuple[tuple[AlikeFiles, ...], Sequence[int]]:
    """The groups of files that wait for one reason, and the indexes of all other rows."""
    waiting: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        if row.group == "waiting" and row.why is not None:
            waiting.setdefault(row.why.text, []).append(at)
    many = [places for places in waiting.values() if len(places) > _FEW_ALIKE]
    whys = [rows[places[0]].why for places in many]
    folded = {at for places in many for at in places}
    single = [at for at in range(len(rows)) if at not in folded] if folded else range(len(rows))
    return tuple(AlikeFiles(why, len(places)) for why, places in zip(whys, many, strict=True) if why), single


_RANKS = {name: rank for rank, name in enumerate(GROUPS)}
_GROUPS = {
    Held.kind: "held",
    FeedShrunk.kind: "held",
    RetryLater.kind: "held",
    Running.kind: "waiting",  # handed over, and not begun
    Unreachable.kind: "away",
    NotThere.kind: "gone",
    Done.kind: "done",
    OwnOutput.kind: "output",
}


def _as_polled(trigger: Trigger) -> Poll:
    """The same source with a poll trigger, so that the files of any flow are listed in the same way."""
    return Poll(
        source=trigger.source,
        source_as_authored=trigger.source_as_authored,
        extensions=trigger.extensions,
        interval="1h",
        interval_seconds=3600.0,
        settle=0,
    )

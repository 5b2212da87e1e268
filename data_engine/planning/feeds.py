"""What feeds a batch: the files it takes, whether these have shrunk since its last good run, and the flows whose mirrors they lie in,
which it waits for. One decision for polls, slots and runs."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping, Set
from dataclasses import field, replace
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

from data_engine.flow.scan import walk
from data_engine.flow.trigger import Poll
from data_engine.model import FeedCount
from data_engine.notebook.mirror_warnings import is_read
from data_engine.planning.due import PlannedFlow
from data_engine.reasons.kinds import FeedShrunk
from data_engine.record import frozen

_FEWEST_GONE = 3


class Intake(NamedTuple):
    """Files that a batch takes from one folder: its sources, or those of a `collect`. Counts are compared by its `name`."""

    name: str
    root: Path
    extensions: tuple[str, ...] | None
    recursive: bool = True
    skip: Path | None = None
    is_source: bool = False

    def files(self) -> Iterator[str]:
        """The paths, inside the root, of the files that are there.

        Raises:
            OSError: the folder cannot be read.
        """
        found = walk(os.path.realpath(self.root), self.extensions, recursive=self.recursive, skip=self.skip)
        return (name for name, _ in found)


def intakes(planned: PlannedFlow) -> tuple[Intake, ...]:
    """What a batch of the flow takes: the files of each `collect`, and its sources unless a `collect` takes from their folder. None
    for a flow that runs for one file at a time.

    Example:
        >>> from data_engine import Flow
        >>> monthly = Flow("Sales", "monthly").watch(mode="schedule", time="07:00").collect(".csv", root="/in")
        >>> [(intake.name, str(intake.root)) for intake in intakes(PlannedFlow.of(monthly))]
        [('collect /in .csv', '/in')]
    """
    trigger = planned.trigger
    source = trigger.source
    if source is not None and trigger.run_as != "batch":
        return ()
    found: dict[str, Intake] = {}
    for collect in planned.collects:
        root, text = (source, ".") if collect.root is None else (collect.root.path, collect.root.text)
        if root is not None:
            depth = " recursive" if collect.recursive else ""
            name = f"collect {text} {','.join(collect.extensions)}{depth}"
            found[name] = Intake(name, root, collect.extensions, collect.recursive)
    if source is not None and all(intake.root != source for intake in found.values()):
        name = f"sources {'*' if trigger.extensions is None else ','.join(trigger.extensions)}"
        found[name] = Intake(name, source, trigger.extensions, skip=planned.mirror, is_source=True)
    return tuple(found.values())


def shrunk(
    feed: FeedCount | None, counts: Mapping[Intake, int], *, is_slot: bool = False
) -> tuple[Intake, FeedShrunk] | None:
    """The intake that has shrunk most since the good run that left `feed`, with the reason that holds the batch: less than half of
    its files are there, and at least three are gone. A slot is held, too, where it finds none of them. None where it may run.

    Example:
        >>> intake = Intake("sources *", Path("/in"), None)
        >>> held = shrunk(FeedCount({"sources *": 10}), {intake: 4})
        >>> held and held[1].gone, shrunk(FeedCount({"sources *": 10}), {intake: 5})
        (6, None)
    """
    if feed is None:
        return None
    found = []
    for intake, count in counts.items():
        before = feed.counts.get(intake.name, 0)
        gone = before - count
        is_far_less = 2 * count < before and gone >= _FEWEST_GONE
        if is_far_less or (is_slot and count == 0 and gone > 0):
            found.append((intake, FeedShrunk(gone, before, run_id=feed.run_id)))
    return max(found, key=lambda entry: entry[1].gone, default=None)


# -- the flows that feed it --------------------------------------------------------------------------------------------------


def feeders(flow: str, planned: Mapping[str, PlannedFlow], watched: Set[str]) -> dict[str, frozenset[str]]:
    """The flows that a batch of `flow` waits for, directly or through others, feeders first; each with those of them whose outputs it
    looks for. Flows in a circle with it, or with each other, do not wait for one another. Nothing follows in flows that are not
    `watched`: they are disabled, or run by hand. None for a flow that is no batch, or not deployed.

    Example:
        >>> from data_engine import Flow
        >>> def poll(name, source, mirror, **more):
        ...     flow = Flow("Sales", name).watch(mode="poll", source=source, interval="30s", extensions=".csv", **more)
        ...     return PlannedFlow.of(flow.mirror(root=mirror))
        >>> flows = [poll("first", "/in", "/one"), poll("second", "/one", "/two"), poll("total", "/two", "/sum", run_as="batch")]
        >>> planned = {planned.flow: planned for planned in flows}
        >>> [(flow, *of) for flow, of in feeders("total", planned, set(planned)).items()]
        [('first',), ('second', 'first')]
    """
    trigger = planned[flow].trigger if flow in planned else None
    if trigger is None or (trigger.source is not None and trigger.run_as != "batch"):
        return {}

    @cache
    def direct(name: str) -> frozenset[str]:
        read = planned[name].folders.reads if name == flow or name in watched else ()
        return frozenset(other for other in planned if other != name and is_read(planned[other].folders.mirror, read))

    @cache
    def above(name: str) -> frozenset[str]:
        reached, left = set[str](), [name]
        while left:
            new = direct(left.pop()) - reached
            reached |= new
            left += new
        return frozenset(reached)

    waited = {name for name in above(flow) if flow not in above(name)}
    kept = {
        name: frozenset(other for other in direct(name) & waited if name not in above(other))
        if isinstance(planned[name].trigger, Poll)
        else frozenset[str]()
        for name in waited
    }
    order = TopologicalSorter({name: sorted(kept[name]) for name in sorted(kept)})
    return {name: kept[name] for name in order.static_order()}


class Backlog(NamedTuple):
    """What a flow has to do: what is due, settles or runs (`open`; what comes again is another value), as known from a look at its
    sources that began at `looked_s` on this machine's forward clock. `runs` are the ids of its runs under way.
    """

    looked_s: float
    open: frozenset[Hashable] = frozenset()
    runs: tuple[str, ...] = ()


@frozen
class FeedWait:
    """A batch that waits since `since_s` for `feeders`, as `feeders` gives them. What each of them has to do is taken once, at its first
    look since what feeds it was done: what comes later prolongs nothing. `left` is what of that is not done, `done_s` when it was.

    Example:
        >>> wait = FeedWait(10.0, {"clean": frozenset()}).seeing({"clean": Backlog(11.0, frozenset({"a.csv"}))}, 11.0)
        >>> later = wait.seeing({"clean": Backlog(15.0, frozenset({"b.csv"}))}, 15.0)
        >>> wait.over_s, later.over_s
        (None, 15.0)
    """

    since_s: float
    feeders: Mapping[str, frozenset[str]]
    left: Mapping[str, frozenset[Hashable]] = field(default_factory=dict)
    done_s: Mapping[str, float] = field(default_factory=dict)

    def seeing(self, backlogs: Mapping[str, Backlog], now_s: float) -> FeedWait:
        """The wait at `now_s`, when flows stand so; of a flow that is not among them nothing new is known."""
        left, done_s = dict(self.left), dict(self.done_s)
        for flow in self.feeders:
            backlog, begin_s = backlogs.get(flow), _begin(self, flow, done_s)
            if flow in done_s or backlog is None:
                continue
            if flow in left:
                left[flow] &= backlog.open
            elif begin_s is not None and backlog.looked_s >= begin_s:
                left[flow] = backlog.open
            if flow in left and not left[flow]:
                done_s[flow] = now_s
        return replace(self, left=left, done_s=done_s)

    def looks_wanted(self) -> dict[str, float]:
        """The feeders that are to look at their sources, each with since when a look counts: what feeds them is done since then."""
        wanted = {flow: _begin(self, flow, self.done_s) for flow in self.feeders if flow not in self.left}
        return {flow: begin_s for flow, begin_s in wanted.items() if begin_s is not None}

    @property
    def over_s(self) -> float | None:
        """Since when all is done, and a look of the batch at its own sources counts; None as long as it waits."""
        return max(self.done_s.values(), default=self.since_s) if self.done_s.keys() >= self.feeders.keys() else None

    def waits_for(self, backlogs: Mapping[str, Backlog]) -> tuple[str, str | None]:
        """The flow that it waits for, with a run where one is under way; the first in order that has one, else the first."""
        open_flows = [flow for flow in self.feeders if flow not in self.done_s]
        runs = ((flow, run_id) for flow in open_flows if flow in backlogs for run_id in backlogs[flow].runs)
        return next(runs, (next(iter(open_flows), next(iter(self.feeders))), None))


def _begin(wait: FeedWait, flow: str, done_s: Mapping[str, float]) -> float | None:
    of = wait.feeders[flow]
    return max([wait.since_s, *(done_s[other] for other in of)]) if of <= done_s.keys() else None

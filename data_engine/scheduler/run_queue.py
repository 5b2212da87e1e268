"""Choose the work to hand out next: what a person asked for before what is due, that before backfills, flows of one group one at
a time, fairly, and never more than the executor can take.

Nothing here runs anything; the queue is told what waits and what ended, and says what to start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import islice, takewhile
from typing import Any, NamedTuple

from data_engine.planning.due import Due, next_in_group
from data_engine.record import frozen

MOST_AHEAD = 128
_AHEAD_S = 0.2


class Turn(IntEnum):
    """The order of work: what a person asked for, what is due, and backfills in the places that are left."""

    ASKED = 0
    DUE = 1
    BACKFILL = 2


@frozen
class Work:
    """One run that waits: of `flow`, in `group`, and which `run` (a `SourceRun`; the queue does not look), with which `params`.

    Work with the same `batch` (one request by hand, one slot, all that is polled, one backfill) may share a pass of its module.
    `due` is None for what somebody asked for; `others` is how often runs of other processes had been noticed when it was found due.
    """

    flow: str
    group: str
    run: Any
    batch: Hashable = None
    turn: Turn = Turn.DUE
    params: dict[str, Any] = field(default_factory=dict)
    due: Due | None = None
    others: int = 0


def came_by_itself(work: Work) -> bool:
    """Whether nobody asked for it: it was due."""
    return work.due is not None


class HandOut(NamedTuple):
    """Work for one worker, one run after the other, all of one pass; `ends_pass` where nothing more of the pass will come."""

    works: list[Work]
    pass_number: int
    ends_pass: bool


@dataclass(slots=True)
class _Pass:
    """One execution of a flow's module: `left` works at the head of their line, and `jobs` that are out."""

    number: int
    batch: Hashable
    left: int
    jobs: int = 0

    @property
    def is_over(self) -> bool:
        return not self.left and not self.jobs


@dataclass(slots=True)
class _Line:
    """Waiting work of one kind of one flow, and the pass its head belongs to."""

    works: deque[Work] = field(default_factory=deque)
    current: _Pass | None = None

    def put_back(self, work: Work) -> None:
        self.works.appendleft(work)
        if self.current is not None:
            is_of_it = self.current.batch == work.batch and not self.current.is_over
            self.current.left = self.current.left + 1 if is_of_it else 0

    def keep(self, is_kept: Callable[[Work], bool]) -> None:
        if self.current is not None:
            self.current.left = sum(
                is_kept(work) for _, work in zip(range(self.current.left), self.works, strict=False)
            )
        self.works = deque(filter(is_kept, self.works))


@dataclass(slots=True)
class _Lane:
    """One flow's waiting and running work: a line for each turn."""

    lines: tuple[_Line, ...] = field(default_factory=lambda: tuple(_Line() for _ in Turn))
    jobs: int = 0
    mean_s: float = _AHEAD_S

    @property
    def turn(self) -> Turn | None:
        """Whose turn its next work has; None when nothing waits."""
        return next((turn for turn in Turn if self.lines[turn].works), None)

    @property
    def next(self) -> _Line:
        """Where its next work comes from; empty when nothing waits."""
        return self.lines[self.turn or Turn.ASKED]


class RunQueue:
    """Hands out waiting work in jobs: works of one flow and pass, for one worker one after the other.

    Example:
        >>> queue = RunQueue()
        >>> for name in ("a.csv", "b.csv"):
        ...     queue.add(Work("claims", "Claims", name))
        >>> queue.add(Work("nightly", "Claims", None))
        >>> jobs = queue.take(free=4, max_parallel={}, may_start=lambda group: True)
        >>> [([work.run for work in job.works], job.ends_pass) for job in jobs]
        [(['a.csv'], False)]
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._groups: dict[str, str] = {}
        self._holders: dict[str, str] = {}
        self._turns: dict[str, int] = {}
        self._turn = 0
        self._passes: dict[int, _Pass] = {}
        self._pass_count = 0

    def add(self, work: Work, *, again: bool = False) -> None:
        """Let `work` wait; `again` for what was handed out and comes back: it keeps its place among its like, and its pass."""
        lane = self._lanes.setdefault(work.flow, _Lane())
        self._groups[work.flow] = work.group
        line = lane.lines[work.turn]
        if again:
            line.put_back(work)
        else:
            line.works.append(work)

    def take(self, *, free: int, max_parallel: Mapping[str, int], may_start: Callable[[str], bool]) -> list[HandOut]:
        """The jobs to start now, at most `free`. `may_start(group)` is asked before each of a group (its OS lock)."""
        jobs: list[HandOut] = []
        while len(jobs) < free:
            job = self._next(max_parallel, may_start)
            if job is None:
                break
            jobs.append(job)
        return jobs

    def ended(
        self, flow: str, *, pass_number: int | None = None, seconds: float | None = None, runs: int = 0
    ) -> str | None:
        """Count a job of `flow` as ended, once what comes back of it was added; the group when it is free now.

        `seconds` and `runs` teach how long its runs take.
        """
        lane = self._lanes[flow]
        lane.jobs -= 1
        if pass_number in self._passes:
            self._passes[pass_number].jobs -= 1
        if seconds is not None and runs:
            lane.mean_s = 0.5 * lane.mean_s + 0.5 * seconds / runs
        group = self._groups[flow]
        if lane.jobs == 0 and self._holders.get(group) == flow:
            del self._holders[group]
            return group
        return None

    def ended_passes(self) -> list[int]:
        """The passes that are over since this was asked last."""
        over = [number for number, pass_ in self._passes.items() if pass_.is_over]
        for number in over:
            del self._passes[number]
        return over

    def waiting(self, flow: str | None = None) -> list[Work]:
        """The works that wait, of one flow or of all."""
        lanes = self._lanes.values() if flow is None else filter(None, [self._lanes.get(flow)])
        return [work for lane in lanes for line in lane.lines for work in line.works]

    def counts(self) -> dict[str, int]:
        """How many works of each flow wait, of which any do."""
        counted = {name: sum(len(line.works) for line in lane.lines) for name, lane in self._lanes.items()}
        return {name: count for name, count in counted.items() if count}

    @property
    def has_waiting(self) -> bool:
        """Whether anything waits."""
        return any(lane.next.works for lane in self._lanes.values())

    def asked_groups(self) -> set[str]:
        """The groups in which something waits that a person asked for."""
        return {group for group, turn in self.turns().items() if turn is Turn.ASKED}

    def turns(self) -> dict[str, Turn]:
        """The groups in which something waits, each with the first turn among it."""
        turns: dict[str, Turn] = {}
        for flow, lane in self._lanes.items():
            if (turn := lane.turn) is not None:
                group = self._groups[flow]
                turns[group] = min(turn, turns.get(group, turn))
        return turns

    def flows_waiting(self, group: str) -> list[str]:
        """The flows of the group of which something waits."""
        return [flow for flow, lane in self._lanes.items() if lane.next.works and self._groups[flow] == group]

    def first(self, flow: str, turn: Turn | None = None) -> Work | None:
        """The next work of the flow (and of that turn); None when nothing waits."""
        lane = self._lanes.get(flow)
        line = _Line() if lane is None else lane.next if turn is None else lane.lines[turn]
        return line.works[0] if line.works else None

    def next_of(self, flow: str, most: int) -> list[Work]:
        """The first `most` waiting works of the flow, in order."""
        lane = self._lanes.get(flow)
        return [] if lane is None else list(islice((work for line in lane.lines for work in line.works), most))

    def drop(self, flow: str | None = None, *, only: Callable[[Work], bool] = lambda work: True) -> list[Work]:
        """Drop the waiting works (of `flow`, and for which `only` holds); gives them."""
        dropped = [work for work in self.waiting(flow) if only(work)]
        for name, lane in self._lanes.items():
            if flow in (None, name):
                for line in lane.lines:
                    line.keep(lambda work: not only(work))
        return dropped

    def holder(self, group: str) -> str | None:
        """The flow that runs in the group."""
        return self._holders.get(group)

    def _next(self, max_parallel: Mapping[str, int], may_start: Callable[[str], bool]) -> HandOut | None:
        turns = self.turns()
        waiting: dict[str, list[str]] = {}
        for name, lane in self._lanes.items():
            group = self._groups[name]
            if lane.turn is not None and lane.turn is turns[group]:  # what goes after that waits until it has run
                waiting.setdefault(group, []).append(name)
        for group in sorted(
            waiting, key=lambda group: (turns[group], min(self._turns.get(flow, -1) for flow in waiting[group]))
        ):
            flow = self._flow_of(group, waiting[group], max_parallel)
            if flow is None or not may_start(group):
                continue
            self._turn += 1
            self._turns[flow] = self._turn
            self._holders[group] = flow
            return self._job(flow, is_alone=len(waiting[group]) == 1, slots=max_parallel.get(flow, 1))
        return None

    def _flow_of(self, group: str, waiting: list[str], max_parallel: Mapping[str, int]) -> str | None:
        holder = self._holders.get(group)
        if holder is None:
            return next_in_group(waiting, self._turns)
        if waiting != [holder]:
            return None  # another flow's turn comes when the holder's running work has ended
        return holder if self._lanes[holder].jobs < max_parallel.get(holder, 1) else None

    def _job(self, flow: str, *, is_alone: bool, slots: int) -> HandOut:
        lane = self._lanes[flow]
        line = lane.next
        shared = self._pass_of(line)
        most = 1
        if is_alone:
            share = -(-len(line.works) // slots)
            most = max(1, min(MOST_AHEAD, share, int(_AHEAD_S / max(lane.mean_s, 1e-6))))
        works = [line.works.popleft() for _ in range(min(most, shared.left))]
        shared.left -= len(works)
        shared.jobs += 1
        lane.jobs += 1
        return HandOut(works, shared.number, ends_pass=not shared.left and shared.jobs == 1)

    def _pass_of(self, line: _Line) -> _Pass:
        """The pass the head of the line belongs to; when the last one was handed out, all that waits there now begins one."""
        if line.current is None or not line.current.left:
            batch = line.works[0].batch
            count = sum(1 for _ in takewhile(lambda work: work.batch == batch, line.works))
            self._pass_count += 1
            line.current = self._passes[self._pass_count] = _Pass(self._pass_count, batch, count)
        return line.current

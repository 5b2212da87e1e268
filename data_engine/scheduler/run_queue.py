"""Which work is handed out next: what a person asked for before what is due, flows of one group one at a time, fairly,
and never more than the workers can take.

Nothing here runs anything; a queue is told what waits and what ended, and says what to start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

from data_engine.scheduler.plan import next_in_group

MOST_AHEAD = 16
_AHEAD_S = 0.2


@dataclass(frozen=True, slots=True)
class Work:
    """One run that waits: of `flow`, in `group`, for the source `item` stands for (any value of the caller's).

    Work with the same `batch` (one request by hand, one poll) may share a pass of its module. What somebody asked for
    `by_hand` goes before all that is due.
    """

    flow: str
    group: str
    item: Any
    batch: Hashable = None
    by_hand: bool = False


@dataclass(slots=True)
class _Lane:
    """One flow's waiting and running work."""

    asked: deque[Work] = field(default_factory=deque)
    due: deque[Work] = field(default_factory=deque)
    jobs: int = 0
    mean_s: float = _AHEAD_S

    @property
    def next(self) -> deque[Work]:
        """Where its next work comes from; empty when nothing waits."""
        return self.asked or self.due


class RunQueue:
    """Hands out waiting work in jobs: lists of works of one flow and batch, for one worker one after the other.

    Example:
        >>> queue = RunQueue()
        >>> for name in ("a.csv", "b.csv"):
        ...     queue.add(Work("claims", "Claims", name))
        >>> queue.add(Work("nightly", "Claims", None))
        >>> [[work.item for work in job] for job in queue.take(free=4, max_parallel={}, may_start=lambda group: True)]
        [['a.csv']]
    """

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._groups: dict[str, str] = {}
        self._holders: dict[str, str] = {}
        self._turns: dict[str, int] = {}
        self._turn = 0

    def add(self, work: Work, *, again: bool = False) -> None:
        """Let `work` wait; `again` for what was handed out and comes back: it keeps its place among its like."""
        lane = self._lanes.setdefault(work.flow, _Lane())
        self._groups[work.flow] = work.group
        like = lane.asked if work.by_hand else lane.due
        (like.appendleft if again else like.append)(work)

    def take(self, *, free: int, max_parallel: Mapping[str, int], may_start: Callable[[str], bool]) -> list[list[Work]]:
        """The jobs to start now, at most `free`. `may_start(group)` is asked before each of a group (its OS lock)."""
        jobs: list[list[Work]] = []
        while len(jobs) < free:
            job = self._next(max_parallel, may_start)
            if job is None:
                break
            jobs.append(job)
        return jobs

    def ended(self, flow: str, *, seconds: float | None = None, runs: int = 0) -> str | None:
        """A job of `flow` has ended; the group when it is free now. `seconds` and `runs` teach how long its runs take."""
        lane = self._lanes[flow]
        lane.jobs -= 1
        if seconds is not None and runs:
            lane.mean_s = 0.5 * lane.mean_s + 0.5 * seconds / runs
        group = self._groups[flow]
        if lane.jobs == 0 and self._holders.get(group) == flow:
            del self._holders[group]
            return group
        return None

    def waiting(self, flow: str | None = None) -> list[Work]:
        """What waits, of one flow or of all."""
        lanes = self._lanes.values() if flow is None else filter(None, [self._lanes.get(flow)])
        return [work for lane in lanes for work in (*lane.asked, *lane.due)]

    @property
    def has_waiting(self) -> bool:
        """Whether anything waits."""
        return any(lane.next for lane in self._lanes.values())

    def asked_groups(self) -> set[str]:
        """The groups in which something waits that a person asked for."""
        return {self._groups[flow] for flow, lane in self._lanes.items() if lane.asked}

    def first(self, flow: str) -> Work | None:
        """What of the flow is next in line; None when nothing waits."""
        lane = self._lanes.get(flow)
        return lane.next[0] if lane is not None and lane.next else None

    def drop(self, flow: str | None = None, *, only: Callable[[Work], bool] = lambda work: True) -> list[Work]:
        """Let nothing (of `flow`, and for which `only` holds) wait any more; what was dropped."""
        dropped = [work for work in self.waiting(flow) if only(work)]
        for name, lane in self._lanes.items():
            if flow in (None, name):
                lane.asked = deque(work for work in lane.asked if not only(work))
                lane.due = deque(work for work in lane.due if not only(work))
        return dropped

    def holder(self, group: str) -> str | None:
        """The flow that runs in the group."""
        return self._holders.get(group)

    def _next(self, max_parallel: Mapping[str, int], may_start: Callable[[str], bool]) -> list[Work] | None:
        waiting: dict[str, list[str]] = {}
        for name, lane in self._lanes.items():
            if lane.next:
                waiting.setdefault(self._groups[name], []).append(name)
        asked = self.asked_groups()
        for group in asked:  # what is only due there waits until it has run
            waiting[group] = [flow for flow in waiting[group] if self._lanes[flow].asked]
        for group in sorted(waiting, key=lambda one: (one not in asked, self._last_turn(waiting[one]))):
            flow = self._flow_of(group, waiting[group], max_parallel)
            if flow is None or not may_start(group):
                continue
            self._turn += 1
            self._turns[flow] = self._turn
            self._holders[group] = flow
            return self._job(flow, is_alone=len(waiting[group]) == 1, slots=max_parallel.get(flow, 1))
        return None

    def _last_turn(self, flows: list[str]) -> int:
        return min(self._turns.get(flow, -1) for flow in flows)

    def _flow_of(self, group: str, waiting: list[str], max_parallel: Mapping[str, int]) -> str | None:
        holder = self._holders.get(group)
        if holder is None:
            return next_in_group(waiting, self._turns)
        if waiting != [holder]:
            return None  # another flow's turn comes when the holder's running work has ended
        return holder if self._lanes[holder].jobs < max_parallel.get(holder, 1) else None

    def _job(self, flow: str, *, is_alone: bool, slots: int) -> list[Work]:
        lane = self._lanes[flow]
        waiting = lane.next
        most = 1
        if is_alone:
            share = -(-len(waiting) // slots)
            most = max(1, min(MOST_AHEAD, share, int(_AHEAD_S / max(lane.mean_s, 1e-6))))
        job = [waiting.popleft()]
        while len(job) < most and waiting and waiting[0].batch == job[0].batch:
            job.append(waiting.popleft())
        lane.jobs += 1
        return job

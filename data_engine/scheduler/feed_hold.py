"""What keeps a flow's batch that is due from running, for both planners: flows that feed it, and files that are gone."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from data_engine.clock import boot_clock
from data_engine.model import FeedCount, utc_text
from data_engine.planning.due import PlannedFlow
from data_engine.planning.feeds import Backlog, FeedWait, feeders, intakes, shrunk
from data_engine.reasons.kinds import FeedShrunk, UpstreamRunning

_COUNT_EVERY_S = 2.0


class FeedWaits:
    """The batches that wait for the flows that feed them. Any thread may ask.

    `flows` are those that production runs, `watched` those of them that run by themselves; `runs` gives the ids of the runs of a flow
    that are under way on this machine (as they are now, where it is asked to be exact), and `look` makes a flow look at its sources: a look that began before then does not count.
    """

    def __init__(
        self,
        flows: Mapping[str, PlannedFlow],
        watched: Mapping[str, object],
        runs: Callable[[str, bool], tuple[str, ...]],
        look: Callable[[str, float], None],
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self._flows, self._watched, self._runs, self._look, self._clock = flows, watched, runs, look, clock
        self._lock = threading.RLock()
        self._waits: dict[str, tuple[FeedWait, UpstreamRunning]] = {}
        self._backlogs: dict[str, Backlog] = {}
        self._ended_s: dict[str, float] = {}

    def judge(self, flow: str, looked_s: float) -> UpstreamRunning | None:
        """Why the batch of the flow, which is due, does not run yet; None when what feeds it is done, and the look at its own sources
        that began at `looked_s` has seen that."""
        with self._lock:
            if flow not in self._waits:
                of = feeders(flow, dict(self._flows), frozenset(dict(self._watched)))
                if not of:
                    return None
                why = UpstreamRunning(next(iter(of)), since_utc=utc_text(time.time()))
                self._waits[flow] = FeedWait(self._clock(), of), why
                self._runs(flow, True)  # what another process began just now is waited for, too
            self._go_on(flow)
            wait, why = self._waits[flow]
            return why if wait.over_s is None or looked_s < wait.over_s else None

    def why(self, flow: str) -> UpstreamRunning | None:
        """Why the batch of the flow waits; None where it does not."""
        wait, why = self._waits.get(flow, (None, None))
        return None if wait is None or wait.over_s is not None else why

    def end(self, flow: str, *, is_begun: bool = False) -> None:
        """The batch of the flow waits no more: it begins, or is not due any more."""
        with self._lock:
            if self._waits.pop(flow, None) is not None and is_begun:
                self._ended_s[flow] = time.time()
            if not self._waits:
                self._backlogs.clear()

    def ended_s(self, flow: str) -> float | None:
        """When the last wait of the flow ended with the begin of its batch; None where there was none."""
        return self._ended_s.get(flow)

    def concern(self, flow: str) -> bool:
        """Whether some batch waits for the flow."""
        return any(flow in wait.feeders for wait, _ in self._waits.copy().values())

    def note(self, flow: str | None = None, backlog: Backlog | None = None) -> None:
        """Take what the flow has to do, as it was just seen; without that, something of it (of any flow without one) has ended."""
        with self._lock:
            if flow is not None and backlog is not None:
                self._backlogs[flow] = backlog
            for name, (wait, _) in list(self._waits.items()):
                if name not in self._watched:
                    self.end(name)  # a look that was under way when its flow went has begun it
                elif flow is None or flow in wait.feeders:
                    self._go_on(name)

    def forget(self, flow: str) -> None:
        """What the flow had to do is not known any more: nobody looks at its sources, or by other rules."""
        with self._lock:
            self._backlogs.pop(flow, None)
            self.end(flow)

    def _go_on(self, flow: str) -> None:
        wait, why = self._waits[flow]
        backlogs = {name: backlog for name in wait.feeders if (backlog := self._backlog(name)) is not None}
        wait = wait.seeing(backlogs, self._clock())
        upstream, run_id = wait.waits_for(backlogs)
        self._waits[flow] = wait, replace(why, flow=upstream, run_id=run_id)
        for name, begin_s in wait.looks_wanted().items():
            self._look(name, begin_s)
        if wait.over_s is not None:
            self._look(flow, wait.over_s)

    def _backlog(self, flow: str) -> Backlog | None:
        runs = self._runs(flow, False)
        if flow not in self._watched:
            return Backlog(math.inf, frozenset(runs), runs)
        backlog = self._backlogs.get(flow)
        return backlog and Backlog(backlog.looked_s, backlog.open | frozenset(runs), runs)


class FeedHold:
    """Counts what a batch would take, where it has to look not more often than it may cost, and remembers what a person accepts.

    `why` is the reason that holds the batch now; `is_accepted` until it has run. `waits` are those for flows that feed it.
    """

    def __init__(self, planned: PlannedFlow, waits: FeedWaits | None = None) -> None:
        self._flow, self._waits = planned.flow, waits
        self.intakes = intakes(planned) if planned.trigger.shrink == "hold" else ()
        self._again_s = 0.0
        self.why: FeedShrunk | None = None
        self.is_accepted = False

    def upstream(self, looked_s: float) -> UpstreamRunning | None:
        """The reason why the batch, which is due, waits for flows that feed it; its sources were looked at from `looked_s` on."""
        return None if self._waits is None else self._waits.judge(self._flow, looked_s)

    @property
    def waits_for(self) -> UpstreamRunning | None:
        """The reason why the batch waits for flows that feed it now."""
        return None if self._waits is None else self._waits.why(self._flow)

    def end_wait(self, *, is_begun: bool) -> None:
        """The batch waits for no flow any more."""
        if self._waits is not None:
            self._waits.end(self._flow, is_begun=is_begun)

    def judge(
        self,
        feed: FeedCount | None,
        writers_of_gone: Callable[[str], tuple[str, ...]],
        *,
        local_s: float,
        now_s: float,
        sources: int | None = None,
    ) -> FeedShrunk | None:
        """The reason that holds the batch; `sources` are those that a poll has found, None for a slot."""
        if self.is_accepted or not self.intakes or feed is None:
            return None
        looked = [intake for intake in self.intakes if sources is None or not intake.is_source]
        if looked and self.why is not None and local_s < self._again_s:
            return self.why
        counts = {intake: sources for intake in self.intakes if sources is not None and intake.is_source}
        began_s = time.monotonic()
        for intake in looked:
            try:
                counts[intake] = sum(1 for _ in intake.files())
            except OSError:
                continue  # its run fails, and says so
        self._again_s = local_s + max(_COUNT_EVERY_S, 20 * (time.monotonic() - began_s))
        held, before = shrunk(feed, counts, is_slot=sources is None), self.why
        if held is None:
            return None
        intake, why = held
        if before is not None and before.gone == why.gone:
            return before
        return replace(why, flows=writers_of_gone(str(intake.root)), since_utc=utc_text(now_s))

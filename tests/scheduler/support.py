"""A scheduler without processes or threads: a loop whose time is moved by hand, and an executor that only takes notes."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Mapping
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.candidates import Source
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.flow.flow import Flow
from data_engine.model import Event, RunFinished, RunStarted
from data_engine.scheduler.dispatcher import Dispatcher, ReadyFlow, Scheduler
from data_engine.scheduler.executor import Job, JobEnd, SourceRun
from data_engine.scheduler.run_queue import Turn, Work


class HandLoop(asyncio.AbstractEventLoop):
    """What a scheduler needs of a loop; nothing happens but by `advance`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []

    def time(self) -> float:
        return self.now_s

    def get_debug(self) -> bool:
        return False

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(self.now_s + delay, callback, args, self, context)
        heapq.heappush(self._timers, (timer.when(), next(self._numbers), timer))
        return timer

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_later(0.0, callback, *args)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_later(0.0, callback, *args)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass, and what was to happen meanwhile happen."""
        until_s = self.now_s + seconds
        while self._timers and self._timers[0][0] <= until_s:
            self.now_s, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled():
                timer._run()
        self.now_s = until_s


class NotedExecutor:
    """Takes jobs, `limit` at once, and leaves it to the test how they go."""

    def __init__(self, dispatcher: Dispatcher[NotedExecutor], limit: int) -> None:
        self.jobs: list[Job] = []
        self.left: list[str] = []
        self.stopped_for: list[Cause | None] = []
        self.ended_passes: list[int] = []
        self.wound_down_for: list[Cause | None] = []
        self._dispatcher, self._limit = dispatcher, limit

    def free(self) -> int:
        return self._limit - len(self.jobs)

    def submit(self, job: Job) -> None:
        self.jobs.append(job)

    def leave(self, job_id: str, *, stop_for: Cause | None = None) -> None:
        self.left.append(job_id)
        self.stopped_for.append(stop_for)

    def end_pass(self, pass_number: int) -> None:
        self.ended_passes.append(pass_number)

    def wind_down(self, *, stop_for: Cause | None = None) -> None:
        self.wound_down_for.append(stop_for)

    def begin(self, number: int = 0, *, at_s: float = 1.0) -> None:
        """Let the next run of the oldest job begin."""
        job = self.jobs[0]
        run = job.runs[number]
        self._tell(job, RunStarted(run.run_id, job.flow or "", "G", run.source.text, at_s, run.source.key, ()))

    def finish(self, number: int = 0, status: str = "success", *, at_s: float = 2.0) -> None:
        """Let that run end."""
        job = self.jobs[0]
        self._tell(job, RunFinished(job.runs[number].run_id, status, at_s, 1.0, None, None, ()))

    def end(self, end: JobEnd | None = None) -> None:
        """End the oldest job."""
        self._dispatcher.on_done(self.jobs.pop(0), end or JobEnd("done"))

    def run(self) -> None:
        """Let the oldest job run to its good end."""
        for number in range(len(self.jobs[0].runs)):
            self.begin(number)
            self.finish(number)
        self.end()

    def _tell(self, job: Job, event: Event) -> None:
        self._dispatcher.store(job, [event])
        self._dispatcher.on_events(job, [event])


class Stage:
    """A scheduler of `flows` on a loop moved by hand; it is its own surroundings."""

    def __init__(self, *flows: Flow, home: LocalWorkspace | None = None, limit: int = 99) -> None:
        self.loop = HandLoop()
        self.is_allowed = True
        self.is_ours = True
        self.flows = {flow.name or "": flow for flow in flows}
        self.scheduler: Scheduler[NotedExecutor] = Scheduler(
            home, lambda dispatcher: NotedExecutor(dispatcher, limit), self, loop=self.loop, say=lambda flow, text: None
        )
        self.dispatcher = self.scheduler.dispatcher
        self.executor = self.dispatcher.executor

    def may_begin(self) -> bool:
        return self.is_allowed

    def keeps_workspace(self) -> bool:
        return self.is_ours

    def ready_flows(self) -> Mapping[str, ReadyFlow]:
        return {name: ReadyFlow(flow) for name, flow in self.flows.items()}

    def tell(self) -> None:
        """Nobody looks."""

    def ask(self, flow: str, *run_ids: str, batch: str = "request") -> None:
        """What a person asks for."""
        group = self.flows[flow].group
        self.dispatcher.add([Work(flow, group, SourceRun(Source(), one), batch, turn=Turn.ASKED) for one in run_ids])

    def due(self, flow: str, *run_ids: str, why: Any) -> None:
        """What has become due."""
        group = self.flows[flow].group
        self.dispatcher.add([Work(flow, group, SourceRun(Source(), one, why.seen or None), due=why) for one in run_ids])

    def out(self) -> list[list[str | None]]:
        """The run ids of the jobs that are out."""
        return [[run.run_id for run in job.runs] for job in self.executor.jobs]

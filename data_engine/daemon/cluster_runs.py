"""Whole runs on a Dask cluster: which node gets a job, what comes home of it, and what follows when a node is lost.

The daemon plans, records and owns as ever; a node only runs. Each attempt at a job is a task that is bound to one process of
a node, so that nothing but this decides where it runs, and whether it runs again: Dask begins the tasks of a lost process
again, also in one that has come back under its address, and that one refuses them. What a lost process had begun is tried
once more on another one, under the same run, and fails with the node's end when that is lost too. Where the scheduler is
lost, what ran is abandoned, and so due again.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from data_engine.cause import Cause
from data_engine.clock import boot_clock
from data_engine.daemon import node
from data_engine.daemon.cluster_link import ClusterLink
from data_engine.daemon.node import Assignment
from data_engine.engine.death import how_it_ended
from data_engine.engine.items.connection import Connection
from data_engine.engine.items.node import WorkspaceOf, host_of
from data_engine.engine.items.travel import pack
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowExecutionError, FlowValidationError, LedgerError
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished, StepStarted
from data_engine.scheduler.executor import Job, JobEnd, JobSource
from data_engine.scheduler.surroundings import ReadyFlow
from data_engine.status.record import ClusterFacts
from data_engine.version import __version__

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.1


class ClusterRuns:
    """Jobs on the cluster that `connect` leads to. Everything but `connect` happens on the thread of the running loop.

    `store`, `on_events` and `on_done` are as of `WorkerPool`; `flows` gives those that can run; `wake` is called when there is
    room for more.
    """

    def __init__(
        self,
        home: LocalWorkspace,
        connect: Callable[[], Connection],
        *,
        flows: Callable[[], Mapping[str, ReadyFlow]],
        store: Callable[[Job, list[Event]], None],
        on_events: Callable[[Job, list[Event]], None],
        on_done: Callable[[Job, JobEnd], None],
        wake: Callable[[], None],
    ) -> None:
        self._home, self._flows = home, flows
        self._store, self._tell_events, self._tell_done, self._wake = store, on_events, on_done, wake
        self._loop = asyncio.get_running_loop()
        self.link = ClusterLink(
            connect,
            futures=lambda: [one.future for one in self._placed.values() if one.future is not None],
            on_nodes=self._nodes_seen,
            on_frame=self._heard,
            on_lost=self._scheduler_lost,
            wake=wake,
        )
        self._placed: dict[str, PlacedJob] = {}
        self._waiting: list[PlacedJob] = []
        self._last: dict[str, tuple[str | None, str | None]] = {}
        self._passes: dict[int, set[str]] = {}
        self._pass_base = random.getrandbits(40) << 20  # another daemon's passes have other numbers on a node
        self._work_until: float | None = 0.0

    @property
    def trouble(self) -> FlowValidationError | None:
        """Why nothing can run there."""
        return self.link.trouble

    # -- what a scheduler asks of an executor ------------------------------------------------------------------------

    def free(self) -> int:
        """How many more jobs may be started now: the threads that nothing runs on."""
        if self.link.connection is None:
            self.link.connect_when_due()
            return 0
        return max(0, self.link.threads - len(self._placed) - len(self._waiting))

    def submit(self, job: Job) -> None:
        """Start the job on a node."""
        self._place(PlacedJob(job))

    def stop(self, run_id: str, cause: Cause) -> bool:
        """Ask a run to end at its next step or item; whether a node has it."""
        return self._say(run_id, ("stop", run_id, cause))

    def kill(self, run_id: str, cause: Cause) -> bool:
        """End a run's process now; whether a node has it."""
        return self._say(run_id, ("kill", run_id, cause))

    def leave(self, job_id: str, *, stop_for: Cause | None = None) -> None:
        """Let the job begin no further run; with `stop_for`, the cause, the one that it is in ends at its next step or item."""
        for placed in self._placed.values():
            if placed.job.job_id == job_id:
                placed.is_left = True
                self._command(placed.address, ("leave", job_id, stop_for))
        for placed in self._waiting:
            placed.is_left |= placed.job.job_id == job_id
        self._place_again()

    def end_pass(self, pass_number: int) -> None:
        """Let the nodes that hold the module of a pass let go of it."""
        for address in self._passes.pop(pass_number, ()):
            if address in self.link.nodes:
                self._command(address, ("end_pass", self._pass_base + pass_number))

    def wind_down(self, *, stop_for: Cause | None = None) -> None:
        """Let no job begin another run; with `stop_for`, the cause, those that run end at their next step or item."""
        for placed in self._placed.values():
            placed.is_left = True
            self._command(placed.address, ("leave", placed.job.job_id, stop_for))
        waiting, self._waiting = self._waiting, []
        for placed in waiting:
            self._end(placed, "abandoned", Cause("daemon_killed"))

    def set_work_until(self, boot_s: float | None) -> None:
        """Let every node wait at its next step or item once `boot_clock()` is past this, until it is set anew."""
        self._work_until = boot_s

    def running(self) -> dict[str, Job]:
        """The runs that have begun and not ended, with their jobs."""
        return {one.run_id: one.job for one in self._placed.values() if one.run_id is not None}

    def where(self, run_id: str) -> str | None:
        """The node of a run."""
        return next((one.address for one in self._placed.values() if one.run_id == run_id), None)

    @property
    def is_busy(self) -> bool:
        """Whether anything is on the cluster, or about to be."""
        return bool(self._placed or self._waiting)

    def facts(self, scheduler: str) -> ClusterFacts:
        """What people see of the cluster."""
        link = self.link
        dashboard = None if link.connection is None else link.connection.dashboard
        trouble = None if link.trouble is None else link.trouble.what
        return ClusterFacts(scheduler, dashboard, len(link.nodes), link.threads, len(self._placed), trouble)

    async def close(self, *, kill: bool = False) -> None:
        """Return when nothing runs there any more; with `kill` what runs is ended and abandoned."""
        if kill:
            for placed in list(self._placed.values()):
                self.link.cancel(placed.future)
                self._end(placed, "abandoned", Cause("daemon_killed"))
            self.wind_down()
        while self.is_busy:
            await asyncio.sleep(_LOOK_EVERY_S)
        self.link.close()

    # -- what becomes of the nodes -------------------------------------------------------------------------------------

    def _nodes_seen(self) -> None:
        for placed in list(self._placed.values()):
            there = self.link.nodes.get(placed.address)
            if there is None or there.process != placed.process:
                self._process_lost(placed)
        self._place_again()

    def _scheduler_lost(self) -> None:
        for placed in list(self._placed.values()):
            self._end(placed, "abandoned", Cause("worker_lost", {"worker": placed.address}))

    def _process_lost(self, placed: PlacedJob) -> None:
        """Try what the process had once more elsewhere; what was tried twice fails."""
        if self._placed.pop(placed.attempt, None) is None:
            return
        cause = Cause("worker_lost", {"worker": placed.address})
        self.link.cancel(placed.future)
        log.warning("the worker %s of the cluster was lost", placed.address)
        tried_twice = placed.lose()
        if tried_twice is not None:
            self._end_run(placed, "failed", cause, tried_twice)
        elif placed.run is not None and not placed.is_left:
            started = placed.run.started
            text = f"{cause.text}; the run is begun once more elsewhere"
            self._tell(placed.job, [LogLine(started.run_id, started.flow, None, "WARNING", text, time.time())])
        self._place(placed)

    # -- handing out ---------------------------------------------------------------------------------------------------

    def _place(self, placed: PlacedJob) -> None:
        """Give what is left of the job to the best node that has a thread left; or let it wait for one."""
        if placed.is_left or not placed.next_sources():
            self._end(placed, "failed", Cause("worker_lost", {"worker": placed.address}))
            return
        job, connection, nodes = placed.job, self.link.connection, self.link.nodes
        busy: dict[str, int] = {}
        for one in self._placed.values():
            busy[one.address] = busy.get(one.address, 0) + 1
        open_at = self._passes.get(job.pass_number, set()) if job.pass_number is not None else set()
        free = [address for address, one in nodes.items() if busy.get(address, 0) < one.threads]
        if connection is None or not free:
            self._waiting.append(placed)
            return
        key, lost_at = (job.flow, job.content), placed.address

        def rank(address: str) -> tuple[bool, bool, bool, int]:
            return address == lost_at, address not in open_at, self._last.get(address) != key, busy.get(address, 0)

        address = min(free, key=rank)
        self._last[address] = key
        part = placed.begin_attempt(address, nodes[address].process)
        self._placed[placed.attempt] = placed
        if job.pass_number is not None:
            self._passes.setdefault(job.pass_number, set()).add(address)
        try:
            content = pickle.dumps(self._assignment(placed, part, connection.topic))
        except FlowValidationError as error:
            del self._placed[placed.attempt]
            end = JobEnd("refused", error=error.as_dict(), not_begun=placed.not_begun)
            self._loop.call_soon(self._tell_done, job, end)
            return
        attempt = placed.attempt
        self.link.submit(
            content,
            address=address,
            key=f"data-engine-runs-{attempt}",
            on_submitted=lambda future, error: self._submitted(attempt, future, error),
            on_done=lambda result, error: self._done(attempt, result, error),
        )

    def _assignment(self, placed: PlacedJob, job: Job, topic: str) -> Assignment:
        layout = self._home.layout
        at_host: dict[str, int] = {}
        for address, one in self.link.nodes.items():
            at_host[host_of(address)] = at_host.get(host_of(address), 0) + one.threads
        ready = self._flows().get(job.flow or "")
        mirror = None if ready is None else ready.flow.mirror_spec
        places = [] if mirror is None else [("mirror", mirror.root)]
        number = None if job.pass_number is None else self._pass_base + job.pass_number
        return Assignment(
            placed.attempt,
            placed.process,
            topic,
            __version__,
            WorkspaceOf(str(layout.root), self._home.local.identity),
            node.packed_job(replace(job, pass_number=number), layout.root),
            None if job.content is None else Path(job.content).name,
            pack(places, "the places", root=layout.root),
            at_host,
        )

    def _submitted(self, attempt: str, future: Any, error: BaseException | None) -> None:
        placed = self._placed.get(attempt)
        if placed is None:
            self.link.cancel(future)
            return
        placed.future = future
        if error is not None:
            log.warning("a job could not be given to %s: %s", placed.address, error)
            self._process_lost(placed)

    def _place_again(self) -> None:
        waiting, self._waiting = self._waiting, []
        for placed in waiting:
            self._place(placed)

    def _say(self, run_id: str, message: tuple[Any, ...]) -> bool:
        for placed in self._placed.values():
            if placed.has(run_id):
                self._command(placed.address, message)
                return True
        return False

    def _command(self, address: str, message: tuple[Any, ...]) -> None:
        self.link.command(str(self._home.layout.root), address, message)

    # -- what comes home -----------------------------------------------------------------------------------------------

    def _heard(self, frame: tuple[Any, ...]) -> None:
        match frame:
            case ("events", attempt, number, part):
                placed = self._placed.get(attempt)
                if placed is not None and number >= placed.taken:
                    placed.parts[number] = part
                    self._take_parts(placed)
            case ("permission", number, address, attempts):
                remaining_s = None if self._work_until is None else self._work_until - boot_clock()
                unknown = [one for one in attempts if one not in self._placed]
                self._command(address, ("permission", number, remaining_s, unknown))

    def _take_parts(self, placed: PlacedJob) -> None:
        for events in placed.take_parts():
            self._tell(placed.job, events)

    def _tell(self, job: Job, events: list[Event]) -> None:
        if events:
            with suppress(LedgerError):  # the ledger keeps them and tries again
                self._store(job, events)
            self._tell_events(job, events)

    def _done(self, attempt: str, result: bytes | None, error: BaseException | None) -> None:
        placed = self._placed.get(attempt)
        if placed is None:
            return
        if result is None:
            if self.link.is_there:
                log.warning("a job on %s failed: %s", placed.address, error)
                self._process_lost(placed)
            return
        told = pickle.loads(result)
        if told is None:  # another process has the address by now
            self.link.forget(placed.address)
            return
        parts, end = told
        placed.parts.update({number: part for number, part in enumerate(parts) if number >= placed.taken})
        self._take_parts(placed)
        del self._placed[attempt]
        if end.status == "done" and all(one.run_id in placed.ended for one in placed.sources) and placed.next_sources():
            self._place(placed)  # what comes after a run that was tried on its own
        else:
            self._tell_done(placed.job, replace(end, not_begun=placed.not_begun))
        self._place_again()
        self._wake()

    def _end_run(self, placed: PlacedJob, status: str, cause: Cause, source: JobSource | None = None) -> None:
        """Give the run of a job whose node is gone its end."""
        ready = self._flows().get(placed.job.flow or "")
        self._tell(placed.job, placed.end_run(source, "" if ready is None else ready.flow.group, status, cause))

    def _end(self, placed: PlacedJob, status: str, cause: Cause) -> None:
        """Give the run of a job that nobody runs any more its end, and the job too."""
        self._placed.pop(placed.attempt, None)
        self._end_run(placed, status, cause)
        self._tell_done(placed.job, JobEnd("crashed", not_begun=placed.not_begun))


@dataclass(slots=True)
class BegunRun:
    """A run that has begun on a node and not ended."""

    started: RunStarted
    step: StepStarted | None = None


@dataclass(slots=True)
class PlacedJob:
    """A job, and its newest attempt: `sources` were given to the process of a node that is called `process`.

    `suspects` are the runs that a lost process may have begun and not ended. Each is tried once more on its own, so that
    it is certain whose run it was when that process is lost as well. `parts` are those told that wait for one before
    them; `taken` counts what was taken of them.
    """

    job: Job
    attempt: str = ""
    address: str = ""
    process: str = ""
    sources: tuple[JobSource, ...] = ()
    future: Any = None
    taken: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)
    run: BegunRun | None = None
    begun: set[str | None] = field(default_factory=set)
    ended: set[str | None] = field(default_factory=set)
    suspects: set[str | None] = field(default_factory=set)
    is_left: bool = False

    @property
    def run_id(self) -> str | None:
        """The run that has begun and not ended."""
        return None if self.run is None else self.run.started.run_id

    @property
    def not_begun(self) -> tuple[JobSource, ...]:
        """The sources whose runs nobody has begun."""
        return tuple(one for one in self.job.sources if one.run_id not in self.begun)

    def has(self, run_id: str) -> bool:
        """Whether a run is in it, begun or not, and has not ended."""
        return run_id not in self.ended and any(one.run_id == run_id for one in self.job.sources)

    def next_sources(self) -> tuple[JobSource, ...]:
        """What the next attempt is given: a suspect on its own, else all that comes before one; empty where all have ended."""
        rest = [one for one in self.job.sources if one.run_id not in self.ended]
        if rest and rest[0].run_id in self.suspects:
            return tuple(rest[:1])
        return tuple(takewhile(lambda one: one.run_id not in self.suspects, rest))

    def begin_attempt(self, address: str, process: str) -> Job:
        """Give the next sources to the process of a node; the job that it is to run."""
        self.attempt, self.address, self.process = uuid.uuid4().hex, address, process
        self.future, self.taken, self.sources = None, 0, self.next_sources()
        self.parts.clear()
        numbers = [number for number, one in enumerate(self.job.sources) if one in self.sources]
        abouts = tuple(self.job.abouts[number] for number in numbers) if self.job.abouts else ()
        return replace(self.job, sources=self.sources, abouts=abouts)

    def lose(self) -> JobSource | None:
        """Note that the process of the attempt is gone: whose run was tried twice by now, None where all may be tried again."""
        rest = [one for one in self.sources if one.run_id not in self.ended]
        if self.run is not None:
            rest = [one for one in rest if one.run_id == self.run_id]
        is_second = len(rest) == 1 and rest[0].run_id in self.suspects
        self.suspects |= {one.run_id for one in rest}
        return rest[0] if is_second else None

    def take_parts(self) -> Iterator[list[Event]]:
        """What was told next, as far as nothing is missing before it."""
        while (part := self.parts.pop(self.taken, None)) is not None:
            self.taken += 1
            yield self._take(pickle.loads(part))

    def end_run(self, source: JobSource | None, group: str, status: str, cause: Cause) -> list[Event]:
        """How the run under way ends whose node is gone; that of `source`, where nobody has heard that it began."""
        told: list[Event] = []
        if self.run is None and source is not None:
            about = self.job.about(self.job.sources.index(source))
            seen = source.seen or ()
            where = source.path or source.root
            started = RunStarted(
                source.run_id or "", self.job.flow or "", group, where, time.time(), source.key, seen, about
            )
            told += self._take([started])
        if self.run is not None:
            told += self._take(_end_of(self.run, status, cause))
        return told

    def _take(self, events: list[Event]) -> list[Event]:
        told: list[Event] = []
        for event in events:
            if isinstance(event, RunStarted):
                is_again = event.run_id in self.begun
                self.run = BegunRun(event)
                self.begun.add(event.run_id)
                if is_again:
                    continue
            elif self.run is not None and isinstance(event, StepStarted):
                self.run.step = event
            elif self.run is not None and isinstance(event, StepFinished):
                self.run.step = None
            elif isinstance(event, RunFinished):
                self.ended.add(event.run_id)
                self.run = None
            told.append(event)
        return told


def _end_of(run: BegunRun, status: str, cause: Cause) -> list[Event]:
    """How a run ends whose node is gone."""
    started, step = run.started, run.step
    now_s = time.time()
    label = None if step is None else step.label
    text = cause.text
    if step is not None or status == "failed":
        error = FlowExecutionError(
            flow_name=started.flow,
            phase="step",
            detail=text,
            step_label=label,
            source_path=started.source,
            ended=how_it_ended(status),
        )
        text = str(error)
    told: list[Event] = [LogLine(started.run_id, started.flow, label, "ERROR", text, now_s)]
    if step is not None:
        elapsed_s = max(0.0, now_s - step.at_s)
        told.append(StepFinished(started.run_id, step.step_index, step.label, status, now_s, elapsed_s, text))
    elapsed_s = max(0.0, now_s - started.at_s)
    told.append(RunFinished(started.run_id, status, now_s, elapsed_s, text, cause.where(step=label), started.seen))
    return told

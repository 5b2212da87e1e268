"""Whole runs on a Dask cluster: places jobs on nodes, takes their events, and tries again what a lost node had.

The daemon plans, records and owns as ever; a node only runs. What a lost process had begun is tried once more on another one,
under the same run, and fails with the node's end when that is lost too. Where the scheduler is lost, what ran is abandoned,
and so due again. The node's side is `node_runs`.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_engine.cause import Cause
from data_engine.clock import boot_clock
from data_engine.cluster.connection import Connection
from data_engine.cluster.link import Attempt, ClusterAccess, LostAttempt, Suspects
from data_engine.cluster.node import Refused
from data_engine.daemon.messages import encode, pack_job
from data_engine.daemon.node_runs import RunJob
from data_engine.daemon.run_report import RunEvents
from data_engine.daemon.worker_pool import JobCallbacks
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.model import Event, LogLine, RunFinished, RunStarted
from data_engine.scheduler.dispatcher import ReadyFlow
from data_engine.scheduler.executor import Job, JobEnd, SourceRun
from data_engine.status.record import ClusterFacts

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.1


class ClusterRuns:
    """Jobs on the cluster that `connect` leads to. Everything but `connect` happens on the thread of the running loop.

    `flows` gives those that can run; `wake` is called when there is room for more.
    """

    def __init__(
        self,
        home: LocalWorkspace,
        connect: Callable[[], Connection],
        callbacks: JobCallbacks,
        *,
        flows: Callable[[], Mapping[str, ReadyFlow]],
        wake: Callable[[], None],
    ) -> None:
        self._home, self._callbacks, self._flows, self._wake = home, callbacks, flows, wake
        self._loop = asyncio.get_running_loop()
        self._identity = home.local.identity
        self.link = ClusterAccess(
            connect, str(home.layout.root), self._identity, deliver=self._deliver, on_change=self._nodes_seen
        )
        self._placed: dict[str, PlacedJob] = {}
        self._waiting: list[PlacedJob] = []
        self._last: dict[str, tuple[str | None, str | None]] = {}
        self._passes: dict[int, set[str]] = {}
        self._pass_base = random.getrandbits(40) << 20  # another daemon's passes have other numbers on a node
        self._work_until: float | None = 0.0

    def _deliver(self, call: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(call)

    @property
    def trouble(self) -> FlowValidationError | None:
        """Why nothing can run on the cluster."""
        return self.link.trouble

    # -- what a scheduler asks of an executor ------------------------------------------------------------------------

    def free(self) -> int:
        """How many more jobs may be started now: the threads that nothing runs on."""
        return max(0, self.link.threads - len(self._placed) - len(self._waiting)) if self.is_connected() else 0

    def is_connected(self) -> bool:
        """Whether the cluster is reached; it is tried where it is not."""
        if self.link.connection is None:
            self.link.connect_when_due()
        return self.link.connection is not None

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
        return {placed.run.run_id: placed.job for placed in self._placed.values() if placed.run is not None}

    def where(self, run_id: str) -> str | None:
        """The node of a run."""
        addresses = {placed.run.run_id: placed.address for placed in self._placed.values() if placed.run}
        return addresses.get(run_id)

    @property
    def is_busy(self) -> bool:
        """Whether anything is on the cluster, or about to be."""
        return bool(self._placed or self._waiting)

    def facts(self, scheduler: str) -> ClusterFacts:
        """The facts of the cluster for a status."""
        link = self.link
        dashboard = None if link.connection is None else link.connection.dashboard
        trouble = None if link.trouble is None else link.trouble.what
        return ClusterFacts(scheduler, dashboard, len(link.nodes), link.threads, len(self._placed), trouble)

    async def close(self, *, kill: bool = False) -> None:
        """Return when nothing runs there any more; with `kill` what runs is ended and abandoned."""
        if kill:
            for placed in list(self._placed.values()):
                if placed.attempt is not None:
                    self.link.drop(placed.attempt)
                self._end(placed, "abandoned", Cause("daemon_killed"))
            self.wind_down()
        while self.is_busy:
            await asyncio.sleep(_LOOK_EVERY_S)
        self.link.close()

    # -- what becomes of the nodes -------------------------------------------------------------------------------------

    def _nodes_seen(self) -> None:
        if self.link.connection is not None:
            self.link.subscribe(self._identity, self._answer_node)
        self._place_again()
        self._wake()

    def _process_lost(self, placed: PlacedJob) -> None:
        """Try the job of a lost process once more elsewhere; a run that was tried twice fails."""
        cause = Cause("worker_lost", {"worker": placed.address})
        tried_twice = placed.lose()
        if tried_twice is not None:
            self._end_run(placed, "failed", cause, tried_twice)
        elif placed.run is not None and not placed.is_left:
            run, text = placed.run, f"{cause.text}; the run is begun once more elsewhere"
            self._tell(placed.job, [LogLine(run.run_id, run.flow, None, "WARNING", text, time.time())])
        self._place(placed)

    # -- handing out ---------------------------------------------------------------------------------------------------

    def _place(self, placed: PlacedJob) -> None:
        """Begin what is left of the job on the best node with a free thread; without one it waits."""
        if placed.is_left or not placed.next_runs():
            self._end(placed, "failed", Cause("worker_lost", {"worker": placed.address}))
            return
        job, nodes, busy = placed.job, self.link.nodes, self.link.busy()
        open_at = self._passes.get(job.pass_number, set()) if job.pass_number is not None else set()
        free = [address for address, node in nodes.items() if busy[address] < node.threads]
        if not free:
            self._waiting.append(placed)
            return
        key, lost_at = (job.flow, job.content), placed.address

        def rank(address: str) -> tuple[bool, bool, bool, int]:
            return address == lost_at, address not in open_at, self._last.get(address) != key, busy[address]

        address = min(free, key=rank)
        self._last[address] = key
        if job.pass_number is not None:
            self._passes.setdefault(job.pass_number, set()).add(address)
        part = placed.next_part(address)
        ready = self._flows().get(job.flow or "")
        mirror = None if ready is None else ready.flow.mirror_spec
        places = [("source", str(run.source.root)) for run in part.runs if run.source.root is not None]
        places += [] if mirror is None else [("mirror", str(mirror.root))]
        number = None if job.pass_number is None else self._pass_base + job.pass_number
        try:
            run_job = RunJob(encode(pack_job(replace(part, pass_number=number))))
        except FlowValidationError as error:
            end = JobEnd("refused", error=error.as_dict(), not_begun=placed.not_begun)
            self._loop.call_soon(self._callbacks.on_done, job, end)
            return
        placed.attempt = self.link.begin(
            run_job,
            address,
            places=dict.fromkeys(places),
            on_frame=lambda frame: self._tell(placed.job, placed.take(*frame)),
            on_end=lambda result: self._ended(placed, result),
        )
        self._placed[placed.attempt.key] = placed

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
        self.link.send(self._identity, message, address)

    # -- what comes home -----------------------------------------------------------------------------------------------

    def _answer_node(self, frame: tuple[str, str, list[str]]) -> None:
        """Answer a node that asks how long steps may go on there."""
        number, address, attempts = frame
        remaining_s = None if self._work_until is None else self._work_until - boot_clock()
        unknown = [key for key in attempts if key not in self._placed]
        self._command(address, ("permission", number, remaining_s, unknown))

    def _tell(self, job: Job, events: list[Event]) -> None:
        if events:
            with suppress(LedgerError):  # the ledger keeps them and tries again
                self._callbacks.store(job, events)
            self._callbacks.on_events(job, events)

    def _ended(self, placed: PlacedJob, result: Any) -> None:
        """Take the result of the newest attempt at a job."""
        assert placed.attempt is not None
        del self._placed[placed.attempt.key]
        if result is LostAttempt.PROCESS:
            self._process_lost(placed)
            return
        if result is LostAttempt.SCHEDULER:
            self._end(placed, "abandoned", Cause("worker_lost", {"worker": placed.address}))
            return
        parts, end = ([], JobEnd("refused", error=result.error.as_dict())) if isinstance(result, Refused) else result
        for number, part in enumerate(parts):
            self._tell(placed.job, placed.take(number, part))
        are_over = all(run.run_id in placed.ended for run in placed.runs)
        if end.status == "done" and are_over and placed.next_runs():
            self._place(placed)  # what comes after a run that was tried on its own
        else:
            self._callbacks.on_done(placed.job, replace(end, not_begun=placed.not_begun))
        self._place_again()
        self._wake()

    def _end_run(self, placed: PlacedJob, status: str, cause: Cause, lost: SourceRun | None = None) -> None:
        """End the run of a job whose node is gone."""
        ready = self._flows().get(placed.job.flow or "")
        self._tell(placed.job, placed.end_run(lost, "" if ready is None else ready.flow.group, status, cause))

    def _end(self, placed: PlacedJob, status: str, cause: Cause) -> None:
        """End a job that nobody runs any more, and its run."""
        self._placed.pop(placed.attempt.key if placed.attempt else "", None)
        self._end_run(placed, status, cause)
        self._callbacks.on_done(placed.job, JobEnd("crashed", not_begun=placed.not_begun))


@dataclass(slots=True)
class PlacedJob:
    """A job, and its newest attempt, which was given `runs`.

    `suspects` are the runs that a lost process may have begun and not ended; `taken` counts the parts of the attempt taken so far.
    """

    job: Job
    attempt: Attempt | None = None
    address: str = ""
    runs: tuple[SourceRun, ...] = ()
    taken: int = 0
    begun: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    suspects: Suspects[str] = field(default_factory=Suspects)
    is_left: bool = False
    report: RunEvents = field(default_factory=lambda: RunEvents(Path(), finish_lines=lambda: None))

    @property
    def run(self) -> RunStarted | None:
        """The run that has begun and not ended."""
        return None if self.report.run is None else self.report.run.started

    @property
    def not_begun(self) -> tuple[SourceRun, ...]:
        """The runs that nobody has begun."""
        return tuple(run for run in self.job.runs if run.run_id not in self.begun)

    def has(self, run_id: str) -> bool:
        """Whether a run is in it, begun or not, and has not ended."""
        return run_id not in self.ended and any(run.run_id == run_id for run in self.job.runs)

    def next_runs(self) -> tuple[SourceRun, ...]:
        """The runs of the next attempt: a suspect on its own, else all that come before one; empty where all have ended."""
        rest = {run.run_id: run for run in self.job.runs if run.run_id not in self.ended}
        return tuple(rest[run_id] for run_id in self.suspects.next_of(rest))

    def next_part(self, address: str) -> Job:
        """The job of the next attempt, with its runs, for the node with this address."""
        self.address, self.taken, self.runs = address, 0, self.next_runs()
        return replace(self.job, runs=self.runs)

    def lose(self) -> SourceRun | None:
        """Note that the attempt's process is gone; the run that was tried twice by now, or None."""
        rest = {run.run_id: run for run in self.runs if run.run_id not in self.ended}
        had = list(rest) if self.run is None else [self.run.run_id]
        twice = self.suspects.lose(had, self.address)
        return None if twice is None else rest[twice]

    def take(self, number: int, part: bytes) -> list[Event]:
        """The events of the next part; none where it was taken before, or comes too early: the attempt's result has it then."""
        if number != self.taken:
            return []
        self.taken += 1
        return self._take(pickle.loads(part))

    def end_run(self, lost: SourceRun | None, group: str, status: str, cause: Cause) -> list[Event]:
        """The events that end the run of a lost node: the run under way, or `lost`, whose begin nobody heard."""
        events: list[Event] = []
        if self.run is None and lost is not None:
            run_id, flow, source, seen = lost.run_id, self.job.flow or "", lost.source, lost.seen or ()
            events = self._take(
                [RunStarted(run_id, flow, group, source.text, time.time(), source.key, seen, lost.about)]
            )
        if self.run is not None:
            self.ended.add(self.run.run_id)
            self.report.end_run(status, cause, ())
        return events + self._take([])

    def _take(self, events: list[Event]) -> list[Event]:
        report = self.report
        for event in events:
            if not isinstance(event, RunStarted):
                report.take(event)
            elif event.run_id in self.begun:  # it was told when it began with another node
                report.begin_run(event)
                report.events.pop()
            else:
                report.begin_run(event)
                self.begun.add(event.run_id)
            if isinstance(event, RunFinished):
                self.ended.add(event.run_id)
        taken, report.events = report.events, []
        return taken

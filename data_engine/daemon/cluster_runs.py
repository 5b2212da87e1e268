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
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_engine.cause import Cause
from data_engine.clock import boot_clock
from data_engine.daemon import node
from data_engine.daemon.cluster_link import ClusterLink
from data_engine.daemon.node import Assignment
from data_engine.daemon.placed_job import PlacedJob
from data_engine.engine.items.connection import Connection
from data_engine.engine.items.on_node import WorkspaceOf, host_of
from data_engine.engine.items.travel import pack
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.model import Event, LogLine
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

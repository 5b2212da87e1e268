"""Whole runs on a Dask cluster: which node gets a job, what comes home of it, and what follows when a node is lost.

The daemon plans, records and owns as ever; a node only runs. Each try of a job is a task that is bound to its node, so that
nothing but this decides where it runs, and whether it runs again: what a lost node had begun is tried once more on
another one, under the same run, and fails with the node's end when that is lost too. Where the scheduler is lost, what ran is
abandoned, and so due again.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import random
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_engine.cause import Cause
from data_engine.clock import boot_clock
from data_engine.daemon import node
from data_engine.daemon.node import Assignment
from data_engine.engine.items.connection import Connection
from data_engine.engine.items.on_node import WorkspaceOf, host_of
from data_engine.engine.items.travel import pack
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.status import ClusterFacts
from data_engine.errors import ClusterError, FlowExecutionError, FlowValidationError, LedgerError
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished, StepStarted
from data_engine.scheduler.dispatcher import ReadyFlow
from data_engine.scheduler.executor import Job, JobEnd
from data_engine.version import __version__

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_CONNECT_AGAIN_S = 5.0
_TRIES = 2


@dataclass(slots=True)
class _Begun:
    """A run that has begun on a node and not ended."""

    started: RunStarted
    step: StepStarted | None = None


@dataclass(slots=True)
class _Placed:
    """A job on a node. `parts` are those told that wait for one before them; `taken` counts what was taken of them. `life`
    is the execution of its task that told them: Dask begins a task again by itself where a node comes back."""

    job: Job
    address: str
    attempt: str
    tries: int
    future: Any = None
    life: str | None = None
    taken: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)
    run: _Begun | None = None
    begun: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)


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
        self.trouble: FlowValidationError | None = None
        self._home, self._connect, self._flows = home, connect, flows
        self._store, self._tell_events, self._tell_done, self._wake = store, on_events, on_done, wake
        self._loop = asyncio.get_running_loop()
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="cluster")
        self._connection: Connection | None = None
        self._is_connecting = self._is_closed = False
        self._connect_s = float("-inf")
        self._nodes: dict[str, int] = {}
        self._lost: set[str] = set()
        self._placed: dict[str, _Placed] = {}
        self._again: list[tuple[Job, int, _Begun | None, set[str]]] = []
        self._last: dict[str, tuple[str | None, str | None]] = {}
        self._passes: dict[int, set[str]] = {}
        self._pass_base = random.getrandbits(40) << 20  # another daemon's passes have other numbers on a node
        self._work_until: float | None = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # -- what a scheduler asks of an executor ------------------------------------------------------------------------

    def free(self) -> int:
        """How many more jobs may be started now: the threads that nothing runs on."""
        if self._connection is None:
            self._connect_when_due()
            return 0
        return max(0, sum(self._nodes.values()) - len(self._placed) - len(self._again))

    def submit(self, job: Job) -> None:
        """Start the job on a node."""
        self._place(job, 1, None, set())

    def stop(self, run_id: str, cause: Cause) -> bool:
        """Ask a run to end at its next step or item; whether a node has it."""
        return self._say(run_id, ("stop", run_id, cause))

    def kill(self, run_id: str, cause: Cause) -> bool:
        """End a run's process now; whether a node has it."""
        return self._say(run_id, ("kill", run_id, cause))

    def leave(self, job_id: str) -> None:
        """Let the job begin no further run."""
        for placed in self._placed.values():
            if placed.job.job_id == job_id:
                self._command(placed.address, ("leave", job_id))

    def end_pass(self, pass_number: int) -> None:
        """Let the nodes that hold the module of a pass let go of it."""
        for address in self._passes.pop(pass_number, ()):
            if address in self._nodes:
                self._command(address, ("end_pass", self._pass_base + pass_number))

    def wind_down(self, *, stop_for: Cause | None = None) -> None:
        """Let no job begin another run; with `stop_for`, the cause, those that run end at their next step or item."""
        for placed in self._placed.values():
            self._command(placed.address, ("leave", placed.job.job_id))
            if stop_for is not None and placed.run is not None:
                run_id = placed.run.started.run_id
                self._command(placed.address, ("stop", run_id, stop_for))
        again, self._again = self._again, []
        for job, _, run, begun in again:
            self._end(_Placed(job, "", "", _TRIES, run=run, begun=begun), "abandoned", Cause("daemon_killed"))

    def set_work_until(self, boot_s: float | None) -> None:
        """Let every node wait at its next step or item once `boot_clock()` is past this, until it is set anew."""
        self._work_until = boot_s

    def running(self) -> dict[str, Job]:
        """The runs that have begun and not ended, with their jobs."""
        return {one.run.started.run_id: one.job for one in self._placed.values() if one.run is not None}

    def where(self, run_id: str) -> str | None:
        """The node of a run."""
        return next(
            (one.address for one in self._placed.values() if one.run and one.run.started.run_id == run_id), None
        )

    @property
    def is_busy(self) -> bool:
        """Whether anything is on the cluster, or about to be."""
        return bool(self._placed or self._again)

    def facts(self, scheduler: str) -> ClusterFacts:
        """What people see of the cluster."""
        dashboard = None if self._connection is None else self._connection.dashboard
        trouble = None if self.trouble is None else self.trouble.what
        threads = sum(self._nodes.values())
        return ClusterFacts(scheduler, dashboard, len(self._nodes), threads, len(self._placed), trouble)

    async def close(self, *, kill: bool = False) -> None:
        """Return when nothing runs there any more; with `kill` what runs is ended and abandoned."""
        if kill:
            for placed in list(self._placed.values()):
                self._give_up(placed)
                self._end(placed, "abandoned", Cause("daemon_killed"))
            self.wind_down()
        while self.is_busy:
            await asyncio.sleep(_LOOK_EVERY_S / 10)
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.hear("runs", None)
        self._calls.shutdown(wait=False)

    # -- the way there -----------------------------------------------------------------------------------------------

    def _connect_when_due(self) -> None:
        now_s = time.monotonic()
        if self._is_connecting or self._is_closed or now_s - self._connect_s < _CONNECT_AGAIN_S:
            return
        self._is_connecting, self._connect_s = True, now_s

        def connect() -> tuple[Connection, dict[str, dict[str, Any]]]:
            connection = self._connect()
            return connection, connection.workers()

        self._later(self._connected, connect)

    def _connected(
        self, found: tuple[Connection, dict[str, dict[str, Any]]] | None, error: BaseException | None
    ) -> None:
        self._is_connecting = False
        if found is None:
            self.trouble = error if isinstance(error, FlowValidationError) else ClusterError(f"no cluster: {error}")
            log.warning("%s", self.trouble)
            self._loop.call_later(_CONNECT_AGAIN_S, self._wake)
            return
        self.trouble = None
        connection, workers = found
        self._connection = connection
        loop = self._loop

        def hear(frame: tuple[Any, ...]) -> None:  # on the client's thread
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._heard, frame)

        connection.hear("runs", hear)
        self._see(workers)
        log.info("the cluster at %s has %d threads", connection.scheduler.name, sum(self._nodes.values()))
        self._look_later()

    def _look_later(self) -> None:
        if not self._is_closed:
            pause_s = max(_LOOK_EVERY_S, len(self._nodes) * _LOOK_EVERY_S / 50)
            self._timer = self._loop.call_later(pause_s, self._look)

    def _look(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if not connection.is_there:
            self._scheduler_lost(connection)
            return
        lost = [
            one
            for one in self._placed.values()
            if one.future is not None and one.future.status in ("lost", "cancelled")
        ]
        if lost:
            self._scheduler_lost(connection)
            return
        self._later(self._looked, connection.checked_workers)

    def _looked(self, workers: dict[str, dict[str, Any]] | None, error: BaseException | None) -> None:
        if workers is not None:
            self.trouble = None
            self._see(workers)
        elif isinstance(error, FlowValidationError):
            self.trouble = error
        self._look_later()

    def _see(self, workers: dict[str, dict[str, Any]]) -> None:
        """Take in which nodes there are."""
        before = self._nodes
        self._nodes = {address: int(one["nthreads"]) for address, one in workers.items()}
        for placed in list(self._placed.values()):
            if placed.address not in self._nodes:
                self._node_lost(placed)
        self._place_again()
        if sum(self._nodes.values()) > sum(before.values()):
            self._wake()

    def _scheduler_lost(self, connection: Connection) -> None:
        self._connection, self._nodes = None, {}
        connection.hear("runs", None)
        name = connection.scheduler.name
        self.trouble = ClusterError(
            f"the scheduler {name} was lost", where=name, fix="see that it runs; what ran there is due again"
        )
        log.warning("%s", self.trouble)
        for placed in list(self._placed.values()):
            self._end(placed, "abandoned", Cause("worker_lost", {"worker": placed.address}))
        self._connect_s = time.monotonic()
        self._loop.call_later(_CONNECT_AGAIN_S, self._wake)

    def _later(self, take: Callable[[Any, BaseException | None], None], call: Callable[..., Any], *given: Any) -> None:
        """Call this where the client may be waited for, and take what it gave."""

        def work() -> None:
            result, error = None, None
            try:
                result = call(*given)
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(take, result, error)

        with suppress(RuntimeError):  # this is closed
            self._calls.submit(work)

    # -- handing out ---------------------------------------------------------------------------------------------------

    def _place(self, job: Job, tries: int, run: _Begun | None, begun: set[str]) -> None:
        """Give the job to the best node that has a thread left; or let it wait for one."""
        connection = self._connection
        busy: dict[str, int] = {}
        for one in self._placed.values():
            busy[one.address] = busy.get(one.address, 0) + 1
        open_at = self._passes.get(job.pass_number, set()) if job.pass_number is not None else set()
        free = [address for address, threads in self._nodes.items() if busy.get(address, 0) < threads]
        if connection is None or not free:
            self._again.append((job, tries, run, begun))
            return
        key = (job.flow, job.content)
        address = min(free, key=lambda one: (one not in open_at, self._last.get(one) != key, busy.get(one, 0)))
        self._last[address] = key
        placed = _Placed(job, address, uuid.uuid4().hex, tries, run=run, begun=begun)
        self._placed[placed.attempt] = placed
        if job.pass_number is not None:
            self._passes.setdefault(job.pass_number, set()).add(address)
        try:
            content = pickle.dumps(self._assignment(placed, connection))
        except FlowValidationError as error:
            del self._placed[placed.attempt]
            self._loop.call_soon(self._tell_done, job, JobEnd("refused", error=error.as_dict(), not_begun=job.sources))
            return
        self._later(
            lambda future, error: self._submitted(placed, future, error), self._submit_to, connection, placed, content
        )

    def _assignment(self, placed: _Placed, connection: Connection) -> Assignment:
        job, layout = placed.job, self._home.layout
        at_host: dict[str, int] = {}
        for address, threads in self._nodes.items():
            at_host[host_of(address)] = at_host.get(host_of(address), 0) + threads
        ready = self._flows().get(job.flow or "")
        mirror = None if ready is None else ready.flow.mirror_spec
        places = [] if mirror is None else [("mirror", mirror.root)]
        number = None if job.pass_number is None else self._pass_base + job.pass_number
        return Assignment(
            placed.attempt,
            connection.topic,
            __version__,
            WorkspaceOf(str(layout.root), self._home.local.identity),
            node.packed_job(replace(job, pass_number=number), layout.root),
            None if job.content is None else Path(job.content).name,
            pack(places, "the places", root=layout.root),
            at_host,
        )

    def _submit_to(self, connection: Connection, placed: _Placed, content: bytes) -> Any:
        """On the thread of the calls."""
        future = connection.client.submit(
            node.run_job,
            content,
            workers=[placed.address],
            allow_other_workers=False,
            pure=False,
            key=f"data-engine-runs-{placed.attempt}",
        )

        def done(future: Any) -> None:  # on a thread of the client
            result, error = None, None
            try:
                result = future.result(timeout=60)
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._done, placed, result, error)

        future.add_done_callback(done)
        return future

    def _submitted(self, placed: _Placed, future: Any, error: BaseException | None) -> None:
        placed.future = future
        if error is not None and placed.attempt in self._placed:
            log.warning("a job could not be given to %s: %s", placed.address, error)
            self._node_lost(placed)

    def _place_again(self) -> None:
        again, self._again = self._again, []
        for job, tries, run, begun in again:
            self._place(job, tries, run, begun)

    def _say(self, run_id: str, message: tuple[Any, ...]) -> bool:
        for placed in self._placed.values():
            is_in_it = any(one.run_id == run_id for one in placed.job.sources) and run_id not in placed.ended
            if is_in_it or (placed.run is not None and placed.run.started.run_id == run_id):
                self._command(placed.address, message)
                return True
        return False

    def _command(self, address: str, message: tuple[Any, ...]) -> None:
        connection = self._connection
        if connection is not None:
            root = str(self._home.layout.root)
            self._later(_note, lambda: connection.client.run(node.command, root, message, workers=[address]))

    def _give_up(self, placed: _Placed) -> None:
        """Let the task of a job end, whose result nobody takes any more."""
        future, connection = placed.future, self._connection
        if future is not None and connection is not None and connection.is_there:
            self._later(_note, lambda: connection.client.cancel([future], force=True))

    # -- what comes home -----------------------------------------------------------------------------------------------

    def _heard(self, frame: tuple[Any, ...]) -> None:
        match frame:
            case ("events", attempt, life, number, part):
                placed = self._placed.get(attempt)
                if placed is not None and self._is_its_life(placed, life) and number >= placed.taken:
                    placed.parts[number] = part
                    self._take_parts(placed)
            case ("permission", number, address, attempts):
                remaining_s = None if self._work_until is None else self._work_until - boot_clock()
                unknown = [one for one in attempts if one not in self._placed]
                self._command(address, ("permission", number, remaining_s, unknown))

    def _is_its_life(self, placed: _Placed, life: str | None) -> bool:
        """Whether this is the execution that was heard first; another one means that the node was lost in between."""
        placed.life = placed.life or life
        if life not in (None, placed.life):
            self._node_lost(placed)
            return False
        return True

    def _take_parts(self, placed: _Placed) -> None:
        while (part := placed.parts.pop(placed.taken, None)) is not None:
            placed.taken += 1
            self._take(placed, pickle.loads(part))

    def _take(self, placed: _Placed, events: list[Event]) -> None:
        told: list[Event] = []
        for event in events:
            if isinstance(event, RunStarted):
                is_again = event.run_id in placed.begun
                placed.run = _Begun(event)
                placed.begun.add(event.run_id)
                if is_again:
                    continue
            elif placed.run is not None and isinstance(event, StepStarted):
                placed.run.step = event
            elif placed.run is not None and isinstance(event, StepFinished):
                placed.run.step = None
            elif isinstance(event, RunFinished):
                placed.ended.add(event.run_id)
                placed.run = None
            told.append(event)
        self._tell(placed.job, told)

    def _tell(self, job: Job, events: list[Event]) -> None:
        if events:
            with suppress(LedgerError):  # the ledger keeps them and tries again
                self._store(job, events)
            self._tell_events(job, events)

    def _done(self, placed: _Placed, result: bytes | None, error: BaseException | None) -> None:
        if self._placed.get(placed.attempt) is not placed:
            return
        if result is None:
            if self._connection is not None and self._connection.is_there:
                log.warning("a job on %s failed: %s", placed.address, error)
                self._node_lost(placed)
            return
        life, parts, end = pickle.loads(result)
        if not self._is_its_life(placed, life):
            return
        placed.parts.update({number: part for number, part in enumerate(parts) if number >= placed.taken})
        self._take_parts(placed)
        del self._placed[placed.attempt]
        left = tuple(one for one in placed.job.sources if one.run_id not in placed.begun)
        self._tell_done(placed.job, replace(end, not_begun=left))
        self._place_again()
        self._wake()

    def _node_lost(self, placed: _Placed) -> None:
        """Try what the node had once more elsewhere; else that is the end of its run."""
        cause = Cause("worker_lost", {"worker": placed.address})
        self._give_up(placed)
        job = placed.job
        left = [number for number, one in enumerate(job.sources) if one.run_id not in placed.ended]
        if placed.tries >= _TRIES or not left:
            self._end(placed, "failed", cause)
            return
        del self._placed[placed.attempt]
        log.warning("the worker %s of the cluster was lost: what it ran is tried once more", placed.address)
        if placed.run is not None:
            started = placed.run.started
            text = f"{cause.text}; the run is begun once more elsewhere"
            self._tell(job, [LogLine(started.run_id, started.flow, None, "WARNING", text, time.time())])
        sources = tuple(job.sources[number] for number in left)
        abouts = tuple(job.abouts[number] for number in left) if job.abouts else ()
        self._place(replace(job, sources=sources, abouts=abouts), placed.tries + 1, placed.run, placed.begun)

    def _end(self, placed: _Placed, status: str, cause: Cause) -> None:
        """Give the run of a job that nobody runs any more its end, and the job too."""
        self._placed.pop(placed.attempt, None)
        if placed.run is not None:
            self._tell(placed.job, end_of(placed.run.started, placed.run.step, status, cause))
        left = tuple(one for one in placed.job.sources if one.run_id not in placed.begun)
        self._tell_done(placed.job, JobEnd("crashed", not_begun=left))


def end_of(started: RunStarted, step: StepStarted | None, status: str, cause: Cause) -> list[Event]:
    """How a run ends whose node is gone."""
    now_s = time.time()
    label = None if step is None else step.label
    text = cause.text
    if step is not None or status == "failed":
        error = FlowExecutionError(
            flow_name=started.flow, phase="step", detail=text, step_label=label, source_path=started.source
        )
        text = str(error)
    told: list[Event] = [LogLine(started.run_id, started.flow, label, "ERROR", text, now_s)]
    if step is not None:
        elapsed_s = max(0.0, now_s - step.at_s)
        told.append(StepFinished(started.run_id, step.step_index, step.label, status, now_s, elapsed_s, text))
    elapsed_s = max(0.0, now_s - started.at_s)
    told.append(RunFinished(started.run_id, status, now_s, elapsed_s, text, cause.where(step=label), started.seen))
    return told


def _note(result: Any, error: BaseException | None) -> None:
    if error is not None:
        log.info("the cluster did not take a message: %s", error)

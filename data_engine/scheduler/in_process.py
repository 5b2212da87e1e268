"""Running jobs in the caller's own process, each in a thread: what `Flow.run`, `run(...)` and `run --watch` do."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from data_engine.cause import Cause, other
from data_engine.engine.candidates import is_unchanged
from data_engine.engine.groups import inside_group
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.run import RunPass
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.flow.context import FlowContext
from data_engine.flow.control import RunInterrupted
from data_engine.flow.flow import Flow
from data_engine.model import Event, RunAbout, RunFinished, RunStarted, StepFinished
from data_engine.planning.due import PlannedFlow
from data_engine.scheduler.executor import Job, JobEnd, JobSource
from data_engine.scheduler.surroundings import ReadyFlow

_MOST_JOBS = 1_000_000


class Listeners(NamedTuple):
    """Who hears of what runs here: `event` of every event, `finished` of every context, `failed` of what raised
    otherwise, all from the run's thread; `say` of what people should know of a flow."""

    event: Callable[[Event], None]
    finished: Callable[[FlowContext], None]
    failed: Callable[[BaseException], None]
    say: Callable[[str, str], None]


class InProcess:
    """An executor of this process: as many jobs at once as there are. `load` executes a flow's module afresh for a pass.

    Every event is recorded before anyone hears of it; a run whose start cannot be recorded does not begin.
    """

    def __init__(
        self,
        home: LocalWorkspace | None,
        *,
        loop: asyncio.AbstractEventLoop,
        flows: Callable[[], Mapping[str, ReadyFlow]],
        load: Callable[[str], Flow] | None,
        on_events: Callable[[Job, Sequence[Event]], None],
        on_done: Callable[[Job, JobEnd], None],
        listeners: Listeners,
    ) -> None:
        self.running: dict[str, RunStarted] = {}
        self._home, self._ledger = home, None if home is None else home.ledger()
        self._loop, self._flows, self._load = loop, flows, load
        self._on_events, self._on_done, self._listeners = on_events, on_done, listeners
        self._jobs: set[str] = set()
        self._left: set[str] = set()
        self._stopped: dict[str, Cause] = {}
        self._stop_cause: Cause | None = None
        self._load_lock = threading.Lock()
        self._loaded: dict[str, _Loaded] = {}

    def free(self) -> int:
        """As many as one likes: the flows and their `max_parallel` set the limit."""
        return _MOST_JOBS

    def submit(self, job: Job) -> None:
        """Start the job in a thread."""
        self._jobs.add(job.job_id)
        ready = self._flows().get(job.flow or "")
        flow = None if ready is None else ready.flow
        threading.Thread(target=self._run, args=(job, flow), name=f"run {job.flow}", daemon=True).start()

    def leave(self, job_id: str, *, stop_for: Cause | None = None) -> None:
        """Let the job begin no further run; with `stop_for`, the cause, the one that it is in ends at its next step or item."""
        self._left.add(job_id)
        if stop_for is not None:
            self._stopped[job_id] = stop_for

    def end_pass(self, pass_number: int) -> None:
        """Execute the module afresh when its flow runs again."""
        with self._load_lock:
            self._loaded = {
                name: one._replace(pass_number=None) if one.pass_number == pass_number else one
                for name, one in self._loaded.items()
            }

    def wind_down(self, *, stop_for: Cause | None = None) -> None:
        """Let no job begin another run; with `stop_for`, the cause, those that run end at their next step or item."""
        self._left |= self._jobs
        self._stop_cause = stop_for or self._stop_cause

    def leave_behind(self, cause: Cause) -> None:
        """Record the runs that are under way as killed: nobody waits for them any longer."""
        now_s = time.time()
        for started in list(self.running.values()):
            end = RunFinished(started.run_id, "killed", now_s, now_s - started.at_s, None, cause, started.seen)
            with suppress(LedgerError):
                if self._ledger is not None:
                    self._ledger.record(end)
            self._listeners.event(end)

    # -- in the job's thread ---------------------------------------------------------------------------------------

    def _run(self, job: Job, flow: Flow | None) -> None:
        try:
            end = self._run_all(job, flow)
        except BaseException as error:
            self._listeners.failed(error)
            end = JobEnd("refused", why=other(str(error) or type(error).__name__))
        with suppress(RuntimeError):  # the loop was closed: this was left behind
            self._loop.call_soon_threadsafe(self._end, job, end)

    def _end(self, job: Job, end: JobEnd) -> None:
        self._jobs.discard(job.job_id)
        self._left.discard(job.job_id)
        self._on_done(job, end)

    def _run_all(self, job: Job, flow: Flow | None) -> JobEnd:
        if flow is None:  # it was taken out while its work waited
            return JobEnd("done")
        current = self._flow_of(job, flow)
        for number, source in enumerate(job.sources):
            if job.job_id in self._left or self._stop_cause is not None:
                break
            if not _is_as_seen(source):
                continue  # it comes back and is judged anew
            with inside_group(flow, self._home):
                refused = self._run_one(job, current, source, job.about(number))
            if refused is not None:
                return JobEnd("refused", error=refused.as_dict(), is_passing=True)
        return JobEnd("done")

    def _run_one(self, job: Job, flow: Flow, source: JobSource, about: RunAbout | None) -> LedgerError | None:
        """Run one source; the error where its start could not be recorded."""
        has_begun = False

        def sink(event: Event) -> None:
            nonlocal has_begun
            try:
                if self._ledger is not None:
                    self._ledger.record(event)
            except LedgerError:
                if not isinstance(event, RunStarted):  # the ledger keeps it until it can be written
                    self._hear(job, event)
                raise
            has_begun = True
            self._hear(job, event)

        try:
            runs = RunPass(
                flow, home=self._home, sink=sink, params=job.params, may_work=partial(self._may_work, job.job_id)
            )
            context = runs.run(source.as_source(), seen=source.seen, run_id=source.run_id, about=about)
        except LedgerError as error:
            if not has_begun:
                return error
            self._listeners.failed(error)
        except BaseException as error:
            if not has_begun:
                raise
            self._listeners.failed(error)
        else:
            self._listeners.finished(context)
        return None

    def _hear(self, job: Job, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.running[event.run_id] = event
        elif isinstance(event, RunFinished):
            self.running.pop(event.run_id, None)
        if isinstance(event, (RunStarted, StepFinished, RunFinished)):
            with suppress(RuntimeError):  # the loop was closed: this was left behind
                self._loop.call_soon_threadsafe(self._on_events, job, [event])
        self._listeners.event(event)

    def _may_work(self, job_id: str) -> None:
        if (cause := self._stopped.get(job_id, self._stop_cause)) is not None:
            raise RunInterrupted("stopped", cause)

    def _flow_of(self, job: Job, planned: Flow) -> Flow:
        """The flow of a module that was executed for the job's pass; its last good version where it cannot be."""
        name = job.flow or ""
        if self._load is None or self._home is None:
            return planned
        with self._load_lock:
            known = self._loaded.get(name)
            if known is not None and known.pass_number == job.pass_number and known.planned is planned:
                return known.flow
            last = known.flow if known is not None and known.planned is planned else planned
            try:
                flow = self._load(name)
            except FlowValidationError as error:
                self._listeners.say(name, f"broken, its last good version runs: {error.what}")
                flow = last
            if PlannedFlow.of(flow) != PlannedFlow.of(planned):
                flow = last  # its trigger was edited: what was due by the old one runs by the old one
            self._loaded[name] = _Loaded(job.pass_number, planned, flow)
            return flow


class _Loaded(NamedTuple):
    """A flow as its module was executed last, for the pass it was executed for, and as it was when it was planned."""

    pass_number: int | None
    planned: Flow
    flow: Flow


def _is_as_seen(source: JobSource) -> bool:
    """Whether the file is still the one that was found due."""
    path = source.as_source().path
    return path is None or not source.seen or is_unchanged(path, source.seen[0].signature)

"""Flows that run as they become due, here in the caller's process, until Ctrl-C.

A thread has the loop on which the schedulers live, one for each workspace the flows belong to; runs have threads of their
own (`InProcess`). The caller's thread waits, and twice a second looks at what was edited.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from data_engine.cause import Cause, other
from data_engine.engine.candidates import Source, is_unchanged, startup_sources
from data_engine.engine.groups import inside_group, refuse_inside_group, tell_whom_we_wait_for
from data_engine.engine.local_workspace import LocalWorkspace, settle_flow, workspace_of
from data_engine.engine.run import RunPass
from data_engine.errors import FlowStoppedError, FlowValidationError, LedgerError
from data_engine.flow.context import FlowContext
from data_engine.flow.control import RunInterrupted
from data_engine.flow.flow import Flow
from data_engine.model import Event, RunFinished, RunStarted, StepFinished
from data_engine.planning.due import PlannedFlow
from data_engine.scheduler.dispatcher import Dispatcher, ReadyFlow, Scheduler
from data_engine.scheduler.executor import Job, JobEnd, SourceRun
from data_engine.scheduler.run_queue import Turn, Work

_BEAT_S = 0.5
_NOTICE_EVERY_S = 2.0


def run_until_interrupted(
    flows: Sequence[Flow],
    *,
    load: Callable[[str], Flow] | None = None,
    reread: Callable[[], Sequence[Flow] | None] | None = None,
    listen: Callable[[Event], None] | None = None,
    upkeep: Callable[[], None] | None = None,
) -> list[FlowContext]:
    """Run `flows` as they become due until Ctrl-C; when all of them are manual, run each once and return the contexts.

    Manual flows among others run once at the start. At Ctrl-C the running steps end, their runs are recorded as stopped, and
    the call returns; a second one leaves at once. `load` executes a flow's module afresh for each pass; `reread` gives the
    flows as they are now, None while nothing has changed; `listen` gets every event of every run, one at a time; `upkeep` is
    called now and then.

    Raises:
        FlowValidationError: two flows have one name.
        FlowExecutionError: all flows are manual, and one failed; `.completed` holds the finished contexts.
        KeyboardInterrupt: a second Ctrl-C, or one while manual flows ran.
    """
    once = reread is None and all(flow.mode == "manual" for flow in flows)
    running = _ForegroundRun(load, listen or tell_failure, once=once)
    try:
        running.set_flows(flows)
        try:
            while not running.is_done:
                running.nudged.wait(_BEAT_S)
                running.nudged.clear()
                running.tick(reread, upkeep)
        except KeyboardInterrupt:
            running.stop()
            if running.has_runs:
                _tell("stopping after the running step; Ctrl-C again leaves at once")
            running.join()
            if once:
                raise
    except KeyboardInterrupt:
        running.leave()
        raise
    finally:
        running.close()
    if running.error is not None:
        if isinstance(running.error, (FlowValidationError, FlowStoppedError)):
            running.error.completed = running.contexts
        raise running.error
    return running.contexts


def tell_failure(event: Event) -> None:
    """Say one line about a run that did not succeed."""
    if isinstance(event, RunFinished) and event.status != "success":
        why = (event.error or event.cause or "").partition("\n")[0]
        _tell(f"{event.status}: {why} (run {event.run_id[:8]})")


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _ForegroundRun:
    """One continuous run. With `once` contexts are kept, and the first error stops everything."""

    def __init__(self, load: Callable[[str], Flow] | None, listen: Callable[[Event], None], *, once: bool) -> None:
        self.contexts: list[FlowContext] = []
        self.error: BaseException | None = None
        self.nudged = threading.Event()
        self.once = once
        self.load = load
        self.is_stopping = False
        self.is_done = False
        self.loop = asyncio.new_event_loop()
        self._listen = listen
        self._lock = threading.Lock()
        self._lines: dict[str, str] = {}
        self._parts: dict[Path | None, _Part] = {}
        self._is_closing = False
        self._idle = threading.Event()
        # What the schedulers log is for who has set logging up; here it is told.
        logging.getLogger("data_engine").addHandler(logging.NullHandler())
        self._thread = threading.Thread(target=self._serve, name="scheduler", daemon=True)
        self._thread.start()

    # -- in the caller's thread ------------------------------------------------------------------------------------

    def set_flows(self, flows: Iterable[Flow]) -> None:
        """Run these flows from now on: changed ones afresh, missing ones no longer.

        Raises:
            FlowValidationError: two flows have one name.
            GroupBusyError: the group of one is running further up in this very call.
        """
        parts: dict[Path | None, dict[str, Flow]] = {root: {} for root in self._parts}
        for flow in map(settle_flow, flows):
            named = parts.setdefault(flow._workspace_root, {})
            if (flow.name or "") in named:
                raise FlowValidationError(
                    f"two flows are named {flow.name!r}; the names must be unique",
                    where="run(*flows)",
                    fix="give each flow once, or name it: Flow(group=..., name=...)",
                )
            named[flow.name or ""] = flow
            refuse_inside_group(flow, workspace_of(flow))
        for root, named in parts.items():
            if root not in self._parts:
                self._parts[root] = _Part(self, next(iter(named.values())))
        changes = [(self._parts[root], named) for root, named in parts.items()]
        for part, _ in changes:
            part.refresh_settings()
        self.loop.call_soon_threadsafe(self._set_flows, changes)

    def tick(self, reread: Callable[[], Sequence[Flow] | None] | None, upkeep: Callable[[], None] | None) -> None:
        """Notice what others wrote, and that flows or settings were edited; called twice a second."""
        try:
            if reread is not None and (flows := reread()) is not None:
                self.set_flows(flows)
            if upkeep is not None:
                upkeep()
        except FlowValidationError as error:
            self.tell_change("edits", f"warning: {error.what}")
        for part in self._parts.values():
            part.refresh_settings()
        self.loop.call_soon_threadsafe(self._tick)

    @property
    def has_runs(self) -> bool:
        """Whether something runs."""
        return any(part.executor.running for part in self._parts.values())

    def stop(self) -> None:
        """Let the running steps end, and start nothing more."""
        self.is_stopping = self.is_done = True
        self.nudged.set()
        self.loop.call_soon_threadsafe(self._wind_down)

    def join(self) -> None:
        """Wait until all runs have ended."""
        while not self._idle.wait(_BEAT_S):
            pass

    def leave(self) -> None:
        """Leave the running steps behind; their runs are recorded as killed."""
        self.is_stopping = self.is_done = True
        for part in self._parts.values():
            part.executor.leave_behind(Cause("left_behind"))

    def close(self) -> None:
        """Let nothing more become due; the loop ends when the last run has."""
        self.is_stopping = self.is_done = True
        self.loop.call_soon_threadsafe(self._close)
        if not self.has_runs:
            self._thread.join(_BEAT_S)

    # -- from any thread -------------------------------------------------------------------------------------------

    def say(self, flow: str, text: str) -> None:
        """Say one line about a flow, unless it was the last one said of it."""
        self.tell_change(f"flow {flow}", text and f'flow "{flow}": {text}')

    def tell_change(self, matter: str, text: str) -> None:
        """Say a line, unless it was the last one said of that matter; with "" the matter is settled."""
        with self._lock:
            is_new, self._lines[matter] = bool(text) and text != self._lines.get(matter), text
        if is_new:
            _tell(text)

    def heard(self, event: Event) -> None:
        """Pass on an event of a run."""
        with self._lock:
            self._listen(event)

    def finished(self, context: FlowContext) -> None:
        """Take the context of a run that has ended."""
        if not self.once:
            return
        if context.error is None:
            self.contexts.append(context)
        elif not isinstance(context.error, FlowStoppedError) or not self.is_stopping:
            self.failed(context.error)

    def failed(self, error: BaseException) -> None:
        """Take an error from outside the author's code, or with `once` of a run."""
        if self.once:
            self.error = self.error or error
            self.stop()
        else:
            self.tell_change("failure", (str(error) or type(error).__name__).partition("\n")[0])

    # -- on the loop -----------------------------------------------------------------------------------------------

    def changed(self) -> None:
        """Check whether everything has ended."""
        is_quiet = all(part.is_quiet for part in self._parts.values())
        if self.once and is_quiet and all(part.scheduler.dispatcher.is_idle for part in self._parts.values()):
            self.is_done = True
            self.nudged.set()
        if self.is_stopping and is_quiet:
            self._idle.set()
            if self._is_closing:
                self.loop.stop()

    def _serve(self) -> None:
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def _set_flows(self, changes: Sequence[tuple[_Part, dict[str, Flow]]]) -> None:
        for part, flows in changes:
            part.set_flows(flows)
        self.changed()

    def _tick(self) -> None:
        if not self.once and not self.is_stopping:
            for part in self._parts.values():
                part.tick()
        for part in self._parts.values():
            part.tell_who_is_waited_for()

    def _wind_down(self) -> None:
        for part in self._parts.values():
            part.scheduler.dispatcher.drop()
            part.executor.wind_down(stop_for=Cause("interrupted"))
        self.changed()

    def _close(self) -> None:
        for part in self._parts.values():
            part.scheduler.triggers.close()
        self._is_closing = True
        self._wind_down()


class _Part:
    """The flows of one workspace, or of none, in a continuous run, and their scheduler. Everything on the loop's thread."""

    def __init__(self, whole: _ForegroundRun, flow: Flow) -> None:
        home = workspace_of(flow)
        self._whole = whole
        self._home = None if home is None else replace(home, keeps_settings=True)
        self._flows: dict[str, ReadyFlow] = {}
        self._versions: dict[str, object] = {}
        self._begun: set[str] = set()
        self._asked_to_come = 0
        self._has_settings = home is None
        self._waits: set[str] = set()
        self._noticed_s = float("-inf")
        self.scheduler = Scheduler(
            self._home,
            lambda dispatcher: InProcess(self._home, dispatcher, whole, self.ready_flows),
            self,
            loop=whole.loop,
            say=whole.say,
        )
        self.executor = self.scheduler.dispatcher.executor

    # -- what the scheduler asks -----------------------------------------------------------------------------------

    def may_begin(self) -> bool:
        """Whether nothing was stopped yet."""
        return not self._whole.is_stopping

    def keeps_workspace(self) -> bool:
        """True: it was checked when the run began."""
        return True

    def ready_flows(self) -> Mapping[str, ReadyFlow]:
        """The flows as they were last read."""
        return self._flows

    def tell(self) -> None:
        """Check whether everything has ended."""
        self._whole.changed()

    # -- what is run -----------------------------------------------------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        """Whether nothing runs, and nothing is about to be asked for."""
        return not self._asked_to_come and not self.scheduler.dispatcher.are_under_way

    def set_flows(self, flows: Mapping[str, Flow]) -> None:
        """Run these from now on."""
        for name in self._flows.keys() - flows.keys():
            self.scheduler.triggers.set_flow(name, None, version=None, frees_held=False)
            self.scheduler.dispatcher.drop(name)
        for name, flow in flows.items():
            ready = self._flows.get(name)
            if ready is None or ready.flow != flow:
                self._versions[name] = object()
        self._flows = {name: ReadyFlow(flow) for name, flow in flows.items()}
        for name, flow in flows.items():
            if PlannedFlow.of(flow).trigger.mode == "manual" and name not in self._begun:
                self._begun.add(name)
                self._asked_to_come += 1
                threading.Thread(target=self._find_sources, args=(flow,), name=f"run {name}", daemon=True).start()
        self._noticed_s = float("-inf")
        self.tick()

    def refresh_settings(self) -> None:
        """Read the settings again when they were edited; in the caller's thread, because the share may hang."""
        if self._home is None:
            return
        self._home.refresh_settings()
        error = self._home.settings_error()
        self._has_settings = self._has_settings or error is None
        self._whole.tell_change(f"settings {self._home.layout.root}", "" if error is None else f"warning: {error}")

    def tick(self) -> None:
        """Let triggers go by the settings and switches as they are now, and tell what is wrong; called twice a second."""
        if not self._has_settings:  # nothing runs by settings that were never good
            return
        dispatcher, triggers = self.scheduler.dispatcher, self.scheduler.triggers
        now_s = self._whole.loop.time()
        try:
            if now_s - self._noticed_s >= _NOTICE_EVERY_S or triggers.are_outdated:
                self._noticed_s = now_s
                self._notice()
        except FlowValidationError as error:
            dispatcher.say_trouble(error)
        trouble = dispatcher.trouble
        self._whole.tell_change(f"trouble {id(self)}", "" if trouble is None else f"warning: {trouble.what}")
        for name, text in triggers.source_troubles().items():
            self._whole.tell_change(f"source of {name}", text and f'flow "{name}": {text}')

    def _notice(self) -> None:
        self.scheduler.tick()
        for name, ready in self._flows.items():
            frees_held = name not in self._begun
            self.scheduler.triggers.set_flow(name, ready.flow, version=self._versions[name], frees_held=frees_held)
            self._begun.add(name)

    def tell_who_is_waited_for(self) -> None:
        """Say once which process a group waits for."""
        held_elsewhere = self.scheduler.dispatcher.groups_held_elsewhere()
        for group, flow in held_elsewhere.items():
            if group not in self._waits and self._home is not None and flow in self._flows:
                try:
                    tell_whom_we_wait_for(self._flows[flow].flow, self._home)
                except FlowValidationError as error:
                    self._whole.failed(error)
        self._waits = set(held_elsewhere)

    def _find_sources(self, flow: Flow) -> None:
        """Find the sources of a manual flow, in a thread of its own."""
        sources: Sequence[Source] = ()
        try:
            sources = startup_sources(flow)
        except FlowValidationError as error:
            self._whole.failed(error)
        self._whole.loop.call_soon_threadsafe(self._ask, flow, sources)

    def _ask(self, flow: Flow, sources: Sequence[Source]) -> None:
        self._asked_to_come -= 1
        batch = uuid.uuid4().hex
        runs = [SourceRun(source, uuid.uuid4().hex) for source in sources]
        self.scheduler.dispatcher.add([Work(flow.name or "", flow.group, run, batch, Turn.ASKED) for run in runs])
        self._whole.changed()


_MOST_JOBS = 1_000_000


class InProcess:
    """An executor of this process: as many jobs at once as there are.

    Every event is recorded before anyone hears of it; a run whose start cannot be recorded does not begin.
    """

    def __init__(
        self,
        home: LocalWorkspace | None,
        dispatcher: Dispatcher[InProcess],
        whole: _ForegroundRun,
        flows: Callable[[], Mapping[str, ReadyFlow]],
    ) -> None:
        self.running: dict[str, RunStarted] = {}
        self._home, self._ledger = home, None if home is None else home.ledger()
        self._dispatcher, self._whole, self._flows = dispatcher, whole, flows
        self._jobs: set[str] = set()
        self._left: dict[str, Cause | None] = {}
        self._load_lock = threading.Lock()
        self._loaded: dict[str, _Loaded] = {}

    def free(self) -> int:
        """No limit of its own: the flows and their `max_parallel` set it."""
        return _MOST_JOBS

    def submit(self, job: Job) -> None:
        """Start the job in a thread."""
        self._jobs.add(job.job_id)
        ready = self._flows().get(job.flow or "")
        flow = None if ready is None else ready.flow
        threading.Thread(target=self._run, args=(job, flow), name=f"run {job.flow}", daemon=True).start()

    def leave(self, job_id: str, *, stop_for: Cause | None = None) -> None:
        """Let the job begin no further run; with `stop_for`, the cause, the one that it is in ends at its next step or item."""
        self._left[job_id] = stop_for or self._left.get(job_id)

    def end_pass(self, pass_number: int) -> None:
        """Execute the module afresh when its flow runs again."""
        with self._load_lock:
            self._loaded = {
                name: loaded._replace(pass_number=None) if loaded.pass_number == pass_number else loaded
                for name, loaded in self._loaded.items()
            }

    def wind_down(self, *, stop_for: Cause | None = None) -> None:
        """Let no job begin another run; with `stop_for`, the cause, those that run end at their next step or item."""
        for job_id in self._jobs:
            self.leave(job_id, stop_for=stop_for)

    def leave_behind(self, cause: Cause) -> None:
        """Record the runs that are under way as killed: nobody waits for them any longer."""
        now_s = time.time()
        for started in list(self.running.values()):
            end = RunFinished(started.run_id, "killed", now_s, now_s - started.at_s, None, cause, started.seen)
            with suppress(LedgerError):
                if self._ledger is not None:
                    self._ledger.record(end)
            self._whole.heard(end)

    # -- in the job's thread ---------------------------------------------------------------------------------------

    def _run(self, job: Job, flow: Flow | None) -> None:
        try:
            end = self._run_all(job, flow)
        except BaseException as error:
            self._whole.failed(error)
            end = JobEnd("refused", why=other(str(error) or type(error).__name__))
        with suppress(RuntimeError):  # the loop was closed: this was left behind
            self._whole.loop.call_soon_threadsafe(self._end, job, end)

    def _end(self, job: Job, end: JobEnd) -> None:
        self._jobs.discard(job.job_id)
        self._left.pop(job.job_id, None)
        self._dispatcher.on_done(job, end)

    def _run_all(self, job: Job, flow: Flow | None) -> JobEnd:
        if flow is None:  # it was taken out while its work waited
            return JobEnd("done")
        current = self._flow_of(job, flow)
        for run in job.runs:
            if job.job_id in self._left:
                break
            path = run.source.path
            if path is not None and run.seen and not is_unchanged(path, run.seen[0].signature):
                continue  # it comes back and is judged anew
            with inside_group(flow, self._home):
                refused = self._run_one(job, current, run)
            if refused is not None:
                return JobEnd("refused", error=refused.as_dict(), is_passing=True)
        return JobEnd("done")

    def _run_one(self, job: Job, flow: Flow, run: SourceRun) -> LedgerError | None:
        """Run one source; the error where its start could not be recorded."""
        has_begun = False

        def sink(event: Event) -> None:
            nonlocal has_begun
            try:
                if self._ledger is not None:
                    self._ledger.record(event)
            except LedgerError:
                if not isinstance(event, RunStarted):  # the ledger keeps it until it can be written
                    hear(event)
                raise
            has_begun = True
            hear(event)

        def hear(event: Event) -> None:
            if flow._edited is not None and isinstance(event, RunFinished):
                event = event._replace(seen=run.seen or ())  # done for this process, and for nobody else
            self._hear(job, event)

        try:
            runs = RunPass(
                flow, home=self._home, sink=sink, params=job.params, may_work=partial(self._may_work, job.job_id)
            )
            context = runs.run(run.source, seen=run.seen, run_id=run.run_id, about=run.about)
        except LedgerError as error:
            if not has_begun:
                return error
            self._whole.failed(error)
        except BaseException as error:
            if not has_begun:
                raise
            self._whole.failed(error)
        else:
            self._whole.finished(context)
        return None

    def _hear(self, job: Job, event: Event) -> None:
        if isinstance(event, RunStarted):
            self.running[event.run_id] = event
        elif isinstance(event, RunFinished):
            self.running.pop(event.run_id, None)
        if isinstance(event, (RunStarted, StepFinished, RunFinished)):
            with suppress(RuntimeError):  # the loop was closed: this was left behind
                self._whole.loop.call_soon_threadsafe(self._dispatcher.on_events, job, [event])
        self._whole.heard(event)

    def _may_work(self, job_id: str) -> None:
        if (cause := self._left.get(job_id)) is not None:
            raise RunInterrupted("stopped", cause)

    def _flow_of(self, job: Job, planned: Flow) -> Flow:
        """The flow of a module that was executed for the job's pass; its last good version where it cannot be."""
        name = job.flow or ""
        if self._whole.load is None or self._home is None:
            return planned
        with self._load_lock:
            loaded = self._loaded.get(name)
            if loaded is not None and loaded.pass_number == job.pass_number and loaded.planned is planned:
                return loaded.flow
            last = loaded.flow if loaded is not None and loaded.planned is planned else planned
            try:
                flow = self._whole.load(name)
            except FlowValidationError as error:
                self._whole.say(name, f"broken, its last good version runs: {error.what}")
                flow = last
            if PlannedFlow.of(flow) != PlannedFlow.of(planned):
                flow = last  # its trigger was edited: what was due by the old one runs by the old one
            self._loaded[name] = _Loaded(job.pass_number, planned, flow)
            return flow


class _Loaded(NamedTuple):
    """A flow from the last execution of its module, the pass that was for, and the flow as it was planned."""

    pass_number: int | None
    planned: Flow
    flow: Flow

"""The pool of the daemon's workers. One run at a time in each, warm, reused while clean, one ready to take over from long ones.

A worker that dies, is killed, or holds on to what a run left behind costs its own run only: a job of which nothing has
begun when somebody kills its worker goes to another one, once. Whatever happens, each run that has begun gets an end.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from data_engine.cause import Cause, cause_of_death
from data_engine.daemon.environment import environment_of_workers, unusable
from data_engine.daemon.messages import DESCRIBE_TIMEOUT_S, IMPORT_FIX, LOAD_TIMEOUT_S, Message, encode, pack_job
from data_engine.daemon.run_report import BYSTANDER, RunEvents
from data_engine.daemon.worker_process import WorkerProcess
from data_engine.errors import FlowExecutionError, FlowValidationError, LedgerError
from data_engine.files import is_full
from data_engine.ledger.journal import JournalReader, last_lines_path, read_last_lines
from data_engine.model import Event, RunStarted
from data_engine.notebook.catalog import CatalogEntry, entry_of_message
from data_engine.platforms.processes import ended_with_session, memory_kills, was_killed
from data_engine.record import frozen
from data_engine.scheduler.executor import Job, JobEnd, SourceRun
from data_engine.secret import learn
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout

log = logging.getLogger(__name__)

NO_WORKER = Cause("no_worker")
STOP_REQUESTED, KILL_REQUESTED = Cause("stop_requested"), Cause("kill_requested")
_MOST_FAILED_STARTS = 3
_LOOK_EVERY_S, _LOOK_SOON_S = 0.1, 0.02
"""How often running jobs are looked at, and how soon again when something had happened: the daemon records while the next runs go on."""

_SPARE_AFTER_S = 1.0
"""So long all workers are busy before one more is warmed: most runs are over by then, and a process costs half a second of a core."""

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)

_GOODBYE_S = 1.0
_IDLE_S = 300.0
_LOOK_AFTER_LOADING_S = 0.005

BadModules = dict[str, dict[str, str | None]]
"""Modules that ended a worker which described them, by name, and how."""


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """The setup of worker processes. Events are in the journal of a worker (`new_journal` makes one) from the moment they happen.

    `remember` gets the pid and start time of a worker before it is used (with an OSError of it there is no worker). A module that
    takes longer than `load_timeout_s` to import is given up. `environment` is added to that of the workers.
    """

    interpreter: str
    workspace_root: Path
    local: LocalLayout
    new_journal: Callable[[], JournalReader]
    remember: Callable[[int, float], None]
    load_timeout_s: float = LOAD_TIMEOUT_S
    work_until: float | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def modules_dir(self) -> Path:
        """The authored flow modules."""
        return WorkspaceLayout(self.workspace_root).flow_modules_dir


@frozen
class JobCallbacks:
    """The functions that hear of jobs. `store` gets what runs report some time after it happened, and with `LedgerError` it says that it
    will store it when it can. `on_events` gets the same afterwards. `on_done` gets the end of each job.
    """

    store: Callable[[Job, list[Event]], None]
    on_events: Callable[[Job, list[Event]], None]
    on_done: Callable[[Job, JobEnd], None]


class WorkerPool:
    """The worker processes of one workspace. Everything happens on the thread of the loop it was made in.

    At most `limit` jobs of kind "run" at once. `forget` gets the pid of a worker when it is gone with all it started; what is still
    remembered when a daemon starts is for `end_orphans`.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        callbacks: JobCallbacks,
        *,
        limit: int,
        forget: Callable[[int], None],
    ) -> None:
        self._setup, self._callbacks = setup, callbacks
        self._limit = limit
        self._forget = forget
        self._handles: list[WorkerHandle] = []
        self.is_closing = False
        self.failed_starts = 0
        self._look_timer: asyncio.TimerHandle | None = None
        self._spare_timer: asyncio.TimerHandle | None = None
        self._all_gone: asyncio.Future[None] | None = None
        self._descriptions: dict[str, asyncio.Future[JobEnd]] = {}

    @property
    def interpreter(self) -> str:
        """The Python new workers run with."""
        return self._setup.interpreter

    def use_interpreter(self, interpreter: str) -> None:
        """Start workers with this Python from now on; those that run something end when they have done so."""
        self._setup, self.failed_starts = replace(self._setup, interpreter=interpreter), 0
        for handle in list(self._handles):
            handle.is_outdated = True
            if handle.is_free:
                handle.retire()
        self.keep_one_ready()

    async def start(self) -> None:
        """Warm a worker."""
        self._loop = asyncio.get_running_loop()
        self.keep_one_ready()

    def free(self) -> int:
        """How many more jobs may be started now."""
        busy = [handle for handle in self._handles if handle.job is not None and handle.job.kind == "run"]
        return max(0, self._limit - len(busy))

    def submit(self, job: Job) -> None:
        """Start the job, on a warm worker at once, else on a new one.

        Raises:
            FlowValidationError: the job's params are no JSON.
        """
        self.assign(job, {})

    async def describe(self, content: Path) -> tuple[CatalogEntry, ...]:
        """The flows of the modules in a folder, as a worker reads them.

        Raises:
            FlowValidationError: no worker can.
        """
        job_id = uuid.uuid4().hex
        future = self._descriptions[job_id] = self._loop.create_future()
        self.submit(Job(job_id, "describe", None, str(content)))
        end = await future
        if end.described is None:
            error = end.error or {}
            raise FlowValidationError(
                f"the modules cannot be described: {error.get('what') or end.cause}",
                where=error.get("where") or str(self._setup.modules_dir),
                fix=error.get("fix") or "see the daemon's log; `data-engine compile` checks each module",
            )
        return tuple(entry_of_message(message) for message in end.described)

    def stop(self, run_id: str, cause: Cause = STOP_REQUESTED) -> bool:
        """Ask a run to end at its next step, item, progress or log line; whether a worker has it."""
        handle = self._holder(run_id)
        if handle is not None:
            handle.send({"kind": "stop", "run_id": run_id, "cause": cause.as_dict()})
        return handle is not None

    def leave(self, job_id: str, *, stop_for: Cause | None = None) -> None:
        """Let the job begin no further run; what it has not begun comes back with its end.

        With `stop_for`, the cause, the run that it is in ends at its next step or item, also one that nobody has heard of yet.
        """
        for handle in self._handles:
            if handle.job is not None and handle.job.job_id == job_id:
                cause = None if stop_for is None else stop_for.as_dict()
                handle.send({"kind": "leave", "job_id": job_id, "stop_for": cause})

    def end_pass(self, pass_number: int) -> None:
        """Let the workers that still hold the module of a pass that is over let go of it."""
        for handle in self._handles:
            handle.end_pass(pass_number)

    def wind_down(self, *, stop_for: Cause | None = None) -> None:
        """Let no job begin another run; with `stop_for`, the cause, those that run end at their next step or item."""
        for handle in self._handles:
            if handle.job is not None and handle.job.kind == "run":
                self.leave(handle.job.job_id, stop_for=stop_for)

    def kill(self, run_id: str, cause: Cause = KILL_REQUESTED) -> bool:
        """End a run's process now, with all it started; whether a worker has it.

        A run that waits for another one of its job is stopped before its first step instead.
        """
        handle = self._holder(run_id)
        if handle is None:
            return False
        is_next = handle.run_id is None and handle.begun == 0 and handle.not_begun[0].run_id == run_id
        if is_next or handle.run_id == run_id:
            handle.kill(cause, only=run_id)
            return True
        return self.stop(run_id)

    def set_work_until(self, boot_s: float | None) -> None:
        """Let every worker wait at its next step or item once `boot_clock()` is past this, until it is set anew."""
        self._setup = replace(self._setup, work_until=boot_s)
        for handle in self._handles:
            handle.send({"kind": "work_until", "at_s": boot_s})

    def running(self) -> dict[str, Job]:
        """The runs that have begun and not ended, with their jobs."""
        return {
            handle.run_id: handle.job
            for handle in self._handles
            if handle.run_id is not None and handle.job is not None
        }

    async def close(self, *, kill: bool = False) -> None:
        """Let running jobs end, or kill them, and return when no worker is left."""
        self.is_closing = True
        for handle in list(self._handles):
            if handle.job is None:
                handle.retire(now=kill)
            elif kill:
                handle.abandon(Cause("daemon_killed"))
        if self._handles:
            self._all_gone = asyncio.get_running_loop().create_future()
            await self._all_gone

    # -- what workers report -------------------------------------------------------------------------------------------

    @property
    def has_spare(self) -> bool:
        """Whether more than one worker does nothing."""
        return sum(1 for handle in self._handles if handle.is_free) > 1

    def on_events(self, worker: WorkerHandle, job: Job, events: list[Event]) -> None:
        """Store events of the job's runs, and pass them on."""
        try:
            self._callbacks.store(job, events)
        except LedgerError:  # the ledger keeps it and tries again
            worker.is_behind = True
        else:
            for handle in self._handles:
                handle.caught_up()
        self._callbacks.on_events(job, events)

    def on_done(self, job: Job, end: JobEnd) -> None:
        """Pass on the end of the job."""
        described = self._descriptions.pop(job.job_id, None)
        if described is None:
            self._callbacks.on_done(job, end)
        elif not described.done():
            described.set_result(end)

    def on_gone(self, worker: WorkerHandle) -> None:
        """Forget a worker whose process has ended."""
        if worker in self._handles:
            self._handles.remove(worker)
        self._forget(worker.pid)
        if worker.is_starting and not worker.is_retired:
            self.failed_starts += 1
        self.keep_one_ready()
        if not self._handles and self._all_gone is not None and not self._all_gone.done():
            self._all_gone.set_result(None)

    # -- handing out -----------------------------------------------------------------------------------------------------

    def _holder(self, run_id: str) -> WorkerHandle | None:
        self._look()
        for handle in self._handles:
            if run_id == handle.run_id or any(run_id == run.run_id for run in handle.not_begun):
                return handle
        return None

    def assign(self, job: Job, bad: BadModules, *, is_last_try: bool = False) -> None:
        """Give a worker a job of which nothing has begun; `bad` are modules that ended a worker before.

        Raises:
            FlowValidationError: the job's params are no JSON.
        """
        frame = encode(pack_job(job) | {"bad": bad})
        idle = [handle for handle in self._handles if handle.takes(job)]
        try:
            handle = min(idle, key=lambda worker: worker.rank(job)) if idle else self._new_handle()
        except Exception as error:
            is_passing = _is_passing(error)
            if not is_passing:
                log.exception("no worker can be started")
            failure = unusable(self._setup.interpreter, f"no worker process can be started: {error}")
            cause = NO_WORKER
            end = JobEnd("refused", None, failure.as_dict(), cause, job.runs, is_passing)
            self._loop.call_soon(self.on_done, job, end)
            return
        handle.begin(job, bad, frame, is_last_try=is_last_try)
        if self._look_timer is None:
            self._look_timer = self._loop.call_later(_LOOK_EVERY_S, self._look_again)
        if self._spare_timer is None:
            self._spare_timer = self._loop.call_later(_SPARE_AFTER_S, self._busy_for_long)

    def _busy_for_long(self) -> None:
        self._spare_timer = None
        self.keep_one_ready()

    def _look_again(self) -> None:
        """Take events now and then: nothing that a slow run does wakes anybody."""
        self._look_timer = None
        wait_s = _LOOK_SOON_S if self._look() else _LOOK_EVERY_S
        if any(handle.job is not None for handle in self._handles):
            self._look_timer = self._loop.call_later(wait_s, self._look_again)

    def _look(self) -> bool:
        """Take what has happened in all runs; whether anything had."""
        came = [handle.look() for handle in list(self._handles)]
        return any(came)

    def _new_handle(self) -> WorkerHandle:
        handle = WorkerHandle(self, self._setup)
        self._handles.append(handle)
        return handle

    def keep_one_ready(self) -> None:
        """Start a worker where none waits for its next job."""
        is_hopeless = self.failed_starts >= _MOST_FAILED_STARTS  # until a job's own worker starts
        if self.is_closing or is_hopeless or any(handle.is_free and not handle.is_outdated for handle in self._handles):
            return
        try:
            self._new_handle()
        except Exception as error:
            log.error("no worker can be started: %s", error, exc_info=not _is_passing(error))  # noqa: TRY400
            self.failed_starts += 1


def _is_passing(error: Exception) -> bool:
    return is_full(error) or (isinstance(error, OSError) and error.errno in _SHORTAGES)


class WorkerHandle:
    """A worker process and what it is doing. Everything is called on the thread of the running loop.

    `job` is None while it does nothing, `begun` says how many of the job's runs have begun. `is_outdated`: it goes on with
    the passes it is in, and takes nothing else. `is_behind`: the ledger has not stored all that it reported.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, pool: WorkerPool, setup: WorkerSetup) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._setup = setup
        self.job: Job | None = None
        self.begun = 0
        self.is_starting = True
        self.is_retired = False
        self.is_outdated = False
        self.is_behind = False
        self._is_leaky = self._is_given_up = self._is_last_try = self._is_abandoned = False
        self._is_new_pass = True
        self._settling = 0
        self._killed_for: Cause | None = None
        self._killed_run: str | None = None
        self._describing: str | None = None
        self._bad: BadModules = {}
        self._last: tuple[str | None, str | None] | None = None
        self._open_passes: set[int] = set()
        self._load_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._memory_kills = memory_kills()
        self._report = RunEvents(setup.modules_dir, finish_lines=lambda: self._process.finish_lines())
        self.journal = setup.new_journal()
        try:
            self._process = self._new_process()
        except BaseException:
            self.journal.close()
            raise
        try:
            setup.remember(self.pid, self._process.create_time)
        except BaseException:
            self.is_retired = True
            self._process.end()
            raise
        local = {name: value and str(value) for name, value in asdict(setup.local).items()}
        root = str(setup.workspace_root)
        self.send(
            {
                "kind": "hello",
                "workspace_root": root,
                "local": local,
                "work_until": setup.work_until,
                "load_timeout_s": setup.load_timeout_s,
            }
        )

    def _new_process(self) -> WorkerProcess:
        return WorkerProcess(
            self._setup.interpreter,
            {**environment_of_workers(os.environ), **self._setup.environment},
            self._setup.local.runtime_dir,
            self.journal,
            on_events=self._take_events,
            on_messages=self._take_messages,
            on_lines=self._take_lines,
            on_end=self._ended,
        )

    @property
    def pid(self) -> int:
        """The pid of its process."""
        return self._process.pid

    @property
    def run_id(self) -> str | None:
        """The id of the run it is in."""
        return None if self._report.run is None else self._report.run.started.run_id

    @property
    def not_begun(self) -> tuple[SourceRun, ...]:
        """The runs of its job that have not begun."""
        return () if self.job is None else self.job.runs[self.begun :]

    @property
    def is_free(self) -> bool:
        """Whether it does nothing."""
        return self.job is None and not self._settling and not self.is_retired

    def takes(self, job: Job) -> bool:
        """Whether it can take this job; one that is outdated goes on with its passes only."""
        if job.pass_number in self._open_passes:
            return self.job is None and not self.is_retired
        return self.is_free and not self.is_outdated

    def rank(self, job: Job) -> tuple[bool, bool, bool, bool]:
        """How good it is for the job, least first: it is in its pass, there, ran the flow last, has run something."""
        return (
            job.pass_number not in self._open_passes,
            self.is_starting,
            self._last != (job.flow, job.content),
            self._last is None,
        )

    def begin(self, job: Job, bad: BadModules, frame: bytes, *, is_last_try: bool) -> None:
        """Give it the job, which is in the frame; `bad` are modules that ended a worker before, and how."""
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self.job, self._bad, self.begun, self._describing = job, bad, 0, None
        self._last, self._is_last_try = (job.flow, job.content), is_last_try
        self._is_new_pass = job.pass_number not in self._open_passes
        if job.pass_number is not None:
            (self._open_passes.discard if job.ends_pass else self._open_passes.add)(job.pass_number)
        self._report.begin_job()
        self._expect_load()
        self._process.send_frame(frame)

    def send(self, message: Message) -> None:
        """Send it a message."""
        self._process.send(message)

    def look(self) -> bool:
        """Take what has happened in its run so far; whether anything had."""
        return self._process.take_events()

    def end_pass(self, pass_number: int) -> None:
        """Let it let go of the module of the pass, if it holds one."""
        if pass_number in self._open_passes:
            if self._idle_timer is not None:
                self._idle_timer.cancel()
            self._open_passes.discard(pass_number)
            self._settling += 1
            self.send({"kind": "end_pass", "pass_number": pass_number})

    def kill(self, cause: Cause, *, only: str | None = None) -> None:
        """End it now; its run ends as killed for this cause. With `only`, another one that has begun since is abandoned."""
        if self._killed_for is None:
            self._killed_for, self._killed_run = cause, only
        self.is_retired = True
        self._process.end()

    def abandon(self, cause: Cause) -> None:
        """End it now; its run ends as abandoned."""
        self._is_abandoned = True
        self.kill(cause)

    def retire(self, *, now: bool = False) -> None:
        """Let it go; what it does not let go of within a second is ended, or all of it `now`."""
        self.is_retired = True
        if now:
            self._process.end()
            return
        self.send({"kind": "bye"})
        self._loop.call_later(_GOODBYE_S, self._process.end)

    def caught_up(self) -> None:
        """Clear the journal: all that it reported is stored, also what could not be before."""
        if self.is_behind:
            self.is_behind = False
            if self.job is None:
                self.journal.clear()

    # -- waiting ---------------------------------------------------------------------------------------------------------

    def _expect_load(self) -> None:
        self._stop_waiting_for_load()
        limit_s = self._setup.load_timeout_s
        if self.job is not None and self.job.kind == "describe":
            limit_s = min(limit_s, DESCRIBE_TIMEOUT_S)
        if self.is_starting:
            limit_s = LOAD_TIMEOUT_S
        self._load_timer = self._loop.call_later(limit_s, self._give_up, Cause("never_loaded", {"limit_s": limit_s}))

    def _stop_waiting_for_load(self) -> None:
        if self._load_timer is not None:
            self._load_timer.cancel()
            self._load_timer = None

    def _out_of_time(self, run_id: str, limit_s: float) -> None:
        self.look()
        if self.run_id == run_id:
            self._give_up(Cause("time_limit", {"limit_s": limit_s}))

    def _give_up(self, cause: Cause) -> None:
        self.look()
        self._killed_for = self._killed_for or cause
        self.is_retired = self._is_given_up = True
        self._process.end_after_telling_where()

    def _idle_for_long(self) -> None:
        if self.is_free and self._pool.has_spare:
            self.retire()

    # -- what it reports -------------------------------------------------------------------------------------------------

    def _take_messages(self, messages: Iterator[Message]) -> None:
        if self._is_given_up:
            return  # the signal that asks where it hangs may have ended what hung
        for message in messages:
            match message["kind"]:
                case "texts":
                    self._process.read_texts()
                    self._process.answer()
                case "secret":
                    learn(message["value"])  # what it writes past Python is masked here
                    self._process.answer()
                case "ready":
                    self.is_starting = False
                    self._pool.failed_starts = 0
                    if self._load_timer is not None:
                        self._expect_load()  # the start of a process is not the module's
                case "describing":
                    self._describing = str(message["name"])
                    self._expect_load()
                case "loaded":
                    self._process.read_texts()
                    self._stop_waiting_for_load()
                    if self._is_new_pass:  # the others are looked at with all workers, and when the job is done
                        self._loop.call_later(_LOOK_AFTER_LOADING_S, self._look_at_job)
                case "done":
                    self._done(message)
                case "idle":
                    self._idle(message["leaks"])
                case kind:
                    raise FlowValidationError(f"a worker sent an unknown message {kind!r}", where="from a worker")

    def _take_events(self, events: list[Event]) -> None:
        if self.job is None:
            return
        for event in events:
            if not isinstance(event, RunStarted):
                if not self._is_given_up:
                    self._report.take(event)
                continue
            self.begun += 1
            if self._is_given_up:
                self._report.abandon(event)
                continue
            run = self._report.begin_run(event)
            if (limit_s := self.job.run_timeout_s) is not None:
                run.timer = self._loop.call_later(limit_s, self._out_of_time, event.run_id, limit_s)
        if not self._is_given_up:
            self._pass_on()

    def _take_lines(self, level: str, lines: list[bytes]) -> None:
        if self.job is not None:
            self._report.take_lines(level, lines)
            self._pass_on()

    def _pass_on(self) -> None:
        events, self._report.events = self._report.events, []
        if events and self.job is not None:
            self._pool.on_events(self, self.job, events)

    def _look_at_job(self) -> None:
        if self.job is not None:
            self.look()

    def _done(self, message: Message) -> None:
        job = self.job
        if job is None:
            return
        self._stop_waiting_for_load()
        described = message.get("described")
        end = JobEnd(
            message["status"],
            described=None if described is None else tuple(described),
            error=message.get("error"),
            not_begun=job.runs[message["begun"] :],
            is_passing=message.get("is_passing", False),
        )
        self.job = None
        self._settling += 1
        if not self.is_behind:
            self.journal.clear()
        self._pool.on_done(job, end)

    def _idle(self, leaks: list[str]) -> None:
        self._settling -= 1
        if leaks:
            log.info("worker %d is replaced: it still holds %s", self.pid, ", ".join(leaks[:5]))
            self._is_leaky = self.is_outdated = True
        if self.job is not None or self._settling:  # it has been given the next job of a pass meanwhile
            return
        if self._pool.is_closing or (self.is_outdated and not self._open_passes):
            if self._is_leaky:
                self._process.end_started()  # while it is there: what ran away from it is its child still
            self.retire()
        else:
            self._idle_timer = self._loop.call_later(_IDLE_S, self._idle_for_long)
        self._pool.keep_one_ready()

    # -- its end ---------------------------------------------------------------------------------------------------------

    def _ended(self, status: int) -> None:
        self._stop_waiting_for_load()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        job, is_in_a_run = self.job, self._report.run is not None
        lacked_memory = memory_kills() > self._memory_kills
        cause = self._killed_for or cause_of_death(status, lacked_memory=lacked_memory)
        if self._killed_for is None and ended_with_session(status):
            self._is_abandoned, cause = True, Cause("session_ended")
        if is_in_a_run:
            self._end_run(cause)
        self._pass_on()
        self.job = None
        self.journal.close(keep=self.is_behind)
        if not self.is_behind:
            last_lines_path(self.journal.path).unlink(missing_ok=True)
        self._pool.on_gone(self)
        if job is None:
            return
        has_begun = is_in_a_run or self.begun > 0
        is_unlucky = was_killed(status) and self._killed_for is None and not has_begun
        if is_unlucky and not self._is_last_try and not self._pool.is_closing:
            self._pool.assign(job, self._bad, is_last_try=True)
            return
        if job.kind == "describe" and self._describing is not None and self._describing not in self._bad:
            end = {"detail": cause.text, "cell": self._place()}
            if not self._pool.is_closing:
                self._pool.assign(job, self._bad | {self._describing: end})
                return
        self._pool.on_done(job, self._end_of(job, cause, has_begun=has_begun))

    def _end_run(self, cause: Cause) -> None:
        """End the run of a worker that is gone."""
        status = "failed" if self._killed_for is None else "killed"
        if self._is_abandoned:
            status = "abandoned"
        is_another = self._killed_run not in (None, self.run_id) and not self._is_abandoned
        places = list(self._process.places(self._setup.modules_dir))
        if is_another:
            status, cause = "abandoned", BYSTANDER
        last_lines = read_last_lines(last_lines_path(self.journal.path), self.run_id or "")
        self._report.end_run(status, cause, last_lines, cell=self._place(), places=places)

    def _end_of(self, job: Job, cause: Cause, *, has_begun: bool) -> JobEnd:
        status: Literal["crashed", "killed"] = "crashed" if self._killed_for is None else "killed"
        not_begun = job.runs[self.begun :]
        if has_begun:
            return JobEnd(status, not_begun=not_begun)
        if self.is_starting and self._killed_for is None:
            words = ": ".join(filter(None, [cause.text, self._process.last_text()]))
            failure = unusable(self._setup.interpreter, words)
            return JobEnd(status, error=failure.as_dict(), why=NO_WORKER, not_begun=not_begun)
        error = FlowExecutionError(
            flow_name=job.flow or self._describing or "",
            phase="import",
            detail=cause.text,
            fix=None if self.is_starting else IMPORT_FIX,
        )
        error.set_place(self._place())
        return JobEnd(status, error=error.as_dict(), why=cause, not_begun=not_begun)

    def _place(self) -> str | None:
        return self._process.place(self._setup.modules_dir)

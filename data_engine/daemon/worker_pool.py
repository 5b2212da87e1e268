"""The daemon's workers: handles and the pool. One run at a time in each, warm, reused while clean, one ready to take over.

A worker that dies, is killed, or holds on to what a run left behind costs its own run only: a job of which nothing has
begun when somebody kills its worker goes to another one, once. Whatever happens, each run that has begun gets an end.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from data_engine.cause import Cause
from data_engine.daemon.interpreter import unusable
from data_engine.daemon.messages import IMPORT_FIX, Message, encode, pack_job
from data_engine.daemon.process_tree import end_started_by
from data_engine.daemon.worker_process import (
    WorkerProcess,
    cause_of_death,
    environment_of_workers,
    is_machinery,
    line_text,
    memory_kills,
    was_killed,
)
from data_engine.errors import FlowExecutionError, FlowValidationError, LedgerError
from data_engine.files import is_full
from data_engine.ledger.journal import JournalReader
from data_engine.ledger.last_lines import last_lines_path, read_last_lines
from data_engine.ledger.log_limits import LAST_LINES, LogBound, end_of_log, size_of
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished, StepStarted
from data_engine.notebook.catalog import CatalogEntry, entry_of_message
from data_engine.scheduler.executor import Job, JobEnd, JobSource
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout

log = logging.getLogger(__name__)

LOAD_TIMEOUT_S = 120.0
_DESCRIBE_TIMEOUT_S = 30.0  # for each module; all others wait for it when the daemon starts
_GOODBYE_S = 1.0
_IDLE_S = 300.0
_EARLY_LINES = 200
_MOST_FAILED_STARTS = 3
STOP_REQUESTED, KILL_REQUESTED = Cause("stop_requested"), Cause("kill_requested")
NO_WORKER, _BYSTANDER = Cause("no_worker"), Cause("ended_with_another")
_LOOK_EVERY_S = 0.1
_LOOK_AFTER_LOADING_S = 0.005
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


class WorkerPool:
    """The worker processes of one workspace. Everything happens on the thread of the loop it was made in.

    At most `limit` jobs of kind "run" at once. What runs report is in the journal of their worker (`new_journal` makes one)
    from the moment it happens; `store` gets it some time later, and with `LedgerError` it says that it will store it when it
    can. `on_events` gets the same afterwards. `on_done` gets the end of each job. `remember`
    is told the pid and start time of a worker before it is used (with an OSError of it there is no worker), `forget` the pid
    when it is gone with all it started; what is still remembered when a daemon starts is for `end_orphans`. A module that
    takes longer than `load_timeout_s` to import is given up.
    """

    def __init__(
        self,
        *,
        workspace_root: Path,
        local: LocalLayout,
        interpreter: str,
        limit: int,
        new_journal: Callable[[], JournalReader],
        store: Callable[[Job, list[Event]], None],
        on_events: Callable[[Job, list[Event]], None],
        on_done: Callable[[Job, JobEnd], None],
        remember: Callable[[int, float], None],
        forget: Callable[[int], None],
        load_timeout_s: float = LOAD_TIMEOUT_S,
    ) -> None:
        self._root = workspace_root
        self._modules_dir = WorkspaceLayout(workspace_root).flow_modules_dir
        self._local = local
        self._interpreter = interpreter
        self._limit = limit
        self._new_journal = new_journal
        self._store = store
        self._on_events = on_events
        self._tell_done = on_done
        self._remember = remember
        self._forget = forget
        self._load_timeout_s = load_timeout_s
        self._work_until: float | None = None
        self._handles: list[_Handle] = []
        self._is_closing = False
        self._failed_starts = 0
        self._look_timer: asyncio.TimerHandle | None = None
        self._all_gone: asyncio.Future[None] | None = None
        self._descriptions: dict[str, asyncio.Future[JobEnd]] = {}

    @property
    def interpreter(self) -> str:
        """The Python new workers run with."""
        return self._interpreter

    def use_interpreter(self, interpreter: str) -> None:
        """Start workers with this Python from now on; those that run something end when they have done so."""
        self._interpreter, self._failed_starts = interpreter, 0
        for handle in list(self._handles):
            handle.is_outdated = True
            if handle.is_free:
                handle.retire()
        self._keep_one_ready()

    async def start(self) -> None:
        """Warm a worker."""
        self._loop = asyncio.get_running_loop()
        self._keep_one_ready()

    def free(self) -> int:
        """How many more jobs may be started now."""
        return max(0, self._limit - sum(1 for one in self._handles if one.job is not None and one.job.kind == "run"))

    def submit(self, job: Job) -> None:
        """Start the job, on a warm worker at once, else on a new one.

        Raises:
            FlowValidationError: the job's params are no JSON.
        """
        self._assign(job, {}, encode(pack_job(job) | {"bad": {}}))

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
                where=error.get("where") or str(self._modules_dir),
                fix=error.get("fix") or "see the daemon's log; `data-engine compile` checks each module",
            )
        return tuple(entry_of_message(message) for message in end.described)

    def stop(self, run_id: str) -> bool:
        """Ask a run to end at its next step, item, progress or log line; whether a worker has it."""
        handle = self._holder(run_id)
        if handle is not None:
            handle.child.send({"kind": "stop", "run_id": run_id, "cause": STOP_REQUESTED.as_dict()})
        return handle is not None

    def leave(self, job_id: str) -> None:
        """Let the job begin no further run; what it has not begun comes back with its end."""
        for handle in self._handles:
            if handle.job is not None and handle.job.job_id == job_id:
                handle.child.send({"kind": "leave", "job_id": job_id})

    def end_pass(self, pass_number: int) -> None:
        """Let the workers that still hold the module of a pass that is over let go of it."""
        for handle in self._handles:
            handle.end_pass(pass_number)

    def wind_down(self, *, stop_for: Cause | None = None) -> None:
        """Let no job begin another run; with `stop_for`, the cause, those that run end at their next step or item."""
        for handle in self._handles:
            if handle.job is None or handle.job.kind != "run":
                continue
            handle.child.send({"kind": "leave", "job_id": handle.job.job_id})
            if handle.run is not None and stop_for is not None:
                handle.child.send({"kind": "stop", "run_id": handle.run.started.run_id, "cause": stop_for.as_dict()})

    def kill(self, run_id: str, cause: Cause = KILL_REQUESTED) -> bool:
        """End a run's process now, with all it started; whether a worker has it.

        A run that waits for another one of its job is stopped before its first step instead.
        """
        handle = self._holder(run_id)
        if handle is None:
            return False
        is_next = handle.run is None and handle.begun == 0 and handle.sources[0].run_id == run_id
        if is_next or (handle.run is not None and handle.run.started.run_id == run_id):
            handle.kill(cause, only=run_id)
            return True
        return self.stop(run_id)

    def set_work_until(self, boot_s: float | None) -> None:
        """Let every worker wait at its next step or item once `boot_clock()` is past this, until it is set anew."""
        self._work_until = boot_s
        for handle in self._handles:
            handle.child.send({"kind": "work_until", "at_s": boot_s})

    def running(self) -> dict[str, Job]:
        """The runs that have begun and not ended, with their jobs."""
        return {
            handle.run.started.run_id: handle.job
            for handle in self._handles
            if handle.run is not None and handle.job is not None
        }

    async def close(self, *, kill: bool = False) -> None:
        """Let running jobs end, or kill them, and return when no worker is left."""
        self._is_closing = True
        for handle in list(self._handles):
            if handle.job is None:
                handle.retire()
            elif kill:
                handle.is_abandoned = True
                handle.kill(Cause("daemon_killed"))
        if self._handles:
            self._all_gone = asyncio.get_running_loop().create_future()
            await self._all_gone

    def _holder(self, run_id: str) -> _Handle | None:
        self._look()
        for handle in self._handles:
            if handle.run is not None and handle.run.started.run_id == run_id:
                return handle
            if any(source.run_id == run_id for source in handle.sources[handle.begun :]):
                return handle
        return None

    def _assign(
        self, job: Job, bad: dict[str, dict[str, str | None]], frame: bytes, *, is_last_try: bool = False
    ) -> None:
        idle = [handle for handle in self._handles if handle.takes(job)]
        try:
            handle = min(idle, key=lambda one: one.rank(job)) if idle else self._new_handle()
        except Exception as error:
            is_passing = _is_passing(error)
            if not is_passing:
                log.exception("no worker can be started")
            failure = unusable(self._interpreter, f"no worker process can be started: {error}")
            cause = NO_WORKER
            end = JobEnd("refused", None, failure.as_dict(), cause, job.sources, is_passing)
            self._loop.call_soon(self._on_done, job, end)
            return
        handle.begin(job, bad, frame, is_last_try=is_last_try)
        if self._look_timer is None:
            self._look_timer = self._loop.call_later(_LOOK_EVERY_S, self._look_again)
        self._loop.call_soon(self._keep_one_ready)

    def _look_again(self) -> None:
        """Slow runs are shown as they are, though nothing they do wakes anybody."""
        is_working = any(handle.job is not None for handle in self._handles)
        self._look_timer = self._loop.call_later(_LOOK_EVERY_S, self._look_again) if is_working else None
        self._look()

    def _look(self) -> None:
        for handle in list(self._handles):
            handle.child.take_events()

    def _caught_up(self) -> None:
        """All that was told is stored, also what could not be before: no journal is needed for it any more."""
        for handle in self._handles:
            if handle.is_behind:
                handle.is_behind = False
                if handle.job is None:
                    handle.journal.clear()

    def _new_handle(self) -> _Handle:
        handle = _Handle(self)
        self._handles.append(handle)
        return handle

    def _keep_one_ready(self) -> None:
        is_hopeless = self._failed_starts >= _MOST_FAILED_STARTS  # until a job's own worker starts
        if self._is_closing or is_hopeless or any(one.is_free and not one.is_outdated for one in self._handles):
            return
        try:
            self._new_handle()
        except Exception as error:
            log.error("no worker can be started: %s", error, exc_info=not _is_passing(error))  # noqa: TRY400
            self._failed_starts += 1

    def _on_done(self, job: Job, end: JobEnd) -> None:
        described = self._descriptions.pop(job.job_id, None)
        if described is None:
            self._tell_done(job, end)
        elif not described.done():
            described.set_result(end)

    def _gone(self, handle: _Handle) -> None:
        if handle in self._handles:
            self._handles.remove(handle)
        self._forget(handle.child.pid)
        if handle.is_starting and not handle.is_retired:
            self._failed_starts += 1
        self._keep_one_ready()
        if not self._handles and self._all_gone is not None and not self._all_gone.done():
            self._all_gone.set_result(None)


def _is_passing(error: Exception) -> bool:
    return is_full(error) or (isinstance(error, OSError) and error.errno in _SHORTAGES)


class _Written(NamedTuple):
    """A line on a standard stream, as it was written."""

    level: str
    step: str | None
    at_s: float
    line: bytes


@dataclass(slots=True)
class _Run:
    """The run a worker is in."""

    started: RunStarted
    written: LogBound[_Written]
    begun_s: float
    step: StepStarted | None = None
    step_begun_s: float = 0.0
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False)
class _Handle:
    """One worker and what it is doing."""

    pool: WorkerPool
    job: Job | None = None
    run: _Run | None = None
    begun: int = 0
    is_starting: bool = True
    is_retired: bool = False
    settling: int = 0
    is_outdated: bool = False
    is_leaky: bool = False
    is_given_up: bool = False
    is_last_try: bool = False
    is_behind: bool = False
    is_abandoned: bool = False
    killed_for: Cause | None = None
    killed_run: str | None = None
    describing: str | None = None
    bad: dict[str, dict[str, str | None]] = field(default_factory=dict)
    early: list[tuple[str, str]] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    last: tuple[str | None, str | None] | None = None
    open_passes: set[int] = field(default_factory=set)
    load_timer: asyncio.TimerHandle | None = None
    idle_timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        pool = self.pool
        self.memory_kills = memory_kills()
        self.journal = pool._new_journal()
        try:
            self.child = self._new_child()
        except BaseException:
            self.journal.close()
            raise
        try:
            pool._remember(self.child.pid, self.child.create_time)
        except BaseException:
            self.is_retired = True
            self.child.end()
            raise
        local = {name: value and str(value) for name, value in asdict(pool._local).items()}
        hello = {"kind": "hello", "workspace_root": str(pool._root), "local": local, "work_until": pool._work_until}
        self.child.send(hello)

    def _new_child(self) -> WorkerProcess:
        pool = self.pool
        return WorkerProcess(
            pool._interpreter,
            environment_of_workers(os.environ),
            pool._local.runtime_dir,
            self.journal,
            on_events=self._take_events,
            on_messages=self._take_all,
            on_lines=self._take_lines,
            on_end=self._ended,
        )

    @property
    def sources(self) -> tuple[JobSource, ...]:
        """The sources of its job."""
        return () if self.job is None else self.job.sources

    @property
    def is_free(self) -> bool:
        """Whether it does nothing."""
        return self.job is None and not self.settling and not self.is_retired

    def takes(self, job: Job) -> bool:
        """Whether it can take this job; one that is outdated goes on with its passes only."""
        if job.pass_number in self.open_passes:
            return self.job is None and not self.is_retired
        return self.is_free and not self.is_outdated

    def rank(self, job: Job) -> tuple[bool, bool, bool, bool]:
        """How good it is for the job, least first: it is in its pass, there, ran the flow last, has run something."""
        return (
            job.pass_number not in self.open_passes,
            self.is_starting,
            self.last != (job.flow, job.content),
            self.last is None,
        )

    def end_pass(self, pass_number: int) -> None:
        """Let it let go of the module of the pass, if it holds one."""
        if pass_number in self.open_passes:
            if self.idle_timer is not None:
                self.idle_timer.cancel()
            self.open_passes.discard(pass_number)
            self.settling += 1
            self.child.send({"kind": "end_pass", "pass_number": pass_number})

    def begin(self, job: Job, bad: dict[str, dict[str, str | None]], frame: bytes, *, is_last_try: bool) -> None:
        """Give it the job, which is in the frame; `bad` are modules that ended a worker before, and how."""
        if self.idle_timer is not None:
            self.idle_timer.cancel()
        self.job, self.bad, self.begun, self.describing = job, bad, 0, None
        self.last, self.is_last_try = (job.flow, job.content), is_last_try
        if job.pass_number is not None:
            (self.open_passes.discard if job.ends_pass else self.open_passes.add)(job.pass_number)
        self.early.clear()
        self._expect_load()
        self.child.send_frame(frame)

    def kill(self, cause: Cause, *, only: str | None = None) -> None:
        """End it now; its run ends as killed for this cause. With `only`, another one that has begun since is abandoned."""
        if self.killed_for is None:
            self.killed_for, self.killed_run = cause, only
        self.is_retired = True
        self.child.end()

    def retire(self) -> None:
        """Let it go; what it does not let go of within a second is ended."""
        self.is_retired = True
        self.child.send({"kind": "bye"})
        self.pool._loop.call_later(_GOODBYE_S, self.child.end)

    def _expect_load(self) -> None:
        self._stop_waiting_for_load()
        limit_s = self.pool._load_timeout_s
        if self.job is not None and self.job.kind == "describe":
            limit_s = min(limit_s, _DESCRIBE_TIMEOUT_S)
        if self.is_starting:
            limit_s = LOAD_TIMEOUT_S
        self.load_timer = self.pool._loop.call_later(limit_s, self._never_loaded, limit_s)

    def _stop_waiting_for_load(self) -> None:
        if self.load_timer is not None:
            self.load_timer.cancel()
            self.load_timer = None

    def _never_loaded(self, limit_s: float) -> None:
        self._give_up(Cause("never_loaded", {"limit_s": limit_s}))

    def _out_of_time(self, run: _Run, limit_s: float) -> None:
        self.child.take_events()
        if self.run is run:
            self._give_up(Cause("time_limit", {"limit_s": limit_s}))

    def _give_up(self, cause: Cause) -> None:
        self.child.take_events()
        self.killed_for = self.killed_for or cause
        self.is_retired = self.is_given_up = True
        self.child.end_after_telling_where()

    def _take_all(self, messages: Iterator[Message]) -> None:
        if self.is_given_up:
            return  # the signal that asks where it hangs may have ended what hung
        for message in messages:
            match message["kind"]:
                case "texts":
                    self.child.read_texts()
                    self.child.answer()
                case "ready":
                    self.is_starting = False
                    self.pool._failed_starts = 0
                    if self.load_timer is not None:
                        self._expect_load()  # the start of a process is not the module's
                case "describing":
                    self.describing = str(message["name"])
                    self._expect_load()
                case "loaded":
                    self.child.read_texts()
                    self._stop_waiting_for_load()
                    self.pool._loop.call_later(_LOOK_AFTER_LOADING_S, self._look)
                case "done":
                    self._done(message)
                case "idle":
                    self._idle(message["leaks"])
                case kind:
                    raise FlowValidationError(f"a worker sent an unknown message {kind!r}", where="from a worker")

    def _take_events(self, events: list[Event]) -> None:
        if self.job is None:
            return
        if self.is_given_up:
            self._abandon([event for event in events if isinstance(event, RunStarted)])
            return
        for event in events:
            run = self.run
            if isinstance(event, RunStarted):
                self._begin_run(event)
                continue
            if run is None or run.started.run_id != event.run_id:
                continue
            if isinstance(event, StepStarted):
                run.step, run.step_begun_s = event, time.monotonic()
            elif isinstance(event, StepFinished):
                run.step = None
                if event.status != "success":
                    self.child.finish_lines()
                    self._end_log(run)
            elif isinstance(event, RunFinished):
                self.child.finish_lines()
                self._leave_run(run)
            self.told.append(event)
        self._pass_on()

    def _abandon(self, begun: list[RunStarted]) -> None:
        """Give runs an end that began after their worker was given up."""
        for started in begun:
            self.begun += 1
            end = RunFinished(started.run_id, "abandoned", time.time(), 0.0, _BYSTANDER.text, _BYSTANDER, started.seen)
            self.told += [started, end]

    def _begin_run(self, started: RunStarted) -> None:
        assert self.job is not None
        self.told.append(started)
        self.run = run = _Run(started, LogBound(), time.monotonic())
        self.begun += 1
        limit_s = self.job.run_timeout_s
        if limit_s is not None:
            run.timer = self.pool._loop.call_later(limit_s, self._out_of_time, run, limit_s)
        now_s = time.time()
        self.told += [LogLine(started.run_id, started.flow, None, level, line, now_s) for level, line in self.early]
        self.early.clear()

    def _leave_run(self, run: _Run) -> None:
        if run.timer is not None:
            run.timer.cancel()
        self._end_log(run)
        self.run = None

    def _end_log(self, run: _Run) -> None:
        """The last lines that were written; what is told of the run's end comes after them."""
        left_out, last = run.written.rest()
        lines = [line for one in last if (line := self._as_line(run, one)) is not None]
        self.told += end_of_log(left_out, lines)

    def _take_lines(self, level: str, lines: list[bytes]) -> None:
        run = self.run
        if run is None:
            if self.job is not None and len(self.early) < _EARLY_LINES:
                self.early += [(level, text) for line in lines if (text := line_text(line))]
            return
        step, at_s = None if run.step is None else run.step.label, time.time()
        for number, line in enumerate(lines):
            if run.written.is_full:
                left = lines[number:]
                run.written.leave_out(max(len(left) - LAST_LINES, 0))
                for one in left[-LAST_LINES:]:
                    run.written.hold(_Written(level, step, at_s, one), len(one))
                break
            told = self._as_line(run, _Written(level, step, at_s, line))
            if told is not None and run.written.takes(size_of(told.message)):
                self.told.append(told)
        self._pass_on()

    def _as_line(self, run: _Run, written: _Written) -> LogLine | None:
        """A written line as one of the log; None for one that tells an author nothing."""
        level, step, at_s, line = written
        text = line_text(line)
        if not text or (level == "ERROR" and is_machinery(text, self.pool._modules_dir)):
            return None
        return LogLine(run.started.run_id, run.started.flow, step, level, text, at_s)

    def _pass_on(self) -> None:
        told, self.told = self.told, []
        if told and self.job is not None:
            try:
                self.pool._store(self.job, told)
            except LedgerError:  # the ledger keeps it and tries again
                self.is_behind = True
            else:
                self.pool._caught_up()
            self.pool._on_events(self.job, told)

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
            not_begun=job.sources[message["begun"] :],
            is_passing=message.get("is_passing", False),
        )
        self.job = None
        self.settling += 1
        if not self.is_behind:
            self.journal.clear()
        self.pool._on_done(job, end)

    def _look(self) -> None:
        if self.job is not None:
            self.child.take_events()

    def _idle(self, leaks: list[str]) -> None:
        self.settling -= 1
        if leaks:
            log.info("worker %d is replaced: it still holds %s", self.child.pid, ", ".join(leaks[:5]))
            self.is_leaky = self.is_outdated = True
        if self.job is not None or self.settling:  # it has been given the next job of a pass meanwhile
            return
        if self.pool._is_closing or (self.is_outdated and not self.open_passes):
            if self.is_leaky:
                end_started_by(self.child.pid)  # while it is there: what ran away from it is its child still
            self.retire()
        else:
            self.idle_timer = self.pool._loop.call_later(_IDLE_S, self._idle_for_long)
        self.pool._keep_one_ready()

    def _idle_for_long(self) -> None:
        if self.is_free and sum(1 for one in self.pool._handles if one.is_free) > 1:
            self.retire()

    def _ended(self, status: int) -> None:
        self._stop_waiting_for_load()
        if self.idle_timer is not None:
            self.idle_timer.cancel()
        job, run = self.job, self.run
        lacked_memory = memory_kills() > self.memory_kills
        cause = self.killed_for or cause_of_death(status, lacked_memory=lacked_memory)
        if run is not None:
            self._end_run(run, cause)
        self.job = None
        self.journal.close(keep=self.is_behind)
        if not self.is_behind:
            last_lines_path(self.journal.path).unlink(missing_ok=True)
        self.pool._gone(self)
        if job is None:
            return
        has_begun = run is not None or self.begun > 0
        is_unlucky = was_killed(status) and self.killed_for is None and not has_begun
        if is_unlucky and not self.is_last_try and not self.pool._is_closing:
            self.pool._assign(job, self.bad, encode(pack_job(job) | {"bad": self.bad}), is_last_try=True)
            return
        if job.kind == "describe" and self.describing is not None and self.describing not in self.bad:
            found = {"detail": cause.text, "cell": self.child.place(self.pool._modules_dir)}
            if not self.pool._is_closing:
                bad = self.bad | {self.describing: found}
                self.pool._assign(job, bad, encode(pack_job(job) | {"bad": bad}))
                return
        self.pool._on_done(job, self._end_of(job, cause, has_begun=has_begun))

    def _end_of(self, job: Job, cause: Cause, *, has_begun: bool) -> JobEnd:
        status: Literal["crashed", "killed"] = "crashed" if self.killed_for is None else "killed"
        not_begun = job.sources[self.begun :]
        if has_begun:
            return JobEnd(status, not_begun=not_begun)
        if self.is_starting and self.killed_for is None:
            failure = unusable(self.pool._interpreter, ": ".join(filter(None, [cause.text, self.child.last_words()])))
            return JobEnd(status, error=failure.as_dict(), why=NO_WORKER, not_begun=not_begun)
        error = FlowExecutionError(
            flow_name=job.flow or self.describing or "",
            phase="import",
            detail=cause.text,
            cell=self.child.place(self.pool._modules_dir),
            fix=None if self.is_starting else IMPORT_FIX,
        )
        return JobEnd(status, error=error.as_dict(), why=cause, not_begun=not_begun)

    def _end_run(self, run: _Run, cause: Cause) -> None:
        """Give the run of a worker that is gone its end."""
        started, step = run.started, run.step
        status = "failed" if self.killed_for is None else "killed"
        if self.is_abandoned:
            status = "abandoned"
        elif self.killed_run not in (None, started.run_id):
            status, cause = "abandoned", _BYSTANDER
        text = cause.text
        if step is not None or status == "failed":
            error = FlowExecutionError(
                flow_name=started.flow,
                phase="step",
                detail=cause.text,
                step_label=None if step is None else step.label,
                source_path=started.source,
                cell=self.child.place(self.pool._modules_dir),
            )
            text = str(error)
        cause = cause.where(step=step and step.label, places=list(self.child.places(self.pool._modules_dir)))
        now_s, clock_s = time.time(), time.monotonic()
        self.told += read_last_lines(last_lines_path(self.journal.path), started.run_id)
        label = None if step is None else step.label
        self._leave_run(run)
        self.told.append(LogLine(started.run_id, started.flow, label, "ERROR", text, now_s))
        if step is not None:
            word = "stopped" if status == "killed" else status
            elapsed_s = clock_s - run.step_begun_s
            self.told.append(StepFinished(started.run_id, step.step_index, step.label, word, now_s, elapsed_s, text))
        elapsed_s = clock_s - run.begun_s
        self.told.append(RunFinished(started.run_id, status, now_s, elapsed_s, text, cause, started.seen))
        self._pass_on()

"""One worker of the pool: the process, the job it has, and what ends either of them.

Whatever happens to the process, each run that has begun gets an end, and a job that has not begun goes back to the pool.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from data_engine.cause import Cause, cause_of_death
from data_engine.daemon.environment import environment_of_workers, unusable
from data_engine.daemon.messages import DESCRIBE_TIMEOUT_S, IMPORT_FIX, LOAD_TIMEOUT_S, Message
from data_engine.daemon.run_report import Death, RunReport
from data_engine.daemon.worker_process import WorkerProcess
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.ledger.journal import JournalReader, last_lines_path, read_last_lines
from data_engine.model import Event, RunStarted
from data_engine.platforms.processes import ended_with_session, memory_kills, was_killed
from data_engine.scheduler.executor import Job, JobEnd, JobSource
from data_engine.secret import learn
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout

log = logging.getLogger(__name__)

NO_WORKER = Cause("no_worker")
_GOODBYE_S = 1.0
_IDLE_S = 300.0
_LOOK_AFTER_LOADING_S = 0.005

BadModules = dict[str, dict[str, str | None]]
"""Modules that ended a worker which described them, by name, and how."""


class Pool(Protocol):
    """Whom a worker tells what it does."""

    @property
    def is_closing(self) -> bool:
        """Whether workers end as soon as they have nothing to do."""

    @property
    def has_spare(self) -> bool:
        """Whether more than one worker does nothing."""

    def on_ready(self) -> None:
        """A worker has started."""

    def on_events(self, worker: WorkerHandle, job: Job, events: list[Event]) -> None:
        """This has happened in runs of the job."""

    def on_done(self, job: Job, end: JobEnd) -> None:
        """The job is over."""

    def on_idle(self) -> None:
        """A worker waits for its next job."""

    def on_gone(self, worker: WorkerHandle) -> None:
        """The process of a worker has ended."""

    def try_again(self, job: Job, bad: BadModules, *, is_last_try: bool = False) -> None:
        """Give a job that never began to another worker."""


@dataclass(frozen=True, kw_only=True)
class WorkerSetup:
    """What worker processes are started with. What a run reports is in the journal of its worker (`new_journal` makes one) from the
    moment it happens.

    `remember` is told the pid and start time of a worker before it is used (with an OSError of it there is no worker). A module that
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


class WorkerHandle:
    """A worker process and what it is doing. Everything is called on the thread of the running loop.

    `job` is None while it does nothing, `begun` says how many of the job's runs have begun. `is_outdated`: it goes on with
    the passes it is in, and takes nothing else. `is_behind`: the ledger has not stored all that it told.

    Raises:
        OSError: no process can be started.
    """

    def __init__(self, pool: Pool, setup: WorkerSetup) -> None:
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
        self._report = RunReport(setup.modules_dir, finish_lines=lambda: self._process.finish_lines())
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
        """Of its process."""
        return self._process.pid

    @property
    def run_id(self) -> str | None:
        """Of the run it is in."""
        return None if self._report.run is None else self._report.run.started.run_id

    @property
    def not_begun(self) -> tuple[JobSource, ...]:
        """The sources of its job whose runs have not begun."""
        return () if self.job is None else self.job.sources[self.begun :]

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
        """All that it told is stored, also what could not be before: no journal is needed for it any more."""
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
        self._load_timer = self._loop.call_later(limit_s, self._never_loaded, limit_s)

    def _stop_waiting_for_load(self) -> None:
        if self._load_timer is not None:
            self._load_timer.cancel()
            self._load_timer = None

    def _never_loaded(self, limit_s: float) -> None:
        self._give_up(Cause("never_loaded", {"limit_s": limit_s}))

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

    # -- what it tells ---------------------------------------------------------------------------------------------------

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
                    self._pool.on_ready()
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
            not_begun=job.sources[message["begun"] :],
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
        self._pool.on_idle()

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
            self._pool.try_again(job, self._bad, is_last_try=True)
            return
        if job.kind == "describe" and self._describing is not None and self._describing not in self._bad:
            found = {"detail": cause.text, "cell": self._place()}
            if not self._pool.is_closing:
                self._pool.try_again(job, self._bad | {self._describing: found})
                return
        self._pool.on_done(job, self._end_of(job, cause, has_begun=has_begun))

    def _end_run(self, cause: Cause) -> None:
        """Give the run of a worker that is gone its end."""
        status = "failed" if self._killed_for is None else "killed"
        if self._is_abandoned:
            status = "abandoned"
        is_another = self._killed_run not in (None, self.run_id) and not self._is_abandoned
        places = list(self._process.places(self._setup.modules_dir))
        death = Death.of_bystander(self._place(), places) if is_another else Death(status, cause, self._place(), places)
        last_lines = read_last_lines(last_lines_path(self.journal.path), self.run_id or "")
        self._report.end_run(death, last_lines)

    def _end_of(self, job: Job, cause: Cause, *, has_begun: bool) -> JobEnd:
        status: Literal["crashed", "killed"] = "crashed" if self._killed_for is None else "killed"
        not_begun = job.sources[self.begun :]
        if has_begun:
            return JobEnd(status, not_begun=not_begun)
        if self.is_starting and self._killed_for is None:
            words = ": ".join(filter(None, [cause.text, self._process.last_words()]))
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

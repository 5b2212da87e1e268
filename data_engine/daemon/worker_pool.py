"""The pool of the daemon's workers. One run at a time in each, warm, reused while clean, one ready to take over from long ones.

A worker that dies, is killed, or holds on to what a run left behind costs its own run only: a job of which nothing has
begun when somebody kills its worker goes to another one, once. Whatever happens, each run that has begun gets an end.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from data_engine.cause import Cause
from data_engine.daemon.environment import unusable
from data_engine.daemon.messages import encode, pack_job
from data_engine.daemon.worker_handle import NO_WORKER, BadModules, WorkerHandle, WorkerSetup
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.files import is_full
from data_engine.model import Event
from data_engine.notebook.catalog import CatalogEntry, entry_of_message
from data_engine.scheduler.executor import Job, JobEnd

log = logging.getLogger(__name__)

STOP_REQUESTED, KILL_REQUESTED = Cause("stop_requested"), Cause("kill_requested")
_MOST_FAILED_STARTS = 3
_LOOK_EVERY_S, _LOOK_SOON_S = 0.1, 0.02
"""How often running jobs are looked at, and how soon again when something had happened: the daemon records while the next runs go on."""

_SPARE_AFTER_S = 1.0
"""So long all workers are busy before one more is warmed: most runs are over by then, and a process costs half a second of a core."""

_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


class WorkerPool:
    """The worker processes of one workspace. Everything happens on the thread of the loop it was made in.

    At most `limit` jobs of kind "run" at once. `store` gets what runs report some time after it is in their journal, and with
    `LedgerError` it says that it will store it when it can. `on_events` gets the same afterwards. `on_done` gets the end of each job.
    `forget` is told the pid of a worker when it is gone with all it started; what is still remembered when a daemon starts is
    for `end_orphans`.
    """

    def __init__(
        self,
        setup: WorkerSetup,
        *,
        limit: int,
        store: Callable[[Job, list[Event]], None],
        on_events: Callable[[Job, list[Event]], None],
        on_done: Callable[[Job, JobEnd], None],
        forget: Callable[[int], None],
    ) -> None:
        self._setup = setup
        self._limit = limit
        self._store = store
        self._tell_events = on_events
        self._tell_done = on_done
        self._forget = forget
        self._handles: list[WorkerHandle] = []
        self._is_closing = False
        self._failed_starts = 0
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
        self._setup, self._failed_starts = replace(self._setup, interpreter=interpreter), 0
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
        self._is_closing = True
        for handle in list(self._handles):
            if handle.job is None:
                handle.retire(now=kill)
            elif kill:
                handle.abandon(Cause("daemon_killed"))
        if self._handles:
            self._all_gone = asyncio.get_running_loop().create_future()
            await self._all_gone

    # -- what workers tell ---------------------------------------------------------------------------------------------

    @property
    def is_closing(self) -> bool:
        """Whether workers end as soon as they have nothing to do."""
        return self._is_closing

    @property
    def has_spare(self) -> bool:
        """Whether more than one worker does nothing."""
        return sum(1 for one in self._handles if one.is_free) > 1

    def on_ready(self) -> None:
        """A worker has started."""
        self._failed_starts = 0

    def on_events(self, worker: WorkerHandle, job: Job, events: list[Event]) -> None:
        """This has happened in runs of the job."""
        try:
            self._store(job, events)
        except LedgerError:  # the ledger keeps it and tries again
            worker.is_behind = True
        else:
            for handle in self._handles:
                handle.caught_up()
        self._tell_events(job, events)

    def on_done(self, job: Job, end: JobEnd) -> None:
        """The job is over."""
        described = self._descriptions.pop(job.job_id, None)
        if described is None:
            self._tell_done(job, end)
        elif not described.done():
            described.set_result(end)

    def on_idle(self) -> None:
        """A worker waits for its next job."""
        self._keep_one_ready()

    def on_gone(self, worker: WorkerHandle) -> None:
        """The process of a worker has ended."""
        if worker in self._handles:
            self._handles.remove(worker)
        self._forget(worker.pid)
        if worker.is_starting and not worker.is_retired:
            self._failed_starts += 1
        self._keep_one_ready()
        if not self._handles and self._all_gone is not None and not self._all_gone.done():
            self._all_gone.set_result(None)

    def try_again(self, job: Job, bad: BadModules, *, is_last_try: bool = False) -> None:
        """Give a job that never began to another worker."""
        self._assign(job, bad, encode(pack_job(job) | {"bad": bad}), is_last_try=is_last_try)

    # -- handing out -----------------------------------------------------------------------------------------------------

    def _holder(self, run_id: str) -> WorkerHandle | None:
        self._look()
        for handle in self._handles:
            if run_id == handle.run_id or any(run_id == source.run_id for source in handle.not_begun):
                return handle
        return None

    def _assign(self, job: Job, bad: BadModules, frame: bytes, *, is_last_try: bool = False) -> None:
        idle = [handle for handle in self._handles if handle.takes(job)]
        try:
            handle = min(idle, key=lambda one: one.rank(job)) if idle else self._new_handle()
        except Exception as error:
            is_passing = _is_passing(error)
            if not is_passing:
                log.exception("no worker can be started")
            failure = unusable(self._setup.interpreter, f"no worker process can be started: {error}")
            cause = NO_WORKER
            end = JobEnd("refused", None, failure.as_dict(), cause, job.sources, is_passing)
            self._loop.call_soon(self.on_done, job, end)
            return
        handle.begin(job, bad, frame, is_last_try=is_last_try)
        if self._look_timer is None:
            self._look_timer = self._loop.call_later(_LOOK_EVERY_S, self._look_again)
        if self._spare_timer is None:
            self._spare_timer = self._loop.call_later(_SPARE_AFTER_S, self._busy_for_long)

    def _busy_for_long(self) -> None:
        self._spare_timer = None
        self._keep_one_ready()

    def _look_again(self) -> None:
        """Slow runs are shown as they are, though nothing they do wakes anybody."""
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

    def _keep_one_ready(self) -> None:
        is_hopeless = self._failed_starts >= _MOST_FAILED_STARTS  # until a job's own worker starts
        if self._is_closing or is_hopeless or any(one.is_free and not one.is_outdated for one in self._handles):
            return
        try:
            self._new_handle()
        except Exception as error:
            log.error("no worker can be started: %s", error, exc_info=not _is_passing(error))  # noqa: TRY400
            self._failed_starts += 1


def _is_passing(error: Exception) -> bool:
    return is_full(error) or (isinstance(error, OSError) and error.errno in _SHORTAGES)

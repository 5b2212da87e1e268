"""The node's side of whole runs on a Dask cluster: a job drives a pool of workers, as the daemon's own.

A job's events go home at once, numbered; its result holds them once more, so that none is lost. The owner's messages (stop,
kill) come under the workspace's identity. The owner is asked again and again whether steps may go on: without an answer they
wait.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
import tempfile
import threading
import uuid
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from data_engine import private
from data_engine.cause import Cause
from data_engine.clock import boot_clock
from data_engine.cluster import node
from data_engine.cluster.node import NodeAttempt
from data_engine.daemon.messages import Frames, unpack_job
from data_engine.daemon.worker_pool import JobCallbacks, WorkerPool, WorkerSetup
from data_engine.engine.items.threads import ON_NODE, ThreadShare
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.ledger.journal import JournalReader, journal_path
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished
from data_engine.platforms.processes import new_event_loop
from data_engine.scheduler.executor import Job, JobEnd
from data_engine.workspace.identity import local_layout
from data_engine.workspace.layout import WorkspaceLayout

_ASK_EVERY_S = 3.0
_MOST_JOBS = 1_000_000


class RunJob(NamedTuple):
    """A job of the daemon's, as a node's job: a frame as for its workers, with paths as the owner has them."""

    frame: bytes

    def carry_out(self, attempt: NodeAttempt) -> tuple[list[bytes], JobEnd]:
        """Run the job; its events in numbered parts, and its end."""
        pool = _pool_of(attempt)
        (message,) = Frames().feed(self.frame)
        job = unpack_job(message, attempt.node_path)
        content = None if job.content is None else str(pool.set_of(Path(job.content).name))
        return pool.run(attempt, replace(job, content=content))


class _JobEvents:
    """The events of a job, in numbered parts."""

    def __init__(self, attempt: NodeAttempt, share: ThreadShare) -> None:
        self.attempt, self.share = attempt, share
        self.parts: list[bytes] = []
        self.end: Future[JobEnd] = Future()

    def add(self, events: list[Event]) -> None:
        """Send a part home, with paths as the owner has them."""
        copies: list[Event] = []
        for event in events:
            copies.append(as_owner_has_it(event, self.attempt))
            if isinstance(event, RunStarted):
                text = f"runs on {self.attempt.address}; Polars, OpenMP and DuckDB use {self.share.threads} threads"
                copies.append(LogLine(event.run_id, event.flow, None, "INFO", text, event.at_s))
        part = pickle.dumps(copies)
        self.parts.append(part)
        self.attempt.tell((len(self.parts) - 1, part))


def as_owner_has_it(event: Event, attempt: NodeAttempt) -> Event:
    """The event with the paths below this node's workspace as the owner has them."""
    owner_path = attempt.owner_path
    if isinstance(event, RunStarted) and event.source is not None:
        return event._replace(source=owner_path(event.source))
    if isinstance(event, StepFinished) and event.outputs:
        return event._replace(outputs=tuple(map(owner_path, event.outputs)))
    if isinstance(event, RunFinished) and event.spent is not None:
        inputs, outputs = (
            tuple(file._replace(path=owner_path(file.path)) for file in files)
            for files in (event.spent.inputs, event.spent.outputs)
        )
        return event._replace(spent=event.spent._replace(inputs=inputs, outputs=outputs))
    return event


class _Pool:
    """The workers of one workspace on this node, on a thread of their own."""

    def __init__(self, attempt: NodeAttempt) -> None:
        layout = WorkspaceLayout(attempt.root)
        self.home = LocalWorkspace(layout, local_layout(layout), keeps_settings=True)
        self._share = ThreadShare.of(attempt.threads_at_host)
        self._identity = attempt.identity
        self._jobs: dict[str, _JobEvents] = {}
        self._sets: dict[str, Path] = {}
        self._times: dict[str, float] = {}
        self._journals = Path(tempfile.mkdtemp(prefix="data-engine-node-"))
        self._until = 0.0
        self._loop = new_event_loop()
        self._ready: Future[None] = Future()
        threading.Thread(target=self._serve, name="data-engine-node", daemon=True).start()
        self._ready.result()

        def take(message: Any) -> None:
            self._loop.call_soon_threadsafe(self._take, message)

        node.subscribe(attempt.identity, take)

    def set_of(self, set_id: str) -> Path:
        """The deployed set on this node; fetched and verified the first time it is asked for.

        Raises:
            WorkspaceError: it cannot be fetched.
        """
        folder = self._sets.get(set_id)
        if folder is None or not folder.is_dir():
            folder = self._sets[set_id] = self.home.deployments().copy_of(set_id).folder
        return folder

    def run(self, attempt: NodeAttempt, job: Job) -> tuple[list[bytes], JobEnd]:
        """Run the job; on the thread of its task."""
        job_events = _JobEvents(attempt, self._share)
        self._loop.call_soon_threadsafe(self._submit, job_events, job)

        def end() -> None:
            self._loop.call_soon_threadsafe(self._end_job, job.job_id, Cause("daemon_killed"))

        attempt.on_cancelled = end
        return job_events.parts, replace(job_events.end.result(), not_begun=())

    # -- on the loop's thread --------------------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.create_task(self._begin())
        self._loop.run_forever()

    async def _begin(self) -> None:
        try:
            share = self._share
            environment = {**share.environment(os.environ), ON_NODE: str(share.threads)}
            setup = WorkerSetup(
                interpreter=sys.executable,
                workspace_root=self.home.layout.root,
                local=self.home.local,
                new_journal=lambda: JournalReader(journal_path(self._journals, "node", uuid.uuid4().hex)),
                remember=lambda pid, created: None,
                work_until=0.0,
                environment=environment,
            )
            self._pool = WorkerPool(
                setup,
                JobCallbacks(self._store, lambda job, events: None, self._done),
                limit=_MOST_JOBS,
                forget=lambda pid: None,
            )
            private.make_folder(self.home.local.runtime_dir)
            await self._pool.start()
        except BaseException as error:
            self._ready.set_exception(error)
            raise
        self._ready.set_result(None)
        while True:
            await asyncio.sleep(_ASK_EVERY_S)
            if self._jobs:
                self._ask()

    def _submit(self, job_events: _JobEvents, job: Job) -> None:
        self._jobs[job.job_id] = job_events
        if boot_clock() + _ASK_EVERY_S > self._until:
            self._ask()
        try:
            self._pool.submit(job)
        except FlowValidationError as error:
            self._done(job, JobEnd("refused", error=error.as_dict()))

    def _store(self, job: Job, events: list[Event]) -> None:
        job_events = self._jobs.get(job.job_id)
        if job_events is not None:
            job_events.add(events)

    def _done(self, job: Job, end: JobEnd) -> None:
        job_events = self._jobs.pop(job.job_id, None)
        if job_events is not None:
            job_events.end.set_result(end)

    def _ask(self) -> None:
        """Ask the owner how long steps may go on; it counts from now."""
        number = uuid.uuid4().hex
        now_s = boot_clock()
        self._times = {key: at_s for key, at_s in self._times.items() if now_s - at_s < 60.0} | {number: now_s}
        jobs = list(self._jobs.values())
        attempt = jobs[-1].attempt
        attempt.tell((number, attempt.address, [job.attempt.key for job in jobs]), key=self._identity)

    def _take(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("permission", number, remaining_s, unknown):
                if number not in self._times:
                    return
                self._until = float("inf") if remaining_s is None else self._times.pop(number) + remaining_s
                self._pool.set_work_until(None if remaining_s is None else self._until)
                for job_id, job_events in self._jobs.items():
                    if job_events.attempt.key in unknown:  # it was given to another node meanwhile
                        self._end_job(job_id, Cause("ended_with_another"))
            case ("stop", run_id, cause):
                self._pool.stop(run_id, cause)
            case ("kill", run_id, cause):
                self._pool.kill(run_id, cause)
            case ("leave", job_id, stop_for):
                self._pool.leave(job_id, stop_for=stop_for)
            case ("end_pass", number):
                self._pool.end_pass(number)

    def _end_job(self, job_id: str, cause: Cause) -> None:
        self._pool.leave(job_id)
        for run_id, job in self._pool.running().items():
            if job.job_id == job_id:
                self._pool.kill(run_id, cause)


def _pool_of(attempt: NodeAttempt) -> _Pool:
    with _making:
        key = (attempt.root, attempt.identity)
        if key not in _pools:
            _pools[key] = _Pool(attempt)
        return _pools[key]


_pools: dict[tuple[Path, str], _Pool] = {}
_making = threading.Lock()

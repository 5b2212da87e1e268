"""What runs on a node of a Dask cluster for whole runs: a task that drives a pool of workers, as the daemon's own.

All that is told of a job goes home at once as events of the scheduler, numbered; the task's result holds it once more, so
that nothing depends on it. What the owner says (stop, kill) comes by `command`. Whether steps may go on is asked of the
owner again and again: who hears nothing waits at its next step or item.
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
from concurrent.futures import TimeoutError as NotYet
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from data_engine import private
from data_engine.cause import Cause
from data_engine.clock import boot_clock
from data_engine.daemon.worker_handle import WorkerSetup
from data_engine.daemon.worker_pool import WorkerPool
from data_engine.engine.items.node import (
    WorkspaceOf,
    host_of,
    is_cancelled,
    require_places,
    require_version,
    workspace_here,
)
from data_engine.engine.items.threads import ON_NODE
from data_engine.engine.items.travel import Parcel, pack, unpack
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.shares import DUCKDB_THREADS, Share
from data_engine.errors import FlowValidationError
from data_engine.ledger.journal import JournalReader, journal_path
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished
from data_engine.platforms.processes import new_event_loop
from data_engine.scheduler.executor import Job, JobEnd, JobSource
from data_engine.workspace.identity import local_layout
from data_engine.workspace.layout import WorkspaceLayout

_LOOK_EVERY_S = 0.3
_ASK_EVERY_S = 3.0
_MOST_JOBS = 1_000_000


class Assignment(NamedTuple):
    """A job for a process of a node: `attempt` names this try of it; `job` has its paths packed, `set_id` says what it runs from."""

    attempt: str
    process: str
    topic: str
    version: str
    workspace: WorkspaceOf
    job: Parcel
    set_id: str | None
    places: Parcel
    at_host: dict[str, int]


def run_job(content: bytes) -> bytes:
    """What happened in the job, in numbered parts, and its end; None where it was given to another process than this one."""
    from distributed import get_worker

    worker = get_worker()
    assignment: Assignment = pickle.loads(content)
    if assignment.process != worker.local_directory:
        return pickle.dumps(None)
    try:
        require_version(assignment.version, worker.address)
        root = workspace_here(assignment.workspace, worker.address)
        require_places(unpack(assignment.places, root=root), worker.address)
        job = unpacked_job(assignment.job, root)
        require_places([("source", Path(one.root)) for one in job.sources if one.root], worker.address)
        node = _node_of(root, assignment, worker)
        if assignment.set_id is not None:
            job = replace(job, content=str(node.set_of(assignment.set_id)))
    except FlowValidationError as error:
        return pickle.dumps(([], JobEnd("refused", error=error.as_dict())))
    return node.run(assignment, job, worker)


def command(root: str, message: tuple[Any, ...]) -> None:
    """Do what the owner says, where this node has something of its workspace."""
    for node in list(_nodes.values()):
        if node.owner_root == root:
            node.command(message)


def packed_job(job: Job, root: Path) -> Parcel:
    """A job with the paths of its sources by their part inside the workspace."""

    def path(text: str | None) -> Path | None:
        return None if text is None else Path(text)

    sources = [(replace(one, root=None, path=None), path(one.root), path(one.path)) for one in job.sources]
    return pack((replace(job, sources=(), content=None), sources), "a job", root=root, with_secrets=False)


def unpacked_job(parcel: Parcel, root: Path) -> Job:
    """The job, with the paths of its sources as this machine has them."""
    bare, sources = unpack(parcel, root=root)

    def text(path: Path | None) -> str | None:
        return None if path is None else str(path)

    found: list[JobSource] = [replace(one, root=text(at), path=text(path)) for one, at, path in sources]
    return replace(bare, sources=tuple(found))  # type: ignore[no-any-return]


class _Told:
    """What a job has told, in parts."""

    def __init__(self, assignment: Assignment, worker: Any, share: Share) -> None:
        self.assignment, self.worker, self.share = assignment, worker, share
        self.parts: list[bytes] = []
        self.end: Future[JobEnd] = Future()

    def add(self, events: list[Event], root: Path) -> None:
        """Send a part home, with paths as the owner has them."""
        owner = self.assignment.workspace.root
        told: list[Event] = []
        for event in events:
            told.append(as_owner_has_it(event, str(root), owner))
            if isinstance(event, RunStarted):
                text = f"runs on {self.worker.address}; Polars, OpenMP and DuckDB use {self.share.threads} threads"
                told.append(LogLine(event.run_id, event.flow, None, "INFO", text, event.at_s))
        part = pickle.dumps(told)
        self.parts.append(part)
        frame = ("events", self.assignment.attempt, len(self.parts) - 1, part)
        self.worker.log_event(self.assignment.topic, pickle.dumps(("runs", frame)))


def as_owner_has_it(event: Event, root: str, owner: str) -> Event:
    """The event with the paths below the node's root as the owner has them.

    Example:
        >>> as_owner_has_it(RunStarted("r", "f", "G", "/mnt/ws/in/a.csv", 0.0), "/mnt/ws", "/team/ws").source
        '/team/ws/in/a.csv'
    """

    def there(path: str) -> str:
        is_below = path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/", os.sep)
        return owner + path[len(root) :] if is_below else path

    if root == owner:
        return event
    if isinstance(event, RunStarted) and event.source is not None:
        return event._replace(source=there(event.source))
    if isinstance(event, StepFinished) and event.outputs:
        return event._replace(outputs=tuple(map(there, event.outputs)))
    if isinstance(event, RunFinished) and event.spent is not None:
        inputs, outputs = (
            tuple(one._replace(path=there(one.path)) for one in files)
            for files in (event.spent.inputs, event.spent.outputs)
        )
        return event._replace(spent=event.spent._replace(inputs=inputs, outputs=outputs))
    return event


class _Node:
    """The pool of one workspace on this node, on a thread of its own."""

    def __init__(self, root: Path, assignment: Assignment, worker: Any) -> None:
        layout = WorkspaceLayout(root)
        self.home = LocalWorkspace(layout, local_layout(layout), keeps_settings=True)
        self.owner_root = assignment.workspace.root
        self._root, self._worker = root, worker
        at_once = max(assignment.at_host.get(host_of(worker.address), 1), worker.state.nthreads)
        self._share = Share.of(at_once)
        self._topic = assignment.topic
        self._told: dict[str, _Told] = {}
        self._sets: dict[str, Path] = {}
        self._asked: dict[str, float] = {}
        self._journals = Path(tempfile.mkdtemp(prefix="data-engine-node-"))
        self._until = 0.0
        self._loop = new_event_loop()
        self._ready: Future[None] = Future()
        threading.Thread(target=self._serve, name="data-engine-node", daemon=True).start()
        self._ready.result()

    def set_of(self, set_id: str) -> Path:
        """The deployed set on this node; fetched and verified the first time it is asked for.

        Raises:
            WorkspaceError: it cannot be had.
        """
        known = self._sets.get(set_id)
        if known is None or not known.is_dir():
            known = self._sets[set_id] = self.home.deployments().copy_of(set_id).folder
        return known

    def run(self, assignment: Assignment, job: Job, worker: Any) -> bytes:
        """Run the job; on the thread of its task."""
        told = _Told(assignment, worker, self._share)
        key = worker.get_current_task()
        self._loop.call_soon_threadsafe(self._submit, told, job)
        is_ended = False
        while True:
            try:
                end = told.end.result(_LOOK_EVERY_S)
            except NotYet:
                if not is_ended and is_cancelled(worker, key):
                    is_ended = True
                    self._loop.call_soon_threadsafe(self._abandon, job)
                continue
            return pickle.dumps((told.parts, replace(end, not_begun=())))

    def command(self, message: tuple[Any, ...]) -> None:
        """Take what the owner says; from any thread."""
        self._loop.call_soon_threadsafe(self._take, message)

    # -- on the loop's thread --------------------------------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.create_task(self._begin())
        self._loop.run_forever()

    async def _begin(self) -> None:
        try:
            share = self._share
            environment = {
                **share.environment(os.environ),
                DUCKDB_THREADS: str(share.threads),
                ON_NODE: str(share.threads),
            }
            setup = WorkerSetup(
                interpreter=sys.executable,
                workspace_root=self._root,
                local=self.home.local,
                new_journal=self._new_journal,
                remember=lambda pid, created: None,
                work_until=0.0,
                environment=environment,
            )
            self._pool = WorkerPool(
                setup,
                limit=_MOST_JOBS,
                store=self._store,
                on_events=lambda job, events: None,
                on_done=self._done,
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
            if self._told:
                self._ask()

    def _new_journal(self) -> JournalReader:
        return JournalReader(journal_path(self._journals, "node", uuid.uuid4().hex))

    def _submit(self, told: _Told, job: Job) -> None:
        self._told[job.job_id] = told
        self._topic = told.assignment.topic
        if boot_clock() + _ASK_EVERY_S > self._until:
            self._ask()
        try:
            self._pool.submit(job)
        except FlowValidationError as error:
            self._done(job, JobEnd("refused", error=error.as_dict()))

    def _store(self, job: Job, events: list[Event]) -> None:
        told = self._told.get(job.job_id)
        if told is not None:
            told.add(events, self._root)

    def _done(self, job: Job, end: JobEnd) -> None:
        told = self._told.pop(job.job_id, None)
        if told is not None:
            told.end.set_result(end)

    def _ask(self) -> None:
        """Ask the owner how long steps may go on; it counts from now."""
        number = uuid.uuid4().hex
        now_s = boot_clock()
        self._asked = {one: at_s for one, at_s in self._asked.items() if now_s - at_s < 60.0} | {number: now_s}
        attempts = [told.assignment.attempt for told in self._told.values()]
        frame = ("permission", number, self._worker.address, attempts)
        self._worker.log_event(self._topic, pickle.dumps(("runs", frame)))

    def _take(self, message: tuple[Any, ...]) -> None:
        match message:
            case ("permission", number, remaining_s, unknown):
                if number not in self._asked:
                    return
                self._until = float("inf") if remaining_s is None else self._asked.pop(number) + remaining_s
                self._pool.set_work_until(None if remaining_s is None else self._until)
                for job_id, told in self._told.items():
                    if told.assignment.attempt in unknown:  # it was given to another node meanwhile
                        self._end_jobs(job_id, Cause("ended_with_another"))
            case ("stop", run_id, cause):
                self._pool.stop(run_id, cause)
            case ("kill", run_id, cause):
                self._pool.kill(run_id, cause)
            case ("leave", job_id, stop_for):
                self._pool.leave(job_id, stop_for=stop_for)
            case ("end_pass", number):
                self._pool.end_pass(number)

    def _abandon(self, job: Job) -> None:
        self._end_jobs(job.job_id, Cause("daemon_killed"))

    def _end_jobs(self, job_id: str, cause: Cause) -> None:
        self._pool.leave(job_id)
        for run_id, job in self._pool.running().items():
            if job.job_id == job_id:
                self._pool.kill(run_id, cause)


def _node_of(root: Path, assignment: Assignment, worker: Any) -> _Node:
    with _making:
        key = (root, assignment.workspace.identity)
        node = _nodes.get(key)
        if node is None:
            node = _nodes[key] = _Node(root, assignment, worker)
        return node


_nodes: dict[tuple[Path, str], _Node] = {}
_making = threading.Lock()

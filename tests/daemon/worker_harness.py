"""Real worker processes for tests: a pool, what it reported, and bounded waits for what must happen."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from data_engine.daemon.worker_pool import JobCallbacks, WorkerPool, WorkerSetup
from data_engine.engine.local_workspace import local_workspace
from data_engine.ledger.journal import JournalReader, journal_path
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished, StepStarted
from data_engine.platforms.processes import new_event_loop
from data_engine.scheduler.executor import Job, JobEnd, SourceRun
from tests.support import PATIENCE, WorkspaceFiles

PATIENCE_S = 60.0 * PATIENCE


class Shop:
    """A pool of workers for the workspace, and everything it told. `before` sees each event first and may raise."""

    def __init__(
        self,
        ws: WorkspaceFiles,
        *,
        limit: int = 2,
        before: Callable[[Event], None] = lambda event: None,
        **options: Any,
    ) -> None:
        self.ws = ws
        self.events: list[Event] = []
        self.ends: dict[str, JobEnd] = {}
        self.remembered: dict[int, float] = {}
        self.forgotten: list[int] = []
        self._before = before
        self.journals = ws.root.parent / "journals"
        setup = WorkerSetup(
            interpreter=options.pop("interpreter", sys.executable),
            workspace_root=ws.root,
            local=local_workspace(ws.root).local,
            new_journal=self._new_journal,
            remember=self.remembered.__setitem__,
            **options,
        )
        self.workers = WorkerPool(
            setup,
            JobCallbacks(
                self._store, lambda job, events: None, lambda job, end: self.ends.__setitem__(job.job_id, end)
            ),
            limit=limit,
            forget=self.forgotten.append,
        )

    def _new_journal(self) -> JournalReader:
        self.journals.mkdir(exist_ok=True)
        return JournalReader(journal_path(self.journals, "runner", uuid.uuid4().hex))

    def _store(self, job: Job, events: list[Event]) -> None:
        for event in events:
            self._before(event)
            self.events.append(event)

    async def __aenter__(self) -> Shop:
        await self.workers.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.wait_for(self.workers.close(kill=True), PATIENCE_S)

    def submit(self, flow: str, *run_ids: str, job_id: str = "job", **options: Any) -> None:
        """A job of one source-less run for each id."""
        runs = tuple(SourceRun(run_id=run_id) for run_id in run_ids or ("run",))
        self.workers.submit(Job(job_id, "run", flow, runs=runs, **options))

    async def end(self, job_id: str = "job") -> JobEnd:
        """The end of the job, once it has come."""
        await until(lambda: job_id in self.ends)
        return self.ends[job_id]

    async def run(self, flow: str, *run_ids: str, job_id: str = "job", **options: Any) -> JobEnd:
        """The end of a job that is submitted now."""
        self.ends.pop(job_id, None)
        self.submit(flow, *run_ids, job_id=job_id, **options)
        return await self.end(job_id)

    async def started(self, run_id: str = "run") -> None:
        """Until the run is in its first step."""
        await until(lambda: any(isinstance(one, StepStarted) and one.run_id == run_id for one in self.events))

    def finished(self, run_id: str = "run") -> RunFinished:
        """The one end of the run."""
        (found,) = (one for one in self.events if isinstance(one, RunFinished) and one.run_id == run_id)
        return found

    def steps(self, run_id: str = "run") -> list[tuple[str, str]]:
        """Labels and statuses of the run's finished steps."""
        return [
            (one.label, one.status) for one in self.events if isinstance(one, StepFinished) and one.run_id == run_id
        ]

    def log(self, run_id: str = "run") -> list[str]:
        """The run's log as "LEVEL message"."""
        found = (one for one in self.events if isinstance(one, LogLine) and one.run_id == run_id)
        return [f"{one.level} {one.message}" for one in found]

    def begun(self) -> list[str]:
        """The ids of the runs that began, in order."""
        return [one.run_id for one in self.events if isinstance(one, RunStarted)]

    def is_idle(self) -> bool:
        """Whether there are workers, and each waits for its next job."""
        return bool(self.workers._handles) and all(one.is_free for one in self.workers._handles)

    def alive(self) -> list[int]:
        """The workers that are there."""
        return [pid for pid in self.remembered if pid not in self.forgotten]


async def until(claim: Callable[[], bool]) -> None:
    """Return when the claim holds; it must within a bounded time."""
    async with asyncio.timeout(PATIENCE_S):
        while not claim():
            await asyncio.sleep(0.005)


def play(scene: Coroutine[Any, Any, None]) -> None:
    """Run a test's scene in a loop of its own."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(scene)


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def number_in(path: Path) -> int:
    """The number a step wrote into the file."""
    return int(path.read_text()) if path.exists() and path.read_text().strip() else 0

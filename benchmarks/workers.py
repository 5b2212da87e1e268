"""What handing runs to workers costs: until the first step, and for each of many tiny sources, recorded in a real ledger."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import finish, report
from data_engine.daemon.worker_pool import WorkerPool
from data_engine.engine.local_workspace import LocalWorkspace, forget_workspaces, local_workspace
from data_engine.ledger.ledger import Ledger
from data_engine.model import Event, SourceKey, StepStarted
from data_engine.scheduler.executor import Job, JobEnd, JobSource

FLOW = """
from data_engine import Flow

def read(context):
    return len(context.source.path.name)

def double(context):
    return context.current * 2

def build():
    return Flow(group="G").watch(mode="poll", source="../in", interval="5s").step(read).step(double)
"""


class Bench:
    """WorkerPool whose events go into a ledger; `first_step_s` is when the newest job's first step began."""

    def __init__(self, where: LocalWorkspace, ledger: Ledger) -> None:
        self.ledger = ledger
        self.first_step_s = 0.0
        self.done: asyncio.Queue[JobEnd] = asyncio.Queue()
        self.workers = WorkerPool(
            workspace_root=where.layout.root,
            local=where.local,
            interpreter=sys.executable,
            limit=2,
            store=self.store,
            on_events=lambda job, events: None,
            on_done=lambda job, end: self.done.put_nowait(end),
            remember=lambda pid, create_time: None,
            forget=lambda pid: None,
        )

    def store(self, job: Job, events: list[Event]) -> None:
        """As the daemon does."""
        if any(isinstance(event, StepStarted) for event in events) and not self.first_step_s:
            self.first_step_s = time.perf_counter()
        self.ledger.record(*events)

    async def run(self, job_id: str, sources: tuple[JobSource, ...]) -> float:
        """Seconds until the job's first step."""
        self.first_step_s = 0.0
        started_s = time.perf_counter()
        self.workers.submit(Job(job_id, "run", "tiny", None, sources))
        end = await self.done.get()
        assert (end.status, end.error) == ("done", None), end
        return self.first_step_s - started_s


async def measure(root: Path) -> None:
    """Print the figures."""
    where = local_workspace(root)
    folder = root / "in"
    sources = []
    for number in range(16):
        path = folder / f"{number}.csv"
        path.write_text("x")
        sources.append(JobSource(str(folder), str(path), SourceKey("../in", path.name)))
    bench = Bench(where, where.ledger())
    await bench.workers.start()
    await asyncio.sleep(1.0)
    latencies = []
    for number in range(100):
        latencies.append(await bench.run(f"one-{number}", (sources[0],)))
        await asyncio.sleep(0.01)
    jobs = 100
    started_s = time.perf_counter()
    for number in range(jobs):
        await bench.run(f"many-{number}", tuple(sources))
    each_s = (time.perf_counter() - started_s) / (jobs * len(sources))
    await bench.workers.close()
    report("submit a job until its first step, p50", statistics.median(latencies[5:]) * 1e3, 5, "ms")
    report("one of 16 tiny sources of a job", each_s * 1e3, 0.5, "ms", f"{1 / each_s:,.0f} sources/s")


def main() -> None:
    """Print each figure beside its limit."""
    repository = str(Path(__file__).resolve().parent.parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([repository, os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(folder) / "state")
        root = Path(folder).resolve() / "ws"
        (root / "flow_modules").mkdir(parents=True)
        (root / "in").mkdir()
        (root / "flow_modules" / "tiny.py").write_text(FLOW)
        asyncio.run(measure(root))
        forget_workspaces()
    finish()


if __name__ == "__main__":
    main()

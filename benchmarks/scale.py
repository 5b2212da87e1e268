"""Items and runs in processes and on a cluster, beside the bare engine: `python -m benchmarks.scale [items] [dask] [runs] [paper]`.

`items` are maps over processes, `dask` maps over a cluster of two workers of this machine, `runs` whole runs on a cluster,
`paper` what a hundred workers would cost their owner, with a cluster that answers at once. All without arguments. The
machine needs two cores that nobody else uses.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import psutil

from benchmarks.figures import finish, report
from data_engine import Workspace
from data_engine.engine.items.processes import Processes
from data_engine.engine.local_workspace import LocalWorkspace, local_workspace
from data_engine.flow.control import ItemMap, StepControl

ITEMS, READS, TRIVIAL = 400, 500, 2000
TINY_FILES, SLEEPS = 2000, 80
PAPER_FILES, PAPER_WORKERS = 20_000, 100


def spin_for(seconds: float) -> int:
    """How many rounds of `spin` take so long here."""
    rounds = 10_000
    started_s = time.perf_counter()
    spin(rounds * 20)
    return max(1, round(rounds * 20 * seconds / (time.perf_counter() - started_s)))


def spin(rounds: int) -> int:
    """Some Python work."""
    total = 0
    for number in range(rounds):
        total += number % 7
    return total


def spread_s(executor: Any, call: Callable[[Any], Any], items: Sequence[Any]) -> float:
    """Seconds that a map over two workers takes."""
    started_s = time.perf_counter()
    executor.spread(ItemMap(call, items, 2, False, StepControl()))
    return time.perf_counter() - started_s


def cpu_s() -> float:
    """CPU seconds of this process and all it has started and not ended."""
    me, total = psutil.Process(), 0.0
    for process in (me, *me.children(recursive=True)):
        with suppress(psutil.Error):
            total += sum(process.cpu_times()[:2])
    return total


def compared(name: str, executor: Any, call: Callable[[Any], Any], given: Sequence[Any], limit: float) -> None:
    """Report a map beside the bare loop halved between two bare processes, which is the best that two cores can do."""
    before_s = cpu_s()
    times = [spread_s(executor, call, given) for _ in range(2)]
    there_s, before_s = cpu_s() - before_s, cpu_s()
    bare = [loop_s(call, given) for _ in range(2)]
    loop_cpu_s = cpu_s() - before_s
    best = min(halved_s(call, given) for _ in range(2))
    note = f"of the loop's {min(bare):.2f} s {min(times) / min(bare):.2f}x, CPU {there_s / loop_cpu_s:.2f}x"
    report(f"{name}, of two bare processes at once", min(times) / best, limit, "x", note)


def halved_s(call: Callable[[Any], Any], items: Sequence[Any]) -> float:
    """Seconds that two forked processes take for a half of the loop each, their start included."""
    forked: Any = multiprocessing.get_context("fork")
    started_s = time.perf_counter()
    halves = [forked.Process(target=loop_s, args=(call, items[number::2])) for number in range(2)]
    for half in halves:
        half.start()
    for half in halves:
        half.join()
    return time.perf_counter() - started_s


def loop_s(call: Callable[[Any], Any], items: Sequence[Any]) -> float:
    """Seconds that the bare loop takes."""
    started_s = time.perf_counter()
    for item in items:
        call(item)
    return time.perf_counter() - started_s


def works(folder: Path) -> tuple[tuple[str, Callable[[Any], Any], list[Any], float, float], ...]:
    """The maps: name, function, items, and what of the time of two bare processes our processes and Dask may take."""
    rounds = spin_for(0.020)
    lines = [f"{number},{number * 7 % 100},name{number % 50}" for number in range(12_000)]
    paths = []
    for number in range(READS):
        path = folder / f"{number}.csv"
        path.write_text("\n".join(lines))
        paths.append(path)

    def work(item: int) -> int:
        total = 0
        for number in range(rounds):
            total += number % 7
        return total

    def read(path: Path) -> int:
        return sum(int(line.split(",")[1]) for line in path.read_text().splitlines())

    return (
        (f"{ITEMS} items of 20 ms", work, list(range(ITEMS)), 1.12, 1.24),
        (f"{READS} reads of 5 ms", read, paths, 1.3, 1.3),
    )


def items() -> None:
    """Maps over processes."""
    with tempfile.TemporaryDirectory() as folder:
        for name, call, given, limit, _ in works(Path(folder)):
            pool = Processes(2)
            spread_s(pool, call, given[:4])
            compared(f"{name}, 2 warm processes", pool, call, given, limit)
            pool.close()
    first = []
    for _ in range(5):
        pool = Processes(2)
        first.append(spread_s(pool, abs, [1, 2]))
        pool.close()
    report("first item on a fresh process pool", sorted(first)[2], 0.4, "s")


def dask() -> None:
    """Maps over a cluster of this machine."""
    from data_engine.cluster.connection import connected, disconnect
    from data_engine.cluster.local import LocalCluster
    from data_engine.engine.items.cluster import Cluster

    with tempfile.TemporaryDirectory() as folder:
        home = workspace_in(Path(folder) / "ws")
        two = LocalCluster(2)
        connection = connected(two.scheduler)
        for name, call, given, _, limit in works(Path(folder)):
            cluster = Cluster(lambda: connection, home)
            spread_s(cluster, call, given[:8])
            compared(f"{name}, Dask with 2 warm workers", cluster, call, given, limit)
            cluster.close()
        first = []
        for _ in range(5):
            time.sleep(1.0)  # fresh processes get ready
            cluster = Cluster(lambda: connection, home)
            first.append(spread_s(cluster, abs, [1, 2]))
            cluster.close()
        report("first item of a run on a warm cluster", 1000 * sorted(first)[2], 50, "ms")
        disconnect()
        two.close()

        one = LocalCluster(1)
        connection = connected(one.scheduler)
        cluster = Cluster(lambda: connection, home)
        spread_s(cluster, abs, range(8))
        ours = min(spread_s(cluster, abs, range(TRIVIAL)) for _ in range(3)) / TRIVIAL
        cluster.close()
        theirs = min(mapped_s(connection.client, TRIVIAL) for _ in range(3)) / TRIVIAL
        report(
            f"Dask, {TRIVIAL:,} trivial items, of a bare client.map",
            ours / theirs,
            1.3,
            "x",
            f"{ours * 1e6:.0f} us an item",
        )
        disconnect()
        one.close()


def mapped_s(client: Any, count: int) -> float:
    """Seconds of a bare `client.map`."""
    started_s = time.perf_counter()
    client.gather(client.map(abs, range(count), pure=False, key=uuid.uuid4().hex))
    return time.perf_counter() - started_s


def workspace_in(root: Path) -> LocalWorkspace:
    """A workspace without flows."""
    (root / "flow_modules").mkdir(parents=True, exist_ok=True)
    return local_workspace(root)


FLOW = """
import time
from data_engine import Flow

def read(context):
    {work}
    return context.source.path.stat().st_size

def build():
    return (
        Flow(group="G")
        .watch(mode="poll", source="../in", interval="1s", settle=0, max_parallel={parallel})
        .step(read)
    )
"""


def runs_s(settings: str, files: int, work: str, parallel: int) -> float:
    """Seconds from the first start to the last end of a poll flow's runs in a new workspace."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(folder) / "state")
        root = Path(folder) / "ws"
        (root / "flow_modules").mkdir(parents=True)
        (root / "config").mkdir()
        (root / "in").mkdir()
        (root / "config/data_engine.toml").write_text(f'[deploy]\nmode = "auto"\nquiet = "0s"\n[executor]\n{settings}')
        (root / "flow_modules/tiny.py").write_text(FLOW.format(work=work, parallel=parallel))
        workspace = Workspace(root)
        try:
            workspace.start_engine()
            (root / "in/warm.txt").write_text("x")
            until(lambda: len([run for run in workspace.runs("tiny") if run.status == "success"]) >= 1)
            for number in range(files):
                (root / f"in/{number}.txt").write_text("x")
            until(lambda: len([run for run in workspace.runs("tiny", limit=files + 9) if run.finished_at_utc]) > files)
            runs = [run for run in workspace.runs("tiny", limit=files + 9) if not str(run.source).endswith("warm.txt")]
        finally:
            workspace.kill()
    began, ended = min(run.started_at_utc for run in runs), max(run.finished_at_utc or "" for run in runs)
    return (parsed(ended) - parsed(began)) or 1e-9


def parsed(text: str) -> float:
    """An ISO time as seconds."""
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def until(question: Callable[[], bool], timeout_s: float = 300.0) -> None:
    """Return when the answer is yes."""
    deadline_s = time.monotonic() + timeout_s
    while not question():
        if time.monotonic() > deadline_s:
            raise TimeoutError
        time.sleep(0.1)


def runs() -> None:
    """Whole runs, on two workers each: of the daemon, of a cluster; and how they scale."""
    on_dask = 'runs = "dask"\nscheduler = "local"\nworkers = {}\n'
    local = TINY_FILES / runs_s("workers = 2\n", TINY_FILES, "pass", 2)
    there = TINY_FILES / runs_s(on_dask.format(2), TINY_FILES, "pass", 2)
    report(
        "local pool against runs on Dask, 2 workers, tiny files",
        local / there,
        2.0,
        "x",
        f"{there:.0f} and {local:.0f} files/s",
    )
    base = None
    for workers in (1, 2, 4):
        took_s = runs_s(on_dask.format(workers), SLEEPS * workers, "time.sleep(0.1)", workers)
        base = base or took_s
        report(
            f"runs of 100 ms on {workers} workers: time lost in scaling",
            1 - base / took_s,
            0.1,
            "of it",
            f"{took_s:.2f} s",
        )


def paper() -> None:
    """What the runs of a hundred workers cost their owner; the cluster answers at once."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(folder) / "state")
        home = workspace_in(Path(folder) / "ws")
        before = psutil.Process().memory_info().rss
        cpu_s, stored = asyncio.run(_simulated(home))
        grown = psutil.Process().memory_info().rss - before
    a_file = cpu_s / stored
    report("owner's CPU for a run on a cluster", a_file * 1000, 5.0, "ms", f"{1 / a_file:.0f} files/s fill one core")
    report("owner's CPU for 1,000,000 files on 100 workers of 1 s each", a_file * 1_000_000 / 10_000, 1.0, "cores")
    report(f"memory for {stored:,} runs", grown / 1e6, 500, "MB")


async def _simulated(home: LocalWorkspace) -> tuple[float, int]:
    from data_engine.daemon.cluster_runs import ClusterRuns
    from data_engine.daemon.worker_pool import JobCallbacks
    from data_engine.engine.candidates import Source
    from data_engine.model import RunFinished, RunStarted, StepFinished, StepStarted
    from data_engine.scheduler.executor import Job, JobEnd, SourceRun

    ledger = home.ledger()
    done = 0
    runs: Any = None

    DONE = pickle.dumps(([], JobEnd("done")))

    class Far:
        """A cluster that answers at once."""

        status, dashboard, topic, is_there = "running", "", "t", True
        scheduler: Any = type("S", (), {"name": "paper"})
        hearers: ClassVar[dict[str, Any]] = {}

        @property
        def client(self) -> Far:
            return self

        def submit(self, *_: Any, **__: Any) -> Any:
            self.task = type("F", (), {"status": "pending", "result": lambda self, timeout: DONE})()
            self.task.add_done_callback = lambda done: setattr(self, "done", done)
            return self.task

        def subscribe(self, key: str, hearer: Any) -> None:
            self.hearers[key] = hearer

        def workers(self) -> dict[str, dict[str, Any]]:
            return {
                f"tcp://10.0.0.{number}:1": {"nthreads": 1, "local_directory": str(number), "others": 0}
                for number in range(PAPER_WORKERS)
            }

        checked_workers = workers

    def told(job: Job, end: JobEnd) -> None:
        nonlocal done
        done += len(job.runs)

    far: Any = Far()
    runs = ClusterRuns(
        home,
        lambda: far,
        JobCallbacks(lambda job, events: ledger.record(*events, has_begun=True), lambda job, events: None, told),
        flows=dict,
        wake=lambda: None,
    )
    runs.free()
    while not runs.free():
        await asyncio.sleep(0.01)
    started_s = time.process_time()
    for first in range(0, PAPER_FILES, 16):
        places = [Path(f"/ws/in/{number}.txt") for number in range(first, first + 16)]
        sources = tuple(SourceRun(Source(Path("/ws/in"), path), uuid.uuid4().hex) for path in places)
        runs.submit(Job(uuid.uuid4().hex, "run", "tiny", None, sources))
        await asyncio.sleep(0)
        placed = next(iter(runs._placed.values()))
        now_s = time.time()
        for number, one in enumerate(sources):
            events = [
                RunStarted(one.run_id or "", "tiny", "G", one.source.text, now_s),
                StepStarted(one.run_id or "", 0, "Read", now_s),
                StepFinished(one.run_id or "", 0, "Read", "success", now_s, 0.1),
                RunFinished(one.run_id or "", "success", now_s, 0.1),
            ]
            far.hearers[placed.attempt.key]((number, pickle.dumps(events)))
        while not placed.attempt.future:
            await asyncio.sleep(0.0005)
        far.done(far.task)
        while runs._placed:
            await asyncio.sleep(0.0005)
    ledger.flush()
    return time.process_time() - started_s, done


PARTS = {"items": items, "dask": dask, "runs": runs, "paper": paper}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
    finish()


if __name__ == "__main__":
    main()

"""The daemon: cold start, status, memory, how soon a request or a dropped file runs, and a first pass over many files."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.figures import finish, report
from data_engine import Workspace
from data_engine.daemon.control import DaemonClient

FILES = 10_000
MANUAL = """
import time
from data_engine import Flow

def work(context):
    return time.time()

def build():
    return Flow(group="Group {number}").step(work)
"""
POLL = """
from data_engine import Flow

def read(context):
    return context.source.path.read_bytes()

def count(context):
    return len(context.current)

def build():
    return (
        Flow(group="Poll").watch(mode="poll", source="../in", interval="1s", settle=0, max_parallel={parallel})
        .step(read).step(count)
    )
"""


def until(question: Callable[[], Any], timeout_s: float = 120.0, every_s: float = 0.002) -> Any:
    """The first true answer."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if answer := question():
            return answer
        time.sleep(every_s)
    raise TimeoutError


def family_mb(pid: int, *, with_children: bool) -> float:
    """Resident memory of the daemon, with its workers or without."""
    process = psutil.Process(pid)
    family = [process, *(process.children(recursive=True) if with_children else [])]
    return sum(one.memory_info().rss for one in family) / 1e6


def cold_start_s(workspace: Workspace) -> float:
    """Seconds from asking for the daemon until it answers."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        workspace.start()
        times.append(time.perf_counter() - started)
        workspace.kill()
    return statistics.median(times)


def status_ms(workspace: Workspace) -> tuple[float, float]:
    """Median and 99th percentile of a status over a kept connection, 20 flows."""
    client = DaemonClient.connect(workspace.home.local)
    assert client is not None
    times = []
    for _ in range(1000):
        started = time.perf_counter()
        client.get("/status")
        times.append((time.perf_counter() - started) * 1000)
    client.close()
    times.sort()
    return times[500], times[990]


def request_to_step_ms(workspace: Workspace) -> float:
    """Median milliseconds from a request by hand to the start of its step in its worker."""
    times = []
    for _ in range(30):
        asked_s = time.time()
        (run_id,) = workspace.run("flow_00", wait=False)
        until(lambda run_id=run_id: (run := workspace.home.ledger().run(str(run_id))) and run.status == "success")
        (step,) = workspace.steps(str(run_id))
        times.append((datetime.fromisoformat(step.started_at_utc).timestamp() - asked_s) * 1000)
    return statistics.median(times)


def drop_to_run_ms(workspace: Workspace) -> float:
    """Median milliseconds from a file's drop to the start of its run; interval 1 s, settle 0."""
    times = []
    for number in range(20):
        path = workspace.root / "in" / f"drop{number}.txt"
        time.sleep(0.05)
        dropped_s = time.time()
        path.write_text("x")
        run = until(lambda path=path: [run for run in workspace.runs("poll", 5) if run.source == str(path)])[0]
        times.append((datetime.fromisoformat(run.started_at_utc).timestamp() - dropped_s) * 1000)
    return statistics.median(times)


def first_pass_rate(workspace: Workspace) -> float:
    """Files a second of the first poll pass over tiny files with a flow of two steps."""
    ledger = workspace.home.ledger()
    started = time.perf_counter()
    workspace.start_engine()
    until(lambda: len(ledger.source_states("many")) == FILES, every_s=0.25)
    return FILES / (time.perf_counter() - started)


def main() -> None:
    """Each figure in a workspace of its own machine folders."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(folder / "state")
        workspace = Workspace.create(folder / "ws")
        modules = workspace.root / "flow_modules"
        (workspace.root / "in").mkdir()
        for number in range(19):
            (modules / f"flow_{number:02}.py").write_text(MANUAL.format(number=number))
        (modules / "poll.py").write_text(POLL.format(parallel=1))
        try:
            report("daemon cold start until it answers", cold_start_s(workspace), 0.35, "s")
            workspace.start()
            until(lambda: len(workspace.status()["flows"]) > 20)
            pid = workspace.status()["daemon"]["pid"]
            report("daemon alone, engine off, RSS", family_mb(pid, with_children=False), 60, "MB")
            median, worst = status_ms(workspace)
            report("status of 20 flows, p50", median, 0.5, "ms")
            report("status of 20 flows, p99", worst, 3, "ms")
            report("request by hand to its step, p50", request_to_step_ms(workspace), 10, "ms")
            workspace.start_engine()
            time.sleep(1)
            report("daemon with its workers, engine on, RSS", family_mb(pid, with_children=True), 150, "MB")
            report("file drop to run start, p50", drop_to_run_ms(workspace), 50, "ms")
            before = psutil.Process(pid).cpu_times()
            time.sleep(20)
            after = psutil.Process(pid).cpu_times()
            report(
                "CPU with an idle poll folder at 1 s",
                (after.user + after.system - before.user - before.system) * 5,
                0.2,
                "%",
            )
        finally:
            workspace.kill()
        many = Workspace.create(folder / "many")
        (many.root / "flow_modules" / "many.py").write_text(POLL.format(parallel=2))
        (many.root / "in").mkdir()
        for number in range(FILES):
            (many.root / "in" / f"{number:05}.txt").write_text("x")
        try:
            many.start()
            rate = first_pass_rate(many)
            report(f"first pass of {FILES:,} tiny files: 1,000 files", 1000 / rate, 0.5, "s", f"{rate:,.0f} files/s")
        finally:
            many.kill()
    finish()


if __name__ == "__main__":
    main()

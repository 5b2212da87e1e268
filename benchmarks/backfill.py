"""Backfills: `python -m benchmarks.backfill [files]`: what one over many tiny files adds to its runs, and how long a slot of a
schedule in its group waits for it. Both in a daemon with one worker; what the runs take is the CPU time of the daemon and its
worker, in turn with the first pass of a flow that polls the same files."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil

from benchmarks.figures import finish, report
from data_engine import Workspace

FILES = 10_000
ROUNDS = 2
TINY = """
from data_engine import Flow

def work(context):
    return len(context.source.path.read_bytes())

def build():
    return Flow(group="G").watch(mode="manual", source="../in").step(work)
"""
POLLED = TINY.replace('mode="manual", source="../in"', 'mode="poll", source="../in", interval="1s", settle=0')
SLOW = """
import time
from data_engine import Flow

def build():
    return Flow(group="Slow").watch(mode="manual", source="../few").step(lambda context: time.sleep(0.25))
"""
EACH_MINUTE = """
from data_engine import Flow

def build():
    return Flow(group="Slow").watch(mode="schedule", cron="* * * * *").step(lambda context: 1)
"""


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else FILES
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        modules = {"tiny": TINY, "slow": SLOW, "minute": EACH_MINUTE}
        modules |= {f"polled{number}": POLLED for number in range(ROUNDS)}
        (root / "flow_modules").mkdir()
        for name, text in modules.items():
            (root / "flow_modules" / f"{name}.py").write_text(text)
        (root / "config").mkdir()
        (root / "config" / "data_engine.toml").write_text("[executor]\nworkers = 1\n")
        for name, count in (("in", files), ("few", 400)):
            (root / name).mkdir()
            for number in range(count):
                (root / name / f"{number:05d}.csv").write_text("a")
        ws = Workspace(root)
        for name in modules:
            if not name.startswith("polled"):
                ws.deploy(name)
        try:
            ws.start()
            adds(ws, files)
            waits(ws)
        finally:
            ws.kill()
    finish()


def adds(ws: Workspace, files: int) -> None:
    polled, backfilled, begins = [], [], []
    pid = ws.status().daemon.pid
    assert pid is not None
    for number in range(ROUNDS):
        name = f"polled{number}"
        ws.deploy(name)
        before_s = cpu_s(pid)
        ws.start_engine()
        while ended(ws, name) < files:
            time.sleep(0.5)
        ws.stop_engine()
        polled.append(cpu_s(pid) - before_s)
        time.sleep(6)  # until all of it is published
        began_s, before_s = time.perf_counter(), cpu_s(pid)
        begun = ws.backfill("tiny", reprocess="all")
        begins.append(time.perf_counter() - began_s)
        assert begun is not None
        while ws.backfills("tiny")[0].state == "running":
            time.sleep(0.5)
        backfilled.append(cpu_s(pid) - before_s)
    note = f"{min(backfilled):.1f} s of CPU, polled {min(polled):.1f} s; of {ROUNDS} rounds the best"
    report(f"backfill of {files:,} files: beside the runs of a poll", min(backfilled) / min(polled), 1.05, "x", note)
    report(f"backfill of {files:,} files: until it is kept and begun", statistics.median(begins), 3.0, "s")


def waits(ws: Workspace) -> None:
    """A slot that comes while a backfill has its group and the only worker."""
    begun = ws.backfill("slow", reprocess="all")
    assert begun is not None
    ws.start_engine()
    until_s = time.monotonic() + 130
    while len(ws.runs("minute")) < 2 and time.monotonic() < until_s:
        time.sleep(0.5)
    ws.stop_backfill(begun.id)
    runs = ws.runs("slow", 10_000)
    between, delays = [], []
    for run in ws.runs("minute"):
        assert run.scheduled_for is not None
        began = [one for one in runs if run.scheduled_for < one.started_at_utc < run.started_at_utc]
        between.append(len(began))
        delays.append(seconds(run.started_at_utc) - seconds(run.scheduled_for))
    note = f"runs of 0.25 s; {max(delays):.2f} s at most after {len(between)} slots"
    report("a due slot beside a backfill: runs that begin before it", max(between), 1.0, "runs", note)


def ended(ws: Workspace, name: str) -> int:
    """How many runs of the flow have ended, at little cost."""
    with ws.home.ledger().reading() as connection:
        ask = "SELECT count(*) FROM runs WHERE flow_name = ? AND status = 'success'"
        return int(connection.execute(ask, (name,)).fetchone()[0])


def cpu_s(pid: int) -> float:
    """CPU seconds of the daemon and of the workers it has now."""
    daemon = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (daemon, *daemon.children(recursive=True)))


def seconds(utc: str) -> float:
    return datetime.fromisoformat(utc).timestamp()


if __name__ == "__main__":
    main()

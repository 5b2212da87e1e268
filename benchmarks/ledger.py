"""What recording costs: an event, a step, a run, and memory over many runs."""

from __future__ import annotations

import gc
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil

from benchmarks.figures import finish, report
from data_engine.ledger.ledger import Ledger
from data_engine.model import (
    Event,
    RunFinished,
    RunStarted,
    SeenSource,
    Signature,
    SourceKey,
    StepFinished,
    StepStarted,
)

NOW_S = 1_750_000_000.0


def run_events(run_id: str, steps: int, file: int = 0) -> Iterator[Event]:
    """Every event of one good run over one source."""
    key = SourceKey("../../input", f"{file}.csv")
    seen = (SeenSource(key, Signature(1000, 10**18)),)
    yield RunStarted(run_id, "claims", "Claims", f"/input/{key.path}", NOW_S, key, seen)
    for index in range(steps):
        yield StepStarted(run_id, index, f"Step {index}", NOW_S)
        yield StepFinished(run_id, index, f"Step {index}", "success", NOW_S, 0.0001)
    yield RunFinished(run_id, "success", NOW_S, 0.001, seen=seen)


def buffered_us(ledger: Ledger) -> float:
    """Microseconds that one buffered step event takes from its caller."""
    events = [event for event in run_events("add", 5000) if isinstance(event, (StepStarted, StepFinished))]
    ledger.record(next(run_events("add", 0)))
    started_s = time.perf_counter()
    for event in events:
        ledger.record(event)
    return (time.perf_counter() - started_s) / len(events) * 1e6


def step_us(ledger: Ledger) -> float:
    """Microseconds for the start and end of one step out of 100, writing included; the median of 30 runs."""
    costs = []
    for number in range(30):
        first, *steps, last = run_events(f"steps-{number}", 100)
        ledger.record(first)
        started_s = time.perf_counter()
        for event in steps:
            ledger.record(event)
        ledger.flush()
        costs.append((time.perf_counter() - started_s) / 100 * 1e6)
        ledger.record(last)
    return statistics.median(costs)


def run_ms(ledger: Ledger) -> float:
    """Milliseconds for all events of a run of five steps over one source; the median of 1,000."""
    costs = []
    for number in range(1000):
        events = list(run_events(f"run-{number}", 5, number))
        started_s = time.perf_counter()
        for event in events:
            ledger.record(event)
        costs.append((time.perf_counter() - started_s) * 1e3)
    return statistics.median(costs)


def commits_ms(path: Path) -> float:
    """Milliseconds SQLite takes for two commits, of the row of a run and of the rows it ends with; the median of 1,000."""
    costs = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("CREATE TABLE kept (id TEXT PRIMARY KEY, about TEXT, at REAL)")
        for number in range(1000):
            rows = [(f"{number}-{part}", "claims", NOW_S) for part in range(7)]
            started_s = time.perf_counter()
            for chunk in (rows[:1], rows[1:]):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO kept VALUES (?, ?, ?)", chunk)
                connection.execute("COMMIT")
            costs.append((time.perf_counter() - started_s) * 1e3)
    return statistics.median(costs)


def growth_mb(ledger: Ledger) -> float:
    """Megabytes the process grows by over 10,000 runs, after 2,000 that warm SQLite's cache."""
    process = psutil.Process()
    before = 0
    for number in range(12_000):
        if number == 2_000:
            gc.collect()
            before = process.memory_info().rss
        for event in run_events(f"many-{number}", 3, number % 100):
            ledger.record(event)
    gc.collect()
    return (process.memory_info().rss - before) / 1e6


def main() -> None:
    """Print each figure beside its limit."""
    with tempfile.TemporaryDirectory() as folder, Ledger.open(Path(folder) / "ledger.sqlite") as ledger:
        report("record one buffered event", buffered_us(ledger), 2, "us")
        report("record one step of 100, written", step_us(ledger), 15, "us")
        ours_ms, floor_ms = run_ms(ledger), commits_ms(Path(folder) / "floor.sqlite")
        note = f"{ours_ms:.3f} ms"
        report("record a run of 5 steps, by SQLite's own commits of its rows", ours_ms / floor_ms, 8, "x", note)
        report("memory growth over 10,000 runs", growth_mb(ledger), 4, "MB")
    finish()


if __name__ == "__main__":
    main()

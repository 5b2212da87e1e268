"""Floors that cannot move: what the machine needs for the least that could do it. Nothing of Data Engine is imported here.

Run by itself it prints each; benchmarks measure one in turn with what stands on it.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

AT_ONCE = 32
COMMIT_EVERY_S = 0.2
CHILD = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("steps", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for line in sys.stdin:
    began_s, value = time.time(), line[:-1]
    for name in ("read", "count", "keep"):
        value = getattr(module, name)(value)
    print(line[:-1], began_s, time.time(), sep="\\t", flush=True)
"""
STEPS = """
def read(path):
    with open(path, "rb") as file:
        return file.read()

def count(data):
    return len(data)

def keep(value):
    return value
"""


def nothing(value: object) -> None:
    """A trivial step."""


def calls(count: int) -> Callable[[], None]:
    """So many bare calls."""

    def floor() -> None:
        for _ in range(count):
            nothing(None)

    return floor


def commits(path: Path, rows: int) -> Callable[[], None]:
    """Two commits of SQLite: of the row of a run that begins, and of its end with the `rows` of its steps."""
    connection = ledger(path)
    numbers = iter(range(10**9))

    def floor() -> None:
        number = next(numbers)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO runs VALUES (?, 'started', ?, NULL)", (number, time.time()))
        connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO steps VALUES (?, ?, ?)", [(number, row, 0.0) for row in range(rows)])
        connection.execute("UPDATE runs SET status = 'success', ended = ? WHERE id = ?", (time.time(), number))
        connection.execute("COMMIT")

    return floor


def ledger(path: Path) -> sqlite3.Connection:
    """An empty database of runs and steps."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE runs (id PRIMARY KEY, status TEXT, began REAL, ended REAL)")
    connection.execute("CREATE TABLE steps (run, number INTEGER, took REAL, PRIMARY KEY (run, number))")
    return connection


def listing(folder: Path) -> Callable[[], object]:
    """The files of a folder with their sizes and times."""
    return lambda: [(one.name, one.stat().st_size, one.stat().st_mtime_ns) for one in os.scandir(folder)]


def file_loop_s(folder: Path, database: Path, processes: int) -> float:
    """Seconds of the bare loop over the files of a folder: a module imported once a process, each file sent through a pipe, three
    functions called, start and end committed to SQLite in groups."""
    files = sorted(one.path for one in os.scandir(folder))
    module = database.with_suffix(".py")
    module.write_text(STEPS)
    started_s = time.perf_counter()
    with closing(ledger(database)) as connection, ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", CHILD, module], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
            for _ in range(processes)
        ]
        rows: list[tuple[str, float, float]] = []
        committed_s = time.monotonic()
        for begin in range(0, len(files), AT_ONCE * processes):
            parts = [files[begin + at * AT_ONCE : begin + (at + 1) * AT_ONCE] for at in range(processes)]
            for child, part in zip(children, parts, strict=True):
                assert child.stdin is not None
                child.stdin.write("".join(f"{path}\n" for path in part))
                child.stdin.flush()
            for child, part in zip(children, parts, strict=True):
                assert child.stdout is not None
                for _ in part:
                    path, began, ended = child.stdout.readline().split("\t")
                    rows.append((path, float(began), float(ended)))
            if time.monotonic() - committed_s > COMMIT_EVERY_S or begin + AT_ONCE * processes >= len(files):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany("INSERT INTO runs VALUES (?, 'started', ?, NULL)", [row[:2] for row in rows])
                ends = [(row[2], row[0]) for row in rows]
                connection.executemany("UPDATE runs SET status = 'success', ended = ? WHERE id = ?", ends)
                connection.execute("COMMIT")
                rows, committed_s = [], time.monotonic()
        return time.perf_counter() - started_s


def fastest_us(call: Callable[[], object], times: int = 300) -> float:
    """Microseconds of a call that nothing disturbs: the 5th percentile."""
    taken = []
    for _ in range(times):
        started_s = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started_s)
    return sorted(taken)[times // 20] * 1e6


def main() -> None:
    """Print each."""
    with tempfile.TemporaryDirectory(prefix="floors-") as name:
        folder = Path(name)
        (folder / "in").mkdir()
        for number in range(2_000):
            (folder / "in" / f"{number:05}.txt").write_text("x")
        print(f"a bare call: {fastest_us(calls(1000)) / 1000:.3f} us")
        print(f"two commits: {fastest_us(commits(folder / 'commits.sqlite', 5)):.0f} us")
        print(f"a listed file: {fastest_us(listing(folder / 'in'), 20) / 2_000:.2f} us")
        for count in (1, 2):
            took_s = file_loop_s(folder / "in", folder / f"loop{count}.sqlite", count)
            print(f"the bare loop with {count} processes: {2_000 / took_s:,.0f} files/s")


if __name__ == "__main__":
    main()

"""What a step costs: unrecorded, recorded, a whole recorded run, a collect, and a map, each beside the least that could do it.

A floor is measured in turn with what stands on it, because a machine's speed changes within seconds and differs between machines.
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figures import finish, median_s, report
from data_engine import Flow, Workspace
from data_engine.flow.context import FlowContext
from data_engine.flow.control import StepControl
from data_engine.flow.steps import run_steps
from data_engine.model import StepFinished, StepStarted

MODULE = """
from data_engine import Flow

def nothing(context):
    return None

def build():
    flow = Flow(group="Benchmark")
    for number in range({steps}):
        flow = flow.step(nothing, label=f"Step {{number}}")
    return flow
"""


def nothing(context: FlowContext) -> None:
    """A trivial step."""


CONTEXT = FlowContext("steps", "Benchmark")


def told(run_id: str, number: int) -> tuple[StepStarted, StepFinished]:
    """What any step must do: run, be timed, and be told at its start and its end."""
    began = StepStarted(run_id, number, "nothing", time.time())
    started = time.perf_counter()
    nothing(CONTEXT)
    return began, StepFinished(run_id, number, "nothing", "success", time.time(), time.perf_counter() - started)


def unrecorded() -> tuple[Callable[[], object], Callable[[], object]]:
    """100 trivial steps in the bare step loop; and called, timed and told without any."""
    flow = Flow(group="Benchmark")
    for _ in range(100):
        flow = flow.step(nothing)

    def ours() -> None:
        for _ in run_steps(flow, FlowContext(flow_name="steps", group="Benchmark"), control=StepControl()):
            pass

    def floor() -> None:
        for number in range(100):
            told("", number)

    return ours, floor


def recorded(folder: Path, steps: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """A recorded run of so many trivial steps; and the same told, written as lines of JSON and kept by two commits of SQLite."""
    workspace = Workspace.create(folder / f"ws{steps}")
    (workspace.root / "flow_modules" / "steps.py").write_text(MODULE.format(steps=steps))
    flow = workspace.load_flow("steps")
    connection = sqlite3.connect(folder / f"floor{steps}.sqlite", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE runs (id TEXT PRIMARY KEY, status TEXT, at REAL)")
    connection.execute(
        "CREATE TABLE steps (run TEXT, number INTEGER, label TEXT, at REAL, took REAL, PRIMARY KEY (run, number))"
    )
    numbers = iter(range(1_000_000))

    def floor() -> None:
        run_id = f"{next(numbers):032}"
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO runs VALUES (?, 'started', ?)", (run_id, time.time()))
        connection.execute("COMMIT")
        rows = []
        with (folder / f"{run_id}.jsonl").open("w") as journal:
            for number in range(steps):
                began, ended = told(run_id, number)
                journal.write(json.dumps(began) + "\n" + json.dumps(ended) + "\n")
                rows.append((run_id, number, ended.label, ended.at_s, ended.elapsed_s))
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO steps VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("UPDATE runs SET status = 'success' WHERE id = ?", (run_id,))
        connection.execute("COMMIT")
        (folder / f"{run_id}.jsonl").unlink()

    return flow.run_once, floor


def collected(folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """A collect of 2,000 files; and their paths in order."""
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number:05}.csv").write_text(f"a,b\n{number},1\n")
    flow = Flow(group="Benchmark").collect(".csv", root=folder)
    control = StepControl()

    def floor() -> list[Path]:
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_file())

    return lambda: flow.steps[0].fn(FlowContext("steps", "Benchmark", control=control)), floor


def compared(
    name: str, pair: tuple[Callable[[], object], Callable[[], object]], runs: int, most: float, per: int = 1
) -> None:
    """Report how many times as long as its floor something takes, by the medians of both, measured in turn."""
    ours, floor = pair
    times: dict[Callable[[], object], list[float]] = {ours: [], floor: []}
    for number in range(runs + 5):
        for call, taken in times.items():
            took_s = median_s(call, 1, warm_up=0)
            if number >= 5:
                taken.append(took_s)
    ours_s, floor_s = (statistics.median(taken) for taken in times.values())
    report(name, ours_s / floor_s, most, "x", f"{ours_s * 1e6 / per:.2f} of {floor_s * 1e6 / per:.2f} us")


def map_ratio(folder: Path) -> float:
    """Time of a sequential map of `polars.read_csv` over 2,000 small files by a bare loop's: the fastest of each, in turn."""
    import polars as pl

    paths = sorted(folder.iterdir())
    flow = Flow(group="Benchmark").step(lambda context: paths).map(pl.read_csv)

    def mapped() -> None:
        for _ in run_steps(flow, FlowContext("steps", "Benchmark"), control=StepControl()):
            pass

    def looped() -> None:
        [pl.read_csv(path) for path in paths]

    fastest = {looped: float("inf"), mapped: float("inf")}
    for _ in range(15):
        for call in fastest:
            started = time.perf_counter()
            call()
            fastest[call] = min(fastest[call], time.perf_counter() - started)
    return fastest[mapped] / fastest[looped]


def main() -> None:
    """Every figure, in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(folder / "state")
        compared("trivial step, unrecorded, of 100", unrecorded(), 200, 3, per=100)
        compared("trivial step, recorded, of 100", recorded(folder, 100), 100, 3, per=100)
        compared("5-step recorded run", recorded(folder, 5), 1000, 4.5)
        compared("collect over 2,000 files", collected(folder / "in"), 50, 1)
        report("map of a polars read over 2,000 CSV, by a bare loop", map_ratio(folder / "in"), 1.03, "x")
    finish()


if __name__ == "__main__":
    main()

"""What a step costs: unrecorded, recorded, a whole recorded run, a collect, and a map beside a bare loop."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.figures import finish, median_s, report
from data_engine import Flow, Workspace
from data_engine.flow.context import FlowContext
from data_engine.flow.control import StepControl
from data_engine.flow.steps import run_steps

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


def unrecorded_us() -> float:
    """Microseconds for each of 100 trivial steps in the bare step loop."""
    flow = Flow(group="Benchmark")
    for _ in range(100):
        flow = flow.step(nothing)

    def once() -> None:
        for _ in run_steps(flow, FlowContext(flow_name="steps", group="Benchmark"), control=StepControl()):
            pass

    return median_s(once, 200) * 1e6 / 100


def recorded_s(folder: Path, steps: int, runs: int) -> float:
    """Median seconds of a recorded run of so many trivial steps."""
    workspace = Workspace.create(folder / f"ws{steps}")
    (workspace.root / "flow_modules" / "steps.py").write_text(MODULE.format(steps=steps))
    flow = workspace.load_flow("steps")
    return median_s(flow.run_once, runs, warm_up=5)


def collect_ms(folder: Path) -> float:
    """Milliseconds to collect 2,000 files."""
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number:05}.csv").write_text(f"a,b\n{number},1\n")
    flow = Flow(group="Benchmark").collect(".csv", root=folder)
    control = StepControl()
    return median_s(lambda: flow.steps[0].fn(FlowContext("steps", "Benchmark", control=control)), 50) * 1000


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
        report("trivial step, unrecorded, of 100", unrecorded_us(), 3, "us")
        report("trivial step, recorded, of 100", recorded_s(folder, 100, 100) * 1e6 / 100, 40, "us")
        report("5-step recorded run, median of 1,000", recorded_s(folder, 5, 1000) * 1000, 0.4, "ms")
        report("collect over 2,000 files", collect_ms(folder / "in"), 5, "ms")
        report("map of a polars read over 2,000 CSV, by a bare loop", map_ratio(folder / "in"), 1.03, "x")
    finish()


if __name__ == "__main__":
    main()

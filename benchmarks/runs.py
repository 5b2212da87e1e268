"""What runs cost, by public means only, so that it runs at any revision (`benchmarks.against`): `[step] [recorded] [pass] [daemon]`.

Each figure stands beside a floor of `floors.py`, measured in the same process.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent))
floors: Any = import_module("floors")  # of this revision, beside the Data Engine of another

from data_engine import Flow, Workspace  # noqa: E402

FILES, MANY = 1_000, 10_000
STEPS = """
from data_engine import Flow

def nothing(context):
    return None

def build():
    flow = Flow(group="Benchmark")
    for number in range(5):
        flow = flow.step(nothing, label=f"Step {number}")
    return flow
"""
POLL = """
from data_engine import Flow

def read(context):
    return context.source.path.read_bytes()

def count(context):
    return len(context.current)

def keep(context):
    return context.current

def build():
    flow = Flow(group="Benchmark").watch(mode="poll", source="SOURCE", interval="1s", settle=0, max_parallel=PARALLEL)
    return flow.step(read).step(count).step(keep)
"""


def show(name: str, value: float, unit: str) -> None:
    """One figure."""
    print(name, f"{value:.3f}", unit, sep="\t", flush=True)


def flow_of(steps: int) -> Flow:
    """A flow of trivial steps that belongs to no workspace."""
    flow = Flow(group="Benchmark", name="steps")
    for _ in range(steps):
        flow = flow.step(floors.nothing)
    return flow


def workspace(folder: Path, name: str, text: str) -> Any:
    """A workspace with one flow."""
    made = Workspace.create(folder / name)
    (made.root / "flow_modules" / "bench.py").write_text(text)
    return made


def source(folder: Path, files: int) -> Path:
    """A folder of tiny files."""
    made = folder / f"in{files}"
    made.mkdir()
    for number in range(files):
        (made / f"{number:05}.txt").write_text("x")
    return made


def measure_steps(folder: Path) -> None:
    """A step and a run of five, unrecorded."""
    five_us, many_us = (floors.fastest_us(flow_of(count).run_once, 500) for count in (5, 105))
    show("a step, unrecorded", (many_us - five_us) / 100, "us")
    show("a run of 5 steps, unrecorded", five_us, "us")
    show("floor: 5 bare calls", floors.fastest_us(floors.calls(5), 2_000), "us")


def measure_recorded(folder: Path) -> None:
    """A recorded run of five steps."""
    flow = workspace(folder, "recorded", STEPS).load_flow("bench")
    show("a recorded run of 5 steps", floors.fastest_us(flow.run_once, 500), "us")
    show("floor: two commits of it", floors.fastest_us(floors.commits(folder / "floor.sqlite", 5), 500), "us")


def measure_pass(folder: Path) -> None:
    """A first pass in this process."""
    files = source(folder, FILES)
    flow = workspace(folder, "pass", POLL.replace("SOURCE", str(files)).replace("PARALLEL", "1")).load_flow("bench")
    started_s = time.perf_counter()
    flow.run_once()
    show(f"first pass of {FILES:,} files in process", FILES / (time.perf_counter() - started_s), "files/s")


def measure_daemon(folder: Path) -> None:
    """A first pass by the daemon, and the bare loop."""
    files = source(folder, MANY)
    for parallel in (1, 2):
        text = POLL.replace("SOURCE", str(files)).replace("PARALLEL", str(parallel))
        made = workspace(folder, f"daemon{parallel}", text)
        try:
            made.start()
            with closing(sqlite3.connect(made.home.local.ledger_path)) as connection:
                started_s = time.perf_counter()
                if hasattr(made, "deploy"):
                    made.deploy()
                made.start_engine()
                while connection.execute("SELECT count(*) FROM file_state").fetchone()[0] < MANY:
                    time.sleep(0.02)
                took_s = time.perf_counter() - started_s
        finally:
            made.kill()
        show(f"first pass of {MANY:,} files by the daemon, {parallel} at a time", MANY / took_s, "files/s")
        loop_s = floors.file_loop_s(files, folder / f"loop{parallel}.sqlite", parallel)
        show(f"floor: the bare loop with {parallel} processes", MANY / loop_s, "files/s")


def main() -> None:
    """Print each figure that is asked for, or all."""
    parts = {"step": measure_steps, "recorded": measure_recorded, "pass": measure_pass, "daemon": measure_daemon}
    with tempfile.TemporaryDirectory(prefix="runs-benchmark-") as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        for part in sys.argv[1:] or parts:
            parts[part](Path(name))


if __name__ == "__main__":
    main()

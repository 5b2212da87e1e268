"""Discovering 100 notebooks of 20 cells: cold, warm, and in a new process with warm artifacts.

The imports the notebooks themselves make (polars) are done before the clock starts.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import finish, report

NOTEBOOKS = 100
CELL = """
def step_{number}(context):
    frame = context.current
    columns = [name for name in frame.columns if name.startswith("a")]
    return frame.select(columns).with_columns(
        (pl.col("amount") * RATES["base"] + {number}).alias("scaled_{number}"),
        pl.col("day").str.to_date().alias("day_{number}"),
    )
"""
SCRATCH = "df_{number} = build().preview(use='step_{number}')\ndf_{number}.describe()\ndf_{number}.head({number})"
TIMED = """
import sys, time
import polars
from data_engine import discover_flows
import data_engine.engine.local_workspace
import data_engine.notebook.catalog
root = sys.argv[1]
times = []
for _ in range(int(sys.argv[2])):
    started = time.perf_counter()
    flows = discover_flows(data_root=root)
    times.append(time.perf_counter() - started)
assert len(flows) == 100, len(flows)
print(times[0], min(times))
"""
FLOOR = """
import json, pathlib, sys, time
import polars
from data_engine import Flow
started = time.perf_counter()
for path in sorted(pathlib.Path(sys.argv[1], "flow_modules").glob("*.ipynb")):
    names = {}
    for cell in json.loads(path.read_bytes())["cells"]:
        code = compile("".join(cell["source"]), str(path), "exec")
        if not cell["source"][0].startswith("df_"):
            exec(code, names)
    names["build"]()
print(time.perf_counter() - started)
"""


def notebook(seed: int) -> str:
    """A notebook of 20 code cells: imports, constants, ten steps, seven scratch cells and build()."""
    cells = ["import polars as pl\nfrom data_engine import Flow", f'RATES = {{"base": {seed}}}\nRATES["extra"] = 2']
    cells += [CELL.format(number=number) for number in range(10)]
    steps = "".join(f".step(step_{number}, save_as='step_{number}')" for number in range(10))
    cells += [f"def build():\n    return Flow(group='Group {seed % 7}'){steps}"]
    cells += [SCRATCH.format(number=number) for number in range(7)]
    return json.dumps(
        {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {},
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"c{number}",
                    "metadata": {},
                    "execution_count": number,
                    "outputs": [{"output_type": "stream", "name": "stdout", "text": ["a printed line\n"] * 20}],
                    "source": text.strip().splitlines(keepends=True),
                }
                for number, text in enumerate(cells, start=1)
            ],
        }
    )


def timed(root: Path, state: Path, repeats: int) -> tuple[float, float]:
    """Seconds of the first discovery in a fresh process, and of the fastest later one."""
    done = subprocess.run(
        [sys.executable, "-c", TIMED, str(root), str(repeats)],
        capture_output=True,
        text=True,
        check=True,
        env=dict(os.environ, DATA_ENGINE_STATE_ROOT=str(state)),
    )
    first, best = done.stdout.split()
    return float(first), float(best)


def run_in_fresh(code: str, root: Path) -> str:
    """What `code` prints in a fresh process, told the workspace."""
    return subprocess.run([sys.executable, "-c", code, str(root)], capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Medians over fresh state folders."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        modules = folder / "ws" / "flow_modules"
        modules.mkdir(parents=True)
        for number in range(NOTEBOOKS):
            (modules / f"flow_{number:03}.ipynb").write_text(notebook(number))
        cold, warm, fresh = [], [], []
        for attempt in range(5):
            state = folder / f"state{attempt}"
            first, best = timed(folder / "ws", state, 5)
            cold.append(first)
            warm.append(best)
            fresh.append(timed(folder / "ws", state, 1)[0])
        floor = statistics.median(float(run_in_fresh(FLOOR, folder / "ws")) for _ in range(5))
        cold_s = statistics.median(cold)
        by_floor, note = cold_s / floor, f"{cold_s:.2f} s"
        report("discover 100 notebooks of 20 cells, cold, by reading and running their text", by_floor, 8, "x", note)
        report("discover again in the same process", statistics.median(warm), 0.05, "s")
        report("discover in a new process, warm artifacts", statistics.median(fresh), 0.3, "s")
    finish()


if __name__ == "__main__":
    main()

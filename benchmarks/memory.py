"""KnownSources of 10,000 recorded runs in one process: the last 1,000 beside the first 1,000."""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

import psutil

from benchmarks.figures import finish, report
from data_engine import Workspace

RUNS = 10_000
MODULE = """
import polars as pl
from data_engine import Flow

def make(context):
    return pl.DataFrame({"a": range(1000)})

def total(context):
    return context.current.sum()

def build():
    return Flow(group="Benchmark").step(make, save_as="frame").step(total)
"""


def main() -> None:
    """Resident memory sampled every 50 runs; the medians of both ends are compared."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        workspace = Workspace.create(Path(name) / "ws")
        (workspace.root / "flow_modules" / "memory.py").write_text(MODULE)
        flow = workspace.load_flow("memory")
        process = psutil.Process()
        samples = []
        for number in range(RUNS):
            flow.run_once()
            if number % 50 == 0:
                samples.append(process.memory_info().rss / 1e6)
        first = statistics.median(samples[:20])
        last = statistics.median(samples[-20:])
        report(
            "memory of 10,000 runs: last 1,000 over first 1,000", last - first, 2, "MB", f"{first:.1f} -> {last:.1f}"
        )
    finish()


if __name__ == "__main__":
    main()

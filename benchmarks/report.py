"""What a report costs: runs that write a page of a frame of 10 rows and a text, over runs whose step writes the same HTML bare, in turn.

`python -m benchmarks.report [RUNS]` (10,000 by default); and how much the memory of the process grows by them.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

import psutil

from benchmarks.figures import by_floor, finish, report
from data_engine import Flow, Workspace

PAIRS = 20
MODULE = """
import polars as pl
from data_engine import Flow

PAGE = {page!r}

def make(context):
    return pl.DataFrame({{"airport": ["EWR", "JFK", "LGA"] * 3, "late": range(9), "percent": [0.5] * 9}})

def say(context):
    return "Late means 60 minutes or more."

def write(context):
    target = context.mirror.file("{name}.html")
    target.write_text(PAGE, encoding="utf-8")
    return target

def build():
    flow = Flow(group="Benchmark").mirror(root="../out", staged=True).step(make, save_as="late_df").step(say, save_as="text")
    return flow.{last}
"""


def flow_of(workspace: Workspace, name: str, last: str, page: str = "") -> Flow:
    """A flow that ends so."""
    text = MODULE.format(name=name, last=last, page=page)
    (workspace.root / "flow_modules" / f"{name}.py").write_text(text, encoding="utf-8")
    return workspace.load_flow(name)


def main() -> None:
    """Both figures, in a folder of its own."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        workspace = Workspace.create(Path(name) / "ws")
        reported = flow_of(workspace, "reported", 'report("late_df", "text", title="Delays")')
        reported.run_once()
        page = (workspace.root / "out" / "reported.html").read_text(encoding="utf-8")
        bare = flow_of(workspace, "bare", "step(write)", page)
        process, samples = psutil.Process(), list[float]()
        each = max(1, count // PAIRS)

        def many(flow: Flow) -> None:
            for _ in range(each):
                flow.run_once()

        def many_reported() -> None:
            many(reported)
            samples.append(process.memory_info().rss / 1e6)

        report(
            f"{count:,} runs with a report, by the same HTML bare",
            by_floor(many_reported, lambda: many(bare), PAIRS),
            1.3,
            "x",
        )
        first, last = statistics.median(samples[:3]), statistics.median(samples[-3:])
        report("memory: the last of them over the first", last - first, 4, "MB", f"{first:.1f} -> {last:.1f}")
    finish()


if __name__ == "__main__":
    main()

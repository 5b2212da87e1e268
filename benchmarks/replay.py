"""How long a failed run takes to open with its data: `python -m benchmarks.replay`.

A step has failed that was given 200 MB in a Polars frame; and one whose input, a list, is made again by the step before.
"""

from __future__ import annotations

import os
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.figures import finish, median_s, report
from data_engine import Workspace

LIMIT_S = 5.0
MODULE = """
import polars as pl
from data_engine import Flow

def make(context):
    return {made}

def bad(context):
    return context.current["nothing"]

def build():
    return Flow(group="Benchmark").step(make, save_as="made").step(bad)
"""
MADE = {
    "a frame of 200 MB that was kept": 'pl.select(pl.int_range(5_000_000).alias("c0")).with_columns(pl.col("c0").alias(f"c{n}") for n in range(1, 5))',
    "a list of 1,000,000 that is made again": "list(range(1_000_000))",
}


def main() -> None:
    """Both ways."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(Path(name) / "state")
        ws = Workspace.create(Path(name) / "ws")
        for number, (what, made) in enumerate(MADE.items()):
            flow = f"flow{number}"
            (ws.layout.flow_modules_dir / f"{flow}.py").write_text(MODULE.format(made=made))
            ws.load_flow(flow).run_once(on_error="continue")
            run_id = ws.runs(flow)[0].run_id
            report(f"a failed run opens: {what}", median_s(partial(ws.replay, run_id), 5), LIMIT_S, "s")
    finish()


if __name__ == "__main__":
    main()

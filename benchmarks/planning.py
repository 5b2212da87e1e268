"""What a plan and goldens cost beyond the runs themselves: `python -m benchmarks.planning`.

A flow over three sources: a plan, when nothing can be reused, by previews of both versions for each of them. And `data-engine test` with 50 small
goldens, as a process, imports and all, by one that reads the same files with the same library and compares them.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.figures import by_floor, finish, median_s, report
from data_engine.client import Workspace
from data_engine.verbs import Flow

FLOW = """
import polars as pl
from data_engine import Flow

def read(context):
    return pl.read_csv(context.source.path)

def clean(context):
    return context.current.filter(pl.col("amount") > {least})

def write(context):
    target = context.mirror.with_suffix(".parquet")
    context.current.write_parquet(target)
    return target

def build():
    flow = Flow(group="Sales").watch(mode="poll", source="../in", interval="5s", settle=0).mirror(root="../out")
    return flow.step(read, save_as="raw_df").step(clean, save_as="clean_df").step(write)
"""
BARE = """
import sys
from pathlib import Path
import polars as pl
for number in range(int(sys.argv[2])):
    frame = pl.read_csv(Path(sys.argv[1]) / f"{number}.csv").filter(pl.col("amount") > 0)
    kept = Path(sys.argv[1]) / f"{number}.parquet"
    if not kept.exists():
        frame.write_parquet(kept)
    assert pl.read_parquet(kept).equals(frame)
"""
"""What nobody can do without who compares as many frames with kept ones, imports and all."""
_SOURCES = 3
_GOLDENS = 50


def plan(folder: Path) -> None:
    """A plan, by previews of both versions for each source, in turn."""
    ws = _workspace(folder, _SOURCES)
    module = ws.layout.flow_modules_dir / "sales.py"
    ws.deploy("sales")
    for number in range(_SOURCES):
        ws.load_flow("sales").run_once(source=f"{number}.csv")
    ws.plan("sales", fresh=True)
    ratios, times = list[float](), list[float]()
    for round_number in range(9):
        module.write_text(FLOW.replace("{least}", str(round_number + 1)), encoding="utf-8")
        started_s = time.perf_counter()
        found = ws.plan("sales", sources=_SOURCES, key="id", fresh=True)
        times.append(time.perf_counter() - started_s)
        assert len(found.sources) == _SOURCES
        flow = ws.load_flow("sales")
        with contextlib.redirect_stderr(io.StringIO()):  # their captions
            ratios.append(times[-1] / median_s(partial(_previews, flow), 1))
    note = f"{statistics.median(times) * 1000:.0f} ms"
    report(f"plan of {_SOURCES} sources, by previews of both versions", statistics.median(ratios), 3, "x", note)


def _previews(flow: Flow) -> None:
    """As many as a plan of it runs."""
    for number in range(_SOURCES):
        for _ in ("before", "after"):
            flow.preview(source=f"{number}.csv", fresh=True)


def goldens(folder: Path) -> None:
    """`data-engine test` as a person calls it."""
    ws = _workspace(folder, _GOLDENS)
    (ws.layout.flow_modules_dir / "sales.py").write_text(FLOW.replace("{least}", "0"), encoding="utf-8")
    flow = ws.load_flow("sales")
    for number in range(_GOLDENS):
        flow.golden("clean_df", f"{number}.csv", key="id")
    command = [sys.executable, "-m", "data_engine", "--workspace", str(ws.root), "test"]
    floor = [sys.executable, "-c", BARE, str(folder / "in"), str(_GOLDENS)]
    took_s = median_s(partial(subprocess.run, command, check=True, capture_output=True), 3)
    ratio = by_floor(
        partial(subprocess.run, command, check=True, capture_output=True),
        partial(subprocess.run, floor, check=True),
        5,
    )
    report(f"data-engine test with {_GOLDENS} small goldens, by a bare comparison", ratio, 8, "x", f"{took_s:.2f} s")


def _workspace(folder: Path, sources: int) -> Workspace:
    (folder / "flow_modules").mkdir(parents=True)
    (folder / "in").mkdir()
    (folder / "flow_modules" / "sales.py").write_text(FLOW.replace("{least}", "0"), encoding="utf-8")
    for number in range(sources):
        lines = "".join(f"{row},{row * number % 97}\n" for row in range(200))
        (folder / "in" / f"{number}.csv").write_text(f"id,amount\n{lines}", encoding="utf-8")
    return Workspace(folder)


def main() -> None:
    """Both figures, with a state of their own."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = f"{name}/state"
        plan(Path(name) / "planned")
        goldens(Path(name) / "kept")
    finish()


if __name__ == "__main__":
    main()

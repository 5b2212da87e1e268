"""What a plan and goldens cost beyond the runs themselves: `python -m benchmarks.planning`.

A flow whose steps take 50 ms each over three sources: the seconds of a plan beyond those of both versions' steps, when nothing can be reused.
And `data-engine test` with 50 small goldens, as a process, imports and all.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import finish, report
from data_engine.client import Workspace

FLOW = """
import time
import polars as pl
from data_engine import Flow

def read(context):
    time.sleep(0.05)
    return pl.read_csv(context.source.path)

def clean(context):
    time.sleep(0.05)
    return context.current.filter(pl.col("amount") > {least})

def write(context):
    target = context.mirror.with_suffix(".parquet")
    context.current.write_parquet(target)
    return target

def build():
    flow = Flow(group="Sales").watch(mode="poll", source="../in", interval="5s", settle=0).mirror(root="../out")
    return flow.step(read, save_as="raw_df").step(clean, save_as="clean_df").step(write)
"""
_SOURCES = 3
_GOLDENS = 50
_STEPS_S = 0.1


def plan(folder: Path) -> None:
    """The seconds of a plan beyond the steps of both versions."""
    ws = _workspace(folder, _SOURCES)
    module = ws.layout.flow_modules_dir / "sales.py"
    ws.deploy("sales")
    for number in range(_SOURCES):
        ws.load_flow("sales").run_once(source=f"{number}.csv")
    ws.plan("sales", fresh=True)
    more = []
    for round_number in range(5):
        module.write_text(FLOW.replace("{least}", str(round_number + 1)), encoding="utf-8")
        started_s = time.perf_counter()
        found = ws.plan("sales", sources=_SOURCES, key="id", fresh=True)
        more.append(time.perf_counter() - started_s - 2 * _SOURCES * _STEPS_S)
        assert len(found.sources) == _SOURCES
    report(f"plan of {_SOURCES} sources, beyond both versions' steps", sorted(more)[2], 0.3, "s")


def goldens(folder: Path) -> None:
    """`data-engine test` as a person calls it."""
    ws = _workspace(folder, _GOLDENS)
    (ws.layout.flow_modules_dir / "sales.py").write_text(
        FLOW.replace("time.sleep(0.05)", "pass").replace("{least}", "0"), encoding="utf-8"
    )
    flow = ws.load_flow("sales")
    for number in range(_GOLDENS):
        flow.golden("clean_df", f"{number}.csv", key="id")
    command = [sys.executable, "-m", "data_engine", "--workspace", str(ws.root), "test"]
    times = []
    for _ in range(3):
        started_s = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started_s)
    report(f"data-engine test with {_GOLDENS} small goldens", sorted(times)[1], 5.0, "s")


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

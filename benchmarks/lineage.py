"""What feeds what, over a history of 100,000 runs and 20,000 files: one step around a thing, and the map of 50 flows with its picture."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from benchmarks.figures import finish, median_s, report
from benchmarks.history import filling
from data_engine import Workspace
from data_engine.view.lineage import lineage_svg

RUNS, FILES, FLOWS = 100_000, 20_000, 50
STEP_MOST_S, MAP_MOST_S = 0.2, 0.5
MODULE = """
from data_engine import Flow

def work(context):
    return None

def build():
    watched = Flow(group="Claims").watch(mode="poll", source="../{source}", interval="30s", extensions=".csv")
    return watched.mirror(root="../out/{name}").step(work)
"""


def filled(folder: Path) -> Workspace:
    """Chains of five flows, each of which reads the mirror of the one before and a reference, with so many runs behind them."""
    workspace = Workspace.create(folder / "ws")
    (workspace.root / "flow_modules" / "example.ipynb").unlink()
    root, names = workspace.root, [f"flow_{number:02}" for number in range(FLOWS)]
    sources = {
        name: f"out/{names[at - 1]}" if at % 5 else f"in/{name}" for at, name in enumerate(names)
    }  # relative to the workspace
    for name, source in sources.items():
        (root / "flow_modules" / f"{name}.py").write_text(MODULE.format(source=source, name=name))
    workspace.deploy()
    runs, outputs, states = [], [], []
    for number in range(RUNS):
        name, file = names[number % FLOWS], f"{number // FLOWS % (FILES // FLOWS):04}.csv"
        source, output = str(root / sources[name] / file), str(root / "out" / name / file)
        inputs = [[source, 1000, 1, 30000], [str(root / "ref" / f"rates_{number % 7}.csv"), 10, 1, None]]
        times = f"2026-01-{1 + number * 27 // RUNS:02}T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}+00:00"
        packed = (json.dumps({"files": files, "more": 0}) for files in (inputs, [[output, 900, 1, 29000]]))
        runs.append((f"{number:032x}", name, str(root / sources[name]), file, source, times, times, *packed))
        if number < FILES:
            outputs.append((name, output))
            states.append((name, f"../{sources[name]}", file))
    with filling(workspace) as connection:
        connection.executemany(
            "INSERT INTO runs (run_id, flow_name, group_name, status, source_root, source_key, source_path, started_at_utc, finished_at_utc,"
            " elapsed_s, rev, inputs, outputs) VALUES (?, ?, 'Claims', 'success', ?, ?, ?, ?, ?, 20, 0, ?, ?)",
            runs,
        )
        connection.executemany("INSERT INTO outputs (flow_name, output_path, rev) VALUES (?, ?, 0)", outputs)
        connection.executemany(
            "INSERT INTO file_state (flow_name, source_root, source_key, size_bytes, mtime_ns, last_status, success_size_bytes,"
            " success_mtime_ns, rev) VALUES (?, ?, ?, 1000, 1, 'success', 1000, 1, 0)",
            states,
        )
    return workspace


def main() -> None:
    """Each answer beside its limit, the median of a few."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = f"{name}/state"
        workspace = filled(Path(name))
        of = f"{RUNS:,} runs, {FILES:,} files"
        for told, x in (
            ("a flow", "flow_07"),
            ("a folder", "out/flow_07"),
            ("an output", "out/flow_07/0007.csv"),
            ("a reference", "ref/rates_3.csv"),
        ):
            edges = len(workspace.lineage(x).edges)
            took_s = median_s(lambda x=x: workspace.lineage(x), 5)  # type: ignore[misc]
            report(f"one step around {told}, {of}", took_s, STEP_MOST_S, "s", f"{edges} edges")
        shown = workspace.lineage()
        report(
            f"the map of {FLOWS} flows, {of}",
            median_s(workspace.lineage, 5),
            MAP_MOST_S,
            "s",
            f"{len(shown.edges)} edges",
        )
        for room in (400, 1600):
            took_s = median_s(lambda room=room: lineage_svg(shown, room), 5)  # type: ignore[misc]
            report(f"its picture at {room} px", took_s, 0.1, "s")
    finish()


if __name__ == "__main__":
    main()

"""A history of a million runs: the newest runs, one flow closely, a comparison of two, and the trends of a flow."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.figures import finish, median_s, report
from data_engine import Workspace
from data_engine.record import as_json
from data_engine.view.trends import trends_view
from jupyter_extension.details import flow_details, run_details

RUNS, FLOWS, STEPS = 1_000_000, 100, 3
MOST_S, TRENDS_MOST_S = 0.2, 0.5
MODULE = """
from data_engine import Flow

def step(context):
    return 1

def build():
    return Flow(group="Claims").step(step)
"""
# Every run has its times, who, why, params and environment, and a file it read and wrote; a run ends each 30 seconds.
_FILL = f"""
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {RUNS})
INSERT INTO runs (run_id, flow_name, group_name, status, started_at_utc, finished_at_utc, elapsed_s, rev, trigger_kind, run_by,
    params, python, environment, inputs, outputs)
SELECT printf('%032x', n * 2654435761), printf('flow_%02d', n % {FLOWS}), 'Claims', iif(n % 97, 'success', 'failed'),
    strftime('%Y-%m-%dT%H:%M:%S', 'now', printf('-%d seconds', 30 * ({RUNS} - n) + 60)) || '+00:00',
    strftime('%Y-%m-%dT%H:%M:%S', 'now', printf('-%d seconds', 30 * ({RUNS} - n) + 40)) || '+00:00',
    20 + n % 7, 0, 'file', 'ana@desk', '{{"month":"2013-01"}}', '3.11.7', 'e1',
    '{{"files":[["/data/in/claims.csv",1000,1,30000]],"more":0}}', '{{"files":[["/data/out/claims.parquet",900,1,29000]],"more":0}}'
FROM numbers
"""
_FILL_STEPS = f"""
INSERT INTO step_runs (run_id, step_index, flow_name, step_label, status, started_at_utc, finished_at_utc, elapsed_s, rev, rows_in, rows_out)
SELECT run_id, value, flow_name, 'Step ' || value, 'success', started_at_utc, finished_at_utc, elapsed_s / 3, 0, 30000, 29000 + runs.rowid % 5
FROM runs, json_each('{list(range(STEPS))}')
"""


@contextmanager
def filling(workspace: Workspace) -> Iterator[sqlite3.Connection]:
    """Inside, rows are put into the history of the workspace by one transaction, past its ledger."""
    workspace.home.ledger()
    with closing(sqlite3.connect(workspace.home.local.ledger_path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")


def filled(folder: Path) -> Workspace:
    """A workspace with so many runs behind it."""
    workspace = Workspace.create(folder / "ws")
    for number in range(FLOWS):
        (workspace.root / "flow_modules" / f"flow_{number:02}.py").write_text(MODULE)
    with filling(workspace) as connection:
        connection.execute(_FILL)
        connection.execute(_FILL_STEPS)
    return workspace


def main() -> None:
    """Each answer beside its limit, the median of a few."""
    with tempfile.TemporaryDirectory() as name:
        os.environ["DATA_ENGINE_STATE_ROOT"] = f"{name}/state"
        workspace = filled(Path(name))
        newest = workspace.runs("flow_07", 2)
        a, b = newest[1].run_id, newest[0].run_id
        of = f"of {RUNS:,} runs"
        asked = {
            f"the newest 100 {of}": lambda: workspace.runs(limit=100),
            f"the newest 100 of one flow {of}": lambda: workspace.runs("flow_07", 100),
            f"compare two {of}": lambda: workspace.compare(a, b),
            f"panel: a flow with its run list {of}": lambda: as_json(flow_details(workspace, "flow_07")),
            f"panel: one run {of}": lambda: as_json(run_details(workspace, a)),
            f"panel: trends of a flow {of}": lambda: as_json(trends_view(workspace.trends("flow_07"))),
        }
        for told, call in asked.items():
            report(told, median_s(call, 5), TRENDS_MOST_S if "trends" in told else MOST_S, "s")
    finish()


if __name__ == "__main__":
    main()

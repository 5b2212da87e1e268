"""What it costs to keep rows until a run has succeeded, over writing them at once: whole runs of a flow, in turn.

500,000 rows by one call, the same with one read of them, and 10,000 calls of 10 rows (`python -m benchmarks.kept_rows [CALLS]`).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import by_floor, finish, report
from data_engine import Flow, Workspace

ROWS = 500_000
MODULE = """
import polars as pl
from data_engine import Flow, helpers

def store(context):
    n = pl.int_range({rows}, eager=True)
    frame = pl.DataFrame({{"id": n, "day": (n // 1000).cast(pl.String), "amount": n / 7}})
    db = context.database("{name}.duckdb")
    for call in range({calls}):
        helpers.replace_rows_by_file(db, "sales", df=frame, file_hash=str(call), return_df=False)
    for read in range({reads}):
        assert len(helpers.read_table(db, "sales")) >= {rows} * {calls}

def build():
    return Flow(group="Benchmark").mirror(root="../out", staged={staged}).step(store)
"""


def compared(folder: Path, what: str, most: float, *, rows: int, calls: int, reads: int, pairs: int) -> None:
    """Report how many times as long as at once kept rows take: runs that replace them, in turn."""
    workspace = Workspace.create(folder / f"ws{rows}_{calls}_{reads}")
    flows: dict[str, Flow] = {}
    for name, staged in (("at_once", False), ("kept", True)):
        text = MODULE.format(rows=rows, calls=calls, reads=reads, staged=staged, name=name)
        (workspace.root / "flow_modules" / f"{name}.py").write_text(text)
        flows[name] = workspace.load_flow(name)
    report(what, by_floor(flows["kept"].run_once, flows["at_once"].run_once, pairs), most, "x")


def main() -> None:
    """Every figure, in a folder of its own."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(folder / "state")
        compared(folder, f"{ROWS:,} rows kept, by at once", 1.15, rows=ROWS, calls=1, reads=0, pairs=7)
        compared(folder, f"{ROWS:,} rows kept and read, by at once", 1.3, rows=ROWS, calls=1, reads=1, pairs=7)
        compared(folder, f"{calls:,} calls of 10 rows kept, by at once", 1.5, rows=10, calls=calls, reads=0, pairs=1)
    finish()


if __name__ == "__main__":
    main()

"""What it costs to keep rows until a run has succeeded, over writing them at once: whole runs of a flow, in turn.

500,000 rows by one call, the same with one read of them, 1,000 calls of 10 rows, and how kept rows grow to 10,000 calls
(`python -m benchmarks.kept_rows`; three minutes, most of them for the 1,000 calls that write at once).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from benchmarks.figures import by_floor, finish, median_s, report
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


def compared(folder: Path, what: str, most: float, *, rows: int, calls: int, reads: int, pairs: int) -> Flow:
    """Report how many times as long as at once kept rows take: runs that replace them, in turn. The flow that keeps them."""
    workspace = Workspace.create(folder / f"ws{rows}_{calls}_{reads}")
    flows: dict[str, Flow] = {}
    for name, staged in (("at_once", False), ("kept", True)):
        text = MODULE.format(rows=rows, calls=calls, reads=reads, staged=staged, name=name)
        (workspace.root / "flow_modules" / f"{name}.py").write_text(text)
        flows[name] = workspace.load_flow(name)
    report(what, by_floor(flows["kept"].run_once, flows["at_once"].run_once, pairs), most, "x")
    return flows["kept"]


def main() -> None:
    """Every figure, in a folder of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(folder / "state")
        compared(folder, f"{ROWS:,} rows kept, by at once", 1.15, rows=ROWS, calls=1, reads=0, pairs=7)
        compared(folder, f"{ROWS:,} rows kept and read, by at once", 1.3, rows=ROWS, calls=1, reads=1, pairs=7)
        few = compared(folder, "1,000 calls of 10 rows kept, by at once", 1.5, rows=10, calls=1_000, reads=0, pairs=1)
        many = Workspace.create(folder / "many")
        text = MODULE.format(rows=10, calls=10_000, reads=0, staged=True, name="many")
        (many.root / "flow_modules" / "many.py").write_text(text)
        tenfold = median_s(many.load_flow("many").run_once, 1, warm_up=0) / median_s(few.run_once, 1, warm_up=0)
        report("10,000 such calls kept, by ten times 1,000", tenfold / 10, 1.5, "x")
    finish()


if __name__ == "__main__":
    main()

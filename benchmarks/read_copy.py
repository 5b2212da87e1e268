"""What a read copy of a database costs: `python -m benchmarks.read_copy`, on the drive of the temporary folder.

A copy of 1 GB beside `cp` of the same in turn, and `Workspace.database` when nothing has changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks.figures import finish, median_s, report
from data_engine import Workspace

SIZE_BYTES = 10**9
ROUNDS = 7


def measure_copy(ws: Workspace, folder: Path, database: Path) -> None:
    """The time of a copy, by `cp` of the same: the fastest of several in turn, since the drive writes in the background."""
    copies, target = ws.home.local.runtime_dir / "read_copies", folder / "cp"
    ws.database(database.name)  # its process is there
    ours, floor = [], []
    for _ in range(ROUNDS):
        shutil.rmtree(copies)
        ours.append(_timed(lambda: ws.database(database.name)))
        floor.append(_timed(lambda: subprocess.run(["cp", str(database), str(target)], check=True)))
        target.unlink()
    size = f"{database.stat().st_size / 10**9:.1f} GB in {min(ours):.2f} s"
    report("a read copy of 1 GB, by cp of the same", min(ours) / min(floor), 1.3, "x", size)


def _timed(call: Callable[[], object]) -> float:
    if sys.platform != "win32":
        os.sync()
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


def measure_unchanged(ws: Workspace, database: Path) -> None:
    """The time of the look when nothing has changed."""
    unchanged_s = median_s(lambda: ws.database(database.name), 50, warm_up=3)
    report("Workspace.database when nothing has changed", unchanged_s * 1000, 50, "ms")


def main() -> None:
    """Every figure."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["DATA_ENGINE_STATE_ROOT"] = str(folder / "state")
        ws = Workspace.create(folder / "ws")
        ws.layout.settings_path.write_text('[preview]\ncopy_limit = "4GB"\ncache = "4GB"\n')
        ws.layout.databases_dir.mkdir(exist_ok=True)
        database = ws.layout.databases_dir / "big.duckdb"
        with duckdb.connect(str(database)) as connection:
            rows = SIZE_BYTES // 8
            connection.execute(f"CREATE TABLE t AS SELECT random() AS x FROM range({rows})")
        measure_copy(ws, folder, database)
        measure_unchanged(ws, database)
    finish()


if __name__ == "__main__":
    main()

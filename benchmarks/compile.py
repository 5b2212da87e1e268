"""How long compiling a notebook takes, beside its limits: `python benchmarks/compile.py`.

The notebooks are made here: imports, constants, steps, a class, SQL, and as much scratch as code for production.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from data_engine.notebook import artifacts
from data_engine.notebook.artifacts import load_artifact
from data_engine.notebook.compile import compile_cells
from data_engine.notebook.read import read_cells

_CELLS = [
    """\
import polars as pl
import duckdb
from pathlib import Path
from data_engine import Flow, FlowContext""",
    """\
DESCRIPTION = "Claims of the day, cleaned and joined."
RATE = 0.19
COLUMNS = ["id", "day", "amount"]
COLUMNS.append("net")""",
    """\
def read_claims_{n}(context: FlowContext) -> pl.DataFrame:
    frame = pl.read_csv(context.source.path, infer_schema_length=1000)
    return frame.select(COLUMNS).with_columns(
        (pl.col("amount") * (1 + RATE)).alias("gross"),
        pl.col("day").str.to_date("%Y-%m-%d"),
    )""",
    """\
def clean_claims_{n}(context: FlowContext) -> pl.DataFrame:
    frame = context.current
    bad = frame.filter(pl.col("amount") < 0)
    if len(bad):
        context.log(f"{{len(bad)}} bad rows")
    return (
        frame.filter(pl.col("amount") >= 0)
        .group_by("day")
        .agg(pl.col("amount").sum(), pl.len().alias("n"))
        .sort("day")
    )""",
    """\
frame = pl.read_csv("a.csv")
frame.head()
frame.describe()
for column in frame.columns:
    print(column, frame[column].null_count())""",
    """\
sample = frame.filter(pl.col("amount") > 10)
sample.group_by("day").agg(pl.col("amount").mean())""",
    """\
def write_claims_{n}(context):
    target = context.mirror.with_suffix(".parquet")
    context.current.write_parquet(target)
    with duckdb.connect(context.database("claims.duckdb")) as con:
        con.execute("create or replace table claims as select * from read_parquet(?)", [str(target)])
    return target""",
    """\
LOOKUP_{n} = {{"a": 1, "b": 2}}
LOOKUP_{n}["c"] = 3


class Rules_{n}:
    low = 0
    high = 1_000

    def keep(self, row):
        return self.low <= row["amount"] < self.high and row["kind"] in LOOKUP_{n}""",
]


def notebook(cell_count: int) -> bytes:
    """A flow notebook of that many code cells."""
    texts = [_CELLS[i % len(_CELLS)].format(n=i // len(_CELLS)) for i in range(cell_count - 2)]
    steps = "".join(
        f'\n        .step(read_claims_{n}, save_as="raw_{n}")\n        .step(clean_claims_{n})\n        .step(write_claims_{n})'
        for n in range((cell_count - 2) // len(_CELLS))
    )
    watch = '.watch(mode="poll", source="../in", interval="5s", extensions=[".csv"])'
    texts.append(f'def build():\n    return (\n        Flow("Claims")\n        {watch}{steps}\n    )')
    texts.append('build().preview(use="raw_0").head()')
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": i, "outputs": []}
        | {"source": text.splitlines(keepends=True)}
        for i, text in enumerate(texts)
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def median_ms(work: Callable[[], object], times: int) -> float:
    """The median of that many runs, after one to warm up."""
    work()
    durations = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations) * 1000


def main() -> None:
    """Print each figure beside its limit."""
    path = Path("/ws/flow_modules/claims.ipynb")
    small, large = notebook(20), notebook(300)
    folder = Path(tempfile.mkdtemp())
    load_artifact(path, small, cache_dir=folder)

    def load_from_disk() -> None:
        artifacts._memory.clear()
        load_artifact(path, small, cache_dir=folder)

    figures = [
        ("compile 20 cells", median_ms(lambda: compile_cells(read_cells(small, path=path), path), 100), 3.0),
        ("compile 300 cells", median_ms(lambda: compile_cells(read_cells(large, path=path), path), 20), 60.0),
        ("load 20 cells from disk", median_ms(load_from_disk, 100), 0.5),
        ("load 20 cells from memory", median_ms(lambda: load_artifact(path, small, cache_dir=folder), 100), 0.5),
    ]
    shutil.rmtree(folder)
    for name, took_ms, limit_ms in figures:
        print(f"{name:28} {took_ms:8.3f} ms   limit {limit_ms:5.1f} ms   {'ok' if took_ms <= limit_ms else 'TOO SLOW'}")
    if importlib.util.find_spec("jupytext"):
        import jupytext

        took_ms = median_ms(lambda: jupytext.writes(jupytext.reads(small.decode(), fmt="ipynb"), fmt="py:percent"), 20)
        print(f"{'jupytext, 20 cells':28} {took_ms:8.3f} ms   (converts all cells, chooses none)")


if __name__ == "__main__":
    main()

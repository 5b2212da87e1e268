"""How long compiling a notebook takes, beside its limits: `python -m benchmarks.compile`.

The notebooks are made here: imports, constants, steps, a class, SQL, and as much scratch as code for production. Beside jupytext
too, where it can be imported: `pip install --no-deps --target FOLDER jupytext`, then `PYTHONPATH=FOLDER`. In the environment itself it
would be an extension of its JupyterLab.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import tempfile
from functools import partial
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from benchmarks.figures import by_floor, finish, median_s, report
from data_engine.notebook import artifacts
from data_engine.notebook.artifacts import load_artifact
from data_engine.notebook.compile import compile_with_codes
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


def parsed(data: bytes) -> None:
    """What no compiler of notebooks can do without: the JSON, IPython's syntax, Python's syntax and its code."""
    transform = TransformerManager().transform_cell  # type: ignore[no-untyped-call]
    for cell in json.loads(data)["cells"]:
        compile(ast.parse(transform("".join(cell["source"]))), "cell", "exec")


def converted(data: bytes) -> None:
    """What jupytext does to show a notebook as a script: all cells, none of them parsed."""
    jupytext = importlib.import_module("jupytext")
    jupytext.writes(jupytext.reads(data.decode(), fmt="ipynb"), fmt="py:percent")


def main() -> None:
    """Print each figure beside its limit."""
    path = Path("/ws/flow_modules/claims.ipynb")
    small, large = notebook(20), notebook(300)

    def compiled(data: bytes) -> None:
        compile_with_codes(read_cells(data, path=path), path)[0]

    has_jupytext = importlib.util.find_spec("jupytext") is not None
    for data, runs, name, most in ((small, 100, "20", 3.0), (large, 20, "300", 5.0)):
        took_ms = median_s(partial(compiled, data), runs) * 1000
        ratio = by_floor(partial(compiled, data), partial(parsed, data), runs)
        report(f"compile a notebook of {name} cells, by parsing its cells", ratio, 1.5, "x", f"{took_ms:.1f} ms")
        if has_jupytext:
            ratio = by_floor(partial(compiled, data), partial(converted, data), runs)
            report("the same, by jupytext's conversion of all cells", ratio, most, "x")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load_artifact(path, small, cache_dir=folder)

        def load_from_disk() -> None:
            artifacts._memory.clear()
            load_artifact(path, small, cache_dir=folder)

        report("load the artifact of 20 cells from disk", median_s(load_from_disk, 100) * 1000, 0.5, "ms")
    finish()


if __name__ == "__main__":
    main()

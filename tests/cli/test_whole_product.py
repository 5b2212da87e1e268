"""The product in the small: each kind of flow through preview, run once, deploy and run, each in a fresh process with a time limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from tests.support import PATIENCE, WorkspaceFiles, notebook_bytes

LIMIT_S = 60 * PATIENCE
TRIGGERS = {
    "manual": 'mode="manual", source="../in"',
    "poll": 'mode="poll", source="../in", interval="1h", settle=0',
    "schedule": 'mode="schedule", source="../in", cron="0 3 1 1 *"',
}
PLACES = {
    "in place": ('.mirror(root="../out")', "context.mirror.file('sum.csv')"),
    "staged": ('.mirror(root="../out", staged=True)', "context.mirror.file('sum.csv')"),
    "a database": ("", "context.database('sums.duckdb')"),
}
CELLS = (
    """
    from pathlib import Path
    import duckdb
    import polars as pl
    from data_engine import Flow
    """,
    """
    def read(context):
        files = [context.source.path] if context.source.path else sorted(context.source.root.glob("*.csv"))
        return pl.concat([pl.read_csv(file) for file in files])

    def write(context):
        target = {target}
        if target.suffix == ".duckdb":
            sums = context.current
            with duckdb.connect(target) as db:
                db.execute("create or replace table sums as select sum(a) as a from sums")
        else:
            context.current.select(pl.sum("a")).write_csv(target)
    """,
    """
    def build():
        return Flow(group="G").watch({trigger}, run_as="{run_as}"){mirror}.step(read, save_as="raw_df").step(write)
    """,
)
KINDS = (
    ("individual", "poll", "in place"),
    ("batch", "poll", "staged"),
    ("individual", "manual", "staged"),
    ("batch", "manual", "in place"),
    ("individual", "schedule", "in place"),
    ("batch", "schedule", "a database"),
)


@pytest.fixture
def flow(ws: WorkspaceFiles) -> Iterator[WorkspaceFiles]:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    ws.source("in/a.csv", "a\n1\n2\n")
    yield ws
    Workspace(ws.root).kill()


def command(ws: WorkspaceFiles, *arguments: str) -> str:
    """What a command of the command line prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "data_engine", "--workspace", str(ws.root), *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    return done.stdout


def everything_below(folder: Path) -> dict[str, int]:
    """Each file with its time."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("run_as", "trigger", "place"), KINDS, ids=[" ".join(kind) for kind in KINDS])
def test_each_kind_of_flow_goes_through_each_verb(flow: WorkspaceFiles, run_as: str, trigger: str, place: str) -> None:
    mirror, target = PLACES[place]
    cells = [cell.format(target=target, trigger=TRIGGERS[trigger], run_as=run_as, mirror=mirror) for cell in CELLS]
    (flow.modules / "sums.ipynb").write_bytes(notebook_bytes(*cells))

    command(flow, "run", "--once", "sums")
    before = {folder: everything_below(flow.root / folder) for folder in ("in", "out", "databases")}
    command(flow, "preview", "sums")
    assert {folder: everything_below(flow.root / folder) for folder in before} == before
    command(flow, "deploy", "sums")
    command(flow, "preview", "sums", "--use", "raw_df")
    command(flow, "run", "sums")
    runs = json.loads(command(flow, "runs", "sums", "--json"))

    assert [one["status"] for one in runs] == ["success", "success"]
    written = before["databases" if place == "a database" else "out"]
    assert [os.path.splitext(path)[1] for path in written] == [".duckdb" if place == "a database" else ".csv"]

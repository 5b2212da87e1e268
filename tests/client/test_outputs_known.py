"""An output is what a run wrote by a path of `context.mirror`, whether a step returns it or not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_engine import Workspace, load_flow
from jupyter_extension.actions import flow_outputs
from tests.support import WorkspaceFiles

WRITES = {
    "a file of Python": "context.mirror.with_suffix('.txt').write_text('x')",
    "polars": "pl.DataFrame({'a': [1]}).write_parquet(context.mirror.with_suffix('.parquet'))",
    "a file below a folder": "(context.mirror.dir / 'deep').mkdir(); (context.mirror.dir / 'deep' / 'a.txt').write_text('x')",
    "a file beside": "(context.mirror.folder / 'a.txt').write_text('x')",
    "a program": "subprocess.run([sys.executable, '-c', 'import sys; open(sys.argv[1], chr(119)).close()',"
    " str(context.mirror.file('a.txt'))], check=True)",
    "a query": "duckdb.connect().execute('copy (select 1) to ?', [str(context.mirror.file('a.csv'))])",
    "a thread": "t = threading.Thread(target=(context.mirror.folder / 'a.txt').write_text, args=('x',)); t.start(); t.join()",
    "a file that takes its place": "fresh = context.mirror.file('a.tmp'); fresh.write_text('x'); fresh.rename(context.mirror.folder / 'a.txt')",
}
FLOW = """
import os, subprocess, sys, threading
import duckdb
import polars as pl
from data_engine import Flow

def write(context):
    {write}

def after(context):
    context.mirror.file("never.txt")

def build():
    flow = Flow(group="G").watch(mode="manual", source="../in", run_as={run_as!r})
    return flow.mirror(root="../out", staged={staged}).step(write).step(after)
"""


def module(ws: WorkspaceFiles, write: str, *, staged: bool = False, run_as: str = "individual") -> None:
    ws.source("in/a.csv", "a\n1\n")
    ws.module("claims", FLOW.format(write=write, staged=staged, run_as=run_as))


@pytest.mark.parametrize("staged", [False, True], ids=["in place", "staged"])
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_what_no_step_returns_is_known(ws: WorkspaceFiles, write: str, staged: bool) -> None:
    module(ws, write, staged=staged)
    load_flow("claims", data_root=ws.root).run_once()

    workspace = Workspace(ws.root)
    (written,) = [path for path in (ws.root / "out").rglob("*") if path.is_file()]
    (run,) = workspace.runs("claims")
    assert [one.path for one in run.outputs] == [str(written)]
    (told,) = workspace.explain(written)
    assert told.why.kind == "last_written"
    listed = flow_outputs(workspace, search="", limit=9)
    assert str(written) in repr(listed)


def test_what_is_not_written_or_as_it_was_is_no_output(ws: WorkspaceFiles) -> None:
    out = ws.source("out/kept.txt", "kept")
    module(ws, "context.mirror.file('kept.txt').read_text(); context.mirror.file('gone.txt')")
    load_flow("claims", data_root=ws.root).run_once()

    (run,) = Workspace(ws.root).runs("claims")
    assert run.outputs == ()
    assert out.read_text() == "kept"


@pytest.mark.parametrize("staged", [False, True], ids=["in place", "staged"])
def test_what_items_write_in_other_processes_is_known(ws: WorkspaceFiles, staged: bool) -> None:
    ws.source("config/data_engine.toml", '[executor]\nkind = "processes"\n')
    for name in "abc":
        ws.source(f"in/{name}.csv")
    ws.module(
        "claims",
        f"""
        from data_engine import Flow

        def one(context, file):
            if file.path.name == "a.csv":
                context.mirror.file("a.txt").write_text("x")
            else:
                (context.mirror.folder / file.path.name).write_text("x")

        def build():
            flow = Flow(group="G").watch(mode="manual", source="../in", run_as="batch").collect("csv")
            return flow.mirror(root="../out", staged={staged}).map(one, max_parallel=2)
        """,
    )
    load_flow("claims", data_root=ws.root).run_once()

    (run,) = Workspace(ws.root).runs("claims")
    assert {os.path.basename(one.path) for one in run.outputs} == {"a.txt", "b.csv", "c.csv"}
    assert all(Path(one.path).is_file() for one in run.outputs)


def test_the_output_of_a_source_that_is_gone_is_left_behind(ws: WorkspaceFiles) -> None:
    module(ws, WRITES["polars"])
    load_flow("claims", data_root=ws.root).run_once()
    (ws.root / "in" / "a.csv").unlink()

    assert [Path(one.path).name for one in Workspace(ws.root).left_behind("claims")] == ["a.parquet"]

"""A run overwrites no source, and a preview changes none, by writers that a module holds since it was imported."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

from data_engine import load_flow
from data_engine.errors import FlowValidationError
from tests.support import WorkspaceFiles

TABLE = "pa.table({'a': [1]})"
HELD = {  # at the top of the module, and in the step
    "a function": ("from pyarrow.csv import write_csv", f"write_csv({TABLE}, path)"),
    "a function in a dict": ("WRITERS = {'.csv': pa.csv.write_csv}", f"WRITERS['.csv']({TABLE}, path)"),
    "a method": ("write = pl.DataFrame.write_csv", "write(pl.DataFrame({'a': [1]}), path)"),
    "a method of a frame": ("write = pl.DataFrame({'a': [1]}).write_csv", "write(path)"),
}
MADE = {
    "a default": (
        f"def write(path, by=pa.csv.write_csv): by({TABLE}, path)",
        "write(path)",
    ),
    "a class": ("class Writers:\n    write = staticmethod(pa.csv.write_csv)", f"Writers.write({TABLE}, path)"),
    "a list": ("WRITERS = [duckdb.sql]", "WRITERS[0](f\"copy (select 1) to '{path}'\")"),
    "a file system": ("local = pa.fs.LocalFileSystem()", "local.open_output_stream(path)"),
    "a method of a connection": ("run = duckdb.connect().execute", "run(f\"copy (select 1) to '{path}'\")"),
}
MODULE = """
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.fs
from data_engine import Flow
{top}

def step(context):
    path = str(context.source.path)
    {call}

def build():
    return Flow(group="G").watch(mode="manual", source="../in").step(step)
"""


@pytest.mark.parametrize("kind", HELD | MADE)
def test_no_command_writes_by_what_a_module_holds(
    process: Callable[..., subprocess.Popen[bytes]], ws: WorkspaceFiles, kind: str
) -> None:
    pytest.importorskip("pyarrow")
    top, call = (HELD | MADE)[kind]
    source = ws.source("in/a.csv", "old")
    ws.module("writes", MODULE.format(top=top, call=call))

    for command, said in (
        (["preview", "writes"], "would change"),
        (["run", "--once", "writes"], "the flow's own source"),
    ):
        with process("--workspace", str(ws.root), *command) as command_line:
            out, err = command_line.communicate()

        assert command_line.returncode == 1
        assert said in (out + err).decode()
        assert source.read_text() == "old"


@pytest.mark.parametrize("kind", HELD)
@pytest.mark.parametrize("verb", ["preview", "run_once"])
def test_no_call_writes_by_what_a_module_holds(ws: WorkspaceFiles, kind: str, verb: str) -> None:
    """The module was imported before anything was watched."""
    pytest.importorskip("pyarrow")
    top, call = HELD[kind]
    source = ws.source("in/a.csv", "old")
    ws.module("writes", MODULE.format(top=top, call=call))
    flow = load_flow("writes", data_root=ws.root)

    with pytest.raises(FlowValidationError):
        getattr(flow, verb)()

    assert source.read_text() == "old"

"""What a run in the caller's own process is recorded with: who, why, with what, on which files, how many rows, at what cost."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from data_engine import Workspace, load_flow
from data_engine.flow.batch import rows_of
from data_engine.model import Run
from data_engine.platforms.host import user_name
from tests.support import WorkspaceFiles

FLOW = """
    import json, sqlite3
    from pathlib import Path
    import polars as pl
    from data_engine import Flow, load_flow

    def read(context):
        context.config.get("limits")
        json.loads(Path("../in/more.json").read_text())
        sqlite3.connect(context.database("x.sqlite")).close()
        return pl.read_csv(context.source.path)

    def lazy(context):
        return context.current.lazy().filter(pl.col("a") > 1)

    def collect(context):
        return context.current.collect()

    def write(context):
        target = context.mirror.with_suffix(".parquet")
        context.current.write_parquet(target)
        return target

    def build():
        return (
            Flow(group="G").watch(mode="manual", source="../in", extensions="csv").mirror(root="../out")
            .step(read).step(lazy).step(collect).step(write)
        )
"""


def only_run(ws: Workspace, flow: str | None = None) -> Run:
    (run,) = ws.runs(flow)
    return run


@pytest.fixture
def claims(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    ws.source("in/a.csv", "a,b\n1,x\n2,y\n3,z\n")
    ws.source("in/more.json", "{}")
    ws.source("config/limits.toml", "most = 3")
    ws.module("claims", FLOW)
    monkeypatch.chdir(ws.modules)
    return Workspace(ws.root)


def test_files_rows_and_cost_are_recorded(claims: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is opened by the context, by libraries and by Python itself; no lazy frame is run to count it."""
    monkeypatch.setenv("USER", "somebody else")
    monkeypatch.setenv("LOGNAME", "somebody else")
    reader = pl.read_csv
    load_flow("claims", data_root=claims.root).run_once()

    run = only_run(claims)
    names = [Path(one.path).relative_to(claims.root).as_posix() for one in run.inputs]
    assert names == ["in/a.csv", "config/limits.toml", "in/more.json", "databases/x.sqlite"]
    assert [(Path(one.path).name, one.rows) for one in run.outputs] == [("a.parquet", 2)]
    assert [(step.rows_in, step.rows_out) for step in claims.steps(run.run_id)] == [
        (None, 3),
        (3, None),
        (None, 2),
        (2, 2),
    ]
    assert run.by is not None
    assert run.by.startswith(f"{user_name()}@")
    assert (run.trigger is not None and run.trigger.kind, run.params, run.deployment_id) == ("hand", None, None)
    assert run.environment is not None
    assert any(one.startswith("polars ") for one in claims.home.ledger().environment(run.environment))
    assert 0 <= (run.cpu_s or 0) < 60
    assert (run.peak_memory_bytes or 0) > 1_000_000
    assert pl.read_csv is reader


def test_a_failed_run_tells_what_it_had_read(claims: Workspace, ws: WorkspaceFiles) -> None:
    ws.source("in/a.csv", "b\nx\n")
    (claims.root / "in" / "more.json").write_text("{")
    load_flow("claims", data_root=claims.root).run_once(on_error="continue")

    run = only_run(claims)
    assert (run.status, run.outputs) == ("failed", ())
    assert Path(run.inputs[0].path).name == "a.csv"


def test_many_files_are_named_up_to_a_bound_and_the_others_counted(ws: WorkspaceFiles) -> None:
    for number in range(70):
        ws.source(f"in/{number:02}.txt", "x")
    ws.module(
        "all",
        """
        from pathlib import Path
        from data_engine import Flow

        def read(context):
            return [path.read_text() for path in sorted(context.source.root.iterdir())]

        def build():
            return Flow(group="G").watch(mode="manual", source="../in", run_as="batch").step(read)
        """,
    )
    load_flow("all", data_root=ws.root).run_once()

    run = only_run(Workspace(ws.root))
    assert (len(run.inputs), run.more_inputs) == (50, 20)


def test_a_flow_that_another_starts_says_so(claims: Workspace, ws: WorkspaceFiles) -> None:
    ws.module(
        "outer",
        """
        from data_engine import Flow, load_flow

        def start(context):
            load_flow("claims", data_root=context.workspace_root).run_once()

        def build():
            return Flow(group="Outer").step(start)
        """,
    )
    load_flow("outer", data_root=ws.root).run_once(params={"a": 1})

    inner, outer = only_run(claims, "claims"), only_run(claims, "outer")
    assert inner.trigger == {"kind": "flow", "detail": f"outer {outer.run_id[:8]}"}
    assert outer.params == {"a": 1}


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_commit_of_the_folder_is_recorded(claims: Workspace) -> None:
    """And whether it has edits."""
    commands = ("init -q", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m one")
    for command in commands:
        subprocess.run(["git", "-C", str(claims.root), *command.split()], check=True)
    load_flow("claims", data_root=claims.root).run_once()

    run = only_run(claims)
    assert (len(run.git_commit or ""), run.git_dirty) == (40, True)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_run_right_after_an_edit_is_recorded_as_one_of_edited_files(claims: Workspace) -> None:
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@b commit -q -m one"):
        subprocess.run(["git", "-C", str(claims.root), *command.split()], check=True)
    load_flow("claims", data_root=claims.root).run_once()
    first = only_run(claims)
    (claims.root / "flow_modules" / "edited.py").write_text("VALUE = 1\n")
    time.sleep(0.15)  # files are looked at ten times a second at most
    load_flow("claims", data_root=claims.root).run_once()

    newest = claims.runs("claims")[0]
    assert (first.git_dirty, newest.git_dirty) == (False, True)


def test_rows_are_counted_where_a_value_says_them() -> None:
    import duckdb
    import pyarrow as pa

    frame = pl.DataFrame({"a": [1, 2]})
    values = [frame, frame.lazy(), frame.to_arrow(), pa.record_batch({"a": [1]}), duckdb.sql("select 1"), {"a": 1}, "x"]
    assert [rows_of(value) for value in values] == [2, None, 2, 1, None, None, None]


def test_params_that_json_cannot_have_are_recorded_by_what_they_say(ws: WorkspaceFiles) -> None:
    """A key that is no text, a number that is none, a list that holds itself: the run runs, and its record can be read."""
    ws.module(
        "claims",
        "from data_engine import Flow\ndef build(): return Flow('G').step(lambda context: dict(context.params))",
    )
    around: list[object] = []
    around.append(around)
    params = {"by_place": {(1, 2): "x"}, "rate": float("nan"), "around": around, "month": "2013-01"}

    load_flow("claims", data_root=ws.root).run_once(params=params)

    run = only_run(Workspace(ws.root))
    assert run.params == {"by_place": "{(1, 2): 'x'}", "rate": "nan", "around": "[[...]]", "month": "2013-01"}

"""`explain` of an output tells which run wrote it last, from what and with what, and whether it has changed since."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from data_engine import FlowExecutionError, FlowValidationError, Workspace
from data_engine.cli.app import run as command
from data_engine.helpers import replace_table
from data_engine.platforms.host import shell_line
from data_engine.status.explain import Explanation
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow
    def write(context):
        target = context.mirror.with_extension(".txt")
        target.write_text(context.source.path.read_text())
        return target
    def build():
        return Flow(group="G").watch(mode="poll", source="../in", interval="1s", settle=0).mirror(root="../out").step(write)
"""
TOTAL = """
    from pathlib import Path
    from data_engine import Flow
    def total(context):
        target = context.mirror.root_file("Sümme.csv")
        target.write_text("".join(path.read_text() for path in sorted(Path("../out").glob("*.txt"))))
        return target
    def build():
        return Flow(group="G").watch(mode="manual").mirror(root="../total").step(total)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    ws.notebook("texts", FLOW)
    ws.notebook("total", TOTAL)
    ws.source("in/a.csv", "1")
    ws.source("in/b.csv", "2")
    monkeypatch.chdir(ws.root)
    workspace = Workspace(ws.root)
    workspace.load_flow("texts").run_once()
    workspace.load_flow("total").run_once(params={"month": "2026-03"})
    return workspace


def only(workspace: Workspace, subject: str | Path) -> Explanation:
    (row,) = workspace.explain(subject)
    assert row.why.kind == "last_written"
    return row


@pytest.mark.parametrize("subject", ["out/a.txt", "../out/a.txt", "a.txt", "{root}/out/a.txt"])
@pytest.mark.parametrize("folder", ["", "flow_modules"])
def test_an_output_is_found_by_its_path_or_name(
    workspace: Workspace, subject: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As seen from where one is, or from the workspace."""
    if subject.startswith(".."):
        folder = "flow_modules"
    monkeypatch.chdir(workspace.root / folder)
    row = only(workspace, subject.format(root=workspace.root))
    (run,) = workspace.runs("a.csv")

    assert (row.flow, row.source) == ("texts", str(workspace.root / "in" / "a.csv"))
    assert row.reason.startswith(f"{workspace.root / 'out' / 'a.txt'} was written last by run {run.run_id[:8]} on 20")
    assert row.reason.endswith(", and has not changed since")
    assert row.fix == f"`data-engine log {run.run_id[:8]}` shows all of it"


def test_of_a_run_without_a_source_its_params_are_told(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = workspace.runs("total")
    row = only(workspace, "Sümme.csv")

    assert (row.flow, row.source) == ("total", None)
    assert f"by run {run.run_id[:8]} on " in row.reason
    assert ", with month=2026-03" in row.reason
    assert command(["--workspace", str(workspace.root), "explain", "total/Sümme.csv"]) == 0
    assert "month=2026-03" in " ".join(capsys.readouterr().out.split())


def test_what_became_of_it_since_is_told(workspace: Workspace) -> None:
    """By its size and time; and of several runs the newest one is named."""
    path = workspace.root / "out" / "a.txt"
    path.write_text("by hand")
    assert only(workspace, path).reason.endswith("; it has changed since")
    os.utime(path, (1e9, 1e9))
    path.write_text("1")
    os.utime(path, (1e9, 1e9))
    assert only(workspace, path).reason.endswith("; it has changed since")
    path.unlink()
    gone = only(workspace, path)
    assert gone.reason.endswith("; it is gone")
    again = shell_line(["data-engine", "run", "--once", "texts", "--source", str(workspace.root / "in" / "a.csv")])
    assert (gone.fix or "").startswith(f"`{again}` makes it again; `data-engine log ")
    workspace.deploy("texts")
    assert (only(workspace, path).fix or "").startswith(f"`{again.replace(' --once', '')}` makes it again; ")

    workspace.load_flow("texts").run_once(source="../in/a.csv")
    newest = workspace.runs("a.csv")[0]
    assert len(workspace.runs("a.csv")) == 2
    assert newest.run_id[:8] in only(workspace, path).reason
    assert only(workspace, path).reason.endswith("has not changed since")


def test_in_a_workspace_that_was_moved_and_of_a_run_that_is_forgotten(workspace: Workspace) -> None:
    """There the file of that name is looked at; what is no output at all is refused."""
    moved = workspace.root.with_name("moved")
    os.chdir(moved.parent)
    os.rename(workspace.root, moved)
    there = Workspace(moved)
    assert only(there, moved / "out" / "a.txt").why.state == "as_written"
    (moved / "out" / "a.txt").write_text("by hand")
    assert only(there, "out/a.txt").why.state == "changed"

    there.reset("texts")
    assert only(there, "a.txt").why.run_id is None
    assert only(there, "a.txt").fix is None
    with pytest.raises(FlowValidationError, match="nor an output"):
        there.explain("c.txt")


def test_of_an_output_that_is_gone_with_its_flow_no_command_is_told_that_cannot_make_it(workspace: Workspace) -> None:
    (workspace.root / "out" / "a.txt").unlink()
    (workspace.root / "flow_modules" / "texts.ipynb").unlink()

    assert "makes it again" not in (only(workspace, "a.txt").fix or "")


def test_of_an_output_whose_source_is_gone_too_no_run_is_offered(workspace: Workspace) -> None:
    """It cannot make it again; what was moved aside comes back, and what somebody has deleted does not."""
    for name in ("a", "b"):
        (workspace.root / "in" / f"{name}.csv").unlink()
    (workspace.root / "out" / "b.txt").unlink()
    workspace.set_aside("texts")

    aside, deleted = only(workspace, "out/a.txt"), only(workspace, "out/b.txt")

    assert (aside.why.state, deleted.why.state) == ("set_aside", "source_gone")
    assert (aside.fix or "").startswith("`data-engine tidy texts --back` moves back")
    assert "tidy" not in (deleted.fix or "")


def test_of_an_output_whose_source_has_changed_and_failed_that_is_told(workspace: Workspace) -> None:
    """Beside how the output is, which is as it was."""
    source = workspace.root / "in" / "a.csv"
    source.write_bytes(b"\xff\xff")
    with pytest.raises(FlowExecutionError):
        workspace.load_flow("texts").run_once(source=source)
    workspace.deploy("texts")

    written, now = workspace.explain("out/a.txt")

    assert (written.why.kind, written.why.state) == ("last_written", "as_written")
    assert (now.why.kind, now.source) == ("held", str(source))


def test_a_file_that_is_not_there_is_answered_with_the_nearest(workspace: Workspace) -> None:
    """Of those that flows read."""
    (workspace.root / "in" / "latin.csv").write_text("1")
    with pytest.raises(FlowValidationError) as told:
        workspace.explain("latn.csv")
    assert (told.value.fix or "").startswith("did you mean latin.csv? Else ")


HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.readline()"
STORE = """
    import polars as pl
    from data_engine import Flow, helpers
    def store(context):
        db = context.database("w.duckdb")
        frame = pl.read_csv(context.source.path)
        helpers.replace_rows_by_file(db, "mart.sales", df=frame, file_hash=context.source.path.name)
    def build():
        return Flow(group="G").watch(mode="poll", source="../data", interval="1s", settle=0).step(store)
"""


def test_of_a_table_it_says_whose_rows_stand_in_it(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The newest first; the database is not changed, and a table without records says so."""
    ws.notebook("sales", STORE)
    for name, content in {"a.csv": "x\n1\n2\n", "b.csv": "x\n3\n"}.items():
        ws.source(f"data/{name}", content)
        Workspace(ws.root).load_flow("sales").run_once()
    db = ws.root / "databases" / "w.duckdb"
    replace_table(db, "other", df=pl.DataFrame({"x": [1]}))
    monkeypatch.chdir(ws.root)
    workspace, before = Workspace(ws.root), db.read_bytes()
    rows = workspace.explain("w.duckdb:mart.sales")
    runs = {run.run_id for run in workspace.runs("sales")}

    assert [(row.source, row.why.rows, row.why.key) for row in rows] == [
        (str(ws.root / "data" / "b.csv"), 1, "b.csv"),
        (str(ws.root / "data" / "a.csv"), 2, "a.csv"),
    ]
    assert {row.why.run_id for row in rows} <= runs
    assert len(workspace.explain(f"{db}:MART.Sales")) == 2
    assert command(["explain", "databases/w.duckdb:mart.sales"]) == 0
    assert "2 rows of file_key a.csv in mart.sales, written by run" in " ".join(capsys.readouterr().out.split())
    assert [row.reason for row in workspace.explain("w.duckdb:other")] == ["no run has recorded rows here (other)"]
    assert db.read_bytes() == before
    with pytest.raises(FlowValidationError, match='no table "nope"'):
        workspace.explain("w.duckdb:nope")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().startswith(b"open")
        with pytest.raises(FlowValidationError, match=f"PID {holder.pid}"):
            workspace.explain("w.duckdb:other")
        holder.communicate(b"end\n")

"""Outputs whose sources are gone are told, and moved aside and back when somebody asks; nothing else is touched."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command
from data_engine.client import Workspace as Client
from data_engine.errors import OwnedElsewhereError
from jupyter_extension.actions import flow_outputs
from tests.support import WorkspaceFiles

EACH = """
    from data_engine import Flow

    def write(context):
        target = context.mirror.with_extension(".txt")
        target.write_text(context.source.path.read_text())
        return target

    def build():
        return (Flow(group="G").watch(mode="poll", source="../in", interval="1s", extensions=".csv")
                .mirror(root="../out/claims").step(write))
"""
SHARED = EACH.replace('context.mirror.with_extension(".txt")', 'context.mirror.root_file("all.txt")')
TOTAL = """
    from data_engine import Flow

    def build():
        return Flow(group="T").watch(mode="manual", run_as="batch", source="../out/claims").step(print)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    ws.notebook("claims", EACH)
    ws.notebook("total", TOTAL)
    for name in ("a", "north/b", "c"):
        ws.source(f"in/{name}.csv", name)
    workspace = Workspace(ws.root)
    workspace.load_flow("claims").run_once()
    return workspace


def left(workspace: Client) -> list[str]:
    return [Path(one.path).relative_to(workspace.root / "out" / "claims").as_posix() for one in workspace.left_behind()]


def outputs(workspace: Client) -> list[str]:
    root = workspace.root / "out" / "claims"
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def test_the_outputs_of_deleted_and_renamed_sources_are_known(ws: WorkspaceFiles, workspace: Workspace) -> None:
    assert left(workspace) == []

    (ws.root / "in" / "a.csv").unlink()
    shutil.rmtree(ws.root / "in" / "north")
    (ws.root / "in" / "c.csv").rename(ws.root / "in" / "d.csv")
    workspace.load_flow("claims").run_once()

    assert left(workspace) == ["a.txt", "c.txt", "north/b.txt"]
    assert [Path(one.source).name for one in workspace.left_behind("claims")] == ["a.csv", "c.csv", "b.csv"]
    assert workspace.left_behind("total") == []
    shown = {one.name: one.is_source_gone for one in flow_outputs(workspace, search="", limit=10).files}
    assert shown["a.txt"]
    assert not shown["d.txt"]


def test_of_a_folder_that_is_away_nothing_is_known(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """A drive that is not connected is no reason to move anything."""
    (ws.root / "in").rename(ws.root / "away")

    assert left(workspace) == []
    assert not any(one.is_source_gone for one in flow_outputs(workspace, search="", limit=10).files)


def test_a_file_of_several_sources_stays_until_all_are_gone(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.notebook("claims", SHARED)
    workspace.load_flow("claims").run_once()

    (ws.root / "in" / "a.csv").unlink()
    (ws.root / "in" / "c.csv").unlink()
    assert "all.txt" not in left(workspace)
    shutil.rmtree(ws.root / "in" / "north")
    assert "all.txt" in left(workspace)


def test_after_the_workspace_was_moved_they_are_known_where_they_are(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of sources that are deleted only then; what ran again meanwhile is no second output."""
    (ws.root / "in" / "a.csv").unlink()
    moved = Workspace(ws.root.rename(ws.root.parent / "closed 2026"))
    (moved.root / "in" / "c.csv").unlink()
    moved.load_flow("claims").run_once()

    assert left(moved) == ["a.txt", "c.txt"]
    shown = {one.name: one for one in flow_outputs(moved, search="", limit=10).files}
    assert (shown["a.txt"].is_there, shown["a.txt"].is_source_gone, shown["b.txt"].is_source_gone) == (
        True,
        True,
        False,
    )
    assert len(shown) == 3
    assert command(["--workspace", str(moved.root), "tidy", "--yes"]) == 0
    told = capsys.readouterr()
    assert "Moved 2 files aside" in told.out
    assert "former path" not in told.err
    assert outputs(moved) == ["north/b.txt"]


def test_of_a_mirror_that_was_moved_by_itself_it_is_said_that_nothing_is_known(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (ws.root / "in" / "a.csv").unlink()
    (ws.root / "out").rename(ws.root / "results")
    ws.notebook("claims", EACH.replace("../out/claims", "../results/claims"))

    assert command(["--workspace", str(ws.root), "tidy"]) == 0
    told = capsys.readouterr()
    assert (
        "3 outputs are known only by their former paths, whose folder does not exist any more, and are not listed"
        in told.err
    )

    workspace.load_flow("claims").run_once()
    assert command(["--workspace", str(ws.root), "tidy"]) == 0
    assert "1 output is known only by its former path" in capsys.readouterr().err


def test_they_are_moved_aside_when_asked_and_back(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an answer nothing is; the deployed flows that read there are named."""
    workspace.deploy("total")
    tidy = ["--workspace", str(ws.root), "tidy"]
    (ws.root / "in" / "a.csv").unlink()
    shutil.rmtree(ws.root / "in" / "north")

    assert command(tidy) == 0
    told = capsys.readouterr()
    assert "out/claims/north/b.txt" in told.out
    assert "Nothing was moved. To move them aside: data-engine tidy --yes" in told.err
    assert "total reads there" in told.err
    assert outputs(workspace) == ["a.txt", "c.txt", "north/b.txt"]

    assert command([*tidy, "claims", "--yes"]) == 0
    told = capsys.readouterr()
    assert "Moved 2 files aside. To have them back: data-engine tidy claims --back" in told.out
    assert "total reads there, but does not become due; to run it again: data-engine run total" in told.err
    assert outputs(workspace) == ["c.txt"]
    assert left(workspace) == []

    (ws.root / "out" / "claims" / "a.txt").write_text("new")
    assert command([*tidy, "--back"]) == 0
    assert "Moved 1 file back." in capsys.readouterr().out
    assert outputs(workspace) == ["a.txt", "c.txt", "north/b.txt"]
    assert (ws.root / "out" / "claims" / "a.txt").read_text() == "new"
    (kept,) = (ws.root / "out" / ".data_engine_set_aside").rglob("*.txt")
    assert kept.read_text() == "a"


def test_what_was_set_aside_is_no_source_of_a_flow(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Also not of one that reads the folder around the mirror."""
    ws.notebook("total", TOTAL.replace("../out/claims", "../out").replace('run_as="batch", ', ""))
    (ws.root / "in" / "a.csv").unlink()
    workspace.set_aside()

    names = [context.source.path.name for context in workspace.load_flow("total").run_once()]
    assert names == ["c.txt", "b.txt"]


def test_for_programs_it_lists_and_does_nothing_else(
    ws: WorkspaceFiles, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    (ws.root / "in" / "a.csv").unlink()

    assert command(["--workspace", str(ws.root), "tidy", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert ([Path(one["path"]).name for one in told["left"]], told["moved"]) == (["a.txt"], [])
    assert command(["--workspace", str(ws.root), "tidy", "nope"]) == 2


CHECKED = """
    import polars as pl
    from data_engine import Flow

    def build():
        return (Flow(group="G").watch(mode="poll", source="../in", interval="1s", extensions=".csv")
                .step(lambda context: pl.DataFrame({"amount": [1.0, -2.0]}))
                .check({"positive": "amount > 0"}, on_fail="quarantine"))
"""


def test_rejected_rows_of_a_source_that_is_gone_count_no_more(
    ws: WorkspaceFiles, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are moved aside with the outputs, and back; a folder that is away says nothing. However many sources reject, all count alike."""
    monkeypatch.setattr("data_engine.status.build._MOST_LOOKS", 1)
    ws.notebook("checked", CHECKED)
    workspace.load_flow("checked").run_once()

    def told() -> tuple[int, list[str | None]]:
        (flow,) = (one for one in workspace.status().flows if one.name == "checked")
        return flow.rejected, [one.source for one in workspace.rejected("checked")]

    (ws.root / "in").rename(ws.root / "away")
    assert told() == (3, ["a.csv", "c.csv", "north/b.csv"])
    (ws.root / "away").rename(ws.root / "in")
    (ws.root / "in" / "c.csv").rename(ws.root / "c.csv")
    assert told() == (2, ["a.csv", "north/b.csv"])

    kept = ws.root / "rejected" / "checked" / "c.csv.parquet"
    assert [Path(one.path) for one in workspace.left_behind("checked")] == [kept]
    assert [path.name for path in workspace.set_aside("checked")] == ["c.csv.parquet"]
    (ws.root / "c.csv").rename(ws.root / "in" / "c.csv")
    assert [one.source for one in workspace.rejected("checked")] == ["a.csv", "north/b.csv"]
    assert workspace.put_back("checked") == [kept]
    assert told() == (3, ["a.csv", "c.csv", "north/b.csv"])


STORE = """
    import polars as pl
    from data_engine import Flow, helpers

    def store(context):
        name = context.source.path.name
        frame = pl.DataFrame({"n": [1, None], "text": ["x", None], "of": [name, name]})
        helpers.replace_rows_by_file(context.database("w.duckdb"), "sales", df=frame, file_hash=name)

    def build():
        return Flow(group="G").watch(mode="poll", source="../data", interval="1s", settle=0).step(store)
"""
HUGE = "alter table sales add column huge hugeint; update sales set huge = 170141183460469231731687303715884105727"
LIST = "alter table sales add column list interval[]; update sales set list = [interval 1 month, null]"


@pytest.fixture
def stored(ws: WorkspaceFiles) -> Workspace:
    """Rows of the files a, b; b is gone."""
    ws.notebook("sales", STORE)
    for name in ("a.csv", "b.csv"):
        ws.source(f"data/{name}", name)
    workspace = Workspace(ws.root)
    workspace.load_flow("sales").run_once()
    sql(workspace, HUGE)
    sql(workspace, LIST)
    (ws.root / "data" / "b.csv").unlink()
    return workspace


def sql(workspace: Client, query: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(workspace.root / "databases" / "w.duckdb")) as conn:
        return conn.execute(query).fetchall()


def files_of_rows(workspace: Client) -> list[Path]:
    return sorted((workspace.root / "databases" / ".data_engine_set_aside").rglob("*.parquet"))


def test_rows_of_a_file_that_is_gone_are_moved_aside_and_back(
    stored: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """Types, nulls and columns are as they were; a folder that is away says nothing."""
    everything = "from sales order by all"
    before, columns = sql(stored, everything), sql(stored, "describe sales")
    (stored.root / "data").rename(stored.root / "away")
    assert stored.left_behind() == []
    (stored.root / "away").rename(stored.root / "data")

    assert [(row.table, row.rows, row.flow) for row in stored.left_behind()] == [("sales", 2, "sales")]
    assert command(["--workspace", str(stored.root), "tidy"]) == 0
    assert "databases/w.duckdb:sales (2 rows)" in capsys.readouterr().out
    assert sql(stored, everything) == before
    assert command(["--workspace", str(stored.root), "tidy", "sales", "--yes"]) == 0
    assert sql(stored, "select distinct file_key from sales") == [("a.csv",)]
    assert len(files_of_rows(stored)) == 1
    assert stored.left_behind() == []

    assert stored.put_back("sales") == [stored.root / "databases" / "w.duckdb"]
    assert (sql(stored, everything), sql(stored, "describe sales")) == (before, columns)
    assert (files_of_rows(stored), stored.put_back()) == ([], [])


def test_rows_that_were_written_since_are_not_touched(stored: Workspace) -> None:
    stored.set_aside()
    (stored.root / "data" / "b.csv").write_text("again")
    stored.load_flow("sales").run_once()
    before = sql(stored, "from sales order by all")

    assert stored.put_back() == []
    assert sql(stored, "from sales order by all") == before
    assert len(files_of_rows(stored)) == 1


def test_rows_that_a_flow_wrote_under_a_former_name_are_its_own(stored: Workspace) -> None:
    """They are listed, moved and put back by its name now."""
    stored.deploy("sales")
    (stored.root / "flow_modules" / "sales.ipynb").rename(stored.root / "flow_modules" / "monthly.ipynb")
    stored.deploy("monthly")

    assert [(row.table, row.flow) for row in stored.left_behind("monthly")] == [("sales", "monthly")]
    assert len(stored.set_aside("monthly")) == 1
    assert len(stored.put_back("monthly")) == 1


def test_a_kill_between_putting_rows_back_and_removing_their_file_doubles_nothing(stored: Workspace) -> None:
    """Nor does it touch what was moved aside before them."""
    before = sql(stored, "from sales order by all")
    stored.set_aside()
    killed = (
        "import os, sys, pathlib; from data_engine import Workspace\n"
        "pathlib.Path.unlink = lambda *args, **more: os._exit(9)\n"
        "Workspace(sys.argv[1]).put_back()"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(stored.root)]).returncode == 9
    assert (sql(stored, "from sales order by all"), len(files_of_rows(stored))) == (before, 1)

    assert stored.put_back() == []
    assert len(stored.set_aside()) == len(stored.put_back()) == 1
    assert sql(stored, "from sales order by all") == before


def test_a_kill_before_the_rows_are_removed_loses_and_doubles_nothing(
    stored: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends there leaves the Parquet file, and the table as it was; so does an error."""
    before = sql(stored, "from sales order by all")
    killed = (
        "import os, sys; from data_engine import Workspace; from data_engine.helpers.duckdb import aside\n"
        "aside.change_count = lambda *args: os._exit(9)\n"
        "Workspace(sys.argv[1]).set_aside()"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(stored.root)]).returncode == 9
    assert (sql(stored, "from sales order by all"), len(files_of_rows(stored))) == (before, 1)
    assert stored.put_back() == []

    assert len(stored.set_aside()) == 1
    assert len(stored.put_back()) == 1
    assert stored.put_back() == []
    assert sql(stored, "from sales order by all") == before


def test_a_database_in_use_is_left_and_its_holder_named(stored: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.readline()"
    line = [sys.executable, "-c", code, str(stored.root / "databases" / "w.duckdb")]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().startswith(b"open")
        assert command(["--workspace", str(stored.root), "tidy", "--yes"]) == 0
        shown = capsys.readouterr()
        assert f"PID {holder.pid}" in " ".join((shown.out + shown.err).split())
        holder.communicate(b"end\n")
    assert files_of_rows(stored) == []
    assert [row.busy for row in stored.left_behind()] == [""]


def test_who_does_not_own_the_workspace_moves_no_rows(stored: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, what: str) -> None:
        raise OwnedElsewhereError(what)

    monkeypatch.setattr("data_engine.lease.status.refuse_owned_elsewhere", refuse)
    for ask in (stored.set_aside, stored.put_back):
        with pytest.raises(OwnedElsewhereError):
            ask()
    assert len(stored.left_behind()) == 1


def test_tidy_takes_a_workspace_by_a_relative_path(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command works in the folder of the modules; the path is as seen from where it was typed."""
    monkeypatch.chdir(ws.root.parent)
    assert command(["--workspace", ws.root.name, "tidy"]) == 0
    assert "No output is left" in capsys.readouterr().out

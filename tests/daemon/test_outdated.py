"""A file that runs read beside their sources has changed: it is said once for the flow, and what is outdated is made again on request."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command
from tests.daemon.stations import Make, shared_workspace
from tests.daemon.support import ended, flow_of
from tests.support import WorkspaceFiles, until

SALES = """
import polars as pl
from data_engine import Flow

def join(context):
    products = pl.read_csv("../ref/products.csv")
    return pl.read_csv(context.source.path).join(products, on="id", how="left")

def write(context):
    target = context.mirror.with_extension(".csv")
    context.current.write_csv(target)
    return target

def build():
    flow = Flow(group="Sales").watch(mode="poll", source="../in", interval="200ms", settle=0, extensions=".csv")
    return flow.mirror(root="../out", staged=True).step(join).step(write)
"""
RIGHT, WRONG = "id,name\n1,nut\n", "id,name\n1,but\n"


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    found = Workspace(ws.root)
    yield found
    found.kill()


@pytest.fixture
def team(tmp_path: Path) -> Path:
    root = shared_workspace(tmp_path / "team", sales=SALES)
    for path, content in {"in/a.csv": "id,n\n1,5\n", "ref/products.csv": WRONG}.items():
        file = root / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    return root


def sales(ws: WorkspaceFiles, count: int = 10) -> Path:
    """Sources of the flow; the file that they are joined with."""
    ws.notebook("sales", SALES)
    for number in range(count):
        ws.source(f"in/{number}.csv", f"id,n\n1,{number}\n")
    return ws.source("ref/products.csv", WRONG)


def changed(workspace: Workspace) -> dict[str, int]:
    return {os.path.basename(path): count for path, count in flow_of(workspace, "sales")["outdated"].items()}


def reasons(workspace: Workspace, subject: str) -> list[str]:
    return [row.reason for row in workspace.explain(subject)]


def correct(reference: Path, content: str) -> None:
    before = reference.stat().st_mtime_ns if reference.exists() else 0
    reference.write_text(content)
    os.utime(reference, ns=(before + 10**9, before + 10**9))


def test_what_was_joined_with_a_file_that_was_corrected_is_told_once_and_made_again(
    workspace: Workspace, ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = sales(ws)
    workspace.start_engine()
    until(lambda: ended(workspace, "sales", 10))
    assert changed(workspace) == {}
    assert reasons(workspace, "products.csv") == ["10 outputs were made with products.csv as it is now"]

    correct(reference, RIGHT)

    until(lambda: changed(workspace))
    assert flow_of(workspace, "sales")["outdated"] == {str(reference): 10}
    told = "products.csv has changed since 10 outputs were made"
    assert reasons(workspace, "sales").count(told) == 1
    command(["--workspace", str(ws.root), "status"])
    assert capsys.readouterr().out.count("products.csv has changed") == 1
    *outputs, last = workspace.explain("products.csv")
    assert sorted(os.path.basename(row.why.output) for row in outputs) == [f"{number}.csv" for number in range(10)]
    assert (last.reason, last.fix) == (
        told,
        "`data-engine backfill sales --reprocess outdated` makes them again",
    )
    assert len(workspace.runs("sales")) == 10  # nothing became due

    assert command(["--workspace", str(ws.root), "backfill", "sales", "--reprocess", "outdated", "--yes"]) == 0

    until(lambda: ended(workspace, "sales", 20))
    assert all("nut" in (ws.root / "out" / f"{number}.csv").read_text() for number in range(10))
    until(lambda: not changed(workspace))
    assert reasons(workspace, "sales").count(told) == 0
    capsys.readouterr()
    assert command(["--workspace", str(ws.root), "backfill", "sales", "--reprocess", "outdated", "--yes"]) == 0
    assert "what its runs read has not changed since" in capsys.readouterr().out


def test_a_file_that_was_only_touched_or_has_its_old_content_again_says_nothing(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    reference = sales(ws, 2)
    workspace.start_engine()
    until(lambda: ended(workspace, "sales", 2))

    correct(reference, WRONG)

    known = "SELECT mtime_ns FROM reference_files"
    until(lambda: workspace.home.ledger().rows(known) == [(reference.stat().st_mtime_ns,)])
    assert changed(workspace) == {}

    correct(reference, RIGHT)
    until(lambda: changed(workspace) == {"products.csv": 2})
    correct(reference, WRONG)
    until(lambda: changed(workspace) == {})


def test_a_file_that_is_gone_is_told_as_gone(workspace: Workspace, ws: WorkspaceFiles) -> None:
    reference = sales(ws, 2)
    workspace.start_engine()
    until(lambda: ended(workspace, "sales", 2))

    reference.unlink()

    until(lambda: changed(workspace))
    assert "products.csv is gone since 2 outputs were made" in reasons(workspace, "sales")

    reference.write_text(WRONG)
    until(lambda: not changed(workspace))


def test_of_a_source_that_is_gone_nothing_is_outdated(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Nobody could make it again, and the words would stay for ever."""
    reference = sales(ws, 3)
    workspace.start_engine()
    until(lambda: ended(workspace, "sales", 3))

    (ws.root / "in" / "0.csv").unlink()
    correct(reference, RIGHT)

    until(lambda: changed(workspace) == {"products.csv": 2})


def test_without_an_engine_a_backfill_and_explain_look_themselves(workspace: Workspace, ws: WorkspaceFiles) -> None:
    reference = sales(ws, 3)
    workspace.start_engine()
    until(lambda: ended(workspace, "sales", 3))
    workspace.stop_engine()
    until(lambda: not workspace.status().engine.on)

    correct(reference, RIGHT)
    assert "products.csv has changed since 3 outputs were made" in reasons(workspace, str(reference))
    assert changed(workspace) == {}, "who asks for one file stores nothing"
    shown = workspace.backfill("sales", reprocess="outdated", dry_run=True)

    assert shown is not None
    assert [run.source for run in shown.planned] == ["0.csv", "1.csv", "2.csv"]
    until(lambda: changed(workspace) == {"products.csv": 3})


def test_another_workstation_is_told_what_the_owner_has_seen(team: Path, station: Make) -> None:
    """It has no look of its own: the file could be nowhere on its machine."""
    reference = team / "ref" / "products.csv"
    owner, observer = station("m1").start(), station("m2")

    def outdated(one: Any) -> dict[str, int]:
        flows = one.command("status")[1]["flows"]
        return next((flow["outdated"] for flow in flows if flow["name"] == "sales"), {})

    until(lambda: (team / "out" / "a.csv").exists())
    correct(reference, RIGHT)
    until(lambda: outdated(owner) == {str(reference): 1})

    observer.start(engine=False)
    until(lambda: outdated(observer) == {str(reference): 1})
    assert "products.csv has changed since 1 output was made" in " ".join(observer.says("status").split())

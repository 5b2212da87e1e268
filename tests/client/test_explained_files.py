"""What `explain`, `runs` and `deploy` say of files that are gone, of batches, and of files with one name in two folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.cli.app import run as command
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow
    def build():
        return Flow(group="G").watch(mode="poll", source="../in", interval="1s", settle=0).step(print)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    ws.notebook("claims", FLOW)
    for name in ("north/may", "south/may", "june"):
        ws.source(f"in/{name}.csv")
    workspace = Workspace(ws.root)
    workspace.load_flow("claims").run_once()
    return workspace


def test_a_file_that_is_gone_is_found_by_its_name(workspace: Workspace) -> None:
    (workspace.root / "in" / "june.csv").unlink()

    (row,) = workspace.explain("june.csv")
    assert (row.why.kind, Path(row.source or "").name) == ("not_there", "june.csv")
    assert {Path(row.source or "").parent.name for row in workspace.explain("may.csv")} == {"north", "south"}
    with pytest.raises(FlowValidationError, match="neither a flow nor a file"):
        workspace.explain("july.csv")


def test_files_of_one_name_are_listed_with_their_folders(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["--workspace", str(workspace.root), "runs"]) == 0
    told = capsys.readouterr().out

    assert "in/north/may.csv" in told
    assert "in/south/may.csv" in told
    assert "in/june.csv" not in told
    assert "june.csv" in told


def test_a_deploy_counts_the_files_that_are_there(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace.root / "in" / "june.csv").unlink()

    assert command(["--workspace", str(workspace.root), "deploy", "claims"]) == 0
    assert "claims: 2 files were done before" in capsys.readouterr().err


def test_what_runs_a_batch_again_names_no_file(ws: WorkspaceFiles) -> None:
    ws.notebook("claims", FLOW.replace("settle=0", 'settle=0, run_as="batch"'))
    ws.source("in/a.csv")
    workspace = Workspace(ws.root)
    workspace.deploy()
    workspace.load_flow("claims").run_once()

    row = next(one for one in workspace.explain("claims") if one.why.kind == "done")
    assert row.fix == "`data-engine run claims` runs it again, for all of its files"

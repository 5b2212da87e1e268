"""What `explain`, `runs` and `deploy` say of files that are gone, of batches, and of files with one name in two folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.cli.app import run as command
from data_engine.status.explain import Explanation
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


@pytest.mark.parametrize("mode", ['"poll", interval="1s", settle=0', '"manual"', '"schedule", time="06:00"'])
def test_a_file_that_was_never_there_is_told_with_those_of_names_like_it(ws: WorkspaceFiles, mode: str) -> None:
    """Whatever starts the flow, deployed or not; none is named where none is like it."""
    ws.notebook("claims", FLOW.replace('"poll"', mode, 1).replace(', interval="1s", settle=0).step', ").step"))
    for name in ("sales 2027-01.csv", "north/Sales 2027-01.csv", "sales 2027-02.csv", "notes.txt"):
        ws.source(f"in/{name}")
    workspace = Workspace(ws.root)
    workspace.deploy()

    (near,) = workspace.explain(ws.root / "in" / "slaes 2027-01.csv")
    (far,) = workspace.explain(ws.root / "in" / "budget.csv")

    assert near.reason.startswith("no such file was seen: did you mean ")
    assert set(near.why["near"]) == {"sales 2027-01.csv", "north/Sales 2027-01.csv"}
    assert Explanation.read(near.as_dict()) == near
    assert (far.reason, "near" in far.why.as_dict()) == ("no such file was seen", False)


def test_a_file_that_ran_by_hand_and_is_gone_is_not_called_one_that_was_never_seen(ws: WorkspaceFiles) -> None:
    """Nobody looks through the folder of such a flow, so that only its runs know of it."""
    ws.notebook("claims", FLOW.replace('"poll"', '"manual"', 1).replace(', interval="1s", settle=0).step', ").step"))
    may = ws.source("in/may.csv")
    workspace = Workspace(ws.root)
    workspace.deploy()
    workspace.load_flow("claims").run_once()
    may.unlink()

    assert [row.why.kind for row in workspace.explain(may)] == ["by_hand"]


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
    assert "claims: 2 files were done before" in capsys.readouterr().out


def test_what_runs_a_batch_again_names_no_file(ws: WorkspaceFiles) -> None:
    ws.notebook("claims", FLOW.replace("settle=0", 'settle=0, run_as="batch"'))
    ws.source("in/a.csv")
    workspace = Workspace(ws.root)
    workspace.deploy()
    workspace.load_flow("claims").run_once()

    row = next(one for one in workspace.explain("claims") if one.why.kind == "done")
    assert str(row.fix).startswith("`data-engine run claims`")


@pytest.mark.parametrize(
    ("name", "way"),
    [("~$june.csv", "nothing: Excel or Word made it beside a file that is open"), ("june.tmp", "give it another name")],
)
def test_of_the_lock_file_of_an_open_file_nothing_is_to_be_done(
    ws: WorkspaceFiles, workspace: Workspace, name: str, way: str
) -> None:
    ws.source(f"in/{name}")

    (row,) = workspace.explain(ws.root / "in" / name)

    assert (row.why.kind, (row.fix or "").startswith(way)) == ("name_filtered", True)

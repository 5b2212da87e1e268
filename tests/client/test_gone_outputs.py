"""`explain` tells which outputs of a good run are gone, and the command that it names makes them again."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command
from data_engine.status import places as gone_outputs
from data_engine.status.places import is_gone
from tests.support import WorkspaceFiles

FLOW = """
    from data_engine import Flow
    def write(context):
        target = context.mirror.with_extension(".txt")
        target.write_text("1")
        return target
    def build():
        return (Flow(group="G").watch(mode="poll", source="../in", interval="1s", settle=0)
                .mirror(root="../out/claims").step(write))
"""
BY_HAND = FLOW.replace('mode="poll", source="../in", interval="1s", settle=0', 'mode="manual"').replace(
    'with_extension(".txt")', 'root_file("all.txt")'
)


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    ws.notebook("claims", FLOW)
    ws.notebook("by_hand", BY_HAND)
    ws.source("in/a.csv")
    ws.source("in/b.csv")
    workspace = Workspace(ws.root)
    workspace.load_flow("claims").run_once()
    workspace.load_flow("by_hand").run_once()
    return workspace


def test_an_output_that_is_gone_is_told_and_made_again(workspace: Workspace) -> None:
    gone = workspace.root / "out" / "claims" / "a.txt"
    source = str(workspace.root / "in" / "a.csv")
    (row,) = workspace.explain(source)
    assert (row.why.kind, row.gone) == ("done", ())

    gone.unlink()
    (row,) = workspace.explain(source)
    assert row.gone == (str(gone),)
    assert row.reason.endswith(f"; its output {gone} is gone")
    assert [one.gone for one in workspace.explain("claims") if one.why.kind == "done"] == [(str(gone),), ()]

    assert row.fix is not None
    program, *words = shlex.split(row.fix.split("`")[1], posix=os.name != "nt")
    assert program == "data-engine"
    assert command(["--workspace", str(workspace.root), *words]) == 0
    assert gone.exists()
    assert workspace.explain(source)[0].gone == ()


def test_a_flow_without_a_folder_tells_what_is_gone_of_its_last_run(workspace: Workspace) -> None:
    gone = workspace.root / "out" / "claims" / "all.txt"
    gone.unlink()
    workspace.deploy("by_hand")

    (row,) = [one for one in workspace.explain("by_hand") if one.why.kind == "by_hand"]
    assert row.gone == (str(gone),)


def test_a_drive_that_is_away_or_hangs_is_no_loss(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(workspace.root / "in" / "a.csv")
    shutil.rmtree(workspace.root / "out")
    assert len(workspace.explain(source)[0].gone) == 1
    assert not is_gone(str(tmp_path / "drive" / "out" / "a.txt"), workspace=str(workspace.root))
    assert is_gone(str(tmp_path / "out" / "a.txt"), workspace=str(workspace.root))

    monkeypatch.setattr(gone_outputs, "LOOK_LIMIT_S", 0.0)
    monkeypatch.setattr(gone_outputs, "is_gone", lambda path, workspace: time.sleep(5))
    assert workspace.explain(source)[0].gone == ()

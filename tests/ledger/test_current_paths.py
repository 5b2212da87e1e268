"""What the history names by where the workspace was is known where it is now."""

from __future__ import annotations

import sys
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from data_engine import Workspace
from data_engine.ledger.outputs import current_path, former_roots
from data_engine.workspace.layout import WorkspaceLayout
from tests.support import WorkspaceFiles

BESIDE = """
    from data_engine import Flow

    def write(context):
        target = context.source.path.with_name(context.source.path.stem + "_checked.csv")
        target.write_text("ok")
        return target

    def build():
        return Flow(group="G").watch(mode="poll", source="../in", interval="1s", extensions=".csv", settle=0).step(write)
"""


@pytest.mark.skipif(
    sys.platform == "win32", reason="these are the paths of a Linux workstation and what it saw of Windows"
)
def test_a_drive_letter_of_another_workstation_tells_where_the_workspace_was() -> None:
    layout = WorkspaceLayout(Path("/mnt/team/closing"))
    was = former_roots([("../in/north", "T:\\closing\\in\\north"), ("../in", "/mnt/old/in"), ("../x", "/y")], layout)

    assert was == (PureWindowsPath("T:\\closing"), PurePosixPath("/mnt/old"))
    assert current_path("T:\\closing\\out\\a b.csv", layout.root, was) == "/mnt/team/closing/out/a b.csv"
    assert current_path("T:\\other\\a.csv", layout.root, was) == "T:\\other\\a.csv"


def test_a_folder_outside_the_workspace_tells_nothing(tmp_path: Path) -> None:
    layout = WorkspaceLayout(tmp_path / "ws")
    outside = [("../../data", str(tmp_path / "data")), (str(tmp_path / "ws" / "in"), str(tmp_path / "old" / "in"))]

    assert former_roots(outside, layout) == ()


def test_what_a_flow_wrote_beside_its_sources_is_none_after_a_move(ws: WorkspaceFiles) -> None:
    ws.notebook("check", BESIDE)
    ws.source("in/a.csv")
    Workspace(ws.root).load_flow("check").run_once()
    moved = Workspace(ws.root.rename(ws.root.parent / "closed"))

    told = {Path(one.source).name: one.why.kind for one in moved.explain("check") if one.source}
    assert told == {"a.csv": "done", "a_checked.csv": "own_output"}

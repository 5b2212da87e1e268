"""`explain` names the run that wrote last, when it was given other params than a run by itself: not one that wrote nothing."""

from __future__ import annotations

import pytest

from data_engine import Workspace
from tests.support import WorkspaceFiles

MONTHLY = """
    from dataclasses import dataclass
    from data_engine import Flow
    @dataclass
    class Settings:
        month: str = "all"
    def write(context):
        if context.params.month in ("all", "2026-03"):
            target = context.mirror.root_file("total.txt")
            target.write_text(context.params.month)
            return target
    def build():
        return Flow(group="G").watch(WATCH).mirror(root="../out").params(Settings).step(write)
"""
SLOTS = 'mode="schedule", time="07:00"'
FILES = 'mode="poll", source="../in", interval="1s", settle=0'


@pytest.mark.parametrize("watch", [SLOTS, FILES])
def test_a_run_that_wrote_nothing_is_not_the_writer(ws: WorkspaceFiles, watch: str) -> None:
    """Nor is one with other params, once a run by itself has written again."""
    ws.notebook("monthly", MONTHLY.replace("WATCH", watch))
    ws.source("in/a.csv")
    workspace = Workspace(ws.root)
    workspace.deploy("monthly")
    flow = workspace.load_flow("monthly")

    def told() -> list[tuple[str | None, str | None]]:
        rows = workspace.explain("monthly")
        return [(row.written_by, row.written_with) for row in rows if row.written_by is not None]

    flow.run_once()
    assert told() == []
    flow.run_once(params={"month": "2026-03"})
    (wrote,) = workspace.runs("monthly", 1)
    flow.run_once(params={"month": "2026-04"})

    assert set(told()) == {(wrote.run_id, "month=2026-03")}
    if watch is SLOTS:
        flow.run_once()
        assert told() == []


def test_a_flow_that_writes_past_its_context_is_told_by_its_newest_run(ws: WorkspaceFiles) -> None:
    past_its_context = MONTHLY.replace("WATCH", SLOTS).replace("            return target\n", "")
    past_its_context = past_its_context.replace("context.mirror.root_file(", "(context.workspace_root / ")
    ws.notebook("monthly", past_its_context)
    workspace = Workspace(ws.root)
    workspace.deploy("monthly")
    flow = workspace.load_flow("monthly")
    flow.run_once(params={"month": "2026-03"})
    flow.run_once(params={"month": "2026-04"})
    (newest,) = workspace.runs("monthly", 1)

    assert {row.written_by for row in workspace.explain("monthly")} == {newest.run_id}


def test_the_run_that_wrote_a_file_is_found_after_a_rename(ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)
    ws.notebook("monthly", MONTHLY.replace("WATCH", SLOTS))
    workspace.deploy("monthly")
    workspace.load_flow("monthly").run_once()
    (ws.modules / "monthly.ipynb").rename(ws.modules / "yearly.ipynb")
    workspace.deploy("yearly", replaces="monthly")

    (row,) = workspace.explain("out/total.txt")

    assert f"was written last by run {workspace.runs()[0].run_id[:8]}" in row.reason

"""A batch whose folder was emptied: nothing shrinks in silence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from data_engine import Workspace
from data_engine.errors import FlowValidationError
from tests.daemon.support import ended, flow_of
from tests.support import WorkspaceFiles, until

TOTAL = """
    from data_engine import Flow

    def count(context):
        return sum(1 for _ in context.source.root.glob("*.csv"))

    def build():
        return Flow(group="T").watch(mode="poll", source="../in", interval="100ms", settle=0, run_as="batch", extensions=".csv"{more}).step(count)
"""
NAMES = [f"{number}.csv" for number in range(10)]


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    found = Workspace(ws.root)
    yield found
    found.kill()


def begin(workspace: Workspace, ws: WorkspaceFiles, more: str = "") -> None:
    ws.notebook("total", TOTAL.replace("{more}", more))
    for name in NAMES:
        ws.source(f"in/{name}", name)
    workspace.start_engine()
    until(lambda: len(ended(workspace, "total", 1)) == 1)


def shrink(ws: WorkspaceFiles) -> None:
    for name in NAMES[1:]:
        (ws.root / "in" / name).unlink()
    ws.source("in/0.csv", "changed since")


def held(workspace: Workspace) -> bool:
    return (flow_of(workspace, "total")["why"] or {}).get("kind") == "feed_shrunk"


def test_a_batch_whose_sources_are_gone_is_held_until_somebody_accepts_it(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    begin(workspace, ws)
    shrink(ws)
    until(lambda: held(workspace))

    row = next(row for row in workspace.explain("total") if "are gone" in row["reason"])
    assert row["reason"].startswith("held: 9 of the 10 sources that its last good run took are gone")
    assert flow_of(workspace, "total")["state"] == "failing"
    with pytest.raises(FlowValidationError, match="stays held: 9 of the 10"):
        workspace.retry("total")
    workspace.stop_engine()
    workspace.start_engine()
    ws.source("in/0.csv", "changed once more")
    until(lambda: held(workspace))
    assert len(workspace.runs("total")) == 1

    assert workspace.retry("total", accept=True) == 1

    assert until(lambda: len(ended(workspace, "total", 2)) == 2)
    assert {run.status for run in workspace.runs("total")} == {"success"}
    ws.source("in/0.csv", "and again, which is now as many as before")
    until(lambda: len(ended(workspace, "total", 3)) == 3)


def test_a_batch_runs_by_itself_when_its_sources_are_back(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws)
    shrink(ws)
    until(lambda: held(workspace))

    for name in NAMES[1:]:
        ws.source(f"in/{name}", name)

    assert until(lambda: len(ended(workspace, "total", 2)) == 2)
    assert {run.status for run in workspace.runs("total")} == {"success"}


def test_a_run_by_hand_is_never_held(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws)
    shrink(ws)
    until(lambda: held(workspace))

    workspace.run("total")

    assert until(lambda: len(ended(workspace, "total", 2)) == 2)
    assert {run.status for run in workspace.runs("total")} == {"success"}
    until(lambda: not held(workspace))


def test_tell_runs_it_and_warns(workspace: Workspace, ws: WorkspaceFiles) -> None:
    begin(workspace, ws, ', shrink="tell"')

    shrink(ws)

    until(
        lambda: any(
            "9 of the 10 sources" in line.message
            for run in workspace.runs("total")
            for line in workspace.log(run.run_id)
        )
    )


SLOTS = """
    from data_engine import Flow

    def build():
        return Flow(group="T").watch(
            mode="schedule", source="../in", interval="200ms", run_as="batch", extensions=".csv"
        ).step(lambda context: 1)
"""


def test_a_slot_that_finds_none_of_its_sources_is_held(workspace: Workspace, ws: WorkspaceFiles) -> None:
    ws.notebook("total", SLOTS)
    ws.source("in/a.csv")
    ws.source("in/keep.txt")
    workspace.start_engine()
    until(lambda: ended(workspace, "total", 1))

    (ws.root / "in" / "a.csv").unlink()
    until(lambda: held(workspace))
    count = len(workspace.runs("total"))
    ws.source("in/a.csv")

    assert until(lambda: len(workspace.runs("total")) > count)


ONE = """
    from data_engine import Flow

    def build():
        return Flow(group="T").watch(mode="poll", source="../in", interval="100ms", settle=0).step(lambda context: 1)
"""


def test_a_source_with_the_bytes_of_another_one_runs_and_its_log_says_so(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    settings = ws.root / "config" / "data_engine.toml"
    before = settings.read_text(encoding="utf-8") if settings.exists() else ""
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f'freshness = "content"\n{before}', encoding="utf-8")
    ws.notebook("one", ONE)
    ws.source("in/a.csv", "x\n1\n")
    ws.source("in/empty.csv", "")
    workspace.start_engine()
    until(lambda: len(ended(workspace, "one", 2)) == 2)

    ws.source("in/b.csv", "x\n1\n")
    ws.source("in/empty_too.csv", "")
    until(lambda: len(ended(workspace, "one", 4)) == 4)

    lines = [line.message for run in workspace.runs("one") for line in workspace.log(run.run_id)]
    assert [line for line in lines if "same bytes" in line] == [
        "b.csv has the same bytes as a.csv, which is done: both count"
    ]

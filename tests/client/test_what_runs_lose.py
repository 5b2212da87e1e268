"""What a run is warned of that loses data without failing: files that nobody collects, and sources that are gone at its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.ledger.warned import warnings_of
from tests.support import WorkspaceFiles

BATCH = """
    from pathlib import Path
    from data_engine import Flow
    def all_of_them(context):
        return [Path(one).read_text() for one in context.current]
    def build():
        return (Flow(group="G").watch(mode="poll", source="../inbox", interval="1s", settle=0, run_as="batch")
                .collect(".csv").step(all_of_them))
"""
ONE = """
    from data_engine import Flow
    def write(context):
        target = context.mirror.file("all.txt")
        target.write_text(context.source.path.read_text())
        return target
    def build():
        return (Flow(group="G").watch(mode="poll", source="../inbox", interval="1s", settle=0)
                .mirror(root="../out", staged=True).step(write))
"""


def warnings(ws: Workspace, flow: str) -> list[list[str]]:
    """What each run of the flow has warned of, the oldest first."""
    runs = list(reversed(ws.runs(flow)))
    said = [[line.message for line in ws.log(run.run_id) if line.level == "WARNING"] for run in runs]
    counted = warnings_of(ws.home.ledger(), [run.run_id for run in runs])
    assert [counted.get(run.run_id, 0) for run in runs] == [len(each) for each in said]
    return said


def test_a_batch_tells_what_it_does_not_collect_and_did_not_read_it(ws: WorkspaceFiles) -> None:
    ws.notebook("all", BATCH)
    ws.source("inbox/x.csv", "1")
    ws.source("inbox/sub/y.csv", "2")
    workspace = Workspace(ws.root)
    workspace.load_flow("all").run_once()

    (run,) = workspace.runs("all")
    assert [Path(one.path).name for one in run.inputs] == ["x.csv"]
    assert warnings(workspace, "all") == [
        [
            "1 of 2 watched files was not collected, and counts as done all the same: sub/y.csv; "
            "collect(..., recursive=True) takes subfolders"
        ]
    ]


@pytest.mark.parametrize(
    ("written", "by"),
    [
        ('.collect(".csv")', '.collect(".csv", recursive=True)'),
        ('.collect(".csv").step(all_of_them)', ".step(print)"),
        (
            "Path(one).read_text() for one in context.current",
            'one.read_text() for one in context.source.root.rglob("*.csv")',
        ),
    ],
)
def test_a_batch_that_takes_all_is_warned_of_nothing(ws: WorkspaceFiles, written: str, by: str) -> None:
    ws.notebook("all", BATCH.replace(written, by))
    ws.source("inbox/x.csv", "1")
    ws.source("inbox/sub/y.csv", "2")
    workspace = Workspace(ws.root)
    workspace.load_flow("all").run_once()

    (run,) = workspace.runs("all")
    assert {Path(one.path).name for one in run.inputs} == {"x.csv", "y.csv"}
    assert warnings(workspace, "all") == [[]]


def test_a_file_that_is_away_at_the_end_of_its_run_is_not_said_to_be_due(ws: WorkspaceFiles) -> None:
    """Moved back as it was it counts as done, as the log says."""
    lines = "context.source.path.rename(context.source.root.parent / 'a.csv')"
    ws.notebook("one", ONE.replace("return target", f"{lines}\n        return target"))
    source = ws.source("inbox/a.csv", "1")
    workspace = Workspace(ws.root)
    workspace.load_flow("one").run_once()

    ((said,),) = warnings(workspace, "one")
    assert said.startswith(f"{source} was gone when the run ended: it counts as done")
    (ws.root / "a.csv").rename(source)
    assert [row.why.kind for row in workspace.explain(str(source))] == ["done"]

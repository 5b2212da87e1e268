"""Rows and durations over the runs of a flow: which runs are alike, what is marked, and how it is shown."""

from __future__ import annotations

from xml.etree import ElementTree

from data_engine import Workspace
from data_engine.engine.trends import SHOWN
from data_engine.model import FileFacts, RunAbout, RunSpent
from data_engine.shown import bundle_of
from jupyter_extension.actions import answer
from jupyter_extension.trends import trend_picture
from tests.ledger.events import begin, end, finish, start
from tests.support import WorkspaceFiles

DAY_S = 86_400.0


def ran(workspace: Workspace, number: int, rows: int, *, params: str | None = None, status: str = "success") -> str:
    """A run of `claims` on day `number` that made and wrote so many rows, in two seconds."""
    run_id = f"{number:08x}"
    at_s = 1_700_000_000 + number * DAY_S / 100
    wrote = FileFacts("/out/clean.parquet", 10, 0, rows)
    own = FileFacts(f"/out/days/{number}.parquet", 10, 0, rows // 2)
    workspace.home.ledger().record(
        start(run_id, at=at_s)._replace(about=RunAbout(params=params)),
        begin(run_id, at=at_s),
        end(run_id, at=at_s + 2, rows_out=rows, elapsed_s=2.0),
        finish(run_id, status, at_s + 2, elapsed_s=2.0, spent=RunSpent(outputs=(wrote, own))),
    )
    return run_id


def test_a_third_of_the_rows_is_marked_at_the_run_that_had_it(ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)
    for number in range(150):
        ran(workspace, number, 1000 + number % 5)
    odd = ran(workspace, 150, 333)
    workspace.home.ledger().flush()

    found = workspace.trends("claims")
    assert [(one.name, one.kind) for one in found.trends] == [
        ("/out/clean.parquet", "rows"),
        ("/out/days", "rows"),
        ("Step 0", "rows"),
        ("", "duration"),
        ("Step 0", "duration"),
    ]
    rows = found.trends[2]
    assert len(rows.points) == SHOWN
    assert [point.run_id for point in rows.points if point.is_unusual] == [odd]
    assert not any(point.is_unusual for one in found.trends if one.kind == "duration" for point in one.points)
    shown = bundle_of(found) or {}
    assert "333 rows, unusual" in shown["text/plain"]
    assert "<svg" in shown["text/html"]

    view = answer(str(ws.root), "trends", {"flow": "claims"})["result"]
    assert view["said"] == "151 good runs"
    assert [row["name"] for row in view["rows"]][:2] == ["clean.parquet: rows", "days: rows"]
    assert view["rows"][2]["unusual"][0][0] == odd
    assert view["rows"][2]["mark"]["word"] == "unusual"


def test_only_good_runs_that_were_given_the_same_are_alike(ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)
    for number in range(60):
        ran(workspace, number, 1000, params='{"month": "2013-01"}')
    ran(workspace, 60, 5, params='{"month": "2013-02"}')
    ran(workspace, 61, 7, status="failed")
    workspace.home.ledger().flush()

    found = workspace.trends("claims")
    assert found.runs == 60
    assert found.params == {"month": "2013-01"}
    assert {point.value for one in found.trends if one.kind == "rows" for point in one.points} == {1000, 500}


def test_few_runs_are_drawn_and_none_is_marked(ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)
    assert workspace.trends("claims").trends == ()
    for number, rows in enumerate((1000, 1000, 1)):
        ran(workspace, number, rows)
    workspace.home.ledger().flush()

    found = workspace.trends("claims")
    assert [len(one.points) for one in found.trends] == [3] * 5
    assert all(one.low is None for one in found.trends)
    assert "3 good runs; from 50 on, what is unusual is marked" in (bundle_of(found) or {})["text/plain"]
    for one in found.trends:
        ElementTree.fromstring(trend_picture(one))

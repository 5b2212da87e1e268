"""Rows and durations over the runs of a flow: which runs are alike, and how it is shown."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from data_engine import Workspace
from data_engine.display_hook import bundle_of
from data_engine.errors import FlowValidationError
from data_engine.model import FileFacts, RunAbout, RunSpent
from data_engine.status.run_comparison import SHOWN, Trend, TrendPoint, Trends
from data_engine.view.trends import trend_picture, trends_view
from jupyter_extension.actions import answer
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


def test_rows_and_durations_are_followed_over_the_newest_runs(ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)
    for number in range(150):
        ran(workspace, number, 1000 + number % 5)
    ran(workspace, 150, 333)
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
    assert [point.value for point in rows.points[-2:]] == [1004, 333]
    shown = bundle_of(found) or {}
    assert "last run: 333 rows" in shown["text/plain"]
    assert "<svg" in shown["text/html"]

    view = answer(str(ws.root), "trends", {"flow": "claims"})["result"]
    assert view["said"] == "151 good runs"
    assert [row["name"] for row in view["rows"]][:2] == ["clean.parquet: rows", "days: rows"]
    assert view["rows"][2]["words"] == "last run: 333 rows · lowest 333 rows · highest 1,004 rows"


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


def test_few_runs_are_drawn(ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)
    for number, rows in enumerate((1000, 1000, 1)):
        ran(workspace, number, rows)
    workspace.home.ledger().flush()

    found = workspace.trends("claims")
    assert [len(one.points) for one in found.trends] == [3] * 5
    assert "3 good runs" in (bundle_of(found) or {})["text/plain"]
    for one in found.trends:
        ElementTree.fromstring(trend_picture(one))


def test_two_steps_of_one_label_are_two_trends(ws: WorkspaceFiles) -> None:
    """Their values are not mixed, here or between two runs."""
    workspace = Workspace(ws.root)
    for number in range(3):
        run_id, at_s = f"{number:08x}", 1_700_000_000.0 + number
        workspace.home.ledger().record(
            start(run_id, at=at_s),
            begin(run_id, 0, at=at_s)._replace(label="Clean"),
            end(run_id, 0, at=at_s, label="Clean", rows_out=1000),
            begin(run_id, 1, at=at_s)._replace(label="Clean"),
            end(run_id, 1, at=at_s, label="Clean", rows_out=10 + number),
            finish(run_id, "success", at_s + 2, elapsed_s=2.0),
        )
    workspace.home.ledger().flush()

    found = {
        one.name: [point.value for point in one.points]
        for one in workspace.trends("claims").trends
        if one.kind == "rows"
    }
    rows = workspace.compare(f"{0:08x}", f"{2:08x}").rows

    assert (found["Clean"], found["Clean (2)"]) == ([1000, 1000, 1000], [10, 11, 12])
    assert [(one.name, one.before, one.after) for one in rows] == [("Clean (2) out", 10, 12)]


def test_names_that_end_alike_are_told_apart_and_labels_stay_whole() -> None:
    """A file is called by as much of its path as it takes; a step by its label, also one with a slash."""
    points = (TrendPoint("3f", "2026-01-05T06:30:00+00:00", 1.0),) * 2
    names = ("/out/2013/sum.parquet", "/out/2014/sum.parquet", r"C:\out\days.parquet")
    trends = [Trend(name, "rows", points, of="output") for name in names]
    found = trends_view(Trends("claims", 2, trends=(*trends, Trend("Read CSV/XLSX", "rows", points))))

    assert [row.name for row in found.rows] == [
        "2013/sum.parquet: rows",
        "2014/sum.parquet: rows",
        "days.parquet: rows",
        "Read CSV/XLSX: rows",
    ]


def test_the_first_files_of_many_are_not_taken_for_all(ws: WorkspaceFiles) -> None:
    """Of a run that wrote more files than are named nobody knows how many rows its folder got."""

    workspace = Workspace(ws.root)
    for number, more in enumerate((0, 0, 0, 7)):
        run_id, at_s = f"{number:08x}", 1_700_000_000.0 + number
        day = FileFacts(f"/out/days/{number}.parquet", 10, 0, 500)
        spent = RunSpent(outputs=(day, FileFacts("/out/all.parquet", 10, 0, 900)), more_outputs=more)
        workspace.home.ledger().record(start(run_id, at=at_s), finish(run_id, "success", at_s + 2, spent=spent))
    workspace.home.ledger().flush()

    found = [one for one in workspace.trends("claims").trends if one.of == "output"]

    assert {one.name: len(one.points) for one in found} == {"/out/days": 3, "/out/all.parquet": 4}


def test_a_flow_that_nobody_knows_is_an_error(ws: WorkspaceFiles) -> None:
    """It names the nearest; a module without runs has no trends yet."""
    ws.module("claims", "from data_engine import Flow\ndef build(): return Flow('G').step(str)")
    workspace = Workspace(ws.root)

    with pytest.raises(FlowValidationError, match="clams") as raised:
        workspace.trends("clams")

    assert raised.value.fix == "did you mean claims?"
    assert workspace.trends("claims").trends == ()

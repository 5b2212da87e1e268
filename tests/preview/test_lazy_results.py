"""A LazyFrame that a step gives is shown by its first rows, fails where its step stands, and a run that computes nothing of it says so."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data_engine import Workspace
from data_engine.engine.memo.caption import caption
from data_engine.engine.preview import last_report
from data_engine.engine.result_display import rows_shown
from data_engine.errors import FlowExecutionError
from tests.support import WorkspaceFiles

FLOW = """
import polars as pl
from data_engine import Flow


def read(context):
    return pl.LazyFrame({"city": ["Oslo", "Rome"], "amount": [1, 2]})


def clean(context):
    return context.current.BODY


def build():
    return Flow(group="G").step(read, save_as="raw").step(clean, save_as="clean")
"""
NEVER = "the last step, clean, gives a LazyFrame, of which nothing is computed before it is collected"
COMPUTED = (
    'filter(pl.col("amount") > 1).collect()',
    'filter(pl.col("amount") > 1).collect().lazy()',
    'pipe(lambda frame: (frame.sink_parquet("a.parquet"), frame)[1])',
)


def flow(ws: WorkspaceFiles, body: str) -> Path:
    return ws.notebook("claims", FLOW.replace("BODY", body))


def warnings(ws: WorkspaceFiles) -> list[str]:
    workspace = Workspace(ws.root)
    workspace.load_flow("claims").run_once()
    (run,) = workspace.runs("claims")
    assert run.status == "success"
    return [line.message for line in workspace.log(run.run_id) if line.level == "WARNING"]


@pytest.mark.parametrize("use", ["clean", None])
def test_a_query_that_names_no_column_fails_at_its_step(ws: WorkspaceFiles, use: str | None) -> None:
    """Without running it; the fix is that of every table."""
    flow(ws, 'filter(pl.col("amuont") > 1)')
    with pytest.raises(FlowExecutionError) as caught:
        Workspace(ws.root).load_flow("claims").preview(use=use)

    assert str(caught.value.cell) == "claims.ipynb, cell 1, line 9"
    assert caught.value.step_label == "Clean"
    assert caught.value.fix == 'did you mean "amount"?'
    assert "when the LazyFrame that it gives is computed" in caught.value.detail
    assert "Resolved plan" not in caught.value.detail
    assert caught.value.places == ({"notebook": "claims.ipynb", "cell": 1, "line": 9},)


def test_the_object_before_it_is_shown_all_the_same(ws: WorkspaceFiles) -> None:
    flow(ws, 'filter(pl.col("amuont") > 1)')

    assert Workspace(ws.root).load_flow("claims").preview(use="raw").collect().height == 2


def test_a_run_warns_of_a_query_that_nobody_computes(ws: WorkspaceFiles) -> None:
    """Its preview says so, too; that of a step before it does not."""
    flow(ws, 'filter(pl.col("amount") > 1)')
    loaded = Workspace(ws.root).load_flow("claims")

    assert [said.startswith(NEVER) for said in warnings(ws)] == [True]
    for use, is_told in (("clean", True), ("raw", False)):
        loaded.preview(use=use)
        report = last_report()
        assert report is not None
        assert (NEVER in caption(report)) is is_told


@pytest.mark.parametrize("body", COMPUTED)
def test_a_query_that_its_step_computes_is_no_warning(
    ws: WorkspaceFiles, body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Collected, made lazy again, or written and handed on."""
    monkeypatch.chdir(tmp_path)
    flow(ws, body)

    assert warnings(ws) == []


def test_the_first_rows_stand_for_the_plan() -> None:
    """No more of them; a query that fails shows its plan, and other values are as they are."""
    frame = pl.LazyFrame({"a": range(30)})
    fails = frame.select(pl.col("a").cast(pl.String).str.to_date("%d"))

    assert rows_shown(frame).rows.height == 10
    assert "LazyFrame, its first 10 rows at most" in repr(rows_shown(frame))
    assert rows_shown(fails) is fails
    assert rows_shown("a") == "a"


def test_a_cell_shows_the_rows_of_a_lazy_frame(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what it previewed; a LazyFrame of its own shows its plan, as ever."""
    import nbformat
    from nbclient import NotebookClient

    path = flow(ws, 'filter(pl.col("amount") > 1)')
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    notebook = nbformat.read(path, as_version=4)
    sources = ('build().preview(use="clean")', 'kept = build().preview(use="clean")', "kept")
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in sources]
    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=120, resources=resources, kernel_name="python3").execute()

    shown, _, kept = (
        next((one["data"] for one in cell.outputs if one.output_type == "execute_result"), {})
        for cell in notebook.cells[-3:]
    )
    assert "naive plan" not in str(shown).lower()
    assert "Rome" in shown["text/html"]
    assert "Oslo" not in shown["text/html"]
    assert "Rome" in shown["text/plain"]
    assert "naive" in str(kept).lower()


def test_the_plan_of_a_query_that_panics_shows_itself() -> None:
    """A panic of Polars is no `Exception`."""

    def panic(frame: pl.DataFrame) -> pl.DataFrame:
        raise pl.exceptions.PanicException("gave up")

    query = pl.LazyFrame({"a": [1]}).map_batches(panic)

    assert rows_shown(query) is query

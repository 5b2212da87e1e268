"""A report in a workspace: an output like any other, in the record of its run, and the same when nothing has changed."""

from __future__ import annotations

import json
import re

import pytest

from data_engine import Workspace, load_flow
from data_engine.model import Run
from data_engine.view.runs import run_card
from data_engine.view.text import text
from jupyter_extension.html import html
from tests.support import WorkspaceFiles

FLOW = """
    import polars as pl
    from data_engine import Flow

    def read(context):
        return pl.read_csv(context.source.path)

    def fail(context):
        if context.objects["df"].height > 3:
            raise ValueError("too many")

    def build():
        return (
            Flow(group="G").watch(mode="manual", source="../in", extensions="csv").mirror(root="../out", staged=True)
            .step(read, save_as="df").report("df", title="Delays").step(fail)
        )
"""


@pytest.fixture
def delays(ws: WorkspaceFiles) -> Workspace:
    ws.source("in/may.csv", "a\n1\n2\n")
    ws.module("delays", FLOW)
    return Workspace(ws.root)


def run(ws: Workspace) -> Run:
    load_flow("delays", data_root=ws.root).run_once(on_error="continue")
    return ws.runs("delays")[0]


def test_a_page_is_an_output_of_its_run_and_its_step(delays: Workspace) -> None:
    """In the record, the log's card and JSON, and the lineage."""
    page = delays.root / "out" / "may.html"

    found = run(delays)

    assert "<h1>Delays</h1>" in page.read_text()
    assert [file.path for file in found.outputs] == [str(page)]
    assert [(report.path, report.text) for report in found.reports] == [(str(page), "Delays")]
    assert delays.steps(found.run_id)[1].output_path == str(page)
    assert str(page) in text(run_card(found, (), ()))
    assert re.search('<a class="de-code" href="[^"]+/may.html">', html(run_card(found, (), ())))
    assert json.loads(json.dumps(found.as_dict()))["reports"][0]["path"] == str(page)
    assert str(page) in [node.path for node in delays.lineage(str(page)).nodes]


def test_the_same_source_gives_the_same_page(delays: Workspace) -> None:
    """By the digest that the record holds."""
    first, second = run(delays), run(delays)
    (delays.root / "in" / "may.csv").write_text("a\n3\n")
    third = run(delays)

    assert first.reports == second.reports != third.reports


def test_a_run_that_fails_leaves_the_page_as_it_was(delays: Workspace) -> None:
    """As all outputs of a staged mirror; and its record names none."""
    run(delays)
    before = (delays.root / "out" / "may.html").read_bytes()
    (delays.root / "in" / "may.csv").write_text("a\n1\n2\n3\n4\n")

    failed = run(delays)

    assert (failed.status, failed.reports) == ("failed", ())
    assert (delays.root / "out" / "may.html").read_bytes() == before


def test_a_preview_writes_no_page_where_production_has_it(
    delays: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """And is made anew each time, though its steps are reused."""
    flow = load_flow("delays", data_root=delays.root)
    for _ in range(2):
        flow.preview()

    assert not (delays.root / "out").exists()
    assert capsys.readouterr().err.count("wrote may.html (scratch)") == 2


def test_a_figure_that_cannot_be_shown_is_named_in_the_log(ws: WorkspaceFiles) -> None:
    """As a warning, with what to install."""
    ws.module(
        "drawn",
        """
        from data_engine import Flow

        class Figure:
            __module__ = "plotly.graph_objs"

            def to_image(self, format):
                raise ValueError("no kaleido")

        def build():
            return Flow(group="G").mirror(root="../out").step(lambda context: Figure(), save_as="chart").report("chart")
        """,
    )
    load_flow("drawn", data_root=ws.root).run_once()

    workspace = Workspace(ws.root)
    (line,) = [line for line in workspace.log(workspace.runs("drawn")[0].run_id) if line.level == "WARNING"]
    assert "pip install kaleido" in line.message
    assert "pip install kaleido" in (ws.root / "out" / "drawn.html").read_text()

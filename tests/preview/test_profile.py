"""`Flow.profile`, and the fold with the profile below the preview of a frame."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any

import polars as pl
import pytest

from data_engine import Flow, FlowExecutionError, FlowValidationError
from jupyter_extension.fold import PROFILE_MIME, ProfileFold, fold
from tests.jupyter.conftest import Shell, shell  # noqa: F401
from tests.support import WorkspaceFiles

FLOW = """
    import polars as pl
    from data_engine import Flow

    def read(context):
        return pl.DataFrame({"city": ["Bonn", "Bonn", None], "size": [1, 2, 6]})

    def lazy(context):
        return context.objects["raw_df"].lazy().select(pl.col("city").str.to_date("%d"))

    def build():
        return Flow(group="G").step(read, save_as="raw_df").step(lazy, save_as="days").step(lambda context: 3)
"""


def built() -> Flow:
    names: dict[str, Any] = {}
    exec(dedent(FLOW), names)
    flow: Flow = names["build"]()
    return flow


def test_it_is_the_profile_of_the_object_that_is_named() -> None:
    city, size = built().profile("raw_df").shown

    assert (city.name, city.nulls, city.distinct, size.mean) == ("city", 1, 1, 3.0)


def test_what_is_no_frame_and_what_fails_is_told() -> None:
    """A lazy frame fails when it is computed, and its step is named."""
    flow = built()

    with pytest.raises(FlowValidationError, match="the last result is int, and a profile is made of a frame"):
        flow.profile()
    with pytest.raises(FlowValidationError, match="saves an object 'raw'"):
        flow.profile("raw")
    with pytest.raises(FlowExecutionError) as caught:
        flow.profile("days")
    assert (caught.value.step_label, caught.value.function_name) == ("Lazy", "lazy")


def test_in_a_cell_the_object_is_named(shell: Shell) -> None:  # noqa: F811
    """Its names are offered, and the answer is the profile."""
    shell.run(dedent(FLOW))

    found = shell.run("%flow profile raw_df")

    assert found is not None, shell.out
    assert (found.rows, found.columns) == (3, 2)
    assert "'Bonn' (2)" in shell.out
    assert "raw_df" in shell.complete("%flow profile ")
    shell.run("%flow profile raw_df days")
    assert "takes only one object" in str(shell.error)


def test_the_fold_computes_nothing_before_it_is_opened() -> None:
    """And once, whatever opens it again; what fails then is told in it."""
    asked: list[int] = []

    def count(frame: pl.DataFrame) -> pl.DataFrame:
        asked.append(frame.height)
        return frame

    lazy = pl.LazyFrame({"a": [1, 2]}).map_batches(count, schema={"a": pl.Int64})
    closed = ProfileFold(lazy)
    assert asked == []

    for at in (0, None, 0):
        closed.selected_index = at

    assert len(asked) == 1
    assert "de-profile" in closed.content.value
    fails = pl.LazyFrame({"a": ["x"]}).select(pl.col("a").cast(pl.Int64))
    broken = ProfileFold(fails)
    broken.selected_index = 0
    assert "InvalidOperationError" in broken.content.value


def test_a_saved_notebook_keeps_nothing_of_it() -> None:
    """No value of the frame, and no widget that is missing when the notebook is opened again."""
    kept = fold(pl.DataFrame({"name": ["Anna Secret"]}))

    assert "Secret" not in str(kept)
    assert {PROFILE_MIME, "application/vnd.jupyter.widget-view+json"} <= set(kept)


def test_a_kernel_shows_it_below_a_frame_that_its_cell_shows(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not below what is no frame, or is not shown."""
    import nbformat
    from nbclient import NotebookClient

    path = ws.notebook("claims", dedent(FLOW))
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    sources = ('build().preview(use="raw_df")', 'kept = build().preview(use="raw_df")', "kept", "build().preview()")
    notebook.cells += [nbformat.v4.new_code_cell(source) for source in sources]  # type: ignore[no-untyped-call]
    resources = {"metadata": {"path": str(Path(path).parent)}}
    NotebookClient(notebook, timeout=120, resources=resources, kernel_name="python3").execute()

    outputs = [[list(one.get("data", {})) for one in cell.outputs] for cell in notebook.cells[-4:]]
    assert ["text/html" in outputs[0][0], PROFILE_MIME in outputs[0][1], PROFILE_MIME in outputs[0][2]] == [
        True,
        True,
        False,
    ]
    assert not any(PROFILE_MIME in mimes for cell in outputs[1:] for mimes in cell)

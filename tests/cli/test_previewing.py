"""`preview`: the object, as it prints itself or as JSON, and no trace in the history."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

FRAMES = """
    import datetime
    import polars as pl
    from data_engine import Flow

    def read(context):
        print("reading", context.source.path.name)
        return pl.DataFrame({
            "file": [context.source.path.name] * 30,
            "day": [datetime.date(2013, 1, 5)] * 30,
            "mean": [float("nan")] + [1.5] * 29,
        })

    def lazy(context):
        return context.current.lazy().select("file")

    def facts(context):
        return {"minutes": context.params.get("minutes"), "files": ["a", "b"]}

    def fail(context):
        raise KeyError("amount")

    def build():
        return (
            Flow(group="G").watch(mode="manual", source="../in")
            .step(read, save_as="frame").step(lazy, save_as="lazy").step(facts, save_as="facts").step(fail)
        )
"""


@pytest.fixture(autouse=True)
def inside(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.notebook("frames", FRAMES)
    ws.source("in/a.csv")
    ws.source("in/b.csv")
    monkeypatch.chdir(ws.root / "in")


def test_a_frame_prints_itself_for_the_first_source(cli: Cli) -> None:
    answer = cli("preview", "frames", "--use", "frame")

    assert answer.code == 0
    assert "shape: (30, 3)" in answer.out
    assert "a.csv" in answer.out


def test_json_of_a_frame_has_its_first_rows_and_its_height(cli: Cli) -> None:
    """Dates are ISO texts, what is not finite is null, and what steps print does not get in between."""
    answer = cli("preview", "frames", "--use", "frame", "--source", "b.csv", "--json")

    assert answer.code == 0
    assert answer.json == {
        "columns": ["file", "day", "mean"],
        "rows": [["b.csv", "2013-01-05", None]] + [["b.csv", "2013-01-05", 1.5]] * 19,
        "height": 30,
    }
    assert "reading b.csv" in answer.err


def test_a_lazy_frame_shows_its_first_rows(cli: Cli) -> None:
    """Its height is not known, and nobody counts it."""
    assert "shape: (20, 1)" in cli("preview", "frames", "--use", "lazy").out
    assert cli("preview", "frames", "--use", "lazy", "--json").json == {
        "columns": ["file"],
        "rows": [["a.csv"]] * 20,
        "height": None,
    }


def test_a_lazy_frame_whose_query_fails_names_its_cell(cli: Cli, ws: WorkspaceFiles) -> None:
    """Also where only its rows tell."""
    ws.notebook("late", FRAMES.replace('select("file")', 'select(pl.col("file").str.to_date("%d"))'))
    answer = cli("preview", "late", "--use", "lazy")

    assert answer.code == 1
    assert "late.ipynb, cell 1, line 13: def lazy(context):" in answer.err
    assert "when the LazyFrame that it gives is computed" in answer.err
    assert "unexpected" not in answer.err


def test_anything_else_is_its_value(cli: Cli) -> None:
    facts = {"minutes": 15, "files": ["a", "b"]}

    assert cli("preview", "frames", "--use", "facts", "--param", "minutes=15").out.endswith(f"{facts}\n")
    answer = cli("preview", "frames", "--use", "facts", "--param", "minutes=15", "--json")
    assert answer.json == {"type": "dict", "value": facts}


def test_a_step_that_raises_fails_with_its_cell_and_leaves_no_run(cli: Cli) -> None:
    answer = cli("preview", "frames")

    assert answer.code == 1
    assert 'frames.ipynb, cell 1, line 20: raise KeyError("amount")' in answer.err
    assert cli("runs", "--json").json == []


def test_a_folder_without_files_fails(cli: Cli, ws: WorkspaceFiles) -> None:
    """The request was right; there is nothing to look at yet."""
    for path in (ws.root / "in").iterdir():
        path.unlink()

    answer = cli("preview", "frames")

    assert answer.code == 1
    assert "there is no file to preview" in answer.err


def test_a_module_that_does_not_compile_fails(cli: Cli, ws: WorkspaceFiles) -> None:
    ws.notebook("forgot", "def build():\n    return rate")

    answer = cli("preview", "forgot")

    assert answer.code == 1
    assert "forgot.ipynb, cell 1, line 2" in answer.err

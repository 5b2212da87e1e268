"""A step that takes what it is given for something else is told what it was given, and what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine import Flow
from data_engine.errors import FlowExecutionError
from data_engine.flow.locations import SourceContext
from tests.flow.running import run


def fix_of(flow: Flow, **context: Any) -> str:
    with pytest.raises(FlowExecutionError) as caught:
        run(flow, **context)
    return caught.value.fix or ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("day\n1\n")
    return tmp_path


def read(context: Any) -> Any:
    return context.current.path


@pytest.mark.parametrize("fn", [read, lambda context: context.source.path.read_text()])
def test_a_map_that_takes_its_file_for_the_context_is_told_both_forms(folder: Path, fn: Callable[[Any], Any]) -> None:
    """Every other step has the context there."""
    fix = fix_of(Flow("G").collect(".csv", root=folder).map(fn))

    assert "the item itself, here a FileRef, and not the context: write def " in fix
    assert "(file) and file.path; def " in fix
    assert "(context, file) gets both" in fix
    assert "did you mean" not in fix


def test_of_other_items_nothing_is_said_of_paths() -> None:
    """An item may be anything."""
    fix = fix_of(Flow("G").step(lambda context: [1]).map(read))

    assert "here an int, and not the context: write def read(item); def read(context, item) gets both" in fix


@pytest.mark.parametrize(
    "fn",
    [lambda file: file.nam, lambda context, file: file.current, lambda file: None.current],  # type: ignore[attr-defined]
)
def test_of_other_attributes_a_map_is_not_told_of_the_context(folder: Path, fn: Callable[..., Any]) -> None:
    """Where the function takes both, or the context has no such name, or another object was asked."""
    assert "and not the context" not in fix_of(Flow("G").collect(".csv", root=folder).map(fn))


def test_a_preview_says_what_a_run_says(folder: Path) -> None:
    """There every function is watched."""
    one, both = (Flow("G").collect(".csv", root=folder).map(fn) for fn in (read, lambda context, file: file.current))
    for flow, is_told in ((one, True), (both, False)):
        with pytest.raises(FlowExecutionError) as caught:
            flow.preview()
        assert ("gets both" in str(caught.value.fix)) is is_told


@pytest.mark.parametrize("fn", [pl.read_csv, lambda file: pl.scan_csv(file).collect()])
def test_polars_is_given_the_path_of_a_file(folder: Path, fn: Callable[[Any], Any]) -> None:
    """It takes texts and paths, and no other path-like objects; the fix reads the file."""
    found = Flow("G").collect(".csv", root=folder)

    assert "file.path" in fix_of(found.map(fn))
    assert run(found.map(lambda file: fn(file.path))).current[0].height == 1


@pytest.mark.parametrize(
    "fn",
    [
        lambda context: pl.read_csv(context.source.path),
        lambda context: pl.read_parquet(context.source.path),
        lambda context: open(context.source.path),  # noqa: SIM115 - there is no such file
        lambda context: context.source.path.read_text(),
    ],
)
def test_a_step_of_a_batch_that_asks_for_its_file_is_told_of_collect(folder: Path, fn: Callable[[Any], Any]) -> None:
    """Such a run is for the whole folder; one for a file is told nothing of it."""
    flow = Flow("G").step(fn)

    assert "find them with .collect" in fix_of(flow, source=SourceContext(folder))
    missing = SourceContext(folder, folder / "b.csv", Path("b.csv"))
    assert "collect" not in fix_of(flow, source=missing)


def test_a_none_of_another_kind_is_not_told_to_be_the_file_of_a_batch(folder: Path) -> None:
    """Nobody asked for the path."""
    flow = Flow("G").step(lambda context: None).step(lambda context: pl.read_csv(context.current))

    assert "batch" not in fix_of(flow, source=SourceContext(folder))

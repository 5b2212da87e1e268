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


def reads(context: Any) -> Any:
    return [1, 2]


def with_a_variable(context: Any) -> Any:
    return raw_df[:1]  # type: ignore[name-defined]  # noqa: F821


def made_of_itself(context: Any) -> Any:
    raw_df = raw_df[:1]  # noqa: F821
    return len(raw_df)


def made_sometimes(context: Any) -> Any:
    if context.current is None:
        raw_df = [1]
    return raw_df


TAKEN = 'take it by context.objects["raw_df"], or by context.current with use="raw_df" in the step'


@pytest.mark.parametrize("fn", [with_a_variable, made_of_itself, lambda context: context.raw_df])
def test_a_saved_object_that_is_taken_for_a_variable_is_told_how_to_take_it(fn: Callable[[Any], Any]) -> None:
    """In a run and in a preview, and whichever step saved it."""
    flow = Flow("G").step(reads, save_as="raw_df").step(lambda context: 1).step(fn)

    assert fix_of(flow) == f"raw_df is what step 'Reads' saved: {TAKEN}"
    with pytest.raises(FlowExecutionError) as caught:
        flow.preview()
    assert caught.value.fix == f"raw_df is what step 'Reads' saved: {TAKEN}"


def test_a_saved_object_is_also_what_a_step_puts_into_the_objects() -> None:
    """Of which no step is known."""
    flow = Flow("G").step(lambda context: context.objects.update(raw_df=1)).step(with_a_variable)

    assert fix_of(flow) == f"raw_df is a saved object: {TAKEN}"


@pytest.mark.parametrize(
    "flow",
    [
        Flow("G").step(with_a_variable),
        Flow("G").step(reads, save_as="raw").step(with_a_variable),
        Flow("G").step(with_a_variable, save_as="raw_df"),
        Flow("G").step(with_a_variable).step(reads, save_as="raw_df"),
        Flow("G").step(reads, save_as="raw_df").step(made_sometimes),
        Flow("G").step(reads, save_as="raw_df").step(lambda context: context.current.raw_df),
    ],
)
def test_a_name_that_no_earlier_step_saved_is_no_saved_object(flow: Flow) -> None:
    """Nor is a variable of the step's own that has no value yet, or an attribute of something else."""
    assert "saved" not in fix_of(flow)

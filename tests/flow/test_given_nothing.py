"""What a step, or a map, that was given nothing to work on is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine import Flow
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.flow.locations import MirrorContext, SourceContext
from tests.flow.running import run

Fn = Callable[[Any], Any]


def fix_of(flow: Flow, **context: Any) -> str:
    with pytest.raises(FlowExecutionError) as caught:
        run(flow, **context)
    return caught.value.fix or ""


@pytest.fixture
def source(tmp_path: Path) -> SourceContext:
    """A run for one file, which is there."""
    (tmp_path / "a.csv").write_text("x\n1\n")
    return SourceContext(tmp_path, tmp_path / "a.csv", Path("a.csv"))


def test_without_a_file_a_derived_path_asks_for_a_name_that_works(tmp_path: Path) -> None:
    """As the recipes write it."""
    mirror = MirrorContext(tmp_path)
    with pytest.raises(FlowValidationError) as caught:
        mirror.with_extension(".csv")

    assert (
        caught.value.fix
        == 'choose a name: context.mirror.file("NAME"); or let the flow run for each file: run_as="individual"'
    )
    assert mirror.file("NAME") == tmp_path / "NAME"


def test_a_map_without_a_collect_is_told_of_it(source: SourceContext) -> None:
    fix = fix_of(Flow("G").map(str), source=SourceContext(source.root))

    assert '.collect(".csv") before it gives the files of the folder' in fix


def forgets(file: Any) -> Any:
    pl.read_csv(file.path)


def some(file: Any) -> Any:
    return None if file.name == "b.csv" else pl.read_csv(file.path)


@pytest.mark.parametrize("fn", [forgets, some])
def test_a_step_that_trips_over_none_in_a_batch_is_told_which_step_gave_it(source: SourceContext, fn: Fn) -> None:
    """Polars names no step."""
    (source.root / "b.csv").write_text("x\n1\n")
    flow = Flow("G").collect(".csv").map(fn)
    said = f"step '{fn.__name__.title()}' before it returned a Batch with None in it"
    why = ": is its `return` missing?" if fn is forgets else " by its `return`; where that is meant, leave them out"

    assert fix_of(flow.step(lambda context: pl.concat(context.current)), source=source).startswith(said + why)
    assert said not in fix_of(flow.step(lambda context: 1 / 0), source=source)
    assert said not in fix_of(flow.step(lambda context: len(None)), source=source)  # type: ignore[arg-type]
    assert said not in fix_of(Flow("G").collect(".csv").step(lambda context: pl.concat([None])), source=source)

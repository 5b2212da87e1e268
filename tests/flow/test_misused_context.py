"""A step that takes its context, or a part of it, for the frame, the file, a path or a logger is told what to write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from data_engine import Flow
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.flow.locations import MirrorContext, SourceContext
from tests.flow.running import run

FRAME = pl.DataFrame({"x": [1]})
Fn = Callable[[Any], Any]


def fix_of(flow: Flow, **context: Any) -> str:
    with pytest.raises(FlowExecutionError) as caught:
        run(flow, **context)
    return caught.value.fix or ""


def makes(context: Any) -> Any:
    return FRAME


@pytest.fixture
def source(tmp_path: Path) -> SourceContext:
    """A run for one file, which is there."""
    (tmp_path / "a.csv").write_text("x\n1\n")
    return SourceContext(tmp_path, tmp_path / "a.csv", Path("a.csv"))


@pytest.fixture
def mirror(tmp_path: Path) -> MirrorContext:
    return MirrorContext(tmp_path / "out", tmp_path / "a.csv", Path("a.csv"))


# -- the frame ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "attribute"),
    [
        (lambda df: df.filter(pl.col("x") > 0), ": write context.current.filter"),
        (lambda df: df.sort("x"), ": write context.current.sort"),
        (lambda df: df.no_method_of_any_frame(), ""),
        (lambda df: df["x"], ""),
        (lambda df: len(df), ""),
        (sorted, ""),
        (lambda df: df * 2, ""),
        (lambda df: pl.DataFrame(df), ""),
        (lambda df: pl.concat([FRAME, df]), ""),
        (lambda df: FRAME.join(df, on="x"), ""),
    ],
)
def test_a_step_that_takes_the_context_for_the_frame_is_told_where_that_is(fn: Fn, attribute: str) -> None:
    """In a run and in a preview."""
    flow = Flow("G").step(makes).step(fn)
    said = f"a step is given the context, and the DataFrame is context.current{attribute}"

    assert fix_of(flow) == said
    with pytest.raises(FlowExecutionError) as caught:
        flow.preview()
    assert caught.value.fix == said


@pytest.mark.parametrize(
    ("flow", "fix"),
    [
        (Flow("G").step(makes).step(lambda context: context.curent), "did you mean 'current'?"),
        (Flow("G").step(makes).step(lambda context: context.current.filtr), "did you mean 'filter'?"),
        (Flow("G").step(lambda context: 1).step(lambda context: context.filter), ""),
        (Flow("G").step(lambda context: context.filter), ""),
        (Flow("G").step(makes).step(lambda context: context.secret()), ""),
        (Flow("G").step(makes).step(lambda context: context.progress(step=1)), ""),
        (Flow("G").step(makes).step(lambda context: {context: 1}), ""),
        (Flow("G").step(makes).step(lambda context: context()), ""),
        (Flow("G").step(makes).step(lambda context: float(context)), ""),
        (Flow("G").step(lambda context: list("a")["b"]), ""),  # type: ignore[call-overload]
    ],
)
def test_what_is_asked_of_the_context_or_of_the_frame_itself_is_not_taken_for_the_other(flow: Flow, fix: str) -> None:
    """A slip of the keys, and what no frame is there for."""
    said = fix_of(flow)

    assert "a step is given the context" not in said
    assert fix in said


def test_an_error_that_only_tells_of_a_context_is_left_as_it_is() -> None:
    """The words of its author."""

    def fails(context: Any) -> Any:
        raise RuntimeError("no FlowContext here")

    assert fix_of(Flow("G").step(makes).step(fails)) == ""


def test_a_map_that_takes_its_parameters_in_the_other_order_is_told_so(source: SourceContext) -> None:
    """It is called with the context first."""
    found = Flow("G").collect(".csv")

    def lies(file: Any, context: Any) -> Any:
        return pl.read_csv(file.path)

    def reads(context: Any, file: Any) -> Any:
        return context.curent

    assert fix_of(found.map(lies), source=source) == "map gives lies the context first: def lies(context, item)"
    assert "context first" not in fix_of(found.map(reads), source=source)
    assert "context first" not in fix_of(found.map(lambda context, file: context["a"]), source=source)
    with pytest.raises(FlowExecutionError) as caught:
        found.watch(mode="manual", source=source.root).map(lies).preview()
    assert "def lies(context, item)" in str(caught.value.fix)


# -- the file ----------------------------------------------------------------------------------------------------------

NO_PATH = "context.source is not a path: write context.source.path"


@pytest.mark.parametrize(
    "fn",
    [
        lambda context: pl.read_csv(context.source),
        lambda context: pl.scan_csv(context.source).collect(),
        lambda context: pl.read_excel(context.source),
        lambda context: pl.read_parquet(context.source),
        lambda context: duckdb.read_csv(context.source),
        lambda context: open(context.source),  # noqa: SIM115 - it does not open
        lambda context: Path(context.source),
    ],
)
def test_a_reader_that_is_given_the_source_is_given_its_path(source: SourceContext, fn: Fn) -> None:
    """Each library has words of its own for it, in a run and in a preview."""
    assert fix_of(Flow("G").step(fn), source=source) == NO_PATH
    with pytest.raises(FlowExecutionError) as caught:
        Flow("G").watch(mode="manual", source=source.root).step(fn).preview()
    assert caught.value.fix == NO_PATH


@pytest.mark.parametrize("name", ["name", "stem", "suffix", "parent", "exists", "read_text"])
def test_what_a_path_has_is_asked_of_the_path(source: SourceContext, name: str) -> None:
    flow = Flow("G").step(lambda context: getattr(context.source, name))

    assert fix_of(flow, source=source) == f"{NO_PATH}.{name}"


def test_the_step_that_takes_the_context_for_the_file_is_told_where_that_is(source: SourceContext) -> None:
    said = "a step is given the context, and the file is context.source.path"

    assert fix_of(Flow("G").step(lambda file: pl.read_csv(file)), source=source) == said
    assert fix_of(Flow("G").step(lambda file: open(file)), source=source) == said  # noqa: SIM115
    assert (
        fix_of(Flow("G").step(lambda file: file.read_text()), source=source)
        == f"{said}: write context.source.path.read_text"
    )


@pytest.mark.parametrize(
    "fn",
    [
        lambda context: context.source.path.nam,
        lambda context: context.source.nothing_of_a_path,
        lambda context: pl.read_csv(context.current),
        lambda context: pl.read_csv(context.source.path.with_name("b.csv")),
        lambda context: pl.read_csv(object() if context.source.root else ""),
        lambda context: duckdb.read_csv(object() if context.source.root else ""),
        lambda context: context.source.file(),
        lambda context: context.source.with_suffix("csv", "x"),
        lambda context: duckdb.read_csv(context.current),
    ],
)
def test_a_path_that_is_asked_for_is_not_told_to_be_asked_for(source: SourceContext, fn: Fn) -> None:
    """What is wrong there is something else."""
    assert "is not a path" not in fix_of(Flow("G").step(lambda context: FRAME).step(fn), source=source)


def test_in_a_run_for_all_files_the_source_has_no_path(source: SourceContext) -> None:
    """The way there is to collect them."""
    fix = fix_of(Flow("G").step(lambda context: pl.read_csv(context.source)), source=SourceContext(source.root))

    assert "context.source is not a path, and this run is for all files of the folder: find them with .collect" in fix


# -- the mirror --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fn",
    [
        lambda context: context.mirror / "a.csv",
        lambda context: context.mirror.with_name("a.csv"),
        lambda context: context.mirror.path,
        lambda context: context.mirror("a.csv"),
        lambda context: FRAME.write_csv(context.mirror),
        lambda context: FRAME.write_parquet(context.mirror),
        lambda context: open(context.mirror, "w"),  # noqa: SIM115
    ],
)
def test_the_mirror_is_asked_for_a_path(mirror: MirrorContext, fn: Fn) -> None:
    """The words name both: one to write to, and the folder."""
    fix = fix_of(Flow("G").step(fn), mirror=mirror)

    assert fix == (
        'context.mirror is not a path: context.mirror.file("NAME") is one to write to, context.mirror.root is the folder'
    )


def test_a_slip_in_a_word_of_the_mirror_is_no_path(mirror: MirrorContext) -> None:
    assert fix_of(Flow("G").step(lambda context: context.mirror.fil("a")), mirror=mirror) == "did you mean 'file'?"


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


# -- log and parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fn", "level"),
    [
        (lambda context: context.log.info("a"), ""),
        (lambda context: context.log.warning("a"), ', level="WARNING"'),
        (lambda context: context.log.error("a"), ', level="ERROR"'),
    ],
)
def test_the_log_is_no_logger(fn: Fn, level: str) -> None:
    """In a run and in a preview."""
    said = f'write context.log("..."{level}), which adds a line to the run\'s log'
    flow = Flow("G").step(fn)

    assert fix_of(flow) == said
    with pytest.raises(FlowExecutionError) as caught:
        flow.preview()
    assert caught.value.fix == said


def test_the_log_takes_one_text() -> None:
    """What Python counts is one more than its author gave."""
    assert (
        fix_of(Flow("G").step(lambda context: context.log("Zeilen", 5)))
        == 'context.log takes one text: context.log(f"{len(frame)} rows")'
    )


@pytest.mark.parametrize(
    "fn",
    [lambda context: context.log.infos, lambda context: print.info, lambda context: (lambda a: a)(1, 2)],  # type: ignore[attr-defined]
)
def test_of_other_functions_nothing_is_said_of_the_log(fn: Fn) -> None:
    assert "context.log" not in fix_of(Flow("G").step(fn))


def test_parameters_that_nobody_declared_are_a_mapping() -> None:
    flow = Flow("G").step(lambda context: context.params.monat)
    said = 'a flow without Flow.params is given a mapping: context.params["monat"], or context.params.get("monat", default)'

    assert fix_of(flow, params={"monat": "2026-01"}) == said
    with pytest.raises(FlowExecutionError) as caught:
        flow.preview(params={"monat": "2026-01"})
    assert caught.value.fix == said
    assert "mapping" not in fix_of(Flow("G").step(lambda context: {}.monat))  # type: ignore[attr-defined]


# -- batches -----------------------------------------------------------------------------------------------------------


def test_the_first_step_is_given_nothing(source: SourceContext) -> None:
    """It is told what there is instead."""
    flow = Flow("G").step(lambda context: len(context.current))
    said = "context.current is None in the first step"

    assert fix_of(flow, source=source) == f"{said}: the file is context.source.path"
    assert "files of the folder: find them with .collect" in fix_of(flow, source=SourceContext(source.root))
    assert fix_of(flow) == f"{said}: let a step before it give something"
    assert said not in fix_of(Flow("G").step(lambda context: len(None)))  # type: ignore[arg-type]
    assert said not in fix_of(Flow("G").step(lambda context: None).step(lambda context: len(context.current)))


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
    said = f"step '{fn.__name__.title()}' before it returned a Batch with None in it: is its `return` missing?"

    assert fix_of(flow.step(lambda context: pl.concat(context.current)), source=source) == said
    assert said not in fix_of(flow.step(lambda context: 1 / 0), source=source)
    assert said not in fix_of(flow.step(lambda context: len(None)), source=source)  # type: ignore[arg-type]
    assert said not in fix_of(Flow("G").collect(".csv").step(lambda context: pl.concat([None])), source=source)

"""`preview`: the object named, made by the production code, and nothing more than needed."""

from __future__ import annotations

import linecache
import subprocess
import sys
from collections.abc import Callable

import pytest

from data_engine import Flow, FlowContext, FlowExecutionError, FlowValidationError, Workspace, load_flow
from data_engine.errors import GroupBusyError
from tests.support import WorkspaceFiles


def test_the_last_result_without_a_name() -> None:
    assert Flow(group="G").step(lambda context: 20).step(lambda context: context.current + 1).preview() == 21


def test_steps_after_the_named_object_do_not_run() -> None:
    ran = []
    flow = (
        Flow(group="G")
        .step(lambda context: 1, save_as="first")
        .step(lambda context: context.current + 1, save_as="second")
        .step(lambda context: ran.append(1))
    )

    assert flow.preview(use="second") == 2
    assert flow.preview(use="first") == 1
    assert ran == []


def test_an_error_for_a_source_that_nobody_named_says_how_to_take_another(ws: WorkspaceFiles) -> None:
    """By its place in the folder; of the only file, of one that was named, and of a mistake in the code there is nothing to say."""
    bad = ws.source("in/a.txt", "")
    watched = Flow(group="G").watch(mode="poll", source=str(bad.parent), interval="1s")

    def fix(step: Callable[[FlowContext], object] = lambda context: 1 / 0, **options: str) -> str | None:
        with pytest.raises(FlowExecutionError) as caught:
            watched.step(step).preview(**options)
        return caught.value.fix

    alone = fix()
    ws.source("in/b/c.txt", "")
    assert alone is None
    assert fix() == 'a.txt is the first of 2 files: source="b/c.txt" (--source in %flow) takes another one'
    assert fix(source="a.txt") is None
    assert fix(lambda context: context.sorce) == "did you mean 'source'?"  # type: ignore[attr-defined]


def test_a_source_that_production_takes_only_by_name_is_told(
    ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its ending, or as a temporary file; of one that it takes, and where no file was named, nothing is said."""
    for name in ("a.csv", "dez.txt", ".b.csv"):
        ws.source(f"in/{name}")
    flow = (
        Flow(group="G")
        .watch(mode="poll", source=str(ws.root / "in"), interval="1s", extensions=".csv")
        .step(lambda context: 1)
    )

    def said(source: str | None) -> str:
        flow.preview(source=source)
        return capsys.readouterr().err

    unless = "in production no run takes {} unless it is named: "
    assert unless.format("dez.txt") + "extension not listed: the flow takes .csv" in said("dez.txt")
    assert unless.format(".b.csv") + "name filtered" in said(".b.csv")
    assert "in production" not in said("a.csv")
    assert "in production" not in said(None)


def test_a_name_saved_twice_means_its_last_value() -> None:
    flow = Flow(group="G").step(lambda context: 1, save_as="x").step(lambda context: 2, save_as="x")

    assert flow.preview(use="x") == 2


@pytest.mark.parametrize("use", ["x", None])
def test_a_name_saved_twice_by_mistake_is_told_with_both_steps(
    use: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where somebody looks at another object: production gets that one."""
    flow = Flow(group="G").step(str, label="Read", save_as="x").step(str, label="Sum", save_as="x")

    flow.preview(use=use)

    assert (
        "'x' is saved by 2 steps (step 1 'Read', step 2 'Sum'): it is the result of step 2; give the others names of their own, "
        "or add use='x' to a step that is meant to replace it"
    ) in capsys.readouterr().err


def test_an_object_that_is_replaced_on_purpose_is_told_where_it_is_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The step takes the object it replaces; which one is shown can be asked only of that name."""
    flow = Flow(group="G").step(str, label="Read", save_as="x").step(str, label="Trim", use="x", save_as="x")

    flow.preview(use="x")
    assert (
        "'x' is saved by 2 steps (step 1 'Read', step 2 'Trim'): it is the result of step 2 ·"
        in capsys.readouterr().err
    )
    flow.preview()
    assert "is saved by" not in capsys.readouterr().err


def test_an_unknown_name_lists_those_there_are() -> None:
    flow = Flow(group="G").step(lambda context: 1, save_as="raw").step(lambda context: 2, save_as="clean")

    with pytest.raises(
        FlowValidationError, match=r"did you mean clean\? Else add save_as=.claen. .* saved objects: raw, clean"
    ):
        flow.preview(use="claen")
    with pytest.raises(FlowValidationError, match=r"did you mean a\? Else add save_as='A'"):
        Flow(group="G").step(lambda context: 1, save_as="a").preview(use="A")


@pytest.mark.parametrize("use", [None, "current", "raw"])
def test_a_flow_without_steps_has_nothing_to_preview(use: str | None) -> None:
    with pytest.raises(FlowValidationError, match="has no steps: there is nothing to run") as caught:
        Flow(group="G").preview(use=use)

    assert ".step(" in str(caught.value.fix)


def test_the_first_source_in_sort_order_or_the_one_asked_for(ws: WorkspaceFiles) -> None:
    for name in ("b.txt", "a.txt"):
        ws.source(f"in/{name}", name)
    flow = (
        Flow(group="G")
        .watch(mode="poll", source=ws.root / "in", interval="1s")
        .step(lambda context: context.source.path.name)
    )

    assert flow.preview() == "a.txt"
    assert flow.preview(source="b.txt") == "b.txt"


def test_a_folder_without_candidates_says_so(ws: WorkspaceFiles) -> None:
    (ws.root / "in").mkdir()
    flow = Flow(group="G").watch(mode="manual", source=ws.root / "in", extensions=".csv").step(lambda context: 1)

    with pytest.raises(FlowValidationError, match=r"no file to preview with extensions \.csv"):
        flow.preview()


def test_a_preview_is_not_recorded_and_knows_its_workspace(ws: WorkspaceFiles) -> None:
    ws.source("config/rates.toml", "rate = 7")
    ws.notebook(
        "claims",
        """
        from data_engine import Flow
        def read(context):
            database = context.database("a.duckdb", read_only=True)
            return context.config.require("rates")["rate"], database, context.metadata["run_id"]
        def build():
            return Flow(group="G").step(read, save_as="x")
        """,
    )

    assert load_flow("claims", data_root=ws.root).preview(use="x") == (7, ws.root / "databases/a.duckdb", "preview")
    assert Workspace(ws.root).runs() == []


def test_a_failing_step_is_placed(ws: WorkspaceFiles) -> None:
    ws.notebook(
        "claims",
        """
        from data_engine import Flow
        def build():
            return Flow(group="G").step(lambda context: 1 / 0)
        """,
    )

    with pytest.raises(FlowExecutionError, match=r"claims.ipynb, cell 1, line 3"):
        load_flow("claims", data_root=ws.root).preview()


def test_a_preview_that_writes_in_production_is_refused_where_a_run_writes(ws: WorkspaceFiles) -> None:
    """The flow runs in another process; with force the preview writes all the same, and to scratch it may at any time."""
    log = ws.root / "log.txt"
    ws.module(
        "claims",
        f"""
        import time
        from pathlib import Path
        from data_engine import Flow

        def write(context):
            target = context.mirror.root_file("out.txt")
            target.write_text("x")
            if context.metadata["run_id"] != "preview":
                Path({str(log)!r}).touch()
                time.sleep(30)
            return target

        def build():
            return Flow(group="G").mirror(root="../out").step(write, save_as="out")
        """,
    )
    code = f"from data_engine import load_flow; load_flow('claims', data_root={str(ws.root)!r}).run_once()"
    with subprocess.Popen([sys.executable, "-c", code]) as running:
        while not log.exists():
            assert running.poll() is None
        flow = load_flow("claims", data_root=ws.root)

        with pytest.raises(GroupBusyError, match=r"write=True.*the flow is running"):
            flow.preview(use="out", write=True)
        assert flow.preview(use="out").read_text() == "x"
        assert flow.preview(use="out", write=True, force=True) == ws.root / "out/out.txt"
        running.kill()
    assert flow.preview(use="out", fresh=True, write=True) == ws.root / "out/out.txt"


def test_the_caption_says_how_the_code_stands_to_the_deployed_flow(
    ws: WorkspaceFiles, capsys: pytest.CaptureFixture[str]
) -> None:
    build = "def build():\n    return Flow(group='G').step(one)"
    ws.notebook("claims", "from data_engine import Flow", "def one(context):\n    return 1", build)
    workspace = Workspace(ws.root)
    captions = []
    for act in (lambda: None, workspace.deploy, lambda: ws.notebook(
        "claims", "from data_engine import Flow", "def one(context):\n    return 2", build)):  # fmt: skip
        act()
        workspace.load_flow("claims").preview()
        captions.append(capsys.readouterr().err)

    ws.notebook("claims", "from data_engine import Flow", "def one(context):\n    return 1", build)
    ws.notebook(
        "helped",
        "from data_engine import Flow\nfrom flow_helpers.rates import RATE",
        "def one(context):\n    return RATE",
        build,
    )
    ws.helper("rates", "RATE = 1")
    ws.helper("other", "X = 1")
    workspace.deploy()
    ws.helper("other", "X = 2")
    told = []
    for act in (lambda: None, lambda: ws.helper("rates", "RATE = 2")):
        act()
        workspace.load_flow("helped").preview()
        told.append(capsys.readouterr().err)
    assert "same code as the deployed flow" in told[0]
    assert "differs from the deployed flow: flow_helpers/rates.py" in told[1]

    assert "deployed" not in captions[0]
    assert "same code as the deployed flow" in captions[1]
    assert "differs from the deployed flow: cell 2" in captions[2]


def test_the_debugger_finds_the_cells_text(ws: WorkspaceFiles) -> None:
    """pdb and %debug read lines through linecache, after they asked it to check its files."""
    path = ws.notebook("claims", "from data_engine import Flow", "# first\ndef build():\n    return Flow(group='G')")
    load_flow("claims", data_root=ws.root)

    linecache.checkcache()
    assert linecache.getline(f"{path}, cell 2", 3) == "    return Flow(group='G')\n"


def test_the_text_of_what_was_raised_stands_once() -> None:
    """A Polars error with its plan is whole, and not printed twice below a cell."""

    def fails(context: FlowContext) -> None:
        raise ValueError("no column nope\n\nplan:\n  SCAN a.csv")

    with pytest.raises(FlowExecutionError) as caught:
        Flow(group="G").step(fails).preview()

    shown = "\n".join([*caught.value.trace, str(caught.value)])
    assert shown.count("no column nope\n\nplan:\n  SCAN a.csv") == 1


@pytest.mark.parametrize("use", [None, "made"])
def test_a_step_that_forgot_its_return_is_named_by_the_next(use: str | None) -> None:
    """Also with `use=`, and where only the next step runs."""

    def forgets(context: FlowContext) -> None:
        context.log("made it")

    def goes_on(context: FlowContext) -> int:
        return int(context.current + 1)

    flow = Flow(group="G").step(forgets, save_as="made").step(goes_on, use=use)

    for _ in range(2):
        with pytest.raises(FlowExecutionError) as caught:
            flow.preview()
        assert caught.value.fix == "step 'Forgets' before it returned None: is its `return` missing?"


def test_a_step_that_returns_none_on_purpose_is_not_told_to_return() -> None:
    """What follows it is told so, also where only that runs."""

    def holiday(context: FlowContext) -> int | None:
        return None if context.flow_name else 1

    def goes_on(context: FlowContext) -> int:
        return int(context.current + 1)

    flow = Flow(group="G").step(holiday).step(goes_on)

    for _ in range(2):
        with pytest.raises(FlowExecutionError) as caught:
            flow.preview()
        assert str(caught.value.fix).startswith(
            "step 'Holiday' before it returned None by its `return`; where that is meant"
        )

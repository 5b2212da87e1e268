"""The step loop: the stream of events of a run, what each step is given and leaves behind, and how it ends."""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from data_engine import Batch, FileRef, Flow, FlowContext, FlowExecutionError, FlowStoppedError, FlowValidationError
from data_engine.cause import Cause
from data_engine.errors import NotebookCompileError, OwnedElsewhereError, SettingsError
from data_engine.flow.control import RunInterrupted, StepControl
from data_engine.flow.hints import forgotten_return
from data_engine.flow.locations import SourceContext
from data_engine.flow.spec import StepSpec, function_name
from data_engine.flow.steps import run_steps
from data_engine.model import Event, LogLine, StepFinished, StepProgress, StepStarted
from tests.flow.running import current, events_of, run, stop_after
from tests.support import native


def returning(value: Any) -> Callable[[FlowContext], Any]:
    return lambda context: value


def timeless(events: list[Event]) -> list[Event]:
    """The events as values that can be compared: without times."""
    return [
        event._replace(at_s=0, elapsed_s=0) if isinstance(event, StepFinished) else event._replace(at_s=0)
        for event in events
    ]


def test_a_run_is_a_stream_of_events() -> None:
    """Started and finished for each step; logs and progress in between, where they happened."""

    def load(context: FlowContext) -> int:
        context.log("reading")
        context.progress(1, 1)
        return 1

    flow = Flow("G", "claims").step(load, label="Load").step(returning(2), label="Write")

    assert timeless(events_of(flow)[1]) == [
        StepStarted("r1", 0, "Load", 0),
        LogLine("r1", "claims", "Load", "INFO", "reading", 0),
        StepProgress("r1", 0, "Load", 1, 1, 0),
        StepFinished("r1", 0, "Load", "success", 0, 0),
        StepStarted("r1", 1, "Write", 0),
        StepFinished("r1", 1, "Write", "success", 0, 0),
    ]


def test_times_do_not_run_backwards() -> None:
    """A step ends after it began, and took no negative time."""
    started, finished = events_of(Flow("G").step(returning(1)))[1]

    assert isinstance(started, StepStarted)
    assert isinstance(finished, StepFinished)
    assert 1.6e9 < started.at_s <= finished.at_s
    assert 0 <= finished.elapsed_s < 10


def test_events_come_as_the_steps_run() -> None:
    """The stream is lazy: a step has not begun before its start is told, and the next waits for the reader."""
    ran: list[str] = []
    flow = Flow("G").step(lambda context: ran.append("a")).step(lambda context: ran.append("b"))
    stream = run_steps(flow, FlowContext("g", "G"), control=StepControl())

    assert isinstance(next(stream), StepStarted)
    assert ran == []
    assert isinstance(next(stream), StepFinished)
    assert ran == ["a"]
    next(stream)
    assert ran == ["a"]


def test_a_flow_without_steps_ends_at_once() -> None:
    """No events, nothing current."""
    context, events = events_of(Flow("G"))

    assert (context.current, events) == (None, [])


@pytest.mark.parametrize(("stop", "last"), [(0, None), (1, 1), (2, 2), (None, 3)])
def test_only_the_first_steps_are_run_on_request(stop: int | None, last: int | None) -> None:
    """As a preview of an earlier object does."""
    context = FlowContext("g", "G")
    flow = Flow("G").step(returning(1)).step(returning(2)).step(returning(3))
    list(run_steps(flow, context, control=StepControl(), stop=stop))

    assert context.current == last


# -- what goes from step to step ---------------------------------------------------------------------------------------


def test_current_is_the_last_result_and_none_before_the_first() -> None:
    """In every mode; a step that returns nothing leaves None."""
    seen: list[Any] = []

    def note(value: Any) -> Callable[[FlowContext], Any]:
        def step(context: FlowContext) -> Any:
            seen.append(context.current)
            return value

        return step

    run(Flow("G").step(note(1)).step(note(None)).step(note(3)))

    assert seen == [None, 1, None]


def test_save_as_names_a_result_and_use_makes_it_current() -> None:
    """Whatever was current in between."""
    flow = (
        Flow("G")
        .step(returning("raw"), save_as="raw")
        .step(returning("other"))
        .step(lambda context: context.current + "!", use="raw", save_as="loud")
    )

    context = run(flow)

    assert context.current == "raw!"
    assert context.objects == {"raw": "raw", "loud": "raw!"}


def test_use_current_leaves_current_alone() -> None:
    """The word for what is there anyway, also at the first step."""
    assert current(Flow("G").step(returning(1)).step(lambda context: context.current, use="current")) == 1
    assert current(Flow("G").step(lambda context: context.current, use="current")) is None


def test_saving_a_name_again_replaces_it() -> None:
    """The newest object has the name."""
    assert run(Flow("G").step(returning(1), save_as="a").step(returning(2), save_as="a")).objects == {"a": 2}


def test_an_object_a_step_put_there_itself_can_be_used() -> None:
    """`context.objects` is the step's to write; also when it puts a new dict in its place."""

    def put(context: FlowContext) -> None:
        context.objects = {"mine": 7}

    flow = Flow("G").step(put).step(lambda context: context.current, use="mine", save_as="again")

    assert run(flow).objects == {"mine": 7, "again": 7}


def test_a_missing_object_is_told_with_those_there_are() -> None:
    """Before the step begins, and not as the step's own failure."""
    seen: list[Event] = []
    flow = Flow("G").step(returning(1), save_as="raw").step(returning(2), use="rwa", label="Clean")

    with pytest.raises(FlowValidationError) as caught:
        seen.extend(run_steps(flow, FlowContext("g", "G"), control=StepControl()))

    assert not isinstance(caught.value, FlowExecutionError)
    assert caught.value.what == "Step 'Clean' requested missing object 'rwa'"
    assert "raw" in str(caught.value.fix)


# -- outputs -----------------------------------------------------------------------------------------------------------


def outputs_of(value: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    context, events = events_of(Flow("G").step(returning(value), label="Write"))
    assert isinstance(events[-1], StepFinished)
    return events[-1].outputs, context.metadata.get("step_outputs", {})


def test_a_returned_path_that_exists_is_an_output(tmp_path: Path) -> None:
    """A file or a folder; reported absolute, and kept in the metadata under the label."""
    path = tmp_path / "a.parquet"
    path.write_text("", encoding="utf-8")

    assert outputs_of(path) == ((str(path),), {"Write": path})
    assert outputs_of(tmp_path) == ((str(tmp_path),), {"Write": tmp_path})


@pytest.mark.parametrize("kind", [list, tuple, lambda paths: Batch(tuple(paths))])
def test_returned_paths_are_outputs(tmp_path: Path, kind: Callable[[list[Path]], Any]) -> None:
    """In a list, tuple or Batch: those that exist, in order."""
    paths = [tmp_path / name for name in ("b", "missing", "a")]
    paths[0].touch()
    paths[2].touch()
    value = kind(paths)

    assert outputs_of(value) == ((str(paths[0]), str(paths[2])), {"Write": value})


def test_a_relative_path_is_reported_absolute() -> None:
    """Relative to the working directory of the run; the tests run in a folder of their own."""
    Path("out.csv").touch()

    assert outputs_of(Path("out.csv"))[0] == (str(Path.cwd() / "out.csv"),)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1,
        ".",
        [],
        (),
        Batch(()),
        ["."],
        [Path("."), 1],
        {"a": Path(".")},
        {Path(".")},
        FileRef("."),
        Path("not/there"),
        [Path("not/there")],
        Path("x" * 300),
        Path("a\0b"),
    ],
    ids=repr,
)
def test_everything_else_is_no_output(value: Any) -> None:
    """Texts, mixed lists, file references, paths that do not or cannot exist; nothing raises."""
    outputs, kept = outputs_of(value)

    assert (outputs, kept) == ((), {})


def test_steps_with_one_label_keep_an_output_each(tmp_path: Path) -> None:
    """Numbered from the second."""
    paths = [tmp_path / name for name in "abc"]
    flow = Flow("G")
    for path in paths:
        path.touch()
        flow = flow.step(returning(path), label="Write")

    assert run(flow, metadata={"step_outputs": {}}).metadata["step_outputs"] == {
        "Write": paths[0],
        "Write (2)": paths[1],
        "Write (3)": paths[2],
    }


# -- failing -----------------------------------------------------------------------------------------------------------


def failed(flow: Flow, **context: Any) -> tuple[FlowExecutionError, list[Event]]:
    seen: list[Event] = []
    made = FlowContext(flow_name=flow.name or "", group=flow.group, **context)
    with pytest.raises(FlowExecutionError) as caught:
        read_into(seen, run_steps(flow, made, control=StepControl(run_id="r1")))
    return caught.value, seen


def read_into(seen: list[Event], stream: Iterator[Event]) -> None:
    """Like `seen.extend(stream)`, but what came before an error is kept for sure."""
    for event in stream:
        seen.append(event)


def clean(context: FlowContext) -> None:
    raise KeyError("amount")


def test_a_failing_step_is_wrapped_with_what_failed_where() -> None:
    """Flow, step, function, source and the original exception as its cause."""
    flow = Flow("G", "claims").step(returning(1)).step(clean, label="Clean up").step(returning(2))
    source = SourceContext(Path("/in"), Path("/in/a.csv"), Path("a.csv"))

    error, events = failed(flow, source=source)

    assert (
        error.what
        == 'Flow "claims" failed in step "Clean up" (function clean) for source "'
        + native("/in/a.csv")
        + "\": KeyError: 'amount'"
    )
    assert (error.phase, error.step_label, error.function_name, error.source_path) == (
        "step",
        "Clean up",
        "clean",
        native("/in/a.csv"),
    )
    assert error.detail == "KeyError: 'amount'"
    assert isinstance(error.__cause__, KeyError)
    assert timeless(events)[-2:] == [
        StepStarted("r1", 1, "Clean up", 0),
        StepFinished("r1", 1, "Clean up", "failed", 0, 0, str(error)),
    ]


def test_the_traceback_of_the_cause_reaches_the_authors_line() -> None:
    """It is what errors are resolved to cells with."""
    error, _ = failed(Flow("G", "claims").step(clean))

    assert error.__cause__ is not None
    frames = []
    traceback = error.__cause__.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert frames[-1] == "clean"


def test_the_fix_of_a_refusal_inside_a_step_passes_through() -> None:
    """The step's author reads what to do, not only that it failed."""

    def ask(context: FlowContext) -> None:
        context.database("../x")

    error, _ = failed(Flow("G", "claims").step(ask), workspace_root=Path("/ws"))

    assert "FlowValidationError: the name '../x'" in error.detail
    assert error.fix == native("stay inside /ws/databases")
    assert "where:" not in error.what


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        (lambda context: context.sorce, "did you mean 'source'?"),
        (lambda context: "a".uper(), "did you mean 'upper'?"),  # type: ignore[attr-defined]
        (lambda context: context.zzzzz, None),
        (lambda context: {}["upper"], None),
    ],
)
def test_a_misspelt_attribute_has_the_nearest_one_as_its_fix(call: Callable[[Any], Any], fix: str | None) -> None:
    assert failed(Flow("G", "claims").step(call))[0].fix == fix


def missing(text: str, name: str | None = None) -> Callable[[Any], Any]:
    def call(context: Any) -> None:
        raise ModuleNotFoundError(text, name=name)

    return call


@pytest.mark.parametrize(
    ("call", "package"),
    [
        (missing("No module named 'sklearn.svm'", "sklearn.svm"), "scikit-learn"),
        (missing("np.corrcoef requires 'nummmpy' module to be installed"), "nummmpy"),
        (missing("altairrr>=5.4.0 is required for `.plot`"), "altairrr"),
        (missing("No module named 'flow_helpers.rates'", "flow_helpers.rates"), None),
        (missing("No module named 'polars.frob'", "polars.frob"), None),
    ],
)
def test_a_missing_package_says_where_to_install_it(call: Callable[[Any], Any], package: str | None) -> None:
    """Of Python's own words, and of Polars'."""
    fix = failed(Flow("G", "claims").step(call))[0].fix

    assert fix == (
        None
        if package is None
        else f"if it is a package, install it where this runs: {sys.executable} -m pip install {package}"
    )


def test_in_a_kernel_a_missing_package_is_told_for_it_and_for_the_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be two environments."""
    monkeypatch.setattr("data_engine.flow.hints.kernel_shell", lambda: object())

    fix = failed(Flow("G", "claims").step(missing("No module named 'pandaaas'", "pandaaas")))[0].fix

    assert "%pip install pandaaas" in str(fix)
    assert "Workspace.current().interpreter()" in str(fix)


def test_a_panic_of_polars_fails_the_step_and_not_the_program() -> None:
    """It is no `Exception`: without NumPy, `to_numpy` ends so."""
    panic = type("PanicException", (BaseException,), {})

    def call(context: Any) -> None:
        raise panic("Failed to access NumPy array API capsule: ModuleNotFoundError(\"No module named 'numppy'\")")

    error, _ = failed(Flow("G", "claims").step(call))

    assert error.detail.startswith("PanicException: Failed to access NumPy")
    assert str(error.fix).endswith("-m pip install numppy")


@pytest.mark.parametrize(
    "raised",
    [asyncio.CancelledError(), GeneratorExit(), BaseException("odd"), SystemExit(3)],
    ids=lambda one: type(one).__name__,
)
def test_whatever_a_step_raises_names_the_step(raised: BaseException) -> None:
    """Also what is no `Exception`; Ctrl-C and a stop are no errors."""

    def call(context: Any) -> None:
        raise raised

    error, events = failed(Flow("G", "claims").step(call, label="Read"))

    assert error.step_label == "Read"
    assert error.detail.startswith(type(raised).__name__)
    assert error.__cause__ is raised
    assert isinstance(events[-1], StepFinished)
    assert events[-1].status == "failed"
    assert events[-1].error


@pytest.mark.parametrize("raised", [KeyboardInterrupt(), RunInterrupted("stopped", Cause("stop_requested"))])
def test_an_interrupt_stays_what_it_is(raised: BaseException) -> None:
    def call(context: Any) -> None:
        raise raised

    with pytest.raises(type(raised)) as caught:
        run(Flow("G", "claims").step(call))
    assert caught.value is raised


WITHOUT_NUMPY = """
import sys
import polars as pl
from data_engine import Flow, FlowExecutionError

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name == "numpy" else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(one) for one in sys.meta_path]
try:
    Flow("G", "claims").step(lambda context: pl.DataFrame({"a": [1, 2]}).to_numpy(), label="Numbers").run_once()
except FlowExecutionError as error:
    print(type(error.__cause__).__name__, error.what, error.fix, sep="|")
"""


def test_polars_without_numpy_fails_the_step_with_the_fix(tmp_path: Path) -> None:
    """A real call of Polars where NumPy is not installed, in a process of its own."""
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "RUST_BACKTRACE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_NUMPY], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )

    kind, what, fix = done.stdout.strip().split("|")
    assert kind == "PanicException"
    assert 'failed in step "Numbers"' in what
    assert fix.endswith("-m pip install numpy")


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda context: context.mirror.namespaced_file("x"), ["mirror", "source"]),
        (lambda context: context.source.path, ["source"]),
        (lambda context: context.current.rows, []),
    ],
)
def test_a_step_that_asks_for_a_place_the_flow_does_not_have_is_told_how_to_add_it(
    call: Callable[[Any], Any], named: list[str]
) -> None:
    fix = str(failed(Flow("G", "claims").step(call))[0].fix)

    assert [name for name in ("mirror", "source") if f"context.{name} is None: add ." in fix] == named


def test_only_the_place_that_is_missing_is_offered() -> None:
    source = SourceContext(Path("/in"), Path("/in/a.csv"), Path("a.csv"))

    error, _ = failed(Flow("G", "claims").step(lambda context: context.mirror.file("x")), source=source)

    assert error.fix == 'context.mirror is None: add .mirror(root="../out") to the flow'


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "exception",
    [ValueError(), StopIteration("x"), AssertionError(), OSError(2, "no", "f"), Mute()],
)
def test_every_exception_of_the_author_is_wrapped(exception: Exception) -> None:
    """Also StopIteration, which a generator would turn into something else, and one that cannot say what it says."""

    def step(context: FlowContext) -> None:
        raise exception

    error, _ = failed(Flow("G", "claims").step(step))

    assert error.__cause__ is exception
    assert error.detail.startswith(type(exception).__name__)


def test_sys_exit_in_a_step_fails_the_step_not_the_program() -> None:
    """A command line must not end with 0 because a step said so."""
    import sys

    error, events = failed(Flow("G", "claims").step(lambda context: sys.exit(0)))

    assert error.detail == "SystemExit: 0"
    assert error.fix is not None
    assert "return" in error.fix
    assert isinstance(events[-1], StepFinished)
    assert events[-1].status == "failed"


def test_what_a_failed_run_made_is_still_in_its_context() -> None:
    """Objects of the steps before; current is what the failing step was given."""
    context = FlowContext("g", "G")
    with pytest.raises(FlowExecutionError):
        list(run_steps(Flow("G").step(returning(1), save_as="a").step(clean), context, control=StepControl()))

    assert (context.current, context.objects) == (1, {"a": 1})


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_a_stop_ends_a_run_before_its_next_step() -> None:
    """Permission is asked once per step; the steps that ran are reported whole."""
    seen: list[Event] = []
    flow = Flow("G").step(returning(1), label="A").step(returning(2), label="B").step(returning(3), label="C")
    stream = run_steps(flow, FlowContext("g", "G"), control=StepControl(may_work=stop_after(2)))

    with pytest.raises(RunInterrupted, match="stopped by request"):
        read_into(seen, stream)

    assert [type(event).__name__ + event.label for event in seen if isinstance(event, StepStarted | StepFinished)] == [
        "StepStartedA",
        "StepFinishedA",
        "StepStartedB",
        "StepFinishedB",
    ]


def test_an_authors_except_does_not_swallow_a_stop() -> None:
    """`except Exception` around everything is common; the step is reported as stopped."""
    seen: list[Event] = []

    def step(context: FlowContext) -> str:
        try:
            context.progress(1)
        except Exception:
            return "swallowed"
        return "went on"

    stream = run_steps(Flow("G").step(step), FlowContext("g", "G"), control=StepControl(may_work=stop_after(1)))

    with pytest.raises(RunInterrupted) as caught:
        read_into(seen, stream)

    assert (caught.value.status, caught.value.why.text) == ("stopped", "stopped by request")
    assert isinstance(seen[-1], StepFinished)
    assert (seen[-1].status, seen[-1].error) == ("stopped", "stopped by request")


@pytest.mark.parametrize("exception", [FlowStoppedError("enough"), KeyboardInterrupt()])
def test_a_step_that_stops_itself_or_is_interrupted_is_stopped_not_failed(exception: BaseException) -> None:
    """The exception arrives as it is."""
    seen: list[Event] = []

    def step(context: FlowContext) -> None:
        raise exception

    with pytest.raises(type(exception)) as caught:
        read_into(seen, run_steps(Flow("G").step(step), FlowContext("g", "G"), control=StepControl()))

    assert caught.value is exception
    assert isinstance(seen[-1], StepFinished)
    assert seen[-1].status == "stopped"


# -- errors travel -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        FlowValidationError("what", where="where", fix="fix"),
        FlowValidationError("what"),
        OwnedElsewhereError("what", where="where", fix="fix"),
        SettingsError("what", fix="fix"),
        FlowExecutionError(
            flow_name="f", phase="step", detail="d", step_label="s", function_name="n", source_path=Path("/p"), fix="m"
        ),
        NotebookCompileError(flow_name="f", detail="d", cell="c", source_line="x", fix="m"),
    ],
)
def test_errors_survive_the_way_home_from_a_worker(error: FlowValidationError) -> None:
    """Pickled and back: the same class, text, parts and attributes, and what was noted on the way."""
    error.add_note("on worker 3")
    error.completed = ["a context"]

    back = pickle.loads(pickle.dumps(error))

    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
    assert back.as_dict() == error.as_dict()


def test_a_stop_survives_the_way_home() -> None:
    """With its reason."""
    assert pickle.loads(pickle.dumps(FlowStoppedError("why"))).args == ("why",)


def _nothing(context: FlowContext) -> Any:
    def inner() -> int:
        return 1

    inner()


def _on_purpose(context: FlowContext) -> Any:
    if context.current:
        return None


@functools.cache
def _kept(context: object) -> Any:
    str(context)


@pytest.mark.parametrize(
    ("fn", "is_told"),
    [
        (_nothing, True),
        (functools.partial(_nothing), True),
        (_kept, True),
        (_on_purpose, False),
        (lambda context: None, False),
        (print, False),
    ],
    ids=["none", "partial", "decorated", "on purpose", "lambda", "no text"],
)
def test_of_a_saved_none_the_missing_return_is_told(fn: Callable[[Any], Any], is_told: bool) -> None:
    """Only where the function has no return with a value of its own."""
    step = StepSpec(fn, None, "raw_df", "Read", "read")

    name = function_name(fn)
    assert forgotten_return(step, None) == (f"raw_df is None: is the `return` of {name} missing?" if is_told else None)
    assert forgotten_return(step, 1) is None
    assert forgotten_return(replace(step, save_as=None), None) is None

"""A flow is a value: frozen, compared by what it says, and branching never reaches back."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from data_engine import Flow, FlowExecutionError
from tests.flow.running import failing


def read(context: Any) -> int:
    return 1


def write(context: Any) -> Any:
    return context.current


def full(group: str = "Claims") -> Flow:
    return (
        Flow(group, "claims", "Claims!")
        .watch(mode="poll", source="/in", interval="30s", extensions=[".csv"])
        .mirror(root="/out")
        .collect(".csv", root="/in")
        .map(str, max_parallel=2, on_error="collect")
        .step(read, save_as="raw")
        .step(write, use="raw", label="Write it")
    )


def test_a_flow_cannot_be_changed_in_place() -> None:
    """Neither a field nor a new attribute can be set."""
    flow = full()

    for name in ("group", "steps", "trigger", "anything"):
        with pytest.raises(FrozenInstanceError):
            setattr(flow, name, None)


def test_flows_that_say_the_same_are_equal_and_hash_alike() -> None:
    """Equality is by value over trigger, mirror and every kind of step."""
    assert full() == full()
    assert hash(full()) == hash(full())
    assert copy.copy(full()) == full()


@pytest.mark.parametrize(
    "other",
    [
        full("Other"),
        full().step(read),
        full().mirror(root="/elsewhere"),
        full().watch(mode="manual"),
        full().watch(mode="poll", source="/in", interval="30s", extensions=[".csv"], settle=2),
        full().watch(mode="poll", source="/in", interval="30s", extensions=[".csv"], max_parallel=2),
    ],
    ids=["group", "a step more", "mirror", "mode", "settle", "max_parallel"],
)
def test_flows_that_differ_anywhere_are_unequal(other: Flow) -> None:
    """One different word makes another flow."""
    assert other != full()


def test_two_branches_of_one_flow_do_not_see_each_other() -> None:
    """Every verb returns a new flow; the one it was called on stays as it was."""
    base = Flow("G").step(read)
    before = copy.deepcopy(base.steps)

    left = base.step(write, label="Left").watch(mode="manual", source="/a")
    right = base.map(str, label="Right").mirror(root="/m").collect(".csv")

    assert base.steps == before
    assert base.trigger is None
    assert base.mirror_spec is None
    assert [step.label for step in left.steps] == ["Read", "Left"]
    assert [step.label for step in right.steps] == ["Read", "Right", "Collect Files"]
    assert right.trigger is None
    assert left.mirror_spec is None


def test_a_second_watch_or_mirror_replaces_the_first() -> None:
    """A flow has one trigger and one mirror: the last."""
    flow = Flow("G").watch(mode="manual").watch(mode="schedule", time="08:00").mirror(root="/a").mirror(root="/b")

    assert flow.mode == "schedule"
    assert flow.mirror_spec is not None
    assert flow.mirror_spec.root == Path("/b").absolute()


@pytest.mark.parametrize("options", [{"mode": "poll", "interval": "1s"}, {"mode": "schedule", "time": "08:00"}, {}])
@pytest.mark.parametrize("run_as", ["individual", "batch"])
def test_a_mirror_into_the_source_folder_is_refused_in_either_order(
    options: dict[str, Any], run_as: Any, tmp_path: Path
) -> None:
    """However it is written, and before anything of it can run anywhere; a folder inside the source is another."""
    watching: dict[str, Any] = {"mode": "manual", "source": tmp_path / "in", "run_as": run_as, **options}
    same = str(tmp_path / "x" / ".." / "in") + "/"

    first = failing(lambda: Flow("G").watch(**watching).mirror(root=same))
    second = failing(lambda: Flow("G").mirror(root=same).watch(**watching))

    assert "source folder itself" in first.what
    assert str(first) == str(second)
    assert Flow("G").watch(**watching).mirror(root=tmp_path / "in" / "out").mirror_spec
    assert Flow("G").watch(**watching, extensions=".csv").mirror(root=same).mirrors_into_source


def test_without_a_trigger_a_flow_is_manual() -> None:
    """`mode` is never None."""
    assert Flow("G").mode == "manual"
    assert Flow("G").watch(mode="schedule", interval=timedelta(minutes=1)).mode == "schedule"


@pytest.mark.parametrize(
    ("flow", "title"),
    [
        (Flow("G", "claims_daily"), "Claims Daily"),
        (Flow("G", "claimsDaily"), "Claims Daily"),
        (Flow("G", "claims", "Our claims"), "Our claims"),
        (Flow("G"), "Flow"),
    ],
)
def test_the_title_is_the_label_or_the_name_in_words(flow: Flow, title: str) -> None:
    """People read a title, whatever is given."""
    assert flow.title == title


@pytest.mark.parametrize("value", ["", "  ", 5, b"x", ["x"]])
@pytest.mark.parametrize(("field", "words"), [("name", "when provided"), ("label", "label"), ("group", "group")])
def test_a_blank_or_wrong_name_label_or_group_is_refused(field: str, words: str, value: object) -> None:
    """The message names the field and shows the value."""
    arguments: dict[str, Any] = {"group": "G", field: value}

    error = failing(lambda: Flow(**arguments))

    assert words in error.what
    assert field in error.what
    assert repr(value) in error.what


def test_a_group_is_required_and_kept_as_written() -> None:
    """No group, no flow; no stripping."""
    group: Any = None
    assert "group" in failing(lambda: Flow(group)).what
    assert Flow("  G ").group == "  G "


@pytest.mark.parametrize("verb", ["step", "map", "collect"])
@pytest.mark.parametrize("option", ["use", "save_as", "label"])
@pytest.mark.parametrize("value", ["", " \t", 5])
def test_blank_step_options_are_refused(verb: str, option: str, value: object) -> None:
    """`use`, `save_as` and `label` are texts with letters in them; the error names verb and option."""
    first: Any = ".csv" if verb == "collect" else str
    options: dict[str, Any] = {option: value}

    error = failing(lambda: getattr(Flow("G"), verb)(first, **options))

    assert option in error.what
    assert error.where == f"Flow.{verb}"


def test_step_options_are_stripped() -> None:
    """Blanks around a name do not make another name."""
    step = Flow("G").step(read, use=" a ", save_as=" b ", label=" c ").steps[0]

    assert (step.use, step.save_as, step.label) == ("a", "b", "c")


@pytest.mark.parametrize("name", ["current", " current "])
def test_save_as_cannot_be_current(name: str) -> None:
    """`current` is the one name the engine keeps for itself."""
    assert "save_as cannot overwrite" in failing(lambda: Flow("G").step(read, save_as=name)).what


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "2"])
def test_map_refuses_an_impossible_max_parallel(value: Any) -> None:
    """It is a whole number of at least one."""
    assert "greater than or equal to one" in failing(lambda: Flow("G").map(str, max_parallel=value)).what


@pytest.mark.parametrize("value", ["continue", "RAISE", None, []])
def test_map_refuses_an_unknown_on_error(value: Any) -> None:
    """The fix lists both words."""
    error = failing(lambda: Flow("G").map(str, on_error=value))

    assert "on_error" in error.what
    assert "collect" in str(error.fix)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_collect_refuses_a_recursive_that_is_no_truth_value(value: Any) -> None:
    """A forgotten keyword, such as a root in its place, is told."""
    assert "recursive" in failing(lambda: Flow("G").collect(".csv", recursive=value)).what


def test_step_each_is_map() -> None:
    """The alias makes the very same step."""
    assert Flow("G").step_each(str, save_as="x") == Flow("G").map(str, save_as="x")


# -- misspelt ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "words", "fix"),
    [
        (lambda: Flow("G").step(read, saveas="x"), "Flow.step has no option 'saveas'", "did you mean save_as=?"),
        (lambda: Flow("G").watch(mode="manual", sorce="in"), "no option 'sorce'", "did you mean source=?"),
        (
            lambda: Flow("G").watch(mode="schedule", time="07:00", days="mo-fr"),
            "Flow.watch has no option 'days'",
            '.watch(mode="schedule", cron="0 7 * * 1-5") for 07:00 from Monday to Friday',
        ),
        (lambda: Flow(grup="G"), "Flow has no option 'grup'", "did you mean group=?"),
        (lambda: Flow("G").step(read).preview(zzz=1), "no option 'zzz'", "it takes (*, use=None, source=None"),
        (
            lambda: Flow("G").collect(),
            "Flow.collect: missing a required argument: 'extensions'",
            "it takes (extensions, *",
        ),
        (
            lambda: Flow(),
            "Flow: missing a required argument: 'group'",
            'write Flow(group="Sales")',
        ),
        (
            lambda: Flow("claims", "x", "y", 5),
            "Flow: too many positional arguments",
            'write Flow(group="Sales")',
        ),
        (lambda: Flow("G", trigr=5), "Flow has no option 'trigr'", 'write Flow(group="Sales")'),
        (
            lambda: Flow("G").step(read, "raw"),
            "too many positional arguments",
            "it takes (fn, *",
        ),
        (
            lambda: Flow("G").mirror("../output"),
            "too many positional arguments",
            "it takes (*, root",
        ),
        (
            lambda: Flow("G").step(read).preview("a"),
            "too many positional arguments",
            "it takes (*, use=None",
        ),
        (lambda: Flow("G").expect(5), "too many positional arguments", "it takes (*, by=None"),
        (lambda: Flow("G").run(True), "too many positional arguments", "it takes (*, edited=False, force=False)"),
    ],
)
def test_a_call_that_does_not_fit_says_what_it_takes(call: Any, words: str, fix: str) -> None:
    """With the option nearest to the one that is unknown."""
    error = failing(call)

    assert words in error.what
    assert fix in str(error.fix)


def test_a_type_error_from_inside_stays_what_it_is() -> None:
    def wrong(context: Any) -> Any:
        return len(5)  # type: ignore[arg-type]

    with pytest.raises(FlowExecutionError, match="TypeError: object of type 'int' has no len") as caught:
        Flow("G").step(wrong).preview()
    assert isinstance(caught.value.__cause__, TypeError)


def test_an_unknown_method_is_an_attribute_error_with_the_nearest_one() -> None:
    """`hasattr`, pickling and displays still ask for what is not there; their names are nobody's guess."""
    flow: Any = Flow("G")

    with pytest.raises(AttributeError, match=r"'Flow' object has no attribute 'stp': did you mean 'step'\?"):
        flow.stp(read)
    with pytest.raises(AttributeError, match=r"no attribute 'zzzzz'$"):
        flow.zzzzz  # noqa: B018
    with pytest.raises(AttributeError, match=r"no attribute '_steps'$"):
        flow._steps  # noqa: B018
    assert copy.deepcopy(full()) == full()

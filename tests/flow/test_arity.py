"""What may be a step or a map function: judged by what the call needs, not by counting parameters."""

from __future__ import annotations

import functools
import operator
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from data_engine import Flow
from tests.flow.running import current, failing


def one(value: Any) -> Any:
    return ("one", value)


def with_default(value: Any, factor: int = 2) -> Any:
    return ("default", value, factor)


def with_star(*values: Any) -> Any:
    return ("star", *values)


def with_keyword(value: Any, *, loud: bool = False, **more: Any) -> Any:
    return ("keyword", value, loud)


def positional_only(value: Any, /) -> Any:
    return ("positional", value)


def two(context: Any, item: Any) -> Any:
    return ("two", item)


def two_and_default(context: Any, item: Any, *, loud: bool = False) -> Any:
    return ("two", item)


def three(first: Any, second: Any, third: Any) -> None: ...
def nothing() -> None: ...
def needs_keyword(value: Any, *, loud: bool) -> None: ...
async def coroutine(value: Any) -> None: ...
async def stream(value: Any) -> AsyncIterator[Any]:
    yield value


class Methods:
    def bound(self, value: Any) -> Any:
        return ("bound", value)

    def pair(self, context: Any, item: Any) -> Any:
        return ("pair", item)

    @classmethod
    def of_class(cls, value: Any) -> Any:
        return ("class", value)

    @staticmethod
    def of_nothing(value: Any) -> Any:
        return ("static", value)

    def __call__(self, value: Any) -> Any:
        return ("called", value)

    async def later(self, value: Any) -> None: ...


class AsyncCall:
    async def __call__(self, value: Any) -> None: ...


class Made:
    """A class is a callable too; its `self` is not asked for."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Made) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


ONE_ARGUMENT: list[tuple[Callable[..., Any], Any]] = [
    (one, ("one", 3)),
    (with_default, ("default", 3, 2)),
    (with_star, ("star", 3)),
    (with_keyword, ("keyword", 3, False)),
    (positional_only, ("positional", 3)),
    (lambda value: ("lambda", value), ("lambda", 3)),
    (lambda value, y=1: ("lambda", value, y), ("lambda", 3, 1)),
    (Methods().bound, ("bound", 3)),
    (Methods.of_class, ("class", 3)),
    (Methods.of_nothing, ("static", 3)),
    (Methods(), ("called", 3)),
    (functools.partial(two, "fixed"), ("two", 3)),
    (functools.partial(with_default, factor=9), ("default", 3, 9)),
    (Made, Made(3)),
    (str, "3"),
    (bool, True),
    (operator.neg, -3),
]


@pytest.mark.parametrize(("fn", "result"), ONE_ARGUMENT)
def test_map_gives_the_item_to_what_needs_one_argument(fn: Callable[..., Any], result: Any) -> None:
    """Defaults, `*args`, keyword-only parameters, methods, partials, classes and builtins: called `fn(item)`."""
    assert current(Flow("G").step(lambda context: [3]).map(fn)).items == (result,)


@pytest.mark.parametrize("fn", [fn for fn, _ in ONE_ARGUMENT])
def test_step_accepts_what_needs_one_argument(fn: Callable[..., Any]) -> None:
    """The same callables are steps."""
    assert Flow("G").step(fn).steps[0].fn is fn


@pytest.mark.parametrize("fn", [dict, list, set, int, print, len, sorted, max, range, Path, open, zip])
def test_builtins_are_accepted_with_or_without_a_signature(fn: Any) -> None:
    """No raw ValueError where Python knows no signature; in a map they get the item alone."""
    assert Flow("G").step(fn).steps[0].fn is fn
    assert Flow("G").map(fn).steps[0].fn.takes_context is False  # type: ignore[attr-defined]


def test_dict_is_a_map_function() -> None:
    """Called with the item, as anywhere else."""
    assert current(Flow("G").step(lambda context: [[("a", 1)]]).map(dict)).items == ({"a": 1},)


@pytest.mark.parametrize("fn", [two, two_and_default, Methods().pair, lambda context, item: ("two", item)])
def test_map_gives_context_and_item_to_what_needs_two(fn: Callable[..., Any]) -> None:
    """The context is the run's own."""
    assert current(Flow("G").step(lambda context: [3]).map(fn)).items[0][1] == 3


def test_the_context_of_a_map_is_the_one_of_the_steps() -> None:
    """Objects saved before are there."""
    flow = Flow("G").step(lambda context: 10, save_as="base").step(lambda context: [1, 2])

    assert current(flow.map(lambda context, item: context.objects["base"] + item)).items == (11, 12)


@pytest.mark.parametrize("fn", [nothing, two, three, needs_keyword, Methods().pair, object])
def test_step_refuses_what_cannot_be_called_with_one_context(fn: Any) -> None:
    """The message shows the signature, the fix the right one."""
    error = failing(lambda: Flow("G").step(fn))

    assert "exactly one context parameter" in error.what
    assert "def name(context)" in str(error.fix)


@pytest.mark.parametrize("fn", [nothing, three, needs_keyword, object])
def test_map_refuses_what_neither_call_fits(fn: Any) -> None:
    """Both possible calls are named."""
    assert "either (item) or (context, item)" in failing(lambda: Flow("G").map(fn)).what


@pytest.mark.parametrize("fn", [None, 5, "name", ["x"]])
def test_what_is_not_callable_is_refused(fn: Any) -> None:
    """Such as the result of a function called too early."""
    assert "callable" in failing(lambda: Flow("G").step(fn)).what
    assert "callable" in failing(lambda: Flow("G").map(fn)).what


@pytest.mark.parametrize("fn", [coroutine, stream, Methods().later, functools.partial(coroutine), AsyncCall()])
def test_async_functions_are_refused(fn: Any) -> None:
    """Their result would be a coroutine nobody awaits."""
    assert "async" in failing(lambda: Flow("G").step(fn)).what
    assert "async" in failing(lambda: Flow("G").map(fn)).what


def build_claims_summary(context: Any) -> None: ...
def readXLSXFile_v2(context: Any) -> None: ...
def _(context: Any) -> None: ...


@pytest.mark.parametrize(
    ("fn", "label", "name"),
    [
        (build_claims_summary, "Build Claims Summary", "build_claims_summary"),
        (readXLSXFile_v2, "Read X L S X File V2", "readXLSXFile_v2"),
        (_, "Step", "_"),
        (lambda context: 1, "Lambda", "<lambda>"),
        (Methods().bound, "Bound", "bound"),
        (Methods(), "Methods", "Methods"),
        (functools.partial(one), "Partial", "partial"),
        (Made, "Made", "Made"),
        (dict, "Dict", "dict"),
    ],
)
def test_a_step_is_labelled_like_its_function(fn: Any, label: str, name: str) -> None:
    """In words; the function's own name is kept beside it."""
    for verb in ("step", "map"):
        step = getattr(Flow("G"), verb)(fn).steps[0]

        assert (step.label, step.function_name) == (label, name)


def test_a_given_label_wins() -> None:
    """And collect has one of its own."""
    assert Flow("G").step(one, label="Load").steps[0].label == "Load"
    assert Flow("G").collect(".csv").steps[0].label == "Collect Files"

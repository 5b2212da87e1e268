"""Typed parameters: one grammar for what is given, wherever it comes from, and errors that name the field."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine import Flow, FlowContext, FlowValidationError, Secret
from data_engine.flow.parameters import Parameters, TypedValue, parameters_of, texts_to_params


class Pace(Enum):
    slow = "s"
    fast = "f"


@dataclass
class Everything:
    """What a run is about.

    Attributes:
        day: The day it is for,
            in local time.
    """

    day: date = date(2013, 1, 1)
    text: str = ""
    count: int = 3
    share: float = 0.5
    is_full: bool = False
    at: datetime | None = None
    hour: time = time(6, 30)
    wait: timedelta = timedelta(minutes=5)
    price: Decimal = Decimal("1.50")
    folder: Path = Path("../in")
    pace: Pace = Pace.slow
    kind: Literal["a", "b", 3] = "a"
    days: list[date] = field(default_factory=list, metadata={"label": "Which days", "help": "none: every day"})


@dataclass
class Needs:
    month: date


def made(**given: Any) -> Any:
    return parameters_of(Everything).make(given, secret=lambda name: Secret(name, "a long secret"))


CASES: dict[str, tuple[dict[str, Any], str, Any]] = {
    "a day": ({"day": "2013-02-05"}, "day", date(2013, 2, 5)),
    "a month is its first day": ({"day": "2013-02"}, "day", date(2013, 2, 1)),
    "a day as itself": ({"day": date(2013, 2, 5)}, "day", date(2013, 2, 5)),
    "digits stay a text": ({"text": "007"}, "text", "007"),
    "an exponent stays a text": ({"text": "1e3"}, "text", "1e3"),
    "a whole number": ({"count": " 1_000 "}, "count", 1000),
    "a number": ({"share": "1e-1"}, "share", 0.1),
    "a whole number for a number": ({"share": 1}, "share", 1.0),
    "yes": ({"is_full": "yes"}, "is_full", True),
    "off": ({"is_full": "OFF"}, "is_full", False),
    "a time with an offset": ({"at": "2013-01-05T06:30Z"}, "at", datetime(2013, 1, 5, 6, 30, tzinfo=UTC)),
    "none": ({"at": "none"}, "at", None),
    "nothing is none": ({"at": ""}, "at", None),
    "an hour of one digit": ({"hour": "7:05"}, "hour", time(7, 5)),
    "a duration": ({"wait": "1.5h"}, "wait", timedelta(hours=1.5)),
    "a sum of money": ({"price": "19.90"}, "price", Decimal("19.90")),
    "a path": ({"folder": "../x y"}, "folder", Path("../x y")),
    "a choice by name": ({"pace": "fast"}, "pace", Pace.fast),
    "a choice by value": ({"pace": "f"}, "pace", Pace.fast),
    "a choice as itself": ({"pace": Pace.fast}, "pace", Pace.fast),
    "a choice in other letters": ({"pace": "FAST"}, "pace", Pace.fast),
    "a number among the choices": ({"kind": "3"}, "kind", 3),
    "a list": ({"days": "2013-01-01, 2013-02"}, "days", [date(2013, 1, 1), date(2013, 2, 1)]),
    "a list as JSON": ({"days": '["2013-01-01"]'}, "days", [date(2013, 1, 1)]),
    "an empty list": ({"days": ""}, "days", []),
}


@pytest.mark.parametrize(("given", "name", "value"), CASES.values(), ids=CASES)
def test_a_value_is_read_by_its_type(given: dict[str, Any], name: str, value: object) -> None:
    """The same as a value of Python, as JSON and as a text; and it comes back so from what is sent and stored."""
    checked = parameters_of(Everything).check(given)

    assert getattr(made(**given), name) == value
    assert getattr(made(**json.loads(json.dumps(checked))), name) == value
    assert type(getattr(made(**given), name)) is type(value)


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown name": ({"dya": "2013-01-01"}, "there is no parameter 'dya'", "did you mean day?"),
    "no day": ({"day": "2013-02-30"}, "parameter day", "YYYY-MM-DD"),
    "a time where a day is": ({"day": datetime(2013, 1, 1)}, "parameter day", "YYYY-MM-DD"),
    "a part of a number": ({"count": "1.5"}, "parameter count", "whole number"),
    "true is not a number": ({"count": True}, "parameter count", "whole number"),
    "not finite": ({"share": "nan"}, "parameter share", "a number"),
    "maybe": ({"is_full": "maybe"}, "parameter is_full", "true or false"),
    "a duration without a unit": ({"wait": "5"}, "parameter wait", '"30s"'),
    "no choice": ({"pace": "fsat"}, "parameter pace", "did you mean fast?"),
    "a number where a text is": ({"text": 3}, "parameter text", "give a text"),
    "one wrong of a list": ({"days": "2013-01-01, x"}, "parameter days", "YYYY-MM-DD"),
    "a number for a list": ({"days": 3}, "parameter days", "a list"),
    "a NUL": ({"folder": "a\0b"}, "parameter folder", "a path"),
}


@pytest.mark.parametrize(("given", "what", "fix"), WRONG.values(), ids=WRONG)
def test_a_wrong_value_names_the_field_and_the_fix(given: dict[str, Any], what: str, fix: str) -> None:
    with pytest.raises(FlowValidationError) as caught:
        parameters_of(Everything).check(given)

    assert what in caught.value.what
    assert fix in (caught.value.fix or "")


@given(
    st.dictionaries(
        st.text(max_size=8), st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text())
    )
)
def test_nothing_but_our_own_error_comes_of_any_values(values: dict[str, Any]) -> None:
    """Whatever a form, a shell or another machine sends."""
    named = dict(zip([one.name for one in parameters_of(Everything).fields], values.values(), strict=False))
    for given_values in (values, named):
        try:
            checked = parameters_of(Everything).check(given_values)
        except FlowValidationError:
            continue
        json.dumps(checked)
        made(**checked)


def test_a_form_in_another_process_needs_no_code_of_the_author() -> None:
    """What crosses the process checks by the same grammar; labels and help come from metadata and docstring."""
    parameters = parameters_of(Everything)
    told = Parameters.of_json(json.loads(json.dumps(parameters.as_json())), "Everything")

    assert told == parameters
    assert told.check({"days": "2013-02"}) == {"days": ["2013-02-01"]}
    shown = {one.name: (one.title, one.help) for one in told.fields}
    assert shown["day"] == ("Day", "The day it is for, in local time.")
    assert shown["days"] == ("Which days", "none: every day")


def test_what_no_parameter_can_be_is_an_error_of_the_author() -> None:
    @dataclass
    class Odd:
        frame: dict[str, int]

    @dataclass
    class OddDefault:
        day: date = "soon"  # type: ignore[assignment]

    class Bare:
        day: date = date(2026, 1, 1)

    for wrong, words, fix in (
        (Odd, "Odd.frame is of type dict[str, int]", "use one of str int"),
        (OddDefault, "the default of day", "give a default of the type"),
        (
            dict,
            "declared by a dataclass, not by type <class 'dict'>",
            "write a class with a line for each of them:\n@dataclass",
        ),
        (
            Bare,
            "class Bare is not a dataclass",
            "write @dataclass in the line above class Bare (from dataclasses import dataclass)",
        ),
        (OddDefault(), "not by one OddDefault of it", "give the class itself, without brackets: .params(OddDefault)"),
    ):
        with pytest.raises(FlowValidationError) as caught:
            Flow(group="G").params(wrong)  # type: ignore[arg-type]
        assert words in caught.value.what
        assert fix in str(caught.value.fix)
        assert "<locals>" not in str(caught.value)


def test_a_flow_that_runs_by_itself_needs_defaults() -> None:
    """Said when it is built, in whichever order."""
    flow = Flow(group="G").params(Needs)
    scheduled = Flow(group="G").watch(mode="schedule", time="08:00")

    assert flow.watch(mode="manual").mode == "manual"
    with pytest.raises(FlowValidationError, match="parameter month has no default"):
        flow.watch(mode="schedule", time="08:00")
    with pytest.raises(FlowValidationError, match="parameter month has no default"):
        scheduled.params(Needs)


def test_steps_get_an_instance_and_a_missing_value_is_told_before() -> None:
    flow = Flow(group="G").params(Needs).step(lambda context: context.params)

    assert flow.preview(params={"month": "2013-03"}) == Needs(date(2013, 3, 1))
    assert flow.run_once(params={"month": date(2013, 3, 1)})[0].params == Needs(date(2013, 3, 1))
    for verb in (flow.preview, flow.run_once):
        with pytest.raises(FlowValidationError, match="parameter month has no default and was not given"):
            verb()


def test_a_class_that_refuses_its_values_is_a_wrong_input() -> None:
    @dataclass
    class Range:
        first: int = 1
        last: int = 2

        def __post_init__(self) -> None:
            if self.first > self.last:
                raise ValueError("first comes after last")

    flow = Flow(group="G").params(Range).step(lambda context: 1)

    context = flow.run_once(params={"first": 3}, on_error="continue")[0]
    assert "Range refuses these parameters: first comes after last" in str(context.error)


def test_a_parameter_that_is_a_secret_is_never_given() -> None:
    """It is asked for by its name; a text for it would stand in a shell's history."""

    @dataclass
    class Login:
        dwh: Secret
        mail: Secret | None

    flow = Flow(group="G").params(Login).step(lambda context: (context.params.dwh.reveal(), context.params.mail))

    with pytest.raises(FlowValidationError, match="never given") as caught:
        flow.preview(params={"dwh": "hunter2hunter2"})
    assert "hunter2" not in str(caught.value)
    assert flow.preview(params={"dwh": Secret("dwh", "a long secret")}) == ("a long secret", None)


def test_flows_that_declare_nothing_take_any_names() -> None:
    """And what no step reads is a warning in the run's log."""

    def read(context: FlowContext) -> object:
        return context.params["a"]

    lines: list[str] = []
    from data_engine.runs import run_once

    flow = Flow(group="G").step(read)
    contexts = run_once(
        flow, params={"a": 1, "mouth": 2}, listen=lambda event: lines.append(str(getattr(event, "message", "")))
    )

    assert contexts[0].current == 1
    assert [line for line in lines if line] == ["no step has read the params mouth, which the run was given"]


def test_a_text_means_json_only_where_nothing_is_declared() -> None:
    pairs = {"count": TypedValue.text("15"), "text": TypedValue.text("15")}

    assert texts_to_params(pairs, None) == {"count": 15, "text": 15}
    assert parameters_of(Everything).check(texts_to_params(pairs, parameters_of(Everything))) == {
        "count": 15,
        "text": "15",
    }

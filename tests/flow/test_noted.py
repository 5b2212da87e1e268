"""What an author puts into `context.metadata`: as plain values, bounded, with secrets masked."""

from __future__ import annotations

import json
from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine import Flow, FlowExecutionError, FlowValidationError, Secret
from data_engine.flow.context import FlowContext
from data_engine.flow.control import StepControl
from data_engine.flow.noted import MOST_BYTES, SEEDED, noted
from data_engine.flow.steps import run_steps
from data_engine.secret import learn
from tests.support import examples

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.datetimes()
    | st.decimals()
    | st.just(PurePosixPath("in/a.csv"))
    | st.builds(object)
    | st.binary()
)
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.dates()
VALUES = st.recursive(LEAVES, lambda values: st.lists(values) | st.dictionaries(KEYS, values) | st.tuples(values))


@given(st.dictionaries(st.text() | st.integers(), VALUES))
@settings(max_examples=examples(200))
def test_any_metadata_is_bounded_json_of_its_author(metadata: dict[Any, Any]) -> None:
    kept = noted({**metadata, **dict.fromkeys(SEEDED, "ours")})

    assert len(kept.text.encode()) <= MOST_BYTES
    assert list(json.loads(kept.text)) == list(kept.values)
    assert not set(SEEDED) & set(kept.values) - set(metadata)


@given(st.lists(st.integers(0, MOST_BYTES), max_size=8))
@settings(max_examples=examples(100))
def test_what_does_not_fit_is_named(sizes: list[int]) -> None:
    metadata = {f"k{number}": "x" * size for number, size in enumerate(sizes)}

    kept = noted(metadata)

    assert len(kept.text.encode()) <= MOST_BYTES
    assert {*kept.values, *kept.beyond} == set(metadata)
    assert not set(kept.values) & set(kept.beyond)


def test_plain_values_stay_and_others_are_told_by_type_and_shape() -> None:
    at = datetime(2026, 1, 5, 6, tzinfo=UTC)
    given_values = {
        "batch_no": np.int64(7),
        "share": np.float64(0.5),
        "at": at,
        "day": date(2026, 1, 5),
        "total": Decimal("12.50"),
        "file": PurePosixPath("in/a.csv"),
        "parts": (1, [2, {"a": None}]),
        "by_day": OrderedDict([(date(2026, 1, 5), True)]),
        "frame": pl.DataFrame({"a": [1, 2]}),
        "model": object(),
        "nan": float("nan"),
        "key": Secret("dwh", "correct horse battery"),
    }

    kept = noted(given_values)

    assert json.loads(kept.text) == {
        "batch_no": 7,
        "share": 0.5,
        "at": "2026-01-05T06:00:00+00:00",
        "day": "2026-01-05",
        "total": "12.50",
        "file": "in/a.csv",
        "parts": [1, [2, {"a": None}]],
        "by_day": {"2026-01-05": True},
        "frame": "polars.DataFrame, 2 rows × 1 column",
        "model": "object",
        "nan": "nan",
        "key": "***",
    }
    assert kept.values["total"] == Decimal("12.50")


def test_a_secret_is_masked_wherever_it_stands() -> None:
    learn("Xk7-open-sesame")

    kept = noted({"a Xk7-open-sesame": ["x Xk7-open-sesame y", {"Xk7-open-sesame": PurePosixPath("/Xk7-open-sesame")}]})

    assert "sesame" not in kept.text
    assert "***" in kept.text


def test_what_holds_itself_or_is_endless_is_named_and_costs_nothing() -> None:
    ring: list[Any] = []
    ring.append(ring)

    kept = noted({"ring": ring, "many": [0] * 10_000_000, "big": 10**50_000, "n": 1})

    assert (kept.text, kept.beyond) == ('{"n":1}', ("ring", "many", "big"))


@pytest.mark.parametrize("key", SEEDED)
@pytest.mark.parametrize("way", ["set", "remove"])
def test_a_step_cannot_change_what_the_engine_noted(key: str, way: str) -> None:
    def spoil(context: FlowContext) -> None:
        if way == "set":
            context.metadata[key] = "mine"
        else:
            del context.metadata[key]

    context = FlowContext(flow_name="claims", group="G", metadata=dict.fromkeys(SEEDED, "ours"))

    with pytest.raises(FlowExecutionError) as caught:
        list(run_steps(Flow("G", "claims").step(spoil), context, control=StepControl()))

    assert key in caught.value.detail
    assert isinstance(caught.value.__cause__, FlowValidationError)
    assert caught.value.fix is not None
    assert f"my_{key}" in caught.value.fix

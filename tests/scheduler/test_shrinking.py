"""A batch with far fewer sources than its last good run took: held or told, by the table and by an oracle."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine import Flow
from data_engine.errors import FlowValidationError
from data_engine.flow.trigger import Trigger
from data_engine.model import FeedCount
from data_engine.planning.due import Due, NotDue, PlannedFlow, judge_batch
from data_engine.planning.feeds import intakes, shrunk
from data_engine.reasons.kinds import FeedShrunk, New
from tests.support import examples

SOURCES = "sources *"


def took(count: int, name: str = SOURCES) -> FeedCount:
    return FeedCount({name: count})


BATCH: dict[str, Any] = {"mode": "poll", "source": "/in", "interval": "30s", "run_as": "batch"}


def trigger(**options: Any) -> Trigger:
    made = Flow("G", "claims").watch(**{**BATCH, **options}).trigger
    assert made is not None
    return made


(SOURCE,) = intakes(PlannedFlow.of(Flow("G", "claims").watch(**BATCH)))


@pytest.mark.parametrize(
    ("collects", "names"),
    [
        pytest.param([{}], ["collect . .csv"], id="of the source folder"),
        pytest.param([{"root": "/in", "recursive": True}], ["collect /in .csv recursive"], id="the same by its path"),
        pytest.param([{"root": "/rates"}], ["collect /rates .csv", SOURCES], id="of another folder"),
        pytest.param([{}, {"root": "/rates"}], ["collect . .csv", "collect /rates .csv"], id="of both"),
    ],
)
def test_a_batch_takes_what_it_collects(collects: list[dict[str, Any]], names: list[str]) -> None:
    flow = Flow("G", "claims").watch(**BATCH)
    for options in collects:
        flow = flow.collect(".csv", **options)

    assert [intake.name for intake in intakes(PlannedFlow.of(flow))] == names


def test_of_two_folders_the_one_that_has_shrunk_most_holds_the_batch() -> None:
    flow = Flow("G", "claims").watch(**BATCH).collect(".csv").collect(".csv", root="/rates")
    sales, rates = intakes(PlannedFlow.of(flow))

    held = shrunk(FeedCount({sales.name: 10, rates.name: 20}), {sales: 10, rates: 2})

    assert held is not None
    assert (held[0], held[1].gone, held[1].before) == (rates, 18, 20)


@pytest.mark.parametrize(
    ("feed", "count", "is_slot", "gone"),
    [
        pytest.param(None, 1, False, None, id="first run"),
        pytest.param(took(10), 5, False, None, id="exactly half"),
        pytest.param(took(10), 4, False, 6, id="less than half"),
        pytest.param(took(3), 1, False, None, id="two fewer"),
        pytest.param(took(4), 1, False, 3, id="three fewer"),
        pytest.param(took(2), 0, False, None, id="none left of two, poll"),
        pytest.param(took(2), 0, True, 2, id="none left of two, slot"),
        pytest.param(took(0), 0, True, None, id="the run moved them all itself"),
        pytest.param(took(10, "sources .csv"), 1, False, None, id="extensions changed"),
    ],
)
def test_a_batch_is_held_by_what_the_last_good_run_took(
    feed: FeedCount | None, count: int, is_slot: bool, gone: int | None
) -> None:
    held = shrunk(feed, {SOURCE: count}, is_slot=is_slot)

    assert (None if held is None else held[1].gone) == gone


@given(before=st.integers(0, 50), count=st.integers(0, 60), is_slot=st.booleans())
@settings(max_examples=examples(200))
def test_any_batch_is_held_exactly_when_the_sentence_says_so(before: int, count: int, is_slot: bool) -> None:
    is_held = (count < before / 2 and count <= before - 3) or (is_slot and count == 0 and before > 0)

    assert (shrunk(took(before), {SOURCE: count}, is_slot=is_slot) is not None) == is_held


def test_sources_one_by_one_are_never_held_for_their_number() -> None:
    assert intakes(PlannedFlow.of(Flow("G", "claims").watch(**{**BATCH, "run_as": "individual"}).collect(".csv"))) == ()


def test_only_a_batch_that_is_due_is_held() -> None:
    planned = PlannedFlow.of(Flow("G", "claims").watch(**BATCH))
    key, why = planned.key(""), FeedShrunk(8, 10)

    verdict = judge_batch(key, [Due(planned.key("a.csv"), New())], (), lambda count: why)

    assert verdict == NotDue(key, why)
    assert not isinstance(judge_batch(key, [], (), lambda count: why).why, FeedShrunk)


@pytest.mark.parametrize("options", [{"shrink": "drop"}, {"shrink": "tell", "run_as": "individual"}])
def test_shrink_is_a_word_for_batches(options: dict[str, Any]) -> None:
    with pytest.raises(FlowValidationError, match="shrink"):
        trigger(**options)

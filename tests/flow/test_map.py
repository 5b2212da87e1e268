"""`map`: the items of a batch one by one or at once, in input order, with errors kept or raised."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from data_engine import Batch, Flow, FlowExecutionError, FlowStoppedError, ItemError
from data_engine.engine.items.threads import spread
from data_engine.flow.control import RunInterrupted, StepControl, one_by_one
from data_engine.model import LogLine, StepFinished, StepProgress
from tests.flow.running import current, events_of, stop_after

WAYS = {"a plain loop": (one_by_one, None), "one thread": (spread, 1), "four threads": (spread, 4)}


@pytest.fixture(params=list(WAYS))
def way(request: pytest.FixtureRequest) -> tuple[Any, int | None]:
    """How items are spread, and over how many threads: results, order and errors must not depend on it."""
    return WAYS[request.param]


def mapped(way: tuple[Any, int | None], items: Any, fn: Callable[..., Any], **options: Any) -> Any:
    how, at_once = way
    flow = Flow("G", "claims").step(lambda context: items).map(fn, max_parallel=at_once, label="Each", **options)
    return events_of(flow, control=StepControl(run_id="r1", spread=how))[0].current


def test_the_result_is_a_batch_in_input_order(way: Any) -> None:
    """However long each item takes."""
    assert mapped(way, list(range(50)), lambda item: item * 2) == Batch(tuple(range(0, 100, 2)))


def test_items_that_end_in_another_order_keep_their_place() -> None:
    """The first item waits for the second, which only threads can give it."""
    second_ran = threading.Event()

    def item(number: int) -> int:
        if number == 0:
            assert second_ran.wait(10)
        else:
            second_ran.set()
        return number

    assert mapped(WAYS["four threads"], [0, 1], item).items == (0, 1)


def numbers() -> Iterator[int]:
    yield from (1, 2, 3)


@pytest.mark.parametrize(
    "items",
    [[1, 2, 3], (1, 2, 3), Batch((1, 2, 3)), {1, 2, 3}, frozenset({1, 2, 3}), range(1, 4), {1: 0, 2: 0, 3: 0}.keys()],
)
def test_anything_that_iterates_is_a_batch(way: Any, items: Any) -> None:
    """Lists, sets, ranges, views."""
    assert sorted(mapped(way, items, str)) == ["1", "2", "3"]


def test_a_generator_is_a_batch(way: Any) -> None:
    """It is used up once."""
    assert mapped(way, numbers(), str).items == ("1", "2", "3")


@pytest.mark.parametrize("value", [None, "text", b"bytes", {"a": 1}, 5, object()])
def test_what_is_no_batch_is_refused(way: Any, value: Any) -> None:
    """A text is not its letters, a dict not its keys."""
    with pytest.raises(FlowExecutionError, match="requires an iterable current value") as caught:
        mapped(way, value, str)
    assert type(value).__name__ in caught.value.detail
    assert caught.value.fix


@pytest.mark.parametrize("empty", [[], (), Batch(()), set(), range(0), iter(())])
def test_an_empty_batch_is_refused(way: Any, empty: Any) -> None:
    """Nothing to do is said, not passed on in silence; also with kept errors."""
    with pytest.raises(FlowExecutionError, match="requires at least one item"):
        mapped(way, empty, str, on_error="collect")


def test_results_may_be_anything_and_none(way: Any) -> None:
    """None is a result."""
    assert mapped(way, [1, 2], lambda item: None).items == (None, None)


# -- errors ------------------------------------------------------------------------------------------------------------


def invert(number: int) -> float:
    return 1 / number


def test_kept_errors_stay_in_their_places(way: Any) -> None:
    """`ok` and `errors` split them in order; the error holds its item."""
    batch = mapped(way, [1, 0, 2, 0], invert, on_error="collect")

    assert [type(item).__name__ for item in batch] == ["float", "ItemError", "float", "ItemError"]
    assert batch.ok() == Batch((1.0, 0.5))
    assert [error.item for error in batch.errors()] == [0, 0]
    assert isinstance(batch[1], ItemError)
    assert isinstance(batch[1].error, ZeroDivisionError)
    assert str(batch[1]) == "0: ZeroDivisionError: division by zero"


def test_a_raised_error_names_step_item_and_cause(way: Any) -> None:
    """The item is told by its number, of how many, and by what it is."""
    with pytest.raises(FlowExecutionError) as caught:
        mapped(way, [1, 0, 2], invert)
    error = caught.value
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert error.what == (
        'Flow "claims" failed in step "Each" (function invert): ZeroDivisionError: division by zero (item 2 of 3: 0)'
    )


def test_a_long_item_is_shortened_in_the_error(way: Any) -> None:
    """A frame or a long text does not flood the log."""
    with pytest.raises(FlowExecutionError) as caught:
        mapped(way, ["x" * 5000], int)
    assert len(caught.value.what) < 5600
    assert "…" in caught.value.what


def test_the_first_error_in_input_order_is_the_one_raised() -> None:
    """Though a later item failed earlier; a plain loop would have raised it too."""
    both_run = threading.Barrier(2)

    def item(number: int) -> None:
        both_run.wait(10)
        raise ValueError(f"item {number}")

    for _ in range(5):
        with pytest.raises(FlowExecutionError, match="item 0"):
            mapped((spread, 2), [0, 1], item)


def test_after_an_error_no_later_item_is_started() -> None:
    """A loop stops at once; threads finish at most what runs."""
    for way, most in ((WAYS["a plain loop"], 1), ((spread, 2), 2)):
        started: list[int] = []

        def item(number: int, started: list[int] = started) -> None:
            started.append(number)
            raise ValueError("no")

        with pytest.raises(FlowExecutionError, match="item 1 of 50"):
            mapped(way, range(50), item)
        assert len(started) <= most


def test_no_more_than_max_parallel_run_at_once() -> None:
    """And they do run at once."""
    lock = threading.Lock()
    running: set[int] = set()
    most = [0]
    pair = threading.Barrier(2)

    def item(number: int) -> None:
        with lock:
            running.add(number)
            most[0] = max(most[0], len(running))
        pair.wait(10)
        with lock:
            running.discard(number)

    mapped((spread, 2), range(8), item)

    assert most[0] == 2


def test_without_max_parallel_items_run_in_the_callers_thread(way: Any) -> None:
    """Libraries bound to a thread keep working."""
    how, _ = way
    seen = mapped((how, None), [1, 2], lambda item: threading.current_thread())

    assert set(seen) == {threading.current_thread()}


# -- stopping ----------------------------------------------------------------------------------------------------------


def test_a_stop_ends_a_map_at_its_next_item(way: Any) -> None:
    """Items already done do not help; kept errors do not keep a stop."""
    how, at_once = way
    ran: list[int] = []

    def item(number: int) -> None:
        ran.append(number)

    flow = Flow("G").step(lambda context: range(100)).map(item, max_parallel=at_once, on_error="collect")
    control = StepControl(spread=how, may_work=stop_after(8))

    with pytest.raises(RunInterrupted):
        events_of(flow, control=control)
    assert len(ran) <= 8


def test_an_items_own_except_does_not_swallow_a_stop(way: Any) -> None:
    """`except Exception` around a call that asks leaves the stop alone."""
    how, at_once = way

    def item(context: Any, number: int) -> int:
        try:
            context.progress(number)
        except Exception:
            return -1
        return number

    flow = Flow("G").step(lambda context: range(100)).map(item, max_parallel=at_once, on_error="collect")

    with pytest.raises(RunInterrupted):
        events_of(flow, control=StepControl(spread=how, may_work=stop_after(9)))


def stop_here(item: Any) -> None:
    raise FlowStoppedError("enough")


def test_an_item_may_ask_for_a_stop(way: Any) -> None:
    """A FlowStoppedError is a stop, not this item's failure."""
    with pytest.raises(FlowStoppedError, match="enough"):
        mapped(way, [1, 2], stop_here)


def test_an_item_may_ask_for_a_stop_also_where_errors_are_kept(way: Any) -> None:
    """It is not an item error."""
    with pytest.raises(FlowStoppedError, match="enough"):
        mapped(way, [1, 2], stop_here, on_error="collect")


def test_an_interrupt_ends_the_map(way: Any) -> None:
    """Ctrl-C is nobody's item error."""

    def item(number: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mapped(way, [1, 2], item, on_error="collect")


# -- what is reported --------------------------------------------------------------------------------------------------


def test_progress_ends_with_all_items(way: Any) -> None:
    """The last count is always reported, with the step's number and label."""
    how, at_once = way
    flow = Flow("G", "claims").step(lambda context: range(30)).map(str, max_parallel=at_once, label="Each")

    _, events = events_of(flow, control=StepControl(run_id="r1", spread=how))

    counts = [event for event in events if isinstance(event, StepProgress)]
    assert counts
    assert (counts[-1].run_id, counts[-1].step_index, counts[-1].label) == ("r1", 1, "Each")
    assert (counts[-1].done, counts[-1].total) == (30, 30)
    assert [event.done for event in counts] == sorted({event.done for event in counts})


def test_logs_of_items_belong_to_their_step(way: Any) -> None:
    """Also from another thread."""
    how, at_once = way

    def item(context: Any, number: int) -> None:
        context.log(f"item {number}")

    flow = Flow("G", "claims").step(lambda context: range(5)).map(item, max_parallel=at_once, label="Each")
    _, events = events_of(flow, control=StepControl(run_id="r1", spread=how))

    lines = [event for event in events if isinstance(event, LogLine)]
    assert sorted(line.message for line in lines) == [f"item {number}" for number in range(5)]
    assert {(line.run_id, line.flow, line.step, line.level) for line in lines} == {("r1", "claims", "Each", "INFO")}
    assert isinstance(events[-1], StepFinished)


def test_maps_can_be_chained() -> None:
    """The batch of one is the input of the next."""
    assert current(Flow("G").step(lambda context: [1, 2]).map(str).map(len)).items == (1, 1)

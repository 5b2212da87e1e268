"""`networkdays` and `workday` give Excel's documented results, and those of a slow model that walks day by day."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.errors import FlowValidationError
from data_engine.helpers import networkdays, visit_counter, workday
from tests.support import examples

DAY = timedelta(days=1)
WEEK = (True,) * 5 + (False,) * 2


def is_worked(day: date, mask: Sequence[bool], holidays: Collection[date]) -> bool:
    return mask[day.weekday()] and day not in holidays


def slow_networkdays(
    start: date, end: date, mask: Sequence[bool], holidays: Collection[date], *, count_first_day: bool
) -> int:
    step = 1 if end >= start else -1
    days = [start + DAY * step * number for number in range(abs((end - start).days) + 1)]
    worked = sum(is_worked(day, mask, holidays) for day in days)
    return step * (worked + (count_first_day and not is_worked(start, mask, holidays)))


def slow_workday(
    start: date, days: int, mask: Sequence[bool], holidays: Collection[date], *, count_first_day: bool
) -> date:
    if count_first_day:
        if abs(days) <= 1:
            return start
        days -= 1 if days > 0 else -1
    if days == 0:
        while not is_worked(start, mask, holidays):
            start += DAY
        return start
    step = 1 if days > 0 else -1
    for _ in range(abs(days)):
        start += DAY * step
        while not is_worked(start, mask, holidays):
            start += DAY * step
    return start


def one(expression: pl.Expr) -> Any:
    return pl.select(expression).item()


PROJECT = (date(2012, 10, 1), date(2013, 3, 1))
OFF = ["2012-11-22", "2012-12-04", "2013-01-21"]


@pytest.mark.parametrize(
    ("start", "end", "options", "expected"),
    [
        (*PROJECT, {}, 110),
        (*PROJECT, {"holidays": OFF[:1]}, 109),
        (*PROJECT, {"holidays": OFF}, 107),
        (*reversed(PROJECT), {}, -110),
        (date(2006, 1, 1), date(2006, 1, 31), {}, 22),
        (date(2006, 2, 28), date(2006, 1, 31), {}, -21),
        (date(2006, 1, 1), date(2006, 2, 1), {"mask": [True] * 4 + [False] * 2 + [True], "holidays": ["2006-01-02", "2006-01-16"]}, 22),
        (date(2026, 4, 13), date(2026, 4, 14), {}, 2),
        (date(2026, 4, 11), date(2026, 4, 13), {}, 1),
        (date(2026, 4, 14), date(2026, 4, 13), {}, -2),
        (date(2026, 4, 11), date(2026, 4, 12), {}, 0),
        (date(2026, 4, 11), date(2026, 4, 13), {"count_first_day": True}, 2),
        (date(2026, 4, 12), date(2026, 4, 10), {"count_first_day": True}, -2),
    ],
)  # fmt: skip
def test_networkdays_is_as_excel_documents_it(start: date, end: date, options: dict[str, Any], expected: int) -> None:
    """NETWORKDAYS and NETWORKDAYS.INTL, and what the reference adds."""
    assert one(networkdays(start, end, **options)) == expected


@pytest.mark.parametrize(
    ("start", "days", "options", "expected"),
    [
        (date(2008, 10, 1), 151, {}, date(2009, 4, 30)),
        (date(2008, 10, 1), 151, {"holidays": ["2008-11-26", "2008-12-04", "2009-01-21"]}, date(2009, 5, 5)),
        (date(2012, 1, 1), 90, {"mask": [True] * 6 + [False]}, date(2012, 4, 14)),
        (date(2012, 1, 1), 30, {"mask": [True] * 5 + [False, True]}, date(2012, 2, 5)),
        (date(2026, 4, 13), 1, {}, date(2026, 4, 14)),
        (date(2026, 4, 11), 1, {}, date(2026, 4, 13)),
        (date(2026, 4, 13), -1, {}, date(2026, 4, 10)),
        (date(2026, 4, 11), 0, {}, date(2026, 4, 13)),
        (date(2026, 4, 13), 1, {"count_first_day": True}, date(2026, 4, 13)),
        (date(2026, 4, 11), 0, {"count_first_day": True}, date(2026, 4, 11)),
        (date(2026, 4, 11), 2, {"count_first_day": True}, date(2026, 4, 13)),
    ],
)
def test_workday_is_as_excel_documents_it(start: date, days: int, options: dict[str, Any], expected: date) -> None:
    """WORKDAY and WORKDAY.INTL, and what the reference adds."""
    assert one(workday(start, days, **options)) == expected


DATES = st.dates(date(2019, 12, 1), date(2020, 3, 15))
MASKS = st.lists(st.booleans(), min_size=7, max_size=7).filter(any)


@settings(max_examples=examples(20), deadline=None)
@given(
    st.lists(st.tuples(DATES, DATES, st.integers(-15, 15)), min_size=1, max_size=8),
    MASKS,
    st.sets(DATES, max_size=5),
    st.booleans(),
)
def test_both_give_what_walking_day_by_day_gives(
    rows: list[tuple[date, date, int]], mask: list[bool], holidays: set[date], count_first_day: bool
) -> None:
    """For any week, any days off, in either direction."""
    frame = pl.DataFrame(rows, schema=["start", "end", "days"], orient="row")
    options: dict[str, Any] = {"mask": mask, "holidays": list(holidays), "count_first_day": count_first_day}

    found = frame.select(n=networkdays("start", "end", **options), d=workday("start", pl.col("days"), **options))

    slow = {"count_first_day": count_first_day}
    assert found["n"].to_list() == [slow_networkdays(start, end, mask, holidays, **slow) for start, end, _ in rows]
    assert found["d"].to_list() == [slow_workday(start, days, mask, holidays, **slow) for start, _, days in rows]


def test_nulls_give_null_and_types_are_fixed() -> None:
    """Int64 and Date, whatever comes in."""
    frame = pl.DataFrame({"a": [date(2026, 4, 13), None], "b": [None, date(2026, 4, 13)], "n": [None, 1]})

    found = frame.select(
        n=networkdays("a", "b"), m=networkdays("b", "a", count_first_day=True), d=workday("a", "n"), e=workday("a", "n", count_first_day=True)
    )  # fmt: skip

    assert found.schema == {"n": pl.Int64, "m": pl.Int64, "d": pl.Date, "e": pl.Date}
    assert found.null_count().row(0) == (2, 2, 2, 2)
    assert frame.head(0).select(networkdays("a", "b")).rows() == []


def test_moments_count_by_their_own_day() -> None:
    """Of a column in a zone, that zone's day; a time of day does not matter."""
    late = pl.DataFrame({"at": [datetime(2026, 4, 12, 23, tzinfo=UTC)], "plain": [datetime(2026, 4, 13, 23)]})
    tokyo = late.with_columns(pl.col("at").dt.convert_time_zone("Asia/Tokyo"))

    assert tokyo.select(networkdays("at", "plain")).item() == 1
    assert late.select(networkdays("at", datetime(2026, 4, 14, 1))).item() == 2
    assert late.select(workday("plain", 1)).item() == date(2026, 4, 14)


def test_days_off_may_be_given_in_any_form() -> None:
    """Dates, moments, ISO texts, a column; doubles and weekends do not matter."""
    off = [date(2026, 4, 13), datetime(2026, 4, 13, 5), "2026-04-13", "2026-04-12T00:00:00"]

    assert one(networkdays(date(2026, 4, 13), date(2026, 4, 14), holidays=off)) == 1
    assert one(networkdays(date(2026, 4, 13), date(2026, 4, 14), holidays=pl.Series([date(2026, 4, 13)]))) == 1


def test_they_are_native_expressions() -> None:
    """No Python function in the plan; lazy and streaming give the same."""
    frame = pl.LazyFrame({"a": [date(2026, 4, 13)] * 10, "b": [date(2026, 4, 20)] * 10, "n": range(10)})
    query = frame.select(
        n=networkdays("a", "b", holidays=["2026-04-14"]), d=workday("a", pl.col("n"), count_first_day=True)
    )

    assert "python" not in query.explain().lower()
    assert query.collect().equals(query.collect(engine="streaming"))
    assert query.collect()["n"].to_list() == [5] * 10


@pytest.mark.parametrize(
    "call", [lambda **options: networkdays("a", "b", **options), lambda **options: workday("a", 1, **options)]
)
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": [True] * 6}, FlowValidationError, "exactly seven"),
        ({"mask": [False] * 7}, FlowValidationError, "exactly seven"),
        ({"mask": [1, 1, 1, 1, 1, 0, 0]}, TypeError, "exactly seven"),
        ({"mask": "1111100"}, TypeError, "exactly seven"),
        ({"mask": 5}, TypeError, "exactly seven"),
        ({"holidays": ["soon"]}, FlowValidationError, "'soon' is not a date"),
        ({"holidays": "2026-04-13"}, TypeError, "list of dates"),
        ({"holidays": [5]}, TypeError, "a holiday must be a date"),
        ({"holidays": [None]}, TypeError, "a holiday must be a date"),
    ],
)
def test_wrong_options_are_refused_when_the_expression_is_made(
    call: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Not when it runs."""
    with pytest.raises(error, match=message):
        call(**options)


def test_more_days_than_a_calendar_has_are_refused() -> None:
    """They would lead to a day that is none."""
    with pytest.raises(FlowValidationError, match="beyond the calendar"):
        workday("a", 10**12)


@pytest.mark.parametrize("call", [lambda: networkdays(3, "b"), lambda: workday("a", 1.5), lambda: workday("a", True)])
def test_wrong_days_are_refused(call: Any) -> None:
    """With what they may be."""
    with pytest.raises(TypeError, match="must be a"):
        call()


@pytest.mark.parametrize("count_first_day", [True, False])
def test_a_column_of_nulls_without_a_type_gives_nulls(count_first_day: bool) -> None:
    """As a column of days would that holds none."""
    frame = pl.DataFrame({"none": [None, None], "day": [date(2024, 5, 6)] * 2, "n": [1, 0]})

    found = frame.select(
        networkdays("none", "day", count_first_day=count_first_day).alias("a"),
        networkdays("day", "none", count_first_day=count_first_day).alias("b"),
        workday("none", "n", count_first_day=count_first_day).alias("c"),
        workday("day", "none", count_first_day=count_first_day).alias("d"),
    )

    assert found.schema == {"a": pl.Int64, "b": pl.Int64, "c": pl.Date, "d": pl.Date}
    assert found.null_count().row(0) == (2, 2, 2, 2)


def test_results_replace_no_column_of_the_frame() -> None:
    """In `with_columns` without an alias they have names of their own."""
    frame = pl.DataFrame({"start": [date(2026, 4, 13)], "end": [date(2026, 4, 14)], "desk": ["a"]})
    more = frame.with_columns(
        networkdays("start", "end"), workday("start", 1), visit_counter("desk", by="start", sort_by="end")
    )

    assert more.select(frame.columns).equals(frame)
    assert more.columns[3:] == ["networkdays", "workday", "visit_counter"]

"""Values propagated in a group and visits counted, against slow models in plain Python."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.helpers import propagate_first_value, propagate_last_value, remove_null_columns, visit_counter
from tests.support import examples

Row = tuple[Any, Any, Any, Any]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.sampled_from([1, 2, 3, None]),
        st.sampled_from(["x", "y", None]),
        st.sampled_from([True, False, None]),
    ),
    max_size=12,
)


def frame_of(rows: list[Row]) -> pl.DataFrame:
    schema = {"group": pl.String, "day": pl.Int64, "value": pl.String, "counts": pl.Boolean}
    return pl.DataFrame(rows, schema=schema, orient="row")


def in_order(rows: list[tuple[int, Row]], *, descending: bool, nulls_last: bool) -> list[tuple[int, Row]]:
    """By day, ties as they come; nulls first unless told."""
    nulls = [one for one in rows if one[1][1] is None]
    days = sorted(
        (one for one in rows if one[1][1] is not None), key=lambda one: -one[1][1] if descending else one[1][1]
    )
    return days + nulls if nulls_last else nulls + days


def groups_of(rows: list[Row], **order: bool) -> list[list[tuple[int, Row]]]:
    numbered = list(enumerate(rows))
    return [in_order([one for one in numbered if one[1][0] == group], **order) for group in {row[0] for row in rows}]


@settings(max_examples=examples(25), deadline=None)
@given(ROWS, st.booleans(), st.booleans())
def test_visits_are_those_of_a_plain_walk(rows: list[Row], descending: bool, nulls_last: bool) -> None:
    """Side by side is one visit, coming back the next; null groups and null values count alike."""
    expected = [0] * len(rows)
    for group in groups_of(rows, descending=descending, nulls_last=nulls_last):
        seen: dict[Any, int] = {}
        for place, (number, row) in enumerate(group):
            if place == 0 or group[place - 1][1][2] != row[2]:
                seen[row[2]] = seen.get(row[2], 0) + 1
            expected[number] = seen[row[2]]

    counter = visit_counter("value", by="group", sort_by="day", descending=descending, nulls_last=nulls_last)
    found = frame_of(rows).select(counter)

    assert found.schema == {"visit_counter": pl.UInt32}
    assert found["visit_counter"].to_list() == expected


@settings(max_examples=examples(25), deadline=None)
@given(ROWS, st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_propagated_values_are_those_of_a_plain_walk(
    rows: list[Row], descending: bool, nulls_last: bool, ignore_nulls: bool, has_where: bool
) -> None:
    """First and last of each group, of the rows that count."""
    first, last = [None] * len(rows), [None] * len(rows)
    for group in groups_of(rows, descending=descending, nulls_last=nulls_last):
        counted = [row for _, row in group if (not has_where or row[3]) and not (ignore_nulls and row[2] is None)]
        for number, _ in group:
            first[number], last[number] = (counted[0][2], counted[-1][2]) if counted else (None, None)

    options: dict[str, Any] = {
        "by": ["group"],
        "sort_by": pl.col("day"),
        "where": "counts" if has_where else None,
        "descending": descending,
        "nulls_last": [nulls_last],
        "ignore_nulls": ignore_nulls,
    }
    frame = frame_of(rows).with_columns(
        first=propagate_first_value("value", **options), last=propagate_last_value(pl.col("value"), **options)
    )

    assert frame["first"].to_list() == first
    assert frame["last"].to_list() == last


def test_several_groups_and_orders_work_together() -> None:
    """Each order has its own direction."""
    frame = pl.DataFrame(
        {
            "a": [1, 1, 1, 1, 2],
            "b": ["x", "x", "x", "x", "x"],
            "day": [1, 1, 2, 2, 1],
            "hour": [1, 2, 1, 2, 1],
            "desk": ["p", "q", "p", "p", "p"],
        }
    )
    options: dict[str, Any] = {"by": ["a", pl.col("b")], "sort_by": ["day", "hour"], "descending": [False, True]}

    found = frame.select(
        visit=visit_counter("desk", **options),
        last=propagate_last_value("hour", **options),
        upper=visit_counter(pl.col("desk").str.to_uppercase(), **options),
    )

    assert found["visit"].to_list() == [1, 1, 1, 1, 1]
    assert found["last"].to_list() == [1, 1, 1, 1, 1]
    assert found["upper"].to_list() == [1, 1, 1, 1, 1]


def test_a_big_lazy_frame_streams_to_the_same() -> None:
    """The plan holds no Python."""
    frame = pl.select(n=pl.int_range(50_000)).with_columns(
        g=pl.col("n") % 997, t=pl.col("n") * 7919 % 50_021, v=pl.col("n") % 3
    )
    query = frame.lazy().with_columns(
        c=visit_counter("v", by="g", sort_by="t"), last=propagate_last_value("v", by="g", sort_by="t")
    )

    assert "python" not in query.explain().lower()
    assert query.collect().equals(query.collect(engine="streaming"))
    assert query.collect().group_by("g").agg((pl.col("c") * 0 + pl.col("last").n_unique()).max())["c"].max() == 1


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: visit_counter(3, by="a", sort_by="b"), TypeError, "value must be a column"),
        (lambda: visit_counter("v", by=3, sort_by="b"), TypeError, "by must be a column"),
        (lambda: visit_counter("v", by=[], sort_by="b"), ValueError, "by needs at least one"),
        (
            lambda: propagate_last_value("v", by="a", sort_by=["b"], descending=[True, False]),
            ValueError,
            "2 directions for 1",
        ),
        (lambda: propagate_first_value("v", by="a", sort_by="b", where=3), TypeError, "where must be"),
        (lambda: propagate_first_value("v", by="a", sort_by="b", descending="yes"), TypeError, "must be a bool"),
        (lambda: propagate_first_value("v", by="a", sort_by="b", nulls_last=None), TypeError, "must be a bool"),
        (lambda: visit_counter("v", by=pl.col("a", "b"), sort_by="c"), ValueError, "several columns"),
        (lambda: visit_counter("*", by="a", sort_by="c"), ValueError, "several columns"),
        (lambda: remove_null_columns(pl.LazyFrame({"a": [1]}).select("b")), ValueError, "query of the LazyFrame fails"),
        (lambda: remove_null_columns("x"), TypeError, "frame must be"),
    ],
)
def test_wrong_arguments_are_refused(call: Any, error: type[Exception], message: str) -> None:
    """When the expression is made."""
    with pytest.raises(error, match=message):
        call()


def test_columns_without_values_are_removed() -> None:
    """Lazy stays lazy; a frame without rows has none left."""
    frame = pl.DataFrame({"a": [1, None], "b": [None, None], "c": [None, None]}, schema_overrides={"c": pl.String})

    assert remove_null_columns(frame).columns == ["a"]
    lazy = remove_null_columns(frame.lazy())
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect().columns == ["a"]
    assert remove_null_columns(frame.head(0)).columns == []
    assert remove_null_columns(frame.lazy().head(0)).collect().columns == []


@pytest.mark.parametrize("name", ["*", "^a.*$"])
def test_a_column_called_as_a_pattern_stays_alone(name: str) -> None:
    """The columns of nulls go, whatever the others are called."""
    frame = pl.DataFrame({name: [1], "abc": [None]})

    assert remove_null_columns(frame).columns == [name]
    assert remove_null_columns(frame.lazy()).collect().columns == [name]


def test_a_literal_is_one_group_or_one_value() -> None:
    """As where values are propagated; so is any expression that gives one value."""
    frame = pl.DataFrame({"v": ["a", "b", "a"], "t": [1, 2, 3]})

    for by in (pl.lit(1), pl.col("t").max()):
        assert frame.select(visit_counter("v", by=by, sort_by="t")).to_series().to_list() == [1, 1, 2]
    assert frame.select(visit_counter(pl.lit("x"), by="v", sort_by="t")).to_series().to_list() == [1, 1, 1]

"""The profile of a frame says what plain Python counts in it, whatever library the frame is of."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.compare import profile
from data_engine.compare.profile import ColumnProfile, Frequent, Profile, profile_of
from data_engine.errors import FlowValidationError
from tests.support import ON_WINE

VALUES = {
    pl.Int64: st.integers(-5, 5) | st.integers(-(2**62), 2**62),
    pl.Float64: st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.5, math.nan, math.inf, -math.inf]),
    pl.String: st.text("abü 1", max_size=3),
    pl.Boolean: st.booleans(),
    pl.Date: st.dates(date(2000, 1, 1), date(2030, 1, 1)),
    pl.Datetime: st.datetimes(datetime(2000, 1, 1), datetime(2030, 1, 1)),
    pl.Duration: st.timedeltas(timedelta(0), timedelta(days=9)),
    pl.Decimal(12, 2): st.decimals(-9999, 9999, places=2),
    pl.Categorical: st.sampled_from(["north", "south"]),
    pl.Enum(["low", "high"]): st.sampled_from(["low", "high"]),
}
NUMBERS = (int, float, Decimal)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Columns of each type, with nulls."""
    rows = draw(st.integers(0, 12))
    columns = {
        f"c{at}": pl.Series(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), dtype=kind)  # type: ignore[arg-type]
        for at, (kind, values) in enumerate(VALUES.items())
    }
    return pl.DataFrame(columns)


def is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def assert_counted(found: ColumnProfile, values: list[Any], order: Callable[[Any], Any] = lambda value: value) -> None:
    """The profile of a column is what plain Python finds in its values."""
    known = [value for value in values if value is not None and not is_nan(value)]
    counts = Counter(known)
    assert (found.nulls, found.nans) == (values.count(None), sum(map(is_nan, values)))
    assert found.distinct == len(counts)
    assert found.smallest == min(known, key=order, default=None)
    assert found.largest == max(known, key=order, default=None)
    repeated = sorted((n for n in counts.values() if n > 1), reverse=True)
    assert [one.rows for one in found.frequent] == repeated[:5]
    assert all(counts[one.value] == one.rows for one in found.frequent)
    assert len({one.value for one in found.frequent}) == len(found.frequent)
    finite = [value for value in known if not isinstance(value, float) or math.isfinite(value)]
    is_number = bool(finite) and isinstance(finite[0], NUMBERS) and not isinstance(finite[0], bool)
    if is_number:
        assert float(found.mean) == pytest.approx(float(sum(map(Decimal, finite)) / len(finite)), rel=1e-6, abs=1e-6)
    if is_number or (finite and isinstance(finite[0], date)):
        assert sum(found.histogram) == len(finite)
        if len(set(finite)) > 1:
            assert found.histogram[0] >= counts[min(finite)]
            assert found.histogram[-1] >= counts[max(finite)]
    elif not found.histogram:
        assert not finite or isinstance(finite[0], (str, bool, timedelta))


@settings(deadline=None, max_examples=10 if ON_WINE else 40)
@given(frames())
def test_every_fact_is_what_plain_python_counts(frame: pl.DataFrame) -> None:
    """Of a DataFrame and of a LazyFrame."""
    found = profile_of(frame)

    assert (found.rows, found.columns) == frame.shape
    for column in found.shown:
        order = ["low", "high"].index if column.name == "c9" else lambda value: value
        assert_counted(column, frame[column.name].to_list(), order)
    assert repr(profile_of(frame.lazy())) == repr(found)


@settings(deadline=None, max_examples=5 if ON_WINE else 15)
@given(frames())
def test_sql_counts_the_same(frame: pl.DataFrame) -> None:
    """A relation of DuckDB, and a table of Arrow."""
    frame = frame.drop("c8", "c9")
    table = frame.to_arrow()
    with duckdb.connect() as connection:
        connection.register("given", table)
        found = profile_of(connection.sql("select * from given"))

    assert (found.rows, found.columns) == frame.shape
    for column, of_arrow in zip(found.shown, profile_of(table).shown, strict=True):
        assert_counted(column, frame[column.name].to_list())
        assert_counted(of_arrow, frame[column.name].to_list())


@settings(deadline=None, max_examples=5 if ON_WINE else 20)
@given(st.integers(20_001, 60_000), st.integers(2, 97), st.randoms(use_true_random=False))
def test_a_frequent_value_of_a_long_frame_is_found(rows: int, every: int, random: Any) -> None:
    """It is counted in all rows, also where it comes at regular distances."""
    least = random.randrange(every)
    values = pl.int_range(rows, eager=True)
    frame = values.to_frame("n").select(pl.when(pl.col("n") % every == least).then(-1).otherwise("n").alias("n"))

    minus_ones = int((frame["n"] == -1).sum())
    with duckdb.connect() as connection:
        connection.register("given", frame.to_arrow())
        profiles = profile_of(frame), profile_of(connection.sql("select * from given"))

    for (column,) in (found.shown for found in profiles):
        assert column.frequent == (Frequent(-1, minus_ones),)
        assert column.distinct == rows - minus_ones + 1
        assert (column.smallest, column.largest) == (-1, frame["n"].max())


KEYS = pl.select(
    number=pl.int_range(25_000),
    float=pl.int_range(25_000) / 7,
    text=pl.format("{}", pl.int_range(25_000)),
    day=pl.int_range(25_000, dtype=pl.Int32).cast(pl.Date),
    at=pl.int_range(25_000).cast(pl.Datetime("us", "Europe/Berlin")),
    took=pl.int_range(25_000).cast(pl.Duration),
    amount=pl.int_range(25_000).cast(pl.Decimal(12, 2)),
    bytes=pl.format("{}", pl.int_range(25_000)).cast(pl.Binary),
    kind=pl.format("{}", pl.int_range(25_000)).cast(pl.Categorical),
)


def test_of_a_long_key_each_value_is_counted() -> None:
    """So that one which comes twice is seen, in whatever type."""
    frame = KEYS.with_columns(float=pl.when(pl.col("number") == 7).then(math.nan).otherwise("float"))
    null = pl.DataFrame(schema=frame.schema).clear(1)

    for more in (frame.clear(), frame[:1], null):
        found = profile_of(pl.concat([more, frame])).shown

        assert {one.name: one.distinct for one in found} == dict.fromkeys(frame.columns, 25_000) | {"float": 24_999}


pandas = pytest.importorskip("pandas")


def pandas_frame() -> Any:
    frame = pandas.DataFrame(
        {"a": [1.0, math.nan, 1.0], "mixed": [1, "x", None], "kind": pandas.Categorical(["u", "v", "u"])},
        index=pandas.Index([5, 6, 7], name="id"),
    )
    frame.insert(1, "a", [1, 2, 3], allow_duplicates=True)
    return frame


def test_pandas_with_its_index_and_two_columns_of_one_name() -> None:
    """NaN of pandas is its null; values of several types are not counted, and that is said."""
    found = profile_of(pandas_frame())

    assert [column.name for column in found.shown] == ["id", "a", "a", "mixed", "kind"]
    index, first, second, mixed, kind = found.shown
    assert (found.rows, found.columns) == (3, 5)
    assert (index.smallest, index.largest) == (5, 7)
    assert (first.nulls, first.frequent) == (1, (Frequent(1.0, 2),))
    assert (second.distinct, second.mean) == (3, 2.0)
    assert (mixed.nulls, mixed.distinct, mixed.note) == (1, None, "values of object are not counted")
    assert kind.frequent == (Frequent("u", 2),)


NOT_COUNTED = {
    "a list": pl.Series([[1], None]),
    "a struct": pl.Series([{"a": 1}, None]),
    "an array": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int8, 2)),
    "an object": pl.Series([object(), None], dtype=pl.Object),
}


@pytest.mark.parametrize("series", NOT_COUNTED.values(), ids=NOT_COUNTED)
def test_what_is_not_counted_says_so(series: pl.Series) -> None:
    """Its nulls are."""
    (column,) = profile_of(series.alias("x").to_frame()).shown

    assert (column.nulls, column.distinct) == (1, None)
    assert column.note == f"values of {series.dtype} are not counted"


ODD: dict[str, Any] = {
    "no columns": pl.DataFrame(),
    "no columns of a lazy frame": pl.LazyFrame(),
    "no rows": pl.DataFrame(schema={"a": pl.Int8, "b": pl.List(pl.Int8), "c": pl.Categorical}),
    "all null": pl.DataFrame({"a": [None, None], "b": pl.Series([None, None], dtype=pl.Float32)}),
    "all NaN": pl.DataFrame({"a": [math.nan] * 3}),
    "numbers beyond a float": pl.DataFrame({"a": [1e308, -1e308], "b": pl.Series([2**100, None], dtype=pl.Int128)}),
    "a year that Python has not": pl.DataFrame({"a": pl.Series([10**7, 10**7]).cast(pl.Date)}),
    "names that Polars reads as patterns": pl.DataFrame({"^a.*$": [1], "*": [2], "value": [3], "rows": [4]}),
    "bytes": pl.DataFrame({"a": [b"\0", b"\0"]}),
    "a series": pl.Series("a", [1, 2]),
    "a record batch": pa.record_batch({"a": [1]}),
    "Arrow's odd types": pa.table(
        {"m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), "n": pa.nulls(2)}
    ),
    "two columns of one name": pa.table([[1], [2]], names=["a", "a"]),
    "no columns of pandas": pandas.DataFrame(),
    "an empty relation": duckdb.sql("select 1 as a, [1] as b where false"),
    "a relation of lists only": duckdb.sql("select [1] as b"),
    "names that SQL cannot tell apart": duckdb.sql("select 1 as a, 2 as a"),
    "a relation with odd names and values": duckdb.sql(
        """select 'nan'::double as "we""ird", date 'infinity' as "d d", 1e308 as x union all select 1, date '2020-01-01', -1e308"""
    ),
}


@pytest.mark.parametrize("given", ODD.values(), ids=ODD)
def test_odd_frames_have_a_profile(given: Any) -> None:
    """Its columns are all there."""
    found = profile_of(given)

    assert len(found.shown) == found.columns
    assert all(column.name and column.type for column in found.shown)


def test_only_the_first_columns_of_a_wide_frame_are_looked_at() -> None:
    """And all are counted."""
    wide = pl.LazyFrame({f"c{at}": [at] for at in range(300)})

    found = profile_of(wide.with_columns(c299=pl.col("c299").map_elements(fails, return_dtype=pl.Int64)))

    assert (found.columns, len(found.shown), found.shown[-1].name) == (300, 200, "c199")


def fails(_: Any) -> int:
    raise AssertionError("a column beyond the first 200 was computed")


def test_secrets_and_long_texts_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "masked_in", lambda value: "***" if value == "hidden" else value)

    (column,) = profile_of(pl.DataFrame({"a": ["hidden", "hidden", "x" * 5000]})).shown

    assert (column.smallest, column.frequent) == ("***", (Frequent("***", 2),))
    assert len(column.largest) <= 200


def test_what_is_no_frame_is_told() -> None:
    with pytest.raises(FlowValidationError, match="this is list, and a profile is made of a frame") as caught:
        profile_of([1])

    assert "DataFrame" in (caught.value.fix or "")


def test_a_profile_travels_as_json() -> None:
    found = profile_of(pl.DataFrame({"a": [1, 1]}))

    assert found.as_dict()["shown"][0]["frequent"] == [{"value": 1, "rows": 2}]
    assert isinstance(found, Profile)

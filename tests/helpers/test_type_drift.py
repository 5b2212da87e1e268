"""A column whose incoming type is another: widened where both fit, refused where a value would be lost, never changed in silence."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine.errors import FlowValidationError
from data_engine.helpers import (
    ensure_index,
    read_sql,
    read_table,
    replace_rows_by_file,
    replace_rows_by_values,
    replace_table,
)

DAY, NOON = date(2024, 5, 6), datetime(2024, 5, 6, 12)
EVER = date(9999, 12, 31)
"""Beyond what moments in nanoseconds reach: their last year is 2262."""


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "mart.duckdb"


def store(db: Path, *slices: pl.Series, **options: Any) -> pl.Series:
    """The column after each slice arrived as a file of its own."""
    for number, values in enumerate(slices):
        replace_rows_by_file(db, "t", df=values.alias("x").to_frame(), file_hash=str(number), **options)
    return read_table(db, "t", select=["file_key", "x"]).sort("file_key", maintain_order=True)["x"]


def series(values: list[Any], kind: Any = None) -> pl.Series:
    return pl.Series("x", values, dtype=kind)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (series([1, 2]), series([1.5]), series([1.0, 2.0, 1.5])),
        (series([1.5]), series([1]), series([1.5, 1.0])),
        (series([1], pl.Int8), series([300], pl.Int16), series([1, 300], pl.Int16)),
        (series([300], pl.Int64), series([1], pl.UInt8), series([300, 1], pl.Int64)),
        (series([1], pl.UInt32), series([-1], pl.Int8), series([1, -1], pl.Int64)),
        (series([1.5], pl.Float32), series([0.1], pl.Float64), series([1.5, 0.1], pl.Float64)),
        (series([DAY]), series([NOON]), series([datetime(2024, 5, 6), NOON])),
        (series([NOON]), series([DAY]), series([NOON, datetime(2024, 5, 6)])),
        (series([Decimal("1.25")], pl.Decimal(5, 2)), series([7], pl.Int8), series([Decimal("1.25"), Decimal("7.00")], pl.Decimal(5, 2))),
        (series([1], pl.Int8), series([Decimal("1.25")], pl.Decimal(5, 2)), series([Decimal("1.00"), Decimal("1.25")], pl.Decimal(5, 2))),
        (series([[1]], pl.List(pl.Int32)), series([[2**40]]), series([[1], [2**40]])),
        (series([NOON], pl.Datetime("ms")), series([NOON.replace(microsecond=5)]), series([NOON, NOON.replace(microsecond=5)], pl.Datetime("us"))),
        (series([1], pl.Int8), series([2], pl.Int64), series([1, 2], pl.Int8)),
        (series([NOON], pl.Datetime("us")), series([NOON], pl.Datetime("ns")), series([NOON, NOON], pl.Datetime("us"))),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else None,
)  # fmt: skip
def test_a_wider_type_widens_the_column(db: Path, first: pl.Series, second: pl.Series, expected: pl.Series) -> None:
    """And a narrower slice fits as it is; every value is what it was."""
    stored = store(db, first, second)

    assert stored.dtype == expected.dtype
    assert stored.to_list() == expected.to_list()


@pytest.mark.parametrize(
    ("nulls", "values"),
    [
        (series([None, None]), series(["x"])),
        (series([None]), series(["1"])),
        (series([None]), series([1])),
        (series([None]), series([DAY])),
        (series([None], pl.String), series([1.5])),
        (series([None], pl.Int64), series(["1"])),
        (series([None], pl.Float64), series([DAY])),
        (series([None], pl.List(pl.Null)), series([["a"]])),
        (series([None], pl.Date), series([True])),
        (series([], pl.String), series([3])),
    ],
)
def test_a_column_of_nulls_takes_the_type_of_its_first_values(db: Path, nulls: pl.Series, values: pl.Series) -> None:
    """Whatever type the nulls had, and whether there were any."""
    stored = store(db, nulls, values)

    assert stored.dtype == values.dtype
    assert stored.to_list() == nulls.to_list() + values.to_list()


def test_the_rows_a_call_replaces_do_not_hold_its_type_back(db: Path) -> None:
    """A file read with wrong types is repaired by loading it again."""
    store(db, series(["1", "two"]))

    replace_rows_by_file(db, "t", df=series([1, 2]).to_frame(), file_hash="0")

    assert read_table(db, "t").schema["x"] == pl.Int64


@pytest.mark.parametrize("values", [series([None, None]), series([None], pl.Int8), series([None], pl.String)])
def test_a_slice_of_nulls_changes_no_type(db: Path, values: pl.Series) -> None:
    """A table of dates stays one of dates."""
    assert store(db, series([DAY]), values).dtype == pl.Date


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (series([1]), series(["x"])),
        (series([1]), series(["01"])),
        (series([DAY]), series(["6 May"])),
        (series([True]), series([2])),
        (series([DAY]), series([5])),
        (series([2**53 + 1]), series([1.5])),
        (series([1.5]), series([2**53 + 1])),
        (series([NOON]), series([NOON.replace(tzinfo=UTC)])),
        (series([NOON.replace(tzinfo=UTC)]), series([DAY])),
        (series([datetime(9000, 1, 1)]), series([1_700_000_000_000_000_001]).cast(pl.Datetime("ns"))),
        (series([Decimal("0.1234567890123456789")], pl.Decimal(38, 19)), series([1e300])),
        (series([{"a": 1}]), series([{"b": 1}])),
    ],
)
def test_what_would_be_lost_is_refused(db: Path, first: pl.Series, second: pl.Series) -> None:
    """The message names the column, and the table was not changed."""
    before = store(db, first)

    with pytest.raises(FlowValidationError, match=r'"x"|DuckDB refused it'):
        store(db, first, second)
    assert read_table(db, "t")["x"].equals(before, check_dtypes=True)


def test_without_widening_a_rounding_store_is_refused(db: Path) -> None:
    """1.5 never becomes 2 in a column of whole numbers; 2.0 may be stored there."""
    store(db, series([1]))

    with pytest.raises(FlowValidationError, match=r"\"x\" is BIGINT .* DOUBLE values, such as '1.5'"):
        store(db, series([1]), series([2.0, 1.5]), widen=False)
    assert store(db, series([1]), series([2.0]), widen=False).to_list() == [1, 2]
    assert read_table(db, "t").schema["x"] == pl.Int64


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (series([1, 2]), series(["x"]), ["1", "2", "x"]),
        (series(["x"]), series([DAY]), ["x", "2024-05-06"]),
        (series([1]), series(["01"]), ["1", "01"]),
        (series([1]), series(["2"]), ["1", "2"]),
        (series([True]), series([DAY]), ["true", "2024-05-06"]),
    ],
)
def test_text_takes_anything_when_asked(db: Path, first: pl.Series, second: pl.Series, expected: list[str]) -> None:
    """widen="text" makes the column text."""
    assert store(db, first, second, widen="text").to_list() == expected


def test_asking_for_text_still_widens_numbers_to_numbers(db: Path) -> None:
    """It is the last way out."""
    assert store(db, series([1]), series([1.5]), widen="text").dtype == pl.Float64


@pytest.mark.parametrize("widen", [True, "text", False])
def test_a_date_no_nanoseconds_reach_keeps_a_column_of_days(db: Path, widen: Any) -> None:
    """Midnights in nanoseconds are days, so they go there as they are."""
    midnight = series([datetime(2024, 5, 6)], pl.Datetime("ns"))

    assert store(db, series([EVER]), midnight, widen=widen).to_list() == [EVER, DAY]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (series([EVER]), series([NOON], pl.Datetime("ns")), ["9999-12-31", "2024-05-06 12:00:00"]),
        (series([NOON], pl.Datetime("ns")), series([EVER]), ["2024-05-06 12:00:00", "9999-12-31"]),
        (series([NOON], pl.Datetime("ns")), series([datetime(9999, 1, 1)]), ["2024-05-06 12:00:00", "9999-01-01 00:00:00"]),
        (series([Decimal("1.25")], pl.Decimal(20, 5)), series([Decimal(10**37)], pl.Decimal(38, 0)), ["1.25000", str(10**37)]),
        (series([Decimal("1.25")], pl.Decimal(38, 10)), series([10**36], pl.Int128), ["1.2500000000", str(10**36)]),
        (series([Decimal(10**37)], pl.Decimal(38, 0)), series([Decimal("1.25")], pl.Decimal(20, 5)), [str(10**37), "1.25000"]),
    ],
)  # fmt: skip
def test_where_no_type_reaches_the_values_of_both_text_does(
    db: Path, first: pl.Series, second: pl.Series, expected: list[str]
) -> None:
    """When asked; otherwise the message names the column and what helps."""
    store(db, first)
    for widen in (True, False):
        with pytest.raises(FlowValidationError, match=r'"x" is .* that it cannot hold(.|\n)*widen='):
            store(db, first, second, widen=widen)

    assert store(db, first, second, widen="text").to_list() == expected


def test_a_row_to_be_replaced_does_not_stop_the_widening(db: Path) -> None:
    """Its value need not fit the new type."""
    store(db, series([EVER]))

    assert store(db, series([NOON], pl.Datetime("ns"))).to_list() == [NOON]


def test_a_value_of_another_type_that_comes_back_the_same_is_stored(db: Path) -> None:
    """Numbers in a column of text, ISO dates given as text in a column of dates."""
    assert store(db, series(["a"]), series([5])).to_list() == ["a", "5"]
    replace_table(db, "t", df=pl.DataFrame({"x": [DAY], "file_key": ["0"]}))
    assert store(db, series([DAY]), series(["2024-05-07"])).to_list() == [DAY, date(2024, 5, 7)]


def test_declared_types_of_an_empty_table_hold(db: Path) -> None:
    """Text that is a date goes into a column declared as dates."""
    replace_table(db, "t", df=pl.DataFrame(schema={"x": pl.Date, "file_key": pl.String}))

    assert store(db, series(["2024-05-07"])).to_list() == [date(2024, 5, 7)]


def test_the_replaced_column_itself_may_widen(db: Path) -> None:
    """Its rows are found by value: 2 and 2.0 are one."""
    replace_rows_by_values(db, "t", df=pl.DataFrame({"k": [1, 2], "v": ["a", "b"]}), column="k")
    replace_rows_by_values(db, "t", df=pl.DataFrame({"k": [2.0, 2.5], "v": ["c", "d"]}), column="k")

    assert sorted(read_table(db, "t").rows()) == [(1.0, "a"), (2.0, "c"), (2.5, "d")]


@pytest.mark.parametrize("indexed", [["x"], ["y"], ["x", "y"]])
def test_a_column_widens_under_an_index(db: Path, indexed: list[str]) -> None:
    """The index is there afterwards, on the same columns."""
    replace_rows_by_file(db, "t", df=pl.DataFrame({"x": [1], "y": [1]}), file_hash="a")
    ensure_index(db, "t", columns=indexed, name="by x")

    replace_rows_by_file(db, "t", df=pl.DataFrame({"x": [1.5], "y": [2]}), file_hash="b")

    assert sorted(read_table(db, "t", select=["x", "y"]).rows()) == [(1.0, 1), (1.5, 2)]
    assert read_sql(db, sql="SELECT index_name, expressions FROM duckdb_indexes()").rows() == [
        ("by x", f"[{', '.join(indexed)}]")
    ]


def test_an_index_outlives_a_process_that_dies_before_the_commit(db: Path) -> None:
    """Whoever writes next makes it again."""
    import subprocess
    import sys

    replace_rows_by_file(db, "t", df=pl.DataFrame({"x": [1], "y": [1]}), file_hash="a")
    ensure_index(db, "t", columns="y", name="by y")
    killed = (
        "import os, sys; import polars as pl; from data_engine.helpers.duckdb import fit, replace_rows_by_file\n"
        "fit.Database.changes_type = lambda *args: os._exit(9)\n"
        "replace_rows_by_file(sys.argv[1], 't', df=pl.DataFrame({'x': [1.5], 'y': [2]}), file_hash='b')"
    )
    assert subprocess.run([sys.executable, "-c", killed, str(db)]).returncode == 9
    assert read_sql(db, sql="SELECT count(*) FROM duckdb_indexes()").item() == 0

    replace_rows_by_file(db, "other", df=pl.DataFrame({"a": [1]}), file_hash="c")

    assert read_sql(db, sql="SELECT index_name, expressions FROM duckdb_indexes()").rows() == [("by y", "[y]")]
    assert read_table(db, "t").rows() == [(1, 1, "a")]
    assert read_sql(db, sql="SELECT count(*) FROM duckdb_tables()").item() == 2


def test_a_call_that_fails_after_widening_leaves_type_and_index(db: Path) -> None:
    """DuckDB lets an index go only for good, so it is made again."""
    import duckdb

    replace_rows_by_file(db, "other", df=pl.DataFrame({"x": [1]}), file_hash="a")
    with duckdb.connect(str(db)) as conn:
        conn.execute(
            "CREATE TABLE t (x INTEGER, y INTEGER NOT NULL, file_key VARCHAR); INSERT INTO t VALUES (1, 1, 'a')"
        )
    ensure_index(db, "t", columns=["x", "y"], name="by x")

    with pytest.raises(FlowValidationError, match="NOT NULL"):
        replace_rows_by_file(db, "t", df=pl.DataFrame({"x": [1.5], "y": [None]}), file_hash="b")

    assert read_table(db, "t").rows() == [(1, 1, "a")]
    assert read_table(db, "t").schema["x"] == pl.Int32
    assert read_sql(db, sql="SELECT index_name FROM duckdb_indexes()").to_series().to_list() == ["by x"]


def test_types_stay_under_a_unique_index(db: Path) -> None:
    """It is a promise about the data and is not dropped on the way; values that fit are stored, columns are added."""
    import duckdb

    replace_rows_by_file(db, "t", df=pl.DataFrame({"id": [1], "x": [1]}), file_hash="a")
    with duckdb.connect(str(db)) as conn:
        conn.execute("CREATE UNIQUE INDEX ux ON t (id)")

    with pytest.raises(FlowValidationError, match="unique index"):
        replace_rows_by_file(db, "t", df=pl.DataFrame({"id": [2], "x": [1.5]}), file_hash="b")
    replace_rows_by_file(db, "t", df=pl.DataFrame({"id": [2], "x": [None], "new": [1]}), file_hash="b")

    assert sorted(read_table(db, "t", select=["id", "x", "new"]).rows()) == [(1, 1, None), (2, None, 1)]
    assert read_sql(db, sql="SELECT is_unique FROM duckdb_indexes()").item() is True


@pytest.mark.parametrize(
    ("values", "back"),
    [
        (series([1, None], pl.Int8), None),
        (series([2**63], pl.UInt64), None),
        (series([10**30], pl.Int128), series([Decimal(10**30)], pl.Decimal(38, 0))),
        (series(["a", None], pl.Categorical), series(["a", None])),
        (series(["b"], pl.Enum(["a", "b"])), series(["b"])),
        (series([timedelta(days=1, microseconds=5), None]), None),
        (series([time(1, 2, 3)]), None),
        (series([b"\x00a"]), None),
        (series([True, None]), None),
        (series([[1, None], [], None]), None),
        (series([{"a": 1, "b": ["x"]}]), None),
        (series([[1, 2]], pl.Array(pl.Int64, 2)), None),
        (series([Decimal("1.25")], pl.Decimal(10, 2)), None),
        (series([float("nan"), float("inf"), -0.0]), None),
        (series([NOON], pl.Datetime("ns")), None),
        (series([NOON.replace(tzinfo=UTC)], pl.Datetime("us", "Europe/Berlin")), series([NOON.replace(tzinfo=UTC)], pl.Datetime("us", "UTC"))),
        (series([NOON.replace(tzinfo=UTC)], pl.Datetime("us", "UTC")), None),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, pl.Series) else "",
)  # fmt: skip
def test_every_type_goes_in_and_comes_out(db: Path, values: pl.Series, back: pl.Series | None) -> None:
    """As it was, or as its nearest equal; moments come back in UTC on every machine."""
    stored = store(db, values)
    again = store(db, values)

    assert stored.equals(values if back is None else back, check_dtypes=True)
    assert again.equals(stored)


def test_nanoseconds_with_a_zone_are_never_cut(db: Path) -> None:
    """Kept where DuckDB can, refused where it cannot."""
    import duckdb

    fine = series([1_700_000_000_000_000_001], pl.Int64).cast(pl.Datetime("ns", "UTC"))

    if duckdb.__version__.startswith("1."):
        with pytest.raises(FlowValidationError, match="nanoseconds"):
            store(db, fine)
    else:
        assert store(db, fine).to_physical().to_list() == fine.to_physical().to_list()

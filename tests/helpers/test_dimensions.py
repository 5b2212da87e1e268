"""Surrogate keys: one for each combination, nulls included, given once and never changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from data_engine.helpers import (
    attach_dimension,
    build_dimension,
    denormalize_columns,
    normalize_columns,
    read_sql,
    read_table,
    replace_table,
)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "mart.duckdb"


CITIES = pl.DataFrame({"city": ["Rome", None, "Oslo", None], "zone": [1, 2, None, None]})


def test_keys_are_given_in_order_and_returned_in_order(db: Path) -> None:
    """From 1, by the values, nulls last; each distinct row once, in the frame's own types."""
    frame = CITIES.with_columns(pl.col("city").cast(pl.Categorical), pl.col("zone").cast(pl.Int8))

    built = build_dimension(db, "dim", df=pl.concat([frame, frame]))

    expected = {"city": ["Oslo", "Rome", None, None], "zone": [None, 1, 2, None], "dimension_key": [1, 2, 3, 4]}
    assert built.to_dict(as_series=False) == expected
    assert built.schema == frame.schema | {"dimension_key": pl.Int64}


def test_keys_never_change(db: Path) -> None:
    """New rows get the next ones, whatever their order and the order of the columns."""
    build_dimension(db, "dim", df=CITIES)
    before = read_table(db, "dim")

    built = build_dimension(db, "dim", df=pl.DataFrame({"zone": [0, 2], "City": ["Aarhus", None]}))

    assert built.rows() == [(0, "Aarhus", 5), (2, None, 3)]
    assert_frame_equal(read_table(db, "dim").head(4), before)
    assert build_dimension(db, "dim", df=CITIES, return_df=False) is None
    assert read_table(db, "dim").height == 5


def test_a_natural_column_may_widen(db: Path) -> None:
    """1 and 1.0 are one natural value with one key."""
    build_dimension(db, "dim", df=pl.DataFrame({"rate": [1, 2]}))

    built = build_dimension(db, "dim", df=pl.DataFrame({"rate": [2.0, 2.5]}))

    assert built.rows() == [(2.0, 2), (2.5, 3)]


def test_a_dimension_keeps_its_columns(db: Path) -> None:
    """More or fewer are refused; the message names both."""
    build_dimension(db, "dim", df=CITIES)

    for frame in (CITIES.with_columns(new=1), CITIES.select("city"), CITIES.rename({"city": "town"})):
        with pytest.raises(ValueError, match='"dimension_key", "city", "zone"; the frame and its key'):
            build_dimension(db, "dim", df=frame)
    with pytest.raises(ValueError, match="the frame and its key"):
        build_dimension(db, "dim", df=CITIES, key_column="other_key")


def test_keys_are_whole_numbers(db: Path) -> None:
    """A table whose key is of another type is no dimension."""
    replace_table(db, "dim", df=pl.DataFrame({"dimension_key": [1.5], "city": ["Rome"], "zone": [1]}))

    with pytest.raises(ValueError, match="DOUBLE, not a whole number"):
        build_dimension(db, "dim", df=CITIES)
    assert read_table(db, "dim").height == 1


def test_attaching_keeps_rows_and_their_order(db: Path) -> None:
    """Nulls find their key; unknown rows get null; other columns are untouched."""
    build_dimension(db, "dim", df=CITIES, key_column="city_key")
    frame = pl.DataFrame(
        {"n": range(6), "zone": [None, 2, 1, 9, None, 2], "city": ["Oslo", None, "Rome", "Rome", None, "Oslo"]}
    )

    attached = attach_dimension(db, "dim", df=frame, on=["city", "zone"], key_column="city_key")
    dropped = attach_dimension(db, "dim", df=frame.lazy(), on=["city", "zone"], key_column="city_key", drop_key=True)

    assert_frame_equal(attached, frame.with_columns(city_key=pl.Series([1, 3, 2, None, 4, None], dtype=pl.Int64)))
    assert_frame_equal(dropped, attached.select("n", "city_key"))


def test_attaching_many_rows_keeps_their_order(db: Path) -> None:
    """Also where DuckDB joins in parallel and from the smaller side."""
    rows = pl.select(n=pl.int_range(300_000)).with_columns(name=(pl.col("n") * 7919 % 200_000).cast(pl.String))
    mapping = build_dimension(db, "dim", df=rows.select("name"))

    attached = attach_dimension(db, "dim", df=rows, on="name")

    assert_frame_equal(attached, rows.join(mapping, on="name", how="left", maintain_order="left"))


def test_attaching_on_part_of_the_key_is_refused_where_it_is_ambiguous(db: Path) -> None:
    """Rows never multiply in silence."""
    build_dimension(db, "dim", df=pl.DataFrame({"a": [1, 1, 2], "b": [1, 2, 3]}))

    with pytest.raises(ValueError, match="more than one row"):
        attach_dimension(db, "dim", df=pl.DataFrame({"a": [1]}), on="a")
    assert attach_dimension(db, "dim", df=pl.DataFrame({"a": [2]}), on="a").rows() == [(2, 3)]


@pytest.mark.parametrize("drop_key", [True, False])
def test_normalizing_is_building_and_attaching(db: Path, drop_key: bool) -> None:
    """In place of the columns comes the key; "map" gives the natural rows, None only stores."""
    frame = CITIES.with_columns(n=pl.int_range(4, dtype=pl.Int64))

    normalized = normalize_columns(db, "a", df=frame, on=["city", "zone"], drop_key=drop_key)
    mapping = normalize_columns(db, "b", df=frame, on=["city", "zone"], returns="map")
    nothing = normalize_columns(db, "c", df=frame, on=["city", "zone"], returns=None)

    keys = pl.Series("dimension_key", [2, 3, 1, 4])
    assert_frame_equal(normalized, (frame.select("n") if drop_key else frame).with_columns(keys))
    assert_frame_equal(mapping, build_dimension(db, "a", df=CITIES))
    assert nothing is None
    assert_frame_equal(read_table(db, "c"), read_table(db, "a"))


def test_no_column_of_ours_stands_in_the_way(db: Path) -> None:
    """Whatever the frame's columns, the dimension's and the key are called."""
    frame = pl.DataFrame({"__data_engine_row": ["b", "a"], "__data_engine_row_": [1, 2]})
    build_dimension(db, "dim", df=frame.drop("__data_engine_row_"))
    build_dimension(db, "other", df=pl.DataFrame({"n": [5]}), key_column="__data_engine_row")

    assert attach_dimension(db, "dim", df=frame, on="__data_engine_row").rows() == [("b", 1, 2), ("a", 2, 1)]
    assert denormalize_columns(db, "dim", df=pl.DataFrame({"dimension_key": [2]})).rows() == [(2, "b")]
    assert attach_dimension(
        db, "other", df=pl.DataFrame({"n": [5]}), on="n", key_column="__data_engine_row"
    ).rows() == [(5, 1)]


def test_denormalizing_brings_the_columns_back(db: Path) -> None:
    """Null where the key is null or unknown; names that are taken get a suffix."""
    build_dimension(db, "dim", df=CITIES)
    frame = pl.DataFrame({"dimension_key": [3, 1, None, 99], "zone": ["a", "b", "c", "d"]})

    whole = denormalize_columns(db, "dim", df=frame)
    part = denormalize_columns(db, "dim", df=frame, select="CITY", drop_key=True)

    assert whole.columns == ["dimension_key", "zone", "city", "zone_right"]
    assert whole.rows() == [(3, "a", None, 2), (1, "b", "Oslo", None), (None, "c", None, None), (99, "d", None, None)]
    assert part.to_dict(as_series=False) == {"zone": ["a", "b", "c", "d"], "CITY": [None, "Oslo", None, None]}


def test_keys_of_another_type_find_the_same_rows(db: Path) -> None:
    """A key read back as a float, or as text; 1.5 is no key."""
    build_dimension(db, "dim", df=pl.DataFrame({"city": ["Oslo", "Rome"]}))

    for keys in (pl.Series([2.0, 1.5]), pl.Series(["2", "x"]), pl.Series([2, 9], dtype=pl.UInt8)):
        found = denormalize_columns(db, "dim", df=keys.alias("dimension_key").to_frame(), drop_key=True)
        assert found.rows() == [("Rome",), (None,)]


def test_a_dimension_of_the_older_engine_goes_on(db: Path) -> None:
    """With the unique index it made."""
    import duckdb

    with duckdb.connect(str(db)) as conn:
        conn.execute("CREATE TABLE dim (dimension_key BIGINT, city VARCHAR)")
        conn.execute("INSERT INTO dim VALUES (7, 'Oslo')")
        conn.execute("CREATE UNIQUE INDEX uq_dim_0123456789 ON dim (city)")

    assert build_dimension(db, "dim", df=pl.DataFrame({"city": ["Rome", "Oslo"]})).rows() == [("Oslo", 7), ("Rome", 8)]


def test_an_empty_frame_builds_an_empty_dimension(db: Path) -> None:
    """And attaches nothing to nothing."""
    frame = pl.DataFrame(schema={"city": pl.String})

    assert build_dimension(db, "dim", df=frame).rows() == []
    assert attach_dimension(db, "dim", df=frame, on="city").columns == ["city", "dimension_key"]
    assert normalize_columns(db, "dim", df=frame, on="city").columns == ["dimension_key"]
    assert denormalize_columns(db, "dim", df=pl.DataFrame(schema={"dimension_key": pl.Int64})).rows() == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda db: build_dimension(db, "dim", df=CITIES, key_column=" "), "non-empty"),
        (lambda db: build_dimension(db, "dim", df=CITIES, key_column="City"), "must not already exist"),
        (lambda db: build_dimension(db, "dim", df=pl.DataFrame()), "no columns"),
        (lambda db: normalize_columns(db, "dim", df=CITIES, on="city", returns="frame"), "returns cannot be"),
        (lambda db: normalize_columns(db, "dim", df=CITIES, on=[]), "at least one non-empty column name"),
        (lambda db: normalize_columns(db, "dim", df=CITIES, on="town"), 'no column "town"'),
        (lambda db: attach_dimension(db, "dim", df=CITIES, on="city"), "there is no database"),
        (lambda db: denormalize_columns(db, "dim", df=CITIES), 'no column "dimension_key"'),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_made(db: Path, call: Any, message: str) -> None:
    """With what there is."""
    with pytest.raises(ValueError, match=message):
        call(db)
    assert not db.exists()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda db: attach_dimension(db, "none", df=CITIES, on="city"), 'no table "none"(.|\n)*holds "dim"'),
        (
            lambda db: attach_dimension(db, "dim", df=CITIES, on="zone"),
            'no column "zone"(.|\n)*it has "dimension_key", "city"',
        ),
        (lambda db: attach_dimension(db, "dim", df=CITIES, on="city", key_column="k"), 'no column "k"'),
        (lambda db: denormalize_columns(db, "dim", df=KEYS, select="zone"), 'no column "zone"'),
        (
            lambda db: denormalize_columns(db, "dim", df=KEYS, select=["city", "dimension_key"]),
            "must not include the key",
        ),
        (lambda db: denormalize_columns(db, "keys", df=KEYS), "no column except its key"),
    ],
)
def test_missing_tables_and_columns_are_named(db: Path, call: Any, message: str) -> None:
    """As ValueError with those that exist."""
    build_dimension(db, "dim", df=CITIES.select("city"))
    if "keys" in message or "its key" in message:
        replace_table(db, "keys", df=KEYS)
    with pytest.raises(ValueError, match=message):
        call(db)


KEYS = pl.DataFrame({"dimension_key": [1]})


def test_every_combination_has_exactly_one_key(db: Path) -> None:
    """Also after overlapping builds of thousands of rows."""
    for start in (0, 5_000, 2_500):
        frame = pl.select(a=pl.int_range(start, start + 10_000)).with_columns(b=pl.col("a") % 3)
        build_dimension(db, "dim", df=frame, return_df=False)

    found = read_sql(
        db, sql="SELECT count(*), count(DISTINCT dimension_key), count(DISTINCT a), max(dimension_key) FROM dim"
    )
    assert found.row(0) == (15_000, 15_000, 15_000, 15_000)

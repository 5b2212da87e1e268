"""Text where a number or a day is meant is told with the column, a value of it, and what makes the other type of it; what is told runs."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from tests.flow.test_table_hints import failed

FRAME = pl.DataFrame(
    {
        "net": ["1.234,50", "2,5"],
        "gross": ["1", "2"],
        "city": ["Oslo", "Rome"],
        "count": [1, 2],
        "day": ["31.12.2026", "1.1.2027"],
        "date": [datetime.date(2026, 1, 1)] * 2,
    }
)
NET = 'column "net" is text ("1.234,50"): make numbers of it first, '
GROSS = 'column "gross" is text: make numbers of it first, pl.col("gross").cast(pl.Float64)'
DAY = 'column "day" is text ("31.12.2026"): make days of it first, pl.col("day").str.to_date("%d.%m.%Y")'


@pytest.mark.parametrize(
    ("ask", "fix"),
    [
        (lambda frame: frame.with_columns(pl.col("net") * 2), NET),
        (lambda frame: frame.with_columns(x=pl.col("count") * pl.col("net")), NET),
        (lambda frame: frame.with_columns(pl.col("net") + 2), NET),
        (lambda frame: frame.with_columns(pl.col("net").abs()), NET),
        (lambda frame: frame.with_columns(pl.col("net").round(2)), NET),
        (lambda frame: frame.with_columns(-pl.col("net")), NET),
        (lambda frame: frame.select("city", pl.col("net").sum()), NET),
        (lambda frame: frame.select(pl.col("city").first(), pl.col("net").mean()), NET),
        (lambda frame: frame.group_by("city").agg(pl.col("net").sum()), NET),
        (lambda frame: frame.group_by("city").agg(total=pl.col("net").sum()), NET),
        (lambda frame: frame.pivot("city", index="count", values="net", aggregate_function="sum"), NET),
        (lambda frame: frame["net"].sum(), NET),
        (lambda frame: frame.drop("gross").group_by("city").sum(), NET),
        (lambda frame: frame["net"] * 2, NET),
        (lambda frame: frame["count"] * frame["net"], NET),
        (lambda frame: frame.with_columns(pl.col("gross") * 2), GROSS),
        (lambda frame: frame.with_columns(pl.col("gross") / pl.col("net")), 'columns "gross", "net" are text: make'),
        (lambda frame: frame.with_columns(pl.col("gross") * pl.col("net")), 'columns "gross", "net" are text: make'),
        (lambda frame: frame.filter(pl.col("net") > 3), NET),
        (lambda frame: frame.filter(pl.col("gross").is_between(1, 3)), GROSS),
        (lambda frame: frame.filter(pl.col("gross") == 1), f"{GROSS}; or compare it with a text, in quotes"),
        (
            lambda frame: frame.filter(pl.col("count") == "1"),
            'column "count" is Int64, and is compared with a text: write the number without quotes',
        ),
        (
            lambda frame: frame.with_columns(pl.col("city") * 2),
            'column "city" is text, such as "Oslo", of which no number can be made: name another column',
        ),
        (lambda frame: frame.filter(pl.col("date") > "2026-01-01"), 'column "date" is Date: write a day for the text'),
        (lambda frame: frame.filter(pl.col("day") > datetime.date(2026, 1, 1)), DAY),
        (lambda frame: frame.with_columns(pl.col("date") - pl.col("day")), DAY),
        (lambda frame: frame.with_columns(pl.col("day").dt.year()), DAY),
        (lambda frame: frame["day"].dt.year(), DAY),
        (
            lambda frame: frame.with_columns(pl.col("count").str.strip_chars()),
            'column "count" is i64, and .str is of text: cast it first, pl.col("count").cast(pl.String)',
        ),
        (
            lambda frame: frame.filter(pl.col("gross").is_in([1])),
            "the column is String, and the list of is_in holds Int64",
        ),
        (
            lambda frame: frame.join(frame, left_on="gross", right_on="count"),
            'the key "gross" is str on the left, and "count" is i64 on the right: give both one type before the join,'
            ' pl.col("gross").cast(pl.Int64) on the left, or pl.col("count").cast(pl.String) on the right',
        ),
        (
            lambda frame: frame.lazy().join(frame.lazy(), left_on="date", right_on="day").collect(),
            'the key "date" is date on the left, and "day" is str on the right: make days of the text before the join',
        ),
        (lambda frame: frame.lazy().with_columns(pl.col("gross") * 2).collect(), 'column "gross" is text'),
        (lambda frame: frame.lazy().filter(pl.col("gross") > 2).collect(), 'column "gross" is text'),
    ],
)
def test_a_column_of_another_type_is_told_with_what_makes_the_right_one(ask: Callable[[Any], Any], fix: str) -> None:
    """Of the columns that the error tells of, that which is text."""
    assert str(failed(lambda context: FRAME, lambda context: ask(context.current)).fix).startswith(fix)


@pytest.mark.parametrize("ask", [pl.col("net") * 2, pl.col("net").cast(pl.Float64)])
def test_a_value_with_digits_is_never_told_to_be_emptied(ask: pl.Expr) -> None:
    """It is a number with something beside it, and the only one of its file that stands in the way."""
    frame = pl.DataFrame({"net": ["5", "7,5", "EUR 5"]})
    fix = str(failed(lambda context: frame.with_columns(ask)).fix)

    assert "None" not in fix
    assert '"EUR 5", which is not a number: correct the file, or clean the column' in fix


@pytest.mark.parametrize("name", ["net", "gross", "day"])
def test_what_is_told_makes_the_right_type(name: str) -> None:
    ask = pl.col(name).dt.year() if name == "day" else pl.col(name) * 2
    fix = str(failed(lambda context: FRAME.with_columns(ask)).fix)

    made = FRAME.select(eval(fix.partition("of it first, ")[2], {"pl": pl}))[name]
    assert made.null_count() == 0
    assert made.dtype in (pl.Float64, pl.Date)


@pytest.mark.parametrize(
    "ask",
    [
        lambda frame: frame.filter(pl.col("count")),
        lambda frame: 1 + "a",  # type: ignore[operator]
        lambda frame: frame.with_columns(pl.col("city").cast(pl.Date)),
        lambda frame: frame.join(frame, on="city", validate="1:m", how="cross"),
    ],
)
def test_other_errors_say_nothing_of_types(ask: Callable[[Any], Any]) -> None:
    assert "is text" not in str(failed(lambda context: ask(FRAME)).fix)


def test_a_text_that_is_taken_for_a_column_is_told_as_one() -> None:
    """`.then("high")` names a column; a column that is misspelt is none of these."""
    high = pl.when(pl.col("count") > 1).then("high").otherwise(pl.lit("low"))

    assert failed(lambda context: FRAME.with_columns(x=high)).fix == (
        'then and otherwise take a text for the name of a column: write pl.lit("high") for the text itself'
    )
    near = pl.when(pl.col("count") > 1).then("cty").otherwise(None)
    assert failed(lambda context: FRAME.with_columns(x=near)).fix == 'did you mean "city"?'

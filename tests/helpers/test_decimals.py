"""`parse_decimal`: texts to numbers by the notation that is named, and never to another number."""

from __future__ import annotations

from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine import FlowValidationError
from data_engine.helpers import parse_decimal

MARKS = [(",", "."), (".", ","), (",", " "), (".", "'"), (",", None), (".", None)]


def read(*texts: object, decimal: str = ",", thousands: str | None = ".", dtype: object = None) -> list[object]:
    """The numbers of a column of these texts."""
    frame = pl.DataFrame({"amount": texts}, schema={"amount": pl.String} if any(map(_is_text, texts)) else None)
    return (
        frame.select(parse_decimal("amount", decimal=decimal, thousands=thousands, dtype=dtype)).to_series().to_list()
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def written(number: Decimal, decimal: str, thousands: str | None) -> str:
    """The number as people write it."""
    text = f"{number:,f}" if thousands else f"{number:f}"
    return text.translate({ord(","): thousands or "", ord("."): decimal})


@given(st.lists(st.decimals(-(10**9), 10**9, places=3)), st.sampled_from(MARKS))
def test_what_is_written_in_a_notation_is_read_in_it(numbers: list[Decimal], marks: tuple[str, str | None]) -> None:
    """As floats, and digit for digit as decimals."""
    decimal, thousands = marks
    texts = [written(number, decimal, thousands) for number in numbers]

    assert read(*texts, decimal=decimal, thousands=thousands) == list(map(float, numbers))
    assert read(*texts, decimal=decimal, thousands=thousands, dtype=pl.Decimal(20, 3)) == numbers


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from(MARKS), st.sampled_from(MARKS))
def test_what_is_written_in_another_notation_is_refused_or_the_same_number(
    number: Decimal, marks: tuple[str, str | None], other: tuple[str, str | None]
) -> None:
    """With two decimals no text of one notation is another number of the other."""
    text = written(number, *marks)

    try:
        (got,) = read(text, decimal=other[0], thousands=other[1])
    except ValueError:
        return
    assert got == float(number)


@given(st.text("0123456789.,' -+e€", max_size=8), st.sampled_from(MARKS))
def test_any_text_is_a_number_of_the_notation_or_an_error(text: str, marks: tuple[str, str | None]) -> None:
    """Held against Python: without its marks of thousands the text is that number."""
    decimal, thousands = marks
    try:
        (got,) = read(text, decimal=decimal, thousands=thousands)
    except ValueError:
        return
    plain = text.strip()
    if thousands is not None:
        plain = plain.replace(thousands, "")
    assert got == (float(plain.replace(decimal, ".")) if plain else None)


@pytest.mark.parametrize(
    "texts",
    [
        ["12.50"],
        ["1.234,50", "1,234.50"],
        ["1.2345"],
        ["1.23.456"],
        ["12,5,0"],
        ["12 €"],
        ["1e3"],
        ["nan"],
        ["٣"],
        ["5,"],
        ["--5"],
        ["0.250"],
        ["-0.250"],
        ["007.500"],
        ["9" * 400],
    ],
)
def test_a_text_of_another_notation_is_named_and_no_number(texts: list[str]) -> None:
    """The page on decimal commas once made 1250 of "12.50"."""
    with pytest.raises(ValueError, match='column "amount" holds ') as caught:
        read(*texts)

    assert repr(texts[-1]) in str(caught.value)


def test_a_group_among_numbers_without_groups_may_be_of_decimals() -> None:
    """In either order, in a lazy query too; what cannot be anything else goes on."""
    for texts in (["1.234", "1234,5"], ["98765", "-1.234"]):
        frame = pl.LazyFrame({"amount": texts}).select(parse_decimal("amount", decimal=",", thousands="."))
        with pytest.raises(ValueError, match=r"holds '-?1\.234'"):
            frame.collect(engine="streaming")
    assert read("1.234,5", "1234,5", "1.234.567") == [1234.5, 1234.5, 1234567.0]
    assert read("1.234", "12,5", "999") == [1234.0, 12.5, 999.0]


def test_blanks_nulls_signs_and_other_blanks_between_thousands() -> None:
    assert read(" 12,5 ", "", "  ", None, "+3", "\u22124,5", ",5") == [12.5, None, None, None, 3.0, -4.5, 0.5]
    assert read("1\u202f234,5", "1\u00a0234", "1 234", thousands=" ") == [1234.5, 1234.0, 1234.0]
    assert read("1\u2019234,5", "1'234", thousands="'") == [1234.5, 1234.0]


def test_whole_numbers_stay_and_floats_are_refused() -> None:
    """Polars may have read a file's `1.234` as a float before."""
    assert read(1, 2, None) == [1.0, 2.0, None]
    with pytest.raises(ValueError, match="is Float64 and no text"):
        read(1.234)


def test_a_decimal_keeps_its_digits_or_says_so() -> None:
    with pytest.raises(ValueError, match="of at most Decimal"):
        read("1,239", dtype=pl.Decimal(10, 2))
    with pytest.raises(ValueError, match="123456"):
        read("123456", dtype=pl.Decimal(5, 2))


def test_it_is_lazy_and_keeps_its_name() -> None:
    query = pl.LazyFrame({"a": ["1,5"]}).with_columns(
        parse_decimal("a", decimal=","), parse_decimal(pl.col("a"), decimal=",").alias("b")
    )

    assert query.collect_schema() == {"a": pl.Float64, "b": pl.Float64}
    assert query.collect(engine="streaming").row(0) == (1.5, 1.5)


@pytest.mark.parametrize(
    "marks", [{"decimal": ";"}, {"decimal": ",", "thousands": ","}, {"decimal": ".", "thousands": "_"}]
)
def test_marks_that_no_notation_has_are_refused(marks: dict[str, str]) -> None:
    with pytest.raises(FlowValidationError):
        parse_decimal("a", **marks)


@pytest.mark.parametrize("kind", [pl.String, pl.Int64])
def test_a_whole_number_that_a_float_does_not_hold_is_an_error(kind: type[pl.DataType]) -> None:
    """2 ** 53 + 1 would become 2 ** 53; what a float holds exactly, and decimals that it rounds, are numbers."""
    frame = pl.DataFrame({"a": pl.Series(["9007199254740992", "-9007199254740994", "9007199254740993"]).cast(kind)})

    with pytest.raises(ValueError, match=r"90071992.*3'?, of which Float64 does not keep"):
        frame.select(parse_decimal("a", decimal=","))

    assert frame.head(2).select(parse_decimal("a", decimal=","))["a"].to_list() == [2.0**53, -(2.0**53) - 2]
    assert frame.select(parse_decimal("a", decimal=",", dtype=pl.Decimal(38, 0)))["a"].to_list() == [
        Decimal(2**53),
        Decimal(-(2**53) - 2),
        Decimal(2**53 + 1),
    ]
    assert read("0,12345678901234567") == [0.12345678901234567]

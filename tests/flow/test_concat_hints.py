"""Of many tables that cannot be put into one, the one that differs is named, with its column and value, and how it is read."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from data_engine import Flow
from data_engine.errors import FlowExecutionError
from tests.flow.running import run


def fix_of(tables: list[Any], how: Any = "vertical") -> str:
    with pytest.raises(FlowExecutionError) as caught:
        run(Flow("G").step(lambda context: pl.concat(tables, how=how)))
    return caught.value.fix or ""


def tables_of(column: str, *values: list[Any], name: str = "file") -> list[pl.DataFrame]:
    return [
        pl.DataFrame({column: value}).with_columns(pl.lit(f"{number}.csv").alias(name))
        for number, value in enumerate(values, start=1)
    ]


@pytest.mark.parametrize("how", ["vertical", "diagonal"])
def test_the_file_the_column_and_the_value_are_named(how: str) -> None:
    """Of 200 files it would take an hour to find it."""
    values = [[1, 2]] * 199
    values.insert(120, ["3", "n/a"])  # type: ignore[list-item]
    fix = fix_of(tables_of("amount", *values), how)

    assert fix == (
        'column "amount" is String in table 121 of 200 (file "121.csv") and Int64 in the others, since it holds "n/a": '
        'correct the file, or read it with null_values=["n/a"]'
    )


def test_a_comma_in_a_number_is_told_as_one() -> None:
    """It is no missing value."""
    assert "read it with decimal_comma=True" in fix_of(tables_of("amount", [1.5], [2.5], ["3,5"]))


def test_a_number_with_points_between_its_thousands_is_told_with_what_reads_it() -> None:
    """No option of a reader does."""
    tables = tables_of("amount", [1.5], [2.5], ["1.234,5"])
    fix = fix_of(tables)

    way = fix.partition("make numbers of it in each, as ")[2].partition(" does where it is text")[0]
    assert tables[2].select(eval(way, {"pl": pl}))["amount"].to_list() == [1234.5]


@pytest.mark.parametrize("how", ["vertical", "diagonal"])
def test_the_fix_of_numbers_of_two_types_works(how: Any) -> None:
    """The wider type holds both."""
    tables = tables_of("amount", [1], [1.5], [2])
    fix = fix_of(tables, how)

    assert f'pl.concat(..., how="{how}_relaxed") takes the wider one' in fix
    assert pl.concat(tables, how=f"{how}_relaxed")["amount"].to_list() == [1, 1.5, 2]  # type: ignore[arg-type]


def test_where_no_column_names_the_file_the_place_is_told() -> None:
    """A text that all tables have says nothing of one."""
    same = [table.with_columns(file=pl.lit("x")) for table in tables_of("amount", [1], ["-"])]

    assert "is String in table 2 of 2 and Int64 in the others" in fix_of(same)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"day": [1], "Amount": [1]}, 'table 2 of 2 lacks "amount" and has "Amount" beside, compared with the first'),
        ({"day": [1]}, 'table 2 of 2 lacks "amount", compared'),
        ({"day": [1], "amount": [1], "note": [1]}, 'table 2 of 2 has "note" beside, compared'),
    ],
)
def test_other_columns_are_named(other: dict[str, Any], told: str) -> None:
    """With the way that leaves empty what a table lacks, which works."""
    tables = [pl.DataFrame({"day": [1], "amount": [1]}), pl.DataFrame(other)]

    assert told in fix_of(tables)
    assert pl.concat(tables, how="diagonal").height == 2


def test_lazy_tables_are_told_by_their_column() -> None:
    """Which of them it is, Polars tells itself where it can."""
    tables = [table.lazy() for table in tables_of("amount", [1], ["-"])]
    with pytest.raises(FlowExecutionError) as caught:
        run(Flow("G").step(lambda context: pl.concat(tables).collect()))

    assert 'column "amount" is Int64 in one table and String in another' in str(caught.value.fix)


def test_vstack_is_told_as_concat() -> None:
    """Of the two tables."""
    one, other = tables_of("amount", [1], ["-"])
    with pytest.raises(FlowExecutionError) as caught:
        run(Flow("G").step(lambda context: one.vstack(other)))

    assert 'column "amount" is' in str(caught.value.fix)


def test_the_name_of_the_file_comes_before_another_text_of_one_row() -> None:
    """Of tables of one row every text names one; where none is a file's name, none is told."""
    rows = [("A", 1), ("B", 2), ("C", "n/a")]
    of_files = [
        pl.DataFrame({"Kunde": [name], "amount": [value], "file": [f"{name}.csv"]}, strict=False)
        for name, value in rows
    ]
    alone = [frame.drop("file") for frame in of_files]

    assert 'in table 3 of 3 (file "C.csv") and' in fix_of(of_files)
    assert "in table 3 of 3 and" in fix_of(alone)


def test_a_text_that_each_table_has_in_all_its_rows_names_it() -> None:
    """As the region of each, where no column holds its file."""
    tables = [
        pl.DataFrame(
            {"Kunde": ["A", "A"] if value else ["B", "B"], "amount": ["-", "1"] if value else [1, 2]}
        ).with_columns(Region=pl.lit(f"R{number}"))
        for number, value in enumerate((False, False, True))
    ]

    assert '(Kunde "A")' in fix_of(tables)
    assert '(Region "R2")' in fix_of([table.with_columns(Kunde=pl.Series(["A", "B"])) for table in tables])

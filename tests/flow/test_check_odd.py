"""`Flow.check` over what is odd: NaN, names that could be ours, rules of another shape, and columns that Polars does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine import FlowValidationError
from data_engine.flow.checking import _as_polars
from tests.flow.test_check import KINDS, checked, each_kind, relation
from tests.support import examples

NAN = float("nan")
AMOUNTS = pl.DataFrame({"id": [1, 2, 3, 4], "amount": [1.0, NAN, None, -1.0]})
amount = pl.col("amount")


def found(frame: Any, rule: Any) -> tuple[list[int], int, int]:
    """The ids that go on, and how many rows are failed and unknown."""
    context = checked(frame, {"rule": rule}, on_fail="quarantine", rejected="bad_df")
    good, bad = _as_polars(context.current), _as_polars(context.objects["bad_df"])
    assert sorted([*good["id"], *bad["id"]]) == sorted(_as_polars(frame)["id"])
    (count,) = context.control.checked[0].rules
    return good["id"].to_list(), count.failed, count.unknown


# -- NaN -----------------------------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize(
    ("rule", "good", "failed"),
    [
        ("amount >= 0", [1], 1),
        (amount >= 0, [1], 1),
        ("NOT amount < 0", [1], 1),
        ("amount NOT IN (7, 8)", [1, 4], 0),
        ("amount BETWEEN 0 AND 5", [1], 1),
        ("amount NOT BETWEEN 5 AND 6", [1, 4], 0),
        ("amount + 1 > 0.5", [1], 1),
        (~amount.is_in([7.0]), [1, 4], 0),
        (amount.is_between(0, float("inf")), [1], 1),
        (pl.all_horizontal(pl.col("id", "amount") >= 0), [1], 1),
        ("CASE WHEN id > 0 THEN amount >= 0 END", [1], 1),
    ],
    ids=str,
)
def test_nan_in_what_a_rule_compares_is_unknown(
    make: Callable[..., Any], rule: Any, good: list[int], failed: int
) -> None:
    """As null is: such a row is not good, and no failure."""
    assert found(make(AMOUNTS), rule) == (good, failed, 2)


@each_kind
def test_a_rule_that_asks_for_nan_itself_is_taken_at_its_word(make: Callable[..., Any]) -> None:
    """As one that compares nothing is; an empty value of pandas is NaN."""
    kept = [1, 2, 3] if isinstance(make(AMOUNTS), pd.DataFrame) else [1, 2]
    assert found(make(AMOUNTS), amount.is_nan() | (amount >= 0))[0] == kept
    assert found(make(AMOUNTS), (amount == NAN) | (amount >= 0))[0] == kept
    assert found(make(AMOUNTS), "id IS NOT NULL")[0] == [1, 2, 3, 4]
    if isinstance(make(AMOUNTS), duckdb.DuckDBPyRelation):
        assert found(make(AMOUNTS), "isnan(amount) OR amount >= 0")[0] == kept
        assert found(make(AMOUNTS), "amount = 'NaN' OR amount >= 0")[0] == kept
        assert found(make(AMOUNTS), "amount <> 5 OR amount IS NULL")[0] == [1, 3, 4]


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        (pl.Series("x", [1.0, NAN], pl.Float32), pl.col("x") > 0),
        (pl.Series("x", [1.0, NAN]), (pl.col("x") > pl.col("x").mean() - 9).over("id")),
        (pl.Series("x", [1, 0]), pl.col("x") / pl.col("x") > 0),
        (pl.Series("x", ["1", "NaN"]), pl.col("x").cast(pl.Float64) > 0),
        (pl.Series("x", [[1.0], [1.0, NAN]]), pl.col("x").list.eval(pl.element() > 0).list.all()),
        (pl.Series("x", [[1.0, 1.0], [1.0, NAN]], pl.Array(pl.Float64, 2)), pl.col("x").arr.sum() > 0),
        (pl.Series("x", [[[1.0, 1.0]], [[1.0, NAN]]], pl.Array(pl.Float64, (1, 2))), pl.col("x") == pl.col("x")),
        (pl.Series("x", [{"y": 1.0}, {"y": NAN}]), pl.col("x").struct.field("y") > 0),
        (pl.Series("x", [{"y": [1.0]}, {"y": [NAN]}]), pl.col("x") == pl.col("x")),
        (pl.Series("x", [1.0, NAN]), pl.col("x").ne_missing(5)),
    ],
    ids=str,
)
def test_nan_that_is_computed_or_nested_is_unknown_too(column: pl.Series, rule: pl.Expr) -> None:
    """Of its own row only."""
    assert found(pl.DataFrame({"id": [1, 2]}).with_columns(column), rule) == ([1], 0, 1)


@pytest.mark.parametrize(
    ("column", "rule"),
    [
        ("['nan'::DOUBLE]", "list_bool_and(list_transform(x, lambda e: e > 0))"),
        ("{'y': 'nan'::DOUBLE}", "x.y > 0"),
        ("'nan'", "x::DOUBLE > 0"),
        ("'nan'::FLOAT", "x IS DISTINCT FROM 5"),
        ("'nan'::DOUBLE", "x > ANY (SELECT 1)"),
    ],
)
def test_nan_of_a_relation_is_unknown_wherever_it_lies(column: str, rule: str) -> None:
    """In a list, a struct, a text that is read as a number."""
    assert found(duckdb.connect().sql(f"SELECT 1 AS id, {column} AS x"), rule) == ([], 0, 1)


def test_nan_makes_a_rule_about_the_frame_unknown() -> None:
    """Where what it compares is NaN."""
    for frame, rule in (
        (AMOUNTS, amount.sum() > 0),
        (relation(AMOUNTS), "sum(amount) > 0"),
        (AMOUNTS, (amount > -9).all()),
    ):
        with pytest.raises(FlowValidationError, match="rule is unknown of the frame"):
            checked(frame, {"rule": rule})


def test_nan_breaks_the_rules_of_a_schema() -> None:
    """It is no number for dataframely either, and unknown to a rule that compares it."""
    dy = pytest.importorskip("dataframely")
    schema = type("Amounts", (dy.Schema,), {"amount": dy.Float64(nullable=True, min=-9)})
    context = checked(AMOUNTS, schema, on_fail="quarantine", rejected="bad_df")

    assert context.objects["bad_df"]["id"].to_list() == [2]


# -- names and shapes ----------------------------------------------------------------------------------------------------

OURS = ["read", "_checked", "frame", "table", "self", "name", "values", "checked"]


@pytest.mark.parametrize("on_fail", ["fail", "warn", "quarantine"])
def test_a_relation_whose_connection_has_tables_of_any_name_gives_its_own_rows(on_fail: str) -> None:
    """And its columns may have any name, also one of ours."""
    connection = duckdb.connect()
    for name in OURS:
        connection.execute(f'CREATE TABLE "{name}" AS SELECT 999 AS id').fetchall()
    columns = ", ".join(f'{at} AS "{name}"' for at, name in enumerate(["__data_engine_rule_0", "said", *OURS]))
    given_rows = connection.sql(f"SELECT unnest([1, 2]) AS id, {columns}")
    rules = {"low": "id < 9", "read": "read > 1", "many": "count(*) > 1", "sub": "id < (SELECT id FROM read)"}
    context = checked(given_rows, rules, on_fail=on_fail)

    assert [row[0] for row in context.current.fetchall()] == [1, 2]


@each_kind
def test_rules_may_have_any_name(make: Callable[..., Any]) -> None:
    """Also one of the columns that rejected rows get."""
    rules = {"_rules": "id > 1", "_row": "id > 2", "0": "id > 3", "id": "id > 0"}
    context = checked(make(AMOUNTS), rules, on_fail="quarantine", rejected="bad_df")

    bad = _as_polars(context.objects["bad_df"])
    assert [list(rules) for rules in bad["_rules"]] == [["_rules", "_row", "0"], ["_row", "0"], ["0"]]


@each_kind
@pytest.mark.parametrize("numbers", [[1, None, -5, -6, -7], [1, None], [None, None, 1], [None, 2]])
@pytest.mark.parametrize("others", [{}, {"other": pl.col("id") > -99}])
def test_a_rule_that_leaves_out_rows_is_refused(
    make: Callable[..., Any], numbers: list[int | None], others: Any
) -> None:
    """However many are left."""
    frame = make(pl.DataFrame({"id": pl.Series(numbers, dtype=pl.Int64)}))
    with pytest.raises(FlowValidationError, match=r"rule 'few' .* one for the frame|rule 'few'.* for \d rows"):
        checked(frame, {"few": pl.col("id").drop_nulls() > 0, **others}, on_fail="quarantine")


def test_a_rule_of_sql_that_makes_rows_is_refused() -> None:
    """It would double the rows that go on."""
    with pytest.raises(FlowValidationError, match="unnest gives several values"):
        checked(relation(AMOUNTS), {"many": "unnest([true, true])"})


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame([[1, 2, -3]], columns=["id", "a", "a"]),
        pd.DataFrame([[1, 2, -3]], columns=["id", 1, "1"]).rename(columns={1: "a", "1": "a"}),
        pa.table([[1], [2], [-3]], names=["id", "a", "a"]),
        duckdb.connect().sql("SELECT 1 AS id, 2 AS a, -3 AS a"),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_two_columns_of_one_name_are_refused(frame: Any) -> None:
    """None of them could be meant."""
    with pytest.raises(FlowValidationError, match="2 columns 'a'"):
        checked(frame, {"positive": "id > 0"}, on_fail="quarantine")


def test_pandas_may_name_its_columns_by_numbers_and_on_several_levels() -> None:
    """A rule names them by their text."""
    numbered = pd.DataFrame([[1, 2], [-1, 3]])
    levels = pd.DataFrame([[1, 2], [-1, 3]], columns=pd.MultiIndex.from_tuples([("id", "x"), ("a", "y")]))
    for frame, name in ((numbered, "0"), (levels, "('id', 'x')")):
        context = checked(frame, {"positive": pl.col(name) > 0}, on_fail="quarantine", rejected="bad_df")
        pd.testing.assert_frame_equal(context.current, frame.head(1))
        assert len(context.objects["bad_df"]) == 1


@pytest.mark.parametrize(("bad", "passes"), [(29, True), (30, False)])
def test_at_most_counts_rows(bad: int, passes: bool) -> None:
    """0.29 of 100 rows are 29."""
    frame = pl.DataFrame({"id": range(100)})
    if passes:
        assert checked(frame, {"r": pl.col("id") >= bad}, on_fail="quarantine", at_most=0.29).current.height == 71
        return
    with pytest.raises(FlowValidationError, match=r"more than at_most=0\.29"):
        checked(frame, {"r": pl.col("id") >= bad}, on_fail="quarantine", at_most=0.29)


@pytest.mark.parametrize(
    "column",
    [
        "INTERVAL 3 DAYS",
        "[INTERVAL 1 DAY]",
        "union_value(num := 2)::UNION(num INTEGER, str VARCHAR)",
        "MAP {'a': 1}",
        "'101'::BIT",
        "TIMETZ '10:00:00+02'",
        "12345678901234567890123::BIGNUM",
        "170141183460469231731687303715884105727::HUGEINT",
        "TIMESTAMP_NS '2020-01-01 00:00:00.123456789'",
        "uuid()::VARCHAR::UUID IS NULL",
        "NULL",
        "'a'::BLOB",
        "1.5::DECIMAL(38, 3)",
        "TIMESTAMPTZ '2020-01-01'",
        "'x'::ENUM('x', 'y')",
        "{'a': INTERVAL 1 DAY}",
    ],
)
@pytest.mark.parametrize("rule", ["id > 1", pl.col("id") > 1])
def test_a_relation_may_have_columns_of_any_type(column: str, rule: Any) -> None:
    """What Polars does not have is text in the file of rejected rows."""
    frame = duckdb.connect().sql(f"SELECT 1 AS id, {column} AS x UNION ALL SELECT 2, {column}")
    context = checked(frame, {"rule": rule}, on_fail="quarantine", rejected="bad_df")

    assert context.current.types == frame.types
    assert context.current.fetchall() == frame.filter("id = 2").fetchall()
    assert context.objects["bad_df"].project("id, x").fetchall() == frame.filter("id = 1").fetchall()
    assert context.control.checked[0].frame["id"].to_list() == [1]


def test_a_rule_of_a_relation_may_read_what_polars_does_not_have_and_end_in_a_comment() -> None:
    """DuckDB asks it."""
    assert found(duckdb.connect().sql("SELECT 1 AS id, INTERVAL 3 DAYS AS x"), "x > INTERVAL 1 DAY -- long")[0] == [1]


def test_arrow_may_hold_intervals_and_unions() -> None:
    """The same table type goes on."""
    union = pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["a", "b"])])
    table = pa.table({"id": [1, -1], "u": union, "i": pa.array([(1, 2, 3), None], pa.month_day_nano_interval())})
    context = checked(table, {"positive": "id > 0"}, on_fail="quarantine", rejected="bad_df")

    assert context.current.schema == table.schema
    assert context.control.checked[0].frame["u"].to_list() == ["b"]


names = st.one_of(
    st.sampled_from(["_checked", "read", "said", "a b", 'q"q', "é", "0"]), st.text("ab_\"' .", min_size=1, max_size=5)
)
values = st.sampled_from(
    [
        pl.Series([1.5, NAN, None, -1.0]),
        pl.Series([1, 0, None, -1]),
        pl.Series(["a", "nan", None, ""]),
        pl.Series([[1.0], [NAN], None, []]),
        pl.Series([b"a", b"\xff", None, b""]),
        pl.Series(["x", "y", None, "x"], dtype=pl.Categorical),
        pl.Series([{"y": 1.0}, {"y": NAN}, {"y": None}, {"y": 2.0}]),
        pl.Series([None, None, None, None]),
        pl.Series(["1.5", "2", None, "-1"]).cast(pl.Decimal(10, 2)),
        pl.Series([0, 1, None, 3]).cast(pl.Datetime("us", "UTC")),
    ]
)
kinds = st.sampled_from(["polars", "lazy", "pandas", "arrow", "relation"])


@settings(max_examples=examples(25), deadline=None)
@given(data=st.data(), kind=kinds, height=st.integers(0, 4))
def test_good_and_rejected_rows_together_are_the_rows_that_came(data: st.DataObject, kind: str, height: int) -> None:
    """Whatever the columns hold and are called."""
    column_names = data.draw(st.lists(names, max_size=4, unique_by=str.lower))
    columns = {name: data.draw(values) for name in column_names if name.lower() != "id"}
    frame = pl.DataFrame({"id": pl.Series([0, 1, 2, 3]), **columns}).head(height)
    rule = data.draw(st.sampled_from(["id > 1", "id <> 2", pl.col("id") < 2, pl.col("id").is_null()]))
    made = KINDS[kind](frame)
    context = checked(made, {data.draw(names.filter(str.strip)): rule}, on_fail="quarantine", rejected="bad_df")
    good, bad = rows_of(context.current), rows_of(context.objects["bad_df"])

    assert _as_polars(context.current).columns == frame.columns
    assert [row[-2] for row in bad] == [row[0] for row in bad]
    assert repr(sorted([*good, *(row[:-2] for row in bad)], key=lambda row: row[0])) == repr(rows_of(made))


def rows_of(frame: Any) -> list[list[Any]]:
    """The rows of a frame of any kind."""
    if isinstance(frame, pd.DataFrame):
        return [list(row) for row in frame.itertuples(index=False, name=None)]
    return [list(row) for row in _as_polars(frame).rows()]

"""`Flow.check`: which rows go on, of which kind the result is, and what is said of the others."""

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
from polars.testing import assert_frame_equal

from data_engine import Flow, FlowValidationError
from data_engine.flow.check import Check
from data_engine.secret import learn
from tests.support import examples

CLAIMS = pl.DataFrame(
    {"id": [1, 2, 2, 4], "amount": [3.0, -1.0, 2.0, None], "name": ["a", "b", "c", None]},
    schema_overrides={"id": pl.Int16},
)
RULES: dict[str, Any] = {"positive": "amount > 0", "unique_id": pl.col("id").is_unique()}


def checked(frame: Any, rules: Any = None, **options: Any) -> Any:
    """The context of a run that checks the frame."""
    flow = Flow(group="Tests").step(lambda context: frame).check(rules or RULES, **options)
    return flow.run_once()[0]


def as_polars(frame: Any) -> pl.DataFrame:
    """A frame of any kind in Polars."""
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pd.DataFrame):
        return pl.DataFrame(pl.from_pandas(frame.reset_index(drop=True)))
    return pl.DataFrame(pl.from_arrow(frame if isinstance(frame, pa.Table) else frame.to_arrow_table()))


def relation(frame: pl.DataFrame) -> Any:
    """The frame as a relation of DuckDB."""
    claims = frame.to_arrow()  # noqa: F841  (DuckDB finds it by its name)
    return duckdb.connect().sql("SELECT * FROM claims")


KINDS: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda frame: frame,
    "lazy": lambda frame: frame.lazy(),
    "pandas": lambda frame: frame.to_pandas(),
    "arrow": lambda frame: frame.to_arrow(),
    "relation": relation,
}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@each_kind
def test_each_kind_of_frame_gives_its_own_kind(make: Callable[[pl.DataFrame], Any]) -> None:
    """With the columns, types and order that came; the rejected rows too, with their number and the rules that they break."""
    frame = make(CLAIMS)
    context = checked(frame, on_fail="quarantine", rejected="bad_df")
    good, bad = context.current, context.objects["bad_df"]

    assert type(good) is type(frame)
    assert type(bad) is type(frame)
    assert_frame_equal(as_polars(good), as_polars(make(CLAIMS.head(1))))
    assert as_polars(bad)["_row"].to_list() == [1, 2, 3]
    assert [list(rules) for rules in as_polars(bad)["_rules"]] == [
        ["positive", "unique_id"],
        ["unique_id"],
        ["positive"],
    ]
    assert as_polars(bad)["id"].to_list() == [2, 2, 4]


@each_kind
def test_what_a_check_has_found_is_counted(make: Callable[[pl.DataFrame], Any]) -> None:
    """Null is not true: it is unknown, and no failure."""
    (found,) = checked(make(CLAIMS), on_fail="quarantine").control.checked

    assert [tuple(one) for one in found.rules] == [("Check", "positive", 4, 1, 1), ("Check", "unique_id", 4, 2, 0)]
    assert (found.rows, found.rejected) == (4, 3)


@each_kind
def test_all_rows_go_on_with_warn(make: Callable[[pl.DataFrame], Any]) -> None:
    """And it is told."""
    context = checked(make(CLAIMS), on_fail="warn")

    assert_frame_equal(as_polars(context.current), as_polars(make(CLAIMS)))
    assert context.warnings == 1
    assert context.control.checked[0].words == "Check: broken (positive 2, unique_id 2)"


@each_kind
def test_a_run_fails_at_rows_that_must_not_go_on(make: Callable[[pl.DataFrame], Any]) -> None:
    """Each broken rule is named, with its first rows and the columns that it reads."""
    with pytest.raises(FlowValidationError) as caught:
        checked(make(CLAIMS))

    told = str(caught.value)
    assert "positive is not true of 2 of 4 rows, 1 of them unknown: row 1 (amount=-1.0), row 3 (amount=" in told
    assert "unique_id is not true of 2 of 4 rows: row 1 (id=2), row 2 (id=2)" in told


def test_a_secret_in_a_row_that_is_told_is_masked_before_it_is_cut() -> None:
    secret = "correct horse battery staple, which is long"
    learn(secret)
    with pytest.raises(FlowValidationError) as caught:
        checked(pl.DataFrame({"url": [f"postgresql://ann.smith@warehouse/{secret}"]}), {"short": "length(url) < 9"})

    assert "warehouse/***" in str(caught.value)
    assert "horse" not in str(caught.value)


@each_kind
def test_a_frame_whose_rows_are_all_good_goes_on(make: Callable[[pl.DataFrame], Any]) -> None:
    """As it came."""
    context = checked(make(CLAIMS.head(1)), rejected="bad_df")

    assert_frame_equal(as_polars(context.current), as_polars(make(CLAIMS.head(1))))
    assert as_polars(context.objects["bad_df"]).height == 0


@each_kind
@pytest.mark.parametrize("height", [0, 1, 4])
def test_a_rule_with_one_value_judges_the_frame(make: Callable[[pl.DataFrame], Any], height: int) -> None:
    """Without rows every rule about rows holds, and those about the frame are judged; a frame of one row is no exception."""
    frame = make(CLAIMS.head(height))
    rules = {"enough": pl.len() > 4, "named": pl.col("id").is_not_null()}
    with pytest.raises(FlowValidationError, match="enough is not true of the frame"):
        checked(frame, rules, on_fail="quarantine")

    (found,) = checked(frame, rules, on_fail="warn").control.checked
    assert [tuple(one)[1:] for one in found.rules] == [("enough", 1, 1, 0), ("named", height, 0, 0)]


def test_a_rule_of_a_relation_may_judge_the_frame_in_sql() -> None:
    """An aggregate of DuckDB has one value."""
    with pytest.raises(FlowValidationError, match="enough is not true of the frame of 4 rows"):
        checked(relation(CLAIMS), {"enough": "count(*) > 4", "known": "id is not null"})


def test_more_rejected_rows_than_at_most_fail() -> None:
    """At most that share of all rows, by all rules together."""
    assert checked(CLAIMS, on_fail="quarantine", at_most=0.75).current.height == 1
    with pytest.raises(FlowValidationError, match=r"3 of 4 rows \(75.00%\), more than at_most=0.74"):
        checked(CLAIMS, on_fail="quarantine", at_most=0.74)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (pl.col("amont") > 0, "there is no column 'amont'"),
        ("amont > 0", "amont"),
        (pl.col("amount") + 1, "no booleans"),
        ("amount + 1", "no booleans"),
        ("amount >", "cannot be asked"),
        (pl.all().is_not_null(), "3 columns"),
        (pl.col("amount").head(2) > 0, "2 values for 4 rows"),
    ],
)
@each_kind
def test_a_rule_that_cannot_be_asked_is_named(make: Callable[[pl.DataFrame], Any], rule: Any, told: str) -> None:
    """With the nearest column."""
    with pytest.raises(FlowValidationError) as caught:
        checked(make(CLAIMS), {"fine": pl.col("id") > 0, "wrong": rule})

    assert told in str(caught.value)
    assert "rule 'wrong'" in str(caught.value)
    if "amont" in told:
        assert "did you mean amount?" in str(caught.value)


def test_an_expression_over_several_columns_is_one_rule() -> None:
    """`pl.all_horizontal` of them."""
    context = checked(CLAIMS, {"whole": pl.all_horizontal(pl.all().is_not_null())}, on_fail="quarantine")

    assert context.current.height == 3


def test_what_is_no_frame_is_refused() -> None:
    """And a frame whose columns are called as those of rejected rows."""
    for wrong in ([1, 2], None, CLAIMS.with_columns(_row=pl.lit(1))):
        with pytest.raises(FlowValidationError, match="check 'Check'"):
            checked(wrong)


def test_a_lazy_frame_is_computed_once() -> None:
    """Whatever becomes of its rows."""
    for on_fail in ("quarantine", "warn"):
        calls: list[int] = []
        lazy = CLAIMS.lazy().map_batches(lambda frame, calls=calls: (calls.append(1), frame)[1], schema=CLAIMS.schema)
        context = checked(lazy, on_fail=on_fail, rejected="bad_df")
        context.current.collect()
        context.objects["bad_df"].collect()

        assert len(calls) == 1, on_fail


def test_a_relation_keeps_types_that_arrow_does_not_have() -> None:
    """As they came from DuckDB."""
    sql = "SELECT i::HUGEINT AS a, uuid() AS u, 'x'::ENUM('x', 'y') AS e FROM range(4) t(i)"
    given_relation = duckdb.connect().sql(sql)
    good = checked(given_relation, {"low": "a < 2"}, on_fail="quarantine").current

    assert good.types == given_relation.types
    assert [row[0] for row in good.fetchall()] == [0, 1]


def test_pandas_keeps_its_index_and_columns_of_several_types() -> None:
    """Only the columns that a rule reads have to be of one type."""
    frame = pd.DataFrame({"a": [1, -1], "mixed": [1, "x"]}, index=["p", "q"])
    context = checked(frame, {"positive": "a > 0"}, on_fail="quarantine")

    assert list(context.current.index) == ["p"]
    assert context.control.checked[0].frame["mixed"].to_list() == ["x"]


@pytest.mark.parametrize(
    ("rules", "options"),
    [
        ({}, {}),
        ("amount > 0", {}),
        (pl.col("a") > 0, {}),
        ({"": "a > 0"}, {}),
        ({"a": " "}, {}),
        ({"a": len}, {}),
        ({"a": True}, {}),
        (RULES, {"on_fail": "drop"}),
        (RULES, {"at_most": 0.1}),
        (RULES, {"on_fail": "quarantine", "at_most": 1.1}),
        (RULES, {"on_fail": "quarantine", "at_most": True}),
        (RULES, {"rejected": "current"}),
        (RULES, {"rejected": 3}),
        (RULES, {"save_as": ""}),
        (RULES, {"onfail": "warn"}),
        (None, {}),
        (RULES, {"schema": "as_after"}),
        (None, {"schema": "as_before", "on_fail": "quarantine"}),
        (None, {"schema": "as_before", "rejected": "bad_df"}),
    ],
)
def test_wrong_rules_and_options_are_refused_when_the_flow_is_built(rules: Any, options: dict[str, Any]) -> None:
    """With a fix."""
    with pytest.raises(FlowValidationError) as caught:
        Flow(group="Tests").check(rules, **options)

    assert caught.value.fix


def test_flows_with_equal_checks_are_equal() -> None:
    """Expressions by what they say; the line where one was written is no part of it."""
    one = Flow(group="Tests").check({"positive": pl.col("amount") > 0})
    same = Flow(group="Tests").check({"positive": pl.col("amount") > 0})
    other = Flow(group="Tests").check({"positive": pl.col("amount") > 1})

    assert one == same
    assert hash(one) == hash(same)
    assert one != other


def test_checks_have_labels_of_their_own() -> None:
    """By which their findings are told apart."""
    flow = Flow(group="Tests").check(RULES).check(RULES).check(RULES, label="Last")

    assert [step.label for step in flow.steps] == ["Check", "Check 2", "Last"]
    assert [step.fn.rules.label for step in flow.steps if isinstance(step.fn, Check)] == ["Check", "Check 2", "Last"]


# -- a Schema of dataframely ---------------------------------------------------------------------------------------------


def schema() -> Any:
    """A Schema with rules of columns, and one of its own."""
    dy = pytest.importorskip("dataframely")

    def small(cls: Any) -> pl.Expr:
        return pl.col("amount") < 3

    columns = {"id": dy.Int16(unique=True), "amount": dy.Float64(nullable=True, min=0)}
    return type("Claims", (dy.Schema,), {**columns, "small": dy.rule()(small)})


@each_kind
def test_a_schema_is_a_set_of_rules(make: Callable[[pl.DataFrame], Any]) -> None:
    """Columns that it does not name stay; a null satisfies what is asked of a nullable column, and no rule of its own."""
    context = checked(make(CLAIMS), schema(), on_fail="quarantine", rejected="bad_df")
    bad = as_polars(context.objects["bad_df"])

    assert [set(rules) for rules in bad["_rules"]] == [{"small"}, {"id|unique", "amount|min"}, {"id|unique"}, {"small"}]
    assert bad.columns == [*CLAIMS.columns, "_row", "_rules"]
    assert {one.rule: one.unknown for one in context.control.checked[0].rules}["small"] == 1


def test_a_value_that_is_not_of_the_type_of_a_schema_breaks_its_own_row() -> None:
    """The others go on as they came."""
    frame = CLAIMS.with_columns(amount=pl.Series(["1", "x", "2", "-3"]), id=pl.Series([1, 2, 3, 4], dtype=pl.Int16))
    context = checked(frame, schema(), on_fail="quarantine", rejected="bad_df")

    assert_frame_equal(context.current, frame.filter(pl.col("id").is_in([1, 3])))
    assert [rules[0] for rules in context.objects["bad_df"]["_rules"]] == ["amount|dtype", "amount|min"]


def test_a_column_that_a_schema_names_and_is_not_there_is_told() -> None:
    """As of every rule."""
    with pytest.raises(FlowValidationError, match="there is no column 'amount'"):
        checked(CLAIMS.drop("amount"), schema())


# -- two engines as each other's oracle ---------------------------------------------------------------------------------

numbers = st.one_of(st.none(), st.integers(-3, 3))
words = st.one_of(st.none(), st.sampled_from(["", "a", "b", "ab"]))
frames = st.lists(st.tuples(numbers, numbers, words), max_size=12).map(
    lambda rows: pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.Int64, "s": pl.String}, orient="row")
)
comparisons = st.one_of(
    st.builds(
        "{} {} {}".format,
        st.sampled_from("ab"),
        st.sampled_from(["<", ">=", "=", "<>"]),
        st.sampled_from(["a", "b", "0", "2"]),
    ),
    st.builds("{} IS {}NULL".format, st.sampled_from("abs"), st.sampled_from(["", "NOT "])),
    st.builds("{} BETWEEN {} AND {}".format, st.sampled_from("ab"), st.integers(-2, 0), st.integers(0, 2)),
    st.builds("{} IN (1, 2)".format, st.sampled_from("ab")),
    st.builds("s {} 'a'".format, st.sampled_from(["=", "<>"])),
)
sql_rules = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["AND", "OR"]), inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=examples(12), deadline=None)
@given(frame=frames, rules=st.lists(sql_rules, min_size=1, max_size=4), kind=st.sampled_from(list(KINDS)))
def test_rows_are_rejected_where_duckdb_says_that_not_all_rules_are_true(
    frame: pl.DataFrame, rules: list[str], kind: str
) -> None:
    """Good and rejected rows together are those that came, in order."""
    numbered = frame.with_row_index("n").cast({"n": pl.Int64})
    named = {f"r{number}": rule for number, rule in enumerate(rules)}
    context = checked(KINDS[kind](numbered), named, on_fail="quarantine", rejected="bad_df")
    good, bad = as_polars(context.current), as_polars(context.objects["bad_df"])

    claims = numbered.to_arrow()  # noqa: F841  (DuckDB finds it by its name)
    both = " AND ".join(f"({rule})" for rule in rules)
    oracle = duckdb.connect()
    ours = oracle.sql(f"SELECT n FROM claims WHERE ({both}) IS NOT TRUE ORDER BY n").fetchall()
    assert bad["n"].to_list() == [n for (n,) in ours] == bad["_row"].to_list()
    assert sorted([*good["n"], *bad["n"]]) == list(range(frame.height))
    assert good["n"].to_list() == sorted(good["n"])
    for number, rule in enumerate(rules):
        broken = oracle.sql(
            f"SELECT count(*) FILTER (({rule}) IS FALSE), count(*) FILTER (({rule}) IS NULL) FROM claims"
        )
        told = context.control.checked[0].rules[number]
        assert (told.failed, told.unknown) == broken.fetchall()[0], rule
    assert_frame_equal(
        pl.concat([good, bad.select(good.columns)]).sort("n"), as_polars(KINDS[kind](numbered)), check_dtypes=False
    )

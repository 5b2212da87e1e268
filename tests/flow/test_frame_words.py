"""What people know from pandas is told in the words of the library they use, and what is told runs."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from data_engine import Flow
from data_engine.errors import FlowValidationError
from data_engine.flow.hints import frame_words
from data_engine.flow.hints.frame_words import option_for, polars_for
from data_engine.flow.suggestions import mistyped_name
from tests.flow.test_table_hints import failed

POLARS: Any = pl
FRAME: Any = pl.DataFrame({"a": [1, 2], "b": [3, 4], "c": ["x", "y"], "day": [datetime.datetime(2026, 1, 31)] * 2})
ASKED: dict[str, Any] = {
    "DataFrame": FRAME,
    "LazyFrame": FRAME.lazy(),
    "Series": FRAME["a"],
    "Expr": pl.col("a"),
    "GroupBy": FRAME.group_by("a"),
    "LazyGroupBy": FRAME.lazy().group_by("a"),
    "ExprStringNameSpace": pl.col("c").str,
    "StringNameSpace": FRAME["c"].str,
    "ExprDateTimeNameSpace": pl.col("day").dt,
    "DateTimeNameSpace": FRAME["day"].dt,
    "module": pl,
}
DURATION = pl.Series([datetime.timedelta(days=1)] * 2)
WORDS = [(kind, name) for kind, words in frame_words._OF_KIND.items() for name in words]
NOT_HERE = ("read_database", "write_database")


@pytest.mark.parametrize(("kind", "name"), WORDS)
def test_what_is_told_runs_and_the_name_is_none_of_polars(
    kind: str, name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that Polars has is never told, so that none may stand here."""
    monkeypatch.chdir(tmp_path)
    told = polars_for(kind, name)

    assert told is not None
    assert not hasattr(ASKED[kind], name)
    code = told.partition(" (")[0]
    if code.startswith("nothing") or any(word in code for word in NOT_HERE):
        return
    frame = FRAME.select("a", "b") if "pl.all() *" in code or "to_numpy" in code else FRAME
    is_lazy, day = (
        kind.startswith("Lazy") and name != "resample",
        DURATION if name in ("days", "seconds") else FRAME["day"],
    )
    column = day if ".dt." in code else FRAME["c"] if ".str." in code and "cast" not in code else FRAME["a"]
    result = eval(
        code,
        {
            "pl": pl,
            "frame": frame.lazy() if is_lazy else frame,
            "other": FRAME.lazy() if is_lazy else FRAME,
            "column": column,
            "datetime": datetime,
        },
    )
    if isinstance(result, pl.Expr):
        as_text = frame.with_columns(a=pl.lit("31.01.2026")) if ".str." in code and "cast" not in code else frame
        as_text.with_columns(day=pl.lit(day)).select(result)
    elif isinstance(result, pl.LazyFrame):
        result.collect()


@pytest.mark.parametrize(
    ("ask", "fix"),
    [
        (lambda frame: frame.dropna(), "in Polars: frame.drop_nulls()"),
        (lambda frame: frame["a"].dropna(), "in Polars: column.drop_nulls()"),
        (lambda frame: frame.select(POLARS.col("a").fillna(0)), 'in Polars: pl.col("a").fill_null(0)'),
        (lambda frame: frame.to_csv("a.csv"), 'in Polars: frame.write_csv("a.csv")'),
        (lambda frame: frame.lazy().to_csv("a.csv"), 'in Polars: frame.sink_csv("a.csv")'),
        (lambda frame: frame.append(frame), "in Polars: pl.concat([frame, other])"),
        (lambda frame: frame.merge(frame), 'in Polars: frame.join(other, on="a")'),
        (lambda frame: frame.iloc[0], 'in Polars: frame[0:5] (rows by their number), frame[0, "a"] (a cell)'),
        (lambda frame: frame.group_by("a").size(), 'in Polars: frame.group_by("a").len()'),
        (lambda frame: POLARS.to_datetime("a"), 'in Polars: pl.col("a").str.to_datetime("%d.%m.%Y")'),
        (lambda frame: POLARS.col("c").str.lower(), 'in Polars: pl.col("a").str.to_lowercase()'),
        (lambda frame: frame.cumsum(), 'in Polars: frame.with_columns(pl.col("a").cum_sum())'),
        (lambda frame: frame.reset_index(), "in Polars: nothing, as a Polars frame has no index"),
        (lambda frame: frame.Betrag, 'Betrag is a column: pl.col("Betrag") in an expression, frame["Betrag"] by'),
        (lambda frame: frame.betrag.sum(), 'Betrag is a column: pl.col("Betrag") in an expression, frame["Betrag"] by'),
        (lambda frame: frame.lazy().Betrag, 'Betrag is a column: pl.col("Betrag") in an expression'),
        (lambda frame: frame.lazy().height, "this is a lazy frame, which has no rows before it is collected: frame"),
        (
            lambda frame: frame.lazy().write_csv("a"),
            "this is a lazy frame, which has no rows before it is collected: frame",
        ),
        (lambda frame: frame.collect(), "this frame is not lazy, its rows are here: leave .collect() out"),
        (lambda frame: frame.colums, "did you mean 'columns'?"),
    ],
)
def test_a_name_of_pandas_is_told_in_the_words_of_polars(ask: Callable[[Any], Any], fix: str) -> None:
    """Never by a name that is only like it: `drop_nans` would run, and leave every null where it is."""
    frame = FRAME.with_columns(Betrag=1)

    assert str(failed(lambda context: ask(frame)).fix).startswith(fix)


def test_a_column_that_is_asked_for_as_it_is_called_comes_before_a_word_of_pandas() -> None:
    assert str(failed(lambda context: POLARS.DataFrame({"size": [1]}).size).fix).startswith("size is a column")


@pytest.mark.parametrize("name", ["warn", "folder", "to_things", "drop"])
def test_a_name_that_may_be_another_word_is_no_typing_mistake(name: str) -> None:
    assert mistyped_name(name, ["warnings", "mode", "to_dicts", "pipe", "drop_nans"]) is None


@pytest.mark.parametrize("name", ["nmae", "nam", "namee", "Name", "na_me"])
def test_a_typing_mistake_is_one(name: str) -> None:
    assert mistyped_name(name, ["stem", "name"]) == "name"


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        (lambda: FRAME.rename(columns={"a": "d"}), 'give the names without one: rename({"old": "new"})'),
        (lambda: FRAME.drop(columns=["a"]), 'give the columns without a name: drop("a", "b")'),
        (lambda: FRAME.drop("a", axis=1), 'leave it out: drop("a") takes a column away'),
        (lambda: FRAME.sort("a", inplace=True), "nothing of Polars changes a frame in place: leave it out"),
        (lambda: FRAME.sum(axis=1), 'pl.sum_horizontal("a", "b") goes over columns'),
        (lambda: POLARS.concat([FRAME], axis=1), 'how="horizontal" puts frames side by side'),
        (lambda: FRAME.fill_null(method="ffill"), 'write strategy="forward"'),
        (lambda: FRAME.to_dict(orient="records"), "frame.to_dicts() gives a dict for each row"),
        (lambda: FRAME.write_excel("a.xlsx", sheet_name="A"), "did you mean worksheet=?"),
        (
            lambda: FRAME.select(POLARS.col("c").str.replace_all(".", "", regex=False)),
            "literal=True takes the text as it is",
        ),
    ],
)
def test_an_option_of_pandas_is_told_in_the_words_of_polars(call: Callable[[], Any], fix: str) -> None:
    """`rename(columns=)` is none that is left out."""
    assert str(failed(lambda context: call()).fix).startswith(fix)
    assert option_for("sort", "descending") is None


def test_a_name_that_pandas_had_once_is_told_in_its_words_of_today() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1]})

    assert failed(lambda context: frame.append(frame)).fix == "in pandas: pd.concat([frame, other])"
    assert failed(lambda context: frame.applymap(str)).fix == "in pandas: frame.map(lambda value: value)"


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("warn", 'write context.log("...", level="WARNING"), which adds a line to the run\'s log'),
        ("info", 'write context.log("..."), which adds a line to the run\'s log'),
    ],
)
def test_a_word_of_a_logger_is_told_as_the_line_of_a_log(name: str, fix: str) -> None:
    assert failed(lambda context: getattr(context, name)("low")).fix == fix


def test_a_folder_to_watch_is_the_source_and_one_to_write_the_root() -> None:
    with pytest.raises(FlowValidationError) as caught:
        Flow("G").watch(mode="poll", folder="../in", interval="1m")  # type: ignore[call-arg]
    assert str(caught.value.fix).startswith("did you mean source=?")

    with pytest.raises(FlowValidationError) as caught:
        Flow("G").mirror(folder="../out")  # type: ignore[call-arg]
    assert str(caught.value.fix).startswith("did you mean root=?")

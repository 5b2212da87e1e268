"""Each row of the table of hints answers the error it is for, raised by real code; and no near name is offered that was not meant."""

from __future__ import annotations

import datetime
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest
import xlsxwriter

from data_engine import Flow, FlowContext, FlowExecutionError
from data_engine.flow.hints import HINTS, StepFailure, hint_for, plain_text
from data_engine.flow.locations import MirrorContext, SourceContext
from data_engine.secret import Secret
from data_engine.suggestions import nearest_files, nearest_name
from tests.flow.running import run

FRAME = pl.DataFrame(
    {
        "net": ["1.234,50", "2,5"],
        "gross": ["1", "2"],
        "comma": ["1,5", "2"],
        "count": [1, 2],
        "day": ["31.12.2026", "1.1.2027"],
        "date": [datetime.date(2026, 1, 1)] * 2,
        "Betrag": [1, 2],
    }
)
PANDAS = pd.DataFrame({"Betrag": ["1,5"], "Filiale": [1]})
WRITTEN_SO = "starts in" if sys.platform == "win32" else 'write "/"'
LAZY = pl.LazyFrame({"a": [1]})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with files that are not what a reader takes them for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "semi.csv").write_text("city;amount\nOslo;1,5\nRome;2,5,1\n", encoding="ascii")
    (tmp_path / "late.csv").write_text("amount;b\n1;2\n1,5;3\n", encoding="ascii")
    (tmp_path / "one.csv").write_text("amount;b\n1;2\n", encoding="ascii")
    (tmp_path / "text.xlsx").write_text("city;amount\n", encoding="ascii")
    (tmp_path / "cp.csv").write_bytes("city\nKöln\n".encode("cp1252"))
    (tmp_path / "excel.txt").write_bytes("city\tsum\nKöln\t1\n".encode("utf-16"))
    (tmp_path / "wide.csv").write_bytes("city;sum\nKöln;1\n".encode("utf-16-le"))
    (tmp_path / "empty.csv").touch()
    with xlsxwriter.Workbook(tmp_path / "book.xlsx") as book:
        book.add_worksheet("Summe").write(0, 0, "a")
        book.add_worksheet("Nord")
    return tmp_path


def context_of(folder: Path, **given: Any) -> FlowContext:
    return FlowContext(flow_name="claims", group="G", **given)


def failure_of(step: Callable[[FlowContext], Any], context: FlowContext, **known: Any) -> StepFailure:
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a row is for any
        step(context)
    return StepFailure(caught.value, context=context, **known)


def raising(error: BaseException) -> Callable[[object], Any]:
    def call(context: object) -> None:
        raise error

    return call


def query(text: str) -> Any:
    with duckdb.connect() as connection:
        return connection.execute(text).fetchall()


OF_TABLES: list[tuple[str, Callable[[Any], Any], str]] = [
    ("pandas_word", lambda c: FRAME.dropna(), ".drop_nulls()"),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME.fillna(0), ".fill_null(0)"),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: pl.col("a").isna(), 'pl.col("a").is_null()'),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME["net"].notna(), "is_not_null()"),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME.groupby("net"), ".group_by"),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME.merge(FRAME), ".join(other"),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME.sort_values("net"), ".sort("),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME["net"].astype(float), ".cast("),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME.apply(len), ".with_columns("),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME.iloc[0], "[0:5]"),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME.loc[0], ".filter("),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: LAZY.to_csv("a.csv"), ".sink_csv("),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME.reset_index(), "no index"),  # type: ignore[attr-defined]
    ("pandas_word", lambda c: FRAME.Betrag, 'frame["Betrag"]'),  # type: ignore[attr-defined]
    ("near_name", lambda c: FRAME.fitler(True), "'filter'"),  # type: ignore[attr-defined]
    ("near_option", lambda c: pl.read_csv("semi.csv", sep=";"), "separator="),  # type: ignore[call-arg]
    ("near_option", lambda c: pd.read_csv("semi.csv", separator=";"), "sep="),
    ("near_option", lambda c: FRAME.sort("net", ascending=False), "descending="),  # type: ignore[call-arg]
    ("near_option", lambda c: FRAME.sort("net", decending=True), "descending="),  # type: ignore[call-arg]
    ("missing_column", lambda c: FRAME.select("Betra"), '"Betrag"'),
    ("missing_column", lambda c: FRAME["betrag"], '"Betrag"'),
    ("missing_column", lambda c: FRAME.lazy().filter(pl.col("Betrga") > 1).collect(), '"Betrag"'),
    ("missing_column", lambda c: FRAME.drop("Tag"), 'the columns are "net", "gross"'),
    ("missing_column", lambda c: PANDAS["Filale"], '"Filiale"'),
    ("missing_column", lambda c: PANDAS[["Filale", "Betrag"]], '"Filiale"'),
    ("missing_column", lambda c: PANDAS.groupby("Betrag")["Filale"].sum(), '"Filiale"'),
    ("missing_column", lambda c: PANDAS["Tag"], 'the columns are "Betrag", "Filiale"'),
    ("missing_column", lambda c: query("select Betra from (select 1 as Betrag)"), '"Betrag"'),
    ("missing_column", lambda c: pl.read_csv("one.csv")["amount"], 'separator=";"'),
    ("missing_column", lambda c: pd.read_csv("one.csv")["amount"], 'sep=";"'),
    ("too_many_fields", lambda c: pl.read_csv("semi.csv"), 'separator=";"'),
    ("too_many_fields", lambda c: pd.read_csv("semi.csv"), 'sep=";"'),
    ("empty_file", lambda c: pl.read_csv("empty.csv"), "empty"),
    ("empty_file", lambda c: pd.read_csv("empty.csv"), "skiprows="),
    (
        "number",
        lambda c: FRAME.select(pl.col("comma").cast(pl.Float64)),
        'parse_decimal("NAME", decimal=",", thousands=".")',
    ),
    ("number", lambda c: pl.DataFrame({"a": ["1.5"]}).cast({"a": pl.Int64}), "pl.Float64"),
    (
        "number",
        lambda c: pl.read_csv("late.csv", separator=";", infer_schema_length=1),
        "parse_decimal",
    ),
    ("day_format", lambda c: FRAME.select(pl.col("day").str.to_date("%Y-%m-%d")), '"%d.%m.%Y"'),
    ("text_for_number", lambda c: FRAME.with_columns(pl.col("net") * 2), ".cast(pl.Float64)"),
    ("text_for_number", lambda c: FRAME.select(pl.col("net").sum()), ".cast(pl.Float64)"),
    ("text_for_number", lambda c: FRAME.filter(pl.col("gross") > 1), "in quotes"),
    ("text_for_number", lambda c: FRAME["net"] * 2, ".cast(pl.Float64)"),
    ("concat_types", lambda c: pl.concat([pl.DataFrame({"a": [1]}), pl.DataFrame({"a": ["x"]})]), '{"a": ...}'),
    (
        "concat_columns",
        lambda c: pl.concat([LAZY.collect().with_columns(b=2), pl.DataFrame({"b": 1, "a": 2})]),
        "diagonal",
    ),
    ("concat_columns", lambda c: pl.concat([LAZY.collect(), pl.DataFrame({"a": 1, "b": 2})]), "diagonal"),
    ("concat_columns", lambda c: pl.concat([LAZY, pl.LazyFrame({"b": 1})]).collect(), "diagonal"),
    ("empty_frame", lambda c: FRAME.clear().row(0), "is_empty()"),
    ("empty_frame", lambda c: FRAME.clear()["count"][0], "is_empty()"),
    ("empty_frame", lambda c: FRAME.clear().item(), "is_empty()"),
    ("empty_frame", lambda c: FRAME.clear()["count"].item(), "is_empty()"),
    ("empty_frame", lambda c: pl.concat([]), "is_empty()"),
    ("missing_column", lambda c: pl.DataFrame()["a"], "is_empty()"),
    ("missing_column", lambda c: pl.DataFrame().filter(pl.col("a") > 1), "is_empty()"),
    ("join_types", lambda c: FRAME.join(FRAME, left_on="gross", right_on="count"), 'pl.col("count").cast(pl.String)'),
    ("relative_path", lambda c: pl.read_csv("prices.csv"), "a relative path starts in"),
    ("relative_path", lambda c: pl.read_excel("prices.xlsx"), "a relative path starts in"),
    ("relative_path", lambda c: pl.scan_csv("prices.csv").collect(), "a relative path starts in"),
    ("relative_path", lambda c: pd.read_csv("prices.csv"), "a relative path starts in"),
    ("relative_path", lambda c: duckdb.read_csv("prices.csv"), "a relative path starts in"),
    ("relative_path", lambda c: pl.read_csv(r"..\inbox\prices.csv"), WRITTEN_SO),
    ("not_utf8", lambda c: Path("cp.csv").read_text(encoding="utf-8"), 'encoding="cp1252"'),
    ("not_utf8", lambda c: pl.read_csv("book.xlsx"), "read_excel"),
    ("not_utf8", lambda c: pl.read_csv("excel.txt"), 'encoding="utf-16"'),
    ("not_utf8", lambda c: pd.read_csv("excel.txt"), 'encoding="utf-16"'),
    ("not_utf8", lambda c: duckdb.read_csv("excel.txt").fetchall(), 'encoding="utf-16"'),
    ("not_utf8", lambda c: Path("excel.txt").read_text(encoding="utf-8"), 'encoding="utf-16"'),
    ("not_utf8", lambda c: pl.read_csv("wide.csv"), 'encoding="utf-16-le"'),
    ("no_workbook", lambda c: pl.read_excel("text.xlsx"), "read_csv"),
]


@pytest.mark.parametrize(("key", "step", "word"), OF_TABLES)
def test_an_error_of_a_table_or_a_file_gets_its_row(
    folder: Path, key: str, step: Callable[[Any], Any], word: str
) -> None:
    failure = failure_of(step, context_of(folder))

    found = hint_for(failure)

    assert found is not None, failure.text
    assert found[0] == key, found
    assert word in found[1]


class Panic(BaseException):
    """As Polars' own, which is no `Exception`."""


Panic.__name__ = "PanicException"

OF_WORDS: list[tuple[str, BaseException, str]] = [
    ("secret_as_text", TypeError('can only concatenate str (not "Secret") to str'), ".reveal()"),
    ("input", EOFError("EOF when reading a line"), "context.params"),
    ("missing_package", ModuleNotFoundError("No module named 'polrs'", name="polrs"), "did you mean polars?"),
    ("missing_package", ModuleNotFoundError("No module named 'sklearn.svm'", name="sklearn.svm"), "scikit-learn"),
    ("missing_package", Panic("ModuleNotFoundError(\"No module named 'numppyy'\")"), "pip install numppyy"),
    ("full_drive", OSError(28, "No space left on device"), "full"),
    (
        "newer_database",
        OSError("read a database file with version number 69, but we can only read versions between 64 and 68."),
        "DuckDB 2.0 or newer",
    ),
    (
        "pandas_word",
        AttributeError("'DataFrame' object has no attribute 'de'", name="de", obj=FRAME),
        "`import data_engine.helpers`",
    ),
    ("syntax", SyntaxError("'(' was never closed"), "bracket"),
]


@pytest.mark.parametrize(("key", "error", "word"), OF_WORDS)
def test_an_error_that_cannot_be_raised_here_is_known_by_its_words(
    folder: Path, key: str, error: BaseException, word: str
) -> None:
    found = hint_for(failure_of(raising(error), context_of(folder)))

    assert found is not None
    assert found[0] == key
    assert word in found[1]


@pytest.mark.parametrize("name", ["toml", "httpx9", "ujson", "polaris_x"])
def test_another_package_is_not_taken_for_one_that_is_installed(folder: Path, name: str) -> None:
    """Nor for a module of Python."""
    error = ModuleNotFoundError(f"No module named '{name}'", name=name)
    found = hint_for(failure_of(raising(error), context_of(folder)))

    assert found is None or "did you mean" not in found[1]


def test_a_secret_in_a_text_is_told_how_to_be_read(folder: Path) -> None:
    found = hint_for(failure_of(lambda context: "Bearer " + Secret("dwh", "abcdefgh"), context_of(folder)))  # type: ignore[operator]

    assert found is not None
    assert found[0] == "secret_as_text"


def test_a_name_that_a_module_lacks_is_told_by_the_one_that_was_meant(folder: Path) -> None:
    def step(context: object) -> None:
        from polars import DatFrame  # type: ignore[attr-defined]  # noqa: F401

    assert hint_for(failure_of(step, context_of(folder))) == ("near_name", "did you mean 'DataFrame'?")


def asks_mirror(context: Any) -> Any:
    return context.mirror.file("a.csv")


def reads(context: Any) -> Any:
    return [1, 2]


def nothing(context: Any) -> None: ...


def takes_variable(context: Any) -> Any:
    return raw_df[:1]  # type: ignore[name-defined]  # noqa: F821


def made_of_itself(context: Any) -> Any:
    raw_df = raw_df[:1]  # noqa: F821
    return len(raw_df)


def asks_item(context: Any) -> Any:
    return context.current


FILE = {"source": SourceContext(Path("/in"), Path("/in/a.csv"), Path("a.csv"))}
FOLDER = {"source": SourceContext(Path("/in"))}
MIRROR = {"mirror": MirrorContext(Path("/out"), Path("/out"), FILE["source"])}
FRAMES = Flow("G").step(lambda context: FRAME)

OF_CONTEXT: list[tuple[str, Flow, dict[str, Any], str]] = [
    ("no_place", Flow("G").step(asks_mirror), {}, "context.mirror is None: add .mirror("),
    ("no_place", Flow("G").step(lambda context: context.source.path), {}, "context.source is None: add .watch("),
    ("no_file", Flow("G").step(lambda context: context.source.path.read_text()), FOLDER, ".collect("),
    ("no_file", Flow("G").step(lambda context: pl.read_csv(context.source.path)), FOLDER, ".collect("),
    ("exit", Flow("G").step(lambda context: sys.exit(0)), {}, "end the step with return"),
    (
        "none_returned",
        Flow("G").step(nothing).step(lambda c: c.current.height),
        {},
        "step 'Nothing' before it returned",
    ),
    ("first_step", Flow("G").step(lambda context: context.current.height), FILE, "context.source.path"),
    ("first_step", Flow("G").step(lambda context: len(context.current)), FOLDER, ".collect("),
    ("item_not_context", Flow("G").step(reads).map(asks_item), {}, "def asks_item(context, item)"),
    ("saved_object", Flow("G").step(reads, save_as="raw_df").step(takes_variable), {}, 'context.objects["raw_df"]'),
    ("saved_object", Flow("G").step(reads, save_as="raw_df").step(made_of_itself), {}, 'context.objects["raw_df"]'),
    ("saved_object", Flow("G").step(reads, save_as="raw_df").step(lambda c: c.raw_df), {}, "step 'Reads' saved"),
    ("context_as_value", FRAMES.step(lambda context: context.filter(True)), {}, "write context.current.filter"),
    ("context_as_value", FRAMES.step(lambda context: context["net"]), {}, "the DataFrame is context.current"),
    ("context_as_value", Flow("G").step(lambda context: open(context)), FILE, "context.source.path"),  # noqa: SIM115
    ("near_name", Flow("G").step(lambda context: context.sorce), {}, "'source'"),
    ("source_as_path", Flow("G").step(lambda context: open(context.source)), FILE, "context.source.path"),  # noqa: SIM115
    ("source_as_path", Flow("G").step(lambda context: context.source.read_text()), FILE, "context.source.path"),
    ("mirror_as_path", Flow("G").step(lambda context: context.mirror / "a.csv"), MIRROR, "context.mirror.file("),
]


@pytest.mark.parametrize(("key", "flow", "given", "word"), OF_CONTEXT)
def test_a_step_that_takes_what_it_is_given_for_something_else_gets_its_row(
    folder: Path, key: str, flow: Flow, given: dict[str, Any], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    def asked(failure: StepFailure) -> str | None:
        found = hint_for(failure)
        keys.append("" if found is None else found[0])
        return None if found is None else found[1]

    monkeypatch.setattr("data_engine.flow.steps.fix_for", asked)
    with pytest.raises(FlowExecutionError) as caught:
        run(flow, **given)

    assert keys == [key]
    assert word in str(caught.value.fix)


def test_every_row_is_tested() -> None:
    tested = {key for key, *_ in (*OF_TABLES, *OF_WORDS, *OF_CONTEXT)} | {"odd_name"}

    assert {hint.key for hint in HINTS} == tested


@pytest.mark.parametrize(
    "step",
    [
        lambda c: c.zzzzz,
        lambda c: {}["upper"],
        lambda c: float("x"),
        lambda c: FRAME.frob(),  # type: ignore[attr-defined]
        lambda c: 1 + "a",  # type: ignore[operator]
        lambda c: {"Filiale": 1}["Filale"],
        lambda c: pd.read_csv("semi.csv", colour=1),
        lambda c: __import__("polars.frob"),
    ],
)
def test_of_other_errors_nothing_is_said(folder: Path, step: Callable[[Any], Any]) -> None:
    assert hint_for(failure_of(step, context_of(folder))) is None


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("Tag", ["Betrag"]),
        ("dropna", ["drop_nans", "drop_nulls"]),
        ("fillna", ["fill_nan", "fill_null"]),
        ("amount_2025", ["amount_2026"]),
        ("T", ["to"]),
        ("warn", ["warnings"]),
    ],
)
def test_a_name_that_may_be_another_word_is_nobodys_guess(name: str, known: list[str]) -> None:
    assert nearest_name(name, known) is None


@pytest.mark.parametrize("name", ["clams", "claaims", "claimss", "cliams", "Claims", "cla_ims", "clai ms", "claims-"])
def test_one_typing_mistake_and_other_writings_of_a_name_are_told(name: str) -> None:
    assert nearest_name(name, ["parts", "claims"]) == "claims"


def test_a_file_of_another_name_is_nobodys_guess() -> None:
    assert nearest_files("nowhere.csv", ["leer.csv"]) == ()
    assert nearest_files("in/claims-01.csv", ["in/claims-02.csv"]) == ()
    assert nearest_files("clams-01.csv", ["in/claims-01.csv"]) == ("in/claims-01.csv",)


def test_the_advice_of_polars_that_leaves_data_out_is_not_shown(folder: Path) -> None:
    with pytest.raises(FlowExecutionError) as caught:
        run(Flow("G").step(lambda context: pl.read_csv(io.BytesIO(b"a,b\n1,2\n1,2,3\n"))))

    assert "truncate_ragged_lines" not in caught.value.detail
    assert "found more fields" in caught.value.detail
    assert (
        plain_text("it failed\n\nYou might want to try:\n- setting `strict=False`\n\nIn: col") == "it failed\n\nIn: col"
    )


@pytest.mark.parametrize(
    ("place", "name", "written"),
    [("prices.csv", "prices.csv", "../prices.csv"), ("inbox/prices.csv", "inbox/prices.csv", "../inbox/prices.csv")],
)
def test_the_file_of_the_workspace_that_is_meant_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, name: str, written: str
) -> None:
    """By its whole name; the path that is told leads there."""
    file, modules = tmp_path / place, tmp_path / "flow_modules"
    for one in (file.parent, modules):
        one.mkdir(exist_ok=True)
    file.touch()
    monkeypatch.chdir(modules)
    with pytest.raises(FlowExecutionError) as caught:
        run(Flow("G").step(lambda context: pl.read_csv(name)), workspace_root=tmp_path)

    assert f'is there: write "{written}"' in str(caught.value.fix)

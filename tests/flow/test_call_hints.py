"""A call that was meant for another library, another reader or a function is told with what to write instead."""

from __future__ import annotations

import glob
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import data_engine
from data_engine import Batch, FileRef, flow, secret
from tests.flow.test_table_hints import failed

pd = pytest.importorskip("pandas")

TO_POLARS = "pl.from_pandas(frame) makes a Polars frame of it first"
TO_PANDAS = "frame.to_pandas() makes a pandas frame of it first"


def fix_of(call: Callable[[Any], Any]) -> str | None:
    return failed(call).fix


def pandas_frame() -> Any:
    return pd.DataFrame({"city": ["Oslo", "Rome"], "amount": [1, 5]})


@pytest.mark.parametrize(
    "ask",
    [
        lambda frame: frame.filter(pl.col("amount") > 3),
        lambda frame: frame[pl.col("amount") > 3],
        lambda frame: frame.loc[pl.col("amount") > 3],
        lambda frame: frame.sort_values(pl.col("city")),
        lambda frame: frame.sort_values([pl.col("city")]),
        lambda frame: frame.groupby("city").agg(pl.col("amount").sum()),
        lambda frame: frame["amount"].filter(pl.col("amount")),
    ],
)
def test_a_polars_expression_for_a_pandas_frame(ask: Callable[[Any], Any]) -> None:
    assert fix_of(lambda context: ask(pandas_frame())) == (
        f"this is a pandas frame, which takes no Polars expression: {TO_POLARS}"
    )


def test_an_expression_that_pandas_keeps_as_a_value_is_told_where_it_is_used() -> None:
    fix = fix_of(lambda context: pl.from_pandas(pandas_frame().assign(twice=pl.col("amount") * 2)))

    assert fix == f"a column holds Polars expressions, which a pandas frame does not compute: {TO_POLARS}"


@pytest.mark.parametrize(
    ("ask", "fix"),
    [
        (
            lambda: pandas_frame().with_columns(pl.lit(1)),
            f"this is a pandas frame, and with_columns is of Polars: {TO_POLARS}",
        ),
        (
            lambda: pandas_frame().group_by("city"),
            f"this is a pandas frame, and group_by is of Polars: {TO_POLARS}; or did you mean 'groupby'?",
        ),
        (
            lambda: pl.DataFrame({"a": [1]}).swaplevel(),  # type: ignore[attr-defined]
            f"this is a Polars frame, and swaplevel is of pandas: {TO_PANDAS}",
        ),
        (lambda: pl.concat([pl.DataFrame(), pandas_frame()]), f"Polars was given a pandas frame: {TO_POLARS}"),
        (lambda: pandas_frame().merge(pl.DataFrame({"city": [1]})), f"pandas was given a Polars frame: {TO_PANDAS}"),
    ],
)
def test_a_frame_of_the_other_library(ask: Callable[[], Any], fix: str) -> None:
    assert fix_of(lambda context: ask()) == fix


@pytest.mark.parametrize(
    "ask",
    [
        lambda: pandas_frame().apply(lambda row, other: 1 + "a", axis=1, args=(pl.DataFrame(),)),  # type: ignore[operator]
        lambda: pl.DataFrame({"a": [1]}).with_columns(pl.col("a") + object()),
    ],
)
def test_an_error_of_a_step_of_its_own_says_nothing_of_libraries(ask: Callable[[], Any]) -> None:
    assert "frame" not in str(fix_of(lambda context: ask()))


@pytest.mark.parametrize(
    ("read", "fix"),
    [
        (
            lambda: pd.read_csv("a.csv", sheet_name="May"),
            "sheet_name= is an option of read_excel, not of read_csv: leave it out, or read the file with read_excel",
        ),
        (
            lambda: pl.read_csv("a.csv", sheet_name="May"),  # type: ignore[call-arg]
            "sheet_name= is an option of read_excel, read_ods, not of read_csv: leave it out, or read the file with read_excel",
        ),
        (lambda: pd.read_csv("a.csv", separator=";"), "did you mean sep=?"),
        (lambda: pl.read_csv("a.csv", sep=";"), "did you mean separator=?"),  # type: ignore[call-arg]
        (lambda: pl.read_excel("a.xlsx", sheet="May"), "did you mean sheet_name=?"),  # type: ignore[call-overload]
        (lambda: pandas_frame().to_csv("a.csv", separator=";"), "did you mean sep=?"),
        (
            lambda: pl.DataFrame({"a": [1]}).sort("a", ascending=False),  # type: ignore[call-arg]
            "its option is descending=, which says the opposite",
        ),
        (lambda: pd.read_csv("a.csv", colour=1), "read_csv of pandas has no colour=: leave it out"),
    ],
)
def test_an_option_that_a_reader_does_not_have(read: Callable[[], Any], fix: str) -> None:
    """By the option that is meant, in the words of this library, or the reader that has it."""
    assert fix_of(lambda context: read()) == fix


def test_a_function_of_the_author_is_none_of_a_library() -> None:
    """Only its own options are offered."""

    def read_csv(path: str, *, separator: str = ",") -> None: ...

    assert fix_of(lambda context: read_csv("a.csv", sheet_name="May")) is None  # type: ignore[call-arg]
    assert fix_of(lambda context: read_csv("a.csv", separater=";")) == "did you mean separator=?"  # type: ignore[call-arg]


CANNOT = "is a module, which cannot be called"


@pytest.mark.parametrize(
    ("call", "fix"),
    [
        (
            lambda: secret("warehouse"),  # type: ignore[operator]
            f"data_engine.secret {CANNOT}: a step asks its context, context.secret(...)",
        ),
        (
            lambda: data_engine.secret("warehouse"),  # type: ignore[operator]
            f"data_engine.secret {CANNOT}: a step asks its context, context.secret(...)",
        ),
        (
            lambda: flow("Sales"),  # type: ignore[operator]
            f"data_engine.flow {CANNOT}: did you mean Flow, from data_engine import Flow?",
        ),
        (lambda: glob("*.csv"), f"glob {CANNOT}: did you mean glob.glob(...)?"),  # type: ignore[operator]
        (lambda: sys.modules["json"]("{}"), None),  # type: ignore[operator]
    ],
)
def test_a_module_that_is_called(call: Callable[[], Any], fix: str | None) -> None:
    assert fix_of(lambda context: call()) == fix


def test_excel_by_pandas_without_openpyxl_says_how_to_add_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of any package: here for this interpreter, in a kernel for the daemon's too."""
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "a.xlsx").write_bytes(b"PK")

    def read(context: Any) -> Any:
        return pd.read_excel(tmp_path / "a.xlsx", engine="openpyxl")

    assert f"{sys.executable} -m pip install openpyxl" in str(fix_of(read))
    monkeypatch.setattr("data_engine.flow.suggestions.kernel_shell", lambda: object())
    fix = str(fix_of(read))
    assert "%pip install openpyxl" in fix
    assert "PYTHON -m pip install openpyxl" in fix


ROWS = [{"city": "Oslo", "amount": 1}, {"city": "Rome", "amount": 5}]
OF_ROWS = "pl.DataFrame(rows) makes one of a list of rows"
OF_FRAMES = "pl.concat(frames) makes one of them"


@pytest.mark.parametrize(
    ("given", "ask", "fix"),
    [
        (ROWS, lambda rows: rows.filter(pl.col("amount") > 3), f"this is a list, and filter is of a frame: {OF_ROWS}"),
        (
            [],
            lambda rows: rows.write_parquet("a.parquet"),
            f"this is a list, and write_parquet is of a frame: {OF_ROWS}",
        ),
        (ROWS, lambda rows: rows.to_sql("t"), "this is a list, and to_sql is of a frame: pd.DataFrame(rows) makes one"),
        (
            [pl.DataFrame(ROWS)],
            lambda them: them.head(),
            f"this is a list of frames, and head is of one frame: {OF_FRAMES}",
        ),
        (
            Batch((pl.DataFrame(ROWS),)),
            lambda them: them.filter(True),
            "this is a Batch of frames, and filter is of one",
        ),
        (ROWS, lambda rows: rows.get("city"), None),
        ([1, 2], lambda numbers: numbers.mean(), None),
        (Batch((FileRef("a.csv"),)), lambda files: files.filter(True), None),
    ],
)
def test_a_list_where_a_frame_is_meant(given: Any, ask: Callable[[Any], Any], fix: str | None) -> None:
    """What an earlier step gave: rows, or frames that are to become one. Not of numbers and files, and of what a dict is asked."""
    said = fix_of(lambda context: ask(given))

    assert said is None if fix is None else str(said).startswith(fix)

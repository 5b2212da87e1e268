"""Rows that are kept until a run has succeeded: its reads see them, and applied they are what the calls would have made at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.errors import FlowValidationError
from data_engine.helpers import (
    build_dimension,
    read_sql,
    read_table,
    replace_rows_by_file,
    replace_rows_by_values,
    replace_table,
)
from data_engine.helpers.duckdb.kept import KeptTables, apply, tables_of
from data_engine.keeping import Keeping, RunOfRows, keeping

KINDS: dict[str, tuple[pl.DataType, list[Any]]] = {
    "int": (pl.Int32(), [1, 2, None]),
    "long": (pl.Int64(), [1, 2**40, None]),
    "float": (pl.Float64(), [1.0, 2.5, None]),
    "text": (pl.String(), ["1", "x", None]),
    "day": (pl.Date(), [date(2024, 2, 29), None]),
    "time": (pl.Datetime("us"), [datetime(2024, 2, 29), datetime(2024, 3, 1, 12), None]),
    "null": (pl.Null(), [None]),
}

RUN = RunOfRows("r1", "sales", "jan.csv")


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Rows with the column k and some of the columns a and b, each of a kind of its own."""
    names = ["k", *draw(st.lists(st.sampled_from(["a", "b"]), unique=True))]
    count = draw(st.integers(0, 3))
    columns = {}
    for name in names:
        kind, values = KINDS[draw(st.sampled_from(sorted(KINDS)))]
        columns[name] = pl.Series(name, [draw(st.sampled_from(values)) for _ in range(count)], dtype=kind)
    return pl.DataFrame(columns)


calls = st.tuples(
    st.sampled_from(["file", "file", "values", "values", "table", "read", "publish"]),
    st.sampled_from(["one", "two", "mart.three"]),
    frames(),
    st.sampled_from(["jan", "feb"]),
    st.sampled_from([True, False, "text"]),
)


@contextmanager
def kept(folder: Path) -> Iterator[KeptTables]:
    run = Keeping(folder, RUN, folder / "stage")
    token = keeping.set(run)
    try:
        yield tables_of(run)
    finally:
        keeping.reset(token)


def call(db: Path, kind: str, table: str, frame: pl.DataFrame, key: str, widen: Any) -> object:
    """What a call gives, or why it is refused."""
    try:
        if kind == "file":
            return replace_rows_by_file(db, table, df=frame, file_hash=key, widen=widen)
        if kind == "values":
            return replace_rows_by_values(db, table, df=frame, column="k", widen=widen)
        if kind == "table":
            return replace_table(db, table, df=frame)
        return rows(read_table(db, table))
    except FlowValidationError as error:
        return error.what.replace(str(db), "DB").partition("-")[0]


def rows(frame: pl.DataFrame) -> tuple[object, ...]:
    return frame.schema, sorted(map(repr, frame.rows()))


def content(db: Path) -> dict[str, object]:
    """Each table's columns with their types, and its rows in their order."""
    return {
        name: (frame.schema, frame.rows())
        for name in ("one", "two", "mart.three")
        if (frame := _table(db, name)) is not None
    }


def _table(db: Path, name: str) -> pl.DataFrame | None:
    try:
        return read_table(db, name)
    except FlowValidationError:
        return None


@settings(max_examples=25, deadline=None)
@given(st.lists(calls, max_size=3), st.lists(calls, min_size=1, max_size=6))
def test_calls_that_are_kept_are_as_calls_at_once(before: list[Any], program: list[Any]) -> None:
    """The same answers, refusals and reads; the databases as before until they are applied, and then the same."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        at_once, later = folder / "at_once" / "w.duckdb", folder / "later" / "w.duckdb"
        for db in (at_once, later):
            for step in before:
                if step[0] != "publish":
                    call(db, *step)
        untouched = content(later)
        with kept(later.parent) as tables:
            for step in program:
                if step[0] == "publish":
                    token = keeping.set(None)
                    apply(tables.calls, later.parent / "stage", RUN)
                    tables.forget()
                    untouched = content(later)
                    keeping.reset(token)
                    continue
                first, second = call(at_once, *step), call(later, *step)
                assert str(first) == str(second), step
        assert content(later) == untouched
        apply(tables.calls, later.parent / "stage", RUN)
        assert content(later) == content(at_once)


def test_a_read_in_the_run_sees_what_it_wrote_and_the_database_is_untouched(tmp_path: Path) -> None:
    """By a table's name, with main before it too; a name with the database before it would not see it, and says so."""
    db = tmp_path / "w.duckdb"
    for key, amounts in (("jan", [1, 2]), ("feb", [3])):
        replace_rows_by_file(db, "sales", df=pl.DataFrame({"a": amounts}), file_hash=key)
    untouched = db.read_bytes()

    with kept(tmp_path):
        replace_rows_by_file(db, "sales", df=pl.DataFrame({"a": [1.5]}), file_hash="jan")

        assert sorted(read_table(db, "sales").rows()) == [(1.5, "jan"), (3.0, "feb")]
        assert read_sql(db, sql="SELECT sum(a) FROM main.sales").item() == 4.5
        with pytest.raises(FlowValidationError, match=r"would not see the rows that the run keeps for w\.sales"):
            read_sql(db, sql="SELECT sum(a) FROM w.sales")
        with pytest.raises(FlowValidationError, match="this writes at once"):
            build_dimension(db, "sales", df=pl.DataFrame({"a": [1]}))

    assert db.read_bytes() == untouched


def test_rows_are_brought_together_when_something_reads_them(tmp_path: Path) -> None:
    """A read, or a call that may change a type by what is in the table; other calls only write their own rows."""
    db = tmp_path / "w.duckdb"
    made = lambda: list((tmp_path / "stage").glob("*.duckdb"))  # noqa: E731
    with kept(tmp_path):
        for key in ("jan", "feb"):
            replace_rows_by_file(db, "sales", df=pl.DataFrame({"a": [1], key: ["x"]}), file_hash=key)
        assert not made()
        with pytest.raises(FlowValidationError, match="cannot hold"):
            replace_rows_by_file(db, "sales", df=pl.DataFrame({"a": ["x"]}), file_hash="mar")
        assert len(made()) == 1
        replace_rows_by_file(db, "sales", df=pl.DataFrame({"a": [2]}), file_hash="jan")

        assert read_table(db, "sales").select("a", "jan", "feb").rows() == [(1, None, "x"), (2, None, None)]

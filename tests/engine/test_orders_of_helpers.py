"""Helpers that write at once and helpers whose rows are kept agree in every order, on a database that is there and on a new one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_engine import helpers
from data_engine.engine.access.access_log import bound
from data_engine.engine.kept_tables import apply_kept, keeping_of
from data_engine.engine.recording import readers_watched
from data_engine.errors import FlowValidationError
from data_engine.helpers.duckdb.kept import tables_of
from data_engine.keeping import Keeping, RunOfRows, keeping

RUN = RunOfRows("r1", "sales", "jan.csv")
TABLES = ("sales", "dim", "mart.other")
CITIES = [None, "Oslo", "Rome", "Wien"]


def frame_of(numbers: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"city": [CITIES[number] for number in numbers]}, schema={"city": pl.String})


def by_file(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.replace_rows_by_file(db, table, df=df, file_hash="jan")


def by_values(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.replace_rows_by_values(db, table, df=df, column="city")


def whole(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.replace_table(db, table, df=df)


def built(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.build_dimension(db, table, df=df)


def normalized(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.normalize_columns(db, table, df=df, on="city")


def attached(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.attach_dimension(db, table, df=df, on="city")


def denormalized(db: Path, table: str, df: pl.DataFrame) -> object:
    keys = pl.DataFrame({"dimension_key": range(1, len(df) + 1)}, schema={"dimension_key": pl.Int64})
    return helpers.denormalize_columns(db, table, df=keys)


def indexed(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.ensure_index(db, table, columns="city")


def compacted(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.compact_database(db, drop_all_null_columns=False)["table"].to_list()


def read(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.read_table(db, table)


def asked(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.read_sql(db, sql="SELECT count(*) AS n FROM sales")


def looked_up(db: Path, table: str, df: pl.DataFrame) -> object:
    return helpers.read_rows_by_values(db, table, column="city", is_in=df["city"], select="city")


CALLS = (
    *(by_file, by_values, whole, built, normalized, attached, denormalized, indexed, compacted, read, asked, looked_up),
)
calls = st.tuples(
    st.sampled_from(CALLS),
    st.sampled_from(TABLES),
    st.lists(st.integers(0, len(CITIES) - 1), max_size=3).map(frame_of),
)
ROME = frame_of([2])


@contextmanager
def staged(databases: Path) -> Iterator[Keeping]:
    """A run that keeps its rows, watched as a run is."""
    run = keeping_of(databases, RUN, databases / "stage")
    tables_of(run)
    with readers_watched(), bound(keeping, run):
        yield run


def publish(run: Keeping) -> None:
    if run.tables.calls:
        apply_kept(run, lambda numbers: None)
        run.tables.forget()


def answer(call: Any, db: Path, table: str, df: pl.DataFrame) -> str:
    """What a call gives, its rows in any order, or why it is refused."""
    try:
        given_back = call(db, table, df)
    except FlowValidationError as error:
        return error.what.replace(str(db), "DB")
    if isinstance(given_back, pl.DataFrame):
        return f"{given_back.schema} {sorted(map(repr, given_back.rows()))}"
    return repr(given_back)


@settings(max_examples=40, deadline=None)
@given(is_there=st.booleans(), program=st.lists(calls, min_size=1, max_size=7))
@example(is_there=False, program=[(by_file, "sales", ROME), (built, "dim", ROME)])
@example(is_there=False, program=[(whole, "sales", ROME), (normalized, "mart.other", ROME), (attached, "sales", ROME)])
@example(is_there=False, program=[(built, "dim", ROME), (by_file, "sales", ROME), (built, "dim", frame_of([1]))])
def test_staged_calls_in_any_order_are_as_calls_at_once(is_there: bool, program: list[Any]) -> None:
    """The same answers; a call that is refused since its own table has kept rows goes on when these are published."""
    with TemporaryDirectory() as name:
        at_once, later = Path(name, "at_once", "w.duckdb"), Path(name, "later", "w.duckdb")
        if is_there:
            for db in (at_once, later):
                by_values(db, "sales", frame_of([1, 3]))
                built(db, "dim", frame_of([1]))
        with staged(later.parent) as run:
            for call, table, df in program:
                now, then = answer(call, at_once, table, df), answer(call, later, table, df)
                if "are kept until" in then:
                    assert call in (built, normalized, indexed, compacted), then
                    publish(run)
                    then = answer(call, later, table, df)
                assert then == now, (call.__name__, table)
            publish(run)
        for table in TABLES:
            assert answer(read, later, table, ROME) == answer(read, at_once, table, ROME)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_dimension_grows_at_once_whatever_other_tables_rows_are_kept_for(is_there: bool, tmp_path: Path) -> None:
    """A run that fails after it has left the dimension, and nothing of its rows."""
    db = tmp_path / "w.duckdb"
    if is_there:
        whole(db, "other", ROME)
    with staged(tmp_path):
        by_file(db, "sales", ROME)
        built(db, "dim", ROME)

    assert read(db, "dim", ROME).rows() == [(1, "Rome")]  # type: ignore[attr-defined]
    with pytest.raises(FlowValidationError, match="no table"):
        read(db, "sales", ROME)

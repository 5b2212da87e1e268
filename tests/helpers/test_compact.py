"""Compacting gives space back and loses nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from data_engine.errors import FlowValidationError
from data_engine.files import replace_file
from data_engine.helpers import (
    compact_database,
    ensure_index,
    read_sql,
    read_table,
    replace_rows_by_values,
    replace_table,
)
from data_engine.helpers.duckdb import upkeep


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "mart.duckdb"


def test_the_file_really_shrinks(db: Path) -> None:
    """Rows that went leave no room behind; the rest is as it was, in its order."""
    frame = pl.select(id=pl.int_range(300_000)).with_columns(x=(pl.col("id") * 7919 % 300_007) / 7)
    replace_table(db, "big", df=frame)
    replace_table(db, "big", df=frame.head(1000))
    before_bytes = db.stat().st_size

    report = compact_database(db)

    assert db.stat().st_size < before_bytes / 2
    assert report.select("size_before_bytes", "size_after_bytes").row(0) == (before_bytes, db.stat().st_size)
    assert_frame_equal(read_table(db, "big"), frame.head(1000))
    assert os.listdir(db.parent).count("mart.duckdb") == 1
    assert [name for name in os.listdir(db.parent) if "compact" in name or "wal" in name] == []


def test_the_file_never_grows(db: Path) -> None:
    """Where there is nothing to give back it stays, and every call says the size."""
    for name in ("a", "b", "c"):
        replace_table(db, name, df=pl.DataFrame({"x": range(1000)}))

    sizes = [db.stat().st_size]
    for _ in range(3):
        report = compact_database(db)
        assert report["size_after_bytes"].unique().to_list() == [db.stat().st_size]
        sizes.append(db.stat().st_size)
    assert sizes == sorted(sizes, reverse=True)
    assert list(db.parent.glob("*mart*")) == [db]


def test_the_report_names_what_went(db: Path) -> None:
    """One row per table, in the order of their names."""
    replace_table(
        db, "sales", df=pl.DataFrame({"a": [1], "no value": [None], "b": [None]}, schema_overrides={"b": pl.Int8})
    )
    replace_table(db, "mart.kept", df=pl.DataFrame({"a": [1]}))
    ensure_index(db, "sales", columns="a", name="stays")
    ensure_index(db, "sales", columns=["a", "b"], name="goes")

    report = compact_database(db)

    assert report.select(pl.exclude("db_path", "^size.*$")).rows() == [
        ("sales", 2, ["no value", "b"], ["goes", "stays"], ["stays"], ["goes"], True, True),
        ("mart.kept", 0, [], [], [], [], True, True),
    ]
    assert read_table(db, "sales").columns == ["a"]
    assert read_sql(db, sql="SELECT index_name FROM duckdb_indexes()").item() == "stays"


@pytest.mark.parametrize("names", [["a", "none", "z"], ["z", "none", "a"]])
def test_a_column_goes_from_beside_an_indexed_one(db: Path, names: list[str]) -> None:
    """Before it or behind it; the index is there afterwards."""
    replace_table(db, "t", df=pl.DataFrame({name: [None if name == "none" else 1] for name in names}))
    ensure_index(db, "t", columns="z", name="by z")

    assert compact_database(db)["dropped_columns"].to_list() == [["none"]]
    assert read_sql(db, sql="SELECT index_name, expressions FROM duckdb_indexes()").rows() == [("by z", "[z]")]


def test_a_table_without_rows_keeps_its_columns(db: Path) -> None:
    """There is nothing to tell which are needed; and a table of nulls alone keeps one."""
    replace_table(db, "empty", df=pl.DataFrame(schema={"a": pl.Int64, "b": pl.Date}))
    replace_table(db, "nulls", df=pl.DataFrame({"a": [None], "b": [None]}))

    compact_database(db)

    assert read_table(db, "empty").schema == {"a": pl.Int64, "b": pl.Date}
    assert read_table(db, "nulls").columns == ["a"]


def test_everything_else_in_the_database_is_kept(db: Path) -> None:
    """Views, keys, constraints, defaults, sequences, types, macros, indexes, comments, the file's mode."""
    import duckdb

    with duckdb.connect(str(db)) as conn:
        conn.execute("""
            CREATE SCHEMA store; CREATE TYPE mood AS ENUM ('good', 'bad'); CREATE SEQUENCE numbers START 5;
            CREATE TABLE store.parent (id INTEGER PRIMARY KEY DEFAULT nextval('numbers'), m mood, c VARCHAR CHECK (length(c) < 9));
            CREATE TABLE store.child (id INTEGER, n INTEGER NOT NULL DEFAULT 3);
            INSERT INTO store.parent (m, c) VALUES ('good', 'x'), ('bad', 'y'); INSERT INTO store.child (id) VALUES (5);
            CREATE VIEW seen AS SELECT * FROM store.child; CREATE MACRO plus(a) AS a + 1;
            CREATE UNIQUE INDEX ux ON store.parent (c); COMMENT ON TABLE store.parent IS 'hello';
        """)
    db.chmod(0o640)
    mode = db.stat().st_mode  # Windows keeps no more of it than whether the file can be written

    compact_database(db)

    assert db.stat().st_mode == mode
    assert read_sql(db, sql="SELECT id, n, plus(n) FROM seen").rows() == [(5, 3, 4)]
    assert read_sql(db, sql="SELECT comment FROM duckdb_tables() WHERE table_name = 'parent'").item() == "hello"
    with duckdb.connect(str(db)) as conn:
        conn.execute("INSERT INTO store.parent (m, c) VALUES ('bad', 'z')")
        assert conn.execute("SELECT max(id) FROM store.parent").fetchall()[0][0] >= 7
        for wrong in ("INSERT INTO store.parent (c) VALUES ('z')", "INSERT INTO store.child (id, n) VALUES (99, NULL)"):
            with pytest.raises(duckdb.ConstraintException):
                conn.execute(wrong)


def test_a_column_that_a_view_or_a_macro_names_is_kept(db: Path) -> None:
    """They work afterwards; a view of all columns names none."""
    import duckdb

    nulls = {name: [None] for name in ("none", 'odd "name', "used", "goes", "use")}
    replace_table(db, "t", df=pl.DataFrame({"a": [1]} | nulls))
    with duckdb.connect(str(db)) as conn:
        conn.execute("""
            CREATE VIEW named AS SELECT a, NONE AS n, "odd ""name" FROM t; CREATE VIEW every AS FROM t;
            CREATE MACRO first_used() AS (SELECT used FROM t LIMIT 1);
        """)

    assert compact_database(db)["dropped_columns"].to_list() == [["goes", "use"]]
    assert read_table(db, "named").rows() == [(1, None, None)]
    assert read_sql(db, sql="SELECT first_used() AS x, a FROM every").rows() == [(None, 1)]


def test_foreign_keys_are_kept_or_the_copy_refused(db: Path) -> None:
    """DuckDB 1.x copies the tables in an order of its own, most often the wrong one; the file was not changed then."""
    import duckdb

    with duckdb.connect(str(db)) as conn:
        conn.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY); INSERT INTO parent VALUES (5)")
        conn.execute("CREATE TABLE child (id INTEGER REFERENCES parent (id)); INSERT INTO child VALUES (5)")
    before = db.read_bytes()

    refusal = ""
    try:
        compact_database(db)
    except FlowValidationError as error:
        refusal = error.what

    if refusal:
        assert duckdb.__version__.startswith("1.")
        assert "cannot copy" in refusal
        assert db.read_bytes() == before
    with duckdb.connect(str(db)) as conn, pytest.raises(duckdb.ConstraintException):
        conn.execute("INSERT INTO child VALUES (6)")


def test_dropping_and_writing_anew_are_separate_wishes(db: Path) -> None:
    """`tables` narrows the dropping."""
    for table in ("one", "two"):
        replace_table(db, table, df=pl.DataFrame({"a": [1], "b": [None]}))

    assert compact_database(db, drop_all_null_columns=False)["dropped_column_count"].sum() == 0
    report = compact_database(db, tables="ONE", vacuum=False)

    assert report.select("table", "dropped_columns", "vacuumed", "vacuum_requested").rows() == [
        ("one", ["b"], False, False)
    ]
    assert read_table(db, "two").columns == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"tables": ["sales", "none"]}, ValueError, 'tables must exist(.|\n)*"none"(.|\n)*holds "sales"'),
        ({"tables": [" "]}, ValueError, "non-empty"),
        ({"tables": 3}, TypeError, "tables must be a list"),
    ],
)
def test_unknown_tables_are_refused(db: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """Before anything changes."""
    replace_table(db, "sales", df=pl.DataFrame({"a": [1], "b": [None]}))
    before = db.read_bytes()

    with pytest.raises(error, match=message):
        compact_database(db, **options)
    assert db.read_bytes() == before


def test_a_missing_database_is_not_made(db: Path) -> None:
    """Compacting nothing is a mistake."""
    with pytest.raises(ValueError, match="there is no database"):
        compact_database(db)
    assert not db.exists()


def test_a_copy_left_by_a_killed_call_is_no_hindrance(db: Path) -> None:
    """It goes with the next call."""
    replace_table(db, "sales", df=pl.DataFrame({"a": [1]}))
    left = db.with_name(".mart.duckdb.compact.tmp")
    left.write_text("half")

    compact_database(db)

    assert not left.exists()
    assert read_table(db, "sales").rows() == [(1,)]


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_the_copy_is_made_where_nobody_else_can_put_a_link(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may write beside the database."""
    from data_engine.helpers.duckdb import upkeep

    replace_table(db, "sales", df=pl.DataFrame({"a": [1]}))
    db.parent.chmod(0o777)
    seen: list[int] = []
    real = upkeep._copy

    def look(database: upkeep.Database, name: str) -> None:
        ((path,),) = database.execute(f"SELECT path FROM duckdb_databases() WHERE database_name = '{upkeep._COPY}'")
        seen.append(Path(path).parent.stat().st_mode & 0o777)
        real(database, name)

    monkeypatch.setattr(upkeep, "_copy", look)
    compact_database(db)

    assert seen == [0o700]


def test_a_copy_that_cannot_be_put_in_place_leaves_the_database(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was, and no copy."""
    from data_engine.helpers.duckdb import upkeep

    for rows in (300_000, 1):
        replace_table(db, "sales", df=pl.select(a=pl.int_range(rows).hash()))
    before = db.read_bytes()

    def refuse(fresh: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(upkeep, "replace_file", refuse)
    with pytest.raises(FlowValidationError, match="Permission denied"):
        compact_database(db)

    assert db.read_bytes() == before
    assert not db.with_name(".mart.duckdb.compact.tmp").exists()


@pytest.mark.parametrize("rounds", [10, 0])
def test_who_writes_while_the_file_must_be_closed_loses_nothing(
    db: Path, monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    """On Windows a file is closed before another takes its place: what is written in between is kept, and the copy made anew."""
    import duckdb

    replace_table(db, "big", df=pl.DataFrame({"text": [f"{number:0100}" for number in range(30_000)]}))
    replace_table(db, "big", df=pl.DataFrame({"text": ["small"]}))
    before, written = db.stat().st_size, 0

    def late(copy: Path, path: Path, **options: Any) -> None:
        nonlocal written
        if not written:
            with duckdb.connect(str(path)) as other:
                other.execute("INSERT INTO big VALUES ('late')")
            written = 1
        replace_file(copy, path, **options)

    monkeypatch.setattr(upkeep, "CAN_REPLACE_OPEN_FILES", False)
    monkeypatch.setattr(upkeep, "replace_file", late)
    monkeypatch.setattr(upkeep, "_MOST_ROUNDS", rounds)
    if rounds:
        compact_database(db)
        assert db.stat().st_size < before
    else:
        with pytest.raises(FlowValidationError, match="other processes write it all the time"):
            compact_database(db)
    assert read_table(db, "big")["text"].to_list() == ["small", "late"]


def test_a_dimension_can_be_compacted_and_goes_on(db: Path) -> None:
    """Its unique index is there afterwards."""
    import duckdb

    replace_table(db, "dim", df=pl.DataFrame({"dimension_key": [1], "city": ["Oslo"], "never": [None]}))
    with duckdb.connect(str(db)) as conn:
        conn.execute("CREATE UNIQUE INDEX ux ON dim (city)")

    compact_database(db)
    replace_rows_by_values(db, "dim", df=pl.DataFrame({"dimension_key": [2], "city": ["Rome"]}), column="city")

    assert read_sql(db, sql="SELECT index_name, is_unique FROM duckdb_indexes()").rows() == [("ux", True)]
    with pytest.raises(FlowValidationError, match="Constraint"):
        replace_rows_by_values(
            db, "dim", df=pl.DataFrame({"dimension_key": [3], "city": ["Rome"]}), column="dimension_key"
        )

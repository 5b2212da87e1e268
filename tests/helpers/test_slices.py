"""Tables kept slice by slice: what is replaced, what is added, and what stays."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from data_engine.errors import FlowValidationError
from data_engine.helpers import (
    build_dimension,
    compact_database,
    ensure_index,
    normalize_columns,
    read_rows_by_values,
    read_sql,
    read_table,
    replace_rows_by_file,
    replace_rows_by_values,
    replace_table,
)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "databases" / "mart.duckdb"


def test_a_files_rows_take_the_place_of_its_earlier_rows(db: Path) -> None:
    """Rows of other files stay; folder, database and table are made."""
    replace_rows_by_file(db, "sales", df=pl.DataFrame({"amount": [1, 2]}), file_hash="january")
    replace_rows_by_file(db, "sales", df=pl.DataFrame({"amount": [3]}), file_hash="february")
    replace_rows_by_file(db, "sales", df=pl.DataFrame({"amount": [4]}), file_hash="january")

    assert sorted(read_table(db, "sales").rows()) == [(3, "february"), (4, "january")]


def test_a_file_without_rows_only_removes(db: Path) -> None:
    """The table is there afterwards even if it is the first file."""
    empty = pl.DataFrame(schema={"amount": pl.Int64})
    replace_rows_by_file(db, "sales", df=empty, file_hash="january")
    assert read_table(db, "sales").schema == {"amount": pl.Int64, "file_key": pl.String}

    replace_rows_by_file(db, "sales", df=pl.DataFrame({"amount": [1]}), file_hash="january")
    replace_rows_by_file(db, "sales", df=empty, file_hash="january")

    assert read_table(db, "sales").rows() == []


def test_the_frame_comes_back_with_its_file_key(db: Path) -> None:
    """A LazyFrame comes back collected; return_df=False gives None."""
    frame = pl.DataFrame({"amount": [1, 2]})

    given = replace_rows_by_file(db, "sales", df=frame.lazy(), file_hash="a", file_hash_column="source")
    nothing = replace_rows_by_file(db, "sales", df=frame, file_hash="a", file_hash_column="source", return_df=False)

    assert_frame_equal(given, frame.with_columns(source=pl.lit("a")))
    assert nothing is None
    assert replace_table(db, "other", df=frame) is frame
    assert replace_rows_by_values(db, "other", df=frame, column="amount", return_df=False) is None


def test_null_is_a_value_whose_rows_are_replaced(db: Path) -> None:
    """A slice of nulls run twice is there once."""
    for amount in (1, 2):
        frame = pl.DataFrame({"day": [None, "mon"], "amount": [amount, amount]}, schema_overrides={"day": pl.String})
        replace_rows_by_values(db, "sales", df=frame, column="day")

    assert sorted(read_table(db, "sales").rows(), key=str) == [("mon", 2), (None, 2)]


def test_a_value_replaces_all_its_rows_and_no_others(db: Path) -> None:
    """Duplicated rows of a slice are all stored."""
    replace_table(db, "sales", df=pl.DataFrame({"day": [1, 1, 2, 3], "amount": [1, 2, 3, 4]}))

    replace_rows_by_values(db, "sales", df=pl.DataFrame({"day": [1, 1, 3], "amount": [9, 9, 8]}), column="day")

    assert sorted(read_table(db, "sales").rows()) == [(1, 9), (1, 9), (2, 3), (3, 8)]


def test_columns_that_are_missing_on_either_side_are_null(db: Path) -> None:
    """New columns are added, absent ones filled; order of columns does not matter."""
    replace_rows_by_values(db, "sales", df=pl.DataFrame({"day": [1], "old": ["x"]}), column="day")
    replace_rows_by_values(db, "sales", df=pl.DataFrame({"new": [2.5], "day": [2]}), column="day")

    assert sorted(read_table(db, "sales", select=["day", "old", "new"]).rows()) == [(1, "x", None), (2, None, 2.5)]


def test_names_compare_as_duckdb_does(db: Path) -> None:
    """`ID` is `id`; the table keeps its own spelling; É is not é."""
    replace_rows_by_values(db, "sales", df=pl.DataFrame({"id": [1], "é": [1]}), column="id")
    replace_rows_by_values(db, "Sales", df=pl.DataFrame({"ID": [1], "É": [2]}), column="Id")

    assert read_table(db, "SALES").to_dict(as_series=False) == {"id": [1], "é": [None], "É": [2]}


def test_two_columns_duckdb_takes_for_one_are_refused(db: Path) -> None:
    """Before anything is made."""
    with pytest.raises(FlowValidationError, match='"ID" and "id"'):
        replace_table(db, "sales", df=pl.DataFrame({"ID": [1], "id": [2]}))

    assert not db.parent.exists()


@pytest.mark.parametrize(
    "table",
    ["order", 'we"ird', '"net.sales"', "my table", "mart.sales", 'mart."a.b"', "größe", "mart.mart", "select.from"],
)
def test_odd_names_of_tables_work(db: Path, table: str) -> None:
    """Reserved words, quotes, dots in quotes, schemas (made when missing), also one called as the database."""
    frame = pl.DataFrame({'a "b"': [1], "c.d": [2], "select": [3], "é🙂": [4], "x'y": [5]})
    replace_table(db, table, df=frame)
    replace_rows_by_values(db, table, df=frame, column="c.d")
    replace_rows_by_values(db, table, df=frame.with_columns(pl.lit(1.5).alias("select")), column='a "b"')
    replace_rows_by_values(db, table, df=frame.with_columns(new=1), column="x'y")

    assert read_table(db, table).rows() == [(1, 2, 3, 4, 5, 1)]
    assert read_table(db, table, select=["x'y", 'a "b"']).rows() == [(5, 1)]


def test_a_schema_called_as_the_database_works_twice(db: Path) -> None:
    """Once it is there, DuckDB takes `mart.sales` for either; each call still means the schema's table, and its indexes."""
    frame = pl.DataFrame({"id": [1, 2], "none": [None, None]})
    replace_table(db, "mart.sales", df=frame)

    replace_table(db, "mart.sales", df=frame)
    replace_rows_by_file(db, "mart.files", df=frame, file_hash="a")
    ensure_index(db, "mart.files", columns="id")
    replace_rows_by_file(db, "mart.files", df=pl.DataFrame({"id": [2.5]}), file_hash="b")
    build_dimension(db, "mart.dim", df=frame)
    normalize_columns(db, "mart.other", df=frame, on="id")
    report = compact_database(db)

    assert report.filter(pl.col("dropped_column_count") > 0)["table"].to_list() == [
        "mart.dim",
        "mart.files",
        "mart.sales",
    ]
    assert read_table(db, "mart.sales").rows() == [(1,), (2,)]
    assert read_rows_by_values(db, "mart.files", column="id", is_in=[2.5], select="*").rows() == [(2.5, "b")]
    assert read_sql(db, sql="SELECT schema_name, table_name FROM duckdb_indexes()").rows() == [("mart", "files")]


def test_a_column_called_as_a_pattern_is_only_itself(db: Path) -> None:
    """Polars takes "*" and "^...$" for all columns like them; here they are names."""
    frame = pl.DataFrame({"*": [1], "^a.*$": [None], "abc": [None]}, schema_overrides={"abc": pl.Int8})

    stored = replace_rows_by_file(db, "sales", df=frame, file_hash="a", file_hash_column="^f.*$")
    normalized = normalize_columns(db, "dim", df=frame, on=["*", "^a.*$"])

    assert stored.rows() == [(1, None, None, "a")]
    assert read_table(db, "sales").schema == frame.schema | {"^a.*$": pl.String, "^f.*$": pl.String}
    assert normalized.rows() == [(None, 1)]
    assert read_sql(db, sql='SELECT INTERVAL 1 DAY AS "*", 1 AS x').rows() == [(timedelta(days=1), 1)]


@pytest.mark.parametrize("table", ["", " ", "a.", ".a", "a..b", 'a."b', "a.b.c.d"])
def test_a_table_name_with_an_empty_part_is_refused(db: Path, table: str) -> None:
    """And nothing is made."""
    with pytest.raises(ValueError, match="must be non-empty"):
        replace_table(db, table, df=pl.DataFrame({"a": [1]}))

    assert not db.parent.exists()


def test_a_three_part_name_starts_with_the_database(db: Path) -> None:
    """Which is called after its file; any other is refused by name."""
    replace_table(db, "mart.main.sales", df=pl.DataFrame({"a": [1]}))

    assert read_table(db, "sales").rows() == [(1,)]
    with pytest.raises(ValueError, match=r'is called "mart"|"other" is not'):
        read_table(db, "other.main.sales")


def test_replace_table_replaces_wholesale(db: Path) -> None:
    """Rows, columns and types; nothing of the old table is left."""
    replace_table(db, "sales", df=pl.DataFrame({"a": [1], "b": ["x"]}))
    replace_table(db, "sales", df=pl.DataFrame({"a": ["y", None]}))

    assert read_table(db, "sales").to_dict(as_series=False) == {"a": ["y", None]}


def test_an_empty_frame_makes_a_table_of_its_columns(db: Path) -> None:
    """With their types."""
    schema = {"a": pl.Int16, "b": pl.Date, "c": pl.List(pl.String)}
    replace_table(db, "sales", df=pl.DataFrame(schema=schema))

    assert read_table(db, "sales").schema == schema


def test_a_call_that_fails_leaves_everything_as_it_was(db: Path) -> None:
    """Columns it would have added included: all is one transaction."""
    replace_rows_by_values(db, "sales", df=pl.DataFrame({"day": [1, 2], "amount": [1, 2]}), column="day")
    before = db.read_bytes()

    with pytest.raises(FlowValidationError, match='"amount" is BIGINT'):
        replace_rows_by_values(db, "sales", df=pl.DataFrame({"day": [1], "amount": ["x"], "new": [1]}), column="day")

    assert read_table(db, "sales").to_dict(as_series=False) == {"day": [1, 2], "amount": [1, 2]}
    assert db.read_bytes() == before


def test_a_view_is_not_written_to(db: Path) -> None:
    """It says so, and stays."""
    import duckdb

    replace_table(db, "sales", df=pl.DataFrame({"day": [1]}))
    with duckdb.connect(str(db)) as conn:
        conn.execute("CREATE VIEW recent AS FROM sales")

    for call in (
        lambda: replace_table(db, "recent", df=pl.DataFrame({"day": [1]})),
        lambda: replace_rows_by_values(db, "recent", df=pl.DataFrame({"day": [1]}), column="day"),
    ):
        with pytest.raises(FlowValidationError, match=r"DuckDB refused it(.|\n)*a view is not written to"):
            call()
    assert read_table(db, "recent").rows() == [(1,)]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"df": "x"}, TypeError, "df must be a Polars DataFrame"),
        ({"df": pl.DataFrame()}, ValueError, "has no columns"),
        ({"df": pl.DataFrame({"file_key": ["a"]})}, ValueError, "must not already exist"),
        ({"df": pl.DataFrame({"FILE_KEY": ["a"]})}, ValueError, "must not already exist"),
        ({"df": pl.DataFrame({"": ["a"]})}, ValueError, "without a name"),
        ({"df": pl.DataFrame({"a\0b": ["a"]})}, ValueError, "NUL"),
        (
            {"df": pl.LazyFrame({"a": ["a"]}).select("b")},
            ValueError,
            'query of the LazyFrame fails: unable to find column "b"',
        ),
        ({"df": pl.LazyFrame({"a": [1]}).map_batches(lambda frame: 1 / 0)}, ValueError, "fails: division by zero"),  # type: ignore[arg-type,return-value]
        ({"df": pl.scan_csv("nowhere.csv")}, ValueError, "query of the LazyFrame fails"),
        ({"table": "sa\0les"}, ValueError, "Table name"),
        ({"file_hash_column": "a\0b"}, ValueError, "column name"),
        ({"file_hash": None}, TypeError, "file_hash must be a text"),
        ({"file_hash": " "}, ValueError, "non-empty"),
        ({"file_hash_column": ""}, ValueError, "non-empty"),
        ({"file_hash_column": 3}, TypeError, "file_hash_column"),
        ({"widen": "wide"}, ValueError, "widen cannot be"),
        ({"wait": "soon"}, ValueError, "duration"),
        ({"table": None}, TypeError, "table must be a text"),
        ({"db_path": None}, TypeError, "db_path must be a path"),
        ({"db_path": ":memory:"}, ValueError, "names no file"),
        ({"db_path": ""}, ValueError, "names no file"),
        ({"db_path": b"mart.duckdb"}, TypeError, "db_path must be a path"),
        ({"db_path": "s3://bucket/mart.duckdb"}, ValueError, "is an address"),
        ({"db_path": Path("https://host/mart.duckdb")}, ValueError, "is an address"),
        ({"db_path": "https:\\host\\mart.duckdb"}, ValueError, "is an address"),  # as a path of Windows has it
        ({"db_path": "md:mart"}, ValueError, "is an address"),
        ({"db_path": "x" * 300}, ValueError, "cannot be a file"),
        ({"db_path": "/"}, ValueError, "is a folder"),
        ({"df": pl.DataFrame({"a": [object()]})}, ValueError, 'cannot hold the column "a"'),
        ({"df": pl.DataFrame({"a": [[timedelta(1)]]})}, ValueError, 'cannot hold the column "a"'),
        ({"df": pl.DataFrame({"a": [{"b": [timedelta(1)]}]})}, ValueError, 'cannot hold the column "a"'),
        ({"df": pl.DataFrame(schema={"a": pl.Array(pl.Int8, 0)})}, ValueError, "width 0"),
        ({"df": pl.DataFrame({"a": [[]]}, schema={"a": pl.List(pl.Array(pl.Int8, (2, 0)))})}, ValueError, "width 0"),
        ({"df": pl.DataFrame({"a": [[{"": 1}]]})}, ValueError, "field without a name"),
        ({"df": pl.DataFrame({"a": [2**127 - 1]}, schema={"a": pl.Int128})}, ValueError, 'cannot hold the column "a"'),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_made(
    db: Path, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    """ValueError or TypeError that name the argument."""
    given = {"db_path": db, "table": "sales", "df": pl.DataFrame({"a": [1]}), "file_hash": "f"} | arguments

    with pytest.raises(error, match=message):
        replace_rows_by_file(given.pop("db_path"), given.pop("table"), **given)
    assert not db.parent.exists()


def test_replacing_by_values_needs_values_and_their_column(db: Path) -> None:
    """In the frame, and in a table that is there already: the message names what exists."""
    with pytest.raises(ValueError, match="at least one row"):
        replace_rows_by_values(db, "sales", df=pl.DataFrame({"a": []}), column="a")
    with pytest.raises(ValueError, match=r'no column "b"(.|\n)*it has "a"'):
        replace_rows_by_values(db, "sales", df=pl.DataFrame({"a": [1]}), column="b")
    assert not db.parent.exists()

    replace_table(db, "sales", df=pl.DataFrame({"a": [1]}))
    with pytest.raises(ValueError, match=r'"sales" has no column "b"(.|\n)*it has "a"'):
        replace_rows_by_values(db, "sales", df=pl.DataFrame({"b": [None]}), column="b")
    assert read_table(db, "sales").columns == ["a"]


def test_a_file_key_column_may_be_added_to_a_table_without_one(db: Path) -> None:
    """Rows from elsewhere stay: they are of no file."""
    replace_table(db, "sales", df=pl.DataFrame({"a": [1]}))
    replace_rows_by_file(db, "sales", df=pl.DataFrame({"a": [2]}), file_hash="f")
    replace_rows_by_file(db, "sales", df=pl.DataFrame({"a": [3]}), file_hash="f")

    assert sorted(read_table(db, "sales").rows()) == [(1, None), (3, "f")]


def test_constraints_and_defaults_of_a_table_hold(db: Path) -> None:
    """A table made in SQL is filled by name; what its constraints refuse is refused with nothing changed."""
    import duckdb

    db.parent.mkdir()
    with duckdb.connect(str(db)) as conn:
        conn.execute("CREATE TABLE sales (id INTEGER PRIMARY KEY, amount DOUBLE NOT NULL, rank INTEGER DEFAULT 7)")

    replace_rows_by_values(db, "sales", df=pl.DataFrame({"id": [1, 2], "amount": [1.0, 2.0]}), column="id")
    replace_rows_by_values(db, "sales", df=pl.DataFrame({"id": [2], "amount": [3.0]}), column="id")
    with pytest.raises(FlowValidationError, match=r"Constraint(.|\n)*fix the rows"):
        replace_rows_by_values(db, "sales", df=pl.DataFrame({"id": [1], "amount": [None]}), column="id")
    with pytest.raises(FlowValidationError, match="Constraint"):
        replace_rows_by_values(db, "sales", df=pl.DataFrame({"id": [4, 4], "amount": [1, 2]}), column="id")

    assert sorted(read_table(db, "sales").rows()) == [(1, 1.0, 7), (2, 3.0, 7)]
    assert read_sql(db, sql="SELECT count(*) FROM duckdb_constraints()").item() >= 2

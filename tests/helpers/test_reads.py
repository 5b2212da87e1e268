"""Reads give frames and leave no trace: no file made, no lock taken, nothing changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from data_engine.errors import FlowValidationError
from data_engine.helpers import ensure_index, read_rows_by_values, read_sql, read_table, replace_table
from data_engine.helpers.duckdb.connection import refusal


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "mart.duckdb"
    frame = pl.DataFrame({"id": [1, 2, 3, 4, 5], "day": ["tue", None, "mon", "tue", None], "Amount": [1.5, 2, 3, 4, 5]})
    replace_table(path, "sales", df=frame)
    replace_table(path, "mart.big sales", df=frame)
    return path


@pytest.mark.parametrize(
    "read",
    [
        lambda path: read_table(path, "sales"),
        lambda path: read_sql(path, sql="SELECT 1"),
        lambda path: read_rows_by_values(path, "sales", column="id", is_in=[1], select="*"),
    ],
)
def test_a_missing_database_is_not_made(tmp_path: Path, read: Any) -> None:
    """The message names those in the folder."""
    (tmp_path / "other.duckdb").touch()

    with pytest.raises(ValueError, match=r'there is no database(.|\n)*"other.duckdb"'):
        read(tmp_path / "mart.duckdb")
    with pytest.raises(ValueError, match="there is no database"):
        read(tmp_path / "no" / "mart.duckdb")

    assert [path.name for path in tmp_path.iterdir() if path.name != "machine" and path.name != "here"] == [
        "other.duckdb"
    ]


def test_reading_changes_no_byte(db: Path) -> None:
    """Not even the time of the file."""
    before = db.read_bytes(), db.stat().st_mtime_ns

    read_table(db, "sales")
    read_sql(db, sql="SELECT * FROM sales")
    read_rows_by_values(db, "sales", column="id", is_in=[1], select="*")

    assert (db.read_bytes(), db.stat().st_mtime_ns) == before
    assert not db.with_name("mart.duckdb.wal").exists()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    """A ValueError, and the file stays."""
    path = tmp_path / "mart.duckdb"
    path.write_text("hello" * 1000)

    with pytest.raises(ValueError, match="not a valid DuckDB database"):
        read_table(path, "sales")
    with pytest.raises(ValueError, match=r"not a valid DuckDB database(.|\n)*a file that DuckDB made"):
        replace_table(path, "sales", df=pl.DataFrame({"a": [1]}))
    assert path.read_text() == "hello" * 1000


def test_columns_come_as_asked_for(db: Path) -> None:
    """In that order and spelling; a column asked for twice comes once, in whatever spelling."""
    assert read_table(db, "sales", select=["ID", "id", "day"]).columns == ["ID", "day"]
    assert read_table(db, "sales", select=["AMOUNT", "id", "id"], limit=1).to_dict(as_series=False) == {
        "AMOUNT": [1.5],
        "id": [1],
    }
    assert read_table(db, 'mart."big sales"', select="id", where="id > ?", params=[3]).to_series().to_list() == [4, 5]


@pytest.mark.parametrize("where", [None, "", "  ", "true", "id > 0 -- all of them", "id > 0 OR false"])
def test_conditions_may_be_blank_or_end_in_a_comment(db: Path, where: str | None) -> None:
    """They stand in brackets on lines of their own."""
    assert read_table(db, "sales", where=where, limit=10).height == 5
    assert read_table(db, "sales", where=where, limit=0).height == 0


def test_a_condition_may_name_the_table(db: Path) -> None:
    """As SQL does, with or without its schema; a view as well."""
    import duckdb

    with duckdb.connect(str(db)) as conn:
        conn.execute("CREATE VIEW recent AS FROM sales")

    for table, where in [
        ("sales", "sales.id > 4"),
        ("SALES", "Sales.ID > 4"),
        ("mart.main.sales", "mart.main.sales.id > 4"),
        ("mart.big sales", '"big sales".id > 4'),
        ("recent", "recent.id > 4"),
    ]:
        assert read_table(db, table, select=["day", "id"], where=where).rows() == [(None, 5)]


def test_a_struct_called_d_is_itself_in_a_condition(tmp_path: Path) -> None:
    """No name of ours comes before it; `select` takes columns in any case."""
    db = tmp_path / "mart.duckdb"
    replace_table(db, "t", df=pl.DataFrame({"d": [{"amount": 7}, {"amount": 8}], "amount": [8, 7], "t": [1, 2]}))

    assert read_table(db, "t", select=["AMOUNT", "T"], where="d.amount = 7").rows() == [(8, 1)]
    assert read_table(db, "t", where="t.amount = 7").rows() == [({"amount": 8}, 7, 2)]


@pytest.mark.parametrize("name", ["rowid", "ROWID"])
def test_a_column_called_rowid_is_no_order(tmp_path: Path, name: str) -> None:
    """Rows of one value come in the table's order all the same."""
    db = tmp_path / "mart.duckdb"
    replace_table(db, "t", df=pl.DataFrame({"k": [1, 2, 1, 1], name: [9, 8, 7, 8]}))

    found = read_rows_by_values(db, "t", column="k", is_in=[2, 1], select="*")

    assert found.rows() == [(2, 8), (1, 9), (1, 7), (1, 8)]
    assert found.columns == ["k", name]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"table": "sale"}, ValueError, 'no table "sale"(.|\n)*"sales", "mart.big sales"'),
        ({"table": "nowhere.sales"}, ValueError, 'in the schema "nowhere"'),
        ({"select": "price"}, ValueError, 'no column "price"(.|\n)*it has "id", "day", "Amount"'),
        ({"select": []}, ValueError, "at least one non-empty column name"),
        ({"select": ["id", ""]}, ValueError, "at least one non-empty column name"),
        ({"select": [1]}, TypeError, "select must be a column name"),
        ({"limit": -1}, ValueError, "non-negative"),
        ({"limit": 1.5}, TypeError, "limit must be a whole number"),
        ({"limit": True}, TypeError, "limit must be a whole number"),
        ({"where": 1}, TypeError, "where must be an SQL condition"),
        ({"where": "price > 1"}, ValueError, "price"),
        ({"where": "id = ?"}, ValueError, "DuckDB refused it"),
        ({"params": "x"}, TypeError, "params must be a list"),
    ],
)
def test_wrong_questions_are_answered_with_what_exists(
    db: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """Never an error of DuckDB's own."""
    with pytest.raises(error, match=message):
        read_table(db, options.pop("table", "sales"), **options)


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"where": "id >"}, "fix the SQL"),
        ({"where": "price > 1"}, "the table's own columns"),
        ({"where": "id = ?"}, "one value in params= for each"),
        ({"where": "id = ?", "params": [1, 2]}, "one value in params= for each"),
        ({"where": "id = $x", "params": {"y": 1}}, "one value in params= for each"),
        ({"where": "id = ?", "params": ["x"]}, "fix the value"),
        ({"where": "id = ?", "params": [object()]}, "numbers, texts"),
        ({"where": "error('no') IS NULL"}, "try it with DuckDB itself"),
    ],
)
def test_what_duckdb_refuses_has_a_fix(db: Path, options: dict[str, Any], fix: str) -> None:
    """One that fits the common kinds, for all others a general one."""
    with pytest.raises(FlowValidationError, match="DuckDB refused it") as raised:
        read_table(db, "sales", **options)
    assert fix in (raised.value.fix or "")


def test_rows_come_in_the_order_of_the_values(db: Path) -> None:
    """Null finds nulls; a value given twice finds its rows once; unknown ones find none."""
    found = read_rows_by_values(db, "sales", column="DAY", is_in=[None, "tue", "sun", None], select=["id", "day"])

    assert found.rows() == [(2, None), (5, None), (1, "tue"), (4, "tue")]


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("id", [3, 1], [3, 1]),
        ("id", pl.Series([3, 1], dtype=pl.Float64), [3, 1]),
        ("id", [1.5, 2.0], [2]),
        ("id", [2, 1.5], [2]),
        ("id", ["2", "x"], [2]),
        ("id", [10**30], []),
        ("Amount", [2, 1.5], [2, 1]),
        ("day", ["mon"], [3]),
        ("day", [1], []),
        ("day", {"mon"}, [3]),
        ("day", pl.Series(["mon"], dtype=pl.Categorical), [3]),
        ("id", [], []),
        ("day", [None], [2, 5]),
        ("id", (number for number in [5]), [5]),
    ],
)
def test_values_find_what_equals_them(db: Path, column: str, values: Any, expected: list[int]) -> None:
    """Whatever their type; one the column cannot hold finds nothing, and none is rounded."""
    found = read_rows_by_values(db, "sales", column=column, is_in=values, select="*")

    assert found["id"].to_list() == expected
    assert found.columns == ["id", "day", "Amount"]


def test_rows_of_a_view_are_found_too(db: Path) -> None:
    """By value, in the order of the values."""
    import duckdb

    with duckdb.connect(str(db)) as conn:
        conn.execute("CREATE VIEW recent AS SELECT * FROM sales WHERE id > 1")

    assert read_rows_by_values(db, "recent", column="id", is_in=[4, 1, 2], select="id").rows() == [(4,), (2,)]
    assert read_table(db, "recent").height == 4


@pytest.mark.parametrize(
    "is_in", ["mon", 3, [1, "a"], None, [object()], pl.DataFrame({"day": ["mon"]}), pl.LazyFrame({"day": ["mon"]})]
)
def test_values_must_be_a_list_of_one_type(db: Path, is_in: Any) -> None:
    """A text is no list."""
    with pytest.raises(TypeError, match="is_in must"):
        read_rows_by_values(db, "sales", column="day", is_in=is_in, select="*")


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("", "non-empty"),
        ("-- nothing", "gives no rows"),
        ("SELEKT 1", "syntax error"),
        ("SELECT * FROM sale", "sale"),
        ("CREATE TABLE new (a INTEGER)", "read-only|cannot write|refused"),
        ("DELETE FROM sales", "read-only|refused"),
        ("SELECT interval 1 month", "no fixed length"),
        ("SELECT * FROM nope", '"sales"'),
        ("SELECT strangely(1)", "strangely"),
    ],
)
def test_wrong_sql_is_a_value_error(db: Path, sql: str, message: str) -> None:
    """And changes nothing."""
    before = db.read_bytes()

    with pytest.raises(ValueError, match=message):
        read_sql(db, sql=sql)
    assert db.read_bytes() == before


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT sum(9223372036854775807) OVER () AS x FROM range(2) LIMIT 1", Decimal(2 * (2**63 - 1))),
        ("SELECT 1::UHUGEINT AS x", Decimal(1)),
        ("SELECT '0101'::BIT AS x", "0101"),
        ("SELECT '12:00:00+02'::TIMETZ AS x", "12:00:00+02"),
        ("SELECT INTERVAL 90 MINUTE AS x", timedelta(minutes=90)),
        ("SELECT '{\"a\": 1}'::JSON AS x", '{"a": 1}'),
        ("SELECT 'b'::ENUM('a', 'b') AS x", "b"),
        ("SELECT '6a1ff3c4-0000-0000-0000-000000000001'::UUID AS x", "6a1ff3c4-0000-0000-0000-000000000001"),
    ],
)
def test_types_of_duckdb_alone_come_whole(db: Path, sql: str, expected: Any) -> None:
    """As the nearest type of Polars, else as text."""
    assert read_sql(db, sql=sql)["x"].to_list() == [expected]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("'infinity'::DATE", "infinity"),
        ("'-infinity'::DATE", "infinity"),
        ("'infinity'::TIMESTAMP", "infinity"),
        ("'infinity'::TIMESTAMPTZ", "infinity"),
        ("[INTERVAL 1 DAY]", "cannot hold an interval inside"),
        ("{'a': [INTERVAL 1 DAY]}", "cannot hold an interval inside"),
        ("170141183460469231731687303715884105727::HUGEINT", "DECIMAL"),
        ("340282366920938463463374607431768211455::UHUGEINT", "DECIMAL"),
    ],
)
def test_a_value_polars_cannot_hold_is_refused(db: Path, value: str, message: str) -> None:
    """It would come as another one, or break the frame."""
    with pytest.raises(FlowValidationError, match=message):
        read_sql(db, sql=f"SELECT {value} AS x")


@pytest.mark.parametrize(
    "sql",
    [
        "COPY sales TO 'out.csv'",
        "/* all */ copy (FROM sales) TO 'out.csv'",
        "SELECT 1; COPY sales TO 'out.csv'",
        "EXPLAIN ANALYZE COPY sales TO 'out.csv'",
        "PREPARE x AS COPY sales TO 'out.csv'; EXECUTE x",
        "EXPORT DATABASE 'out.csv'",
    ],
)
def test_sql_writes_no_file(db: Path, sql: str) -> None:
    """Beside the database it could, for all that this is open for reading."""
    with pytest.raises(FlowValidationError, match="writes files"):
        read_sql(db, sql=sql)
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    "sql", ["FROM sales", "DESCRIBE sales", "EXPLAIN FROM sales", "PIVOT sales ON day USING sum(id)"]
)
def test_sql_that_only_reads_is_let_through(db: Path, sql: str) -> None:
    """Whatever statement it is."""
    assert read_sql(db, sql=sql).height > 0


def test_columns_of_one_name_come_apart(db: Path) -> None:
    """With a number behind the second, whatever their types."""
    frame = read_sql(db, sql="SELECT INTERVAL 1 DAY AS x, INTERVAL 2 DAY AS x, 1 AS y")

    assert frame.rows() == [(timedelta(days=1), timedelta(days=2), 1)]
    assert frame.columns == ["x", "x_1", "y"]


def test_sql_sees_tables_and_no_python_names(db: Path) -> None:
    """A frame of the caller, or of ours, is not a table."""
    frame = pl.DataFrame({"a": [1]})

    with pytest.raises(ValueError, match="frame"):
        read_sql(db, sql="SELECT * FROM frame")
    assert frame.height == 1


def test_sql_takes_its_values_apart(db: Path) -> None:
    """By position or by name."""
    assert read_sql(db, sql="SELECT id FROM sales WHERE day = ? AND id > ?", params=["tue", 1]).rows() == [(4,)]
    assert read_sql(db, sql="SELECT id FROM sales WHERE day = $day", params={"day": "mon"}).rows() == [(3,)]


def test_moments_are_in_utc_on_every_machine(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what SQL computes of them."""
    monkeypatch.setenv("TZ", "America/New_York")
    moment = datetime(2024, 1, 1, 2, tzinfo=UTC)
    replace_table(db, "moments", df=pl.DataFrame({"at": [moment]}))

    found = read_sql(db, sql='SELECT "at", CAST("at" AS DATE) AS day FROM moments')

    assert found.schema["at"] == pl.Datetime("us", "UTC")
    assert found.row(0) == (moment, moment.date())


def test_a_database_open_in_this_process_can_be_read(db: Path) -> None:
    """A notebook may hold its own connection, for reading or for writing."""
    import duckdb

    for read_only in (True, False):
        with duckdb.connect(str(db), read_only=read_only):
            assert read_table(db, "sales").height == 5


def test_an_index_is_made_once(db: Path) -> None:
    """Its name comes back; the default one is the same each time."""
    name = ensure_index(db, "sales", columns=["day", "id"])

    assert name.startswith("idx_de_")
    assert ensure_index(db, "SALES", columns=["Day", "ID"]) == name
    assert ensure_index(db, "sales", columns="day", name='my "index"') == 'my "index"'
    assert ensure_index(db, "sales", columns="day", name='MY "index"') == 'MY "index"'
    assert ensure_index(db, "mart.big sales", columns="day", name="x") == "x"
    assert read_sql(db, sql="SELECT index_name FROM duckdb_indexes() ORDER BY ALL")["index_name"].to_list() == sorted(
        [name, 'my "index"', "x"]
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"table": "none"}, ValueError, 'no table "none"'),
        ({"columns": "price"}, ValueError, 'no column "price"(.|\n)*it has "id"'),
        ({"columns": []}, ValueError, "at least one non-empty"),
        ({"name": " "}, ValueError, "non-empty name"),
        ({"name": 3}, TypeError, "name must be a text"),
        ({"name": "taken"}, ValueError, 'index "taken" already, on "day"|on day of "sales"'),
    ],
)
def test_a_wrong_index_is_refused(db: Path, options: dict[str, Any], error: type[Exception], message: str) -> None:
    """One of the name on something else included."""
    ensure_index(db, "sales", columns="day", name="taken")

    with pytest.raises(error, match=message):
        ensure_index(db, options.pop("table", "sales"), **({"columns": "id"} | options))


def test_an_index_makes_no_database(tmp_path: Path) -> None:
    """There would be nothing in it."""
    with pytest.raises(ValueError, match="there is no database"):
        ensure_index(tmp_path / "x" / "mart.duckdb", "sales", columns="id")
    assert not (tmp_path / "x").exists()


def test_a_lack_of_memory_says_to_read_less(tmp_path: Path) -> None:
    """DuckDB's own error, with what helps."""
    connection = duckdb.connect()
    connection.execute("SET memory_limit = '5MB'; SET temp_directory = ''")

    with pytest.raises(duckdb.OutOfMemoryException) as caught:
        connection.execute("SELECT * FROM range(10_000_000) AS a ORDER BY random()").fetchall()
    assert "fewer rows or columns" in str(refusal(caught.value, tmp_path / "mart.duckdb"))

"""`frame.de`: every helper that takes a frame, registered in either order of imports, at next to no cost."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import data_engine.helpers
from data_engine import helpers
from tests.support import PATIENCE

ROOT = Path(__file__).parents[2]
EXPRESSIONS = {
    "networkdays",
    "workday",
    "parse_decimal",
    "propagate_last_value",
    "propagate_first_value",
    "visit_counter",
}
BOTH = EXPRESSIONS | {
    "normalize_column_names", "remove_null_columns", "build_dimension", "attach_dimension", "denormalize_columns",
    "normalize_columns", "replace_rows_by_file", "replace_rows_by_values", "replace_table",
}  # fmt: skip


def in_fresh_python(code: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def methods(frame: object) -> set[str]:
    return {name for name in dir(frame.de) if not name.startswith("_")}  # type: ignore[attr-defined]


def test_frames_have_the_methods_that_take_a_frame() -> None:
    """No list of ours says so: the functions' own arguments do."""
    frame = pl.DataFrame({"a": [1]})

    assert methods(frame) == BOTH | {"write_parquet_atomic", "write_excel_atomic"}
    assert methods(frame.lazy()) == BOTH | {"sink_parquet_atomic"}
    assert type(frame.de).__name__ == "DataEngineDataFrameNamespace"
    assert type(frame.lazy().de).__name__ == "DataEngineLazyFrameNamespace"


def test_methods_show_their_own_arguments_and_text() -> None:
    """The frame is not among them."""
    method = pl.DataFrame({"a": [1]}).de.replace_rows_by_file

    assert list(inspect.signature(method).parameters) == [
        "db_path", "table", "file_hash", "file_hash_column", "return_df", "widen", "wait",
    ]  # fmt: skip
    assert method.__doc__ == helpers.replace_rows_by_file.__doc__


def test_methods_do_what_the_functions_do(tmp_path: Path) -> None:
    """On frames of either kind; those that store give eager frames back."""
    frame = pl.DataFrame({"City Name": ["Oslo", None], "n": [1, 2], "nothing": [None, None]})
    db = tmp_path / "mart.duckdb"

    for given in (frame, frame.lazy()):
        clean = given.de.remove_null_columns().de.normalize_column_names()
        keyed = clean.de.normalize_columns(db, "dim_city", on="city_name", key_column="city_key")
        keyed.lazy().de.replace_table(db, "facts")
        assert type(clean) is type(given)
        assert keyed.rows() == [(1, 1), (2, 2)]
        assert keyed.de.denormalize_columns(db, "dim_city", key_column="city_key", drop_key=True).rows() == [
            (1, "Oslo"),
            (2, None),
        ]
    assert_frame_equal(helpers.read_table(db, "facts"), keyed)
    assert frame.de.write_parquet_atomic(tmp_path / "a.parquet") == tmp_path / "a.parquet"
    assert frame.lazy().de.sink_parquet_atomic(tmp_path / "b.parquet") == tmp_path / "b.parquet"
    assert frame.with_columns(v=frame.de.visit_counter("City Name", by="nothing", sort_by="n"))["v"].to_list() == [1, 1]


@pytest.mark.parametrize(
    "imports",
    ["import data_engine.helpers, polars as pl", "import polars as pl, data_engine.helpers", "from data_engine.helpers import read_table; import polars as pl",
     "import data_engine.helpers.duckdb; import polars as pl", "import data_engine.helpers; from polars import DataFrame; import polars as pl"],
)  # fmt: skip
def test_the_order_of_imports_does_not_matter(imports: str) -> None:
    """And nothing stays behind in the import system."""
    code = f"{imports}; import sys; print(hasattr(pl.DataFrame, 'de'), [x for x in sys.meta_path if 'data_engine' in type(x).__module__])"

    assert in_fresh_python(code) == "True []"


def test_importing_the_helpers_imports_no_data_library() -> None:
    """Not even when their names are looked up."""
    heavy = ["polars", "duckdb", "pyarrow", "xlsxwriter", "fastexcel", "numpy"]
    code = (
        "import sys, data_engine.helpers as h; [getattr(h, name) for name in h.__all__]; h.duckdb, h.polars, h.schema, h.excel;"
        f"print([n for n in {heavy} if n in sys.modules])"
    )

    assert in_fresh_python(code) == "[]"


def test_looking_for_polars_without_importing_it_changes_nothing() -> None:
    """`find_spec` is no import; the next import registers."""
    code = (
        "import data_engine.helpers, importlib.util; importlib.util.find_spec('polars');"
        "import polars as pl; print(hasattr(pl.DataFrame, 'de'), type(pl.__spec__.loader).__name__)"
    )

    assert in_fresh_python(code) == "True SourceFileLoader"


def test_registering_is_cheap() -> None:
    """At most 5 ms of processor time on top of an import of Polars; the methods are made for the first frame that asks."""
    code = (
        "import polars, time; started = time.process_time(); import data_engine.helpers;"
        "print((time.process_time() - started) * 1000)"
    )

    assert any(float(in_fresh_python(code)) <= 5 * PATIENCE for _ in range(4))  # Windows counts in steps of 16 ms


def test_every_public_name_has_a_home_and_an_example() -> None:
    """In `data_engine.helpers` and in its module alike; the older engine's tests reach DuckDB through the module."""
    import duckdb

    for name in helpers.__all__:
        value = getattr(helpers, name)
        home = sys.modules[value.__module__].__name__
        assert any(name in getattr(helpers, module).__all__ for module in ("duckdb", "polars", "schema", "excel")), name
        assert home.startswith("data_engine.helpers.")
        assert ">>>" in (inspect.getdoc(value) or ""), name
        assert name in dir(data_engine.helpers)
    assert data_engine.helpers.duckdb.duckdb is duckdb
    assert helpers.polars.write_excel_atomic is helpers.excel.write_excel_atomic
    for module in (helpers, helpers.duckdb):
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            _ = module.nothing


def test_duckdb_is_looked_up_when_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that fails is rolled back and its connection closed."""
    calls: list[str] = []

    class Connection:
        def execute(self, sql: str, parameters: object = None) -> Connection:
            calls.append(sql.split()[0])
            return self

        def fetchall(self) -> list[tuple[object, ...]]:
            return []

        def register(self, *args: object) -> None:
            raise RuntimeError("disk on fire")

        def close(self) -> None:
            calls.append("close")

    monkeypatch.setattr("data_engine.helpers.duckdb.duckdb.connect", lambda *args, **options: Connection())
    with pytest.raises(RuntimeError, match="disk on fire"):
        helpers.replace_table(tmp_path / "a.duckdb", "t", df=pl.DataFrame({"a": [1]}))

    assert [call for call in calls if call != "SELECT"] == [
        "close",
        "BEGIN",
        "ROLLBACK",
        "close",
    ]  # a database that is not there is made first, in the format of all

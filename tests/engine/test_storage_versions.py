"""A database that a run makes has a format that every workstation can open, and one that is too new is told with both versions."""

from __future__ import annotations

import struct
from functools import reduce
from pathlib import Path

import duckdb
import polars as pl
import pytest

from data_engine import FlowExecutionError, Workspace, helpers
from data_engine.helpers.duckdb.connection import refusal
from data_engine.storage_version import number_of
from tests.support import WorkspaceFiles

FLOW = """
import duckdb
from data_engine import Flow

def write(context):
    path = context.database("mart.duckdb")
    BODY

def build():
    return Flow(group="G").step(write, label="Write")
"""
CONNECT = 'with duckdb.connect(path) as con: con.execute("CREATE TABLE t AS SELECT 1 AS a")'
WAYS = {
    "duckdb.connect": CONNECT,
    "with a config": CONNECT.replace("(path)", "(str(path), config={'threads': '1'})"),
    "twice": f"{CONNECT}\n    {CONNECT.replace('CREATE', 'CREATE OR REPLACE')}",
    "ATTACH": "\n    ".join(
        [
            "con = duckdb.connect()",
            "con.execute(f\"ATTACH '{path}' AS mart\")",
            "con.execute('CREATE TABLE mart.t AS SELECT 1 AS a')",
            "con.close()",
        ]
    ),
    "ATTACH IF NOT EXISTS": "\n    ".join(
        [
            "con = duckdb.connect()",
            "con.execute(f\"ATTACH IF NOT EXISTS '{path}' AS mart\")",
            "con.execute('CREATE TABLE mart.t AS SELECT 1 AS a')",
            "con.close()",
        ]
    ),
}


def database(ws: WorkspaceFiles, body: str) -> Path:
    """What a run of these lines makes."""
    ws.notebook("mart", FLOW.replace("BODY", body))
    Workspace(ws.root).load_flow("mart").run_once()
    return ws.root / "databases" / "mart.duckdb"


@pytest.mark.parametrize("body", WAYS.values(), ids=list(WAYS))
def test_a_database_that_a_run_makes_can_be_opened_by_the_oldest_duckdb(ws: WorkspaceFiles, body: str) -> None:
    """However its step makes it; 68 is the newest number that 1.5 reads."""
    path = database(ws, body)

    assert number_of(path) == 68
    with duckdb.connect(str(path), read_only=True) as con:
        assert con.execute("SELECT a FROM t").fetchall() == [(1,)]


def test_a_workspace_says_which_format_that_is(ws: WorkspaceFiles) -> None:
    ws.source("config/data_engine.toml", '[databases]\nstorage_version = "v1.2.0"\n')

    assert number_of(database(ws, CONNECT)) == 65


def test_whoever_says_the_format_himself_gets_it(ws: WorkspaceFiles) -> None:
    own = CONNECT.replace("(path)", "(path, config={'storage_compatibility_version': 'v1.0.0'})")

    assert number_of(database(ws, own)) == 64


def test_a_database_elsewhere_is_made_as_its_step_makes_it(ws: WorkspaceFiles, tmp_path: Path) -> None:
    """Outside of the workspace nothing of ours is in between."""
    elsewhere, plain = tmp_path / "elsewhere.duckdb", tmp_path / "plain.duckdb"
    duckdb.connect(str(plain)).close()
    database(ws, f"duckdb.connect({str(elsewhere)!r}).close()")

    assert number_of(elsewhere) == number_of(plain)


def test_reading_makes_no_database(ws: WorkspaceFiles) -> None:
    with pytest.raises(FlowExecutionError, match="does not exist"):
        database(ws, "duckdb.connect(path, read_only=True)")

    assert not (ws.root / "databases" / "mart.duckdb").exists()


def test_helpers_make_databases_that_all_can_open_and_keep_the_format_of_others(tmp_path: Path) -> None:
    """Compacting a database gives it no newer format."""
    path = tmp_path / "mart.duckdb"
    helpers.replace_table(path, "t", df=pl.DataFrame({"a": [1]}))
    made = number_of(path)
    helpers.compact_database(path)
    old = tmp_path / "old.duckdb"
    duckdb.connect(str(old), config={"storage_compatibility_version": "v1.2.0"}).close()
    helpers.replace_table(old, "t", df=pl.DataFrame({"a": [1]}))
    helpers.compact_database(old)

    assert (made, number_of(path), number_of(old)) == (68, 68, 65)


WORDS_OF_1_5 = """\
IO Error: Trying to read a database file with version number 69, but we can only read versions between 64 and 68.
The database file was created with a newer version of DuckDB.
"""


def newer_database(path: Path) -> None:
    """Write a database with the number of a format that no DuckDB has yet."""
    duckdb.connect(str(path)).close()
    data = bytearray(path.read_bytes())
    data[12:20] = struct.pack("<Q", 9_999)
    words = struct.unpack("<511Q", data[8:4096])
    data[:8] = struct.pack(
        "<Q", reduce(lambda sum_, word: sum_ ^ word * 0xBF58476D1CE4E5B9 & (1 << 64) - 1, words, 5381)
    )
    path.write_bytes(data)


@pytest.mark.parametrize("body", ["duckdb.connect(path)", WAYS["ATTACH"]], ids=["connect", "ATTACH"])
def test_a_database_of_a_newer_duckdb_is_named_in_the_words_of_this_one(ws: WorkspaceFiles, body: str) -> None:
    path = ws.root / "databases" / "mart.duckdb"
    path.parent.mkdir(exist_ok=True)
    newer_database(path)

    with pytest.raises(FlowExecutionError) as caught:
        database(ws, body)

    assert "mart.duckdb was made by a DuckDB newer than 2.0" in str(caught.value.fix)


def test_a_database_of_a_newer_duckdb_is_told_with_both_versions(ws: WorkspaceFiles) -> None:
    """To a step that connects, and to a helper. The words are those of DuckDB 1.5."""
    with pytest.raises(FlowExecutionError) as caught:
        database(ws, f"raise duckdb.IOException({WORDS_OF_1_5!r})")
    of_helper = refusal(duckdb.IOException(WORDS_OF_1_5), Path("mart.duckdb"))

    for error in (caught.value, of_helper):
        assert "version number 69" in error.what
        assert "made by DuckDB 2.0 or newer, and the one here reads what 1.5" in str(error.fix)
        assert "pip install -U duckdb" in str(error.fix)

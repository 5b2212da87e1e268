"""The keys of files in DuckDB tables are exchanged when asked: a copy is kept, and a database changes whole or not at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars as pl
import pytest

from data_engine.errors import FlowValidationError
from data_engine.helpers import ensure_index, read_table, replace_rows_by_file
from data_engine.model import SourceKey
from data_engine.moving import keys
from data_engine.moving.keys import older_hash, this_hash
from tests.moving.conftest import CLAIMS, Claims, Cli
from tests.older_system import older_hash as recorded_hash
from tests.support import PATIENCE, notebook_bytes


def held(claims: Claims, table: str = "claims", column: str = "file_key") -> set[str]:
    return set(read_table(claims.database, table)[column].to_list())


def test_both_keys_are_those_of_the_systems(claims: Claims) -> None:
    """The older one is of the path inside the source, of a single file of its name."""
    key, single = SourceKey("../../data/in", "2026/b.csv"), SourceKey("../../data/in/a.csv", "")

    assert older_hash(key, "/team/data/in") == recorded_hash("2026/b.csv")
    assert older_hash(single, "/team/data/in/a.csv") == recorded_hash("a.csv")
    assert this_hash(key) == recorded_hash("../../data/in/2026/b.csv")
    assert this_hash(single) == recorded_hash("../../data/in/a.csv")


def test_they_are_exchanged_only_when_asked(cli: Cli, claims: Claims) -> None:
    claims.has_run("a.csv", 1)
    claims.left()

    shown = cli("import", claims.root, "--yes")

    assert (shown.code, "--rewrite-keys replaces them" in shown.err) == (0, True)
    assert held(claims) == {recorded_hash("a.csv")}
    assert not list(claims.database.parent.glob("*before_move*"))


def test_a_copy_is_kept_and_rows_of_unknown_files_stay(cli: Cli, claims: Claims) -> None:
    claims.has_run("a.csv", 1, 2)
    frame = pl.DataFrame({"amount": [9]})
    replace_rows_by_file(claims.database, "claims", df=frame, file_hash=recorded_hash("long gone.csv"))
    ensure_index(claims.database, "claims", columns=["file_key"])
    claims.left()

    shown = cli("import", claims.root, "--yes", "--rewrite-keys")

    assert "claims.file_key: 1 key in 2 rows; 1 key of unknown files stay" in shown.out
    assert held(claims) == {recorded_hash("../../data/in/a.csv"), recorded_hash("long gone.csv")}
    (backup,) = claims.database.parent.glob("claims.duckdb.before_move")
    with duckdb.connect(str(backup), read_only=True) as kept:
        found = kept.execute("SELECT count(*) FROM claims WHERE file_key = ?", [recorded_hash("a.csv")]).fetchall()
    assert found == [(2,)]


def test_every_table_and_column_is_found(cli: Cli, claims: Claims) -> None:
    """Also of another name and in another schema; other texts of 40 digits are none."""
    claims.has_run("a.csv", 1)
    with duckdb.connect(str(claims.database)) as connection:
        connection.execute("CREATE SCHEMA mart")
        connection.execute("CREATE TABLE mart.lines AS SELECT ? AS origin, 1 AS amount", [recorded_hash("a.csv")])
        connection.execute("CREATE TABLE commits AS SELECT ? AS sha", ["ab" * 20])
        connection.execute("CREATE VIEW shown AS SELECT * FROM claims")
    claims.left()

    cli("import", claims.root, "--yes", "--rewrite-keys")

    new = recorded_hash("../../data/in/a.csv")
    assert held(claims) == held(claims, "mart.lines", "origin") == {new}
    assert held(claims, "commits", "sha") == {"ab" * 20}


def test_of_two_flows_the_one_that_names_the_table_counts(cli: Cli, claims: Claims) -> None:
    """Where none does, the column stays and it is said."""
    other = "from data_engine import Flow\ndef build():\n    watched = Flow(group='G').watch(mode='poll', source='../../data/other', interval='1s')\n    return watched.step(lambda context: None)"
    (claims.root / "flow_modules" / "other.ipynb").write_bytes(notebook_bytes(other))
    claims.has_run("a.csv", 1)
    there = claims.source.parent / "other" / "a.csv"
    there.parent.mkdir()
    there.write_text("x")
    claims.older.run("other", there, at_s=time.time() - 60)
    with duckdb.connect(str(claims.database)) as connection:
        connection.execute("CREATE TABLE nobody_knows AS SELECT ? AS file_key", [recorded_hash("a.csv")])
    claims.left()

    shown = cli("import", claims.root, "--yes", "--rewrite-keys")

    assert "nobody_knows.file_key: left as it is, 1 key is of files of several flows: claims, other" in shown.out
    assert held(claims) == {recorded_hash("../../data/in/a.csv")}
    assert held(claims, "nobody_knows") == {recorded_hash("a.csv")}


def test_a_file_that_has_run_in_both_systems_is_told(cli: Cli, claims: Claims) -> None:
    """Its rows are doubled already: which to keep is not decided here."""
    claims.has_run("a.csv", 1)
    frame = pl.DataFrame({"amount": [1]})
    replace_rows_by_file(claims.database, "claims", df=frame, file_hash=recorded_hash("../../data/in/a.csv"))
    claims.left()
    before = claims.database.read_bytes()

    shown = cli("import", claims.root, "--yes", "--rewrite-keys")

    assert "left as it is, 1 file has rows under both keys" in shown.out
    assert claims.database.read_bytes() == before


def test_a_database_that_is_in_use_is_left_and_told(cli: Cli, claims: Claims) -> None:
    claims.has_run("a.csv", 1)
    claims.left()
    hold = "import duckdb, sys, time; held = duckdb.connect(sys.argv[1]); print('open', flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", hold, str(claims.database)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        began_s = time.monotonic()
        shown = cli("import", claims.root, "--yes", "--rewrite-keys")
        assert time.monotonic() - began_s < 60 * PATIENCE
        holder.kill()

    assert shown.code == 0
    assert "claims.duckdb: could not be read:" in shown.out
    assert held(claims) == {recorded_hash("a.csv")}
    assert cli("import", claims.root, "--yes", "--rewrite-keys").code == 0
    assert held(claims) == {recorded_hash("../../data/in/a.csv")}


def test_a_database_that_refuses_stays_as_it_was(cli: Cli, claims: Claims) -> None:
    """A constraint forbids the new keys: none of its tables has changed."""
    claims.has_run("a.csv", 1)
    with duckdb.connect(str(claims.database)) as connection:
        connection.execute(f"CREATE TABLE strict (file_key VARCHAR CHECK (file_key = '{recorded_hash('a.csv')}'))")
        connection.execute("INSERT INTO strict VALUES (?)", [recorded_hash("a.csv")])
    claims.left()

    refused = cli("import", claims.root, "--yes", "--rewrite-keys")

    assert refused.code == 2
    assert held(claims) == held(claims, "strict") == {recorded_hash("a.csv")}


def test_other_files_among_the_databases_are_passed_over(cli: Cli, claims: Claims) -> None:
    claims.has_run("a.csv", 1)
    (claims.root / "databases" / "notes.db").write_text("no database")
    claims.left()

    shown = cli("import", claims.root, "--yes", "--rewrite-keys")

    assert (shown.code, Path("notes.db").name in shown.out) == (0, False)


def test_databases_elsewhere_that_a_flow_names_are_found(cli: Cli, claims: Claims) -> None:
    """And one that only a person knows is looked into when they name it."""
    claims.has_run("a.csv", 1)
    named, other = claims.root.parent / "marts" / "named.duckdb", claims.root.parent / "other.db"
    named.parent.mkdir()
    shutil.copy(claims.database, named)
    claims.database.rename(other)
    module = (
        "from data_engine.helpers import read_table\nread = lambda: read_table('../../marts/named.duckdb', 'claims')\n"
    )
    path = claims.root / "flow_modules" / "claims.ipynb"
    path.write_bytes(
        notebook_bytes(*CLAIMS[:2], module, CLAIMS[2].replace(".step(keep)", ".step(lambda context: read())"))
    )
    claims.left()

    assert f"{named}: claims.file_key: 1 key in 1 row" in cli("import", claims.root, "--dry-run").out
    missing = cli("import", claims.root, "--dry-run", "--database", other.with_name("none.db"))
    assert (missing.code, "none.db does not exist" in missing.err) == (2, True)
    assert cli("import", claims.root, "--yes", "--rewrite-keys", "--database", other).code == 0

    new = {recorded_hash("../../data/in/a.csv")}
    assert [set(read_table(one, "claims")["file_key"]) for one in (named, other)] == [new, new]


def test_a_copy_that_is_not_of_the_newest_is_not_kept(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program has written meanwhile: the next try copies anew."""
    claims.has_run("a.csv", 1)
    looks = iter(range(9))
    monkeypatch.setattr(keys, "identity_of", lambda path: next(looks))

    with pytest.raises(FlowValidationError, match="was written while a copy of it was made"):
        keys.exchange(keys.DatabaseKeys(claims.database), [])

    assert [path.name for path in claims.database.parent.iterdir()] == ["claims.duckdb"]

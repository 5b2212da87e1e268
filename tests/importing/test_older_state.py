"""What the older system left may be damaged, locked or of another version: that is said with its fix, and nothing is half done."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.errors import LedgerError
from data_engine.importing import namespace
from data_engine.ledger.ledger import Ledger
from tests.importing.conftest import Claims, Cli
from tests.older_system import could_own


def rename_column(claims: Claims) -> None:
    with sqlite3.connect(claims.older.ledger_path) as connection:
        connection.execute("ALTER TABLE file_state RENAME COLUMN last_status TO state")
    connection.close()


def overwrite(path: Callable[[Claims], Path], content: bytes) -> Callable[[Claims], None]:
    def do(claims: Claims) -> None:
        path(claims).write_bytes(content)

    return do


def ledger(claims: Claims) -> Path:
    return claims.older.ledger_path


def shared_files(claims: Claims) -> Path:
    return claims.older.shared / "state" / "file_state" / "claims.parquet"


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (rename_column, "no column 'last_status'"),
        (overwrite(ledger, b"no database at all, but long enough to be looked at" * 100), "cannot be read"),
        (overwrite(shared_files, b"PAR1 nothing"), "cannot be read"),
        (overwrite(shared_files, b""), "cannot be read"),
    ],
)
def test_damage_is_told_and_can_be_left_out(
    cli: Cli, claims: Claims, damage: Callable[[Claims], None], what: str
) -> None:
    claims.has_run("a.csv", 1)
    claims.left()
    damage(claims)

    refused = cli("import", claims.root, "--yes")

    assert (refused.code, what in refused.err, "--without-history" in refused.err) == (2, True, True), refused.err
    assert could_own(claims.older.shared, "claims", time.time())  # no seal was left
    assert Workspace(claims.root).runs() == []
    done = cli("import", claims.root, "--yes", "--without-history")
    assert done.code == 0
    assert not could_own(claims.older.shared, "claims", time.time())


def test_a_ledger_that_is_being_written_is_refused(cli: Cli, claims: Claims) -> None:
    claims.has_run("a.csv", 1)
    claims.left()
    writer = sqlite3.connect(claims.older.ledger_path, isolation_level=None)
    writer.execute("PRAGMA locking_mode = EXCLUSIVE")
    writer.execute("BEGIN EXCLUSIVE")
    writer.execute("DELETE FROM logs")

    refused = cli("import", claims.root, "--yes")

    assert (refused.code, "end the older system" in refused.err) == (2, True), refused.err
    writer.execute("ROLLBACK")
    writer.close()
    assert cli("import", claims.root, "--yes").code == 0


def test_rows_that_cannot_be_understood_are_left_out_and_counted(cli: Cli, claims: Claims) -> None:
    claims.has_run("a.csv", 1)
    claims.has_run("b.csv", 1)
    claims.older.rows["runs"][1]["started_at_utc"] = "yesterday"
    claims.older.rows["file_state"][1]["last_status"] = "purple"
    claims.older.write_ledger()
    claims.older.marker("available")

    shown = cli("import", claims.root, "--yes")

    assert shown.code == 0
    assert "2 rows left out" in shown.out
    assert len(Workspace(claims.root).runs()) == 1


def test_version_0_1_has_one_ledger_of_another_name(cli: Cli, claims: Claims) -> None:
    """Its oldest files lack a column."""
    claims.has_run("a.csv", 1)
    claims.older.write_ledger().rename(claims.older.runtime / "runtime_ledger.sqlite")
    with sqlite3.connect(claims.older.runtime / "runtime_ledger.sqlite") as connection:
        connection.execute("ALTER TABLE step_runs DROP COLUMN output_path")
    connection.close()

    shown = cli("import", claims.root, "--yes")

    assert (shown.code, "1 run," in shown.out) == (0, True), shown
    assert not could_own(claims.older.shared, "claims", time.time())  # also where it had left no marker


def test_a_ledger_of_another_path_is_taken_when_asked(
    cli: Cli, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The workspace was mounted elsewhere when the older system ran."""
    claims.has_run("a.csv", 1)
    other = claims.older.runtime.with_name(namespace("claims", "/mnt/elsewhere/claims"))
    claims.older.write_ledger()
    claims.older.runtime.rename(other)

    monkeypatch.chdir(other)
    taken = cli("import", claims.root, "--yes", "--ledger", "runtime_cache.sqlite")
    assert (taken.code, "1 run," in taken.out) == (0, True), taken
    assert cli("import", claims.root, "--ledger", claims.root / "nothing").code == 2


def test_without_anything_of_the_older_system_only_the_modules_are_looked_at(cli: Cli, claims: Claims) -> None:
    shown = cli("import", claims.root, "--yes")

    assert shown.code == 0
    assert "no history of the older system was found" in shown.out
    assert "Nothing was changed." in shown.out


def test_an_older_ledger_is_not_taken_for_one_of_this_system(claims: Claims) -> None:
    """The variable DATA_ENGINE_RUNTIME_DB_PATH may still name it."""
    claims.has_run("a.csv", 1)
    path = claims.older.write_ledger()
    before = path.read_bytes()

    with pytest.raises(LedgerError, match="a ledger of the older system"):
        Ledger.open(path)

    assert path.read_bytes() == before

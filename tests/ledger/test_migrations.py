"""A file of an older version opens as the newest, one of a newer version is refused, and a crash leaves a whole version."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from data_engine.errors import LedgerError
from data_engine.ledger.connection import connect
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.migrations import MIGRATIONS, migrate, newest_version
from data_engine.model import Switch
from data_engine.planning.due import why_blocked
from data_engine.reasons.kinds import Disabled
from tests.ledger.events import start

FIRST = min(MIGRATIONS)
NEXT = "CREATE TABLE more (a); ALTER TABLE runs ADD COLUMN extra TEXT;"
BROKEN = "CREATE TABLE more (a); ALTER TABLE missing ADD COLUMN extra TEXT;"


def version(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])
    finally:
        connection.close()


def migrate_file(path: Path, scripts: dict[int, str]) -> None:
    path.parent.mkdir(exist_ok=True)
    connection = connect(path, busy_timeout_s=5)
    try:
        migrate(connection, path, scripts)
    finally:
        connection.close()


@pytest.mark.parametrize("known", sorted(MIGRATIONS))
def test_a_file_of_any_released_version_opens_with_its_rows(path: Path, known: int) -> None:
    """From 0.1.0 on, whatever version wrote it."""
    migrate_file(path, {number: script for number, script in MIGRATIONS.items() if number <= known})
    assert version(path) == known
    connection = sqlite3.connect(path)
    connection.execute(
        "INSERT INTO runs (run_id, flow_name, group_name, status, started_at_utc, rev)"
        " VALUES ('r1', 'claims', 'G', 'success', '2026', 1)"
    )
    connection.commit()
    connection.close()

    with Ledger.open(path) as ledger:
        assert [run.run_id for run in ledger.runs()] == ["r1"]
    assert version(path) == newest_version()


def test_a_switch_of_before_tells_only_whether(path: Path) -> None:
    """It was written before anybody kept who switched a flow; what is written over it tells."""
    migrate_file(path, {FIRST: MIGRATIONS[FIRST]})
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO flow_switches (flow_name, enabled, rev) VALUES ('claims', 0, 1)")
    connection.commit()
    connection.close()

    with Ledger.open(path) as ledger:
        assert ledger.switches() == {"claims": Switch(False)}
        assert why_blocked(ledger.switches()["claims"]) == Disabled()
        said = Switch(False, "ana", "PC7", "2026-11-27T17:03:00.000000+00:00")
        ledger.set_switch("claims", said)
        assert ledger.switches() == {"claims": said}


@pytest.mark.parametrize("number", [FIRST - 1, FIRST + 1, sorted(MIGRATIONS)[1] - 1])
def test_a_file_of_an_unreleased_build_is_refused_and_left_alone(path: Path, number: int) -> None:
    """Nothing is deleted: the error says what to do with the file."""
    path.parent.mkdir()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (run_id)")
        connection.execute(f"PRAGMA user_version = {number}")
    connection.close()
    with pytest.raises(LedgerError, match=f"version {number}, of a Data Engine that was never released") as caught:
        Ledger.open(path)

    assert "move the file away" in str(caught.value.fix)
    assert version(path) == number
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("runs",)]
    connection.close()


def test_a_later_script_is_applied_once(path: Path) -> None:
    """To a file that has rows; opening again changes nothing."""
    with Ledger.open(path) as ledger:
        ledger.record(start("r1"))
    for _ in range(2):
        migrate_file(path, {**MIGRATIONS, newest_version() + 1: NEXT})
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT run_id, extra FROM runs").fetchall()
    connection.close()

    assert (rows, version(path)) == ([("r1", None)], newest_version() + 1)


def test_a_file_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    """The fix is to update."""
    migrate_file(path, {**MIGRATIONS, newest_version() + 1: NEXT})
    with pytest.raises(LedgerError, match="version") as caught:
        Ledger.open(path)

    assert (caught.value.fix, caught.value.where) == ("update data-engine", str(path))
    assert version(path) == newest_version() + 1


def test_a_script_that_breaks_off_leaves_the_version_before(path: Path) -> None:
    """Whole, with none of the script's statements."""
    with pytest.raises(sqlite3.OperationalError, match="missing"):
        migrate_file(path, {**MIGRATIONS, newest_version() + 1: BROKEN})

    assert version(path) == newest_version()
    with Ledger.open(path) as ledger:
        assert ledger.rows("SELECT name FROM sqlite_schema WHERE name = 'more'") == []


def test_many_may_open_a_new_file_at_once(path: Path) -> None:
    """Each finds the newest version; the scripts run once; nobody is told that the file is locked."""
    rounds = [path.with_name(f"{number}.sqlite") for number in range(40)]
    gate = threading.Barrier(4)
    failures: list[BaseException] = []

    def open_each() -> None:
        for each in rounds:
            gate.wait()
            try:
                Ledger.open(each).close()
            except BaseException as error:
                failures.append(error)

    threads = [threading.Thread(target=open_each) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert {version(each) for each in rounds} == {newest_version()}

"""A full disk, a locked file, a file that is none: a typed error with its fix, and nothing recorded is lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from data_engine.errors import LedgerError
from data_engine.ledger.ledger import Ledger
from tests.ledger.events import begin, end, finish, line, seen, start
from tests.support import fill_drive


def test_a_full_disk_loses_nothing(small_drive: Path) -> None:
    """The error says so; what had been recorded is written when there is room again, a start that was refused is not."""
    with Ledger.open(small_drive / "ledger.sqlite") as ledger:
        ledger.record(start("r1", sees=(seen(),)))
        filler = fill_drive(small_drive)
        ledger.record(begin("r1"))
        ledger.record(end("r1", error="e" * 500_000))
        with pytest.raises(LedgerError, match="disk is full") as caught:
            ledger.record(finish("r1", seen=(seen(),)))
        with pytest.raises(LedgerError, match="disk is full"):
            ledger.record(start("r2"))
        run = ledger.run("r1")
        assert run is not None
        assert (run.status, ledger.steps("r1")) == ("started", [])

        filler.unlink()
        ledger.flush()

        assert caught.value.where == str(small_drive / "ledger.sqlite")
        assert "free some space" in (caught.value.fix or "")
        assert [(run.run_id, run.status) for run in ledger.runs()] == [("r1", "success")]
        assert [len(step.error or "") for step in ledger.steps("r1")] == [500_000]
        assert len(ledger.source_states("claims")) == 1


def test_a_full_disk_is_said_when_a_ledger_is_made(small_drive: Path) -> None:
    """Nothing half-made stays in the way."""
    filler = fill_drive(small_drive)
    with pytest.raises(LedgerError) as caught:
        Ledger.open(small_drive / "ledger.sqlite")
    filler.unlink()

    assert caught.value.fix
    with Ledger.open(small_drive / "ledger.sqlite") as ledger:
        assert ledger.runs() == []


def test_a_read_only_drive_is_said(small_drive: Path) -> None:
    """With the file and the fix."""
    Ledger.open(small_drive / "ledger.sqlite").close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_drive)], check=True)
    with pytest.raises(LedgerError, match=r"read-only|cannot be opened") as caught:
        Ledger.open(small_drive / "ledger.sqlite")

    assert "writable" in (caught.value.fix or "")


def test_a_lock_of_another_process_is_waited_for_and_then_said(path: Path) -> None:
    """What was to be written is written when the other is done."""
    with Ledger.open(path, busy_timeout_s=0.05) as ledger:
        ledger.record(start("r1"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ledger.record(line("r1"))
        with pytest.raises(LedgerError, match="another process") as caught:
            ledger.record(finish("r1"))
        reading_still_works = [run.status for run in ledger.runs()]
        other.execute("COMMIT")
        other.close()
        ledger.flush()

        assert reading_still_works == ["started"]
        assert caught.value.fix
        assert [run.status for run in ledger.runs()] == ["success"]
        assert [entry.message for entry in ledger.log("r1")] == ["hello"]


def test_an_end_that_comes_with_a_start_outlives_it(path: Path) -> None:
    """What cannot be written now: the end of a run is kept and written later, the next run's start never."""
    with Ledger.open(path, busy_timeout_s=0.01) as ledger:
        ledger.record(start("r1"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="another process"):
            ledger.record(begin("r1"), end("r1"), finish("r1"), start("r2"))
        other.execute("COMMIT")
        other.close()
        ledger.flush()

        (run,) = ledger.runs()
        assert (run.run_id, run.status) == ("r1", "success")
        assert [step.status for step in ledger.steps("r1")] == ["success"]


def test_a_file_that_is_no_ledger_is_refused_and_left_alone(path: Path) -> None:
    """It may be somebody's data."""
    path.parent.mkdir()
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(LedgerError, match="not a run history"):
        Ledger.open(path)

    assert path.read_bytes() == b"not a database " * 100


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """No raw OSError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="folder"):
        Ledger.open(tmp_path / "file" / "ledger.sqlite")
    with pytest.raises(LedgerError, match="cannot be opened"):
        Ledger.open(tmp_path)


def test_a_lock_file_that_cannot_be_made_refuses_the_run(ledger: Ledger, path: Path) -> None:
    """A run that nobody could tell dead from alive does not begin; later it can."""
    (path.parent / "runners").write_text("")
    with pytest.raises(LedgerError, match="lock file"):
        ledger.record(start("r1"))
    (path.parent / "runners").unlink()
    ledger.record(start("r2"))

    assert [run.run_id for run in ledger.runs()] == ["r2"]


@pytest.mark.parametrize("moment", range(0, 12, 2))
def test_a_kill_at_any_instant_leaves_a_whole_ledger(path: Path, moment: int) -> None:
    """Every ended run has all its steps and its source; integrity holds."""
    script = (
        "import sys; from pathlib import Path; from data_engine.ledger.ledger import Ledger\n"
        "from tests.ledger.events import *\n"
        "ledger = Ledger.open(Path(sys.argv[1])); number = 0\n"
        "while True:\n"
        "    name = f'r{number}'; number += 1; ledger.record(start(name, at=float(number)))\n"
        "    for index in range(3): ledger.record(begin(name, index)); ledger.record(end(name, index))\n"
        "    ledger.record(finish(name, seen=(seen(name),)))\n"
        f"    if number == {10 + moment}: print(flush=True)\n"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, cwd=root)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()

    with Ledger.open(path) as ledger:
        assert ledger.rows("PRAGMA integrity_check") == [("ok",)]
        lost = ledger.recover()
        done = [run.run_id for run in ledger.runs(limit=100_000, status="success")]
        assert len(lost) <= 1
        assert len(done) >= 9 + moment
        settled = {key.path for key, state in ledger.source_states("claims").items() if state.success}
        assert settled == set(done)
        assert ledger.rows("SELECT COUNT(*) FROM step_runs WHERE status = 'success'")[0][0] >= 3 * len(done)
        assert {len(ledger.steps(run)) for run in done[:20]} == {3}

"""Writers wait their turn, in other processes and other threads, for as long as they were told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from data_engine.errors import FlowValidationError
from data_engine.helpers import (
    build_dimension,
    compact_database,
    denormalize_columns,
    read_sql,
    read_table,
    replace_rows_by_file,
    replace_rows_by_values,
    replace_table,
)

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, duckdb
conn = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("held", flush=True)
sys.stdin.readline()
conn.close()
print("closed", flush=True)
"""
WRITE = """
import sys, polars as pl
from data_engine.helpers import build_dimension, replace_rows_by_file, replace_rows_by_values
db, me, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
for number in range(rounds):
    frame = pl.DataFrame({"writer": [me] * 5, "number": [number] * 5, "amount": range(5)})
    replace_rows_by_file(db, "files", df=frame, file_hash=f"{me}-{number % 3}")
    replace_rows_by_values(db, "values", df=frame, column="writer")
    build_dimension(db, "dim", df=pl.DataFrame({"a": [None, *range(number + 1)], "b": [me % 2] * (number + 2)}))
"""


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "mart.duckdb"
    replace_table(path, "t", df=pl.DataFrame({"a": [1]}))
    return path


@contextmanager
def held(db: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the database open until its stdin gets a line."""
    command = [sys.executable, "-c", HOLD, str(db), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("wait", ["0s", "20ms", timedelta(milliseconds=20)])
def test_waiting_is_bounded(db: Path, wait: str | timedelta) -> None:
    """The message names the process that has the database, and how to wait longer."""
    with held(db, "write") as process:
        # In an environment of Windows that is the launcher's number, and Wine knows nobody's.
        who = "" if sys.platform == "win32" else rf"PID {process.pid}(.|\n)*"
        for call in (
            lambda: read_table(db, "t", wait=wait),
            lambda: replace_table(db, "t", df=pl.DataFrame({"a": [2]}), wait=wait),
            lambda: compact_database(db, wait=wait),
        ):
            with pytest.raises(FlowValidationError, match=rf"is in use(.|\n)*{who}wait longer"):
                call()
    assert read_table(db, "t").rows() == [(1,)]


def test_a_writer_goes_on_when_the_other_process_is_done(db: Path) -> None:
    """Also when that only reads."""
    for how in ("write", "read"):
        with held(db, how) as process:
            assert process.stdin is not None
            done = threading.Event()

            def write(done: threading.Event = done) -> None:
                replace_table(db, "t", df=pl.DataFrame({"a": [3]}))
                done.set()

            thread = threading.Thread(target=write)
            thread.start()
            assert not done.wait(0.05)
            process.stdin.write("\n")
            process.stdin.flush()
            thread.join()

            assert done.is_set()
    assert read_table(db, "t").rows() == [(3,)]


def test_readers_do_not_wait_for_readers(db: Path) -> None:
    """A read takes no lock that another read would meet."""
    replace_table(db, "d", df=pl.DataFrame({"a": [1], "b": ["x"]}))
    with held(db, "read"):
        assert read_table(db, "t", wait="0s").rows() == [(1,)]
        assert denormalize_columns(db, "d", df=pl.DataFrame({"a": [1]}), key_column="a", wait="0s").rows() == [(1, "x")]


def test_threads_of_one_process_take_turns(db: Path) -> None:
    """Slices and keys of all of them are there, whole."""

    def write(me: int) -> None:
        for number in range(5):
            replace_rows_by_values(db, "s", df=pl.DataFrame({"me": [me] * 3, "number": [number] * 3}), column="me")
            build_dimension(db, "dim", df=pl.DataFrame({"number": range(number + 1)}))
            read_table(db, "s")

    threads = [threading.Thread(target=write, args=(me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(read_table(db, "s").rows()) == [(me, 4) for me in range(4) for _ in range(3)]
    keys = read_table(db, "dim")
    assert sorted(keys["dimension_key"]) == [1, 2, 3, 4, 5]
    assert keys["number"].n_unique() == 5


def test_a_connection_of_this_process_for_reading_is_waited_for(db: Path) -> None:
    """Then the message says so; one for writing is shared."""
    import duckdb

    with duckdb.connect(str(db), read_only=True), pytest.raises(FlowValidationError, match="different configuration"):
        replace_table(db, "t", df=pl.DataFrame({"a": [2]}), wait="20ms")
    with duckdb.connect(str(db)) as mine:
        replace_table(db, "t", df=pl.DataFrame({"a": [2]}), wait="20ms")
        assert mine.execute("FROM t").fetchall() == [(2,)]
        with pytest.raises(FlowValidationError, match="in use"):
            compact_database(db, wait="20ms")


def test_four_processes_write_one_database(db: Path) -> None:
    """Every slice is whole and its last, every key is given once, and no process failed."""
    rounds = 3
    writers = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITE, str(db), str(me), str(rounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for me in range(4)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    compacted = 0
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    while any(writer.poll() is None for writer in writers):
        compact_database(db, drop_all_null_columns=False)
        compacted += 1
        time.sleep(0.2)
    errors = [writer.communicate()[1] for writer in writers]

    assert errors == [""] * 4
    assert compacted > 0
    files = read_table(db, "files").group_by("file_key").agg(pl.len(), pl.col("number").n_unique()).sort("file_key")
    assert files["file_key"].to_list() == [f"{me}-{third}" for me in range(4) for third in range(3)]
    assert set(files["len"]) == {5}
    assert set(files["number"]) == {1}
    assert sorted(read_table(db, "values").rows()) == [(me, rounds - 1, n) for me in range(4) for n in range(5)]
    keys = read_table(db, "dim")
    assert sorted(keys["dimension_key"]) == list(range(1, len(keys) + 1))
    assert sorted(keys.select("b", "a").rows(), key=str) == sorted(
        [(b, a) for b in (0, 1) for a in (None, *range(rounds))], key=str
    )


def test_a_writer_killed_in_the_middle_of_a_call_leaves_whole_slices(tmp_path: Path) -> None:
    """Whatever the instant: each slice is from one call, and the next writer goes on at once."""
    for pause_s in (0.02, 0.07, 0.13):
        db = tmp_path / f"{pause_s}.duckdb"
        command = [sys.executable, "-c", WRITE, str(db), "1", "1000"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
            assert writer.stdout is not None
            assert writer.stdin is not None
            writer.stdout.readline()
            writer.stdin.write("\n")
            writer.stdin.flush()
            while not db.exists():
                time.sleep(0.001)
            time.sleep(pause_s)
            writer.kill()

        replace_rows_by_file(db, "files", df=pl.DataFrame({"number": [1]}), file_hash="after")
        sizes = read_sql(
            db, sql="SELECT count(*), count(DISTINCT number) FROM files WHERE file_key <> 'after' GROUP BY file_key"
        )
        assert set(sizes.rows()) <= {(5, 1)}


@pytest.mark.skipif(sys.platform == "win32", reason="a file that is open cannot be exchanged there")
def test_a_file_that_was_exchanged_twice_while_it_was_opened_is_opened_anew(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drives give the number of a removed file to the next one, so that the newest may look like the first."""
    import duckdb

    connect = duckdb.connect
    first = db.stat().st_ino

    def exchange(is_last: bool) -> None:
        """What compact_database does; the last time, where the drive gives it again, under the first file's number."""
        copies = [db.with_name(f"{number}.tmp") for number in range(20 if is_last else 1)]
        for copy in copies:
            shutil.copyfile(db, copy)
        copy = next((one for one in copies if one.stat().st_ino == first), copies[0])
        os.replace(copy, db)

    def slowly(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(duckdb, "connect", connect)
        exchange(is_last=False)
        connection = connect(*args, **options)
        exchange(is_last=True)
        return connection

    monkeypatch.setattr(duckdb, "connect", slowly)
    replace_table(db, "t", df=pl.DataFrame({"a": [2]}))

    assert read_table(db, "t").rows() == [(2,)]


@pytest.mark.parametrize("failing", [4, 10**6])
def test_a_file_that_is_free_again_at_each_look_is_tried_some_more_times(
    db: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Writers who take turns may let go of it just before each look; what is wrong for another reason is soon told."""
    import duckdb

    connect, tries = duckdb.connect, 0

    def refused(*args: Any, **options: Any) -> Any:
        nonlocal tries
        tries += 1
        if tries <= failing:
            raise duckdb.IOException("IO Error: no, for a reason in words of this machine's language")
        return connect(*args, **options)

    monkeypatch.setattr(duckdb, "connect", refused)
    if failing < 10:
        replace_table(db, "t", df=pl.DataFrame({"a": [2]}))
        assert read_table(db, "t").rows() == [(2,)]
    else:
        with pytest.raises(FlowValidationError, match="refused it"):
            replace_table(db, "t", df=pl.DataFrame({"a": [2]}))
        assert tries < 10

"""Read copies: who looks at a database never stops the run that writes it, and sees one state of it."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import duckdb
import pytest

from data_engine import Workspace, database_copy, keeping
from data_engine.database_copy import look, take
from data_engine.engine import read_copies
from data_engine.errors import FlowValidationError, NotebookCompileError
from data_engine.helpers import read_sql, read_table
from data_engine.helpers.duckdb.connection import DatabaseBusyError
from data_engine.platforms import files as platform_files
from tests.preview.conftest import ran
from tests.support import WorkspaceFiles

OR_SOMEBODY = "|another program" * (os.name == "nt")
"""Wine tells only that somebody has a file."""

COUNT = "SELECT count(*) FROM t"


@pytest.fixture
def files(tmp_path: Path) -> WorkspaceFiles:
    made = WorkspaceFiles(tmp_path / "ws")
    (made.root / "config").mkdir()
    return made


@pytest.fixture
def ws(files: WorkspaceFiles) -> Workspace:
    made = Workspace(files.root)
    made.layout.databases_dir.mkdir(exist_ok=True)
    write(made, rows=1000)
    return made


def write(ws: Workspace, rows: int = 1, name: str = "mart.duckdb") -> None:
    with duckdb.connect(str(ws.layout.databases_dir / name)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS t (n BIGINT)")
        connection.execute(f"INSERT INTO t SELECT range FROM range({rows})")


def count(path: Path) -> int:
    with duckdb.connect(str(path), read_only=True) as connection:
        ((rows,),) = connection.execute(COUNT).fetchall()
    return int(rows)


@contextmanager
def writer(database: Path, then: str = "time.sleep(60)", first: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the database open to write."""
    code = f"""
        import duckdb, os, time
        connection = duckdb.connect({str(database)!r})
        {first}
        print("open", flush=True)
        {then}
    """
    with subprocess.Popen([sys.executable, "-c", dedent(code)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


WRITES = """
import duckdb, os, sys, time
until = time.monotonic() + {seconds}

def connect():  # as a run does
    began = time.monotonic()
    while True:
        try:
            return duckdb.connect({database!r})
        except duckdb.IOException:
            if os.name != "nt" or time.monotonic() > began + 1.5:
                raise

while time.monotonic() < until:
    with connect() as connection:
        connection.execute("BEGIN")
        connection.execute("INSERT INTO pairs SELECT range, random() FROM range(20000)")
        connection.execute("UPDATE total SET n = (SELECT count(*) FROM pairs), s = (SELECT sum(a) FROM pairs)")
        connection.execute("COMMIT")
    time.sleep(0.05)
"""


def test_each_copy_is_one_state_and_no_writer_is_refused(tmp_path: Path) -> None:
    database = tmp_path / "w.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE pairs (a BIGINT, b DOUBLE); CREATE TABLE total (n BIGINT, s HUGEINT)")
        connection.execute("INSERT INTO total VALUES (0, 0)")
    states, thrown_away = set(), 0

    with subprocess.Popen([sys.executable, "-c", WRITES.format(seconds=3, database=str(database))]) as process:
        for number in range(10_000):
            if process.poll() is not None and states:
                break
            (folder := tmp_path / str(number)).mkdir()
            taken = take(database, folder / "w.duckdb", 10**9, piece_bytes=100_000)
            thrown_away += not taken.is_copied
            if taken.is_copied and taken.state not in states:
                states.add(taken.state)
                with duckdb.connect(str(folder / "w.duckdb"), read_only=True) as copied:
                    balance = (
                        "SELECT count(*) = max(n), coalesce(sum(a), 0) = max(s) FROM pairs FULL JOIN total ON true"
                    )
                    assert copied.execute(balance).fetchall() in ([(True, True)], [(False, True)])
                    assert copied.execute("SELECT (SELECT count(*) FROM pairs) = n FROM total").fetchall() == [(True,)]

    assert process.returncode == 0
    assert len(states) > 1
    assert thrown_away


def test_a_copy_during_which_a_writer_came_is_thrown_away(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that has gone again, and left size and time as they were."""
    database = ws.layout.databases_dir / "mart.duckdb"
    facts, opened = database.stat(), 0

    def clone(source: Path, target: Path) -> bool:
        nonlocal opened
        opened = 1
        return False

    def open_shared(path: Path, flags: int) -> int:
        nonlocal opened
        opened += opened > 0
        if opened == 4:
            write(ws)
            os.truncate(database, facts.st_size)
            os.utime(database, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        return platform_files.open_shared(path, flags)

    monkeypatch.setattr(database_copy, "clone", clone)
    monkeypatch.setattr(database_copy, "open_shared", open_shared)

    taken = take(database, tmp_path / "mart.duckdb", 10**9, piece_bytes=50_000)
    assert (taken.is_copied, taken.writer) == (False, "another program")
    assert opened > 4


def test_a_copy_holds_what_only_the_log_has(ws: Workspace, tmp_path: Path) -> None:
    """Of DuckDB after its writer was killed, of SQLite while it is open."""
    database = ws.layout.databases_dir / "mart.duckdb"
    with writer(database, first="connection.execute('INSERT INTO t VALUES (7)')") as process:
        process.kill()
    assert Path(f"{database}.wal").stat().st_size

    assert count(ws.database("mart.duckdb")) == 1001

    place = ws.layout.databases_dir / "lite.db"
    with closing(sqlite3.connect(place)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (n); INSERT INTO t VALUES (1)")
        with closing(sqlite3.connect(copied := ws.database("lite.db"))) as reader:
            assert reader.execute(COUNT).fetchall() == [(1,)]
        connection.execute("INSERT INTO t VALUES (2)")
        connection.commit()
        assert ws.database("lite.db") != copied


def test_a_copy_is_made_when_the_database_has_changed_and_cannot_be_written(ws: Workspace, capfd: Any) -> None:
    first = ws.database("mart.duckdb")

    assert ws.database("mart.duckdb") == first
    assert not stat.S_IMODE(first.stat().st_mode) & 0o222
    assert count(first) == 1000
    write(ws)
    assert count(ws.database("mart.duckdb")) == 1001
    assert count(first) == 1000
    assert capfd.readouterr() == ("", "")


def test_a_change_is_seen_by_the_content_though_no_time_shows_it(ws: Workspace) -> None:
    first, database = ws.database("mart.duckdb"), ws.layout.databases_dir / "mart.duckdb"
    facts = database.stat()
    write(ws)
    os.truncate(database, facts.st_size)
    os.utime(database, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    assert look(database).state != first.parent.name.partition("-")[2]


def test_while_a_program_writes_the_last_copy_is_given_and_its_age_said(ws: Workspace, capfd: Any) -> None:
    copied = ws.database("mart.duckdb")
    with writer(ws.layout.databases_dir / "mart.duckdb") as process:
        started_s = time.monotonic()
        assert ws.database("mart.duckdb") == copied
        assert time.monotonic() - started_s < 2

    (line,) = capfd.readouterr().err.splitlines()
    assert re.fullmatch(
        rf"mart\.duckdb: .*{'' if os.name == 'nt' else process.pid}.* writes it now; this is how it was .* ago", line
    )


def test_a_first_copy_waits_and_then_names_the_writer(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    database = ws.layout.databases_dir / "mart.duckdb"
    with writer(database, then="time.sleep(0.5); connection.close(); time.sleep(60)"):
        assert count(ws.database("mart.duckdb")) == 1000

    write(ws, name="other.duckdb")
    monkeypatch.setattr(read_copies, "WAIT_FOR_FIRST_S", 0.2)
    with (
        writer(ws.layout.databases_dir / "other.duckdb") as process,
        pytest.raises(DatabaseBusyError) as caught,
    ):
        ws.database("other.duckdb")
    assert os.name == "nt" or f"(process {process.pid})" in caught.value.what
    assert "live=True" in str(caught.value.fix)


def test_a_copy_lets_go_of_no_lock_of_this_process(ws: Workspace, capfd: Any) -> None:
    """Where it has the database open itself, the last copy is given too, and a first one not waited for."""
    ws.database("mart.duckdb")
    database = ws.layout.databases_dir / "mart.duckdb"
    with duckdb.connect(str(database)):
        ws.database("mart.duckdb")

        code = f"import duckdb; duckdb.connect({str(database)!r})"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "IOException" in other.stderr or "IO Error" in other.stderr
    assert re.search(f"this process{OR_SOMEBODY}", capfd.readouterr().err)


def test_a_database_above_the_limit_is_named_with_the_setting_and_read_live(ws: Workspace) -> None:
    (ws.root / "config" / "data_engine.toml").write_text('[preview]\ncopy_limit = "1kB"\n')

    with pytest.raises(FlowValidationError) as caught:
        ws.database("mart.duckdb")
    assert all(
        word in str(caught.value)
        for word in ("mart.duckdb", "a read copy may have", "[preview] copy_limit", "live=True")
    )
    assert ws.database("mart.duckdb", live=True) == ws.layout.databases_dir / "mart.duckdb"


def test_what_lies_too_long_or_is_too_much_is_removed(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["a.duckdb", "b.duckdb", "c.duckdb"]
    for name in names:
        write(ws, rows=1000, name=name)
    size = (ws.layout.databases_dir / "a.duckdb").stat().st_size
    (ws.root / "config" / "data_engine.toml").write_text(f'[preview]\ncache = "{int(size * 2.5)}B"\n')
    first, second = ws.database("a.duckdb"), ws.database("b.duckdb")
    for path, ago_s in ((first, 60), (second, 30)):
        os.utime(path.parent / "given", (0, time.time() - ago_s))

    third = ws.database("c.duckdb")
    assert [path.exists() for path in (first, second, third)] == [False, True, True]

    os.utime(second.parent / "given", (0, time.time() - 8 * 24 * 3600))
    write(ws, name="c.duckdb")
    ws.database("c.duckdb")
    assert [path.exists() for path in (second, third)] == [False, True]


def test_what_a_killed_reader_left_is_removed_with_the_next_copy(ws: Workspace) -> None:
    left = ws.database("mart.duckdb").parent.parent / "making"
    left.mkdir()
    (left / "mart.duckdb").write_bytes(b"half")
    write(ws)

    assert count(ws.database("mart.duckdb")) == 1001
    assert not left.exists()


def test_what_cannot_be_opened_is_an_error_and_no_copy(ws: Workspace) -> None:
    (ws.layout.databases_dir / "broken.duckdb").write_bytes(bytes(8) + b"DUCK and no more")
    (ws.layout.databases_dir / "odd.mdb").write_text("of another program")

    with pytest.raises(FlowValidationError, match="cannot be copied"):
        ws.database("broken.duckdb")
    assert ws.database("odd.mdb").read_text() == "of another program"
    with pytest.raises(FlowValidationError, match="there is no database"):
        ws.database("none.duckdb")


@pytest.mark.parametrize("name", ["facts.duckdb", "facts.SQLITE"])
def test_a_file_that_is_called_a_database_and_is_none_is_refused(ws: Workspace, name: str) -> None:
    (ws.layout.databases_dir / name).write_text("day;amount\n2026-01-05;1\n")

    for live in (False, True):
        with pytest.raises(FlowValidationError, match=f"{name} is no database of DuckDB or SQLite"):
            ws.database(name, live=live)


FLOW = """
    from data_engine import Flow
    from data_engine.helpers import read_sql
    import duckdb

    def read(context):
        path = context.database("mart.duckdb", read_only=True)
        with duckdb.connect(str(path), read_only=True) as con:
            return con.execute("SELECT count(*) FROM t").fetchone()[0]

    def write(context):
        with duckdb.connect(str(context.database("mart.duckdb"))) as con:
            con.execute("INSERT INTO t VALUES (1)")

    def again(context):
        own = read_sql(context.database("mart.duckdb", read_only=True), sql="SELECT count(*) FROM t").item()
        final = context.workspace_root / "databases" / "mart.duckdb"
        return own, read_sql(final, sql="SELECT count(*) FROM t").item()

    def build():
        return Flow(group="G").step(read, save_as="rows").step(write).step(again, save_as="again")
"""


def test_a_preview_reads_a_copy_and_what_its_own_steps_wrote(ws: Workspace, files: WorkspaceFiles) -> None:
    files.notebook("claims", FLOW)
    flow = ws.load_flow("claims")
    with duckdb.connect(str(ws.layout.databases_dir / "mart.duckdb"), read_only=True):
        assert flow.preview(use="rows") == 1000
    assert flow.preview(use="again") == (1001, 1001)
    assert flow.preview(use="rows") == 1000
    assert flow.preview(use="rows") == 1000
    assert ran() == []

    write(ws)
    assert flow.preview(use="rows") == 1001
    with writer(ws.layout.databases_dir / "mart.duckdb"):
        assert flow.preview(use="rows", fresh=True) == 1001
    flow.run_once()
    assert count(ws.layout.databases_dir / "mart.duckdb") == 1002


def test_what_build_needs_of_a_read_copy_is_a_compile_error(ws: Workspace, files: WorkspaceFiles) -> None:
    cells = (
        "from data_engine import Flow, Workspace\nws = Workspace.current()",
        "mart = ws.database('mart.duckdb')",
        "def read(context):\n    return {place}",
        "def build():\n    return Flow(group='G').step(read)",
    )
    for place, cell in (("str(mart)", 2), ("str(ws.database('mart.duckdb'))", 3)):
        files.notebook("claims", *(text.format(place=place) for text in cells))
        with pytest.raises(NotebookCompileError) as caught:
            ws.load_flow("claims")
        assert f"cell {cell}," in str(caught.value)
        assert "context.database('mart.duckdb', read_only=True)" in str(caught.value.fix)

    files.notebook("claims", *(text.format(place="1") for text in cells))
    assert ws.load_flow("claims").preview() == 1


CONNECTS = """
    from data_engine import Flow
    import duckdb

    def write(context):
        path = str(context.database("mart.duckdb"))
        {connect}

    def build():
        return Flow(group="G").step(write)
"""


@pytest.mark.parametrize(
    "connect", ["duckdb.connect(path).close()", "duckdb.connect().execute(f\"ATTACH '{path}' AS m\")"]
)
def test_a_runs_own_connection_is_tried_again_for_a_moment(ws: Workspace, files: WorkspaceFiles, connect: str) -> None:
    files.notebook("claims", CONNECTS.replace("{connect}", connect))
    flow = ws.load_flow("claims")

    with writer(ws.layout.databases_dir / "mart.duckdb", then="time.sleep(0.7); os._exit(0)"):
        (context,) = flow.run_once()
    assert context.error is None

    with writer(ws.layout.databases_dir / "mart.duckdb"), pytest.raises(FlowValidationError) as caught:
        flow.run_once()
    assert "lock" in str(caught.value) or "open" in str(caught.value)


@pytest.fixture
def in_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this process were a kernel."""
    monkeypatch.setattr(keeping, "in_cells", [read_copies.copy_in_cell])
    monkeypatch.setattr(keeping, "_live", set())


@pytest.mark.usefixtures("in_cell")
def test_the_helpers_read_a_copy_in_a_cell_and_production_itself_in_a_run(ws: Workspace, capfd: Any) -> None:
    database = ws.layout.databases_dir / "mart.duckdb"
    read_table(database, "t", limit=1)
    with writer(database, first="connection.execute('INSERT INTO t VALUES (1)')"):
        started_s = time.monotonic()
        assert read_sql(database, sql=COUNT).item() == 1000
        assert time.monotonic() - started_s < 2
        assert "writes it now" in capfd.readouterr().err

        ws.database("mart.duckdb", live=True)
        with pytest.raises(FlowValidationError):
            read_sql(database, sql=COUNT, wait="1.2s")
        assert capfd.readouterr().err.startswith("waiting for mart.duckdb: ")


@pytest.mark.skipif(os.name == "nt", reason="Wine does not tell that it is this process which has the file")
@pytest.mark.usefixtures("in_cell")
def test_a_cell_sees_what_it_has_committed_itself_and_other_settings_fail_at_once(ws: Workspace) -> None:
    database = ws.layout.databases_dir / "mart.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        assert read_sql(database, sql=COUNT).item() == 1001

    with duckdb.connect(str(database), config={"threads": 1}), pytest.raises(DatabaseBusyError) as caught:
        read_sql(database, sql=COUNT)
    assert "other settings" in caught.value.what

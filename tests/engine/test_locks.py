"""No verb lets go of a lock that its process has on a database: another process must not come to write that, too."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import duckdb
import polars as pl
import psutil
import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.answering_process import AnsweringProcess, ParentProcess
from data_engine.engine import read_copies
from data_engine.helpers import read_table, replace_table
from data_engine.locks import OsLock
from data_engine.platforms import files
from data_engine.platforms.files import read_plainly
from data_engine.platforms.processes import open_files
from data_engine.user_files import end_reading, sha256_of
from jupyter_extension.inspect_child import InspectChild
from tests.support import WorkspaceFiles

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="locks belong to handles there")

FLOW = """
    import duckdb, sqlite3
    import polars as pl
    from data_engine import Flow

    OPEN = []  # as of an analyst who closes no connection

    def read(context):
        database = context.database("w.duckdb", read_only=True, live=True)
        return pl.DataFrame({"n": [context.source.path.stat().st_size, -len(str(database))]})

    def write(context):
        place, other = context.mirror.file(f"{context.source.path.name}.duckdb"), context.mirror.namespaced_file("rows.old")
        other.unlink(missing_ok=True)
        OPEN.extend([duckdb.connect(str(place)), sqlite3.connect(other)])
        OPEN[-2].execute("CREATE OR REPLACE TABLE t AS SELECT 1 AS n; CHECKPOINT")
        OPEN[-1].executescript("CREATE TABLE t AS SELECT 1 AS n; BEGIN IMMEDIATE")
        return place

    def build():
        flow = Flow(group="G").watch(mode="poll", source="../in", interval="1h", extensions=[".duckdb", ".sqlite", ".odd", ".gis"])
        return (
            flow.mirror(root="../out").step(read, save_as="df").check({"good": "n > 0"}, on_fail="quarantine")
            .step(write, save_as="place")
        )
"""


def connect(asker: ParentProcess) -> None:
    """Answer, as another process than the test, which of the files of a message can be connected to for writing."""
    while True:
        asker.send("\n".join(filter(_is_free, asker.receive().decode().split("\n"))).encode())


def _is_free(path: str) -> bool:
    with suppress(duckdb.IOException, sqlite3.OperationalError):
        if path.endswith((".sqlite", ".gis", ".old")):
            with closing(sqlite3.connect(path, timeout=0)) as database:
                database.execute("BEGIN IMMEDIATE")
        else:
            duckdb.connect(path).close()
        return True
    return False


@pytest.fixture
def lost(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[str]]]:
    """The databases that this process has open for writing, and another one can open, too, after the call."""
    monkeypatch.setattr(read_copies, "WAIT_FOR_FIRST_S", 0.1)
    with ExitStack() as stack:
        other = stack.enter_context(AnsweringProcess(f"{__name__}:connect"))
        for name in ("in/a.duckdb", "in/b.odd", "databases/w.duckdb", "databases/v", "out/published.duckdb"):
            (ws.root / name).parent.mkdir(exist_ok=True)
            database = stack.enter_context(duckdb.connect(str(ws.root / name)))
            database.execute("CREATE TABLE t AS SELECT 1 AS n; CHECKPOINT")
        for name in ("in/c.sqlite", "in/d.gis", "databases/w.sqlite"):
            rows = stack.enter_context(closing(sqlite3.connect(ws.root / name)))
            rows.executescript("CREATE TABLE t AS SELECT 1 AS n; BEGIN IMMEDIATE")

        def connected() -> list[str]:
            files = [
                path
                for folder in ("in", "databases", "out")
                for path in (ws.root / folder).glob("**/*")
                if path.is_file()
            ]
            answer = other.ask("\n".join(map(str, files)).encode(), 60).decode()
            return [Path(path).relative_to(ws.root).as_posix() for path in answer.split("\n") if path]

        yield connected


def test_no_verb_lets_go_of_a_lock(ws: WorkspaceFiles, lost: Callable[[], list[str]]) -> None:
    """Of sources, databases and outputs, whatever their names, while an analyst holds them open in the same process."""
    ws.source("config/data_engine.toml", 'freshness = "content"\n')
    ws.notebook("keep", FLOW)
    workspace, found = Workspace(ws.root), {}
    flow = workspace.load_flow("keep")
    flows = [flow]  # with what their steps have open

    def publish() -> None:
        ws.notebook("keep", FLOW.replace('"../out"', '"../out", staged=True'))
        flows.append(workspace.load_flow("keep"))
        for _ in range(2):  # the second time over equal files
            assert [context.error for context in flows[-1].run_once(edited=True)] == [None] * 4

    def compare() -> None:
        workspace.compare(*[run.run_id for run in workspace.runs("keep")][:2])

    def change() -> None:
        ws.notebook("keep", FLOW.replace("n > 0", "n > 1"))
        workspace.plan("keep")

    def inspect() -> None:
        with closing(InspectChild()) as child:
            child.ask({"path": str(ws.root / "in/a.duckdb")})

    def set_aside() -> None:
        (ws.root / "in/d.gis").unlink()
        workspace.left_behind()
        workspace.set_aside()
        workspace.put_back()

    for verb, call in {
        "nothing": lambda: None,
        "preview": lambda: flow.preview(source="a.duckdb"),
        "preview of another name": lambda: flow.preview(source="b.odd"),
        "run": flow.run_once,
        "run again, over what is published": lambda: flow.run_once(edited=True),
        "publish": publish,
        "rejected": workspace.rejected,
        "golden": lambda: flow.golden("place", source="a.duckdb"),
        "golden of another name": lambda: flow.golden("place", source="d.gis", name="gis"),
        "test": workspace.test,
        "deploy": lambda: workspace.deploy("keep"),
        "plan": change,
        "status": workspace.status,
        "explain": lambda: workspace.explain("keep"),
        "explain an output": lambda: workspace.explain(ws.root / "out/a.duckdb.duckdb"),
        "compare": compare,
        "inspect": inspect,
        "a helper": lambda: read_table(ws.root / "databases/w.duckdb", "t"),
        "set aside, put back": set_aside,
        "the end of a worker's job": end_reading,
    }.items():
        call()
        found[verb] = lost()

    assert {verb: names for verb, names in found.items() if names} == {}
    assert len(list((ws.root / "out").glob("**/rows.old"))) == 4


def test_a_helper_is_refused_what_is_attached_here_and_its_lock_stays(
    ws: WorkspaceFiles, lost: Callable[[], list[str]]
) -> None:
    """DuckDB closes a descriptor of the file before it refuses a second connection."""
    path = ws.root / "databases/x.duckdb"
    with duckdb.connect() as memory:
        memory.execute(f"ATTACH '{path}' AS warehouse; CREATE TABLE warehouse.t AS SELECT 1 AS n")
        for call in (
            lambda: read_table(path, "t"),
            lambda: replace_table(path, "t", df=pl.DataFrame({"n": [2]}), wait="0s"),
        ):
            with pytest.raises(FlowValidationError, match='already attached by database "warehouse"'):
                call()

        assert lost() == []


def test_ordinary_files_start_no_child_and_databases_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a process that runs no author's code start one, such as the daemon."""
    end_reading()
    before = psutil.Process().children()

    def hashed(name: str) -> tuple[str, int]:
        (tmp_path / name).write_bytes(b"abc")
        return sha256_of(tmp_path / name)[:8], len(psutil.Process().children()) - len(before)

    assert hashed("a.csv") == ("ba7816bf", 0)
    assert hashed("a.db") == ("ba7816bf", 1)

    end_reading()
    monkeypatch.setattr(files, "_keeps_locks", True)
    read_plainly()
    assert hashed("b.db") == ("ba7816bf", 0)


def test_what_cannot_be_read_is_the_same_error_in_the_child(tmp_path: Path) -> None:
    """And another file in the place of the one that is meant is one, too."""
    with pytest.raises(FileNotFoundError) as missing:
        sha256_of(tmp_path / "no.db")
    (tmp_path / "a.db").touch()
    with pytest.raises(OSError, match="another file is in its place"):
        sha256_of(tmp_path / "a.db", 0, (0, 0))

    assert missing.value.filename == str(tmp_path / "no.db")


def test_a_descriptor_of_a_database_with_another_name_stays_open_while_the_file_is_there(tmp_path: Path) -> None:
    """The next of that suffix is read by the child."""
    for name in ("a.xyz1", "b.xyz1", "c.xyz2"):
        duckdb.connect(str(tmp_path / name)).close()
    for name in ("a.xyz1", "b.xyz1"):
        sha256_of(tmp_path / name)

    assert open_files() & set(map(str, tmp_path.iterdir())) == {str(tmp_path / "a.xyz1")}

    (tmp_path / "a.xyz1").unlink()
    sha256_of(tmp_path / "c.xyz2")
    assert {path for path in open_files() if path.startswith(str(tmp_path))} == {str(tmp_path / "c.xyz2")}

    end_reading()
    assert not any(path.startswith(str(tmp_path)) for path in open_files())


def test_a_fork_asks_a_child_of_its_own(tmp_path: Path) -> None:
    """Else it would take the answers that its parent waits for."""
    (tmp_path / "a.db").write_bytes(b"abc")
    code = (
        "import os, sys; from pathlib import Path; from data_engine.user_files import sha256_of\n"
        "def ask(): return all(sha256_of(Path(sys.argv[1]))[:8] == 'ba7816bf' for _ in range(200))\n"
        "ask(); fork = os.fork(); good = ask()\n"
        "if not fork: os._exit(not good)\n"
        "print(good, os.waitpid(fork, 0)[1])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.db"], capture_output=True, text=True, check=True, timeout=60
    )

    assert answer.stdout == "True 0\n"


def test_the_child_does_not_make_a_worker_as_bad_as_used(tmp_path: Path) -> None:
    """A worker that is left with a process or a thread of its run is not used again."""
    duckdb.connect(str(tmp_path / "a.db")).close()
    (tmp_path / "a.odd").write_bytes((tmp_path / "a.db").read_bytes())
    code = (
        "import sys, threading; from pathlib import Path; from data_engine.user_files import sha256_of\n"
        "from data_engine.daemon.worker import leaks; from data_engine.platforms.processes import memory_bytes, open_files\n"
        "own = {thread.ident for thread in threading.enumerate()}, open_files(), Path(sys.argv[1]).parent, memory_bytes()\n"
        "sha256_of(Path(sys.argv[1])); sha256_of(Path(sys.argv[1]).with_suffix('.odd')); print(leaks(*own))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.db"], capture_output=True, text=True, check=True, timeout=60
    )

    assert answer.stdout == "[]\n"


def test_a_daemon_reads_databases_itself(ws: WorkspaceFiles) -> None:
    """It runs no author's code, and polls folders of thousands of them."""
    local = Workspace(ws.root).home.local
    local.runtime_dir.mkdir(parents=True, exist_ok=True)
    code = (
        "from data_engine.daemon.__main__ import main; from data_engine.platforms.files import has_locks_to_lose\n"
        "print(has_locks_to_lose('a.db'), main(), has_locks_to_lose('a.db'))"
    )
    lock = OsLock(local.daemon_lock_path)  # of another daemon, so that this one ends at once
    assert lock.try_acquire()
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code, ws.root], capture_output=True, text=True, check=True, timeout=60
        )
    finally:
        lock.release()

    assert answer.stdout == "True 0 False\n"

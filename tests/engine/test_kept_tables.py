"""Tables as whole as files: what a run gives the helpers for tables is applied when it has succeeded."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from textwrap import dedent, indent

import polars as pl
import pytest

from data_engine import Workspace
from data_engine.daemon.daemon import StageSweeper
from data_engine.engine.publication import STAGING
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.helpers import ensure_index, read_table, replace_rows_by_file
from data_engine.helpers.duckdb.applied import records_of
from data_engine.helpers.duckdb.connection import reading
from tests.soak.table_programs import check
from tests.support import ON_WINE, WorkspaceFiles

FLOW = """
import duckdb, polars as pl
from data_engine import Flow, helpers

def store(context):
    db = context.database("w.duckdb")
{body}

def build():
    return Flow(group="G").watch(mode="manual", source="../data/jan.csv"){mirror}.step(store)
"""
STORE = 'helpers.replace_rows_by_file(db, "sales", df=pl.read_csv(context.source.path), file_hash="jan.csv", wait="0s")'
STAGED = '.mirror(root="../out", staged=True)'


@pytest.fixture
def db(ws: WorkspaceFiles) -> Path:
    (ws.root / "data" / "jan.csv").parent.mkdir(exist_ok=True)
    (ws.root / "data" / "jan.csv").write_text("amount\n1\n2\n")
    path = ws.root / "databases" / "w.duckdb"
    path.parent.mkdir(exist_ok=True)
    replace_rows_by_file(path, "sales", df=pl.DataFrame({"amount": [7]}), file_hash="jan.csv")
    return path


def run(ws: WorkspaceFiles, *lines: str, mirror: str = "") -> None:
    body = indent(dedent("\n".join(lines)), "    ")
    ws.notebook("sales", FLOW.format(body=body, mirror=mirror))
    Workspace(ws.root).load_flow("sales").run_once()


def rows(db: Path) -> list[tuple[object, ...]]:
    return sorted(read_table(db, "sales").rows())


OLD, NEW = [(7, "jan.csv")], [(1, "jan.csv"), (2, "jan.csv")]


@pytest.mark.parametrize("mirror", ["", STAGED], ids=["no mirror", "staged"])
def test_rows_are_applied_when_the_run_has_succeeded(ws: WorkspaceFiles, db: Path, mirror: str) -> None:
    """Reads of the run see them before, the database itself is as it was, and nothing is left beside it."""
    run(
        ws,
        STORE,
        'assert sorted(helpers.read_table(db, "sales")["amount"]) == [1, 2]',
        "import pathlib, subprocess, sys",
        f'assert subprocess.run([sys.executable, "-c", {READ!r}, str(db)], text=True, capture_output=True).stdout == "[(7,)]"',
        mirror=mirror,
    )

    assert rows(db) == NEW
    with reading(db, wait="1s") as database:
        assert [(one.flow, one.source, one.key, one.rows, database.table_names()) for one in records_of(database)] == [
            ("sales", "data/jan.csv", "jan.csv", 2, ["sales"])
        ]
    assert not [path for path in ws.root.rglob(f"{STAGING}/**/*") if path.is_file()]


READ = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).execute('select amount from sales').fetchall(), end='')"


@pytest.mark.parametrize("mirror", ["", STAGED], ids=["no mirror", "staged"])
def test_a_run_that_fails_leaves_the_tables_as_they_were(ws: WorkspaceFiles, db: Path, mirror: str) -> None:
    before = db.read_bytes()
    with pytest.raises(FlowValidationError):
        run(ws, STORE, "raise ValueError", mirror=mirror)
    assert rows(db) == OLD
    assert db.read_bytes() == before
    assert not [path for path in ws.root.rglob(f"{STAGING}/**/*") if path.is_file()]


def test_without_staged_a_run_that_fails_names_what_it_had_written(ws: WorkspaceFiles, db: Path) -> None:
    with pytest.raises(FlowValidationError):
        run(ws, STORE, "raise ValueError", mirror='.mirror(root="../out")')
    assert rows(db) == NEW
    (last,) = Workspace(ws.root).runs("sales", limit=1)
    assert "had written w.duckdb:sales before it ended" in str(Workspace(ws.root).log(last.run_id))


def test_a_run_that_fails_names_what_a_connection_of_ones_own_has_changed(ws: WorkspaceFiles, db: Path) -> None:
    with pytest.raises(FlowExecutionError):
        run(
            ws,
            "with duckdb.connect(db) as own:",
            "    own.execute('SELECT count(*) FROM sales; CREATE TEMP TABLE t (a int)')",
            "    own.executemany('insert into \"sales\" values (?, ?)', [[3, 'own'], [4, 'own']])",
            "raise ValueError",
        )
    (last,) = Workspace(ws.root).runs("sales", limit=1)
    assert "had written w.duckdb:sales before it ended" in str(Workspace(ws.root).log(last.run_id))


def test_a_statement_that_is_refused_has_written_nothing(ws: WorkspaceFiles, db: Path) -> None:
    """Of several statements nobody knows which was refused."""
    for sql, is_named in (("INSERT INTO sales VALUES (1);", False), ("DELETE FROM sales; SELECT nope", True)):
        with pytest.raises(FlowExecutionError):
            run(ws, "with duckdb.connect(db) as own:", f"    own.execute({sql!r})")
        (last,) = Workspace(ws.root).runs("sales", limit=1)
        assert ("had written w.duckdb:sales" in str(Workspace(ws.root).log(last.run_id))) == is_named


def test_a_database_in_use_fails_the_run_and_the_retry_runs_no_step(ws: WorkspaceFiles, db: Path) -> None:
    """It names the holder; what was made waits."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    steps = ws.root / "steps.txt"
    lines = (STORE, f"with open({str(steps)!r}, 'a') as file: file.write('x')")
    name = rf"PID {holder.pid}\b" if sys.platform != "win32" else "" if ON_WINE else r"\(process "
    with pytest.raises(FlowValidationError, match=rf"w\.duckdb is in use.*{name}") as raised:
        run(ws, *lines)
    assert "publishes what was made" in (raised.value.fix or "")
    holder.communicate("end\n")
    assert rows(db) == OLD

    run(ws, *lines)

    assert rows(db) == NEW
    assert steps.read_text() == "x"


@pytest.mark.parametrize("end", ["", "raise ValueError"], ids=["success", "failure"])
def test_a_column_widens_under_an_index(ws: WorkspaceFiles, db: Path, end: str) -> None:
    """After another call of the run; the indexes are there afterwards."""
    ensure_index(db, "sales", columns="amount", name="by_amount")
    ensure_index(db, "sales", columns="file_key", name="by_file")
    wide = 'helpers.replace_rows_by_file(db, "sales", df=pl.DataFrame({"amount": [2.5]}), file_hash="feb.csv")'
    read = 'assert helpers.read_table(db, "sales")["amount"].to_list() == [1.0, 2.0, 2.5]'
    with nullcontext() if end == "" else pytest.raises(FlowExecutionError):
        run(ws, STORE, wide, read, end)
    assert rows(db) == (OLD if end else [*NEW, (2.5, "feb.csv")])
    with reading(db, wait="1s") as database:
        names = database.execute("SELECT index_name FROM duckdb_indexes() ORDER BY ALL")
        assert names == [("by_amount",), ("by_file",)]


def test_a_workspace_may_be_named_by_a_link(ws: WorkspaceFiles, db: Path) -> None:
    """Its databases are the same ones."""
    link = ws.root.parent / "link"
    try:
        link.symlink_to(ws.root, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    ws.notebook("sales", FLOW.format(body=indent(f"{STORE}\nraise ValueError", "    "), mirror=""))
    with pytest.raises(FlowExecutionError):
        Workspace(link).load_flow("sales").run_once()
    assert rows(db) == OLD


HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.readline()"


@pytest.mark.parametrize(
    "opening", ["duckdb.connect(db)", """duckdb.sql(f"ATTACH '{db}' AS w (READ_ONLY)")"""], ids=["connect", "attach"]
)
def test_a_connection_of_ones_own_is_refused_while_rows_are_kept(ws: WorkspaceFiles, db: Path, opening: str) -> None:
    """It names both lines; before the first row it is no matter."""
    with pytest.raises(FlowValidationError, match=r"sales\.ipynb, cell \d+, line") as raised:
        run(ws, "duckdb.connect(db).close()", STORE, opening)
    assert "read_sql" in (raised.value.fix or "")
    assert rows(db) == OLD


MAPPED = """
import polars as pl
from data_engine import Flow, helpers

def months(context):
    helpers.replace_table(context.database("w.duckdb"), "months", df=pl.DataFrame({"n": [0]}))
    return ["c", "a", "b"]

def store(context, name):
    db = context.database("w.duckdb")
    count = len(helpers.read_table(db, "months"))
    helpers.replace_rows_by_file(db, "sales", df=pl.DataFrame({"amount": [count]}), file_hash=name)
    helpers.replace_table(db, "last", df=pl.DataFrame({"name": [name]}))
    LAST

def build():
    return Flow(group="G").step(months).map(store, max_parallel=3)
"""


@pytest.mark.parametrize("kind", ["threads", "processes", "dask"])
def test_items_keep_theirs_where_they_run(ws: WorkspaceFiles, db: Path, kind: str) -> None:
    """They are applied in the order of the items; where one fails, nothing is."""
    (ws.root / "config" / "data_engine.toml").write_text(
        f'[executor]\nkind = "{kind}"\n' + ('scheduler = "local"\n' if kind == "dask" else "workers = 2\n")
    )
    ws.notebook("sales", MAPPED.replace("LAST", 'if name == "b": raise ValueError'))
    with pytest.raises(FlowValidationError):
        Workspace(ws.root).load_flow("sales").run_once()
    assert rows(db) == OLD

    ws.notebook("sales", MAPPED.replace("LAST", ""))
    Workspace(ws.root).load_flow("sales").run_once()

    assert read_table(db, "sales").rows() == [(7, "jan.csv"), (1, "c"), (1, "a"), (1, "b")]
    assert read_table(db, "last").item() == "b"


def test_items_on_threads_may_write_a_dimension_of_the_same_database(ws: WorkspaceFiles, db: Path) -> None:
    """It is written at once by one item while others keep rows for the database, or read it."""
    dimension = 'helpers.build_dimension(db, "names", df=pl.DataFrame({"name": [name]}))'
    text = MAPPED.replace("LAST", dimension).replace('["c", "a", "b"]', "list('abcdefgh')")
    ws.notebook("sales", text.replace("max_parallel=3", "max_parallel=4"))

    Workspace(ws.root).load_flow("sales").run_once()

    assert read_table(db, "last").item() == "h"
    assert len(read_table(db, "names")) == 8


KILLED = """
import duckdb, os, pathlib, sys
from data_engine import Workspace
from data_engine.helpers.duckdb import kept

class Dies:
    def __init__(self, conn): self.conn = conn
    def __getattr__(self, name): return getattr(self.conn, name)
    def execute(self, sql, *values):
        Dies.count += sql == "COMMIT"
        if sql == "COMMIT" and Dies.count == int(sys.argv[2]): os._exit(9)
        return self.conn.execute(sql, *values)
Dies.count = 0

def transaction(database):
    return plain(kept.replace(database, conn=Dies(database.conn)))

plain, kept_transaction = kept.transaction, kept.apply
def apply(*args, **more):
    kept.transaction = transaction
    return kept_transaction(*args, **more)
kept.apply = apply
Workspace(sys.argv[1]).load_flow("sales").run_once()
"""
TWO = 'helpers.replace_table(context.database("v.duckdb"), "other", df=pl.DataFrame({"a": [1]}))'


@pytest.mark.parametrize("commit", [1, 2])
@pytest.mark.parametrize("later", [False, True], ids=["alone", "a later run of another flow"])
def test_what_a_killed_run_had_begun_to_apply_is_finished(
    ws: WorkspaceFiles, db: Path, commit: int, later: bool
) -> None:
    """By whoever sweeps, in a process of its own: nothing twice, and rows that were applied since stay."""
    replace_rows_by_file(db.with_name("v.duckdb"), "other", df=pl.DataFrame({"a": [0]}), file_hash="x")
    ws.notebook("sales", FLOW.format(body=f"    {STORE}\n    {TWO}", mirror=""))
    done = subprocess.run([sys.executable, "-c", KILLED, str(ws.root), str(commit)], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    assert rows(db) == (OLD if commit == 1 else NEW)
    other = "replace_rows_by_file(db, 'sales', df=pl.DataFrame({'amount': [9]}), file_hash='jan.csv')"
    if later:
        ws.notebook("other", FLOW.format(body=f"    helpers.{other}", mirror=""))
        Workspace(ws.root).load_flow("other").run_once()

    home = Workspace(ws.root).home
    home.ledger().flush()
    StageSweeper(home.ledger(), home).sweep([], is_owner=True)

    assert rows(db) == ([(9, "jan.csv")] if later else NEW)
    assert read_table(db.with_name("v.duckdb"), "other").columns == ["a"]
    assert not [path for path in ws.root.rglob(f"{STAGING}/**/*") if path.is_file()]


@pytest.mark.parametrize("first", [*range(0, 20, 5), 3009])
def test_random_programs_leave_what_they_would_leave_at_once(first: int, tmp_path: Path) -> None:
    """As `python -m tests.soak.table_programs` does it with more: the old tables, or those last published, after a failure."""
    for seed in range(first, first + 5):
        check(seed, tmp_path / str(seed))

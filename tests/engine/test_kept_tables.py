"""Tables as whole as files: what a run gives the helpers for tables is applied when it has succeeded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent, indent

import polars as pl
import pytest

from data_engine import Workspace
from data_engine.engine.publication import STAGING
from data_engine.errors import FlowValidationError
from data_engine.helpers import read_table, replace_rows_by_file
from data_engine.helpers.duckdb.applied import records_of
from data_engine.helpers.duckdb.connection import reading
from tests.support import WorkspaceFiles

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


def test_a_database_in_use_fails_the_run_and_the_retry_runs_no_step(ws: WorkspaceFiles, db: Path) -> None:
    """It names the holder; what was made waits."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    steps = ws.root / "steps.txt"
    lines = (STORE, f"with open({str(steps)!r}, 'a') as file: file.write('x')")
    with pytest.raises(FlowValidationError, match=f"PID {holder.pid}") as raised:
        run(ws, *lines)
    assert "publishes what was made" in (raised.value.fix or "")
    holder.communicate("end\n")
    assert rows(db) == OLD

    run(ws, *lines)

    assert rows(db) == NEW
    assert steps.read_text() == "x"


HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.readline()"


def test_a_connection_of_ones_own_is_refused_while_rows_are_kept(ws: WorkspaceFiles, db: Path) -> None:
    """It names both lines; before the first row it is no matter."""
    with pytest.raises(FlowValidationError, match=r"sales\.ipynb, cell \d+, line") as raised:
        run(ws, "duckdb.connect(db).close()", STORE, "duckdb.connect(db)")
    assert "read_sql" in (raised.value.fix or "")
    assert rows(db) == OLD

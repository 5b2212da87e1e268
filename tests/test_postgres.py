"""A real Postgres server: read and written by a flow with its address as a secret; without the server's programs this is skipped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import FlowExecutionError, Workspace
from tests.support import WorkspaceFiles

PASSWORD = "correct-horse-7"
CELLS = (
    "import polars as pl\nimport psycopg\nfrom data_engine import Flow",
    "def read_orders(context):\n"
    "    with psycopg.connect(context.secret('shop').reveal()) as connection:\n"
    "        return pl.read_database('SELECT id, amount FROM orders ORDER BY id', connection)",
    "def read_by_adbc(context):\n"
    "    address = context.secret('shop').reveal()\n"
    "    return pl.read_database_uri('SELECT count(*) AS n FROM orders', address, engine='adbc')",
    "def write_totals(context):\n"
    "    total = context.objects['orders_df']['amount'].sum()\n"
    "    with psycopg.connect(context.secret('shop').reveal()) as connection:\n"
    "        connection.execute('DELETE FROM totals')\n"
    "        connection.execute('INSERT INTO totals VALUES (%s)', [total])\n"
    "        if total > 100:\n            raise ValueError('too much')",
    "def build():\n"
    "    flow = Flow(group='Shop').step(read_orders, save_as='orders_df').step(read_by_adbc, save_as='count_df')\n"
    "    return flow.step(write_totals)",
)


def programs() -> Path | None:
    """The folder of the newest server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found and shutil.which("setpriv") and os.geteuid() == 0 else None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of our own, without the database."""
    bin_folder = programs()
    if bin_folder is None:
        pytest.skip("no Postgres server on this machine, or no root to start it as its user")
    folder = Path("/tmp") / f"pg-{os.getpid()}"
    folder.mkdir()
    shutil.chown(folder, "postgres")
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    (folder / "password").write_text(PASSWORD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    make = [
        bin_folder / "initdb",
        "-D",
        folder / "data",
        "-U",
        "shop",
        "-A",
        "scram-sha-256",
        "--pwfile",
        folder / "password",
    ]
    subprocess.run([*as_user, *make, "--no-sync"], check=True, capture_output=True, cwd="/")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*as_user, bin_folder / "pg_ctl", "-D", folder / "data"]
    subprocess.run(
        [*control, "-o", options, "-w", "-l", folder / "log", "start"], check=True, capture_output=True, cwd="/"
    )
    yield f"postgresql://shop:{PASSWORD}@127.0.0.1:{port}"
    subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")
    shutil.rmtree(folder)


@pytest.fixture
def database(server: str) -> Iterator[str]:
    """The address of a database with three orders and no totals."""
    import psycopg

    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    with psycopg.connect(f"{server}/shop") as connection:
        connection.execute("CREATE TABLE orders (id int, amount int)")
        connection.execute("CREATE TABLE totals (amount bigint)")
        connection.execute("INSERT INTO orders VALUES (1, 30), (2, 12), (3, 8)")
    yield f"{server}/shop"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE shop WITH (FORCE)")


def totals(address: str) -> list[tuple[int, ...]]:
    import psycopg

    with psycopg.connect(address) as connection:
        return connection.execute("SELECT amount FROM totals").fetchall()


@pytest.fixture
def workspace(ws: WorkspaceFiles, database: str, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("DATA_ENGINE_SECRET_SHOP", database)
    ws.notebook("shop", *CELLS)
    return Workspace(ws.root)


def test_orders_become_totals_once(workspace: Workspace, database: str) -> None:
    """Run twice, there is one total: what is written is one transaction."""
    flow = workspace.load_flow("shop")
    (context,) = flow.run_once()
    assert context.objects["count_df"].item() == 3
    flow.run_once()

    assert totals(database) == [(50,)]


def test_a_run_that_fails_leaves_what_was_there(workspace: Workspace, database: str) -> None:
    import psycopg

    flow = workspace.load_flow("shop")
    flow.run_once()
    with psycopg.connect(database) as connection:
        connection.execute("INSERT INTO orders VALUES (4, 900)")
    with pytest.raises(FlowExecutionError, match="too much"):
        flow.run_once()

    assert totals(database) == [(50,)]


def test_a_preview_of_what_is_read_writes_nothing(workspace: Workspace, database: str) -> None:
    frame = workspace.load_flow("shop").preview(use="orders_df")

    assert frame["amount"].to_list() == [30, 12, 8]
    assert totals(database) == []


def test_the_password_is_in_no_error(
    workspace: Workspace, database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither where the address is wrong nor in what is kept of the run."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_SHOP", database.replace("/shop", "/nowhere?options=broken"))
    with pytest.raises(FlowExecutionError) as caught:
        workspace.load_flow("shop").run_once()

    assert PASSWORD not in str(caught.value)
    (run,) = workspace.runs("shop")
    assert run.error is not None
    assert PASSWORD not in run.error

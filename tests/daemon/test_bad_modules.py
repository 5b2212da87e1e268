"""Modules that break, hang or kill their process, and a daemon that dies while it deploys or migrates: the rest goes on."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.daemon.control import read_endpoint
from data_engine.ledger.migrations import newest_version
from data_engine.model import Run
from tests.daemon.support import ended, flow_of
from tests.support import HANG_IN_C, PATIENCE, WorkspaceFiles, until

GOOD = """
    from data_engine import Flow

    def work(context):
        print("version {version}")

    def build():
        return Flow(group="{name}").watch(mode="schedule", interval="300ms").step(work)
"""
MANUAL = GOOD.replace('.watch(mode="schedule", interval="300ms")', "")
FEEDS_ON_ITSELF = """
    from data_engine import Flow

    def write(context):
        context.mirror.file(context.source.path.name).write_text("overwritten")

    def build():
        watched = Flow(group="F").watch(mode="poll", source="../in", interval="100ms", settle=0)
        return watched.mirror(root="../in").step(write)
"""
HANGS = f"#| keep\n{HANG_IN_C}"
DAEMON = """
import sys
from data_engine.daemon.worker_pool import WorkerSetup
WorkerSetup.__init__.__kwdefaults__["load_timeout_s"] = 0.8
{patch}
from data_engine.daemon.__main__ import main
sys.exit(main())
"""
ENDLESS_MIGRATION = """
import data_engine.ledger.migrations as migrations
endless = "CREATE TABLE newer (x); INSERT INTO newer WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
migrations.migrate.__defaults__ = ({**migrations.MIGRATIONS, migrations.newest_version() + 1: endless},)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    ws.notebook("good", GOOD.format(name="good", version=1))
    found = Workspace(ws.root)
    yield found
    found.kill()


@contextmanager
def daemon_of(workspace: Workspace, patch: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """The workspace's daemon as `python -m data_engine.daemon` runs it, with other limits."""
    code = DAEMON.format(patch=patch)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.root)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    try:
        yield process
    finally:
        workspace.kill()
        process.kill()
        process.wait()


def test_modules_that_never_return_from_import_hold_up_no_other(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """At the start and by a later edit; what each does is told with its place and the fix, and the last good one runs on."""
    ws.notebook("a_hangs", "import time", "#| keep\ntime.sleep(600)", GOOD.format(name="A", version=1))
    ws.notebook("b_spins", "#| keep\nwhile True:\n    pass", GOOD.format(name="B", version=1))
    ws.notebook("edited", GOOD.format(name="edited", version=1))
    with daemon_of(workspace):
        until(lambda: read_endpoint(workspace.home.local))
        workspace.start_engine()
        until(lambda: ended(workspace, "good", 1) and ended(workspace, "edited", 1))

        for name, cell in (("a_hangs", 2), ("b_spins", 1)):
            error = flow_of(workspace, name)["error"]
            assert "never returned from import" in error["what"]
            assert f"{name}.ipynb, cell {cell}" in error["where"]
            assert error["fix"]
        ws.notebook("edited", HANGS, GOOD.format(name="edited", version=2))
        edit = until(lambda: flow_of(workspace, "edited")["edit"])
        assert "edited, not deployed" in str(edit)
        runs = len(workspace.runs("good", 10_000))
        until(lambda: len(workspace.runs("good", 10_000)) > runs + 2)
        assert {run.status for run in workspace.runs("edited") if run.status != "started"} == {"success"}


def test_modules_that_raise_exit_or_crash_on_import_are_told_and_the_rest_goes_on(
    workspace: Workspace, ws: WorkspaceFiles
) -> None:
    ws.notebook("raises", "#| keep\nraise RuntimeError('no licence')", GOOD.format(name="R", version=1))
    ws.notebook("exits", "import os", "#| keep\nos._exit(7)", GOOD.format(name="E", version=1))
    ws.notebook("leaves", "import sys", "#| keep\nsys.exit(3)", GOOD.format(name="L", version=1))
    ws.notebook(
        "segfaults", "import faulthandler", "#| keep\nfaulthandler._read_null()", GOOD.format(name="S", version=1)
    )
    ws.notebook("misses", "#| keep\nimport no_such_library", GOOD.format(name="M", version=1))
    ws.notebook("feeds", FEEDS_ON_ITSELF)
    own = ws.source("in/a.csv", "as it came")
    workspace.start_engine()
    until(lambda: ended(workspace, "good", 1))

    words = {
        "raises": "RuntimeError: no licence",
        "exits": "exit code 7",
        "leaves": "SystemExit: 3",
        "segfaults": "an access violation" if sys.platform == "win32" else "SIGSEGV",
        "misses": "No module named 'no_such_library'",
        "feeds": "is the source folder itself",
    }
    for name, text in words.items():
        flow = flow_of(workspace, name)
        assert text in flow["error"]["what"], flow["error"]
        assert flow["state"] == "broken"
        assert name not in ("exits", "segfaults") or "into a step" in flow["error"]["fix"]
        with pytest.raises(FlowValidationError):
            workspace.run(name)
    runs = len(workspace.runs("good", 10_000))
    until(lambda: len(workspace.runs("good", 10_000)) > runs + 1)
    assert own.read_text() == "as it came"


def test_a_daemon_killed_while_it_deploys_leaves_whole_deployments(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Whatever the instant: the next one runs the old or the new content, and after a deployment the new one."""
    rng = random.Random(4)
    names = ["good", "second", "third"]
    for name in names:
        ws.notebook(name, MANUAL.format(name=name, version=1))
    workspace.start()
    for version in range(2, 6):
        for name in names:
            ws.notebook(name, MANUAL.format(name=name, version=version))
        daemon = psutil.Process(workspace.status()["daemon"]["pid"])

        def deploy(daemon: psutil.Process = daemon) -> None:
            from data_engine.daemon.control import DaemonClient

            client = DaemonClient.connect(workspace.home.local)
            if client is not None:
                with suppress(FlowValidationError):
                    client.post("/deploy", {}, timeout_s=30 * PATIENCE)
                client.close()

        asking = threading.Thread(target=deploy)
        asking.start()
        time.sleep(rng.uniform(0.0, 0.25))
        daemon.kill()
        psutil.wait_procs([daemon], timeout=5)
        asking.join()
        workspace.start()
        (run,) = workspace.run(rng.choice(names))
        assert isinstance(run, Run)
        assert run.status == "success"
        assert [line.message for line in workspace.log(run.run_id)] in (
            [f"version {version - 1}"],
            [f"version {version}"],
        )
        assert [flow["error"] for flow in workspace.status()["flows"]] == [None] * 3
        workspace.deploy()
        until(lambda: all(not flow["edit"] for flow in workspace.status()["flows"]))

    for name in names:
        (run,) = workspace.run(name)
        assert isinstance(run, Run)
        assert [line.message for line in workspace.log(run.run_id)] == ["version 5"]


def test_a_daemon_killed_while_it_migrates_leaves_the_version_before(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """With every run it held; the next daemon works with it."""
    workspace.start_engine()
    until(lambda: ended(workspace, "good", 2))
    workspace.kill()
    count = len(workspace.runs("good", 1000))
    ledger = workspace.home.local.ledger_path
    with daemon_of(workspace, ENDLESS_MIGRATION) as process:
        wal = ledger.with_name(ledger.name + "-wal")
        until(lambda: process.poll() is not None or (wal.exists() and is_locked(ledger)))
        time.sleep(0.3)
        assert process.poll() is None
        process.kill()
        process.wait()

    workspace.start_engine()
    with sqlite3.connect(ledger) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (newest_version(),)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'newer'").fetchone() == (0,)
    connection.close()
    assert read_endpoint(workspace.home.local) is not None
    until(lambda: len(ended(workspace, "good", count + 1)) > count)


def is_locked(ledger: Path) -> bool:
    connection = sqlite3.connect(ledger, timeout=0.0, isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return True
    finally:
        connection.close()
    return False


def test_a_file_that_cannot_be_read_costs_only_whoever_needs_it(workspace: Workspace, ws: WorkspaceFiles) -> None:
    """Others are deployed and run; a flow whose notebook vanishes behind a dead link stays on what was good."""
    ws.notebook("other", MANUAL.format(name="other", version=1))
    (ws.modules / "locked.ipynb").symlink_to(ws.root / "nowhere.ipynb")
    workspace.start()
    assert [run.status for run in workspace.run("other")] == ["success"]
    assert flow_of(workspace, "locked")["state"] == "broken"
    assert "cannot be read" in flow_of(workspace, "locked")["reason"]

    path = ws.modules / "other.ipynb"
    path.unlink()
    path.symlink_to(ws.root / "nowhere.ipynb")
    (ws.modules / "flow_helpers").mkdir()
    (ws.modules / "flow_helpers" / "gone.py").symlink_to(ws.root / "nowhere.py")
    ws.notebook("good", GOOD.format(name="good", version=2))
    until(lambda: "cannot be read" in (flow_of(workspace, "other")["edit"] or ""))

    assert [run.status for run in workspace.run("other")] == ["success"]
    assert until(lambda: workspace.status()["trouble"])["what"].startswith("flow_helpers/gone.py cannot be read")
    assert flow_of(workspace, "good")["deployment"] == "as deployed"
    assert [line.message for line in workspace.log(workspace.run("good")[0].run_id)] == ["version 2"]

"""`data-engine doctor --daemons`: what runs for this user on this machine, whatever its workspace."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psutil
import pytest

from data_engine import Workspace, __version__
from data_engine.daemon import running_daemons as found
from data_engine.daemon.running_daemons import RunningDaemon, running_daemons
from data_engine.view.machine import doctor
from tests.support import WorkspaceFiles, end_now, pause, resume


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    made = Workspace(ws.root)
    made.start()
    yield made
    if made.root.exists():
        made.kill()


@pytest.fixture
def pid(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> int:
    """The daemon's, which is the only process that is looked at: others on this machine may be of tests beside this one."""
    pid = int(workspace.status()["daemon"]["pid"])
    own = [psutil.Process(pid), psutil.Process()]
    all_processes = psutil.process_iter
    monkeypatch.setattr(psutil, "process_iter", lambda attrs=None: own if attrs is None else all_processes(attrs))
    return pid


def of(pid: int) -> RunningDaemon | None:
    return next((daemon for daemon in running_daemons() if daemon.pid == pid), None)


def test_each_is_listed_with_its_workspace_engine_and_version(workspace: Workspace, pid: int) -> None:
    before = of(pid)
    workspace.start_engine()
    after = of(pid)

    assert before is not None
    assert after is not None
    assert (before.workspace, before.version, before.state, before.end) == (
        str(workspace.root),
        __version__,
        "answers",
        None,
    )
    assert (before.engine, after.engine) == (False, True)
    assert time.time() - datetime.fromisoformat(before.since_utc).timestamp() < 300
    workspace.kill()
    until_s = time.monotonic() + 10
    while of(pid) is not None and time.monotonic() < until_s:  # the system has still to take the process down
        time.sleep(0.05)
    assert of(pid) is None


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use is not removed there")
def test_one_whose_workspace_is_gone_is_listed_with_the_line_that_ends_it(workspace: Workspace, pid: int) -> None:
    """It answers, so that line lets it end its work."""
    shutil.rmtree(workspace.root)

    try:
        daemon = of(pid)
    finally:
        end_now(pid)

    assert daemon is not None
    assert (daemon.state, daemon.end) == ("workspace gone", f"kill {pid}")


def test_one_that_does_not_answer_is_listed_with_the_line_that_ends_it(
    pid: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only once it has had the time that a start may take; the verb then exits with 1."""
    monkeypatch.setattr(found, "_ANSWERS_WITHIN_S", 0.3)
    nowhere: Any = None  # no workspace is asked for
    pause(pid)
    try:
        fresh = of(pid)
        monkeypatch.setattr(found, "START_S", 0.0)
        daemon = of(pid)
        answer = doctor(nowhere, daemons=True)
    finally:
        resume(pid)

    assert fresh is not None
    assert (fresh.state, fresh.end) == ("starting", None)
    assert daemon is not None
    assert (daemon.state, daemon.engine, daemon.version) == ("silent", None, None)
    assert str(pid) in (daemon.end or "")
    assert answer.code == 1
    facts = answer.facts()
    assert daemon.as_dict() in facts["daemons"]

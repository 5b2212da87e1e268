"""Every test has machine folders of its own, and no environment of the person who runs it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.support import AUTO, WorkspaceFiles, examples

FAILED_LIST = "TESTS_FAILED_LIST"
"""In the environment: the file that gets the names of the tests that failed, one a line."""


def pytest_configure() -> None:
    # A shell's background job ignores Ctrl-C, and so would every process that the tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # How long an example takes says nothing on a busy machine, nor on Windows, where opening a file may cost milliseconds.
    too_slow = hypothesis.HealthCheck.too_slow
    patient = hypothesis.settings(max_examples=examples(40), deadline=None, suppress_health_check=[too_slow])
    hypothesis.settings.register_profile("patient", patient)
    hypothesis.settings.load_profile("patient")


SLOW_FIRST = ("panel", "notebooks", "docs", "daemon", "tests", "typing", "alerts", "cli", "lease")
"""Folders whose files begin first, in this order, so that none of them is what all others wait for at the end."""


WITHOUT_A_LAB = (
    *("test_actions", "test_any_request", "test_front_end", "test_inspector"),
    *("test_troubles", "test_view", "test_ways_in"),
)
"""Files of the panel that use neither browser nor JupyterLab: no other file waits for them."""
IN_A_BROWSER = ("test_bell", "test_editor_page", "test_notebook7", "test_own_page", "test_search")
"""Those that use the browser, and not the JupyterLab of the others: one or none, or one of their own."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Look for no garbage among the tests and all that they import: nearly all of it stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {name: number for number, name in enumerate(SLOW_FIRST)}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))


@pytest.hookimpl(optionalhook=True)  # not every environment has xdist: tests.windows
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of a file stay in one process, and so do all that use the panel's one JupyterLab with its browser, or a browser only."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            stem = Path(file).stem
            if not file.startswith("tests/panel/") or stem in WITHOUT_A_LAB:
                return file
            return "tests/panel in a browser" if stem in IN_A_BROWSER else "tests/panel"

        def remove_node(self, node: Any) -> str | None:
            """What a process ran when it crashed has failed and is not begun again; the rest of its files goes to others."""
            files = self.assigned_work.pop(node)
            left = [(tests, name) for tests in files.values() for name, is_done in tests.items() if not is_done]
            if not left:
                return None
            tests, crashed = left[0]
            tests[crashed] = True
            self.workqueue.update({file: tests for file, tests in files.items() if not all(tests.values())})
            for other in self.assigned_work:
                self._reschedule(other)
            return crashed

        def _reschedule(self, node: Any) -> None:
            """A process waits with its last test until it has another or is told to end: one test alone is not enough."""
            for _ in range(2):
                super()._reschedule(node)

    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say by name what failed, for whoever runs it again."""
    if path := os.environ.get(FAILED_LIST):
        found = [*terminalreporter.stats.get("failed", ()), *terminalreporter.stats.get("error", ())]
        names = dict.fromkeys(one.nodeid for one in found)
        Path(path).write_text("\n".join(names), encoding="utf-8")


@pytest.fixture(autouse=True, scope="session")
def links_where_there_are_some() -> Iterator[None]:
    """On Windows a test that makes a symbolic link is skipped where this user may make none; a folder gets a junction."""
    if sys.platform != "win32":
        yield
        return
    from tests.links import link_or_skip

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "symlink", link_or_skip(os.symlink))
        yield


@pytest.fixture(autouse=True)
def no_loop_of_a_browser(request: pytest.FixtureRequest) -> Iterator[None]:
    """The loop of a browser, which an earlier test drives in this thread, is none of this test's."""
    loop = asyncio._get_running_loop()
    if loop is None or request.path.parent.name == "panel":
        yield
        return
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


@pytest.fixture(autouse=True)
def private_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("DATA_ENGINE_", "JPY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATA_ENGINE_STATE_ROOT", str(tmp_path / "machine" / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "machine" / "config"))
    monkeypatch.setenv("WIN_PD_OVERRIDE_LOCAL_APPDATA", str(tmp_path / "machine" / "config"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    yield
    forget()


def forget() -> None:
    """Let this process know nothing of the workspaces and secrets that it has met."""
    home = sys.modules.get("data_engine.engine.local_workspace")
    if home is not None:
        home.forget_workspaces()
    secret = sys.modules.get("data_engine.secret")
    if secret is not None:  # what one test learned is hidden in the texts of no other
        secret._values.clear()
        secret._words.clear()
        secret._forms = ()


@pytest.fixture
def ws(tmp_path: Path) -> WorkspaceFiles:
    """An empty workspace folder with helpers to fill it, in which a daemon deploys what is good."""
    return WorkspaceFiles(tmp_path / "ws", AUTO)


@pytest.fixture
def small_drive(tmp_path: Path) -> Iterator[Path]:
    """A drive of 3 MB that can be filled."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a drive that is small enough to fill")
    drive = tmp_path / "drive"
    drive.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(drive)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not let root mount a drive")
    try:
        yield drive
    finally:
        subprocess.run(["umount", "--lazy", str(drive)], check=True)

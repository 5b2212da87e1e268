"""Starting beside what is there: a dead daemon, one that ends, one of another version; and with which Python."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_engine import FlowValidationError, Workspace, __version__
from data_engine.daemon import start
from data_engine.daemon.control import DaemonClient, DaemonGoneError, Endpoint, read_endpoint, silent_daemon
from data_engine.daemon.doctor import check_daemon
from data_engine.errors import WorkspaceError
from data_engine.model import Run
from tests.support import WorkspaceFiles, end_now, pause, resume, until

ON_WINDOWS = sys.platform == "win32"
FLOW = """
    from pathlib import Path
    import sys
    import time
    from data_engine import Flow

    def work(context):
        print("python", sys.prefix)
        until = context.params.get("until")
        while until and not Path(until).exists():
            time.sleep(0.01)

    def build():
        return Flow(group="G").watch(mode="manual").step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.notebook("manual", FLOW)
    found = Workspace(ws.root)
    yield found
    found.kill()


def pid_of(workspace: Workspace) -> int:
    return int(workspace.status()["daemon"]["pid"])


def daemon_of(workspace: Workspace) -> str:
    """Which daemon it is: Windows gives the number of a process again at once."""
    endpoint = read_endpoint(workspace.home.local)
    assert endpoint is not None
    assert endpoint.pid == pid_of(workspace)
    return endpoint.daemon_id


def busy(workspace: Workspace, tmp_path: Path) -> str:
    """The id of a run that goes on until the file `end` is there."""
    (run_id,) = workspace.run("manual", wait=False, params={"until": str(tmp_path / "end")})
    until(lambda: workspace.status()["active_runs"])
    return str(run_id)


# -- dead and ending daemons --------------------------------------------------------------------------------------


def test_one_that_is_slow_to_start_is_waited_for(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Longer than one that ends; one that never answers is given up, and is gone then."""
    monkeypatch.setattr(start, "WAIT_S", 0.01)
    workspace.start()
    workspace.kill()
    monkeypatch.setattr(start, "START_S", 0.01)
    with pytest.raises(WorkspaceError, match=r"did not answer within 0\.01 s"):
        workspace.start()

    time.sleep(2)
    assert workspace.status()["daemon"]["running"] is False


def test_right_after_a_kill_a_new_one_is_started(workspace: Workspace) -> None:
    """However early: the dead one's process, lock and port may still be seen."""
    workspace.start()
    for _ in range(3):
        before = daemon_of(workspace)
        end_now(pid_of(workspace))
        workspace.start()

        assert daemon_of(workspace) != before
        assert workspace.status()["daemon"]["running"] is True


def test_one_that_neither_answers_nor_ends_is_told_with_the_fix(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not taken for a daemon, and no second one is started beside it; who waits is told once what for."""
    workspace.start()
    pid = pid_of(workspace)
    pause(pid)
    monkeypatch.setattr(start, "WAIT_S", 0.5)
    monkeypatch.setattr(start, "_SILENT_S", 0.1)
    monkeypatch.setattr("data_engine.daemon.control.PING_S", 0.2)
    try:
        with pytest.raises(WorkspaceError, match=rf"pid {pid}\) neither answers nor ends") as caught:
            workspace.start()
        assert "data-engine kill" in (caught.value.fix or "")
        assert capsys.readouterr().err.splitlines() == [
            f"waiting: the daemon (pid {pid}) does not answer; Ctrl-C ends only this wait, `data-engine kill` ends the daemon"
        ]
    finally:
        resume(pid)


def test_one_that_falls_silent_in_the_middle_of_a_request_is_told(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once, until it answers again; one that is only long about its answer is not told as silent."""
    workspace.start()
    pid, client = pid_of(workspace), DaemonClient.connect(workspace.home.local, tells=True)
    assert client is not None
    monkeypatch.setattr("data_engine.daemon.control.TOLD_AFTER_S", 0.2)
    monkeypatch.setattr("data_engine.daemon.control._HEARS_S", 0.5)
    (run_id,) = workspace.run("manual", wait=False, params={"until": str(workspace.root / "never")})
    client.post("/wait", {"run_ids": [run_id], "timeout_s": 1.0})
    assert capsys.readouterr().err == ""

    pause(pid)
    try:
        for _ in range(2):
            with pytest.raises(DaemonGoneError):
                client.get("/status", timeout_s=1.5)
    finally:
        resume(pid)
    assert capsys.readouterr().err.count("does not answer; Ctrl-C ends only this wait") == 1
    client.get("/status")
    client.close()


def test_nothing_is_told_beside_a_screen(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A panel and a screen ask in threads, and show a silent daemon in their own place."""
    said = io.StringIO()
    monkeypatch.setattr("sys.stderr", said)
    monkeypatch.setattr("data_engine.daemon.control.TOLD_AFTER_S", 0.1)
    monkeypatch.setattr("data_engine.daemon.control.PING_S", 0.3)
    workspace.start()
    pid = pid_of(workspace)
    pause(pid)
    try:
        thread = threading.Thread(target=DaemonClient.connect, args=(workspace.home.local,), kwargs={"tells": True})
        thread.start()
        thread.join()
        assert said.getvalue() == ""
        assert DaemonClient.connect(workspace.home.local, tells=True) is None
        assert "does not answer" in said.getvalue()
    finally:
        resume(pid)


def test_one_that_listens_no_more_is_not_silent(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is about to be gone; a frozen one still listens, as its system does that for it."""
    workspace.start()
    local = workspace.home.local
    pid, endpoint = pid_of(workspace), read_endpoint(local)
    monkeypatch.setattr("data_engine.daemon.control.PING_S", 0.3)
    pause(pid)
    try:
        assert silent_daemon(local) == endpoint
        finding = check_daemon(local)
        assert (finding.ok, finding.measured) == (False, f"pid {pid} is there, and does not answer")
        monkeypatch.setattr(Endpoint, "listens", lambda self: False)
        assert silent_daemon(local) is None
    finally:
        resume(pid)
    monkeypatch.undo()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert endpoint is not None
    assert not replace(endpoint, port=port).listens()


def test_stopping_and_starting_at_once_gives_a_daemon_that_stays(workspace: Workspace) -> None:
    """One that is about to end is waited for, not taken."""
    workspace.start_engine()
    first = daemon_of(workspace)
    workspace.stop_engine()
    workspace.shutdown()
    workspace.start_engine()

    assert daemon_of(workspace) != first
    assert workspace.status()["engine"]["on"] is True
    assert workspace.status()["daemon"]["running"] is True


def test_one_that_waits_for_its_work_takes_nothing_new(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = busy(workspace, tmp_path)
    workspace.shutdown()
    monkeypatch.setattr(start, "WAIT_S", 0.3)

    with pytest.raises(WorkspaceError, match="is ending and waits for its running work"):
        workspace.start()
    client = DaemonClient.connect(workspace.home.local)
    assert client is not None
    for path, body in (("/start-engine", {}), ("/run", {"flow": "manual"})):
        with pytest.raises(FlowValidationError, match="the daemon is ending"):
            client.post(path, body)
    client.close()
    (tmp_path / "end").touch()
    monkeypatch.setattr(start, "WAIT_S", 20.0)
    workspace.start()
    assert workspace.run_record(run_id).status == "success"


# -- other versions -----------------------------------------------------------------------------------------------


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is of a version that no daemon here is of."""
    monkeypatch.setattr(start, "__version__", "99.0")


def forget_client(workspace: Workspace) -> None:
    from data_engine.daemon import link

    link._clients.pop(workspace.root).close()


def test_an_idle_daemon_of_another_version_is_replaced(workspace: Workspace, request: pytest.FixtureRequest) -> None:
    workspace.start()
    first, process = daemon_of(workspace), psutil.Process(pid_of(workspace))
    forget_client(workspace)
    request.getfixturevalue("newer")
    workspace.start()

    assert daemon_of(workspace) != first
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.parametrize("work", ["a run", "its engine"])
def test_a_busy_daemon_of_another_version_is_kept_and_that_is_said(
    workspace: Workspace,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    work: str,
) -> None:
    if work == "a run":
        busy(workspace, tmp_path)
    else:
        workspace.start_engine()
    first = pid_of(workspace)
    forget_client(workspace)
    request.getfixturevalue("newer")
    workspace.start()

    assert pid_of(workspace) == first
    said = capsys.readouterr().err
    assert f"(pid {first}) has Data Engine {__version__}, this is 99.0" in said
    (tmp_path / "end").touch()


# -- the interpreter ----------------------------------------------------------------------------------------------


def venv(folder: Path, *, has_libraries: bool) -> Path:
    """A Python of its own; with the libraries of this one where wanted."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    if has_libraries:
        in_site = ("Lib",) if ON_WINDOWS else ("lib", f"python{sys.version_info.major}.{sys.version_info.minor}")
        site = folder.joinpath(*in_site, "site-packages")
        others = [path for path in sys.path if path.endswith("site-packages")]
        (site / "others.pth").write_text("\n".join(others))
    return folder / "Scripts" / "python.exe" if ON_WINDOWS else folder / "bin" / "python"


def prefix_of(workspace: Workspace, run: Any) -> str:
    return next(line.message for line in workspace.log(run.run_id)).removeprefix("python ")


def test_workers_run_with_the_python_of_who_starts_the_daemon(workspace: Workspace) -> None:
    assert workspace.interpreter() == sys.executable
    (run,) = workspace.run("manual")

    assert prefix_of(workspace, run) == sys.prefix
    assert workspace.status()["daemon"]["interpreter"] == workspace.interpreter() == sys.executable
    workspace.kill()
    assert workspace.status()["daemon"]["interpreter"] == sys.executable


def test_a_kernels_variables_stay_with_the_kernel(
    workspace: Workspace, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those Jupyter names, and the colours and pagers it sets; what a person has set goes along."""
    kernel = {
        "JPY_SESSION_NAME": "/x/a.ipynb",
        "JUPYTER_TOKEN": "secret",
        "IPYTHONDIR": "/x",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "DATA_ENGINE_NOTEBOOK": "/x/a.ipynb",
        "TERM": "xterm-color",
        "CLICOLOR": "1",
        "CLICOLOR_FORCE": "1",
        "FORCE_COLOR": "1",
        "PAGER": "cat",
        "GIT_PAGER": "cat",
    }
    for name, value in {**kernel, "MY_SETTING": "kept"}.items():
        monkeypatch.setenv(name, value)
    ws.notebook(
        "told",
        f"""
        import os
        from data_engine import Flow
        def tell(context):
            print(sorted(name for name in os.environ if name in {[*kernel, "MY_SETTING"]!r}))
        def build():
            return Flow(group="T").step(tell)
        """,
    )
    (run,) = workspace.run("told")

    assert isinstance(run, Run)
    assert [line.message for line in workspace.log(run.run_id)] == ["['MY_SETTING']"]
    assert not set(kernel) & set(psutil.Process(pid_of(workspace)).environ())


def test_a_chosen_python_is_used_at_once_and_by_every_later_daemon(workspace: Workspace, tmp_path: Path) -> None:
    """Whoever starts it; until the choice is taken back."""
    other = venv(tmp_path / "other", has_libraries=True)
    workspace.start()
    workspace.set_interpreter(other)
    (run,) = workspace.run("manual")
    assert prefix_of(workspace, run) == str(tmp_path / "other")
    workspace.kill()
    assert workspace.interpreter() == str(other)
    (run,) = workspace.run("manual")
    assert prefix_of(workspace, run) == str(tmp_path / "other")

    workspace.set_interpreter(None)
    (run,) = workspace.run("manual")
    assert prefix_of(workspace, run) == sys.prefix


def test_a_run_under_way_keeps_the_python_it_has(workspace: Workspace, tmp_path: Path) -> None:
    other = venv(tmp_path / "other", has_libraries=True)
    run_id = busy(workspace, tmp_path)
    workspace.set_interpreter(other)
    (tmp_path / "end").touch()

    until(lambda: workspace.run_record(run_id).status == "success")
    (run,) = workspace.run("manual")
    assert prefix_of(workspace, run) == str(tmp_path / "other")


def test_a_python_that_cannot_work_is_refused_with_its_cause(workspace: Workspace, tmp_path: Path) -> None:
    """Before anything changes."""
    (tmp_path / "empty").touch()
    no_program = "WinError" if ON_WINDOWS else "is not a program"
    cases: list[tuple[Any, str]] = [
        (tmp_path / "nowhere" / "python", "does not exist"),
        (tmp_path, "is not a program"),
        (tmp_path / "empty", no_program),
        ("", "cannot be ''"),
        (venv(tmp_path / "bare", has_libraries=False), "No module named"),
    ]
    if not ON_WINDOWS:  # where a script is no program
        older = tmp_path / "older"
        older.write_text("#!/bin/sh\necho 0.0.1\n")
        older.chmod(0o755)
        cases.append((older, f"it has version 0.0.1, and this is {__version__}"))
    for path, cause in cases:
        with pytest.raises(WorkspaceError, match=cause) as caught:
            workspace.set_interpreter(path)
        assert caught.value.fix
    assert "-m pip install data-engine" in (caught.value.fix or "")
    assert workspace.interpreter() == sys.executable


def test_a_recorded_python_that_is_gone_stops_the_start_and_no_other_is_taken(
    workspace: Workspace, tmp_path: Path
) -> None:
    """The message names it and the fix."""
    other = venv(tmp_path / "other", has_libraries=True)
    workspace.set_interpreter(other)
    other.unlink()

    with pytest.raises(FlowValidationError, match=r"did not start(.|\n)*does not exist") as caught:
        workspace.start()
    assert str(other) in str(caught.value)
    assert "set_interpreter" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    workspace.set_interpreter(None)
    workspace.start()


def test_a_python_that_goes_while_the_daemon_runs_fails_the_next_run_with_its_cause(
    workspace: Workspace, ws: WorkspaceFiles, tmp_path: Path
) -> None:
    """It says which Python, and what to do; nothing else is taken in its place."""
    ws.notebook("other", FLOW.replace('group="G"', 'group="O"'))
    other = venv(tmp_path / "other", has_libraries=True)
    workspace.set_interpreter(other)
    workspace.start()
    until(lambda: not workspace.status()["engine"]["starting"])
    other.unlink()
    for process in psutil.Process(pid_of(workspace)).children():
        process.kill()
    (run,) = workspace.run("manual")

    assert isinstance(run, Run)
    assert run.status == "failed"
    assert str(other) in (run.error or "")
    assert "set_interpreter" in (run.error or "")

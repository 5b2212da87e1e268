"""Two people, or one with two terminals, at one daemon: who waits is told for whom, and who leaves is told what goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles, end_now, until

pytestmark = pytest.mark.skipif(
    sys.platform == "win32",
    reason="no Ctrl-C can be sent to one process of a console on Windows; tests/client/test_foreground.py is the twin",
)

Process = Callable[..., "subprocess.Popen[bytes]"]

SLOW = """
    import time
    from pathlib import Path
    from data_engine import Flow

    def work(context):
        until = Path(context.params["until"])
        while not until.exists():
            time.sleep(0.01)
            context.progress(1)

    def build():
        return Flow(group="S").step(work)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.chdir(ws.root)
    ws.notebook("slow", SLOW)
    ws.notebook("other", SLOW)
    found = Workspace(ws.root)
    found.start()
    yield found
    found.kill()


def active(workspace: Workspace) -> list[str]:
    return [run["run_id"] for run in workspace.status()["active_runs"]]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_ctrl_c_while_the_daemon_runs_says_that_the_run_goes_on(
    workspace: Workspace, process: Process, tmp_path: Path, options: list[str]
) -> None:
    """It ends the waiting with 130, names the run, and says how to end it; the run ends as it would."""
    (first,) = workspace.run("slow", wait=False, params={"until": str(tmp_path / "first")})
    run = process("run", "slow", "--param", f"until={tmp_path / 'end'}", *options)
    assert run.stderr is not None
    assert run.stderr.readline().startswith(b"waiting for group")  # so it has its answer, and waits
    (tmp_path / "first").touch()
    (run_id,) = until(lambda: [one for one in active(workspace) if one != first])
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=30)
    said = json.loads(out)["error"]["what"] if options else err.decode()

    assert run.returncode == 130
    assert f"run {run_id[:8]} goes on in the daemon" in said
    assert "data-engine stop RUN" in said
    assert active(workspace) == [run_id]
    (tmp_path / "end").touch()
    until(lambda: workspace.run_record(run_id).status == "success")


def test_who_waits_for_a_run_of_the_daemon_is_told_for_whom(
    workspace: Workspace, process: Process, tmp_path: Path
) -> None:
    """Another run of the group, of another flow or of the same; at once, however Python was started."""
    (first,) = workspace.run("slow", wait=False, params={"until": str(tmp_path / "end")})
    until(lambda: active(workspace))
    asked = ("--param", f"until={tmp_path / 'end'}")
    waiting = [process("run", name, *asked, env={"PYTHONUNBUFFERED": "1"}) for name in ("slow", "other")]
    told = []
    for one in waiting:
        assert one.stderr is not None
        told.append(one.stderr.readline().decode())
    (tmp_path / "end").touch()
    codes = [one.wait(30) for one in waiting]
    for one in waiting:
        one.communicate()

    words = f'waiting for group "S": flow "slow" (run {str(first)[:8]}, pid {workspace.status()["daemon"]["pid"]})\n'
    assert told == [words, words]
    assert codes == [0, 0]


def test_a_daemon_that_dies_under_who_waits_is_said(workspace: Workspace, process: Process, tmp_path: Path) -> None:
    """The run it was in comes back as abandoned; one that had not begun is not kept, and that is said. Neither is a wrong request."""
    running = process("run", "slow", "--param", f"until={tmp_path / 'end'}")
    until(lambda: active(workspace))
    waiting = process("run", "other", "--param", f"until={tmp_path / 'end'}")
    assert waiting.stderr is not None
    waiting.stderr.readline()
    end_now(workspace.status()["daemon"]["pid"])
    (out, said), (_, err) = running.communicate(timeout=30), waiting.communicate(timeout=30)

    assert (running.returncode, waiting.returncode) == (1, 1)
    assert out.decode().startswith("1 run  1 abandoned"), said.decode()
    assert "the daemon ended before 1 of the runs began" in err.decode()
    assert "fix:" in err.decode()


def test_a_daemon_that_ends_when_its_work_is_done_says_so(workspace: Workspace, cli: Cli, tmp_path: Path) -> None:
    workspace.run("slow", wait=False, params={"until": str(tmp_path / "end")})
    until(lambda: active(workspace))
    cli("stop")

    assert "ends when its running work is done" in cli("status").out
    (tmp_path / "end").touch()
    until(lambda: not workspace.status()["daemon"]["running"])


def test_two_who_start_at_once_get_one_daemon(workspace: Workspace, process: Process) -> None:
    workspace.kill()
    both = [process("start", "--json") for _ in range(3)]
    pids = {json.loads(one.communicate(timeout=60)[0])["daemon"]["pid"] for one in both}

    assert len(pids) == 1
    assert [one.returncode for one in both] == [0, 0, 0]

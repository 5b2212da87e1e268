"""A log over its bound keeps its first lines and its last, where the cause stands; however its run ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.cli.app import run as command_line
from data_engine.ledger.logs import FIRST_LINES, LAST_LINES, MOST_LINES, gap
from data_engine.model import Run
from jupyter_extension.actions import answer
from tests.support import WorkspaceFiles, end_now, until

FLOW = """
    import logging
    import os
    import sys
    import time
    from pathlib import Path
    from data_engine import Flow

    def flood(context):
        for number in range(context.params["lines"]):
            print("line", number)
        match context.params["how"]:
            case "raises":
                logging.exception("see here", exc_info=ValueError("x" * 50_000 + " the cause"))
                raise KeyError("x" * 200_000 + " the cause")
            case "leaves":
                os._exit(7)
            case "crashes":
                import faulthandler
                faulthandler._read_null()
            case "hangs":
                Path(context.params["there"]).write_text(str(os.getpid()))
                time.sleep(600)
            case "writes":
                for number in range(context.params["lines"]):
                    os.write(2, b"written %d\\n" % number)
                raise KeyError("the cause")

    def build():
        return Flow(group="G").step(flood)
"""
LINES = MOST_LINES + 2_000


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.notebook("prints", FLOW)
    found = Workspace(ws.root)
    yield found
    found.kill()


def printed(workspace: Workspace, run_id: str) -> tuple[list[str], list[str]]:
    """The lines that were printed, and the others."""
    log = [line.message for line in workspace.log(run_id)]
    return [line for line in log if line.startswith("line ")], [line for line in log if not line.startswith("line ")]


def check_ends(lines: list[str]) -> None:
    assert lines[0] == "line 0"
    assert lines[FIRST_LINES - 1] == f"line {FIRST_LINES - 1}"
    assert lines[FIRST_LINES] == f"line {LINES - len(lines[FIRST_LINES:])}"
    assert lines[-1] == f"line {LINES - 1}"
    assert len(lines) <= MOST_LINES


CAUSES = {
    "raises": "the cause",
    "leaves": "exit code 7",
    "crashes": "an access violation" if sys.platform == "win32" else "SIGSEGV",
    "writes": "the cause",
}


def test_the_first_lines_the_last_and_the_cause_are_there(workspace: Workspace) -> None:
    """Also of a worker that dies without another word: what it held last outlives it. The cause comes last of all."""
    for how, cause in CAUSES.items():
        (run,) = workspace.run("prints", params={"how": how, "lines": LINES})
        assert isinstance(run, Run)
        lines, others = printed(workspace, run.run_id)
        log = workspace.log(run.run_id)

        assert run.status == "failed", how
        check_ends(lines)
        assert gap(LINES - len(lines)) in others
        assert cause in log[-1].message
        assert log[-1].level == "ERROR"
        assert cause in (run.error or "")[-2000:]
        assert all(len(line.message) <= 10_000 for line in log[:-1])


def test_a_killed_run_keeps_its_last_lines(workspace: Workspace, tmp_path: Path) -> None:
    """By request, by the system, and with the daemon: each tells how far it had come."""
    for number, how in enumerate(("request", "worker", "daemon")):
        there = tmp_path / f"there{number}"
        params = {"how": "hangs", "lines": LINES, "there": str(there)}
        (run_id,) = workspace.run("prints", wait=False, params=params)
        until(lambda there=there: there.exists() and there.read_text())  # type: ignore[misc]
        daemon_pid = workspace.status()["daemon"]["pid"]
        if how == "request":
            workspace.kill_run(str(run_id))
        elif how == "worker":
            end_now(int(there.read_text()))
        else:
            end_now(daemon_pid)
            until(lambda: not workspace.status()["daemon"]["running"])
        until(lambda: all(run.status != "started" for run in workspace.runs()))
        lines, others = printed(workspace, str(run_id))

        check_ends(lines)
        assert gap(LINES - len(lines)) in others
    left = list(workspace.home.ledger().runners_dir.glob("*.last"))
    assert left == []


def test_the_command_line_and_the_panel_show_the_end(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    (run,) = workspace.run("prints", params={"how": "raises", "lines": LINES})
    assert isinstance(run, Run)
    command_line(["--workspace", str(workspace.root), "log", run.run_id])
    said = capsys.readouterr().out
    shown = answer(str(workspace.root), "run_details", {"run_id": run.run_id})["result"]

    assert "line 0\n" in said
    assert f"line {LINES - 1}\n" in said
    assert "left out here" in said
    assert "the cause" in said[-1000:]
    assert "the cause" in shown["lines"][-1]["message"]
    assert f"line {LINES - 1}" in [line["message"] for line in shown["lines"]]
    assert "the cause" in shown["error"]


def test_a_run_in_the_callers_process_keeps_both_ends_too(workspace: Workspace) -> None:
    code = (
        "import sys; from data_engine import load_flow; "
        f"load_flow('prints', data_root=sys.argv[1]).run_once(params={{'how': 'raises', 'lines': {LINES}}})"
    )
    done = subprocess.run([sys.executable, "-c", code, str(workspace.root)], capture_output=True, check=False)
    run = workspace.runs("prints")[0]
    lines, others = printed(workspace, run.run_id)

    assert done.returncode == 1
    check_ends(lines)
    assert gap(LINES - len(lines)) in others
    assert "the cause" in workspace.log(run.run_id)[-1].message


def test_a_log_within_its_bound_is_whole(workspace: Workspace) -> None:
    """To the line: no more than is kept is never cut."""
    (run,) = workspace.run("prints", params={"how": "-", "lines": MOST_LINES})
    assert isinstance(run, Run)

    assert [line.message for line in workspace.log(run.run_id)] == [f"line {number}" for number in range(MOST_LINES)]
    assert LAST_LINES == MOST_LINES - FIRST_LINES

"""Flows of one group run one at a time on a machine, in whatever process they were started."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from data_engine import Workspace, load_flow
from data_engine.platforms.processes import program_of
from tests.support import PATIENCE, WorkspaceFiles, until

WATCHED = """
    import os
    import time
    from pathlib import Path
    from data_engine import Flow

    LOG = Path({log!r})

    def work(context):
        with LOG.open("a") as file:
            file.write("begin\\n")
        time.sleep(0.2)
        with LOG.open("a") as file:
            file.write("end\\n")

    def build():
        return Flow(group={group!r}).step(work)
"""
RUN = "import sys; from data_engine import load_flow; load_flow(sys.argv[1], data_root=sys.argv[2]).run_once()"


def make(
    ws: WorkspaceFiles, first: str, second: str, *, work: str = f"time.sleep({0.2 if PATIENCE == 1 else 2.0})"
) -> Path:
    log = ws.root / "log.txt"
    watched = WATCHED.replace("time.sleep(0.2)", work)
    ws.module("a", watched.format(log=str(log), group=first))
    ws.module("b", watched.format(log=str(log), group=second))
    return log


def start(name: str, ws: WorkspaceFiles) -> subprocess.Popen[str]:
    program, environment = program_of(sys.executable, os.environ)
    command = [program, "-c", RUN, name, str(ws.root)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_processes_take_turns_and_the_waiting_one_says_for_whom(ws: WorkspaceFiles) -> None:
    go = ws.root / "go.txt"
    log = make(ws, "G", "G", work=f"while not Path({str(go)!r}).exists(): time.sleep(0.01)")

    first = start("a", ws)
    until(log.exists, 60)
    waiting = [start(name, ws) for name in ("b", "a")]
    said = [process.stderr.readline() for process in waiting if process.stderr is not None]
    assert all(line.startswith('waiting for group "G": ') and f"pid {first.pid}" in line for line in said)

    go.touch()
    for process in (first, *waiting):
        process.communicate(timeout=60)
    assert [process.returncode for process in (first, *waiting)] == [0, 0, 0]
    assert log.read_text().split() == ["begin", "end"] * 3


def test_threads_of_one_process_take_turns(ws: WorkspaceFiles) -> None:
    log = make(ws, "G", "G")
    flows = [load_flow(name, data_root=ws.root) for name in ("a", "b")]

    threads = [threading.Thread(target=flow.run_once) for flow in flows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert log.read_text().split() == ["begin", "end"] * 2
    assert [run.status for run in Workspace(ws.root).runs()] == ["success", "success"]


def test_a_run_in_a_child_process_of_a_run_of_its_group_is_refused(ws: WorkspaceFiles) -> None:
    """The parent waits for the child and the child for the parent's group: it must end, with the reason."""
    make(ws, "G", "G")
    ws.module(
        "outer",
        f"""
        import subprocess
        import sys
        from data_engine import Flow

        def start(context):
            done = subprocess.run([sys.executable, "-c", {RUN!r}, "a", {str(ws.root)!r}], capture_output=True, text=True)
            return done.stderr

        def build():
            return Flow(group="G").step(start)
        """,
    )

    (context,) = load_flow("outer", data_root=ws.root).run_once()

    assert "GroupBusyError" in context.current
    assert 'a run of its own group "G"' in context.current


def test_a_killed_run_frees_its_group_and_becomes_abandoned(ws: WorkspaceFiles) -> None:
    log = ws.root / "log.txt"
    ws.module("a", WATCHED.format(log=str(log), group="G").replace("time.sleep(0.2)", "time.sleep(60)"))
    ws.module("b", WATCHED.format(log=str(log), group="G"))
    killed = start("a", ws)
    while not (log.exists() and "begin" in log.read_text()):
        assert killed.poll() is None
    running = Workspace(ws.root).runs()
    while not Workspace(ws.root).steps(running[0].run_id):
        assert killed.poll() is None

    killed.kill()
    killed.communicate()
    load_flow("b", data_root=ws.root).run_once()

    assert [(run.flow, run.status) for run in running] == [("a", "started")]
    runs = {run.flow: run for run in Workspace(ws.root).runs()}
    assert {flow: run.status for flow, run in runs.items()} == {"a": "abandoned", "b": "success"}
    assert "its process died" in (runs["a"].cause or "")
    (step,) = Workspace(ws.root).steps(runs["a"].run_id)
    assert step.status == "abandoned"

"""What a flow writes beside its sources is no source of it, however soon it is seen, in the daemon and in `run --watch`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from data_engine import Workspace
from tests.support import WorkspaceFiles, until

FILES = 40
WRITERS = {
    "a plain open": "target.write_text(context.source.path.read_text())",
    "an atomic helper": "write_text_atomic(target, context.source.path.read_text(), durable=False)",
    "another name first": """
        unfinished = target.with_name("half_" + target.name + ".part")
        unfinished.write_text("x")
        time.sleep(0.002)
        unfinished.rename(target)
    """,
}
BESIDE = """
    import time
    from data_engine import Flow
    from data_engine.files import write_text_atomic

    def work(context):
        target = context.source.path.with_name("done_" + context.source.path.name)
        {write}
        return target

    def build():
        return (
            Flow(group="G")
            .watch(mode="poll", source="../in", interval="100ms", settle=0, max_parallel={parallel})
            .step(work)
        )
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    (ws.root / "in").mkdir()
    workspace = Workspace(ws.root)
    yield workspace
    workspace.kill()


@pytest.fixture
def run_here(ws: WorkspaceFiles) -> Iterator[Callable[[], None]]:
    """Starts `run --watch` in a process of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        command = [sys.executable, "-m", "data_engine", "--workspace", str(ws.root), "run", "--watch"]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def drop_and_wait(workspace: Workspace) -> Counter[str]:
    """How often each file ran, once all that were dropped at once have run, and one that was dropped after them."""
    folder = workspace.root / "in"

    def drop(name: str) -> None:
        half = workspace.root / name  # whole when it is seen: nothing may wait for a writer here
        half.write_text("x")
        half.replace(folder / name)

    for number in range(FILES):
        drop(f"{number:03}.csv")

    def ran() -> list[str]:
        runs = workspace.runs(limit=10 * FILES)
        return [Path(run.source or "").name for run in runs if run.status == "success"]

    until(lambda: len([name for name in ran() if not name.startswith("done_")]) >= FILES, 60)
    drop("last.csv")
    until(lambda: "last.csv" in ran(), 60)
    return Counter(ran())


@pytest.mark.parametrize(("writer", "parallel"), [*zip(WRITERS, [1, 2, 1], strict=True)])
def test_no_output_runs_as_a_source_in_the_daemon(
    workspace: Workspace, ws: WorkspaceFiles, writer: str, parallel: int
) -> None:
    ws.notebook("claims", BESIDE.format(write=WRITERS[writer], parallel=parallel))
    workspace.start_engine()

    ran = drop_and_wait(workspace)

    assert [name for name in ran if name.startswith("done_")] == []
    assert set(ran.values()) == {1}
    assert len(ran) == FILES + 1


@pytest.mark.skipif(
    sys.platform == "win32",
    reason="no Ctrl-C can be sent to one process of a console on Windows; tests/client/test_foreground.py is the twin",
)
@pytest.mark.parametrize("parallel", [1, 2])
def test_no_output_runs_as_a_source_in_run_watch(
    workspace: Workspace, ws: WorkspaceFiles, run_here: Callable[[], None], parallel: int
) -> None:
    ws.notebook("claims", BESIDE.format(write=WRITERS["a plain open"], parallel=parallel))
    run_here()

    ran = drop_and_wait(workspace)

    assert [name for name in ran if name.startswith("done_")] == []
    assert set(ran.values()) == {1}
    assert len(ran) == FILES + 1

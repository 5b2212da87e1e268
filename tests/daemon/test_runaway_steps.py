"""Steps that get away: out of Python's reach, out of memory, out of their session, or with a file that changes under them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.cause import Cause
from data_engine.files import write_text_atomic
from tests.daemon.support import ended
from tests.daemon.test_worker_runs import REPOSITORY, flow
from tests.daemon.worker_harness import Shop, is_running, number_in, play
from tests.daemon.worker_harness import until as comes
from tests.support import WorkspaceFiles, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no fork, no SIGKILL")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


def test_a_step_that_hangs_in_c_code_can_be_killed(ws: WorkspaceFiles) -> None:
    """A stop does not reach it; a kill ends it at once, and the worker after it is as good as new."""
    flow(ws, "a", "import ctypes; ctypes.PyDLL(None).sleep(600)")
    flow(ws, "b", "pass")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a")
            await shop.started()
            assert shop.workers.stop("run")
            asked_s = time.monotonic()
            assert shop.workers.kill("run")
            await shop.end()

            assert time.monotonic() - asked_s < 5
            assert (shop.finished().status, shop.finished().cause) == ("killed", "killed by request")
            assert 'Flow "a" was killed in step' in str(shop.finished().error)  # nothing failed
            assert (await shop.run("b", "2")).status == "done"
            assert shop.finished("2").status == "success"

    play(scene())


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """Who writes its pid into this file gets no more than 64 MB."""
    for controller, limit in (("memory", "memory.limit_in_bytes"), (".", "memory.max")):
        folder = Path("/sys/fs/cgroup", controller, f"data-engine-tests-{os.getpid()}")
        with suppress(OSError):
            folder.mkdir()
            try:
                with (folder / limit).open("r+") as file:  # it is there already where this is a group at all
                    file.write(str(64 * 2**20))
                yield folder / "cgroup.procs"
            finally:
                folder.rmdir()
            return
    pytest.skip("only root on Linux can give a process so little memory that the system kills it")


def test_a_kill_for_lack_of_memory_is_called_so(ws: WorkspaceFiles, small_memory: Path) -> None:
    """The system's own kill of a step that takes more than there is."""
    flow(
        ws,
        "a",
        f"open({str(small_memory)!r}, 'w').write(str(os.getpid()))\n"
        "taken = []\nwhile True:\n    taken.append(bytearray(2**20))",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a")

            assert shop.finished().status == "failed"
            assert shop.finished().why == Cause("out_of_memory", {"step": "Work"})
            assert 'in step "Work"' in str(shop.finished().error)

    play(scene())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux hands orphans to their grandparent")
def test_a_process_that_runs_away_from_its_run_ends_with_the_worker(ws: WorkspaceFiles) -> None:
    """A daemon of its own, in its own session and with nobody as its parent: seen after the run, and ended."""
    pid = ws.root / "pid"
    flow(
        ws,
        "a",
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() > 0:\n"
        "        os._exit(0)\n"
        f"    open({str(pid)!r}, 'w').write(str(os.getpid()))\n"
        "    os.execvp('sleep', ['sleep', '600'])\n"
        "os.waitpid(child, 0)\n"
        f"while not os.path.exists({str(pid)!r}):\n    time.sleep(0.01)",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a")
            assert shop.finished().status == "success"
            await comes(lambda: number_in(pid) > 0)
            runaway = number_in(pid)
            await comes(lambda: not is_running(runaway))
            assert (await shop.run("a", "2")).status == "done"

    play(scene())


READS = """
    import time
    from data_engine import Flow

    def read(context):
        text = context.source.path.read_text()
        (context.source.path.parent.parent / f"read_{text}").touch()
        time.sleep(0.5)
        return text

    def build():
        return Flow(group="G").watch(mode="poll", source="../in", interval="100ms", settle=0).step(read)
"""


def test_a_file_that_changes_while_it_is_read_is_due_again(ws: WorkspaceFiles) -> None:
    """Its run says so in the log; one that vanishes is not."""
    (ws.root / "in").mkdir()
    ws.notebook("reads", READS)
    workspace = Workspace(ws.root)
    try:
        workspace.start_engine()
        changing, vanishing = ws.root / "in" / "changing.txt", ws.root / "in" / "vanishing.txt"
        write_text_atomic(changing, "one", durable=False)
        until((ws.root / "read_one").exists)
        write_text_atomic(changing, "another", durable=False)
        runs = until(lambda: ended(workspace, "reads", 2))
        assert [run.status for run in runs] == ["success", "success"]
        log = [line.message for line in workspace.log(runs[-1].run_id)]
        assert any("changed while it was read; it is due again" in line for line in log)

        write_text_atomic(vanishing, "two", durable=False)
        until((ws.root / "read_two").exists)
        vanishing.unlink()
        until(lambda: ended(workspace, "reads", 3))
        time.sleep(0.5)
        assert len(workspace.runs("reads")) == 3
        done = workspace.home.ledger().source_states("reads")
        assert {key.path: state.status for key, state in done.items()} == {
            "changing.txt": "success",
            "vanishing.txt": "success",
        }
        assert next(state for key, state in done.items() if key.path == "changing.txt").last.size_bytes == len(
            "another"
        )
    finally:
        workspace.kill()

"""WorkerPool that die, hang, fork and flood: each costs its own run only, which ends with a cause that names it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from data_engine.cause import Cause, other
from data_engine.daemon import worker_pool
from data_engine.daemon.environment import MARK
from data_engine.daemon.messages import Frames, encode
from data_engine.daemon.worker_pool import NO_WORKER
from data_engine.daemon.worker_process import create_time_of, end_orphans
from data_engine.model import LogLine, RunFinished, RunStarted, StepFinished, StepStarted
from data_engine.notebook.catalog import entry_of_message
from data_engine.scheduler.executor import Job
from tests.daemon.test_worker_runs import REPOSITORY, flow
from tests.daemon.worker_harness import Shop, is_running, number_in, play, until
from tests.support import HANG_IN_C, WorkspaceFiles, end_now


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


if sys.platform == "win32":
    SEGFAULT = "its process died: an access violation (exit code 0xc0000005)"
    SESSION_ENDS = [code - 2**32 if code >> 31 else code for code in (0x4001_0004, 0xC000_013A, 0xC000_0142)]
    ABORT = "its process died: "  # the C runtime decides: an exit code 3, or one of a crash
    KILLED = "its process died: it was ended from outside (exit code 9)"
else:
    SEGFAULT = "its process died: killed by signal 11 (SIGSEGV)"
    SESSION_ENDS = [73]
    ABORT = "its process died: killed by signal 6 (SIGABRT)"
    KILLED = "its process died: killed by signal 9 (SIGKILL), by a person, a program, or the operating"


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import faulthandler; faulthandler._read_null()", SEGFAULT),
        ("os._exit(3)", "its process died: exit code 3"),
        ("os.abort()", ABORT),
        ("os.kill(os.getpid(), 9)", KILLED),
    ],
    ids=["segfault", "exit", "abort", "kill -9"],
)
def test_a_death_fails_its_run_and_names_the_cause(ws: WorkspaceFiles, code: str, cause: str) -> None:
    """Step and run have an end, what was printed is kept, and what had not begun has no run."""
    flow(ws, "a", f"print('before')\n{code}")

    async def scene() -> None:
        async with Shop(ws) as shop:
            end = await shop.run("a", "1", "2", "3")

            kinds = [type(one) for one in shop.events if not isinstance(one, LogLine)]
            assert kinds == [RunStarted, StepStarted, StepFinished, RunFinished]
            finished = shop.finished("1")
            assert (finished.status, shop.steps("1")) == ("failed", [("Work", "failed")])
            assert str(finished.cause).startswith(cause)
            assert 'Flow "a" failed in step "Work": its process died' in str(finished.error)
            assert shop.log("1")[0] == "INFO before"
            assert (end.status, end.cause, [one.run_id for one in end.not_begun]) == ("crashed", None, ["2", "3"])
            assert shop.workers.running() == {}
            assert (await shop.run("a", "4")).status == "crashed"

    play(scene())


def test_a_run_whose_worker_tells_what_nobody_understands_ends(ws: WorkspaceFiles) -> None:
    """As one of another version does, once the package was replaced below a daemon: nothing that it says after that counts."""
    flow(ws, "a", """import sys; open(sys.orig_argv[-2], "ab").write(b'["RunFinished", "1", 2]\\n')""")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1")
            assert shop.finished("1").status == "failed"
            assert "its process died" in str(shop.finished("1").cause)

    play(scene())


@pytest.mark.parametrize("status", SESSION_ENDS)
def test_the_end_of_a_session_abandons_its_run(
    ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """Logging off and shutting down are no fault of the flow: what ran by itself is done again."""
    if sys.platform != "win32":  # where a signal comes before, and no exit code says it
        monkeypatch.setattr(worker_pool, "ended_with_session", lambda code: code == status)
    flow(ws, "a", f"print('before')\nos._exit({status})")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a")

            finished = shop.finished()
            assert (finished.status, shop.steps()) == ("abandoned", [("Work", "abandoned")])
            assert finished.why is not None
            assert finished.why.kind == "session_ended"
            assert shop.log()[0] == "INFO before"

    play(scene())


def test_a_death_leaves_whole_what_went_before(ws: WorkspaceFiles) -> None:
    """Earlier runs of the job, earlier steps and their lines, though nobody had looked at them yet."""
    flow(
        ws,
        "a",
        "print('step', context.current is not None)\n"
        "if context.metadata['run_id'] == '3' and context.current: os._exit(3)\nreturn 1",
        steps=".step(work, label='One').step(work, label='Two')",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            end = await shop.run("a", "1", "2", "3", "4")

            assert [shop.finished(one).status for one in "123"] == ["success", "success", "failed"]
            assert shop.steps("2") == [("One", "success"), ("Two", "success")]
            assert shop.steps("3") == [("One", "success"), ("Two", "failed")]
            assert shop.log("3")[:2] == ["INFO step False", "INFO step True"]
            assert [one.run_id for one in end.not_begun] == ["4"]

    play(scene())


def test_a_segfault_is_placed_in_its_cell(ws: WorkspaceFiles) -> None:
    """The dying interpreter says where it was; its other lines stay out of the log."""
    ws.notebook(
        "n",
        "from data_engine import Flow\nimport ctypes",
        "def work(context):\n    x = 1\n    ctypes.string_at(0)",
        "def build():\n    return Flow(group='G').step(work)",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("n")

            assert "n.ipynb, cell 2, line 3" in str(shop.finished().error)
            assert not any("runpy" in line or "worker.py" in line for line in shop.log())

    play(scene())


@pytest.mark.skipif(
    sys.platform == "win32", reason="shells and sessions of POSIX; tests/platforms/test_child.py is the twin"
)
def test_a_kill_takes_grandchildren_along(ws: WorkspaceFiles) -> None:
    """Also those in groups and sessions of their own, and orphans; the run ends as killed, and the rest is not begun."""
    pids = ws.root / "pids"
    flow(
        ws,
        "a",
        "import subprocess\n"
        "one = subprocess.Popen(['sh', '-c', 'sleep 600 & echo $!; wait'], stdout=subprocess.PIPE, process_group=0)\n"
        "two = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "inner = int(one.stdout.readline())\n"
        "made = ['sh', '-c', 'sleep 600 >/dev/null & echo $!']\n"
        "orphan = int(subprocess.run(made, stdout=subprocess.PIPE, process_group=0).stdout)\n"
        f"open({str(pids)!r} + '.new', 'w').write(f'{{one.pid}} {{inner}} {{orphan}} {{two.pid}} {{os.getpid()}}')\n"
        f"os.rename({str(pids)!r} + '.new', {str(pids)!r})\ntime.sleep(600)",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a", "1", "2")
            await until(pids.exists)
            there = [int(pid) for pid in pids.read_text().split()]
            assert all(is_running(pid) for pid in there)
            assert shop.workers.kill("1")
            end = await shop.end()
            await until(lambda: not any(is_running(pid) for pid in there))

            finished = shop.finished("1")
            assert (finished.status, finished.cause) == ("killed", "killed by request")
            assert shop.steps("1") == [("Work", "stopped")]
            assert (end.status, [one.run_id for one in end.not_begun]) == ("killed", ["2"])
            assert not shop.workers.kill("1")

    play(scene())


@pytest.mark.parametrize(
    "hang",
    ["time.sleep(600)", HANG_IN_C, "while True: pass"],
    ids=["sleep", "C code that holds the interpreter", "loop"],
)
def test_a_time_limit_kills_whatever_hangs(ws: WorkspaceFiles, hang: str) -> None:
    """Also where Python cannot be interrupted; the error says in which line it hung."""
    flow(ws, "a", f"print('before', flush=True)\n{hang}")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", run_timeout_s=0.4)

            finished = shop.finished()
            assert finished.status == "killed"
            assert finished.cause == "the time limit of 0.4 s ([limits] run_timeout) was reached"
            assert "a.py, line 6" in str(finished.error)

    play(scene())


def test_a_time_limit_is_for_each_run(ws: WorkspaceFiles) -> None:
    """Runs that end in time are not counted together."""
    flow(ws, "a", "time.sleep(0.2)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1", "2", "3", run_timeout_s=0.5)

            assert [shop.finished(one).status for one in "123"] == ["success"] * 3

    play(scene())


@pytest.mark.parametrize("code", ["import time; time.sleep(600)", "import os; os._exit(7)"], ids=["hang", "death"])
def test_a_module_that_never_comes_back_has_no_run(ws: WorkspaceFiles, code: str) -> None:
    """The job's end names the module's line or the exit code."""
    flow(ws, "a", "pass", top=code)

    async def scene() -> None:
        async with Shop(ws, load_timeout_s=1.0) as shop:
            end = await shop.run("a")

            assert (shop.begun(), len(end.not_begun)) == ([], 1)
            assert end.error is not None
            if "sleep" in code:
                assert end.status == "killed"
                assert end.why is not None
                assert end.why.kind == "never_loaded"
                assert end.error["where"] == "a.py, line 3"
            else:
                assert (end.status, end.cause) == ("crashed", "its process died: exit code 7")

    play(scene())


def test_a_run_that_still_loads_can_be_killed(ws: WorkspaceFiles) -> None:
    flow(ws, "a", "pass", top="time.sleep(600)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            shop.submit("a", "1", "2")
            assert shop.workers.kill("1", other("enough"))
            end = await shop.end()

            assert (end.status, end.cause, len(end.not_begun)) == ("killed", "enough", 2)

    play(scene())


def test_modules_that_end_the_worker_cost_only_their_own_entries(ws: WorkspaceFiles) -> None:
    """A description goes on without them; each says what it did."""
    flow(ws, "a_good", "pass")
    flow(ws, "b_dies", "pass", top="import faulthandler; faulthandler._read_null()")
    flow(ws, "c_hangs", "pass", top="time.sleep(600)")
    flow(ws, "d_good", "pass")

    async def scene() -> None:
        async with Shop(ws, load_timeout_s=1.0) as shop:
            shop.workers.submit(Job("job", "describe"))
            end = await shop.end()

            assert end.described is not None
            entries = {entry.name: entry for entry in map(entry_of_message, end.described)}
            assert entries["a_good"].error is None
            assert entries["d_good"].error is None
            assert SEGFAULT in str(entries["b_dies"].error)
            assert "b_dies.py, line 3" in str(entries["b_dies"].error)
            assert "never returned from import" in str(entries["c_hangs"].error)

    play(scene())


def test_a_death_between_jobs_is_replaced(ws: WorkspaceFiles) -> None:
    """kill -9 of idle workers: the next job finds another one."""
    flow(ws, "a", "pass")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1")
            victims = shop.alive()
            for pid in victims:
                end_now(pid)
            await until(lambda: set(victims) <= set(shop.forgotten))
            await until(lambda: bool(shop.alive()))

            assert (await shop.run("a", "2")).status == "done"
            assert shop.finished("2").status == "success"

    play(scene())


ONCE = """
import os
from pathlib import Path
mark = Path(__file__).with_suffix(".mark")
if not mark.exists():
    mark.touch()
    os.kill(os.getpid(), 9)
"""


def test_a_job_of_which_nothing_has_begun_survives_the_kill_of_its_worker(ws: WorkspaceFiles) -> None:
    """kill -9 just before a job comes, while its module loads, or while it is described: another worker does it."""
    flow(ws, "a", "pass")
    flow(ws, "b", "pass", top=ONCE)
    flow(ws, "c", "pass", top=ONCE)

    async def scene() -> None:
        async with Shop(ws) as shop:
            for pid in shop.alive():
                end_now(pid)
            assert (await shop.run("a", "1", "2")).status == "done"
            assert (await shop.run("b", "3", "4")).status == "done"
            assert [shop.finished(run_id).status for run_id in shop.begun()] == ["success"] * 4
            assert shop.begun() == ["1", "2", "3", "4"]

            shop.workers.submit(Job("c", "describe", "c"))
            (entry,) = (await shop.end("c")).described or ()
            assert entry_of_message(entry).error is None

    play(scene())


def test_a_module_whose_import_is_killed_again_is_given_up(ws: WorkspaceFiles) -> None:
    """As one is that takes all the memory: the job ends, with the cause."""
    count = ws.root / "count"
    flow(ws, "a", "pass", top=f"open({str(count)!r}, 'a').write('x'); os.kill(os.getpid(), 9)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            end = await shop.run("a", "1", "2")

            assert (end.status, len(end.not_begun), shop.begun()) == ("crashed", 2, [])
            assert KILLED in str(end.cause)
            assert count.read_text() == "xx"

            shop.workers.submit(Job("d", "describe"))
            (entry,) = (await shop.end("d")).described or ()
            assert KILLED in str(entry_of_message(entry).error)

    play(scene())


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_forked_child_that_comes_back_is_no_second_run(ws: WorkspaceFiles) -> None:
    """It ends where the step ends; the run is the parent's, and its death is seen though the child lives."""
    flow(ws, "a", "if os.fork() == 0:\n    return 1")
    flow(ws, "b", "if os.fork() == 0:\n    time.sleep(600)\nos._exit(5)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a", "1")
            await shop.run("b", "2")

            assert shop.steps("1") == [("Work", "success")]
            assert shop.finished("1").status == "success"
            assert shop.finished("2").cause == "its process died: exit code 5"

    play(scene())


def test_code_that_closes_all_files_costs_its_own_run(ws: WorkspaceFiles) -> None:
    """A worker that cannot be talked to is ended."""
    flow(ws, "a", "os.closerange(3, 4096)")

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a")

            assert shop.finished().status == "failed"
            assert any("the connection to the daemon is lost" in line for line in shop.log())

    play(scene())


def test_a_child_that_prints_for_ever_does_not_keep_the_run(ws: WorkspaceFiles) -> None:
    """The run ends when its steps do; the child ends with the worker."""
    pid_file = ws.root / "pid"
    flow(
        ws,
        "a",
        f"import subprocess\nchild = subprocess.Popen([sys.executable, '-c', 'while 1: print(1)'])\nopen({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(0.2)",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a")
            await until(lambda: not is_running(number_in(pid_file)))

            assert shop.finished().status == "success"

    play(scene())


def test_an_interpreter_that_cannot_be_started_is_said(ws: WorkspaceFiles) -> None:
    """No endless attempts: one for the spare, one for each job."""
    flow(ws, "a", "pass")

    async def scene() -> None:
        async with Shop(ws, interpreter="/nonexistent/python") as shop:
            end = await shop.run("a")

            assert (end.status, end.why, len(end.not_begun)) == ("refused", NO_WORKER, 1)
            assert shop.remembered == {}

    play(scene())


def test_an_interpreter_without_data_engine_is_said(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    flow(ws, "a", "pass")

    async def scene() -> None:
        async with Shop(ws, interpreter=sys._base_executable) as shop:
            end = await shop.run("a")

            assert (end.status, len(end.not_begun)) == ("crashed", 1)
            assert end.why == NO_WORKER
            assert end.error is not None
            assert "No module named" in end.error["what"]
            assert "-m pip install data-engine" in end.error["fix"]

    play(scene())


def test_no_jupyter_variable_reaches_a_step(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JPY_SESSION_NAME", "JUPYTER_PATH", "IPYTHONDIR", "MPLBACKEND"):
        monkeypatch.setenv(name, "module://matplotlib_inline.backend_inline")
    monkeypatch.setenv("OTHER", "kept")
    flow(
        ws,
        "a",
        "print(sorted(n for n in os.environ if n[:3] in ('JPY', 'JUP', 'IPY', 'MPL', 'OTH')), sys.flags.safe_path)",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a")

            assert shop.log() == ["INFO ['OTHER'] True"]

    play(scene())


DAEMON = """
import asyncio, itertools, sys, os
from pathlib import Path
from data_engine.scheduler.executor import Job, SourceRun
from data_engine.daemon.worker_pool import JobCallbacks, WorkerPool, WorkerSetup
from data_engine.engine.local_workspace import local_workspace
from data_engine.ledger.journal import JournalReader

async def main():
    root, numbers = Path(sys.argv[1]), itertools.count()
    setup = WorkerSetup(
        workspace_root=root, local=local_workspace(root).local, interpreter=sys.executable,
        new_journal=lambda: JournalReader(root.parent / f"{next(numbers)}.events"),
        remember=lambda pid, create_time: print(pid, create_time, flush=True),
    )
    nothing = lambda *told: None
    workers = WorkerPool(setup, JobCallbacks(nothing, nothing, nothing), limit=2, forget=nothing)
    await workers.start()
    workers.submit(Job("job", "run", "a", None, (SourceRun(),)))
    await asyncio.sleep(600)

from data_engine.platforms.processes import new_event_loop
new_event_loop().run_until_complete(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX; tests/platforms/test_child.py is the twin")
def test_workers_end_with_their_daemon_and_orphans_are_ended(ws: WorkspaceFiles) -> None:
    """kill -9 of a daemon: its workers are gone at once; what they started is gone after `end_orphans`, and nothing else is."""
    pid_file = ws.root / "pid"
    flow(
        ws,
        "a",
        f"import subprocess\nchild = subprocess.Popen(['sleep', '600'])\nopen({str(pid_file)!r}, 'w').write(str(child.pid))\n"
        + HANG_IN_C,
    )
    daemon = subprocess.Popen([sys.executable, "-c", DAEMON, str(ws.root)], stdout=subprocess.PIPE, text=True)
    bystander = subprocess.Popen(["sleep", "600"], start_new_session=True)

    async def scene() -> None:
        await until(lambda: number_in(pid_file) > 0)
        assert daemon.stdout is not None
        pid, create_time = daemon.stdout.readline().split()
        workers = [child.pid for child in psutil.Process(daemon.pid).children()]
        assert int(pid) in workers
        daemon.kill()
        await until(lambda: not any(is_running(worker) for worker in workers))
        ended = end_orphans([(int(pid), float(create_time)), (bystander.pid, 1.0), (2**22 + 5, 1.0)])

        assert ended == ([int(pid)] if ended else [])
        assert not is_running(number_in(pid_file))
        assert is_running(bystander.pid)
        assert end_orphans([(int(pid), float(create_time))]) == []

    try:
        play(scene())
    finally:
        for process in (daemon, bystander):
            process.kill()
            process.communicate()


@pytest.mark.skipif(
    sys.platform == "win32", reason="a job object leaves no orphans there; tests/platforms/test_child.py is the twin"
)
def test_a_live_orphan_is_ended_by_pid_and_start_time(tmp_path: Path) -> None:
    """With the whole session; another start time means another process, which is left alone."""
    orphan = subprocess.Popen(
        ["sh", "-c", "sleep 600 & sleep 600"], start_new_session=True, env={**os.environ, MARK: "1"}
    )
    started = create_time_of(orphan.pid)
    while MARK not in psutil.Process(orphan.pid).environ():  # the system fills it in a moment after it began
        time.sleep(0.01)
    try:
        assert end_orphans([(orphan.pid, started - 10)]) == []
        assert is_running(orphan.pid)
        assert end_orphans([(orphan.pid, started)]) == [orphan.pid]
        assert not is_running(orphan.pid)
    finally:
        orphan.kill()
        orphan.wait()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xff\xff\xff", "a frame says it has"),
        (b"\x00\x00\x00\x02[]", "holds no message"),
        (b"\x00\x00\x00\x03{{{", "holds no JSON"),
    ],
)
def test_frames_that_are_none_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(Frames().feed(data))


@pytest.mark.skipif(
    sys.platform == "win32",
    reason="no /proc there to find the channel in; what is no frame is refused by the tests below",
)
@pytest.mark.parametrize("what", ["socket:", ".events"])
def test_a_worker_that_sends_nonsense_is_ended(ws: WorkspaceFiles, what: str) -> None:
    """Author code that writes into the channel, or the journal, costs its own run."""
    flow(
        ws,
        "a",
        "for fd in map(int, os.listdir('/proc/self/fd')):\n"
        f"    if fd > 2 and os.path.exists(f'/proc/self/fd/{{fd}}') and {what!r} in os.readlink(f'/proc/self/fd/{{fd}}'):\n"
        "        os.write(fd, b'\\xff\\n' * 100)\ntime.sleep(600)",
    )

    async def scene() -> None:
        async with Shop(ws) as shop:
            await shop.run("a")

            assert shop.finished().status in ("failed", "killed")

    play(scene())


def test_frames_may_come_in_any_pieces() -> None:
    frames = Frames()
    data = b"".join(encode({"kind": "x", "n": number}) for number in range(5))

    found = [message["n"] for start in range(0, len(data), 3) for message in frames.feed(data[start : start + 3])]

    assert found == [0, 1, 2, 3, 4]


def test_a_shutdown_kills_what_runs(ws: WorkspaceFiles) -> None:
    """With `kill` nothing is waited for; the run has an end, and every worker is forgotten."""
    flow(ws, "a", "time.sleep(600)")

    async def scene() -> None:
        shop = Shop(ws)
        await shop.workers.start()
        shop.submit("a")
        await shop.started()
        await asyncio.wait_for(shop.workers.close(kill=True), 30)

        assert (shop.finished().status, shop.finished().why) == ("abandoned", Cause("daemon_killed", {"step": "Work"}))
        assert sorted(shop.forgotten) == sorted(shop.remembered)

    play(scene())

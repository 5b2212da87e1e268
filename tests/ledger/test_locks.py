"""Locks end with their process, exclude threads and processes, and are never a forked child's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from data_engine.errors import GroupBusyError, LedgerError
from data_engine.locks import GroupLock, OsLock, RunnerLock, is_runner_gone

HOLD = """
import sys
from pathlib import Path
from data_engine.locks import GroupLock, RunnerLock
lock = {make}
assert lock.try_acquire()
print("held", flush=True)
sys.stdin.read()
"""
ASK = """
import sys
from pathlib import Path
from data_engine.locks import GroupLock
lock = GroupLock(Path({folder!r}), "G")
assert not lock.try_acquire()
lock.ask_first()
print("asked", flush=True)
sys.stdin.read()
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def hold_elsewhere(make: str) -> subprocess.Popen[str]:
    """A process that holds the lock until its stdin closes or it is killed."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", HOLD.format(make=make)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_a_group_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """Objects of one thread exclude each other; groups do not disturb each other."""
    one, two, other = GroupLock(tmp_path, "G"), GroupLock(tmp_path, "G"), GroupLock(tmp_path, "H/../G: ü")

    assert (one.try_acquire(), one.try_acquire(), two.try_acquire(), other.try_acquire()) == (True, False, False, True)
    two.release()
    assert not two.try_acquire()
    one.release()
    one.release()
    assert two.try_acquire()
    assert {path.parent for path in tmp_path.rglob("*.lock")} == {tmp_path}
    two.release()
    other.release()


def test_a_group_held_by_another_process_is_free_when_that_process_is_killed(tmp_path: Path) -> None:
    """No time to wait, no file to remove."""
    process = hold_elsewhere(f"GroupLock(Path({str(tmp_path)!r}), 'G')")
    lock = GroupLock(tmp_path, "G")
    held = lock.try_acquire()
    end(process)

    assert (held, lock.try_acquire()) == (False, True)
    lock.release()


def test_waiting_ends_when_the_group_is_free(tmp_path: Path) -> None:
    """`waiting` is called while it is not."""
    first = GroupLock(tmp_path, "G")
    first.acquire()
    calls = []

    def waiting() -> None:
        calls.append(1)
        if len(calls) == 3:
            first.release()

    second = GroupLock(tmp_path, "G")
    second.acquire(waiting)

    assert (second.is_held, len(calls)) == (True, 3)
    second.release()


def test_waiting_is_given_up_by_time_or_by_the_callback(tmp_path: Path) -> None:
    """A typed error names the group; the callback's own error goes through. The holder keeps the lock."""

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with GroupLock(tmp_path, "G") as holder:
        with pytest.raises(GroupBusyError, match='group "G" is still running'):
            GroupLock(tmp_path, "G").acquire(timeout_s=0.0)
        with pytest.raises(Stop):
            GroupLock(tmp_path, "G").acquire(stop)
        assert holder.is_held
    assert not holder.is_held


def test_threads_take_turns(tmp_path: Path) -> None:
    """At no moment are two of them inside."""
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with GroupLock(tmp_path, "G"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (max(most), len(most)) == (1, 80)


def test_a_runner_is_gone_when_its_process_is(tmp_path: Path) -> None:
    """Killed, or never there; not while it lives, in this process or another."""
    here = RunnerLock(tmp_path, "here")
    here.try_acquire()
    process = hold_elsewhere(f"RunnerLock(Path({str(tmp_path)!r}), 'there')")
    living = is_runner_gone(tmp_path, "here"), is_runner_gone(tmp_path, "there")
    end(process)

    assert living == (False, False)
    assert (is_runner_gone(tmp_path, "there"), is_runner_gone(tmp_path, "never")) == (True, True)
    assert (tmp_path / "there.lock").exists()
    here.release()
    assert is_runner_gone(tmp_path, "here")
    assert not (tmp_path / "here.lock").exists()


def test_a_runner_is_gone_for_all_who_ask_at_once(tmp_path: Path) -> None:
    RunnerLock(tmp_path, "r").path.touch()
    asks = "import sys, time\nfrom pathlib import Path\nfrom data_engine.locks import is_runner_gone\n"
    asks += "until_s, found = time.monotonic() + 2, set()\n"
    asks += "while time.monotonic() < until_s: found.add(is_runner_gone(Path(sys.argv[1]), 'r'))\n"
    asks += "print(found)"
    command = [sys.executable, "-c", asks, str(tmp_path)]
    askers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    assert [asker.communicate(timeout=60)[0] for asker in askers] == ["{True}\n"] * 3


@needs_fork
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_holds_nothing(tmp_path: Path) -> None:
    """When the parent lets go the lock is free although the child lives, and the child's end frees nothing."""
    group, runner = GroupLock(tmp_path, "G"), RunnerLock(tmp_path, "r")
    group.try_acquire()
    runner.try_acquire()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)
        # What a child does with its copies must not reach the parent's locks.
        group.release()
        os._exit(int(group.is_held or GroupLock(tmp_path, "G").try_acquire()))
    os.close(read_end)
    kept = GroupLock(tmp_path, "G").try_acquire()
    group.release()
    second = GroupLock(tmp_path, "G")
    freed = second.try_acquire()
    os.close(write_end)
    _, status = os.waitpid(child, 0)

    assert (kept, freed) == (False, True)
    assert os.waitstatus_to_exitcode(status) == 0
    assert second.is_held
    assert not is_runner_gone(tmp_path, "r")
    second.release()
    runner.release()


FORK = """
import os, sys
from pathlib import Path
from data_engine.locks import GroupLock
lock = GroupLock(Path(sys.argv[1]), "G")
assert lock.try_acquire()
if os.fork() == 0:
    print("forked", flush=True)
sys.stdin.read()
"""


@needs_fork
def test_a_killed_process_holds_nothing_through_its_forked_child(tmp_path: Path) -> None:
    """A child that a step left behind does not keep the group busy."""
    command = [sys.executable, "-c", FORK, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2], text=True, **pipes)
    assert process.stdout is not None
    assert process.stdout.readline() == "forked\n"
    lock = GroupLock(tmp_path, "G")
    held = lock.try_acquire()
    process.kill()
    process.wait()
    is_free = lock.try_acquire()
    process.communicate()

    assert (held, is_free) == (False, True)
    lock.release()


def test_children_that_are_started_anew_hold_nothing(tmp_path: Path) -> None:
    """A program started by a step does not keep the group busy."""
    lock = GroupLock(tmp_path, "G")
    lock.try_acquire()
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    lock.release()
    is_free = lock.try_acquire()
    process.communicate(b"\n")

    assert is_free
    lock.release()


def test_a_lock_that_cannot_be_made_is_an_error_with_a_fix(tmp_path: Path) -> None:
    """It names the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="lock file") as caught:
        OsLock(tmp_path / "file" / "a.lock").try_acquire()

    assert caught.value.where == str(tmp_path / "file" / "a.lock")


def test_who_asked_first_has_the_group_next(tmp_path: Path) -> None:
    """The one that lets go does not get it again before; nor does anybody else, until the asking one is gone."""
    due, asked, other = (GroupLock(tmp_path, "G") for _ in range(3))
    assert due.try_acquire()
    assert not due.gives_way
    assert not asked.try_acquire()
    asked.ask_first()
    other.ask_first()

    assert (due.gives_way, asked.gives_way, other.gives_way) == (True, False, True)
    due.release()
    assert (due.try_acquire(), other.try_acquire(), asked.try_acquire()) == (False, False, True)
    assert not other.gives_way
    other.ask_first()
    asked.release()
    assert not due.try_acquire()
    other.release()
    assert due.try_acquire()
    due.release()


def test_who_asked_first_and_is_killed_keeps_nobody_waiting(tmp_path: Path) -> None:
    holder = GroupLock(tmp_path, "G")
    assert holder.try_acquire()
    code = ASK.format(folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "asked\n"
    holder.release()
    due = GroupLock(tmp_path, "G")

    assert not due.try_acquire()
    end(process)
    assert due.try_acquire()
    due.release()

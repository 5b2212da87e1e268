"""Sessions of worker processes: a worker leads one, and everything it starts ends with it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    import psutil

MARK = "DATA_ENGINE_WORKER"
"""Set in the environment of every worker, and so of all it starts."""

_KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL


def create_time_of(pid: int) -> float:
    """When the process began, on a clock that nobody sets; 0.0 when it is gone already.

    Reference: on Linux psutil adds the boot time, which moves when the clock is set, so the start since boot is read:
    proc(5), field 22 of /proc/pid/stat. Elsewhere the system keeps the time at which it began.
    """
    if sys.platform != "linux":
        import psutil

        try:
            return float(psutil.Process(pid).create_time())
        except psutil.Error:
            return 0.0
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def end_session(pid: int) -> None:
    """End, now, the worker `pid`, its descendants, and whatever else is in its session; waits for none of them.

    To be called before the worker's exit status is collected, so that its number cannot stand for another process yet.
    """
    end_started_by(pid)
    if pid != os.getpid():
        with suppress(OSError):
            os.kill(pid, _KILL)
    if sys.platform != "win32":
        with suppress(OSError):  # last, because a worker that ends its own session ends here
            os.killpg(pid, signal.SIGKILL)


def end_started_by(pid: int) -> None:
    """End, now, the descendants of the worker `pid` and whatever else is in its session, but not the worker."""
    import psutil

    victims = set(_members(pid))
    with suppress(psutil.Error):
        victims.update(child.pid for child in psutil.Process(pid).children(recursive=True))
    for victim in victims - {pid, os.getpid()}:
        with suppress(OSError):
            os.kill(victim, _KILL)


def end_orphans(recorded: Iterable[tuple[int, float]]) -> list[int]:
    """End what is left of the workers of a daemon that died; the pids whose session still had somebody in it.

    `recorded` are pids and start times as they were remembered. A process that took over a worker's number is left alone.
    """
    import psutil

    ended = []
    for pid, create_time in recorded:
        try:
            process = psutil.Process(pid)
            is_gone = process.status() == psutil.STATUS_ZOMBIE
            is_ours = abs(create_time_of(pid) - create_time) < 0.5 and (is_gone or _is_marked(process))
        except psutil.Error:
            is_gone, is_ours = True, True
        if is_ours and (not is_gone or _has_marked_members(pid)):
            end_session(pid)
            _wait_until_gone(pid)
            ended.append(pid)
    return ended


def _wait_until_gone(session: int, timeout_s: float = 5.0) -> None:
    """A process that is just writing to a disk dies a moment after its kill; until then it can still write."""
    deadline_s = time.monotonic() + timeout_s
    while _members(session) and time.monotonic() < deadline_s:
        time.sleep(0.01)


def _members(session: int) -> list[int]:
    """The living processes of the session."""
    import psutil

    if sys.platform == "win32":
        return []
    found = []
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def _has_marked_members(session: int) -> bool:
    """Whether somebody a worker started is left in a session whose leader is gone."""
    import psutil

    for pid in _members(session):
        with suppress(psutil.Error):
            if _is_marked(psutil.Process(pid)):
                return True
    return False


def _is_marked(process: psutil.Process) -> bool:
    try:
        return MARK in process.environ()
    except OSError:
        return False

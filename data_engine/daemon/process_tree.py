"""What is left of the workers of a daemon that died: found by number, start time and mark, and ended."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data_engine import private
from data_engine.locks import OsLock
from data_engine.platforms.file_locks import lock_shared
from data_engine.platforms.processes import create_time_of, end_session, is_zombie, session_members

TYPE_CHECKING = False
if TYPE_CHECKING:
    import psutil

MARK = "DATA_ENGINE_WORKER"
"""Set in the environment of every worker, and so of all it starts."""

_BEGINNERS = ".workers-begin.lock"


@contextmanager
def beginning(folder: Path) -> Iterator[int]:
    """A descriptor for a worker that is started meanwhile: as long as it has it, `wait_for_beginners` waits for it."""
    descriptor = private.open_file(folder / _BEGINNERS, os.O_RDWR | os.O_CREAT)
    try:
        with suppress(OSError):  # a daemon of this folder starts just now, and waits for those before
            lock_shared(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def wait_for_beginners(folder: Path, timeout_s: float = 30.0) -> bool:
    """Return when no worker is left that began and did not see yet that its daemon is gone; False where one still is.

    A worker of a daemon that is killed before it has noted its number is found by nobody, and ends when it looks for its daemon.

    Raises:
        LedgerError: the lock file cannot be made.
    """
    lock = OsLock(folder / _BEGINNERS)
    is_over = lock.wait(timeout_s=timeout_s)
    lock.release()
    return is_over


def end_orphans(recorded: Iterable[tuple[int, float]]) -> list[int]:
    """End what is left of the workers of a daemon that died; the pids whose session still had somebody in it.

    `recorded` are pids and start times as they were remembered. A process that took over a worker's number is left alone.
    """
    import psutil

    ended = []
    for pid, create_time in recorded:
        try:
            process = psutil.Process(pid)
            is_gone = is_zombie(process)
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
    while session_members(session) and time.monotonic() < deadline_s:
        time.sleep(0.01)


def _has_marked_members(session: int) -> bool:
    """Whether somebody a worker started is left in a session whose leader is gone."""
    import psutil

    for pid in session_members(session):
        with suppress(psutil.Error):
            if _is_marked(psutil.Process(pid)):
                return True
    return False


def _is_marked(process: psutil.Process) -> bool:
    try:
        return MARK in process.environ()
    except OSError:
        return False

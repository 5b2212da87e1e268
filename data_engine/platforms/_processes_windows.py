"""`processes` on Windows: creation flags, process handles, exit codes. What a worker starts is ended by its job object."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

assert sys.platform == "win32"

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    import psutil

_TERMINATED = 15
_TERMINATIONS = (9, _TERMINATED)
"""The exit codes of processes that Python ends: the number of the signal that POSIX would send."""

_ENDED_BY_SYSTEM = frozenset({0x4001_0004, 0xC000_013A, 0xC000_0142})
"""DBG_TERMINATE_PROCESS, STATUS_CONTROL_C_EXIT, STATUS_DLL_INIT_FAILED: how the system ends processes of a session."""

_FIRST_CRASH = 0xC000_0000
_CRASHES = {
    0xC000_0005: "an access violation",
    0xC000_0017: "no memory was left",
    0xC000_001D: "an illegal instruction",
    0xC000_00FD: "a stack overflow",
    0xC000_0374: "a damaged heap",
    0xC000_0409: "it aborted itself",
}
_SM_SHUTTING_DOWN = 0x2000
_files: tuple[int, set[str]] = (0, set())
"""How many handles this process had when its open files were looked for, and which those were."""

_CONSOLE_HOST = "conhost.exe"


def detached() -> list[dict[str, Any]]:
    """Options of `Popen` with which the child outlives the process that starts it; the next where the first are refused.

    A job object of a terminal or an editor takes its processes along, unless they may break away; some jobs refuse that.
    """
    flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
    return [{"creationflags": flags | subprocess.CREATE_BREAKAWAY_FROM_JOB}, {"creationflags": flags}]


def program_of(interpreter: str, environment: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
    """The program to start for the interpreter, and its environment.

    In an environment `python.exe` is a launcher that starts the interpreter as its child. Without it there is one process
    less for each of ours, and the one that is started is the one that answers. It is where the launcher looks for it, in `home`:
    `executable` is what made the environment, which may be the launcher of another one.

    Reference: `multiprocessing.popen_spawn_win32`, which does the same; PEP 405.
    """
    settings = os.path.join(os.path.dirname(os.path.dirname(interpreter)), "pyvenv.cfg")
    try:
        with open(settings, encoding="utf-8") as file:
            values = dict(line.strip().partition(" = ")[::2] for line in file)
    except (OSError, UnicodeDecodeError):
        return interpreter, environment
    base = os.path.join(values.get("home", ""), os.path.basename(interpreter))
    if not os.path.isfile(base) or not os.path.isfile(interpreter):  # then the start says which of them is gone
        return interpreter, environment
    return base, {**environment, "__PYVENV_LAUNCHER__": interpreter}


def apart() -> dict[str, Any]:
    """Options of `Popen` with which a helper process shows no window."""
    return {"creationflags": subprocess.CREATE_NO_WINDOW}


def become(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Go on as this program; returns its exit code. Windows has a child for it, which hears Ctrl-C itself."""
    child = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return child.wait()


def at_fork(
    *,
    before: Callable[[], object] | None = None,
    in_parent: Callable[[], object] | None = None,
    in_child: Callable[[], object] | None = None,
) -> None:
    """Nothing: no process is forked here."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop that can watch sockets; the default one of Windows cannot."""
    import asyncio

    return asyncio.SelectorEventLoop()


def on_end_signals(loop: asyncio.AbstractEventLoop, end: Callable[[], object]) -> None:
    """Call `end` on the running loop when this process is asked to end: Ctrl-C or Ctrl-Break. Once the loop is closed they interrupt."""

    def ask(*_: object) -> None:
        try:
            loop.call_soon_threadsafe(end)
        except RuntimeError:  # it is closed
            raise KeyboardInterrupt from None

    for number in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM):
        signal.signal(number, ask)


def create_time_of(pid: int) -> float:
    """The time when the process began, as the system keeps it; 0.0 when it is gone already."""
    import psutil

    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def is_zombie(process: psutil.Process) -> bool:
    """Whether it has ended and is still listed: never on Windows."""
    return False


def is_this_users(process: psutil.Process) -> bool:
    """Whether the process runs as this user."""
    import psutil

    try:
        return process.username() == psutil.Process().username()
    except psutil.Error:
        return False


def kill(pid: int) -> None:
    """End the process, now.

    Raises:
        OSError: it is gone, or another user's.
    """
    os.kill(pid, _TERMINATED)


def end_session(pid: int) -> None:
    """End, now, the worker `pid` and its descendants; waits for none of them."""
    end_started_by(pid)
    if pid != os.getpid():
        with suppress(OSError):
            kill(pid)


def end_started_by(pid: int) -> None:
    """End, now, the descendants of the worker `pid`, but not the worker."""
    import psutil

    with suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            if child.pid != os.getpid():
                with suppress(psutil.Error):
                    child.kill()


def session_members(session: int) -> list[int]:
    """The living processes of the session: Windows has none, a job object ends them with their daemon."""
    return []


def has_children() -> bool:
    """Whether this process has a child; the host of its hidden console is none of ours."""
    import psutil

    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if child.name().lower() != _CONSOLE_HOST:
                return True
    return False


def memory_bytes() -> int:
    """How much memory this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def open_files() -> set[str]:
    """The files this process has open. To find them takes tens of milliseconds, so they are those of the last look while the
    process has as many handles as then."""
    import psutil

    global _files
    count, last = _handle_count(), _files
    if count and count == last[0]:
        return last[1]
    with suppress(psutil.Error, OSError):
        paths = {file.path for file in psutil.Process().open_files()}
        _files = _handle_count(), paths
        return paths
    return set()


def _handle_count() -> int:
    """How many handles this process has; 0 where the system does not tell (Wine)."""
    import ctypes

    count = ctypes.c_uint32()
    this_process = ctypes.c_void_p(-1)
    ctypes.windll.kernel32.GetProcessHandleCount(this_process, ctypes.byref(count))
    return count.value


def limit_memory(most_bytes: int) -> None:
    """Nothing: who waits for the process looks at what it has."""


def memory_kills() -> int:
    """How many processes this machine has killed for lack of memory: Windows kills none for that."""
    return 0


def was_killed(status: int) -> bool:
    """Whether an exit status says that somebody ended the process. The Task Manager's cannot be told from an exit code 1."""
    return status in _TERMINATIONS


def is_crash(status: int) -> bool:
    """Whether an exit status says that the process crashed by what its own code did."""
    return status >= _FIRST_CRASH


def crash_name(status: int) -> str | None:
    """The crash behind an exit status in a few words; None where it was none."""
    return _CRASHES.get(status, "it crashed") if status >= _FIRST_CRASH else None


def ended_with_session(status: int) -> bool:
    """Whether the process was ended because its user signs off or the machine shuts down."""
    return status in _ENDED_BY_SYSTEM or _is_session_ending()


def stop_timer() -> None:
    """Nothing: there are no such timers."""


def _is_session_ending() -> bool:
    import ctypes

    return bool(ctypes.windll.user32.GetSystemMetrics(_SM_SHUTTING_DOWN))


def interrupt_main_thread() -> None:
    """Let the main thread meet a Ctrl-C at its next instruction; Windows has no way into a call that waits."""
    _thread.interrupt_main()

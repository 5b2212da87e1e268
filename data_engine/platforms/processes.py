"""Start processes that outlive this one or show no window, tell them from later ones of the same number, end them with all they started.

On Windows what a worker starts is ended by its job object, and an exit code tells what a signal tells elsewhere.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    import psutil

_FIRST_CRASH = 0xC000_0000
_CRASHES = {
    0xC000_0005: "an access violation",
    0xC000_0017: "no memory was left",
    0xC000_001D: "an illegal instruction",
    0xC000_00FD: "a stack overflow",
    0xC000_0374: "a damaged heap",
    0xC000_0409: "it aborted itself",
}
"""Exit codes of Windows."""

_CONSOLE_HOST = "conhost.exe"


class Usage(NamedTuple):
    """The usage since the process began; `peak_bytes` since `forget_peak` where the system can forget it (Linux)."""

    cpu_s: float
    peak_bytes: int


if sys.platform == "win32":
    import _thread
    import subprocess

    _KILL = 15
    _KILLED = (9, _KILL)
    """The exit codes of processes that Python ends: the number of the signal that POSIX would send. The Task Manager's is 1."""

    _CRASH_SIGNALS: tuple[int, ...] = ()
    _ENDED_BY_SYSTEM = frozenset({0x4001_0004, 0xC000_013A, 0xC000_0142})
    """DBG_TERMINATE_PROCESS, STATUS_CONTROL_C_EXIT, STATUS_DLL_INIT_FAILED: how the system ends processes of a session."""

    _SM_SHUTTING_DOWN = 0x2000
    _files: tuple[int, set[str]] = (0, set())
    """How many handles this process had when its open files were looked for, and which those were."""

    def usage() -> Usage:
        """The processor time and memory that this process has used so far."""
        import psutil

        process = psutil.Process()
        times, memory = process.cpu_times(), process.memory_info()
        return Usage(times.user + times.system, int(memory.peak_wset))

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

    def on_end_signals(loop: asyncio.AbstractEventLoop, end: Callable[[], object]) -> None:
        """Call `end` on the running loop when this process is asked to end: Ctrl-C or Ctrl-Break. Once the loop is closed they interrupt."""

        def ask(*_: object) -> None:
            try:
                loop.call_soon_threadsafe(end)
            except RuntimeError:  # it is closed
                raise KeyboardInterrupt from None

        for number in (signal.SIGINT, signal.SIGBREAK, signal.SIGTERM):
            signal.signal(number, ask)

    def is_this_users(process: psutil.Process) -> bool:
        """Whether the process runs as this user."""
        import psutil

        try:
            return process.username() == psutil.Process().username()
        except psutil.Error:
            return False

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

    def ended_with_session(status: int) -> bool:
        """Whether the process was ended because its user signs off or the machine shuts down."""
        import ctypes

        return status in _ENDED_BY_SYSTEM or bool(ctypes.windll.user32.GetSystemMetrics(_SM_SHUTTING_DOWN))

else:
    import resource

    _KIB = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    _KILL = signal.SIGKILL
    _KILLED = (-signal.SIGKILL,)
    _CRASH_SIGNALS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)

    def usage() -> Usage:
        """The processor time and memory that this process has used so far."""
        own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
        return Usage(cpu_s, own.ru_maxrss * _KIB)

    def detached() -> list[dict[str, Any]]:
        """Options of `Popen` with which the child outlives the process that starts it; the next where the first are refused."""
        return [{"start_new_session": True}]

    def program_of(interpreter: str, environment: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """The program to start for the interpreter, and its environment: itself."""
        return interpreter, environment

    def apart() -> dict[str, Any]:
        """Options of `Popen` with which a helper process shows no window."""
        return {}

    def become(command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Go on as this program; its exit code is that of this process."""
        sys.stdout.flush()
        os.execve(command[0], list(command), environment)

    def on_end_signals(loop: asyncio.AbstractEventLoop, end: Callable[[], object]) -> None:
        """Call `end` on the running loop when this process is asked to end: Ctrl-C, or a plain `kill`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)

    def is_this_users(process: psutil.Process) -> bool:
        """Whether the process runs as this user."""
        return process.uids().real == os.getuid()

    def open_files() -> set[str]:
        """The files this process has open, pipes and sockets included."""
        folder = "/proc/self/fd"
        if not os.path.isdir(folder):
            import psutil

            return {file.path for file in psutil.Process().open_files()}
        paths = set()
        for name in os.listdir(folder):
            with suppress(OSError):
                paths.add(os.readlink(f"{folder}/{name}"))
        return paths

    def ended_with_session(status: int) -> bool:
        """Whether the process was ended because its user signs off or the machine shuts down; POSIX tells by a signal before."""
        return False


def forget_peak() -> bool:
    """Let the peak begin anew; whether it did. Only Linux forgets it, others keep one for the life of a process.

    Reference: proc(5), /proc/pid/clear_refs.
    """
    with suppress(OSError):
        file = os.open("/proc/self/clear_refs", os.O_WRONLY)
        try:
            return os.write(file, b"5") == 1
        finally:
            os.close(file)
    return False


def at_fork(
    *,
    before: Callable[[], object] | None = None,
    in_parent: Callable[[], object] | None = None,
    in_child: Callable[[], object] | None = None,
) -> None:
    """Call these around each fork of this process; Windows forks none."""
    if sys.platform != "win32":
        nothing = int
        os.register_at_fork(
            before=before or nothing, after_in_parent=in_parent or nothing, after_in_child=in_child or nothing
        )


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop that can watch sockets, and descriptors on POSIX; the default one of Windows cannot."""
    import asyncio

    return asyncio.SelectorEventLoop()


def create_time_of(pid: int) -> float:
    """The time when the process began, on a clock that nobody sets; 0.0 when it is gone already.

    Reference: on Linux psutil adds the boot time, which moves when the clock is set, so the start since boot is read:
    proc(5), field 22 of /proc/pid/stat. Elsewhere the system keeps the time at which it began.
    """
    if sys.platform == "linux":
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                return int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return 0.0
    else:
        import psutil

        try:
            return float(psutil.Process(pid).create_time())
        except psutil.Error:
            return 0.0


def has_children() -> bool:
    """Whether this process has a child; the host of its hidden console on Windows is none of ours."""
    if sys.platform == "linux":
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        else:
            return True
    else:
        import psutil

        for child in psutil.Process().children():
            with suppress(psutil.Error):
                if child.name().lower() != _CONSOLE_HOST:
                    return True
        return False


def is_zombie(process: psutil.Process) -> bool:
    """Whether it has ended and is still listed, because nobody has waited for it: never on Windows."""
    import psutil

    return sys.platform != "win32" and bool(process.status() == psutil.STATUS_ZOMBIE)


def kill(pid: int) -> None:
    """End the process, now.

    Raises:
        OSError: it is gone, or another user's.
    """
    os.kill(pid, _KILL)


def end_line(pid: int, *, is_silent: bool) -> str:
    """The line that a person types to end the process; one that `is_silent` is given no time for its work."""
    end = "kill -9" if is_silent else "kill"
    return f"taskkill /F /T /PID {pid}" if sys.platform == "win32" else f"{end} {pid}"


def end_session(pid: int) -> None:
    """End, now, the worker `pid`, its descendants, and whatever else is in its session; waits for none of them.

    To be called before the worker's exit status is collected, so that its number cannot stand for another process yet.
    """
    end_started_by(pid)
    if pid != os.getpid():
        with suppress(OSError):
            kill(pid)
    if sys.platform != "win32":
        with suppress(OSError):  # last, because a worker that ends its own session ends here
            os.killpg(pid, signal.SIGKILL)


def end_started_by(pid: int) -> None:
    """End, now, the descendants of the worker `pid` and whatever else is in its session, but not the worker."""
    import psutil

    victims = set(session_members(pid))
    with suppress(psutil.Error):
        victims.update(child.pid for child in psutil.Process(pid).children(recursive=True))
    for victim in victims - {pid, os.getpid()}:
        with suppress(OSError):
            kill(victim)


def session_members(session: int) -> list[int]:
    """The living processes of the session; Windows has none, a job object ends them with their daemon."""
    pids: list[int] = []
    if sys.platform != "win32":
        import psutil

        for pid in psutil.pids():
            with suppress(OSError, psutil.Error):
                if os.getsid(pid) == session and not is_zombie(psutil.Process(pid)):
                    pids.append(pid)
    return pids


def memory_bytes() -> int:
    """How much memory this process holds."""
    if sys.platform == "linux":
        with suppress(OSError), open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    import psutil

    return int(psutil.Process().memory_info().rss)


def limit_memory(most_bytes: int) -> None:
    """Let allocations of this process fail that need so much more than it has now; only Linux can."""
    if sys.platform == "linux":
        most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + most_bytes
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def memory_kills() -> int:
    """How many processes this machine has killed for lack of memory since it started; 0 where it does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def was_killed(status: int) -> bool:
    """Whether an exit status says that somebody, or the operating system, ended the process."""
    return status in _KILLED


def is_crash(status: int) -> bool:
    """Whether an exit status says that the process crashed by what its own code did."""
    return status >= _FIRST_CRASH or -status in _CRASH_SIGNALS


def crash_name(status: int) -> str | None:
    """The crash behind an exit status in a few words; None where it was none, and on POSIX, which has signals for that."""
    return _CRASHES.get(status, "it crashed") if status >= _FIRST_CRASH else None


def stop_timer() -> None:
    """Stop the timer that `signal.setitimer` has set, if any."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, 0)


def interrupt_main_thread() -> None:
    """Let the main thread meet a Ctrl-C now, also where it waits in a call of the system, into which Windows has no way."""
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

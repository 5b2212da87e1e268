"""Start processes that outlive this one or show no window, tell them from later ones of the same number, end them with all they started."""

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


class Usage(NamedTuple):
    """The usage since the process began; `peak_bytes` since `forget_peak` where the system can forget it (Linux)."""

    cpu_s: float
    peak_bytes: int


if sys.platform == "win32":
    from data_engine.platforms._processes_windows import *  # noqa: F403

    def usage() -> Usage:
        """The processor time and memory that this process has used so far."""
        import psutil

        process = psutil.Process()
        times, memory = process.cpu_times(), process.memory_info()
        return Usage(times.user + times.system, int(memory.peak_wset))

    def forget_peak() -> bool:
        """Let the peak begin anew; whether it did. Windows keeps one for the life of a process."""
        return False

else:
    import resource

    _KIB = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes

    def usage() -> Usage:
        """The processor time and memory that this process has used so far."""
        own, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu_s = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
        return Usage(cpu_s, own.ru_maxrss * _KIB)

    def forget_peak() -> bool:
        """Let the peak begin anew; whether it did.

        Reference: proc(5), /proc/pid/clear_refs.
        """
        with suppress(OSError):
            file = os.open("/proc/self/clear_refs", os.O_WRONLY)
            try:
                return os.write(file, b"5") == 1
            finally:
                os.close(file)
        return False

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

    def at_fork(
        *,
        before: Callable[[], object] | None = None,
        in_parent: Callable[[], object] | None = None,
        in_child: Callable[[], object] | None = None,
    ) -> None:
        """Call these around each fork of this process."""
        nothing = int
        os.register_at_fork(
            before=before or nothing, after_in_parent=in_parent or nothing, after_in_child=in_child or nothing
        )

    def new_event_loop() -> asyncio.AbstractEventLoop:
        """A loop that can watch sockets and descriptors."""
        import asyncio

        return asyncio.new_event_loop()

    def on_end_signals(loop: asyncio.AbstractEventLoop, end: Callable[[], object]) -> None:
        """Call `end` on the running loop when this process is asked to end: Ctrl-C, or a plain `kill`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)

    def create_time_of(pid: int) -> float:
        """The time when the process began, on a clock that nobody sets; 0.0 when it is gone already.

        Reference: on Linux psutil adds the boot time, which moves when the clock is set, so the start since boot is read:
        proc(5), field 22 of /proc/pid/stat. Elsewhere the system keeps the time at which it began.
        """
        try:
            return _create_time_of(pid)
        except OSError:
            return 0.0

    if sys.platform == "linux":

        def _create_time_of(pid: int) -> float:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                return int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")

        def has_children() -> bool:
            """Whether this process has a child."""
            try:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return False
            return True

    else:

        def _create_time_of(pid: int) -> float:
            import psutil

            try:
                return float(psutil.Process(pid).create_time())
            except psutil.Error:
                return 0.0

        def has_children() -> bool:
            """Whether this process has a child."""
            import psutil

            return bool(psutil.Process().children())

    def is_zombie(process: psutil.Process) -> bool:
        """Whether it has ended and is still listed, because nobody has waited for it."""
        import psutil

        return bool(process.status() == psutil.STATUS_ZOMBIE)

    def is_this_users(process: psutil.Process) -> bool:
        """Whether the process runs as this user."""
        return process.uids().real == os.getuid()

    def kill(pid: int) -> None:
        """End the process, now.

        Raises:
            OSError: it is gone, or another user's.
        """
        os.kill(pid, signal.SIGKILL)

    def end_session(pid: int) -> None:
        """End, now, the worker `pid`, its descendants, and whatever else is in its session; waits for none of them.

        To be called before the worker's exit status is collected, so that its number cannot stand for another process yet.
        """
        end_started_by(pid)
        if pid != os.getpid():
            with suppress(OSError):
                kill(pid)
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
        """The living processes of the session."""
        import psutil

        pids = []
        for pid in psutil.pids():
            with suppress(OSError, psutil.Error):
                if os.getsid(pid) == session and not is_zombie(psutil.Process(pid)):
                    pids.append(pid)
        return pids

    def memory_bytes() -> int:
        """How much memory this process holds."""
        try:
            with open("/proc/self/statm", "rb") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            import psutil

            return int(psutil.Process().memory_info().rss)

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

    def limit_memory(most_bytes: int) -> None:
        """Let allocations of this process fail that need so much more than it has now; only Linux can."""
        if sys.platform == "linux":
            most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + most_bytes
            hard = resource.getrlimit(resource.RLIMIT_AS)[1]
            with suppress(ValueError, OSError):
                resource.setrlimit(
                    resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
                )

    def memory_kills() -> int:
        """How many processes this machine has killed for lack of memory since it started; 0 where it does not say."""
        with suppress(OSError, ValueError):
            for line in Path("/proc/vmstat").read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
        return 0

    def was_killed(status: int) -> bool:
        """Whether an exit status says that somebody, or the operating system, ended the process."""
        return status == -signal.SIGKILL

    def is_crash(status: int) -> bool:
        """Whether an exit status says that the process crashed by what its own code did."""
        return -status in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)

    def crash_name(status: int) -> str | None:
        """The crash behind an exit status in a few words: None, POSIX has signals for that."""
        return None

    def ended_with_session(status: int) -> bool:
        """Whether the process was ended because its user signs off or the machine shuts down; POSIX tells by a signal before."""
        return False

    def stop_timer() -> None:
        """Stop the timer that `signal.setitimer` has set, if any."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def interrupt_main_thread() -> None:
        """Let the main thread meet a Ctrl-C now, also where it waits in a call of the system."""
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

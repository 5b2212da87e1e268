"""Processes: started so that they outlive or hide, told from later ones of the same number, ended with what they started."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import NamedTuple

if sys.platform == "win32":
    from data_engine.platforms._processes_windows import *  # noqa: F403
else:
    from data_engine.platforms._processes_posix import *  # noqa: F403


class Usage(NamedTuple):
    """Since the process began; `peak_bytes` since `forget_peak` where the system can forget it (Linux)."""

    cpu_s: float
    peak_bytes: int


if sys.platform == "win32":

    def usage() -> Usage:
        """What this process has used so far."""
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
        """What this process has used so far."""
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

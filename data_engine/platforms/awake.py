"""Keeping the machine from going to sleep by itself. Nobody promises anything for a lid that is closed or an empty battery."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Protocol


class Awake(Protocol):
    """The machine stays awake until `let_go`, or until this process ends."""

    def trouble(self) -> str | None:
        """Why it does not, as far as the system has said by now."""
        ...

    def let_go(self) -> None:
        """Let the machine sleep again when it wants to."""
        ...


def command(system: str, why: str, pid: int) -> Sequence[str]:
    """The program of macOS, or of Linux, that keeps the machine awake until the process with this number ends.

    Reference: systemd-inhibit(1), here around a `cat` that ends with this process; caffeinate(8).

    Example:
        >>> command("darwin", "a run", 7)
        ('caffeinate', '-i', '-w', '7')
    """
    if system == "darwin":
        return "caffeinate", "-i", "-w", str(pid)
    return "systemd-inhibit", "--what=sleep:idle", "--who=Data Engine", f"--why={why}", "cat"


if sys.platform == "win32":
    import ctypes

    _CONTINUOUS, _SYSTEM_REQUIRED = 0x8000_0000, 0x1

    class _Execution:
        def __init__(self) -> None:
            self._is_refused = not ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS | _SYSTEM_REQUIRED)

        def trouble(self) -> str | None:
            return "SetThreadExecutionState was refused" if self._is_refused else None

        def let_go(self) -> None:
            ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS)

    def stay_awake(why: str) -> Awake:
        """Keep the machine awake; to be let go by the same thread, which lives as long.

        Raises:
            OSError: the system has no means for it.
        """
        return _Execution()

else:
    import subprocess

    class _Holder:
        """A program of the system that keeps the machine awake as long as it runs."""

        def __init__(self, command: Sequence[str]) -> None:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._program = command[0]

        def trouble(self) -> str | None:
            if self._process.poll() is None:
                return None
            assert self._process.stderr is not None
            said = b"" if self._process.stderr.closed else self._process.stderr.read()
            lines = said.decode(errors="replace").strip().splitlines()
            return f"{self._program}: {lines[-1] if lines else f'it ended with exit code {self._process.returncode}'}"

        def let_go(self) -> None:
            for stream in (self._process.stdin, self._process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            with suppress(OSError):
                self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)

    def stay_awake(why: str) -> Awake:
        """Keep the machine awake; to be let go by the same thread, which lives as long.

        Raises:
            OSError: the system has no means for it.
        """
        return _Holder(command(sys.platform, why, os.getpid()))

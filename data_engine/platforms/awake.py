"""Keep the machine from going to sleep by itself. A closed lid or an empty battery may still send it to sleep."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress


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

    class Awake:
        """The machine stays awake until `let_go`, which is called by the same thread, or until this process ends.

        Raises:
            OSError: the system has no means for it.
        """

        def __init__(self, why: str) -> None:
            self._is_refused = not ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS | _SYSTEM_REQUIRED)

        def trouble(self) -> str | None:
            """Why the machine does not stay awake, as far as the system has said by now."""
            return "SetThreadExecutionState was refused" if self._is_refused else None

        def let_go(self) -> None:
            """Let the machine sleep again when it wants to."""
            ctypes.windll.kernel32.SetThreadExecutionState(_CONTINUOUS)

else:
    import subprocess

    class Awake:
        """The machine stays awake until `let_go`, which is called by the same thread, or until this process ends.

        Raises:
            OSError: the system has no means for it.
        """

        def __init__(self, why: str) -> None:
            program = command(sys.platform, why, os.getpid())
            self._process = subprocess.Popen(
                program,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            self._program = program[0]

        def trouble(self) -> str | None:
            """Why the machine does not stay awake, as far as the system has said by now."""
            if self._process.poll() is None:
                return None
            assert self._process.stderr is not None
            output = b"" if self._process.stderr.closed else self._process.stderr.read()
            lines = output.decode(errors="replace").strip().splitlines()
            return f"{self._program}: {lines[-1] if lines else f'it ended with exit code {self._process.returncode}'}"

        def let_go(self) -> None:
            """Let the machine sleep again when it wants to."""
            for stream in (self._process.stdin, self._process.stderr):
                if stream is not None:
                    with suppress(OSError):
                        stream.close()
            with suppress(OSError):
                self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)

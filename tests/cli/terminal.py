"""A process in a terminal of its own, whose screen is read as text."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Any

import pyte

from tests.support import until

REPOSITORY = Path(__file__).parents[2]
_CONTROLLED = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execv(sys.executable, [sys.executable, '-m', 'data_engine', *sys.argv[1:]])"
)
"""Makes the terminal the one whose signals the process gets, as a window's is."""


class Terminal:
    """`data-engine ARGUMENTS` in a pseudo terminal of this size; without `signals` nothing tells of another size, as on Windows."""

    def __init__(self, *arguments: object, columns: int = 80, rows: int = 24, signals: bool = True, **env: str) -> None:
        self._master, slave = pty.openpty()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._lock = threading.Lock()
        self.raw = b""
        self.resize(columns, rows)
        self._before = termios.tcgetattr(slave)
        self._slave = slave
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm-256color", **env}
        for name in ("NO_COLOR", "COLUMNS", "LINES"):  # what the terminal itself says counts
            environment.pop(name, None)
        started = ["-c", _CONTROLLED] if signals else ["-m", "data_engine"]
        self.process = subprocess.Popen(
            [sys.executable, *started, *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            with self._lock:
                self.raw += data
                self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """The screen's rows, without the blanks at their ends."""
        with self._lock:
            return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def type(self, keys: str) -> None:
        """Press these keys; an arrow is its sequence."""
        os.write(self._master, keys.encode())

    def wait_for(self, *words: str, timeout_s: float = 30.0) -> str:
        """The screen once it shows all these words."""
        try:
            until(lambda: self._shows(words) or self.process.poll() is not None, timeout_s)
        except AssertionError:
            raise AssertionError(f"never shown: {words}\n{self.text}") from None
        assert self._shows(words), f"it has ended without {words}\n{self.text}"
        return self.text

    def _shows(self, words: tuple[str, ...]) -> bool:
        """Wherever a row is broken."""
        shown = " ".join(self.text.split())
        return all(" ".join(word.split()) in shown for word in words)

    def resize(self, columns: int, rows: int) -> None:
        with self._lock:
            self._screen.resize(rows, columns)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def is_as_before(self) -> bool:
        """Whether keys are echoed and lines edited as before the process began."""
        return bool(termios.tcgetattr(self._slave) == self._before)

    def end(self) -> int:
        """Wait for the process; its exit code."""
        return self.process.wait(30)

    def said(self) -> list[str]:
        """The rows that something stands on, once the process has ended and all it wrote is read."""
        self.end()
        os.close(self._slave)
        self._slave = -1
        self._reader.join(5)
        return [line for line in self.lines if line]

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for descriptor in (self._slave, self._master):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self._reader.join(5)

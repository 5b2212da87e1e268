"""Whether a stream is a terminal, at which somebody can read and answer; and the keys that are pressed there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_SEQUENCES = {
    "A": "up",
    "B": "down",
    "H": "home",
    "F": "end",
    "1~": "home",
    "4~": "end",
    "5~": "pageup",
    "6~": "pagedown",
}
_KEY = re.compile("\x1b[\\[O]([0-9;]*[A-Za-z~])|(.)", re.DOTALL)
_ESCAPE_S = 0.1
"""How long after Esc the rest of an arrow key may come, over a slow line."""


def keys_of(typed: str) -> list[str]:
    """The names of the keys that a terminal has sent.

    Example:
        >>> keys_of("r\\x1b[A\\x1b[5~\\x1b"), keys_of("\\x1bOB\\x1b[200z")
        (['r', 'up', 'pageup', 'escape'], ['down', ''])
    """
    keys = _KEY.findall(typed)
    return [_SEQUENCES.get(code, "") if code else {"\x1b": "escape"}.get(letter, letter) for code, letter in keys]


if sys.platform == "win32":
    _CODES = {"H": "up", "P": "down", "G": "home", "O": "end", "I": "pageup", "Q": "pagedown"}
    _POLL_S = 0.02

    @contextmanager
    def pressed_keys(stream: TextIO) -> Iterator[Callable[[float], list[str]]]:
        """A function that gives the keys pressed within so many seconds, without Enter and not echoed, inside the block."""
        import msvcrt
        import time

        def wait(timeout_s: float) -> list[str]:
            until_s = time.monotonic() + timeout_s
            while not msvcrt.kbhit():
                if time.monotonic() > until_s:
                    return []
                time.sleep(_POLL_S)
            key = msvcrt.getwch()
            if key == "\x03":
                raise KeyboardInterrupt
            return [_CODES.get(msvcrt.getwch(), "")] if key in ("\x00", "\xe0") else keys_of(key)

        yield wait

    def _is_console(stream: TextIO) -> bool:
        """Every device of characters is a terminal for the C runtime, `NUL` too; only a console has a mode.

        Reference: Microsoft C runtime, `_isatty`; GetConsoleMode.
        """
        import ctypes
        import msvcrt
        from ctypes import wintypes

        from data_engine.platforms._win32 import kernel32

        mode = wintypes.DWORD()
        return bool(kernel32.GetConsoleMode(wintypes.HANDLE(msvcrt.get_osfhandle(stream.fileno())), ctypes.byref(mode)))

else:

    @contextmanager
    def pressed_keys(stream: TextIO) -> Iterator[Callable[[float], list[str]]]:
        """A function that gives the keys pressed within so many seconds, without Enter and not echoed, inside the block.

        Raises:
            EOFError: the terminal went away.
        """
        import os
        import select
        import termios
        import tty

        descriptor = stream.fileno()
        before = termios.tcgetattr(descriptor)

        def wait(timeout_s: float) -> list[str]:
            if not select.select([descriptor], [], [], timeout_s)[0]:
                return []
            try:
                typed = os.read(descriptor, 256)
            except OSError as error:
                raise EOFError from error
            if not typed:
                raise EOFError
            if typed.endswith(b"\x1b") and select.select([descriptor], [], [], _ESCAPE_S)[0]:
                typed += os.read(descriptor, 256)
            return keys_of(typed.decode(errors="replace"))

        tty.setcbreak(descriptor)
        try:
            yield wait
        finally:
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether the stream is a terminal: not where there is none, where it is closed, or for the null device.

    Example:
        >>> import os
        >>> with open(os.devnull) as nobody:
        ...     is_terminal(nobody), is_terminal(None)
        (False, False)
    """
    try:
        return stream is not None and stream.isatty() and (sys.platform != "win32" or _is_console(stream))
    except (OSError, ValueError):
        return False

"""Whether a stream is a terminal, at which somebody can read and answer."""

from __future__ import annotations

import sys
from typing import TextIO

if sys.platform == "win32":

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

    def _is_console(stream: TextIO) -> bool:
        return True


def is_terminal(stream: TextIO | None) -> bool:
    """False where there is no stream, where it is closed, and for the null device, which is nobody.

    Example:
        >>> import os
        >>> with open(os.devnull) as nobody:
        ...     is_terminal(nobody), is_terminal(None)
        (False, False)
    """
    try:
        return stream is not None and stream.isatty() and _is_console(stream)
    except (OSError, ValueError):
        return False

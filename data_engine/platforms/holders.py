"""Who has a file open that cannot be replaced, or read, because of it: for people who have to close it there.

Windows refuses to replace a file that somebody has open, and its Restart Manager knows who that is, on this machine; elsewhere an
open file is replaced, and nobody need be asked.

Reference: https://learn.microsoft.com/windows/win32/rstmgr/restart-manager-portal
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

_NAMED = 2


def in_words(holders: Sequence[tuple[int, str]]) -> str | None:
    """Processes, each by its number and name, as a message names them; None of none.

    Example:
        >>> in_words([(7, "Microsoft Excel")]), in_words([(7, "a"), (8, ""), (9, "c"), (10, "d")])
        ('Microsoft Excel (process 7)', 'a (process 7), process 8 and 2 more')
    """
    if not holders:
        return None
    words = [_one(number, name) for number, name in holders]
    shown, more = words[:_NAMED], len(words) - _NAMED
    return f"{', '.join(shown)} and {more} more" if more > 0 else " and ".join(shown)


def _one(number: int, name: str) -> str:
    if number == os.getpid():
        return f"this process ({number})"
    return f"{name} (process {number})" if name else f"process {number}"


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    from data_engine.platforms.files import is_locked, is_placeholder

    _MORE_DATA = 234
    _TRIES = 3
    _KEY_LETTERS = 33

    class _Process(ctypes.Structure):
        """RM_PROCESS_INFO."""

        _fields_ = (
            ("number", wintypes.DWORD),
            ("began", wintypes.FILETIME),
            ("name", wintypes.WCHAR * 256),
            ("service", wintypes.WCHAR * 64),
            ("kind", ctypes.c_int),
            ("status", wintypes.ULONG),
            ("session", wintypes.DWORD),
            ("is_restartable", wintypes.BOOL),
        )

    def who_holds(path: str | Path) -> str | None:
        """Who on this machine has the file open, in words; None where that is nobody, or not known (on another machine).

        For a message, after an attempt has failed: it takes milliseconds.
        """
        try:
            return in_words(_listed(ctypes.WinDLL("rstrtmgr"), os.path.abspath(path)))
        except (OSError, AttributeError):  # there is none here
            return None

    def who_locks(path: str) -> str | None:
        """Who has the file open so that nobody else can read it now, in words; None when nobody has, as far as the system tells.

        Programs that copy a file have it so. One whose content is elsewhere (`files.is_placeholder`) is not opened.
        """
        try:
            is_elsewhere = is_placeholder(os.stat(path))
        except OSError:
            return None
        return None if is_elsewhere or not is_locked(path) else who_holds(path) or "another program"

    def _listed(manager: ctypes.WinDLL, path: str) -> list[tuple[int, str]]:
        session, key = wintypes.DWORD(), ctypes.create_unicode_buffer(_KEY_LETTERS)
        if manager.RmStartSession(ctypes.byref(session), 0, key):
            return []
        try:
            if manager.RmRegisterResources(session, 1, (wintypes.LPCWSTR * 1)(path), 0, None, 0, None):
                return []
            room = 8
            for _ in range(_TRIES):  # others may come meanwhile
                found, reasons = (_Process * room)(), wintypes.DWORD()
                needed, count = wintypes.UINT(), wintypes.UINT(room)
                status = manager.RmGetList(
                    session, ctypes.byref(needed), ctypes.byref(count), found, ctypes.byref(reasons)
                )
                if status == 0:
                    return [(int(one.number), str(one.name)) for one in found[: count.value]]
                if status != _MORE_DATA:
                    break
                room = needed.value + room
            return []
        finally:
            manager.RmEndSession(session)

else:

    def who_holds(path: str | Path) -> str | None:
        """Who on this machine has the file open, in words; None where that is nobody, or not known (on another machine).

        Only Windows is asked: elsewhere an open file is replaced, and what refuses is a file server.
        """
        return None

    def who_locks(path: str) -> str | None:
        """Who has the file open so that nobody else can read it now, in words; None: only Windows knows such a state."""
        return None

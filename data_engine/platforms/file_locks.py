"""Locks on open files: free again when the descriptor is closed or its process ends, however that is.

They belong to the open file and so exclude threads of one process as well. None of these functions waits.

Reference: flock(2); LockFileEx, whose locks are kept by the kernel and need no content in the file.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    import ctypes
    import msvcrt

    from data_engine.platforms import _win32

    _AT_ONCE, _EXCLUSIVE = 1, 2
    _BYTES = 1

    def lock(descriptor: int) -> None:
        """Take the lock for this descriptor alone.

        Raises:
            OSError: somebody has it.
        """
        _take(descriptor, _AT_ONCE | _EXCLUSIVE)

    def lock_shared(descriptor: int) -> None:
        """Take the lock together with all who take it so.

        Raises:
            OSError: somebody has it alone.
        """
        _take(descriptor, _AT_ONCE)

    def unlock(descriptor: int) -> None:
        """Let go of it."""
        handle = msvcrt.get_osfhandle(descriptor)
        if not _win32.kernel32.UnlockFileEx(handle, 0, _BYTES, 0, ctypes.byref(_win32.Overlapped())):
            raise _win32.last_error()

    def _take(descriptor: int, flags: int) -> None:
        handle = msvcrt.get_osfhandle(descriptor)
        if not _win32.kernel32.LockFileEx(handle, flags, 0, _BYTES, 0, ctypes.byref(_win32.Overlapped())):
            raise _win32.last_error()

else:
    import fcntl

    def lock(descriptor: int) -> None:
        """Take the lock for this descriptor alone.

        Raises:
            OSError: somebody has it.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def lock_shared(descriptor: int) -> None:
        """Take the lock together with all who take it so.

        Raises:
            OSError: somebody has it alone.
        """
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def unlock(descriptor: int) -> None:
        """Let go of it."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

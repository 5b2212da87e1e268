"""Functions of Windows' own libraries, declared once. Errors are `OSError` with the number of the system in `winerror`."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

assert sys.platform == "win32"

INVALID_HANDLE = ctypes.c_void_p(-1).value
GENERIC_READ, GENERIC_WRITE, READ_ATTRIBUTES = 0x8000_0000, 0x4000_0000, 0x80
SHARE_WRITE, SHARE_DELETE = 0x2, 0x4
SHARE_ALL = 0x1 | SHARE_WRITE | SHARE_DELETE
"""Others may read, write, and rename or delete."""

kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)


class Overlapped(ctypes.Structure):
    """Where in a file a lock begins."""

    _fields_ = (
        ("Internal", ctypes.c_size_t),
        ("InternalHigh", ctypes.c_size_t),
        ("Offset", wintypes.DWORD),
        ("OffsetHigh", wintypes.DWORD),
        ("hEvent", wintypes.HANDLE),
    )


class BasicInformation(ctypes.Structure):
    """The times of a file, in 100 ns since 1601, and its attributes."""

    _fields_ = (
        ("CreationTime", ctypes.c_int64),
        ("LastAccessTime", ctypes.c_int64),
        ("LastWriteTime", ctypes.c_int64),
        ("ChangeTime", ctypes.c_int64),
        ("FileAttributes", wintypes.DWORD),
    )


reference, size_of = ctypes.byref, ctypes.sizeof


def _declare(name: str, result: type, *arguments: type) -> None:
    function = getattr(kernel32, name)
    function.restype, function.argtypes = result, arguments


_H, _D, _B, _P, _S = wintypes.HANDLE, wintypes.DWORD, wintypes.BOOL, ctypes.c_void_p, wintypes.LPCWSTR
_declare("CreateFileW", _H, _S, _D, _D, _P, _D, _D, _H)
_declare("CloseHandle", _B, _H)
_declare("LockFileEx", _B, _H, _D, _D, _D, _D, ctypes.POINTER(Overlapped))
_declare("UnlockFileEx", _B, _H, _D, _D, _D, ctypes.POINTER(Overlapped))
_declare("GetFileInformationByHandleEx", _B, _H, ctypes.c_int, _P, _D)
_declare("GetDriveTypeW", wintypes.UINT, _S)
_declare("CreateJobObjectW", _H, _P, _S)
_declare("SetInformationJobObject", _B, _H, ctypes.c_int, _P, _D)
_declare("QueryInformationJobObject", _B, _H, ctypes.c_int, _P, _D, _P)
_declare("AssignProcessToJobObject", _B, _H, _H)
_declare("TerminateJobObject", _B, _H, wintypes.UINT)
_declare("OpenProcess", _H, _D, _B, _D)
_declare("TerminateProcess", _B, _H, wintypes.UINT)
_declare("LocalFree", _P, _P)


def last_error(path: object = None) -> OSError:
    """The error that the system has just reported to this thread."""
    return error_of(ctypes.get_last_error(), path)


def error_of(number: int, path: object = None) -> OSError:
    """An error of the system by its number; `errno` and the class follow from it."""
    name = None if path is None else str(path)
    return OSError(None, ctypes.FormatError(number).strip(), name, number)


def close_handle(handle: int | None) -> None:
    """Close a handle."""
    if handle:
        kernel32.CloseHandle(handle)

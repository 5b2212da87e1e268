"""Keep files and folders private to one user.

POSIX: the mode of each file and folder. Windows: an access list on a private folder that inherits nothing from above and gives
the user, the system and administrators all rights; what is made inside takes its list from there, so that files need no look.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from data_engine.platforms.host import shell_line

FILE = 0o600
FOLDER = 0o700

if sys.platform == "win32":
    import ctypes
    import re
    from ctypes import wintypes

    from data_engine.platforms import _win32

    EACH_HAS_ITS_OWN = False
    """Whether files in a private folder are looked at one by one."""

    _TRUSTED = frozenset(("SY", "BA", "CO", "OW"))
    """The system, administrators, and two names that stand for the owner."""

    _ENTRY = re.compile(r"\((?P<kind>\w+);[^;]*;[^;]*;[^;]*;[^;]*;(?P<who>[^;)]*)")
    _FILE_OBJECT, _OWNER, _LIST, _PROTECTED = 1, 0x1, 0x4, 0x8000_0000
    _NO_SUCH_THING = (1, 50, 87)
    """ERROR_INVALID_FUNCTION, _NOT_SUPPORTED, _INVALID_PARAMETER: the drive keeps no lists."""

    _advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
    _text_of, _of_text = (
        _advapi32.ConvertSecurityDescriptorToStringSecurityDescriptorW,
        _advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW,
    )
    _text_of.argtypes = (
        ctypes.c_void_p,
        wintypes.DWORD,
        wintypes.DWORD,
        ctypes.POINTER(wintypes.LPWSTR),
        ctypes.c_void_p,
    )
    _of_text.argtypes = (wintypes.LPCWSTR, wintypes.DWORD, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)
    _advapi32.GetNamedSecurityInfoW.argtypes = (
        wintypes.LPCWSTR,
        ctypes.c_int,
        wintypes.DWORD,
        *([ctypes.c_void_p] * 4),
        ctypes.POINTER(ctypes.c_void_p),
    )
    _advapi32.SetFileSecurityW.argtypes = (wintypes.LPCWSTR, wintypes.DWORD, ctypes.c_void_p)
    _advapi32.OpenProcessToken.argtypes = (wintypes.HANDLE, wintypes.DWORD, ctypes.POINTER(wintypes.HANDLE))
    _advapi32.GetTokenInformation.argtypes = (
        wintypes.HANDLE,
        ctypes.c_int,
        ctypes.c_void_p,
        wintypes.DWORD,
        ctypes.POINTER(wintypes.DWORD),
    )
    _advapi32.ConvertSidToStringSidW.argtypes = (ctypes.c_void_p, ctypes.POINTER(wintypes.LPWSTR))

    def is_open(path: Path, facts: os.stat_result) -> bool:
        """Whether other users may use the file or folder."""
        return bool(_others(path))

    def close(path: str | Path, facts: os.stat_result, *, dir_fd: int | None = None) -> None:
        """Close the file or folder to other users; where the drive keeps no lists it stays as it is.

        Raises:
            OSError: it cannot be closed.
        """
        inherit = "OICI" if stat.S_ISDIR(facts.st_mode) else ""
        text = "D:P" + "".join(f"(A;{inherit};FA;;;{who})" for who in (_user_sid(), "SY", "BA"))
        descriptor = ctypes.c_void_p()
        if not _of_text(text, 1, ctypes.byref(descriptor), None):
            raise _win32.last_error(path)
        try:
            if not _advapi32.SetFileSecurityW(str(path), _LIST | _PROTECTED, descriptor):
                error = _win32.last_error(path)
                if error.winerror not in _NO_SUCH_THING:
                    raise error
        finally:
            _win32.kernel32.LocalFree(descriptor)

    def owner(path: Path, facts: os.stat_result) -> str | None:
        """The owner when that is another person; None for this user, the system and administrators."""
        match = re.match(r"O:([^:]*?)(?:[GDS]:|$)", _description(path, _OWNER))
        who = match[1] if match else ""
        return who if who and who not in _own_names() else None

    def described(path: Path, facts: os.stat_result) -> str:
        """The rights of others, in a few words."""
        return f"open to {', '.join(_others(path))}"

    def closing_line(paths: Sequence[str]) -> str:
        """The command that closes them by hand."""
        return "; ".join(
            shell_line(["icacls", path, "/inheritance:r", "/grant:r", f"{user_name()}:(OI)(CI)F"]) for path in paths
        )

    def user_name() -> str:
        """The name or number that no other user of the machine has."""
        return os.environ.get("USERNAME") or _user_sid()

    def _others(path: Path) -> list[str]:
        """The others that the access list of the path names, as it spells them."""
        allowed = (entry["who"] for entry in _ENTRY.finditer(_description(path, _LIST)) if "A" in entry["kind"])
        return sorted(set(allowed) - _own_names())

    def _description(path: Path, what: int) -> str:
        """A part of the security descriptor as text; empty where the drive keeps none."""
        descriptor = ctypes.c_void_p()
        number = _advapi32.GetNamedSecurityInfoW(
            str(path), _FILE_OBJECT, what, None, None, None, None, ctypes.byref(descriptor)
        )
        if number:
            if number in _NO_SUCH_THING:
                return ""
            raise _win32.error_of(number, path)
        text = wintypes.LPWSTR()
        try:
            if not _text_of(descriptor, 1, what, ctypes.byref(text), None):
                raise _win32.last_error(path)
            return text.value or ""
        finally:
            _win32.kernel32.LocalFree(text)
            _win32.kernel32.LocalFree(descriptor)

    def _own_names() -> frozenset[str]:
        sid = _user_sid()
        return _TRUSTED | {sid} | ({"LA"} if sid.endswith("-500") else frozenset())

    def _user_sid() -> str:
        """This user's number, as texts of descriptors spell it."""
        token, size = wintypes.HANDLE(), wintypes.DWORD()
        query, token_user, this_process = 0x8, 1, -1
        if not _advapi32.OpenProcessToken(wintypes.HANDLE(this_process), query, ctypes.byref(token)):
            raise _win32.last_error()
        try:
            _advapi32.GetTokenInformation(token, token_user, None, 0, ctypes.byref(size))
            data = ctypes.create_string_buffer(size.value)
            if not _advapi32.GetTokenInformation(token, token_user, data, size, ctypes.byref(size)):
                raise _win32.last_error()
        finally:
            _win32.kernel32.CloseHandle(token)
        text = wintypes.LPWSTR()
        sid = ctypes.cast(data, ctypes.POINTER(ctypes.c_void_p)).contents
        if not _advapi32.ConvertSidToStringSidW(sid, ctypes.byref(text)):
            raise _win32.last_error()
        try:
            return text.value or ""
        finally:
            _win32.kernel32.LocalFree(text)

else:
    EACH_HAS_ITS_OWN = True
    """Whether files in a private folder are looked at one by one."""

    _OTHERS = stat.S_IRWXG | stat.S_IRWXO

    def is_open(path: Path, facts: os.stat_result) -> bool:
        """Whether other users may use the file or folder."""
        return bool(facts.st_mode & _OTHERS)

    def close(path: str | Path, facts: os.stat_result, *, dir_fd: int | None = None) -> None:
        """Close the file or folder to other users.

        By name and not by descriptor: opening and closing a file would end the locks SQLite has on it in this process.

        Raises:
            OSError: it cannot be closed.
        """
        os.chmod(path, FOLDER if stat.S_ISDIR(facts.st_mode) else FILE, dir_fd=dir_fd)

    def owner(path: Path, facts: os.stat_result) -> str | None:
        """The owner when that is another user."""
        return f"uid {facts.st_uid}" if facts.st_uid != os.geteuid() else None

    def described(path: Path, facts: os.stat_result) -> str:
        """The rights of others, in a few words."""
        return f"mode {stat.S_IMODE(facts.st_mode):04o}"

    def user_name() -> str:
        """The name or number that no other user of the machine has."""
        return str(os.getuid())

    def closing_line(paths: Sequence[str]) -> str:
        """The command that closes them by hand."""
        return shell_line(["chmod", "-R", "go-rwx", *paths])


def close_descriptor(descriptor: int) -> None:
    """Close an open file to other users; nothing on Windows, where what is made in a private folder is private.

    Raises:
        OSError: it cannot be closed.
    """
    if sys.platform != "win32":
        facts = os.fstat(descriptor)
        if facts.st_mode & _OTHERS and stat.S_ISREG(facts.st_mode):
            os.fchmod(descriptor, FILE)


def is_private(descriptor: int) -> bool:
    """Whether an open file is this user's alone; on Windows its folder says so."""
    if not EACH_HAS_ITS_OWN:
        return True
    facts = os.fstat(descriptor)
    return owner(Path(), facts) is None and not is_open(Path(), facts)

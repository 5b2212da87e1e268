"""Opening files: the flags, handles that leave others their rights, locks, what an error means, and who has a file open.

An error is known by its number and never by its text, which is in the user's language on Windows. Locks are free again when the
descriptor is closed or its process ends, however that is; they belong to the open file and so exclude threads of one process as
well, and none of their functions waits. On Windows to replace or remove a file that another program has open is a sharing violation;
its Restart Manager names the programs of this machine that have the file open.

Reference: CreateFileW (dwShareMode); the C runtime's `_wopen`, which Python's `open` uses, forbids others to rename and delete;
flock(2); LockFileEx, whose locks are kept by the kernel and need no content in the file;
https://learn.microsoft.com/windows/win32/rstmgr/restart-manager-portal
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
"""For `os.open`: a link is an error (ELOOP) and not followed; 0 where there is no such thing."""

FOLDER_ONLY: int = getattr(os, "O_DIRECTORY", 0)
LOOK_ONLY: int = getattr(os, "O_PATH", os.O_RDONLY)
"""For `os.open` of a folder: to look at it only, which needs no right to it where the system can do that."""

NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
"""For `os.open`: a pipe with a name does not keep it waiting; 0 where there are none."""

PLACEHOLDER = 0x1000 | 0x4_0000 | 0x40_0000
"""FILE_ATTRIBUTE_OFFLINE, _RECALL_ON_OPEN, _RECALL_ON_DATA_ACCESS: its content is in a cloud or an archive."""

_DATALESS = 0x4000_0000
_ON_WINDOWS = sys.platform == "win32"
_SHARING_VIOLATION, _LOCK_VIOLATION, _ACCESS_DENIED, _USER_MAPPED = 32, 33, 5, 1224
_SYMLINK, _JUNCTION = 0xA000_000C, 0xA000_0003
"""IO_REPARSE_TAG_SYMLINK, and _MOUNT_POINT, which a junction and a drive in a folder have; folders of OneDrive have others."""

_NAMED = 2

_HEAD_BYTES = 16
_BESIDE = ("-wal", "-shm", "-journal")
_database_suffixes = {*".duckdb .ddb .db .db3 .sqlite .sqlite3 .sl3 .s3db .gpkg .mbtiles .wal".split()}
"""Of names that databases have; those of others whose first bytes this process has seen are added."""
_keeps_locks = not _ON_WINDOWS
"""On Windows a lock belongs to the handle, and stays when another one is closed."""
_kept: list[int] = []
"""The descriptors of databases that stay open."""


def in_text(holders: Sequence[tuple[int, str]]) -> str | None:
    """Processes, each by its number and name, as a message names them; None of none.

    Example:
        >>> in_text([(7, "Microsoft Excel")]), in_text([(7, "a"), (8, ""), (9, "c"), (10, "d")])
        ('Microsoft Excel (process 7)', 'a (process 7), process 8 and 2 more')
    """
    if not holders:
        return None
    words = [_holder_text(number, name) for number, name in holders]
    shown, more = words[:_NAMED], len(words) - _NAMED
    return f"{', '.join(shown)} and {more} more" if more > 0 else " and ".join(shown)


def _holder_text(number: int, name: str) -> str:
    if number == os.getpid():
        return f"this process ({number})"
    return f"{name} (process {number})" if name else f"process {number}"


if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    from data_engine.platforms import _win32

    OWN = os.O_BINARY | os.O_NOINHERIT
    """For `os.open`: bytes as they are, and no child of ours gets the descriptor."""

    _CREATE_NEW, _CREATE_ALWAYS, _OPEN_EXISTING, _OPEN_ALWAYS, _TRUNCATE_EXISTING = 1, 2, 3, 4, 5
    _NORMAL, _BACKUP_SEMANTICS, _REPARSE_POINT_ITSELF = 0x80, 0x0200_0000, 0x0020_0000
    _LIST_FOLDER = 0x1
    _IN_USE = (errno.EBUSY, errno.EACCES)
    _ALONE, _TOGETHER = 3, 1
    """LOCKFILE_FAIL_IMMEDIATELY, the first with _EXCLUSIVE_LOCK."""

    _BYTES = 1

    _MORE_DATA = 234
    _TRIES = 3
    _KEY_LETTERS = 33

    _EPOCH_1601 = 116_444_736_000_000_000

    CAN_REPLACE_OPEN_FILES = False
    """Whether a file can be replaced or removed that a library has open."""

    def open_shared(path: str | Path, flags: int, mode: int = 0o666, *, dir_fd: int | None = None) -> int:
        """A descriptor as of `os.open`, while which is open others may read, write, rename and delete the file.

        Raises:
            OSError: it cannot be opened.
        """
        access = _win32.GENERIC_READ
        if flags & (os.O_WRONLY | os.O_RDWR):
            access = _win32.GENERIC_WRITE | (_win32.GENERIC_READ if flags & os.O_RDWR else _win32.READ_ATTRIBUTES)
        handle = _opened(path, access, how=_disposition(flags))
        try:
            return msvcrt.open_osfhandle(handle, flags & (os.O_APPEND | os.O_WRONLY | os.O_RDWR) | OWN)
        except OSError:
            _win32.close_handle(handle)
            raise

    def _opened(
        path: str | Path, access: int, *, how: int = _OPEN_EXISTING, flags: int = _NORMAL, denied: int = 0
    ) -> int:
        """A handle, while which is open others may use the file in each way that is not `denied`."""
        share = _win32.SHARE_ALL & ~denied
        handle = _win32.kernel32.CreateFileW(str(path), access, share, None, how, flags, None)
        if handle == _win32.INVALID_HANDLE:
            raise _win32.last_error(path)
        return int(handle)

    def _disposition(flags: int) -> int:
        if flags & os.O_CREAT:
            if flags & os.O_EXCL:
                return _CREATE_NEW
            return _CREATE_ALWAYS if flags & os.O_TRUNC else _OPEN_ALWAYS
        return _TRUNCATE_EXISTING if flags & os.O_TRUNC else _OPEN_EXISTING

    def read_at(descriptor: int, size: int, offset: int) -> bytes:
        """Up to `size` bytes from `offset` on. Not thread-safe here: it moves the descriptor's position in the file."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)

    def write_at(descriptor: int, data: bytes, offset: int) -> int:
        """Write at `offset`; how many bytes were written. Not thread-safe here, as `read_at`."""
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.write(descriptor, data)

    def hold_folder(path: str | Path, *, is_followed: bool = False) -> int | None:
        """A handle while which is open nobody can rename or remove the folder; of a link, the link itself unless it is followed.

        Raises:
            OSError: it cannot be opened.
        """
        flags = _BACKUP_SEMANTICS | (0 if is_followed else _REPARSE_POINT_ITSELF)
        # Without a right to its content, how it is shared would not count.
        return _opened(path, _LIST_FOLDER, flags=flags, denied=_win32.SHARE_DELETE)

    def let_go_of_folder(handle: int | None) -> None:
        """Let others rename and remove the folder again."""
        _win32.close_handle(handle)

    def changed_ns(path: str, facts: os.stat_result) -> int:
        """When the file or folder was last changed in any way, also by a program that sets its time back.

        Reference: FILE_BASIC_INFO.ChangeTime; what `os.stat` calls so on Windows is when it was made.
        """
        information = _win32.BasicInformation()
        try:
            handle = _opened(path, _win32.READ_ATTRIBUTES, flags=_BACKUP_SEMANTICS)
        except OSError:
            return facts.st_mtime_ns
        try:
            is_told = _win32.kernel32.GetFileInformationByHandleEx(
                handle, 0, _win32.reference(information), _win32.size_of(information)
            )
        finally:
            _win32.close_handle(handle)
        return (information.ChangeTime - _EPOCH_1601) * 100 if is_told else facts.st_mtime_ns

    def own_descriptors(facts: os.stat_result) -> list[int]:
        """None: the system does not tell."""
        return []

    def close_kept() -> None:
        """Nothing: none is kept."""

    def _is_refused(path: str, access: int, *, denied: int = 0) -> bool:
        """Whether the file cannot be opened so, because of how somebody else has it open."""
        try:
            _win32.close_handle(_opened(path, access, denied=denied))
        except OSError as error:
            return error.winerror in (_SHARING_VIOLATION, _LOCK_VIOLATION)
        return False

    def unlock(descriptor: int) -> None:
        """Release the lock."""
        handle = msvcrt.get_osfhandle(descriptor)
        if not _win32.kernel32.UnlockFileEx(handle, 0, _BYTES, 0, ctypes.byref(_win32.Overlapped())):
            raise _win32.last_error()

    def _take(descriptor: int, flags: int) -> None:
        handle = msvcrt.get_osfhandle(descriptor)
        if not _win32.kernel32.LockFileEx(handle, flags, 0, _BYTES, 0, ctypes.byref(_win32.Overlapped())):
            raise _win32.last_error()

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

    def _listed(manager: ctypes.WinDLL, path: str) -> list[tuple[int, str]]:
        session, key = wintypes.DWORD(), ctypes.create_unicode_buffer(_KEY_LETTERS)
        if manager.RmStartSession(ctypes.byref(session), 0, key):
            return []
        try:
            if manager.RmRegisterResources(session, 1, (wintypes.LPCWSTR * 1)(path), 0, None, 0, None):
                return []
            room = 8
            for _ in range(_TRIES):  # others may come meanwhile
                holders, reasons = (_Process * room)(), wintypes.DWORD()
                needed, count = wintypes.UINT(), wintypes.UINT(room)
                status = manager.RmGetList(
                    session, ctypes.byref(needed), ctypes.byref(count), holders, ctypes.byref(reasons)
                )
                if status == 0:
                    return [(int(holder.number), str(holder.name)) for holder in holders[: count.value]]
                if status != _MORE_DATA:
                    break
                room = needed.value + room
            return []
        finally:
            manager.RmEndSession(session)

else:
    import fcntl

    OWN = os.O_CLOEXEC
    """For `os.open`: bytes as they are, and no child of ours gets the descriptor."""

    CAN_REPLACE_OPEN_FILES = True
    """Whether a file can be replaced or removed that a library has open."""

    def open_shared(path: str | Path, flags: int, mode: int = 0o666, *, dir_fd: int | None = None) -> int:
        """A descriptor as of `os.open`, while which is open others may read, write, rename and delete the file.

        Raises:
            OSError: it cannot be opened.
        """
        return os.open(path, flags | os.O_CLOEXEC, mode, dir_fd=dir_fd)

    def hold_folder(path: str | Path, *, is_followed: bool = False) -> int | None:
        """Nothing: here a folder is used by its descriptor, wherever it is moved."""

    def let_go_of_folder(handle: int | None) -> None:
        """Nothing likewise."""

    read_at, write_at = os.pread, os.pwrite

    _IN_USE = (errno.EBUSY,)
    _ALONE, _TOGETHER = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_SH | fcntl.LOCK_NB
    _take = fcntl.flock

    def unlock(descriptor: int) -> None:
        """Release the lock."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def changed_ns(path: str, facts: os.stat_result) -> int:
        """When the file or folder was last changed in any way, also by a program that sets its time back."""
        return facts.st_ctime_ns

    def own_descriptors(facts: os.stat_result) -> list[int]:
        """The descriptors that this process has of the file with these facts; none where the system does not tell."""
        numbers = os.listdir("/dev/fd") if os.path.isdir("/dev/fd") else []
        return [number for number in map(int, numbers) if _is_of(number, facts)]

    def _is_of(number: int, facts: os.stat_result) -> bool:
        with suppress(OSError):  # it is closed by now
            return os.path.samestat(os.fstat(number), facts)
        return False

    def close_kept() -> None:
        """Close the descriptors that `let_go` kept, but those of files that something else here has open. For when no author's code runs."""
        for kept in list(_kept):
            if {kept} <= {*own_descriptors(os.fstat(kept))} <= {*_kept}:
                _kept.remove(kept)
                os.close(kept)


def lock(descriptor: int) -> None:
    """Take the lock for this descriptor alone.

    Raises:
        OSError: somebody has it.
    """
    _take(descriptor, _ALONE)


def lock_shared(descriptor: int) -> None:
    """Take the lock together with all who take it so.

    Raises:
        OSError: somebody has it alone.
    """
    _take(descriptor, _TOGETHER)


def copy_range(source: int, target: int, size: int, offset: int) -> int:
    """Let the system copy up to so many bytes at that place of one open file to the same place of another; how many, 0 where it cannot."""
    if sys.platform == "linux":
        with suppress(OSError):  # from one drive to another, or a file server that cannot
            return os.copy_file_range(source, target, size, offset, offset)
    return 0


def is_open_elsewhere(error: OSError) -> bool:
    """Whether it says that somebody has the file open, so that the same may work in a moment: on Windows, and on SMB.

    "Access denied" of Windows says that too: of a target that is open, and of a name that is being deleted.
    """
    number = getattr(error, "winerror", None)
    if number is None:  # of POSIX, or of the C runtime of Windows, which knows no more
        return error.errno in _IN_USE
    return number in (_SHARING_VIOLATION, _LOCK_VIOLATION, _ACCESS_DENIED, _USER_MAPPED)


def is_locked(path: str, *, to_write: bool = False) -> bool:
    """Whether somebody has the file open so that it cannot be read (or written) now, as copying programs do on Windows; elsewhere
    there is no such state."""
    if sys.platform == "win32":
        return _is_refused(path, _win32.GENERIC_READ | (_win32.GENERIC_WRITE if to_write else 0))
    else:  # noqa: RET505 - what is not of this system is not checked
        return False


def has_writer(path: str) -> bool:
    """Whether somebody has the file open to write it, or so that it cannot be read; who only reads it does not count. Only Windows
    tells so by how it may be opened."""
    if sys.platform == "win32":
        return _is_refused(path, _win32.GENERIC_READ, denied=_win32.SHARE_WRITE)
    else:  # noqa: RET505 - what is not of this system is not checked
        return False


def who_holds(path: str | Path) -> str | None:
    """The programs on this machine that have the file open, in words; None where there are none, or not known (on another machine).

    For a message, after an attempt has failed: it takes milliseconds. Only Windows is asked: elsewhere an open file is replaced, and
    what refuses is a file server.
    """
    if sys.platform == "win32":
        with suppress(OSError, AttributeError):  # there is no such library
            return in_text(_listed(ctypes.WinDLL("rstrtmgr"), os.path.abspath(path)))
    return None


def who_locks(path: str) -> str | None:
    """The programs that let nobody else read the file now, in words; None when there are none, as far as the system tells.

    Programs that copy a file have it so. One whose content is elsewhere (`is_placeholder`) is not opened.
    """
    if not _ON_WINDOWS:
        return None
    try:
        is_elsewhere = is_placeholder(os.stat(path))
    except OSError:
        return None
    return None if is_elsewhere or not is_locked(path) else who_holds(path) or "another program"


def is_placeholder(facts: os.stat_result) -> bool:
    """Whether the file's content is elsewhere (OneDrive, iCloud, an archive), so that opening it may fetch it.

    Reference: chflags(2), SF_DATALESS of macOS.
    """
    return bool(getattr(facts, "st_file_attributes", 0) & PLACEHOLDER or getattr(facts, "st_flags", 0) & _DATALESS)


def is_folder_itself(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is a folder and no link to one: a junction may lead to a folder above it, and round for ever."""
    if not _ON_WINDOWS or not entry.is_dir(follow_symlinks=False):
        return entry.is_dir(follow_symlinks=False)
    tag: int = getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0)
    return tag != _JUNCTION


def is_link(path: str) -> bool:
    """Whether the path is a link, or a junction of Windows."""
    if not _ON_WINDOWS:
        return os.path.islink(path)
    with suppress(OSError):
        return getattr(os.lstat(path), "st_reparse_tag", 0) in (_SYMLINK, _JUNCTION)
    return False


class _SharedFile(io.FileIO):
    def __init__(self, path: str | Path) -> None:
        self._path, descriptor = path, open_shared(path, os.O_RDONLY)
        try:
            super().__init__(descriptor, closefd=False)
        except OSError as error:  # it is a folder
            os.close(descriptor)
            raise OSError(error.errno, error.strerror, str(path)) from None

    def close(self) -> None:
        if not self.closed:
            descriptor = self.fileno()
            super().close()
            let_go(descriptor, self._path)


def open_to_read(path: str | Path) -> io.BufferedReader:
    """The bytes of a file that is not ours alone, while which is open others may write, rename and delete it, on Windows too.

    Raises:
        OSError: it cannot be opened.
    """
    return io.BufferedReader(_SharedFile(path))


def content_of(path: str | Path) -> bytes:
    """All bytes of such a file.

    Raises:
        OSError: it cannot be read.
    """
    with _SharedFile(path) as file:
        return file.readall()


def has_locks_to_lose(path: str | Path) -> bool:
    """Whether this process must not open and close the file, whose name is that of a database: it may have locks on it.

    Example:
        >>> has_locks_to_lose("sales.csv")
        False
    """
    suffix = os.path.splitext(path)[1].lower()
    return _keeps_locks and (suffix in _database_suffixes or suffix.endswith(_BESIDE))


def read_plainly() -> None:
    """Let this process, which runs no author's code and has no database open, open and close databases as other files."""
    global _keeps_locks
    _keeps_locks = False


def let_go(descriptor: int, path: str | Path) -> None:
    """Close a descriptor that was opened to read `path`. One of a database stays open while the file is there, where closing it would
    let go of all locks that this process has on the file.

    Reference: fcntl(2), "Advisory record locking"; https://www.sqlite.org/howtocorrupt.html
    """
    if not _keeps_locks or not is_database(_head(descriptor)):
        os.close(descriptor)
        return
    _database_suffixes.add(os.path.splitext(path)[1].lower())
    for kept in list(_kept):
        with suppress(OSError, ValueError):  # another thread closes it
            if not os.fstat(kept).st_nlink:
                _kept.remove(kept)
                os.close(kept)
    _kept.append(descriptor)


def is_database(head: bytes) -> bool:
    """Whether a file that begins so is a database of DuckDB or SQLite."""
    return head[8:12] == b"DUCK" or head.startswith(b"SQLite format 3\0")


def _head(descriptor: int) -> bytes:
    try:
        return read_at(descriptor, _HEAD_BYTES, 0)
    except OSError:  # a pipe has none
        return b""


def mount_of(descriptor: int) -> bytes:
    """The id of the mount of an open folder, among those of the same drive; empty where the system has none.

    Reference: `mnt_id` in proc_pid_fdinfo(5).
    """
    if sys.platform == "linux":
        with suppress(OSError):  # without /proc a bind mount of the same drive is not seen
            facts = os.open(f"/proc/self/fdinfo/{descriptor}", os.O_RDONLY)  # `open` takes three times as long
            try:
                return os.read(facts, 1024).partition(b"mnt_id:")[2].partition(b"\n")[0]
            finally:
                os.close(facts)
    return b""


def path_of_folder(descriptor: int) -> str | None:
    """The path of an open folder; None where the system does not tell.

    Reference: `/proc/self/fd` in proc(5); F_GETPATH in fcntl(2) of macOS. Windows opens no folders so.
    """
    with suppress(OSError):
        if sys.platform == "linux":
            return os.readlink(f"/proc/self/fd/{descriptor}")
        elif sys.platform == "darwin":  # noqa: RET505 - what is not of this system is not checked
            return fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).partition(b"\0")[0].decode()
    return None

"""`child` on Windows: a job object, connections within this machine, pipes that are looked at."""

from __future__ import annotations

import _winapi
import asyncio
import ctypes
import hmac
import msvcrt
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from ctypes import wintypes
from pathlib import Path

from data_engine.platforms import _win32, processes

assert sys.platform == "win32"

SECRET_BYTES = 32
GREETING_BYTES = SECRET_BYTES + 5
"""The size of a worker's greeting on each of its two connections: the secret, "c" or "a", its own number."""

_PIPE_BYTES = 1024 * 1024
_SOON_S, _LOOK_S, _LONGEST_LOOK_S = 0.001, 0.02, 0.5
_PIECES = 16
"""The most pieces of a stream that are taken at one look; other work of the loop comes between two looks."""
_ENDED = 15
_FOREVER = 0xFFFF_FFFF


class Child:
    """A worker process, its channels and its streams. Everything is called on the thread of the loop.

    `command` gets one more argument, which `parent.join` understands. `on_channels` gets both channels once they are there,
    not blocking; `on_text` the number of a stream, 0 or 1, that has something; `on_exit` is called when the process is gone
    and not waited for yet. `kept` is not needed: the job object ends the process with its daemon.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        loop: asyncio.AbstractEventLoop,
        on_channels: Callable[[socket.socket, socket.socket], None],
        on_text: Callable[[int], None],
        on_exit: Callable[[], None],
        kept: int,
    ) -> None:
        self._loop = loop
        program, environment = processes.program_of(command[0], environment)
        self._on_channels, self._on_text, self._on_exit = on_channels, on_text, on_exit
        self._secret = secrets.token_bytes(SECRET_BYTES)
        self._greetings: dict[socket.socket, bytes] = {}
        self._channels: dict[bytes, socket.socket] = {}
        self._listener: socket.socket | None = _listener()
        self._job = JobObject()
        self._readers: list[int] = []
        writers: list[int] = []
        try:
            for _ in range(2):
                reader, writer = _winapi.CreatePipe(None, _PIPE_BYTES)
                self._readers.append(reader)
                writers.append(msvcrt.open_osfhandle(writer, 0))
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                [program, *command[1:], f"{self._listener.getsockname()[1]},{os.getpid()}"],
                stdin=subprocess.PIPE,
                stdout=writers[0],
                stderr=writers[1],
                env=environment,
                cwd=folder,
                creationflags=subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP,
            )
        except BaseException:
            self._stop_listening()
            self._job.close()
            self.close()
            raise
        finally:
            for writer in writers:
                os.close(writer)
        self.pid = self._process.pid
        self._job.add(int(self._process._handle))  # type: ignore[attr-defined]
        assert self._process.stdin is not None
        with suppress(OSError), self._process.stdin as stream:  # it is gone, and its end will say so
            stream.write(self._secret)
        loop.add_reader(self._listener, self._accept)
        self._look_s = _LOOK_S
        self._timer = loop.call_later(_LOOK_S, self._look)
        threading.Thread(target=self._wait_for_exit, name=f"worker {self.pid}", daemon=True).start()

    def end(self) -> None:
        """End it now, with everything it started."""
        self._job.end()

    def end_started(self) -> None:
        """End what it started, but not itself."""
        self._job.end(but=self._own)

    @property
    def _own(self) -> set[int]:
        pids = {self.pid}
        for greeting in self._greetings.values():
            pids.add(int.from_bytes(greeting[-4:], "big"))
        return pids

    def tell_where(self) -> None:
        """Nothing: a worker has set a timer that writes where its threads are (`parent.tell_where_after`)."""

    def read_text(self, number: int, size: int) -> bytes:
        """The text that one of its streams has now; empty when there is none."""
        if not self._readers:
            return b""
        try:
            waiting = _winapi.PeekNamedPipe(self._readers[number], 0)[0]
            if not waiting:
                return b""
            data, _ = _winapi.ReadFile(self._readers[number], min(int(waiting), size))
            return bytes(data)
        except OSError:  # nobody writes any more
            return b""

    def wait(self) -> int:
        """Its exit status, once it is gone."""
        return self._process.wait()

    def close(self) -> None:
        """Close the streams."""
        readers, self._readers = self._readers, []
        for reader in readers:
            _winapi.CloseHandle(reader)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._greetings[connection] = b""
        self._loop.add_reader(connection, self._greet, connection)

    def _greet(self, connection: socket.socket) -> None:
        """Take a connection for the worker's when it knows the secret."""
        try:
            data = connection.recv(GREETING_BYTES - len(self._greetings[connection]))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        greeting = self._greetings[connection] = self._greetings[connection] + data
        if data and len(greeting) < GREETING_BYTES:
            return
        self._loop.remove_reader(connection)
        kind = greeting[SECRET_BYTES : SECRET_BYTES + 1]
        if not hmac.compare_digest(greeting[:SECRET_BYTES], self._secret) or kind in self._channels:
            del self._greetings[connection]
            connection.close()
            return
        self._channels[kind] = connection
        if self._channels.keys() == {b"c", b"a"}:
            self._join_job(int.from_bytes(greeting[-4:], "big"))
            self._stop_listening()
            for channel in self._channels.values():
                channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._on_channels(self._channels[b"c"], self._channels[b"a"])

    def _join_job(self, pid: int) -> None:
        """Take the Python that answers into the job, if its launcher was quicker than we were."""
        if pid == self.pid:
            return
        set_quota, terminate = 0x0100, 0x0001
        handle = _win32.kernel32.OpenProcess(set_quota | terminate, False, pid)
        if handle:
            with suppress(OSError):  # it is in there already
                self._job.add(handle)
            _win32.close_handle(handle)

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._loop.remove_reader(listener)
            listener.close()
        for connection in self._greetings.keys() - set(self._channels.values()):
            self._loop.remove_reader(connection)
            del self._greetings[connection]
            connection.close()

    def _look(self) -> None:
        """Look whether the streams have something: more seldom while they have not. Frames and polls take texts too."""
        self._look_s = min(self._look_s * 2, _LONGEST_LOOK_S)
        for number in range(len(self._readers)):
            for _ in range(_PIECES):
                if not self._has_text(number):
                    break
                self._look_s = _SOON_S
                self._on_text(number)
        if self._readers:
            self._timer = self._loop.call_later(self._look_s, self._look)

    def _has_text(self, number: int) -> bool:
        try:
            return bool(self._readers) and bool(_winapi.PeekNamedPipe(self._readers[number], 0)[0])
        except OSError:  # nobody writes any more
            return False

    def _wait_for_exit(self) -> None:
        _winapi.WaitForSingleObject(int(self._process._handle), _FOREVER)  # type: ignore[attr-defined]
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._exited)

    def _exited(self) -> None:
        self._timer.cancel()
        self._stop_listening()
        self._on_exit()
        self._job.close()


class _BasicLimits(ctypes.Structure):
    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_int64),
        ("PerJobUserTimeLimit", ctypes.c_int64),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
    )


class _ExtendedLimits(ctypes.Structure):
    _fields_ = (
        ("BasicLimitInformation", _BasicLimits),
        ("IoInfo", ctypes.c_ulonglong * 6),
        ("Memory", ctypes.c_size_t * 4),
    )


_MOST_PROCESSES = 1024


class _Processes(ctypes.Structure):
    _fields_ = (
        ("NumberOfAssignedProcesses", wintypes.DWORD),
        ("NumberOfProcessIdsInList", wintypes.DWORD),
        ("ProcessIdList", ctypes.c_size_t * _MOST_PROCESSES),
    )


class JobObject:
    """A job object: the processes in it, and all they start, end when it is closed, so also when this process dies."""

    _KILL_ON_CLOSE, _NO_DIALOG = 0x2000, 0x0400
    _PROCESS_LIST, _EXTENDED_LIMITS = 3, 9

    def __init__(self) -> None:
        self._handle: int | None = _win32.kernel32.CreateJobObjectW(None, None)
        if not self._handle:
            raise _win32.last_error()
        limits = _ExtendedLimits()
        limits.BasicLimitInformation.LimitFlags = self._KILL_ON_CLOSE | self._NO_DIALOG
        if not _win32.kernel32.SetInformationJobObject(
            self._handle, self._EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
        ):
            raise _win32.last_error()

    def add(self, process: int) -> None:
        """Put the process of a handle into it.

        Raises:
            OSError: it is gone, or in a job that does not allow it.
        """
        if self._handle and not _win32.kernel32.AssignProcessToJobObject(self._handle, process):
            raise _win32.last_error()

    def members(self) -> list[int]:
        """The numbers of the processes in it."""
        listing = _Processes()
        _win32.kernel32.QueryInformationJobObject(
            self._handle, self._PROCESS_LIST, ctypes.byref(listing), ctypes.sizeof(listing), None
        )
        return list(listing.ProcessIdList[: listing.NumberOfProcessIdsInList])

    def end(self, *, but: set[int] | None = None) -> None:
        """End all that is in it, now, or all but those with a number in `but`."""
        if not self._handle:
            return
        if but is None:
            _win32.kernel32.TerminateJobObject(self._handle, _ENDED)
            return
        for pid in set(self.members()) - but:
            with suppress(OSError):
                os.kill(pid, _ENDED)

    def close(self) -> None:
        """End all that is in it, and close it."""
        handle, self._handle = self._handle, None
        _win32.close_handle(handle)


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener

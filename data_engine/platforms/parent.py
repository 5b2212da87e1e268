"""How a worker finds its daemon, ends with it, and says where it hangs. `child` is the daemon's side.

A process that hangs in C code hears nothing: on POSIX a signal makes the interpreter write where its threads are, on Windows a
timer that was set before (`tell_where_after`).
"""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

_NO_DIALOGS = 0x1 | 0x2
_kept: list[int] = []
"""What `Child` keeps open here; on Windows nothing: a job object ends this process with its daemon."""

if sys.platform == "win32":
    import ctypes

    def join(way: str) -> tuple[socket.socket, socket.socket]:
        """The channel to the daemon and the one for its answers; `way` is the argument that `Child` has added.

        Raises:
            OSError: the daemon is gone.
        """
        from data_engine.platforms._child_windows import SECRET_BYTES

        port, _ = map(int, way.split(","))
        secret = b""
        while len(secret) < SECRET_BYTES and (data := os.read(0, SECRET_BYTES - len(secret))):
            secret += data
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        ctypes.windll.kernel32.SetErrorMode(_NO_DIALOGS)
        channels = []
        for kind in (b"c", b"a"):
            channel = socket.create_connection(("127.0.0.1", port))
            channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channel.sendall(secret + kind + os.getpid().to_bytes(4, "big"))
            channels.append(channel)
        return channels[0], channels[1]

    def flush_of_c() -> Callable[[], object]:
        """C's `fflush` for all its streams, after taking the buffer of C's standard output, so that a crash loses none.

        Reference: the universal C runtime, `__acrt_iob_func`; it knows no buffer of lines.
        """
        library = ctypes.CDLL("ucrtbase")
        library.__acrt_iob_func.restype = ctypes.c_void_p
        unbuffered = 4
        library.setvbuf(ctypes.c_void_p(library.__acrt_iob_func(1)), None, unbuffered, ctypes.c_size_t(0))
        return partial(library.fflush, None)

else:
    import signal

    WHERE_SIGNAL = signal.SIGUSR2
    """Makes a worker write where its threads are to standard error, also when it hangs in C code."""

    def join(way: str) -> tuple[socket.socket, socket.socket]:
        """The channel to the daemon and the one for its answers; `way` is the argument that `Child` has added.

        From now on this process ends with the daemon's, also while it hangs, where the system can do that.

        Raises:
            OSError: the daemon is gone.
        """
        channel_number, answers_number, kept, daemon_pid = map(int, way.split(","))
        channel, answers = socket.socket(fileno=channel_number), socket.socket(fileno=answers_number)
        for descriptor in (channel_number, answers_number, kept):
            os.set_inheritable(descriptor, False)
        end_with(daemon_pid)
        _kept.append(kept)
        return channel, answers

    def flush_of_c() -> Callable[[], object]:
        """C's `fflush` for all its streams, after making C's standard output give each line at once, so that a crash loses none."""
        import ctypes

        library = ctypes.CDLL(None)
        name = "__stdoutp" if sys.platform == "darwin" else "stdout"
        line_buffered = 1
        with suppress(ValueError):
            library.setvbuf(ctypes.c_void_p.in_dll(library, name), None, line_buffered, 0)
        return partial(library.fflush, None)


def end_with(pid: int) -> None:
    """Let the system end this process when its parent `pid` ends, and find what runs away from its parent as our child.

    The thread of the parent that started it must live as long. On Windows the closed pipe shows that the parent is gone; there no
    dialog is shown when this process crashes.

    Reference: prctl(2), PR_SET_PDEATHSIG and PR_SET_CHILD_SUBREAPER.
    """
    import ctypes

    if sys.platform == "win32":
        ctypes.windll.kernel32.SetErrorMode(_NO_DIALOGS)
    else:
        if sys.platform == "linux":
            set_death_signal, set_child_subreaper = 1, 36
            library = ctypes.CDLL(None)
            library.prctl(set_death_signal, signal.SIGKILL)
            library.prctl(set_child_subreaper, 1)
        if os.getppid() != pid:
            os._exit(0)


def let_daemon_go() -> None:
    """Close what `Child` keeps open here: from now on this process sees by itself that its daemon is gone."""
    while _kept:
        os.close(_kept.pop())


def tell_where_on_signal() -> None:
    """Write to standard error where the threads are whenever `Child.tell_where` asks; Windows has no such signals."""
    if sys.platform != "win32":
        faulthandler.register(WHERE_SIGNAL, file=2)


def tell_where_after(limit_s: float | None) -> None:
    """Write to standard error, in `limit_s`, where the threads are, unless another limit is set before; None: not. Elsewhere than on
    Windows the daemon asks by a signal."""
    if sys.platform == "win32":
        if limit_s is None:
            faulthandler.cancel_dump_traceback_later()
        else:
            faulthandler.dump_traceback_later(max(limit_s, 0.001), file=2)


def may_be_unread(descriptor: int) -> bool:
    """Whether the pipe may hold what the daemon has not taken; only Linux knows at this end.

    Reference: pipe(7), FIONREAD.
    """
    if sys.platform == "linux":
        import fcntl
        import termios

        try:
            return fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)) != bytes(4)
        except OSError:
            return False
    else:
        return True

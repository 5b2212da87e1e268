"""A worker process as its daemon holds it: two channels, two text streams, the end of it and of all it started.

`Child` is the same on each system; how the two find each other is not. On POSIX a worker inherits its sockets and leads a
session. On Windows it is put into a job object that ends with the daemon, and connects to a port of this machine with a
secret that it reads from its standard input: in an environment the process that is started is a launcher and not the Python
that answers, and a socket cannot be given to a process whose number is not known yet.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from data_engine.platforms._child_windows import Child
else:
    import asyncio
    import os
    import select
    import socket
    import subprocess
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import suppress
    from pathlib import Path

    from data_engine.platforms import parent, processes

    class Child:
        """A worker process, its channels and its streams. Everything is called on the thread of the loop.

        `command` gets one more argument, which `parent.join` understands. `on_channels` gets both channels once they are there,
        not blocking; `on_text` the number of a stream, 0 or 1, that has something; `on_exit` is called when the process is gone
        and not waited for yet. `kept` is a descriptor that the process has too, until it ends with its daemon by itself.

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
            self._on_exit = on_exit
            ours, theirs = socket.socketpair()
            our_answers, their_answers = socket.socketpair()
            descriptors = (theirs.fileno(), their_answers.fileno(), kept)
            try:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(
                    [*command, ",".join(map(str, (*descriptors, os.getpid())))],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    bufsize=0,
                    pass_fds=descriptors,
                    env=environment,
                    cwd=folder,
                    start_new_session=True,
                )
            except BaseException:
                ours.close()
                our_answers.close()
                raise
            finally:
                theirs.close()
                their_answers.close()
            assert self._process.stdout is not None
            assert self._process.stderr is not None
            self.pid = self._process.pid
            ours.setblocking(False)
            our_answers.setblocking(False)
            on_channels(ours, our_answers)
            self._texts = (self._process.stdout, self._process.stderr)
            for number, text in enumerate(self._texts):
                os.set_blocking(text.fileno(), False)
                loop.add_reader(text.fileno(), on_text, number)
            threading.Thread(target=self._wait_for_exit, name=f"worker {self.pid}", daemon=True).start()

        def end(self) -> None:
            """End it now, with everything it started."""
            processes.end_session(self.pid)

        def end_started(self) -> None:
            """End what it started, but not itself."""
            processes.end_started_by(self.pid)

        def tell_where(self) -> None:
            """Let it write to its standard error where its threads are, also when it hangs in C code."""
            with suppress(OSError):
                os.kill(self.pid, parent.WHERE_SIGNAL)

        def read_text(self, number: int, size: int) -> bytes:
            """The text that one of its streams has now; empty when there is none."""
            text = self._texts[number]
            if text.closed:
                return b""
            try:
                data = os.read(text.fileno(), size)
            except BlockingIOError:
                return b""
            except OSError:
                data = b""
            if not data:
                self._loop.remove_reader(text.fileno())
            return data

        def wait(self) -> int:
            """Its exit status, once it is gone."""
            return self._process.wait()

        def close(self) -> None:
            """Close the streams."""
            for text in self._texts:
                self._loop.remove_reader(text.fileno())
                text.close()

        def _wait_for_exit(self) -> None:
            """Call `on_exit` once the process has ended, leaving its status for later."""
            if sys.platform == "darwin":
                queue = select.kqueue()
                exit_of = select.kevent(self.pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD, select.KQ_NOTE_EXIT)
                with suppress(OSError):  # it has ended already
                    queue.control([exit_of], 1)
                queue.close()
            else:
                with suppress(ChildProcessError):
                    os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            with suppress(RuntimeError):  # the loop is closed already
                self._loop.call_soon_threadsafe(self._on_exit)


__all__ = ["Child"]

"""Ask another Python process: it answers messages until it is closed, ends with whoever asks, and holds up nobody when it hangs.

`AnsweringProcess` is the side that asks, `ParentProcess` the side that answers. A message is any bytes behind a mark and their number.
The process that asks reads in a thread of its own: a process that cannot be ended, on a drive that does not answer, or a pipe
that something it started keeps open, delays only that thread. No message is unpickled here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Self

from data_engine.formatting import TextEnd
from data_engine.platforms.processes import apart, detached, end_session, has_children, program_of
from data_engine.version import import_folder

_MARK = b"DE\x00\x01"
_SIZE_BYTES = 8
_CODE = "import sys; sys.path.append(sys.argv[1]); from data_engine.answering_process import begin; begin()"
_GOODBYE_S = 0.5
_END_S = 1.0
_ERROR_BYTES = 16_384


class NoAnswer(Exception):
    """The process gave no answer. `ended_for` says why it was ended from here, "" where it ended by itself with `status`.

    `errors` is the end of what it wrote to standard error, where that is kept.
    """

    def __init__(self, ended_for: str, status: int | None, errors: str) -> None:
        super().__init__(ended_for or f"its process ended (exit code {status})")
        self.ended_for, self.status, self.errors = ended_for, status, errors


class AnsweringProcess:
    """A process that calls `target` ("module:function") with its `ParentProcess` and these arguments; a context that ends it.

    One thread at a time asks; any may `end` it. With `owns_session` it is ended with everything it started, for code of authors.
    Standard error goes where `stderr` says, as for `Popen`; with `subprocess.PIPE` its end is kept for `NoAnswer`.

    Raises:
        OSError: it cannot be started.

    Example:
        >>> with AnsweringProcess("data_engine.answering_process:echo") as process:
        ...     process.ask(b"ping", limit_s=60)
        b'ping'
    """

    def __init__(
        self,
        target: str,
        *arguments: str,
        interpreter: str | None = None,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        stderr: int | None = subprocess.DEVNULL,
        owns_session: bool = False,
    ) -> None:
        program, variables = program_of(
            interpreter or sys.executable, os.environ if environment is None else environment
        )
        options = detached()[-1] if owns_session else apart()
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [program, "-P", "-c", _CODE, import_folder(), target, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=folder,
            env=variables,
            **options,
        )
        self.pid = self._process.pid
        self._owns_session = owns_session
        self._messages: SimpleQueue[bytes | None] = SimpleQueue()
        self._ended_for = ""
        self._errors = TextEnd(_ERROR_BYTES)
        self._readers = [threading.Thread(target=self._read, name=f"answers of {self.pid}", daemon=True)]
        if stderr == subprocess.PIPE:
            self._readers.append(threading.Thread(target=self._keep_errors, name=f"errors of {self.pid}", daemon=True))
        for reader in self._readers:
            reader.start()

    @property
    def is_there(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def ask(self, message: bytes, limit_s: float | None = None) -> bytes:
        """Its answer to the message; one that takes longer than the limit, also to read the message, is ended.

        Raises:
            NoAnswer: it took too long, or has ended.
        """
        with self._within(limit_s):
            self.send(message)
            return self.receive()

    def send(self, message: bytes) -> None:
        """Send a message; that it has ended is told by `receive`."""
        with suppress(OSError, ValueError):
            _write(self._stdin, message)

    def receive(self, limit_s: float | None = None) -> bytes:
        """Its next message.

        Raises:
            NoAnswer: it took too long, or has ended.
        """
        with self._within(limit_s):
            message = self._messages.get()
        if message is None:
            self._messages.put(None)
            raise self._no_answer()
        return message

    def end(self, why: str = "it was ended") -> None:
        """End it now; whoever waits for its answer is told why, also where the system cannot end it."""
        if self.is_there:
            self._ended_for = self._ended_for or why
            self._kill()
        self._messages.put(None)

    def begin_to_close(self) -> None:
        """Let it end as soon as it has nothing to do, without waiting."""
        with suppress(OSError):
            self._stdin.close()

    def close(self) -> None:
        """End it, and return when it is gone; one that the system cannot end is left alone."""
        if self._ended_for:
            self._wait(_END_S)
        self.begin_to_close()
        if not self._wait(_GOODBYE_S):
            self._kill()
            self._wait(_END_S)
        self._readers[0].join(_GOODBYE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @contextmanager
    def _within(self, limit_s: float | None) -> Iterator[None]:
        if limit_s is None:
            yield
            return
        timer = threading.Timer(limit_s, self.end, [f"no answer within {limit_s:g} s"])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _kill(self) -> None:
        if self._owns_session:
            end_session(self.pid)
        else:
            self._process.kill()

    def _wait(self, limit_s: float) -> bool:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(limit_s)
        return not self.is_there

    def _no_answer(self) -> NoAnswer:
        if not self._wait(_END_S):  # it has closed its output, or wrote something else there
            self.end("it gave no answer that can be read")
            self._wait(_END_S)
        for reader in self._readers[1:]:
            reader.join(_END_S)
        return NoAnswer(self._ended_for, self._process.returncode, self._errors.text())

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while (message := _read(pipe)) is not None:
                self._messages.put(message)
        self._messages.put(None)

    def _keep_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            while text := os.read(pipe.fileno(), _ERROR_BYTES):
                self._errors.add(text)


class KeptProcess:
    """One process for whoever asks, one after the other: made by `start`, replaced when it has ended, closed when idle for `idle_s`."""

    def __init__(self, start: Callable[[], AnsweringProcess], idle_s: float) -> None:
        self._start, self._idle_s = start, idle_s
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self.process: AnsweringProcess | None = None
        """The process of now; None without one."""

    @contextmanager
    def use(self) -> Iterator[AnsweringProcess]:
        """The process, for one request and its answers; one that did not come to an end of them is closed.

        Raises:
            OSError: it cannot be started.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self.process is None or not self.process.is_there:
                self.close()
                self.process = self._start()
            try:
                yield self.process
            except BaseException:  # what it says next would be the answer to this
                self.close()
                raise
            self._timer = threading.Timer(self._idle_s, self._close_idle)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """End the process, where there is one."""
        if self._timer is not None and self._timer is not threading.current_thread():
            self._timer.cancel()
            self._timer.join(_GOODBYE_S)
        process, self.process = self.process, None
        if process is not None:
            process.close()

    def _close_idle(self) -> None:
        with self._lock:
            if self._timer is threading.current_thread():  # else it was asked again just now
                self.close()


class ParentProcess:
    """The process that asks this one: `receive` its messages, `send` it answers. This process ends with it, and what it started, too.

    What else is written to standard output goes to standard error; standard input is empty.
    """

    def __init__(self) -> None:
        self._questions, self._answers = open(os.dup(0), "rb"), open(os.dup(1), "wb")  # noqa: SIM115 - for the life of the process
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._messages: SimpleQueue[bytes] | None = None

    def receive(self) -> bytes:
        """Its next message."""
        if self._messages is None:
            self._messages = SimpleQueue()
            self.listen(self._messages.put)
        return self._messages.get()

    def listen(self, take: Callable[[bytes], object]) -> None:
        """Call `take`, in a thread of its own, with each message from now on."""
        threading.Thread(target=self._listen, args=(take,), name="asker", daemon=True).start()

    def send(self, message: bytes) -> None:
        """Send it a message; this process ends where it is gone. Any thread may."""
        try:
            with self._lock:
                _write(self._answers, message)
        except OSError:
            _end()

    def _listen(self, take: Callable[[bytes], object]) -> None:
        while (message := _read(self._questions)) is not None:
            take(message)
        _end()


def begin() -> None:
    """Run as the process that answers."""
    target, *arguments = sys.argv[2:]
    del sys.argv[1:]
    asker = ParentProcess()
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    function(asker, *arguments)


def echo(asker: ParentProcess) -> None:
    """Answer each message with itself."""
    while True:
        asker.send(asker.receive())


def _end() -> None:
    """End this process, with what it started."""
    if has_children():
        end_session(os.getpid())
    os._exit(0)


def _write(stream: IO[bytes], message: bytes) -> None:
    stream.write(_MARK + len(message).to_bytes(_SIZE_BYTES, "big"))
    stream.write(message)
    stream.flush()


def _read(stream: IO[bytes]) -> bytes | None:
    """The next message; None where the other side is gone, or writes something else."""
    try:
        head = stream.read(len(_MARK) + _SIZE_BYTES)
        if not head.startswith(_MARK) or len(head) < len(_MARK) + _SIZE_BYTES:
            return None
        size = int.from_bytes(head[len(_MARK) :], "big")
        message = stream.read(size)
    except (OSError, ValueError):  # it was closed meanwhile
        return None
    return message if len(message) == size else None

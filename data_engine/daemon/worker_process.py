"""One worker process as the daemon holds it: its pipes, its channel, its end, and what is left of those of a daemon that died. Knows
nothing of runs."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_engine import private
from data_engine.daemon.environment import MARK
from data_engine.daemon.messages import Frames, Message, encode
from data_engine.errors import FlowValidationError
from data_engine.formatting import TextEnd
from data_engine.ledger.journal import JournalReader
from data_engine.ledger.logs import MAX_LINE
from data_engine.locks import OsLock
from data_engine.model import STDERR, Event
from data_engine.notebook.locate import led_to, places_of
from data_engine.platforms.child import Child
from data_engine.platforms.files import lock_shared
from data_engine.platforms.processes import create_time_of, end_session, is_zombie, session_members
from data_engine.secret import masked, masked_pieces

if TYPE_CHECKING:
    import psutil

log = logging.getLogger(__name__)

_BEGINNERS = ".workers-begin.lock"
_READ_BYTES = 65536
_DRAIN_BYTES = 1024 * 1024
_END_BYTES = 65536
_WAIT_AFTER_EOF_S = 0.2
_WRITING_WHERE_S = 0.1
_MACHINERY = re.compile(r'(Current t|T)hread 0x[0-9a-f]+ |  File "[^"]*", line \d+ in |Extension modules: ')
_THREAD = re.compile(r"(?:Current t|T)hread 0x[0-9a-f]+")
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')


class WorkerProcess:
    """A worker process that runs as long as it is here. Everything is called on the thread of the running loop.

    `on_events` gets what happens in its runs, from its `journal`, `on_messages` what it sends otherwise, `on_lines` the lines it or what it
    started wrote to a standard stream, with the level of that stream; `on_end` its exit status once it is gone with its
    session. Events come before the messages and lines that follow them.

    Raises:
        OSError: the interpreter cannot be started.
    """

    def __init__(
        self,
        interpreter: str,
        environment: Mapping[str, str],
        folder: Path,
        journal: JournalReader,
        *,
        on_events: Callable[[list[Event]], None],
        on_messages: Callable[[Iterator[Message]], None],
        on_lines: Callable[[str, list[bytes]], None],
        on_end: Callable[[int], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_events = on_events
        self._on_messages = on_messages
        self._on_lines = on_lines
        self._on_end = on_end
        self._frames = Frames()
        self._journal = journal
        self._unsent = bytearray()
        self._is_writing = False
        self._is_ended = False
        self._stderr_end = TextEnd(_END_BYTES)
        private.make_folder(folder)
        self._channel: socket.socket | None = None
        self._answers: socket.socket | None = None
        self._texts = [_Text("INFO"), _Text(STDERR)]
        with beginning(folder) as descriptor:
            self._child = Child(
                [interpreter, "-P", "-m", "data_engine.daemon.worker", str(journal.path)],
                environment=environment,
                folder=folder,
                loop=self._loop,
                on_channels=self._connected,
                on_text=self._read_channel_and_text,
                on_exit=self._ended,
                kept=descriptor,
            )
        self.pid = self._child.pid
        self.create_time = create_time_of(self.pid)

    def _connected(self, channel: socket.socket, answers: socket.socket) -> None:
        self._channel, self._answers = channel, answers
        self._loop.add_reader(channel, self._read_channel)
        if self._unsent:
            self._write()

    def send(self, message: Message) -> None:
        """Send a message; what the worker does not take at once is sent when it does."""
        self.send_frame(encode(message))

    def send_frame(self, frame: bytes) -> None:
        """Send an encoded message likewise."""
        self._unsent += frame
        self._write()

    def answer(self) -> None:
        """Let the run go on that waits until its texts were taken."""
        if self._answers is not None:
            with suppress(OSError):  # it is gone, and its end will say so
                self._answers.send(b"1")

    def take_events(self) -> bool:
        """Take what has happened in its run so far; whether anything had. Nobody is woken for that alone."""
        was_damaged = self._journal.damage is not None
        if events := self._journal.read():
            self._on_events(events)
        if self._journal.damage is not None and not was_damaged:
            log.error("worker %d is ended for what it told: %s", self.pid, self._journal.damage)
            self.end()
        return bool(events)

    def end(self) -> None:
        """End it now, with everything it started."""
        if not self._is_ended:
            self._child.end()

    def end_started(self) -> None:
        """End what it started, but not itself."""
        if not self._is_ended:
            self._child.end_started()

    def end_after_telling_where(self) -> None:
        """End it as soon as it had the time to write where it hangs; `place` then knows."""
        self._child.tell_where()
        self._loop.call_later(_WRITING_WHERE_S, self.end)

    def last_text(self) -> str | None:
        """The last line it wrote to standard error."""
        lines = self._stderr_end.text().splitlines()
        return lines[-1].strip() if lines else None

    def place(self, folder: Path) -> str | None:
        """The innermost line of a file in `folder` that it was in when it wrote where it is, and of a helper the line that called
        it; None when it never did."""
        return place_in(self._stderr_end.text(), folder)

    def places(self, folder: Path) -> tuple[dict[str, Any], ...]:
        """The notebook cells of the line of `place` and of the line that called it; empty where they are in none."""
        frames = frames_in(self._stderr_end.text(), folder)
        return tuple(
            place for frame in (*frames[-1:], led_to(frames)) if frame is not None for place in places_of(*frame)
        )

    def read_texts(self) -> None:
        """Take all that was written so far; called before what ends the writer's step or run is taken."""
        for number in range(len(self._texts)):
            left = _DRAIN_BYTES
            while left > 0 and (count := self._read_text(number)):
                left -= count

    def finish_lines(self) -> None:
        """Take the beginnings of lines as lines."""
        for text in self._texts:
            if lines := text.rest():
                self._on_lines(text.level, lines)

    def _read_channel(self) -> None:
        if self._channel is None:
            return
        try:
            data = self._channel.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            # It is ending, or its code closed all it could; the exit status is worth a moment's wait.
            self._loop.remove_reader(self._channel)
            self._loop.call_later(_WAIT_AFTER_EOF_S, self.end)
            return
        try:
            self._take_messages(data)
        except FlowValidationError:
            log.exception("worker %d is ended for what it sent", self.pid)
            self.end()

    def _take_messages(self, data: bytes) -> None:
        """Take what has happened, and then what it says; of one whose events are not understood nothing counts, so its run dies with it."""
        self.take_events()
        if self._journal.damage is None:
            self._on_messages(self._frames.feed(data))

    def _read_channel_and_text(self, number: int) -> None:
        self._read_channel()  # what it reported before it wrote comes first
        if not self._is_ended:
            self.take_events()
            self._read_text(number)

    def _read_text(self, number: int) -> int:
        """Read a piece; how many bytes it had."""
        data = self._child.read_text(number, _READ_BYTES)
        if not data:
            return 0
        text = self._texts[number]
        if text.level == STDERR:
            self._stderr_end.add(data)
        if lines := text.feed(data):
            self._on_lines(text.level, lines)
        return len(data)

    def _write(self) -> None:
        if self._channel is None:
            return  # it is sent once the worker is connected
        try:
            sent = self._channel.send(self._unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(self._unsent)  # it is gone, and its end will say so
        del self._unsent[:sent]
        if bool(self._unsent) != self._is_writing:
            self._is_writing = not self._is_writing
            if self._is_writing:
                self._loop.add_writer(self._channel, self._write)
            else:
                self._loop.remove_writer(self._channel)

    def _ended(self) -> None:
        if self._channel is not None:
            with suppress(FlowValidationError, OSError):
                while data := self._channel.recv(_READ_BYTES):
                    self._take_messages(data)
        self.take_events()
        self._child.end()
        self._is_ended = True
        status = self._child.wait()
        self.read_texts()
        self.finish_lines()
        if self._channel is not None and self._answers is not None:
            self._loop.remove_reader(self._channel)
            self._loop.remove_writer(self._channel)
            self._channel.close()
            self._answers.close()
        self._child.close()
        self._on_end(status)


class _Text:
    """One of a worker's standard streams, as lines."""

    def __init__(self, level: str) -> None:
        self.level = level
        self._partial = b""

    def feed(self, data: bytes) -> list[bytes]:
        *lines, begun = (self._partial + data).split(b"\n")
        long, self._partial = masked_pieces(begun, MAX_LINE)
        return [*lines, long] if long else lines

    def rest(self) -> list[bytes]:
        rest, self._partial = self._partial, b""
        return [rest] if rest else []


def line_text(line: bytes) -> str:
    """A written line as a log shows it: of a line that was rewritten, as progress bars do, the last state.

    Example:
        >>> line_text(b"10 %\\r20 %\\r")
        '20 %'
    """
    return masked(line.decode(errors="replace").rstrip("\r").rsplit("\r", 1)[-1].rstrip())


def is_machinery(text: str, folder: Path) -> bool:
    """Whether a line on standard error is one of `faulthandler`'s that tells an author nothing.

    Example:
        >>> is_machinery('  File "/lib/threading.py", line 982 in run', Path("/ws/flow_modules"))
        True
    """
    return _MACHINERY.match(text) is not None and f'"{folder}{os.sep}' not in text


def place_in(traceback: str, folder: Path) -> str | None:
    """The first line of an author's file in the text `faulthandler` writes, innermost first.

    Example:
        >>> text = 'Current thread (most recent call first):\\n  File "/ws/flow_modules/a.ipynb, cell 4", line 2 in clean'
        >>> place_in(text, Path("/ws/flow_modules"))
        'a.ipynb, cell 4, line 2'
        >>> place_in(text.replace('  File', '  File "/ws/flow_modules/flow_helpers/rates.py", line 7 in rate\\n  File', 1), Path("/ws/flow_modules"))
        'flow_helpers/rates.py, line 7, called in a.ipynb, cell 4, line 2'
    """
    frames = frames_in(traceback, folder)
    if not frames:
        return None
    place, led = frames[-1], led_to(frames)
    words = f"{place[0][len(str(folder)) + 1 :]}, line {place[1]}"
    return words if led is None else f"{words}, called in {led[0][len(str(folder)) + 1 :]}, line {led[1]}"


def frames_in(traceback: str, folder: Path) -> list[tuple[str, int]]:
    """The file name and line of each frame in `folder`, the innermost last, of the first thread that has one, in the text
    `faulthandler` writes."""
    for thread in _THREAD.split(traceback):
        frames = [(match["file"], int(match["line"])) for match in _FRAME.finditer(thread)]
        if ours := [frame for frame in frames if frame[0].startswith(f"{folder}{os.sep}")]:
            return ours[::-1]
    return []


# -- what a daemon that died has left ----------------------------------------------------------------------------------


@contextmanager
def beginning(folder: Path) -> Iterator[int]:
    """A descriptor for a worker that is started meanwhile: as long as it has it, `wait_for_beginners` waits for it."""
    descriptor = private.open_file(folder / _BEGINNERS, os.O_RDWR | os.O_CREAT)
    try:
        with suppress(OSError):  # a daemon of this folder starts just now, and waits for those before
            lock_shared(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def wait_for_beginners(folder: Path, timeout_s: float = 30.0) -> bool:
    """Return when no worker is left that began and did not see yet that its daemon is gone; False where one still is.

    A worker of a daemon that is killed before it has noted its number is found by nobody, and ends when it looks for its daemon.

    Raises:
        LedgerError: the lock file cannot be made.
    """
    lock = OsLock(folder / _BEGINNERS)
    is_over = lock.wait(timeout_s=timeout_s)
    lock.release()
    return is_over


def end_orphans(recorded: Iterable[tuple[int, float]]) -> list[int]:
    """End what is left of the workers of a daemon that died; the pids whose session still had somebody in it.

    `recorded` are pids and start times as they were remembered. A process that took over a worker's number is left alone.
    """
    import psutil

    ended = []
    for pid, create_time in recorded:
        try:
            process = psutil.Process(pid)
            is_gone = is_zombie(process)
            is_ours = abs(create_time_of(pid) - create_time) < 0.5 and (is_gone or _is_marked(process))
        except psutil.Error:
            is_gone, is_ours = True, True
        if is_ours and (not is_gone or _has_marked_members(pid)):
            end_session(pid)
            _wait_until_gone(pid)
            ended.append(pid)
    return ended


def _wait_until_gone(session: int, timeout_s: float = 5.0) -> None:
    """Wait for the end of a session: a process that is just writing to a disk still writes for a moment after its kill."""
    deadline_s = time.monotonic() + timeout_s
    while session_members(session) and time.monotonic() < deadline_s:
        time.sleep(0.01)


def _has_marked_members(session: int) -> bool:
    """Whether somebody a worker started is left in a session whose leader is gone."""
    import psutil

    for pid in session_members(session):
        with suppress(psutil.Error):
            if _is_marked(psutil.Process(pid)):
                return True
    return False


def _is_marked(process: psutil.Process) -> bool:
    try:
        return MARK in process.environ()
    except OSError:
        return False

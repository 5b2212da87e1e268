"""A process that runs items, as its owner holds it: one item at a time, on the thread that asks for it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.cause import Cause
from data_engine.engine.death import cause_of_death
from data_engine.engine.items.travel import Frame, PackedError, Parcel, read_frame, write_frame
from data_engine.notebook.load import registered_modules
from data_engine.platforms.processes import detached, end_session, memory_kills, program_of
from data_engine.storage_version import new_databases_here

_ASK_EVERY_S = 0.05
_GOODBYE_S = 0.5


class Task(NamedTuple):
    """What a map calls: packed, with what its log lines are told under, and what it finds `around` it in another process.

    `number` is its own in this process.
    """

    number: int
    content: Parcel
    names: dict[str, Any]
    around: dict[str, Any]


def surroundings() -> dict[str, Any]:
    """What code finds around it in this process, and shall find in another of this machine."""
    return {
        "folder": _folder(),
        "root": None,
        "ask_every_s": _ASK_EVERY_S,
        "sys_path": list(sys.path),
        "argv": list(sys.argv),
        "modules": registered_modules(),
        "databases": new_databases_here(),
        "log_level": logging.root.getEffectiveLevel(),
    }


class Home(NamedTuple):
    """Whom a process tells what happens in an item, and asks.

    `tell` gets an event, a written text or a log record; `answer` gives what an answer frame holds.
    """

    tell: Callable[[Frame], None]
    answer: Callable[[str, Parcel], tuple[bool, Parcel | PackedError]]


class ProcessEnded(Exception):
    """The process ended while it ran an item; `cause` says how."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.text)
        self.cause = cause


class ItemProcess:
    """A process that is started here and ends with `close` or `kill`, or with this one.

    `folder` is where large results are put, where both processes see it; `environment` what it is started with. The thread that makes it must live as
    long.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self, folder: Path | None, environment: Mapping[str, str], *, duckdb_threads: int | None = None
    ) -> None:
        self._memory_kills = memory_kills()
        self._folder = folder
        program, variables = program_of(sys.executable, environment)
        self._process: subprocess.Popen[bytes] = subprocess.Popen(
            [program, "-P", "-m", "data_engine.engine.items.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=_stderr(),
            env=variables,
            **detached()[-1],
        )
        self.pid = self._process.pid
        self._tasks: set[int] = set()
        self._is_killed = self._is_running = False
        with suppress(OSError):
            self._send("hello", {"folder": folder, "duckdb_threads": duckdb_threads})

    @property
    def is_there(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def is_idle(self) -> bool:
        """Whether it is there and waits for an item."""
        return not self._is_running and self.is_there

    def run(self, task: Task, item: Parcel, home: Home) -> tuple[bool, Parcel | PackedError]:
        """Whether the task was done for the item, and what it gave or raised.

        Raises:
            ProcessEnded: the process has ended before it was done.
        """
        self._is_running = True
        try:
            if task.number not in self._tasks:
                self._tasks.add(task.number)
                self._send("task", *task)
            self._send("item", task.number, item)
        except OSError:
            raise ProcessEnded(self._cause()) from None
        assert self._process.stdout is not None
        while (frame := read_frame(self._process.stdout)) is not None:  # type: ignore[arg-type]
            match frame:
                case ("done" | "failed" as word, content):
                    self._is_running = False
                    return word == "done", content
                case ("ask", question, arguments):
                    with suppress(OSError):
                        self._send("answer", *home.answer(question, arguments))
                case ("ready",):
                    pass
                case _:
                    home.tell(frame)
        raise ProcessEnded(self._cause())

    def forget(self, number: int) -> None:
        """Let it let go of a task."""
        if number in self._tasks:
            self._tasks.discard(number)
            with suppress(OSError):
                self._send("forget", number)

    def kill(self) -> None:
        """End it now, with all it started."""
        self._is_killed = True
        if self.is_there:
            end_session(self.pid)

    def begin_to_close(self) -> None:
        """Let it end, with all it started."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def close(self) -> None:
        """Return when it is gone."""
        self.begin_to_close()
        try:
            self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _send(self, *frame: Any) -> None:
        assert self._process.stdin is not None
        try:
            write_frame(self._process.stdin, frame)  # type: ignore[arg-type]
        except ValueError as error:  # it was closed
            raise OSError(str(error)) from error

    def _cause(self) -> Cause:
        """How it ended; it is about to, where it has not."""
        try:
            status = self._process.wait(_GOODBYE_S)
        except subprocess.TimeoutExpired:
            end_session(self.pid)
            status = self._process.wait()
        if self._is_killed:
            return Cause("kill_requested")
        return cause_of_death(status, lacked_memory=memory_kills() > self._memory_kills)


def _folder() -> str | None:
    with suppress(OSError):
        return os.getcwd()
    return None


def _stderr() -> Any:
    """Where this process writes its errors, as far as a child can."""
    with suppress(OSError, ValueError, AttributeError):
        os.fstat(2)
        return None
    return subprocess.DEVNULL

"""Capture what a run prints and logs as lines of its log; it is still shown where it was printed."""

from __future__ import annotations

import logging
import re
import sys
import threading
import time
from contextvars import ContextVar, Token
from typing import Any, TextIO

from data_engine.flow.control import StepControl
from data_engine.ledger.logs import MAX_LINE, clipped
from data_engine.locks import InterruptsHeld, SafeAcquire
from data_engine.model import STDERR, LogLine
from data_engine.secret import masked, masked_pieces


class _Lines:
    """Collects one run's printed text and emits whole lines, those of each thread for themselves."""

    def __init__(self, control: StepControl) -> None:
        self.control = control
        self.partial: dict[tuple[int, str], str] = {}
        self.lock = threading.Lock()

    def feed(self, text: str, level: str) -> None:
        key = threading.get_ident(), level
        with self.lock:
            text = self.partial.get(key, "") + text
            *lines, begun = text.split("\n")
            long, self.partial[key] = masked_pieces(begun, MAX_LINE)
        lines += [long] if long else []
        for line in lines:
            self.emit(line, level)

    def emit(self, line: str, level: str) -> None:
        shown = line.rsplit("\r", 1)[-1].rstrip()  # a progress bar rewrites its line; the last state counts
        if shown:
            control = self.control
            shown = shown if len(shown) <= MAX_LINE else masked(shown)  # before it is cut
            control.emit(clipped(LogLine(control.run_id, control.flow, control.label, level, shown, time.time())))

    def close(self) -> None:
        for (_, level), rest in self.partial.items():
            self.emit(rest, level)


_lines: ContextVar[_Lines | None] = ContextVar("captured_lines", default=None)
_heard: ContextVar[_Lines | None] = ContextVar("heard_lines", default=None)


class _Tee:
    """A text stream that writes through and feeds the run that writes; everything else is the original's."""

    def __init__(self, original: TextIO, level: str) -> None:
        self.original = original
        self._level = level

    def write(self, text: str) -> int:
        lines = _lines.get()
        if lines is not None and isinstance(text, str):
            lines.feed(text, self._level)
        return self.original.write(masked(text) if isinstance(text, str) else text)

    def writelines(self, texts: Any) -> None:
        for text in texts:
            self.write(text)

    def close(self) -> None:
        """Flush only: the stream is the process's, which goes on after the run that closes it."""
        self.original.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.original, name)


class _LogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        record = _plainly(record)
        for lines in (_lines.get(), _heard.get()):
            if lines is not None:
                lines.emit(self.format(record), record.levelname)
        if logging.root.handlers == [self] and logging.lastResort and record.levelno >= logging.lastResort.level:
            stream = sys.stderr
            original = stream.original if isinstance(stream, _Tee) else stream
            original.write(masked(self.format(record)) + "\n")


def _plainly(record: logging.LogRecord) -> logging.LogRecord:
    """The record; that of the workbook reader, which warns of each column without a value, becomes an INFO."""
    match = _NO_TYPE.match(record.getMessage()) if record.name.startswith("fastexcel") else None
    if match is None:
        return record
    text = f"column {int(match[1]) + 1} of a sheet is empty in the rows that decide its type, so it is read as text"
    instead = {"levelno": logging.INFO, "levelname": "INFO", "msg": text, "args": None}
    return logging.makeLogRecord({**vars(record), **instead})


_NO_TYPE = re.compile(r"Could not determine dtype for column (\d+), falling back to string")
_handler = _LogHandler()
_originals: tuple[TextIO, TextIO] = (sys.stdout, sys.stderr)
_users = _listeners = 0
_lock = threading.Lock()


class captured(SafeAcquire[None]):
    """Inside, what this run prints or logs (also in its map threads) is emitted as `LogLine`s; where it does not capture what it
    `prints`, only what it logs, and a run inside has a log of its own."""

    def __init__(self, control: StepControl, *, prints: bool = True) -> None:
        self._lines, self._prints = _Lines(control), prints
        self._tokens: tuple[Token[_Lines | None], Token[_Lines | None]] | None = None

    def take(self) -> None:
        """Listen to the root logger, and put our streams in the place of the process's."""
        with InterruptsHeld():
            printed, logged = (self._lines, None) if self._prints else (_lines.get(), self._lines)
            self._tokens = _lines.set(printed), _heard.set(logged)
            _install(prints=self._prints)

    def let_go(self) -> None:
        """Give the process its streams back, and emit the beginnings of lines as lines."""
        with InterruptsHeld():
            tokens, self._tokens = self._tokens, None
            if tokens is not None:
                _uninstall(prints=self._prints)
                _heard.reset(tokens[1])
                _lines.reset(tokens[0])
        self._lines.close()


def is_captured() -> bool:
    """Whether what is printed in this context becomes lines of a run's log."""
    return _lines.get() is not None


def _install(*, prints: bool) -> None:
    """Put our streams in the place of the process's, where it captures what it prints, and listen to the root logger."""
    global _users, _originals, _listeners
    with _lock:
        _users += prints
        if _users == 1 and prints:
            _originals = sys.stdout, sys.stderr
            sys.stdout = _Tee(sys.stdout, "INFO")
            sys.stderr = _Tee(sys.stderr, STDERR)
        _listeners += 1
        if _listeners == 1 and _handler not in logging.root.handlers:
            logging.root.handlers.append(_handler)  # `addHandler` takes a lock of its own, twice a run


def _uninstall(*, prints: bool) -> None:
    global _users, _listeners
    with _lock:
        _listeners -= 1
        if _listeners == 0 and _handler in logging.root.handlers:
            logging.root.handlers.remove(_handler)
        _users -= prints
        if _users == 0 and prints:
            if _is_spent(sys.stdout):
                sys.stdout = _originals[0]
            if _is_spent(sys.stderr):
                sys.stderr = _originals[1]


def _is_spent(stream: Any) -> bool:
    """Whether it is ours, or one that a run put in its place and left closed: nobody could print any more."""
    return stream is None or isinstance(stream, _Tee) or getattr(stream, "closed", False) is True

"""The last lines of a worker's log, in a file that is written over and over: they are there whoever is killed.

Made only for a log that is longer than what is kept of its beginning (`log_limits`), and never larger than `SIZE_BYTES`. Of a
run that ends by itself the worker tells its last lines in its journal; of one whose process died they are read from here.

    file   = record*, each in the place of the oldest ones
    record = number of 12 digits, counted from the first line that was held, " ", the line as in a journal
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from data_engine import private
from data_engine.errors import FlowValidationError
from data_engine.ledger.journal import event_line, events_in
from data_engine.ledger.log_limits import LAST_BYTES, LAST_LINES, end_of_log, size_of
from data_engine.model import LogLine
from data_engine.platforms.files import write_at

SIZE_BYTES = 1024 * 1024
_DIGITS = 12


def last_lines_path(journal: Path) -> Path:
    """Where the worker of a journal has its last lines."""
    return journal.with_suffix(".last")


class LastLinesWriter:
    """A worker's end. Makes no file before there is a line to keep; on a full disk none is kept."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = -1
        self._identity = (0, 0)
        self._offset = self._number = 0

    def put(self, line: LogLine) -> None:
        """Keep a line, in the place of older ones. One thread at a time."""
        self._number += 1
        record = b"%0*d %b" % (_DIGITS, self._number, event_line(line))
        if self._offset + len(record) > SIZE_BYTES:
            self._offset = 0
        with suppress(OSError):
            if not self._is_ours():
                self._file = private.open_file(self._path, os.O_RDWR | os.O_CREAT)
                self._identity = _identity(self._file)
            write_at(self._file, record, self._offset)
        self._offset += len(record)

    def clear(self) -> None:
        """Forget them: another run begins."""
        if self._number:
            with suppress(OSError):
                if self._is_ours():
                    os.ftruncate(self._file, 0)
            self._offset = self._number = 0

    def close(self) -> None:
        """Let go of the file."""
        if self._is_ours():
            os.close(self._file)
        self._file = -1

    def _is_ours(self) -> bool:
        # Code that closes all files may open one of its own under our number.
        try:
            return self._file >= 0 and _identity(self._file) == self._identity
        except OSError:
            return False


def read_last_lines(path: Path, run_id: str) -> list[LogLine]:
    """How the log of the run ended, with the line that says how many are left out; nothing without a file."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    found: dict[int, LogLine] = {}
    for record in data.split(b"\n"):  # the first and the last may be what is left of older ones
        digits, _, rest = record.partition(b" ")
        if len(digits) == _DIGITS and digits.isdigit():
            with suppress(FlowValidationError):
                found |= {int(digits): one for one in events_in(rest + b"\n") if isinstance(one, LogLine)}
    newest = max((number for number, line in found.items() if line.run_id == run_id), default=0)
    lines: list[LogLine] = []
    size_bytes = 0
    for number in range(newest, 0, -1):
        line = found.get(number)
        if line is None or line.run_id != run_id or len(lines) == LAST_LINES or size_bytes > LAST_BYTES:
            break
        lines.append(line)
        size_bytes += size_of(line.message)
    return end_of_log(newest - len(lines), lines[::-1])


def _identity(descriptor: int) -> tuple[int, int]:
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino

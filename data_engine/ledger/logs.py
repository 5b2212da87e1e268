"""The log of one run: how much of it is kept, and what of it counts as a warning.

    log = first lines, "n lines are left out here", last lines

The first lines are kept as they come and, once the run has ended, the last; the cause stands there. Memory and what is written
are bounded, however much is printed. Every limit follows from `FIRST`, `LAST` and `MAX_LINE`.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

from data_engine.formatting import both_ends, plural
from data_engine.model import LogLine

FIRST_LINES, FIRST_BYTES = 9_000, 3_500_000
LAST_LINES, LAST_BYTES = 1_000, 500_000
MOST_LINES, MOST_BYTES = FIRST_LINES + LAST_LINES, FIRST_BYTES + LAST_BYTES
MAX_LINE = 10_000
"""Characters of one line; of a longer one both ends are kept."""

WAYS = 2
"""In which a run prints, each within the limit: through Python, and around it to the process's own streams."""

RECORDED_LINES, RECORDED_BYTES = WAYS * MOST_LINES + 1_000, WAYS * MOST_BYTES + 1_000_000
"""The most that the ledger takes of one run's log, whoever sends it: more than a log within the limits has."""

_T = TypeVar("_T")


class LogBound(Generic[_T]):
    """The lines of a log that are kept. Any thread may add to it.

    Example:
        >>> bound = LogBound(first_lines=1, last_lines=2)
        >>> [bound.takes(4) or bound.hold(line, 4) for line in ("a", "b", "c", "d")]
        [True, None, None, None]
        >>> bound.rest()
        (1, ['c', 'd'])
    """

    def __init__(self, first_lines: int = FIRST_LINES, last_lines: int = LAST_LINES) -> None:
        self._lines, self._bytes = first_lines, FIRST_BYTES
        self._last_lines = last_lines
        self._last: deque[tuple[_T, int]] = deque()
        self._last_bytes = 0
        self._left_out = 0
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether no line is one of the first any more."""
        return self._lines <= 0 or self._bytes <= 0

    def takes(self, size_bytes: int, *, is_line: bool = True) -> bool:
        """Whether a line of this size, or a part of one, is one of the first; else it is to be held."""
        with self._lock:
            if self.is_full:
                return False
            self._lines -= is_line
            self._bytes -= size_bytes
            return True

    def hold(self, line: _T, size_bytes: int) -> None:
        """Keep a line as one of the last, as long as it is one."""
        with self._lock:
            self._last.append((line, size_bytes))
            self._last_bytes += size_bytes
            while len(self._last) > self._last_lines or (self._last_bytes > LAST_BYTES and len(self._last) > 1):
                self._last_bytes -= self._last.popleft()[1]
                self._left_out += 1

    def leave_out(self, count: int) -> None:
        """Count lines of which many more follow at once."""
        self._left_out += count

    def rest(self) -> tuple[int, list[_T]]:
        """How many lines are left out after the first, and the last; both only once."""
        with self._lock:
            left_out, last = self._left_out, [line for line, _ in self._last]
            self._left_out, self._last_bytes = 0, 0
            self._last.clear()
        return left_out, last


def gap(left_out: int) -> str:
    """The line that stands in a log where others are left out.

    Example:
        >>> gap(12_345)
        '12,345 lines are left out here: of a long log the first and the last lines are kept'
    """
    lines = plural(left_out, "line is", "lines are")
    return f"{lines} left out here: of a long log the first and the last lines are kept"


def end_of_log(left_out: int, last: list[LogLine]) -> list[LogLine]:
    """The last lines of a log, after a line that says how many are left out."""
    if not left_out or not last:
        return last
    return [last[0]._replace(level="WARNING", message=gap(left_out)), *last]


def clipped(line: LogLine) -> LogLine:
    """The line, with both ends of a message that is too long."""
    return line if len(line.message) <= MAX_LINE else line._replace(message=both_ends(line.message, MAX_LINE))


def size_of(text: str) -> int:
    """How many bytes the text has in the ledger."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))


def counts_as_warning(level: str, status: str) -> bool:
    """Whether a line of this level counts, in the log of a run that ended so: an error does where the run went well all the same.

    What was only written to standard error does not count.

    Example:
        >>> counts_as_warning("ERROR", "success"), counts_as_warning("ERROR", "failed"), counts_as_warning("STDERR", "success")
        (True, False, False)
    """
    return level == "WARNING" or (level in ("ERROR", "CRITICAL") and status == "success")


def warned_text(count: int) -> str:
    """So many warnings, as every screen says it; "" for none.

    Example:
        >>> warned_text(1), warned_text(1200), warned_text(0)
        ('1 warning', '1,200 warnings', '')
    """
    return "" if not count else plural(count, "warning")

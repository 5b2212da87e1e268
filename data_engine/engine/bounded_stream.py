"""A text stream that writes through as long as it is not too much, and at its end says how much was left out."""

from __future__ import annotations

import threading
from typing import Any, TextIO

from data_engine.formatting import both_ends
from data_engine.ledger.log_limits import MAX_LINE, LogBound, gap

FIRST_LINES, LAST_LINES = 2_000, 200


class BoundedStream:
    """The first lines are written as they come, the last ones by `tell_rest`; everything else is the original's.

    Example:
        >>> import sys
        >>> stream = BoundedStream(sys.stdout)
        >>> _ = stream.write("shown\\n")
        shown
        >>> stream.tell_rest()
    """

    def __init__(self, original: TextIO) -> None:
        self._original = original
        self._bound: LogBound[str] = LogBound(FIRST_LINES, LAST_LINES)
        self._begun = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        """Write what there is room for, and keep the last of the rest."""
        for part in text.splitlines(keepends=True):
            shown = _clipped(part)
            is_line = "\n" in part  # else a part of one, or a bar that is drawn anew
            if self._bound.takes(len(shown), is_line=is_line):
                self._original.write(shown)
            else:
                self._hold(part, is_line=is_line)
        return len(text)

    def _hold(self, part: str, *, is_line: bool) -> None:
        """Keep a whole line: `print` writes each of its words, and the end of the line, for itself."""
        with self._lock:
            self._begun = part if self._begun.endswith("\r") and not is_line else _clipped(self._begun + part)
            if is_line:
                self._bound.hold(self._begun, len(self._begun))
                self._begun = ""

    def writelines(self, texts: Any) -> None:
        """Write each."""
        for text in texts:
            self.write(text)

    def tell_rest(self) -> None:
        """Write the last lines, and before them how many are left out."""
        with self._lock:
            if self._begun:
                self._bound.hold(self._begun, len(self._begun))
                self._begun = ""
        left_out, last = self._bound.rest()
        if left_out:
            self._original.write(f"{gap(left_out)}\n")
        for part in last:
            self._original.write(part)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


def _clipped(part: str) -> str:
    """A line, or what was printed of one, with both ends where nobody reads it to its end."""
    if len(part) <= MAX_LINE:
        return part
    line = part.rstrip("\r\n")
    return both_ends(line, MAX_LINE) + part[len(line) :]

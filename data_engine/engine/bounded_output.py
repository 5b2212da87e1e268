"""What a preview, or a run in a kernel, prints, bounded: a step that prints each row must not drown the notebook it runs in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from data_engine.cut import both_ends
from data_engine.engine.capture import is_captured
from data_engine.ledger.log_limits import MAX_LINE, LogBound, gap

FIRST_LINES, LAST_LINES = 2_000, 200


@contextmanager
def bounded_output() -> Iterator[None]:
    """Inside, the first lines that are printed are shown as they come, the last ones at the end, with a word on the rest.

    Example:
        >>> with bounded_output():
        ...     print("shown")
        shown
    """
    if is_captured():  # inside a run, whose log is bounded
        yield
        return
    before = sys.stdout, sys.stderr
    ours = _Bounded(before[0]), _Bounded(before[1])
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        sys.stdout = before[0] if sys.stdout is ours[0] else sys.stdout
        sys.stderr = before[1] if sys.stderr is ours[1] else sys.stderr
        for stream in ours:
            stream.tell_rest()


class _Bounded:
    """A text stream that writes through as long as it is not too much; everything else is the original's."""

    def __init__(self, original: TextIO) -> None:
        self._original = original
        self._bound: LogBound[str] = LogBound(FIRST_LINES, LAST_LINES)

    def write(self, text: str) -> int:
        for part in text.splitlines(keepends=True):
            shown = _clipped(part)
            is_line = "\n" in part  # else a part of one, or a bar that is drawn anew
            if self._bound.takes(len(shown), is_line=is_line):
                self._original.write(shown)
            else:
                self._bound.hold(shown, len(shown))
        return len(text)

    def writelines(self, texts: Any) -> None:
        for text in texts:
            self.write(text)

    def tell_rest(self) -> None:
        """Write the last lines, and before them how many are left out."""
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

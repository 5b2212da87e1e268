"""What a preview, or a run in a kernel, prints and displays, bounded: a step that shows each row must not drown its notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from data_engine.engine.bounded_stream import FIRST_LINES, BoundedStream
from data_engine.engine.capture import is_captured
from data_engine.engine.shown_result import MOST_SHOWN
from data_engine.formatting import both_ends
from data_engine.workspace.layout import kernel_shell


@contextmanager
def bounded_output() -> Iterator[None]:
    """Inside, the first lines that are printed are shown as they come, the last ones at the end, with a word on the rest.

    In a kernel it holds for what is displayed, too.

    Example:
        >>> with bounded_output():
        ...     print("shown")
        shown
    """
    if is_captured():  # inside a run, whose log is bounded
        yield
        return
    before = sys.stdout, sys.stderr
    ours = BoundedStream(before[0]), BoundedStream(before[1])
    sys.stdout, sys.stderr = ours
    try:
        with _bounded_display():
            yield
    finally:
        sys.stdout = before[0] if sys.stdout is ours[0] else sys.stdout
        sys.stderr = before[1] if sys.stderr is ours[1] else sys.stderr
        for stream in ours:
            stream.tell_rest()


def bounded_bundle(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is displayed of an object; of a very long text its two ends, and no HTML or JSON that is as long.

    Example:
        >>> bounded_bundle({"text/plain": "1 row", "text/html": "<b>1 row</b>"})
        {'text/plain': '1 row', 'text/html': '<b>1 row</b>'}
        >>> bounded_bundle({"text/html": "x" * 1_000_000})
        {'text/plain': '1,000,000 characters of text/html are left out here'}
    """
    long = {kind: text for kind, text in data.items() if isinstance(text, str) and len(text) > MOST_SHOWN}
    texts = {kind: text for kind, text in long.items() if not kind.startswith(("image/", "audio/", "video/"))}
    shown = {kind: value for kind, value in data.items() if kind not in texts}
    if texts and "text/plain" not in shown:
        left_out = "; ".join(f"{len(text):,} characters of {kind} are left out here" for kind, text in texts.items())
        shown["text/plain"] = both_ends(texts.get("text/plain", left_out), MOST_SHOWN)
    return shown


@contextmanager
def _bounded_display() -> Iterator[None]:
    publisher = getattr(kernel_shell(), "display_pub", None)
    if publisher is None:
        yield
        return
    publish, count = publisher.publish, 0

    def bounded(data: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
        nonlocal count
        count += not kwargs.get("update")  # a bar that is drawn anew
        if count <= FIRST_LINES:
            publish(bounded_bundle(data), *args, **kwargs)

    publisher.publish = bounded
    try:
        yield
    finally:
        if publisher.__dict__.get("publish") is bounded:
            del publisher.publish
        if count > FIRST_LINES:
            publish({"text/plain": f"{count - FIRST_LINES:,} more that these steps displayed are left out"})

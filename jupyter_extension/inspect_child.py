"""A child process that reads files for the panel, kept between requests and ended when idle: each request and answer is JSON.

It may hang where nothing can end it, on a drive that does not answer: it is then left alone, and a new one answers.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from data_engine.answering_process import AnsweringProcess, KeptProcess, NoAnswer, ParentProcess
from data_engine.errors import FlowValidationError, error_of
from data_engine.platforms.processes import memory_bytes

TIMEOUT_S = 60.0
EXPORT_TIMEOUT_S = 3600.0
KEEP_S = 120.0
PATIENCE_S = 2.0
_INSPECTOR = "jupyter_extension.inspector:main"
_ENDED = "the preview of the file was ended: another one was asked for, or memory ran out"


class InspectChild:
    """One child process, which calls `target`. A request waits for the one before it, and ends that one after `patience_s`;
    without patience it waits until that one ends."""

    def __init__(self, target: str = _INSPECTOR, *arguments: str, patience_s: float | None = PATIENCE_S) -> None:
        self._patience_s = math.inf if patience_s is None else patience_s
        self._kept = KeptProcess(lambda: AnsweringProcess(target, *arguments), KEEP_S)
        self._busy_since_s: float | None = None

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The child's answer.

        Raises:
            FlowValidationError: the child's own error; it took too long; it died, of memory for example.
        """
        busy_since_s, process = self._busy_since_s, self._kept.process
        if busy_since_s is not None and process is not None and time.monotonic() - busy_since_s > self._patience_s:
            process.end(_ENDED)  # whoever asked looks elsewhere by now
        try:
            with self._kept.use() as process:
                self._busy_since_s = time.monotonic()
                try:
                    answer = json.loads(process.ask(json.dumps(dict(request)).encode(), timeout_s))
                finally:
                    self._busy_since_s = None
                if answer.get("is_last"):  # it took too much memory
                    self._kept.close()
        except NoAnswer as ended:
            is_late = ended.ended_for not in ("", _ENDED)
            raise FlowValidationError(
                f"reading the file took longer than {timeout_s:g} s" if is_late else _ENDED,
                where=str(request.get("path") or request.get("flow")),
                fix="sort or filter less, or open the file in a cell",
            ) from None
        if "error" in answer:
            raise error_of(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        """End the child; one that the system cannot end now is left alone."""
        self._kept.close()


_child = InspectChild()
_exports = InspectChild(patience_s=None)
"""Writes workbooks, which may take minutes, while `_child` goes on answering."""

atexit.register(_child.close)
atexit.register(_exports.close)


def ask_child(request: Mapping[str, Any]) -> dict[str, Any]:
    """A page of an output file; see `inspector.inspect` for the request and the answer."""
    if request.get("export") or request.get("part"):
        return _exports.ask(request, timeout_s=EXPORT_TIMEOUT_S)
    return _child.ask(request)


MOST_BYTES = 4 * 1024**3
_LOOK_EVERY_S = 0.05


def most_memory_bytes() -> int:
    """How much memory a child may hold: half of the machine's, at most 4 GB."""
    import psutil

    return min(MOST_BYTES, psutil.virtual_memory().total // 2)


def serve(
    asker: ParentProcess,
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    *,
    failed: str,
    most_bytes: int | None = None,
) -> None:
    """Answer requests as long as somebody asks. `failed` begins the message of an unexpected error. A request that takes
    more memory than `most_bytes` is refused, and ends the process, which alone gives it back.
    """
    if most_bytes is not None:
        threading.Thread(target=_end_when_full, args=(asker, most_bytes), name="memory", daemon=True).start()
    while True:
        response: dict[str, Any]
        request = json.loads(asker.receive())
        try:
            response = {"result": answer(request)}
        except FlowValidationError as error:
            response = {"error": error.as_dict()}
        except Exception as error:
            response = {"error": {"what": f"{failed}: {type(error).__name__}: {error}", "where": None, "fix": None}}
        asker.send(json.dumps(response).encode())


def _end_when_full(asker: ParentProcess, most_bytes: int) -> None:
    while memory_bytes() <= most_bytes:
        time.sleep(_LOOK_EVERY_S)
    what = f"this took more than {most_bytes / 2**30:.1f} GB of memory, which is as much as the panel takes"
    error = {"what": what, "where": None, "fix": "sort or filter less, or open the file in a cell"}
    asker.send(json.dumps({"error": error, "is_last": True}).encode())
    os._exit(1)

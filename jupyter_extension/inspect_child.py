"""A child process that reads files for the panel, kept between requests and ended when idle: one JSON request a line on standard
input, one JSON answer a line on standard output.

It may hang where nothing can end it, on a drive that does not answer: it is then left alone, and a new one answers.
"""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any, TextIO

from data_engine.errors import FlowValidationError, error_of
from data_engine.platforms.processes import apart, memory_bytes

TIMEOUT_S = 60.0
EXPORT_TIMEOUT_S = 3600.0
KEEP_S = 120.0
PATIENCE_S = 2.0
_END_S = 1.0
_COMMAND = (sys.executable, "-P", "-m", "jupyter_extension.inspector")


class InspectChild:
    """One child process, of `command`. A request waits for the one before it, and ends that one after `patience_s`; without
    patience it waits until that one ends."""

    def __init__(self, command: Sequence[str] = _COMMAND, *, patience_s: float | None = PATIENCE_S) -> None:
        self._command = command
        self._patience_s = math.inf if patience_s is None else patience_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._timer: threading.Timer | None = None
        self._stuck: list[subprocess.Popen[bytes]] = []
        self._busy_since_s: float | None = None

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The child's answer.

        Raises:
            FlowValidationError: the child's own error; it took too long; it died, of memory for example.
        """
        busy_since_s, process = self._busy_since_s, self._process
        if busy_since_s is not None and process is not None and time.monotonic() - busy_since_s > self._patience_s:
            self._lines.put(b"")  # whoever asked looks elsewhere by now
            process.kill()
        with self._lock:
            process = self._started()
            self._busy_since_s = time.monotonic()
            assert process.stdin is not None
            was_slow = False
            try:
                process.stdin.write(json.dumps(dict(request)).encode() + b"\n")
                process.stdin.flush()
                line = self._lines.get(timeout=timeout_s)
            except OSError:
                line = b""
            except Empty:
                line, was_slow = b"", True
            finally:
                self._busy_since_s = None
            if not line:
                self.close()
                raise FlowValidationError(
                    f"reading the file took longer than {timeout_s:g} s"
                    if was_slow
                    else "the preview of the file was ended: another one was asked for, or memory ran out",
                    where=str(request.get("path") or request.get("flow")),
                    fix="sort or filter less, or open the file in a cell",
                )
            answer = json.loads(line)
            if answer.get("is_last"):  # it took too much memory
                self.close()
            else:
                self._rest()
        if "error" in answer:
            raise error_of(answer["error"])
        result: dict[str, Any] = answer["result"]
        return result

    def close(self) -> None:
        """End the child; one that the system cannot end now is left alone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
            self._stuck.append(process)
        self._stuck = [child for child in self._stuck if child.poll() is None]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._timer is not None:
            self._timer.cancel()
        if self._process is None or self._process.poll() is not None:
            self.close()
            package_root = str(Path(__file__).parent.parent)
            path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH", "")]))
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": path},
                **apart(),
            )
            self._lines = SimpleQueue()
            reading = (self._process.stdout, self._lines)
            threading.Thread(target=_read_lines, args=reading, name="data-engine-inspect", daemon=True).start()
        return self._process

    def _rest(self) -> None:
        self._timer = threading.Timer(KEEP_S, self._end_if_idle)
        self._timer.daemon = True
        self._timer.start()

    def _end_if_idle(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._lock.release()


def _read_lines(pipe: IO[bytes], lines: SimpleQueue[bytes]) -> None:
    """Put each line of the child, and b"" at its end, into `lines`; in a thread of its own, which alone waits for a child that hangs."""
    with pipe:
        while line := pipe.readline():
            lines.put(line)
    lines.put(b"")


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
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]], *, failed: str, most_bytes: int | None = None
) -> None:
    """Answer requests until standard input ends. `failed` begins the message of an unexpected error. A request that takes
    more memory than `most_bytes` is refused, and ends the process, which alone gives it back.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    if most_bytes is not None:
        threading.Thread(target=_end_when_full, args=(answers, most_bytes), name="memory", daemon=True).start()
    for line in sys.stdin:
        response: dict[str, Any]
        try:
            response = {"result": answer(json.loads(line))}
        except FlowValidationError as error:
            response = {"error": error.as_dict()}
        except Exception as error:
            response = {"error": {"what": f"{failed}: {type(error).__name__}: {error}", "where": None, "fix": None}}
        answers.write(json.dumps(response, ensure_ascii=True) + "\n")


def _end_when_full(answers: TextIO, most_bytes: int) -> None:
    while memory_bytes() <= most_bytes:
        time.sleep(_LOOK_EVERY_S)
    what = f"this took more than {most_bytes / 2**30:.1f} GB of memory, which is as much as the panel takes"
    error = {"what": what, "where": None, "fix": "sort or filter less, or open the file in a cell"}
    answers.write(json.dumps({"error": error, "is_last": True}) + "\n")
    os._exit(1)

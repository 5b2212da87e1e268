"""The process that looks into output files, kept warm between questions and ended when nobody asks any more."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_engine.errors import FlowValidationError

TIMEOUT_S = 60.0
KEEP_S = 120.0
PATIENCE_S = 2.0


class InspectChild:
    """One child process. A question waits for the one before it, and ends it when that has taken long already."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._timer: threading.Timer | None = None
        self._was_slow = False
        self._busy_since_s: float | None = None

    def ask(self, request: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
        """The child's answer.

        Raises:
            FlowValidationError: the child's own error; it took too long; it died, of memory for example.
        """
        busy_since_s, process = self._busy_since_s, self._process
        if busy_since_s is not None and process is not None and time.monotonic() - busy_since_s > PATIENCE_S:
            process.kill()  # whoever asked looks elsewhere by now
        with self._lock:
            process = self._started()
            self._busy_since_s = time.monotonic()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(dict(request)).encode() + b"\n")
                process.stdin.flush()
                line = self._line(process, timeout_s)
            except OSError:
                line = b""
            finally:
                self._busy_since_s = None
            if not line:
                was_slow = self._was_slow
                self.close()
                raise FlowValidationError(
                    f"looking into the file took longer than {timeout_s:g} s"
                    if was_slow
                    else "the look into the file was ended: for another look, or for want of memory",
                    where=str(request.get("path")),
                    mend="sort or filter less, or open the file in a cell",
                )
            self._rest()
        found = json.loads(line)
        if "error" in found:
            parts = found["error"]
            raise FlowValidationError(parts["what"], where=parts.get("where"), mend=parts.get("mend"))
        result: dict[str, Any] = found["result"]
        return result

    def close(self) -> None:
        """End the child."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._timer is not None:
            self._timer.cancel()
        if self._process is None or self._process.poll() is not None:
            self.close()
            here = str(Path(__file__).parent.parent)
            path = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "jupyter_extension.inspector"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": path},
            )
        return self._process

    def _line(self, process: subprocess.Popen[bytes], timeout_s: float) -> bytes:
        """The next line of the child's; b"" when it dies, or is ended because it took too long."""
        assert process.stdout is not None
        self._was_slow = False

        def end() -> None:
            self._was_slow = True
            process.kill()

        watchdog = threading.Timer(timeout_s, end)
        watchdog.daemon = True
        watchdog.start()
        try:
            return process.stdout.readline()
        finally:
            watchdog.cancel()

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


_child = InspectChild()
atexit.register(_child.close)


def ask_child(request: Mapping[str, Any]) -> dict[str, Any]:
    """A page of an output file; see `inspector.inspect` for the request and the answer."""
    return _child.ask(request)

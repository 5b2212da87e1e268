"""What a child process of the panel does: one JSON request a line on standard input, one JSON answer a line out."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from data_engine.errors import FlowValidationError
from data_engine.platforms.processes import memory_bytes

MOST_BYTES = 4 * 1024**3
_LOOK_EVERY_S = 0.05


def most_memory_bytes() -> int:
    """How much memory a child may hold: half of the machine's, at most 4 GB."""
    import psutil

    return min(MOST_BYTES, psutil.virtual_memory().total // 2)


def serve(
    answer: Callable[[Mapping[str, Any]], Mapping[str, Any]], *, failed: str, most_bytes: int | None = None
) -> None:
    """Answer requests until standard input ends. `failed` begins what is said of an error that nobody foresaw. A request that takes
    more memory than `most_bytes` is refused, and ends the process, which alone gives it back.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    if most_bytes is not None:
        threading.Thread(target=_end_when_full, args=(answers, most_bytes), name="memory", daemon=True).start()
    for line in sys.stdin:
        found: dict[str, Any]
        try:
            found = {"result": answer(json.loads(line))}
        except FlowValidationError as error:
            found = {"error": error.as_dict()}
        except Exception as error:
            found = {"error": {"what": f"{failed}: {type(error).__name__}: {error}", "where": None, "fix": None}}
        answers.write(json.dumps(found, ensure_ascii=True) + "\n")


def _end_when_full(answers: TextIO, most_bytes: int) -> None:
    while memory_bytes() <= most_bytes:
        time.sleep(_LOOK_EVERY_S)
    what = f"this took more than {most_bytes / 2**30:.1f} GB of memory, which is as much as the panel takes"
    error = {"what": what, "where": None, "fix": "sort or filter less, or open the file in a cell"}
    answers.write(json.dumps({"error": error, "is_last": True}) + "\n")
    os._exit(1)

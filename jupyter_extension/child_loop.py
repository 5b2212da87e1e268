"""What a child process of the panel does: one JSON request a line on standard input, one JSON answer a line out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from data_engine.errors import FlowValidationError


def serve(answer: Callable[[Mapping[str, Any]], Mapping[str, Any]], *, failed: str) -> None:
    """Answer requests until standard input ends. `failed` begins what is said of an error that nobody foresaw."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    for line in sys.stdin:
        found: dict[str, Any]
        try:
            found = {"result": answer(json.loads(line))}
        except FlowValidationError as error:
            found = {"error": error.as_dict()}
        except Exception as error:
            found = {"error": {"what": f"{failed}: {type(error).__name__}: {error}", "where": None, "fix": None}}
        answers.write(json.dumps(found, ensure_ascii=True) + "\n")

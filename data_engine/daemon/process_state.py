"""What a worker puts back between two jobs, and what it finds that it cannot put back."""

from __future__ import annotations

import locale
import logging
import os
import signal
import sys
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_engine.platforms.processes import has_children, memory_bytes, open_files, stop_timer

MOST_GROWTH_BYTES = 500 * 1024 * 1024


@dataclass(frozen=True)
class ProcessState:
    """What author code may change for the whole process, as it was when the worker had run nothing yet."""

    environ: dict[str, str]
    path: list[str]
    handlers: dict[signal.Signals, Any]
    streams: tuple[Any, Any, Any]
    filters: list[Any]
    log_handlers: list[logging.Handler]
    log_level: int
    log_disabled: int
    locale: str
    umask: int

    @classmethod
    def now(cls) -> ProcessState:
        """The state of this process."""
        umask = os.umask(0o022)
        os.umask(umask)
        return cls(
            environ=dict(os.environ),
            path=list(sys.path),
            handlers=_handlers(),
            streams=(sys.stdin, sys.stdout, sys.stderr),
            filters=list(warnings.filters),
            log_handlers=list(logging.root.handlers),
            log_level=logging.root.level,
            log_disabled=logging.root.manager.disable,
            locale=locale.setlocale(locale.LC_ALL),
            umask=umask,
        )

    def restore(self, folder: Path) -> None:
        """Put everything back and leave for `folder`. Called from the main thread."""
        os.chdir(folder)
        if dict(os.environ) != self.environ:
            os.environ.clear()
            os.environ.update(self.environ)
        sys.path[:] = self.path
        for number, handler in _handlers().items():
            if handler is not self.handlers[number] and self.handlers[number] is not None:
                with suppress(OSError, ValueError):
                    signal.signal(number, self.handlers[number])
        stop_timer()
        sys.stdin, sys.stdout, sys.stderr = self.streams
        if warnings.filters != self.filters:
            warnings.filters[:] = self.filters  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]
        logging.root.handlers[:] = self.log_handlers
        logging.root.setLevel(self.log_level)
        logging.disable(self.log_disabled)
        if locale.setlocale(locale.LC_ALL) != self.locale:
            with suppress(locale.Error):
                locale.setlocale(locale.LC_ALL, self.locale)
        os.umask(self.umask)


def leaks(own_threads: set[int], own_files: set[str], root: Path, base_bytes: int) -> list[str]:
    """Why this process should not be used again, in a few words each; empty when it is as good as new.

    `own_threads` and `own_files` are the worker's, `root` is the workspace, `base_bytes` its memory before the first job.
    """
    found = [f"thread {thread.name}" for thread in threading.enumerate() if thread.ident not in own_threads]
    if has_children():
        found.append("a child process")
    found += [f"open file {path}" for path in open_files() - own_files if path.startswith(f"{root}{os.sep}")]
    return found + grown(base_bytes)


def grown(base_bytes: int) -> list[str]:
    """That this process holds much more memory than `base_bytes`; empty when it does not."""
    growth = memory_bytes() - base_bytes
    return [f"{growth // (1024 * 1024)} MB more memory"] if growth > MOST_GROWTH_BYTES else []


def _handlers() -> dict[signal.Signals, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals() if isinstance(number, signal.Signals)}

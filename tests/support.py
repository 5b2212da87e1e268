"""What the tests build with: notebooks from cell texts, and workspaces."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil

from data_engine.files import write_text_atomic
from data_engine.platforms import processes

ON_WINE = sys.platform == "win32" and hasattr(ctypes.CDLL("ntdll"), "wine_get_version")
PATIENCE = 4 if sys.platform == "win32" else 1
"""How much longer a test waits for other processes than on Linux: under Wine each file that is opened costs a millisecond."""


WAIT_S = 60.0
"""What a test waits for comes within this, also on a machine that does much else; who waits shorter fails without a fault."""


MANY = "TESTS_EXAMPLES"
"""In the environment: how many times as many examples each property takes; `tests/soak/properties.py` and `tests/newest.py` set it."""


def examples(count: int) -> int:
    """How many examples a property takes: so many in a run of all tests, a multiple in a campaign, a part on a second Python."""
    return max(min(count, 5), int(count * float(os.environ.get(MANY, "1"))))


def examples_on_files(count: int) -> int:
    """How many examples a property takes whose every example writes and reads files: a tenth under Wine, where that is slow."""
    return max(5, count // 10) if ON_WINE else examples(count)


def until(question: Callable[[], Any], timeout_s: float = WAIT_S, every_s: float | None = None) -> Any:
    """The first true answer; AssertionError with the last one when there is none in time.

    A question that takes long, as it starts a process, is asked again after as long a pause, and, without `every_s`, one that was asked
    for long less often: what it waits for needs the machine too.
    """
    begun_s = time.monotonic()
    end_s = begun_s + timeout_s * PATIENCE
    while True:
        asked_s = time.monotonic()
        if answer := question():
            return answer
        now_s = time.monotonic()
        assert now_s < end_s, f"it did not happen: {answer!r}"
        pause_s = min(max(0.02, (now_s - begun_s) / 20), 0.1) if every_s is None else every_s
        time.sleep(max(pause_s, min(now_s - asked_s, 0.5)))


HANG_IN_C = (
    "import ctypes; ctypes.PyDLL('kernel32').Sleep(600_000)"
    if sys.platform == "win32"
    else "import ctypes; ctypes.PyDLL(None).sleep(600)"
)
"""Code that holds the interpreter, so that no other thread of it runs."""


def notebook_bytes(*cells: str, counts: bool = False) -> bytes:
    """A version 4.5 notebook whose code cells have these texts; with `counts` they were run in order."""
    content = {
        "cells": [
            {
                "cell_type": "code",
                "execution_count": number if counts else None,
                "id": f"cell-{number}",
                "metadata": {},
                "outputs": [],
                "source": dedent(text).strip("\n").splitlines(keepends=True),
            }
            for number, text in enumerate(cells, start=1)
        ],
        "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(content, indent=1).encode()


AUTO = '[deploy]\nmode = "auto"\nquiet = "0s"\n'
"""Settings of a workspace whose good modules go live at once, for tests that are about something else."""


SETTINGS_PATH = "config/data_engine.toml"


class WorkspaceFiles:
    """A workspace folder under construction; with `settings` of its own, which it keeps where others are written."""

    def __init__(self, root: Path, settings: str = "") -> None:
        self.root = root
        self.modules = root / "flow_modules"
        self.modules.mkdir(parents=True)
        self._settings = settings
        if settings:
            self.source(SETTINGS_PATH, "")

    def notebook(self, name: str, *cells: str, counts: bool = False) -> Path:
        path = self.modules / f"{name}.ipynb"
        path.write_bytes(notebook_bytes(*cells, counts=counts))
        return path

    def module(self, name: str, text: str) -> Path:
        path = self.modules / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    def helper(self, name: str, text: str) -> Path:
        return self.module(f"flow_helpers/{name}", text)

    def source(self, name: str, text: str = "x") -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == SETTINGS_PATH and "[deploy]" not in text:  # a key of the file's top comes before any table
            text = f"{text}\n{self._settings}"
        write_text_atomic(path, text, durable=False)  # whoever watches sees it whole
        return path


def said_of_nothing() -> str:
    """What this system says of a file that is not there."""
    try:
        os.stat("not there")
    except FileNotFoundError as error:
        return str(error.strerror)
    raise AssertionError("it is there")


def native(path: str) -> str:
    """A path with the separators of this system."""
    return path.replace("/", os.sep)


def end_now(pid: int) -> None:
    """End a process as a crash or a person would, without asking it."""
    processes.kill(pid)


def pause(pid: int) -> None:
    """Let a process stand still; `resume` lets it go on."""
    psutil.Process(pid).suspend()


def resume(pid: int) -> None:
    """Let a process go on that stands still."""
    psutil.Process(pid).resume()


def fill_drive(drive: Path) -> Path:
    """Write until nothing goes there any more; the file that takes the room."""
    filler = drive / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return filler

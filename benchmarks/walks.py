"""How many functions of ours a daily way walks through: each that is called at least once, in a fresh process.

A figure of structure and not of speed: it is the same on every machine. What is called while a module is imported counts, too; lambdas and
comprehensions count with the function around them, bodies of classes and of modules do not.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks.figures import finish, report

ROOT = Path(__file__).parent.parent
OURS = tuple(f"{ROOT / name}{os.sep}" for name in ("data_engine", "jupyter_extension"))
TWO_STEPS = """
from data_engine import Flow

def first(context):
    return [1, 2]

def second(context):
    return sum(context.current)

def build():
    return Flow(group="G").step(first, save_as="numbers").step(second)
"""
ONE_CELL = {
    "cells": [
        {"cell_type": "code", "id": "a", "metadata": {}, "source": TWO_STEPS, "outputs": [], "execution_count": None}
    ],
    "metadata": {},
    "nbformat": 4,
    "nbformat_minor": 5,
}
LOAD = "from data_engine import Workspace; flow = Workspace.current().load_flow('claims'); "
PREVIEW = "flow.preview(use='numbers')"
WALKS = {
    "data-engine status": (350, "", "from data_engine.cli.app import run; run(['status'])"),
    "data-engine deploy, no daemon": (700, "", "from data_engine.cli.app import run; run(['deploy', 'claims'])"),
    "load_flow of one cell": (300, "", "from data_engine import Workspace; Workspace.current().load_flow('claims')"),
    "a preview of two steps": (400, LOAD, PREVIEW),
    "the same preview again": (250, LOAD + PREVIEW, PREVIEW),
}
"""The most functions of each, what is run before the counting, and what is walked."""


def walked(before: str, code: str) -> int:
    """How many functions of ours `code` calls in this process, after `before`."""
    found: set[CodeType] = set()

    def see(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_flags & inspect.CO_OPTIMIZED:  # no module, and no body of a class
            found.add(frame.f_code)

    names: dict[str, Any] = {}
    exec(before, names)
    compiled = compile(code, "<walk>", "exec")
    threading.setprofile(see)
    sys.setprofile(see)
    try:
        exec(compiled, names)
    except SystemExit as end:
        if end.code:
            raise
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return len(
        {
            (one.co_filename, one.co_qualname.split(".<locals>.<")[0])
            for one in found
            if one.co_filename.startswith(OURS) and not one.co_name.startswith("<")
        }
    )


def main() -> None:
    """Each walk in a workspace of its own."""
    if len(sys.argv) > 1:
        _, before, code = WALKS[sys.argv[1]]
        sys.stderr.write(f"\n{walked(before, code)}")
        return
    for name, (most, _, _) in WALKS.items():
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "ws" / "flow_modules"
            place.mkdir(parents=True)
            (place / "claims.ipynb").write_text(json.dumps(ONE_CELL))
            environment = os.environ | {
                "DATA_ENGINE_STATE_ROOT": f"{folder}/state",
                "DATA_ENGINE_WORKSPACE_ROOT": f"{folder}/ws",
            }
            if "status" in name:  # the second, as nearly each one is
                subprocess.run(
                    [sys.executable, "-m", "data_engine", "status"],
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    check=True,
                )
            process = subprocess.run(
                [sys.executable, "-m", "benchmarks.walks", name],
                env=environment,
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                check=True,
                text=True,
            )
            report(f"{name}: functions", int(process.stderr.rpartition("\n")[2]), most, "")
    finish()


if __name__ == "__main__":
    main()

"""The command line in this process, and as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from data_engine.cli.app import run

REPOSITORY = Path(__file__).parents[2]


class Answer(NamedTuple):
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Answer]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command line here; arguments are taken as texts."""

    def ask(*arguments: object) -> Answer:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Answer(code, *capsys.readouterr())

    return ask


@pytest.fixture
def process() -> Callable[..., subprocess.Popen[bytes]]:
    """Start the command line as a process with pipes."""

    def start(*arguments: object, env: dict[str, str] | None = None, **streams: Any) -> subprocess.Popen[bytes]:
        all_streams: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE) | streams
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **(env or {})}
        command = [sys.executable, "-m", "data_engine", *map(str, arguments)]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, text=False, **all_streams)

    return start

"""The site of the documentation, built once for all processes that run the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from data_engine.locks import OsLock
from tests.support import until

REPOSITORY = Path(__file__).parents[2]
BUILD_S = 250.0
"""Within this another process has built it."""


def built_site(factory: pytest.TempPathFactory) -> Path:
    """The folder with the site, as `python -m data_engine.docs FOLDER` makes it; nobody changes what is in it."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / "site", shared / "site.done"
    lock = OsLock(shared / "site.lock")
    until(lock.try_acquire, BUILD_S)
    try:
        if not done.exists():
            said = build(folder)
            assert (said.returncode, said.stderr) == (0, "")
            assert said.stdout.strip() == str(folder / "index.html")
            done.touch()
    finally:
        lock.release()
    return folder


def build(*arguments: object) -> subprocess.CompletedProcess[str]:
    """What `python -m data_engine.docs` does."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "data_engine.docs", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

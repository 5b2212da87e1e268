"""A module of the package as Windows loads it, on any system: for the decisions in it, with what the system says made up."""

from __future__ import annotations

import ctypes  # noqa: F401 - it is named by its path below
import importlib
import importlib.util
import os
import signal
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

CONSTANTS = {
    "CREATE_NEW_PROCESS_GROUP": 0x0200,
    "CREATE_NO_WINDOW": 0x0800_0000,
    "CREATE_BREAKAWAY_FROM_JOB": 0x0100_0000,
}
"""Of `subprocess`, which has them on Windows only."""


def as_windows(monkeypatch: pytest.MonkeyPatch, name: str, **says: Any) -> Any:
    """The module; `says` are functions of its libraries by their name, as `GetSystemMetrics`.

    On Windows it is the module itself. Elsewhere it is loaded once more beside the one that this system has.
    """
    library = SimpleNamespace(**says)
    windll = SimpleNamespace(user32=library, kernel32=library)
    monkeypatch.setattr("ctypes.windll", windll, raising=False)
    if sys.platform == "win32":
        return importlib.import_module(name)
    monkeypatch.setattr("ctypes.WinDLL", lambda *_, **__: library, raising=False)
    for constant, value in CONSTANTS.items():
        monkeypatch.setattr(subprocess, constant, value, raising=False)
    monkeypatch.setattr(signal, "SIGBREAK", signal.SIGUSR1, raising=False)
    for flag in ("O_BINARY", "O_NOINHERIT"):
        monkeypatch.setattr(os, flag, 0, raising=False)
    for missing in ("winreg", "msvcrt", "data_engine.platforms._win32"):
        monkeypatch.setitem(sys.modules, missing, ModuleType(missing))
    monkeypatch.setattr("data_engine.platforms._win32", sys.modules["data_engine.platforms._win32"], raising=False)
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    spec = importlib.util.spec_from_file_location(f"{name}_as_on_windows", found.origin)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as there:
        there.setattr(sys, "platform", "win32")
        spec.loader.exec_module(module)
    return module

"""Signing off, shutting down and leaving a terminal, as Windows tells of them by numbers."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from data_engine.daemon import start
from tests.platforms.as_windows import CONSTANTS, as_windows

PROCESSES = "data_engine.platforms.processes"


@pytest.mark.parametrize(
    ("status", "is_ending", "is_by_session"),
    [
        (0x4001_0004, False, True),  # DBG_TERMINATE_PROCESS: a process of the console at logoff
        (0xC000_013A, False, True),  # STATUS_CONTROL_C_EXIT: its console was closed
        (0xC000_0142, False, True),  # STATUS_DLL_INIT_FAILED: it was started while the session ended
        (1, True, True),  # whatever else it left with then
        (0, False, False),
        (1, False, False),
        (15, False, False),
        (0xC000_0005, False, False),
    ],
)
def test_a_process_that_the_end_of_a_session_took_is_told_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, status: int, is_ending: bool, is_by_session: bool
) -> None:
    """Or by the system, which says while it happens that the session ends (SM_SHUTTINGDOWN)."""
    asked: list[int] = []

    def metrics(index: int) -> int:
        asked.append(index)
        return int(is_ending)

    processes = as_windows(monkeypatch, PROCESSES, GetSystemMetrics=metrics)

    assert processes.ended_with_session(status) is is_by_session
    assert set(asked) <= {0x2000}


def test_a_daemon_leaves_the_job_of_its_terminal_where_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows no window, and Ctrl-C in the terminal is not for it, in a job that lets nothing leave it as well."""
    processes = as_windows(monkeypatch, PROCESSES)
    group, no_window, breakaway = CONSTANTS.values()

    assert processes.detached() == [
        {"creationflags": group | no_window | breakaway},
        {"creationflags": group | no_window},
    ]


@pytest.mark.parametrize("is_refused", [False, True])
def test_a_job_that_lets_nothing_leave_it_gets_a_daemon_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_refused: bool
) -> None:
    """The system refuses the flag with "access denied"; other errors are told."""
    wishes = as_windows(monkeypatch, PROCESSES).detached()
    breakaway = CONSTANTS["CREATE_BREAKAWAY_FROM_JOB"]
    tried: list[int] = []

    def started(command: list[str], *, creationflags: int, **options: Any) -> str:
        tried.append(creationflags)
        if is_refused and creationflags & breakaway:
            raise PermissionError(13, "Access is denied")
        return "a process"

    monkeypatch.setattr(start, "detached", lambda: wishes)
    monkeypatch.setattr(subprocess, "Popen", started)

    assert start._popen_detached(["python"], cwd=tmp_path) == "a process"  # type: ignore[comparison-overlap]
    assert [bool(flags & breakaway) for flags in tried] == ([True, False] if is_refused else [True])

    def missing(command: list[str], **options: Any) -> str:
        raise FileNotFoundError(2, "no such program")

    monkeypatch.setattr(subprocess, "Popen", missing)
    with pytest.raises(FileNotFoundError):
        start._popen_detached(["python"])

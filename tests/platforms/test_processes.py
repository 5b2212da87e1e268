"""What of processes only Windows has: a loop that outlives wrong answers, and what it costs to ask for open files."""

from __future__ import annotations

import asyncio
import selectors
import sys
from pathlib import Path
from typing import Any

import pytest

from data_engine.platforms import processes

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="what only Windows has")


def failing_once(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The next look at the sockets fails with an error of this number."""
    look, failed = selectors.SelectSelector.select, []

    def fail(self: selectors.SelectSelector, timeout: float | None = None) -> Any:
        if not failed:
            failed.append(True)
            raise OSError(None, "wrong", None, number)
        return look(self, timeout)

    monkeypatch.setattr(selectors.SelectSelector, "select", fail)


def test_a_loop_outlives_an_answer_that_select_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process gets one that stood still; a daemon would end by it."""
    failing_once(monkeypatch, 10040)
    with asyncio.Runner(loop_factory=processes.new_event_loop) as runner:
        assert runner.run(asyncio.sleep(0.01, "done")) == "done"


def test_a_loop_tells_what_is_wrong_with_its_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = processes.new_event_loop()
    failing_once(monkeypatch, 10038)
    with pytest.raises(OSError, match="wrong"):
        loop.run_until_complete(asyncio.sleep(0.01))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_open_files_are_looked_for_when_there_are_more_or_fewer_handles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_engine.platforms import _processes_windows

    handles = [100]
    monkeypatch.setattr(_processes_windows, "_handle_count", lambda: handles[0])
    path = tmp_path.resolve() / "a.txt"
    before = processes.open_files()
    with path.open("w"):
        assert processes.open_files() == before
        handles[0] += 1
        assert processes.open_files() - before == {str(path)}
        handles[0] = 0  # the system does not tell
        assert processes.open_files() - before == {str(path)}

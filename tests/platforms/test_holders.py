"""Who has a file open, as a message names them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data_engine.platforms import files as holders
from tests.support import ON_WINE

ON_WINDOWS = sys.platform == "win32"
windows_only = pytest.mark.skipif(not ON_WINDOWS, reason="only Windows refuses to replace a file that is open")


def test_this_process_is_called_so() -> None:
    """The reader that is in the way may be the flow's own."""
    assert holders.in_text([(os.getpid(), "Python")]) == f"this process ({os.getpid()})"


def test_of_a_file_that_nobody_holds_nobody_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()

    assert holders.who_holds(tmp_path / "a") is None
    assert holders.who_holds(tmp_path / "gone") is None


@windows_only
@pytest.mark.skipif(ON_WINE, reason="Wine's Restart Manager knows nobody")
def test_another_program_is_named_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "a b.csv"
    path.write_text("x")
    hold = "import sys; file = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        told = holders.who_holds(path)

    assert told is not None
    assert "(process " in told  # in an environment the one that is started is a launcher


class Manager:
    """A Restart Manager that knows these processes; `status` of the call named so is another than 0."""

    def __init__(self, *known: tuple[int, str], **status: int) -> None:
        self.known, self.status = known, status
        self.open = 0

    def RmStartSession(self, session: Any, flags: int, key: Any) -> int:
        self.open += not self.status.get("start")
        return self.status.get("start", 0)

    def RmRegisterResources(self, session: Any, count: int, paths: Any, *rest: Any) -> int:
        assert count == len(paths) == 1
        return self.status.get("register", 0)

    def RmGetList(self, session: Any, needed: Any, count: Any, found: Any, reasons: Any) -> int:
        if status := self.status.get("list"):
            return status
        needed._obj.value = len(self.known)
        if count._obj.value < len(self.known):
            return 234
        count._obj.value = len(self.known)
        for place, (number, name) in enumerate(self.known):
            found[place].number, found[place].name = number, name
        return 0

    def RmEndSession(self, session: Any) -> int:
        self.open -= 1
        return 0


@windows_only
@pytest.mark.parametrize("count", [0, 1, 8, 9, 60])
def test_all_are_listed_however_many_they_are(count: int) -> None:
    manager = Manager(*((number, f"Program {number}") for number in range(1, count + 1)))

    assert holders._listed(manager, r"C:\a.csv") == list(manager.known)  # type: ignore[attr-defined, unused-ignore]
    assert manager.open == 0


@windows_only
@pytest.mark.parametrize("call", ["start", "register", "list"])
def test_where_the_system_does_not_tell_nobody_is_named(call: str) -> None:
    """An error of any of its calls is none of ours; the session is ended."""
    manager = Manager((1, "Program"), **{call: 5})

    assert holders._listed(manager, r"C:\a.csv") == []  # type: ignore[attr-defined, unused-ignore]
    assert manager.open == 0

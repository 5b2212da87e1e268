"""An IPython shell of our own, without history and profile."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_engine.proof.cells import CHANGES


class Shell:
    """A shell with `%flow`, and what its cells print, return and raise."""

    def __init__(self, shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
        self.ipython = shell
        self._capsys = capsys

    def run(self, cell: str) -> Any:
        """The cell's result; its output is in `out`, its error in `error`."""
        self._capsys.readouterr()
        done = self.ipython.run_cell(cell)
        shown = self._capsys.readouterr()
        self.out, self.err = shown.out, shown.err
        self.error = done.error_in_exec or done.error_before_exec
        return done.result

    def complete(self, text: str) -> list[str]:
        """What the Tab key offers at the end of `text`."""
        from IPython.core.completer import provisionalcompleter, rectify_completions

        with provisionalcompleter():
            found = list(self.ipython.Completer.completions(text, len(text)))
            return [one.text for one in rectify_completions(text, found)]


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PATH", os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # the shell puts its own there
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    CHANGES.failed.clear()  # a kernel has one shell, whose counts do not begin anew
    made = InteractiveShell.instance(config=config)
    made.run_cell("%load_ext data_engine")
    yield Shell(made, capsys)
    made.run_cell("%unload_ext data_engine")
    made.reset(new_session=False)
    InteractiveShell.clear_instance()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Any:
    """Compares a text with the file of that name in golden/; `--golden` is not there: delete the file to write it anew."""
    folder = Path(__file__).parent / "golden"

    def check(name: str, text: str) -> None:
        path = folder / name
        if not path.exists():
            path.write_text(text, encoding="utf-8")
            pytest.fail(f"{path.name} was written: look at it, and run again")
        assert text.replace(f"{os.sep}in", "/in").replace(f"/in{os.sep}", "/in/") == path.read_text(
            encoding="utf-8"
        )  # the one path in them

    return check

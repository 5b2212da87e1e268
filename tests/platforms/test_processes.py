"""What only Windows asks of its own process: which files it has open, which costs a lot there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from data_engine.platforms import processes

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="what only Windows has")


def test_open_files_are_looked_for_when_there_are_more_or_fewer_handles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handles = [100]
    monkeypatch.setattr(processes, "_handle_count", lambda: handles[0])
    path = tmp_path.resolve() / "a.txt"
    before = processes.open_files()
    with path.open("w"):
        assert processes.open_files() == before
        handles[0] += 1
        assert processes.open_files() - before == {str(path)}
        handles[0] = 0  # the system does not tell
        assert processes.open_files() - before == {str(path)}


def test_an_environment_that_another_ones_python_made_has_a_python_of_its_own(tmp_path: Path) -> None:
    """Its `executable` is the launcher of the other, which would start that; as `python -m venv` in an environment writes it."""
    base, _ = processes.program_of(sys.executable, {})
    interpreter = tmp_path / "Scripts" / Path(base).name
    settings = f"home = {Path(base).parent}\ninclude-system-site-packages = false\nexecutable = {sys.executable}\n"
    interpreter.parent.mkdir()
    interpreter.touch()
    (tmp_path / "pyvenv.cfg").write_text(settings, encoding="utf-8")

    program, environment = processes.program_of(str(interpreter), {"A": "b"})

    assert (program, dict(environment)) == (base, {"A": "b", "__PYVENV_LAUNCHER__": str(interpreter)})
    (tmp_path / "pyvenv.cfg").write_text(f"home = {tmp_path / 'gone'}\n", encoding="utf-8")
    assert processes.program_of(str(interpreter), {}) == (str(interpreter), {})

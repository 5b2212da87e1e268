"""The older system's distribution has a package `data_engine` too: that is said wherever somebody begins."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.daemon.doctor import examine
from data_engine.workspace.two_packages import older_version, two_packages_text
from tests.importing.conftest import Cli
from tests.support import WorkspaceFiles, until


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "env" / "site-packages"
    (folder / "py_data_engine-0.3.9.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return folder


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("py_data_engine-0.3.9.dist-info", "0.3.9"),
        ("py_data_engine-0.1.0-py3.13.egg-info", "0.1.0"),
        ("data_engine-0.1.0.dist-info", None),
        ("py_data_engineering-1.0.dist-info", None),
    ],
)
def test_it_is_told_by_its_folder(tmp_path: Path, name: str, version: str | None) -> None:
    folder = tmp_path / "site-packages"
    (folder / name).mkdir(parents=True)

    assert older_version([str(folder), str(tmp_path / "not there" / "site-packages")]) == version


def test_the_environment_of_the_tests_has_it_not() -> None:
    assert two_packages_text() is None


@pytest.mark.usefixtures("both")
def test_the_command_line_says_it_with_the_order(cli: Cli, tmp_path: Path) -> None:
    said = cli("workspace", "list")

    assert said.code == 0
    assert "warning: py-data-engine 0.3.9 is installed here too" in said.err
    assert "pip uninstall -y py-data-engine data-engine, then pip install data-engine" in said.err


@pytest.mark.usefixtures("both")
def test_the_first_import_says_it_once() -> None:
    code = "from data_engine import Flow, Workspace; from data_engine import run"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr

    assert said.count("py-data-engine 0.3.9 is installed here too") == 1
    assert "<string>:1: UserWarning" in said


@pytest.mark.usefixtures("both")
def test_doctor_says_it(ws: WorkspaceFiles) -> None:
    found = next(one for one in examine(Workspace(ws.root).layout) if one.name == "packages")

    assert (found.ok, "0.3.9" in found.measured, "remove both" in (found.fix or "")) == (False, True, True)


@pytest.mark.usefixtures("both")
def test_load_ext_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    shell.run_line_magic("load_ext", "data_engine")

    assert "py-data-engine 0.3.9 is installed here too" in capsys.readouterr().out


@pytest.mark.usefixtures("both")
def test_a_daemon_says_it_in_its_log(ws: WorkspaceFiles) -> None:
    workspace = Workspace(ws.root)
    workspace.start()
    try:
        log = workspace.home.local.daemon_log_path
        until(lambda: "py-data-engine 0.3.9" in log.read_text(encoding="utf-8"))
    finally:
        workspace.kill()

"""`data-engine service`: what people are told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from data_engine import Workspace
from tests.cli.conftest import Cli
from tests.service_managers import StandIns
from tests.support import WorkspaceFiles

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="with the stand-in of systemd")


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIns:
    return StandIns(tmp_path / "commands", monkeypatch)


def test_a_service_is_installed_shown_and_taken_away(ws: WorkspaceFiles, cli: Cli, system: StandIns) -> None:
    """In plain words, and twice is once."""
    at = ("--workspace", ws.root, "service")
    none = cli(*at, "status")
    assert (none.code, none.out.splitlines()[0]) == (0, "not installed: after a reboot nothing starts by itself")
    assert "\nservice  " not in cli("--workspace", ws.root, "status").out

    first, again = cli(*at, "install"), cli(*at, "install")

    assert (first.code, again.code) == (0, 0)
    assert first.out.startswith("Installed: the daemon of ws starts at logon.\n  systemd user unit: ")
    assert again.out.startswith("Installed already: ")
    shown = cli(*at, "status")
    assert shown.code == 0
    assert shown.out.startswith("installed, but its daemon does not run\nsystemd user unit, at logon: ")
    assert "service  installed, but its daemon does not run" in cli("--workspace", ws.root, "status").out

    gone = cli(*at, "uninstall")
    assert gone.out == "Uninstalled: nothing starts the daemon of ws by itself any more.\n"
    assert cli(*at, "uninstall").out == "No service was installed.\n"
    assert not any(name.startswith("enabled-") for name in system.left())


def test_boot_is_said_with_what_it_means(ws: WorkspaceFiles, cli: Cli, system: StandIns) -> None:
    """A keyring may be locked then."""
    done = cli("--workspace", ws.root, "service", "install", "--boot")

    assert done.code == 0
    assert "starts with the machine" in done.out
    assert "keyring may be locked" in done.out
    assert cli("--workspace", ws.root, "service", "status", "--json").json["boot"] is True


def test_boot_that_is_not_allowed_is_installed_for_logon_and_fails(
    ws: WorkspaceFiles, cli: Cli, system: StandIns
) -> None:
    """With the reason of the system."""
    system.refuse("loginctl", "Access denied")

    done = cli("--workspace", ws.root, "service", "install", "--boot")

    assert done.code == 1
    assert "starts at logon" in done.out
    assert "not with the machine: this system does not allow it: loginctl enable-linger: Access denied" in done.err
    assert Workspace(ws.root).status().service.installed


def test_a_machine_without_a_manager_says_what_to_do(ws: WorkspaceFiles, cli: Cli, system: StandIns) -> None:
    """In a container there is none; JSON has the same three parts."""
    system.refuse("systemctl", "System has not been booted with systemd")

    refused = cli("--workspace", ws.root, "service", "install", "--json")

    assert refused.code == 2
    assert "has not been booted" in refused.json["error"]["what"]
    assert "data-engine start" in refused.json["error"]["fix"]


def test_what_is_wrong_with_a_service_is_told_with_the_fix(ws: WorkspaceFiles, cli: Cli, system: StandIns) -> None:
    """Here somebody has disabled the unit by hand."""
    cli("--workspace", ws.root, "service", "install")
    (unit,) = [name for name in system.left() if name.startswith("enabled-")]
    (system.folder / unit).unlink()

    shown = cli("--workspace", ws.root, "service", "status")

    assert shown.code == 1
    assert shown.out.splitlines()[:2] == [
        "systemd says that the unit is disabled",
        "fix: data-engine service install",
    ]


def test_the_service_of_a_workspace_that_is_gone_can_be_taken_away(
    ws: WorkspaceFiles, cli: Cli, system: StandIns, tmp_path: Path
) -> None:
    """By the path where it was; a path that never was one is an error as ever."""
    cli("--workspace", ws.root, "service", "install")
    ws.root.rename(tmp_path / "away")

    assert cli("--workspace", ws.root, "service", "uninstall").out.startswith("Uninstalled")
    assert not any(name.startswith("enabled-") for name in system.left())
    assert cli("--workspace", tmp_path / "nowhere", "service", "uninstall").code == 2

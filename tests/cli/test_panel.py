"""The command `panel`: what it starts, and what it refuses; tests/panel/test_own_page.py looks at the page."""

from __future__ import annotations

from pathlib import Path

from data_engine.cli.browser import panel_command
from data_engine.workspace.layout import WorkspaceLayout
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles


def test_wrong_requests_say_the_fix(cli: Cli, ws: WorkspaceFiles, tmp_path: Path) -> None:
    """Nothing is served for them."""
    nowhere = cli("panel", tmp_path / "nowhere", "--no-browser")
    twice = cli("--workspace", ws.root, "panel", ws.root, "--no-browser")
    port = cli("panel", ws.root, "--port", "70000")

    assert [one.code for one in (nowhere, twice, port)] == [2, 2, 2]
    assert "does not exist" in nowhere.err
    assert "name one: data-engine panel WORKSPACE" in twice.err
    assert "--port" in port.err


def test_the_command_names_what_must_not_depend_on_settings() -> None:
    """Where it listens, and that nobody is let in unasked; a token is no argument, which everybody on the machine could read."""
    command = panel_command(WorkspaceLayout(Path("/team/claims")), opens=False, port=None, ip="127.0.0.1")

    assert "--ServerApp.ip=127.0.0.1" in command
    assert "--ServerApp.allow_unauthenticated_access=False" in command
    assert not [one for one in command if "token" in one.lower()]

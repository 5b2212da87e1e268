"""`workspace create|list|use|fork`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_engine.formatting import cli_line
from data_engine.platforms.host import shell_line
from data_engine.workspace.machine import machine_settings_path
from tests.cli.conftest import Cli


def test_create_makes_a_workspace_that_runs_where_it_says(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the next command, and the one that chooses the workspace for always."""
    monkeypatch.chdir(tmp_path)

    answer = cli("workspace", "create", "team/claims")

    assert answer.code == 0
    assert f"Created workspace: {tmp_path / 'team' / 'claims'}" in answer.out
    assert answer.out.splitlines()[-2:] == [
        f"Next: {shell_line(['cd', os.path.join('team', 'claims')])}, then data-engine lab",
        f"To use it from any folder: {cli_line('workspace', 'use', str(tmp_path / 'team' / 'claims'))}",
    ]
    monkeypatch.chdir("team/claims")
    assert cli("run", "--once", "--yes").code == 0
    assert [run["flow"] for run in cli("runs", "--json").json] == ["example"]
    assert cli("workspace", "create", ".").out.splitlines()[-1] == "Next: data-engine lab"


def test_create_writes_nothing_outside_of_the_workspace(cli: Cli, tmp_path: Path) -> None:
    """Neither beside it nor in the person's settings: who has chosen a workspace goes on with that one."""
    cli("workspace", "create", tmp_path / "team" / "claims")
    assert not machine_settings_path().exists()
    assert [path.name for path in (tmp_path / "team").iterdir()] == ["claims"]
    used = cli("workspace", "use", tmp_path / "team" / "claims")
    before = machine_settings_path().read_text()

    cli("workspace", "create", tmp_path / "scratch" / "trial")

    assert f"wrote collection_root and default_workspace to {machine_settings_path()}" in used.out
    assert machine_settings_path().read_text() == before
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["trial"]
    beside = cli("workspace", "create", tmp_path / "team" / "other").out
    assert os.path.join("..", ".vscode", "settings.json") in beside
    assert machine_settings_path().read_text() == before


def test_what_changes_something_names_a_workspace_that_only_the_settings_name(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it asks: who stands in another folder may mean another one."""
    root = tmp_path / "team" / "claims"
    cli("workspace", "create", root)
    cli("workspace", "use", root)

    assert f"workspace {root}" in cli("deploy", "--dry-run").err
    assert cli("list").err == cli("deploy", "--dry-run", "--json").err == ""
    monkeypatch.chdir(root)
    assert cli("deploy", "--dry-run").err == ""


def test_create_again_keeps_everything(cli: Cli, tmp_path: Path) -> None:
    cli("workspace", "create", tmp_path / "claims")
    mine = tmp_path / "claims" / "flow_modules" / "example.ipynb"
    mine.write_text("mine")

    again = cli("workspace", "create", tmp_path / "claims", "--json")

    assert again.code == 0
    assert again.json["created"] == []
    assert mine.read_text() == "mine"
    assert again.json["workspace_root"] == str(tmp_path / "claims")


def test_list_and_use(cli: Cli, tmp_path: Path) -> None:
    """The list has the whole collection and marks the selected one; an id of the collection selects."""
    assert "no workspace yet" in cli("workspace", "list").out
    for name in ("a", "b"):
        cli("workspace", "create", tmp_path / "team" / name)
    assert "knows no workspace yet.\nTo list one that exists, and those beside it:" in cli("workspace", "list").out
    cli("workspace", "use", tmp_path / "team" / "b")

    assert [line.split() for line in cli("workspace", "list").out.splitlines()[2:]] == [
        ["a", str(tmp_path / "team" / "a")],
        ["*", "b", str(tmp_path / "team" / "b")],
    ]
    assert "Selected default workspace: a" in cli("workspace", "use", "a").out
    listed = cli("workspace", "list", "--json").json
    assert listed["collection_root"] == str(tmp_path / "team")
    assert [(item["workspace_id"], item["selected"]) for item in listed["workspaces"]] == [("a", True), ("b", False)]


def test_use_from_inside_another_workspace_says_which_one_is_used_there(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        cli("workspace", "create", tmp_path / "team" / name)
    monkeypatch.chdir(tmp_path / "team" / "a")

    other, own = cli("workspace", "use", "../b"), cli("workspace", "use", "../a")

    assert f"Here a ({tmp_path / 'team' / 'a'}) is still used: this folder is inside it" in other.err
    assert f"--workspace {tmp_path / 'team' / 'b'} COMMAND" in other.err
    assert own.err == ""


def test_a_workspace_outside_of_the_collection_is_listed_when_it_is_meant(cli: Cli, tmp_path: Path) -> None:
    cli("workspace", "create", tmp_path / "team" / "a")
    cli("workspace", "use", tmp_path / "team" / "a")
    (tmp_path / "mine" / "flow_modules").mkdir(parents=True)

    listed = cli("--workspace", tmp_path / "mine", "workspace", "list", "--json").json["workspaces"]

    assert [(item["workspace_id"], item["selected"]) for item in listed] == [("a", False), ("mine", True)]
    assert cli("--workspace", tmp_path / "nowhere", "workspace", "list").code == 2


def test_fork_starts_without_history(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "claims"
    cli("workspace", "create", root)
    monkeypatch.chdir(root)
    cli("run", "--once", "--yes")

    forked = cli("workspace", "fork", root, "--json")

    assert forked.code == 0
    assert forked.json["identity"] in (root / ".workspace_state" / "identity.json").read_text()
    assert cli("runs", "--json").json == []


def test_the_help_says_how_a_workspace_is_removed(cli: Cli) -> None:
    """No command of a name is cut in two by the width of the terminal."""
    told = cli("workspace", "--help").out

    assert (
        "To remove one, end what runs there (`data-engine service uninstall`,\n  `data-engine kill`), then delete its folder."
        in told
    )

"""`workspace create|list|use|fork`."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli


def test_create_makes_and_selects_a_workspace_that_runs(cli: Cli, tmp_path: Path) -> None:
    answer = cli("workspace", "create", tmp_path / "team" / "claims")

    assert answer.code == 0
    assert f"Created workspace: {tmp_path / 'team' / 'claims'}" in answer.out
    assert "Selected default workspace: claims" in answer.out
    assert cli("run", "--once").code == 0
    assert [run["flow"] for run in cli("runs", "--json").json] == ["example"]


def test_create_again_keeps_everything(cli: Cli, tmp_path: Path) -> None:
    cli("workspace", "create", tmp_path / "claims")

    again = cli("workspace", "create", tmp_path / "claims", "--json")

    assert again.code == 0
    assert again.json["created"] == []
    assert str(tmp_path / "claims" / "flow_modules" / "example.ipynb") not in again.json["created"]
    assert again.json["workspace_root"] == str(tmp_path / "claims")


def test_list_and_use(cli: Cli, tmp_path: Path) -> None:
    """The list has the whole collection and marks the selected one; an id of the collection selects."""
    assert "no workspace yet" in cli("workspace", "list").out
    for name in ("a", "b"):
        cli("workspace", "create", tmp_path / "team" / name)

    assert [line.split() for line in cli("workspace", "list").out.splitlines()[2:]] == [
        ["a", str(tmp_path / "team" / "a")],
        ["*", "b", str(tmp_path / "team" / "b")],
    ]
    assert "Selected default workspace: a" in cli("workspace", "use", "a").out
    listed = cli("workspace", "list", "--json").json
    assert listed["collection_root"] == str(tmp_path / "team")
    assert [(item["workspace_id"], item["selected"]) for item in listed["workspaces"]] == [("a", True), ("b", False)]


def test_a_workspace_outside_of_the_collection_is_listed_when_it_is_meant(cli: Cli, tmp_path: Path) -> None:
    cli("workspace", "create", tmp_path / "team" / "a")
    (tmp_path / "mine" / "flow_modules").mkdir(parents=True)

    listed = cli("--workspace", tmp_path / "mine", "workspace", "list", "--json").json["workspaces"]

    assert [(item["workspace_id"], item["selected"]) for item in listed] == [("a", False), ("mine", True)]
    assert cli("--workspace", tmp_path / "nowhere", "workspace", "list").code == 2


def test_fork_starts_without_history(cli: Cli, tmp_path: Path) -> None:
    root = tmp_path / "claims"
    cli("workspace", "create", root)
    cli("run", "--once")

    forked = cli("workspace", "fork", root, "--json")

    assert forked.code == 0
    assert forked.json["identity"] in (root / ".workspace_state" / "identity.json").read_text()
    assert cli("runs", "--json").json == []

"""`data-engine doctor`: a table for people, JSON for programs, and 1 when something is wrong."""

from __future__ import annotations

from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles


def test_a_good_workspace_exits_with_0(cli: Cli, ws: WorkspaceFiles) -> None:
    """Every check has a row, and the last line counts them."""
    answer = cli("--workspace", ws.root, "doctor")

    assert answer.code == 0, answer.out
    assert "one owner" in answer.out
    assert answer.out.strip().endswith("checks, 0 wrong")


def test_what_is_wrong_exits_with_1_and_says_what_to_set(cli: Cli, ws: WorkspaceFiles) -> None:
    """In the table's words and in JSON alike."""
    ws.module("broken", "def build(): return Flw()")
    told = cli("--workspace", ws.root, "doctor")
    asked = cli("--workspace", ws.root, "doctor", "--json")

    assert (told.code, asked.code) == (1, 1)
    assert "flow module broken" in told.out
    assert asked.json["ok"] is False
    wrong = {finding["name"]: finding for finding in asked.json["findings"] if finding["ok"] is False}
    assert set(wrong) == {"flow modules", "flow module broken"}
    assert set(wrong["flow modules"]) == {"name", "ok", "measured", "fix"}
    assert "NameError" in wrong["flow module broken"]["measured"]

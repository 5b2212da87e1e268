"""`%flow backfill`: it lists, and begins with a yes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from data_engine import Workspace
from tests.jupyter.conftest import Shell
from tests.support import WorkspaceFiles, until

FLOW = """
    from data_engine import Flow

    def check(context):
        if context.source.path.name == "b.csv":
            raise ValueError("no amount")

    def build():
        return Flow(group="G").watch(mode="manual", source="../in").step(check)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    ws.notebook("claims", FLOW)
    for name in "abc":
        ws.source(f"in/{name}.csv")
    monkeypatch.setenv("DATA_ENGINE_WORKSPACE_ROOT", str(ws.root))
    found = Workspace(ws.root)
    found.deploy("claims")
    yield found
    found.kill()


def test_the_magic_says_why_nothing_would_run(shell: Shell, workspace: Workspace) -> None:
    """And which option runs what of it."""
    shell.run("%flow backfill claims")
    assert "Nothing to run: 3 in the range; none failed in its last run or is held." in shell.out
    assert "--reprocess missing runs those that never succeeded: 3." in shell.out
    assert workspace.backfills() == []


def test_the_magic_lists_first_and_begins_with_a_yes(shell: Shell, workspace: Workspace) -> None:
    """Then it tells how far it is, and what failed."""
    shell.run("%flow backfill claims --reprocess missing")
    assert "Nothing was started" in shell.out
    assert "claims: 3 of 3 in the range" in shell.out
    assert "b.csv" in shell.out
    begun = shell.run("%flow backfill claims --reprocess missing --yes")
    until(lambda: workspace.backfill_status(begun.id).state == "done")
    shell.run("%flow backfill --status")
    assert "3 of 3, 1 failed, done" in shell.out
    shell.run(f"%flow backfill --status {begun.id}")
    assert "ValueError: no amount" in shell.out
    shell.run("%flow backfill --stop")
    assert "which backfill?" in shell.out

"""`deploy` and `doctor` where somebody removed files of what is deployed, or the whole `.workspace_state`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.daemon.doctor import check_deployed, check_shared_history
from data_engine.engine.local_workspace import forget_workspaces
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

FLOW = """
from data_engine import Flow

def build():
    return Flow(group="G").step(lambda context: {value})
"""


@pytest.fixture(autouse=True)
def flows(ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\n')
    monkeypatch.chdir(ws.root)
    for name in ("claims", "parts"):
        ws.module(name, FLOW.format(value=1))
    Workspace(ws.root).deploy()


def copy_here(ws: WorkspaceFiles) -> Path:
    """This machine's copy of what claims runs."""
    home = Workspace(ws.root).home
    return home.deployments().root / home.deployments().deployed()["claims"].set_id


def blobs(ws: WorkspaceFiles) -> list[Path]:
    return sorted((ws.root / ".workspace_state" / "deployments" / "blobs").iterdir())


def lose_a_blob(ws: WorkspaceFiles) -> None:
    blobs(ws)[0].unlink()


def tear_a_blob(ws: WorkspaceFiles) -> None:
    blobs(ws)[0].write_bytes(b"torn")


def lose_the_sets(ws: WorkspaceFiles) -> None:
    shutil.rmtree(ws.root / ".workspace_state" / "deployments")


def lose_a_module_here(ws: WorkspaceFiles) -> None:
    (copy_here(ws) / "claims.py").unlink()


@pytest.mark.parametrize("harm", [lose_a_blob, tear_a_blob, lose_the_sets, lose_a_module_here])
def test_a_damaged_deployment_is_put_right_and_never_called_unchanged(
    cli: Cli, ws: WorkspaceFiles, harm: Callable[[WorkspaceFiles], None]
) -> None:
    """By a deploy of unedited modules, whichever of the two copies is damaged; `doctor` finds it and changes nothing."""
    home = Workspace(ws.root).home
    assert check_deployed(home).ok
    harm(ws)

    found = check_deployed(home)
    assert (found.ok, "claims" in found.measured, found.fix) == (False, True, "data-engine deploy writes them again")
    assert check_deployed(home) == found
    told = cli("deploy", "--yes").out
    assert "repaired      claims: deployed files were missing or damaged" in told
    assert check_deployed(home).ok
    assert (copy_here(ws) / "claims.py").is_file()
    assert cli("deploy", "--yes").out.splitlines() == ["unchanged     2 flows: as deployed before"]
    assert len(Workspace(ws.root).deployments()) == 2


def test_programs_are_told_what_was_put_right(cli: Cli, ws: WorkspaceFiles) -> None:
    lose_the_sets(ws)

    told = {one["name"]: (one["changed"], one["mended"]) for one in cli("deploy", "claims", "--json").json}

    assert told == {"claims": (False, True)}


def test_a_deployment_of_which_no_copy_is_left_is_deployed_anew(cli: Cli, ws: WorkspaceFiles) -> None:
    """As the module is now, and recorded: what it ran before is gone."""
    ws.module("parts", FLOW.format(value=2))
    cli("deploy", "parts")
    shutil.rmtree(copy_here(ws))
    lose_the_sets(ws)
    found = check_deployed(Workspace(ws.root).home)
    assert (found.ok, found.fix) == (False, "data-engine deploy")
    assert "the deployed version of claims is damaged on the share, and this machine has no copy" in found.measured

    told = cli("deploy", "--yes").out

    assert "deployed      claims.py" in told
    assert "repaired      parts: " in told
    assert check_deployed(Workspace(ws.root).home).ok
    assert [one.flow for one in Workspace(ws.root).deployments()].count("claims") == 2


def test_a_workspace_without_its_state_goes_on_with_its_history(cli: Cli, ws: WorkspaceFiles) -> None:
    """Nothing is done again because somebody tidied up; each place says what is gone, and the command that mends it."""
    Workspace(ws.root).load_flow("claims").run_once()
    identity = Workspace(ws.root).home.local.identity
    shutil.rmtree(ws.root / ".workspace_state")
    forget_workspaces()

    assert [run.flow for run in Workspace(ws.root).runs()] == ["claims"]
    home = Workspace(ws.root).home
    assert home.local.identity == identity
    lost = "was seen before; if it does not come back within 3 min, `data-engine lease repair` goes on"
    assert lost in cli("lease", "status").out
    assert "data-engine lease repair" in " ".join(cli("status").out.split())
    history = next(iter(check_shared_history(home.layout, home.local)))
    assert (history.ok, history.fix) == (False, "data-engine lease repair")
    refused = cli("deploy", "--yes")
    assert (refused.code, lost in refused.err, "unchanged" in refused.out) == (3, True, False)

"""Deploying is a decision: a daemon runs what somebody deployed, and says what it does not run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from data_engine import FlowValidationError, Workspace
from data_engine.deploy.sets import DeployedSets
from tests.daemon.support import ended, flow_of
from tests.support import PATIENCE, WorkspaceFiles, until

FLOW = "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').step(lambda context: print({value}))\n"
POLL = """
from pathlib import Path
from data_engine import Flow

def copy(context):
    return context.source.path.read_text() + "{mark}"

def write(context):
    return context.mirror.file("one.txt").write_text(context.current)

def build():
    flow = Flow(group="G").watch(mode="poll", source="../in", interval="50ms", settle=0).mirror(root="../out")
    return flow.step(copy).step(write)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "ask"\nquiet = "0s"\n')
    workspace = Workspace(ws.root)
    yield workspace
    workspace.kill()


def printed(workspace: Workspace, name: str) -> str:
    """What a run of the deployed flow prints."""
    (run,) = workspace.run(name)
    return workspace.log(run.run_id)[0].message


def told_of(workspace: Workspace, name: str) -> dict[str, Any]:
    """What the status says of the flow; nothing before the daemon has read it."""
    return next((flow.as_dict() for flow in workspace.status().flows if flow.name == name), {})


def test_a_saved_experiment_does_not_go_live(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """However long it stays as it is: an accident of the first hour, when it went live after 30 s."""
    ws.module("claims", FLOW.format(value="'good'"))
    workspace.deploy()
    workspace.start_engine()

    ws.module("claims", FLOW.format(value="'experiment'"))
    until(lambda: flow_of(workspace, "claims")["deployment_status"]["kind"] == "edited")
    time.sleep(2.5)  # more than a beat of the daemon

    assert printed(workspace, "claims") == "good"
    assert workspace.deployment("claims").startswith("edited, not deployed")


def test_each_further_edit_has_a_digest_of_its_own(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """So that whoever shows an edit knows of the next one: deployed before or not, with a daemon and without, which say the same."""

    def digest(name: str) -> str:
        return str(flow_of(workspace, name)["deployment_status"].get("digest", ""))

    ws.module("claims", FLOW.format(value="'good'"))
    workspace.deploy()
    workspace.start()
    until(lambda: told_of(workspace, "claims"))
    before, seen = digest("claims"), []
    ws.module("fresh", FLOW.format(value="'good'").replace("../out", "../fresh"))
    until(lambda: told_of(workspace, "fresh"))
    draft = digest("fresh")
    for value in ("'one'", "'two'"):
        ws.module("claims", FLOW.format(value=value))
        until(lambda: digest("claims") not in ["", before, *seen])
        seen.append(digest("claims"))
    ws.module("fresh", FLOW.format(value="'other'").replace("../out", "../fresh"))
    until(lambda: digest("fresh") != draft)
    with_daemon = [digest("claims"), digest("fresh")]
    workspace.kill()

    assert (before, bool(draft), len(set(seen))) == ("", True, 2)
    assert [digest("claims"), digest("fresh")] == with_daemon


def test_a_copy_that_is_no_flow_is_told_when_it_appears(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Nothing else changes by it: a page that follows the daemon hears of it all the same."""
    cells = ("from data_engine import Flow", "def build():\n    return Flow(group='G').step(print)")
    ws.notebook("claims", *cells)
    workspace.deploy()
    workspace.start()
    until(lambda: told_of(workspace, "claims"))
    before = workspace.status().not_flows

    ws.notebook("claims-Copy1", *cells)
    until(lambda: workspace.status().not_flows)
    told = workspace.status().not_flows
    (ws.modules / "claims-Copy1.ipynb").unlink()
    until(lambda: not workspace.status().not_flows)

    assert (before, told) == ((), ("claims-Copy1.ipynb is a copy: rename it to make it a flow",))


def test_in_ask_mode_no_start_deploys_anything(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Neither a new notebook nor an edit, by the start of a daemon or of its engine: an accident of the first hour."""
    ws.module("claims", FLOW.format(value=1))
    workspace.deploy()
    ws.module("claims", FLOW.format(value=2))
    ws.module("new", FLOW.format(value=3))

    workspace.start()
    workspace.start_engine()

    assert printed(workspace, "claims") == "1"
    assert [one.flow for one in workspace.deployments()] == ["claims"]
    with pytest.raises(FlowValidationError, match="new is not deployed") as refused:
        workspace.run("new")
    assert "data-engine deploy new" in str(refused.value.fix)
    assert "run --once new" in str(refused.value.fix)
    told = flow_of(workspace, "new")
    assert (told["state"], told["reason"]) == ("not deployed", "not deployed: data-engine deploy new")
    assert workspace.explain("new")[0].reason == "not deployed: data-engine deploy new"


def test_a_renamed_copy_does_not_run_over_the_inbox(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Nor rewrite the original's outputs: an accident of the first hour."""
    ws.source("in/a.txt", "a")
    ws.module("claims", POLL.format(mark=" by claims"))
    workspace.deploy()
    workspace.start_engine()
    until(lambda: ended(workspace, "claims", 1))

    ws.module("claims_old", POLL.format(mark=" by the copy"))
    until(lambda: any(flow.name == "claims_old" for flow in workspace.status().flows))
    entries = {entry.name: entry.error for entry in workspace.deploy()}
    time.sleep(1)

    assert "as claims does, which is deployed" in str(entries["claims_old"])
    assert workspace.runs("claims_old") == []
    assert (ws.root / "out" / "one.txt").read_text() == "a by claims"
    told = flow_of(workspace, "claims_old")["deployment_status"]
    assert (told["kind"], told["shares_with"]) == ("not_deployed", "claims")


def test_nor_does_a_copy_go_live_by_itself_in_auto_mode(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.source("config/data_engine.toml", '[deploy]\nmode = "auto"\nquiet = "0s"\n')
    ws.source("in/a.txt", "a")
    ws.module("claims", POLL.format(mark=" by claims"))
    workspace.start_engine()
    until(lambda: ended(workspace, "claims", 1))

    ws.module("claims_old", POLL.format(mark=" by the copy"))
    until(lambda: any(flow.name == "claims_old" for flow in workspace.status().flows))
    time.sleep(2.5)

    assert workspace.runs("claims_old") == []
    (entry,) = workspace.deploy("claims_old", force=True)
    assert entry.error is None
    assert until(lambda: ended(workspace, "claims_old", 1))


def test_auto_tells_how_long_it_takes_and_then_goes_live(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.source(
        "config/data_engine.toml", f'[deploy]\nmode = "auto"\nquiet = "{3 * PATIENCE}s"\n'
    )  # it is looked at meanwhile
    ws.module("claims", FLOW.format(value=1))
    workspace.start_engine()

    told = until(lambda: (one := flow_of(workspace, "claims"))["state_kind"] == "not_deployed" and one)
    assert "goes live in" in told["reason"]
    until(lambda: flow_of(workspace, "claims")["state_kind"] == "manual")
    assert printed(workspace, "claims") == "1"
    assert workspace.deployments()[0].note == '[deploy] mode = "auto"'


def test_a_removed_notebook_goes_on_until_somebody_deploys_all(ws: WorkspaceFiles, workspace: Workspace) -> None:
    path = ws.module("claims", FLOW.format(value=1))
    ws.module("other", FLOW.format(value=1))
    workspace.deploy()
    workspace.start()
    path.unlink()
    until(lambda: "claims.py is gone; production runs on" in (told_of(workspace, "claims").get("edit") or ""))

    assert printed(workspace, "claims") == "1"
    workspace.deploy("other")
    assert printed(workspace, "claims") == "1"
    workspace.deploy()
    assert [flow.name for flow in workspace.status().flows] == ["other"]
    workspace.rollback("claims")
    assert printed(workspace, "claims") == "1"


def test_what_is_taken_back_at_once_is_not_run(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Before the daemon has looked again: what runs is what it was, though something else was deployed in between."""
    ws.module("claims", FLOW.format(value="'old'"))
    workspace.deploy()
    workspace.start()
    until(lambda: told_of(workspace, "claims"))

    ws.module("claims", FLOW.format(value="'new'"))
    until(lambda: told_of(workspace, "claims")["edit"])
    for _ in range(3):
        workspace.deploy("claims")
        workspace.rollback("claims", to=workspace.deployments("claims")[-1].id)
        assert printed(workspace, "claims") == "old"


def test_a_rollback_holds_from_the_next_run_on(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.module("claims", FLOW.format(value="'old'"))
    workspace.deploy()
    workspace.start_engine()
    ws.module("claims", FLOW.format(value="'new'"))
    workspace.deploy("claims")
    assert printed(workspace, "claims") == "new"

    began_s = time.monotonic()
    workspace.rollback("claims")

    assert printed(workspace, "claims") == "old"
    assert time.monotonic() - began_s < 10
    assert workspace.status().engine.on


def test_a_deploy_with_the_engine_off_owns_only_for_its_commit(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.module("claims", FLOW.format(value=1))
    workspace.start()

    workspace.deploy()

    assert workspace.lease().state == "available"
    assert not workspace.status().engine.on


def test_a_damaged_set_is_told_and_not_run_until_it_is_deployed_again(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """On a machine that has no copy of its own."""
    ws.module("claims", FLOW.format(value=1))
    workspace.deploy()
    state = ws.root / ".workspace_state" / "deployments"
    next((state / "sets").iterdir()).write_text("{}")
    (copy,) = {one.set_id for one in workspace.deployments()}
    for path in (workspace.home.deployments().root / copy).iterdir():
        path.unlink()
    (workspace.home.deployments().root / copy).rmdir()
    ws.module("claims", FLOW.format(value=2))
    workspace.start()

    told = until(lambda: (one := told_of(workspace, "claims")).get("state_kind") == "broken" and one)
    assert "is damaged" in told["reason"]
    with pytest.raises(FlowValidationError, match="is damaged"):
        workspace.run("claims")
    workspace.deploy("claims")
    assert printed(workspace, "claims") == "2"


def test_the_owner_writes_a_damaged_set_anew_from_its_own_copy(ws: WorkspaceFiles, workspace: Workspace) -> None:
    ws.module("claims", FLOW.format(value=1))
    workspace.deploy()
    (deployment,) = workspace.deployments()
    for blob in (ws.root / ".workspace_state" / "deployments" / "blobs").iterdir():
        blob.write_bytes(b"torn")
    files = workspace.home.deployment_files()
    assert files.whole([deployment.set_id], lambda path: True) == {}

    assert DeployedSets(workspace.home).check() is None

    assert files.whole([deployment.set_id], lambda path: True)[deployment.set_id].keys() == {"claims.py"}

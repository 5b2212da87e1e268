"""The daemon's deployer beside somebody who deploys at the same moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from data_engine import Workspace
from data_engine.daemon.deployer import Deployer
from data_engine.notebook.catalog import CatalogEntry, read_catalog
from data_engine.notebook.load import FlowModules
from tests.support import WorkspaceFiles

FLOW = "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').step(lambda context: {value})\n"


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Workspace:
    ws.module("claims", FLOW.format(value=1))
    ws.module("old", FLOW.format(value=1))
    workspace = Workspace(ws.root)
    workspace.deploy()
    return workspace


def deployer_beside(workspace: Workspace, files: WorkspaceFiles, name: str, value: int) -> Deployer:
    """One that decides to remove what is old while somebody edits a module and deploys it: between its look and its word."""
    is_first = True

    async def describe(folder: Path) -> tuple[CatalogEntry, ...]:
        nonlocal is_first
        if is_first:
            is_first = False
            files.module(name, FLOW.format(value=value))
            workspace.deploy()
        modules = workspace.home.modules()
        return read_catalog(FlowModules(modules.folder, cache_dir=modules.cache_dir, content=folder))

    return Deployer(workspace.home, describe, set)


def deployed_value(workspace: Workspace, name: str) -> object:
    modules = workspace.home.deployments().modules_of(name)
    assert modules is not None, f"{name} is not deployed"
    return modules.load(modules.content / f"{name}.py").flow.run_once()[0].current


@pytest.mark.parametrize("name", ["new", "claims"], ids=["a new flow", "an edited one"])
def test_a_deploy_beside_the_removal_of_old_deployments_keeps_its_set(
    ws: WorkspaceFiles, workspace: Workspace, name: str
) -> None:
    """What the daemon has looked at is older than what was deployed since: it takes nothing of that away."""
    (ws.modules / "old.py").unlink()
    deployer = deployer_beside(workspace, ws, name, 2)

    asyncio.run(deployer.refresh(is_start=True))

    assert deployed_value(workspace, name) == 2
    assert deployer.flows.keys() == {"claims", name}
    assert workspace.deployment(name) == "as deployed"

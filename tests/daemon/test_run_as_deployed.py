"""A run that somebody asks for takes what is deployed when it is asked for, although the daemon has not looked since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data_engine import Workspace
from data_engine.commands.command import Asker
from data_engine.commands.deployments import Deploy
from data_engine.daemon.deployer import Deployer
from data_engine.daemon.owner import DaemonOwner
from data_engine.notebook.catalog import CatalogEntry, read_catalog
from data_engine.notebook.load import FlowModules
from data_engine.status.record import WorkspaceStatus
from tests.support import WorkspaceFiles

FLOW = "from data_engine import Flow\n\ndef build():\n    return Flow(group='G').step(lambda context: print({value}))\n"


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    workspace = Workspace(ws.root)
    ws.module("claims", FLOW.format(value=1))
    workspace.deploy()
    yield workspace
    workspace.kill()


class Station:
    """A daemon's deployer and its owner, in this process; `ran` has the deployment of each run as it was handed out."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.may_publish, self.is_publishing = asyncio.Event(), asyncio.Event()
        ownership: Any = self
        self.deployer = Deployer(workspace.home, self.describe, set, ownership, lambda: True)
        self.ran: list[str] = []
        daemon: Any = SimpleNamespace(
            home=workspace.home,
            deployer=self.deployer,
            ownership=self,
            dispatcher=self,
            in_use=self.in_use,
            own=self.own,
        )
        self.owner = DaemonOwner(daemon, lambda: WorkspaceStatus("", ""), lambda: False, lambda kill: None)

    async def describe(self, folder: Path) -> tuple[CatalogEntry, ...]:
        modules = FlowModules(self.workspace.layout.flow_modules_dir, cache_dir=None, content=folder)
        return tuple(read_catalog(modules))

    async def publish(self, write: Callable[[], None]) -> None:
        """As slow as a share can be; what is published then is what a process without a daemon would."""
        self.is_publishing.set()
        await self.may_publish.wait()
        await asyncio.to_thread(self.workspace.deploy)

    def add(self, works: list[Any]) -> None:
        deployment = self.deployer.flows["claims"].deployment
        self.ran += [] if deployment is None else [deployment.id]

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        yield

    for_one_commit = in_use

    async def own(self) -> None:
        return None


def test_a_run_takes_what_was_published_since_the_last_look(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """By this daemon, which had not come to tell of it, or by what was there before it."""

    async def station() -> list[str]:
        here = Station(workspace)
        await here.deployer.refresh()
        ws.module("claims", FLOW.format(value=2))
        await asyncio.to_thread(workspace.deploy)
        await here.owner.run("claims", None, {})
        return here.ran

    ran = asyncio.run(station())

    assert ran == [workspace.deployments("claims")[0].id]


def test_a_run_waits_for_the_deployment_that_is_going_live(ws: WorkspaceFiles, workspace: Workspace) -> None:
    """Who presses Deploy and then Run means the new code, however long the shared drive takes."""

    async def station() -> tuple[bool, list[str]]:
        here = Station(workspace)
        await here.deployer.refresh()
        ws.module("claims", FLOW.format(value=2))
        deploying = asyncio.create_task(here.deployer.deploy(Deploy("claims"), Asker("anna", "ANNA-PC")))
        await here.is_publishing.wait()
        running = asyncio.create_task(here.owner.run("claims", None, {}))
        await asyncio.wait({running}, timeout=0.2)
        began_early = running.done()
        here.may_publish.set()
        await asyncio.gather(deploying, running)
        return began_early, here.ran

    began_early, ran = asyncio.run(station())

    assert not began_early
    assert ran == [workspace.deployments("claims")[0].id]

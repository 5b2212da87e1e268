"""What production runs is published: rows that say so, owning the workspace for as long as that takes."""

from __future__ import annotations

import asyncio

from data_engine.daemon.ownership import Ownership
from data_engine.deploy.deploying import write_deployments
from data_engine.deploy.taken_over import forget_local, local_deployments
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.model import Deployment


class DeploymentPublisher:
    """Publishes the deployments of one workspace."""

    def __init__(self, home: LocalWorkspace, ownership: Ownership) -> None:
        self._home, self._ownership = home, ownership

    async def publish(self, rows: list[Deployment]) -> None:
        """Put the sets of these deployments on the share, and then let them be what flows run.

        Raises:
            FlowValidationError: it cannot be published.
            OwnedElsewhereError: another workstation owns the workspace.
        """
        async with self._ownership.for_one_commit():
            await self._ownership.publish(lambda: write_deployments(self._home, rows))

    async def take_over_local(self) -> None:
        """Let what this machine had deployed before deployments travelled be the workspace's, if that was not done yet."""
        rows = await asyncio.to_thread(local_deployments, self._home)
        if rows:
            await self.publish(rows)
        await asyncio.to_thread(forget_local, self._home)

"""How the items of a run's maps are spread: the interface, and the one place that decides by `[executor]`."""

from __future__ import annotations

import os
from typing import Any, Protocol

from data_engine.engine.items.threads import IN_ITEM, ON_NODE, Threads
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.flow.control import ItemMap
from data_engine.workspace.settings import ExecutorSettings


class ItemExecutor(Protocol):
    """Spreads the items of the maps of one run. One thread goes through them."""

    def spread(self, work: ItemMap) -> list[Any]:
        """The results of the items in input order, as `items.threads.spread` gives them."""
        ...

    def close(self) -> None:
        """Let go of what is kept warm, when the run has ended."""
        ...


def item_executor(
    home: LocalWorkspace | None, settings: ExecutorSettings | None = None, *, stays_here: bool = False
) -> ItemExecutor:
    """What spreads the items of one run of a flow that belongs to `home`, or to no workspace.

    `settings` are the workspace's, for who has read them. A run that `stays_here`, as a preview does, whose scratch folder is this machine's, uses processes in a cluster's place.

    Raises:
        SettingsError: the workspace's settings cannot be read.
    """
    if home is None or os.environ.get(IN_ITEM):
        return Threads()
    settings = settings or home.settings().executor
    if settings.kind == "threads":
        return Threads()
    on_node = os.environ.get(ON_NODE)
    if on_node:  # a run that waited there for tasks of its own would wait for itself
        from data_engine.engine.items.processes import Processes

        share = int(on_node)
        return Processes(min(share, settings.workers), cores=share) if share > 1 else Threads()
    if settings.kind == "processes" or stays_here:
        from data_engine.engine.items.processes import Processes

        return Processes(settings.workers)
    from data_engine.cluster.connection import connected
    from data_engine.cluster.local import scheduler_of
    from data_engine.engine.items.cluster import Cluster

    return Cluster(lambda: connected(scheduler_of(settings, home.layout.root, home.local.runtime_dir)), home)

"""Executors for items, as tests share them: real processes and a real Dask cluster, each started once."""

from __future__ import annotations

import atexit
import os
import tempfile
import textwrap
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from data_engine import Flow, load_flow
from data_engine.engine.local_workspace import local_workspace
from data_engine.engine.run import ItemExecutor
from data_engine.flow.context import FlowContext
from data_engine.flow.control import StepControl
from data_engine.flow.steps import run_steps
from data_engine.model import Event
from tests.daemon.dask_cluster import DaskCluster
from tests.support import WorkspaceFiles

APART = ("apart",) if os.environ.get("TEST_CLUSTER_APART") else ()
"""A scheduler and workers started by themselves, with state roots of their own and the workspace under another path."""

ELSEWHERE = ("processes", "dask", *APART)
KINDS = ("threads", *ELSEWHERE)


class Runner:
    """Runs flows with the items of their maps spread by one executor, and keeps what they told."""

    def __init__(self, kind: str, executor: ItemExecutor, root: Path) -> None:
        self.kind = kind
        self.executor = executor
        self.root = root
        self.events: list[Event] = []

    def run(self, flow: Flow, *, may_work: Callable[[], None] = lambda: None, **context: Any) -> FlowContext:
        """The context after all steps."""
        self.events.clear()
        control = StepControl(self.events.append, may_work, self.executor.spread, run_id="r1", flow="claims")
        made = FlowContext(flow_name="claims", group="G", workspace_root=self.root, **context)
        for event in run_steps(flow, made, control=control):
            self.events.append(event)
        return made

    def mapped(self, items: Any, fn: Callable[..., Any], at_once: int = 2, **options: Any) -> Any:
        """What a map gives."""
        flow = Flow("G", "claims").step(lambda context: items).map(fn, max_parallel=at_once, label="Each", **options)
        return self.run(flow).current

    def loaded(self, ws: WorkspaceFiles, text: str) -> Flow:
        """The flow of a notebook with this text."""
        ws.notebook("claims", textwrap.dedent(text))
        return load_flow("claims", data_root=ws.root)


def make_executor(kind: str, root: Path) -> ItemExecutor:
    """An executor of this kind for flows of the workspace."""
    if kind == "threads":
        from data_engine.engine.items.threads import Threads

        return Threads()
    if kind == "processes":
        from data_engine.engine.items.processes import Processes

        return Processes(2)
    from data_engine.cluster.connection import SchedulerAddress, connected
    from data_engine.cluster.local import own_cluster
    from data_engine.engine.items.cluster import Cluster

    if kind == "dask":
        return Cluster(lambda: connected(own_cluster(2).scheduler), local_workspace(root))
    apart = _apart()
    assert apart.mount is not None
    apart.mount.unlink(missing_ok=True)
    apart.mount.symlink_to(root, target_is_directory=True)
    return Cluster(lambda: connected(SchedulerAddress(apart.address)), local_workspace(root))


@cache
def _apart() -> DaskCluster:
    folder = Path(tempfile.mkdtemp())
    cluster = DaskCluster(folder, folder / "mnt")
    atexit.register(cluster.close)
    return cluster

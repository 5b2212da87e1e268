"""Items whose cluster's worker dies with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from data_engine import FlowExecutionError, ItemError
from data_engine.cluster.connection import SchedulerAddress, connected
from data_engine.engine.items.cluster import Cluster
from data_engine.engine.local_workspace import local_workspace
from data_engine.model import LogLine
from tests.daemon.dask_cluster import DaskCluster
from tests.engine.elsewhere import Runner
from tests.support import WorkspaceFiles


@pytest.mark.skipif(os.name == "nt", reason="it kills its parent by a signal")
def test_an_item_that_kills_its_dask_worker_begins_twice(ws: WorkspaceFiles, tmp_path: Path) -> None:
    """With nannies, which bring a worker back under its address; whether it came alone or in a task with others."""
    begun = tmp_path / "begun"
    begun.mkdir()

    def item(number: int) -> int:
        import time

        (begun / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
        if number in (0, 17):
            os.kill(os.getppid(), 9)
            time.sleep(60)
        return number

    def count(number: int) -> int:
        return len(list(begun.glob(f"{number}-*")))

    cluster = DaskCluster(tmp_path / "cluster", has_nanny=True)
    try:
        cluster.wait_for_workers()
        runner = Runner(
            "dask", Cluster(lambda: connected(SchedulerAddress(cluster.address)), local_workspace(ws.root)), ws.root
        )
        batch = runner.mapped(range(30), item, on_error="collect")
        told = [event.message for event in runner.events if isinstance(event, LogLine)]
        with pytest.raises(FlowExecutionError, match=r"the cluster's worker tcp://127.0.0.1:\d+ was lost.*item 1 of 2"):
            runner.mapped([0, 1], item)
        runner.executor.close()
    finally:
        cluster.close()

    errors = [one for one in batch if isinstance(one, ItemError)]
    assert [one.item for one in errors] == [0, 17]
    assert all("the cluster's worker tcp://127.0.0.1:" in str(one) for one in errors)
    assert [one for one in batch if not isinstance(one, ItemError)] == [one for one in range(30) if one not in (0, 17)]
    assert (count(0), count(17)) == (4, 2)
    assert max(count(number) for number in range(2, 30)) <= 2
    assert any(one.startswith("item 17 is tried once more: the cluster's worker") for one in told)

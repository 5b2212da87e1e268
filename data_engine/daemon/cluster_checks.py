"""What `doctor` measures of a Dask cluster: reached, versions, what its workers see and may write, clocks, round trips."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data_engine.daemon.doctor_checks import Finding
from data_engine.engine.items.connection import Scheduler, connected
from data_engine.engine.items.local_cluster import named_scheduler, told_cluster
from data_engine.errors import FlowValidationError
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout
from data_engine.workspace.settings import ExecutorSettings

_CLOCKS_AGREE_S = 5.0
_SLOW_S = 0.25
_ASKED = 5
_NAME = "cluster"


def check_cluster(layout: WorkspaceLayout, local: LocalLayout | None, settings: ExecutorSettings) -> Iterator[Finding]:
    """Nothing where `[executor]` names no cluster; each finding is told when it is there, and nothing raises."""
    if "dask" not in (settings.kind, settings.runs):
        return
    scheduler: Scheduler | None = named_scheduler(settings, layout.root)
    if settings.scheduler == "local":
        scheduler = None if local is None else told_cluster(local.runtime_dir)
        if scheduler is None:
            yield Finding(_NAME, None, "the cluster of this machine does not run: a daemon starts it when it is needed")
            return
    assert scheduler is not None
    try:
        connection = connected(scheduler)
    except FlowValidationError as error:
        yield Finding(_NAME, False, error.what, error.fix)
        return
    workers = connection.workers()
    threads = sum(one["nthreads"] for one in workers.values())
    if not workers:
        yield Finding(
            _NAME, False, f"{scheduler.name} has no worker", f"start one: dask worker {scheduler.address or '...'}"
        )
        return
    yield Finding(
        _NAME, True, f"{scheduler.name}: {len(workers)} workers with {threads} threads, and matching versions"
    )
    yield judge_round_trip([_round_trip_s(connection.client) for _ in range(_ASKED)])
    asked_s = time.time()
    told = connection.client.run(_look_by_value(), str(layout.root), on_error="ignore")
    yield judge_sight(told, layout.root)
    yield judge_clocks(told, asked_s, time.time())
    if scheduler.address is not None and not scheduler.address.startswith("tls"):
        yield Finding(
            "cluster security",
            None,
            "the way to the cluster is not encrypted, and whoever reaches the scheduler can run code on every worker",
            "keep it on a trusted network, or set up TLS for Dask; secrets are read from the workers' own environment",
        )


def judge_round_trip(times_s: list[float]) -> Finding:
    """Whether a task is there and back soon.

    Example:
        >>> judge_round_trip([0.01, 0.02, 0.03]).measured
        'a task and its answer take 20 ms'
    """
    middle_s = statistics.median(times_s)
    measured = f"a task and its answer take {middle_s * 1000:.0f} ms"
    if middle_s <= _SLOW_S:
        return Finding("cluster round trip", True, measured)
    return Finding(
        "cluster round trip", False, measured, "put the scheduler on the workers' network; give each item more work"
    )


def judge_sight(told: Mapping[str, Mapping[str, Any]], root: Path) -> Finding:
    """Whether all workers see the workspace and may write where it is."""
    blind = sorted(address for address, one in told.items() if not one["sees"])
    if blind:
        return Finding(
            "cluster workspace",
            False,
            f"{', '.join(blind[:5])} do not see the workspace at {told[blind[0]]['root']}",
            "mount it there under the same path, or set DATA_ENGINE_WORKSPACE_ROOT in the workers' environment",
        )
    kept = sorted(address for address, one in told.items() if not one["writes"])
    if kept:
        return Finding(
            "cluster workspace",
            False,
            f"{', '.join(kept[:5])} may not write to {root}",
            "let the workers run as a user who may write there",
        )
    return Finding("cluster workspace", True, f"all {len(told)} workers see it and may write there")


def judge_clocks(told: Mapping[str, Mapping[str, Any]], before_s: float, after_s: float) -> Finding:
    """Whether the clocks of all workers agree with this machine's; each was read between these two times.

    Example:
        >>> judge_clocks({"tcp://a:1": {"now_s": 100.2}}, 100.0, 100.5).ok
        True
    """
    off = {address: max(before_s - one["now_s"], one["now_s"] - after_s, 0.0) for address, one in told.items()}
    address = max(off, key=lambda one: off[one], default="")
    if not off or off[address] <= _CLOCKS_AGREE_S:
        return Finding("cluster clocks", True, "all agree with this machine's clock")
    return Finding(
        "cluster clocks",
        False,
        f"{address} is {off[address]:.1f} s off",
        "let all take the time from the network (NTP)",
    )


def _round_trip_s(client: Any) -> float:
    began_s = time.perf_counter()
    client.submit(abs, 1, pure=False).result(timeout=30)
    return time.perf_counter() - began_s


def _look_by_value() -> Callable[[str], dict[str, Any]]:
    """A function that names nothing of ours: what a worker sees of the workspace, and its clock."""

    def look(root: str) -> dict[str, Any]:
        import os
        import tempfile
        import time

        found: dict[str, Any] = {
            "now_s": time.time(),
            "root": os.environ.get("DATA_ENGINE_WORKSPACE_ROOT", "").strip() or root,
        }
        sees = os.path.isdir(os.path.join(found["root"], "flow_modules"))
        writes = False
        if sees:
            try:
                with tempfile.TemporaryFile(dir=found["root"], prefix=".data-engine-probe-"):
                    writes = True
            except OSError:
                pass
        return {**found, "sees": sees, "writes": writes}

    return look

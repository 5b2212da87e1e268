"""`scheduler = "local"`: a Dask cluster of this machine, in processes of its own.

Whoever owns it, a daemon or a kernel, asks it once where it is; it ends with its owner. The way to it is encrypted, so that no other
user of the machine can have it run anything. What the daemon owns is written beside its other files, for its workers.
"""

from __future__ import annotations

import atexit
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from data_engine import private
from data_engine.answering_process import AnsweringProcess, NoAnswer, ParentProcess
from data_engine.cluster.connection import SchedulerAddress, disconnect
from data_engine.errors import ClusterError
from data_engine.files import write_text_atomic
from data_engine.platforms import parent
from data_engine.platforms.processes import create_time_of
from data_engine.workspace.settings import ExecutorSettings

_CONFIG = {
    "distributed.scheduler.allowed-failures": 1,
    "distributed.admin.low-level-log-length": 100,
    "distributed.worker.profile.enabled": False,  # it looks at every thread a hundred times a second
    "distributed.admin.system-monitor.interval": "2s",
    "distributed.admin.tick.interval": "200ms",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
}
_FILE = "local_cluster.json"
_START_S = 60.0


def main(asker: ParentProcess, workers: str, owner: str) -> None:
    """Run the cluster until its owner, whose process id is `owner`, closes."""
    parent.end_with(int(owner))
    # This process is killed, not ended: what Python then says of its locks on the terminal helps nobody.
    os.environ["PYTHONWARNINGS"] = f"{os.environ.get('PYTHONWARNINGS', '')},ignore:resource_tracker".strip(",")
    import dask
    import distributed

    library: Any = distributed
    security = library.Security.temporary()
    dask.config.set(_CONFIG)
    cluster = library.LocalCluster(
        n_workers=int(workers),
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        protocol="tls",
        security=security,
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    )
    facts = {
        "address": cluster.scheduler_address,
        "dashboard": cluster.dashboard_link,
        "secured": {name: getattr(security, name) for name in ("tls_ca_file", "tls_client_cert", "tls_client_key")},
    }
    asker.send(json.dumps(facts).encode())
    asker.receive()


class LocalCluster:
    """A cluster that this process owns; it ends with it.

    Raises:
        ClusterError: it cannot be started.
    """

    def __init__(self, workers: int) -> None:
        self._process = AnsweringProcess(
            f"{__name__}:main", str(workers), str(os.getpid()), stderr=None, owns_session=True
        )
        self.pid = self._process.pid
        try:
            facts = json.loads(self._process.receive(_START_S))
        except NoAnswer as ended:
            self.close()
            raise ClusterError(
                f"the local cluster cannot be started: {ended}",
                where='[executor] scheduler = "local"',
                fix="see what it wrote to standard error; pip install 'data-engine[dask]' installs what it needs",
            ) from None
        self.dashboard = str(facts["dashboard"])
        self.scheduler = SchedulerAddress(facts["address"], None, tuple(sorted(facts["secured"].items())))

    @property
    def is_there(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_there

    def close(self) -> None:
        """End it, with its workers."""
        self._process.end()
        self._process.close()

    def announce(self, folder: Path) -> None:
        """Write into `folder` where it is, for other processes of this user."""
        content = {"pid": self.pid, "created": create_time_of(self.pid), "dashboard": self.dashboard}
        content |= {"address": self.scheduler.address, "secured": dict(self.scheduler.secured)}
        write_text_atomic(folder / _FILE, json.dumps(content), mode=private.FILE)


def scheduler_of(settings: ExecutorSettings, root: Path, folder: Path, *, is_daemon: bool = False) -> SchedulerAddress:
    """The scheduler that the settings of the workspace at `root` name.

    A local cluster is the daemon's, which tells in `folder` where it is; a process starts its own where there is none.

    Raises:
        ClusterError: a local cluster cannot be started.
    """
    if settings.scheduler != "local":
        return named_scheduler(settings, root)
    if is_daemon:
        cluster = own_cluster(settings.workers)
        cluster.announce(folder)
        return cluster.scheduler
    return announced_cluster(folder) or own_cluster(settings.workers).scheduler


def named_scheduler(settings: ExecutorSettings, root: Path) -> SchedulerAddress:
    """The scheduler that the settings name; the path of its file may be relative to the workspace."""
    file = settings.scheduler_file
    return SchedulerAddress(settings.scheduler, None if file is None else str(root / file))


def announced_cluster(folder: Path) -> SchedulerAddress | None:
    """The local cluster that a daemon has announced; None when it has ended."""
    try:
        facts = json.loads((folder / _FILE).read_bytes())
        if create_time_of(facts["pid"]) != facts["created"]:
            return None
        return SchedulerAddress(facts["address"], None, tuple(sorted(facts["secured"].items())))
    except (OSError, ValueError, KeyError):
        return None


def own_cluster(workers: int) -> LocalCluster:
    """The local cluster of this process.

    Raises:
        ClusterError: it cannot be started.
    """
    global _own
    with _lock:
        if _own is None or not _own.is_there:
            # by a thread that lives as long as this process: on Linux what it starts ends with the thread that has started it
            _own = _starter.submit(LocalCluster, workers).result()
            atexit.register(_own.close)
            atexit.register(disconnect)  # before it ends
        return _own


def close_own_cluster() -> None:
    """End the local cluster of this process, where it has one."""
    if _own is not None:
        _own.close()


_own: LocalCluster | None = None
_starter = ThreadPoolExecutor(1, thread_name_prefix="data-engine-cluster")
_lock = threading.Lock()

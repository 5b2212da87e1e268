"""Connections to Dask clusters: one client in this process for each scheduler, and the versions of its workers.

Author's code needs not be there: what is sent are bytes that our own functions understand. Whether these are there, and of
the same version, is asked first, by a function that travels by value.
"""

from __future__ import annotations

import atexit
import logging
import pickle
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from data_engine.errors import ClusterError

_CONNECT_S = 10.0
_THREADS = ("IO loop", "Dask-", "Profile", "TCP-Executor")


class SchedulerAddress(NamedTuple):
    """The address of a scheduler, or the file that has it, and the TLS certificates and keys for it (PEM texts)."""

    address: str | None = None
    file: str | None = None
    secured: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """Its address or file, for messages."""
        return self.address or self.file or "?"


class Connection:
    """A client of one scheduler, and the subscriptions to what its nodes send to this process."""

    def __init__(self, scheduler: SchedulerAddress) -> None:
        import distributed

        library: Any = distributed  # it has no types
        self.scheduler = scheduler
        options: dict[str, Any] = {}
        if scheduler.secured:
            options["security"] = library.Security(require_encryption=True, **dict(scheduler.secured))
        try:
            self.client: Any = library.Client(
                scheduler.address,
                scheduler_file=scheduler.file,
                timeout=_CONNECT_S,
                set_as_default=False,
                name="data-engine",
                **options,
            )
        except (OSError, TimeoutError, ValueError, RuntimeError) as error:
            raise ClusterError(
                f"the scheduler {scheduler.name} cannot be reached: {error}",
                where="[executor] scheduler in config/data_engine.toml",
                fix="start it (`dask scheduler`), or correct the address; `data-engine doctor` measures the cluster",
            ) from error
        self.topic = f"data-engine-{self.client.id}"
        self._hearers: dict[str, Callable[[Any], None]] = {}
        self.client.subscribe_topic(self.topic, self._hear)
        self._checked: set[str] = set()
        self._is_lost = False
        self._id: str | None = None
        self.workers()
        self.dashboard = str(self.client.dashboard_link)

    @property
    def is_there(self) -> bool:
        """Whether the scheduler answers, and is the one that this was connected to: a later one does not know its tasks."""
        if self.client.status != "running":
            self._is_lost = True
        return not self._is_lost

    def workers(self) -> dict[str, dict[str, Any]]:
        """The cluster's workers by address, each with the number of tasks of `others` that it has; waits for the scheduler."""
        info = self.client.scheduler_info(n_workers=-1)
        if self._id not in (None, info.get("id")):
            self._is_lost = True
        self._id = info.get("id")
        tasks = {address: list(map(str, keys)) for address, keys in self.client.processing().items()}
        return {
            address: {**facts, "others": sum(not key.startswith(self.topic) for key in tasks.get(address, ()))}
            for address, facts in info["workers"].items()
        }

    def subscribe(self, key: str, hearer: Callable[[Any], None] | None) -> None:
        """Call `hearer` with each frame that a node sends under this key, on the client's thread; None: no longer."""
        if hearer is None:
            self._hearers.pop(key, None)
        else:
            self._hearers[key] = hearer

    def checked_workers(self) -> dict[str, dict[str, Any]]:
        """The workers, after their versions were checked: all can work with this machine.

        Raises:
            ClusterError: one cannot; names it and why.
        """
        workers = self.workers()
        new = [address for address, facts in workers.items() if facts["local_directory"] not in self._checked]
        try:
            answers = self.client.run(_facts_by_value(), workers=new, on_error="ignore") if new else {}
        except Exception as error:
            raise ClusterError(
                f"the workers of {self.scheduler.name} cannot be asked for their versions: {error}",
                where=self.scheduler.name,
                fix="see the workers' logs",
            ) from error
        for address, facts in answers.items():
            refuse_mismatch(address, facts)
            self._checked.add(workers[address]["local_directory"])
        return workers

    def close(self) -> None:
        """Close the client."""
        with suppress(Exception):  # of distributed: a scheduler that is gone needs no goodbye
            self.client.close(timeout=1)

    def _hear(self, event: tuple[float, Any]) -> None:
        key, frame = pickle.loads(event[1])
        hearer = self._hearers.get(key)
        if hearer is not None:
            hearer(frame)


def refuse_mismatch(address: str, facts: dict[str, Any]) -> None:
    """Refuse a worker whose versions cannot work with this machine's.

    Raises:
        ClusterError: names what differs.

    Example:
        >>> refuse_mismatch("tcp://10.0.0.7:4711", own_facts())
    """
    for name, mine in own_facts().items():
        theirs = facts.get(name)
        if theirs == mine:
            continue
        if theirs is None:
            what, fix = f"has no {name}", f"install there what is here: {name} {mine}"
        else:
            what, fix = f"has {name} {theirs}, and this machine {mine}", "install the same version on both"
        raise ClusterError(f"the cluster's worker {address} {what}", where=address, fix=fix)


def own_facts() -> dict[str, str]:
    """The versions that must be the same on both sides: code travels as Python's own bytes, frames as Polars'."""
    return _facts_by_value()()


def _facts_by_value() -> Callable[[], dict[str, str]]:
    """`own_facts` as a function that imports nothing of ours."""

    def facts() -> dict[str, str]:
        import platform
        from importlib.metadata import PackageNotFoundError, version

        versions = {"Python": ".".join(platform.python_version_tuple()[:2])}
        for name, distribution, parts in (
            ("Data Engine", "data-engine", None),
            ("cloudpickle", "cloudpickle", 1),
            ("Polars", "polars", 1),
        ):
            try:
                versions[name] = ".".join(version(distribution).split(".")[:parts])
            except PackageNotFoundError:
                continue
        return versions

    return facts


def connected(scheduler: SchedulerAddress) -> Connection:
    """The connection of this process to the scheduler.

    Raises:
        ClusterError: it cannot be reached, a worker's versions do not fit, or Dask is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise ClusterError(
            "Dask is not installed here",
            where='[executor] kind = "dask" in config/data_engine.toml',
            fix="pip install 'data-engine[dask]'",
        ) from error
    assert distributed
    with _lock:
        connection = _connections.get(scheduler)
        if connection is None or not connection.is_there:
            if connection is not None:
                connection.close()
            logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost connection is an error of ours
            connection = _connections[scheduler] = Connection(scheduler)
    connection.checked_workers()
    return connection


def kept_threads() -> set[int]:
    """The threads of this process that belong to its connections."""
    if not _connections:
        return set()
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(_THREADS)]
    return {thread.ident for thread in threads if thread.ident is not None}


def disconnect() -> None:
    """Close the connections to all clusters."""
    with _lock:
        for connection in _connections.values():
            connection.close()
        _connections.clear()


_lock = threading.Lock()
_connections: dict[SchedulerAddress, Connection] = {}
atexit.register(disconnect)

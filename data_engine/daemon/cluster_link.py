"""The daemon's way to a Dask cluster: connected on a thread of its own, looked at again and again, and told when it is lost."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, NamedTuple

from data_engine.daemon import node
from data_engine.engine.items.connection import Connection
from data_engine.errors import ClusterError, FlowValidationError

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_CONNECT_AGAIN_S = 5.0

Take = Callable[[Any, BaseException | None], None]
"""Takes what a call gave, or what it raised, on the thread of the loop."""


class Node(NamedTuple):
    """A node: its threads, and its process, by a name that no other process has: the folder that Dask makes for it."""

    threads: int
    process: str


class ClusterLink:
    """What `connect` leads to. Everything but that and what it waits for happens on the thread of the running loop.

    `nodes` are its nodes by address; `on_nodes` is called whenever they were looked at, `on_frame` with what they
    tell, `on_lost` when the scheduler is gone, or knows nothing any more of one of the `futures` that are waited for, and
    `wake` when there is room for more, or it may be tried again.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        futures: Callable[[], Iterable[Any]],
        on_nodes: Callable[[], None],
        on_frame: Callable[[tuple[Any, ...]], None],
        on_lost: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self.trouble: FlowValidationError | None = None
        self.connection: Connection | None = None
        self.nodes: dict[str, Node] = {}
        self._connect, self._futures = connect, futures
        self._on_nodes, self._on_frame, self._on_lost, self._wake = on_nodes, on_frame, on_lost, wake
        self._loop = asyncio.get_running_loop()
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="cluster")
        self._is_connecting = self._is_closed = False
        self._connect_s = float("-inf")
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_there(self) -> bool:
        """Whether the scheduler answers."""
        return self.connection is not None and self.connection.is_there

    @property
    def threads(self) -> int:
        """How many threads the nodes have together."""
        return sum(one.threads for one in self.nodes.values())

    def connect_when_due(self) -> None:
        """Connect, but where that is under way or was tried just now."""
        now_s = time.monotonic()
        if self._is_connecting or self._is_closed or now_s - self._connect_s < _CONNECT_AGAIN_S:
            return
        self._is_connecting, self._connect_s = True, now_s

        def connect() -> tuple[Connection, dict[str, dict[str, Any]]]:
            connection = self._connect()
            return connection, connection.workers()

        self._later(self._connected, connect)

    def submit(self, content: bytes, *, address: str, key: str, on_submitted: Take, on_done: Take) -> None:
        """Let a node run the job that `content` tells of: `on_submitted` takes the future, `on_done` the task's result."""
        connection = self.connection
        if connection is not None:
            self._later(on_submitted, self._submit, connection, content, address, key, on_done)

    def command(self, root: str, address: str, message: tuple[Any, ...]) -> None:
        """Say this to a node about the workspace at `root`."""
        connection = self.connection
        if connection is not None:
            self._later(_note, lambda: connection.client.run(node.command, root, message, workers=[address]))

    def cancel(self, future: Any) -> None:
        """Let a task end whose result nobody takes any more."""
        connection = self.connection
        if future is not None and connection is not None and connection.is_there:
            self._later(_note, lambda: connection.client.cancel([future], force=True))

    def forget(self, address: str) -> None:
        """Give a node nothing until it was looked at again: another process has its address."""
        self.nodes.pop(address, None)
        self._on_nodes()

    def close(self) -> None:
        """Hear and look no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.hear("runs", None)
        self._calls.shutdown(wait=False)

    def _connected(
        self, found: tuple[Connection, dict[str, dict[str, Any]]] | None, error: BaseException | None
    ) -> None:
        self._is_connecting = False
        if found is None:
            self.trouble = error if isinstance(error, FlowValidationError) else ClusterError(f"no cluster: {error}")
            log.warning("%s", self.trouble)
            self._loop.call_later(_CONNECT_AGAIN_S, self._wake)
            return
        self.trouble = None
        connection, workers = found
        self.connection = connection
        loop = self._loop

        def hear(frame: tuple[Any, ...]) -> None:  # on the client's thread
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._on_frame, frame)

        connection.hear("runs", hear)
        self._see(workers)
        log.info("the cluster at %s has %d threads", connection.scheduler.name, self.threads)
        self._look_later()

    def _look_later(self) -> None:
        if not self._is_closed:
            pause_s = max(_LOOK_EVERY_S, len(self.nodes) * _LOOK_EVERY_S / 50)
            self._timer = self._loop.call_later(pause_s, self._look)

    def _look(self) -> None:
        connection = self.connection
        if connection is None:
            return
        if connection.is_there and not any(future.status in ("lost", "cancelled") for future in self._futures()):
            self._later(self._looked, connection.checked_workers)
        else:
            self._lose(connection)

    def _looked(self, workers: dict[str, dict[str, Any]] | None, error: BaseException | None) -> None:
        if workers is not None:
            self.trouble = None
            self._see(workers)
        elif isinstance(error, FlowValidationError):
            self.trouble = error
        self._look_later()

    def _see(self, workers: dict[str, dict[str, Any]]) -> None:
        """Take in which nodes there are."""
        before = self.threads
        self.nodes = {
            address: Node(int(one["nthreads"]), str(one["local_directory"])) for address, one in workers.items()
        }
        self._on_nodes()
        if self.threads > before:
            self._wake()

    def _lose(self, connection: Connection) -> None:
        self.connection, self.nodes = None, {}
        connection.hear("runs", None)
        name = connection.scheduler.name
        self.trouble = ClusterError(
            f"the scheduler {name} was lost", where=name, fix="make sure that it runs; what ran there is due again"
        )
        log.warning("%s", self.trouble)
        self._on_lost()
        self._connect_s = time.monotonic()
        self._loop.call_later(_CONNECT_AGAIN_S, self._wake)

    def _later(self, take: Take, call: Callable[..., Any], *given: Any) -> None:
        """Call this where the client may be waited for, and take what it gave."""

        def work() -> None:
            result, error = None, None
            try:
                result = call(*given)
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(take, result, error)

        with suppress(RuntimeError):  # this is closed
            self._calls.submit(work)

    def _submit(self, connection: Connection, content: bytes, address: str, key: str, on_done: Take) -> Any:
        """On the thread of the calls."""
        future = connection.client.submit(
            node.run_job, content, workers=[address], allow_other_workers=False, pure=False, key=key
        )

        def done(future: Any) -> None:  # on a thread of the client
            result, error = None, None
            try:
                result = future.result(timeout=60)
            except BaseException as raised:
                error = raised
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(on_done, result, error)

        future.add_done_callback(done)
        return future


def _note(result: Any, error: BaseException | None) -> None:
    if error is not None:
        log.info("the cluster did not take a message: %s", error)

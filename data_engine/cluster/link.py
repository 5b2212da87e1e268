"""The owner's side of jobs on a Dask cluster: its nodes, and attempts at jobs with their ends.

Each attempt is a task that is bound to one process of a node, so that nothing but its owner decides where it runs, and whether
it runs again: Dask begins the tasks of a lost process again, also in one that has come back under its address, and that one
refuses them. An attempt ends exactly once: with its result, or with what was lost.
"""

from __future__ import annotations

import logging
import pickle
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice, takewhile
from typing import Any, Generic, NamedTuple, TypeVar

from data_engine.cluster import node
from data_engine.cluster.connection import Connection
from data_engine.cluster.node import Assignment, NodeJob, host_of
from data_engine.errors import ClusterError, FlowValidationError

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_CONNECT_AGAIN_S = 5.0
_RESULT_S = 60.0

T = TypeVar("T", bound=Hashable)
Take = Callable[[Any, BaseException | None], None]
"""Takes what a call gave, or what it raised."""


class Node(NamedTuple):
    """A process of a node: its threads, the folder that Dask makes for it, which no other has, and its tasks that are of other owners."""

    threads: int
    process: str
    others: int


class LostAttempt(Enum):
    """The loss that ends an attempt without a result: of the process that it was given to, or of the scheduler."""

    PROCESS = "process"
    SCHEDULER = "scheduler"


@dataclass(eq=False, slots=True)
class Attempt:
    """An attempt at a job in one process of a node. `on_end` is called with its result or with `LostAttempt`."""

    address: str
    process: str
    on_end: Callable[[Any], None]
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    future: Any = None


class ClusterAccess:
    """One owner's access to the cluster that `connect` reaches; the owner is the workspace at `root` with this identity.

    Everything happens on the owner's thread but what waits for the scheduler: `deliver` calls a function there. `on_change` is called
    when the nodes were looked at, and when it may be tried again to reach them.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        root: str,
        identity: str,
        *,
        deliver: Callable[[Callable[[], None]], None],
        on_change: Callable[[], None],
    ) -> None:
        self.trouble: FlowValidationError | None = None
        self.connection: Connection | None = None
        self.nodes: dict[str, Node] = {}
        self.attempts: dict[str, Attempt] = {}
        self._connect, self._root, self._identity = connect, root, identity
        self._deliver, self._on_change = deliver, on_change
        self._hearers: set[str] = set()
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="Dask-link")
        self._is_looking = False
        self._look_s = float("-inf")
        self._closed = threading.Event()
        threading.Thread(target=self._tick, name="Dask-link-looks", daemon=True).start()

    # -- the cluster ---------------------------------------------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        """Whether the scheduler answers."""
        return self.connection is not None and self.connection.is_there

    @property
    def threads(self) -> int:
        """How many threads the nodes have together."""
        return sum(process.threads for process in self.nodes.values())

    def connect(self) -> None:
        """Return when the cluster is reached.

        Raises:
            ClusterError: it cannot be.
        """
        self._connected(self._reach(), None)

    def connect_when_due(self) -> None:
        """Connect, but where that is under way or was tried just now."""
        if not self._is_looking and not self._closed.is_set() and time.monotonic() >= self._look_s:
            self._call(self._connected, self._reach, is_look=True)

    def close(self) -> None:
        """End all subscriptions, and look at the cluster no more."""
        self._closed.set()
        connection, self.connection = self.connection, None
        if connection is not None:
            for key in self._hearers:
                connection.subscribe(key, None)
        self._calls.shutdown(wait=False)

    # -- attempts ------------------------------------------------------------------------------------------------------

    def busy(self) -> Counter[str]:
        """How many attempts each node has."""
        return Counter(attempt.address for attempt in self.attempts.values())

    def begin(
        self,
        job: NodeJob,
        address: str,
        *,
        places: Iterable[tuple[str, str]] = (),
        shared: Any = b"",
        on_frame: Callable[[Any], None],
        on_end: Callable[[Any], None],
    ) -> Attempt:
        """Begin an attempt at the job on a node; `places` are what it works with, `shared` is what several jobs have in common, or Dask's future of it."""
        connection = self.connection
        assert connection is not None
        attempt = Attempt(address, self.nodes[address].process, on_end)
        threads_at: Counter[str] = Counter()
        for node_address, process in self.nodes.items():
            threads_at[host_of(node_address)] += process.threads
        content = pickle.dumps(
            Assignment(
                attempt.key,
                attempt.process,
                connection.topic,
                self._root,
                self._identity,
                tuple(places),
                dict(threads_at),
                pickle.dumps(job),
            )
        )
        self.attempts[attempt.key] = attempt
        self.subscribe(attempt.key, on_frame)

        def submitted(future: Any, error: BaseException | None) -> None:
            attempt.future = future
            if attempt.key not in self.attempts:
                self._cancel(future)
            elif error is not None:
                log.warning("a job could not be given to %s: %s", address, error)
                self._lose(attempt)

        self._call(submitted, lambda: self._submit(connection, attempt, content, shared))
        return attempt

    def drop(self, attempt: Attempt) -> None:
        """Cancel an attempt; its `on_end` is not called."""
        if self.attempts.pop(attempt.key, None) is not None:
            self.subscribe(attempt.key, None)
            self._cancel(attempt.future)

    def send(self, key: str, message: Any, address: str | None = None) -> None:
        """Send a message to the subscriber of the key on a node, or on all nodes."""
        connection = self.connection
        if connection is not None:
            workers = None if address is None else [address]
            self._call(_note, lambda: connection.client.run(node.take_message, key, message, workers=workers))

    def subscribe(self, key: str, on_frame: Callable[[Any], None] | None) -> None:
        """Call `on_frame` with each frame that a node sends under the key; None: no longer."""
        (self._hearers.discard if on_frame is None else self._hearers.add)(key)

        def take(frame: Any) -> None:
            if on_frame is not None and key in self._hearers:
                on_frame(frame)

        if self.connection is not None:  # it calls on the client's thread
            hearer = None if on_frame is None else lambda frame: self._deliver(lambda: take(frame))
            self.connection.subscribe(key, hearer)

    # -- looking -------------------------------------------------------------------------------------------------------

    def _reach(self) -> tuple[Connection, dict[str, dict[str, Any]]]:
        connection = self._connect()
        return connection, connection.workers()

    def _connected(
        self, cluster: tuple[Connection, dict[str, dict[str, Any]]] | None, error: BaseException | None
    ) -> None:
        if self._closed.is_set():
            return
        if cluster is None:
            self.trouble = error if isinstance(error, FlowValidationError) else ClusterError(f"no cluster: {error}")
            log.warning("%s", self.trouble)
            self._look_s = time.monotonic() + _CONNECT_AGAIN_S
            return
        self.connection, workers = cluster
        log.info("the cluster at %s has %d nodes", self.connection.scheduler.name, len(workers))
        self._looked(workers, None)

    def _tick(self) -> None:
        while not self._closed.wait(_LOOK_EVERY_S / 4):
            self._deliver(self._look)

    def _look(self) -> None:
        connection = self.connection
        if self._closed.is_set() or self._is_looking or time.monotonic() < self._look_s:
            return
        futures = [attempt.future for attempt in self.attempts.values() if attempt.future is not None]
        if connection is None:
            self._on_change()
        elif connection.is_there and not any(future.status in ("lost", "cancelled") for future in futures):
            self._call(self._looked, connection.checked_workers, is_look=True)
        else:
            self._scheduler_lost(connection)

    def _looked(self, workers: dict[str, dict[str, Any]] | None, error: BaseException | None) -> None:
        self._look_s = time.monotonic() + max(_LOOK_EVERY_S, len(self.nodes) * _LOOK_EVERY_S / 50)
        if workers is None:
            self.trouble = error if isinstance(error, FlowValidationError) else self.trouble
            return
        self.trouble = None
        self.nodes = {
            address: Node(int(facts["nthreads"]), str(facts["local_directory"]), facts["others"])
            for address, facts in workers.items()
        }
        self._nodes_changed()

    def _nodes_changed(self) -> None:
        for attempt in list(self.attempts.values()):
            node = self.nodes.get(attempt.address)
            if node is None or node.process != attempt.process:
                self._lose(attempt)
        self._on_change()

    # -- what becomes of attempts --------------------------------------------------------------------------------------

    def _submit(self, connection: Connection, attempt: Attempt, content: bytes, shared: Any) -> Any:
        """Submit the task, on the thread of the calls."""
        future = connection.client.submit(
            node.run_job,
            content,
            shared,
            workers=[attempt.address],
            allow_other_workers=False,
            pure=False,
            key=f"{connection.topic}-{attempt.key}",
        )

        def done(future: Any) -> None:  # on a thread of the client
            result, error = None, None
            try:
                result = future.result(timeout=_RESULT_S)
            except BaseException as raised:
                error = raised
            self._deliver(lambda: self._done(attempt, result, error))

        future.add_done_callback(done)
        return future

    def _done(self, attempt: Attempt, result: bytes | None, error: BaseException | None) -> None:
        if attempt.key not in self.attempts:
            return
        if result is None:
            if self.is_there:  # else the next look finds that
                log.warning("a job on %s failed: %s", attempt.address, error)
                self._lose(attempt)
            return
        value = pickle.loads(result)
        if value is None:  # another process has the address by now: it is given nothing until it was looked at again
            self.nodes.pop(attempt.address, None)
            self._nodes_changed()
        else:
            self._end(attempt, value)

    def _lose(self, attempt: Attempt) -> None:
        if attempt.key in self.attempts:
            log.warning("the worker %s of the cluster was lost", attempt.address)
            self._cancel(attempt.future)
            self._end(attempt, LostAttempt.PROCESS)

    def _scheduler_lost(self, connection: Connection) -> None:
        name = connection.scheduler.name
        fix = "make sure that it runs; what ran there is due again"
        self.trouble = ClusterError(f"the scheduler {name} was lost", where=name, fix=fix)
        log.warning("%s", self.trouble)
        self._look_s = time.monotonic() + _CONNECT_AGAIN_S
        for attempt in list(self.attempts.values()):
            self._end(attempt, LostAttempt.SCHEDULER)
        for key in self._hearers:
            connection.subscribe(key, None)
        self.connection, self.nodes = None, {}
        self._hearers.clear()

    def _end(self, attempt: Attempt, value: Any) -> None:
        del self.attempts[attempt.key]
        self.subscribe(attempt.key, None)
        attempt.on_end(value)

    def _cancel(self, future: Any) -> None:
        connection = self.connection
        if future is not None and connection is not None and connection.is_there:
            self._call(_note, lambda: connection.client.cancel([future], force=True))

    def _call(self, take: Take, call: Callable[[], Any], *, is_look: bool = False) -> None:
        """Do the call on the thread that may wait for the client, and `take` its result."""
        self._is_looking |= is_look

        def work() -> None:
            result, error = None, None
            try:
                result = call()
            except BaseException as raised:
                error = raised
            self._deliver(lambda: finish(result, error))

        def finish(result: Any, error: BaseException | None) -> None:
            if is_look:
                self._is_looking = False
            take(result, error)

        with suppress(RuntimeError):  # this is closed
            self._calls.submit(work)


def _note(result: Any, error: BaseException | None) -> None:
    if error is not None:
        log.info("the cluster did not take a message: %s", error)


class Suspects(Generic[T]):
    """Work that may have ended the process that ran it: each is tried once more on its own, so that it is certain which one it was when
    that process is lost as well.

    Example:
        >>> suspects = Suspects[str]()
        >>> suspects.lose(["b", "c"], "tcp://1"), suspects.next_of(["a", "b", "c"]), suspects.next_of(["b", "c"])
        (None, ['a'], ['b'])
        >>> suspects.lose(["b"], "tcp://2")
        'b'
    """

    def __init__(self) -> None:
        self.lost_at: dict[T, str] = {}

    def lose(self, had: Sequence[T], address: str) -> T | None:
        """Note that the process at this address was lost with these; the work that was tried twice by now, or None."""
        twice = had[0] if len(had) == 1 and had[0] in self.lost_at else None
        self.lost_at |= dict.fromkeys(had, address)
        return twice

    def next_of(self, rest: Iterable[T], most: int | None = None) -> list[T]:
        """The part of the rest for the next attempt: a suspect on its own, else at most so many of those before the next suspect."""
        left = list(rest)
        if left and left[0] in self.lost_at:
            return left[:1]
        return list(islice(takewhile(lambda work: work not in self.lost_at, left), most))

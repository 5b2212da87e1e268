"""The node's side of a job: a Dask task that checks what this node sees, carries the job out and talks with its owner meanwhile.

A running Dask task cannot be cancelled and shares its process with others, so a job drives processes of its own and ends them
when nobody wants its result any more. What it tells goes home as events of the scheduler, under the attempt's key; what the
owner says comes by `take_message`.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, Protocol

from data_engine.errors import ClusterError, FlowValidationError
from data_engine.workspace.layout import WorkspaceLayout

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.3


class Assignment(NamedTuple):
    """One attempt at a job, for the process of a node whose folder is `process`.

    `places` are the ("source" or "mirror", folder) that the job works with and `root` the workspace, as the owner has them;
    `threads_at` counts the cluster's threads at each host, and `job` is the pickled `NodeJob`.
    """

    attempt: str
    process: str
    topic: str
    root: str
    identity: str
    places: tuple[tuple[str, str], ...]
    threads_at: dict[str, int]
    job: bytes


class NodeJob(Protocol):
    """A job for a node: a class that both sides have, whose values pickle."""

    def carry_out(self, attempt: NodeAttempt) -> Any:
        """The result, which pickles and is not None.

        Raises:
            FlowValidationError: it cannot begin here.
        """
        ...


class Refused(NamedTuple):
    """The result of a job that a node could not begin."""

    error: FlowValidationError


class NodeAttempt:
    """An attempt at a job on this node. `root` is where this node has the workspace, `owner_root` where its owner has it.

    `shared` is what the jobs of one owner have in common. `on_cancelled` is called again and again, on a thread of its own,
    when nobody wants the result any more.
    """

    def __init__(self, assignment: Assignment, worker: Any, shared: bytes) -> None:
        self.key, self.identity, self.shared = assignment.attempt, assignment.identity, shared
        self.owner_root = assignment.root
        self.root = workspace_here(assignment.root, assignment.identity, worker.address)
        self.address: str = worker.address
        self.threads: int = worker.state.nthreads
        self.threads_at_host = max(assignment.threads_at.get(host_of(worker.address), 1), self.threads)
        self.on_cancelled: Callable[[], None] = lambda: None
        self._worker, self._topic, self._task = worker, assignment.topic, worker.get_current_task()
        self._answers: SimpleQueue[Any] = SimpleQueue()

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody wants the result any more: it was cancelled, or its client is gone."""
        task = self._worker.state.tasks.get(self._task)
        return task is None or task.state in ("cancelled", "resumed")

    def tell(self, frame: Any, *, key: str | None = None) -> None:
        """Send a frame home, under the attempt's key or another one that the owner subscribed to."""
        self._worker.log_event(self._topic, pickle.dumps((key or self.key, frame)))

    def ask(self, *question: Any) -> Any:
        """The owner's answer to ("ask", *question); one question at a time.

        Raises:
            ClusterError: nobody wants the result any more.
        """
        self.tell(("ask", *question))
        while True:
            try:
                return self._answers.get(timeout=_LOOK_EVERY_S)
            except Empty:
                if self.is_cancelled:
                    raise ClusterError("the run is gone", where=self.address) from None

    def node_path(self, path: str) -> str:
        """A path of the owner's as this node has it."""
        return path_below(path, self.owner_root, str(self.root))

    def owner_path(self, path: str) -> str:
        """A path of this node as the owner has it."""
        return path_below(path, str(self.root), self.owner_root)

    def take(self, answer: Any) -> None:
        """Take what the owner answers; from any thread."""
        self._answers.put(answer)


def run_job(content: bytes, shared: bytes = b"") -> bytes:
    """The pickled result of the job in an assignment, or `Refused`; None where it was given to another process than this one: Dask begins
    the tasks of a lost process again, also in one that has come back under its address.
    """
    from distributed import get_worker

    worker = get_worker()
    assignment: Assignment = pickle.loads(content)
    if assignment.process != worker.local_directory:
        return pickle.dumps(None)
    try:
        return pickle.dumps(_carry_out(assignment, worker, shared))
    except FlowValidationError as error:
        return pickle.dumps(Refused(error))
    except Exception as error:
        log.exception("a job failed")
        what = f"a job on the cluster's worker {worker.address} failed: {type(error).__name__}: {error}"
        fix = "see the worker's log; `data-engine doctor` measures the cluster"
        return pickle.dumps(Refused(ClusterError(what, where=worker.address, fix=fix)))


def _carry_out(assignment: Assignment, worker: Any, shared: bytes) -> Any:
    attempt = NodeAttempt(assignment, worker, shared)
    require_places([(what, Path(attempt.node_path(place))) for what, place in assignment.places], worker.address)
    job: NodeJob = pickle.loads(assignment.job)
    subscribe(attempt.key, attempt.take)
    is_over = threading.Event()
    threading.Thread(target=_watch, args=(attempt, is_over), name="data-engine-watch", daemon=True).start()
    try:
        return job.carry_out(attempt)
    finally:
        is_over.set()
        subscribe(attempt.key, None)


def take_message(key: str, message: Any) -> None:
    """Pass a message of the owner on to the subscriber of its key on this node."""
    hearer = _hearers.get(key)
    if hearer is not None:
        hearer(message)


def subscribe(key: str, hearer: Callable[[Any], None] | None) -> None:
    """Call `hearer` with each message that the owner sends under this key, on a thread that must not wait; None: no longer."""
    if hearer is None:
        _hearers.pop(key, None)
    else:
        _hearers[key] = hearer


_hearers: dict[str, Callable[[Any], None]] = {}


def _watch(attempt: NodeAttempt, is_over: threading.Event) -> None:
    while not is_over.wait(_LOOK_EVERY_S):
        if attempt.is_cancelled:
            attempt.on_cancelled()


def workspace_here(root: str, identity: str, address: str) -> Path:
    """Where this node has the workspace: where DATA_ENGINE_WORKSPACE_ROOT says, or under the owner's path.

    Raises:
        ClusterError: nowhere.
    """
    own_root = os.environ.get("DATA_ENGINE_WORKSPACE_ROOT", "").strip()
    places = [Path(path) for path in (own_root, root) if path]
    for place in places:
        if (place / "flow_modules").is_dir() and _identity_at(place) in (None, identity):
            return place
    raise ClusterError(
        f"the cluster's worker {address} does not see the workspace at {' or '.join(map(str, places))}",
        where=address,
        fix="mount it there under the same path, or set DATA_ENGINE_WORKSPACE_ROOT in the worker's environment to its path",
    )


def _identity_at(root: Path) -> str | None:
    try:
        return str(json.loads(WorkspaceLayout(root).identity_path.read_bytes())["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def require_places(places: Iterable[tuple[str, Path]], address: str) -> None:
    """Return when this node sees each ("source" or "mirror", folder); a mirror may be made.

    Raises:
        ClusterError: it does not; names the worker and the path.
    """
    for what, place in places:
        if not (place.exists() or (what == "mirror" and place.parent.exists())):
            raise ClusterError(
                f"the cluster's worker {address} does not see the {what} {place}",
                where=address,
                fix="mount it there under the same path, or keep it inside the workspace",
            )


def host_of(address: str) -> str:
    """The host in a worker's address.

    Example:
        >>> host_of("tls://10.0.0.7:4711")
        '10.0.0.7'
    """
    return address.rpartition("://")[2].rpartition(":")[0]


def path_below(path: str, old: str, new: str) -> str:
    """The path with `new` in place of `old`, where it is below that.

    Example:
        >>> path_below("/mnt/ws/in/a.csv", "/mnt/ws", "/team/ws"), path_below("/mnt/ws2/a.csv", "/mnt/ws", "/team/ws")
        ('/team/ws/in/a.csv', '/mnt/ws2/a.csv')
    """
    is_below = path.startswith(old) and path[len(old) : len(old) + 1] in ("", "/", os.sep)
    return new + path[len(old) :] if is_below else path

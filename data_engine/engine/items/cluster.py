"""Run items on a Dask cluster: jobs of several items each, which drive processes of ours on its nodes.

The first half is the owner's side, the second the node's. The processes of a run end with it: when its owner says so, when
its attempt is cancelled (as those of an owner that is gone are), or after a while without work. Fresh ones wait for the next run.
"""

from __future__ import annotations

import hashlib
import pickle
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from data_engine.cause import Cause
from data_engine.cluster import node
from data_engine.cluster.connection import Connection
from data_engine.cluster.link import Attempt, ClusterAccess, LostAttempt, Suspects
from data_engine.cluster.node import NodeAttempt, Refused
from data_engine.engine.items import threads
from data_engine.engine.items.processes import (
    Home,
    ItemProcess,
    ProcessEnded,
    ProcessPool,
    RemoteCall,
    Task,
    died,
    mark_unseen,
)
from data_engine.engine.items.threads import ThreadShare
from data_engine.engine.items.travel import PackedError, Payload, pack_error, unpack_error
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import ClusterError
from data_engine.files import rename_folder
from data_engine.flow.control import ItemCall, ItemMap, RunInterrupted
from data_engine.keeping import keeping, of_item
from data_engine.platforms.files import content_of
from data_engine.storage_version import lead_below

_CHECK_EVERY_S = 0.1
_CHUNK_S = 0.3
_MOST_IN_CHUNK = 64
_WAIT_FOR_WORKERS_S = 5.0
_SMALL_BYTES = 64 * 1024
_ASK_EVERY_S = 1.0
_IDLE_S = 60.0

Outcome = tuple[str, Any]
"""The end of an item: "done" and its parcel, "failed" and its packed error, "died" and the cause."""


class Cluster:
    """Items on the cluster that `connect` leads to."""

    def __init__(self, connect: Callable[[], Connection], home: LocalWorkspace) -> None:
        self._connect, self._home = connect, home
        self._run = uuid.uuid4().hex
        self._connection: Connection | None = None

    def spread(self, work: ItemMap) -> list[Any]:
        """As `threads.spread`, with each item on a node.

        Raises:
            FlowValidationError: what is called cannot leave this process.
            ClusterError: the cluster cannot be reached, or was lost.
        """
        if work.max_parallel <= 1 or len(work.items) <= 1:
            return threads.spread(work)
        mark_unseen()
        connection = self._connection = self._connect()
        is_private = str(connection.client.scheduler.address).startswith("tls")
        far = RemoteCall(work.call, work.step, root=self._home.layout.root, with_secrets=is_private)
        spread = _Spread(connection, self._home, far, work)
        spread.share(_modules_of(work.call, self._home.modules().package, far.task, self._run))
        return spread.results()

    def close(self) -> None:
        """Let the run's processes on the nodes end."""
        if self._connection is not None and self._connection.is_there:
            with suppress(Exception):  # of distributed: nodes that are gone have ended already
                self._connection.client.run(node.take_message, self._run, "close")


class ChunkedMap(NamedTuple):
    """The common part of the chunks of one map. `files` are the workspace's modules by their paths, of `package`."""

    run: str
    task: Task
    package: str | None
    files: dict[str, bytes]


class _Spread:
    """One map on a cluster."""

    def __init__(self, connection: Connection, home: LocalWorkspace, far: RemoteCall, work: ItemMap) -> None:
        self._connection, self._far, self._work, self._items = connection, far, work, work.items
        self._outcomes = threads.Outcomes(work)
        self._inbox: SimpleQueue[Callable[[], None]] = SimpleQueue()
        root = str(home.layout.root)
        self._link = ClusterAccess(
            lambda: connection, root, home.local.identity, deliver=self._inbox.put, on_change=lambda: None
        )
        run = keeping.get()
        self._order = () if run is None else run.next_order()
        self._shared: Any = b""
        self._left = deque(range(len(work.items)))
        self._suspects: Suspects[int] = Suspects()
        self._mean_s: float | None = None

    def share(self, common: ChunkedMap) -> None:
        """Send the nodes what the chunks have in common."""
        self._shared = pickle.dumps(common)
        if len(self._shared) > _SMALL_BYTES:
            self._shared = self._connection.client.scatter(self._shared, hash=False)

    def results(self) -> list[Any]:
        """The results of the items, in order."""
        try:
            self._link.connect()
            try:
                self._go_through()
            except RunInterrupted:
                with suppress(ClusterError):
                    while self._link.attempts:  # they end at the next time that they tell how far they are
                        self._inbox.get()()
                raise
            except BaseException:
                for attempt in list(self._link.attempts.values()):
                    self._link.drop(attempt)
                raise
        finally:
            self._link.close()
            self._far.close()
        return self._outcomes.all()

    def _go_through(self) -> None:
        step, done, is_told = self._work.step, 0, False
        checked_s = seen_s = time.monotonic()
        while self._link.attempts or (self._left and not self._outcomes.failed):
            while self._left and not self._outcomes.failed and (address := self._free_node()) is not None:
                step.may_work()
                self._begin(address)
            with suppress(Empty):
                self._inbox.get(timeout=_CHECK_EVERY_S)()
            now_s = time.monotonic()
            if now_s - checked_s >= _CHECK_EVERY_S:
                step.may_work()
                checked_s = now_s
            if self._link.nodes:
                seen_s = now_s
            elif not is_told and now_s - seen_s > _WAIT_FOR_WORKERS_S:
                is_told = True
                step.log(f"waits for a worker at {self._connection.scheduler.name}: it has none", "WARNING")
            if self._outcomes.done > done:
                done = self._outcomes.done
                step.progress(done, len(self._items))

    def _free_node(self) -> str | None:
        """The node for the next chunk; behind the tasks of others only while no node has any of ours."""
        busy, nodes = self._link.busy(), self._link.nodes
        if busy.total() >= self._work.max_parallel:
            return None
        rank = {address: busy[address] + state.others - state.threads for address, state in nodes.items()}
        address = min(rank, key=lambda name: rank[name], default=None)
        return address if address is not None and (rank[address] < 0 or not busy) else None

    def _begin(self, address: str) -> None:
        most = 1 if self._mean_s is None else int(_CHUNK_S / max(self._mean_s, 1e-6))
        lanes = min(self._work.max_parallel, self._link.threads)
        count = max(1, min(most, _MOST_IN_CHUNK, -(-len(self._left) // (2 * lanes))))
        indices = self._suspects.next_of(list(self._left)[:_MOST_IN_CHUNK], count)
        for index in indices:
            self._left.popleft()
            if index in self._suspects.lost_at:
                self._far.say_again(self._items[index], _lost(self._suspects.lost_at[index]))
        chunk = MapChunk([self._pack(index) for index in indices], self._work.keep_errors)
        attempt = self._link.begin(
            chunk,
            address,
            places=self._places(),
            shared=self._shared,
            on_frame=lambda frame: self._heard(attempt, frame),
            on_end=lambda result: self._ended(indices, address, result),
        )

    def _pack(self, index: int) -> Payload:
        with of_item((*self._order, index)):
            return self._far.pack(self._items[index])

    def _places(self) -> list[tuple[str, str]]:
        context = self._far.context
        places = []
        if context is not None and context.source is not None:
            places.append(("source", str(context.source.root)))
        if context is not None and context.mirror is not None:
            places.append(("mirror", str(context.mirror.final_root)))
        return places

    def _heard(self, attempt: Attempt, frame: Any) -> None:
        """Handle a frame of the items: answer a question, pass on anything else."""
        match frame:
            case ("ask", question, arguments):
                self._link.send(attempt.key, self._far.answer(question, arguments), attempt.address)
            case ("again", item, cause):
                self._far.say_again(self._far.outcome(True, item), cause)
            case _:
                self._far.tell(frame)

    def _ended(self, indices: list[int], address: str, result: Any) -> None:
        """Take the outcomes of a chunk.

        Raises:
            ClusterError: the scheduler was lost.
        """
        if result is LostAttempt.SCHEDULER:
            name = self._connection.scheduler.name
            raise ClusterError(
                f"the scheduler {name} was lost while items ran",
                where=name,
                fix="make sure that it runs, and run the flow again",
            )
        if result is LostAttempt.PROCESS:  # those that may have ended it are tried once more, each alone
            twice = self._suspects.lose(indices, address)
            if twice is None:
                self._left.extendleft(reversed(indices))
            else:
                self._settle(twice, ("died", _lost(address)))
            return
        if isinstance(result, Refused):
            outcomes: list[Outcome] = [("failed", pack_error(result.error))] * len(indices)
        else:
            outcomes, elapsed_s = result
            self._mean_s = elapsed_s / len(outcomes)
        for index, outcome in zip(indices, outcomes, strict=False):
            self._settle(index, outcome)
        if not self._outcomes.failed:  # it was not sure that the others may begin
            self._left.extendleft(reversed(indices[len(outcomes) :]))

    def _settle(self, index: int, outcome: Outcome) -> None:
        word, content = outcome
        if word == "done":
            self._outcomes.take(index, self._far.outcome(True, content), None)
            return
        error = died(content) if word == "died" else unpack_error(content, root=self._far.root)
        self._outcomes.take(index, None, error, ends_map=isinstance(error, ClusterError))


def _lost(address: str) -> Cause:
    return Cause("worker_lost", {"worker": address})


def _modules_of(call: Any, package: str, task: Task, run: str) -> ChunkedMap:
    """A map with the package of the workspace's modules that its function is from, and their files as they were read."""
    fn = call.fn if isinstance(call, ItemCall) else call
    name = str(getattr(fn, "__module__", None) or "").rpartition(".")[0] or package
    contents = {key: content for key, _, content in task.around["modules"]}
    owner = next((key for key in (name, package) if key in contents), None)
    if owner is None:
        return ChunkedMap(run, task, None, {})
    content = contents[owner]
    paths = [*content.glob("*.py"), *(path for path in content.glob("flow_helpers/**/*") if path.is_file())]
    files = {
        path.relative_to(content).as_posix(): content_of(path) for path in paths if "__pycache__" not in path.parts
    }
    return ChunkedMap(run, task, owner, files)


# -- on a node -------------------------------------------------------------------------------------------------------------


class MapChunk(NamedTuple):
    """Some items of a map, as a node's job."""

    items: list[Payload]
    keeps_errors: bool

    def carry_out(self, attempt: NodeAttempt) -> tuple[list[Outcome], float]:
        """The outcomes of the items, in order, as far as the owner let them begin, and up to the first that failed where errors are not
        kept; and the seconds it took."""
        begun_s = asked_s = time.perf_counter()
        common: ChunkedMap = pickle.loads(attempt.shared)
        task = _task_here(common, attempt.root)
        outcomes: list[Outcome] = []

        def answer(question: str, arguments: Payload) -> tuple[bool, Payload | PackedError]:
            nonlocal asked_s
            asked_s = time.perf_counter()
            try:
                is_good, content = attempt.ask(question, arguments)
            except ClusterError as error:
                return False, pack_error(error)
            return is_good, content

        for item in self.items:
            is_due = time.perf_counter() - asked_s > _ASK_EVERY_S
            if outcomes and (attempt.is_cancelled or (is_due and not answer("may_work", _NOTHING)[0])):
                break
            outcomes.append(_run_item(attempt, common.run, task, item, Home(attempt.tell, answer)))
            if outcomes[-1][0] != "done" and not self.keeps_errors:
                break
        return outcomes, time.perf_counter() - begun_s


_NOTHING = Payload(pickle.dumps(()))


def _run_item(attempt: NodeAttempt, run: str, task: Task, item: Payload, home: Home) -> Outcome:
    def begun(process: ItemProcess) -> None:
        attempt.on_cancelled = process.kill

    with _HERE.pool(attempt, run) as pool:
        try:
            is_done, content = pool.run(task, item, home, lambda cause: attempt.tell(("again", item, cause)), begun)
        except ProcessEnded as ended:
            return "died", ended.cause
        finally:
            attempt.on_cancelled = lambda: None
    return ("done" if is_done else "failed"), content


def _task_here(common: ChunkedMap, root: Path) -> Task:
    """The task as it is run on this node."""
    around = {**common.task.around, "root": root, "ask_every_s": _ASK_EVERY_S, "modules": []}
    del around["sys_path"]
    around["folder"] = str(root / "flow_modules")
    if around["databases"] is not None:
        around["databases"] = (around["databases"][0], lead_below(root))
    if common.package is not None:
        around["modules"] = [(common.package, root / "flow_modules", _content(common.files))]
    return common.task._replace(around=around)


def _content(files: dict[str, bytes]) -> Path:
    """A folder of this node with the modules; those of the same content share one."""
    digest = hashlib.sha256(
        repr(sorted((name, hashlib.sha256(data).digest()) for name, data in files.items())).encode()
    )
    folder = _HERE.folder / digest.hexdigest()[:24]
    if not folder.is_dir():
        making = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
        for name, data in files.items():
            path = making / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        making.mkdir(parents=True, exist_ok=True)
        try:
            rename_folder(making, folder)
        except OSError:
            if not folder.is_dir():  # another task has made it
                raise
    return folder


@dataclass(slots=True)
class _RunPool:
    """The processes of a run on this node; `used_s` is when the last of its `active` items ended."""

    pool: ProcessPool
    active: int = 0
    used_s: float = float("inf")


class _Here:
    """The processes of this node: a pool for each run, and one of fresh processes for the next run."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, _RunPool] = {}
        self._fresh: ProcessPool | None = None
        self._folder: Path | None = None
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="data-engine-pools")

    @property
    def folder(self) -> Path:
        """The folder of modules on this node, one for all threads."""
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="data-engine-node-"))
            return self._folder

    @contextmanager
    def pool(self, attempt: NodeAttempt, run: str) -> Iterator[ProcessPool]:
        """The pool of the attempt's run."""
        with self._lock:
            entry = self._runs.get(run)
            if entry is None:
                entry = self._runs[run] = _RunPool(self._fresh or ProcessPool(ThreadShare.of(attempt.threads_at_host)))
                self._fresh = None
                node.subscribe(run, lambda message: self._close_run(run, attempt))
                self._close_when_idle(run, attempt)
            entry.active += 1
        try:
            yield entry.pool
        finally:
            with self._lock:
                entry.active -= 1
                entry.used_s = time.monotonic()

    def _close_run(self, run: str, attempt: NodeAttempt) -> None:
        """End the processes of the run, and make as many fresh ones ready."""
        node.subscribe(run, None)
        with self._lock:
            ended = self._runs.pop(run, None)
        if ended is not None:
            self._maker.submit(self._after_run, ended.pool, attempt)

    def _close_when_idle(self, run: str, attempt: NodeAttempt) -> None:
        """Close a run whose owner never does."""
        entry = self._runs.get(run)
        if entry is not None and not entry.active and time.monotonic() - entry.used_s > _IDLE_S:
            self._close_run(run, attempt)
        elif entry is not None:
            timer = threading.Timer(_IDLE_S, self._close_when_idle, [run, attempt])
            timer.daemon = True
            timer.start()

    def _after_run(self, ended: ProcessPool, attempt: NodeAttempt) -> None:
        ended.close()
        fresh = self._fresh or ProcessPool(ThreadShare.of(attempt.threads_at_host))
        fresh.warm(attempt.threads)
        self._fresh = fresh


_HERE = _Here()

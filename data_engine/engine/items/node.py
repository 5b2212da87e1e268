"""What runs on a node of a Dask cluster: a task that drives a process of ours through some items.

A running Dask task cannot be cancelled and shares its process with others, so the items run in processes of their own
(`worker.py`). What they tell goes home as events of the scheduler; what they ask comes back by `reply`. The processes of a
run end with it: when its owner says so, when its task is cancelled (as those of a client that is gone are), or after a while
without work. Fresh ones wait for the next run.
"""

from __future__ import annotations

import json
import os
import pickle
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from data_engine.engine.items.process import Home, ItemProcess, ProcessEnded, Task
from data_engine.engine.items.threads import IN_ITEM
from data_engine.engine.items.travel import Frame, PackedError, Parcel, pack, pack_error, unpack
from data_engine.engine.shares import Share
from data_engine.errors import ClusterError, FlowValidationError
from data_engine.files import rename_folder
from data_engine.storage_version import lead_below
from data_engine.version import __version__
from data_engine.workspace.layout import WorkspaceLayout

_TRIES = 2
_ASK_EVERY_S = 1.0
_LOOK_EVERY_S = 0.3
_IDLE_S = 60.0

Outcome = tuple[str, Any]
"""How an item ended: "done" and its parcel, "failed" and its packed error, "died" and the cause."""


class Payload(NamedTuple):
    """What the tasks of one map have in common. `files` are the workspace's modules by their paths, of `package`."""

    run: str
    topic: str
    version: str
    task: Task
    keeps_errors: bool
    workspace: WorkspaceOf
    places: Parcel
    package: str | None
    files: dict[str, bytes]
    at_host: dict[str, int]


def run_chunk(payload: bytes, chunk: bytes) -> bytes:
    """The outcomes of the items, in order, up to the first that failed where errors are not kept, and the seconds it took. None in place
    of the outcomes where the owner refuses to let them begin, as they were lost with another process before: Dask gives a lost task to
    the next worker again and again, and to one that came back under the same address.
    """
    from distributed import get_worker

    worker = get_worker()
    begun_s = time.perf_counter()
    job: Payload = pickle.loads(payload)
    items: list[Parcel] = pickle.loads(chunk)
    outcomes: list[Outcome] = []
    try:
        prepared = _prepared(job, worker.address)
    except FlowValidationError as error:
        return pickle.dumps(([("failed", pack_error(error))] * len(items), 0.0))
    talk = _Talk(worker, job)
    if not talk.may_begin():
        return pickle.dumps((None, 0.0))
    for item in items:
        if outcomes and not talk.may_go_on():
            break
        outcomes.append(_run_item(worker, job, prepared, item, talk))
        if outcomes[-1][0] != "done" and not job.keeps_errors:
            break
    return pickle.dumps((outcomes, time.perf_counter() - begun_s))


def close_run(run: str) -> None:
    """Let the processes of a run end; others get ready for the next one."""
    _node().close_run(run)


def reply(question: str, content: bytes) -> None:
    """Give the answer to a question that a task here waits for."""
    waiting = _node().questions.get(question)
    if waiting is not None:
        waiting.put(content)


def _run_item(worker: Any, job: Payload, task: Task, item: Parcel, talk: _Talk) -> Outcome:
    node = _node()
    for number in range(1, _TRIES + 1):
        with node.process(worker, job) as process:
            try:
                is_done, content = process.run(task, item, Home(talk.tell, talk.answer))
            except ProcessEnded as ended:
                if number == _TRIES:
                    return "died", ended.cause
                talk.tell(("again", item, ended.cause))
            else:
                return ("done" if is_done else "failed"), content
    raise AssertionError("never reached")


def _prepared(job: Payload, address: str) -> Task:
    """The task as it is run here.

    Raises:
        FlowValidationError: another version, or this node does not see what the flow works with; names it.
    """
    require_version(job.version, address)
    root = workspace_here(job.workspace, address)
    require_places(unpack(job.places, root=root), address)
    around = {**job.task.around, "root": root, "ask_every_s": _ASK_EVERY_S, "folder": None, "modules": []}
    del around["sys_path"]
    around["folder"] = str(root / "flow_modules")
    if around["databases"] is not None:
        around["databases"] = (around["databases"][0], lead_below(root))
    if job.package is not None:
        around["modules"] = [(job.package, root / "flow_modules", _content(job.files))]
    return job.task._replace(around=around)


def _content(files: dict[str, bytes]) -> Path:
    """A folder of this node with the modules; those of the same content share one."""
    import hashlib

    digest = hashlib.sha256(
        repr(sorted((name, hashlib.sha256(data).digest()) for name, data in files.items())).encode()
    )
    folder = _node().folder / digest.hexdigest()[:24]
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


class _Talk:
    """What the items of one task tell and ask."""

    def __init__(self, worker: Any, job: Payload) -> None:
        self._worker, self._job, self._key = worker, job, worker.get_current_task()
        self._asked_s = time.monotonic()

    def tell(self, frame: Frame) -> None:
        """Send what an item told."""
        self._worker.log_event(self._job.topic, pickle.dumps((self._job.run, frame)))

    def answer(self, question: str, arguments: Parcel) -> tuple[bool, Parcel | PackedError]:
        """Ask the owner."""
        self._asked_s = time.monotonic()
        number, waiting = uuid.uuid4().hex, SimpleQueue[bytes]()
        node = _node()
        node.questions[number] = waiting
        try:
            self.tell(("ask", number, self._worker.address, question, arguments))
            while True:
                try:
                    return pickle.loads(waiting.get(timeout=_LOOK_EVERY_S))  # type: ignore[no-any-return]
                except Empty:
                    if is_cancelled(self._worker, self._key):
                        return False, pack_error(ClusterError("the run is gone", where=self._worker.address))
        finally:
            del node.questions[number]

    def may_begin(self) -> bool:
        """Whether the items of the task may begin here."""
        is_answered, _ = self.answer("may_begin", pack(self._key, "a question"))
        return is_answered

    def may_go_on(self) -> bool:
        """Whether the next item may begin; asked now and then."""
        if time.monotonic() - self._asked_s < _ASK_EVERY_S:
            return True
        return self.answer("may_work", pack((), "a question"))[0]


class _Node:
    """The processes of this node."""

    def __init__(self) -> None:
        self.questions: dict[str, SimpleQueue[bytes]] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="data-engine-node-"))
        self._lock = threading.Lock()
        self._spares: list[ItemProcess] = []
        self._free: dict[str, list[ItemProcess]] = {}
        self._used_s: dict[str, float] = {}
        self._active: dict[int, tuple[Any, str, ItemProcess]] = {}
        self._most = 1
        self._share = Share.of(1)
        self._spawner = ThreadPoolExecutor(1, thread_name_prefix="data-engine-spawner")  # outlives all it starts
        threading.Thread(target=self._watch, name="data-engine-watch", daemon=True).start()

    @contextmanager
    def process(self, worker: Any, job: Payload) -> Iterator[ItemProcess]:
        """A process of the run for one item of the task that this thread runs."""
        with self._lock:
            self._most = worker.state.nthreads
            self._share = Share.of(max(job.at_host.get(host_of(worker.address), 1), self._most))
            free = self._free.setdefault(job.run, [])
            process = next((one for one in iter(lambda: free.pop() if free else None, None) if one.is_there), None)
            while process is None and self._spares:
                spare = self._spares.pop()
                process = spare if spare.is_there else None
        process = process or self._spawner.submit(self._new).result()
        me = threading.get_ident()
        with self._lock:
            self._active[me] = (worker, worker.get_current_task(), process)
        try:
            yield process
        finally:
            with self._lock:
                del self._active[me]
                self._used_s[job.run] = time.monotonic()
                if job.run in self._free and process.is_idle:
                    self._free[job.run].append(process)
                    process = None
            if process is not None:
                process.kill()
                process.close()

    def close_run(self, run: str) -> None:
        """End what the run has, and let as many fresh ones get ready."""
        with self._lock:
            ended = self._free.pop(run, [])
            self._used_s.pop(run, None)
        for process in ended:
            process.begin_to_close()
        self._spawner.submit(self._after_run, ended)

    def _after_run(self, ended: list[ItemProcess]) -> None:
        for process in ended:
            process.close()
        with self._lock:
            self._spares = [one for one in self._spares if one.is_there]
            missing = self._most - len(self._spares)
        for _ in range(missing):
            process = self._new()
            with self._lock:
                self._spares.append(process)

    def _new(self) -> ItemProcess:
        environment = {**os.environ, **self._share.environment(os.environ), IN_ITEM: "1"}
        return ItemProcess(None, environment, duckdb_threads=self._share.threads)

    def _watch(self) -> None:
        """End what nobody wants any more."""
        while True:
            time.sleep(_LOOK_EVERY_S)
            with self._lock:
                active = list(self._active.values())
                now_s = time.monotonic()
                idle = [run for run, at_s in self._used_s.items() if now_s - at_s > _IDLE_S]
            for worker, key, process in active:
                if is_cancelled(worker, key):
                    process.kill()
            for run in idle:
                if not active:
                    self.close_run(run)


def _node() -> _Node:
    global _only
    with _making:
        if _only is None:
            _only = _Node()
        return _only


_only: _Node | None = None
_making = threading.Lock()


class WorkspaceOf(NamedTuple):
    """The workspace as its owner has it: the folder, and its identity."""

    root: str
    identity: str


def workspace_here(workspace: WorkspaceOf, address: str) -> Path:
    """Where this node has the workspace: where DATA_ENGINE_WORKSPACE_ROOT says, or under the owner's path.

    Raises:
        ClusterError: nowhere.
    """
    said = os.environ.get("DATA_ENGINE_WORKSPACE_ROOT", "").strip()
    tried = [Path(one) for one in (said, workspace.root) if one]
    for root in tried:
        if (root / "flow_modules").is_dir() and _identity_at(root) in (None, workspace.identity):
            return root
    raise ClusterError(
        f"the cluster's worker {address} does not see the workspace at {' or '.join(map(str, tried))}",
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


def require_version(version: str, address: str) -> None:
    """Return when the owner has the same Data Engine as this node.

    Raises:
        ClusterError: it has another.
    """
    if version != __version__:
        raise ClusterError(
            f"the cluster's worker {address} has Data Engine {__version__}, and this machine {version}",
            where=address,
            fix="install the same version on both",
        )


def host_of(address: str) -> str:
    """The host in a worker's address.

    Example:
        >>> host_of("tls://10.0.0.7:4711")
        '10.0.0.7'
    """
    return address.rpartition("://")[2].rpartition(":")[0]


def is_cancelled(worker: Any, key: str) -> bool:
    """Whether nobody wants the result of a task any more: it was cancelled, or its client is gone."""
    task = worker.state.tasks.get(key)
    return task is None or task.state in ("cancelled", "resumed")

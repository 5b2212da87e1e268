"""Items on a Dask cluster: tasks of several items each, which drive processes of ours on its nodes (`node.py`)."""

from __future__ import annotations

import pickle
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.items import node, threads
from data_engine.engine.items.connection import Connection
from data_engine.engine.items.far_call import FarCall
from data_engine.engine.items.node import Payload, WorkspaceOf
from data_engine.engine.items.processes import died, mark_unseen
from data_engine.engine.items.travel import pack, unpack, unpack_error
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import ClusterError
from data_engine.flow.batch import ItemError
from data_engine.flow.control import ItemCall, ItemFailed, RunInterrupted, StepControl, ends_run
from data_engine.version import __version__

_CHECK_EVERY_S = 0.1
_TASK_S = 0.3
_MOST_IN_TASK = 64
_WAIT_FOR_WORKERS_S = 5.0
_SMALL_BYTES = 64 * 1024
_TRIES = 2


class Cluster:
    """Items on the cluster that `connect` leads to."""

    def __init__(self, connect: Callable[[], Connection], home: LocalWorkspace) -> None:
        self._connect, self._home = connect, home
        self._run = uuid.uuid4().hex
        self._connection: Connection | None = None

    def spread(
        self,
        call: Callable[[Any], Any],
        items: Sequence[Any],
        max_parallel: int,
        keep_errors: bool,
        step: StepControl,
    ) -> list[Any]:
        """As `threads.spread`, with each item on a node.

        Raises:
            FlowValidationError: what is called cannot leave this process.
            ClusterError: the cluster cannot be reached, or was lost.
        """
        if max_parallel <= 1 or len(items) <= 1:
            return threads.spread(call, items, 1, keep_errors, step)
        mark_unseen()
        connection = self._connection = self._connect()
        return _Spread(self._run, connection, self._home, call, items, max_parallel, keep_errors, step).results()

    def close(self) -> None:
        """Let the run's processes on the nodes end."""
        if self._connection is not None and self._connection.is_there:
            with suppress(Exception):
                self._connection.client.run(node.close_run, self._run)


class _Spread:
    """One map on a cluster."""

    def __init__(
        self,
        run: str,
        connection: Connection,
        home: LocalWorkspace,
        call: Callable[[Any], Any],
        items: Sequence[Any],
        max_parallel: int,
        keep_errors: bool,
        step: StepControl,
    ) -> None:
        self._run, self._connection, self._step = run, connection, step
        self._items, self._keep_errors = items, keep_errors
        root = home.layout.root
        is_private = str(connection.client.scheduler.address).startswith("tls")
        self._far = FarCall(call, step, root=root, with_secrets=is_private)
        workers = connection.workers()
        at_host: dict[str, int] = {}
        for worker in workers.values():
            at_host[worker["host"]] = at_host.get(worker["host"], 0) + worker["nthreads"]
        self._lanes = min(max_parallel, sum(at_host.values()) or max_parallel, len(items))
        context = call.context if isinstance(call, ItemCall) else None
        places = []
        if context is not None and context.source is not None:
            places.append(("source", context.source.root))
        if context is not None and context.mirror is not None:
            places.append(("mirror", context.mirror.final_root))
        modules = home.modules()
        package, files = _modules_of(call, modules.package, self._far.task.around["modules"])
        payload = Payload(
            run,
            connection.topic,
            __version__,
            self._far.task,
            keep_errors,
            WorkspaceOf(str(root), home.local.identity),
            pack(places, "the places", root=root),
            package,
            files,
            at_host,
        )
        content = pickle.dumps(payload)
        self._payload: Any = content
        if len(content) > _SMALL_BYTES:
            self._payload = connection.client.scatter(content, hash=False)
        self._pending: dict[Any, list[int]] = {}
        self._ended: SimpleQueue[Any] = SimpleQueue()
        self._outcomes: dict[int, Any] = {}
        self._failed: dict[int, BaseException] = {}
        self._mean_s: float | None = None
        self._next = self._done = 0
        self._alone: list[int] = []
        self._keys: dict[str, list[int]] = {}
        self._last_at: dict[str, str] = {}
        self._tries, self._losses = [0] * len(items), [0] * len(items)
        self._lost_at: dict[int, str] = {}

    def results(self) -> list[Any]:
        """What the items gave, in order."""
        frames: SimpleQueue[Any] = SimpleQueue()
        self._connection.hear(self._run, frames.put)
        home = threading.Thread(target=copy_context().run, args=(self._listen, frames), name="map", daemon=True)
        home.start()
        try:
            try:
                self._go_through()
            except RunInterrupted:
                self._let_end()
                raise
            except BaseException:
                self._cancel()
                raise
        finally:
            self._connection.hear(self._run, None)
            frames.put(None)
            home.join()
            self._far.close()
        if self._failed:
            index = min(self._failed)
            error = self._failed[index]
            if ends_run(error):
                raise error
            raise ItemFailed(index, len(self._items), self._items[index], error) from error
        return [self._outcomes[index] for index in range(len(self._items))]

    def _go_through(self) -> None:
        total, step = len(self._items), self._step
        heard_s = time.monotonic()
        is_told = False
        while self._pending or ((self._next < total or self._alone) and not self._failed):
            while (self._next < total or self._alone) and len(self._pending) < self._lanes and not self._failed:
                step.may_work()
                self._submit()
            try:
                future = self._ended.get(timeout=_CHECK_EVERY_S)
            except Empty:
                step.may_work()
                self._require_scheduler()
                if not is_told and time.monotonic() - heard_s > _WAIT_FOR_WORKERS_S and not self._connection.workers():
                    is_told = True
                    self._far.say(f"waits for a worker at {self._connection.scheduler.name}: it has none", "WARNING")
                continue
            heard_s = time.monotonic()
            self._take(future)
            step.progress(self._done, total)

    def _submit(self) -> None:
        if self._alone:
            indices = [self._alone.pop(0)]
        else:
            left = len(self._items) - self._next
            most = 1 if self._mean_s is None else int(_TASK_S / max(self._mean_s, 1e-6))
            count = max(1, min(most, _MOST_IN_TASK, -(-left // (2 * self._lanes))))
            indices = list(range(self._next, self._next + count))
            self._next += count
        chunk = pickle.dumps([self._far.pack(self._items[index]) for index in indices])
        key = f"data-engine-items-{uuid.uuid4().hex}"
        self._keys[key] = indices
        future = self._connection.client.submit(node.run_chunk, self._payload, chunk, pure=False, key=key)
        self._pending[future] = indices
        future.add_done_callback(self._ended.put)

    def _take(self, future: Any) -> None:
        indices = self._pending.pop(future, None)
        if indices is None:
            return
        from distributed import KilledWorker

        try:
            outcomes, elapsed_s = pickle.loads(future.result(timeout=_CHECK_EVERY_S * 100))
        except KilledWorker as error:
            address = getattr(error, "last_worker", None)
            self._lose(indices, str(getattr(address, "address", address)))
            return
        except Exception as error:
            self._require_scheduler()
            raise ClusterError(
                f"a task of the cluster failed: {type(error).__name__}: {error}",
                where=self._connection.scheduler.name,
                fix="see the workers' logs; `data-engine doctor` measures the cluster",
            ) from error
        if outcomes is None:
            self._lose(indices, self._last_at[future.key])
            return
        if outcomes:
            self._mean_s = elapsed_s / len(outcomes)
        for index, outcome in zip(indices, outcomes, strict=False):
            self._settle(index, outcome)
        for index in [] if self._failed else indices[len(outcomes) :]:  # where it was not sure that they may begin
            self._tries[index] = 0
            self._alone.append(index)

    def _may_begin(self, key: str, address: str) -> bool:
        """Whether the items of a task may begin at a worker: each begins at most twice, the second time alone, so that it is certain
        which one ended the worker."""
        indices, lost_at = self._keys[key], self._last_at.get(key)
        if any(self._tries[index] >= _TRIES for index in indices) or (lost_at is not None and len(indices) > 1):
            self._last_at.setdefault(key, address)
            return False
        for index in indices:
            self._tries[index] += 1
            if self._tries[index] == _TRIES:
                self._far.say_again(self._items[index], _lost(lost_at or self._lost_at[index]))
        self._last_at[key] = address
        return True

    def _lose(self, indices: list[int], address: str) -> None:
        """The worker that had these items is gone; those that may have ended it are tried once more, each alone."""
        for index in indices:
            self._losses[index] += 1
            self._lost_at[index] = address
            if max(self._tries[index], self._losses[index]) < _TRIES:
                self._alone.append(index)
            else:
                self._settle(index, ("died", _lost(address)))

    def _settle(self, index: int, outcome: tuple[str, Any]) -> None:
        word, content = outcome
        self._done += 1
        error: BaseException
        if word == "done":
            self._outcomes[index] = self._far.outcome(True, content)
            return
        error = died(content, _TRIES) if word == "died" else unpack_error(content, root=self._far.root)
        if self._keep_errors and not ends_run(error) and not isinstance(error, ClusterError):
            self._outcomes[index] = ItemError(self._items[index], error)
        else:
            self._failed[index] = error

    def _require_scheduler(self) -> None:
        """Raise where nobody will ever tell how the tasks ended.

        Raises:
            ClusterError: the scheduler is gone, or has forgotten them.
        """
        lost = [future for future in self._pending if future.status in ("lost", "cancelled")]
        if lost or not self._connection.is_there:
            raise ClusterError(
                f"the scheduler {self._connection.scheduler.name} was lost while items ran",
                where=self._connection.scheduler.name,
                fix="make sure that it runs, and run the flow again",
            )

    def _let_end(self) -> None:
        """Return when the items that run have ended; they end at the next time they tell how far they are."""
        while self._pending and self._connection.is_there:
            with suppress(Empty):
                self._pending.pop(self._ended.get(timeout=_CHECK_EVERY_S), None)

    def _cancel(self) -> None:
        """End what runs, now."""
        if self._pending and self._connection.is_there:
            with suppress(Exception):
                self._connection.client.cancel(list(self._pending), force=True)

    def _listen(self, frames: SimpleQueue[Any]) -> None:
        """Take what the items tell, and answer what they ask."""
        while (frame := frames.get()) is not None:
            match frame:
                case ("ask", number, address, question, arguments):
                    if question == "may_begin":
                        key = unpack(arguments, is_last=False, root=self._far.root)
                        answer = pickle.dumps((self._may_begin(key, address), None))
                    else:
                        answer = pickle.dumps(self._far.answer(question, arguments))
                    with suppress(Exception):
                        self._connection.client.run(node.reply, number, answer, workers=[address])
                case ("again", item, cause):
                    self._far.say_again(self._far.outcome(True, item), cause)
                case _:
                    self._far.tell(frame)


def _lost(address: str) -> Cause:
    return Cause("worker_lost", {"worker": address})


def _modules_of(
    call: Any, package: str, registered: list[tuple[str, Path, Path]]
) -> tuple[str | None, dict[str, bytes]]:
    """The package of the workspace's modules that a map's function is from, and their files as they were read."""
    fn = call.fn if isinstance(call, ItemCall) else call
    name = str(getattr(fn, "__module__", None) or "").rpartition(".")[0] or package
    contents = {one: content for one, _, content in registered}
    found = next((one for one in (name, package) if one in contents), None)
    if found is None:
        return None, {}
    content = contents[found]
    paths = [*content.glob("*.py"), *(path for path in content.glob("flow_helpers/**/*") if path.is_file())]
    files = {
        path.relative_to(content).as_posix(): path.read_bytes() for path in paths if "__pycache__" not in path.parts
    }
    return found, files

"""Run items in processes of this machine: started when a run first needs them, kept warm until it ends. `worker` is the other side."""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.answering_process import AnsweringProcess, NoAnswer
from data_engine.cause import Cause, cause_of_death
from data_engine.engine.access.access_log import active_logs, current_files
from data_engine.engine.access.file_events import ChangeRefusedError, current_guard
from data_engine.engine.items import threads
from data_engine.engine.items.threads import IN_ITEM, ThreadShare
from data_engine.engine.items.travel import (
    Frame,
    PackedError,
    Payload,
    answer,
    facts_of,
    pack,
    pack_error,
    unpack,
    unpack_error,
)
from data_engine.engine.kept_tables import kept_so_far, take_rows
from data_engine.errors import ProcessDiedError
from data_engine.flow.context import FlowContext
from data_engine.flow.control import ItemCall, ItemMap, StepControl
from data_engine.flow.steps import item_text
from data_engine.keeping import item_order, keeping
from data_engine.notebook.load import registered_modules
from data_engine.platforms.processes import memory_kills
from data_engine.secret import learn
from data_engine.storage_version import new_databases_here

TRIES = 2
_ASK_EVERY_S = 0.05
_WORKER = "data_engine.engine.items.worker:main"


class Task(NamedTuple):
    """The function of a map: packed, with the `names` for its log lines and its surroundings in another process.

    `number` is its own in this process.
    """

    number: int
    content: Payload
    names: dict[str, Any]
    around: dict[str, Any]


def surroundings() -> dict[str, Any]:
    """The surroundings of code in this process, to be the same in another of this machine."""
    return {
        "folder": _folder(),
        "root": None,
        "ask_every_s": _ASK_EVERY_S,
        "sys_path": list(sys.path),
        "argv": list(sys.argv),
        "modules": registered_modules(),
        "databases": new_databases_here(),
        "log_level": logging.root.getEffectiveLevel(),
    }


class Home(NamedTuple):
    """The run's end of the connection to a process.

    `tell` takes an event, a written text or a log record; `answer` gives the content of an answer frame.
    """

    tell: Callable[[Frame], None]
    answer: Callable[[str, Payload], tuple[bool, Payload | PackedError]]


class ProcessEnded(Exception):
    """The process ended while it ran an item; `cause` says how."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.text)
        self.cause = cause


class ItemProcess:
    """A process that is started here and ends with `close` or `kill`, or with this one.

    `folder` is where large results are put, where both processes see it; `environment` what it is started with. The thread that makes it must live as
    long.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, folder: Path | None, environment: Mapping[str, str]) -> None:
        self._memory_kills = memory_kills()
        arguments = [str(os.getpid())] if folder is None else [str(os.getpid()), str(folder)]
        self._process = AnsweringProcess(
            _WORKER, *arguments, environment=environment, stderr=_stderr(), owns_session=True
        )
        self.pid = self._process.pid
        self._tasks: set[int] = set()
        self._is_killed = self._is_running = False

    @property
    def is_there(self) -> bool:
        """Whether it has not ended."""
        return self._process.is_there

    @property
    def is_idle(self) -> bool:
        """Whether it is there and waits for an item."""
        return not self._is_running and self.is_there

    def run(self, task: Task, item: Payload, home: Home) -> tuple[bool, Payload | PackedError]:
        """Whether the task was done for the item, and its packed result or error.

        Raises:
            ProcessEnded: the process has ended before it was done.
        """
        self._is_running = True
        if task.number not in self._tasks:
            self._tasks.add(task.number)
            self._send("task", *task)
        self._send("item", task.number, item)
        while True:
            try:
                frame = pickle.loads(self._process.receive())
            except NoAnswer as ended:
                raise ProcessEnded(self._cause(ended)) from None
            match frame:
                case ("done" | "failed" as word, content):
                    self._is_running = False
                    return word == "done", content
                case ("ask", question, arguments):
                    self._send("answer", *home.answer(question, arguments))
                case _:
                    home.tell(frame)

    def forget(self, number: int) -> None:
        """Let it forget a task."""
        if number in self._tasks:
            self._tasks.discard(number)
            self._send("forget", number)

    def kill(self) -> None:
        """End it now, with all it started."""
        self._is_killed = True
        self._process.end()

    def begin_to_close(self) -> None:
        """Let it end, with all it started."""
        self._process.begin_to_close()

    def close(self) -> None:
        """Close it, and return when it is gone."""
        self._process.close()

    def _send(self, *frame: Any) -> None:
        self._process.send(pickle.dumps(frame, protocol=5))

    def _cause(self, ended: NoAnswer) -> Cause:
        if self._is_killed:
            return Cause("kill_requested")
        return cause_of_death(ended.status or 0, lacked_memory=memory_kills() > self._memory_kills)


class ProcessPool:
    """Processes that run items, kept for the next item while they are there. Large results are put into files in `folder`."""

    def __init__(self, share: ThreadShare, folder: Path | None = None) -> None:
        self._share, self._folder = share, folder
        self._all: set[ItemProcess] = set()
        self._free: list[ItemProcess] = []
        self._is_closed = False
        self._lock = threading.Lock()
        # a thread that lives as long as this: on Linux a process ends with the thread that has started it
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="map-processes")

    def warm(self, count: int) -> None:
        """Start processes until there are so many."""
        for _ in range(count - len(self._all)):
            self._free.append(self._starter.submit(self._start).result())

    def run(
        self,
        task: Task,
        item: Payload,
        home: Home,
        on_again: Callable[[Cause], None],
        on_begin: Callable[[ItemProcess], None] = lambda process: None,
    ) -> tuple[bool, Payload | PackedError]:
        """Whether the task was done for the item, and its packed result or error; it is begun once more where its process has died.

        Raises:
            ProcessEnded: its process has died each time, or all were ended.
        """
        for number in range(1, TRIES + 1):
            with self._process() as process:
                on_begin(process)
                try:
                    return process.run(task, item, home)
                except ProcessEnded as ended:
                    if number == TRIES or self._is_closed:
                        raise
                    on_again(ended.cause)
        raise AssertionError("never reached")

    def forget(self, number: int) -> None:
        """Let all processes forget a task."""
        for process in self._all:
            process.forget(number)

    def kill(self) -> None:
        """End all processes now, with what runs in them."""
        self._is_closed = True
        for process in list(self._all):
            process.kill()

    def close(self) -> None:
        """Return when all processes are gone."""
        self._is_closed = True
        for process in list(self._all):
            process.begin_to_close()
        for process in list(self._all):
            process.close()
        self._starter.shutdown()

    @contextmanager
    def _process(self) -> Iterator[ItemProcess]:
        with self._lock:
            free = iter(lambda: self._free.pop() if self._free else None, None)
            process = next((idle for idle in free if idle.is_there), None)
        process = process or self._starter.submit(self._start).result()
        try:
            yield process
        finally:
            with self._lock:
                is_kept = process.is_idle and not self._is_closed
                (self._free.append if is_kept else self._all.discard)(process)
            if not is_kept:
                process.kill()
                process.close()

    def _start(self) -> ItemProcess:
        environment = {**os.environ, **self._share.environment(os.environ), IN_ITEM: "1"}
        process = ItemProcess(self._folder, environment)
        with self._lock:
            self._all.add(process)
        return process


class Processes:
    """Items in at most `most` processes. Maps of one run are gone through by one thread."""

    def __init__(self, most: int, *, cores: int | None = None) -> None:
        self._most, self._cores = most, cores
        self._folder: Path | None = None
        self._pool: ProcessPool | None = None
        self._share = ThreadShare.of(most, cores=cores)

    def spread(self, work: ItemMap) -> list[Any]:
        """As `threads.spread`, with each item in a process.

        Raises:
            FlowValidationError: what is called cannot leave this process.
        """
        if work.max_parallel <= 1 or len(work.items) <= 1:
            return threads.spread(work)
        at_once = min(work.max_parallel, self._most, len(work.items))
        mark_unseen()
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="data-engine-items-"))
        far = RemoteCall(work.call, work.step, folder=self._folder)
        if self._pool is None:
            self._share = ThreadShare.of(at_once, cores=self._cores)
            self._pool = ProcessPool(self._share, self._folder)
        pool = self._pool
        pool.warm(at_once)
        self._share.tell_once(work.step.log, at_once)
        try:
            far_work = replace(work, call=lambda item: _run(pool, far, item), max_parallel=at_once)
            return threads.spread(far_work, give_up=pool.kill)
        finally:
            far.close()
            pool.forget(far.task.number)

    def close(self) -> None:
        """Return when all processes are gone."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)


def _run(pool: ProcessPool, far: RemoteCall, item: Any) -> Any:
    parcel = far.pack(item)
    try:
        is_done, content = pool.run(far.task, parcel, far.home, lambda cause: far.say_again(item, cause))
    except ProcessEnded as ended:
        raise died(ended.cause) from None
    finally:
        if parcel.file is not None:
            Path(parcel.file).unlink(missing_ok=True)
    return far.outcome(is_done, content)


def died(cause: Cause) -> ProcessDiedError:
    """The error of an item whose process has died each time."""
    return ProcessDiedError(
        f"{cause.text} (tried {TRIES} times, each in a process of its own)",
        where='Flow.map with [executor] kind = "processes" or "dask"',
        fix="run this item alone with max_parallel=1 to see what ends the process; memory is the most frequent reason",
    )


def mark_unseen() -> None:
    """Note for a preview that the reads of the items are not seen here."""
    for log in active_logs():
        log.mark_unseen("its items, which ran in other processes")


_FETCHED = ("current", "objects", "metadata")


class RemoteCall:
    """One map of a run, as other processes run its items.

    Large values travel through files in `folder`, where both ends see one; paths below `root` by their part inside it; secrets
    only `with_secrets`. Two threads and more may use it at once.

    Raises:
        FlowValidationError: what is called cannot leave this process.
    """

    def __init__(
        self,
        call: Callable[[Any], Any],
        step: StepControl,
        *,
        folder: Path | None = None,
        root: Path | None = None,
        with_secrets: bool = True,
    ) -> None:
        self._step, self._folder, self.root, self._with_secrets = step, folder, root, with_secrets
        self.context: FlowContext | None = call.context if isinstance(call, ItemCall) else None
        fn = call.fn if isinstance(call, ItemCall) else call
        facts = None if self.context is None else facts_of(self.context)
        self._guard = current_guard()
        names = {"run_id": step.run_id, "flow": step.flow, "index": step.index, "label": step.label}
        self._run, self._files = keeping.get(), current_files()
        content = self._pack(
            (fn, facts, self._guard, kept_so_far(self._run)), f"the function {getattr(fn, '__name__', '')}".strip()
        )
        self.task = Task(next(_numbers), content, names, surroundings() | {"with_secrets": with_secrets})
        self.home = Home(self.tell, self.answer)
        self._answers: dict[tuple[Any, ...], Payload] = {}
        self._lock = threading.Lock()

    def pack(self, item: Any) -> Payload:
        """Pack the item of this context, with its order among the calls that give rows for tables.

        Raises:
            FlowValidationError: it cannot.
        """
        return self._pack(item, "the item")._replace(order=item_order.get())

    def outcome(self, is_done: bool, content: Any) -> Any:
        """The result of an item; its error is raised."""
        if is_done:
            return unpack(content, root=self.root)
        error = unpack_error(content, root=self.root)
        if self._guard is not None and isinstance(error, ChangeRefusedError):
            self._guard.refused.append(error)
        raise error

    def say_again(self, item: Any, cause: Cause) -> None:
        """Log that an item is tried once more."""
        self._step.log(f"item {item_text(item)} is tried once more: {cause.text}", "WARNING")

    def tell(self, frame: Frame) -> None:
        """Handle a frame of an item: an event, a text it wrote, a log record."""
        match frame:
            case ("event", event):
                self._step.emit(event)
            case ("written", paths):
                if self._guard is not None:
                    self._guard.note_written(paths)
            case ("rows", content):
                if self._run is not None:
                    take_rows(self._run, *unpack(content, root=self.root))
            case ("read", content):
                if self._files is not None:
                    for path, cell, reference in unpack(content, root=self.root):
                        self._files.take(str(path), cell, reference)
            case ("lost", names):
                for name in names:
                    if name not in self._step.lost:
                        self._step.lost.add(name)
                        self._step.log(
                            f"items changed {name}, and ran in other processes: what they change there does not come back."
                            " Let the function return it, and put it together in a step behind the map",
                            "WARNING",
                        )
            case ("text", name, text):
                stream = sys.stdout if name == "out" else sys.stderr
                if stream is not None:
                    stream.write(text)
            case ("record", record):
                logger = logging.getLogger(record.name)
                if logger.isEnabledFor(record.levelno):
                    logger.handle(record)

    def answer(self, question: str, arguments: Payload) -> tuple[bool, Payload | PackedError]:
        """The answer to an item's question; an error here is raised there."""
        try:
            return True, self._answer(question, unpack(arguments, root=self.root))
        except BaseException as error:
            return False, pack_error(error, root=self.root)

    def close(self) -> None:
        """Remove the files of fetched objects."""
        for parcel in self._answers.values():
            if parcel.file is not None:
                Path(parcel.file).unlink(missing_ok=True)

    def _answer(self, question: str, arguments: tuple[Any, ...]) -> Payload:
        if question == "may_work":
            self._step.may_work()
            return pack(None, question)
        if question == "learn":
            learn(*arguments)  # it is hidden here too before anybody there has it
            return pack(None, question)
        assert self.context is not None
        if question not in _FETCHED:
            return self._pack(answer(self.context, question, arguments), f"context.{question}")
        with self._lock:  # an object is packed once for all
            key = (question, *arguments)
            if key not in self._answers:
                what = f"context.{question}" + (f"[{arguments[0]!r}]" if arguments else "")
                self._answers[key] = self._pack(answer(self.context, question, arguments), what)
            return self._answers[key]

    def _pack(self, value: object, what: str) -> Payload:
        return pack(value, what, folder=self._folder, root=self.root, with_secrets=self._with_secrets)


_numbers = count(1)


def _folder() -> str | None:
    with suppress(OSError):
        return os.getcwd()
    return None


def _stderr() -> Any:
    """The stream where this process writes its errors, as far as a child can use it."""
    with suppress(OSError, ValueError, AttributeError):
        os.fstat(2)
        return None
    return subprocess.DEVNULL

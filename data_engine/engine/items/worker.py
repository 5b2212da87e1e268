"""A process that runs the items of maps, one at a time, for the run that started it; `processes` is the other side.

What C code or a child writes goes to the run's standard error. It ends when the run's process does, with what it has started.
"""

from __future__ import annotations

import builtins
import faulthandler
import io
import logging
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from data_engine import secret
from data_engine.answering_process import ParentProcess
from data_engine.engine.access.file_events import FileGuard, failing_when_refused, guarding
from data_engine.engine.items.threads import limit_duckdb
from data_engine.engine.items.travel import (
    FarContext,
    Frame,
    LostChanges,
    Payload,
    pack,
    pack_error,
    unpack,
    unpack_error,
)
from data_engine.engine.kept_inputs import ITEM_LOCALS, locals_of
from data_engine.engine.kept_tables import KeptSoFar, rows_of_item
from data_engine.flow.control import StepControl
from data_engine.model import Event
from data_engine.platforms import parent
from data_engine.storage_version import new_databases

_LONGEST_LINE = 64 * 1024


def main(asker: ParentProcess, run_pid: str, folder: str | None = None) -> None:
    """Run items until the run, whose process is `run_pid`, is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable(file=2)
    parent.end_with(int(run_pid))
    worker = _Worker(asker, None if folder is None else Path(folder))
    asker.listen(worker.take)
    worker.work()


class _Worker:
    """The process's side of the connection. It puts large results into files in `folder`, where the run sees one."""

    def __init__(self, asker: ParentProcess, folder: Path | None) -> None:
        self._asker, self._folder = asker, folder
        self._inbox: SimpleQueue[Frame] = SimpleQueue()
        self._answers: SimpleQueue[Frame] = SimpleQueue()
        self._ask_lock = threading.Lock()
        self._tasks: dict[int, Callable[[Any], Any]] = {}
        self._changes: dict[int, LostChanges] = {}
        self._kept: dict[int, KeptSoFar | None] = {}
        self._root: Path | None = None
        self._with_secrets = True
        self._is_in_item = False
        self._ask_every_s = self._asked_s = 0.0
        self._imports = _Imports()
        self._texts = (_Text(self, "out"), _Text(self, "err"))
        sys.stdout, sys.stderr = self._texts
        logging.root.addHandler(_Records(self))
        secret.listeners.append(self._tell_secret)
        limit_duckdb()

    def take(self, message: bytes) -> None:
        """Take a frame of the run."""
        frame: Frame = pickle.loads(message)
        (self._answers if frame[0] == "answer" else self._inbox).put(frame)

    def work(self) -> None:
        """Handle one frame after the other."""
        while True:
            kind, *content = self._inbox.get()
            if kind == "forget":
                self._tasks.pop(content[0], None)
                self._changes.pop(content[0], None)
            elif kind == "task":
                self._tasks[content[0]] = self._task(*content)
            else:
                self._item(*content)

    def _task(
        self, number: int, content: Payload, names: dict[str, Any], around: dict[str, Any]
    ) -> Callable[[Any], Any]:
        """The function to call for each item."""
        logging.root.setLevel(around["log_level"])
        sys.path[:] = around.get("sys_path", sys.path)
        sys.argv[:] = around["argv"]
        self._root, self._ask_every_s = around["root"], around["ask_every_s"]
        self._with_secrets = around["with_secrets"]
        try:
            if around["folder"] is not None:
                os.chdir(around["folder"])
            self._imports.serve(around["modules"])
            fn, facts, guard, self._kept[number] = unpack(content, is_last=False, root=self._root)
            self._changes[number] = LostChanges(fn)
        except BaseException as error:
            failure = error  # the first item tells it

            def fail(item: Any) -> Any:
                raise failure

            return fail
        guarded = _as_in_run(fn, guard, around["databases"], self.tell, self._tell_read)
        if facts is None:
            return guarded(fn)
        control = StepControl(emit=self._emit, may_work=self._may_work, **names)
        context = FarContext(facts, control, self._ask)
        return guarded(lambda item: fn(context, item))

    def _item(self, task: int, item: Payload) -> None:
        self._asked_s = time.monotonic()
        answer: Frame
        self._is_in_item = True
        try:
            value = unpack(item, is_last=False, root=self._root)
            with rows_of_item(self._kept.get(task), item.order, self._tell_rows):
                result = self._tasks[task](value)
            answer = (
                "done",
                pack(result, "the result", folder=self._folder, root=self._root, with_secrets=self._with_secrets),
            )
        except BaseException as error:
            with suppress(Exception):  # an object of the author's that cannot be looked at
                setattr(error, ITEM_LOCALS, locals_of(error))
            answer = ("failed", pack_error(error, root=self._root))
        self._is_in_item = False
        for text in self._texts:
            text.flush()
        if task in self._changes and (names := self._changes[task].names()):
            self.tell("lost", names)
        self.tell(*answer)

    # -- telling and asking --------------------------------------------------------------------------------------------

    def tell(self, *frame: Any) -> None:
        """Send a frame home."""
        self._asker.send(pickle.dumps(frame, protocol=5))

    def _emit(self, event: Event) -> None:
        for text in self._texts:
            text.flush()
        self.tell("event", secret.masked_in(event))

    def _tell_rows(self, calls: list[Any], written: list[Any]) -> None:
        self.tell("rows", pack((calls, written), "kept rows", root=self._root))

    def _tell_read(self, files: list[Any]) -> None:
        self.tell("read", pack(files, "the files that were read", root=self._root))

    def _tell_secret(self, value: str) -> None:
        """Let the run mask a value too, by a private connection; what goes home from here is masked already."""
        if self._with_secrets and self._is_in_item:
            self._ask("learn", (value,))

    def _may_work(self) -> None:
        now_s = time.monotonic()
        if now_s - self._asked_s >= self._ask_every_s:
            self._asked_s = now_s
            self._ask("may_work", ())

    def _ask(self, question: str, arguments: tuple[Any, ...]) -> Any:
        with self._ask_lock:
            self.tell("ask", question, pack(arguments, question, root=self._root))
            _, is_good, content = self._answers.get()
        if not is_good:
            raise unpack_error(content, root=self._root)
        return unpack(content, is_last=False, root=self._root)


def _as_in_run(
    fn: Callable[..., Any],
    guard: FileGuard | None,
    databases: tuple[str, str] | None,
    tell: Callable[[str, Any], None],
    tell_read: Callable[[list[Any]], None],
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """The wrapper by which a function makes databases as its run does, shows its changes to the run's guard, and reports its files."""
    if guard is None and databases is None:
        return lambda call: call
    from data_engine.engine.access.access_log import RunFiles, noting
    from data_engine.engine.access.interceptors import Interceptors, held

    if not _readers:
        _readers.append(Interceptors(of_runs=True))
    _readers[0].open(held([fn]))  # for the life of the process
    told = set[str]()

    def tell_new(files: RunFiles) -> None:
        new = [path for path in files.read if path not in told]
        told.update(new)
        if new:
            tell_read([(Path(path), files.read[path], files.references.get(path)) for path in new])

    def guarded(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def run(item: Any) -> Any:
            with ExitStack() as as_in_run:
                if databases is not None:
                    as_in_run.enter_context(new_databases(*databases))
                    files = RunFiles()
                    as_in_run.callback(tell_new, files)
                    as_in_run.enter_context(noting(files))
                if guard is None:
                    return call(item)
                try:
                    with guarding(guard), failing_when_refused():
                        return call(item)
                finally:
                    guard.refused.clear()
                    if written := guard.written():
                        tell("written", written)

        return run

    return guarded


_readers: list[Any] = []


class _Text(io.TextIOBase):
    """A standard stream: whole lines go to the run, which logs them and shows them where it shows its own."""

    encoding, errors = "utf-8", "backslashreplace"

    def __init__(self, worker: _Worker, name: str) -> None:
        self._worker, self._name = worker, name
        self._lock = threading.RLock()
        self._begun = ""

    def write(self, text: str) -> int:
        with self._lock:
            lines, newline, self._begun = (self._begun + text).rpartition("\n")
            if newline:
                self._worker.tell("text", self._name, secret.masked(f"{lines}\n"))
            else:
                long, self._begun = secret.masked_pieces(self._begun, _LONGEST_LINE)
                if long:
                    self._worker.tell("text", self._name, long)
        return len(text)

    def flush(self) -> None:
        with self._lock:
            begun, self._begun = self._begun, ""
            if begun:
                self._worker.tell("text", self._name, secret.masked(begun))

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1 if self._name == "out" else 2

    def isatty(self) -> bool:
        return False


class _Records(logging.Handler):
    """Sends log records home, where the run's own set-up handles them."""

    def __init__(self, worker: _Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        sent = logging.makeLogRecord(record.__dict__)
        sent.msg, sent.args, sent.exc_info = secret.masked(self.format(record)), None, None
        try:
            pickle.dumps(sent)
        except Exception:
            sent = logging.LogRecord(record.name, record.levelno, record.pathname, record.lineno, sent.msg, None, None)
        self._worker.tell("record", sent)


class _Imports:
    """Import the workspace's modules by name in this process too, and from inside functions that came by value."""

    def __init__(self) -> None:
        self._modules: list[tuple[str, Path, Path]] = []
        self._imports: dict[str, Callable[..., Any]] = {}
        self._plain = builtins.__import__

    def serve(self, registered: list[tuple[str, Path, Path]]) -> None:
        """Make these packages importable."""
        if registered and registered != self._modules:
            from data_engine.notebook.load import register_modules

            builtins.__import__ = self._plain
            self._modules, self._imports = registered, register_modules(registered)
            builtins.__import__ = self._import

    def _import(self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
        package = str((globals or {}).get("__name__") or "").rpartition(".")[0]
        return self._imports.get(package, self._plain)(name, globals, locals, fromlist, level)

"""The worker process: takes jobs from the daemon, runs them one at a time, and sends home what happens.

Started as `python -P -m data_engine.daemon.worker JOURNAL WAY`, by `platforms.child`; `WAY` leads to the daemon. Standard output and
error are pipes the daemon reads, so that what C code, children and a dying interpreter write is kept too. The ledger is the
daemon's: a run begins when its start is in the journal, from which the daemon records it.
"""

from __future__ import annotations

import faulthandler
import gc
import io
import locale
import logging
import os
import signal
import socket
import sys
import threading
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NamedTuple, NoReturn

from data_engine import private, secret
from data_engine.cause import Cause, read_cause
from data_engine.clock import boot_clock
from data_engine.daemon.messages import (
    DESCRIBE_TIMEOUT_S,
    IMPORT_FIX,
    LOAD_TIMEOUT_S,
    Frames,
    Message,
    encode,
    unpack_job,
)
from data_engine.engine.candidates import seen_now
from data_engine.engine.capture import is_captured
from data_engine.engine.items.threads import limit_duckdb
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.recording import readers_watched
from data_engine.engine.run import RunPass
from data_engine.errors import FlowExecutionError, FlowValidationError, LedgerError
from data_engine.flow.control import RunInterrupted
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll
from data_engine.keeping import keeping
from data_engine.ledger.journal import JournalWriter, LastLinesWriter, last_lines_path
from data_engine.model import (
    Event,
    LogLine,
    RunFinished,
    RunStarted,
    SourceKey,
    SourceState,
    StepFinished,
    StepProgress,
)
from data_engine.notebook.catalog import entry_message, find_module, read_catalog
from data_engine.notebook.load import FlowModules
from data_engine.platforms import parent
from data_engine.platforms.processes import at_fork, end_session, has_children, memory_bytes, open_files, stop_timer
from data_engine.scheduler.executor import Job, SourceRun
from data_engine.user_files import end_reading
from data_engine.workspace.layout import LocalLayout, WorkspaceLayout

_TEXTS = encode({"kind": "texts"})
_PROGRESS_EVERY_S = 0.05


def main() -> None:
    """Work until the daemon says goodbye; end at once, with everything started here, when it is gone."""
    try:
        channel, answers = parent.join(sys.argv[2])
    except OSError:
        return  # the daemon is gone
    faulthandler.enable(file=2)
    parent.tell_where_on_signal()
    sys.stdout = sys.__stdout__ = _Screen(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _Screen(2)  # type: ignore[misc]
    journal = Path(sys.argv[1])
    worker = Worker(channel, answers, JournalWriter(journal), LastLinesWriter(last_lines_path(journal)))
    threading.Thread(target=worker.listen, name="daemon", daemon=True).start()
    limit_duckdb()
    with readers_watched():
        worker.work()


class _Screen(io.TextIOWrapper):
    """A worker's standard stream: what a run has already taken as its line is not sent a second time."""

    is_fork = False

    def __init__(self, descriptor: int) -> None:
        file = open(descriptor, "wb", closefd=False)  # noqa: SIM115 - it stays open for the life of the process
        super().__init__(file, encoding="utf-8", errors="backslashreplace", line_buffering=True)

    def write(self, text: str, /) -> int:
        """Send the text, unless the run that prints has it."""
        if is_captured() and not _Screen.is_fork:
            return len(text)
        super().write(secret.masked(text))
        return len(text)


class Worker:
    """One worker process. Jobs are run by the main thread; another one listens to the daemon."""

    def __init__(
        self, channel: socket.socket, answers: socket.socket, journal: JournalWriter, last: LastLinesWriter
    ) -> None:
        self._channel = channel
        self._answers = answers
        self._journal = journal
        self._last = last
        self._send_lock = threading.Lock()
        self._asking_lock = threading.Lock()
        self._journal_lock = threading.Lock()
        self._jobs: SimpleQueue[Message | None] = SimpleQueue()
        self._stops: dict[str, Cause] = {}
        self._job_id: str | None = None
        self._left_job: str | None = None
        self._left_for: Cause | None = None
        self._work_until: float | None = None
        self._load_timeout_s = LOAD_TIMEOUT_S
        self._renewed = threading.Condition()
        self._is_fork = False
        self._run_id: str | None = None
        self._begun = 0
        self._progress_s = 0.0
        self._ended_step: StepFinished | None = None
        self._last_step, self._is_staged = 0, False
        self._flush_c_streams = parent.flush_of_c()
        self._modules: FlowModules | None = None
        self._loaded: dict[str, _Loaded] = {}
        at_fork(in_child=self._be_a_fork)
        secret.listeners.append(self._tell_secret)

    def work(self) -> None:
        """Run the jobs that come, one after the other."""
        hello = self._jobs.get()
        if hello is None:
            return
        self._home = _home(hello)
        runtime_dir = self._home.local.runtime_dir
        private.make_folder(runtime_dir)
        state = ProcessState.now()
        own_threads = {thread.ident for thread in threading.enumerate() if thread.ident is not None}
        own_files = open_files()
        base_bytes = memory_bytes()
        module_count = len(sys.modules)
        gc.collect()
        gc.freeze()  # what is there now stays; looking through it again after each job would cost more than the job
        self._send({"kind": "ready"})
        while (message := self._jobs.get()) is not None:
            if message["kind"] == "end_pass":
                ended = [name for name, loaded in self._loaded.items() if loaded.pass_number == message["pass_number"]]
            else:
                job = unpack_job(message)
                self._send(self._describe(job, message["bad"]) if job.kind == "describe" else self._run(job))
                ended = [job.flow or ""] if job.ends_pass else []
            for name in ended:
                self._forget_module(name)
            state.restore(runtime_dir)
            gc.collect()
            if len(sys.modules) != module_count:
                module_count = len(sys.modules)
                gc.freeze()
            # What a module holds on to is judged when its pass is over: until then its sources share it.
            threads = own_threads | _kept_threads()
            reasons = leaks(threads, own_files, self._home.layout.root, base_bytes) if ended else grown(base_bytes)
            self._send({"kind": "idle", "leaks": reasons})

    def listen(self) -> None:
        """Take what the daemon sends, until it is gone."""
        frames = Frames()
        with suppress(OSError, FlowValidationError):
            while data := self._channel.recv(65536):
                for message in frames.feed(data):
                    self._take(message)
        end_session(os.getpid())
        os._exit(0)

    def _take(self, message: Message) -> None:
        match message["kind"]:
            case "stop":
                with self._renewed:
                    self._stops[message["run_id"]] = read_cause(message["cause"])
                    self._renewed.notify_all()
            case "leave":
                with self._renewed:
                    self._left_job = message["job_id"]
                    self._left_for = None if message["stop_for"] is None else read_cause(message["stop_for"])
                    self._renewed.notify_all()
            case "work_until":
                with self._renewed:
                    self._work_until = message["at_s"]
                    self._renewed.notify_all()
            case "hello":
                parent.let_daemon_go()  # it has noted this process: the next daemon finds it
                self._work_until = message["work_until"]
                self._load_timeout_s = float(message["load_timeout_s"])
                self._jobs.put(message)
            case "bye":
                self._jobs.put(None)
            case _:
                self._jobs.put(message)

    def _run(self, job: Job) -> Message:
        """Run every source of the job; the answer."""
        self._begun = 0
        self._job_id = job.job_id
        parent.tell_where_after(self._load_timeout_s)
        try:
            os.chdir(self._home.layout.flow_modules_dir)
            self._home.refresh_settings()
            runs = RunPass(
                self._flow_of(job),
                home=self._home,
                sink=self._sink,
                params=job.params,
                may_work=self._may_work,
                keep_last=self._keep_last,
            )
        except BaseException as raised:
            return _refusal(raised, 0)
        finally:
            parent.tell_where_after(None)
        self._last_step, self._is_staged = len(runs.flow.steps) - 1, runs.flow.is_staged
        self._send({"kind": "loaded"})
        for number, run in enumerate(job.runs):
            self._run_id = None
            self._wait_until_allowed(job)
            if self._left_job == job.job_id:
                return {"kind": "done", "status": "done", "begun": number}
            parent.tell_where_after(job.run_timeout_s)
            try:
                failure = self._run_one(runs, run)
            except BaseException as raised:
                if self._begun == number:
                    return _refusal(raised, number)
                failure = raised
            finally:
                parent.tell_where_after(None)
                self._run_id = None
            if failure is not None:
                try:
                    os.stat(self._home.layout.flow_modules_dir)
                except OSError as gone:  # the others would only fail of the same
                    return _refusal(gone, number + 1)
        return {"kind": "done", "status": "done", "begun": len(job.runs)}

    def _run_one(self, runs: RunPass, run: SourceRun) -> BaseException | None:
        source, seen = run.source, run.seen
        if seen is None:
            by_content = self._home.settings().freshness == "content"
            states: dict[SourceKey, SourceState] | None = {} if by_content else None  # the ledger is the daemon's
            seen = seen_now(runs.flow, source, states=states) if isinstance(runs.flow.trigger, Poll) else ()
        knows_outputs = run.seen is not None
        return runs.run(source, seen=seen, run_id=run.run_id, about=run.about, knows_outputs=knows_outputs).error

    def _keep_last(self, line: LogLine) -> None:
        if not self._is_fork:
            self._last.put(line)

    def _sink(self, event: Event) -> None:
        """Keep an event in the journal, for good before this returns; a start that cannot be kept is no run."""
        if self._is_fork:
            if isinstance(event, (StepFinished, RunFinished)):
                os._exit(event.status != "success")  # a forked child came back out of the step; it is no second run
            return
        if isinstance(event, StepFinished):
            self._bring_texts_home()
            self._report(event, waits=event.status == "success" and not self._publishes_after(event))
            return
        if isinstance(event, RunStarted):
            self._last.clear()
            with self._journal_lock:
                try:
                    self._journal.begin(event)
                except OSError as error:
                    _leave(error)
            self._run_id = event.run_id
            self._begun += 1
            return
        if isinstance(event, StepProgress) and not self._is_worth_telling(event):
            return
        self._report(event)

    def _publishes_after(self, step: StepFinished) -> bool:
        """Whether outputs or rows take their place after the step, which takes its time."""
        run = keeping.get()
        has_rows = run is not None and run.tables is not None
        return step.step_index == self._last_step and (self._is_staged or has_rows)

    def _is_worth_telling(self, progress: StepProgress) -> bool:
        """Whether anybody would see it: nobody looks more often than every so many seconds."""
        if progress.done != progress.total and 0 <= progress.at_s - self._progress_s < _PROGRESS_EVERY_S:
            return False
        self._progress_s = progress.at_s
        return True

    def _bring_texts_home(self) -> None:
        """Let the daemon take what was written in this step before it hears of the step's end."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the step put another one in its place, and closed it
                stream.flush()
        self._flush_c_streams()
        if parent.may_be_unread(1) or parent.may_be_unread(2):
            self._ask(_TEXTS)  # returns when the daemon has read what was written

    def _may_work(self) -> None:
        self._end_where_stopped()
        if self._work_until is not None and boot_clock() >= self._work_until:
            self._wait_until_allowed()
            self._end_where_stopped()  # it may have been told together with the permission to go on

    def _end_where_stopped(self) -> None:
        if self._stops and self._run_id in self._stops:
            raise RunInterrupted("stopped", self._stops[self._run_id or ""])
        if self._left_for is not None and self._left_job == self._job_id:
            raise RunInterrupted("stopped", self._left_for)

    def _wait_until_allowed(self, job: Job | None = None) -> None:
        """Wait until the daemon lets work go on; a stop ends the run that waits, and the rest of a job may be left."""
        with self._renewed:
            while self._work_until is not None and boot_clock() >= self._work_until:
                self._report(None)  # what waits for the next event
                if job is None:
                    self._end_where_stopped()
                elif job.job_id == self._left_job:
                    return
                self._renewed.wait()

    def _describe(self, job: Job, bad: dict[str, dict[str, str | None]]) -> Message:
        """The entries of every module, or of the job's; `bad` are those that ended a worker before."""
        known_bad = {}
        for name, end in bad.items():
            known_bad[name] = FlowExecutionError(
                flow_name=name, phase="import", detail=str(end["detail"]), fix=IMPORT_FIX
            )
            known_bad[name].set_place(end["cell"])
        try:
            os.chdir(self._home.layout.flow_modules_dir)
            modules = self._modules_in(job.content)
            entries = read_catalog(modules, begin=self._say_describing, known_bad=known_bad)
        except BaseException as raised:
            return _refusal(raised, 0)
        finally:
            parent.tell_where_after(None)
        described = [entry_message(entry) for entry in entries if job.flow in (None, entry.name)]
        return {"kind": "done", "status": "done", "begun": 0, "described": described}

    def _say_describing(self, name: str) -> None:
        parent.tell_where_after(min(self._load_timeout_s, DESCRIBE_TIMEOUT_S))
        self._send({"kind": "describing", "name": name})

    def _modules_in(self, content: str | None) -> FlowModules:
        folder = None if content is None else Path(content)
        modules = self._modules
        if modules is None or modules.content != (folder or modules.folder):
            if modules is not None:
                self._loaded.clear()
                for name in [name for name in sys.modules if name.startswith(modules.package + ".")]:
                    del sys.modules[name]
            layout, local = self._home.layout, self._home.local
            modules = self._modules = FlowModules(
                layout.flow_modules_dir, cache_dir=local.compiled_flow_modules_dir, content=folder
            )
        return modules

    def _flow_of(self, job: Job) -> Flow:
        """The job's flow: of the module as its pass has executed it here, else of one that is executed now."""
        name, modules = job.flow or "", self._modules_in(job.content)
        loaded = self._loaded.get(name)
        if loaded is not None and loaded.flow is not None and loaded.pass_number == job.pass_number is not None:
            return loaded.flow
        self._forget_module(name)
        self._loaded[name] = _Loaded(job.pass_number)
        flow = modules.load(find_module(modules, name)).flow
        self._loaded[name] = _Loaded(job.pass_number, flow)
        return flow

    def _forget_module(self, name: str) -> None:
        """Let go of the module, so that what its globals hold is gone before the worker is called clean."""
        self._loaded.pop(name, None)
        if self._modules is not None and name:
            package = self._modules.package
            sys.modules.pop(f"{package}.{name}", None)
            if package in sys.modules:
                vars(sys.modules[package]).pop(name, None)

    def _report(self, event: Event | None, *, waits: bool = False) -> None:
        """Keep the event, after a step's end that waits; what `waits` is kept with the next event, which comes before any code of the
        author's runs. One thread at a time tells; without a journal there is nothing to work for."""
        with self._journal_lock:
            events = [entry for entry in (self._ended_step, None if waits else event) if entry is not None]
            self._ended_step = event if waits and isinstance(event, StepFinished) else None
            try:
                if events:
                    self._journal.append(*events)
            except OSError as error:
                _leave(error)

    def _tell_secret(self, value: str) -> None:
        """Return when the daemon hides the value in what is written past Python; before anybody here has it."""
        if not self._is_fork:
            self._ask(encode({"kind": "secret", "value": value}))

    def _ask(self, frame: bytes) -> None:
        try:
            with self._asking_lock:
                with self._send_lock:
                    self._channel.sendall(frame)
                self._answers.recv(1)
        except OSError as error:
            _leave(error)

    def _send(self, message: Message) -> None:
        if self._is_fork:
            return
        frame = encode(message)
        with self._send_lock:
            try:
                self._channel.sendall(frame)
            except OSError as error:
                _leave(error)

    def _be_a_fork(self) -> None:
        # The sockets and the journal are the parent's; what a forked child would say there is not its run's.
        self._is_fork = _Screen.is_fork = True
        self._channel.close()
        self._answers.close()
        self._journal.close()
        self._last.close()


class _Loaded(NamedTuple):
    """A flow whose module was executed for a pass; without `flow` while it is being executed."""

    pass_number: int | None
    flow: Flow | None = None


def _kept_threads() -> set[int]:
    """The threads of the connections to clusters, which stay open for the next run."""
    module = sys.modules.get("data_engine.cluster.connection")
    return set() if module is None else module.kept_threads()


def _home(hello: Message) -> LocalWorkspace:
    fields: dict[str, Any] = dict(hello["local"])
    for name in ("state_root", "artifacts_override", "ledger_override"):
        fields[name] = fields[name] and Path(fields[name])
    return LocalWorkspace(WorkspaceLayout(Path(hello["workspace_root"])), LocalLayout(**fields), keeps_settings=True)


def _leave(error: OSError) -> NoReturn:
    """End this process, which nobody hears any more."""
    os.write(2, f"the connection to the daemon is lost: {error}\n".encode())
    end_session(os.getpid())
    os._exit(1)


def _refusal(raised: BaseException, begun: int) -> Message:
    """The answer when no (further) run could begin."""
    if isinstance(raised, FlowValidationError):
        error = raised.as_dict()
    elif isinstance(raised, OSError):
        error = FlowValidationError(
            f"the workspace cannot be reached: {raised}",
            where=str(raised.filename),
            fix="check whether its drive is connected",
        ).as_dict()
    else:
        error = FlowValidationError(f"{type(raised).__name__}: {raised}").as_dict()
    is_passing = isinstance(raised, (OSError, LedgerError))
    return {"kind": "done", "status": "refused", "error": error, "begun": begun, "is_passing": is_passing}


MOST_GROWTH_BYTES = 500 * 1024 * 1024


@dataclass(frozen=True)
class ProcessState:
    """What author code may change for the whole process, as it was when the worker had run nothing yet."""

    environ: dict[str, str]
    path: list[str]
    handlers: dict[signal.Signals, Any]
    streams: tuple[Any, Any, Any]
    filters: list[Any]
    log_handlers: list[logging.Handler]
    log_level: int
    log_disabled: int
    locale: str
    umask: int

    @classmethod
    def now(cls) -> ProcessState:
        """The state of this process."""
        umask = os.umask(0o022)
        os.umask(umask)
        return cls(
            environ=dict(os.environ),
            path=list(sys.path),
            handlers=_handlers(),
            streams=(sys.stdin, sys.stdout, sys.stderr),
            filters=list(warnings.filters),
            log_handlers=list(logging.root.handlers),
            log_level=logging.root.level,
            log_disabled=logging.root.manager.disable,
            locale=locale.setlocale(locale.LC_ALL),
            umask=umask,
        )

    def restore(self, folder: Path) -> None:
        """Put everything back and leave for `folder`. Called from the main thread."""
        os.chdir(folder)
        if dict(os.environ) != self.environ:
            os.environ.clear()
            os.environ.update(self.environ)
        sys.path[:] = self.path
        for number, handler in _handlers().items():
            if handler is not self.handlers[number] and self.handlers[number] is not None:
                with suppress(OSError, ValueError):
                    signal.signal(number, self.handlers[number])
        stop_timer()
        sys.stdin, sys.stdout, sys.stderr = self.streams
        if warnings.filters != self.filters:
            warnings.filters[:] = self.filters  # type: ignore[index]
            warnings._filters_mutated()  # type: ignore[attr-defined]
        logging.root.handlers[:] = self.log_handlers
        logging.root.setLevel(self.log_level)
        logging.disable(self.log_disabled)
        if locale.setlocale(locale.LC_ALL) != self.locale:
            with suppress(locale.Error):
                locale.setlocale(locale.LC_ALL, self.locale)
        os.umask(self.umask)


def leaks(own_threads: set[int], own_files: set[str], root: Path, base_bytes: int) -> list[str]:
    """The reasons not to use this process again, in a few words each; empty when it is as good as new.

    `own_threads` and `own_files` are the worker's, `root` is the workspace, `base_bytes` its memory before the first job.
    """
    end_reading()
    reasons = [f"thread {thread.name}" for thread in threading.enumerate() if thread.ident not in own_threads]
    if has_children():
        reasons.append("a child process")
    reasons += [f"open file {path}" for path in open_files() - own_files if path.startswith(f"{root}{os.sep}")]
    return reasons + grown(base_bytes)


def grown(base_bytes: int) -> list[str]:
    """The reason that this process holds much more memory than `base_bytes`; empty when it does not."""
    growth = memory_bytes() - base_bytes
    return [f"{growth // (1024 * 1024)} MB more memory"] if growth > MOST_GROWTH_BYTES else []


def _handlers() -> dict[signal.Signals, Any]:
    return {number: signal.getsignal(number) for number in signal.valid_signals() if isinstance(number, signal.Signals)}


if __name__ == "__main__":
    main()

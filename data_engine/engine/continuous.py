"""Flows that run as they become due, here in the caller's process, until somebody stops them.

One thread for each group does its runs, one flow at a time; one for each poll flow looks at its source, so that a share
that hangs holds up nobody else. What is due is decided by `plan`, through a `Lookout` or a `Clockwork`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from data_engine.engine.candidates import Source, is_unchanged, refuse_loop, startup_sources
from data_engine.engine.clockwork import Clockwork
from data_engine.engine.file_events import FileEvents
from data_engine.engine.groups import holding_group
from data_engine.engine.home import Home, home_of, settle_flow
from data_engine.engine.lookout import Lookout, Memory
from data_engine.engine.plan import Due, Rules, Watch, next_in_group, why_blocked
from data_engine.engine.reasons import Asked, Slot
from data_engine.engine.run import run_source
from data_engine.errors import FlowStoppedError, FlowValidationError, LedgerError
from data_engine.flow.context import FlowContext
from data_engine.flow.control import RunInterrupted
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll, Schedule
from data_engine.model import Event, RunFinished, RunStarted, SeenSource
from data_engine.workspace.settings import WorkspaceSettings

_BEAT_S = 0.5
_LONGEST_WAIT_S = 30.0
_ASLEEP_AFTER_S = 90.0
_RELOAD_EVERY_S = 5.0
_TROUBLE_PAUSE_S = 5.0
_EVENT_PAUSE_S = 0.005


def run_until_interrupted(
    flows: Sequence[Flow],
    *,
    load: Callable[[str], Flow] | None = None,
    reread: Callable[[], Sequence[Flow] | None] | None = None,
    listen: Callable[[Event], None] | None = None,
    upkeep: Callable[[], None] = lambda: None,
) -> list[FlowContext]:
    """Run `flows` as they become due until Ctrl-C; when all of them are manual, run each once and return the contexts.

    Manual flows among others run once at the start. At Ctrl-C the running steps end, their runs are recorded as stopped, and
    the call returns; a second one leaves at once. `load` executes a flow's module afresh for each pass; `reread` gives the
    flows as they are now, None while nothing has changed; `listen` gets every event of every run, one at a time; `upkeep` is
    called now and then.

    Raises:
        FlowValidationError: what is given are no flows, two have one name, or one would feed on its own mirror.
        FlowExecutionError: all flows are manual, and one failed; `.completed` holds the finished contexts.
        KeyboardInterrupt: a second Ctrl-C, or one while manual flows ran.
    """
    engine = Engine(load=load, listen=listen or tell_failures, keep_contexts=all(flow.mode == "manual" for flow in flows))
    engine.set_flows(flows)
    try:
        try:
            while not engine.is_done():
                engine.stopping.wait(_BEAT_S)
                engine.beat()
                upkeep()
                if reread is not None and (changed := reread()) is not None:
                    engine.set_flows(changed)
        except KeyboardInterrupt:
            engine.stop()
            if engine.active:
                tell("stopping after the running step; Ctrl-C again leaves at once")
            engine.join()
            if engine.keep_contexts:
                raise
    except KeyboardInterrupt:
        engine.leave()
        raise
    finally:
        engine.close()
    if engine.error is not None:
        assert isinstance(engine.error, (FlowValidationError, FlowStoppedError))
        engine.error.completed = engine.contexts
        raise engine.error
    return engine.contexts


def tell(text: str) -> None:
    """Say one line to whoever watches."""
    print(text, file=sys.stderr, flush=True)


def tell_failures(event: Event) -> None:
    """Say one line for each run that did not succeed."""
    if isinstance(event, RunFinished) and event.status != "success":
        why = (event.error or event.cause or "").partition("\n")[0]
        tell(f"{event.status}: {why} (run {event.run_id[:8]})")


class Engine:
    """The groups and lines of one continuous run."""

    def __init__(
        self, *, load: Callable[[str], Flow] | None, listen: Callable[[Event], None], keep_contexts: bool = False
    ) -> None:
        self.load = load
        self.keep_contexts = keep_contexts
        self.contexts: list[FlowContext] = []
        self.error: BaseException | None = None
        self.stopping = threading.Event()
        self.active: dict[str, tuple[_Line, RunStarted]] = {}
        self.on_since_s = time.time()
        self.events = FileEvents()
        self._listen = listen
        self._listen_lock = threading.Lock()
        self._last_beat_s = self.on_since_s
        self._lines: dict[tuple[Path | None, str], _Line] = {}
        self._groups: dict[tuple[Path | None, str], _Group] = {}
        self._versions: dict[Path, tuple[int, float]] = {}

    def set_flows(self, flows: Iterable[Flow]) -> None:
        """Run these flows from now on: those that changed anew, those that are no longer there not at all.

        Raises:
            FlowValidationError: two flows have one name, or one would feed on its own mirror.
        """
        wanted: dict[tuple[Path | None, str], Flow] = {}
        for flow in flows:
            settled = settle_flow(flow)
            refuse_loop(settled)
            key = (settled._workspace_root, settled.name or "")
            if key in wanted:
                raise FlowValidationError(
                    f"two flows are named {settled.name!r}; the names must be unique",
                    where="run(*flows)",
                    mend="give each flow once, or name it: Flow(group=..., name=...)",
                )
            wanted[key] = settled
        for key in self._lines.keys() - wanted.keys():
            self._lines.pop(key).retire()
        for key, flow in wanted.items():
            line = self._lines.get(key)
            if line is not None and line.watch == Watch.of(flow):
                line.flow = flow
                continue
            if line is not None:
                line.retire()
            self._lines[key] = self._begin(flow, is_new=line is None, after=line)

    def _begin(self, flow: Flow, *, is_new: bool, after: _Line | None) -> _Line:
        where = home_of(flow)
        group_key = (flow._workspace_root, flow.group)
        group = self._groups.get(group_key)
        if group is None:
            group = self._groups[group_key] = _Group(self)
        watch = Watch.of(flow)
        kind = {"poll": _PollLine, "schedule": _ClockLine}.get(flow.mode, _ManualLine)
        line: _Line = kind(self, group, flow, watch, where, is_new=is_new)
        group.add(line, after)
        return line

    def is_done(self) -> bool:
        """Whether nothing will ever be due again: all lines are manual and have run, or somebody stopped the engine."""
        return self.stopping.is_set() or (self.keep_contexts and all(group.is_done() for group in self._groups.values()))

    def beat(self) -> None:
        """Called twice a second: notice that the machine slept, and what other processes wrote into the ledger."""
        now_s = time.time()
        if now_s - self._last_beat_s > _ASLEEP_AFTER_S:
            self.on_since_s = now_s
        self._last_beat_s = now_s
        for where in {line.home.layout.root: line.home for line in self._lines.values() if line.home}.values():
            self._notice_others(where)

    def _notice_others(self, where: Home) -> None:
        version, at_s = self._versions.get(where.layout.root, (-1, 0.0))
        if time.monotonic() - at_s < _RELOAD_EVERY_S:
            return
        try:
            now = where.ledger().data_version()
        except LedgerError:
            return  # whoever writes next says so
        self._versions[where.layout.root] = (now, time.monotonic())
        if now != version and version != -1:
            for line in self._lines.values():
                if line.home is where:
                    line.reload()

    def stop(self) -> None:
        """Let the running steps end, and start nothing more."""
        self.stopping.set()
        for group in self._groups.values():
            group.wake()

    def join(self) -> None:
        """Wait until all runs have ended."""
        for group in self._groups.values():
            while group.thread.is_alive():
                group.thread.join(_BEAT_S)

    def leave(self) -> None:
        """Leave the running steps behind; their runs are recorded as killed."""
        self.stop()
        for line, started in list(self.active.values()):
            cause = "left at once by a second Ctrl-C"
            elapsed_s = time.time() - started.at_s
            end = RunFinished(started.run_id, "killed", time.time(), elapsed_s, None, cause, started.seen)
            try:
                line.sink(end)
            except LedgerError as error:
                tell(str(error))

    def close(self) -> None:
        """End what looks at sources."""
        self.stop()
        for line in self._lines.values():
            line.retire()
        self.events.close()

    def may_work(self) -> None:
        """Raises what ends a run at its next step or item once the engine stops."""
        if self.stopping.is_set():
            raise RunInterrupted("stopped", "interrupted")

    def hear(self, line: _Line, event: Event) -> None:
        """An event that was recorded."""
        if isinstance(event, RunStarted):
            self.active[event.run_id] = (line, event)
        elif isinstance(event, RunFinished):
            self.active.pop(event.run_id, None)
        line.note(event)
        with self._listen_lock:
            self._listen(event)


class _Job(NamedTuple):
    source: Source
    due: Due


@dataclass(slots=True)
class _Pass:
    """One tick's due sources; they share one execution of the flow's module."""

    flow: Flow
    jobs: deque[_Job]
    due: Due | None = None
    last_run_id: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Line:
    """One flow in its group: what of it is due, and the pass it is in."""

    def __init__(
        self, engine: Engine, group: _Group, flow: Flow, watch: Watch, home: Home | None, *, is_new: bool
    ) -> None:
        self.engine = engine
        self.group = group
        self.flow = flow
        self.watch = watch
        self.home = home
        self.is_new = is_new
        self.is_retired = False
        self.current: _Pass | None = None
        self._not_before_s = 0.0
        self._told = ""

    # what each kind says of itself
    def start(self) -> None:
        """Begin to look for what is due."""

    def due(self) -> Due | None:
        """What is due now, of which there may be more; None when nothing is."""
        raise NotImplementedError

    def take(self, flow: Flow) -> _Pass:
        """Everything that is due, as a pass of `flow`."""
        raise NotImplementedError

    def note(self, event: Event) -> None:
        """What happened in a run of this line."""

    def give_back(self, due: Due) -> None:
        """What was taken could not be run."""

    def end(self, done: _Pass) -> None:
        """All jobs of a pass have been run."""

    def reload(self) -> None:
        """Others have written into the ledger."""

    @property
    def seen_at_start(self) -> bool:
        """Whether a run settles what was seen when it was found due."""
        return False

    def retire(self) -> None:
        """Look no longer; what is under way ends."""
        self.is_retired = True
        self.group.wake()

    # what all share
    def is_ready(self) -> bool:
        """Whether there is something to run now."""
        if self.is_retired or time.monotonic() < self._not_before_s:
            return False
        return bool(self.current and self.current.jobs) or self.due() is not None

    def pause(self, error: BaseException) -> None:
        """Something other than the author's code went wrong: say so once, and try again in a while."""
        self._not_before_s = time.monotonic() + _TROUBLE_PAUSE_S
        text = (str(error) or type(error).__name__).partition("\n")[0]
        if text != self._told:
            self._told = text
            tell(f'flow "{self.watch.flow}": {text}')

    def begin(self) -> _Pass | None:
        """The pass the line is in, or a new one; None when its module is now about something else."""
        if self.current is None or not self.current.jobs:
            flow = self.flow
            if self.engine.load is not None and self.home is not None:
                try:
                    flow = self.engine.load(self.watch.flow)
                except FlowValidationError as error:
                    self._tell_broken(error)  # the last good one goes on
            if Watch.of(flow) != self.watch:
                self._not_before_s = time.monotonic() + 2 * _BEAT_S  # until the flows have been read again
                return None
            self.current = self.take(flow)
        return self.current

    def _tell_broken(self, error: FlowValidationError) -> None:
        text = str(error)
        if text != self._told:
            self._told = text
            tell(f'flow "{self.watch.flow}" is broken, its last good version runs: {error.what}')

    def sink(self, event: Event) -> None:
        """Record an event, then let everybody hear it."""
        if self.home is not None:
            self.home.ledger().record(event)
        self.engine.hear(self, event)

    def run(self, work: _Pass, job: _Job) -> None:
        """One run, whose end is recorded whatever it is."""
        source, due = job
        if due.seen and source.path is not None and not is_unchanged(source.path, due.seen[0].signature):
            self.give_back(due)
            return

        def sink(event: Event) -> None:
            if isinstance(event, RunStarted):
                work.last_run_id = event.run_id
            self.sink(event)

        seen: tuple[SeenSource, ...] | None = due.seen if self.seen_at_start else None
        try:
            context = run_source(
                work.flow, source, home=self.home, sink=sink, params={}, may_work=self.engine.may_work, seen=seen
            )
        except LedgerError:
            self.give_back(due)
            raise
        if self.engine.keep_contexts:
            if context.error is None:
                self.engine.contexts.append(context)
            elif self.engine.error is None:
                self.engine.error = context.error
                self.engine.stop()


class _PollLine(_Line):
    """Sources that are new or changed, found by a thread of its own."""

    def start(self) -> None:
        self._waiting: deque[Due] = deque()
        self._woken = threading.Event()
        self._lookout: Lookout | None = None
        threading.Thread(target=self._keep_looking, name=f"look {self.watch.flow}", daemon=True).start()

    def due(self) -> Due | None:
        return self._waiting[0] if self._waiting else None

    def take(self, flow: Flow) -> _Pass:
        assert self._lookout is not None
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        return _Pass(flow, deque(_Job(self._lookout.source_of(due), due) for due in taken))

    def note(self, event: Event) -> None:
        if self._lookout is not None:
            self._lookout.note(event)

    def give_back(self, due: Due) -> None:
        if self._lookout is not None:
            self._lookout.give_back(due)

    def reload(self) -> None:
        if self._lookout is not None:
            self._lookout.reload()

    @property
    def seen_at_start(self) -> bool:
        return True

    def retire(self) -> None:
        super().retire()
        self._woken.set()

    def _keep_looking(self) -> None:
        while not (self.is_retired or self.engine.stopping.is_set()):
            try:
                if self._lookout is None:
                    self._lookout = self._make_lookout()
                found = self._lookout.look()
                self._tell_trouble(self._lookout)
                wait_s = self._lookout.next_look_s - time.monotonic()
            except Exception as error:
                self.pause(error)
                found, wait_s = [], _TROUBLE_PAUSE_S
            if found:
                self._waiting.extend(found)
                self.group.wake()
            if self._woken.wait(min(max(wait_s, 0.0), _LONGEST_WAIT_S)):
                time.sleep(_EVENT_PAUSE_S)  # a writer's many events are one look
                self._woken.clear()
        if self._lookout is not None:
            self._lookout.close()

    def _make_lookout(self) -> Lookout:
        home = self.home
        settings = WorkspaceSettings() if home is None else home.settings()
        name = self.watch.flow

        def read() -> Memory:
            if home is None:
                return Memory({})
            ledger = home.ledger()
            ledger.recover()
            return Memory(ledger.source_states(name), ledger.outputs(name))

        return Lookout(
            self.watch,
            read=read,
            rules=Rules(
                by_content=settings.freshness == "content",
                retries=settings.retry.retries,
                retry_delay_s=settings.retry.delay_s,
            ),
            frees_held=self.is_new,
            events=self.engine.events,
            wake=self._woken.set,
        )

    def _tell_trouble(self, lookout: Lookout) -> None:
        text = ""
        if lookout.unreachable is not None:
            text = f"{lookout.root} is {lookout.unreachable.text}"
        elif lookout.troubles:
            text = "; ".join(f"{lookout.root / folder}: {why}" for folder, why in sorted(lookout.troubles.items())[:3])
        if text and text != self._told:
            tell(f'flow "{self.watch.flow}": {text}')
        self._told = text


class _ClockLine(_Line):
    """Slots and ticks."""

    def start(self) -> None:
        self._clockwork: Clockwork | None = None
        self.due()  # intervals begin now

    def due(self) -> Due | None:
        try:
            if self._clockwork is None:
                self._clockwork = Clockwork(
                    self.watch,
                    settings=WorkspaceSettings() if self.home is None else self.home.settings(),
                    ledger=None if self.home is None else self.home.ledger(),
                    now_s=time.time(),
                    local_s=time.monotonic(),
                )
            verdict = self._clockwork.look(
                now_s=time.time(), local_s=time.monotonic(), on_since_s=self.engine.on_since_s
            )
        except FlowValidationError as error:
            self.pause(error)
            return None
        return verdict if isinstance(verdict, Due) else None

    def take(self, flow: Flow) -> _Pass:
        due = self.due()
        if due is None:
            return _Pass(flow, deque())
        if isinstance(due.why, Slot) and due.why.skipped_before_utc is not None:
            tell(f'flow "{self.watch.flow}": {due.why.text}')
        jobs = deque(_Job(source, due) for source in startup_sources(flow))
        assert self._clockwork is not None
        self._clockwork.begin(due)
        return _Pass(flow, jobs, due)

    def end(self, done: _Pass) -> None:
        if done.due is not None and self._clockwork is not None:
            self._clockwork.serve(done.due, done.last_run_id)


class _ManualLine(_Line):
    """Once, at the start."""

    def start(self) -> None:
        self._is_waiting = self.is_new

    def due(self) -> Due | None:
        return Due(None, Asked()) if self._is_waiting else None

    def take(self, flow: Flow) -> _Pass:
        self._is_waiting = False
        try:
            return _Pass(flow, deque(_Job(source, Due(None, Asked())) for source in startup_sources(flow)))
        except FlowValidationError as error:
            if not self.engine.keep_contexts:
                raise
            self.engine.error = self.engine.error or error
            self.engine.stop()
            return _Pass(flow, deque())


class _Group:
    """The lines of one group and the thread that runs them, one at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.thread = threading.Thread(target=self._serve, name="group", daemon=True)
        self._lines: list[_Line] = []
        self._turns: dict[str, int] = {}
        self._turn_count = 0
        self._coming: deque[_Line] = deque()
        self._woken = threading.Event()
        self._is_busy = False

    def add(self, line: _Line, after: _Line | None) -> None:
        """Take a line in, once `after`, which it replaces, has ended its turn."""
        self._coming.append(line)
        if after is None or after.group is not self:
            self._let_in()
        if not self.thread.ident:
            self.thread.start()
        self.wake()

    def wake(self) -> None:
        """Something may be due, or the engine stops."""
        self._woken.set()

    def is_done(self) -> bool:
        """Whether no line has anything to run."""
        return not self._is_busy and not any(line.is_ready() for line in self._lines)

    def _let_in(self) -> None:
        while self._coming:
            line = self._coming.popleft()
            line.start()
            self._lines.append(line)

    def _serve(self) -> None:
        while not self.engine.stopping.is_set():
            self._woken.clear()
            self._lines = [line for line in self._lines if not line.is_retired]
            self._let_in()
            self._is_busy = True
            ready = {line.watch.flow: line for line in self._lines if line.is_ready() and not self._is_blocked(line)}
            name = next_in_group(ready, self._turns)
            if name is None:
                self._is_busy = False
                self._woken.wait(self._pause_s())
                continue
            self._turn_count += 1
            self._turns[name] = self._turn_count
            try:
                self._turn(ready[name])
            except RunInterrupted:
                break
            except BaseException as error:
                ready[name].pause(error)
        self._is_busy = False

    def _turn(self, line: _Line) -> None:
        with holding_group(line.flow, line.home, waiting=self.engine.may_work):
            work = line.begin()
            if work is None:
                return
            self._run(line, work)
            if not work.jobs:
                line.current = None
                line.end(work)

    def _run(self, line: _Line, work: _Pass) -> None:
        """Run jobs of the pass, `max_parallel` at once, until it is over or another flow of the group waits."""
        errors: list[BaseException] = []

        def drain() -> None:
            has_run = False
            while not self.engine.stopping.is_set() and not errors and not (has_run and self._others_wait(line)):
                try:
                    job = work.jobs.popleft()
                except IndexError:
                    return
                has_run = True
                try:
                    line.run(work, job)
                except BaseException as error:
                    errors.append(error)

        count = min(line.watch.trigger.max_parallel, len(work.jobs))
        helpers = [
            threading.Thread(target=copy_context().run, args=(drain,), name="source", daemon=True)
            for _ in range(count - 1)
        ]
        for helper in helpers:
            helper.start()
        drain()
        for helper in helpers:
            helper.join()
        if errors:
            raise errors[0]

    def _others_wait(self, line: _Line) -> bool:
        return any(other is not line and other.is_ready() for other in self._lines)

    def _is_blocked(self, line: _Line) -> bool:
        if line.home is None or isinstance(line, _ManualLine):
            return False
        try:
            return why_blocked(line.watch, switches=line.home.ledger().switches()) is not None
        except LedgerError as error:
            line.pause(error)
            return True

    def _pause_s(self) -> float:
        """How long nothing can become due by the clock alone."""
        pause_s = _LONGEST_WAIT_S
        for line in self._lines:
            if isinstance(line, _ClockLine):
                pause_s = min(pause_s, line.wait_s())
            pause_s = min(pause_s, line.paused_s())
        return pause_s

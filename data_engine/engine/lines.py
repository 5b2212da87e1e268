"""The flows of a continuous run, each a line of due work: what waits in it, and the pass it is in."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from data_engine.cause import Cause
from data_engine.engine.candidates import Source, is_unchanged, listed_source, startup_sources
from data_engine.engine.clockwork import Clockwork
from data_engine.engine.file_events import FileEvents
from data_engine.engine.home import Home
from data_engine.engine.lookout import Lookout, Memory
from data_engine.engine.plan import Due, NotDue, Rules, Watch, why_blocked
from data_engine.engine.reasons import Asked, NotYet, Slot
from data_engine.engine.run import run_source
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.flow.context import FlowContext
from data_engine.flow.control import RunInterrupted
from data_engine.flow.flow import Flow
from data_engine.ledger.rows import SourceStates
from data_engine.model import Event, RunFinished, RunStarted
from data_engine.workspace.settings import WorkspaceSettings

LONGEST_WAIT_S = 30.0
"""No longer at a time: clocks jump, and machines sleep."""

_TROUBLE_PAUSE_S = 2.0
_REREAD_PAUSE_S = 1.0
_EVENT_PAUSE_S = 0.005
_KNOWN_RUNS = 100


@dataclass
class Surroundings:
    """What the lines of one continuous run share.

    `load` executes a flow's module afresh; `hear` gets every recorded event, with a context when a run has ended;
    `on_since_s` is since when (wall time) somebody has been looking without a gap.
    """

    load: Callable[[str], Flow] | None
    hear: Callable[[Line, Event], None]
    finished: Callable[[FlowContext], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    events: FileEvents = field(default_factory=FileEvents)
    on_since_s: float = field(default_factory=time.time)

    def may_work(self) -> None:
        """Raises what ends a run at its next step or item once everything stops."""
        if self.stopping.is_set():
            raise RunInterrupted("stopped", Cause("interrupted"))


class Job(NamedTuple):
    """One run to be made."""

    source: Source
    due: Due


@dataclass(slots=True)
class Pass:
    """One tick's due sources; they share one execution of the flow's module. `due` is the slot or tick it serves."""

    flow: Flow
    jobs: deque[Job]
    due: Due | None = None
    last_run_id: str = ""


class Line:
    """One flow: `wake` is called when it may have become ready. `is_new` when a person has just started it."""

    def __init__(
        self, around: Surroundings, flow: Flow, home: Home | None, *, is_new: bool, wake: Callable[[], None]
    ) -> None:
        self.around = around
        self.flow = flow
        self.watch = Watch.of(flow)
        self.home = home
        self.is_new = is_new
        self.is_retired = False
        self.wake = wake
        self.current: Pass | None = None
        self._not_before_s = 0.0
        self._told: dict[str, str] = {}

    # -- what each kind says of itself -----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for what is due."""

    def due(self) -> Due | NotDue | None:
        """What is due now (there may be more), or why nothing is."""
        raise NotImplementedError

    def take(self, flow: Flow) -> Pass:
        """Everything that is due, as a pass of `flow`."""
        raise NotImplementedError

    def note(self, event: Event) -> None:
        """What happened in a run of this line."""

    def refresh(self) -> None:
        """The group is held now: see what another process of this machine has done before."""

    def return_job(self, work: Pass, job: Job) -> None:
        """A job was not run."""
        work.jobs.appendleft(job)

    def end(self, done: Pass) -> None:
        """All jobs of a pass have been run."""

    def reload(self) -> None:
        """Others have written into the ledger."""

    def retire(self) -> None:
        """Look no longer; what is under way ends."""
        self.is_retired = True
        self.wake()

    # -- what all share --------------------------------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Whether there is something to run now."""
        if self.is_retired or time.monotonic() < self._not_before_s:
            return False
        try:
            is_waiting = bool(self.current and self.current.jobs) or isinstance(self.due(), Due)
            return is_waiting and not self._is_blocked()
        except FlowValidationError as error:
            self.pause(error)
            return False

    def wait_s(self) -> float:
        """How long nothing can become due by the clock alone."""
        paused_s = self._not_before_s - time.monotonic()
        if paused_s > 0:
            return min(paused_s, LONGEST_WAIT_S)
        verdict = self.due()
        if isinstance(verdict, Due):
            return _TROUBLE_PAUSE_S  # it is switched off
        if verdict is not None and isinstance(verdict.why, NotYet) and verdict.why.next_utc is not None:
            return min(max(verdict.why.left_s(time.time()), 0.0), LONGEST_WAIT_S)
        return LONGEST_WAIT_S

    def pause(self, error: BaseException) -> None:
        """Something other than the author's code went wrong: say so once, and try again in a while."""
        self._not_before_s = time.monotonic() + _TROUBLE_PAUSE_S
        self.tell((str(error) or type(error).__name__).partition("\n")[0])

    def tell(self, text: str, *, about: str = "") -> None:
        """Say one line about the flow, unless it was the last one said of that matter."""
        if text and text != self._told.get(about):
            print(f'flow "{self.watch.flow}": {text}', file=sys.stderr, flush=True)
        self._told[about] = text

    def begin(self) -> Pass | None:
        """The pass the line is in, or a new one; None when there is nothing to run after all."""
        if self.current is None or not self.current.jobs:
            self.refresh()
            flow = self._fresh_flow()
            if Watch.of(flow) != self.watch:
                self._not_before_s = time.monotonic() + _REREAD_PAUSE_S  # until the flows have been read again
                return None
            self.current = self.take(flow)
        return self.current

    def run(self, work: Pass, job: Job) -> None:
        """One run, whose end is recorded whatever it is."""
        started: list[str] = []

        def sink(event: Event) -> None:
            self.sink(event)
            if isinstance(event, RunStarted):
                started.append(event.run_id)
                work.last_run_id = event.run_id

        seen = job.due.seen or None
        try:
            context = run_source(
                work.flow,
                job.source,
                home=self.home,
                sink=sink,
                params={},
                may_work=self.around.may_work,
                seen=seen,
            )
        except LedgerError:
            if not started:
                self.return_job(work, job)
            raise
        self.around.finished(context)

    def sink(self, event: Event) -> None:
        """Record an event, then let everybody hear it.

        Raises:
            LedgerError: it cannot be recorded now; a run that could not be recorded does not begin.
        """
        if self.home is not None:
            try:
                self.home.ledger().record(event)
            except LedgerError:
                if not isinstance(event, RunStarted):  # the ledger keeps it until it can be written
                    self.around.hear(self, event)
                raise
        self.around.hear(self, event)

    def _fresh_flow(self) -> Flow:
        if self.around.load is None or self.home is None:
            return self.flow
        try:
            self.flow = self.around.load(self.watch.flow)
        except FlowValidationError as error:
            self.tell(f"broken, its last good version runs: {error.what}", about="module")
        else:
            self.tell("", about="module")
        return self.flow

    def _is_blocked(self) -> bool:
        return (
            self.home is not None and why_blocked(self.watch.flow, switches=self.home.ledger().switches()) is not None
        )


class PollLine(Line):
    """Sources that are new or changed, found by a thread of its own."""

    def start(self) -> None:
        self._waiting: deque[Due] = deque()
        self._woken = threading.Event()
        self._lookout: Lookout | None = None
        self._known_runs: deque[str] = deque(maxlen=_KNOWN_RUNS)
        threading.Thread(target=self._keep_looking, name=f"look {self.watch.flow}", daemon=True).start()

    def due(self) -> Due | None:
        return self._waiting[0] if self._waiting else None

    def take(self, flow: Flow) -> Pass:
        lookout = self._lookout
        if lookout is None or flow.trigger is None:
            return Pass(flow, deque())
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        return Pass(flow, deque(Job(listed_source(flow.trigger, lookout.name_of(due)), due) for due in taken))

    def run(self, work: Pass, job: Job) -> None:
        path, seen = job.source.path, job.due.seen
        if path is not None and seen and not is_unchanged(path, seen[0].signature):
            self.return_job(work, job)
        else:
            super().run(work, job)

    def note(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._known_runs.append(event.run_id)
        if self._lookout is not None:
            self._lookout.note(event)

    def return_job(self, work: Pass, job: Job) -> None:
        if self._lookout is not None:
            self._lookout.give_back(job.due)

    def refresh(self) -> None:
        if self.home is None or self._lookout is None:
            return
        newest = self.home.ledger().last_run(self.watch.flow)
        if newest is not None and newest.run_id not in self._known_runs:
            self._known_runs.append(newest.run_id)
            self._lookout.reload()
            for due in [self._waiting.popleft() for _ in range(len(self._waiting))]:
                self._lookout.give_back(due)

    def reload(self) -> None:
        if self._lookout is not None:
            self._lookout.reload()

    def retire(self) -> None:
        super().retire()
        self._woken.set()

    def _keep_looking(self) -> None:
        while not (self.is_retired or self.around.stopping.is_set()):
            try:
                if self._lookout is None:
                    self._lookout = self._make_lookout()
                found = self._lookout.look()
                self.tell(self._trouble(self._lookout), about="source")
                wait_s = self._lookout.next_look_s - time.monotonic()
            except Exception as error:
                self.pause(error)
                found, wait_s = [], _TROUBLE_PAUSE_S
            if found:
                self._waiting.extend(found)
                self.wake()
            if self._woken.wait(min(max(wait_s, 0.0), LONGEST_WAIT_S)):
                time.sleep(_EVENT_PAUSE_S)  # a writer's many events are one look
                self._woken.clear()
        if self._lookout is not None:
            self._lookout.close()

    def _make_lookout(self) -> Lookout:
        home = self.home
        settings = WorkspaceSettings() if home is None else home.settings()
        flow = self.watch.flow

        def read() -> Memory:
            if home is None:
                return Memory(SourceStates(flow))
            ledger = home.ledger()
            ledger.recover()
            newest = ledger.last_run(flow)
            if newest is not None and newest.status != "started":
                self._known_runs.append(newest.run_id)
            return Memory(ledger.source_states(flow), ledger.outputs(flow))

        return Lookout(
            self.watch,
            read=read,
            rules=Rules.of(settings),
            frees_held=self.is_new,
            events=self.around.events,
            wake=self._woken.set,
        )

    def _trouble(self, lookout: Lookout) -> str:
        if lookout.unreachable is not None:
            return f"{lookout.root} is {lookout.unreachable.text}"
        first = sorted(lookout.troubles.items())[:3]
        return "; ".join(f"{lookout.root / folder} cannot be read: {why}" for folder, why in first)


class ClockLine(Line):
    """Slots and ticks."""

    def start(self) -> None:
        self._clockwork: Clockwork | None = None
        self.is_ready()  # intervals begin now

    def due(self) -> Due | NotDue:
        return self._running_clockwork().look(
            now_s=time.time(), local_s=time.monotonic(), on_since_s=self.around.on_since_s
        )

    def take(self, flow: Flow) -> Pass:
        due = self.due()
        if not isinstance(due, Due):
            return Pass(flow, deque())
        if isinstance(due.why, Slot) and due.why.skipped_before_utc is not None:
            self.tell(due.why.text)
        jobs = deque(Job(source, due) for source in startup_sources(flow))
        self._running_clockwork().begin(due, now_s=time.time())
        return Pass(flow, jobs, due)

    def refresh(self) -> None:
        self._running_clockwork().refresh(now_s=time.time())

    def end(self, done: Pass) -> None:
        if done.due is not None:
            self._running_clockwork().serve(done.due, done.last_run_id)

    def _running_clockwork(self) -> Clockwork:
        if self._clockwork is None:
            self._clockwork = Clockwork(
                self.watch,
                settings=WorkspaceSettings() if self.home is None else self.home.settings(),
                ledger=None if self.home is None else self.home.ledger(),
                now_s=time.time(),
                local_s=time.monotonic(),
                frees_held=self.is_new,
            )
        return self._clockwork


class ManualLine(Line):
    """Once, when a person has started it."""

    def start(self) -> None:
        self._is_waiting = self.is_new

    def due(self) -> Due | None:
        return Due(None, Asked()) if self._is_waiting else None

    def take(self, flow: Flow) -> Pass:
        self._is_waiting = False
        return Pass(flow, deque(Job(source, Due(None, Asked())) for source in startup_sources(flow)))

    def _is_blocked(self) -> bool:
        return False


def end_left_behind(line: Line, started: RunStarted, why: Cause) -> None:
    """Record a run as killed whose step nobody waits for any longer.

    Raises:
        LedgerError: it cannot be recorded.
    """
    now_s = time.time()
    line.sink(RunFinished(started.run_id, "killed", now_s, now_s - started.at_s, None, why, started.seen))

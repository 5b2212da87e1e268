"""Hand the waiting runs of one workspace to an executor, and record how they end. Everything on the loop's thread."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from data_engine.cause import Cause
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.params import params_text
from data_engine.errors import FlowValidationError, LedgerError, WorkspaceError, error_of
from data_engine.flow.flow import Flow
from data_engine.locks import GroupLock
from data_engine.model import (
    ActiveRun,
    Deployment,
    Event,
    LogLine,
    RunAbout,
    RunFinished,
    RunStarted,
    StepProgress,
    StepStarted,
)
from data_engine.planning.due import PlannedFlow
from data_engine.reasons.kinds import (
    Freed,
    GroupRun,
    Retried,
    Slot,
    Tick,
    Trouble,
    Waiting,
    WaitingForGroup,
    WaitingForOwnRun,
    WaitingForShare,
    WaitingForWorker,
    WhyDue,
)
from data_engine.reasons.remedies import Reason
from data_engine.reasons.waiting import MOST_NAMED, NextRun, WaitingRuns
from data_engine.record import frozen
from data_engine.scheduler.executor import Executor, Job, JobEnd, SourceRun
from data_engine.scheduler.run_queue import HandOut, RunQueue, Turn, Work, came_by_itself
from data_engine.scheduler.trigger_set import TriggerSet
from data_engine.workspace.machine import person

log = logging.getLogger(__name__)

_E = TypeVar("_E", bound=Executor)
_GROUP_RETRY_S = 0.2
_TROUBLE_PAUSE_S = 1.0


@frozen
class ReadyFlow:
    """A flow that can run, the folder of its deployed set (None: as authored), and the deployment that chose it."""

    flow: Flow
    content: Path | None = None
    deployment: Deployment | None = None


class Host(Protocol):
    """The host of a scheduler, which decides what may run: the daemon, or a `run` in the caller's process."""

    def may_begin(self) -> bool:
        """Whether new runs may begin now."""

    def keeps_workspace(self) -> bool:
        """Whether this machine owns the workspace and does not give it up."""

    def ready_flows(self) -> Mapping[str, ReadyFlow]:
        """The flows that can run, by name."""

    def tell(self) -> None:
        """Note that something changed that people see."""


class Backfills:
    """Feeds the works of backfills, one after the other, and hears how they end; this default has none."""

    def ended(self, flow: str, event: RunFinished) -> None:
        """Note the recorded end of a run of the flow, which may be one of a backfill."""

    def dropped(self, work: Work) -> None:
        """Note that a work of a backfill waits no more, and has no run."""

    def wants(self, work: Work) -> bool:
        """Whether a work of a backfill that was handed out and not begun shall wait again."""
        return False


class Alerts:
    """Hears what happens in runs, to alert people; this default alerts nobody."""

    def heard(self, flow: str, events: Sequence[Event]) -> None:
        """Take recorded events of the flow's runs."""


class Dispatcher(Generic[_E]):
    """Holds what waits and what runs, and the executor, which `make_executor` builds around this.

    Without a `home` nothing is recorded, and no other process has a group to wait for. `loop` keeps the time.
    """

    def __init__(
        self,
        home: LocalWorkspace | None,
        make_executor: Callable[[Dispatcher[_E]], _E],
        around: Host,
        triggers: TriggerSet,
        *,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.active: dict[str, Active] = {}
        self.trouble: FlowValidationError | None = None
        self.backfills = Backfills()
        self.alerts = Alerts()
        self._home, self._ledger = home, None if home is None else home.ledger()
        self._around, self._triggers, self._loop = around, triggers, loop
        self._queue = RunQueue()
        self._jobs: dict[str, HandedOut] = {}
        self._locks: dict[str, GroupLock] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self.executor = make_executor(self)

    # -- asked from around ---------------------------------------------------------------------------------------

    def add(self, works: Sequence[Work]) -> None:
        """Queue works, and hand out what can run; what a person asked for goes before all that is due."""
        for work in works:
            self._queue.add(work)
        self.dispatch()
        self.let_first_go_first()

    def drop(self, flow: str | None = None, *, only: Callable[[Work], bool] = lambda work: True) -> list[Work]:
        """Drop the waiting works (of `flow`, and for which `only` holds); gives them."""
        dropped = self._queue.drop(flow, only=only)
        for group in {work.group for work in dropped} - self._queue.asked_groups():
            if group in self._locks and not self._locks[group].is_held:
                self._locks[group].release()  # it may have asked to go first
        return dropped

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._jobs and not self._queue.waiting()

    @property
    def are_under_way(self) -> bool:
        """Whether the executor has any job."""
        return bool(self._jobs)

    def handed_out(self) -> list[Work]:
        """The works that the executor has."""
        return [work for job in self._jobs.values() for work in job.works]

    def sets_in_use(self) -> set[str]:
        """The module sets that running work holds."""
        return {Path(job.content).name for job in self._jobs.values() if job.content is not None}

    def to_come(self) -> set[str]:
        """The ids of the runs that wait, or have not ended in their workers."""
        return {*self.active, *self.ids_waiting()}

    def why_waiting(self, flow: str, others: Sequence[ActiveRun]) -> Waiting | None:
        """Why the flow's next work does not start; None when nothing of it waits. `others` are runs of other processes."""
        work = self._queue.first(flow)
        if work is None:
            return None
        if self._around.keeps_workspace() and not self._around.may_begin():
            return WaitingForShare()
        if (error := self._wrong_settings()) is not None:
            return Trouble(f"no run starts while config/data_engine.toml is wrong: {error.what}", error.fix)
        own = [run for run in self.active.values() if run.group == work.group and run.flow != flow]
        runs = [GroupRun(run.flow, run.run_id, os.getpid()) for run in own]
        runs += [GroupRun(run.flow, run.run_id, run.pid, in_daemon=False) for run in others if run.group == work.group]
        lock = self._locks.get(work.group)
        is_held_elsewhere = lock is not None and not lock.is_held
        if self._queue.holder(work.group) not in (None, flow) or runs:
            return WaitingForGroup(work.group, tuple(runs))
        if not self.executor.free():
            return WaitingForWorker()
        if is_held_elsewhere:
            return WaitingForGroup(work.group)
        return WaitingForOwnRun() if any(run.flow == flow for run in self.active.values()) else None

    def waiting(self, others: Sequence[ActiveRun]) -> list[WaitingRuns]:
        """The waiting runs of each flow, with those that a worker was handed ahead, and why; `others` are runs of other processes."""
        ahead: dict[str, list[Work]] = {}
        for job in self._jobs.values():
            if works := job.not_begun():
                ahead.setdefault(works[0].flow, []).extend(works)
        counts = self._queue.counts()
        runs = []
        for flow in sorted({*ahead, *counts}):
            works = ahead.get(flow, [])
            is_running = any(run.flow == flow for run in self.active.values())
            why = self.why_waiting(flow, others) or (WaitingForOwnRun() if works and is_running else None)
            queued = self._queue.next_of(flow, MOST_NAMED)
            runs.append(waiting_runs([*works, *queued], len(works) + counts.get(flow, 0), why))
        return runs

    def ids_waiting(self) -> list[str]:
        """The ids of the runs that wait, or that a worker was handed and has not begun."""
        ahead = [work for job in self._jobs.values() for work in job.not_begun()]
        return [work.run.run_id for work in (*ahead, *self._queue.waiting())]

    def stop_waiting(self, run_id: str, why: Cause) -> bool:
        """Stop one waiting run: it is recorded as stopped, and its file held. Whether it waited.

        Raises:
            LedgerError: that cannot be recorded now; it waits as before.
        """
        for work in self.drop(only=lambda work: bool(work.run.run_id == run_id)):
            try:
                self._record_run(work, "stopped", why.text, why)
            except LedgerError:
                self._queue.add(work, again=True)
                raise
            self._triggers.settled(work)
            self._around.tell()
            return True
        return False

    def note_stop(self, run_id: str) -> None:
        """Show the run as stopping from now on."""
        if (run := self.active.get(run_id)) is not None:
            run.is_stopping = True
            self._around.tell()

    def groups_held_elsewhere(self) -> dict[str, str]:
        """The groups that another process has while something of them waits here, with a flow of each."""
        waiting = {work.group: work.flow for work in reversed(self._queue.waiting())}
        return {
            group: flow
            for group, flow in waiting.items()
            if group in self._locks and not self._locks[group].is_held and self._queue.holder(group) is None
        }

    def why_none_began(self, run_ids: Collection[str]) -> Reason | None:
        """The reason why these runs, asked for by hand, wait; None when one of them runs or is about to."""
        work = next((work for work in self._queue.waiting() if work.run.run_id in run_ids), None)
        if work is None or any(run_id in self.active for run_id in run_ids):
            return None
        own = tuple(
            GroupRun(run.flow, run.run_id, os.getpid()) for run in self.active.values() if run.group == work.group
        )
        others = [] if self._ledger is None else self._ledger.active_runs(but_of=os.getpid())
        why = WaitingForGroup(work.group, own) if own else self.why_waiting(work.flow, others)
        return why or (None if self.trouble is None else Trouble(self.trouble.what, self.trouble.fix))

    def withdraw(self, batch: object) -> None:
        """Begin nothing more of a batch; what runs of it ends by itself."""
        for work in self.drop(only=lambda work: work.batch == batch):
            self._never_run(work, Cause("stop_requested"))
        for job_id, job in self._jobs.items():
            if job.works[0].batch == batch:
                self.executor.leave(job_id)

    def wind_down(self, why: Cause, *, stop: bool) -> None:
        """Start nothing that waits, and let what runs end by itself, or with `stop` at its next step."""
        for work in self.drop():
            self._never_run(work, why)
        self.executor.wind_down(stop_for=why if stop else None)
        for run_id in list(self.active) if stop else ():
            self.note_stop(run_id)

    def stop_flow(self, flow: str, why: Cause) -> list[str]:
        """End the flow's runs at their next step or item, and begin none that waits; the ids of those that are known to have begun."""
        for work in self.drop(flow):
            self._drop_stopped(work, why)
        for job_id, job in self._jobs.items():
            if job.works[0].flow == flow:
                job.stopped = why
                self.executor.leave(job_id, stop_for=why)
        running = [run_id for run_id, run in self.active.items() if run.flow == flow]
        for run_id in running:
            self.note_stop(run_id)
        return running

    # -- handing out -----------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Hand out what can run now."""
        if self._pause is not None or not self._around.may_begin():
            return
        if not self._queue.has_waiting or not self.executor.free() or self._wrong_settings() is not None:
            return
        try:
            if self._ledger is not None:
                self._ledger.require_writable()  # what cannot be recorded is not begun
        except LedgerError as error:
            self._rest(error)
            return
        flows = self._around.ready_flows()
        limits = {name: PlannedFlow.of(ready.flow).trigger.max_parallel for name, ready in flows.items()}
        for job in self._queue.take(free=self.executor.free(), max_parallel=limits, may_start=self._may_start):
            self._hand_out(job, flows.get(job.works[0].flow))

    def _wrong_settings(self) -> WorkspaceError | None:
        return None if self._home is None else self._home.error_that_stops_runs()

    def let_first_go_first(self) -> None:
        """Take back what was handed ahead where what goes before it waits: what a person asked for, here or elsewhere, or of a
        backfill also what is due."""
        turns = self._queue.turns()
        first = min(turns.values(), default=Turn.BACKFILL)
        has_worker = bool(self.executor.free())
        for job_id, job in self._jobs.items():
            group, turn = job.works[0].group, job.works[0].turn
            if len(job.works) == 1 or turn is Turn.ASKED:
                continue
            lock = self._locks.get(group)
            is_waited_for = turns.get(group, turn) < turn or (first < turn and not has_worker)
            if is_waited_for or (lock is not None and lock.gives_way):
                self.executor.leave(job_id)

    def _may_start(self, group: str) -> bool:
        if self._home is None:
            return True
        lock = self._locks.setdefault(group, GroupLock(self._home.local.locks_dir, group))
        try:
            if lock.is_held and not lock.gives_way:
                return True
            if not lock.is_held and lock.try_acquire():
                if not self._judged_anew(group):
                    return True
                lock.release()
                self._loop.call_soon(self.dispatch)
                return False
            if not lock.is_held and group in self._queue.asked_groups():
                lock.ask_first()
        except LedgerError as error:
            lock.release()
            self._rest(error)
            return False
        if self._retry is None:  # a kernel or a command line runs this group, or goes first: ask again soon
            self._retry = self._loop.call_later(_GROUP_RETRY_S, self._ask_again)
        return False

    def _judged_anew(self, group: str) -> bool:
        """Drop work of the group that another process may have done meanwhile; whether there was any.

        Raises:
            LedgerError: the history cannot be read.
        """
        dropped: list[Work] = []
        for flow in self._queue.flows_waiting(group):
            others = self._triggers.notice_others(flow)
            due = self._queue.first(flow, Turn.DUE)
            if due is None or due.others >= others:
                continue  # those behind it were found due later
            dropped += self._queue.drop(flow, only=lambda work: came_by_itself(work) and work.others < others)  # noqa: B023
        for work in dropped:
            self._triggers.judge_anew(work)
        return bool(dropped)

    def _ask_again(self) -> None:
        self._retry = None
        self.dispatch()

    def _hand_out(self, handed: HandOut, ready: ReadyFlow | None) -> None:
        works, flow = handed.works, handed.works[0].flow
        job_id = uuid.uuid4().hex
        content = None if ready is None or ready.content is None else str(ready.content)
        deployment = None if ready is None else ready.deployment
        limit_s = None if self._home is None else self._home.settings().limits.run_timeout_s
        self._jobs[job_id] = HandedOut(works, content, self._loop.time(), handed.pass_number)
        self._triggers.handed_out(flow, [work.run.run_id for work in works])
        self.executor.submit(
            Job(
                job_id,
                "run",
                flow,
                content,
                tuple(work.run._replace(about=about_work(work, deployment)) for work in works),
                works[0].params,
                limit_s,
                pass_number=handed.pass_number,
                ends_pass=handed.ends_pass,
            )
        )

    # -- trouble ---------------------------------------------------------------------------------------------------

    def say_trouble(self, trouble: FlowValidationError) -> None:
        """Note that events cannot be stored now; they are kept and tried again."""
        if self.trouble is None or self.trouble.what != trouble.what:
            log.error("what waits and what happens is kept and tried again: %s", trouble)
        self.trouble = trouble

    def see_whether_trouble_is_over(self) -> None:
        """Try the ledger when no run is there to try it.

        Raises:
            LedgerError: it is not.
        """
        if self.trouble is not None and self.is_idle and self._ledger is not None:
            self._ledger.flush()
            self._end_trouble()

    def _rest(self, trouble: FlowValidationError) -> None:
        """Start nothing for a moment, because this machine cannot do it just now; nothing that waits is lost."""
        if self._pause is None:
            self._pause = self._loop.call_later(_TROUBLE_PAUSE_S, self._go_on)
        self.say_trouble(trouble)

    def _go_on(self) -> None:
        self._pause = None
        self.dispatch()

    def _end_trouble(self) -> None:
        if self.trouble is not None:
            self.trouble = None
            log.info("what happens is stored again")
            self._around.tell()

    # -- told by the executor --------------------------------------------------------------------------------------

    def store(self, job: Job, events: list[Event]) -> None:
        """Record what has happened in a job's runs, for an executor that cannot do so itself.

        Raises:
            LedgerError: it cannot be recorded now; it is kept and tried again.
        """
        if self._ledger is None:
            return
        try:
            self._ledger.record(*events, has_begun=True)
        except LedgerError as error:
            self._rest(error)
            raise
        else:
            if any(isinstance(event, (RunStarted, RunFinished)) for event in events):
                self._end_trouble()

    def on_events(self, job: Job, events: Sequence[Event]) -> None:
        """Take recorded events of a job's runs."""
        running = self._jobs.get(job.job_id)
        for event in events:
            if isinstance(event, RunStarted):
                run = Active(event.run_id, event.flow, event.group, event.source, event.at_s)
                self.active[event.run_id] = run
                if running is not None:
                    running.began.add(event.run_id)
                    run.is_stopping = running.stopped is not None
            elif isinstance(event, RunFinished):
                self.active.pop(event.run_id, None)
                self.backfills.ended(job.flow or "", event)
            elif isinstance(event, (StepStarted, StepProgress)) and event.run_id in self.active:
                self.active[event.run_id].show_step(event)
        self._triggers.heard(job.flow or "", events)
        self.alerts.heard(job.flow or "", events)
        self._around.tell()

    def on_done(self, job: Job, end: JobEnd) -> None:
        """End a job: a work without a run waits again or is recorded as failed, and the next is handed out."""
        running = self._jobs.pop(job.job_id)
        flow = running.works[0].flow
        self._triggers.job_ended(flow, [work.run.run_id for work in running.works])
        was_cut_short = end.is_passing or (end.error is None and end.cause is None)
        if end.is_passing:
            error = end.error or {"what": end.cause or "no run can begin", "where": None, "fix": None}
            self._rest(error_of(error))
        for work in reversed(running.works):
            if work.run.run_id not in running.began:
                if was_cut_short and running.stopped is not None:
                    self._drop_stopped(work, running.stopped)
                    continue
                if was_cut_short:
                    self._take_back(work)
                    continue
                try:
                    error = end.error or {"what": end.cause or "the run was not begun", "where": None, "fix": None}
                    why = (end.why or Cause("module_broken")).where(places=error.get("places"))
                    self._record_run(work, "failed", str(error_of(error)), why)
                except LedgerError as error:
                    self._rest(error)
                    self._take_back(work)
                    continue
            self._triggers.settled(work)
        seconds = self._loop.time() - running.started_s
        runs = max(len(running.began), 1)
        group = self._queue.ended(flow, pass_number=running.pass_number, seconds=seconds, runs=runs)
        for number in self._queue.ended_passes():
            self.executor.end_pass(number)
        if group is not None and group in self._locks:
            self._locks[group].release()
        self.dispatch()
        self._around.tell()

    def _take_back(self, work: Work) -> None:
        """Requeue a source that was handed out and whose run never started, or let it be judged anew."""
        if work.turn is Turn.BACKFILL:
            if self._around.keeps_workspace() and self.backfills.wants(work):
                self._queue.add(work, again=True)
            else:
                self.backfills.dropped(work)
        elif not came_by_itself(work) and not self._around.keeps_workspace():
            self._never_run(work, Cause("no_longer_owner"))
        elif not came_by_itself(work) or self._triggers.take_back(work):
            self._queue.add(work, again=True)

    def _drop_stopped(self, work: Work, why: Cause) -> None:
        """Record a work asked for by hand as stopped; what is due by itself is judged anew when the flow may run again."""
        if came_by_itself(work):
            self._triggers.take_back(work)
        else:
            self._never_run(work, why)

    def _never_run(self, work: Work, why: Cause) -> None:
        """Record a work asked for by hand as stopped: it never runs. A backfill goes on with it another time."""
        if work.turn is Turn.BACKFILL:
            self.backfills.dropped(work)
        elif not came_by_itself(work):
            with suppress(LedgerError):
                self._record_run(work, "stopped", why.text, why)

    def _record_run(self, work: Work, status: str, text: str, why: Cause) -> None:
        for event in never_begun(work, status, text, why, time.time()):
            try:
                if self._ledger is not None:
                    self._ledger.record(event)
            except LedgerError:
                if isinstance(event, RunStarted):
                    raise
            if not isinstance(event, LogLine):
                self._triggers.heard(work.flow, [event])
                self.alerts.heard(work.flow, [event])
            if isinstance(event, RunFinished):
                self.backfills.ended(work.flow, event)


@dataclass(slots=True)
class Active:
    """A run under way, as `status` shows it."""

    run_id: str
    flow: str
    group: str
    source: str | None
    started_at_s: float
    step: str | None = None
    step_at_s: float | None = None
    done: int | None = None
    total: int | None = None
    is_stopping: bool = False

    def show_step(self, event: StepStarted | StepProgress) -> None:
        """Show what a step of it does."""
        if isinstance(event, StepStarted):
            self.step, self.step_at_s, self.done, self.total = event.label, event.at_s, None, None
        else:
            self.done, self.total = event.done, event.total


@dataclass(slots=True)
class HandedOut:
    """A job that the executor has."""

    works: list[Work]
    content: str | None
    started_s: float
    pass_number: int
    began: set[str] = field(default_factory=set)
    stopped: Cause | None = None
    """Why what it has not begun is not to run any more."""

    def not_begun(self) -> list[Work]:
        """Its works that have no run yet."""
        return [work for work in self.works if work.run.run_id not in self.began]


def waiting_runs(works: Sequence[Work], count: int, why: Reason | None) -> WaitingRuns:
    """The summary of `count` waiting runs of one flow, of which `works` are the first."""
    first = works[0]
    runs = tuple(NextRun(work.run.run_id, work.run.source.text) for work in works[:MOST_NAMED])
    return WaitingRuns(first.flow, first.group, count, first.run.source.text, why, runs)


def never_begun(work: Work, status: str, text: str, why: Cause, now_s: float) -> tuple[Event, ...]:
    """The events of a run that ends as it begins, for this reason."""
    run: SourceRun = work.run
    run_id, source, seen = run.run_id, run.source, run.seen or ()
    about = about_work(work, None)._replace(params=params_text(work.params))
    return (
        RunStarted(run_id, work.flow, work.group, source.text, now_s, source.key, seen, about),
        LogLine(run_id, work.flow, None, "ERROR", text, now_s),
        RunFinished(run_id, status, now_s, 0.0, text, why, seen),
    )


def about_work(work: Work, deployment: Deployment | None) -> RunAbout:
    """Who began the run of this work, and why; `deployment` says which code it runs."""
    about: RunAbout | None = work.run.about
    if about is None:
        why = None if work.due is None else work.due.why
        kind, detail = ("hand", None) if why is None else why_begun(why)
        slot_utc = why.slot_utc if isinstance(why, Slot) else None
        about = RunAbout(kind, detail, "@".join(person()), scheduled_for=slot_utc)
    if deployment is None:
        return about
    return about._replace(deployment_id=deployment.id, git_commit=deployment.git_commit, git_dirty=deployment.git_dirty)


def why_begun(why: WhyDue) -> tuple[str, str | None]:
    """The kind of trigger of what was due, and its detail.

    Example:
        >>> from data_engine.reasons.kinds import New
        >>> why_begun(Slot("2026-01-01T06:00:00+00:00")), why_begun(New())[0]
        (('slot', '2026-01-01T06:00:00+00:00'), 'file')
    """
    if isinstance(why, Slot):
        return "slot", why.slot_utc
    if isinstance(why, Tick):
        return "slot", None
    if isinstance(why, (Freed, Retried)):
        return "retry", why.text
    return ("hand", None) if why.kind == "asked" else ("file", why.text)


class Scheduler(Generic[_E]):
    """Finds what is due in one workspace (None: of flows that belong to none), and runs it in an executor of its own.

    `say` gets what people should know of a flow, a name and a line.
    """

    def __init__(
        self,
        home: LocalWorkspace | None,
        make_executor: Callable[[Dispatcher[_E]], _E],
        around: Host,
        *,
        loop: asyncio.AbstractEventLoop,
        say: Callable[[str, str], None],
    ) -> None:
        self._around = around
        self._ledger = None if home is None else home.ledger()
        self._data_version = 0 if self._ledger is None else self._ledger.data_version()
        self.triggers = TriggerSet(
            home,
            loop=loop,
            hand_over=lambda works: self.dispatcher.add(works),
            drop=lambda flow, only: self.dispatcher.drop(flow, only=only),
            say_trouble=lambda trouble: self.dispatcher.say_trouble(trouble),
            say=say,
        )
        self.dispatcher: Dispatcher[_E] = Dispatcher(home, make_executor, around, self.triggers, loop=loop)

    def tick(self) -> None:
        """Notice what other processes have written, and that trouble is over; called every few seconds.

        Raises:
            LedgerError: the history cannot be read or written.
        """
        self.triggers.tick()
        if self._ledger is not None:
            lost = self._ledger.recover()
            version = self._ledger.data_version()
            if lost or version != self._data_version:
                self._data_version = version
                self.triggers.reload()
                self._around.tell()
        self.dispatcher.see_whether_trouble_is_over()
        self.dispatcher.dispatch()  # what waited for settings that can be used
        self.dispatcher.let_first_go_first()

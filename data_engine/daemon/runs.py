"""The runs of one daemon: what waits goes to workers, what they report goes into the ledger. Everything on its one thread."""

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
from typing import Any, Protocol

from data_engine.cause import Cause
from data_engine.daemon.deployer import Deployed
from data_engine.daemon.desk import Desk, Work
from data_engine.daemon.messages import Job, JobSource
from data_engine.daemon.workers import JobEnd, Workers
from data_engine.engine.candidates import Source
from data_engine.engine.flow_reasons import Trouble
from data_engine.engine.home import Home
from data_engine.engine.plan import Due, Watch
from data_engine.engine.reasons import GroupRun, Reason, Waiting, WaitingForGroup, WaitingForShare, WaitingForWorker
from data_engine.engine.status import ActiveRun, active_runs
from data_engine.errors import FlowValidationError, LedgerError, error_of
from data_engine.locks import GroupLock
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished, StepProgress, StepStarted
from data_engine.notebook.catalog import CatalogEntry, entry_of_message

log = logging.getLogger(__name__)

_GROUP_RETRY_S = 0.2
_TROUBLE_PAUSE_S = 1.0


class Host(Protocol):
    """What the runs need of the daemon around them."""

    def can_work(self) -> bool:
        """Whether new runs may begin now."""
        ...

    def keeps_workspace(self) -> bool:
        """Whether this machine owns the workspace and does not give it up."""
        ...

    def deployed_flows(self) -> Mapping[str, Deployed]:
        """What production runs."""
        ...

    def heard(self, flow: str, events: Sequence[Event]) -> None:
        """Something happened in runs of the flow."""
        ...

    def take_back(self, work: Work) -> bool:
        """Work that was due has no run, for no fault of its own: whether it shall wait again, and is not judged anew."""
        ...

    def settled(self, work: Work) -> None:
        """The work is done with, however its run ended."""
        ...

    def tell(self) -> None:
        """Something changed that people see."""
        ...


@dataclass(frozen=True, slots=True)
class Item:
    """What one piece of waiting work is for; `due` is None for a request by hand."""

    source: Source
    run_id: str
    params: dict[str, Any]
    due: Due | None = None
    slot: int | None = None


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


@dataclass(slots=True)
class _HandedOut:
    """A job that a worker has."""

    works: list[Work]
    content: str | None
    started_s: float
    began: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)


def came_by_itself(work: Work) -> bool:
    """Whether nobody asked for it: it was due."""
    return work.item.due is not None


class Runs:
    """What waits, what runs, and the workers it runs in. `make_workers` builds them around the callbacks it is given."""

    def __init__(self, home: Home, make_workers: Callable[..., Workers], host: Host) -> None:
        self.active: dict[str, Active] = {}
        self._home, self._ledger, self._host = home, home.ledger(), host
        self._desk = Desk()
        self.workers: Workers = make_workers(
            new_journal=self._ledger.new_journal, store=self._store, on_events=self._on_events, on_done=self._on_done
        )
        self.workers.set_work_until(0.0)
        self._loop = asyncio.get_running_loop()
        self._jobs: dict[str, _HandedOut] = {}
        self._descriptions: dict[str, asyncio.Future[JobEnd]] = {}
        self._locks: dict[str, GroupLock] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self.trouble: FlowValidationError | None = None

    # -- asked by the daemon ---------------------------------------------------------------------------------------

    def add(self, works: Sequence[Work]) -> None:
        """Let this wait for its turn, and hand out what can run; what a person asked for goes before all that is due."""
        for work in works:
            self._desk.add(work)
        self.dispatch()
        self.let_by_hand_go_first()

    def drop(self, flow: str | None = None, *, only: Callable[[Work], bool] = lambda work: True) -> list[Work]:
        """Let nothing (of `flow`, and for which `only` holds) wait any more; what was dropped."""
        dropped = self._desk.drop(flow, only=only)
        for group in {work.group for work in dropped} - self._desk.asked_groups():
            if group in self._locks and not self._locks[group].is_held:
                self._locks[group].release()  # it may have asked to go first
        return dropped

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._jobs and not self._desk.waiting()

    @property
    def are_under_way(self) -> bool:
        """Whether a worker has any."""
        return bool(self._jobs)

    def handed_out(self) -> list[Work]:
        """What workers have."""
        return [work for job in self._jobs.values() for work in job.works]

    def sets_in_use(self) -> set[str]:
        """The module sets that running work holds."""
        return {Path(job.content).name for job in self._jobs.values() if job.content is not None}

    def is_to_come(self, run_id: str) -> bool:
        """Whether the run waits, or has not ended in its worker."""
        if any(work.item.run_id == run_id for work in self._desk.waiting()):
            return True
        return any(
            work.item.run_id == run_id and run_id not in job.ended for job in self._jobs.values() for work in job.works
        )

    def why_waiting(self, flow: str, others: Sequence[ActiveRun]) -> Waiting | None:
        """Why the flow's next work does not start; None when nothing of it waits. `others` are runs of other processes."""
        work = self._desk.first(flow)
        if work is None:
            return None
        if self._host.keeps_workspace() and not self._host.can_work():
            return WaitingForShare()
        own = [run for run in self.active.values() if run.group == work.group and run.flow != flow]
        runs = [GroupRun(run.flow, run.run_id, os.getpid()) for run in own]
        runs += [GroupRun(run.flow, run.run_id, run.pid) for run in others if run.group == work.group]
        lock = self._locks.get(work.group)
        is_held_elsewhere = lock is not None and not lock.is_held
        if self._desk.holder(work.group) not in (None, flow) or runs:
            return WaitingForGroup(work.group, tuple(runs))
        if not self.workers.free():
            return WaitingForWorker()
        return WaitingForGroup(work.group) if is_held_elsewhere else None

    def why_none_began(self, run_ids: Collection[str]) -> Reason | None:
        """Whom these runs, asked for by hand, wait for; None when one of them runs or is about to."""
        work = next((work for work in self._desk.waiting() if work.item.run_id in run_ids), None)
        if work is None or any(run_id in self.active for run_id in run_ids):
            return None
        own = tuple(
            GroupRun(run.flow, run.run_id, os.getpid()) for run in self.active.values() if run.group == work.group
        )
        others = active_runs(self._ledger, but_of=os.getpid())
        why = WaitingForGroup(work.group, own) if own else self.why_waiting(work.flow, others)
        return why or (None if self.trouble is None else Trouble(self.trouble.what))

    def wind_down(self, why: Cause, *, stop: bool) -> None:
        """Start nothing that waits, and let what runs end by itself, or with `stop` at its next step."""
        for work in self.drop():
            self._never_run(work, why)
        self.workers.wind_down(stop_for=why if stop else None)

    async def describe(self, content: Path) -> tuple[CatalogEntry, ...]:
        """The flows of the modules in a folder, as a worker reads them.

        Raises:
            FlowValidationError: no worker can.
        """
        job_id = uuid.uuid4().hex
        future = self._descriptions[job_id] = self._loop.create_future()
        self.workers.submit(Job(job_id, "describe", None, str(content), (), {}, None))
        end = await future
        if end.described is None:
            error = end.error or {}
            raise FlowValidationError(
                f"the modules cannot be described: {error.get('what') or end.cause}",
                where=error.get("where") or str(self._home.layout.flow_modules_dir),
                mend=error.get("mend") or "see the daemon's log; `data-engine compile` checks each module",
            )
        return tuple(entry_of_message(message) for message in end.described)

    # -- handing out -----------------------------------------------------------------------------------------------

    def dispatch(self) -> None:
        """Hand out what can run now."""
        if self._pause is not None or not self._host.can_work():
            return
        if not self._desk.has_waiting or not self.workers.free():
            return
        try:
            self._ledger.require_writable()  # what cannot be recorded is not begun
        except LedgerError as error:
            self._rest(error)
            return
        flows = {name: one.entry.flow for name, one in self._host.deployed_flows().items()}
        limits = {name: Watch.of(flow).trigger.max_parallel for name, flow in flows.items() if flow is not None}
        for works in self._desk.take(free=self.workers.free(), max_parallel=limits, may_start=self._may_start):
            self._hand_out(works)

    def let_by_hand_go_first(self) -> None:
        """Take back what was handed ahead and is only due, where what a person asked for waits for it, here or elsewhere."""
        groups = self._desk.asked_groups()
        needs_worker = bool(groups) and not self.workers.free()
        for job_id, job in self._jobs.items():
            group = job.works[0].group
            is_ahead = len(job.works) > 1 and came_by_itself(job.works[0])
            if is_ahead and (needs_worker or group in groups or self._locks[group].gives_way):
                self.workers.leave(job_id)

    def _may_start(self, group: str) -> bool:
        lock = self._locks.setdefault(group, GroupLock(self._home.local.locks_dir, group))
        try:
            if not lock.gives_way if lock.is_held else lock.try_acquire():
                return True
            if not lock.is_held and group in self._desk.asked_groups():
                lock.ask_first()
        except LedgerError as error:
            self._rest(error)
            return False
        if self._retry is None:  # a kernel or a command line runs this group, or goes first: ask again soon
            self._retry = self._loop.call_later(_GROUP_RETRY_S, self._ask_again)
        return False

    def _ask_again(self) -> None:
        self._retry = None
        self.dispatch()

    def _hand_out(self, works: list[Work]) -> None:
        deployed = self._host.deployed_flows().get(works[0].flow)
        job_id = uuid.uuid4().hex
        sources = tuple(
            JobSource(
                None if work.item.source.root is None else str(work.item.source.root),
                None if work.item.source.path is None else str(work.item.source.path),
                work.item.source.key,
                work.item.run_id,
                None if work.item.due is None or not work.item.due.seen else work.item.due.seen,
            )
            for work in works
        )
        content = None if deployed is None or deployed.content is None else str(deployed.content)
        limit_s = self._home.settings().limits.run_timeout_s
        self._jobs[job_id] = _HandedOut(works, content, time.monotonic())
        self.workers.submit(Job(job_id, "run", works[0].flow, content, sources, works[0].item.params, limit_s))

    # -- trouble ---------------------------------------------------------------------------------------------------

    def say_trouble(self, trouble: FlowValidationError) -> None:
        """What happens cannot be stored just now; it is kept and tried again."""
        if self.trouble is None or self.trouble.what != trouble.what:
            log.error("what waits and what happens is kept and tried again: %s", trouble)
        self.trouble = trouble

    def see_whether_trouble_is_over(self) -> None:
        """Try the ledger when no run is there to try it.

        Raises:
            LedgerError: it is not.
        """
        if self.trouble is not None and self.is_idle:
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
            self._host.tell()

    # -- told by the workers ---------------------------------------------------------------------------------------

    def _store(self, job: Job, events: list[Event]) -> None:
        try:
            self._ledger.record(*events, has_begun=True)
        except LedgerError as error:
            self._rest(error)
            raise
        else:
            if any(isinstance(event, (RunStarted, RunFinished)) for event in events):
                self._end_trouble()

    def _on_events(self, job: Job, events: list[Event]) -> None:
        running = self._jobs.get(job.job_id)
        for event in events:
            if isinstance(event, RunStarted):
                self.active[event.run_id] = Active(event.run_id, event.flow, event.group, event.source, event.at_s)
                if running is not None:
                    running.began.add(event.run_id)
            elif isinstance(event, RunFinished):
                self.active.pop(event.run_id, None)
                if running is not None:
                    running.ended.add(event.run_id)
            elif isinstance(event, (StepStarted, StepProgress, StepFinished)):
                self._show_step(event)
        self._host.heard(job.flow or "", events)
        self._host.tell()

    def _show_step(self, event: StepStarted | StepProgress | StepFinished) -> None:
        run = self.active.get(event.run_id)
        if run is None:
            return
        if isinstance(event, StepStarted):
            run.step, run.step_at_s, run.done, run.total = event.label, event.at_s, None, None
        elif isinstance(event, StepProgress):
            run.done, run.total = event.done, event.total

    def _on_done(self, job: Job, end: JobEnd) -> None:
        if job.kind == "describe":
            future = self._descriptions.pop(job.job_id, None)
            if future is not None and not future.done():
                future.set_result(end)
            return
        running = self._jobs.pop(job.job_id)
        flow = running.works[0].flow
        was_cut_short = end.is_passing or (end.error is None and end.cause is None)
        if end.is_passing:
            error = end.error or {"what": end.cause or "no run can begin", "where": None, "mend": None}
            self._rest(error_of(error))
        for work in reversed(running.works):
            if work.item.run_id not in running.began:
                if was_cut_short:
                    self._take_back(work)
                    continue
                try:
                    self._not_begun(work, end)
                except LedgerError as error:
                    self._rest(error)
                    self._take_back(work)
                    continue
            self._host.settled(work)
        seconds = time.monotonic() - running.started_s
        group = self._desk.ended(flow, seconds=seconds, runs=max(len(running.began), 1))
        if group is not None:
            self._locks[group].release()
        self.dispatch()
        self._host.tell()

    def _take_back(self, work: Work) -> None:
        """A source that was handed out has no run yet, for no fault of its own: it waits again, or is judged anew."""
        if not came_by_itself(work) and not self._host.keeps_workspace():
            self._never_run(work, Cause("no_longer_owner"))
        elif not came_by_itself(work) or self._host.take_back(work):
            self._desk.add(work, again=True)

    def _not_begun(self, work: Work, end: JobEnd) -> None:
        """No run of a source can begin: its module is broken, and that is its run."""
        error = end.error or {"what": end.cause or "the run was not begun", "where": None, "mend": None}
        text = str(error_of(error))
        self._record_run(work, "failed", text, (end.why or Cause("module_broken")).where(places=error.get("places")))

    def _never_run(self, work: Work, why: Cause) -> None:
        """What somebody asked for by hand will not run: that is its run."""
        if not came_by_itself(work):
            with suppress(LedgerError):
                self._record_run(work, "stopped", why.text, why)

    def _record_run(self, work: Work, status: str, text: str, why: Cause) -> None:
        item: Item = work.item
        now_s = time.time()
        seen = () if item.due is None else item.due.seen
        key = item.source.key
        for event in (
            RunStarted(item.run_id, work.flow, work.group, item.source.text, now_s, key, seen),
            LogLine(item.run_id, work.flow, None, "ERROR", text, now_s),
            RunFinished(item.run_id, status, now_s, 0.0, text, why, seen),
        ):
            try:
                self._ledger.record(event)
            except LedgerError:
                if isinstance(event, RunStarted):
                    raise
            if not isinstance(event, LogLine):
                self._host.heard(work.flow, [event])

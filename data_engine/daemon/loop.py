"""The daemon of one workspace: what is due goes to workers, what they report goes into the ledger.

Everything here happens on one asyncio thread, but for looking (`watcher`), which only hands over what is due.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from data_engine.clock import boot_clock
from data_engine.daemon.deployer import Deployed, Deployer
from data_engine.daemon.desk import Desk, Work
from data_engine.daemon.messages import Job, JobSource
from data_engine.daemon.ownership import Ownership
from data_engine.daemon.watcher import Watcher, Watching
from data_engine.daemon.workers import JobEnd, Workers
from data_engine.engine.candidates import Source, listed_source, pick_source, startup_sources
from data_engine.engine.clockwork import Clockwork
from data_engine.engine.file_events import FileEvents
from data_engine.engine.home import Home
from data_engine.engine.lookout import Lookout, Memory
from data_engine.engine.plan import Due, Rules, Watch, why_blocked
from data_engine.engine.reasons import GroupRun, Reason, WaitingForGroup, WaitingForWorker
from data_engine.engine.status import ActiveRun, active_runs
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Schedule
from data_engine.lease.keeper import Keeper
from data_engine.ledger.rows import SourceStates
from data_engine.locks import GroupLock
from data_engine.model import (
    Event,
    LogLine,
    RunFinished,
    RunStarted,
    SourceKey,
    StepFinished,
    StepProgress,
    StepStarted,
)
from data_engine.notebook.catalog import CatalogEntry, entry_of_message

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_BEAT_S = 2.0
_GROUP_RETRY_S = 0.2
_PRUNE_EVERY_S = 3600.0
_RELEASE_RETRY_S = 2.0
_TELL_AFTER_S = 0.02
_TROUBLE_PAUSE_S = 1.0
_WRITE_PATIENCE_S = 0.5
ENGINE_SETTING = "engine_is_on"


@dataclass(frozen=True, slots=True)
class _Item:
    """What one piece of waiting work is for; `due` is None for a request by hand."""

    source: Source
    run_id: str
    params: dict[str, Any]
    due: Due | None = None
    slot: int | None = None


@dataclass(slots=True)
class _Active:
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
class _Running:
    """A job that was handed to a worker."""

    works: list[Work]
    content: str | None
    started_s: float
    began: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)


class Daemon:
    """The engine of one workspace on this machine. `make_workers` builds its workers around the callbacks it is given."""

    def __init__(self, home: Home, make_workers: Callable[..., Workers], keeper: Keeper) -> None:
        self.home = home
        self.ledger = home.ledger()
        self.ownership = Ownership(keeper, self)
        self.is_engine_on = False
        self.is_stopping = False
        self.active: dict[str, _Active] = {}
        self.change = asyncio.Condition()
        self.number = 0
        self.deployer = Deployer(home, self._describe, self._sets_in_use)
        self.ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._desk = Desk()
        self._workers = make_workers(
            new_journal=self.ledger.new_journal, store=self._store, on_events=self._on_events, on_done=self._on_done
        )
        self._workers.set_work_until(0.0)
        self._jobs: dict[str, _Running] = {}
        self._descriptions: dict[str, asyncio.Future[JobEnd]] = {}
        self._locks: dict[str, GroupLock] = {}
        self._watchers: dict[str, Watcher] = {}
        self._recalled: dict[str, SourceStates] = {}
        self._slots: dict[int, tuple[str, Due, set[str], str]] = {}
        self._file_events = FileEvents()
        self._data_version = self.ledger.data_version()
        self._pruned_s = 0.0
        self._needed_s = time.monotonic()
        self._retry: asyncio.TimerHandle | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._trouble: FlowValidationError | None = None
        self._is_telling = False
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Warm a worker, deploy what is good, and take the engine up where it was when the last daemon ended."""
        self.ledger.wait_at_most(_WRITE_PATIENCE_S)  # all wait for this thread; what is not written is tried again
        await self._workers.start()
        self.ownership.start()
        again = self._spawn(self._own_again()) if self.ledger.setting(ENGINE_SETTING) == "1" else None
        await self.deployer.refresh(is_start=True)
        if again is not None and await again:
            self._turn_on(by_person=False)
        self._recalled = {flow: states for flow, states in self._recalled.items() if flow in self._watchers}
        self.ready.set()
        self.tell()
        self._spawn(self._every_beat(self._look_at_the_share))
        self._spawn(self._every_beat(self._see_what_changed))

    def _recall(self) -> None:
        """Read what is known of many sources while a worker looks at the modules."""
        with suppress(FlowValidationError, OSError):  # it is read again, and told, where it is needed
            for flow in self.home.deployments().deployed():
                self._recalled[flow] = self.ledger.source_states(flow)

    def memory(self, flow: str) -> Memory:
        """What is known of the flow's sources.

        Raises:
            LedgerError: the history cannot be read.
        """
        states = self._recalled.pop(flow, None)
        return Memory(self.ledger.source_states(flow) if states is None else states, self.ledger.outputs(flow))

    async def close(self, *, kill: bool = False) -> None:
        """End everything: nothing new starts, running work ends by itself, or now with `kill`."""
        self.is_stopping = True
        self._stop_watching()
        self._desk.drop()
        if not kill:
            while self._jobs:
                await self.wait_for_change(1.0)
        await self._workers.close(kill=kill)
        await self.ownership.close(release=not kill)
        for task in list(self._tasks):
            task.cancel()
        self._file_events.close()
        self.ledger.close()

    async def start_engine(self) -> None:
        """Run polled and scheduled flows from now on; what was held is tried again. Also deploys everything good."""
        await self.ownership.own()
        await self.deployer.refresh(is_start=True)
        self.ledger.set_setting(ENGINE_SETTING, "1")
        self.ownership.set_engine(True)
        self._turn_on(by_person=True)
        self.tell()

    async def stop_engine(self) -> None:
        """Let running work finish and start nothing that waits for its turn by itself."""
        if self.ownership.is_held:
            self.ownership.set_engine(False)
        self._turn_off()

    async def _own_again(self) -> bool:
        """Go on where the last daemon of this machine ended; whether the workspace is ours still."""
        try:
            await self.ownership.own()
        except FlowValidationError as error:
            log.warning("the engine stays off: %s", error)
            self.ledger.set_setting(ENGINE_SETTING, "0")
            return False
        self.ownership.set_engine(True)
        await asyncio.to_thread(self._recall)
        return True

    def _turn_off(self) -> None:
        self.ledger.set_setting(ENGINE_SETTING, "0")
        self.is_engine_on = False
        self._stop_watching()
        self._desk.drop(only=_came_by_itself)
        self.tell()

    def _turn_on(self, *, by_person: bool) -> None:
        self.is_engine_on = True
        for flow in self.deployer.flows:
            self._watch(flow, frees_held=by_person)

    async def _look_at_the_share(self) -> None:
        if await self.deployer.refresh():
            self._flows_changed()

    async def _see_what_changed(self) -> None:
        self._notice_others()
        self._see_whether_trouble_is_over()
        self._give_up_when_idle()
        self._prune()

    async def _every_beat(self, deed: Callable[[], Awaitable[None]]) -> None:
        """Do it again and again; a share that hangs holds up only what looks at it."""
        while not self.is_stopping:
            try:
                await deed()
            except FlowValidationError as error:
                log.warning("%s", error)
            except Exception:
                log.exception("a look at what changed failed")
            await asyncio.sleep(_BEAT_S)

    def _flows_changed(self) -> None:
        if self.is_engine_on:
            for flow in set(self._watchers) | set(self.deployer.flows):
                self._watch(flow, frees_held=False)
        self.tell()

    def _notice_others(self) -> None:
        lost = self.ledger.recover()
        version = self.ledger.data_version()
        if lost or version != self._data_version:
            self._data_version = version
            for watcher in self._watchers.values():
                if isinstance(watcher.watching, Lookout):
                    watcher.watching.reload()
            self.tell()

    def _prune(self) -> None:
        if time.monotonic() - self._pruned_s > _PRUNE_EVERY_S or not self._pruned_s:
            self._pruned_s = time.monotonic()
            self.ledger.prune(retention_days=self.home.settings().history.retention_days, now_s=time.time())

    # -- owning ----------------------------------------------------------------------------------------------------

    def owned(self, *, engine_on: bool) -> None:
        """The workspace is ours now; `engine_on` travelled with it."""
        self._needed_s = time.monotonic()
        if engine_on and self.ready.is_set() and not self.is_engine_on:
            self.ledger.set_setting(ENGINE_SETTING, "1")
            self._turn_on(by_person=False)

    def lost(self, to: str) -> None:
        """Somebody else owns the workspace: what runs ends at its next step, and nothing starts."""
        log.warning("%s owns the workspace now", to)
        self._wind_down(f"{to} took the workspace over", stop=True)

    def may_work_until(self, boot_s: float) -> None:
        """Steps and items may begin until then."""
        self._workers.set_work_until(max(0.0, boot_s))

    def noticed(self) -> None:
        """Something about the ownership changed."""
        self._dispatch()
        self.tell()

    def give_up(self, *, now: bool) -> None:
        """Let somebody else own the workspace: when the running work is done, or after stopping it at its next step.

        Does nothing where it is not ours. The engine goes on at whoever has asked for the workspace, if anybody has.
        """
        if not self.ownership.is_held or self.ownership.is_releasing:
            return
        self.ownership.is_releasing = True
        if not self.ownership.is_requested:
            self.ownership.set_engine(False)
        self._wind_down("the workspace is handed over", stop=now)
        self._spawn(self._release_when_done())

    async def _release_when_done(self) -> None:
        while self._jobs:
            await self.wait_for_change(1.0)
        while self.ownership.is_held:
            try:
                await self.ownership.release()
            except FlowValidationError as error:  # a share that is away; what was agreed is done when it is back
                log.warning("%s", error)
                await asyncio.sleep(_RELEASE_RETRY_S)
        self.ownership.is_releasing = False
        self.tell()

    def _wind_down(self, why: str, *, stop: bool) -> None:
        self._turn_off()
        for work in self._desk.drop():
            self._never_run(work, why)
        self._workers.wind_down(stop_for=why if stop else None)

    def _give_up_when_idle(self) -> None:
        """An owner with neither an engine nor a run gives the workspace up after `[daemon] idle_exit`."""
        now_s = time.monotonic()
        if not self.is_idle:
            self._needed_s = now_s
        elif self.ownership.is_held and now_s - self._needed_s > self.home.settings().daemon.idle_exit_s:
            self.give_up(now=False)

    # -- seeing ----------------------------------------------------------------------------------------------------

    def watch_of(self, flow: str) -> Watch | None:
        """What planning knows of a good flow; None for one that is broken or unknown."""
        deployed = self.deployer.flows.get(flow)
        if deployed is None or deployed.entry.flow is None:
            return None
        return Watch.of(deployed.entry.flow)

    def watching(self, flow: str) -> Watching | None:
        """What looks at the flow now."""
        watcher = self._watchers.get(flow)
        return None if watcher is None else watcher.watching

    def next_utc(self, flow: str) -> str | None:
        """When the flow's next slot or tick comes."""
        watcher = self._watchers.get(flow)
        return None if watcher is None else watcher.next_utc

    def is_new_to(self, flow: str) -> bool:
        """Whether the flow is watched, and nobody knows yet when it comes next."""
        watcher = self._watchers.get(flow)
        return watcher is not None and not isinstance(watcher.watching, Lookout) and watcher.why is None

    def why(self, flow: str) -> Reason | None:
        """What planning said last of the flow as a whole: its next slot, a slot that is held, a source out of reach."""
        watcher = self._watchers.get(flow)
        if watcher is None:
            return None
        looking = watcher.watching
        if isinstance(looking, Lookout):
            return looking.unreachable
        return watcher.why if looking is None or looking.held is None else looking.held

    def why_waiting(self, flow: str, others: Sequence[ActiveRun]) -> WaitingForGroup | WaitingForWorker | None:
        """Why the flow's next work does not start; None when nothing of it waits. `others` are runs of other processes."""
        work = self._desk.first(flow)
        if work is None:
            return None
        own = [run for run in self.active.values() if run.group == work.group and run.flow != flow]
        runs = [GroupRun(run.flow, run.run_id, os.getpid()) for run in own]
        runs += [GroupRun(run.flow, run.run_id, run.pid) for run in others if run.group == work.group]
        lock = self._locks.get(work.group)
        is_held_elsewhere = lock is not None and not lock.is_held
        if self._desk.holder(work.group) not in (None, flow) or runs:
            return WaitingForGroup(work.group, tuple(runs))
        if not self._workers.free():
            return WaitingForWorker()
        return WaitingForGroup(work.group) if is_held_elsewhere else None

    def why_none_began(self, run_ids: Collection[str]) -> str | None:
        """Whom these runs, asked for by hand, wait for; None when one of them runs or is about to."""
        work = next((work for work in self._desk.waiting() if work.item.run_id in run_ids), None)
        if work is None or any(run_id in self.active for run_id in run_ids):
            return None
        own = tuple(
            GroupRun(run.flow, run.run_id, os.getpid()) for run in self.active.values() if run.group == work.group
        )
        others = active_runs(self.ledger, but_of=os.getpid())
        why = WaitingForGroup(work.group, own) if own else self.why_waiting(work.flow, others)
        return why.text if why is not None else None if self._trouble is None else self._trouble.what

    def _watch(self, flow: str, *, frees_held: bool) -> None:
        watch = self.watch_of(flow)
        is_wanted = (
            watch is not None
            and watch.trigger.mode != "manual"
            and why_blocked(flow, switches=self.ledger.switches()) is None
        )
        watcher = self._watchers.get(flow)
        if watcher is not None:
            known = getattr(watcher.watching, "watch", watch)
            if is_wanted and known == watch:
                return
            self._forget(flow)
        if is_wanted and watch is not None:
            self._watchers[flow] = Watcher(flow, self._maker(watch, frees_held), self._deliver)

    def _maker(self, watch: Watch, frees_held: bool) -> Callable[[Callable[[], None]], Watching]:
        settings = self.home.settings()

        def make(wake: Callable[[], None]) -> Watching:
            if isinstance(watch.trigger, Schedule):
                return Clockwork(
                    watch,
                    settings=settings,
                    ledger=self.ledger,
                    now_s=time.time(),
                    local_s=boot_clock(),
                    frees_held=frees_held,
                )
            return Lookout(
                watch,
                read=lambda: self.memory(watch.flow),
                rules=Rules.of(settings),
                frees_held=frees_held,
                events=self._file_events,
                wake=wake,
            )

        return make

    def _stop_watching(self) -> None:
        for watcher in self._watchers.values():
            watcher.close()
        self._watchers.clear()

    def _deliver(self, watcher: Watcher, dues: list[Due]) -> None:
        """Called from a watcher's thread."""
        deployed = self.deployer.flows.get(watcher.flow)
        if deployed is None or deployed.entry.flow is None:
            return
        flow, lookout = deployed.entry.flow, watcher.watching
        if isinstance(lookout, Lookout):
            sources = [(listed_source(lookout.watch.trigger, lookout.name_of(due)), due) for due in dues]
        else:
            sources = [(source, due) for due in dues for source in startup_sources(flow)]
        self._loop.call_soon_threadsafe(self._take_due, watcher, flow.group, sources, dues)

    def _take_due(
        self, watcher: Watcher, group: str, sources: Sequence[tuple[Source, Due]], dues: Sequence[Due]
    ) -> None:
        flow = watcher.flow
        if self._watchers.get(flow) is not watcher or self.is_stopping:
            return
        slot = None
        if isinstance(watcher.watching, Clockwork):
            slot = self.number = self.number + 1
            items = [_Item(source, uuid.uuid4().hex, {}, due, slot) for source, due in sources]
            self._slots[slot] = (flow, dues[0], {item.run_id for item in items}, "")
            if not items:
                self._end_slot(slot)
        else:
            items = [_Item(source, uuid.uuid4().hex, {}, due) for source, due in sources]
        for item in items:
            self._desk.add(Work(flow, group, item, batch=slot))
        self._dispatch()

    # -- running ---------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        if self.is_stopping or self._pause is not None or not self.ownership.can_work():
            return
        if not self._desk.has_waiting or not self._workers.free():
            return
        try:
            self.ledger.require_writable()  # what cannot be recorded is not begun
        except LedgerError as error:
            self._rest(error)
            return
        limits = {flow: watch.trigger.max_parallel for flow in self.deployer.flows if (watch := self.watch_of(flow))}
        for works in self._desk.take(free=self._workers.free(), max_parallel=limits, may_start=self._may_start):
            self._hand_out(works)

    def _may_start(self, group: str) -> bool:
        lock = self._locks.setdefault(group, GroupLock(self.home.local.locks_dir, group))
        try:
            if lock.is_held or lock.try_acquire():
                return True
        except LedgerError as error:
            self._rest(error)
            return False
        if self._retry is None:  # a kernel or a command line runs this group: ask again soon
            self._retry = self._loop.call_later(_GROUP_RETRY_S, self._ask_again)
        return False

    def _ask_again(self) -> None:
        self._retry = None
        self._dispatch()

    @property
    def trouble(self) -> FlowValidationError | None:
        """What keeps work from being started or stored, settings from being used, or flows from being deployed."""
        return self._trouble or self.home.settings_error() or self.deployer.trouble

    def _rest(self, trouble: FlowValidationError) -> None:
        """Start nothing for a moment, because this machine cannot do it just now; nothing that waits is lost."""
        if self._pause is None:
            self._pause = self._loop.call_later(_TROUBLE_PAUSE_S, self._go_on)
        self._say_trouble(trouble)

    def _go_on(self) -> None:
        self._pause = None
        self._dispatch()

    def _say_trouble(self, trouble: FlowValidationError) -> None:
        if self._trouble is None or self._trouble.what != trouble.what:
            log.error("what waits and what happens is kept and tried again: %s", trouble)
        self._trouble = trouble

    def _see_whether_trouble_is_over(self) -> None:
        if self._trouble is not None and not self._jobs and not self._desk.waiting():
            self.ledger.flush()
            self._end_trouble()

    def _end_trouble(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            log.info("what happens is stored again")
            self.tell()

    def _hand_out(self, works: list[Work]) -> None:
        deployed = self.deployer.flows.get(works[0].flow)
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
        limit_s = self.home.settings().limits.run_timeout_s
        self._jobs[job_id] = _Running(works, content, time.monotonic())
        self._workers.submit(Job(job_id, "run", works[0].flow, content, sources, works[0].item.params, limit_s))

    def _sets_in_use(self) -> set[str]:
        return {Path(job.content).name for job in self._jobs.values() if job.content is not None}

    def _store(self, job: Job, events: list[Event]) -> None:
        try:
            self.ledger.record(*events, has_begun=True)
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
                self.active[event.run_id] = _Active(event.run_id, event.flow, event.group, event.source, event.at_s)
                if running is not None:
                    running.began.add(event.run_id)
            elif isinstance(event, RunFinished):
                self.active.pop(event.run_id, None)
                if running is not None:
                    running.ended.add(event.run_id)
            elif isinstance(event, (StepStarted, StepProgress, StepFinished)):
                self._show_step(event)
        lookout = self.watching(job.flow or "")
        if isinstance(lookout, Lookout):
            lookout.note(*events)
        self.tell()

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
            self._rest(FlowValidationError(error["what"] or "", where=error["where"], mend=error["mend"]))
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
            if work.item.slot is not None:
                self._slot_progress(work.item.slot, work.item.run_id)
        seconds = time.monotonic() - running.started_s
        group = self._desk.ended(flow, seconds=seconds, runs=max(len(running.began), 1))
        if group is not None:
            self._locks[group].release()
        self._dispatch()
        self.tell()

    def _take_back(self, work: Work) -> None:
        """A source that was handed out has no run yet, for no fault of its own: it waits again, or is judged anew."""
        due = work.item.due
        looking = self.watching(work.flow)
        if due is None and (self.ownership.is_releasing or not self.ownership.is_held):
            self._never_run(work, "this machine does not own the workspace any more")
            return
        if due is not None and isinstance(looking, Lookout):
            looking.give_back(due)
        elif due is None or work.flow in self._watchers:
            self._desk.add(work, first=True)

    def _not_begun(self, work: Work, end: JobEnd) -> None:
        """No run of a source can begin: its module is broken, and that is its run."""
        error = end.error or {"what": end.cause or "the run was not begun", "where": None, "mend": None}
        text = str(FlowValidationError(error["what"], where=error["where"], mend=error["mend"]))
        self._record_run(work, "failed", text, end.cause or "its module is broken")

    def _never_run(self, work: Work, why: str) -> None:
        """What somebody asked for by hand will not run: that is its run."""
        if work.item.due is None:
            with suppress(LedgerError):
                self._record_run(work, "stopped", why, why)

    def _record_run(self, work: Work, status: str, text: str, cause: str) -> None:
        item: _Item = work.item
        now_s = time.time()
        seen = () if item.due is None else item.due.seen
        key = item.source.key
        for event in (
            RunStarted(item.run_id, work.flow, work.group, item.source.text, now_s, key, seen),
            LogLine(item.run_id, work.flow, None, "ERROR", text, now_s),
            RunFinished(item.run_id, status, now_s, 0.0, text, cause, seen),
        ):
            try:
                self.ledger.record(event)
            except LedgerError:
                if isinstance(event, RunStarted):
                    raise
            lookout = self.watching(work.flow)
            if isinstance(lookout, Lookout) and not isinstance(event, LogLine):
                lookout.note(event)

    def _slot_progress(self, slot: int, run_id: str) -> None:
        flow, due, left, _ = self._slots[slot]
        left.discard(run_id)
        self._slots[slot] = (flow, due, left, run_id)
        if not left:
            self._end_slot(slot)

    def _end_slot(self, slot: int) -> None:
        flow, due, _, last_run_id = self._slots[slot]
        watcher = self._watchers.get(flow)
        if watcher is not None:
            if isinstance(watcher.watching, Clockwork):
                try:
                    watcher.watching.serve(due, last_run_id)
                except LedgerError as error:
                    self._say_trouble(error)
                    self._loop.call_later(_TROUBLE_PAUSE_S, self._end_slot, slot)
                    return
            watcher.settled()
        del self._slots[slot]

    # -- requests --------------------------------------------------------------------------------------------------

    async def run(self, name: str, source: str | None, params: dict[str, Any]) -> list[str]:
        """Let `name` run once for each of its sources, or for one; the ids of the runs to come.

        Raises:
            FlowValidationError: no such flow, a broken one, or no such source.
        """
        deployed = self.deployed(name)
        flow = self.good_flow(deployed)
        await self.ownership.own()
        if source is None:
            sources = await asyncio.to_thread(startup_sources, flow)
        else:
            sources = (await asyncio.to_thread(pick_source, flow, source),)
        batch = uuid.uuid4().hex
        items = [_Item(one, uuid.uuid4().hex, params) for one in sources]
        for item in reversed(items):
            self._desk.add(Work(name, flow.group, item, batch), first=True)
        self._dispatch()
        return [item.run_id for item in items]

    def deployed(self, name: str) -> Deployed:
        """The deployed flow `name`.

        Raises:
            FlowValidationError: there is none; lists those there are.
        """
        found = self.deployer.flows.get(name)
        if found is None:
            known = ", ".join(sorted(self.deployer.flows)) or "none"
            raise FlowValidationError(
                f"Unknown flow: {name!r}",
                where=str(self.home.layout.flow_modules_dir),
                mend=f"flows there are: {known}",
            )
        return found

    def good_flow(self, deployed: Deployed) -> Flow:
        """The flow of a deployed module.

        Raises:
            FlowValidationError: the module is broken; its own error.
        """
        if deployed.entry.flow is None:
            raise deployed.entry.error or FlowValidationError(f"flow {deployed.entry.name!r} is broken")
        return deployed.entry.flow

    def is_waiting(self, run_id: str) -> bool:
        """Whether the run is still to come."""
        if any(work.item.run_id == run_id for work in self._desk.waiting()):
            return True
        return any(
            work.item.run_id == run_id and run_id not in job.ended for job in self._jobs.values() for work in job.works
        )

    def stop_run(self, run_id: str) -> bool:
        """Ask a run to end at its next step, item, or log line; whether there is such a run."""
        return self._workers.stop(run_id)

    def kill_run(self, run_id: str) -> bool:
        """End a run's process now; whether there is such a run."""
        return self._workers.kill(run_id)

    def retry(self, flow: str | None, source: str | None) -> None:
        """Hold the sources of `flow` (of all, or only `source`) no longer.

        Raises:
            FlowValidationError: no such flow or source.
        """
        names = list(self._watchers) if flow is None else [self.deployed(flow).entry.name]
        for name in names:
            looking = self.watching(name)
            if isinstance(looking, Lookout):
                keys: frozenset[SourceKey] | None = None
                if source is not None:
                    key = pick_source(self.good_flow(self.deployed(name)), source).key
                    keys = None if key is None else frozenset({key})
                looking.free(keys)
            elif looking is not None and source is None:
                looking.free()
                self._watchers[name].wake()

    def reset(self, flow: str | None) -> int:
        """Forget the history and freshness of `flow`, or of every flow; how many runs went. Every source is due again.

        Raises:
            FlowValidationError: a run of it is under way, or about to be.
        """
        busy = next((job.works[0] for job in self._jobs.values() if flow in (None, job.works[0].flow)), None)
        if busy is not None:
            raise FlowValidationError(
                f'flow "{busy.flow}" is running (run {busy.item.run_id}) and cannot be reset',
                where=f'flow "{busy.flow}"',
                mend="wait for its runs to end, or stop them; the engine starts new ones as long as it is on",
            )
        count = self.ledger.reset_all() if flow is None else self.ledger.reset_flow(flow)
        for name in list(self._watchers) if flow is None else [flow]:
            self._forget(name)
            if self.is_engine_on:
                self._watch(name, frees_held=False)
        self.tell()
        return count

    def _forget(self, flow: str) -> None:
        """Look at the flow no more, and let nothing of it wait that came by itself."""
        watcher = self._watchers.pop(flow, None)
        if watcher is not None:
            watcher.close()
        dropped = self._desk.drop(flow, only=_came_by_itself)
        running = {work.item.slot for job in self._jobs.values() for work in job.works}
        for slot in {work.item.slot for work in dropped} - running - {None}:
            self._slots.pop(slot, None)

    def set_enabled(self, name: str, is_enabled: bool) -> None:
        """Let a flow run by itself, or not.

        Raises:
            FlowValidationError: no such flow.
        """
        self.deployed(name)
        self.ownership.require_not_elsewhere()
        self.ledger.set_switch(name, is_enabled)
        if self.is_engine_on:
            self._watch(name, frees_held=False)
        self.tell()

    async def deploy(self, name: str | None) -> None:
        """Deploy the current content of `name`, or of every module.

        Raises:
            FlowValidationError: a named module is unknown or broken.
        """
        await self.deployer.refresh(asked=None if name is None else frozenset({name}))
        self._flows_changed()
        if name is not None and (edit := self.deployed(name).edit) is not None:
            raise FlowValidationError(f"{name} was not deployed: {edit}", where=name, mend="mend the module")

    @property
    def interpreter(self) -> str:
        """The Python its workers run with."""
        return self._workers.interpreter

    def use_interpreter(self, path: str) -> None:
        """Let workers run with this Python from now on; a run under way ends with the one it has."""
        self._workers.use_interpreter(path)
        self.tell()

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, nothing waits, and the engine is off."""
        is_needed = self.is_engine_on or self._jobs or self._desk.waiting()
        return not (is_needed or self.ownership.is_waiting or self.ownership.is_releasing)

    # -- telling ---------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Something changed: whoever waits for it looks again, a moment later for all that changes meanwhile."""
        self.number += 1
        if not self._is_telling:
            self._is_telling = True
            self._spawn(self._notify())

    async def _notify(self) -> None:
        await asyncio.sleep(_TELL_AFTER_S)
        self._is_telling = False
        async with self.change:
            self.change.notify_all()

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return when something changed, at the latest after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s), self.change:
                await self.change.wait()
        except TimeoutError:
            pass

    async def _describe(self, content: Path) -> tuple[CatalogEntry, ...]:
        job_id = uuid.uuid4().hex
        future = self._descriptions[job_id] = self._loop.create_future()
        self._workers.submit(Job(job_id, "describe", None, str(content), (), {}, None))
        end = await future
        if end.described is None:
            error = end.error or {}
            raise FlowValidationError(
                f"the modules cannot be described: {error.get('what') or end.cause}",
                where=error.get("where") or str(self.home.layout.flow_modules_dir),
                mend=error.get("mend") or "see the daemon's log; `data-engine compile` checks each module",
            )
        return tuple(entry_of_message(message) for message in end.described)

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _came_by_itself(work: Work) -> bool:
    """Whether nobody asked for it: it was due."""
    return work.item.due is not None

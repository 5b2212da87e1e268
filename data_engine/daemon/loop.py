"""The daemon of one workspace: what is due goes to workers, what they report goes into the ledger.

Everything here happens on one asyncio thread, but for looking (`watcher`), which only hands over what is due.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_engine.daemon.deployer import Deployed, Deployer
from data_engine.daemon.desk import Desk, Work
from data_engine.daemon.messages import Job, JobSource
from data_engine.daemon.watcher import Watcher, Watching
from data_engine.daemon.workers import JobEnd, Workers
from data_engine.engine.candidates import Source, listed_source, pick_source, startup_sources
from data_engine.engine.clockwork import Clockwork
from data_engine.engine.file_events import FileEvents
from data_engine.engine.home import Home
from data_engine.engine.lookout import Lookout, Memory
from data_engine.engine.plan import Due, Rules, Watch, why_blocked
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll, Schedule
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

_BEAT_S = 1.0
_GROUP_RETRY_S = 0.2
_PRUNE_EVERY_S = 3600.0
_TELL_AFTER_S = 0.02
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

    def __init__(
        self, home: Home, make_workers: Callable[..., Workers], *, can_work: Callable[[], bool] = lambda: True
    ):
        self.home = home
        self.ledger = home.ledger()
        self.can_work = can_work
        self.is_engine_on = False
        self.is_stopping = False
        self.active: dict[str, _Active] = {}
        self.change = asyncio.Condition()
        self.number = 0
        self.deployer = Deployer(home, self._describe, self._sets_in_use)
        self.ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._desk = Desk()
        self._workers = make_workers(on_event=self._on_event, on_done=self._on_done)
        self._jobs: dict[str, _Running] = {}
        self._descriptions: dict[str, asyncio.Future[JobEnd]] = {}
        self._locks: dict[str, GroupLock] = {}
        self._watchers: dict[str, Watcher] = {}
        self._slots: dict[int, tuple[str, Due, set[str], str]] = {}
        self._file_events = FileEvents()
        self._data_version = self.ledger.data_version()
        self._pruned_s = 0.0
        self._retry: asyncio.TimerHandle | None = None
        self._is_telling = False
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Warm a worker, deploy what is good, and take the engine up where it was when the last daemon ended."""
        await self._workers.start()
        await self.deployer.refresh(is_start=True)
        if self.ledger.setting(ENGINE_SETTING) == "1":
            self._turn_on(by_person=False)
        self.ready.set()
        self.tell()
        self._spawn(self._beat())

    async def close(self, *, kill: bool = False) -> None:
        """End everything: nothing new starts, running work ends by itself, or now with `kill`."""
        self.is_stopping = True
        self._stop_watching()
        self._desk.drop()
        if not kill:
            while self._jobs:
                await self.wait_for_change(1.0)
        await self._workers.close(kill=kill)
        for task in list(self._tasks):
            task.cancel()
        self._file_events.close()
        self.ledger.close()

    async def start_engine(self) -> None:
        """Run polled and scheduled flows from now on; what was held is tried again. Also deploys everything good."""
        await self.deployer.refresh(is_start=True)
        self.ledger.set_setting(ENGINE_SETTING, "1")
        self._turn_on(by_person=True)
        self.tell()

    async def stop_engine(self) -> None:
        """Let running work finish and start nothing that waits for its turn by itself."""
        self.ledger.set_setting(ENGINE_SETTING, "0")
        self.is_engine_on = False
        self._stop_watching()
        self._desk.drop(only=_came_by_itself)
        self.tell()

    def _turn_on(self, *, by_person: bool) -> None:
        self.is_engine_on = True
        for flow in self.deployer.flows:
            self._watch(flow, frees_held=by_person)

    async def _beat(self) -> None:
        while not self.is_stopping:
            try:
                if await self.deployer.refresh():
                    self._flows_changed()
                self._notice_others()
                self._prune()
            except FlowValidationError as error:
                log.warning("%s", error)
            await asyncio.sleep(_BEAT_S)

    def _flows_changed(self) -> None:
        if self.is_engine_on:
            for flow in set(self._watchers) | set(self.deployer.flows):
                self._watch(flow, frees_held=False)
        self.tell()

    def _notice_others(self) -> None:
        version = self.ledger.data_version()
        if version != self._data_version:
            self._data_version = version
            for watcher in self._watchers.values():
                if isinstance(watcher.watching, Lookout):
                    watcher.watching.reload()
            self.tell()

    def _prune(self) -> None:
        if time.monotonic() - self._pruned_s > _PRUNE_EVERY_S or not self._pruned_s:
            self._pruned_s = time.monotonic()
            self.ledger.prune(retention_days=self.home.settings().history.retention_days, now_s=time.time())

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

    def _watch(self, flow: str, *, frees_held: bool) -> None:
        watch = self.watch_of(flow)
        is_wanted = (
            watch is not None
            and watch.trigger.mode != "manual"
            and why_blocked(watch, switches=self.ledger.switches()) is None
        )
        watcher = self._watchers.get(flow)
        if watcher is not None:
            known = getattr(watcher.watching, "watch", watch)
            if is_wanted and known == watch:
                return
            del self._watchers[flow]
            watcher.close()
            self._desk.drop(flow, only=_came_by_itself)
        if is_wanted and watch is not None:
            self._watchers[flow] = Watcher(flow, self._maker(watch, frees_held), self._deliver)

    def _maker(self, watch: Watch, frees_held: bool) -> Callable[[Callable[[], None]], Watching]:
        settings = self.home.settings()

        def make(wake: Callable[[], None]) -> Watching:
            if isinstance(watch.trigger, Schedule):
                return Clockwork(
                    watch, settings=settings, ledger=self.ledger, now_s=time.time(), local_s=time.monotonic()
                )
            return Lookout(
                watch,
                read=lambda: Memory(self.ledger.source_states(watch.flow), self.ledger.outputs(watch.flow)),
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

    def _deliver(self, flow: str, dues: list[Due]) -> None:
        """Called from a watcher's thread."""
        watch = self.watch_of(flow)
        if watch is None:
            return
        sources: list[tuple[Source, Due]] = []
        if isinstance(watch.trigger, Poll):
            lookout = self.watching(flow)
            assert isinstance(lookout, Lookout)
            sources = [(listed_source(watch.trigger, lookout.name_of(due)), due) for due in dues]
        else:
            entry = self.deployer.flows[flow].entry
            assert entry.flow is not None
            sources = [(source, due) for due in dues for source in startup_sources(entry.flow)]
        self._loop.call_soon_threadsafe(self._take_due, flow, watch.group, sources, dues)

    def _take_due(self, flow: str, group: str, sources: Sequence[tuple[Source, Due]], dues: Sequence[Due]) -> None:
        watcher = self._watchers.get(flow)
        if watcher is None or self.is_stopping:
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
        if self.is_stopping or not self.can_work():
            return
        limits = {flow: watch.trigger.max_parallel for flow in self.deployer.flows if (watch := self.watch_of(flow))}
        for works in self._desk.take(free=self._workers.free(), max_parallel=limits, may_start=self._may_start):
            self._hand_out(works)

    def _may_start(self, group: str) -> bool:
        lock = self._locks.setdefault(group, GroupLock(self.home.local.locks_dir, group))
        if lock.is_held or lock.try_acquire():
            return True
        if self._retry is None:  # a kernel or a command line runs this group: ask again soon
            self._retry = self._loop.call_later(_GROUP_RETRY_S, self._ask_again)
        return False

    def _ask_again(self) -> None:
        self._retry = None
        self._dispatch()

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

    def _on_event(self, job: Job, event: Event) -> None:
        running = self._jobs.get(job.job_id)
        more_follows = running is not None and len(running.ended) + 1 < len(running.works)
        self.ledger.record(event, more_follows=more_follows)
        if isinstance(event, RunStarted):
            self.active[event.run_id] = _Active(event.run_id, event.flow, event.source, event.at_s)
            if running is not None:
                running.began.add(event.run_id)
        elif isinstance(event, RunFinished):
            self.active.pop(event.run_id, None)
            if running is not None:
                running.ended.add(event.run_id)
        elif isinstance(event, (StepStarted, StepProgress, StepFinished)):
            self._show_step(event)
        if not isinstance(event, LogLine):
            lookout = self.watching(job.flow or "")
            if isinstance(lookout, Lookout):
                lookout.note(event)
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
        was_cut_short = end.error is None and end.cause is None
        for work in reversed(running.works):
            if work.item.run_id not in running.began:
                if was_cut_short and not isinstance(self.watching(flow), Lookout):
                    self._desk.add(work, first=True)  # the worker died in an earlier source; the others go on
                    continue
                self._not_begun(work, end)
            if work.item.slot is not None:
                self._slot_progress(work.item.slot, work.item.run_id)
        seconds = time.monotonic() - running.started_s
        group = self._desk.ended(flow, seconds=seconds, runs=max(len(running.began), 1))
        if group is not None:
            self._locks[group].release()
        self._dispatch()
        self.tell()

    def _not_begun(self, work: Work, end: JobEnd) -> None:
        """A source that was handed out and has no run: it is due again, or its module is broken and that is its run."""
        item: _Item = work.item
        if end.error is None and end.cause is None and item.due is not None:
            self._give_back(work.flow, item.due)
            return
        error = end.error or {"what": end.cause or "the run was not begun", "where": None, "mend": None}
        text = str(FlowValidationError(error["what"], where=error["where"], mend=error["mend"]))
        now_s = time.time()
        seen = () if item.due is None else item.due.seen
        key = item.source.key
        for event in (
            RunStarted(item.run_id, work.flow, work.group, item.source.text, now_s, key, seen),
            LogLine(item.run_id, work.flow, None, "ERROR", text, now_s),
            RunFinished(item.run_id, "failed", now_s, 0.0, text, end.cause or "its module is broken", seen),
        ):
            self.ledger.record(event)
            lookout = self.watching(work.flow)
            if isinstance(lookout, Lookout) and not isinstance(event, LogLine):
                lookout.note(event)

    def _give_back(self, flow: str, due: Due) -> None:
        lookout = self.watching(flow)
        if isinstance(lookout, Lookout):
            lookout.give_back(due)

    def _slot_progress(self, slot: int, run_id: str) -> None:
        flow, due, left, _ = self._slots[slot]
        left.discard(run_id)
        self._slots[slot] = (flow, due, left, run_id)
        if not left:
            self._end_slot(slot)

    def _end_slot(self, slot: int) -> None:
        flow, due, _, last_run_id = self._slots.pop(slot)
        watcher = self._watchers.get(flow)
        if watcher is not None:
            if isinstance(watcher.watching, Clockwork):
                watcher.watching.serve(due, last_run_id)
            watcher.settled()

    # -- requests --------------------------------------------------------------------------------------------------

    async def run(self, name: str, source: str | None, params: dict[str, Any]) -> list[str]:
        """Let `name` run once for each of its sources, or for one; the ids of the runs to come.

        Raises:
            FlowValidationError: no such flow, a broken one, or no such source.
        """
        deployed = self.deployed(name)
        flow = self.good_flow(deployed)
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
            lookout = self.watching(name)
            if isinstance(lookout, Lookout):
                keys: frozenset[SourceKey] | None = None
                if source is not None:
                    key = pick_source(self.good_flow(self.deployed(name)), source).key
                    keys = None if key is None else frozenset({key})
                lookout.free(keys)

    def set_enabled(self, name: str, is_enabled: bool) -> None:
        """Let a flow run by itself, or not.

        Raises:
            FlowValidationError: no such flow.
        """
        self.deployed(name)
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
    def is_idle(self) -> bool:
        """Whether nothing runs, nothing waits, and the engine is off."""
        return not (self.is_engine_on or self._jobs or self._desk.waiting())

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
            raise FlowValidationError(
                f"the modules cannot be described: {end.cause or end.error}",
                where=str(self.home.layout.flow_modules_dir),
                mend="see the daemon's log; `data-engine compile` checks each module",
            )
        return tuple(entry_of_message(message) for message in end.described)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _came_by_itself(work: Work) -> bool:
    """Whether nobody asked for it: it was due."""
    return work.item.due is not None

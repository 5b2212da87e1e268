"""The daemon of one workspace: what is due goes to workers, what they report goes into the ledger.

Everything here happens on one asyncio thread, but for looking (`TriggerLoop`), which only hands over what is due.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from data_engine.cause import Cause
from data_engine.daemon.alerter import Alerter
from data_engine.daemon.backfiller import Backfiller
from data_engine.daemon.control import remember_backfill, remember_engine, was_backfilling, was_engine_on
from data_engine.daemon.deployer import Deployer
from data_engine.daemon.notifier import Notifier
from data_engine.daemon.ownership import PATIENCE_S, Ownership
from data_engine.daemon.requests import Handle, RequestInbox, RequestSender, owner_of_file
from data_engine.daemon.run_executor import RunExecutor
from data_engine.daemon.service import service_facts
from data_engine.daemon.silence import watch_owner
from data_engine.daemon.worker_pool import JobCallbacks, WorkerPool
from data_engine.engine.finishing import tidy_with_tables
from data_engine.engine.kept_inputs import remove_old
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.references import EVERY_S, References
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll
from data_engine.lease.folder import OsFolder
from data_engine.lease.keeper import Keeper
from data_engine.lease.requests import RequestFiles
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.requests import RequestRows
from data_engine.ledger.wall_clock import Believed, prune
from data_engine.planning.due import PlannedFlow
from data_engine.platforms.awake import Awake
from data_engine.reasons.kinds import FeedShrunk, Outdated, Unreachable, UpstreamRunning
from data_engine.scheduler.dispatcher import Dispatcher, ReadyFlow, Scheduler
from data_engine.scheduler.folder_poller import FolderPoller
from data_engine.status.build import HeldFiles, outdated_there, references_changed
from data_engine.status.record import ServiceFacts
from data_engine.storage_version import too_new
from data_engine.workspace.machine import machine_id

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_BEAT_S = 2.0
_RELEASE_RETRY_S = 2.0
_TELL_AFTER_S = 0.02
_WRITE_PATIENCE_S = 0.5
_EVERY_S = 3600.0


class Daemon:
    """The engine of one workspace on this machine. `make_workers` builds its workers around its callbacks;
    `by_service` where the service of the workspace has started it."""

    def __init__(
        self,
        home: LocalWorkspace,
        make_workers: Callable[[JobCallbacks], WorkerPool],
        keeper: Keeper,
        *,
        by_service: bool = False,
    ) -> None:
        self.home = home
        self.ledger = home.ledger()
        self._loop = asyncio.get_running_loop()
        self.is_engine_on = False
        self.is_stopping = False
        self._by_service = by_service
        self.ownership = Ownership(keeper, self)
        self.notifier = Notifier(self.ledger, lambda: self._loop.call_soon_threadsafe(self.tell))
        keeper.after_look = watch_owner(home, keeper, self.notifier.wake).look
        self.scheduler = self._scheduler(make_workers)
        self.dispatcher, self.triggers = self.scheduler.dispatcher, self.scheduler.triggers
        self.workers = self.dispatcher.executor
        self.deployer = self._deployer()
        self.held_files = HeldFiles(self.ledger)
        self.backfiller = Backfiller(self.ledger, self.dispatcher, self.ready_flows, self.tell)
        sender = f"{home.layout.workspace_id} on {keeper.me.host_name}"
        self.alerter = Alerter(home, self.dispatcher, self.triggers, self, self._spawn, sender=sender)
        self.alerter.tells_by(self.notifier)
        self.handle_request: Handle  # of whoever carries commands out
        self.inbox = self._inbox()
        self.sender = RequestSender(home, keeper.look, lambda: self.ownership.asks, self._spawn, self.tell)
        self.on_tick: Callable[[], None] = lambda: None
        self._awake = KeepsAwake(home.layout.workspace_id)
        self.change = asyncio.Condition()
        self.number = 0
        self.ready = asyncio.Event()
        self._pruned_s = 0.0
        self._too_new: tuple[str, ...] = ()
        self._stages = StageSweeper(self.ledger, home)
        self._held_at_rest: dict[str, int] = {}
        self.gone: frozenset[tuple[str, str]] = frozenset()
        self._references = References(self.ledger, home.layout)
        self.changed: Mapping[str, tuple[Outdated, ...]] = {}
        self._held_before: dict[str, int] = {}
        self._shown_before: tuple[object, ...] = ()
        self._stuck_before: frozenset[str] = frozenset()
        self._needed_s = time.monotonic()
        self._is_telling = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def _scheduler(self, make_workers: Callable[[JobCallbacks], WorkerPool]) -> Scheduler[RunExecutor]:
        def workers(dispatcher: Dispatcher[RunExecutor]) -> RunExecutor:
            callbacks = JobCallbacks(dispatcher.store, dispatcher.on_events, dispatcher.on_done)
            pool = make_workers(callbacks)
            return RunExecutor(self.home, pool, callbacks, flows=self.ready_flows, wake=dispatcher.dispatch)

        return Scheduler(
            self.home, workers, self, loop=self._loop, say=lambda flow, text: log.info("%s: %s", flow, text)
        )

    def _deployer(self) -> Deployer:
        return Deployer(
            self.home,
            self.workers.pool.describe,
            self.dispatcher.sets_in_use,
            self.ownership,
            lambda: not self.is_stopping and self.ownership.elsewhere is None,
            lambda: self.workers.pool.interpreter,
            self.flows_changed,
        )

    def _inbox(self) -> RequestInbox:
        state = self.home.layout.workspace_state_dir
        return RequestInbox(
            RequestFiles(OsFolder(state), lambda: uuid.uuid4().hex[:12]),
            RequestRows(self.ledger),
            self.ownership,
            lambda request: self.handle_request(request),
            self._spawn,
            file_owner=lambda request_id: owner_of_file(state, request_id),
        )

    # -- life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Warm a worker, look at what is deployed, and take the engine up where it was when the last daemon ended."""
        self.ledger.wait_at_most(_WRITE_PATIENCE_S)  # all wait for this thread; what is not written is tried again
        await self.workers.pool.start()
        self.ownership.keeper.start()
        self.notifier.start()
        if was_engine_on(self.ledger):
            refreshed = self._spawn(self.deployer.refresh())
            resumed = self._spawn(self._resume_engine(refreshed))
            await refreshed
            with suppress(TimeoutError):  # what else is asked does not wait for a share that is silent
                await asyncio.wait_for(asyncio.shield(resumed), PATIENCE_S)
        else:
            await self.deployer.refresh()
        if was_backfilling(self.ledger):
            await self._resume_backfills()
        self.triggers.forget_recalled()
        self.ready.set()
        self.tell()
        self._spawn(self._tick())
        self._spawn(self._look_for_requests())
        self._spawn(self._look_at_references())

    async def close(self, *, kill: bool = False) -> None:
        """End everything: nothing new starts, running work ends by itself, or now with `kill`."""
        self.is_stopping = True
        self.backfiller.let_go()
        self.triggers.close()
        self.dispatcher.drop()
        if not kill:
            while self.dispatcher.are_under_way:
                await self.wait_for_change(1.0)
        await self.workers.close(kill=kill)
        self._awake.close()
        await asyncio.to_thread(self.notifier.close)
        await self.ownership.close(release=not kill)
        for task in list(self._tasks):
            task.cancel()
        self.ledger.close()

    async def start_engine(self) -> None:
        """Run polled and scheduled flows that are deployed from now on; what was held is tried again."""
        async with self.ownership.in_use():
            await self.ownership.own()
            await self.deployer.take_over_local()
            await self.deployer.refresh()
            was_off = not was_engine_on(self.ledger)  # a daemon that died with its engine on owes what passed since
            remember_engine(self.ledger, is_on=True)
            self.ownership.keeper.set_engine(True)
            self._turn_on(by_person=True, was_off=was_off)
        self.tell()

    async def stop_engine(self) -> None:
        """Let running work finish and start nothing that waits for its turn by itself."""
        if self.ownership.is_held:
            self.ownership.keeper.set_engine(False)
        self._turn_off()

    def _turn_off(self) -> None:
        remember_engine(self.ledger, is_on=False)
        self.is_engine_on = False
        self._held_at_rest |= {flow: self.held(flow) for flow in self.triggers.names()}
        self.triggers.stop()
        self.tell()

    def _turn_on(self, *, by_person: bool, was_off: bool = False) -> None:
        self.is_engine_on = True
        self.alerter.engine_started(was_off=was_off)
        for flow in self.deployer.flows:
            self.set_trigger(flow, frees_held=by_person)

    async def _resume_engine(self, refreshed: Awaitable[object]) -> None:
        recall, publish = self._recall, self.deployer.take_over_local
        if await resume_engine(self.ledger, self.ownership, refreshed, publish, recall) and not self.is_engine_on:
            self._turn_on(by_person=False)

    def _recall(self) -> None:
        self.triggers.recall(self.home.deployments().deployed())

    async def _resume_backfills(self) -> None:
        """Own what the last daemon of this machine owned for its backfills; the tick goes on with them."""
        try:
            async with self.ownership.in_use():
                await self.ownership.own()
        except FlowValidationError as error:
            log.warning("its backfills go on where the workspace is owned: %s", error)
            remember_backfill(self.ledger, is_on=False)

    async def _tick(self) -> None:
        """Every two seconds, in one wake: what this machine knows, and what the share shows, which may take its time."""
        looking: asyncio.Task[None] | None = None
        while not self.is_stopping:
            await self._try(self._see_what_changed)
            if looking is None or looking.done():
                looking = self._spawn(self._try(self._look_at_the_share))
            await self._try(self._tell_tick)
            await asyncio.sleep(_BEAT_S)

    async def _look_for_requests(self) -> None:
        """A poll of its own: what hangs here holds up no heartbeat."""
        while not self.is_stopping:
            await self._try(self._look_for_requests_once)
            await asyncio.sleep(self.ownership.keeper.limits.poll_s / 2)

    async def _look_for_requests_once(self) -> None:
        with suppress(OSError):  # the share is away: the heartbeat tells it
            await self.inbox.look()

    async def _look_at_references(self) -> None:
        """At the pace of scans, apart from them: a reference may lie on another share."""
        while not self.is_stopping:
            began_s = time.monotonic()
            await self._try(self._look_at_references_once)
            await asyncio.sleep(max(EVERY_S, 20 * (time.monotonic() - began_s)))

    async def _look_at_references_once(self) -> None:
        flows = self.flows
        if self.is_engine_on and self.ownership.can_work():
            await asyncio.to_thread(self._references.look, flows)
        rows = await asyncio.to_thread(self._references.outdated, flows)
        changed = references_changed(await asyncio.to_thread(outdated_there, rows, flows), flows)
        databases = self.home.layout.databases_dir
        newer = () if self.ownership.is_held else await asyncio.to_thread(too_new, databases)
        if (changed, newer) != (self.changed, self._too_new):
            self.changed, self._too_new = changed, newer
            self.tell()

    async def _tell_tick(self) -> None:
        self.on_tick()

    async def _try(self, deed: Callable[[], Awaitable[None]]) -> None:
        try:
            await deed()
        except FlowValidationError as error:
            log.warning("%s", error)
        except Exception:
            log.exception("a look at what changed failed")

    async def _look_at_the_share(self) -> None:
        if await self.deployer.refresh() or self.triggers.are_outdated:
            self.flows_changed()
        is_owner = self.ownership.is_held
        flows = self.flows
        if self.is_engine_on and self._stages.is_due(is_owner=is_owner):
            await asyncio.to_thread(self._stages.sweep, flows, is_owner=is_owner)
        at_rest = self._at_rest()
        held = await asyncio.to_thread(self.held_files.of, at_rest) if at_rest else {}
        self._held_at_rest = {flow: len(keys) for flow, keys in held.items()}
        before, self.gone = self.gone, await asyncio.to_thread(self.held_files.gone, flows)
        if self.gone != before:
            self.alerter.files_changed(flow for flow, _ in self.gone ^ before)
            self.tell()

    def _at_rest(self) -> list[PlannedFlow]:
        """The poll flows whose folders no poller looks through."""
        polled = set(self.triggers.names())
        flows = map(self.planned_flow, self.deployer.flows.keys() - polled)
        return [planned for planned in flows if planned is not None and isinstance(planned.trigger, Poll)]

    async def _see_what_changed(self) -> None:
        self.scheduler.tick()
        held = {flow: self.held(flow) for flow in self.deployer.flows}
        if held != self._held_before:
            self._held_before = held
            self.alerter.files_changed(flow for flow, count in held.items() if count)
        whys = {flow: self.triggers.why(flow) for flow in self.deployer.flows}
        stuck = {flow: why for flow, why in whys.items() if isinstance(why, (Unreachable, FeedShrunk, UpstreamRunning))}
        if (changed := stuck.keys() ^ self._stuck_before) and self.is_engine_on:
            self.alerter.files_changed(changed)
        self._stuck_before = frozenset(stuck)
        now = (held, str(self.trouble), tuple(self.home.settings().warnings), stuck, self.service)
        if now != self._shown_before:
            self._shown_before = now
            self.tell()
        self.alerter.tick()
        self._beat_backfills()
        self._awake.look(
            is_active=bool(self.dispatcher.active),
            is_set=self.home.settings().daemon.keep_awake,
        )
        self._give_up_when_idle()
        self._prune()

    def _prune(self) -> None:
        """Remove what is older than `[history] retention_days`, and what failed runs keep too long, when an hour has passed and this
        machine's clock is believed."""
        clock = self.ownership.keeper.state.clock
        is_due = time.monotonic() - self._pruned_s > _EVERY_S or not self._pruned_s
        if is_due and isinstance(clock, Believed) and self.home.settings_error() is None:
            self._pruned_s = time.monotonic()
            settings = self.home.settings()
            prune(self.ledger, retention_days=settings.history.retention_days, at=clock)
            remove_old(self.home.local.replays_dir, settings.replay)

    def _beat_backfills(self) -> None:
        if not self.keeps_workspace() or not self.ready.is_set() or self.ownership.is_for_one_commit:
            return
        self.backfiller.tick()
        remember_backfill(self.ledger, is_on=self.backfiller.is_busy)

    def flows_changed(self) -> None:
        """Let triggers and alerts follow what is deployed now."""
        if self.is_engine_on:
            for flow in {*self.triggers.names(), *self.deployer.flows}:
                self.set_trigger(flow, frees_held=False)
        self.alerter.flows_changed()
        self.tell()

    # -- owning ----------------------------------------------------------------------------------------------------

    def owned(self, *, engine_on: bool, is_again: bool) -> None:
        """Take up the workspace, which is ours now, or again; `engine_on` travelled with it.

        Of a daemon of this machine it is older than what is remembered here: somebody may have ended it on purpose.
        """
        self._needed_s = time.monotonic()
        self.alerter.owner_changed()
        was_on = self.is_engine_on
        if was_on or self.dispatcher.are_under_way:  # under another token: others may have done it since
            self._wind_down(Cause("owned_meanwhile"), stop=True)
        if was_on:
            self.ownership.keeper.set_engine(True)
        elif engine_on and is_again and not was_engine_on(self.ledger):
            self.ownership.keeper.set_engine(False)
            return
        if (engine_on or was_on) and self.ready.is_set():
            remember_engine(self.ledger, is_on=True)
            self._turn_on(by_person=False)

    def lost(self, to: str) -> None:
        """End what runs at its next step, and start nothing: somebody else owns the workspace."""
        log.warning("%s owns the workspace now", to)
        self.alerter.owner_changed()
        remember_backfill(self.ledger, is_on=False)
        self._wind_down(Cause("taken_over", {"by": to}), stop=True)

    def may_work_until(self, boot_s: float) -> None:
        """Let steps and items begin until then."""
        self.workers.set_work_until(max(0.0, boot_s))

    def noticed(self) -> None:
        """Follow a change of the ownership."""
        self.dispatcher.dispatch()
        self.tell()

    def give_up(self, *, now: bool) -> None:
        """Let somebody else own the workspace: when the running work is done, or after stopping it at its next step.

        Does nothing where it is not ours. The engine goes on at whoever has asked for the workspace, if anybody has.
        """
        if not self.ownership.is_held or self.ownership.is_releasing:
            return
        self.ownership.is_releasing = True
        if not self.ownership.is_requested:
            self.ownership.keeper.set_engine(False)
        self._wind_down(Cause("handed_over"), stop=now)
        self._spawn(self._release_when_done())

    async def _release_when_done(self) -> None:
        while self.dispatcher.are_under_way:
            await self.wait_for_change(1.0)
        while self.ownership.is_held:
            try:
                await self.ownership.release()
            except FlowValidationError as error:  # a share that is away; what was agreed is done when it is back
                log.warning("%s", error)
                await asyncio.sleep(_RELEASE_RETRY_S)
        self.ownership.is_releasing = False
        self.tell()

    def _wind_down(self, why: Cause, *, stop: bool) -> None:
        self._turn_off()
        self.dispatcher.wind_down(why, stop=stop)
        self.backfiller.let_go()

    def _give_up_when_idle(self) -> None:
        """An owner with neither an engine nor a run gives the workspace up after `[daemon] idle_exit`."""
        now_s = time.monotonic()
        if not self.is_idle:
            self._needed_s = now_s
        elif self.ownership.is_held and now_s - self._needed_s > self.home.settings().daemon.idle_exit_s:
            self.give_up(now=False)

    # -- what its scheduler asks -------------------------------------------------------------------------------------

    def may_begin(self) -> bool:
        """Whether new runs may begin now."""
        return not self.is_stopping and self.ownership.can_work()

    def keeps_workspace(self) -> bool:
        """Whether this machine owns the workspace and does not give it up."""
        return self.ownership.is_held and not self.ownership.is_releasing

    def tells_of_flows(self) -> bool:
        """Whether this machine owns the workspace, and not for one commit only."""
        return self.ownership.is_held and not self.ownership.is_for_one_commit

    def ready_flows(self) -> Mapping[str, ReadyFlow]:
        """What production runs."""
        flows = self.deployer.flows.items()
        return {
            name: ReadyFlow(deployed.entry.flow, deployed.content, deployed.deployment)
            for name, deployed in flows
            if deployed.is_live and deployed.entry.flow
        }

    # -- seeing ----------------------------------------------------------------------------------------------------

    @property
    def flows(self) -> list[Flow]:
        """The flows that production runs, or else that the modules make."""
        return [deployed.entry.flow for deployed in self.deployer.flows.values() if deployed.entry.flow is not None]

    def planned_flow(self, flow: str) -> PlannedFlow | None:
        """The flow for planning, where production can run it; None for any other."""
        deployed = self.deployer.flows.get(flow)
        if deployed is None or not deployed.is_live or deployed.entry.flow is None:
            return None
        return PlannedFlow.of(deployed.entry.flow)

    def held(self, flow: str) -> int:
        """How many files of the flow are held, from memory."""
        planner = self.triggers.planner(flow)
        return planner.held if isinstance(planner, FolderPoller) else self._held_at_rest.get(flow, 0)

    @property
    def trouble(self) -> FlowValidationError | None:
        """What keeps work from being started or stored, settings from being used, or flows from being deployed."""
        return self.dispatcher.trouble or self.home.settings_error() or self.deployer.trouble or self.workers.trouble

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about this machine."""
        return (*(() if self._awake.trouble is None else (self._awake.trouble,)), *self._too_new)

    @property
    def service(self) -> ServiceFacts:
        """The workspace's service as it is installed now."""
        return service_facts(self.home, is_serving=self._by_service)

    @property
    def is_kept(self) -> bool:
        """Whether an installed service keeps this daemon here, whatever there is to do."""
        return self._by_service and self.service.installed

    def set_trigger(self, flow: str, *, frees_held: bool) -> None:
        """Let the flow run by itself as it is now, or not where it cannot."""
        deployed = self.deployer.flows.get(flow)
        content = None if deployed is None else deployed.content
        self.triggers.set_flow(
            flow,
            deployed.entry.flow if deployed is not None and deployed.is_live else None,
            version=content,
            frees_held=frees_held,
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing runs, nothing waits, and the engine is off."""
        is_needed = (
            self.is_engine_on or self.ownership.is_waiting or self.ownership.is_releasing or self.backfiller.is_busy
        )
        return self.dispatcher.is_idle and not is_needed and not self.inbox.is_busy and not self.sender.is_waiting

    # -- telling ---------------------------------------------------------------------------------------------------

    def tell(self) -> None:
        """Wake whoever waits for a change, a moment later for all that changes meanwhile."""
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

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


async def resume_engine(
    ledger: Ledger,
    ownership: Ownership,
    refreshed: Awaitable[object],
    take_over_local: Callable[[], Awaitable[None]],
    recall: Callable[[], None],
) -> bool:
    """Own the workspace for the engine that the last daemon of this machine had on, however late its share answers.

    Returns whether it may be turned on: the workspace is ours, and what is deployed is known.

    A person who stops the engine, or starts it, is quicker. `take_over_local` publishes what was deployed here alone; `recall`
    reads, in a thread, what is known of sources.
    """
    async with ownership.in_use():
        try:
            await ownership.own_however_late(lambda: was_engine_on(ledger))
        except FlowValidationError as error:
            log.warning("the engine stays off: %s", error)
            remember_engine(ledger, is_on=False)
            return False
        if not was_engine_on(ledger):
            return False
        ownership.keeper.set_engine(True)
        await take_over_local()
        with suppress(FlowValidationError):
            await asyncio.to_thread(recall)  # while a worker looks at the modules
        await refreshed
    return True


class StageSweeper:
    """Sweeps the stages of a workspace's flows."""

    def __init__(self, ledger: Ledger, home: LocalWorkspace) -> None:
        self._ledger, self._home, self._machine = ledger, home, machine_id(home.local.state_root)
        self._swept_s = float("-inf")
        self._was_owner = False

    def is_due(self, *, is_owner: bool) -> bool:
        """Whether an hour has passed, or the workspace has become ours; asked at each tick."""
        has_become_ours, self._was_owner = is_owner and not self._was_owner, is_owner
        return has_become_ours or time.monotonic() - self._swept_s > _EVERY_S

    def sweep(self, flows: Iterable[Flow | None], *, is_owner: bool) -> None:
        """Sweep beside every staged mirror and the databases. Takes a drive's time."""
        self._swept_s = time.monotonic()
        with suppress(LedgerError):
            self._ledger.flush()
            roots = {self._home.databases} | {
                flow.mirror_spec.root for flow in flows if flow and flow.is_staged and flow.mirror_spec
            }
            for root in roots:
                count = tidy_with_tables(root, self._home, machine=self._machine, is_owner=is_owner)
                if count:
                    log.info("%d stages beside %s, of runs that are over, are finished or removed", count, root)


class KeepsAwake:
    """Keeps the machine awake while that is wanted; `trouble` says why it cannot, and it is tried once.

    Everything is called on one thread.

    Example:
        >>> from types import SimpleNamespace
        >>> calls = []
        >>> system = SimpleNamespace(trouble=lambda: None, let_go=lambda: calls.append("sleeps"))
        >>> keeps = KeepsAwake("claims", lambda why: calls.append(why) or system)
        >>> keeps.look(is_active=True, is_set=True)
        >>> keeps.look(is_active=False, is_set=True)
        >>> calls
        ['runs of claims', 'sleeps']
    """

    def __init__(self, workspace: str, start: Callable[[str], Awake] = Awake) -> None:
        self._why = f"runs of {workspace}"
        self._start = start
        self._held: Awake | None = None
        self.trouble: str | None = None

    def look(self, *, is_active: bool, is_set: bool) -> None:
        """Go on as `is_set` says, now that runs are active or are not."""
        if not is_set:
            self.trouble = None
        is_wanted = is_active and is_set and self.trouble is None
        if self._held is None and is_wanted:
            try:
                self._held = self._start(self._why)
            except OSError as error:
                self._give_up(f"{error.filename or ''} {error.strerror or error}".strip())
        elif self._held is not None and (why := self._held.trouble()) is not None:
            self._give_up(why)
        elif self._held is not None and not is_wanted:
            self.close()

    def close(self) -> None:
        """Let the machine sleep again."""
        if self._held is not None:
            self._held.let_go()
            self._held = None

    def _give_up(self, why: str) -> None:
        self.close()
        self.trouble = f"keep_awake: this machine cannot be kept awake ({why})"
        log.warning("%s", self.trouble)

"""A daemon as the owner of its workspace: carries out the commands of people here and of other workstations."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_engine.commands.command import Asker, Command, Situation
from data_engine.commands.registry import command_of
from data_engine.daemon.backfiller import known_backfill
from data_engine.daemon.control import remember_backfill, remember_stop
from data_engine.daemon.daemon import Daemon
from data_engine.daemon.deployer import Deployed, Deployer
from data_engine.daemon.one_commit import not_here
from data_engine.daemon.requests import run_id_of
from data_engine.daemon.worker_pool import STOP_REQUESTED
from data_engine.engine.candidates import candidates, pick_source, pick_to_run, signature_of, startup_sources
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.params import is_as_scheduled, params_for
from data_engine.engine.references import References
from data_engine.errors import FlowValidationError, OwnedElsewhereError
from data_engine.flow.flow import Flow
from data_engine.flow.paths import portable_text
from data_engine.flow.trigger import Poll, Schedule
from data_engine.formatting import cli_line
from data_engine.lease.folder import drive_text
from data_engine.lease.requests import RemoteRequest
from data_engine.lease.status import LeaseStatus
from data_engine.ledger import backfills
from data_engine.ledger.backfills import BackfillRow, backfill_of, ends_of_slots, ends_of_sources
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.references import GoodRun
from data_engine.model import Backfill, Run, RunAbout, Signature, SourceKey, Switch, utc_text
from data_engine.notebook.catalog import unknown_flow
from data_engine.notebook.deploy import not_deployed
from data_engine.planning.backfill import (
    Chosen,
    Wanted,
    choose_files,
    choose_slots,
    ends_of_states,
    has_slots,
)
from data_engine.planning.slots import zone_of
from data_engine.record import frozen
from data_engine.scheduler.executor import SourceRun
from data_engine.scheduler.run_queue import Turn, Work
from data_engine.secret import MASK
from data_engine.status.deployed_before import find_flow
from data_engine.status.record import WorkspaceStatus
from data_engine.status.runs import accepted_columns, no_run

_FIRST_LOOKS_S = 0.5


def known_run(ledger: Ledger, run_id: str) -> Run:
    """The run of this id, or of the only one that begins so.

    Raises:
        FlowValidationError: there is none, or several begin so.
    """
    run = ledger.run(run_id)
    if run is None:
        fix = "take the id from `data-engine runs`; `data-engine status` has the ids of runs that wait"
        raise no_run(ledger, run_id, f"there is no run {run_id!r}", fix)
    return run


class _Now(Situation):
    """The situation of a daemon, whose status is made only for a command that needs more than whether it leaves."""

    def __init__(self, owner: DaemonOwner) -> None:
        super().__init__(owner.status)
        self._owner = owner

    @property
    def is_leaving(self) -> bool:
        return self._owner.is_leaving()


@frozen
class DaemonOwner:
    """The owner that a daemon is; where it carries out the request of another workstation, that one `asks`. `status` tells how things
    stand now, `is_leaving` whether it ends when its running work is done, `end(kill)` ends the daemon's process. Each method raises
    `FlowValidationError` where it refuses."""

    daemon: Daemon
    status: Callable[[], WorkspaceStatus]
    is_leaving: Callable[[], bool]
    end: Callable[[bool], None]
    asks: Asker | None = None

    @property
    def asker(self) -> Asker:
        """The person who asks."""
        return self.asks or Asker.here()

    @property
    def work(self) -> DaemonOwner:
        """The daemon does the work itself."""
        return self

    def refuse(self, command: Command[Any]) -> None:
        """Refuse a command that what is known in memory speaks against."""
        refusal = command.refusal(_Now(self))
        if refusal is not None:
            raise refusal.error(command.name)

    async def handle(self, request: RemoteRequest) -> tuple[str, dict[str, Any]]:
        """Carry out what another workstation asks for: its outcome, "done" or "failed", and an answer as JSON."""
        await self.daemon.ready.wait()
        command = command_of(request.verb, request.flow, request.values)
        self.refuse(command)
        asker = Asker(request.by, request.host_name, request.file_owner, request.request_id)
        answer = await command.carry_out(replace(self, asks=asker))
        return command.outcome(answer), answer.as_dict()

    # -- what production runs --------------------------------------------------------------------------------------------

    @property
    def production(self) -> Deployer:
        """The deployed flows."""
        return self.daemon.deployer

    async def switch(self, name: str, switch: Switch) -> None:
        """Let a flow run by itself, or not, and publish that and who decided it."""
        await self.named(name)
        async with self.daemon.ownership.for_one_commit():
            await self.daemon.ownership.publish(lambda: self.daemon.ledger.set_switch(name, switch))
        if self.daemon.is_engine_on:
            self.daemon.set_trigger(name, frees_held=False)
        self.daemon.tell()

    async def look(self) -> None:
        """Look now at the modules, and at what is deployed."""
        if await self.daemon.deployer.refresh():
            self.daemon.flows_changed()

    async def put_set(self) -> str:
        """Put the authored modules as they are now where the owner finds them; the id of their set."""
        return await asyncio.to_thread(self._put_set)

    def _put_set(self) -> str:
        deployments = self.daemon.home.deployments()
        stored = deployments.store()
        try:
            return self.daemon.home.deployment_files().put(deployments.contents_of(stored.id) or {})
        except OSError as error:
            raise OwnedElsewhereError(
                f"the modules cannot be put on the share: {drive_text(error)}",
                where=str(self.daemon.home.layout.workspace_state_dir / "deployments"),
                fix="check whether the drive is connected and writable",
            ) from error

    async def compared(self, set_id: str, flow: str | None) -> dict[str, Any]:
        """The verdict of the flow's notebook, or of each, on this machine, by its content in the set."""
        return await asyncio.to_thread(self._compared, set_id, flow)

    def _compared(self, set_id: str, flow: str | None) -> dict[str, Any]:
        from data_engine.proof.verdict_store import compared_in

        home = self.daemon.home
        contents = home.deployments().contents_of(set_id) or {}
        names = [name.removesuffix(".ipynb") for name in contents] if flow is None else [flow]
        verdicts = compared_in(home, contents, names)
        return {name: verdict.as_dict() for name, verdict in verdicts.items() if verdict.at_utc}

    # -- which flow ------------------------------------------------------------------------------------------------------

    async def require_flow(self, flow: str) -> None:
        """Return when there is such a flow, or a module that could be one."""
        if flow not in self.daemon.deployer.flows:
            await asyncio.to_thread(find_flow, self.daemon.home, flow)

    async def notice(self, name: str) -> None:
        """Look at the modules now when no flow has this name: it may have been saved a moment ago."""
        if name not in self.daemon.deployer.flows:
            await self.look()

    async def named(self, name: str) -> Deployed:
        """The deployed flow `name`, also of a module that was saved a moment ago."""
        await self.notice(name)
        if name not in self.daemon.deployer.flows:
            await asyncio.to_thread(find_flow, self.daemon.home, name)
        return self.deployed(name)

    def deployed(self, name: str) -> Deployed:
        """The deployed flow `name`."""
        flow = self.daemon.deployer.flows.get(name)
        if flow is None:
            raise unknown_flow(name, self.daemon.home.layout.flow_modules_dir, self.daemon.deployer.flows)
        return flow

    def good_flow(self, deployed: Deployed) -> Flow:
        """The flow of a deployed module."""
        entry = deployed.entry
        if entry.flow is None:
            raise entry.error or FlowValidationError(f"flow {entry.name!r} is broken", where=str(entry.path))
        if deployed.content is None:
            shares_with = None if deployed.edit is None else deployed.edit.shares_with
            raise not_deployed(entry.name, str(entry.path), shares_with)
        return entry.flow

    def checked_params(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """The params as the flow takes them; as they are where nobody here knows the flow."""
        deployed = self.daemon.deployer.flows.get(name)
        flow = None if deployed is None else deployed.entry.flow
        return params if flow is None else dict(params_for(flow, params))

    def inside_source(self, flow: str, path: str) -> str:
        """A source file by its path inside the flow's source, which is the same on every machine."""
        planned = self.daemon.planned_flow(flow)
        root = None if planned is None else planned.trigger.source
        if root is not None and os.path.isabs(path) and Path(path).is_relative_to(root):
            return Path(path).relative_to(root).as_posix()
        return path

    # -- runs ------------------------------------------------------------------------------------------------------------

    async def run(
        self,
        name: str,
        source: str | None,
        params: dict[str, Any],
    ) -> list[str]:
        """Let `name`, as it is deployed now, run once for each of its sources, or for one; the ids of the runs to come."""
        await self.daemon.deployer.settled()
        flow = self.good_flow(await self.named(name))
        params = dict(params_for(flow, params))
        async with self.daemon.ownership.in_use():
            await self.daemon.ownership.own()
            if source is None:
                sources = await asyncio.to_thread(startup_sources, flow)
            else:
                sources = (await asyncio.to_thread(pick_to_run, flow, source),)
            batch = uuid.uuid4().hex
            about, request = RunAbout("hand", None, self.asker.who), self.asker.request_id
            run_ids = [uuid.uuid4().hex if request is None else run_id_of(request, n) for n, _ in enumerate(sources)]
            runs = [SourceRun(entry, run_id, about=about) for entry, run_id in zip(sources, run_ids, strict=True)]
            self.daemon.dispatcher.add([Work(name, flow.group, run, batch, Turn.ASKED, params) for run in runs])
        return run_ids

    async def ends_of(self, run_ids: list[str]) -> list[str | None]:
        """The status of each run, when all have ended."""
        dispatcher, ledger = self.daemon.dispatcher, self.daemon.ledger
        while not dispatcher.to_come().isdisjoint(run_ids):
            await self.daemon.wait_for_change(1.0)
        ledger.flush()
        return [None if (run := ledger.run(run_id)) is None else run.status for run_id in run_ids]

    async def end_run(self, run_id: str, *, kill: bool) -> tuple[str, bool]:
        """Ask a run to end at its next step or item, or end its process; its id, and whether it had not begun."""
        workers, dispatcher = self.daemon.workers, self.daemon.dispatcher
        end = workers.kill if kill else workers.stop
        waiting = [full_id for full_id in dispatcher.ids_waiting() if full_id.startswith(run_id)] if run_id else []
        if len(waiting) > 1 and run_id not in waiting:
            ids = ", ".join(waiting[:3]) + (", ..." if len(waiting) > 3 else "")
            what = f"several runs that wait begin with {run_id!r}: {ids}"
            raise FlowValidationError(what, where="run id", fix="give more characters of the id")
        if waiting and self.daemon.ledger.run(run_id) is None:
            waits = run_id if run_id in waiting else waiting[0]
            if end(waits) or dispatcher.stop_waiting(waits, STOP_REQUESTED):  # a worker may have been handed it
                return waits, True
        run = known_run(self.daemon.ledger, run_id)
        if not end(run.run_id):
            raise not_here(run)
        if not kill:
            dispatcher.note_stop(run.run_id)
        return run.run_id, False

    async def stop_flow(self, name: str) -> tuple[list[str], bool]:
        """End the flow's runs at their next step or item, and begin none that waits; the ids of those that had begun.

        What is due by itself waits until somebody enables the flow again; whether it was disabled for that."""
        deployed = await self.named(name)
        self.daemon.ownership.require_not_elsewhere()
        flow = deployed.entry.flow
        runs_by_itself = flow is not None and flow.mode != "manual" and self.daemon.ledger.switch(name).is_enabled
        if runs_by_itself:
            await self.switch(name, Switch.now(False, self.asker.by, self.asker.machine))
        for backfill_id in self.daemon.backfiller.running_of(name):
            self.daemon.backfiller.stop(backfill_id)
        run_ids = self.daemon.dispatcher.stop_flow(name, STOP_REQUESTED)
        self.daemon.tell()
        return run_ids, runs_by_itself

    async def retry(
        self, flow: str | None, source: str | None, *, accept: bool = False
    ) -> tuple[int, tuple[str, ...], tuple[str, ...]]:
        """Free the held sources of `flow` (of all, or only `source`); how many were held, what was accepted, and what stays held. A flow
        whose columns were accepted and that holds nothing, as one that runs by hand, is run."""
        if flow is not None:
            await self.named(flow)
        self.daemon.ownership.require_not_elsewhere()
        if flow is not None:
            self.good_flow(self.deployed(flow))
        keys: frozenset[SourceKey] | None = None
        if flow is not None and source is not None:
            key = pick_source(self.good_flow(self.deployed(flow)), source).key
            keys = None if key is None else frozenset({key})
        names = self.daemon.triggers.names() if flow is None else [self.deployed(flow).entry.name]
        columns = await asyncio.to_thread(accepted_columns, self.daemon.ledger, names) if accept else ()
        flows = [planned for name in names if (planned := self.daemon.planned_flow(name))]
        held = await asyncio.to_thread(self.daemon.held_files.of, flows)
        slots = {name: self.daemon.triggers.free(name, keys) for name in names}
        count = sum(slots.values()) + sum(len(files if keys is None else files & keys) for files in held.values())
        await self._run_accepted(columns, {*filter(slots.get, slots), *held})
        if keys is not None:
            return count, (), ()
        whys = {name: why for name in names if (why := self.daemon.triggers.feed_shrunk(name)) is not None}
        for name in whys if accept else ():
            self.daemon.triggers.accept(name)
        words = (*columns, *(f"{name}: {why.what}" for name, why in whys.items()))
        return (count, words, ()) if accept else (count, (), words)

    async def _run_accepted(self, columns: Sequence[str], holding: Collection[str]) -> None:
        """Run the flows whose columns were accepted and that hold nothing, with the parameters of their last run."""
        for flow in {words.partition(":")[0] for words in columns}.difference(holding):
            params = next((run.params or {} for run in self.daemon.ledger.runs(flow, 1)), {})
            await self.run(flow, None, {name: value for name, value in params.items() if value != MASK})

    async def reset(self, flow: str | None) -> int:
        """Forget the history and freshness of `flow`, or of every flow; how many runs went. Every source is due again."""
        if flow is not None and not self.daemon.ledger.runs(flow, 1):
            await self.named(flow)
        self.daemon.ownership.require_not_elsewhere()
        for row in backfills.newest(self.daemon.ledger, flow, state="running"):
            raise FlowValidationError(
                f'a backfill of flow "{row.flow}" is running, so the flow cannot be reset',
                where=f'flow "{row.flow}"',
                fix=f"wait until it has ended, or stop it: data-engine backfill --stop {row.backfill_id[:8]}",
            )
        busy = next((work for work in self.daemon.dispatcher.handed_out() if flow in (None, work.flow)), None)
        if busy is not None:
            raise FlowValidationError(
                f'flow "{busy.flow}" is running (run {busy.run.run_id}) and cannot be reset',
                where=f'flow "{busy.flow}"',
                fix="wait for its runs to end, or stop them; the engine starts new ones as long as it is on",
            )
        count = (
            self.daemon.ledger.reset_all(self.daemon.triggers.names())
            if flow is None
            else self.daemon.ledger.reset_flow(flow)
        )
        for name in self.daemon.triggers.names() if flow is None else [flow]:
            self.daemon.triggers.forget(name)
            if self.daemon.is_engine_on:
                self.daemon.set_trigger(name, frees_held=False)
        self.daemon.tell()
        return count

    # -- backfills -------------------------------------------------------------------------------------------------------

    async def backfill(
        self,
        name: str,
        wanted: Wanted,
        params: dict[str, Any],
        *,
        is_dry: bool = False,
        digest: str | None = None,
    ) -> Backfill:
        """Run `name` again for what is `wanted`, after all that is due; with `is_dry` only list it.

        With `digest` exactly the runs that it stands for, or none."""
        await self.daemon.deployer.settled()
        flow = self.good_flow(await self.named(name))
        params = dict(params_for(flow, params))
        home, outdated = self.daemon.home, list[GoodRun]()
        if wanted.reprocess == "outdated":
            outdated = await asyncio.to_thread(outdated_runs, home, name, self.daemon.flows)
        chosen = await asyncio.to_thread(choose, home, flow, wanted, outdated)
        row = new_row(flow, wanted, chosen, params, by=self.asker.who, backfill_id=self.asker.request_id)
        backfill = replace(backfill_of(row), planned=chosen.planned, known=chosen.known, digest=chosen.digest)
        if is_dry:
            return replace(backfill, id="", state="planned", nearest=chosen.nearest)
        if digest is not None and digest != chosen.digest:
            raise FlowValidationError(
                f"what would run has changed since it was shown: {backfill.total:,} runs now",
                where=f"backfill {name}",
                fix="look at it again, and ask once more",
            )
        if not chosen.planned:
            return replace(backfill, id="", state="done", nearest=chosen.nearest)
        async with self.daemon.ownership.in_use():
            await self.daemon.ownership.own()
            await self.daemon.backfiller.begin(row, chosen.planned, self.daemon.ownership.publish)
            remember_backfill(self.daemon.ledger, is_on=True)
        self.daemon.tell()
        return backfill

    async def stop_backfill(self, backfill_id: str) -> Backfill:
        """Begin no more runs of a backfill."""
        async with self.daemon.ownership.for_one_commit():
            return backfill_of(self.daemon.backfiller.stop(backfill_id))

    async def retry_backfill(self, backfill_id: str) -> Backfill:
        """Run again what failed of a backfill, and what a stop left out."""
        async with self.daemon.ownership.in_use():
            await self.daemon.ownership.own()
            row = self.daemon.backfiller.retry(backfill_id)
            remember_backfill(self.daemon.ledger, is_on=True)
        return backfill_of(row)

    def known_backfill(self, backfill_id: str) -> tuple[str, str]:
        """The whole id of the backfill whose id begins so, and its flow."""
        row = known_backfill(self.daemon.ledger, backfill_id)
        return row.backfill_id, row.flow

    # -- the daemon, its engine, the lease -------------------------------------------------------------------------------

    async def turn_engine(self, *, is_on: bool) -> None:
        """Turn the engine on or off; one that was turned on knows when each schedule comes, as far as its shares answer in time."""
        if not is_on:
            await self.daemon.stop_engine()
            return
        await self.daemon.start_engine()
        until_s = time.monotonic() + _FIRST_LOOKS_S
        while time.monotonic() < until_s and any(
            self.daemon.triggers.is_new_to(flow) for flow in self.daemon.deployer.flows
        ):
            await asyncio.sleep(0.01)

    async def shut_down(self, *, kill: bool) -> None:
        """End the daemon: when its work is done, or now with `kill`."""
        remember_stop(self.daemon.home.local)
        self.end(kill)

    async def use_interpreter(self, path: str) -> None:
        """Let workers run with another Python, which the caller has tried; a run under way ends with the one it has."""
        self.daemon.workers.pool.use_interpreter(path)
        self.daemon.tell()

    async def lease(self, do: str, *, now: bool = False, client: str = "ui") -> tuple[LeaseStatus, str | None]:
        """Ask for the workspace, withdraw that, give it up, take it over, or repair its list; the new lease, and the repair's report."""
        ownership, text = self.daemon.ownership, None
        match do:
            case "request":
                await ownership.done(ownership.keeper.request(client))
            case "withdraw":
                await ownership.done(ownership.keeper.withdraw())
            case "release":
                self.daemon.give_up(now=now)
            case "take-over":
                await ownership.take_over()
            case "repair":
                text = await ownership.done(ownership.keeper.repair())
        return ownership.lease(), text


def choose(home: LocalWorkspace, flow: Flow, wanted: Wanted, outdated: Sequence[GoodRun] = ()) -> Chosen:
    """The runs of a backfill, exactly, from the folder and the history; `outdated` are those whose results are.

    Raises:
        FlowValidationError: the flow has neither files nor slots, a text is no day, or the folder cannot be read.
    """
    trigger, ledger, name = flow.trigger, home.ledger(), flow.name or ""
    timezone = home.settings().timezone
    sources = {run.source for run in outdated}
    if isinstance(trigger, Schedule) and has_slots(trigger):
        paths = [None if source.key is None else source.key.path for source in startup_sources(flow)]
        if wanted.where is not None and trigger.source is None:
            raise _no_files(name, "where")
        slots, now_s = {(run.slot, run.source) for run in outdated}, time.time()
        return choose_slots(trigger, paths, ends_of_slots(ledger, name), wanted, timezone, now_s=now_s, outdated=slots)
    if trigger is None or trigger.source is None:
        raise FlowValidationError(
            f"{name} has neither files nor slots to run again",
            where="backfill",
            fix=f"run it by hand, with parameters if it takes any: {cli_line('run', name)}",
        )
    zone = zone_of(timezone)  # a schedule with a zone of its own has slots
    if not trigger.source.is_dir():
        return choose_files({"": signature_of(trigger.source)}, ends_of_sources(ledger, name), wanted, zone, sources)
    if trigger.run_as == "batch":
        for field in ("since", "until", "where"):
            if getattr(wanted, field) is not None:
                raise _no_files(name, field)
        return choose_files({"": None}, ends_of_sources(ledger, name), wanted, zone, sources)
    files = {portable_text(path): _signature(entry) for path, entry in candidates(flow)}
    if isinstance(trigger, Poll):
        ends = ends_of_states(files, ledger.source_states(name), trigger.source_as_authored or "")
    else:
        ends = ends_of_sources(ledger, name)
    return choose_files(files, ends, wanted, zone, sources)


def outdated_runs(home: LocalWorkspace, flow: str, flows: Sequence[Flow]) -> list[GoodRun]:
    """The runs of the flow, one of `flows`, whose results are outdated, by a look at its references now."""
    references = References(home.ledger(), home.layout)
    references.look(flows, flow)
    return [row.run for row in references.outdated(flows) if row.run.flow == flow]


def new_row(
    flow: Flow, wanted: Wanted, chosen: Chosen, params: Mapping[str, Any], *, by: str, backfill_id: str | None
) -> BackfillRow:
    """A backfill of these runs, about to begin."""
    request = {"since": wanted.since, "until": wanted.until, "where": wanted.where, "reprocess": wanted.reprocess}
    return BackfillRow(
        backfill_id or uuid.uuid4().hex,
        flow.name or "",
        chosen.kind,
        request,
        params,
        is_as_scheduled(flow, params),
        by,
        utc_text(time.time()),
        total=len(chosen.planned),
    )


def _signature(entry: Any) -> Signature | None:
    try:
        facts = entry.stat()
    except OSError:
        return None
    return Signature(facts.st_size, facts.st_mtime_ns)


def _no_files(name: str, field: str) -> FlowValidationError:
    return FlowValidationError(
        f"{name} does not run file by file, and {field} chooses files",
        where=f"backfill({field}=...)",
        fix=f"leave {field} out",
    )

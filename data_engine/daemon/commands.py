"""What people and other workstations ask a daemon to do with its flows: run, retry, switch, deploy, roll back, forget."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Protocol

from data_engine.daemon.backfiller import Backfiller
from data_engine.daemon.backfilling import choose, listed, new_row
from data_engine.daemon.deployer import Deployed, Deployer
from data_engine.daemon.deploying import Asked, Outcome, done_already, rolled_back
from data_engine.daemon.deployment_publisher import DeploymentPublisher
from data_engine.daemon.endpoint import remember_backfill
from data_engine.daemon.ownership import Ownership
from data_engine.daemon.run_executor import RunExecutor
from data_engine.daemon.worker_pool import STOP_REQUESTED
from data_engine.engine.candidates import pick_source, pick_to_run, startup_sources
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.params import params_for
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.ledger import backfills
from data_engine.ledger.backfills import told_of
from data_engine.ledger.switch import Switch
from data_engine.model import Backfill, Deployment, RunAbout, SourceKey
from data_engine.notebook.catalog import unknown_flow
from data_engine.notebook.deploy import not_deployed
from data_engine.scheduler.backfill import Wanted
from data_engine.scheduler.plan import PlannedFlow
from data_engine.scheduler.run_queue import Item, Turn, Work
from data_engine.scheduler.scheduler import Scheduler
from data_engine.status.deployed_before import find_flow
from data_engine.status.facts import HeldFiles
from data_engine.workspace.machine import person


class Engine(Protocol):
    """The daemon, as its commands need it."""

    ready: asyncio.Event
    is_engine_on: bool

    def planned_flow(self, flow: str) -> PlannedFlow | None:
        """What planning knows of a flow that production can run."""
        ...

    def set_trigger(self, flow: str, *, frees_held: bool) -> None:
        """Let the flow run by itself as it is now."""
        ...

    def flows_changed(self) -> None:
        """What is deployed has changed."""
        ...

    def tell(self) -> None:
        """Something changed."""
        ...

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return when something changed."""
        ...


class Commands:
    """The commands of one daemon; each raises `FlowValidationError` where it refuses."""

    def __init__(
        self,
        engine: Engine,
        home: LocalWorkspace,
        ownership: Ownership,
        deployer: Deployer,
        scheduler: Scheduler[RunExecutor],
        held_files: HeldFiles,
        backfiller: Backfiller,
    ) -> None:
        self._engine = engine
        self._home = home
        self.ledger = home.ledger()
        self._ownership = ownership
        self._deployer = deployer
        self._publisher = DeploymentPublisher(home, ownership)
        self._dispatcher, self._triggers = scheduler.dispatcher, scheduler.triggers
        self._held_files = held_files
        self._backfiller = backfiller

    async def run(
        self,
        name: str,
        source: str | None,
        params: dict[str, Any],
        run_id: Callable[[int], str] = lambda number: uuid.uuid4().hex,
        by: str | None = None,
    ) -> list[str]:
        """Let `name`, as it is deployed now, run once for each of its sources, or for one; the ids of the runs to come, by their numbers.

        `by` is who asked for it, "person@machine"; None for whoever this daemon belongs to.

        Raises:
            FlowValidationError: no such flow, a broken one, no such source, or params that it does not take.
        """
        await self._deployer.settled()
        flow = self.good_flow(await self.named(name))
        given = dict(params_for(flow, params))
        async with self._ownership.in_use():
            await self._ownership.own()
            if source is None:
                sources = await asyncio.to_thread(startup_sources, flow)
            else:
                sources = (await asyncio.to_thread(pick_to_run, flow, source),)
            batch = uuid.uuid4().hex
            about = RunAbout("hand", None, by or "@".join(person()))
            items = [Item(one, run_id(number), given, about=about) for number, one in enumerate(sources)]
            self._dispatcher.add([Work(name, flow.group, item, batch, Turn.ASKED) for item in items])
        return [item.run_id for item in items]

    async def backfill(
        self,
        name: str,
        wanted: Wanted,
        params: dict[str, Any],
        *,
        is_dry: bool = False,
        digest: str | None = None,
        backfill_id: str | None = None,
        by: str | None = None,
    ) -> Backfill:
        """Run `name` again for what is wanted, after all that is due; with `is_dry` only list it.

        With `digest` exactly the runs that it stands for, or none.

        Raises:
            FlowValidationError: no such flow, a broken one, params that it does not take, nothing that could be run again,
                or other runs than were shown.
        """
        await self._deployer.settled()
        flow = self.good_flow(await self.named(name))
        given = dict(params_for(flow, params))
        chosen = await asyncio.to_thread(choose, self._home, flow, wanted)
        shown = listed(flow, wanted, chosen, given)
        if is_dry:
            return shown
        if digest is not None and digest != chosen.digest:
            raise FlowValidationError(
                f"what would run has changed since it was shown: {shown.total:,} runs now",
                where=f"backfill {name}",
                fix="look at it again, and ask once more",
            )
        if not chosen.planned:
            return replace(shown, state="done")
        row = new_row(flow, wanted, chosen, given, by=by or "@".join(person()), backfill_id=backfill_id)
        async with self._ownership.in_use():
            await self._ownership.own()
            await self._backfiller.begin(row, chosen.planned, self._ownership.publish)
            remember_backfill(self.ledger, is_on=True)
        self._engine.tell()
        return replace(told_of(row), planned=chosen.planned, known=chosen.known, digest=chosen.digest)

    async def stop_backfill(self, backfill_id: str) -> Backfill:
        """Begin no more runs of a backfill.

        Raises:
            FlowValidationError: there is none, or it does not run.
            OwnedElsewhereError: another workstation owns the workspace.
        """
        async with self._ownership.for_one_commit():
            return told_of(self._backfiller.stop(backfill_id))

    async def retry_backfill(self, backfill_id: str) -> Backfill:
        """Run again what failed of a backfill, and what a stop left out.

        Raises:
            FlowValidationError: there is none, it runs, or nothing failed.
            OwnedElsewhereError: another workstation owns the workspace.
        """
        async with self._ownership.in_use():
            await self._ownership.own()
            row = self._backfiller.retry(backfill_id)
            remember_backfill(self.ledger, is_on=True)
        return told_of(row)

    def checked_params(self, name: str, params: dict[str, Any]) -> dict[str, Any]:
        """The params as the flow takes them; as they are where nobody here knows the flow.

        Raises:
            FlowValidationError: it does not take them.
        """
        deployed = self._deployer.flows.get(name)
        flow = None if deployed is None else deployed.entry.flow
        return params if flow is None else dict(params_for(flow, params))

    async def notice(self, name: str) -> None:
        """Look at the modules now when no flow has this name: it may have been saved a moment ago."""
        if name not in self._deployer.flows:
            await self.look()

    async def look(self) -> None:
        """Look now at the modules, and at what is deployed."""
        if await self._deployer.refresh():
            self._engine.flows_changed()

    async def named(self, name: str) -> Deployed:
        """The deployed flow `name`, also of a module that was saved a moment ago.

        Raises:
            FlowValidationError: there is none; the same error as without a daemon.
        """
        await self.notice(name)
        if name not in self._deployer.flows:
            await asyncio.to_thread(find_flow, self._home, name)
        return self.deployed(name)

    def deployed(self, name: str) -> Deployed:
        """The deployed flow `name`.

        Raises:
            FlowValidationError: there is none; lists those there are.
        """
        found = self._deployer.flows.get(name)
        if found is None:
            raise unknown_flow(name, self._home.layout.flow_modules_dir, self._deployer.flows)
        return found

    def good_flow(self, deployed: Deployed) -> Flow:
        """The flow of a deployed module.

        Raises:
            FlowValidationError: the module is broken; its own error. It is not deployed; both ways on.
        """
        entry = deployed.entry
        if entry.flow is None:
            raise entry.error or FlowValidationError(f"flow {entry.name!r} is broken", where=str(entry.path))
        if deployed.content is None:
            shares_with = None if deployed.edit is None else deployed.edit.shares_with
            raise not_deployed(entry.name, str(entry.path), shares_with)
        return entry.flow

    async def retry(self, flow: str | None, source: str | None) -> int:
        """Hold the sources of `flow` (of all, or only `source`) no longer; how many were held.

        Raises:
            FlowValidationError: no such flow or source.
        """
        keys: frozenset[SourceKey] | None = None
        if flow is not None and source is not None:
            key = pick_source(self.good_flow(self.deployed(flow)), source).key
            keys = None if key is None else frozenset({key})
        names = self._triggers.names() if flow is None else [self.deployed(flow).entry.name]
        flows = [planned for name in names if (planned := self._engine.planned_flow(name))]
        held = await asyncio.to_thread(self._held_files.of, flows)
        slots = sum(self._triggers.free(name, keys) for name in names)
        return slots + sum(len(found if keys is None else found & keys) for found in held.values())

    def reset(self, flow: str | None) -> int:
        """Forget the history and freshness of `flow`, or of every flow; how many runs went. Every source is due again.

        Raises:
            FlowValidationError: a run of it is under way, or about to be.
            OwnedElsewhereError: another workstation owns the workspace, and its history.
        """
        self._ownership.require_not_elsewhere()
        for one in backfills.newest(self.ledger, flow, state="running"):
            raise FlowValidationError(
                f'a backfill of flow "{one.flow}" is running, so the flow cannot be reset',
                where=f'flow "{one.flow}"',
                fix=f"wait until it has ended, or stop it: data-engine backfill --stop {one.backfill_id[:8]}",
            )
        busy = next((work for work in self._dispatcher.handed_out() if flow in (None, work.flow)), None)
        if busy is not None:
            raise FlowValidationError(
                f'flow "{busy.flow}" is running (run {busy.item.run_id}) and cannot be reset',
                where=f'flow "{busy.flow}"',
                fix="wait for its runs to end, or stop them; the engine starts new ones as long as it is on",
            )
        count = self.ledger.reset_all(self._triggers.names()) if flow is None else self.ledger.reset_flow(flow)
        for name in self._triggers.names() if flow is None else [flow]:
            self._triggers.forget(name)
            if self._engine.is_engine_on:
                self._engine.set_trigger(name, frees_held=False)
        self._engine.tell()
        return count

    async def stop_flow(self, name: str) -> dict[str, Any]:
        """End the flow's runs at their next step or item, and begin none that waits; the ids of those that had begun.

        What is due by itself waits until somebody enables the flow again: `disabled` says whether it was for this.

        Raises:
            FlowValidationError: no such flow.
            OwnedElsewhereError: another workstation owns the workspace.
        """
        deployed = await self.named(name)
        self._ownership.require_not_elsewhere()
        flow = deployed.entry.flow
        runs_by_itself = flow is not None and flow.mode != "manual" and self.ledger.switch(name).is_enabled
        if runs_by_itself:
            await self.switch(name, Switch.now(False, *person()))
        for backfill_id in self._backfiller.running_of(name):
            self._backfiller.stop(backfill_id)
        run_ids = self._dispatcher.stop_flow(name, STOP_REQUESTED)
        self._engine.tell()
        return {"run_ids": run_ids, "disabled": runs_by_itself}

    async def until_ready(self) -> None:
        """Return once the flows are known."""
        await self._engine.ready.wait()

    async def switch(self, name: str, switch: Switch) -> None:
        """Let a flow run by itself, or not, and publish that and who said so.

        Raises:
            FlowValidationError: no such flow.
            OwnedElsewhereError: another workstation owns the workspace.
        """
        await self.named(name)
        async with self._ownership.for_one_commit():
            await self._ownership.publish(lambda: self.ledger.set_switch(name, switch))
        if self._engine.is_engine_on:
            self._engine.set_trigger(name, frees_held=False)
        self._engine.tell()

    async def deploy(self, asked: Asked) -> Outcome:
        """Deploy the current content of the module that was asked for, or of every one; or undeploy a flow.

        Raises:
            FlowValidationError: a named module is unknown, or it cannot be published.
            OwnedElsewhereError: another workstation owns the workspace.
        """
        if asked.name is not None and not asked.is_withdrawal:
            await asyncio.to_thread(find_flow, self._home, asked.name)
        async with self._ownership.for_one_commit():
            await self._publisher.take_over_local()
            outcome = await self._deployer.deploy(asked)
        self._engine.flows_changed()
        return outcome

    async def deploy_set(self, set_id: str, asked: Asked) -> Outcome:
        """Deploy exactly the set that somebody has put on the share.

        Raises:
            DamagedSetError: it is not what its name says.
            FlowValidationError: a named module is not in it, or it cannot be published.
        """
        outcome = await self._deployer.deploy_set(set_id, asked)
        self._engine.flows_changed()
        return outcome

    async def until_ended(self, run_ids: Collection[str]) -> None:
        """Return when all these runs have ended."""
        while any(self._dispatcher.is_to_come(one) or one in self._dispatcher.active for one in run_ids):
            await self._engine.wait_for_change(1.0)

    async def roll_back(self, name: str, to: str | None, asked: Asked) -> Deployment:
        """Let the flow run what it ran before, or the deployment `to`.

        Raises:
            FlowValidationError: there is nothing to go back to, or it is damaged.
            OwnedElsewhereError: another workstation owns the workspace.
        """
        async with self._ownership.for_one_commit():
            await self._publisher.take_over_local()
            if (done := await asyncio.to_thread(done_already, self._home, asked)) is not None:
                return done
            row = await asyncio.to_thread(rolled_back, self._home, name, to, asked)
            await self._publisher.publish([row])
            await self._deployer.refresh()
        self._engine.flows_changed()
        return row

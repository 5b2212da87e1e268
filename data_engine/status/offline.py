"""The facts of a workspace without a daemon: from the deployments, the ledger and one look at the folders."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.references import References
from data_engine.ledger.deployments import published
from data_engine.ledger.feed_schemas import drifting_runs
from data_engine.ledger.outbox import undelivered
from data_engine.ledger.run_warnings import warnings_of
from data_engine.ledger.wall_clock import clock_warnings, kept_doubt
from data_engine.model import ActiveRun
from data_engine.notebook import deployment_status
from data_engine.notebook.catalog import CatalogEntry, read_catalog, with_no_steps_refused
from data_engine.notebook.deployment_status import AS_DEPLOYED, NOT_DEPLOYED, DeploymentStatus
from data_engine.notebook.flow_files import not_flows, notebooks_in_subfolders
from data_engine.planning.due import PlannedFlow
from data_engine.reasons.kinds import Expected, Late, Overlong, OwnedElsewhere
from data_engine.record import frozen
from data_engine.status.build import (
    FlowFacts,
    HeldFiles,
    OthersSeen,
    WorkspaceFacts,
    backfills_recent,
    last_runs,
    outdated_there,
    owned_elsewhere,
    references_changed,
    rejected_by_flow,
    rejected_now,
    requests_told,
)
from data_engine.status.record import DaemonFacts, EngineFacts, ServiceFacts
from data_engine.storage_version import too_new
from data_engine.workspace.machine import machine_id

if TYPE_CHECKING:
    from data_engine.scheduler.folder_poller import FolderPoller, KnownSources


@frozen
class OfflineFacts:
    """A source of facts that asks no daemon. `daemon` is what is known without asking: the recorded interpreter of the workers,
    and whether one is there and silent. `was_engine_on` is for the next daemon, `service` would start it."""

    home: LocalWorkspace
    daemon: DaemonFacts = field(default_factory=DaemonFacts)
    was_engine_on: bool = False
    service: ServiceFacts = field(default_factory=ServiceFacts)

    def facts(self) -> WorkspaceFacts:
        """Everything a status is made of.

        Raises:
            FlowValidationError: the flow_modules folder cannot be read.
        """
        home, ledger, now_s = self.home, self.home.ledger(), time.time()
        ledger.recover()
        error, timezone, folder = home.settings_error(), home.settings_shown().timezone, home.layout.flow_modules_dir
        active, last, switches, stands = ledger.active_runs(), last_runs(ledger), ledger.switches(), self.stands()
        warned = warnings_of(ledger, [run.run_id for run in last.values()])
        files, flows_here = HeldFiles(ledger), [entry.flow for entry, _ in stands if entry.flow is not None]
        held = files.of(map(PlannedFlow.of, flows_here))
        rejected, drifting = rejected_by_flow(rejected_now(ledger), files.gone(flows_here)), drifting_runs(ledger)
        outdated = References(ledger, home.layout).outdated(flows_here)
        changed = references_changed(outdated_there(outdated, flows_here), flows_here)
        me = machine_id(home.local.state_root)
        lease = OthersSeen(ledger, me).complete(home.lease())
        elsewhere = owned_elsewhere(lease, me)
        flows = [
            FlowFacts(
                entry=entry,
                deployment_status=status,
                switch=switches.get(entry.name),
                last_run=(run := last.get(entry.name)),
                held=len(held.get(entry.name, ())),
                expected=self._expected(entry, status, active, timezone),
                timezone=timezone,
                warnings=0 if run is None else warned.get(run.run_id, 0),
                rejected=rejected[entry.name],
                changed=changed.get(entry.name, ()),
                drift=() if (late := drifting.get(entry.name)) is None else late.drift,
            )
            for entry, status in stands
        ]
        return WorkspaceFacts(
            workspace_id=home.layout.workspace_id,
            workspace_root=str(home.layout.root),
            flows=flows,
            active=active,
            lease=lease,
            elsewhere=elsewhere,
            engine=self._engine(elsewhere),
            trouble=error,
            warnings=(
                *(() if error is not None else home.settings().warnings),
                *clock_warnings(kept_doubt(ledger, now_s)),
                *(() if elsewhere is None else too_new(home.layout.databases_dir)),
            ),
            daemon=self.daemon,
            requests=requests_told(ledger, now_s),
            backfills=backfills_recent(ledger, now_s),
            service=self.service,
            undelivered=undelivered(ledger),
            not_flows=not_flows(folder, notebooks_in_subfolders(folder)),
        )

    def poller(self, flow: str) -> FolderPoller | None:
        """Nobody looks."""
        return None

    def memory(self, flow: str) -> KnownSources:
        """What is known of the flow's sources."""
        from data_engine.ledger.outputs import own_outputs
        from data_engine.scheduler.folder_poller import known_sources

        ledger = self.home.ledger()
        return known_sources(ledger, flow)._replace(outputs=own_outputs(ledger, self.home.layout, flow))

    def _engine(self, elsewhere: OwnedElsewhere | None) -> EngineFacts:
        if self.daemon.silent:
            return EngineFacts(on=None)
        return EngineFacts(goes_on=self.was_engine_on and elsewhere is None)

    def _expected(
        self, entry: CatalogEntry, status: DeploymentStatus, active: Sequence[ActiveRun], timezone: str | None
    ) -> Expected | Late | Overlong | None:
        """How the flow meets its expectations; None for one without any, or not in production."""
        flow = entry.flow
        if flow is None or not flow.expectations or status.kind == "not_deployed":
            return None
        from data_engine.alerting.expectations import look

        own = {run.run_id: run for run in active if run.flow == flow.name}
        began = {run_id: datetime.fromisoformat(run.started_at_utc).timestamp() for run_id, run in own.items()}
        fact = look(self.home.ledger(), flow, timezone=timezone, active=began, now_s=time.time()).fact
        return replace(fact, pid=own[fact.run_id].pid) if isinstance(fact, Overlong) else fact

    def stands(self) -> list[tuple[CatalogEntry, DeploymentStatus]]:
        """Each flow as the next daemon finds it, by name: the deployed entry, else the module's, and its deployment status."""
        from data_engine.notebook.deployments import deployed_entries, in_production

        home, deployments = self.home, self.home.deployments()
        deployed, authored = deployments.deployed(), deployments.authored()
        edits = deployments.edits_among(authored)
        entries = with_no_steps_refused(read_catalog(home.modules(), cache=home.descriptions(), warns=False))
        edited = [name for name, edit in edits.items() if edit.is_edited]
        shown = in_production(entries, deployments, edited, home.deployed_descriptions()) if edited else entries
        live = deployment_status.live_deployments(published(home.ledger())).values() if deployed else ()
        pairs = []
        for entry, runs in zip(entries, shown, strict=True):
            new = replace(NOT_DEPLOYED, digest=authored.digests.get(entry.name, ""))
            status = edits.get(entry.name, AS_DEPLOYED) if entry.name in deployed else new
            if status.is_edited and entry.error is not None:
                status = replace(status, error=str(entry.error))
            if live and status.kind in ("not_deployed", "edited"):
                from data_engine.engine.run_sources import with_shared_mirror

                status = with_shared_mirror(home, entry, status, live)
            pairs.append((runs, status))
        names = {entry.name for entry, _ in pairs}
        gone = {name: edit for name, edit in edits.items() if edit.kind == "gone" and name not in names}
        pairs += [(entry, gone[entry.name]) for entry in (deployed_entries(deployments, gone) if gone else ())]
        return sorted(pairs, key=lambda pair: pair[0].name)


def reset_offline(home: LocalWorkspace, flow: str | None) -> int:
    """Forget the history and freshness of `flow`, or of every flow; the number of runs removed.

    Raises:
        FlowValidationError: no such flow, neither as a module nor in the history; a run of it is under way.
        OwnedElsewhereError: another workstation owns the workspace, and its history.
    """
    from data_engine.lease.status import refuse_owned_elsewhere
    from data_engine.notebook.catalog import find_module
    from data_engine.notebook.flow_files import module_files

    refuse_owned_elsewhere(home.layout.workspace_state_dir, home.local.identity, what="forgetting history")
    ledger = home.ledger()
    ledger.recover()
    if flow is None:
        return ledger.reset_all(module_files(home.layout.flow_modules_dir))
    if not ledger.runs(flow, 1):
        find_module(home.modules(), flow)
    return ledger.reset_flow(flow)

"""The facts of a workspace while its daemon runs here: from the daemon's memory, and what others have written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from data_engine.cause import Cause
from data_engine.daemon.daemon import Daemon
from data_engine.daemon.request_sender import SentRequest
from data_engine.ledger.backfills import newest_writer, written_with_params
from data_engine.ledger.belief import clock_warnings
from data_engine.ledger.deployments import published_mark
from data_engine.ledger.former_places import outputs_here
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outbox import undelivered
from data_engine.ledger.output_runs import OutputRun, output_runs
from data_engine.ledger.switch import Switch
from data_engine.ledger.warned import Warned
from data_engine.message import Undelivered
from data_engine.model import ActiveRun, Backfill, Deployment, Run, utc_text
from data_engine.notebook.deployment_status import AS_DEPLOYED, NOT_DEPLOYED
from data_engine.planning.due import Rules
from data_engine.reasons.kinds import WaitingRuns
from data_engine.record import frozen
from data_engine.scheduler.folder_poller import FolderPoller
from data_engine.scheduler.source_memory import KnownSources
from data_engine.status.build import (
    FlowFacts,
    OthersSeen,
    WorkspaceFacts,
    backfills_recent,
    last_runs,
    rejected_by_flow,
    rejected_now,
    requests_told,
)
from data_engine.status.deployed_before import history_of, names_of, ran_earlier_code
from data_engine.status.record import DaemonFacts, EngineFacts, RequestStatus
from data_engine.workspace.machine import machine_id


@frozen
class HistoryFacts:
    """What a status takes from the ledger."""

    last: Mapping[str, Run] = field(default_factory=dict)
    switches: Mapping[str, Switch] = field(default_factory=dict)
    others: Sequence[ActiveRun] = ()
    requests: Sequence[RequestStatus] = ()
    backfills: Sequence[Backfill] = ()
    undelivered: Sequence[Undelivered] = ()
    warned: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    published: tuple[int, int] = (0, 0)


class History:
    """What a status takes from the ledger, read again only when somebody has written there."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._version: tuple[int, int] | None = None
        self._known = HistoryFacts()
        self._warned = Warned(ledger)

    def now(self) -> HistoryFacts:
        """The last run and the switch of each flow, what other processes run, what other workstations asked for; backfills, messages.

        Raises:
            LedgerError: the history cannot be read.
        """
        version, ledger = self._ledger.version(), self._ledger
        if version != self._version:
            last = last_runs(ledger)
            self._known = HistoryFacts(
                last=last,
                switches=ledger.switches(),
                others=ledger.active_runs(but_of=os.getpid()),
                requests=requests_told(ledger, time.time()),
                backfills=backfills_recent(ledger, time.time()),
                undelivered=undelivered(ledger),
                warned=self._warned.of(last.values()),
                rejected=rejected_now(ledger),
                published=published_mark(ledger),
            )
            self._version = version
        return self._known


class LiveFacts:
    """The facts of one daemon; `about` tells of the daemon itself."""

    def __init__(self, daemon: Daemon, about: Callable[[], DaemonFacts]) -> None:
        self._daemon, self._about = daemon, about
        self._history = History(daemon.ledger)
        self._others = OthersSeen(daemon.ledger, machine_id())

    def facts(self) -> WorkspaceFacts:
        """Everything a status is made of; on the daemon's own thread.

        Raises:
            LedgerError: the history cannot be read.
        """
        daemon, layout = self._daemon, self._daemon.home.layout
        found = self._history.now()
        timezone = daemon.home.settings().timezone
        running = {one.id: one for one in daemon.backfiller.told()}
        retries, rejected = daemon.triggers.retries_to_come(), rejected_by_flow(found.rejected, daemon.gone)
        flows = [
            FlowFacts(
                entry=deployed.entry,
                standing=deployed.edit or (NOT_DEPLOYED if deployed.content is None else AS_DEPLOYED),
                switch=found.switches.get(name),
                last_run=(run := found.last.get(name)),
                warnings=0 if run is None else found.warned.get(run.run_id, 0),
                next_run_utc=daemon.triggers.next_utc(name),
                held=daemon.held(name),
                retried=len(retries.get(name, ())),
                rejected=rejected[name],
                why=daemon.triggers.why(name),
                cadence=daemon.triggers.slow_looks(name),
                waiting=daemon.dispatcher.why_waiting(name, found.others),
                timezone=timezone,
                expected=daemon.alerter.expecting.of(deployed.entry.flow if deployed.is_live else None).fact,
            )
            for name, deployed in sorted(daemon.deployer.flows.items())
        ]
        return WorkspaceFacts(
            workspace_id=layout.workspace_id,
            workspace_root=str(layout.root),
            flows=flows,
            active=[*own_runs(daemon), *found.others],
            waiting=waiting_runs(daemon, found.others),
            daemon=self._about(),
            engine=EngineFacts(on=daemon.is_engine_on, stopping=daemon.is_stopping, starting=not daemon.ready.is_set()),
            lease=self._others.told(daemon.ownership.lease()),
            elsewhere=daemon.ownership.elsewhere,
            trouble=daemon.trouble,
            service=daemon.service,
            requests=[*(_waiting(one) for one in daemon.sender.sent.values()), *found.requests],
            backfills=[running.get(one.id, one) for one in found.backfills],
            undelivered=found.undelivered,
            not_flows=daemon.deployer.not_flows,
            are_deployments_read=daemon.deployer.shown_mark == found.published,
            warnings=(*daemon.home.settings().warnings, *clock_warnings(daemon.ownership.clock), *daemon.warnings),
        )

    def poller(self, flow: str) -> FolderPoller | None:
        """The engine's own look at the flow's folder."""
        planner = self._daemon.triggers.planner(flow)
        return planner if isinstance(planner, FolderPoller) else None

    def memory(self, flow: str) -> KnownSources:
        """What is known of the flow's sources."""
        return self._daemon.triggers.known_sources(flow)

    def rules(self) -> Rules:
        """What else decides about sources."""
        return Rules.of(self._daemon.home.settings())

    def causes(self, flow: str) -> Mapping[str, Cause]:
        """Why the flow's runs that did not end well ended so."""
        ledger = self._daemon.ledger
        return ledger.causes(*names_of(ledger, flow))

    def slots(self, flow: str, since_utc: str) -> Sequence[tuple[str, str]]:
        """The flow's slots that count as served from then on, each with its run."""
        return self._daemon.ledger.slots(flow, since_utc)

    def past(self) -> Sequence[Deployment]:
        """Every deployment there was, the newest first."""
        return history_of(self._daemon.home)

    def outputs(self, run_ids: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """The files that each of these runs wrote."""
        return outputs_here(self._daemon.ledger, self._daemon.home.layout, run_ids)

    def ran_earlier_code(self, flow: str, run_ids: Sequence[str]) -> frozenset[str]:
        """Those of these runs that ran another deployment's code than the flow runs now."""
        return ran_earlier_code(self._daemon.ledger, flow, run_ids)

    def output_runs(self, path: str, endings: Sequence[str]) -> Sequence[OutputRun]:
        """Who wrote the file at this path; where nobody did, those whose path ends with one of these."""
        return output_runs(self._daemon.ledger, path, endings)

    def sources_called(self, name: str, path: str) -> Sequence[str]:
        """The paths of the sources that ever ran and have this path, or end with this name."""
        return self._daemon.ledger.sources_called(name, path)

    def written_with_params(self, flow: str) -> Mapping[str | None, Run]:
        """Of each source the newest good run that was given params and wrote."""
        return written_with_params(self._daemon.ledger, flow)

    def newest_writer(self, flow: str) -> Run | None:
        """The newest good run of the flow that wrote."""
        return newest_writer(self._daemon.ledger, flow)


def _waiting(sent: SentRequest) -> RequestStatus:
    request = sent.request
    state, outcome = ("waiting", None) if sent.given_up is None else ("answered", "expired")
    return RequestStatus(
        request_id=request.request_id,
        verb=request.verb,
        flow=request.flow,
        state=state,
        outcome=outcome,
        what=sent.given_up,
        by=request.by,
        machine=request.host_name,
        owner=sent.owner,
        at_utc=request.at_utc,
    )


def own_runs(daemon: Daemon) -> list[ActiveRun]:
    """The runs of this daemon's workers."""
    return [
        ActiveRun(
            run_id=run.run_id,
            flow=run.flow,
            group=run.group,
            source=run.source,
            started_at_utc=utc_text(run.started_at_s),
            pid=os.getpid(),
            in_daemon=True,
            step=run.step,
            step_started_at_utc=None if run.step_at_s is None else utc_text(run.step_at_s),
            done=run.done,
            total=run.total,
            worker=daemon.workers.where(run.run_id),
            stopping=run.is_stopping,
        )
        for run in daemon.dispatcher.active.values()
    ]


def waiting_runs(daemon: Daemon, others: Sequence[ActiveRun]) -> list[WaitingRuns]:
    """What waits for its turn, and the failed files of polled flows that wait for their next try; `others` are runs of
    other processes."""
    found = daemon.dispatcher.waiting(others)
    for name, retries in sorted(daemon.triggers.retries_to_come().items()):
        deployed = daemon.deployer.flows.get(name)
        path, why = retries[0]
        found.append(WaitingRuns(name, (deployed and deployed.entry.group) or "", len(retries), path, why))
    return found

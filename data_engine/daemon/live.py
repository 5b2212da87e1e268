"""The facts of a workspace while its daemon runs here: from the daemon's memory, and what others have written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from data_engine.daemon.daemon import Daemon
from data_engine.daemon.requests import SentRequest
from data_engine.ledger.deployments import published_mark
from data_engine.ledger.feed_schemas import drifting_runs
from data_engine.ledger.outbox import undelivered
from data_engine.ledger.run_warnings import WarningCounts
from data_engine.ledger.wall_clock import clock_warnings
from data_engine.message import Undelivered
from data_engine.model import ActiveRun, Backfill, Run, Switch, utc_text
from data_engine.notebook.deployment_status import AS_DEPLOYED, NOT_DEPLOYED
from data_engine.reasons.waiting import WaitingRuns
from data_engine.record import frozen
from data_engine.scheduler.folder_poller import FolderPoller, KnownSources
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
from data_engine.status.record import DaemonFacts, EngineFacts, RequestStatus
from data_engine.workspace.machine import machine_id


@frozen
class HistoryFacts:
    """A status's facts from the ledger: each flow's last run, switch, warnings, rejected rows and drift; what others run and ask for."""

    last: Mapping[str, Run] = field(default_factory=dict)
    switches: Mapping[str, Switch] = field(default_factory=dict)
    others: Sequence[ActiveRun] = ()
    requests: Sequence[RequestStatus] = ()
    backfills: Sequence[Backfill] = ()
    undelivered: Sequence[Undelivered] = ()
    warned: Mapping[str, int] = field(default_factory=dict)
    rejected: Mapping[tuple[str, str], int] = field(default_factory=dict)
    drifting: Mapping[str, Run] = field(default_factory=dict)
    published: tuple[int, int] = (0, 0)


class LiveFacts:
    """The facts of one daemon; `about` gives those of the daemon itself."""

    def __init__(self, daemon: Daemon, about: Callable[[], DaemonFacts]) -> None:
        self.home = daemon.home
        self._daemon, self._about = daemon, about
        self._history, self._version = HistoryFacts(), (-1, -1)
        self._warned = WarningCounts(daemon.ledger)
        self._others = OthersSeen(daemon.ledger, machine_id())

    def facts(self) -> WorkspaceFacts:
        """Everything a status is made of; on the daemon's own thread.

        Raises:
            LedgerError: the history cannot be read.
        """
        daemon, layout = self._daemon, self._daemon.home.layout
        history = self._history_now()
        timezone = daemon.home.settings().timezone
        running = {backfill.id: backfill for backfill in daemon.backfiller.under_way()}
        retries, rejected = daemon.triggers.retries_to_come(), rejected_by_flow(history.rejected, daemon.gone)
        flows = [
            FlowFacts(
                entry=deployed.entry,
                deployment_status=deployed.edit or (NOT_DEPLOYED if deployed.content is None else AS_DEPLOYED),
                switch=history.switches.get(name),
                last_run=(run := history.last.get(name)),
                warnings=0 if run is None else history.warned.get(run.run_id, 0),
                next_run_utc=daemon.triggers.next_utc(name),
                held=daemon.held(name),
                retried=len(retries.get(name, ())),
                rejected=rejected[name],
                changed=daemon.changed.get(name, ()),
                drift=() if (late := history.drifting.get(name)) is None else late.drift,
                why=daemon.triggers.why(name),
                cadence=daemon.triggers.slow_looks(name),
                waiting=daemon.dispatcher.why_waiting(name, history.others),
                timezone=timezone,
                expected=daemon.alerter.expecting.of(deployed.entry.flow if deployed.is_live else None).fact,
            )
            for name, deployed in sorted(daemon.deployer.flows.items())
        ]
        return WorkspaceFacts(
            workspace_id=layout.workspace_id,
            workspace_root=str(layout.root),
            flows=flows,
            active=[*own_runs(daemon), *history.others],
            waiting=waiting_runs(daemon, history.others),
            daemon=self._about(),
            engine=EngineFacts(on=daemon.is_engine_on, stopping=daemon.is_stopping, starting=not daemon.ready.is_set()),
            lease=self._others.complete(daemon.ownership.lease()),
            elsewhere=daemon.ownership.elsewhere,
            trouble=daemon.trouble,
            service=daemon.service,
            requests=[*(_waiting(sent) for sent in daemon.sender.sent.values()), *history.requests],
            backfills=[running.get(backfill.id, backfill) for backfill in history.backfills],
            undelivered=history.undelivered,
            not_flows=daemon.deployer.not_flows,
            are_deployments_read=daemon.deployer.shown_mark == history.published,
            warnings=(
                *daemon.home.settings().warnings,
                *clock_warnings(daemon.ownership.keeper.state.clock),
                *daemon.warnings,
            ),
        )

    def _history_now(self) -> HistoryFacts:
        """The facts from the ledger, read again only when somebody has written there."""
        ledger = self._daemon.ledger
        version = ledger.version()
        if version != self._version:
            last = last_runs(ledger)
            self._history = HistoryFacts(
                last=last,
                switches=ledger.switches(),
                others=ledger.active_runs(but_of=os.getpid()),
                requests=requests_told(ledger, time.time()),
                backfills=backfills_recent(ledger, time.time()),
                undelivered=undelivered(ledger),
                warned=self._warned.of(last.values()),
                rejected=rejected_now(ledger),
                drifting=drifting_runs(ledger),
                published=published_mark(ledger),
            )
            self._version = version
        return self._history

    def poller(self, flow: str) -> FolderPoller | None:
        """The engine's own look at the flow's folder."""
        planner = self._daemon.triggers.planner(flow)
        return planner if isinstance(planner, FolderPoller) else None

    def memory(self, flow: str) -> KnownSources:
        """What is known of the flow's sources."""
        return self._daemon.triggers.known_sources(flow)


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
    """The runs that wait for their turn, and the failed files of polled flows that wait for their next try; `others` are runs of
    other processes."""
    waiting = daemon.dispatcher.waiting(others)
    for name, retries in sorted(daemon.triggers.retries_to_come().items()):
        deployed = daemon.deployer.flows.get(name)
        path, why = retries[0]
        waiting.append(WaitingRuns(name, (deployed and deployed.entry.group) or "", len(retries), path, why))
    return waiting

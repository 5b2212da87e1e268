"""What a daemon says of itself: its state, and why a flow or a file does or does not run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from data_engine.daemon.daemon import Daemon
from data_engine.engine.explain import broken_row, reason_row, rows_at_rest, source_rows
from data_engine.engine.reasons import ByHand, Reason, Running
from data_engine.engine.status import (
    ActiveRun,
    DaemonFacts,
    EngineFacts,
    FlowFacts,
    WorkspaceFacts,
    active_runs,
    status_of,
)
from data_engine.flow.trigger import Poll
from data_engine.ledger.belief import clock_warnings
from data_engine.ledger.ledger import Ledger
from data_engine.model import Run, utc_text
from data_engine.scheduler.folder_poller import FolderPoller
from data_engine.scheduler.plan import Rules, why_blocked


class History:
    """What a status takes from the ledger, read again only when somebody has written there."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._version: tuple[int, int] | None = None
        self._known: tuple[dict[str, Run], dict[str, bool], list[ActiveRun]] = ({}, {}, [])

    def now(self) -> tuple[dict[str, Run], dict[str, bool], list[ActiveRun]]:
        """The last run and the switch of each flow, and what other processes run.

        Raises:
            LedgerError: the history cannot be read.
        """
        version = self._ledger.version()
        if version != self._version:
            others = active_runs(self._ledger, but_of=os.getpid())
            self._known = (self._ledger.last_runs(), self._ledger.switches(), others)
            self._version = version
        return self._known


def daemon_status(daemon: Daemon, facts: DaemonFacts, history: History) -> dict[str, Any]:
    """The whole state, as `engine.status` shapes it.

    Raises:
        LedgerError: the history cannot be read.
    """
    layout = daemon.home.layout
    last, switches, others = history.now()
    flows = [
        FlowFacts(
            deployed.entry,
            is_deployed=deployed.content is not None,
            edit=deployed.edit,
            is_enabled=switches.get(name, True),
            last_run=last.get(name),
            next_run_utc=daemon.triggers.next_utc(name),
            held=daemon.held(name),
            why=daemon.triggers.why(name),
            waiting=daemon.dispatcher.why_waiting(name, others),
        )
        for name, deployed in sorted(daemon.deployer.flows.items())
    ]
    return status_of(
        WorkspaceFacts(
            layout.workspace_id,
            str(layout.root),
            flows=flows,
            active=[*own_runs(daemon), *others],
            daemon=facts,
            engine=EngineFacts(daemon.is_engine_on, daemon.is_stopping, not daemon.ready.is_set()),
            lease=daemon.ownership.facts(),
            elsewhere=daemon.ownership.elsewhere,
            trouble=None if daemon.trouble is None else daemon.trouble.as_dict(),
            warnings=(*daemon.home.settings().warnings, *clock_warnings(daemon.ownership.clock)),
        )
    )


def own_runs(daemon: Daemon) -> list[ActiveRun]:
    """The runs of this daemon's workers."""
    return [
        ActiveRun(
            run.run_id,
            run.flow,
            run.group,
            run.source,
            utc_text(run.started_at_s),
            os.getpid(),
            in_daemon=True,
            step=run.step,
            step_started_at_utc=None if run.step_at_s is None else utc_text(run.step_at_s),
            done=run.done,
            total=run.total,
        )
        for run in daemon.dispatcher.active.values()
    ]


async def flow_reasons(daemon: Daemon, name: str, path: str | None = None) -> list[dict[str, Any]]:
    """Why each source of the flow, or the one at `path` inside it, or the flow as a whole, does or does not run.

    Raises:
        LedgerError: the history cannot be read.
    """
    watch = daemon.planned_flow(name)
    if watch is None:
        return [broken_row(name, daemon.deployer.flows[name].entry.error)]
    others = active_runs(daemon.ledger, but_of=os.getpid())
    running = [run for run in [*own_runs(daemon), *others] if run.flow == name]
    waiting = daemon.dispatcher.why_waiting(name, others)
    blocked = why_blocked(
        name, switches=daemon.ledger.switches(), is_engine_on=daemon.is_engine_on, elsewhere=daemon.ownership.elsewhere
    )
    looking, under_way = daemon.triggers.planner(name), {run.source for run in running}
    if blocked is None and isinstance(looking, FolderPoller):
        return await asyncio.to_thread(source_rows, looking, path=path, waiting=waiting, under_way=under_way)
    if blocked is not None and isinstance(watch.trigger, Poll):
        memory, rules = daemon.triggers.known_sources(name), Rules.of(daemon.home.settings())
        return await asyncio.to_thread(rows_at_rest, watch, memory, rules, blocked, path=path, under_way=under_way)
    reasons: Sequence[Reason | None]
    if running or waiting is not None:
        reasons = [Running() if running else None, waiting]
    else:
        reasons = [ByHand() if watch.trigger.mode == "manual" else blocked or daemon.triggers.why(name)]
    texts = [one.text for one in reasons if one is not None] or ["about to be looked at"]
    return [reason_row(name, None, text, daemon.triggers.next_utc(name)) for text in texts]

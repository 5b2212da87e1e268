"""What a daemon says of itself: its state, and why a flow or a file does or does not run."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from typing import Any

from data_engine.daemon.loop import Daemon
from data_engine.engine.lookout import Lookout
from data_engine.engine.plan import why_blocked
from data_engine.engine.reasons import ByHand, NoFiles, Reason, Running
from data_engine.engine.status import (
    ActiveRun,
    DaemonFacts,
    EngineFacts,
    FlowFacts,
    WorkspaceFacts,
    active_runs,
    status_of,
)
from data_engine.model import utc_text

MOST_REASONS = 1000
"""Of one flow; a folder may hold a hundred thousand files."""


def daemon_status(daemon: Daemon, facts: DaemonFacts) -> dict[str, Any]:
    """The whole state, as `engine.status` shapes it.

    Raises:
        LedgerError: the history cannot be read.
    """
    layout = daemon.home.layout
    last, switches = daemon.ledger.last_runs(), daemon.ledger.switches()
    others = active_runs(daemon.ledger, but_of=os.getpid())
    flows = [
        FlowFacts(
            deployed.entry,
            is_deployed=deployed.content is not None,
            edit=deployed.edit,
            is_enabled=switches.get(name, True),
            last_run=last.get(name),
            next_run_utc=daemon.next_utc(name),
            why=daemon.why(name),
            waiting=daemon.why_waiting(name, others),
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
            owner=daemon.ownership.owner,
            trouble=None if daemon.trouble is None else daemon.trouble.as_dict(),
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
        for run in daemon.active.values()
    ]


async def flow_reasons(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    """Why each source of the flow, or the flow as a whole, does or does not run: the values planning goes by, as texts.

    Raises:
        LedgerError: the history cannot be read.
    """
    watch = daemon.watch_of(name)
    if watch is None:
        error = daemon.deployer.flows[name].entry.error
        return [reason_row(name, None, f"broken: {error.what if error else 'unknown'}")]
    others = active_runs(daemon.ledger, but_of=os.getpid())
    running = [run for run in [*own_runs(daemon), *others] if run.flow == name]
    waiting = daemon.why_waiting(name, others)
    blocked = why_blocked(
        watch, switches=daemon.ledger.switches(), is_engine_on=daemon.is_engine_on, owner=daemon.ownership.owner
    )
    looking = daemon.watching(name)
    if blocked is None and isinstance(looking, Lookout):
        under_way = {run.source for run in running}
        return await asyncio.to_thread(_source_rows, looking, waiting, under_way)
    reasons: Sequence[Reason | None]
    if running or waiting is not None:
        reasons = [Running() if running else None, waiting]
    else:
        reasons = [ByHand() if watch.trigger.mode == "manual" else blocked or daemon.why(name)]
    texts = [one.text for one in reasons if one is not None] or ["about to be looked at"]
    return [reason_row(name, None, text, daemon.next_utc(name)) for text in texts]


def reason_row(flow: str, source: str | None, text: str, next_run_utc: str | None = None) -> dict[str, Any]:
    """One line of an explanation."""
    return {"flow": flow, "source": source, "reason": text, "next_run_utc": next_run_utc}


def _source_rows(lookout: Lookout, waiting: Reason | None, under_way: set[str | None]) -> list[dict[str, Any]]:
    root, flow = lookout.root, lookout.watch.flow
    rows: list[dict[str, Any]] = []
    for verdict in lookout.verdicts():
        if len(rows) == MOST_REASONS:
            break
        source = str(root / verdict.key.path) if verdict.key is not None and verdict.key.path else str(root)
        why: Reason = verdict.why
        if isinstance(why, Running) and waiting is not None and source not in under_way:
            why = waiting
        rows.append(reason_row(flow, source, why.text))
    return rows or [reason_row(flow, str(root), NoFiles().text)]

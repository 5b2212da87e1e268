"""What a status takes from the history: requests, backfills and runs under way."""

from __future__ import annotations

import json

from data_engine.engine.deployed_before import former_names
from data_engine.engine.status import ActiveRun, RequestStatus
from data_engine.ledger import backfills, requests
from data_engine.ledger.deployments import renamings
from data_engine.ledger.ledger import Ledger
from data_engine.model import Backfill, Run, utc_text

_DAY_S = 86_400.0
_MOST_REQUESTS = 10


def requests_told(ledger: Ledger, now_s: float) -> list[RequestStatus]:
    """The requests of the last day that an owner has seen, the newest first.

    Raises:
        LedgerError: it cannot be read.
    """
    found = []
    for row in requests.newest(ledger, utc_text(now_s - _DAY_S), _MOST_REQUESTS):
        answer = json.loads(row.answer) if row.answer else {}
        what = answer.get("what") if isinstance(answer, dict) else None
        told = None if what is None else str(what)
        found.append(
            RequestStatus(
                row.request_id, row.verb, row.flow, row.state, row.outcome, told, row.by, row.machine, at_utc=row.at_utc
            )
        )
    return found


def backfills_recent(ledger: Ledger, now_s: float) -> list[Backfill]:
    """The backfills that run, and of each flow the newest of the last day.

    Raises:
        LedgerError: it cannot be read.
    """
    since_utc, seen, found = utc_text(now_s - _DAY_S), set[str](), []
    for row in backfills.newest(ledger):
        if row.state == "running" or (row.at_utc >= since_utc and row.flow not in seen):
            found.append(backfills.told_of(row))
        seen.add(row.flow)
    return found


def last_runs(ledger: Ledger) -> dict[str, Run]:
    """The newest run of every flow that ever ran, by its name; of one that was renamed and has not run since, under its name of before.

    Raises:
        LedgerError: it cannot be read.
    """
    found, rows = ledger.last_runs(), renamings(ledger)
    for flow in {one.flow for one in rows} - found.keys():
        before = next((found[name] for name in former_names(rows, flow) if name in found), None)
        if before is not None:
            found[flow] = before
    return found


def active_runs(ledger: Ledger, *, but_of: int | None = None) -> list[ActiveRun]:
    """The runs under way on this machine as its ledger knows them, but for those of the process `but_of`; oldest first.

    Raises:
        LedgerError: it cannot be read.
    """
    found = []
    for run, pid in ledger.running_with_pids():
        if pid == but_of:
            continue
        step = next((step for step in reversed(ledger.steps(run.run_id)) if step.status == "started"), None)
        found.append(
            ActiveRun(
                run.run_id,
                run.flow,
                run.group,
                run.source,
                run.started_at_utc,
                pid,
                in_daemon=False,
                step=None if step is None else step.label,
                step_started_at_utc=None if step is None else step.started_at_utc,
            )
        )
    return found

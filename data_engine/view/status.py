"""The status of a workspace: what runs, what waits, and why."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from data_engine.errors import FlowValidationError
from data_engine.files import file_exists
from data_engine.formatting import cli_line, local_time, zoned_text
from data_engine.lease.status import FETCHED_BY, NOT_ALL_HERE
from data_engine.marks import Mark, mark_of
from data_engine.model import ActiveRun
from data_engine.reasons.kinds import ByHand, NotYet
from data_engine.reasons.remedies import SILENT_FIX
from data_engine.reasons.waiting import WaitingRuns
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.status.sentences import (
    GOES_ON,
    changed_text,
    drift_text,
    ending_text,
    held_text,
    last_run_line,
    reason_of,
    told_once,
    undelivered_text,
)
from data_engine.view.card import Card, Cell, Code, Column, Faint, Note, Pairs, Part, Table, file_cell, run_id, table
from data_engine.view.verb import Answer, Place

if TYPE_CHECKING:
    from data_engine.client import Workspace

_LOOK_S = 2.0
"""A daemon looks by itself about as often."""
_MOST_UNDELIVERED = 5
_MOST_WAITING = 5
"""Runs of one flow that are listed, each to be stopped alone; the status as a value has more."""
_MOST_FLOWS = 100
"""Flows that a cell shows."""
_EXPLAINS = f"`{cli_line('explain')} FLOW` shows the full reason and what to do."


def status(place: Place) -> Answer:
    """What the daemon, its engine and each flow do, what runs now, and what waits and why."""
    status = fresh_status(place.workspace)
    return Answer(lambda: status_card(status), status.as_dict, value=status)


def fresh_status(ws: Workspace) -> WorkspaceStatus:
    """The status. A daemon looks at once where the module of a deployed flow is gone from flow_modules and it does not say so."""
    status = ws.status()
    if not status.daemon.answers or status.engine.starting or not _is_any_missing(status, ws):
        return status
    with suppress(FlowValidationError):
        ws.link.ask(lambda daemon: daemon.post("/look", timeout_s=_LOOK_S), otherwise=dict)
        return ws.status()
    return status


def _is_any_missing(status: WorkspaceStatus, ws: Workspace) -> bool:
    try:
        modules = {os.path.splitext(name)[0] for name in os.listdir(ws.layout.flow_modules_dir)}
    except OSError:
        return False
    return any(
        flow.name not in modules for flow in status.flows if flow.deployment_status.kind in ("as_deployed", "edited")
    )


def status_card(status: WorkspaceStatus) -> Card:
    """A workspace's status: daemon, engine, service and lease, each flow, what runs and what waits."""
    lease = status.lease
    facts: list[tuple[str, Cell]] = [*daemon_pairs(status)]
    if status.service.installed:
        facts.append(
            ("service", Mark(status.service.text, "bad", "cross") if status.service.trouble else status.service.text)
        )
    facts += [("" if n else "lease", line) for n, line in enumerate(lease.lines if lease.is_worth_words else ())]
    asked = [request.text for request in status.requests if request.outcome != "done"]
    facts += [("" if n else "asked", text) for n, text in enumerate(asked)]
    facts += [
        ("backfill", f"{backfill.flow}: {backfill.text}  ({backfill.id[:8]})")
        for backfill in status.backfills
        if backfill.state == "running" or backfill.failed
    ]
    parts: list[Part] = [Pairs(tuple(facts)), *_notes(status)]
    if status.flows:
        parts.append(_flows_table(status.flows, status.active_runs))
    if status.active_runs:
        parts.append(_active_table(status.active_runs))
    if status.waiting_runs:
        parts.append(_waiting_table(status.waiting_runs))
    return Card(status.workspace_id, (Code(status.workspace_root),), tuple(parts))


def daemon_pairs(status: WorkspaceStatus) -> Iterator[tuple[str, Cell]]:
    """The daemon and its engine; a silent daemon is not shown as missing.

    Example:
        >>> list(daemon_pairs(WorkspaceStatus("claims", "/team/claims")))[1]
        ('engine', Mark(word='off', tone='idle', shape='ring', kind='off'))
    """
    daemon, engine = status.daemon, status.engine
    if daemon.silent:
        yield "daemon", Mark(f"pid {daemon.pid} is there, and does not answer", "warn", "triangle")
        yield "", SILENT_FIX
        yield "engine", Mark("not known")
        return
    ending = ", ends when its running work is done" if daemon.ending else ""
    runs = f"running, pid {daemon.pid}{ending}"
    yield "daemon", Mark(runs, "good", "disc") if daemon.running else Mark("not running")
    if daemon.cluster is not None:
        yield "", daemon.cluster.text
    on = Mark("stopping", "warn", "square") if engine.stopping else Mark("on", "good", "disc")
    yield "engine", on if engine.on or engine.stopping else Mark("off")


def _notes(status: WorkspaceStatus) -> Iterator[Note]:
    """What somebody should do something about."""
    if status.trouble is not None:
        where = f"\n  where: {status.trouble.where}" if status.trouble.where else ""
        yield Note(Mark(f"{status.trouble.what}{where}", "bad", "cross"), status.trouble.fix or "")
    if status.service.installed and status.service.fix is not None:
        yield Note.warning(status.service.text, status.service.fix)
    if status.daemon.running and not status.daemon.silent and not os.path.exists(status.workspace_root):
        yield Note.warning(f"the daemon runs at the workspace's old place {status.workspace_root}", cli_line("start"))
    if status.engine.goes_on:
        yield Note.warning(GOES_ON, cli_line("start"))
    if status.lease.is_behind:
        yield Note.warning(NOT_ALL_HERE, FETCHED_BY)
    yield from map(Note.warning, status.warnings)
    unsent = told_once(status.undelivered)
    yield from (
        Note.warning(undelivered_text(message, local_time, count)) for message, count in unsent[:_MOST_UNDELIVERED]
    )
    if len(unsent) > _MOST_UNDELIVERED or any(message.state == "given_up" for message, _ in unsent):
        yield Note.warning(
            f"{cli_line('alert', 'history')} shows all that was not delivered, and then leaves out what was given up"
        )


def _flows_table(flows: Sequence[FlowStatus], runs: Sequence[ActiveRun]) -> Table:
    columns = (
        *(Column("Flow", "name"), Column("Group", "name", is_spare=True), "State", "Next run", "Last run"),
        Column("Note", "text"),
    )
    return table(columns, (_flow_row(flow, runs) for flow in flows), most=_MOST_FLOWS, whole=_EXPLAINS)


def _flow_row(flow: FlowStatus, runs: Sequence[ActiveRun]) -> tuple[Cell, ...]:
    expected = None if flow.expected is None else flow.expected.text
    waits = isinstance(flow.why, (NotYet, ByHand)) and not flow.is_failing  # its state and its next run say that
    reason = ending_text(flow, runs) or (None if waits else reason_of(flow))
    notes = filter(None, [flow.edit, reason, held_text(flow), expected, drift_text(flow.drift), changed_text(flow)])
    ended = last_run_line(flow, file_exists)
    return (
        flow.name,
        Faint(flow.group or ""),
        replace(flow.mark, word=flow.state_text),
        zoned_text(flow.next_run_utc, flow.tz),
        "" if flow.last_run is None else replace(mark_of(flow.last_run.status), word=ended),
        "; ".join(text.partition("\n")[0] for text in notes),
    )


def _active_table(runs: Sequence[ActiveRun]) -> Table:
    rows = (
        (
            run_id(run.run_id),
            Mark(run.flow, "warn", "square") if run.stopping else Mark(run.flow, "live", "play"),
            file_cell(run.source),
            ", ".join(filter(None, ["stopping" if run.stopping else "", run.step])),
            local_time(run.started_at_utc),
            "daemon" if run.in_daemon else f"pid {run.pid}",
        )
        for run in runs
    )
    columns = (
        *(Column("Run", "id"), Column("Running", "name"), Column("Source", "path"), Column("Step", "name")),
        *("Since", "Process"),
    )
    return table(columns, rows, whole=f"`{cli_line('log')} RUN` shows all of a run.")


def _waiting_table(groups: Sequence[WaitingRuns]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for group in groups:
        first = run_id(group.runs[0].run_id) if group.runs else ""
        rows.append((Mark(group.flow, "live", "half"), f"{group.count:,}", first, group.source_name, group.reason))
        rows += [("", "", run_id(then.run_id), then.source_name, "") for then in group.runs[1:_MOST_WAITING]]
    columns = (
        *(Column("Waiting", "name"), Column("Runs", "number"), Column("Next run", "id")),
        *(Column("Source", "path"), Column("Why", "name")),
    )
    return table(columns, rows, whole=_EXPLAINS)

"""The one status of a workspace, made of its facts: pure, and the same with a daemon and without."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from data_engine.model import ended_badly
from data_engine.notebook.catalog import trigger_here
from data_engine.reasons.kinds import (
    Broken,
    DaemonSilent,
    HeldSlot,
    Late,
    NotDeployed,
    NotYet,
    OwnedElsewhere,
    Unreachable,
)
from data_engine.reasons.row import Reason
from data_engine.record import frozen
from data_engine.scheduler.plan import by_hand, disabled_by, why_blocked
from data_engine.status.facts import FlowFacts, WorkspaceFacts
from data_engine.status.record import FlowStatus, Problem, State, WorkspaceStatus
from data_engine.status.sentences import in_the_way


@frozen
class _Around:
    """What a flow's status depends on beside its own facts: runs of it that are under way (and whether all were asked to end), the
    engine, why nobody here decides about it, and whether all that other workstations deployed is known here."""

    is_running: bool
    is_stopping: bool
    is_engine_on: bool
    unasked: OwnedElsewhere | DaemonSilent | None
    is_known: bool


def build_status(known: WorkspaceFacts) -> WorkspaceStatus:
    """The whole state.

    Example:
        >>> status = build_status(WorkspaceFacts("claims", "/team/claims", flows=()))
        >>> status["daemon"]["running"], status["engine"]["on"], status["lease"]["state"], status["flows"]
        (False, False, 'available', [])
    """
    return _workspace(known, flows=tuple(_flow(flow, around) for flow, around in _each(known, known.flows)))


class StatusWriter:
    """The status as a JSON object, again and again: what is new of no flow is not made again. Nobody may change what it gives.

    Example:
        >>> StatusWriter().write(WorkspaceFacts("claims", "/team/claims", flows=()))["lease"]["state"]
        'available'
    """

    def __init__(self) -> None:
        self._written: dict[str, tuple[FlowFacts, _Around, dict[str, Any]]] = {}

    def write(self, known: WorkspaceFacts) -> dict[str, Any]:
        """As `build_status(known).as_dict()`."""
        before, self._written = self._written, {}
        for flow, around in _each(known, known.flows):
            name = flow.entry.name
            last = before.get(name)
            if last is None or last[0] != flow or last[1] != around:
                last = flow, around, _flow(flow, around).as_dict()
            self._written[name] = last
        return _workspace(known, flows=()).as_dict() | {"flows": [flow for _, _, flow in self._written.values()]}


def _workspace(known: WorkspaceFacts, *, flows: tuple[FlowStatus, ...]) -> WorkspaceStatus:
    return WorkspaceStatus(
        workspace_id=known.workspace_id,
        workspace_root=known.workspace_root,
        daemon=known.daemon,
        engine=known.engine,
        lease=known.lease,
        trouble=Problem.of(known.trouble),
        warnings=tuple(known.warnings),
        flows=flows,
        active_runs=tuple(known.active),
        waiting_runs=tuple(known.waiting),
        requests=tuple(known.requests),
        backfills=tuple(known.backfills),
        service=known.service,
        undelivered=tuple(known.undelivered),
        not_flows=tuple(known.not_flows),
    )


def flow_status(known: WorkspaceFacts, flow: FlowFacts) -> FlowStatus:
    """One flow of the workspace."""
    ((_, around),) = _each(known, [flow])
    return _flow(flow, around)


def _each(known: WorkspaceFacts, flows: Iterable[FlowFacts]) -> Iterator[tuple[FlowFacts, _Around]]:
    """The flows, each with what its status depends on beside its own facts."""
    at_rest = _Around(
        is_running=False,
        is_stopping=False,
        is_engine_on=known.engine.on is True,
        unasked=known.unasked,
        is_known=known.is_all_known,
    )
    running, going_on = {run.flow for run in known.active}, {run.flow for run in known.active if not run.stopping}
    for flow in flows:
        name = flow.entry.name
        if name in running:
            yield flow, replace(at_rest, is_running=True, is_stopping=name not in going_on)
        else:
            yield flow, at_rest


def _flow(known: FlowFacts, around: _Around) -> FlowStatus:
    entry, trigger = known.entry, trigger_here(known.entry, known.timezone)
    is_running = around.is_running
    blocked = None
    if entry.flow is not None:
        blocked = why_blocked(known.switch, is_engine_on=around.is_engine_on, unasked=around.unasked)
    is_doubtful = not around.is_known and isinstance(blocked, OwnedElsewhere)  # who owns knows better what is deployed
    why, expected = _why(known, blocked, is_running=is_running, is_doubtful=is_doubtful), known.expected
    if isinstance(expected, Late):
        reason = in_the_way(why, held=known.held, last_run=known.last_run, is_running=is_running)
        expected = replace(expected, reason=reason)
    under_way: State = "stopping" if around.is_stopping else "running"
    return FlowStatus(
        name=entry.name,
        group=entry.group,
        title=entry.title,
        mode=entry.mode,
        trigger=trigger if known.cadence is None else f"{trigger}; {known.cadence.text}",
        enabled=known.is_enabled,
        state_kind=under_way if is_running else _state(known, blocked, is_doubtful=is_doubtful),
        why=why,
        standing=known.standing,
        held=known.held,
        next_run_utc=known.next_run_utc,
        last_run=known.last_run,
        error=Problem.of(entry.error),
        expected=expected,
        warned=known.warned,
        tz=known.tz,
        disabled=disabled_by(known.switch),
        retried=known.retried,
    )


def _state(known: FlowFacts, blocked: Reason | None, *, is_doubtful: bool) -> State:
    mode = known.entry.mode
    if not known.is_read:
        return "being_read"
    if known.entry.flow is None:
        return "broken"
    if known.standing.kind == "not_deployed" and not is_doubtful:
        return "not_deployed"
    if not known.is_enabled and mode != "manual":
        return "disabled"
    is_edit_broken = known.standing.is_edit_broken
    if mode == "manual" or blocked is not None:
        return "edit_broken" if is_edit_broken else _AT_REST[mode]
    if isinstance(known.why, Unreachable):
        return "unreachable"
    is_bad_slot = mode == "schedule" and (ended_badly(known.last_run) or isinstance(known.why, HeldSlot))
    if known.held or known.retried or is_bad_slot:
        return "failing"
    if is_edit_broken:
        return "edit_broken"
    if known.standing.kind == "gone":
        return "module_gone"
    return "polling" if mode == "poll" else "scheduled"


_AT_REST: Mapping[str, State] = {"manual": "manual", "poll": "poll_ready", "schedule": "schedule_ready"}


def _why(known: FlowFacts, blocked: Reason | None, *, is_running: bool, is_doubtful: bool) -> Reason | None:
    entry = known.entry
    if entry.flow is None:
        error = entry.error
        return None if error is None else Broken(error.what, error.where, error.fix)
    if is_running:
        return None
    of = known.standing
    if of.kind == "not_deployed" and not (is_doubtful and entry.mode != "manual"):
        return NotDeployed(entry.name, of.error, of.goes_live_s, of.shares_with, is_doubtful)
    why = known.waiting or (by_hand(known.switch) if entry.mode == "manual" else blocked or known.why)
    return replace(why, tz=known.tz) if isinstance(why, NotYet) else why

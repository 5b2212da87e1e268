"""The state of a workspace in the one shape everybody reads: `data-engine status --json`, the panel, the Python face.

`status_of` is pure: what is known of the daemon, the flows and their runs goes in, JSON comes out, with a daemon and
without.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from data_engine.engine.reasons import ByHand, OwnedElsewhere, Reason, Waiting
from data_engine.lease.status import LeaseStatus, shown_machine
from data_engine.ledger.ledger import Ledger
from data_engine.model import Run
from data_engine.notebook.catalog import CatalogEntry
from data_engine.scheduler.plan import why_blocked

NO_LEASE: Mapping[str, Any] = {
    "state": "available",
    "owner": None,
    "token": 0,
    "heartbeat_age_s": None,
    "requested_by": None,
    "releasing": False,
    "lapsed": False,
    "lost_to": None,
    "trouble": None,
}
"""The lease of a workspace that nobody owns; whoever knows more of one replaces what it knows."""


@dataclass(frozen=True, slots=True)
class DaemonFacts:
    """This machine's daemon; all None without one. `interpreter` is the Python its workers run with."""

    running: bool = False
    pid: int | None = None
    version: str | None = None
    daemon_id: str | None = None
    interpreter: str | None = None
    idle: bool = True
    ending: bool = False


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """Whether flows run by themselves; `starting` while the daemon reads them, `stopping` while it ends.

    `goes_on` without a daemon: the last one died with its engine on, and the next one turns it on by itself.
    """

    on: bool = False
    stopping: bool = False
    starting: bool = False
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run under way on this machine. `pid` is the process that answers for it: this daemon's where `in_daemon`, else a
    kernel's or a command line's, which alone can stop it. `step` began at `step_started_at_utc`, and is `done` of `total`
    far where it says so."""

    run_id: str
    flow: str
    group: str
    source: str | None
    started_at_utc: str
    pid: int
    in_daemon: bool
    step: str | None = None
    step_started_at_utc: str | None = None
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class FlowFacts:
    """One flow as it is known now. `entry` is what production runs, or the module where none of it is deployed.

    `edit` tells of an edit that is not deployed; `held` counts its files that are held; `why` is what planning said last of
    the flow as a whole; `waiting` is why work of it that could start does not.
    """

    entry: CatalogEntry
    is_deployed: bool = True
    edit: str | None = None
    is_enabled: bool = True
    last_run: Run | None = None
    next_run_utc: str | None = None
    held: int = 0
    why: Reason | None = None
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class WorkspaceFacts:
    """Everything a status is made of. `elsewhere` is said of the workstation that owns the workspace, when it is another one;
    `warnings` are of the settings (keys nobody reads) and of this machine's clock."""

    workspace_id: str
    workspace_root: str
    flows: Sequence[FlowFacts]
    active: Sequence[ActiveRun] = ()
    daemon: DaemonFacts = field(default_factory=DaemonFacts)
    engine: EngineFacts = field(default_factory=EngineFacts)
    lease: Mapping[str, Any] = field(default_factory=lambda: NO_LEASE)
    elsewhere: OwnedElsewhere | None = None
    trouble: Mapping[str, str | None] | None = None
    warnings: Sequence[str] = ()


def status_of(known: WorkspaceFacts) -> dict[str, Any]:
    """The whole state as JSON.

    Example:
        >>> status = status_of(WorkspaceFacts("claims", "/team/claims", flows=()))
        >>> status["daemon"]["running"], status["engine"]["on"], status["lease"]["state"], status["flows"]
        (False, False, 'available', [])
    """
    running = {run.flow for run in known.active}
    return {
        "workspace_id": known.workspace_id,
        "workspace_root": known.workspace_root,
        "daemon": asdict(known.daemon),
        "engine": asdict(known.engine),
        "lease": {**NO_LEASE, **known.lease},
        "trouble": None if known.trouble is None else dict(known.trouble),
        "warnings": list(known.warnings),
        "flows": [
            flow_status(
                flow, is_running=flow.entry.name in running, is_engine_on=known.engine.on, elsewhere=known.elsewhere
            )
            for flow in known.flows
        ],
        "active_runs": [asdict(run) for run in known.active],
    }


def flow_status(
    known: FlowFacts, *, is_running: bool, is_engine_on: bool, elsewhere: OwnedElsewhere | None = None
) -> dict[str, Any]:
    """One flow as JSON.

    `state` is "running", "broken", "manual", "disabled", "polling" or "scheduled" when it runs by itself, and "poll ready"
    or "schedule ready" when it would and the whole of it is kept from it; `reason` says by what. `held` of its
    files failed and wait for an edit or for somebody.
    """
    entry = known.entry
    blocked = None
    if entry.flow is not None:
        switches = {entry.name: known.is_enabled}
        blocked = why_blocked(entry.name, switches=switches, is_engine_on=is_engine_on, elsewhere=elsewhere)
    return {
        "name": entry.name,
        "group": entry.group,
        "title": entry.title,
        "mode": entry.mode,
        "trigger": entry.trigger,
        "enabled": known.is_enabled,
        "state": "running" if is_running else _state(known, blocked),
        "reason": _reason(known, blocked, is_running=is_running),
        "deployment": _deployment(known),
        "edit": known.edit,
        "held": known.held,
        "next_run_utc": known.next_run_utc,
        "last_run": None if known.last_run is None else known.last_run.as_dict(),
        "error": None if entry.error is None else entry.error.as_dict(),
    }


def owned_elsewhere(status: LeaseStatus, machine_id: str) -> OwnedElsewhere | None:
    """The workstation that owns the workspace, when it is another one than this one; what is known of its engine.

    Example:
        >>> owned_elsewhere(LeaseStatus("owned", {"machine_id": "m2", "host_name": "ANNA-PC"}, engine_on=True), "m1").text
        'ANNA-PC owns the workspace, and its engine is on'
        >>> owned_elsewhere(LeaseStatus("owned", {"machine_id": "m1", "host_name": "MY-PC"}), "m1")
    """
    if status.owner is None or status.is_mine or status.owner.get("machine_id") == machine_id:
        return None
    return OwnedElsewhere(shown_machine(status.owner), status.engine_there)


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


def _state(known: FlowFacts, blocked: Reason | None) -> str:
    mode = known.entry.mode
    if known.entry.flow is None:
        return "broken"
    if mode == "manual":
        return "manual"
    if not known.is_enabled:
        return "disabled"
    if blocked is not None:
        return f"{mode} ready"
    return "polling" if mode == "poll" else "scheduled"


def _reason(known: FlowFacts, blocked: Reason | None, *, is_running: bool) -> str | None:
    if known.entry.flow is None:
        return None if known.entry.error is None else known.entry.error.what
    if is_running:
        return None
    why = known.waiting or (ByHand() if known.entry.mode == "manual" else blocked or known.why)
    return None if why is None else why.text


def _deployment(known: FlowFacts) -> str:
    if not known.is_deployed:
        return "not deployed"
    return "as deployed" if known.edit is None else known.edit.partition("\n")[0]

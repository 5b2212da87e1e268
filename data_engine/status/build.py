"""The facts of a workspace, their source, and the status made of them, with and without a daemon."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Protocol

from data_engine.errors import FlowValidationError
from data_engine.flow.trigger import Poll, Schedule
from data_engine.lease.status import LeaseStatus, shown_machine
from data_engine.ledger import backfills
from data_engine.ledger.deployments import renamings
from data_engine.ledger.freshness import rejected_by_source
from data_engine.ledger.requests import RequestRows
from data_engine.model import (
    BAD_ENDS,
    ActiveRun,
    Backfill,
    FrameChange,
    Reference,
    Run,
    SourceKey,
    SourceState,
    ended_badly,
    utc_text,
)
from data_engine.notebook.catalog import CatalogEntry, clock_zone, trigger_here
from data_engine.notebook.deployment_status import AS_DEPLOYED, DeploymentStatus
from data_engine.planning.backfill import is_backfilled
from data_engine.planning.due import (
    PlannedFlow,
    SeenFile,
    SourceRules,
    by_hand,
    disabled_by,
    judge,
    why_blocked,
    why_no_candidate,
)
from data_engine.planning.outdated import OutdatedRun
from data_engine.reasons.kinds import (
    Broken,
    DaemonSilent,
    DaysUnknown,
    Disabled,
    EngineOff,
    Expected,
    FeedShrunk,
    Held,
    HeldSlot,
    LastRunFailed,
    LastRunWarned,
    Late,
    Looks,
    NotDeployed,
    NotYet,
    Outdated,
    Overlong,
    OwnedElsewhere,
    Unreachable,
    Waiting,
)
from data_engine.reasons.remedies import DAEMON_ENDING, Reason
from data_engine.reasons.waiting import WaitingRuns
from data_engine.record import frozen
from data_engine.status.record import (
    DaemonFacts,
    EngineFacts,
    FlowStatus,
    Problem,
    RequestStatus,
    ServiceFacts,
    State,
    WorkspaceStatus,
)
from data_engine.status.sentences import in_the_way

if TYPE_CHECKING:
    from data_engine.engine.local_workspace import LocalWorkspace
    from data_engine.flow.flow import Flow
    from data_engine.ledger.ledger import Ledger
    from data_engine.message import Undelivered
    from data_engine.model import Switch
    from data_engine.scheduler.folder_poller import FolderPoller, KnownSources


@frozen
class _FlowContext:
    """The facts around a flow that its status depends on: its runs under way (`is_stopping`: all were asked to end), the engine,
    why this machine's daemon was not asked, and whether all that other workstations deployed is known here."""

    is_running: bool
    is_stopping: bool
    is_engine_on: bool
    unasked: OwnedElsewhere | DaemonSilent | None
    is_known: bool


def build_status(facts: WorkspaceFacts) -> WorkspaceStatus:
    """The status of the workspace.

    Example:
        >>> status = build_status(WorkspaceFacts("claims", "/team/claims", flows=()))
        >>> status["daemon"]["running"], status["engine"]["on"], status["lease"]["state"], status["flows"]
        (False, False, 'available', [])
    """
    return _workspace(facts, flows=tuple(_flow(flow, context) for flow, context in _each(facts, facts.flows)))


class StatusWriter:
    """Write the status as a JSON object, again and again; it reuses unchanged flows, so nobody may change what it returns.

    Example:
        >>> StatusWriter().write(WorkspaceFacts("claims", "/team/claims", flows=()))["lease"]["state"]
        'available'
    """

    def __init__(self) -> None:
        self._written: dict[str, tuple[FlowFacts, _FlowContext, dict[str, Any]]] = {}

    def write(self, facts: WorkspaceFacts) -> dict[str, Any]:
        """The same as `build_status(facts).as_dict()`."""
        before, self._written = self._written, {}
        for flow, context in _each(facts, facts.flows):
            name = flow.entry.name
            last = before.get(name)
            if last is None or last[0] != flow or last[1] != context:
                last = flow, context, _flow(flow, context).as_dict()
            self._written[name] = last
        return _workspace(facts, flows=()).as_dict() | {"flows": [flow for _, _, flow in self._written.values()]}


def _workspace(facts: WorkspaceFacts, *, flows: tuple[FlowStatus, ...]) -> WorkspaceStatus:
    return WorkspaceStatus(
        workspace_id=facts.workspace_id,
        workspace_root=facts.workspace_root,
        daemon=facts.daemon,
        engine=facts.engine,
        lease=facts.lease,
        trouble=Problem.of(facts.trouble),
        warnings=tuple(facts.warnings),
        flows=flows,
        active_runs=tuple(facts.active),
        waiting_runs=tuple(facts.waiting),
        requests=tuple(facts.requests),
        backfills=tuple(facts.backfills),
        service=facts.service,
        undelivered=tuple(facts.undelivered),
        not_flows=tuple(facts.not_flows),
    )


def flow_status(facts: WorkspaceFacts, flow: FlowFacts) -> FlowStatus:
    """The status of one flow."""
    ((_, context),) = _each(facts, [flow])
    return _flow(flow, context)


def _each(facts: WorkspaceFacts, flows: Iterable[FlowFacts]) -> Iterator[tuple[FlowFacts, _FlowContext]]:
    """Each flow with the facts around it."""
    at_rest = _FlowContext(
        is_running=False,
        is_stopping=False,
        is_engine_on=facts.engine.on is True,
        unasked=facts.unasked,
        is_known=facts.is_all_known,
    )
    running, going_on = {run.flow for run in facts.active}, {run.flow for run in facts.active if not run.stopping}
    for flow in flows:
        name = flow.entry.name
        if name in running:
            yield flow, replace(at_rest, is_running=True, is_stopping=name not in going_on)
        else:
            yield flow, at_rest


def _flow(facts: FlowFacts, context: _FlowContext) -> FlowStatus:
    entry, trigger = facts.entry, trigger_here(facts.entry, facts.timezone)
    is_running = context.is_running
    blocked = None
    if entry.flow is not None:
        blocked = why_blocked(facts.switch, is_engine_on=context.is_engine_on, unasked=context.unasked)
    is_doubtful = not context.is_known and isinstance(blocked, OwnedElsewhere)  # who owns knows better what is deployed
    why, expected = _why(facts, blocked, is_running=is_running, is_doubtful=is_doubtful), facts.expected
    if isinstance(expected, Late):
        reason = in_the_way(why, held=facts.held, last_run=facts.last_run, is_running=is_running)
        expected = replace(expected, reason=reason)
    under_way: State = "stopping" if context.is_stopping else "running"
    return FlowStatus(
        name=entry.name,
        group=entry.group,
        title=entry.title,
        mode=entry.mode,
        trigger=trigger if facts.cadence is None else f"{trigger}; {facts.cadence.text}",
        enabled=facts.is_enabled,
        state_kind=under_way if is_running else _state(facts, blocked, is_doubtful=is_doubtful),
        why=why,
        deployment_status=facts.deployment_status,
        held=facts.held,
        next_run_utc=facts.next_run_utc,
        last_run=facts.last_run,
        error=Problem.of(entry.error),
        expected=expected,
        warned=facts.warned,
        tz=facts.tz,
        disabled=disabled_by(facts.switch),
        retried=facts.retried,
        rejected=facts.rejected,
        changed=facts.changed,
        drift=facts.drift,
    )


def _state(facts: FlowFacts, blocked: Reason | None, *, is_doubtful: bool) -> State:
    mode = facts.entry.mode
    if not facts.is_read:
        return "being_read"
    if facts.entry.flow is None:
        return "broken"
    if facts.deployment_status.kind == "not_deployed" and not is_doubtful:
        return "not_deployed"
    if not facts.is_enabled and mode != "manual":
        return "disabled"
    is_edit_broken = facts.deployment_status.is_edit_broken
    if mode == "manual" or blocked is not None:
        return "edit_broken" if is_edit_broken else _AT_REST[mode]
    if isinstance(facts.why, Unreachable):
        return "unreachable"
    is_bad_slot = mode == "schedule" and (ended_badly(facts.last_run) or isinstance(facts.why, (DaysUnknown, HeldSlot)))
    if facts.held or facts.retried or is_bad_slot or isinstance(facts.why, FeedShrunk):
        return "failing"
    if is_edit_broken:
        return "edit_broken"
    if facts.deployment_status.kind == "gone":
        return "module_gone"
    return "polling" if mode == "poll" else "scheduled"


_AT_REST: Mapping[str, State] = {"manual": "manual", "poll": "poll_ready", "schedule": "schedule_ready"}


def _why(facts: FlowFacts, blocked: Reason | None, *, is_running: bool, is_doubtful: bool) -> Reason | None:
    entry = facts.entry
    if entry.flow is None:
        error = entry.error
        return None if error is None else Broken(error.what, error.where, error.fix)
    if is_running:
        return None
    of = facts.deployment_status
    if of.kind == "not_deployed" and not (is_doubtful and entry.mode != "manual"):
        return NotDeployed(entry.name, of.error, of.goes_live_s, of.shares_with, is_doubtful)
    why = facts.waiting or (by_hand(facts.switch) if entry.mode == "manual" else blocked or facts.why)
    return replace(why, tz=facts.tz) if isinstance(why, NotYet) else why


_DAY_S = 86_400.0
_MOST_REQUESTS = 10
_SEEN = "another workstation was seen"


@frozen
class FlowFacts:
    """The facts of one flow now. `entry` is what production runs, or the module where nothing is deployed.

    `deployment_status` compares the module with what is deployed; `held` counts its held files, `retried` those that failed and
    are tried again later; `why` is planning's last reason for the whole flow; `waiting` is why work that could start does not.
    Until it `is_read` only the file is known. `cadence` is how often its folder is scanned, where that is rarer than its interval.
    `switch` is the last decision whether it runs by itself, `expected` how it meets its expectations, `timezone` that of the
    settings. `warnings` counts those in the log of its last run, `rejected` the rows that its checks reject now, `drift` says how its feed
    has changed. `changed` are the references that have changed since outputs were made.
    """

    entry: CatalogEntry
    deployment_status: DeploymentStatus = AS_DEPLOYED
    switch: Switch | None = None
    last_run: Run | None = None
    next_run_utc: str | None = None
    held: int = 0
    why: Reason | None = None
    waiting: Waiting | None = None
    is_read: bool = True
    cadence: Looks | None = None
    expected: Expected | Late | Overlong | None = None
    timezone: str | None = None
    warnings: int = 0
    retried: int = 0
    rejected: int = 0
    changed: tuple[Outdated, ...] = ()
    drift: tuple[FrameChange, ...] = ()

    @property
    def is_enabled(self) -> bool:
        """Whether nobody has disabled it, or somebody has enabled it since."""
        return self.switch is None or self.switch.is_enabled

    @property
    def tz(self) -> str | None:
        """The zone of its schedule; None for this machine's, or without a schedule."""
        return clock_zone(self.entry, self.timezone)

    @property
    def failed(self) -> LastRunFailed | None:
        """The failure of the last run of a flow that holds no files; None without one."""
        run = self.last_run
        if run is None or self.entry.mode == "poll" or run.status not in BAD_ENDS:
            return None
        error = (run.error or run.cause or "").partition("\n")[0] or None
        again = None if run.status != "abandoned" or self.entry.flow is None else what_does_again(run, self.entry.flow)
        return LastRunFailed(run.status, run.run_id, run.last_at_utc, error, again)

    @property
    def warned(self) -> LastRunWarned | None:
        """The warnings of its last run; None without any."""
        run = self.last_run
        return None if run is None or not self.warnings else LastRunWarned(self.warnings, run.run_id)


@frozen
class WorkspaceFacts:
    """Everything a status is made of. `elsewhere` is the other workstation that owns the workspace, if any; `warnings` are about
    the settings (keys nobody reads) and this machine's clock, `not_flows` about files that look like flows."""

    workspace_id: str
    workspace_root: str
    flows: Sequence[FlowFacts]
    active: Sequence[ActiveRun] = ()
    waiting: Sequence[WaitingRuns] = ()
    daemon: DaemonFacts = field(default_factory=DaemonFacts)
    engine: EngineFacts = field(default_factory=EngineFacts)
    lease: LeaseStatus = field(default_factory=lambda: LeaseStatus("available"))
    elsewhere: OwnedElsewhere | None = None
    trouble: FlowValidationError | None = None
    warnings: Sequence[str] = ()
    requests: Sequence[RequestStatus] = ()
    backfills: Sequence[Backfill] = ()
    service: ServiceFacts = field(default_factory=ServiceFacts)
    undelivered: Sequence[Undelivered] = ()
    not_flows: Sequence[str] = ()
    are_deployments_read: bool = True

    @property
    def unasked(self) -> OwnedElsewhere | DaemonSilent | None:
        """Why the facts of flows are not from this machine's daemon: another owner, or a silent daemon; None without either."""
        daemon = self.daemon
        return self.elsewhere or (DaemonSilent(daemon.pid) if daemon.silent and daemon.pid is not None else None)

    @property
    def is_all_known(self) -> bool:
        """Whether this machine has everything that other workstations published, and its daemon has read those deployments."""
        return self.are_deployments_read and not (self.lease.is_behind or self.engine.starting)

    def flow(self, name: str) -> FlowFacts | None:
        """The flow of this name."""
        return next((flow for flow in self.flows if flow.entry.name == name), None)


class FactSource(Protocol):
    """The source of a workspace's facts. Any thread may ask it, but for `facts`. The history is that of `home`."""

    @property
    def home(self) -> LocalWorkspace:
        """The workspace on this machine."""
        ...

    def facts(self) -> WorkspaceFacts:
        """Everything a status is made of.

        Raises:
            FlowValidationError: it cannot be read.
        """
        ...

    def poller(self, flow: str) -> FolderPoller | None:
        """The engine's poller of the flow's folder; None where nobody scans it."""
        ...

    def memory(self, flow: str) -> KnownSources:
        """What is known of the flow's sources.

        Raises:
            LedgerError: the history cannot be read.
        """
        ...


def owned_elsewhere(status: LeaseStatus, machine_id: str) -> OwnedElsewhere | None:
    """The other workstation that owns the workspace, and whether its engine is on; None where none does.

    Example:
        >>> owned_elsewhere(LeaseStatus("owned", {"machine_id": "m2", "host_name": "ANNA-PC"}, engine_on=True), "m1").text
        'ANNA-PC owns the workspace, and its engine is on'
        >>> owned_elsewhere(LeaseStatus("owned", {"machine_id": "m1", "host_name": "MY-PC"}), "m1")
    """
    if status.owner is None or status.is_mine or status.owner.get("machine_id") == machine_id:
        return None
    return OwnedElsewhere(shown_machine(status.owner), status.engine_there)


def blocked_by(facts: WorkspaceFacts, flow: FlowFacts) -> tuple[str, ...]:
    """The kinds of all reasons that keep the flow from running by itself."""
    is_draft = flow.deployment_status.kind == "not_deployed" and facts.elsewhere is None
    is_off = facts.unasked is None and not facts.engine.on
    causes = (
        (NotDeployed.kind, is_draft),
        (Disabled.kind, not flow.is_enabled),
        (EngineOff.kind, is_off),
        (DAEMON_ENDING, is_off and facts.daemon.ending),
    )
    return tuple(kind for kind, is_so in causes if is_so)


def what_does_again(run: Run, flow: Flow) -> str:
    """What runs an abandoned run again, as a word of `LastRunFailed.again`; `flow` reads no folder.

    Example:
        >>> from data_engine import Flow
        >>> from data_engine.model import RunTrigger
        >>> nightly = Flow("A", "nightly").watch(mode="schedule", time="06:30")
        >>> what_does_again(Run("3f", "nightly", "A", None, "abandoned", "", trigger=RunTrigger("slot")), nightly)
        'newest_slot'
        >>> what_does_again(Run("3f", "nightly", "A", None, "abandoned", "", trigger=RunTrigger("hand")), nightly)
        'nothing'
    """
    kind, trigger = None if run.trigger is None else run.trigger.kind, flow.trigger
    if kind == "backfill":
        return "backfill"
    if kind != "slot" or not isinstance(trigger, Schedule):
        return "nothing"
    if trigger.interval_seconds is not None:
        return "interval"
    return {"all": "slot", "latest": "newest_slot"}.get(trigger.catch_up, "nothing")


def requests_told(ledger: Ledger, now_s: float) -> list[RequestStatus]:
    """The newest requests of the last day that an owner has seen, the newest first.

    Raises:
        LedgerError: it cannot be read.
    """
    requests = []
    for row in RequestRows(ledger).newest(utc_text(now_s - _DAY_S), _MOST_REQUESTS):
        answer = json.loads(row.answer) if row.answer else {}
        what = answer.get("what") if isinstance(answer, dict) else None
        words = None if what is None else str(what)
        requests.append(
            RequestStatus(
                request_id=row.request_id,
                verb=row.verb,
                flow=row.flow,
                state=row.state,
                outcome=row.outcome,
                what=words,
                by=row.by,
                machine=row.machine,
                at_utc=row.at_utc,
            )
        )
    return requests


def backfills_recent(ledger: Ledger, now_s: float) -> list[Backfill]:
    """The backfills that run, and the newest of each flow in the last day.

    Raises:
        LedgerError: it cannot be read.
    """
    since_utc, flows, recent = utc_text(now_s - _DAY_S), set[str](), []
    for row in backfills.newest(ledger):
        if row.state == "running" or (row.at_utc >= since_utc and row.flow not in flows):
            recent.append(backfills.backfill_of(row))
        flows.add(row.flow)
    return recent


def last_runs(ledger: Ledger) -> dict[str, Run]:
    """The newest run of every flow by its name; of a renamed flow that has not run since, the one of its earlier name.

    Raises:
        LedgerError: it cannot be read.
    """
    runs, rows = ledger.last_runs(), renamings(ledger)
    for flow in {row.flow for row in rows} - runs.keys():
        from data_engine.status.deployed_before import former_names

        before = next((runs[name] for name in former_names(rows, flow) if name in runs), None)
        if before is not None:
            runs[flow] = before
    return runs


def rejected_now(ledger: Ledger) -> dict[tuple[str, str], int]:
    """How many rows checks reject now, by flow and source; of a renamed flow also those of its earlier names.

    Raises:
        LedgerError: it cannot be read.
    """
    rows, names = renamings(ledger), dict[str, str]()
    if rows:
        from data_engine.status.deployed_before import former_names

        ended = {row.flow for row in rows if row.kind == "withdraw"}
        names = {was: flow for flow in {row.flow for row in rows} - ended for was in former_names(rows, flow)}
    return rejected_by_source(ledger, names)


def rejected_by_flow(rejected: Mapping[tuple[str, str], int], gone: Collection[tuple[str, str]]) -> Counter[str]:
    """How many rows of each flow are rejected now, without those of sources that are `gone`."""
    counts = Counter[str]()
    for source, rows in rejected.items():
        counts[source[0]] += 0 if source in gone else rows
    return counts


def outdated_there(rows: Sequence[OutdatedRun], flows: Sequence[Flow]) -> list[OutdatedRun]:
    """Those whose sources are there: of a source that is gone nothing can be made again. Takes a drive's time, where there are any."""
    if not rows:
        return []
    from data_engine.engine.left_behind import gone_sources

    gone = gone_sources({(row.run.flow, row.run.source) for row in rows}, flows)
    return [row for row in rows if (row.run.flow, row.run.source) not in gone]


def references_changed(rows: Iterable[OutdatedRun], flows: Iterable[Flow]) -> dict[str, tuple[Outdated, ...]]:
    """The references of each flow that have changed since outputs were made, the one of most outputs first."""
    counts: dict[str, Counter[Reference]] = {}
    for row in rows:
        counts.setdefault(row.run.flow, Counter()).update(dict.fromkeys(row.references, row.count))
    by_hand = {flow.name or "" for flow in flows if not is_backfilled(flow.trigger)}
    return {
        flow: tuple(Outdated(file.path, outputs, file.change, flow in by_hand) for file, outputs in count.most_common())
        for flow, count in counts.items()
    }


class OthersSeen:
    """Whether other workstations were ever seen from this machine (`machine_id`); kept in the ledger, and read there once."""

    def __init__(self, ledger: Ledger, machine_id: str) -> None:
        self._ledger, self._machine_id = ledger, machine_id
        self._known: bool | None = None

    def complete(self, lease: LeaseStatus) -> LeaseStatus:
        """Add to the lease whether another workstation was ever seen.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        if self._known is None:
            self._known = self._ledger.setting(_SEEN) is not None or self._ledger.has_rows_of_others()
        who = [holder["machine_id"] for holder in (lease.owner, lease.requested_by) if holder is not None]
        if not self._known and (lease.lost_to or any(machine != self._machine_id for machine in who)):
            self._known = True
            self._ledger.set_setting(_SEEN, "yes")
        return replace(lease, is_shared=self._known)


_MOST_LOOKS = 1000


class HeldFiles:
    """The held files, and the sources with rejected rows that are gone; reads the history only when it has changed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._version: tuple[int, int] | None = None
        self._bad: Sequence[SourceState] = ()
        self._rejecting: Collection[tuple[str, str]] = ()

    def of(self, watches: Iterable[PlannedFlow]) -> dict[str, set[SourceKey]]:
        """The held files of each poll flow that exist; flows without any are left out.

        Of a great many the first thousand are looked at; the others count as existing.

        Raises:
            LedgerError: the history cannot be read.
        """
        polled = {watch.flow: watch for watch in watches if isinstance(watch.trigger, Poll)}
        if not polled:
            return {}
        self._read()
        files: dict[str, set[SourceKey]] = {}
        for number, state in enumerate(state for state in self._bad if state.flow in polled):
            if _is_held(polled[state.flow], state, is_looked_at=number < _MOST_LOOKS):
                files.setdefault(state.flow, set()).add(state.key)
        return files

    def gone(self, flows: Iterable[Flow]) -> frozenset[tuple[str, str]]:
        """The sources with rejected rows that are gone, each with its flow.

        Raises:
            LedgerError: the history cannot be read.
        """
        self._read()
        if not self._rejecting:
            return frozenset()
        from data_engine.engine.left_behind import gone_sources

        return gone_sources(self._rejecting, flows)

    def _read(self) -> None:
        version = self._ledger.version()
        if version != self._version:
            self._bad, self._rejecting, self._version = self._ledger.not_good(), rejected_now(self._ledger), version


def _is_held(watch: PlannedFlow, state: SourceState, *, is_looked_at: bool) -> bool:
    from data_engine.engine.candidates import signature_of
    from data_engine.ledger.checks import is_inside

    trigger, path = watch.trigger, state.key.path
    assert trigger.source is not None
    if state.key != watch.key(path) or not is_inside(path) or (path and why_no_candidate(watch, path) is not None):
        return False
    signature = signature_of(trigger.source / path) if is_looked_at else state.last
    if signature is None:
        return False
    file = SeenFile(signature, 0.0, 0.0)
    # Other rules, such as comparing contents, apply only to a file that differs.
    return isinstance(judge(state.key, file, state, SourceRules(), settle_s=0.0, now_s=0.0).why, Held)

"""The status of a workspace: what is known goes in as facts, one frozen value comes out that everybody reads.

`build_status` is pure and alone builds it, with a daemon and without: `status --json`, the daemon's API, the Python face and the panel read its keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap
from typing import Any, ClassVar, Literal, TypeAlias

from data_engine.engine.done_again import what_does_again
from data_engine.engine.flow_reasons import (
    Broken,
    DaemonSilent,
    Expected,
    LastRunFailed,
    LastRunWarned,
    Late,
    Looks,
    NotDeployed,
    Overlong,
)
from data_engine.engine.machine_facts import DaemonFacts, EngineFacts, ServiceFacts
from data_engine.engine.reasons import (
    Disabled,
    HeldSlot,
    NotYet,
    OwnedElsewhere,
    Reason,
    Unreachable,
    Waiting,
    read_reason,
)
from data_engine.engine.waiting_runs import WaitingRuns
from data_engine.engine.wording import STATE_WORDS, in_the_way
from data_engine.errors import FlowValidationError
from data_engine.lease.status import LeaseStatus, shown_machine
from data_engine.ledger.switch import Switch
from data_engine.message import Undelivered
from data_engine.model import BAD_ENDS, Backfill, Run, ended_badly
from data_engine.notebook.catalog import CatalogEntry, clock_zone, trigger_here
from data_engine.notebook.standing import AS_DEPLOYED, Standing
from data_engine.record import Record
from data_engine.scheduler.plan import by_hand, disabled_by, why_blocked
from data_engine.shown import Shown

State: TypeAlias = Literal[
    "running",
    "stopping",
    "broken",
    "not_deployed",
    "manual",
    "disabled",
    "polling",
    "scheduled",
    "failing",
    "unreachable",
    "edit_broken",
    "module_gone",
    "poll_ready",
    "schedule_ready",
    "being_read",
]
"""What a flow does; the words for people are in `STATE_WORDS`. "stopping" has runs that were all asked to end. "edit_broken" runs as
deployed, and its module is broken now, also with the engine off. Of one that runs by itself: "failing" holds files that failed or tries
them again later, or its last slot did not end well; "unreachable" cannot read its source; "module_gone" runs as deployed, and its module
is there no more. "poll_ready" and "schedule_ready" would run by themselves, and the whole
of them is kept from it; "being_read" is a flow of which only the file is known yet."""


@dataclass(frozen=True, slots=True, eq=False)
class Problem(Record):
    """What is wrong, where, and how to fix it; `places` are the notebook cells, where they are known."""

    sparse: ClassVar = ("places",)

    what: str = ""
    where: str | None = None
    fix: str | None = None
    places: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of(cls, error: FlowValidationError | None) -> Problem | None:
        """The parts of an error."""
        return None if error is None else cls(error.what, error.where, error.fix, error.places)


@dataclass(frozen=True, slots=True, eq=False)
class ActiveRun(Record):
    """A run under way on this machine. `pid` is the process that answers for it: this daemon's where `in_daemon`, else a
    kernel's or a command line's, which alone can stop it. `step` began at `step_started_at_utc`, and is `done` of `total`
    far where it says so. `worker` is the cluster's worker that it is on. It is `stopping` when this daemon has asked it to end."""

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
    worker: str | None = None
    stopping: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class RequestStatus(Record):
    """What somebody on another workstation asked the owner to do, or what this one asked: `state` is "waiting" until the
    owner has "taken" it, then "answered" with an `outcome` ("done", "refused", "failed", "expired", "interrupted")."""

    computed: ClassVar = ("text",)

    request_id: str
    verb: str
    flow: str
    state: str
    outcome: str | None = None
    what: str | None = None
    by: str = ""
    machine: str = ""
    owner: str | None = None
    at_utc: str = ""

    @property
    def text(self) -> str:
        """One line for people."""
        what = f"{self.verb} {self.flow}".strip()
        if self.state == "waiting":
            return f"{self.owner} was asked to {what}: no answer yet"
        came = "is being done" if self.state == "taken" else str(self.outcome)
        return f"{self.by}@{self.machine} asked to {what}: {came}" + (f" ({self.what})" if self.what else "")


@dataclass(frozen=True, slots=True, eq=False)
class FlowStatus(Record):
    """One flow. `state` is its `state_kind` in words; `reason` is `why` it does not run now, in words; `held` of its files
    failed and wait for an edit or for a person.

    `standing` is how the module stands to what production runs, `deployment` says it in one line, and `edit` also holds the
    error of an edit that is broken, and what to do where the module is gone. `warned` tells of warnings of its last run. `tz` is the zone that `next_run_utc` is meant in, None for
    this machine's. `expected` is how it stands to what `Flow.expect` says, None where that says nothing. `disabled` tells who
    disabled it and when, also while another reason comes first. `retried` of its files failed and are tried again by themselves.
    """

    computed: ClassVar = ("state", "reason", "deployment", "edit")
    sparse: ClassVar = ("warned", "tz", "disabled", "retried")

    name: str
    group: str | None = None
    title: str = ""
    mode: str = "manual"
    trigger: str = "-"
    enabled: bool = True
    state_kind: State = "manual"
    why: Reason | None = field(default=None, metadata={"of": read_reason})
    standing: Standing = field(default=AS_DEPLOYED, metadata={"of": Standing.read})
    held: int = 0
    next_run_utc: str | None = None
    last_run: Run | None = field(default=None, metadata={"of": Run.read})
    error: Problem | None = field(default=None, metadata={"of": Problem.read})
    expected: Reason | None = field(default=None, metadata={"of": read_reason})
    warned: LastRunWarned | None = field(default=None, metadata={"of": read_reason})
    tz: str | None = None
    disabled: Disabled | None = field(default=None, metadata={"of": read_reason})
    retried: int = 0

    @property
    def state(self) -> str:
        """What the flow does, in words."""
        return STATE_WORDS.get(self.state_kind) or self.state_kind.replace("_", " ")

    @property
    def state_text(self) -> str:
        """The same with what is bad besides a last run that may have ended well.

        Example:
            >>> FlowStatus("claims", state_kind="failing", held=2).state_text, FlowStatus("claims", state_kind="polling").state_text
            ('failing, 2 held', 'polling')
        """
        return ", ".join(filter(None, (self.state, self._bad_besides)))

    @property
    def _bad_besides(self) -> str:
        if self.held:
            return f"{self.held:,} held"
        if self.state_kind != "failing":
            return ""
        return f"{self.retried:,} to retry" if self.retried else "slot held" if isinstance(self.why, HeldSlot) else ""

    @property
    def is_failing(self) -> bool:
        """Whether files, its last run, its source or its module are bad, or it is late.

        Of a poll flow its files say so: it is good again when the one that failed is deleted.
        """
        is_last_bad = self.mode != "poll" and ended_badly(self.last_run)
        is_bad = self.state_kind in ("broken", "failing", "unreachable")
        return bool(self.held) or is_last_bad or is_bad or isinstance(self.expected, Late)

    @property
    def reason(self) -> str | None:
        """Why it does not run now, in words."""
        return self.why.what if isinstance(self.why, Broken) else None if self.why is None else self.why.text

    @property
    def deployment(self) -> str:
        """How the module stands to what production runs, in a line."""
        return self.standing.text

    @property
    def edit(self) -> str | None:
        """The edit that is not deployed, with its error; or that the module is gone, with both ways on."""
        return self.standing.edit


@dataclass(frozen=True, slots=True, eq=False)
class Status(Shown, Record):
    """A workspace as `Workspace.status()` shows it: attributes and keys are those `data-engine status --json` prints.

    Example:
        >>> status = Status("claims", "/team/claims", engine=EngineFacts(on=True), flows=(FlowStatus("daily"),))
        >>> status.engine.on, status["flows"][0]["name"], status["lease"]["state"]
        (True, 'daily', 'available')
    """

    workspace_id: str
    workspace_root: str
    daemon: DaemonFacts = field(default_factory=DaemonFacts, metadata={"of": DaemonFacts.read})
    engine: EngineFacts = field(default_factory=EngineFacts, metadata={"of": EngineFacts.read})
    lease: LeaseStatus = field(default_factory=lambda: LeaseStatus("available"), metadata={"of": LeaseStatus.read})
    trouble: Problem | None = field(default=None, metadata={"of": Problem.read})
    warnings: tuple[str, ...] = ()
    flows: tuple[FlowStatus, ...] = field(default=(), metadata={"of": FlowStatus.read})
    active_runs: tuple[ActiveRun, ...] = field(default=(), metadata={"of": ActiveRun.read})
    waiting_runs: tuple[WaitingRuns, ...] = field(default=(), metadata={"of": WaitingRuns.read})
    requests: tuple[RequestStatus, ...] = field(default=(), metadata={"of": RequestStatus.read})
    backfills: tuple[Backfill, ...] = field(default=(), metadata={"of": Backfill.read})
    service: ServiceFacts = field(default_factory=ServiceFacts, metadata={"of": ServiceFacts.read})
    undelivered: tuple[Undelivered, ...] = field(default=(), metadata={"of": Undelivered.read})
    not_flows: tuple[str, ...] = ()

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        found = None if cycle or len(printer.stack) > 1 else self._repr_mimebundle_()
        if found is not None:
            printer.text(found["text/plain"])
        else:
            printer.pretty(self.as_dict())


@dataclass(frozen=True, slots=True)
class FlowFacts:
    """One flow as it is known now. `entry` is what production runs, or the module where none of it is deployed.

    `standing` tells how the module stands to what is deployed; `held` counts its files that are held, `retried` those that failed and are tried again later; `why` is what planning
    said last of the flow as a whole; `waiting` is why work of it that could start does not. Of a flow that is not `is_read`
    only the file is known. `cadence` is how often its folder is looked through, where that is rarer than its interval says.
    `switch` is what somebody said last of whether it runs by itself. `expected` is how it stands to what is expected of it. `timezone` is that of the workspace's settings, `warnings` how many its last run has in its log.
    """

    entry: CatalogEntry
    standing: Standing = AS_DEPLOYED
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

    @property
    def is_enabled(self) -> bool:
        """Whether nobody has disabled it, or somebody has enabled it since."""
        return self.switch is None or self.switch.is_enabled

    @property
    def tz(self) -> str | None:
        """The zone that its schedule is meant in; None for this machine's, or where it has none."""
        return clock_zone(self.entry, self.timezone)

    @property
    def failed(self) -> LastRunFailed | None:
        """That the last run of a flow that holds no files failed; None where it did not."""
        run = self.last_run
        if run is None or self.entry.mode == "poll" or run.status not in BAD_ENDS:
            return None
        error = (run.error or run.cause or "").partition("\n")[0] or None
        again = None if run.status != "abandoned" or self.entry.flow is None else what_does_again(run, self.entry.flow)
        return LastRunFailed(run.status, run.run_id, run.finished_at_utc or run.started_at_utc, error, again)

    @property
    def warned(self) -> LastRunWarned | None:
        """That its last run has warnings; None where it has none."""
        run = self.last_run
        return None if run is None or not self.warnings else LastRunWarned(self.warnings, run.run_id)


@dataclass(frozen=True, slots=True)
class WorkspaceFacts:
    """Everything a status is made of. `elsewhere` is said of the workstation that owns the workspace, when it is another one;
    `warnings` are of the settings (keys nobody reads) and of this machine's clock, `not_flows` of what looks like a flow."""

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
        """Why what is known of flows is not from this machine's daemon, where one owns the workspace; None where nothing is."""
        daemon = self.daemon
        return self.elsewhere or (DaemonSilent(daemon.pid) if daemon.silent and daemon.pid is not None else None)

    @property
    def is_all_known(self) -> bool:
        """Whether this machine has all that other workstations have published, and its daemon has read what that deploys."""
        return self.are_deployments_read and not (self.lease.is_behind or self.engine.starting)

    def flow(self, name: str) -> FlowFacts | None:
        """The flow of this name."""
        return next((one for one in self.flows if one.entry.name == name), None)


def build_status(known: WorkspaceFacts) -> Status:
    """The whole state.

    Example:
        >>> status = build_status(WorkspaceFacts("claims", "/team/claims", flows=()))
        >>> status["daemon"]["running"], status["engine"]["on"], status["lease"]["state"], status["flows"]
        (False, False, 'available', [])
    """
    return _status(known, tuple(starmap(flow_status, _flows_with_surroundings(known))))


class StatusWriter:
    """The status as a JSON object, again and again: what is new of no flow is not made again. Nobody may change what it gives.

    Example:
        >>> StatusWriter().write(WorkspaceFacts("claims", "/team/claims", flows=()))["lease"]["state"]
        'available'
    """

    def __init__(self) -> None:
        self._written: dict[str, tuple[_Surrounded, dict[str, Any]]] = {}

    def write(self, known: WorkspaceFacts) -> dict[str, Any]:
        """As `build_status(known).as_dict()`."""
        before, self._written = self._written, {}
        for of in _flows_with_surroundings(known):
            name = of[0].entry.name
            last = before.get(name)
            self._written[name] = last if last is not None and last[0] == of else (of, flow_status(*of).as_dict())
        return _status(known, ()).as_dict() | {"flows": [flow for _, flow in self._written.values()]}


_Surrounded: TypeAlias = tuple["FlowFacts", bool, bool, "OwnedElsewhere | DaemonSilent | None", bool, bool]


def _flows_with_surroundings(known: WorkspaceFacts) -> Iterator[_Surrounded]:
    """Of each flow: its own facts, whether it runs, the engine is on, why nobody was asked, whether it ends, and all that was deployed is known."""
    running, going_on = {run.flow for run in known.active}, {run.flow for run in known.active if not run.stopping}
    is_on, is_known = known.engine.on is True, known.is_all_known
    for flow, name in ((one, one.entry.name) for one in known.flows):
        yield flow, name in running, is_on, known.unasked, name in running - going_on, is_known


def _status(known: WorkspaceFacts, flows: tuple[FlowStatus, ...]) -> Status:
    return Status(
        known.workspace_id,
        known.workspace_root,
        known.daemon,
        known.engine,
        known.lease,
        Problem.of(known.trouble),
        tuple(known.warnings),
        flows,
        tuple(known.active),
        tuple(known.waiting),
        tuple(known.requests),
        tuple(known.backfills),
        known.service,
        tuple(known.undelivered),
        tuple(known.not_flows),
    )


def flow_status(
    known: FlowFacts,
    is_running: bool,
    is_engine_on: bool,
    unasked: OwnedElsewhere | DaemonSilent | None = None,
    is_stopping: bool = False,
    is_known: bool = True,
) -> FlowStatus:
    """One flow; when it `is_stopping`, all its runs were asked to end. It `is_known` here what other workstations deployed."""
    entry, trigger = known.entry, trigger_here(known.entry, known.timezone)
    is_good = entry.flow is not None
    blocked = why_blocked(known.switch, is_engine_on=is_engine_on, unasked=unasked) if is_good else None
    is_doubtful = not is_known and isinstance(blocked, OwnedElsewhere)  # who owns knows better what is deployed
    why, expected = _why(known, blocked, is_running=is_running, is_doubtful=is_doubtful), known.expected
    if isinstance(expected, Late):
        reason = in_the_way(why, held=known.held, last_run=known.last_run, is_running=is_running)
        expected = replace(expected, reason=reason)
    return FlowStatus(
        entry.name,
        entry.group,
        entry.title,
        entry.mode,
        trigger if known.cadence is None else f"{trigger}; {known.cadence.text}",
        known.is_enabled,
        ("stopping" if is_stopping else "running") if is_running else _state(known, blocked, is_doubtful=is_doubtful),
        why,
        known.standing,
        known.held,
        known.next_run_utc,
        known.last_run,
        Problem.of(entry.error),
        expected,
        known.warned,
        known.tz,
        disabled_by(known.switch),
        known.retried,
    )


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

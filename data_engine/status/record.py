"""The state of a workspace as one value, for `Workspace.status()`, `data-engine status --json` and the panel.

The records are frozen and read like the JSON objects they become; `data_engine/status/build.py` fills them from facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar, Literal, TypeAlias

from data_engine.display_hook import Displayable
from data_engine.errors import FlowValidationError
from data_engine.lease.status import LeaseStatus
from data_engine.marks import FAILED, Mark, mark_of
from data_engine.message import Undelivered
from data_engine.model import ActiveRun, Backfill, FrameChange, Run, ended_badly
from data_engine.notebook.deployment_status import AS_DEPLOYED, DeploymentStatus
from data_engine.reasons.kinds import (
    Broken,
    Disabled,
    FeedShrunk,
    HeldSlot,
    LastRunWarned,
    Late,
    Outdated,
    read_reason,
)
from data_engine.reasons.remedies import Reason
from data_engine.reasons.waiting import WaitingRuns
from data_engine.record import Record, frozen

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
"""What a flow does; the words for people are in `STATE_WORDS`. "stopping": all of its runs were asked to end. "edit_broken": it runs
as deployed, and its module is broken now, also with the engine off. "failing": it holds failed files or tries them again later, its
last slot did not end well, or its days without slots cannot be read. "unreachable": its source cannot be read. "module_gone": it runs as deployed, and its module is gone.
"poll_ready" and "schedule_ready": something keeps the whole flow from running by itself. "being_read": only its file is known yet."""


STATE_WORDS: Mapping[str, str] = {
    "poll_ready": "idle",
    "schedule_ready": "idle",
    "edit_broken": "edit has errors",
}
"""The words for a flow's state, where they are not its kind with spaces."""


@frozen
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


@frozen
class RequestStatus(Record):
    """A request to the owner, from another workstation or from this one: `state` is "waiting" until the owner has "taken" it,
    then "answered" with an `outcome` ("done", "refused", "failed", "expired", "interrupted")."""

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


@frozen
class ClusterFacts(Record):
    """The Dask cluster that the daemon's runs go to: its scheduler and dashboard, its workers, their threads and those in use;
    `trouble` says why it takes no runs."""

    computed: ClassVar = ("text",)

    scheduler: str
    dashboard: str | None = None
    workers: int = 0
    threads: int = 0
    in_use: int = 0
    trouble: str | None = None

    @property
    def text(self) -> str:
        """One line for people."""
        return self.trouble or f"cluster: {self.in_use} of {self.threads} threads in use on {self.workers} workers"


@frozen
class DaemonFacts(Record):
    """This machine's daemon; all None without one. A `silent` one does not answer: the status was then read without it.
    `interpreter` is the Python of its workers, `cluster` where whole runs go when they do not stay on this machine."""

    sparse: ClassVar = ("silent",)

    running: bool = False
    pid: int | None = None
    version: str | None = None
    daemon_id: str | None = None
    interpreter: str | None = None
    idle: bool = True
    ending: bool = False
    cluster: ClusterFacts | None = field(default=None, metadata={"of": ClusterFacts.read})
    silent: bool = False

    @property
    def answers(self) -> bool:
        """Whether a daemon runs and answers."""
        return self.running and not self.silent


ServiceState: TypeAlias = Literal["serving", "waiting", "stopped", "off"]
"""What an installed service does: it keeps this daemon; it waits to succeed one that somebody started; a person has stopped the
daemon, until the next logon; nothing of it runs."""


_SERVICE_WORDS: Mapping[str, str] = {
    "serving": "keeps this daemon running, and starts it at logon",
    "waiting": "this daemon was started without the service; when it ends, the service starts the next one",
    "stopped": "stopped on purpose: it starts the daemon at the next logon, or with `data-engine start`",
    "off": "installed, but its daemon does not run",
}


@frozen
class ServiceFacts(Record):
    """The service that starts this machine's daemon at logon (with `boot`: with the machine) and again when it dies, and its Python.
    `kind` and `place` are its definition in the system, where that was read; `trouble` says why it fails, with its `fix`."""

    computed: ClassVar = ("text",)

    installed: bool = False
    state: ServiceState = "off"
    python: str | None = None
    trouble: str | None = None
    fix: str | None = None
    boot: bool | None = None
    kind: str | None = None
    place: str | None = None

    @property
    def text(self) -> str:
        """One line for people."""
        if not self.installed:
            return "not installed: after a reboot nothing starts by itself"
        return self.trouble or _SERVICE_WORDS[self.state]


@frozen
class EngineFacts(Record):
    """Whether flows run by themselves (`on`, None: the daemon does not answer); `starting` while the daemon reads them, `stopping`
    while it ends.

    `goes_on` without a daemon: the last one died with its engine on, and the next one turns it on by itself.
    """

    on: bool | None = False
    stopping: bool = False
    starting: bool = False
    goes_on: bool = False


@frozen
class FlowStatus(Record):
    """The status of one flow. `state` is its `state_kind` in words; `reason` is `why` it does not run now, in words; `held` of its
    files failed and wait for an edit or a person.

    `deployment_status` compares the module with what production runs, `deployment` says it in one line, `edit` adds the error of
    a broken edit, or what to do where the module is gone. `warned` counts the warnings of its last run. `tz` is the zone of
    `next_run_utc`, None for this machine's. `expected` is how it meets `Flow.expect`, None without that. `disabled` says who
    disabled it and when, also while another reason comes first. `retried` of its files failed and are tried again by
    themselves; `rejected` rows are kept apart by its checks now. `drift` is how the columns of its frames differ from those of all
    good runs before, until a deploy or a good run with others. `changed` are the references that have changed since outputs were
    made, `outdated` counts these outputs by the path of the reference.
    """

    computed: ClassVar[tuple[str, ...]] = ("state", "reason", "deployment", "edit", "outdated")
    sparse: ClassVar = ("warned", "tz", "disabled", "retried", "drift", "changed")

    name: str
    group: str | None = None
    title: str = ""
    mode: str = "manual"
    trigger: str = "-"
    enabled: bool = True
    state_kind: State = "manual"
    why: Reason | None = field(default=None, metadata={"of": read_reason})
    deployment_status: DeploymentStatus = field(default=AS_DEPLOYED, metadata={"of": DeploymentStatus.read})
    held: int = 0
    next_run_utc: str | None = None
    last_run: Run | None = field(default=None, metadata={"of": Run.read})
    error: Problem | None = field(default=None, metadata={"of": Problem.read})
    expected: Reason | None = field(default=None, metadata={"of": read_reason})
    warned: LastRunWarned | None = field(default=None, metadata={"of": read_reason})
    tz: str | None = None
    disabled: Disabled | None = field(default=None, metadata={"of": read_reason})
    retried: int = 0
    rejected: int = 0
    drift: tuple[FrameChange, ...] = field(default=(), metadata={"of": FrameChange.read})
    changed: tuple[Outdated, ...] = field(default=(), metadata={"of": read_reason})

    @property
    def outdated(self) -> dict[str, int]:
        """The number of outputs that were made before a reference changed, by its path."""
        return {why.path: why.outputs for why in self.changed}

    @property
    def state(self) -> str:
        """What the flow does, in words."""
        return STATE_WORDS.get(self.state_kind) or self.state_kind.replace("_", " ")

    @property
    def state_text(self) -> str:
        """The state with what is wrong besides the last run.

        Example:
            >>> FlowStatus("claims", state_kind="failing", held=2).state_text, FlowStatus("claims", state_kind="polling").state_text
            ('failing, 2 held', 'polling')
        """
        rejected = f"{self.rejected:,} rejected" if self.rejected else ""
        return ", ".join(filter(None, (self.state, self._bad_besides, rejected)))

    @property
    def _bad_besides(self) -> str:
        if self.held:
            return f"{self.held:,} held"
        if self.state_kind != "failing":
            return ""
        if isinstance(self.why, FeedShrunk):
            return "held"
        return f"{self.retried:,} to retry" if self.retried else "slot held" if isinstance(self.why, HeldSlot) else ""

    @property
    def mark(self) -> Mark:
        """The mark of its state; a failing flow is never marked as good or idle.

        Example:
            >>> [FlowStatus("claims", state_kind="polling", held=held).mark.tone for held in (0, 2)]
            ['good', 'bad']
        """
        mark = mark_of(self.state, self.state_kind)
        is_bad = self.is_failing and mark.tone in ("good", "idle")
        return Mark(mark.word, *FAILED, mark.kind) if is_bad else mark

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
        """The deployment status in a line."""
        return self.deployment_status.text

    @property
    def edit(self) -> str | None:
        """The edit that is not deployed, with its error; for a gone module both ways on."""
        return self.deployment_status.edit


@frozen
class WorkspaceStatus(Displayable, Record):
    """A workspace as `Workspace.status()` shows it: attributes and keys are those `data-engine status --json` prints.

    Example:
        >>> status = WorkspaceStatus("claims", "/team/claims", engine=EngineFacts(on=True), flows=(FlowStatus("daily"),))
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

    def flow(self, name: str | None) -> FlowStatus | None:
        """The flow of this name; None where there is none."""
        return next((flow for flow in self.flows if flow.name == name), None)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        bundle = None if cycle or len(printer.stack) > 1 else self._repr_mimebundle_()
        if bundle is not None:
            printer.text(bundle["text/plain"])
        else:
            printer.pretty(self.as_dict())

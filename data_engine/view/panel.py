"""The view of the panel: one value made of a workspace's status, with words, marks, and which buttons can be used.

The front-end only draws it. The value of a button is the reason why it cannot be used now, and None when it can.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import field, fields, replace
from typing import Any, ClassVar, TypeAlias

from data_engine.cause import Cause
from data_engine.commands.command import Command, Refusal, Situation, first, unless, when
from data_engine.commands.fields import arguments_of
from data_engine.commands.registry import COMMANDS
from data_engine.commands.runs import Retry, StopBackfill, StopFlow
from data_engine.formatting import cli_line, clock_text, plural
from data_engine.lease.status import FETCHED_BY, NOT_ALL_HERE
from data_engine.marks import Mark, mark_of
from data_engine.model import ActiveRun, Backfill
from data_engine.reasons.kinds import DaemonSilent, Expected, Unreachable
from data_engine.reasons.remedies import SILENT_FIX, remedy_of
from data_engine.record import Record, frozen
from data_engine.status.record import ClusterFacts, EngineFacts, FlowStatus, WorkspaceStatus
from data_engine.status.sentences import GOES_ON, changed_text, told_once, undelivered_text
from data_engine.status.troubles import Known, TroubleLine, has_recovered, troubles_of

_MARKS = {
    "alone": Mark("", kind="alone"),
    "mine": Mark("owned here", "good", "disc", "mine"),
    "available": Mark("available"),
    "owned": Mark("owned", "warn", "square"),
    "control_requested": Mark("requested", "live", "half", "control_requested"),
    "takeover_available": Mark("takeover available", "warn", "triangle"),
    "unreachable": Mark("unreachable", "bad", "triangle"),
    "damaged": Mark("damaged", "bad", "cross"),
}


_MOST_REQUESTS = 3
_MOST_UNDELIVERED = 3
_MOST_NOT_FLOWS = 5
"""So many are shown at the panel's head: the newest."""
_FOR_ANOTHER = "done for another workstation, which was told so; nothing is asked of you here"


@frozen
class PanelFlow(FlowStatus):
    """A flow's record with what only a panel adds: its `buttons`, which of its runs `waits`, for whose turn or for their next
    try, its newest `backfill` where that runs or something of it is left, and the `troubles` that its people are notified of; when
    it `has_recovered`, no failure of before is left. `is_source_gone`: all that is left of a failure is a file that is gone.
    """

    computed: ClassVar[tuple[str, ...]] = (
        *FlowStatus.computed,
        "mark",
        "state_text",
        "is_failing",
        "last_mark",
        "expected_text",
        "changed_text",
    )

    buttons: Mapping[str, WhyNot] = field(default_factory=dict)
    waits: str = ""
    backfill: Backfill | None = None
    troubles: tuple[TroubleLine, ...] = ()
    has_recovered: bool = False
    is_source_gone: bool = False

    @property
    def is_failing(self) -> bool:
        """Whether a person should look at it, also because of a broken edit."""
        return super().is_failing or self.deployment_status.is_edit_broken

    @property
    def reason(self) -> str | None:
        """Why it does not run now, with the remedy where a source cannot be read."""
        remedy = remedy_of(self.why, self.name) if isinstance(self.why, Unreachable) else None
        return "; ".join(filter(None, (super().reason, remedy))) or None

    @property
    def last_mark(self) -> Mark | None:
        """The mark of its last run: nothing bad where the flow is good again."""
        run = self.last_run
        if run is None:
            return None
        mark = run_mark(run.status, run.why)
        return mark if super().is_failing or mark.tone != "bad" else replace(mark, tone="idle")

    @property
    def expected_text(self) -> str | None:
        """The state of its expectation, in words; the page itself shows the time that is left."""
        expected = self.expected
        if isinstance(expected, Expected):
            return f"due by {clock_text(expected.due_utc, expected.tz)}"
        return None if expected is None else expected.text

    @property
    def changed_text(self) -> str | None:
        """The references that have changed since its outputs were made, in words."""
        return changed_text(self)


@frozen
class Group(Record):
    """Flows that run one at a time. `summary` counts them in words."""

    name: str
    summary: str
    flows: tuple[str, ...]


@frozen
class PanelNotice(Record):
    """Something a person should know, with its fix; with an `id`, a person can put it away, and it goes a while after `at_utc`."""

    tone: str
    text: str
    fix: str | None = None
    id: str | None = None
    at_utc: str | None = None


@frozen
class PanelView(Record):
    """Everything the panel shows of a workspace but the details of the chosen flow.

    `lease_line` says who owns it, "" for an owner without trouble, of which `lease` has a word where there are others; `details` say more of what they are named after.
    """

    workspace_id: str
    workspace_root: str
    daemon: Mark
    engine: Mark
    lease: Mark
    lease_line: str
    heartbeat_age_s: float | None
    buttons: Mapping[str, WhyNot]
    groups: tuple[Group, ...]
    flows: Mapping[str, PanelFlow]
    active: tuple[ActiveRun, ...]
    notices: tuple[PanelNotice, ...]
    empty: str | None = None
    cluster: ClusterFacts | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    not_flows: tuple[str, ...] = ()


NO_FLOWS = "There are no flow modules yet."


def render(
    status: WorkspaceStatus,
    *,
    problem: str | None = None,
    machine_id: str | None = None,
    known: Known | None = None,
) -> PanelView:
    """The panel's view of a workspace with this status.

    `problem` says why the status may be old; `machine_id` is this machine's, by which a request of its own differs from a
    colleague's. `known` is what the history says of flows in trouble.
    """
    daemon, engine, lease = status.daemon, status.engine, status.lease
    known = known or Known()
    flows = {flow.name: _panel_flow(flow, status, known) for flow in status.flows}
    not_flows, more = status.not_flows[:_MOST_NOT_FLOWS], len(status.not_flows) - _MOST_NOT_FLOWS
    if more > 0:
        not_flows = (*not_flows, f"and {more:,} more that `{cli_line('list')}` names")
    return PanelView(
        workspace_id=status.workspace_id,
        workspace_root=status.workspace_root,
        daemon=Mark("does not answer", "warn", "triangle")
        if daemon.silent
        else Mark("running", "good", "disc")
        if daemon.running
        else Mark("not running"),
        engine=_engine_mark(engine, daemon.running),
        lease=_MARKS["mine" if lease.is_mine and lease.is_worth_words else "alone" if lease.is_mine else lease.state],
        lease_line=lease.line[0].upper() + lease.line[1:] if lease.is_worth_words and not lease.is_well_owned else "",
        heartbeat_age_s=lease.heartbeat_age_s,
        buttons=workspace_buttons(status, machine_id=machine_id),
        groups=_groups(flows),
        flows=flows,
        active=status.active_runs,
        notices=tuple(_notices(status, problem)),
        empty=None if flows else NO_FLOWS,
        cluster=daemon.cluster,
        details={
            "daemon": f"pid {daemon.pid}, version {daemon.version}" if daemon.running else "no daemon on this machine"
        },
        not_flows=not_flows,
    )


def run_mark(status: str, why: Cause | None = None) -> Mark:
    """The mark of a run's status; one that was started is running, one that a person killed (`why` says so) is nothing bad.

    Example:
        >>> run_mark("started").word, run_mark("killed").tone, run_mark("killed", Cause("kill_requested")).tone
        ('running', 'bad', 'idle')
    """
    mark = mark_of("running" if status == "started" else status)
    return replace(mark, tone="idle") if mark.tone == "bad" and why is not None and why.is_by_a_person else mark


def delta(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The difference of two views (as JSON): changed parts, changed flows, and the flows that are gone.

    Example:
        >>> delta({"engine": 1, "flows": {"a": 1, "b": 2}}, {"engine": 2, "flows": {"a": 1, "c": 3}})
        {'set': {'engine': 2}, 'flows': {'c': 3}, 'gone': ['b']}
    """
    parts = {key: value for key, value in after.items() if key != "flows" and before.get(key) != value}
    old, new = before["flows"], after["flows"]
    flows = {name: row for name, row in new.items() if old.get(name) != row}
    gone = [name for name in old if name not in new]
    return {key: value for key, value in (("set", parts), ("flows", flows), ("gone", gone)) if value}


def _panel_flow(flow: FlowStatus, status: WorkspaceStatus, known: Known) -> PanelFlow:
    last = flow.last_run and replace(flow.last_run, error=None)  # which is long, and its cause is shown
    backfill = next((entry for entry in status.backfills if entry.flow == flow.name), None)
    return PanelFlow(
        **{column.name: getattr(flow, column.name) for column in fields(FlowStatus) if column.name != "last_run"},
        last_run=last,
        buttons=flow_buttons(flow, status),
        waits="; ".join(entry.words for entry in status.waiting_runs if entry.flow == flow.name),
        backfill=None if backfill is None or (backfill.state == "done" and not backfill.failed) else backfill,
        troubles=troubles_of(flow, known),
        has_recovered=has_recovered(flow, known),
        is_source_gone=flow.name in known.gone,
    )


def _engine_mark(engine: EngineFacts, is_running: bool) -> Mark:
    if engine.on is None:
        return Mark("not known", "warn", "triangle")
    if engine.stopping:
        return Mark("stopping", "warn", "square")
    if engine.starting:
        return Mark("starting", "live", "half")
    return Mark("on", "good", "play") if engine.on and is_running else Mark("off")


def _groups(flows: Mapping[str, PanelFlow]) -> tuple[Group, ...]:
    by_name: dict[str, list[PanelFlow]] = {}
    for row in flows.values():
        by_name.setdefault(row.group or "", []).append(row)
    ordered = sorted(by_name.items(), key=lambda item: (item[0] == "", item[0].casefold()))
    return tuple(
        Group(name, _summary(rows), tuple(row.name for row in sorted(rows, key=lambda row: row.title.casefold())))
        for name, rows in ordered
    )


def _summary(rows: Iterable[PanelFlow]) -> str:
    rows = list(rows)
    running = sum(row.mark.kind in ("running", "stopping") for row in rows)
    failed = sum(row.is_failing for row in rows)
    parts = [plural(len(rows), "flow"), f"{running} running" if running else "", f"{failed} failing" if failed else ""]
    return " · ".join(filter(None, parts))


def _notices(status: WorkspaceStatus, problem: str | None) -> Iterable[PanelNotice]:
    if problem is not None:
        yield PanelNotice("warn", problem)
    if status.daemon.silent:
        words = DaemonSilent(status.daemon.pid).text
        yield PanelNotice(
            "warn", words[0].upper() + words[1:], f"{SILENT_FIX} (in the panel: Settings, Force stop daemon)"
        )
    if status.engine.goes_on:
        yield PanelNotice("warn", GOES_ON[0].upper() + GOES_ON[1:], "start the engine; `data-engine stop` turns it off")
    if status.trouble is not None:
        where = (status.trouble.where or "").removeprefix(status.workspace_root).lstrip("/\\")
        yield PanelNotice(
            "bad", f"{where}: {status.trouble.what}" if where else status.trouble.what, status.trouble.fix
        )
    for warning in status.warnings:
        yield PanelNotice("warn", warning)
    for message, count in told_once(status.undelivered)[:_MOST_UNDELIVERED]:
        fix = cli_line("alert", *(["history"] if message.state == "given_up" else ["test", message.to]))
        yield PanelNotice("warn" if message.error is None else "bad", undelivered_text(message, None, count), fix)
    if status.service.trouble is not None:
        yield PanelNotice("warn", f"the service of this workspace: {status.service.trouble}", status.service.fix)
    lease = status.lease
    if lease.trouble:
        drive_fix = "check whether the shared drive is connected"
        yield PanelNotice("bad", lease.trouble, drive_fix if lease.damage is None else lease.fix)
    if lease.is_behind:
        yield PanelNotice("warn", NOT_ALL_HERE[0].upper() + NOT_ALL_HERE[1:], FETCHED_BY)
    yield from _request_notices(status)
    if lease.lost_to:
        yield PanelNotice("warn", f"{lease.lost_to} has taken this workspace over")


def _request_notices(status: WorkspaceStatus) -> Iterable[PanelNotice]:
    """Requests to the owner that are not done, in words for the owner, or for who asked."""
    fix = _FOR_ANOTHER if status.lease.is_mine else "ask again, or ask for the workspace"
    for request in status.requests[:_MOST_REQUESTS]:
        if request.state != "answered":
            yield PanelNotice("warn", request.text)
        elif request.outcome != "done":
            yield PanelNotice("bad", request.text, fix, request.request_id, request.at_utc)


WhyNot: TypeAlias = str | None
"""Why a button cannot be used now; None when it can."""

_UNASKED, _UNASKED_OF_FLOW = ("kill",), ("plan", "restore")
"""The buttons that need no daemon: they work while it does not answer."""
_BUTTON_NAMES = {
    "start": "start_daemon",
    "request-control": "request",
    "withdraw-request": "withdraw",
    "release-control": "release",
    "repair-lease": "repair",
    "stop-flow": "stop",
}
"""Buttons that have another name than their command."""


def _plan(name: str, at: Situation) -> Refusal | None:
    flow = at.flow(name)
    kind = None if flow is None else flow.deployment_status.kind
    never, same = "it was never deployed: there is nothing to compare it with", "it is deployed as it is"
    return first(
        (
            when(kind == "not_deployed", "not_deployed", never),
            when(kind == "as_deployed", "as_deployed", f"{same}: there is nothing to compare"),
            at.gone(name),
        )
    )


def _hand_over(at: Situation) -> Refusal | None:
    lease = at.status.lease
    is_asked = at.is_mine and lease.requested_by and not lease.releasing
    return unless(is_asked, "not_asked", "no other workstation asks for control")


_OF_WORKSPACE: Mapping[str, Callable[[Situation], Refusal | None]] = {
    "kill": lambda at: at.no_daemon,
    "hand_over": _hand_over,
}
_OF_FLOW: Mapping[str, Callable[[str, Situation], Refusal | None]] = {
    "kill": lambda name, at: StopFlow(name).check(at),
    "backfill_stop": lambda name, at: StopBackfill("", name).check(at),
    "plan": _plan,
    "accept": lambda name, at: Retry(name, accept=True).check(at),
    "restore": lambda name, at: unless(at.gone(name), "there", "its notebook is there") or at.found_again(name),
}
"""Buttons without a command for the owner, or with one that is checked as another command."""


def workspace_buttons(status: WorkspaceStatus, *, machine_id: str | None) -> dict[str, WhyNot]:
    """Each button of the workspace; `machine_id` is this machine's."""
    at = Situation(lambda: status, machine_id)
    buttons = {name: why(at) for name, why in _OF_WORKSPACE.items()}
    buttons |= {name: kind().check(at) for name, kind in _kinds(of_flow=False)}
    return _why_not(buttons, status, usable=_UNASKED)


def flow_buttons(flow: FlowStatus, status: WorkspaceStatus) -> dict[str, WhyNot]:
    """Each button of a flow."""
    at = Situation(lambda: status)
    buttons = {name: why(flow.name, at) for name, why in _OF_FLOW.items()}
    buttons |= {name: kind(flow=flow.name).check(at) for name, kind in _kinds(of_flow=True)}
    return _why_not(buttons, status, usable=_UNASKED_OF_FLOW)


def _kinds(*, of_flow: bool) -> list[tuple[str, Callable[..., Command[Any]]]]:
    """The buttons of commands that need a flow only, or nothing, and are not always possible."""
    kinds: list[tuple[str, Callable[..., Command[Any]]]] = []
    for kind in COMMANDS.values():
        arguments = arguments_of(kind)
        required = {name for name, argument in arguments.items() if argument.kind.is_required}
        is_of_any = "flow" in arguments and required <= {"flow"}
        if kind.check is not Command.check and (is_of_any if of_flow else not required):
            name = _BUTTON_NAMES.get(kind.name, kind.name.replace("-", "_"))
            kinds.append((f"{name}_all" if is_of_any and not of_flow else name, kind))
    return kinds


def _why_not(
    buttons: Mapping[str, Refusal | None], status: WorkspaceStatus, *, usable: Collection[str]
) -> dict[str, WhyNot]:
    """The texts of the buttons; only the `usable` ones work while this machine's daemon does not answer."""
    texts = {name: None if refusal is None else refusal.sentence for name, refusal in buttons.items()}
    daemon = status.daemon
    if not daemon.silent:
        return texts
    why = f"{DaemonSilent(daemon.pid).text}; `{cli_line('kill')}` ends it"
    return {name: reason if name in usable else why for name, reason in texts.items()}

"""What the panel shows: one value made of a workspace's status, with every word, shape and button decided here.

The front-end only draws it. A button that cannot be used now says why: its value is that reason, and None when it can.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeAlias

from data_engine.engine.reasons import GOES_ON
from jupyter_extension.marks import Mark, mark_of

WhyNot: TypeAlias = str | None
"""Why a button cannot be used now; None when it can."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """How a run went. `elapsed_s` is None while it runs."""

    run_id: str
    mark: Mark
    at_utc: str
    elapsed_s: float | None
    cause: str | None = None


@dataclass(frozen=True, slots=True)
class FlowRow:
    """One line of the list of flows.

    `edit` tells of an edit that is not deployed; `error` of a module that is broken; `held` counts the files whose last
    run did not end well; `is_failing` says that somebody should look.
    """

    name: str
    title: str
    group: str
    mode: str
    trigger: str
    mark: Mark
    reason: str | None
    next_run_utc: str | None
    last: LastRun | None
    deployment: str
    edit: str | None
    error: Mapping[str, str | None] | None
    enabled: bool
    held: int
    is_failing: bool
    buttons: Mapping[str, WhyNot]


@dataclass(frozen=True, slots=True)
class Group:
    """Flows that run one at a time. `summary` counts them in words."""

    name: str
    summary: str
    flows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run under way. `step` began at `step_started_at_utc` and is `done` of `total` far, where it says so."""

    run_id: str
    flow: str
    source: str | None
    started_at_utc: str
    step: str | None = None
    step_started_at_utc: str | None = None
    done: int | None = None
    total: int | None = None
    pid: int | None = None
    in_daemon: bool = True


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know, with its mend."""

    tone: str
    text: str
    mend: str | None = None


@dataclass(frozen=True, slots=True)
class PanelView:
    """Everything the panel shows of a workspace but for the flow that is looked at closely."""

    workspace_id: str
    workspace_root: str
    daemon: Mark
    engine: Mark
    lease: Mark
    lease_line: str
    heartbeat_age_s: float | None
    takeover_in_s: float | None
    buttons: Mapping[str, WhyNot]
    groups: tuple[Group, ...]
    flows: Mapping[str, FlowRow]
    active: tuple[ActiveRun, ...]
    notices: tuple[Notice, ...]
    footer: tuple[str, ...]
    empty: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)


_LEASE_MARKS = {
    "mine": Mark("yours", "good", "disc"),
    "available": Mark("available"),
    "owned": Mark("owned", "warn", "square"),
    "control_requested": Mark("requested", "live", "half"),
    "takeover_available": Mark("takeover available", "warn", "triangle"),
    "unreachable": Mark("unreachable", "bad", "triangle"),
    "damaged": Mark("damaged", "bad", "cross"),
}
_OTHERS = ("owned", "control_requested", "takeover_available")
BEING_READ = "being read"
NO_FLOWS = "No flow modules discovered."


def render(
    status: Mapping[str, Any],
    *,
    recent_runs: int | None = None,
    problem: str | None = None,
    machine_id: str | None = None,
) -> PanelView:
    """The panel of a workspace with this status (the shape `data-engine status --json` prints).

    `recent_runs` counts the runs of the last 30 days; `problem` says why the status may be old; `machine_id` is this
    machine's, which tells a request of its own from a colleague's.
    """
    daemon, engine, lease = status["daemon"], status["engine"], status["lease"]
    is_running, is_on = bool(daemon["running"]), bool(engine["on"])
    elsewhere = _owned_elsewhere(lease)
    active = tuple(_active(run) for run in status["active_runs"])
    flows = {flow["name"]: _row(flow, active=active, is_on=is_on, elsewhere=elsewhere) for flow in status["flows"]}
    return PanelView(
        workspace_id=status["workspace_id"],
        workspace_root=status["workspace_root"],
        daemon=Mark("running", "good", "disc") if is_running else Mark("not running"),
        engine=_engine_mark(engine, is_running),
        lease=_LEASE_MARKS.get("mine" if _is_mine(lease) else lease["state"], Mark(str(lease["state"]))),
        lease_line=lease_line(lease, machine_id=machine_id),
        heartbeat_age_s=lease.get("heartbeat_age_s"),
        takeover_in_s=lease.get("takeover_in_s"),
        buttons=_buttons(status, flows, elsewhere=elsewhere, machine_id=machine_id),
        groups=_groups(flows),
        flows=flows,
        active=active,
        notices=tuple(_notices(status, problem)),
        footer=_footer(flows, recent_runs),
        empty=None if flows else NO_FLOWS,
        details={
            "daemon": f"pid {daemon['pid']}, version {daemon['version']}"
            if is_running
            else "no daemon on this machine",
        },
    )


def lease_line(lease: Mapping[str, Any], *, machine_id: str | None = None) -> str:
    """Who owns the workspace, in a sentence.

    Example:
        >>> lease_line({"state": "owned", "owner": {"host_name": "ann-pc"}, "takeover_in_s": 12.4, "is_overdue": True})
        'ann-pc has control · takeover available in 12 s'
    """
    state, owner, asking = lease["state"], _host(lease.get("owner")), lease.get("requested_by")
    wants = f" · {_host(asking)} asks for it" if asking else ""
    if state == "available":
        return "Nobody has control"
    if state in ("unreachable", "damaged"):
        what = "The shared state cannot be reached" if state == "unreachable" else "The shared state is damaged"
        told = f"{what}: {lease['note']}" if lease.get("note") else what
        return f"{told} · {lease['damage']['fix']}" if lease.get("damage") else told
    if _is_mine(lease):
        if lease.get("releasing"):
            return "Giving control up when running work is done"
        if lease.get("lapsed"):
            return "Control has lapsed: the shared drive does not answer"
        return f"This workstation has control{wants}"
    if state == "takeover_available":
        return f"{owner} has not been heard of · takeover available"
    if _is_of(asking, machine_id):
        return f"Control requested from {owner}"
    left_s = lease.get("takeover_in_s") if lease.get("is_overdue") else None
    engine = ", its engine is on" if lease.get("engine_there") else ""
    return f"{owner} has control{engine}{wants}" + (
        "" if left_s is None else f" · takeover available in {left_s:.0f} s"
    )


def run_mark(status: str) -> Mark:
    """The mark of a run's status; one that was started is running.

    Example:
        >>> run_mark("started").word
        'running'
    """
    return mark_of("running" if status == "started" else status)


def last_run_of(run: Mapping[str, Any]) -> LastRun:
    """A run of the ledger as the panel shows it."""
    mark = run_mark(run["status"])
    return LastRun(run["run_id"], mark, run["started_at_utc"], run["elapsed_s"], run.get("cause"))


def cells_of(error: str | None) -> list[dict[str, Any]]:
    """The places in notebooks that an error's text names: `notebook`, `cell`, `line` (or None), in order, each once.

    Example:
        >>> cells_of("KeyError\\n  where: claims.ipynb, cell 4 (In [12]), line 3: x = 1")
        [{'notebook': 'claims.ipynb', 'cell': 4, 'line': 3}]
    """
    found = []
    for notebook, cell, line in _CELL.findall(error or ""):
        place = {"notebook": notebook.strip(), "cell": int(cell), "line": int(line) if line else None}
        if place not in found:
            found.append(place)
    return found


def short_error(text: str) -> str:
    """An error's first line without what stands around it anyway: the flow and its source.

    Example:
        >>> short_error('Flow "claims" failed in step "Read" (function read) for source "/in/a.csv": KeyError: 3')
        'Read: KeyError: 3'
        >>> short_error('held since 08:00, failed: Flow "claims" failed in step "Read": KeyError: 3')
        'held since 08:00, failed: Read: KeyError: 3'
    """
    return _FAILED.sub(lambda match: f"{match[1]}: ", text.strip().partition("\n")[0])


def as_json(value: Any) -> Any:
    """A view as plain JSON values: what the front-end is sent."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: as_json(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_json(item) for item in value]
    return value


def delta(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """What turns one view (as JSON) into another: changed parts, changed flows, and the flows that are gone.

    Example:
        >>> delta({"engine": 1, "flows": {"a": 1, "b": 2}}, {"engine": 2, "flows": {"a": 1, "c": 3}})
        {'set': {'engine': 2}, 'flows': {'c': 3}, 'gone': ['b']}
    """
    parts = {key: value for key, value in after.items() if key != "flows" and before.get(key) != value}
    old, new = before["flows"], after["flows"]
    flows = {name: row for name, row in new.items() if old.get(name) != row}
    gone = [name for name in old if name not in new]
    return {key: value for key, value in (("set", parts), ("flows", flows), ("gone", gone)) if value}


_FAILED = re.compile(r'Flow "[^"]*" failed in step "([^"]*)"(?: \(function [^)]*\))?(?: for source "[^"]*")?: ')
_CELL = re.compile(r"([^/\\,;:(\n]+\.ipynb), cell (\d+)(?: \(In \[\d+\]\))?(?:, line (\d+))?")


def _row(flow: Mapping[str, Any], *, active: tuple[ActiveRun, ...], is_on: bool, elsewhere: str | None) -> FlowRow:
    last = None if flow["last_run"] is None else last_run_of(flow["last_run"])
    mark = mark_of(flow["state"])
    return FlowRow(
        name=flow["name"],
        title=flow["title"],
        group=flow["group"] or "",
        mode=flow["mode"],
        trigger=flow.get("trigger") or "-",
        mark=mark,
        reason=flow["reason"],
        next_run_utc=flow["next_run_utc"],
        last=last,
        deployment=flow.get("deployment", ""),
        edit=flow.get("edit"),
        error=flow.get("error"),
        enabled=flow["enabled"],
        held=flow["held"],
        is_failing=bool(flow["held"]) or mark.tone == "bad" or (last is not None and last.mark.tone == "bad"),
        buttons=_flow_buttons(flow, active=active, is_on=is_on, elsewhere=elsewhere),
    )


def _flow_buttons(
    flow: Mapping[str, Any], *, active: tuple[ActiveRun, ...], is_on: bool, elsewhere: str | None
) -> dict[str, WhyNot]:
    broken = "the module is broken: mend it first" if flow["state"] == "broken" else None
    by_hand = "it runs by hand only" if flow["mode"] == "manual" else None
    running = [run for run in active if run.flow == flow["name"]]
    can_end = (
        "no run of it is under way"
        if not running
        else None
        if any(run.in_daemon for run in running)
        else f"it runs in a kernel or a command line (process {running[0].pid}): stop it there"
    )
    return {
        "run": elsewhere or broken,
        "stop": can_end,
        "kill": can_end,
        "retry": elsewhere
        or broken
        or ("only polled flows hold files; run it again" if flow["mode"] != "poll" else None)
        or (None if is_on else "the engine is off; starting it tries held files again"),
        "enable": elsewhere or by_hand or ("it is enabled" if flow["enabled"] else None),
        "disable": elsewhere or by_hand or (None if flow["enabled"] else "it is disabled"),
        "deploy": "production runs it as it is" if flow.get("deployment", "as deployed") == "as deployed" else None,
        "reset": elsewhere or ("a run of it is under way" if running else None),
    }


def _buttons(
    status: Mapping[str, Any], flows: Mapping[str, FlowRow], *, elsewhere: str | None, machine_id: str | None
) -> dict[str, WhyNot]:
    daemon, engine, lease = status["daemon"], status["engine"], status["lease"]
    no_daemon = None if daemon["running"] else "no daemon runs here"
    leaving = "the daemon is ending" if engine["stopping"] else None
    by_themselves = any(row.mode != "manual" for row in flows.values())
    asking = lease.get("requested_by")
    is_mine = _is_mine(lease)
    return {
        "start_daemon": "it is running" if daemon["running"] else None,
        "shutdown": no_daemon or leaving,
        "kill": no_daemon,
        "start_engine": leaving
        or ("the engine is on" if engine["on"] else None)
        or elsewhere
        or ("the modules are being read" if any(row.mark.word == BEING_READ for row in flows.values()) else None)
        or (None if by_themselves else "no flow polls or has a schedule"),
        "stop_engine": None
        if engine.get("goes_on")
        else no_daemon or leaving or (None if engine["on"] else "the engine is off"),
        "request": _why_no_request(lease, machine_id),
        "withdraw": None
        if _is_of(asking, machine_id) and not is_mine
        else "this workstation has not asked for control",
        "release": "this workstation does not have control"
        if not is_mine
        else "it is being given up"
        if lease.get("releasing")
        else None,
        "hand_over": None if is_mine and asking and not lease.get("releasing") else "nobody asks for control",
        "take_over": None
        if lease["state"] == "takeover_available"
        else "only of an owner that has been silent for long",
        "repair": None if lease["state"] == "damaged" else "nothing is damaged",
        "retry_all": elsewhere or (None if engine["on"] else "the engine is off; starting it tries held files again"),
        "deploy_all": None if flows else "there is no module",
        "reset_all": elsewhere or ("work is under way" if status["active_runs"] or engine["on"] else None),
    }


def _why_no_request(lease: Mapping[str, Any], machine_id: str | None) -> WhyNot:
    if _is_mine(lease):
        return "this workstation has control"
    if lease["state"] == "available":
        return "nobody has control: start the engine"
    if _is_of(lease.get("requested_by"), machine_id):
        return "already requested"
    return None if lease["state"] in _OTHERS else "the shared state cannot be read"


def _engine_mark(engine: Mapping[str, Any], is_running: bool) -> Mark:
    if engine["stopping"]:
        return Mark("stopping", "warn", "square")
    if engine.get("starting"):
        return Mark("starting", "live", "half")
    return Mark("on", "good", "play") if engine["on"] and is_running else Mark("off")


def _groups(flows: Mapping[str, FlowRow]) -> tuple[Group, ...]:
    by_name: dict[str, list[FlowRow]] = {}
    for row in flows.values():
        by_name.setdefault(row.group, []).append(row)
    ordered = sorted(by_name.items(), key=lambda item: (item[0] == "", item[0].casefold()))
    return tuple(
        Group(name, _summary(rows), tuple(row.name for row in sorted(rows, key=lambda row: row.title.casefold())))
        for name, rows in ordered
    )


def _summary(rows: Iterable[FlowRow]) -> str:
    rows = list(rows)
    running = sum(row.mark.word == "running" for row in rows)
    failed = sum(row.is_failing for row in rows)
    parts = [_count(len(rows), "flow"), f"{running} running" if running else "", f"{failed} failing" if failed else ""]
    return " · ".join(filter(None, parts))


def _footer(flows: Mapping[str, FlowRow], recent_runs: int | None) -> tuple[str, ...]:
    good = [row for row in flows.values() if row.mark.word != "broken"]
    parts = [
        _count(len(flows), "module"),
        _count(len({row.group for row in good}), "group"),
        _count(len(good), "flow"),
    ]
    return (*parts, *([] if recent_runs is None else [f"{_count(recent_runs, 'run')} last 30 days"]))


def _notices(status: Mapping[str, Any], problem: str | None) -> Iterable[Notice]:
    if problem is not None:
        yield Notice("warn", problem)
    if status["engine"].get("goes_on"):
        yield Notice(
            "warn", GOES_ON[0].upper() + GOES_ON[1:], "start the engine; `data-engine stop` turns it off for good"
        )
    trouble = status.get("trouble")
    if trouble:
        yield Notice("bad", str(trouble["what"]), trouble.get("mend"))
    for warning in status.get("warnings", ()):
        yield Notice("warn", str(warning))
    lease = status["lease"]
    if lease.get("trouble"):
        yield Notice("bad", str(lease["trouble"]), "check whether the shared drive is connected")
    if lease.get("lost_to"):
        yield Notice("warn", f"{_name(lease['lost_to'])} has taken this workspace over")


def _active(run: Mapping[str, Any]) -> ActiveRun:
    known = {one.name for one in fields(ActiveRun)}
    return ActiveRun(**{key: value for key, value in run.items() if key in known})


def _owned_elsewhere(lease: Mapping[str, Any]) -> str | None:
    if lease["state"] in ("unreachable", "damaged"):
        return lease_line(lease)
    is_elsewhere = lease["state"] in _OTHERS and not _is_mine(lease)
    return f"{_host(lease.get('owner'))} has control of this workspace" if is_elsewhere else None


def _is_mine(lease: Mapping[str, Any]) -> bool:
    return lease["state"] == "mine" or bool(lease.get("is_mine"))


def _is_of(machine: Mapping[str, Any] | None, machine_id: str | None) -> bool:
    return bool(machine) and machine_id is not None and (machine or {}).get("machine_id") == machine_id


def _name(machine: Any) -> str:
    return _host(machine) if isinstance(machine, Mapping) else str(machine)


def _host(machine: Mapping[str, Any] | None) -> str:
    return str((machine or {}).get("host_name") or (machine or {}).get("machine_id") or "another workstation")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

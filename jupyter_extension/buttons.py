"""Which buttons of the panel work now, and of each other one why not: a line for each button, its first reason counts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from data_engine.model import ActiveRun
from data_engine.reasons.kinds import DaemonSilent
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.typed import typed
from jupyter_extension.control import OTHERS, is_mine, is_of

WhyNot: TypeAlias = str | None
"""Why a button cannot be used now; None when it can."""

_ENGINE_OFF = "the engine is off; starting it tries held files again"
_UNASKED, _UNASKED_OF_FLOW = ("kill",), ("plan", "restore")
"""The buttons that ask no daemon, so that one which does not answer keeps nobody from them."""


@dataclass(frozen=True, slots=True)
class _Workspace:
    """What the buttons of a workspace depend on. `elsewhere` says who else has control."""

    status: WorkspaceStatus
    elsewhere: WhyNot
    machine_id: str | None

    @property
    def no_daemon(self) -> WhyNot:
        return None if self.status.daemon.running else "no daemon runs here"

    @property
    def leaving(self) -> WhyNot:
        return "the daemon is ending" if self.status.engine.stopping else None

    @property
    def nothing_by_itself(self) -> WhyNot:
        return None if any(flow.mode != "manual" for flow in self.status.flows) else "no flow polls or has a schedule"

    @property
    def being_read(self) -> WhyNot:
        is_reading = any(flow.state_kind == "being_read" for flow in self.status.flows)
        return "the modules are being read" if is_reading else None

    @property
    def engine_on(self) -> WhyNot:
        return "the engine is on: stop it first" if self.status.engine.on else None

    @property
    def run_under_way(self) -> WhyNot:
        runs = self.status.active_runs
        return f"a run of {runs[0].flow} is under way" if runs else None

    @property
    def is_mine(self) -> bool:
        return is_mine(self.status.lease)

    @property
    def is_asked_from_here(self) -> bool:
        return is_of(self.status.lease.requested_by, self.machine_id)


def _stop_engine(at: _Workspace) -> Iterable[WhyNot]:
    if not at.status.engine.goes_on:
        yield from (at.no_daemon, at.leaving, _unless(at.status.engine.on, "the engine is off"))


def _request(at: _Workspace) -> Iterable[WhyNot]:
    yield _if(at.is_mine, "this workstation has control")
    yield _if(at.status.lease.state == "available", "no workstation has control: start the engine to take it")
    yield _if(at.is_asked_from_here, "already requested")
    yield _unless(at.status.lease.state in OTHERS, "the shared state cannot be read")


def _hand_over(at: _Workspace) -> Iterable[WhyNot]:
    lease = at.status.lease
    yield _unless(at.is_mine and lease.requested_by and not lease.releasing, "no other workstation asks for control")


_OF_WORKSPACE: Mapping[str, Callable[[_Workspace], Iterable[WhyNot]]] = {
    "start_daemon": lambda at: (_if(at.status.daemon.running, "it is running"),),
    "shutdown": lambda at: (at.no_daemon, at.leaving),
    "kill": lambda at: (at.no_daemon,),
    "start_engine": lambda at: (
        at.leaving,
        _if(at.status.engine.on, "the engine is on"),
        _if(at.status.engine.starting, "the engine is starting"),
        at.elsewhere,
        at.being_read,
        at.nothing_by_itself,
    ),
    "stop_engine": _stop_engine,
    "request": _request,
    "withdraw": lambda at: (
        _unless(at.is_asked_from_here and not at.is_mine, "this workstation has not asked for control"),
    ),
    "release": lambda at: (
        _unless(at.is_mine, "this workstation does not have control"),
        _if(at.status.lease.releasing, "it is being given up"),
    ),
    "hand_over": _hand_over,
    "take_over": lambda at: (
        _unless(
            at.status.lease.state == "takeover_available",
            "possible only after the owner has been silent for long enough",
        ),
    ),
    "repair": lambda at: (_unless(at.status.lease.state == "damaged", "nothing is damaged"),),
    "retry_all": lambda at: (at.elsewhere, _unless(at.status.engine.on, _ENGINE_OFF)),
    "deploy_all": lambda at: (
        _unheard(at.status, at.elsewhere),
        _unless(at.status.flows, "there is no module"),
    ),
    "reset_all": lambda at: (at.elsewhere, at.engine_on, at.run_under_way),
}


@dataclass(frozen=True, slots=True)
class _Flow:
    """What the buttons of a flow depend on; `running` are its runs under way; `unheard` why its owner cannot be asked."""

    flow: FlowStatus
    running: tuple[ActiveRun, ...]
    is_engine_on: bool
    elsewhere: WhyNot
    unheard: WhyNot

    @property
    def broken(self) -> WhyNot:
        return "the module is broken: fix it first" if self.flow.state_kind == "broken" else None

    @property
    def undeployed(self) -> WhyNot:
        return "it is not deployed: deploy it first" if self.flow.state_kind == "not_deployed" else None

    @property
    def gone(self) -> WhyNot:
        is_gone = self.flow.standing.kind == "gone"
        return (self.found_again or "its notebook is gone: restore it, or undeploy the flow") if is_gone else None

    @property
    def found_again(self) -> WhyNot:
        """What to do with the notebook where it lies now, of which nobody needs a second copy."""
        standing = self.flow.standing
        if standing.moved_to is not None:
            return f"move {standing.moved_to} back into flow_modules itself"
        return None if standing.renamed_to is None else f"deploy {standing.renamed_to}, as its notebook is called now"

    @property
    def by_hand(self) -> WhyNot:
        return "it runs by hand only" if self.flow.mode == "manual" else None


def _end(at: _Flow) -> Iterable[WhyNot]:
    if not at.running:
        yield "no run of it is under way"
    elif not any(run.in_daemon for run in at.running):
        yield f"it runs in a kernel or a command line (process {at.running[0].pid}): stop it there"


def _retry(at: _Flow) -> Iterable[WhyNot]:
    yield from (at.unheard, at.broken, at.undeployed)
    yield _unless(at.flow.mode == "poll", "only polled flows hold files; run it again")
    yield _unless(at.is_engine_on, _ENGINE_OFF)
    yield _unless(at.flow.held or at.flow.retried or at.elsewhere, "no file of it is held")


_OF_FLOW: Mapping[str, Callable[[_Flow], Iterable[WhyNot]]] = {
    "run": lambda at: (at.unheard, at.broken, at.undeployed),
    "backfill": lambda at: (at.unheard, at.broken, at.undeployed),
    "backfill_stop": lambda at: (at.unheard,),
    "stop": _end,
    "kill": _end,
    "retry": _retry,
    "enable": lambda at: (at.unheard, at.by_hand, _if(at.flow.enabled, "it is enabled")),
    "disable": lambda at: (at.unheard, at.by_hand, _unless(at.flow.enabled, "it is disabled")),
    "deploy": lambda at: (
        at.unheard,
        _if(at.flow.standing.kind == "as_deployed", "it is deployed as it is"),
        at.gone,
    ),
    "plan": lambda at: (
        _if(at.flow.standing.kind == "not_deployed", "it was never deployed: there is nothing to compare it with"),
        _if(at.flow.standing.kind == "as_deployed", "it is deployed as it is: there is nothing to compare"),
        at.gone,
    ),
    "restore": lambda at: (_unless(at.gone, "its notebook is there"), at.found_again),
    "undeploy": lambda at: (at.unheard, at.undeployed),
    "rollback": lambda at: (at.unheard,),
    "reset": lambda at: (at.elsewhere, _if(at.running, "a run of it is under way")),
}


def workspace_buttons(status: WorkspaceStatus, *, elsewhere: WhyNot, machine_id: str | None) -> dict[str, WhyNot]:
    """Each button of the workspace; `elsewhere` says who else has control, `machine_id` is this machine's."""
    at = _Workspace(status, elsewhere, machine_id)
    return _answered({name: _first(reasons(at)) for name, reasons in _OF_WORKSPACE.items()}, status, but=_UNASKED)


def flow_buttons(flow: FlowStatus, status: WorkspaceStatus, *, elsewhere: WhyNot) -> dict[str, WhyNot]:
    """Each button of a flow."""
    running = tuple(run for run in status.active_runs if run.flow == flow.name)
    is_engine_on = status.engine.on is True or (elsewhere is not None and status.lease.engine_on)
    at = _Flow(flow, running, is_engine_on, elsewhere, _unheard(status, elsewhere))
    return _answered({name: _first(reasons(at)) for name, reasons in _OF_FLOW.items()}, status, but=_UNASKED_OF_FLOW)


def _unheard(status: WorkspaceStatus, elsewhere: WhyNot) -> WhyNot:
    """Why the workstation that has control cannot be asked to do it: it is not heard of."""
    return None if status.lease.state in ("owned", "control_requested") else elsewhere


def _answered(buttons: dict[str, WhyNot], status: WorkspaceStatus, *, but: Collection[str]) -> dict[str, WhyNot]:
    """The buttons, of which none works but these while this machine's daemon does not answer."""
    daemon = status.daemon
    if not daemon.silent:
        return buttons
    why = f"{DaemonSilent(daemon.pid).text}; `{typed('kill')}` ends it"
    return {name: reason if name in but else why for name, reason in buttons.items()}


def _first(reasons: Iterable[WhyNot]) -> WhyNot:
    return next((why for why in reasons if why is not None), None)


def _if(is_so: object, why: str) -> WhyNot:
    return why if is_so else None


def _unless(is_so: object, why: str) -> WhyNot:
    return None if is_so else why

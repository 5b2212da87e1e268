"""Which buttons of the panel work now, and of each other one why not: what the command behind it says, or a line here."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from data_engine.commands.backfills import StopBackfill
from data_engine.commands.command import Command, Refusal, Situation, first, unless, when
from data_engine.commands.fields import arguments_of
from data_engine.commands.registry import COMMANDS
from data_engine.commands.runs import StopFlow
from data_engine.formatting import cli_line
from data_engine.reasons.kinds import DaemonSilent
from data_engine.status.record import FlowStatus, WorkspaceStatus

WhyNot: TypeAlias = str | None
"""Why a button cannot be used now; None when it can."""

_UNASKED, _UNASKED_OF_FLOW = ("kill",), ("plan", "restore")
"""The buttons that ask no daemon, so that one which does not answer keeps nobody from them."""
_CALLED = {
    "start": "start_daemon",
    "request-control": "request",
    "withdraw-request": "withdraw",
    "release-control": "release",
    "repair-lease": "repair",
    "stop-flow": "stop",
}
"""Buttons that are not called as their command is."""


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
    "restore": lambda name, at: unless(at.gone(name), "there", "its notebook is there") or at.found_again(name),
}
"""Those behind which there is no command for the owner, or one that is checked as another one."""


def workspace_buttons(status: WorkspaceStatus, *, machine_id: str | None) -> dict[str, WhyNot]:
    """Each button of the workspace; `machine_id` is this machine's."""
    at = Situation(status, machine_id)
    found = {name: why(at) for name, why in _OF_WORKSPACE.items()}
    found |= {name: kind().check(at) for name, kind in _kinds(of_flow=False)}
    return _answered(found, status, but=_UNASKED)


def flow_buttons(flow: FlowStatus, status: WorkspaceStatus) -> dict[str, WhyNot]:
    """Each button of a flow."""
    at = Situation(status)
    found = {name: why(flow.name, at) for name, why in _OF_FLOW.items()}
    found |= {name: kind(flow=flow.name).check(at) for name, kind in _kinds(of_flow=True)}
    return _answered(found, status, but=_UNASKED_OF_FLOW)


def _kinds(*, of_flow: bool) -> list[tuple[str, Callable[..., Command[Any]]]]:
    """The buttons of the commands that a flow alone, or nothing, says all of, and that are not always possible."""
    found: list[tuple[str, Callable[..., Command[Any]]]] = []
    for kind in COMMANDS.values():
        arguments = arguments_of(kind)
        required = {name for name, one in arguments.items() if one.kind.is_required}
        is_of_any = "flow" in arguments and required <= {"flow"}
        if kind.check is not Command.check and (is_of_any if of_flow else not required):
            name = _CALLED.get(kind.name, kind.name.replace("-", "_"))
            found.append((f"{name}_all" if is_of_any and not of_flow else name, kind))
    return found


def _answered(
    buttons: Mapping[str, Refusal | None], status: WorkspaceStatus, *, but: Collection[str]
) -> dict[str, WhyNot]:
    """What the buttons say, of which none works but these while this machine's daemon does not answer."""
    told = {name: None if refusal is None else refusal.sentence for name, refusal in buttons.items()}
    daemon = status.daemon
    if not daemon.silent:
        return told
    why = f"{DaemonSilent(daemon.pid).text}; `{cli_line('kill')}` ends it"
    return {name: reason if name in but else why for name, reason in told.items()}

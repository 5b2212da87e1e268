"""The only list of commands, and how a request on the share tells of one."""

from __future__ import annotations

from typing import Any

from data_engine.commands import backfills, deployments, lease, machine, runs, switches
from data_engine.commands.command import Command
from data_engine.commands.fields import arguments_of, of_request
from data_engine.errors import FlowValidationError

_FAMILIES = (deployments, runs, backfills, switches, machine, lease)

COMMANDS: dict[str, type[Command[Any]]] = {one.name: one for family in _FAMILIES for one in family.COMMANDS}
"""Every command by its name."""


def request_of(command: Command[Any]) -> tuple[str, dict[str, Any]]:
    """The verb and the arguments of a request for the command, but for its flow, which a request names itself.

    Example:
        >>> from data_engine.commands.deployments import Undeploy
        >>> request_of(Undeploy("claims", "moved"))
        ('deploy', {'note': 'moved', 'withdraw': True})
    """
    assert command.asks is not None
    verb, marks = command.asks
    given = {
        name: value
        for name, one in arguments_of(type(command)).items()
        if name != "flow" and not one.is_local and (value := getattr(command, name)) is not None
    }
    return verb, given | dict(marks)


def command_of(verb: str, flow: str, given: dict[str, Any]) -> Command[Any]:
    """The command that a request of another workstation asks for, its arguments checked.

    Raises:
        FlowValidationError: nobody does that, or an argument is missing or wrong.

    Example:
        >>> command_of("deploy", "claims", {"withdraw": True, "note": "moved"}).phrase
        'undeploy claims'
    """
    return of_request(_asked_for(verb, given), given | {"flow": flow})


def _asked_for(verb: str, given: dict[str, Any]) -> type[Command[Any]]:
    """The command of this verb whose marks the arguments have; of several the one with the most."""
    found: type[Command[Any]] | None = None
    most = -1
    for kind in COMMANDS.values():
        if kind.asks is None or kind.asks[0] != verb:
            continue
        marks = kind.asks[1]
        if len(marks) > most and all(given.get(name) == value for name, value in marks.items()):
            found, most = kind, len(marks)
    if found is None:
        raise FlowValidationError(f"there is no request {verb!r}", where="request", fix="update data-engine here")
    return found

"""The only list of commands, and their form in a request on the share. The route of a command at a daemon is its name."""

from __future__ import annotations

from typing import Any

from data_engine.commands import deployments, runs, switches
from data_engine.commands.command import Command
from data_engine.commands.fields import arguments_of, of_request
from data_engine.errors import FlowValidationError

_FAMILIES = (deployments, runs, switches)

COMMANDS: dict[str, type[Command[Any]]] = {kind.name: kind for family in _FAMILIES for kind in family.COMMANDS}
"""Every command by its name."""


def request_of(command: Command[Any]) -> tuple[str, dict[str, Any]]:
    """The verb and the arguments of a request for the command, without its flow, which a request names itself.

    Example:
        >>> from data_engine.commands.deployments import Undeploy
        >>> request_of(Undeploy("claims", "moved"))
        ('deploy', {'note': 'moved', 'withdraw': True})
    """
    assert command.asks is not None
    verb, marks = command.asks
    arguments = {
        name: value
        for name, argument in arguments_of(type(command)).items()
        if name != "flow" and not argument.is_local and (value := getattr(command, name)) is not None
    }
    return verb, arguments | dict(marks)


def command_of(verb: str, flow: str, arguments: dict[str, Any]) -> Command[Any]:
    """The command of a request from another workstation, its arguments checked.

    Raises:
        FlowValidationError: there is no such request, or an argument is missing or wrong.

    Example:
        >>> command_of("deploy", "claims", {"withdraw": True, "note": "moved"}).phrase
        'undeploy claims'
    """
    kinds = [(kind.asks[1], kind) for kind in COMMANDS.values() if kind.asks is not None and kind.asks[0] == verb]
    matches = [pair for pair in kinds if all(arguments.get(name) == value for name, value in pair[0].items())]
    if not matches:
        raise FlowValidationError(f"there is no request {verb!r}", where="request", fix="update data-engine here")
    _, command = max(matches, key=lambda pair: len(pair[0]))  # the one with the most marks
    return of_request(command, arguments | {"flow": flow})

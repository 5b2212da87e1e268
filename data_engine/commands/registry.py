"""The only list of commands, their form in a request on the share, and their routes at a daemon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from data_engine.commands import deployments, runs, switches
from data_engine.commands.command import Command
from data_engine.commands.fields import BadRequestError, arguments_of, of_request
from data_engine.errors import FlowValidationError

_FAMILIES = (deployments, runs, switches)

COMMANDS: dict[str, type[Command[Any]]] = {kind.name: kind for family in _FAMILIES for kind in family.COMMANDS}
"""Every command by its name."""

_FORMER: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "start-engine": ("engine", {"on": True}),
    "stop-engine": ("engine", {"on": False}),
    "enable": ("enable", {"enabled": True}),
    "disable": ("enable", {"enabled": False}),
    "undeploy": ("deploy", {"withdraw": True}),
    "stop-backfill": ("backfill-do", {"do": "stop"}),
    "retry-backfill": ("backfill-do", {"do": "retry"}),
    "set-interpreter": ("interpreter", {}),
    "request-control": ("lease", {"do": "request"}),
    "withdraw-request": ("lease", {"do": "withdraw"}),
    "release-control": ("lease", {"do": "release"}),
    "take-over": ("lease", {"do": "take-over"}),
    "repair-lease": ("lease", {"do": "repair"}),
    "start": ("look", {}),
}
"""Routes of the previous revision, and what marks a command in their bodies: a daemon with work and an open kernel outlive the
installation of another revision."""


def ways_of(name: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The routes of a command, and what marks it in their bodies; that of this revision first.

    Example:
        >>> ways_of("disable"), ways_of("enable"), ways_of("retry")
        ([('disable', {}), ('enable', {'enabled': False})], [('enable', {'enabled': True})], [('retry', {})])
    """
    former = _FORMER.get(name, (name, {}))
    return [former] if former[0] == name else [(name, {}), former]


def routes() -> set[str]:
    """Every route, of this revision and of the previous one."""
    return {route for name in COMMANDS for route, _ in ways_of(name)}


def command_at(route: str, body: Mapping[str, Any]) -> type[Command[Any]]:
    """The command of a route with this body.

    Raises:
        BadRequestError: there is none.

    Example:
        >>> command_at("enable", {"enabled": False}).name, command_at("enable", {}).name, command_at("engine", {"on": True}).name
        ('disable', 'enable', 'start-engine')
    """
    own: list[tuple[Mapping[str, Any], type[Command[Any]]]] = [({}, COMMANDS[route])] if route in COMMANDS else []
    former = ((marks, kind) for kind in COMMANDS.values() for at, marks in ways_of(kind.name) if at == route)
    command = _marked([*own, *former], body)
    if command is None:
        raise BadRequestError(f"nothing is asked of {route!r}", where=route, fix="update data-engine here")
    return command


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
    command = _marked(kinds, arguments)
    if command is None:
        raise FlowValidationError(f"there is no request {verb!r}", where="request", fix="update data-engine here")
    return of_request(command, arguments | {"flow": flow})


def _marked(
    kinds: Iterable[tuple[Mapping[str, Any], type[Command[Any]]]], body: Mapping[str, Any]
) -> type[Command[Any]] | None:
    """The command whose marks the body has; of several the one with the most, of these the first."""
    matches = [(marks, kind) for marks, kind in kinds if all(body.get(name) == value for name, value in marks.items())]
    return max(matches, key=lambda pair: len(pair[0]))[1] if matches else None

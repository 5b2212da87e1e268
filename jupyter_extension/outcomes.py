"""The panel's messages of commands that a workspace's owner has carried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from data_engine.client import Workspace
from data_engine.commands.command import Command
from data_engine.formatting import commands_worded
from data_engine.status.sentences import ends_text, freed_text
from data_engine.view.daemon import started_lines
from data_engine.view.runs import forgot_text
from data_engine.view.switches import disabled_text, enabled_text
from jupyter_extension.page import in_panel

_SAYS: Mapping[str, Callable[[Workspace, Any, Any], str]] = {
    "start": lambda ws, command, answer: started_lines(ws.status())[0],
    "start-engine": lambda ws, command, answer: " ".join(started_lines(ws.status())[1:]),
    "stop-engine": lambda ws, command, answer: "The engine is off; running work finishes.",
    "stop-flow": lambda ws, command, answer: ends_text(command.flow, is_disabled=answer.disabled),
    "retry": lambda ws, command, answer: freed_text(answer.freed, answer.accepted, answer.left),
    "enable": lambda ws, command, answer: enabled_text(ws.status(), command.flow),
    "disable": lambda ws, command, answer: disabled_text(ws.status(), command.flow),
    "reset": lambda ws, command, answer: forgot_text(command.flow, answer.count),
    "stop-backfill": lambda ws, command, answer: (
        "The backfill starts no more runs; runs that have begun go on to their end."
    ),
    "retry-backfill": lambda ws, command, answer: "The backfill goes on with the runs that are left.",
    "request-control": lambda ws, command, answer: "Control requested: this workstation gets it when the owner agrees.",
    "withdraw-request": lambda ws, command, answer: "The request for control is withdrawn.",
    "take-over": lambda ws, command, answer: "This workstation has control.",
    "repair-lease": lambda ws, command, answer: str(answer.said),
}


def outcome_message(ws: Workspace, command: Command[Any], answer: Any) -> str:
    """The message of a command that its owner has carried out."""
    say = _SAYS.get(command.name)
    if say is None:
        return f"Done: {command.phrase}."
    with commands_worded() as commands:
        said = say(ws, command, answer)
    return in_panel(said, commands)[0]

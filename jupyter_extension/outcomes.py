"""The messages of commands that a workspace's owner has carried out, for a cell and for the panel."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from data_engine.client import Workspace
from data_engine.commands.command import Command
from data_engine.formatting import first_few, plural
from data_engine.status.sentences import ends_text, freed_text


def _engine_started(ws: Workspace, command: Any, answer: Any) -> str:
    flows = ws.status().flows
    undeployed = [flow.name for flow in flows if flow.state_kind == "not_deployed"]
    edited = [
        flow.name
        for flow in flows
        if flow.deployment_status.is_edited and flow.deployment_status.rolled_back_to is None
    ]
    sentences = ["The engine is on."]
    if undeployed:
        what = "is not deployed yet, so it does" if len(undeployed) == 1 else "are not deployed yet, so they do"
        sentences.append(f"{first_few(undeployed, 3)} {what} not run: open the flow and press Deploy.")
    if edited:
        what = "was edited and runs as it was" if len(edited) == 1 else "were edited and run as they were"
        sentences.append(f"{first_few(edited, 3)} {what} deployed before.")
    return " ".join(sentences)


_SAYS: Mapping[str, Callable[[Workspace, Any, Any], str]] = {
    "start": lambda ws, command, answer: "The daemon runs; it outlives this kernel and JupyterLab.",
    "start-engine": _engine_started,
    "stop-engine": lambda ws, command, answer: "The engine is off; running work finishes.",
    "stop-flow": lambda ws, command, answer: ends_text(command.flow, is_disabled=answer.disabled),
    "retry": lambda ws, command, answer: freed_text(answer.freed, answer.accepted, answer.left),
    "enable": lambda ws, command, answer: f"{command.flow} runs by itself when the engine is on.",
    "disable": lambda ws, command, answer: f"{command.flow} runs by hand only.",
    "reset": lambda ws, command, answer: (
        f"Forgot {plural(answer.count, 'run')} of {command.flow or 'every flow'}; its files are new again."
    ),
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
    return f"Done: {command.phrase}." if say is None else say(ws, command, answer)

"""`enable` and `disable`: whether flows run by themselves, and what was missed and runs at once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.daemon import is_not_deployed, is_owned_elsewhere
from data_engine.cli.options import AsJson, Wait, chosen_workspace, done, in_flow_modules, named
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.status.record import WorkspaceStatus
    from data_engine.status.starting import Starting

Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME", callback=named, help="The flows: their files' names without the ending."),
]


def enable(ctx: typer.Context, names: Names, wait: Wait = True, as_json: AsJson = False) -> int:
    """Let flows run by themselves again."""
    ws = chosen_workspace(ctx)
    _require_known(ws, names)
    told: list[dict[str, Any]] = []
    lines: list[str] = []
    before = ws.status()
    manual = _manual(before)
    disabled = set() if is_owned_elsewhere(ws) else {flow.name for flow in before.flows if not flow.enabled}
    for name in dict.fromkeys(names):
        starts = _starting(ws, name) if name in disabled else None
        ws.enable(name, wait)
        slots, files = ((), 0) if starts is None else (starts.slots, starts.files)
        told.append({"flow": name, "enabled": True, "slots": slots, "files": files})
        if is_not_deployed(ws, name):
            lines.append(f"{name} is enabled, but runs by itself only when it is deployed: {cli_line('deploy', name)}")
        elif name in manual:
            lines.append(
                f"{name} is enabled. It has no trigger: it runs when somebody runs it ({cli_line('run', name)})."
            )
        else:
            lines.append(f"{name} is enabled: it runs as its trigger says while the engine is on.")
            lines += (
                [starts.when(is_on=before.engine.on is True, how=cli_line("start"))]
                if starts is not None and starts.text
                else []
            )
    return done(told[0] if len(told) == 1 else told, "\n".join(lines), as_json)


def disable(
    ctx: typer.Context,
    names: Names,
    note: Annotated[str, typer.Option("--note", metavar="TEXT", help="The reason, for others who see them.")] = "",
    wait: Wait = True,
    as_json: AsJson = False,
) -> int:
    """Let flows run by hand only. Who disabled them, and when, is recorded and shown."""
    ws = chosen_workspace(ctx)
    _require_known(ws, names)
    told: list[dict[str, Any]] = []
    lines: list[str] = []
    manual = _manual(ws.status())
    for name in dict.fromkeys(names):
        ws.disable(name, wait, note)
        told.append({"flow": name, "enabled": False})
        if is_not_deployed(ws, name):
            lines.append(
                f"{name} is not deployed, so nothing of it runs by itself. Once it is deployed, it runs by hand only, until you enable it: {cli_line('enable', name)}"
            )
        elif name in manual:
            lines.append(
                f"{name} has no trigger, so it runs by hand only as before; with one it does so too, until it is enabled: {cli_line('enable', name)}"
            )
        else:
            lines.append(f"{name} runs by hand only, until it is enabled: {cli_line('enable', name)}")
    return done(told[0] if len(told) == 1 else told, "\n".join(lines), as_json)


def _manual(status: WorkspaceStatus) -> set[str]:
    """The flows that nothing but people run."""
    return {flow.name for flow in status.flows if flow.mode == "manual"}


def _require_known(ws: Workspace, names: Sequence[str]) -> None:
    """Return when there is each of several flows, so that a misspelt name among them does not leave half of them switched."""
    from data_engine.status.deployed_before import find_flow

    if len(names) > 1:
        deployed = ws.home.deployments().deployed()
        for name in names:
            if name not in deployed:
                find_flow(ws.home, name)


def _starting(ws: Workspace, name: str) -> Starting:
    """What of a disabled flow starts once it is enabled; nothing where that cannot be told."""
    from data_engine.notebook.deployments import deployed_entries
    from data_engine.status.starting import Starting, starting

    with suppress(FlowValidationError), in_flow_modules(ws):  # it is enabled all the same
        for entry in deployed_entries(ws.home.deployments(), [name]):
            if entry.flow is not None:
                return starting(ws.home, entry.flow)
    return Starting()

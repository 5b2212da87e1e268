"""`enable` and `disable`: whether flows run by themselves, and what was missed and runs at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.daemon import done, is_not_deployed, is_owned_elsewhere
from data_engine.cli.looks import in_flow_modules
from data_engine.cli.options import AsJson, Wait, chosen_workspace, named
from data_engine.counted import counted
from data_engine.cut import first_few
from data_engine.errors import FlowValidationError
from data_engine.typed import typed

if TYPE_CHECKING:
    from data_engine.client import Workspace

Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME", callback=named, help="The flows: their files' names without the ending."),
]
_MOST_TIMES = 5


def enable(ctx: typer.Context, names: Names, wait: Wait = True, as_json: AsJson = False) -> int:
    """Let flows run by themselves again."""
    ws = chosen_workspace(ctx)
    _require_known(ws, names)
    told: list[dict[str, Any]] = []
    lines: list[str] = []
    before = ws.status()
    disabled = set() if is_owned_elsewhere(ws) else {flow.name for flow in before.flows if not flow.enabled}
    for name in dict.fromkeys(names):
        slots, files = _missed(ws, name) if name in disabled else ([], 0)
        ws.enable(name, wait)
        told.append({"flow": name, "enabled": True, "slots": slots, "files": files})
        if is_not_deployed(ws, name):
            lines.append(f"{name} is enabled, but runs by itself only when it is deployed: {typed('deploy', name)}")
        else:
            lines.append(f"{name} is enabled: it runs as its trigger says while the engine is on.")
            lines += missed_lines(slots, files, is_on=before.engine.on is True)
    done(told[0] if len(told) == 1 else told, "\n".join(lines), as_json)
    return 0


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
    for name in dict.fromkeys(names):
        ws.disable(name, wait, note)
        told.append({"flow": name, "enabled": False})
        if is_not_deployed(ws, name):
            lines.append(
                f"{name} is not deployed, so nothing of it runs by itself. Once it is deployed, it runs by hand only, until you enable it: {typed('enable', name)}"
            )
        else:
            lines.append(f"{name} runs by hand only, until it is enabled: {typed('enable', name)}")
    done(told[0] if len(told) == 1 else told, "\n".join(lines), as_json)
    return 0


def missed_lines(slots: Sequence[str], files: int, *, is_on: bool) -> list[str]:
    """What of a flow that was enabled is done first.

    Example:
        >>> missed_lines(["2026-12-24 07:00 UTC"], 0, is_on=True)
        ['at once it runs for 1 slot that it missed: 2026-12-24 07:00 UTC']
        >>> missed_lines([], 2, is_on=False)
        ['once the engine is on (data-engine start), it first runs for 2 files']
    """
    of_slots = f"{counted(len(slots), 'slot')} that it missed: {first_few(slots, _MOST_TIMES)}" if slots else ""
    what = of_slots or (counted(files, "file") if files else "")
    if not what:
        return []
    return [
        f"at once it runs for {what}"
        if is_on
        else f"once the engine is on ({typed('start')}), it first runs for {what}"
    ]


def _require_known(ws: Workspace, names: Sequence[str]) -> None:
    """Return when there is each of several flows, so that a misspelt name among them does not leave half of them switched."""
    from data_engine.engine.deployed_before import find_flow

    if len(names) > 1:
        deployed = ws.home.deployments().deployed()
        for name in names:
            if name not in deployed:
                find_flow(ws.home, name)


def _missed(ws: Workspace, name: str) -> tuple[list[str], int]:
    """The slots that a disabled flow owes, in its zone, and how many files wait for it to be enabled; nothing where that cannot be told."""
    from data_engine.engine.fact import zoned_words
    from data_engine.engine.passed_slots import owed_slots
    from data_engine.flow.trigger import Schedule
    from data_engine.notebook.deployed import deployed_entries

    with suppress(FlowValidationError), in_flow_modules(ws):  # it is enabled all the same
        for entry in deployed_entries(ws.home.deployments(), [name]):
            trigger = None if entry.flow is None else entry.flow.trigger
            if not isinstance(trigger, Schedule):
                rows = ws.explain(name)
                return [], sum(row.source is not None and row.why.kind == "disabled" for row in rows)
            settings, served = ws.settings(), ws.home.ledger().served_slots(name)
            kept_s = settings.history.retention_days * 86400.0
            owed = owed_slots(trigger, served, timezone=settings.timezone, now_s=time.time(), retention_s=kept_s)
            return [zoned_words(slot, trigger.tz or settings.timezone) for slot in owed], 0
    return [], 0

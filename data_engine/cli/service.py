"""`service install|status|uninstall`: what starts this machine's daemon of the workspace at logon, and again when it dies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.options import AsJson, chosen_workspace, command_group
from data_engine.cli.output import complain, print_json, say
from data_engine.errors import WorkspaceError

if TYPE_CHECKING:
    from data_engine.engine.local_workspace import LocalWorkspace
    from data_engine.status.record import ServiceFacts

Boot = Annotated[
    bool, typer.Option("--boot", help="Also start with the machine, before anybody logs on, where the system can.")
]


def make_app() -> typer.Typer:
    """The commands below `data-engine service`."""
    return command_group(
        "Let the system start the daemon at logon, and again when it dies.",
        {"install": install, "status": status, "uninstall": uninstall},
    )


def install(ctx: typer.Context, boot: Boot = False, as_json: AsJson = False) -> int:
    """Start the daemon of the workspace at logon from now on, and now. A second time changes nothing. Exits 1 if --boot is not possible."""
    from data_engine.daemon.service import KEYRING_NOTE
    from data_engine.daemon.service import install as install_service

    ws = chosen_workspace(ctx)
    ws.settings()
    done = install_service(ws.home, boot=boot)
    if as_json:
        print_json(
            {
                "changed": done.changed,
                "kind": done.kind,
                "place": str(done.place),
                "boot": done.boot,
                "why_no_boot": done.why_no_boot,
            }
        )
        return 1 if done.why_no_boot else 0
    when = "with the machine" if done.boot else "at logon"
    say(f"{'Installed' if done.changed else 'Installed already'}: the daemon of {ws.workspace_id} starts {when}.")
    say(f"  {done.kind}: {done.place}")
    if done.boot:
        say(f"  {KEYRING_NOTE}")
    if done.why_no_boot is not None:
        complain(f"It starts at logon only, not with the machine: {done.why_no_boot}", style="yellow")
        return 1
    return 0


def status(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Whether the service is installed and works, and what it does. Exits 1 when something is wrong with it."""
    from data_engine.daemon.service import examined

    ws = chosen_workspace(ctx)
    found = examined(ws.home, ws.status().service)
    if as_json:
        print_json(found.as_dict())
    else:
        for line in service_lines(found):
            say(line)
    return 1 if found.trouble else 0


def uninstall(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Do not start the daemon by itself any more. A running daemon goes on, and ends when it is idle."""
    from data_engine.daemon.link import DaemonLink
    from data_engine.daemon.service import uninstall as uninstall_service

    homes = _homes(ctx)
    taken_away = [uninstall_service(home) for home in homes]
    was_there = any(taken_away)
    if as_json:
        print_json({"was_installed": was_there})
    elif was_there:
        is_running = any(DaemonLink(home).find() is not None for home in homes)
        goes_on = " The running daemon goes on: `data-engine stop` ends it." if is_running else ""
        say(f"Uninstalled: nothing starts the daemon of {homes[0].layout.workspace_id} by itself any more.{goes_on}")
    else:
        say("No service was installed.")
    return 0


def _homes(ctx: typer.Context) -> list[LocalWorkspace]:
    """The workspace; where it is gone, what this machine has kept for those that were there."""
    named = ctx.find_root().params.get("workspace")
    try:
        return [chosen_workspace(ctx).home]
    except WorkspaceError:
        from data_engine.engine.local_workspace import LocalWorkspace
        from data_engine.workspace.identity import layouts_seen_at
        from data_engine.workspace.layout import WorkspaceLayout

        gone = [] if named is None else [Path(named).absolute()]
        homes = [LocalWorkspace(WorkspaceLayout(root), local) for root in gone for local in layouts_seen_at(root)]
        if not homes:
            raise
        return homes


def service_lines(found: ServiceFacts) -> list[str]:
    """The service in lines for people."""
    lines = [found.text]
    if found.fix is not None:
        lines.append(f"fix: {found.fix}")
    if not found.installed:
        lines.append("install it: data-engine service install")
        return lines
    if found.kind is not None:
        when = "with the machine" if found.boot else "at logon"
        lines.append(f"{found.kind}, {when}: {found.place}")
    lines.append(f"Python: {found.python}")
    return lines

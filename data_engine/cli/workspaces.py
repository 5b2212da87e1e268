"""`workspace`, `lease` and `import`: workspaces of this machine, who owns one and how it changes hands, and one of the older system."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.options import (
    AsJson,
    chosen_workspace,
    command_group,
    done,
    in_flow_modules,
    is_confirmed,
    selected,
)
from data_engine.cli.output import complain, print_json, say, table
from data_engine.errors import FlowValidationError, WorkspaceError
from data_engine.formatting import cli_line, plural
from data_engine.platforms.host import shell_line
from data_engine.platforms.names import with_home

if TYPE_CHECKING:
    from data_engine.lease.status import LeaseStatus
    from data_engine.workspace.layout import WorkspaceLayout


FolderPath = Annotated[str, typer.Argument(metavar="PATH", help="The workspace's folder.")]


def workspace_app() -> typer.Typer:
    """The commands below `data-engine workspace`."""
    return command_group(
        "Make, choose and list workspaces.\n\n\b\nTo remove one, end what runs there (`data-engine service uninstall`,\n"
        "`data-engine kill`), then delete its folder.",  # \b: a wrap would cut a command in two
        {"create": create, "list": list_workspaces, "use": use, "fork": fork},
    )


def create(path: FolderPath, as_json: AsJson = False) -> int:
    """Make a workspace, or add what one lacks. Nothing that exists is changed, and no other workspace is chosen."""
    from data_engine.workspace.provision import provision_workspace

    report = provision_workspace(path)
    facts = {
        "workspace_id": report.root.name,
        "workspace_root": report.root,
        "created": report.created,
        "preserved": report.preserved,
        "skipped": report.skipped,
    }
    lines = [f"Created workspace: {report.root}" if report.created else f"Workspace is complete already: {report.root}"]
    lines += [f"  + {os.path.relpath(item, report.root)}" for item in report.created]
    lines += [f"  - {os.path.relpath(item, report.root)} (its folder is read-only)" for item in report.skipped]
    return done(facts, "\n".join([*lines, *_next_steps(report.root)]), as_json)


def _next_steps(root: Path) -> list[str]:
    """The commands that lead into the workspace from the working directory."""
    from data_engine.workspace.select import select_workspace

    lab = cli_line("lab")
    try:
        is_meant = select_workspace().root == root
    except WorkspaceError:
        is_meant = False
    if is_meant:
        return [f"Next: {lab}"]
    folder = os.path.relpath(root) if root.is_relative_to(os.getcwd()) else str(root)
    return [
        f"Next: {shell_line(['cd', folder])}, then {lab}",
        f"To use it from any folder: {cli_line('workspace', 'use', str(root))}",
    ]


def list_workspaces(ctx: typer.Context, as_json: AsJson = False) -> int:
    """The workspaces that this machine knows: the one that is used here, which has a mark, and those beside the one that `workspace use` selected last."""
    from data_engine.workspace.machine import load_machine_settings
    from data_engine.workspace.select import discover_workspaces

    named = os.environ.get("DATA_ENGINE_WORKSPACE_COLLECTION_ROOT", "").strip()
    collection = named or load_machine_settings().collection_root
    layouts = discover_workspaces(collection) if collection else ()
    selected = _selection(ctx.find_root().params.get("workspace"))
    if selected is not None and selected not in layouts:
        layouts = (*layouts, selected)
    if as_json:
        print_json(
            {
                "collection_root": collection or None,
                "workspaces": [
                    {
                        "workspace_id": layout.workspace_id,
                        "workspace_root": layout.root,
                        "selected": layout == selected,
                    }
                    for layout in layouts
                ],
            }
        )
        return 0
    if not layouts:
        say("This machine knows no workspace yet.")
        say("To list one that exists, and those beside it: data-engine workspace use PATH")
        say("To make one: data-engine workspace create PATH, or data-engine demo")
        return 0
    shown = table("", "WORKSPACE", "FOLDER")
    for layout in layouts:
        is_selected = layout == selected
        shown.add_row("*" if is_selected else "", layout.workspace_id, str(layout.root), style="bold" * is_selected)
    say(shown)
    return 0


def _selection(named: str | None) -> WorkspaceLayout | None:
    from data_engine.workspace.select import select_workspace

    try:
        return select_workspace(named)
    except WorkspaceError:
        if named is not None:
            raise
        return None


def use(
    which: Annotated[
        str, typer.Argument(metavar="PATH|ID", help="A workspace's folder, or its name in the collection.")
    ],
    as_json: AsJson = False,
) -> int:
    """Select the workspace for every command that is not given one and is not in one."""
    from data_engine.workspace.machine import machine_settings_path
    from data_engine.workspace.select import use_workspace

    layout = use_workspace(which)
    if as_json:
        print_json(
            {
                "workspace_id": layout.workspace_id,
                "workspace_root": layout.root,
                "settings": str(machine_settings_path()),
            }
        )
    else:
        say(f"Selected default workspace: {layout.workspace_id} ({layout.root})")
        say(f"  wrote collection_root and default_workspace to {machine_settings_path()}")
        selected = _selection(None)
        if selected is not None and selected.root != layout.root:
            variables = ("DATA_ENGINE_WORKSPACE_ROOT", "DATA_ENGINE_WORKSPACE_ID")
            named = next(filter(os.environ.get, variables), None)
            why = "this folder is inside it" if named is None else f"{named} names it"
            complain(
                f"Here {selected.workspace_id} ({selected.root}) is still used: {why}. To use the other one here:"
                f" {cli_line('--workspace', str(layout.root))} COMMAND",
                style="yellow",
            )
    return 0


def fork(path: FolderPath, as_json: AsJson = False) -> int:
    """Let a copy start without history. It gets an identity of its own. Refused while somebody works in it."""
    from data_engine.workspace.identity import fork_identity
    from data_engine.workspace.select import select_workspace

    layout = select_workspace(path)
    _require_nobody_works_in(layout)
    identity = fork_identity(layout)
    facts = {"workspace_id": layout.workspace_id, "workspace_root": layout.root, "identity": identity}
    return done(facts, f"{layout.root} has its own identity now ({identity}) and starts without history.", as_json)


def _require_nobody_works_in(layout: WorkspaceLayout) -> None:
    from data_engine.daemon.control import read_endpoint
    from data_engine.lease.status import refuse_owned_elsewhere
    from data_engine.workspace.identity import layouts_seen_at, original_identity

    for local in layouts_seen_at(layout.root):
        daemon = read_endpoint(local)
        if daemon is not None and daemon.is_alive() and daemon.workspace_root == str(layout.root):
            raise WorkspaceError(
                f"this machine's daemon (pid {daemon.pid}) works in {layout.root}: its history would stay behind",
                where="data-engine workspace fork",
                fix=f"fork the copy, not this one; or end the daemon first: {cli_line('--workspace', str(layout.root), 'kill')}",
            )
    with suppress(
        WorkspaceError
    ):  # a damaged identity is a reason to fork; what a copy says of its owner is not its own
        if (identity := original_identity(layout)) is not None:
            refuse_owned_elsewhere(layout.workspace_state_dir, identity, what="a fork")


def lease_app() -> typer.Typer:
    """The commands below `data-engine lease`."""
    return command_group(
        "See who owns the workspace; request it, give it up or take it over.",
        {"status": lease_status, "request": request, "release": release, "take-over": take_over, "repair": repair},
    )


def lease_status(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Who owns the workspace, and what this machine could do about it."""
    return _tell(chosen_workspace(ctx).lease(), as_json)


def request(
    ctx: typer.Context,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Withdraw the request.")] = False,
    as_json: AsJson = False,
) -> int:
    """Ask the owner for the workspace. This machine's daemon waits, and owns it when the owner agrees."""
    ws = chosen_workspace(ctx)
    return _tell(ws.withdraw_request() if withdraw else ws.request_control(), as_json)


def release(
    ctx: typer.Context,
    now: Annotated[bool, typer.Option("--now", help="First stop running work at its next step.")] = False,
    as_json: AsJson = False,
) -> int:
    """Give the workspace up when the running work is done: to whoever has asked for it, else to anybody."""
    lease = chosen_workspace(ctx).release_control(now=now)
    if lease.said is not None and not as_json:
        say(lease.said)
    return _tell(lease, as_json)


def take_over(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Own the workspace of an owner that has been silent for the stale threshold. Exit code 3 when it has not."""
    return _tell(chosen_workspace(ctx).take_over(), as_json)


def repair(ctx: typer.Context, as_json: AsJson = False) -> int:
    """Fix a damaged list of generations from its newest readable one, and say what was lost."""
    message = chosen_workspace(ctx).repair_lease()
    return done({"repaired": message}, message, as_json)


def _tell(lease: LeaseStatus, as_json: bool) -> int:
    return done(lease.as_dict(), "\n".join(lease.lines), as_json)


def import_workspace(
    path: Annotated[str, typer.Argument(metavar="WORKSPACE", help="The folder of a workspace of the older system.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether to take over.")] = False,
    without_history: Annotated[
        bool,
        typer.Option(
            "--without-history", help="Leave out the history and what has run, such as where they are damaged."
        ),
    ] = False,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", metavar="PATH", help="A ledger file of the older system.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Bring a workspace from the older system (py-data-engine): its settings, its history, and what has run already.

    First it shows exactly what it would do, and asks. Of the older system only its marker of the owner is changed.
    Running it again changes nothing.
    """
    from data_engine import importing

    ws = selected(path)
    named = ledger and Path(os.path.abspath(with_home(ledger)))  # as the shell means it
    with in_flow_modules(ws):
        plan = importing.look(ws.layout, with_history=not without_history, ledger=named)
    if not as_json:
        for line in plan.lines():
            say(line)
    if not dry_run:
        importing.require_free(ws.layout)
    runs = files = 0
    if not (dry_run or plan.is_empty):
        if as_json and not yes:
            raise FlowValidationError(
                "with --json nothing is asked", where="data-engine import", fix="add --yes to confirm"
            )
        if not (yes or is_confirmed("Take it over now?", "history and settings would be taken over", "import")):
            say("Nothing was changed.")
            return 1
        runs, files = importing.carry_out(ws.layout, plan)
    if as_json:
        print_json(plan.as_dict() | ({} if dry_run else {"done": {"runs": runs, "files": files}}))
    elif not dry_run:
        done = f"Taken over: {plural(runs, 'run')}, what is known of {plural(files, 'file')}."
        say("Nothing was changed." if plan.is_empty else done)
        command = shell_line(["data-engine", "--workspace", str(ws.layout.root)])
        say(f"Next: {command} list, deploy, and start")
    return 0

"""`workspace`, `lease` and `import`: workspaces of this machine, who owns one and how it changes hands, and one of the older system."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from data_engine.errors import WorkspaceError
from data_engine.formatting import cli_line, plural
from data_engine.platforms.host import shell_line
from data_engine.platforms.names import with_home
from data_engine.storage_version import too_new
from data_engine.view.card import Card, Lines, Note, table
from data_engine.view.verb import Answer, Option, Place, Subject, VerbGroup, said

if TYPE_CHECKING:
    from data_engine.lease.status import LeaseStatus
    from data_engine.workspace.layout import WorkspaceLayout


# -- workspace --------------------------------------------------------------------------------------------------------

FolderPath = Annotated[str, Subject("PATH", "The workspace's folder.")]


def create(place: Place, path: FolderPath) -> Answer:
    """Make a workspace, or add what one lacks. Nothing that exists is changed, and no other workspace is chosen."""
    from data_engine.workspace.provision import provision_workspace

    report = provision_workspace(path)
    lines = [f"Created workspace: {report.root}" if report.created else f"Workspace is complete already: {report.root}"]
    lines += [f"  + {os.path.relpath(item, report.root)}" for item in report.created]
    lines += [f"  - {os.path.relpath(item, report.root)} (its folder is read-only)" for item in report.skipped]
    facts = {
        "workspace_id": report.root.name,
        "workspace_root": report.root,
        "created": report.created,
        "preserved": report.preserved,
        "skipped": report.skipped,
    }
    return said("\n".join([*lines, *_next_steps(report.root)]), facts)


def _next_steps(root: Path) -> list[str]:
    """The commands that lead into the workspace from the working directory."""
    lab, meant = cli_line("lab"), _selection(None)
    if meant is not None and meant.root == root:
        return [f"Next: {lab}"]
    folder = os.path.relpath(root) if root.is_relative_to(os.getcwd()) else str(root)
    return [
        f"Next: {shell_line(['cd', folder])}, then {lab}",
        f"To use it from any folder: {cli_line('workspace', 'use', str(root))}",
    ]


def list_workspaces(place: Place) -> Answer:
    """The workspaces that this machine knows: the one that is used here, which has a mark, and those beside the one that `workspace use` selected last."""
    from data_engine.workspace.machine import load_machine_settings
    from data_engine.workspace.select import discover_workspaces

    named = os.environ.get("DATA_ENGINE_WORKSPACE_COLLECTION_ROOT", "").strip()
    collection = named or load_machine_settings().collection_root
    layouts = discover_workspaces(collection) if collection else ()
    selected = _selection(place.root)
    if selected is not None and selected not in layouts:
        layouts = (*layouts, selected)
    facts = {
        "collection_root": collection or None,
        "workspaces": [
            {"workspace_id": layout.workspace_id, "workspace_root": layout.root, "selected": layout == selected}
            for layout in layouts
        ],
    }
    if not layouts:
        lines = (
            "This machine knows no workspace yet.",
            f"To list one that exists, and those beside it: {cli_line('workspace', 'use', 'PATH')}",
            f"To make one: {cli_line('workspace', 'create', 'PATH')}, or {cli_line('demo')}",
        )
        return said("\n".join(lines), facts)
    rows = [("*" if layout == selected else "", layout.workspace_id, str(layout.root)) for layout in layouts]
    return Answer(
        lambda: Card("", (), (table(("", "WORKSPACE", "FOLDER"), rows, most=len(rows)),)),
        lambda: facts,
    )


def _selection(named: str | None) -> WorkspaceLayout | None:
    """The workspace that is meant here; None where none is, and none is named."""
    from data_engine.workspace.select import select_workspace

    try:
        return select_workspace(named)
    except WorkspaceError:
        if named is not None:
            raise
        return None


def use(
    place: Place, which: Annotated[str, Subject("PATH|ID", "A workspace's folder, or its name in the collection.")]
) -> Answer:
    """Select the workspace for every command that is not given one and is not in one."""
    from data_engine.workspace.machine import machine_settings_path
    from data_engine.workspace.select import use_workspace

    layout, settings = use_workspace(which), machine_settings_path()
    text = f"Selected default workspace: {layout.workspace_id} ({layout.root})\n  wrote collection_root and default_workspace to {settings}"
    facts = {"workspace_id": layout.workspace_id, "workspace_root": layout.root, "settings": str(settings)}
    return said(text, facts, notes=_still_used(layout))


def _still_used(selected: WorkspaceLayout) -> tuple[Note, ...]:
    """The warning where another workspace than the one that was selected is meant here."""
    meant = _selection(None)
    if meant is None or meant.root == selected.root:
        return ()
    variables = ("DATA_ENGINE_WORKSPACE_ROOT", "DATA_ENGINE_WORKSPACE_ID")
    named = next(filter(os.environ.get, variables), None)
    why = "this folder is inside it" if named is None else f"{named} names it"
    what = f"Here {meant.workspace_id} ({meant.root}) is still used: {why}"
    return (Note.warning(what, f"to use the other one here: {cli_line('--workspace', str(selected.root))} COMMAND"),)


def fork(place: Place, path: FolderPath) -> Answer:
    """Let a copy start without history. It gets an identity of its own. Refused while somebody works in it."""
    from data_engine.workspace.identity import fork_identity
    from data_engine.workspace.select import select_workspace

    layout = select_workspace(path)
    _require_nobody_works_in(layout)
    identity = fork_identity(layout)
    facts = {"workspace_id": layout.workspace_id, "workspace_root": layout.root, "identity": identity}
    return said(f"{layout.root} has its own identity now ({identity}) and starts without history.", facts)


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


WORKSPACE = VerbGroup(
    "Make, choose and list workspaces.\n\n\b\nTo remove one, end what runs there (`data-engine service uninstall`,\n"
    "`data-engine kill`), then delete its folder.",  # \b: a wrap would cut a command in two
    {"create": create, "list": list_workspaces, "use": use, "fork": fork},
)


# -- lease ------------------------------------------------------------------------------------------------------------


def lease_status(place: Place) -> Answer:
    """Who owns the workspace, and what this machine could do about it."""
    return _lease(place.workspace.lease())


def request(place: Place, withdraw: Annotated[bool, Option("Withdraw the request.")] = False) -> Answer:
    """Ask the owner for the workspace. This machine's daemon waits, and owns it when the owner agrees."""
    ws = place.workspace
    return _lease(ws.withdraw_request() if withdraw else ws.request_control())


def release(place: Place, now: Annotated[bool, Option("First stop running work at its next step.")] = False) -> Answer:
    """Give the workspace up when the running work is done: to whoever has asked for it, else to anybody."""
    return _lease(place.workspace.release_control(now=now))


def take_over(place: Place) -> Answer:
    """Own the workspace of an owner that has been silent for the stale threshold. Exit code 3 when it has not."""
    ws = place.workspace
    return _lease(ws.take_over(), too_new(ws.layout.databases_dir))


def repair(place: Place) -> Answer:
    """Fix a damaged list of generations from its newest readable one, and say what was lost."""
    message = place.workspace.repair_lease()
    return said(message, {"repaired": message})


def _lease(lease: LeaseStatus, warnings: Sequence[str] = ()) -> Answer:
    text = "\n".join([*([] if lease.said is None else [lease.said]), *lease.lines])
    return said(text, lease.as_dict(), notes=tuple(map(Note.warning, warnings)))


LEASE = VerbGroup(
    "See who owns the workspace; request it, give it up or take it over.",
    {"status": lease_status, "request": request, "release": release, "take-over": take_over, "repair": repair},
)


# -- import -----------------------------------------------------------------------------------------------------------


def import_workspace(
    place: Place,
    path: Annotated[str, Subject("WORKSPACE", "The folder of a workspace of the older system.")],
    dry_run: Annotated[bool, Option("Only show what would be done.")] = False,
    yes: Annotated[bool, Option("Do not ask whether to take over.")] = False,
    without_history: Annotated[
        bool, Option("Leave out the history and what has run, such as where they are damaged.")
    ] = False,
    ledger: Annotated[str | None, Option("A ledger file of the older system.", "PATH")] = None,
) -> Answer:
    """Bring a workspace from the older system (py-data-engine): its settings, its history, and what has run already.

    First it shows exactly what it would do, and asks. Of the older system only its marker of the owner is changed.
    Running it again changes nothing.
    """
    from data_engine import importing
    from data_engine.client import Workspace
    from data_engine.workspace.select import select_workspace

    ws = Workspace(select_workspace(path).root)
    named = Path(os.path.abspath(with_home(ledger))) if ledger else None  # as the shell means it
    with place.inside(ws):
        plan = importing.look(ws.layout, with_history=not without_history, ledger=named)
    place.show(Lines(tuple(plan.lines())))
    if dry_run:
        return said("", plan.as_dict())
    importing.require_free(ws.layout)
    runs = files = 0
    if not plan.is_empty:
        if not place.confirm(Card("Take it over now?"), "history and settings would be taken over", yes=yes):
            return said("Nothing was changed.", code=1)
        runs, files = importing.carry_out(ws.layout, plan)
    done = f"Taken over: {plural(runs, 'run')}, what is known of {plural(files, 'file')}."
    command = shell_line(["data-engine", "--workspace", str(ws.layout.root)])
    return said(
        f"{'Nothing was changed.' if plan.is_empty else done}\nNext: {command} list, deploy, and start",
        plan.as_dict() | {"done": {"runs": runs, "files": files}},
    )

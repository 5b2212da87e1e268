"""`deployments`, `rollback` and `restore`: what production ran, and how that comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.deploying import Note, say_left
from data_engine.cli.options import AsJson, FlowName, SomeFlowName, Wait, chosen_workspace, require_known
from data_engine.cli.output import complain, print_json, say, table
from data_engine.status.deployed_before import deployment_cells

if TYPE_CHECKING:
    pass

To = Annotated[str | None, typer.Option("--to", metavar="ID", help="A deployment's id, or its beginning.")]


def deployments(ctx: typer.Context, name: SomeFlowName = None, as_json: AsJson = False) -> int:
    """The history of deployments of one flow, or of all; newest first."""
    ws = chosen_workspace(ctx)
    found = ws.deployments(name)
    if not found and name is not None:  # it may be the id of one
        found = [one for one in ws.deployments() if one.id.startswith(name)]
        if not found:
            require_known(ws, name)
    if as_json:
        print_json([one.as_dict() for one in found])
        return 0
    if not found:
        say("Nothing was deployed yet." if name is None else f"{name} was not deployed yet.")
        return 0
    shown = table("ID", "FLOW", "WHEN", "WHO", "WHAT", "CHANGED", "GIT", "COMPARED", "NOTE", wrap=("COMPARED",))
    for one in found:
        shown.add_row(one.id[:8], *deployment_cells(one))
    say(shown)
    return 0


def rollback(
    ctx: typer.Context,
    name: FlowName,
    to: To = None,
    note: Note = "",
    wait: Wait = True,
    as_json: AsJson = False,
) -> int:
    """Let production run a flow as it was deployed before. The notebook stays as it is; going back is recorded like a deployment."""
    from data_engine.notebook.deployments import changed_config

    ws = chosen_workspace(ctx)
    row = ws.rollback(name, to, note, wait)
    if row is None:
        return say_left(as_json)
    config = changed_config(ws.layout, ws.home.deployments(), row)
    if as_json:
        print_json(row.as_dict() | {"changed_config": config})
        return 0
    say(f"{name} runs again as it was deployed in {(row.of or row.id)[:8]}")
    if ws.settings().deploy.gate == "golden":
        say("The goldens were not run: a rollback is never held up by them.")
    if config:
        complain(f"config that has changed since, and is read as it is now: {', '.join(config)}", style="yellow")
    return 0


def restore(
    ctx: typer.Context,
    name: FlowName,
    to: To = None,
    copy: Annotated[
        bool, typer.Option("--copy", help="Also where the notebook has another name or place now.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Bring back a notebook that is gone, as it was deployed, with helpers that are gone too. Nothing is overwritten."""
    written = chosen_workspace(ctx).restore(name, to, copy=copy)
    if as_json:
        print_json({"written": [str(path) for path in written]})
        return 0
    for path in written:
        say(f"wrote {path}")
    return 0

"""`import`: bringing a workspace from the older system, shown before it is done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from data_engine.cli.options import AsJson, in_flow_modules, is_confirmed, selected
from data_engine.cli.output import print_json, say
from data_engine.errors import FlowValidationError
from data_engine.formatting import plural
from data_engine.platforms.host import shell_line
from data_engine.platforms.names import with_home


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
    from data_engine.importing import move

    ws = selected(path)
    named = ledger and Path(os.path.abspath(with_home(ledger)))  # as the shell means it
    with in_flow_modules(ws):
        plan = move.look(ws.layout, with_history=not without_history, ledger=named)
    if not as_json:
        for line in plan.lines():
            say(line)
    if not dry_run:
        move.require_free(ws.layout)
    runs = files = 0
    if not (dry_run or plan.is_empty):
        if as_json and not yes:
            raise FlowValidationError(
                "with --json nothing is asked", where="data-engine import", fix="add --yes to confirm"
            )
        if not (yes or is_confirmed("Take it over now?", "history and settings would be taken over", "import")):
            say("Nothing was changed.")
            return 1
        runs, files = move.carry_out(ws.layout, plan)
    if as_json:
        print_json(plan.as_dict() | ({} if dry_run else {"done": {"runs": runs, "files": files}}))
    elif not dry_run:
        done = f"Taken over: {plural(runs, 'run')}, what is known of {plural(files, 'file')}."
        say("Nothing was changed." if plan.is_empty else done)
        command = shell_line(["data-engine", "--workspace", str(ws.layout.root)])
        say(f"Next: {command} list, deploy, and start")
    return 0

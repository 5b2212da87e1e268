"""`import`: moving a workspace from the older system, shown before it is done."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.options import AsJson, in_flow_modules, selected
from data_engine.cli.output import complain, print_json, say
from data_engine.counted import counted
from data_engine.errors import FlowValidationError
from data_engine.platforms.host import shell_line
from data_engine.platforms.names import with_home
from data_engine.platforms.terminals import is_terminal

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.moving.move import Found


def import_workspace(
    path: Annotated[str, typer.Argument(metavar="WORKSPACE", help="The folder of a workspace of the older system.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether to take over.")] = False,
    rewrite_keys: Annotated[
        bool | None,
        typer.Option(
            "--rewrite-keys/--keep-keys", help="Rewrite the keys of files in DuckDB tables, or not; by default it asks."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="PART", help="Leave out: ledger, share, settings or databases. May be repeated."
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="PATH", help="The older system's state root on this machine.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option("--ledger", metavar="PATH", help="A ledger file of the older system.")
    ] = None,
    database: Annotated[
        list[Path] | None,
        typer.Option(
            "--database",
            metavar="PATH",
            help="A DuckDB file that is not in databases/ and that no flow names. May be repeated.",
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Let the older system own the workspace again.")] = False,
    as_json: AsJson = False,
) -> int:
    """Move a workspace from the older system (py-data-engine): its settings, its history, and what has run already.

    First it shows exactly what it would do, and what in the notebooks needs a look, and asks. Of the older system
    only its marker of the owner is changed. Running it again changes nothing.
    """
    from data_engine.moving import move

    ws = selected(path)
    if undo:
        return _undo(ws, as_json)
    wrong = [part for part in without or () if part not in move.PARTS]
    if wrong:
        raise FlowValidationError(
            f"there is no part {wrong[0]!r} to leave out", where="--without", fix=f"use {', '.join(move.PARTS)}"
        )
    places = (state and _here(state), ledger and _here(ledger), tuple(map(_here, database or ())))
    asked = move.Asked(tuple(without or ()), *places)
    with in_flow_modules(ws):
        found = move.look(ws.layout, asked)
    if dry_run:
        _show(found, as_json)
        return 0
    move.require_free(ws.layout, found.plan.leases)
    if not as_json:
        _show(found, as_json)
    done = move.Done()
    if not found.plan.is_empty:
        if not (yes or _confirmed("Take it over now?", "--yes", as_json)):
            say("Nothing was changed.")
            return 1
        done = move.carry_out(ws.layout, found.plan)
        if not as_json:
            say(f"Taken over: {counted(done.runs, 'run')}, what is known of {counted(done.files, 'file')}.")
    kept = _exchange(found, rewrite_keys, asks=not yes and not as_json)
    if as_json:
        facts = {"runs": done.runs, "files": done.files, "sealed": list(done.sealed)}
        exchanged = [{"path": path, "backup": backup, "rows": rows} for path, backup, rows in kept]
        print_json(found.plan.as_dict() | {"done": facts | {"databases": exchanged}})
        return 0
    _say_done(found, kept)
    return 0


def _here(path: Path) -> Path:
    """The path as the shell means it: the workspace is looked at from another folder."""
    return Path(os.path.abspath(with_home(path)))


def _undo(ws: Workspace, as_json: bool) -> int:
    from data_engine.moving import move

    taken_off = move.undo(ws.home)
    if as_json:
        print_json({"unsealed": taken_off})
    elif taken_off:
        say(f"The older system can own {', '.join(taken_off)} again, and no daemon of this one will.")
        say("What was taken over stays here: `data-engine reset --all` forgets it. Databases: copy *.before_move back.")
    else:
        say("There is no seal: nothing was changed.")
    return 0


def _show(found: Found, as_json: bool) -> None:
    plan = found.plan
    if as_json:
        print_json(plan.as_dict())
        return
    for line in plan.lines():
        say(line)
    if plan.databases:
        say("")
        say("DuckDB tables with keys of the older system (asked separately; a copy of each database is kept):")
        for line in plan.key_lines():
            say(line)
    if plan.edits:
        say("")
        say(f"In the modules {counted(len(plan.edits), 'place')} to look at before they are deployed:")
        for line in plan.edit_lines():
            say(line)
    say("")


def _exchange(found: Found, wanted: bool | None, *, asks: bool) -> list[tuple[Path, Path, int]]:
    from data_engine.moving import move

    due = found.plan.due_databases
    if not due or wanted is False:
        return []
    if wanted is None:
        if not asks:
            complain(
                f"{counted(len(due), 'database')} keep the keys of the older system, so that a file that runs again doubles its"
                " rows: --rewrite-keys replaces them",
                style="yellow",
            )
            return []
        if not _confirmed(
            f"Exchange the keys in {counted(len(due), 'database')} now? A copy of each is kept.",
            "--rewrite-keys",
            False,
        ):
            return []
    return move.exchange_keys(found)


def _say_done(found: Found, kept: list[tuple[Path, Path, int]]) -> None:
    for path, backup, rows in kept:
        say(f"{path}: {counted(rows, 'row')} have the new keys; as it was before: {backup.name}")
    if found.plan.is_empty and not kept:
        say("Nothing was changed.")
    command = shell_line(["data-engine", "--workspace", str(found.plan.root)])
    say("Next, when what is listed above is right:")
    for verb in ("list", "deploy", "start"):
        say(f"  {command} {verb}")


def _confirmed(question: str, otherwise: str, as_json: bool) -> bool:
    if as_json or not is_terminal(sys.stdin):
        what = "with --json nothing is asked" if as_json else "there is no terminal to ask on"
        raise FlowValidationError(what, where="data-engine import", fix=f"add {otherwise} to confirm")
    return typer.confirm(question, err=True)

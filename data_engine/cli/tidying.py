"""`tidy`: outputs whose sources are gone, moved aside when that is asked for."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.looks import short_path
from data_engine.cli.options import AsJson, SomeFlowName, chosen_workspace, in_flow_modules
from data_engine.cli.output import complain, print_json, say, table
from data_engine.formatting import cli_line, first_few, local_time, plural
from data_engine.platforms.terminals import is_terminal

if TYPE_CHECKING:
    from data_engine.client import Workspace


def tidy(
    ctx: typer.Context,
    name: SomeFlowName = None,
    yes: Annotated[bool, typer.Option("--yes", help="Move them aside without asking.")] = False,
    back: Annotated[bool, typer.Option("--back", help="Move back what was moved aside last.")] = False,
    as_json: AsJson = False,
) -> int:
    """List the outputs whose source files are gone, of one flow or of all, and move them aside when asked. Nothing is deleted."""
    ws = chosen_workspace(ctx)
    with in_flow_modules(ws):
        return _put_back(ws, name, as_json) if back else _set_aside(ws, name, yes, as_json)


def _put_back(ws: Workspace, name: str | None, as_json: bool) -> int:
    moved = ws.put_back(name)
    if as_json:
        print_json({"moved": [str(path) for path in moved]})
    else:
        say(f"Moved {plural(len(moved), 'file')} back." if moved else "There is nothing to move back.")
    return 0


def _set_aside(ws: Workspace, name: str | None, yes: bool, as_json: bool) -> int:
    from data_engine.engine.left_behind import readers_of

    found = ws.left_behind(name)
    elsewhere = _elsewhere(ws, name)
    if as_json:
        moved = ws.set_aside(name) if yes else []
        print_json(
            {"left": [one.as_dict() for one in found], "moved": [str(path) for path in moved], "elsewhere": elsewhere}
        )
        return 0
    if elsewhere:
        complain(elsewhere_words(elsewhere), style="yellow")
    if not found:
        say("No output is left of a source that is gone.")
        return 0
    shown = table("FLOW", "OUTPUT", "WRITTEN", "SOURCE, WHICH IS GONE")
    for one in found:
        shown.add_row(one.flow, short_path(one.path, ws.root), local_time(one.at_utc), short_path(one.source, ws.root))
    say(shown)
    again = cli_line("tidy", *([] if name is None else [name]))
    can_ask = is_terminal(sys.stdin)
    if not yes and not (can_ask and typer.confirm(f"Move {plural(len(found), 'file')} aside?", err=True)):
        complain(f"Nothing was moved. To move them aside: {again} --yes", style="yellow")
        return 0
    moved = ws.set_aside(name)
    say(f"Moved {plural(len(moved), 'file')} aside. To have them back: {again} --back")
    for reader in readers_of({Path(one.mirror) for one in found}, ws.flows()):
        complain(
            f"{reader} reads there, but does not become due; to run it again: {cli_line('run', reader)}", style="yellow"
        )
    return 0


def _elsewhere(ws: Workspace, name: str | None) -> list[str]:
    """The outputs that are known only by a path where nothing is any more."""
    from data_engine.engine.left_behind import MOST_RUNS, known_elsewhere
    from data_engine.ledger.former_places import written_here

    flows = [flow for flow in ws.flows() if name is None or flow.name == name]
    return [one.path for one in known_elsewhere(written_here(ws.home.ledger(), ws.layout, MOST_RUNS), flows)]


def elsewhere_words(paths: Sequence[str]) -> str:
    """What is said of outputs that nothing is known of.

    Example:
        >>> elsewhere_words(["/old/a.csv"])
        '1 output is known only by its former path, whose folder does not exist any more, and is not listed: /old/a.csv'
    """
    known = "is known only by its former path" if len(paths) == 1 else "are known only by their former paths"
    listed = "is not listed" if len(paths) == 1 else "are not listed"
    return f"{plural(len(paths), 'output')} {known}, whose folder does not exist any more, and {listed}: {first_few(paths, 3)}"

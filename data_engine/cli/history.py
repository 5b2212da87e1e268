"""`compare`, `rejected`, `tidy` and `reset`: what differed between two runs, rows that checks reject, what runs left behind, and forgetting what ran."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.looks import short_path
from data_engine.cli.options import (
    AsJson,
    SomeFlowName,
    chosen_workspace,
    done,
    in_flow_modules,
    is_confirmed,
    named,
    require_known,
)
from data_engine.cli.output import complain, print_json, say, table
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line, duration_words, first_few, local_time, plural
from data_engine.platforms.terminals import is_terminal
from data_engine.status.runs import started

if TYPE_CHECKING:
    from data_engine.client import Workspace


def compare(
    ctx: typer.Context,
    run_a: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its first characters.")],
    run_b: Annotated[str, typer.Argument(metavar="RUN", help="The run to compare it with.")],
    as_json: AsJson = False,
) -> int:
    """What differs between two runs, the most important first: code, params, inputs, environment, rows, durations."""
    ws = chosen_workspace(ctx)
    ws.home.ledger().recover()
    found = ws.compare(run_a, run_b)
    if as_json:
        print_json(found.as_dict())
        return 0
    a, b = ws.run_record(run_a), ws.run_record(run_b)
    for letter, run in (("A", a), ("B", b)):
        say(
            f"{letter}  run {run.run_id[:8]}  {run.flow}  {run.status}, {started(run)}, {duration_words(run.elapsed_s)}"
        )
    lines = found.lines()
    if all(kind == "note" for kind, _ in lines):
        say("Nothing that was recorded differs.")
    kind = ""
    for name, words in lines:
        if name != kind:
            say("")
            say(name, style="bold")
            kind = name
        for line in words.splitlines():
            say(f"  {line}")
    return 0


def rejected(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", callback=named, help="A flow; else all.")] = None,
    excel: Annotated[str | None, typer.Option("--excel", metavar="FILE", help="Write the rows as a workbook.")] = None,
    as_json: AsJson = False,
) -> int:
    """The rows that checks reject now, with the rules they break; `--excel` gives them to whoever owns the data."""
    found = chosen_workspace(ctx).rejected(name)
    if not as_json and not found:
        say("No rows are rejected.")
    path = None
    if excel is not None and found:
        from data_engine.engine.quarantine import write_workbook

        path = write_workbook(found, excel)
    if as_json:
        print_json([one.as_dict() for one in found])
    elif found:
        shown = table("FLOW", "SOURCE", "ROWS", "RULES", right=("ROWS",), cut=("SOURCE", "RULES"))
        for one in found:
            rules = ", ".join(f"{rule} {count:,}" for rule, count in one.rules.items())
            shown.add_row(one.flow, one.source or "", f"{one.rows:,}", rules)
        say(shown)
        if path is not None:
            say(f"wrote {path}")
    return 0


def reset(
    ctx: typer.Context,
    flow: Annotated[
        str | None, typer.Argument(metavar="FLOW", callback=named, help="The flow whose history to forget.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every flow of the workspace.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> int:
    """Forget history, so that every source is due again. On this machine; no file is touched."""
    if (flow is None) == (not every):
        raise FlowValidationError(
            "reset needs either a flow or --all",
            where="data-engine reset",
            fix="data-engine reset FLOW, or data-engine reset --all",
        )
    ws = chosen_workspace(ctx)
    if flow is not None and not ws.runs(flow, 1):
        require_known(ws, flow)
    what = f'flow "{flow}"' if flow is not None else f"every flow of {ws.workspace_id}"
    question = f"Forget the history of {what} on this machine, so that every source is due again?"
    if not yes and not is_confirmed(question, "reset forgets history", "reset"):
        say("Nothing was forgotten.")
        return 1
    gone = ws.reset(flow)
    text = f"Forgot {plural(gone, 'run')} of {what}; every source is due again."
    return done({"flow": flow, "runs": gone}, text, as_json)


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
    text = f"Moved {plural(len(moved), 'file')} back." if moved else "There is nothing to move back."
    return done({"moved": [str(path) for path in moved]}, text, as_json)


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
    from data_engine.ledger.outputs import written_here

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

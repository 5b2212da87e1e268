"""`compare`, `rejected` and `reset`: what differed between two runs, rows that checks reject, and forgetting what ran."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from data_engine.cli.options import AsJson, chosen_workspace, named, require_known
from data_engine.cli.output import print_json, say, table
from data_engine.errors import FlowValidationError
from data_engine.formatting import duration_words, plural, visible
from data_engine.platforms.terminals import is_terminal
from data_engine.status.runs import started


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
    if not yes and not _confirmed(f"Forget the history of {what} on this machine, so that every source is due again?"):
        say("Nothing was forgotten.")
        return 1
    gone = ws.reset(flow)
    if as_json:
        print_json({"flow": flow, "runs": gone})
    else:
        say(f"Forgot {plural(gone, 'run')} of {what}; every source is due again.")
    return 0


def _confirmed(question: str) -> bool:
    if not is_terminal(sys.stdin):
        raise FlowValidationError(
            "reset forgets history and there is no terminal to ask on",
            where="data-engine reset",
            fix="add --yes to confirm",
        )
    return typer.confirm(visible(question), err=True)

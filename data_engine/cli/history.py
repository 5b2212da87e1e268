"""`runs`, `log`, `compare` and `reset`: what ran on this machine, what it said, what differed, and forgetting it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.looks import MOST_RUNS, RunStatus, require_known, tell_runs
from data_engine.cli.options import AsJson, chosen_workspace, named
from data_engine.cli.output import print_json, say, status_style, table
from data_engine.counted import counted
from data_engine.cut import visible
from data_engine.errors import FlowValidationError
from data_engine.ledger.warned import runs_as_json, warned_words, warnings_of
from data_engine.platforms.terminals import is_terminal
from data_engine.status.runs import facts_of, rows_words, started
from data_engine.times import local_time, seconds
from data_engine.typed import typed

if TYPE_CHECKING:
    pass

_ID_LENGTH = 8


def runs(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", callback=named, help="A flow, or a source file.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help=f"How many, newest first; default {MOST_RUNS}.")
    ] = None,
    status: Annotated[RunStatus | None, typer.Option("--status", help="Only runs with this status.")] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="D",
            help="Only runs that began on or after this day, month or time of this machine: 2013-03-01.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="D", help="Only runs that began before the end of this day or month of this machine."
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """What ran on this machine, newest first."""
    return tell_runs(chosen_workspace(ctx), name, limit, as_json, status=status, since=since, until=until)


def log(
    ctx: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or its first characters.")],
    as_json: AsJson = False,
) -> int:
    """What one run did, printed and logged."""
    from data_engine.status.runs import slot_zones

    ws = chosen_workspace(ctx)
    ws.home.ledger().recover()
    run = ws.run_record(run_id)
    steps, lines = ws.steps(run.run_id), ws.log(run.run_id)
    if as_json:
        print_json(
            {
                "run": runs_as_json(ws.home.ledger(), [run])[0],
                "steps": [step.as_dict() for step in steps],
                "log": [line.as_dict() for line in lines],
            }
        )
        return 0
    say(f"run {run.run_id}  {run.flow}  {run.source or ''}".rstrip())
    cause = f" ({run.cause})" if run.cause else ""
    warned = warned_words(warnings_of(ws.home.ledger(), [run.run_id]).get(run.run_id, 0))
    say(
        ", ".join(filter(None, [f"{run.status}{cause}", warned, f"started {started(run)}", seconds(run.elapsed_s)])),
        style=status_style(run.status),
    )
    for label, words in facts_of(run, slot_zones(ws.home, [run]).get(run.flow)):
        say(f"{label:9} {words}")
    say("")
    shown = table(
        *("STEP", "STATUS", "TIME", "ROWS", "OUTPUT"),
        right=("TIME", "ROWS"),
        cut=("STEP", "OUTPUT"),
        whole=f"`{typed('log', run.run_id[:8], '--json')}` shows it in full.",
    )
    for step in steps:
        shown.add_row(step.label, step.status, seconds(step.elapsed_s), rows_words(step), step.output_path or "")
    say(shown)
    if lines:
        say("")
    for line in lines:
        say(f"{local_time(line.created_at_utc)}  {line.level:7}  {line.step or '-'}: {line.message}")
    return 0


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
        say(f"{letter}  run {run.run_id[:8]}  {run.flow}  {run.status}, {started(run)}, {seconds(run.elapsed_s)}")
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
        say(f"Forgot {counted(gone, 'run')} of {what}; every source is due again.")
    return 0


def _confirmed(question: str) -> bool:
    if not is_terminal(sys.stdin):
        raise FlowValidationError(
            "reset forgets history and there is no terminal to ask on",
            where="data-engine reset",
            fix="add --yes to confirm",
        )
    return typer.confirm(visible(question), err=True)

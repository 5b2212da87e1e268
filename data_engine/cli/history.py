"""`compare`, `rejected`, `tidy`, `reset` and `backfill`: differences of runs, the rows and outputs that they rejected and left behind, and
how to forget them or run them again for a range."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from data_engine.cli.options import (
    AsJson,
    Params,
    SomeFlowName,
    Wait,
    chosen_workspace,
    done,
    in_flow_modules,
    is_confirmed,
    named,
    say_left,
)
from data_engine.cli.output import complain, print_json, say, table
from data_engine.commands.fields import help_of
from data_engine.commands.runs import StartBackfill
from data_engine.engine.params import value_words
from data_engine.errors import FlowValidationError
from data_engine.flow.parameters import read_params
from data_engine.formatting import cli_line, first_few, local_time, path_in, plural, zoned_words
from data_engine.platforms.terminals import is_terminal
from data_engine.status.sentences import none_named_words, nothing_words, other_words, range_words

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.model import Backfill


def rejected(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="NAME", callback=named, help="A flow; else all.")] = None,
    excel: Annotated[str | None, typer.Option("--excel", metavar="FILE", help="Write the rows as a workbook.")] = None,
    as_json: AsJson = False,
) -> int:
    """The rows that checks reject now, with the rules they break; `--excel` gives them to whoever owns the data."""
    from data_engine.engine.quarantine import check_workbook_name, write_workbook

    if excel is not None:
        check_workbook_name(excel)
    entries = chosen_workspace(ctx).rejected(name)
    if not as_json and not entries:
        say("No rows are rejected.")
    path = write_workbook(entries, excel) if excel is not None and entries else None
    if as_json:
        print_json([entry.as_dict() for entry in entries])
    elif entries:
        shown = table("FLOW", "SOURCE", "ROWS", "RULES", right=("ROWS",), cut=("SOURCE", "RULES"))
        for entry in entries:
            rules = ", ".join(f"{rule} {count:,}" for rule, count in entry.rules.items())
            shown.add_row(entry.flow, entry.source or "", f"{entry.rows:,}", rules)
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
    from data_engine.status.deployed_before import find_flow

    if (flow is None) == (not every):
        raise FlowValidationError(
            "reset needs either a flow or --all",
            where="data-engine reset",
            fix="data-engine reset FLOW, or data-engine reset --all",
        )
    ws = chosen_workspace(ctx)
    if flow is not None and not ws.runs(flow, 1):
        find_flow(ws.home, flow)
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

    rows = ws.left_behind(name)
    elsewhere = _elsewhere(ws, name)
    if as_json:
        moved = ws.set_aside(name) if yes else []
        print_json(
            {"left": [row.as_dict() for row in rows], "moved": [str(path) for path in moved], "elsewhere": elsewhere}
        )
        return 0
    if elsewhere:
        complain(elsewhere_words(elsewhere), style="yellow")
    if not rows:
        say("No output is left of a source that is gone.")
        return 0
    shown = table("FLOW", "OUTPUT", "WRITTEN", "SOURCE, WHICH IS GONE")
    for row in rows:
        shown.add_row(
            row.flow,
            path_in(ws.root, row.path),
            local_time(row.at_utc),
            "" if row.source is None else path_in(ws.root, row.source),
        )
    say(shown)
    again = cli_line("tidy", *([] if name is None else [name]))
    can_ask = is_terminal(sys.stdin)
    if not yes and not (can_ask and typer.confirm(f"Move {plural(len(rows), 'file')} aside?", err=True)):
        complain(f"Nothing was moved. To move them aside: {again} --yes", style="yellow")
        return 0
    moved = ws.set_aside(name)
    say(f"Moved {plural(len(moved), 'file')} aside. To have them back: {again} --back")
    for reader in readers_of({Path(row.mirror) for row in rows}, ws.flows()):
        complain(
            f"{reader} reads there, but does not become due; to run it again: {cli_line('run', reader)}", style="yellow"
        )
    return 0


def _elsewhere(ws: Workspace, name: str | None) -> list[str]:
    """The outputs that are known only by a former path."""
    from data_engine.engine.left_behind import MOST_RUNS, known_elsewhere
    from data_engine.ledger.outputs import written_here

    flows = [flow for flow in ws.flows() if name is None or flow.name == name]
    return [file.path for file in known_elsewhere(written_here(ws.home.ledger(), ws.layout, MOST_RUNS), flows)]


def elsewhere_words(paths: Sequence[str]) -> str:
    """The sentence about outputs that are known only by a former path.

    Example:
        >>> elsewhere_words(["/old/a.csv"])
        '1 output is known only by its former path, whose folder does not exist any more, and is not listed: /old/a.csv'
    """
    words = "is known only by its former path" if len(paths) == 1 else "are known only by their former paths"
    listed = "is not listed" if len(paths) == 1 else "are not listed"
    return f"{plural(len(paths), 'output')} {words}, whose folder does not exist any more, and {listed}: {first_few(paths, 3)}"


_SHOWN = 20


def backfill(
    ctx: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME|ID", help="The flow; or with --status, --stop or --retry, the id of a backfill."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="D", help=f"{help_of(StartBackfill, 'since')[:-1]}: 2013-03-01, 2013-03."),
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="D", help=help_of(StartBackfill, "until"))] = None,
    where: Annotated[
        str | None,
        typer.Option("--where", metavar="GLOB", help=help_of(StartBackfill, "where")),
    ] = None,
    param: Params = None,
    reprocess: Annotated[
        Literal["failed", "missing", "all"],
        typer.Option("--reprocess", help=help_of(StartBackfill, "reprocess")),
    ] = "failed",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Show the progress of all backfills, or of the one with this ID.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the backfill ID: no more of its runs begin.")] = False,
    retry: Annotated[
        bool,
        typer.Option(
            "--retry",
            help="Run the failed runs of the backfill ID again, and those that --stop prevented.",
        ),
    ] = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> int:
    """Run a flow again for a range: its files by their time and name, or the slots of its schedule.

    First it shows exactly what would run, and asks. Then the daemon does the runs, after everything that is due; `--status`
    shows the progress. It goes on after a crash or a hand-over.
    """
    chosen = _single_option({"--status": status, "--stop": stop, "--retry": retry})
    ws = chosen_workspace(ctx)
    if chosen == "--status":
        return _tell(ws, name, as_json)
    if name is None:
        raise FlowValidationError(
            "which flow?" if chosen is None else "which backfill?",
            where="data-engine backfill",
            fix="data-engine backfill NAME" if chosen is None else f"data-engine backfill {chosen} ID",
        )
    if chosen is not None:
        answer = ws.stop_backfill(name, wait) if chosen == "--stop" else ws.retry_backfill(name, wait)
        if answer is None:
            return say_left(as_json)
        return _say_backfill(answer, as_json) if as_json else _say_done(answer, chosen)
    params = read_params(param)
    with _daemon_only_if_needed(ws) as needed:
        shown = ws.backfill(name, since, until, where, params, reprocess, dry_run=True)
        assert shown is not None
        if not shown.total:
            return done(shown.as_dict(), none_named_words(shown) or nothing_words(shown), as_json)
        if not yes:
            if as_json and not is_terminal(sys.stdin):
                print_json(shown.as_dict())
                return 0
            _say_plan(shown)
            question = f"Run {'it' if shown.total == 1 else 'these'} now?"
            if not is_confirmed(question, f"that would be {plural(shown.total, 'run')}", "backfill"):
                say("Nothing was started.")
                return 1
        needed.set()
    begun = ws.backfill(name, since, until, where, params, reprocess, wait=wait, digest=shown.digest)
    if begun is None:
        return say_left(as_json)
    text = f"Backfill {begun.id[:8]} of {begun.flow}: {plural(begun.total, 'run')}, after everything that is due."
    return done(begun.as_dict(), f"{text}\n{_how_far(begun)}", as_json)


def _how_far(backfill: Backfill) -> str:
    short = backfill.id[:8]
    return (
        f"Its progress: {cli_line('backfill', '--status', short)}; to end it: {cli_line('backfill', '--stop', short)}"
    )


def _say_done(backfill: Backfill, option: str) -> int:
    """Print the state of a backfill that was stopped or retried."""
    short = backfill.id[:8]
    if option == "--stop":
        say(
            f"Backfill {short} of {backfill.flow} is stopped after {backfill.ended:,} of {plural(backfill.total, 'run')}: no more runs begin, and a run that has begun goes on to its end."
        )
        say(f"To run the rest, and the failed runs again: {cli_line('backfill', '--retry', short)}")
    else:
        again = plural(backfill.total - backfill.ended + backfill.failed, "run")
        say(
            f"Backfill {short} of {backfill.flow} goes on: {again} that failed or did not begin, after everything that is due."
        )
        say(_how_far(backfill))
    return 0


@contextmanager
def _daemon_only_if_needed(ws: Workspace) -> Iterator[Event]:
    """End the daemon that the block starts to look, unless the event is set, or the daemon has other work by then."""
    needed = Event()
    before = _pid_of_daemon(ws)  # a daemon that is about to end is not the one that the block finds
    try:
        yield needed
    finally:
        if not needed.is_set() and _pid_of_daemon(ws) not in (before, None):
            with suppress(FlowValidationError):
                status = ws.status()
                if not (status.engine.on or status.service.installed or status.active_runs or status.waiting_runs):
                    ws.shutdown()


def _pid_of_daemon(ws: Workspace) -> int | None:
    daemon = ws.link.find()
    return None if daemon is None else daemon.endpoint.pid


def _single_option(options: Mapping[str, bool]) -> str | None:
    """The single option that is set; None without one."""
    names = [option for option, is_given in options.items() if is_given]
    if len(names) > 1:
        what = f"{' and '.join(names)} cannot be combined"
        raise FlowValidationError(what, where="data-engine backfill", fix="give one")
    return names[0] if names else None


def _say_plan(shown: Backfill) -> None:
    for run in shown.planned[:_SHOWN]:
        say(
            f"  {'  '.join(filter(None, [zoned_words(run.scheduled_for, shown.tz), run.source]))}".rstrip()
            or "  (the whole folder)"
        )
    if len(shown.planned) > _SHOWN:
        say(f"  and {len(shown.planned) - _SHOWN:,} more")
    params = ", ".join(f"{name}={value_words(value)}" for name, value in shown.params.items())
    by = "".join(f", {words}" for words in (range_words(shown), f"with {params}" if params else "") if words)
    say(f"{shown.flow}: {shown.total:,} of {shown.known['all']:,} in the range{by}")
    if others := [*other_words(shown)]:
        chosen = (
            "those whose last run failed or that are held"
            if shown.reprocess == "failed"
            else "those that never succeeded"
        )
        say(" ".join([f"Only {chosen}.", *others]))


def _tell(ws: Workspace, which: str | None, as_json: bool) -> int:
    if which is not None and not any(flow.name == which for flow in ws.status().flows):
        return _say_backfill(ws.backfill_status(which), as_json)
    entries = ws.backfills(which)
    if as_json:
        print_json([entry.as_dict() for entry in entries])
    elif not entries:
        say("No backfills.")
    else:
        shown = table("BACKFILL", "FLOW", "ASKED BY", "AT", "PROGRESS")
        for entry in entries:
            shown.add_row(entry.id[:8], entry.flow, entry.by, local_time(entry.at_utc), entry.text)
        say(shown)
    return 0


def _say_backfill(backfill: Backfill, as_json: bool) -> int:
    if as_json:
        print_json(backfill.as_dict())
        return 0
    say(f"backfill {backfill.id}  {backfill.flow}  asked by {backfill.by}, {local_time(backfill.at_utc)}")
    say(backfill.text)
    bad = [run for run in backfill.runs if run.status not in ("success", "started")]
    for run in bad[:_SHOWN]:
        slot = zoned_words(run.scheduled_for, backfill.tz)
        why = (run.error or run.cause or "").partition("\n")[0]
        complain(f"  {run.status:9} {'  '.join(filter(None, [slot, run.source]))}  run {run.run_id[:8]}  {why}")
    if backfill.failed and backfill.state != "running":
        again = cli_line("backfill", "--retry", backfill.id[:8])
        say(f"To run the {plural(backfill.failed, 'failed run')} again: {again}")
    return 0

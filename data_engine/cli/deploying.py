"""`deploy`, `undeploy`, `deployments`, `rollback` and `restore`: what production runs and ran, the modules that it does not run, and how to go back."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.options import (
    AsJson,
    FlowName,
    SomeFlowName,
    Wait,
    chosen_workspace,
    done,
    in_flow_modules,
    say_settings,
)
from data_engine.cli.output import complain, print_json, say, table
from data_engine.client import outcome_of
from data_engine.commands.deployments import Deploy
from data_engine.commands.fields import help_of
from data_engine.errors import FlowValidationError
from data_engine.platforms.terminals import is_terminal
from data_engine.status.deploy_lines import going_live_lines, is_engine_on, lines_after
from data_engine.status.deployed_before import deployment_cells, rolled_back_words
from data_engine.status.sentences import undeployed_words

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.commands.deployments import Outcome
    from data_engine.model import Deployment
    from data_engine.scheduler.folder_poller import KnownSources
    from data_engine.status.deploy_lines import FilesBefore, Starting


Note = Annotated[str, typer.Option("--note", metavar="TEXT", help=help_of(Deploy, "note"))]
Yes = Annotated[
    bool, typer.Option("--yes", help="Do not ask, and deploy even if another deployed flow writes to the same mirror.")
]


def deploy(
    ctx: typer.Context,
    name: SomeFlowName = None,
    note: Note = "",
    yes: Yes = False,
    approve: Annotated[bool, typer.Option("--approve", help=help_of(Deploy, "approve"))] = False,
    replaces: Annotated[
        str | None,
        typer.Option("--replaces", metavar="FLOW", help="The earlier flow that NAME replaces; its notebook is gone."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would go live, how it runs by itself, and what starts.")
    ] = False,
    wait: Wait = True,
    as_json: AsJson = False,
) -> int:
    """Let production run the modules as they are now: the flow NAME alone, or every one that nobody has undeployed.

    Without NAME it first shows what would go live, how it runs by itself, and what starts at once, and asks; without a terminal it
    needs --yes. Only what compiles, builds and has steps is deployed. Ends with 1 when a module is not deployed; its flow stays on
    the last deployment, and `rollback` takes a deployment back.
    """
    ws = chosen_workspace(ctx)
    if dry_run:
        _say_going_live(ws, name, as_json)
        return 0
    if name is None and not yes and not _is_wanted(ws, as_json):
        say("Nothing was deployed.")
        return 1
    from data_engine.status.offline import OfflineFacts

    memories = {} if name is None else {name: OfflineFacts(ws.home).memory(name)}
    with in_flow_modules(ws):
        outcome = outcome_of(ws, Deploy(name, note, yes, approve, replaces), wait)
    return say_left(as_json) if outcome is None else _tell(ws, name, outcome, memories, note, as_json)


def _tell(
    ws: Workspace, name: str | None, outcome: Outcome, memories: Mapping[str, KnownSources], note: str, as_json: bool
) -> int:
    """Print the outcome; the exit code."""
    from data_engine.deploy.sets import lost_words
    from data_engine.status.deploy_lines import starting_now
    from data_engine.status.deployed_before import left_out

    entries, new = outcome.entries, outcome.deployments
    refused = [entry for entry in entries if entry.error is not None]
    left = left_out(ws.home, {entry.name for entry in entries}) if name is None else {}
    starts = starting_now(ws.home, new, entries, memories)
    if as_json:
        print_json([*_as_json(ws, outcome, starts), *_left_as_json(ws, left)])
    else:
        say_settings(ws)
        _say_entries(ws, outcome, is_named=name is not None)
        if note and not (new or refused):
            complain("warning: the note is not kept: nothing was deployed that it would belong to", style="yellow")
        for flow in sorted(outcome.mended):
            say(f"repaired      {flow}: deployed files were missing or damaged, and are restored")
        if outcome.lost:
            complain(lost_words(outcome.lost), style="red")
        starting, others = lines_after(ws.home, new, entries, starts, left, cache(ws.status))
        for line in starting:
            say(line)
        warnings = dict.fromkeys(f"warning: {warning}" for entry in entries for warning in entry.warnings)
        for line in (*others, *warnings, *_unknown_elsewhere(ws)):
            complain(line, style="yellow")
    return 1 if refused or outcome.lost else 0


def _is_wanted(ws: Workspace, as_json: bool) -> bool:
    """Whether everything is to go live: somebody at a terminal saw the changes, and says yes."""
    if not is_terminal(sys.stdin):
        what = "without a name every module goes live, and there is no terminal to ask on"
        fix = "name the flow; or add --yes to confirm; --dry-run only lists"
        raise FlowValidationError(what, where="data-engine deploy", fix=fix)
    if as_json:
        return True
    going = _say_going_live(ws, None, as_json=False)
    return not going or typer.confirm(f"Deploy {'it' if going == 1 else f'all {going}'}?", err=True)


def _say_going_live(ws: Workspace, name: str | None, as_json: bool) -> int:
    """Print what a deploy would change, a line for each flow; the number of lines."""
    from data_engine.status.deploy_lines import going_live

    with in_flow_modules(ws):
        going = going_live(ws.home, name)
    if as_json:
        is_on = is_engine_on(ws.status())
        print_json(
            [
                asdict(row) | {"deployment_status": row.deployment_status.as_dict(), "text": row.text(is_on=is_on)}
                for row in going
            ]
        )
        return len(going)
    for line in going_live_lines(going, ws.status):
        say(f"would change  {line}")
    if not going:
        say("Nothing would change.")
    return len(going)


def _as_json(ws: Workspace, outcome: Outcome, starts: Mapping[str, Starting]) -> list[dict[str, Any]]:
    """The outcome of each module, for programs."""
    from data_engine.status.deploy_lines import files_before

    changed = {row.flow for row in outcome.deployments}
    files = files_before(ws.home, outcome.deployments, outcome.entries)
    statuses = ws.home.deployments().statuses(entry.name for entry in outcome.entries)
    return [
        _row(entry.name, str(entry.path), files.get(entry.name), starts.get(entry.name))
        | {
            "warnings": list(entry.warnings),
            "error": None if entry.error is None else entry.error.as_dict(),
            "changed": entry.error is None and entry.name in changed,
            "mended": entry.name in outcome.mended,
        }
        | statuses[entry.name].as_json()
        for entry in outcome.entries
    ]


def _left_as_json(ws: Workspace, left: Mapping[str, Deployment]) -> list[dict[str, Any]]:
    """What a deploy of everything left out, for programs: who undeployed it, and when."""
    from data_engine.notebook.flow_files import module_files

    files = module_files(ws.layout.flow_modules_dir)
    statuses = ws.home.deployments().statuses(left)
    return [
        _row(flow, str(files[flow][0])) | {"left_out": {"by": row.who, "at_utc": row.at_utc}} | statuses[flow].as_json()
        for flow, row in left.items()
    ]


def _row(flow: str, path: str, files: FilesBefore | None = None, starts: Starting | None = None) -> dict[str, Any]:
    """The row of a module without an outcome."""
    from data_engine.status.deploy_lines import FilesBefore, Starting

    plain: dict[str, Any] = {"warnings": [], "error": None, "changed": False, "mended": False, "left_out": None}
    facts = {"files_before": asdict(files or FilesBefore()), "starts": asdict(starts or Starting())}
    return {"name": flow, "path": path} | plain | facts


def _say_entries(ws: Workspace, outcome: Outcome, *, is_named: bool) -> None:
    """Print the outcome of each module; several unchanged ones as a number. The repaired ones are printed elsewhere."""
    from data_engine.proof.verdict_store import compared

    changed = {row.flow for row in outcome.deployments}
    names = {*changed, *outcome.mended, *outcome.lost}
    verdicts = [compared(ws.home, entry.path) for entry in outcome.entries] if is_named else []
    how = "".join(f"; {verdict.words}" for verdict in verdicts if verdict)
    as_before = [entry for entry in outcome.entries if entry.error is None and entry.name not in names]
    for entry in outcome.entries:
        if entry.error is not None:
            complain(f"not deployed  {entry.path.name}: {entry.error}", style="red")
        elif entry.name in changed:
            say(f"deployed      {entry.path.name}{how}")
    if as_before:
        what = as_before[0].path.name if len(as_before) == 1 else f"{len(as_before):,} flows"
        say(f"unchanged     {what}: as deployed before{how}")


def undeploy(ctx: typer.Context, name: FlowName, note: Note = "", wait: Wait = True, as_json: AsJson = False) -> int:
    """Stop running a flow in production, whether its notebook is there or gone. `rollback` undoes that."""
    row = chosen_workspace(ctx).undeploy(name, note, wait)
    if row is None:
        return say_left(as_json)
    return done(row.as_dict(), undeployed_words(name), as_json)


def _unknown_elsewhere(ws: Workspace) -> Iterator[str]:
    """Warn that the share is away or damaged: other workstations do not know yet what is deployed."""
    lease = ws.lease()
    if lease.state in ("unreachable", "damaged"):
        fix = f"; fix: {lease.fix}" if lease.damage is not None else ""
        yield f"warning: other workstations do not know yet what is deployed: {lease.words}{fix}"


def say_left(as_json: bool) -> int:
    """Say that the owner was asked, and what shows its answer; exit code 0."""
    return done({"asked": True}, "The owner was asked; `data-engine status` shows the answer.", as_json)


To = Annotated[str | None, typer.Option("--to", metavar="ID", help="A deployment's id, or its beginning.")]


def deployments(ctx: typer.Context, name: SomeFlowName = None, as_json: AsJson = False) -> int:
    """The history of deployments of one flow, or of all; newest first."""
    from data_engine.status.deployed_before import find_flow

    ws = chosen_workspace(ctx)
    history = ws.deployments(name)
    if not history and name is not None:  # it may be the id of one
        history = [row for row in ws.deployments() if row.id.startswith(name)]
        if not history:
            find_flow(ws.home, name)
    shown = table("ID", "FLOW", "WHEN", "WHO", "WHAT", "CHANGED", "GIT", "COMPARED", "NOTE", wrap=("COMPARED",))
    for row in history:
        shown.add_row(row.id[:8], *deployment_cells(row))
    none = "Nothing was deployed yet." if name is None else f"{name} was not deployed yet."
    return done([row.as_dict() for row in history], shown if history else none, as_json)


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
    say(rolled_back_words(ws.home.ledger(), row))
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
    written = [str(path) for path in chosen_workspace(ctx).restore(name, to, copy=copy)]
    return done({"written": written}, "\n".join(f"wrote {path}" for path in written), as_json)

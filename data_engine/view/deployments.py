"""Deployments: what production runs and ran, the modules that it does not run, and how to go back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from data_engine.client import outcome_of
from data_engine.commands.deployments import Deploy, Rollback
from data_engine.commands.fields import help_of
from data_engine.display_hook import Listing
from data_engine.errors import FlowValidationError, NotAsInKernelError
from data_engine.formatting import cli_line, plural
from data_engine.marks import Mark
from data_engine.notebook.deployments import changed_config
from data_engine.notebook.flow_files import module_files
from data_engine.proof.verdict_store import compared, last_verdict
from data_engine.status.deploy_lines import (
    FilesBefore,
    Starting,
    feeds_lines,
    files_before,
    going_live,
    going_live_lines,
    is_engine_on,
    lines_after,
    starting_now,
)
from data_engine.status.deployed_before import deployment_cells, find_flow, left_out, rolled_back_text
from data_engine.status.offline import OfflineFacts
from data_engine.status.sentences import undeployed_text
from data_engine.view.card import Card, Cell, Column, Lines, Note, Part, run_id, table
from data_engine.view.flows import FlowName, settings_warnings
from data_engine.view.verb import Answer, Option, Place, Wait, said, was_asked

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.commands.deployments import Outcome
    from data_engine.engine.local_workspace import LocalWorkspace
    from data_engine.model import Deployment
    from data_engine.proof.verdict import Verdict
    from data_engine.status.deploy_lines import GoingLive

NoteText = Annotated[str, Option(help_of(Deploy, "note"), "TEXT", ("--note",))]
To = Annotated[str | None, Option(help_of(Rollback, "to"), "ID")]


# -- deploy -----------------------------------------------------------------------------------------------------------


def deploy(
    place: Place,
    name: FlowName = None,
    every: Annotated[bool, Option("Every flow of the workspace.", flags=("--all",))] = False,
    note: NoteText = "",
    yes: Annotated[
        bool,
        Option(
            "Do not ask; with NAME also deploy even if another deployed flow writes to the same mirror, the notebook has unsaved edits, or"
            " its kernel holds other values."
        ),
    ] = False,
    approve: Annotated[bool, Option(help_of(Deploy, "approve"))] = False,
    replaces: Annotated[
        str | None, Option("The earlier flow that NAME replaces; its notebook is gone.", "FLOW")
    ] = None,
    dry_run: Annotated[bool, Option("Only show what would go live, how it runs by itself, and what starts.")] = False,
    wait: Wait = True,
) -> Answer:
    """Let production run the modules as they are now: the flow NAME alone, or every one that nobody has undeployed.

    In a terminal every flow is meant without NAME, in a cell that of the notebook. Before all are deployed it shows what would go
    live, how it runs by itself, and what starts at once, and asks, unless nothing would change. Only what compiles, builds and has steps is
    deployed. Ends with 1 when a module is not deployed; its flow stays on the last deployment, and `rollback` takes a deployment back.
    """
    if every and name is not None:
        fix = f"{cli_line('deploy', name)}, or {cli_line('deploy', '--all')}"
        raise FlowValidationError(f"--all and the name {name!r} cannot be combined", where="deploy", fix=fix)
    ws = place.workspace
    name = None if every else place.own_name(name)
    if dry_run or (name is None and not yes):
        with place.inside():
            going = going_live(ws.home, name)
        if dry_run:
            return _going_live(ws, going)
        question = Card(_question(going), (), _going_live_card(ws, going).parts)
        if going and not place.confirm(question, "without a name every module goes live", yes=yes):
            return said("Nothing was deployed.", [], code=1)
    if name is not None and not yes:
        _require_saved(place, name)
    force = yes and name is not None  # of all, a yes means what runs by itself, and not what each flow asks of its own
    return _deployed(place, name, Deploy(name, note, force, approve, replaces), wait)


def _question(going: Sequence[GoingLive]) -> str:
    """What is asked before a deploy of everything; the flows that it ends are named."""
    ends, deploys = [row.flow for row in going if row.ends], [row.flow for row in going if not row.ends]
    what = f"all {len(deploys)}" if len(deploys) > 1 else deploys[0] if ends and deploys else "it"
    words = " and ".join([*([f"deploy {what}"] if deploys else []), *([f"undeploy {', '.join(ends)}"] if ends else [])])
    return f"{words[:1].upper()}{words[1:]}?"


def _require_saved(place: Place, name: str) -> None:
    if words := place.unsaved(find_flow(place.workspace.home, name)):
        what = f"{words}: production would get older code than these cells hold, so nothing was deployed"
        again = cli_line("deploy", name, "--yes")
        fix = f"save the notebook (Ctrl+S) and ask again; or, for the file as it is saved: {again}"
        raise FlowValidationError(what, where=cli_line("deploy", name), fix=fix)


def _deployed(place: Place, name: str | None, command: Deploy, wait: bool) -> Answer:
    """Deploy, and tell what followed."""
    ws = place.workspace
    memories = {} if name is None else {name: OfflineFacts(ws.home).memory(name)}
    before = None if name is None else last_verdict(ws.home, name)
    try:
        with place.inside():
            outcome = outcome_of(ws, command, wait)
    except NotAsInKernelError as error:
        path = ws.layout.flow_modules_dir / f"{name}.ipynb"
        question = kernel_question(ws.home, path) or Card("Deploy it all the same?", (), (Lines((error.what,)),))
        if not place.confirm(question, str(error.fix), yes=False):
            return said("Nothing was deployed.", [], code=1)
        return _deployed(place, name, replace(command, force=True), wait)
    if outcome is None:
        return was_asked()
    entries, new = outcome.entries, outcome.deployments
    left = left_out(ws.home, {entry.name for entry in entries}) if name is None else {}
    starts = starting_now(ws.home, new, entries, memories)
    refused = [entry.error for entry in entries if entry.error is not None]
    notes: list[object] = list(settings_warnings(ws))
    if command.note and not (new or refused):
        notes.append("the note is not kept: nothing was deployed that it would belong to")
    notes += [warning for entry in entries for warning in entry.warnings]
    notes += _unknown_elsewhere(ws)
    return Answer(
        lambda: _outcome_card(ws, name, outcome, left, starts, before),
        lambda: [*_as_json(ws, outcome, starts), *_left_as_json(ws, left)],
        tuple(map(Note.warning, dict.fromkeys(notes))),
        code=1 if refused or outcome.lost else 0,
        value=Listing(entries),
        error=refused[0] if name is not None and refused else None,
    )


def kernel_question(home: LocalWorkspace, path: Path) -> Card | None:
    """The question before a notebook is deployed that was not as in its kernel when they were compared last; None where it was."""
    verdict = compared(home, path)
    if verdict is None or not verdict.differences:
        return None
    lines = (f"{path.name} is not as in {verdict.kernel_text}:", *verdict.differences)
    return Card("Deploy it all the same?", (), (Lines(lines),))


def _outcome_card(
    ws: Workspace,
    name: str | None,
    outcome: Outcome,
    left: Mapping[str, Deployment],
    starts: Mapping[str, Starting],
    before: Verdict | None,
) -> Card:
    from data_engine.deploy.sets import lost_text

    starting, others = lines_after(ws.home, outcome.deployments, outcome.entries, starts, left, cache(ws.status))
    lines = [*_entry_lines(ws, outcome, is_named=name is not None)]
    lines += [
        f"repaired      {flow}: deployed files were missing or damaged, and are restored"
        for flow in sorted(outcome.mended)
    ]
    parts: list[Part] = [Lines((*lines, *starting))]
    errors = ((entry.path.name, entry.error) for entry in outcome.entries if entry.error is not None)
    parts += [Note(Mark(f"not deployed  {file}: {error}", "bad", "cross")) for file, error in errors]
    if outcome.lost:
        parts.append(Note(Mark(lost_text(outcome.lost), "bad", "cross")))
    parts.append(Lines(tuple(others)))
    if name is not None:
        parts.append(Lines(tuple(_new_verdict(ws.home, ws.layout.flow_modules_dir / f"{name}.ipynb", before))))
    return Card("", (), tuple(parts))


def _entry_lines(ws: Workspace, outcome: Outcome, *, is_named: bool) -> Iterator[str]:
    """The outcome of each module that is deployed; several unchanged ones as a number. The repaired ones are told elsewhere."""
    changed = {row.flow for row in outcome.deployments}
    names = {*changed, *outcome.mended, *outcome.lost}
    verdicts = [compared(ws.home, entry.path) for entry in outcome.entries] if is_named else []
    how = "".join(f"; {verdict.words}" for verdict in verdicts if verdict and verdict.words)
    yield from (
        f"deployed      {entry.path.name}{how}"
        for entry in outcome.entries
        if entry.error is None and entry.name in changed
    )
    as_before = [entry for entry in outcome.entries if entry.error is None and entry.name not in names]
    if as_before:
        what = as_before[0].path.name if len(as_before) == 1 else f"{len(as_before):,} flows"
        yield f"unchanged     {what}: as deployed before{how}"


def _new_verdict(home: LocalWorkspace, path: Path, before: Verdict | None) -> list[str]:
    """The verdict of a comparison that was made since `before`, as lines; of an equal one only its notes."""
    verdict = last_verdict(home, path.stem)
    if verdict is None or verdict == before:
        return []
    return list(verdict.notes(before)) if verdict.is_same else verdict_lines(verdict, path, before)


def verdict_lines(verdict: Verdict, path: Path, before: Verdict | None) -> list[str]:
    """A verdict as lines, without the notes of the verdict `before`."""
    differences = [] if verdict.is_same else [f"  {sentence}" for sentence in verdict.sentences()]
    return [f"{path.name}: {verdict.same_text} in this kernel and in production", *differences, *verdict.notes(before)]


def _going_live(ws: Workspace, going: Sequence[GoingLive]) -> Answer:
    """What a deploy would change."""

    def facts() -> Any:
        is_on = is_engine_on(ws.status())
        return [
            asdict(row) | {"deployment_status": row.deployment_status.as_dict(), "text": row.text(is_on=is_on)}
            for row in going
        ]

    return Answer(lambda: _going_live_card(ws, going), facts)


def _going_live_card(ws: Workspace, going: Sequence[GoingLive]) -> Card:
    if not going:
        return Card("Nothing would change.")
    lines = (f"- {line}" for line in going_live_lines(going, ws.status))
    return Card("", (), (Lines(("This would change:", *lines)),))


def _as_json(ws: Workspace, outcome: Outcome, starts: Mapping[str, Starting]) -> list[dict[str, Any]]:
    """The outcome of each module, for programs."""
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
    files = module_files(ws.layout.flow_modules_dir)
    statuses = ws.home.deployments().statuses(left)
    return [
        _row(flow, str(files[flow][0])) | {"left_out": {"by": row.who, "at_utc": row.at_utc}} | statuses[flow].as_json()
        for flow, row in left.items()
    ]


def _row(flow: str, path: str, files: FilesBefore | None = None, starts: Starting | None = None) -> dict[str, Any]:
    """The row of a module without an outcome."""
    plain: dict[str, Any] = {"warnings": [], "error": None, "changed": False, "mended": False, "left_out": None}
    facts = {"files_before": asdict(files or FilesBefore()), "starts": asdict(starts or Starting())}
    return {"name": flow, "path": path} | plain | facts


def _unknown_elsewhere(ws: Workspace) -> Iterator[str]:
    """Warn that the share is away or damaged: other workstations do not know yet what is deployed."""
    lease = ws.lease()
    if lease.state in ("unreachable", "damaged"):
        fix = f"; fix: {lease.fix}" if lease.damage is not None else ""
        yield f"other workstations do not know yet what is deployed: {lease.words}{fix}"


# -- what was deployed ------------------------------------------------------------------------------------------------


def deployments(place: Place, name: FlowName = None) -> Answer:
    """The history of deployments of one flow, or of all: who, when, what changed; newest first."""
    ws = place.workspace
    history = ws.deployments(name)
    if not history and name is not None:  # it may be the id of one
        history = Listing(row for row in ws.deployments() if row.id.startswith(name))
        if not history:
            find_flow(ws.home, name)
    none = "Nothing was deployed yet." if name is None else f"{name} was not deployed yet."
    return Answer(
        lambda: deployments_card(history) if history else Card(none),
        lambda: [row.as_dict() for row in history],
        value=history or None,
    )


def deployments_card(deployments: Sequence[Deployment]) -> Card:
    """What production runs and ran, a line for each deployment, in the order given."""
    rows: list[tuple[Cell, ...]] = [(run_id(row.id), *deployment_cells(row)) for row in deployments]
    columns = (Column("Id", "id"), "Flow", "When", "Who", "What", "Changed", "Git", Column("Compared", "text"), "Note")
    return Card(plural(len(deployments), "deployment"), (), (table(columns, rows),))


def undeploy(place: Place, name: FlowName = None, note: NoteText = "", wait: Wait = True) -> Answer:
    """Stop running a flow in production, whether its notebook is there or gone. `rollback` undoes that."""
    name = place.flow_name(name)
    feeds = feeds_lines(place.workspace.home, [name])
    row = place.workspace.undeploy(name, note, wait)
    return was_asked() if row is None else said("\n".join((undeployed_text(name), *feeds)), row.as_dict())


def rollback(place: Place, name: FlowName = None, to: To = None, note: NoteText = "", wait: Wait = True) -> Answer:
    """Let production run a flow as it was deployed before. The notebook stays as it is; going back is recorded like a deployment."""
    ws = place.workspace
    row = ws.rollback(place.flow_name(name), to, note, wait)
    if row is None:
        return was_asked()
    config = changed_config(ws.layout, ws.home.deployments(), row)
    words = [f"{rolled_back_text(ws.home.ledger(), row)}. The notebook stays as it is."]
    if ws.settings().deploy.gate == "golden":
        words.append("The goldens were not run: a rollback is never held up by them.")
    notes = (
        (Note.warning(f"config that has changed since, and is read as it is now: {', '.join(config)}"),)
        if config
        else ()
    )
    return said("\n".join(words), row.as_dict() | {"changed_config": config}, notes=notes)


def restore(
    place: Place,
    name: FlowName = None,
    to: To = None,
    copy: Annotated[bool, Option("Also where the notebook has another name or place now.")] = False,
) -> Answer:
    """Bring back a notebook that is gone, as it was deployed, with helpers that are gone too. Nothing is overwritten."""
    written = [str(path) for path in place.workspace.restore(place.flow_name(name), to, copy=copy)]
    return said("\n".join(f"wrote {path}" for path in written), {"written": written})

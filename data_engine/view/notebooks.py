"""Notebooks: what production takes of them, what a deploy would change in the data, and whether the goldens hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from data_engine.display_hook import Listing
from data_engine.errors import FlowValidationError, NotHeldBackError
from data_engine.flow.parameters import read_params
from data_engine.formatting import beginning, cli_line, plural
from data_engine.marks import Mark, mark_of
from data_engine.notebook.compile import compile_notebook
from data_engine.notebook.flow_files import not_flows, notebooks_in_subfolders, require_parsed
from data_engine.notebook.import_lint import module_warnings
from data_engine.notebook.read import read_cells
from data_engine.platforms.files import content_of
from data_engine.proof.verdict_store import compared, last_verdict, unsettled, with_unsettled
from data_engine.status.deploy_lines import feeds_lines
from data_engine.status.deployed_before import find_flow
from data_engine.view.card import Card, Cell, Code, Column, Faint, Lines, Note, Part, plain, table
from data_engine.view.deployments import verdict_lines
from data_engine.view.differences import goldens_card, plan_card
from data_engine.view.flows import FlowName
from data_engine.view.verb import Answer, Key, Option, Params, Place, Use, said

if TYPE_CHECKING:
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.compiled import CompiledCell, CompiledNotebook
    from data_engine.notebook.deployment_status import DeploymentStatus
    from data_engine.notebook.import_lint import ModuleWarning

_MOST_STATEMENTS = 200
_LONGEST = 60


# -- compile ----------------------------------------------------------------------------------------------------------


def compile(
    place: Place,
    name: FlowName = None,
    check: Annotated[bool, Option("Also build the flows; show only errors and warnings.", only="shell")] = False,
    run: Annotated[
        bool,
        Option("Execute all cells of NAME in a fresh kernel, and compare it with what production takes.", only="shell"),
    ] = False,
    compare: Annotated[
        bool, Option("Compare what this kernel holds with the slice, executed in a process of its own.", only="cell")
    ] = False,
    all: Annotated[bool, Option("List the cells that stay in the notebook, too.")] = False,
) -> Answer:
    """What production takes from a notebook, cell by cell, and how that differs from what is deployed.

    In a terminal without NAME, one line for each module.

    --run executes the whole notebook as its author would, with what its cells do outside: production's verbs are refused there.

    Ends with 1 when --run finds a difference, when a module does not compile or, where it is built too (--check, or without NAME), does not build; with
    --check also when a deployed module is not current.
    """
    ws, name = place.workspace, place.own_name(name)
    if run:
        return _run_and_compare(place, name)
    if name is None or check:
        return _built(place, name, is_checked=check)
    path = find_flow(ws.home, name)
    warned = module_warnings(ws.home.modules(), path)
    if path.suffix == ".py":
        return _whole_module(place, path, warned)
    try:
        compiled = compile_notebook(path)
    except FlowValidationError as error:
        raise place.failed(error) from error
    _tell_unsaved(place, path)
    lines = _comparison_lines(place, path) if compare else []
    compiled = replace(compiled, warnings=unsettled(ws.home, path, compiled.warnings))
    status, diff, verdict = ws.deployment_status(name), ws.home.deployments().diff(name), compared(ws.home, path)
    words = "" if verdict is None else verdict.words
    facts = _notebook_facts(compiled, warned) | status.as_json()
    facts |= {"diff": [{"cell": cell, "lines": lines} for cell, lines in diff.items()], "compared": words}

    def card() -> Card:
        made = compile_card(compiled, texts=cell_lines(path), deployment=status.text, diff=diff, is_whole=all)
        how = Lines(tuple(lines)) if lines else Lines(tuple(filter(None, [words and f"compared: {words}"])))
        return replace(made, parts=(*map(Note.warning, warned), how, *made.parts))

    return Answer(card, lambda: facts)


def _tell_unsaved(place: Place, path: Path) -> None:
    if words := place.unsaved(path):
        place.tell(Note(Mark(f"{words}: save it, so that this uses the same code.")))


def _comparison_lines(place: Place, path: Path) -> list[str]:
    """Compare the kernel that asks with its notebook's slice now, as lines.

    Raises:
        FlowValidationError: this is not the notebook's kernel, or its slice cannot be executed.
    """
    from data_engine.proof.kernel import compare_kernel, is_own_notebook

    names = place.names or {}
    if not is_own_notebook(names, path):
        fix = f"run the cells of {path.name} and ask there; or, in a terminal, `{cli_line('compile', path.stem, '--run')}`"
        raise FlowValidationError(
            f"{path.name} cannot be compared here: this is not its kernel, or the cell with build() has not run in it",
            where=cli_line("compile", path.stem, "--compare"),
            fix=fix,
        )
    before = last_verdict(place.workspace.home, path.stem)
    return verdict_lines(compare_kernel(place.workspace.home, path, names), path, before)


def _whole_module(place: Place, path: Path, warned: Sequence[ModuleWarning]) -> Answer:
    try:
        require_parsed(path)
    except FlowValidationError as error:
        raise place.failed(error) from error
    source = path.read_text(encoding="utf-8", errors="replace")
    facts = {"name": path.stem, "path": str(path), "source": source, "warnings": _warnings_as_json(warned), "cells": []}
    return said(
        f"{path.name} is a Python module: production runs the whole of it.",
        facts,
        notes=tuple(map(Note.warning, warned)),
    )


def _run_and_compare(place: Place, name: str | None) -> Answer:
    from data_engine.proof.kernel import run_and_compare

    if name is None:
        fix = cli_line("compile", "NAME", "--run")
        raise FlowValidationError("--run needs the name of one notebook", where="compile --run", fix=fix)
    path = find_flow(place.workspace.home, name)
    what = (
        f"Executing all cells of {path.name} in a fresh kernel, as its author would: what they do outside, they do now."
    )
    place.tell(Note(Mark(what)))
    verdict = run_and_compare(place.workspace.home, path)
    lines = (
        f"{path.name}: {verdict.same_text} in its kernel and in production",
        *(f"  {line}" for line in (*verdict.sentences(), *verdict.notes())),
    )
    return said("\n".join(lines), verdict.as_dict() | {"is_same": verdict.is_same}, code=0 if verdict.is_same else 1)


def _built(place: Place, name: str | None, *, is_checked: bool) -> Answer:
    """Every module, or the one of this name, built; one line for each."""
    ws = place.workspace
    with place.inside():
        entries: Sequence[CatalogEntry] = with_unsettled(ws.home, ws.catalog())
    if name is not None:
        find_flow(ws.home, name)
        entries = [entry for entry in entries if entry.name == name]
    statuses = ws.home.deployments().statuses(entry.name for entry in entries)
    broken = sum(entry.error is not None for entry in entries)
    edited = sum(statuses[entry.name].is_edited for entry in entries)

    def facts() -> Any:
        return [
            {
                "name": entry.name,
                "path": str(entry.path),
                "warnings": list(entry.warnings),
                "error": None if entry.error is None else entry.error.as_dict(),
            }
            | statuses[entry.name].as_json()
            for entry in entries
        ]

    def card() -> Card:
        warned = sum(bool(entry.warnings) for entry in entries)
        title = f"{plural(len(entries), 'module')}, {broken} broken, {warned} with warnings, {edited} edited"
        return Card(title, (), tuple(_module_parts(entries, statuses, is_checked=is_checked)))

    folder = ws.layout.flow_modules_dir
    others = () if name is not None else not_flows(folder, notebooks_in_subfolders(folder))
    notes = tuple(Note.warning(f"{text}.") for text in others)
    return Answer(card, facts, notes, 1 if broken or (is_checked and edited) else 0)


def _module_parts(
    entries: Sequence[CatalogEntry], statuses: Mapping[str, DeploymentStatus], *, is_checked: bool
) -> Iterator[Part]:
    told: set[str] = set()
    for entry in entries:
        status = statuses[entry.name]
        if entry.error is not None:
            yield Note(Mark(f"{entry.path.name} ({status.text}) is broken: {entry.error}", "bad", "cross"))
        elif not is_checked or status.is_edited or entry.warnings:
            yield Lines((f"good    {entry.path.name} ({status.text})",))
        for warning in entry.warnings:
            yield Note.warning(f"as above: {warning.partition(': ')[0]}" if warning in told else warning)
        told.update(entry.warnings)


def _warnings_as_json(warned: Sequence[ModuleWarning]) -> list[dict[str, Any]]:
    return [{"cell": None, **asdict(row)} for row in warned]


def _notebook_facts(compiled: CompiledNotebook, warned: Sequence[ModuleWarning]) -> dict[str, Any]:
    return {
        "name": compiled.name,
        "path": str(compiled.path),
        "source": compiled.source,
        "warnings": [*(warning.as_dict() for warning in compiled.warnings), *_warnings_as_json(warned)],
        "cells": [cell.as_dict() for cell in compiled.cells],
    }


def cell_lines(path: Path) -> dict[int, list[str]]:
    """The lines of each code cell of the notebook as it is saved, by cell number; none when it cannot be read."""
    try:
        return {cell.number: cell.text.split("\n") for cell in read_cells(content_of(path), path=path)}
    except (OSError, FlowValidationError):
        return {}


def _statement_parts(
    compiled: CompiledNotebook, texts: Mapping[int, Sequence[str]], *, is_whole: bool
) -> Iterator[Part]:
    """The table of statements, and how many cells of a flow are not in it because production takes nothing of them."""
    cells = [cell for cell in compiled.cells if cell.statements]
    is_short = compiled.is_flow and not is_whole
    shown = [cell for cell in cells if not is_short or any(statement.taken for statement in cell.statements)]
    rows = [row for cell in shown for row in _statement_rows(cell, texts.get(cell.number, ()))]
    if rows:
        columns = (Column("Cell", "number"), Column("Line", "number"), "", "Statement", Column("Why", "text"))
        yield table(columns, rows, most=_MOST_STATEMENTS)
    if len(shown) < len(cells):
        stay = plural(len(cells) - len(shown), "cell stays", "cells stay")
        yield Lines((f"{stay} in the notebook: `{cli_line('compile', compiled.name, '--all')}` lists them.",))


def _statement_rows(cell: CompiledCell, lines: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    for number, statement in enumerate(cell.statements):
        text = lines[statement.line - 1].strip() if statement.line <= len(lines) else ""
        yield (
            f"{cell.number}" if number == 0 else "",
            Faint(str(statement.line)),
            mark_of("taken" if statement.taken else "left"),
            Code(beginning(text, _LONGEST), text),
            Faint(statement.why),
        )


def compile_card(
    compiled: CompiledNotebook,
    *,
    texts: Mapping[int, Sequence[str]],
    deployment: str = "",
    diff: Mapping[int, Sequence[str]] | None = None,
    is_whole: bool = False,
) -> Card:
    """Each statement with whether production takes it and why; warnings before, the module's text after, folded.

    `texts` are the cells' lines by cell number, `deployment` its state in production, `diff` the lines of each
    cell that were removed and added since. The cells of a flow of which production takes nothing are a number, unless `is_whole`.
    """
    statements = [statement for cell in compiled.cells for statement in cell.statements]
    parts: list[Part] = []
    for warning in compiled.warnings:
        parts.append(Note.warning(f"cell {warning.cell}, line {warning.line}: {warning.message}", warning.fix))
    parts += _statement_parts(compiled, texts, is_whole=is_whole)
    if diff:
        gone = [line for cell, changed in diff.items() for line in (f"cell {cell}", *changed)]
        parts.append(Lines(tuple(gone), "deployed (-) and now (+)"))
    if compiled.is_flow:
        source = tuple(compiled.source.rstrip("\n").split("\n"))
        parts.append(Lines(source, "the module production runs", only_folded=True))
    facts: list[Cell] = [
        f"{sum(one.taken for one in statements)} of {plural(len(statements), 'statement')} in production"
    ]
    if not compiled.is_flow:
        facts = [Mark("no build(): a scratch notebook, not a flow")]
    elif deployment:
        is_current = deployment == "as deployed"
        facts.append(Mark(deployment, "good" if is_current else "warn", "disc" if is_current else "triangle"))
    if compiled.warnings:
        facts.append(plural(len(compiled.warnings), "warning"))
    return Card(compiled.path.name, tuple(facts), tuple(parts))


def compiled_card(compiled: CompiledNotebook) -> Card:
    """The card of a compiled notebook; of a workspace's with its state in production."""
    from data_engine.client import Workspace
    from data_engine.workspace.layout import FLOW_MODULES

    path = compiled.path
    if not (path.parent.name == FLOW_MODULES and compiled.is_flow):
        return compile_card(compiled, texts=cell_lines(path))
    ws = Workspace(path.parent.parent)
    diff = ws.home.deployments().diff(compiled.name)
    return compile_card(compiled, texts=cell_lines(path), deployment=ws.deployment(compiled.name), diff=diff)


# -- plan and test ----------------------------------------------------------------------------------------------------


def plan(
    place: Place,
    name: FlowName = None,
    sources: Annotated[int, Option("How many of the last sources that production has read.", "N")] = 3,
    use: Use = None,
    key: Key = None,
    param: Params = None,
    fresh: Annotated[bool, Option("Run every step, also those whose results are kept.")] = False,
    yes: Annotated[bool, Option("Run also steps that write for real, outside of the context.")] = False,
) -> Answer:
    """What deploying a flow as it is now would change: in its code, and in the data production has read.

    In a terminal without NAME, for each deployed flow that was edited. Both versions run into scratch; nothing is recorded, or changed in
    production. Ends with 0 even if there are differences, with 1 when an edit fails where what is deployed does not, or everywhere.
    """
    ws, name, params = place.workspace, place.own_name(name), read_params(param)
    names = [name] if name is not None else sorted(ws.home.deployments().edits())
    if not names:
        return said("No deployed flow was edited.", [])
    plans = []
    with place.inside():
        for flow in names:
            path = ws.layout.flow_modules_dir / f"{flow}.ipynb"
            _tell_unsaved(place, path)
            for line in _compared_lines(place, path):
                place.tell(Note(Mark(line)))
            try:
                plans.append(ws.plan(flow, sources, use, key or None, params, yes, fresh))
            except NotHeldBackError as error:
                if not _may_run_unheld(place, flow, error):
                    raise
                plans.append(ws.plan(flow, sources, use, key or None, params, True, fresh))

    def card() -> Card:
        ends = [
            f"To let production run it: {cli_line('deploy', plan.flow)}"
            for plan in plans
            if not plan.is_worse and (not plan.equal or plan.cells)
        ]
        if any(plan.is_worse for plan in plans):
            ends.append("Correct the flow first: nothing was deployed, and production still runs what is deployed.")
        cards = [plan_card(plan, samples=True) for plan in plans]
        parts = (part for card in cards for part in (Lines((_head(card),)), *card.parts))
        return Card("", (), (*parts, Lines((*feeds_lines(ws.home, names), *ends))))

    facts = [edit.as_dict() for edit in plans]
    return Answer(
        card,
        lambda: facts[0] if name is not None else facts,
        code=1 if any(edit.is_worse for edit in plans) else 0,
        value=plans[0] if name is not None else None,  # it keeps its samples out of a notebook's file
    )


def _compared_lines(place: Place, path: Path) -> list[str]:
    """A comparison with the kernel as lines: made now in the notebook's own kernel, else the last one."""
    from data_engine.proof.kernel import compare_here

    home = place.workspace.home
    before = last_verdict(home, path.stem)
    if place.names is not None and (verdict := compare_here(home, path)) is not None:
        return verdict_lines(verdict, path, before)
    last = compared(home, path)
    return [f"{path.name}: {last.words}"] if last is not None and last.words else []


def _may_run_unheld(place: Place, flow: str, error: NotHeldBackError) -> bool:
    """Whether a person lets the steps run that cannot be held back."""
    steps = [f"  {step.text}" for step in error.steps]
    lead = f"A plan of {flow} runs these steps for real, once for each version:"
    try:
        return place.names is None and place.confirm(
            Card("Run them?", (), (Lines((lead, *steps)),)), error.what, yes=False
        )
    except FlowValidationError:
        return False


def _head(card: Card) -> str:
    return "  ".join(filter(None, [card.title, *map(plain, card.facts)]))


def check(
    place: Place,
    name: FlowName = None,
    every: Annotated[bool, Option("All flows of the workspace.", flags=("--all",))] = False,
    update: Annotated[bool, Option("Where a golden differs, keep the new result; look at that first.")] = False,
) -> Answer:
    """Whether the goldens hold: of the flow NAME, or of all. Ends with 1 where one differs, or cannot be made any more."""
    ws = place.workspace
    name = None if every else place.own_name(name)
    if name is not None:
        _tell_unsaved(place, ws.layout.flow_modules_dir / f"{name}.ipynb")
    with place.inside():
        results = ws.test(name, update)
    if not results:
        return said('There are no goldens. Keep one in a notebook: build().golden(use="...", key="...")', [])
    return Answer(
        lambda: goldens_card(results, samples=True),
        lambda: [golden.as_dict() for golden in results],
        code=1 if any(golden.is_bad for golden in results) else 0,
        value=Listing(results),
    )

"""`compile`: what production takes of each notebook, and why; and whether every module becomes a flow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from data_engine.cli.failure import Failed
from data_engine.cli.options import AsJson, SomeFlowName, chosen_workspace, in_flow_modules, say_not_flows
from data_engine.cli.output import complain, print_json, say, table
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line, plural

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.compiled import CompiledNotebook
    from data_engine.notebook.deployment_status import DeploymentStatus
    from data_engine.notebook.import_lint import ModuleWarning

Check = Annotated[bool, typer.Option("--check", help="Also build the flows; show only errors and warnings.")]
Run = Annotated[
    bool,
    typer.Option(
        "--run", help="Execute all cells of NAME in a fresh kernel, and compare it with what production takes."
    ),
]


def compile_flows(
    ctx: typer.Context, name: SomeFlowName = None, check: Check = False, run: Run = False, as_json: AsJson = False
) -> int:
    """What production takes from a notebook, cell by cell, and how that differs from what is deployed.

    Without NAME, one line for each module.

    --run executes the whole notebook as its author would, with what its cells do outside: production's verbs are refused there.

    Ends with 1 when --run finds a difference, when a module does not compile or, where it is built too (--check, or without NAME), does not build; with
    --check also when a deployed module is not current.
    """
    ws = chosen_workspace(ctx)
    if run:
        return _run_and_compare(ws, name, as_json)
    if name is not None and not check:
        return _compile_one(ws, name, as_json)
    modules = _modules(ws, _built(ws, name))
    if as_json:
        print_json([module.as_json() for module in modules])
    else:
        told: set[str] = set()
        for module in modules:
            if not check or module.is_remarkable:
                module.say(told)
        if name is None:
            say_not_flows(ws)
        say(_sum_of(modules))
    is_stale = any(module.deployment_status.is_edited for module in modules)
    return 1 if any(module.is_broken for module in modules) or (check and is_stale) else 0


class _Module(NamedTuple):
    """A flow module, built, and how it stands to what production runs."""

    entry: CatalogEntry
    deployment_status: DeploymentStatus

    @property
    def is_broken(self) -> bool:
        return self.entry.error is not None

    @property
    def is_remarkable(self) -> bool:
        """Whether somebody should look at it."""
        return self.is_broken or self.deployment_status.is_edited or bool(self.entry.warnings)

    def as_json(self) -> dict[str, Any]:
        entry = self.entry
        return {
            "name": entry.name,
            "path": str(entry.path),
            "warnings": list(entry.warnings),
            "error": None if entry.error is None else entry.error.as_dict(),
        } | self.deployment_status.as_json()

    def say(self, told: set[str]) -> None:
        """Say how it is; a warning that was `told` of another module is not repeated whole."""
        entry, words = self.entry, self.deployment_status.text
        if entry.error is not None:
            complain(f"broken  {entry.path.name} ({words}): {entry.error}", style="red")
            return
        say(f"good    {entry.path.name} ({words})")
        for warning in entry.warnings:
            words = f"as above: {warning.partition(': ')[0]}" if warning in told else warning
            say(f"        warning: {words}", style="yellow")
        told.update(entry.warnings)


def _built(ws: Workspace, name: str | None) -> Sequence[CatalogEntry]:
    """Every module of the workspace, or the one of this name."""
    from data_engine.proof.kept import with_unsettled

    with in_flow_modules(ws):
        entries = with_unsettled(ws.home, ws.catalog())
    if name is None:
        return entries
    from data_engine.status.deployed_before import find_flow

    find_flow(ws.home, name)
    return [entry for entry in entries if entry.name == name]


def _modules(ws: Workspace, entries: Sequence[CatalogEntry]) -> list[_Module]:
    statuses = ws.home.deployments().statuses(entry.name for entry in entries)
    return [_Module(entry, statuses[entry.name]) for entry in entries]


def _sum_of(modules: Sequence[_Module]) -> str:
    broken = sum(module.is_broken for module in modules)
    warned = sum(bool(module.entry.warnings) for module in modules)
    edited = sum(module.deployment_status.is_edited for module in modules)
    return f"{plural(len(modules), 'module')}, {broken} broken, {warned} with warnings, {edited} edited"


def _compile_one(ws: Workspace, name: str, as_json: bool) -> int:
    from data_engine.notebook.compile import compile_notebook
    from data_engine.notebook.import_lint import module_warnings
    from data_engine.proof.kept import compared, unsettled
    from data_engine.status.deployed_before import find_flow

    path = find_flow(ws.home, name)
    if path.suffix == ".py":
        return _whole_module(ws, path, as_json)
    try:
        compiled = compile_notebook(path)
    except FlowValidationError as error:
        raise Failed(error) from error
    compiled = replace(compiled, warnings=unsettled(ws.home, path, compiled.warnings))
    status = ws.deployment_status(name)
    diff = ws.home.deployments().diff(name)
    warned = module_warnings(ws.home.modules(), path)
    verdict = compared(ws.home, path)
    words = "" if verdict is None else verdict.words
    if as_json:
        cells = [{"cell": cell, "lines": lines} for cell, lines in diff.items()]
        print_json(_notebook_facts(compiled, warned) | status.as_json() | {"diff": cells, "compared": words})
    else:
        _say_cells(compiled)
        for warning in warned:
            say(f"warning: {warning}", style="yellow")
        say(f"deployment: {status.text}")
        say(f"compared: {words}")
        for cell, lines in diff.items():
            say(f"cell {cell}, deployed (-) and now (+):")
            for line in lines:
                say(f"  {line}", style="red" if line.startswith("-") else "green")
    return 0


def _run_and_compare(ws: Workspace, name: str | None, as_json: bool) -> int:
    from data_engine.proof.kernel import run_and_compare
    from data_engine.status.deployed_before import find_flow

    if name is None:
        raise FlowValidationError(
            "--run needs the name of one notebook", where="compile --run", fix=cli_line("compile", "NAME", "--run")
        )
    path = find_flow(ws.home, name)
    if not as_json:
        say(
            f"Executing all cells of {path.name} in a fresh kernel, as its author would: what they do outside, they do now."
        )
    verdict = run_and_compare(ws.home, path)
    if as_json:
        print_json(verdict.as_dict() | {"is_same": verdict.is_same})
        return 0 if verdict.is_same else 1
    say(f"{path.name}: {'the same' if verdict.is_same else 'not the same'} in its kernel and in production")
    for line in (*verdict.told(), *verdict.notes()):
        say(f"  {line}")
    return 0 if verdict.is_same else 1


def _whole_module(ws: Workspace, path: Path, as_json: bool) -> int:
    from data_engine.notebook.flow_files import require_parsed
    from data_engine.notebook.import_lint import module_warnings

    try:
        require_parsed(path)
    except FlowValidationError as error:
        raise Failed(error) from error
    warned = module_warnings(ws.home.modules(), path)
    if as_json:
        source = path.read_text(encoding="utf-8", errors="replace")
        facts = {"name": path.stem, "path": str(path), "source": source, "warnings": _warnings_as_json(warned)}
        print_json(facts | {"cells": []})
    else:
        say(f"{path.name} is a Python module: production runs the whole of it.")
        for warning in warned:
            say(f"warning: {warning}", style="yellow")
    return 0


def _warnings_as_json(warned: Sequence[ModuleWarning]) -> list[dict[str, Any]]:
    return [
        {"message": one.message, "cell": None, "line": one.line, "fix": one.fix, "file": one.file} for one in warned
    ]


def _notebook_facts(compiled: CompiledNotebook, warned: Sequence[ModuleWarning]) -> dict[str, Any]:
    return {
        "name": compiled.name,
        "path": str(compiled.path),
        "source": compiled.source,
        "warnings": [
            {"message": warning.message, "cell": warning.cell, "line": warning.line, "fix": warning.fix}
            for warning in compiled.warnings
        ]
        + _warnings_as_json(warned),
        "cells": [cell.as_dict() for cell in compiled.cells],
    }


def _say_cells(compiled: CompiledNotebook) -> None:
    from data_engine.notebook.read import read_cells

    texts = {cell.number: cell.text.splitlines() for cell in read_cells(compiled.path.read_bytes(), path=compiled.path)}
    shown = table("CELL", "LINE", "", "STATEMENT", "WHY", right=("CELL", "LINE"))
    for cell in compiled.cells:
        lines = texts.get(cell.number, [])
        for statement in cell.statements:
            text = lines[statement.line - 1].strip() if statement.line <= len(lines) else ""
            shown.add_row(
                str(cell.number),
                str(statement.line),
                "taken" if statement.taken else "left",
                text if len(text) <= 60 else f"{text[:57]}...",
                statement.why,
                style="" if statement.taken else "dim",
            )
    say(shown)
    for warning in compiled.warnings:
        say(f"warning: {warning}", style="yellow")

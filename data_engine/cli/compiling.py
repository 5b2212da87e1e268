"""`compile`: what production takes of each notebook, and why; and whether every module becomes a flow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.options import AsJson, SomeFlowName, chosen_workspace, in_flow_modules
from data_engine.cli.outcome import Failed
from data_engine.cli.output import complain, count, print_json, say, table
from data_engine.errors import FlowValidationError

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.compile import CompiledNotebook

Check = Annotated[bool, typer.Option("--check", help="Also build the flows; say only what is wrong.")]


def compile_flows(ctx: typer.Context, name: SomeFlowName = None, check: Check = False, as_json: AsJson = False) -> int:
    """What production takes of a notebook, cell by cell.

    Without NAME, one line for each module.

    Ends with 1 when a module does not compile or, where it is built too (--check, or without NAME), does not build.
    """
    ws = chosen_workspace(ctx)
    if name is not None and not check:
        return _compile_one(ws, name, as_json)
    with in_flow_modules(ws):
        entries: Sequence[CatalogEntry] = ws.catalog()
    if name is not None:
        from data_engine.notebook.catalog import find_module

        find_module(ws.home.modules(), name)
        entries = [entry for entry in entries if entry.name == name]
    broken = [entry for entry in entries if entry.error is not None]
    if as_json:
        print_json([_module_facts(entry) for entry in entries])
    else:
        _say_modules(broken if check else entries)
        warned = sum(1 for entry in entries if entry.warnings)
        say(f"{count(len(entries), 'module')}, {len(broken)} broken, {warned} with warnings")
    return 1 if broken else 0


def _module_facts(entry: CatalogEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "path": str(entry.path),
        "warnings": list(entry.warnings),
        "error": None if entry.error is None else entry.error.as_dict(),
    }


def _say_modules(entries: Sequence[CatalogEntry]) -> None:
    for entry in entries:
        if entry.error is not None:
            complain(f"broken  {entry.path.name}: {entry.error}", style="red")
            continue
        say(f"good    {entry.path.name}")
        for warning in entry.warnings:
            say(f"        warning: {warning}", style="yellow")


def _compile_one(ws: Workspace, name: str, as_json: bool) -> int:
    from data_engine.notebook.catalog import find_module
    from data_engine.notebook.compile import compile_notebook

    path = find_module(ws.home.modules(), name)
    if path.suffix == ".py":
        return _whole_module(path, as_json)
    try:
        compiled = compile_notebook(path)
    except FlowValidationError as error:
        raise Failed(error) from error
    if as_json:
        print_json(_notebook_facts(compiled))
    else:
        _say_cells(compiled)
    return 0


def _whole_module(path: Path, as_json: bool) -> int:
    if as_json:
        source = path.read_text(encoding="utf-8", errors="replace")
        print_json({"name": path.stem, "path": str(path), "source": source, "warnings": [], "cells": []})
    else:
        say(f"{path.name} is a Python module: production runs the whole of it.")
    return 0


def _notebook_facts(compiled: CompiledNotebook) -> dict[str, Any]:
    return {
        "name": compiled.name,
        "path": str(compiled.path),
        "source": compiled.source,
        "warnings": [
            {"message": warning.message, "cell": warning.cell, "line": warning.line, "mend": warning.mend}
            for warning in compiled.warnings
        ],
        "cells": [
            {
                "number": cell.number,
                "id": cell.id,
                "statements": [
                    {"line": statement.line, "taken": statement.taken, "why": statement.why}
                    for statement in cell.statements
                ],
            }
            for cell in compiled.cells
        ],
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

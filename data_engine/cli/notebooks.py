"""`compile`, `preview`, `plan` and `test`: what production takes of notebooks, one object of a flow, what a deploy would change in the data, and
whether the goldens hold."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from data_engine.cli.options import (
    AsJson,
    FlowName,
    Params,
    SomeFlowName,
    SourcePath,
    chosen_workspace,
    in_flow_modules,
    load_module,
    say_not_flows,
    source_from_shell,
)
from data_engine.cli.output import Failed, complain, plain, print_json, say, table
from data_engine.display_hook import text_with_samples
from data_engine.errors import (
    FlowExecutionError,
    FlowValidationError,
    NotHeldBackError,
    OwnedElsewhereError,
    WorkspaceError,
)
from data_engine.flow.debug import masked_frame
from data_engine.flow.parameters import read_params
from data_engine.formatting import both_ends, cli_line, plural, visible
from data_engine.platforms.terminals import is_terminal
from data_engine.secret import knows_any, masked, masked_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from data_engine.client import Workspace
    from data_engine.flow.flow import Flow
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.notebook.compiled import CompiledNotebook
    from data_engine.notebook.deployment_status import DeploymentStatus
    from data_engine.notebook.import_lint import ModuleWarning
    from data_engine.plan.plan import NotHeldBack, Plan


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
        return _compile_flow(ws, name, as_json)
    entries = _built(ws, name)
    statuses = ws.home.deployments().statuses(entry.name for entry in entries)
    modules = [_Module(entry, statuses[entry.name]) for entry in entries]
    if as_json:
        print_json([module.as_json() for module in modules])
    else:
        warnings: set[str] = set()
        for module in modules:
            if not check or module.is_remarkable:
                module.say(warnings)
        if name is None:
            say_not_flows(ws)
        broken = sum(module.is_broken for module in modules)
        warned = sum(bool(module.entry.warnings) for module in modules)
        edited = sum(module.deployment_status.is_edited for module in modules)
        say(f"{plural(len(modules), 'module')}, {broken} broken, {warned} with warnings, {edited} edited")
    is_stale = any(module.deployment_status.is_edited for module in modules)
    return 1 if any(module.is_broken for module in modules) or (check and is_stale) else 0


class _Module(NamedTuple):
    """A flow module, built, with its state in production."""

    entry: CatalogEntry
    deployment_status: DeploymentStatus

    @property
    def is_broken(self) -> bool:
        return self.entry.error is not None

    @property
    def is_remarkable(self) -> bool:
        """Whether a person should look at it."""
        return self.is_broken or self.deployment_status.is_edited or bool(self.entry.warnings)

    def as_json(self) -> dict[str, Any]:
        entry = self.entry
        return {
            "name": entry.name,
            "path": str(entry.path),
            "warnings": list(entry.warnings),
            "error": None if entry.error is None else entry.error.as_dict(),
        } | self.deployment_status.as_json()

    def say(self, warnings: set[str]) -> None:
        """Print its state and add its warnings to `warnings`; a warning that is there already is not repeated whole."""
        entry, words = self.entry, self.deployment_status.text
        if entry.error is not None:
            complain(f"broken  {entry.path.name} ({words}): {entry.error}", style="red")
            return
        say(f"good    {entry.path.name} ({words})")
        for warning in entry.warnings:
            words = f"as above: {warning.partition(': ')[0]}" if warning in warnings else warning
            say(f"        warning: {words}", style="yellow")
        warnings.update(entry.warnings)


def _built(ws: Workspace, name: str | None) -> Sequence[CatalogEntry]:
    """Every module of the workspace, or the one of this name."""
    from data_engine.proof.verdict_store import with_unsettled

    with in_flow_modules(ws):
        entries = with_unsettled(ws.home, ws.catalog())
    if name is None:
        return entries
    from data_engine.status.deployed_before import find_flow

    find_flow(ws.home, name)
    return [entry for entry in entries if entry.name == name]


def _compile_flow(ws: Workspace, name: str, as_json: bool) -> int:
    from data_engine.notebook.compile import compile_notebook
    from data_engine.notebook.import_lint import module_warnings
    from data_engine.proof.verdict_store import compared, unsettled
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
    for line in (*verdict.sentences(), *verdict.notes()):
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
    return [{"cell": None, **asdict(row)} for row in warned]


def _notebook_facts(compiled: CompiledNotebook, warned: Sequence[ModuleWarning]) -> dict[str, Any]:
    return {
        "name": compiled.name,
        "path": str(compiled.path),
        "source": compiled.source,
        "warnings": [*(warning.as_dict() for warning in compiled.warnings), *_warnings_as_json(warned)],
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


def plan(
    ctx: typer.Context,
    name: SomeFlowName = None,
    sources: Annotated[
        int, typer.Option("--sources", metavar="N", help="How many of the last sources that production has read.")
    ] = 3,
    use: Use = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="COL", help="A column by which rows are matched. May be repeated."),
    ] = None,
    param: Params = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Run also steps that write for real, outside of the context.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """What deploying a flow as it is now would change: in its code, and in the data production has read.

    Without NAME, for each deployed flow that was edited. Both versions run into scratch; nothing is recorded, or changed in
    production. Ends with 0 even if there are differences, with 1 when an edit fails where what is deployed does not, or everywhere.
    """
    from data_engine.proof.verdict_store import compared

    ws = chosen_workspace(ctx)
    params = read_params(param)
    names = [name] if name is not None else sorted(ws.home.deployments().edits())
    plans = []
    with in_flow_modules(ws):
        for flow in names:
            is_confirmed = yes or _is_confirmed(ws, flow, as_json)
            try:
                edit = ws.plan(flow, sources, use, key or None, params, is_confirmed)
            except NotHeldBackError as error:
                if not as_json:
                    raise
                steps = [step.as_dict() for step in _unheld_steps(ws, flow)]
                print_json({"error": error.as_dict(), "not_held_back": steps})
                return 2
            plans.append(edit)
            if not as_json:
                _say_plan(edit)
                if verdict := compared(ws.home, ws.layout.flow_modules_dir / f"{flow}.ipynb"):
                    say(f"{flow}.ipynb: {verdict.words}")
    if as_json:
        print_json(plans[0].as_dict() if name is not None else [edit.as_dict() for edit in plans])
    elif not names:
        say("No deployed flow was edited.")
    return 1 if any(edit.is_worse for edit in plans) else 0


def _say_plan(plan: Plan) -> None:
    say(text_with_samples(plan))
    if plan.is_worse:
        say("Correct the edit first: nothing was deployed, and production still runs what is deployed.")
    elif not plan.equal or plan.cells:
        say(f"To let production run it: {cli_line('deploy', plan.flow)}")


def _is_confirmed(ws: Workspace, name: str, as_json: bool) -> bool:
    """Ask once, at a terminal, whether steps that cannot be held back may run."""
    if as_json or not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        return False
    steps = _unheld_steps(ws, name)
    if not steps:
        return False
    complain(f"A plan of {name} runs these steps for real, once for each version:", style="yellow")
    for step in steps:
        complain(f"  {step.text}", style="yellow")
    return bool(typer.confirm("Run them?", default=False))


def _unheld_steps(ws: Workspace, name: str) -> Sequence[NotHeldBack]:
    from data_engine.plan.making import deployed_flow, escapes

    try:
        flows = [deployed_flow(ws.home, name), ws.load_flow(name)]
    except FlowExecutionError:
        return ()
    return tuple(dict.fromkeys(step for flow in flows for step in escapes(flow)))


def check(
    ctx: typer.Context,
    name: SomeFlowName = None,
    update: Annotated[
        bool, typer.Option("--update", help="Where a golden differs, keep the new result; look at that first.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Whether the goldens hold: of the flow NAME, or of all. Ends with 1 where one differs, or cannot be made any more."""
    ws = chosen_workspace(ctx)
    with in_flow_modules(ws):
        results = ws.test(name, update)
    bad = [golden for golden in results if golden.is_bad]
    if as_json:
        print_json([golden.as_dict() for golden in results])
    elif not results:
        say('There are no goldens. Keep one in a notebook: build().golden(use="...", key="...")')
    else:
        say(text_with_samples(results))
    return 1 if bad else 0


_ROWS = 20
_MOST_TEXT = 1_000_000
"""Characters of an object that are printed; of a longer one both ends are."""

Use = Annotated[
    str | None, typer.Option("--use", metavar="OBJECT", help="The object to show; by default the last result.")
]


def preview(
    ctx: typer.Context,
    name: FlowName,
    use: Use = None,
    source: SourcePath = None,
    param: Params = None,
    write: Annotated[bool, typer.Option("--write", help="Write where production writes, not to scratch.")] = False,
    against: Annotated[
        str | None,
        typer.Option("--against", metavar="deployed", help="Show what differs from the deployed flow's object."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="COL", help="With --against: a column by which rows are matched."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Look at one object of a flow, for its first source or another. Nothing is recorded, or changed in production."""
    from data_engine.engine.candidates import pick_source
    from data_engine.engine.params import params_for
    from data_engine.engine.preview import preview as make
    from data_engine.engine.preview import steps_until
    from data_engine.engine.result_display import first_rows

    ws = chosen_workspace(ctx)
    typed = read_params(param)
    source = source_from_shell(source)
    with in_flow_modules(ws):
        flow = load_module(ws, name).flow
        step = flow.steps[steps_until(flow, use) - 1]
        if source is not None:
            pick_source(flow, source)
        params = params_for(flow, typed)
        if against is not None or key:
            return _compare(flow, {"use": use, "source": source, "params": params, "key": key}, against, write, as_json)
        try:
            value = make(flow, use=use, source=source, params=params, write=write)
            shown = without_secrets(first := first_rows(flow, step, value, _ROWS))
        except (WorkspaceError, OwnedElsewhereError):
            raise
        except FlowValidationError as error:
            raise Failed(error) from error
        if as_json:
            print_json(object_facts(shown, is_lazy=first is not value))
        else:
            text = visible(str(shown)) if isinstance(shown, os.PathLike) else str(shown)
            say(both_ends(masked(text), _MOST_TEXT))
    return 0


def without_secrets(value: object) -> object:
    """The object as it may be shown: `***` for each secret in a frame, a text, or a list or dict of texts. Cut texts could not be masked."""
    if not knows_any():
        return value
    polars: Any = sys.modules.get("polars")
    return masked_frame(value) if polars is not None and isinstance(value, polars.DataFrame) else masked_in(value)


def _compare(flow: Flow, options: dict[str, Any], against: str | None, write: bool, as_json: bool) -> int:
    """Print the difference to the deployed flow's object."""
    from data_engine.plan.making import against_deployed
    from data_engine.verbs import check_against

    check_against(against, key=options["key"], write=write)
    try:
        difference = against_deployed(flow, **options)
    except FlowExecutionError as error:
        raise Failed(error) from error
    if as_json:
        print_json(difference.as_dict())
    else:
        say(text_with_samples(difference))
    return 0


def object_facts(value: object, *, is_lazy: bool = False) -> dict[str, Any]:
    """The JSON of an object: columns, first rows and height of a frame, type and value of anything else.

    `height` is None for the first rows of a lazy frame, which nobody has counted.

    Example:
        >>> object_facts([1, None])
        {'type': 'list', 'value': [1, None]}
    """
    polars: Any = sys.modules.get("polars")
    if polars is None or not isinstance(value, polars.DataFrame):
        return {"type": type(value).__name__, "value": plain(value)}
    frame = value.head(_ROWS)
    return {
        "columns": frame.columns,
        "rows": [list(row) for row in frame.rows()],
        "height": None if is_lazy else value.height,
    }

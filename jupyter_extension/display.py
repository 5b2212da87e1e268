"""What a notebook shows for our values: the one place that knows which value becomes which card."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from data_engine.client import Workspace
from data_engine.compare.difference import Difference
from data_engine.daemon.endpoint import read_endpoint
from data_engine.display_hook import Hint, Listing
from data_engine.engine.local_workspace import settle_flow, workspace_of
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.files import file_exists
from data_engine.flow.batch import Batch
from data_engine.flow.context import FlowContext
from data_engine.flow.flow import Flow
from data_engine.formatting import beginning, plural
from data_engine.marks import Mark, mark_of
from data_engine.model import Backfill, Deployment, LogEntry, Run, StepRun
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.compiled import CompiledNotebook
from data_engine.notebook.flow_files import no_flow_there
from data_engine.notebook.read import read_cells
from data_engine.plan.golden import Golden
from data_engine.plan.plan import Plan
from data_engine.plan.results import GoldenResult
from data_engine.status.explain import Explanation
from data_engine.status.record import FlowStatus, WorkspaceStatus
from data_engine.status.run_comparison import Comparison
from data_engine.status.trends import Trends
from data_engine.workspace.layout import FLOW_MODULES, authored_folder, current_notebook, ipython_shell, kernel_shell
from jupyter_extension.card import Card, Cell, Code, Faint, Lines, Note, Part, html, table, text
from jupyter_extension.cards import (
    backfill_card,
    backfills_card,
    batch_card,
    comparison_card,
    contexts_card,
    deployments_card,
    entries_card,
    error_card,
    log_card,
    reasons_card,
    runs_card,
    status_card,
    steps_card,
)
from jupyter_extension.cell_hints import in_cell, shell_here
from jupyter_extension.commands import MAGICS
from jupyter_extension.difference_card import difference_card, golden_card, goldens_card, plan_card
from jupyter_extension.flow_picture import flow_card
from jupyter_extension.trends import trends_card


def bundle(value: Any, *, samples: bool = False) -> dict[str, Any] | None:
    """`value` as HTML and as text; None for what shows itself as it is.

    Samples of a comparison are rows of somebody's data. A live notebook shows them, in a widget whose content is not saved;
    what is saved with the notebook is without, unless `samples` are asked for.
    """
    if isinstance(value, Hint):
        return {"text/plain": _as_typed_here(value.text)}
    card = card_of(value, samples=samples)
    if card is None:
        return None
    shown: dict[str, Any] = {"text/html": html(card), "text/plain": text(card)}
    if _has_hints(value):
        shown = {mime: _as_typed_here(content, is_html=mime == "text/html") for mime, content in shown.items()}
    if samples or not _may_have_samples(value) or kernel_shell() is None:
        return shown
    with_samples = card_of(value, samples=True)
    if with_samples is None or with_samples == card:
        return shown
    return shown | _unsaved(html(with_samples))


def _as_typed_here(content: str, *, is_html: bool = False) -> str:
    """The content with its commands as a cell of this notebook takes them; as it is where no cell is."""
    shell = ipython_shell()
    if shell is None:
        return content
    command = escape(shell_here()) if is_html else shell_here()
    return in_cell(content, MAGICS if "flow" in shell.magics_manager.magics["line"] else {}, command)


def _has_hints(value: Any) -> bool:
    """Whether what is shown is ours, and may say what to type; not what a flow printed, or somebody's data."""
    kinds = {*map(type, value)} if isinstance(value, Listing) else set()
    return isinstance(value, (WorkspaceStatus, FlowValidationError, Flow)) or bool(kinds & {Explanation, CatalogEntry})


def _may_have_samples(value: Any) -> bool:
    return isinstance(value, (Difference, Plan)) or (
        isinstance(value, Listing) and any(isinstance(one, GoldenResult) for one in value)
    )


def _unsaved(content: str) -> dict[str, Any]:
    """A widget that shows this HTML; a notebook keeps its id and not its content."""
    from ipywidgets import HTML

    found = HTML(content)._repr_mimebundle_()
    data: dict[str, Any] = found[0] if isinstance(found, tuple) else found or {}
    return {mime: value for mime, value in data.items() if mime.startswith("application/")}


def card_of(value: Any, *, samples: bool = False) -> Card | None:
    """The card of a value of ours, None for one that has none; with `samples` those of a comparison are in it."""
    if isinstance(value, Difference):
        return difference_card(value, samples=samples)
    if isinstance(value, Plan):
        return plan_card(value, samples=samples)
    if isinstance(value, Golden):
        return golden_card(value)
    if isinstance(value, Flow):
        settled, live, zone = _whereabouts(value)
        source = None if settled.trigger is None else settled.trigger.source
        is_there = None if source is None else file_exists(str(source))
        trouble = _of_no_use(value)
        return flow_card(settled, now_s=time.time(), live=live, zone=zone, is_source_there=is_there, trouble=trouble)
    if isinstance(value, Batch):
        return batch_card(value)
    if isinstance(value, FlowContext):
        return contexts_card([value])
    if isinstance(value, CompiledNotebook):
        return _compile_card(value)
    if isinstance(value, FlowValidationError):
        return error_card(value, cell_link(value))
    if isinstance(value, WorkspaceStatus):
        return status_card(value)
    if isinstance(value, Backfill):
        return backfill_card(value)
    if isinstance(value, Comparison):
        return comparison_card(value)
    if isinstance(value, Trends):
        return trends_card(value)
    return _card_of_listing(value, samples) if isinstance(value, Listing) and value else None


def _card_of_listing(listing: Listing[Any], samples: bool) -> Card | None:
    kinds = set(map(type, listing))
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is Run:
        return runs_card(listing, now_s=time.time())
    if kind is StepRun:
        return steps_card(listing, now_s=time.time())
    if kind is LogEntry:
        return log_card(listing)
    if kind is FlowContext:
        return contexts_card(listing)
    if kind is CatalogEntry:
        return entries_card(
            listing, {entry.name: Workspace(entry.path.parent.parent).deployment(entry.name) for entry in listing}
        )
    if kind is Explanation:
        return reasons_card(listing)
    if kind is Backfill:
        return backfills_card(listing)
    if kind is Deployment:
        return deployments_card(listing)
    if kind is GoldenResult:
        return goldens_card(listing, samples=samples)
    return None


def cell_link(error: FlowValidationError) -> str | None:
    """Where JupyterLab finds the cell an error names, seen from this kernel's notebook; None when that cannot be known."""
    place = error.places[0] if isinstance(error, FlowExecutionError) and error.places else None
    found = current_notebook()
    if place is None or found is None or found.problem is not None:
        return None
    path = found.path.parent / place["notebook"]
    try:
        cells = read_cells(path.read_bytes(), path=path)
    except (OSError, FlowValidationError):
        return None
    number = place["cell"]
    return f"{quote(path.name)}#cell-id={quote(cells[number - 1].id)}" if 0 < number <= len(cells) else None


def _compile_card(compiled: CompiledNotebook) -> Card:
    path = compiled.path
    texts = cell_lines(path)
    if not (path.parent.name == FLOW_MODULES and compiled.is_flow):
        return compile_card(compiled, texts=texts)
    ws = Workspace(path.parent.parent)
    diff = ws.home.deployments().diff(compiled.name)
    return compile_card(compiled, texts=texts, deployment=ws.deployment(compiled.name), diff=diff)


def cell_lines(path: Path) -> dict[int, list[str]]:
    """The lines of each code cell of the notebook as it is saved, by cell number; none when it cannot be read."""
    try:
        return {cell.number: cell.text.split("\n") for cell in read_cells(path.read_bytes(), path=path)}
    except (OSError, FlowValidationError):
        return {}


def _of_no_use(flow: Flow) -> str | None:
    """Why a flow drawn in this kernel is none of its workspace: its notebook lies in a subfolder."""
    found, folder = current_notebook(), authored_folder()
    if flow.name is not None or found is None or folder is None or found.path.parent == folder:
        return None
    return no_flow_there(found.path.relative_to(folder).as_posix())


def _whereabouts(flow: Flow) -> tuple[Flow, FlowStatus | None, str | None]:
    """The flow with its name, what its daemon says of it, and its workspace's zone: as far as they can be known."""
    try:
        flow = settle_flow(flow)
        home = workspace_of(flow)
        if home is None:
            return flow, None, None
        zone = home.settings_shown().timezone
        endpoint = read_endpoint(home.local)
        if endpoint is None or not endpoint.is_alive():
            return flow, None, zone
        found = Workspace(home.layout.root).status().flows
    except FlowValidationError:  # a picture needs none of it
        return flow, None, None
    return flow, next((one for one in found if one.name == flow.name), None), zone


_MOST_STATEMENTS = 200
_LONGEST = 60


def compile_card(
    compiled: CompiledNotebook,
    *,
    texts: Mapping[int, Sequence[str]],
    deployment: str = "",
    diff: Mapping[int, Sequence[str]] | None = None,
) -> Card:
    """Each statement with whether production takes it and why; warnings before, the module's text after, folded.

    `texts` are the cells' lines by cell number, `deployment` how it stands to what is deployed, `diff` the lines of each
    cell that went and came since.
    """
    rows: list[tuple[Cell, ...]] = []
    taken = total = 0
    for cell in compiled.cells:
        lines = texts.get(cell.number, ())
        for number, statement in enumerate(cell.statements):
            total += 1
            taken += statement.taken
            text = lines[statement.line - 1].strip() if statement.line <= len(lines) else ""
            rows.append(
                (
                    f"{cell.number}" if number == 0 else "",
                    Faint(str(statement.line)),
                    mark_of("taken" if statement.taken else "left"),
                    Code(beginning(text, _LONGEST), text),
                    Faint(statement.why),
                )
            )
    parts: list[Part] = []
    for warning in compiled.warnings:
        told = Mark(f"cell {warning.cell}, line {warning.line}: {warning.message}", "warn", "triangle")
        parts.append(Note(told, warning.fix or ""))
    if rows:
        columns = ("Cell", "Line", "", "Statement", "Why")
        parts.append(table(columns, rows[:_MOST_STATEMENTS], right=("Cell", "Line"), total=len(rows)))
    if diff:
        gone = [line for cell, changed in diff.items() for line in (f"cell {cell}", *changed)]
        parts.append(Lines(tuple(gone), "deployed (-) and now (+)"))
    if compiled.is_flow:
        parts.append(
            Lines(tuple(compiled.source.rstrip("\n").split("\n")), "the module production runs", only_folded=True)
        )
    facts: list[Cell] = [f"{taken} of {plural(total, 'statement')} in production"]
    if not compiled.is_flow:
        facts = [Mark("no build(): a scratch notebook, not a flow")]
    elif deployment:
        is_current = deployment == "as deployed"
        facts.append(Mark(deployment, "good" if is_current else "warn", "disc" if is_current else "triangle"))
    if compiled.warnings:
        facts.append(plural(len(compiled.warnings), "warning"))
    return Card(compiled.path.name, tuple(facts), tuple(parts))

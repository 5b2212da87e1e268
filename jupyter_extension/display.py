"""What a notebook shows for our values: the one place that knows which value becomes which card."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from data_engine.client import Workspace
from data_engine.daemon.endpoint import read_endpoint
from data_engine.engine.compare import Comparison
from data_engine.engine.explain import Explanation
from data_engine.engine.local_workspace import settle_flow, workspace_of
from data_engine.engine.status import FlowStatus, Status
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.flow.batch import Batch
from data_engine.flow.context import FlowContext
from data_engine.flow.flow import Flow
from data_engine.model import LogEntry, Run, StepRun
from data_engine.notebook.catalog import CatalogEntry
from data_engine.notebook.compiled import CompiledNotebook
from data_engine.notebook.read import read_cells
from data_engine.shown import Listing
from data_engine.workspace.here import FLOW_MODULES, here
from jupyter_extension.card import Card, html, text
from jupyter_extension.cards import (
    batch_card,
    comparison_card,
    contexts_card,
    entries_card,
    error_card,
    log_card,
    reasons_card,
    runs_card,
    status_card,
    steps_card,
)
from jupyter_extension.compile_report import compile_card
from jupyter_extension.flow_picture import flow_card


def bundle(value: Any) -> dict[str, str] | None:
    """`value` as HTML and as text; None for what shows itself as it is."""
    card = card_of(value)
    return None if card is None else {"text/html": html(card), "text/plain": text(card)}


def card_of(value: Any) -> Card | None:
    """The card of a value of ours, None for one that has none."""
    if isinstance(value, Flow):
        settled, live, zone = _whereabouts(value)
        return flow_card(settled, now_s=time.time(), live=live, zone=zone)
    if isinstance(value, Batch):
        return batch_card(value)
    if isinstance(value, FlowContext):
        return contexts_card([value])
    if isinstance(value, CompiledNotebook):
        return _compile_card(value)
    if isinstance(value, FlowValidationError):
        return error_card(value, cell_link(value))
    if isinstance(value, Status):
        return status_card(value)
    if isinstance(value, Comparison):
        return comparison_card(value)
    return _card_of_listing(value) if isinstance(value, Listing) and value else None


def _card_of_listing(listing: Listing[Any]) -> Card | None:
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
    return None


def cell_link(error: FlowValidationError) -> str | None:
    """Where JupyterLab finds the cell an error names, seen from this kernel's notebook; None when that cannot be known."""
    place = error.places[0] if isinstance(error, FlowExecutionError) and error.places else None
    found = here()
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


def _whereabouts(flow: Flow) -> tuple[Flow, FlowStatus | None, str | None]:
    """The flow with its name, what its daemon says of it, and its workspace's zone: as far as they can be known."""
    try:
        flow = settle_flow(flow)
        home = workspace_of(flow)
        if home is None:
            return flow, None, None
        zone = home.settings().timezone
        endpoint = read_endpoint(home.local)
        if endpoint is None or not endpoint.is_alive():
            return flow, None, zone
        found = Workspace(home.layout.root).status().flows
    except FlowValidationError:  # a picture needs none of it
        return flow, None, None
    return flow, next((one for one in found if one.name == flow.name), None), zone

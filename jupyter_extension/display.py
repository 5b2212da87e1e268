"""The display of our values in a notebook: which value becomes which card.

A card's module is imported when the first value of its class is shown: a picture of a flow needs little of the package.
"""

from __future__ import annotations

import time
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from data_engine.display_hook import Hint, Listing
from data_engine.errors import FlowExecutionError, FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.notebook.flow_files import no_flow_there
from data_engine.notebook.read import read_cells
from data_engine.record import frozen
from data_engine.view.card import Card
from data_engine.view.text import text
from data_engine.view.verb import Shown
from data_engine.workspace.layout import authored_folder, current_notebook, ipython_shell, kernel_shell
from jupyter_extension.cell_hints import in_cell, shell_here
from jupyter_extension.html import html

if TYPE_CHECKING:
    from data_engine.status.record import FlowStatus


def bundle(value: Any) -> dict[str, Any] | None:
    """`value` as HTML and as text; None for a value without a card.

    Samples of a comparison are rows of somebody's data. A live notebook shows them, in a widget whose content is not saved;
    the saved output has none.
    """
    kind = _kind_of(value)
    is_answer = isinstance(value, (Shown, Listing)) and not (kind is not None and kind.has_samples)
    if is_answer and (answered := getattr(value, "card", None)) is not None:
        shown = _drawn(answered)
        return {mime: _as_typed_here(content, is_html=mime == "text/html") for mime, content in shown.items()}
    if isinstance(value, Hint):
        return {"text/plain": _as_typed_here(value.text)}
    card = None if kind is None else kind.card(value, False)
    if kind is None or card is None:
        return None
    shown = _drawn(card)
    if kind.has_hints:
        shown = {mime: _as_typed_here(content, is_html=mime == "text/html") for mime, content in shown.items()}
    if not kind.has_samples or kernel_shell() is None:
        return shown
    with_samples = kind.card(value, True)
    if with_samples is None or with_samples == card:
        return shown
    return shown | _widget(html(with_samples))


def _drawn(card: Card) -> dict[str, Any]:
    return {"text/html": html(card), "text/plain": text(card)}


def _as_typed_here(content: str, *, is_html: bool = False) -> str:
    """The content with its commands as a cell of this notebook takes them; unchanged outside of a notebook."""
    shell = ipython_shell()
    if shell is None or "data-engine " not in content:
        return content
    from jupyter_extension.commands import magics

    command = escape(shell_here()) if is_html else shell_here()
    return in_cell(content, magics() if "flow" in shell.magics_manager.magics["line"] else {}, command)


def _widget(content: str) -> dict[str, Any]:
    """A widget that shows this HTML; a notebook keeps its id and not its content."""
    from ipywidgets import HTML

    output = HTML(content)._repr_mimebundle_()
    data: dict[str, Any] = output[0] if isinstance(output, tuple) else output or {}
    return {mime: value for mime, value in data.items() if mime.startswith("application/")}


def _kind_of(value: Any) -> _Kind | None:
    """The kind of a value, None where it has no card; of a listing by the class of all its elements."""
    if not isinstance(value, Listing):
        return next((kind for cls in type(value).__mro__ if (kind := _KINDS.get(_name_of(cls))) is not None), None)
    classes = set(map(type, value))
    return _LISTINGS.get(_name_of(classes.pop())) if len(classes) == 1 else None


def _name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def cell_link(error: FlowValidationError) -> str | None:
    """The link to the cell that an error names, relative to this kernel's notebook; None where it is not known."""
    place = error.places[0] if isinstance(error, FlowExecutionError) and error.places else None
    notebook = current_notebook()
    if place is None or notebook is None or notebook.problem is not None:
        return None
    path = notebook.path.parent / place["notebook"]
    try:
        cells = read_cells(path.read_bytes(), path=path)
    except (OSError, FlowValidationError):
        return None
    number = place["cell"]
    return f"{quote(path.name)}#cell-id={quote(cells[number - 1].id)}" if 0 < number <= len(cells) else None


def _flow(flow: Flow) -> Card:
    from data_engine.files import file_exists
    from data_engine.view.flow_picture import flow_card

    settled, live, zone = _whereabouts(flow)
    source = None if settled.trigger is None else settled.trigger.source
    is_there = None if source is None else file_exists(str(source))
    trouble = _trouble_of(flow)
    return flow_card(settled, now_s=time.time(), live=live, zone=zone, is_source_there=is_there, trouble=trouble)


def _error(error: FlowValidationError) -> Card:
    from data_engine.view.errors import error_card

    return error_card(error, cell_link(error))


def _entries(listing: Any) -> Card:
    from data_engine.client import Workspace
    from data_engine.view.flows import entries_card

    deployments = {entry.name: Workspace(entry.path.parent.parent).deployment(entry.name) for entry in listing}
    return entries_card(listing, deployments)


def _trouble_of(flow: Flow) -> str | None:
    """Why a flow of this kernel does not belong to the workspace: its notebook lies in a subfolder."""
    notebook, folder = current_notebook(), authored_folder()
    if flow.name is not None or notebook is None or folder is None or notebook.path.parent == folder:
        return None
    return no_flow_there(notebook.path.relative_to(folder).as_posix())


def _whereabouts(flow: Flow) -> tuple[Flow, FlowStatus | None, str | None]:
    """The flow with its name, its entry in the daemon's status, and its workspace's zone; None where not known."""
    from data_engine.engine.local_workspace import settle_flow, workspace_of

    try:
        flow = settle_flow(flow)
        home = workspace_of(flow)
        if home is None:
            return flow, None, None
        from data_engine.daemon.control import read_endpoint

        zone = home.settings_shown().timezone
        endpoint = read_endpoint(home.local)
        if endpoint is None or not endpoint.is_alive():
            return flow, None, zone
        from data_engine.client import Workspace

        flows = Workspace(home.layout.root).status().flows
    except FlowValidationError:  # a picture needs none of it
        return flow, None, None
    return flow, next((entry for entry in flows if entry.name == flow.name), None), zone


@frozen
class _Kind:
    """How values of a class are shown: the `function` that makes their card (`module.function`); whether the card
    names commands, may have samples, or needs the time."""

    function: str
    has_hints: bool = False
    has_samples: bool = False
    is_timed: bool = False

    def card(self, value: Any, samples: bool) -> Card | None:
        """The card of such a value, with samples or without."""
        module, _, name = self.function.partition(".")
        home = "jupyter_extension.display" if module == "display" else f"data_engine.view.{module}"
        more = {"samples": samples} if self.has_samples else {"now_s": time.time()} if self.is_timed else {}
        card: Card | None = getattr(import_module(home), name)(value, **more)
        return card


_KINDS = {
    "data_engine.compare.profile.Profile": _Kind("profile.profile_card"),
    "data_engine.compare.difference.Difference": _Kind("differences.difference_card", has_samples=True),
    "data_engine.plan.plan.Plan": _Kind("differences.plan_card", has_samples=True),
    "data_engine.plan.golden.Golden": _Kind("differences.golden_card"),
    "data_engine.flow.flow.Flow": _Kind("display._flow", has_hints=True),
    "data_engine.flow.batch.Batch": _Kind("results.batch_card"),
    "data_engine.flow.context.FlowContext": _Kind("results.context_card"),
    "data_engine.notebook.compiled.CompiledNotebook": _Kind("notebooks.compiled_card"),
    "data_engine.errors.FlowValidationError": _Kind("display._error", has_hints=True),
    "data_engine.status.record.WorkspaceStatus": _Kind("status.status_card", has_hints=True),
    "data_engine.model.Backfill": _Kind("backfills.backfill_card", has_hints=True),
    "data_engine.status.run_comparison.Comparison": _Kind("runs.comparison_card"),
    "data_engine.status.lineage.Lineage": _Kind("lineage.lineage_card"),
    "data_engine.replay.Replay": _Kind("replays.replay_card", has_hints=True),
    "data_engine.status.run_comparison.Trends": _Kind("trends.trends_card"),
}
"""By the name of the class: a class whose module is not imported has no values."""

_LISTINGS = {
    "data_engine.model.Run": _Kind("runs.runs_card", is_timed=True),
    "data_engine.model.StepRun": _Kind("runs.steps_card", is_timed=True),
    "data_engine.model.LogEntry": _Kind("runs.log_card"),
    "data_engine.flow.context.FlowContext": _Kind("results.contexts_card"),
    "data_engine.notebook.catalog.CatalogEntry": _Kind("display._entries", has_hints=True),
    "data_engine.status.explain.Explanation": _Kind("flows.reasons_card", has_hints=True),
    "data_engine.model.Backfill": _Kind("backfills.backfills_card"),
    "data_engine.model.Deployment": _Kind("deployments.deployments_card"),
    "data_engine.plan.golden.GoldenResult": _Kind("differences.goldens_card", has_samples=True),
}
"""The same of listings, by the class of their elements."""

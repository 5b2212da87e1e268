"""`run --watch`: flows here as they become due, until Ctrl-C."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from data_engine.cli.output import complain, print_json
from data_engine.errors import FlowValidationError
from data_engine.ledger.run_warnings import runs_as_json
from data_engine.model import Event, RunFinished
from data_engine.view.card import Lines, Note
from data_engine.view.running import RunListener

if TYPE_CHECKING:
    from data_engine.notebook.catalog import CatalogEntry
    from data_engine.view.verb import Place

_DEFAULTS = {"once": False, "source": None, "param": None, "on_error": "continue"}


def watch(place: Place, values: dict[str, Any]) -> int:
    """Run the flows named, or all that are not manual, as sources and slots become due; ends with 130.

    Raises:
        FlowValidationError: an option cannot be combined with it, a name is no flow, or nothing is to be watched.
    """
    wrong = [name for name, default in _DEFAULTS.items() if values[name] not in (default, [])]
    if wrong:
        options = (f"--{'set' if name == 'param' else name.replace('_', '-')}" for name in wrong)
        what, fix = f"{' and '.join(options)} cannot be combined with --watch", "data-engine run --once"
        raise FlowValidationError(what, where="data-engine run --watch", fix=f"leave it out, or run once: {fix}")
    from data_engine.engine.local_workspace import forget_workspaces
    from data_engine.runs import run_workspace

    ws, as_json = place.workspace, place.reader == "program"
    listener, ledger = RunListener(place), ws.home.ledger()

    def listen(event: Event) -> None:
        listener(event)
        if as_json and isinstance(event, RunFinished) and (run := ledger.run(event.run_id)) is not None:
            print_json(runs_as_json(ledger, [run])[0], indent=None)

    def broken(entry: CatalogEntry) -> None:
        assert entry.error is not None
        listener.show_broken(entry.name, entry.error, "broken" if entry.group is None else "not run")
        if as_json:
            print_json(listener.broken[-1], indent=None)

    def tell(line: str) -> None:
        place.tell(Note.warning(line))

    try:
        with place.inside():
            run_workspace(
                ws.home, values["names"] or [], edited=values["edited"], listen=listen, broken=broken, tell=tell
            )
    except KeyboardInterrupt:
        forget_workspaces()
        complain("interrupted", style="bold red")
        sys.stdout.flush()
        os._exit(130)  # not sys.exit: Python would wait for the threads of a step that is left behind
    place.show(Lines((listener.sum_text(),)))
    return 130

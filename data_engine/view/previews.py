"""One object of a flow: what it is now, what differs in production, and one that is kept as a golden."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

from data_engine.engine.candidates import pick_source
from data_engine.engine.local_workspace import settle_flow
from data_engine.engine.params import params_for
from data_engine.engine.preview import steps_until
from data_engine.engine.recording import readers_watched
from data_engine.engine.result_display import first_rows
from data_engine.errors import FlowExecutionError, FlowValidationError, OwnedElsewhereError, WorkspaceError
from data_engine.flow.debug import masked_frame
from data_engine.flow.parameters import read_params
from data_engine.formatting import both_ends, visible
from data_engine.secret import knows_any, masked_in
from data_engine.verbs import check_against
from data_engine.view.card import Card, Lines
from data_engine.view.differences import difference_card, golden_card
from data_engine.view.flows import FlowName
from data_engine.view.verb import Answer, Key, Option, Params, Place, Source, Use

_ROWS = 20
_MOST_TEXT = 1_000_000
"""Characters of an object that are printed; of a longer one both ends are."""


def preview(
    place: Place,
    name: FlowName = None,
    use: Use = None,
    source: Source = None,
    param: Params = None,
    fresh: Annotated[bool, Option("Run every step, also those whose results are kept.", only="cell")] = False,
    against: Annotated[
        str | None, Option("What differs from the same object of the deployed flow.", "deployed")
    ] = None,
    key: Key = None,
    write: Annotated[bool, Option("Write where production writes, not to scratch.")] = False,
    force: Annotated[
        bool, Option("With --write: also while the flow is running, or another workstation owns the workspace.")
    ] = False,
) -> Answer:
    """Look at one object of a flow, for its first source or another. Nothing is recorded, or changed in production.

    In a cell it is the flow that this notebook's build() makes, where none is named.
    """
    typed, file = read_params(param), place.path(source)
    with place.inside(), readers_watched():  # before the module makes objects that write
        flow = place.flow(name)
        settled = settle_flow(flow, may_be_gone=True)
        step = settled.steps[steps_until(settled, use) - 1]
        if file is not None:
            pick_source(settled, file)
        values = params_for(settled, typed)
        is_compared = against is not None or bool(key)
        if is_compared:
            check_against(against, key=key, write=write)
        options: dict[str, Any] = {"use": use, "source": file, "params": values, "fresh": fresh, "force": force}
        options |= {"against": against, "key": key} if is_compared else {"write": write}
        try:
            value = flow.preview(**options)
        except (WorkspaceError, OwnedElsewhereError):
            raise
        except FlowValidationError as error:
            if is_compared and not isinstance(error, FlowExecutionError):
                raise
            raise place.failed(error) from error
    if is_compared:
        return Answer(lambda: difference_card(value, samples=True), value.as_dict, value=value)

    def shown() -> tuple[Any, bool]:
        """The object as it may be shown, of a lazy frame its first rows; and whether it is one."""
        with place.inside(), readers_watched():
            first = first_rows(settled, step, value, _ROWS)
        return without_secrets(first), first is not value

    return Answer(lambda: _object_card(shown()[0]), lambda: object_facts(*shown()), value=value)


def _object_card(value: Any) -> Card:
    text = both_ends(visible(str(value)) if isinstance(value, os.PathLike) else str(value), _MOST_TEXT)
    return Card("", (), (Lines(tuple(text.split("\n"))),))


def without_secrets(value: object) -> object:
    """The object as it may be shown: `***` for each secret in a frame, a text, or a list or dict of texts. Cut texts could not be masked."""
    if not knows_any():
        return value
    polars: Any = sys.modules.get("polars")
    return masked_frame(value) if polars is not None and isinstance(value, polars.DataFrame) else masked_in(value)


def object_facts(value: object, is_lazy: bool = False) -> dict[str, Any]:
    """The JSON of an object: columns, first rows and height of a frame, type and value of anything else.

    `height` is None for the first rows of a lazy frame, which nobody has counted.

    Example:
        >>> object_facts([1, None])
        {'type': 'list', 'value': [1, None]}
    """
    polars: Any = sys.modules.get("polars")
    if polars is None or not isinstance(value, polars.DataFrame):
        return {"type": type(value).__name__, "value": value}
    frame = value.head(_ROWS)
    return {
        "columns": frame.columns,
        "rows": [list(row) for row in frame.rows()],
        "height": None if is_lazy else value.height,
    }


def golden(
    place: Place,
    name: FlowName = None,
    use: Annotated[str | None, Option("The object; by default the last result.", "OBJECT")] = None,
    source: Source = None,
    param: Params = None,
    key: Key = None,
    drop: Annotated[list[str] | None, Option("A column that is not kept; may be repeated.", "COL")] = None,
    called: Annotated[str | None, Option("Its name; by default from object and source.", "NAME", ("--name",))] = None,
    share: Annotated[bool, Option("Keep its data in Git.")] = False,
    update: Annotated[bool, Option("Replace the one that has this name.")] = False,
) -> Answer:
    """Keep an object of a flow as a golden, to test against later; in a cell, where no flow is named, of this notebook's build()."""
    params, file = read_params(param), place.path(source)
    with place.inside():
        kept = place.flow(name).golden(
            use, file, params, key or None, drop=drop or (), share=share, name=called, update=update
        )
    return Answer(lambda: golden_card(kept), kept.as_dict, value=kept)

"""`compile`, `preview`, `plan` and `test`: what production takes of notebooks, one object of a flow, what a deploy would change in the data, and
whether the goldens hold."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.options import (
    AsJson,
    FlowName,
    Params,
    SourcePath,
    chosen_workspace,
    in_flow_modules,
    load_module,
    source_from_shell,
)
from data_engine.cli.output import Failed, plain, print_json, say
from data_engine.display_hook import text_with_samples
from data_engine.errors import (
    FlowExecutionError,
    FlowValidationError,
    OwnedElsewhereError,
    WorkspaceError,
)
from data_engine.flow.debug import masked_frame
from data_engine.flow.parameters import read_params
from data_engine.formatting import both_ends, visible
from data_engine.secret import knows_any, masked, masked_in

if TYPE_CHECKING:
    from data_engine.flow.flow import Flow


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
    from data_engine.engine.recording import readers_watched
    from data_engine.engine.result_display import first_rows

    ws = chosen_workspace(ctx)
    typed = read_params(param)
    source = source_from_shell(source)
    with in_flow_modules(ws), readers_watched():  # before the module makes objects that write
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

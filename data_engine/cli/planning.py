"""`preview`, `plan` and `test`: one object of a flow, what a deploy would change in the data, and whether the goldens hold."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.failure import Failed
from data_engine.cli.options import (
    AsJson,
    FlowName,
    Params,
    SomeFlowName,
    SourcePath,
    chosen_workspace,
    in_flow_modules,
    load_module,
    source_from_shell,
)
from data_engine.cli.output import complain, plain, print_json, say
from data_engine.display_hook import text_with_samples
from data_engine.errors import (
    FlowExecutionError,
    FlowValidationError,
    NotHeldBackError,
    OwnedElsewhereError,
    WorkspaceError,
)
from data_engine.flow.parameter_values import read_params
from data_engine.formatting import both_ends, cli_line, visible
from data_engine.platforms.terminals import is_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from data_engine.client import Workspace
    from data_engine.flow.flow import Flow
    from data_engine.plan.plan import NotHeldBack, Plan


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
    ws = chosen_workspace(ctx)
    params = read_params(param)
    names = [name] if name is not None else sorted(ws.home.deployments().edits())
    plans = []
    with in_flow_modules(ws):
        for one in names:
            is_confirmed = yes or _is_confirmed(ws, one, as_json)
            try:
                found = ws.plan(one, sources, use, key or None, params, is_confirmed)
            except NotHeldBackError as error:
                if not as_json:
                    raise
                steps = [step.as_dict() for step in _escaping(ws, one)]
                print_json({"error": error.as_dict(), "not_held_back": steps})
                return 2
            plans.append(found)
            if not as_json:
                _say_plan(found)
                _say_compared(ws, one)
    if as_json:
        print_json(plans[0].as_dict() if name is not None else [found.as_dict() for found in plans])
    elif not names:
        say("No deployed flow was edited.")
    return 1 if any(found.is_worse for found in plans) else 0


def _say_plan(found: Plan) -> None:
    say(text_with_samples(found))
    if found.is_worse:
        say("Correct the edit first: nothing was deployed, and production still runs what is deployed.")
    elif not found.equal or found.cells:
        say(f"To let production run it: {cli_line('deploy', found.flow)}")


def _say_compared(ws: Workspace, name: str) -> None:
    """Say how the current notebook compared with its kernel."""
    from data_engine.proof.kept import compared

    if verdict := compared(ws.home, ws.layout.flow_modules_dir / f"{name}.ipynb"):
        say(f"{name}.ipynb: {verdict.words}")


def _is_confirmed(ws: Workspace, name: str, as_json: bool) -> bool:
    """Ask once, at a terminal, whether steps that cannot be held back may run."""
    if as_json or not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        return False
    escaping = _escaping(ws, name)
    if not escaping:
        return False
    complain(f"A plan of {name} runs these steps for real, once for each version:", style="yellow")
    for one in escaping:
        complain(f"  {one.text}", style="yellow")
    return bool(typer.confirm("Run them?", default=False))


def _escaping(ws: Workspace, name: str) -> Sequence[NotHeldBack]:
    from data_engine.plan.making import deployed_flow, escapes

    try:
        flows = [deployed_flow(ws.home, name), ws.load_flow(name)]
    except FlowExecutionError:
        return ()
    return tuple(dict.fromkeys(one for flow in flows for one in escapes(flow)))


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
    bad = [one for one in results if one.is_bad]
    if as_json:
        print_json([one.as_dict() for one in results])
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
            shown = first_rows(flow, step, value, _ROWS)
        except (WorkspaceError, OwnedElsewhereError):
            raise
        except FlowValidationError as error:
            raise Failed(error) from error
        if as_json:
            print_json(object_facts(shown, is_lazy=shown is not value))
        else:
            text = visible(str(shown)) if isinstance(shown, os.PathLike) else str(shown)
            say(both_ends(text, _MOST_TEXT))
    return 0


def _compare(flow: Flow, options: dict[str, Any], against: str | None, write: bool, as_json: bool) -> int:
    """Say what differs from the deployed flow's object."""
    from data_engine.plan.making import against_deployed
    from data_engine.verbs import check_against

    check_against(against, key=options["key"], write=write)
    try:
        found = against_deployed(flow, **options)
    except FlowExecutionError as error:
        raise Failed(error) from error
    if as_json:
        print_json(found.as_dict())
    else:
        say(text_with_samples(found))
    return 0


def object_facts(value: object, *, is_lazy: bool = False) -> dict[str, Any]:
    """What `--json` prints of an object: a frame's columns, first rows and height, anything else's type and value.

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

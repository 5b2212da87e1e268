"""One object of a flow as it is now, beside the same object of the deployed flow."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from data_engine.compare.difference import Difference
from data_engine.engine.candidates import Source, pick_source
from data_engine.engine.local_workspace import LocalWorkspace, settle_flow, workspace_of
from data_engine.engine.memo.caption import show_caption
from data_engine.engine.params import params_for
from data_engine.engine.preview import first_source, say_first, steps_until
from data_engine.engine.progress import ProgressLine
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.notebook.locate import annotate_call
from data_engine.plan.making import CURRENT, deployed_flow, escapes, name_of, not_confirmed
from data_engine.plan.sides import Side


def against_deployed(
    flow: Flow,
    *,
    use: str | None = None,
    source: str | os.PathLike[str] | None = None,
    params: Mapping[str, Any] | None = None,
    key: str | Sequence[str] | None = None,
    fresh: bool = False,
    force: bool = False,
) -> Difference:
    """What differs between the object `use` of the deployed flow (before) and of `flow` (after), for one source.

    Both write to scratch folders of their own, which begin as production is.

    Raises:
        FlowValidationError: the flow belongs to no workspace, was never deployed, or has no such object; a step writes
            elsewhere than through its context, without `force`.
        FlowExecutionError: a step of either raised.
    """
    from data_engine.compare.comparing import compare, keys

    try:
        flow = settle_flow(flow)
        home = _require_home(flow)
        before = deployed_flow(home, flow.name or "")
        stops = {"deployed": steps_until(before, use), CURRENT: steps_until(flow, use)}
        wanted = keys(key)
        given = {"deployed": params_for(before, params), CURRENT: params_for(flow, params)}
        chosen = pick_source(flow, source) if source is not None else first_source(flow)
        found = tuple(dict.fromkeys((*escapes(before), *escapes(flow))))
        if found and not force:
            raise not_confirmed(flow.name or "", found)
    except FlowValidationError as wrong:
        annotate_call(wrong)
        raise
    line = ProgressLine()
    sides = [
        Side(of, one, home, params=given[of], fresh=fresh, sink=line)
        for of, one in (("deployed", before), (CURRENT, flow))
    ]
    name = use or CURRENT
    try:
        then, now = (_of_side(side, chosen, stops[side.of], name) for side in sides)
        difference = compare(then, now, key=wanted)
        for side in sides:
            side.end()
    except BaseException as error:
        if source is None:
            say_first(error, flow, chosen)
        for side in sides:
            side.forget()
        raise
    finally:
        line.close()
    took = " · ".join(f"{side.of} {side.elapsed_s * 1000:,.0f} ms" for side in sides)
    of = f" of {name_of(chosen)}" if chosen.path is not None else ""
    show_caption(f"{flow.name}{of} against what is deployed · {took}")
    return difference


def _of_side(side: Side, source: Source, stop: int, name: str) -> object:
    """The object of one side; an error says of which."""
    try:
        return side.run(source, stop, [name])[name]
    except FlowValidationError as error:
        of = "as it is now" if side.of == CURRENT else "as it is deployed"
        error.where = f"{error.where} ({of})" if error.where else f"the flow {of}"
        raise


def _require_home(flow: Flow) -> LocalWorkspace:
    home = workspace_of(flow)
    if home is None:
        raise FlowValidationError(
            "the flow belongs to no workspace, so nothing of it is deployed",
            where='Flow.preview(against="deployed")',
            fix="put its notebook into the flow_modules folder of a workspace, and deploy it",
        )
    return home

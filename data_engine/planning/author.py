"""What an author asks for in a cell: keep this result as a golden."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from data_engine.engine.local_workspace import settle_flow, workspace_of
from data_engine.engine.params import params_for
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.notebook.locate import annotate_call
from data_engine.planning.golden import Golden
from data_engine.planning.keeping import Wanted, keep_golden
from data_engine.workspace.machine import person

_WHERE = "Flow.golden"


def keep(
    flow: Flow,
    *,
    use: str | None,
    source: str | os.PathLike[str] | None,
    params: Mapping[str, Any] | None,
    key: str | Sequence[str] | None,
    drop: str | Sequence[str],
    tolerance: float,
    share: bool,
    name: str | None,
    is_update: bool,
) -> Golden:
    """Keep a result of the flow as a golden; as `Flow.golden`.

    Raises:
        FlowValidationError: wrong input, or the flow belongs to no workspace.
        FlowExecutionError: a step raised.
    """
    from data_engine.compare.comparing import keys, require_tolerance

    try:
        flow = settle_flow(flow)
        home = workspace_of(flow)
        if home is None:
            raise FlowValidationError(
                "the flow belongs to no workspace, and goldens are kept in a workspace",
                where=_WHERE,
                fix="put its notebook into the flow_modules folder of a workspace",
            )
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise FlowValidationError(f"a golden cannot be called {name!r}", where=_WHERE, fix="give some letters")
        wanted = Wanted(
            use,
            source,
            params_for(flow, params),
            keys(key),
            keys(drop or None),
            require_tolerance(tolerance),
            bool(share),
            name,
            bool(is_update),
        )
        return keep_golden(flow, home, wanted, by="@".join(person()))
    except FlowValidationError as wrong:
        annotate_call(wrong)
        raise

"""Look at one object of a flow, made by the same code and with the same paths as in production.

Steps that would give what they gave last time in this process are not run again (`memo`); one line says which ran and why.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.candidates import Source, pick_source, startup_sources
from data_engine.engine.executor import spread
from data_engine.engine.local_workspace import LocalWorkspace, settle_flow, workspace_of
from data_engine.engine.memo.cache import DEFAULT_CACHE_BYTES, PreviewCache
from data_engine.engine.memo.caption import PreviewReport, caption, show_caption
from data_engine.engine.memo.runner import PreviewRunner
from data_engine.engine.progress import ProgressLine
from data_engine.engine.run import check_params, make_context, outcome_of, require_source
from data_engine.engine.stale import stale_helpers
from data_engine.errors import FlowValidationError, GroupBusyError
from data_engine.flow.control import RunInterrupted, StepControl
from data_engine.flow.flow import Flow
from data_engine.lease.peek import refuse_owned_elsewhere
from data_engine.notebook.locate import annotate_call
from data_engine.notebook.standing import cells_text

_cache = PreviewCache()
_last: PreviewReport | None = None


def preview(
    flow: Flow,
    *,
    use: str | None = None,
    source: str | os.PathLike[str] | None = None,
    params: Mapping[str, Any] | None = None,
    fresh: bool = False,
    force: bool = False,
) -> Any:
    """The object saved as `use`, or the last step's result; steps after the one that makes it are not run.

    Steps whose code, inputs and reads are as they were are not run again; `fresh=True` runs them all. What comes back is
    the caller's own: changing it changes no later preview.

    Raises:
        FlowValidationError: no steps, no such object, or no source to preview.
        FlowExecutionError: a step raised; placed in its notebook cell.
        OwnedElsewhereError: it would write to the mirror, and another workstation owns the workspace.
        GroupBusyError: it would write to the mirror, and the flow is running.
    """
    global _last
    started_s = time.perf_counter()
    try:
        flow = settle_flow(flow)
        stop = steps_until(flow, use)
        given = check_params(params)
        chosen = pick_source(flow, source) if source is not None else _first_source(flow)
    except FlowValidationError as wrong:
        annotate_call(wrong)
        raise
    home = workspace_of(flow)
    helpers = stale_helpers()
    line = ProgressLine()
    control = StepControl(emit=line, spread=spread, run_id="preview", flow=flow.name or "")
    context = make_context(flow, chosen, home=home, control=control, params=given, started_at_s=time.time())
    limit_bytes = DEFAULT_CACHE_BYTES if home is None else home.settings().preview.cache_bytes

    def may_write(target: Path) -> None:
        if home is not None and not force:
            _stop_before_writing(flow, home, target)

    runner = PreviewRunner(
        flow, context, control, chosen, _cache, limit_bytes=limit_bytes, fresh=fresh, sink=line, may_write=may_write
    )
    try:
        require_source(flow, chosen)
        value = runner.run(stop)
    except BaseException as raised:
        error = outcome_of(raised)[2]
        if error is raised:
            raise
        raise error from raised.__cause__
    finally:
        line.close()
    steps = tuple(runner.reports[index] for index in sorted(runner.reports))
    notes = (*map(str, helpers), *_seal(flow, home))
    _last = PreviewReport(flow.name or "", steps, time.perf_counter() - started_s, tuple(runner.wrote), notes)
    show_caption(caption(_last))
    return value


def last_report() -> PreviewReport | None:
    """What the last preview of this process did, None before the first."""
    return _last


def cached_bytes() -> int:
    """About how many bytes of results are kept from previews of this process."""
    return _cache.used_bytes


def clear_preview_cache() -> None:
    """Forget every result kept from previews of this process.

    Example:
        >>> clear_preview_cache()
    """
    _cache.clear()


def steps_until(flow: Flow, use: str | None) -> int:
    """How many steps to run until the object `use` has its last value; all of them for None and "current".

    Raises:
        FlowValidationError: no steps, or none saves such an object; lists those that are.
    """
    if not flow.steps:
        raise FlowValidationError(
            f"flow {flow.name!r} has no steps: there is nothing to preview",
            where="Flow.preview",
            fix="add one: Flow(...).step(fn), where fn(context) returns what the preview shows",
        )
    if use is None or use == "current":
        return len(flow.steps)
    numbers = [number for number, step in enumerate(flow.steps, start=1) if step.save_as == use]
    if numbers:
        return numbers[-1]
    known = ", ".join(dict.fromkeys(step.save_as for step in flow.steps if step.save_as)) or "none"
    raise FlowValidationError(
        f"no step of flow {flow.name!r} saves an object {use!r}",
        where="Flow.preview(use=...)",
        fix=f"add save_as={use!r} to the step that makes it; saved objects: {known}",
    )


def _stop_before_writing(flow: Flow, home: LocalWorkspace, target: Path) -> None:
    """Stop a preview before it writes where a run of the flow writes; an author's `except Exception` lets that pass.

    Raises:
        RunInterrupted: it may not write; its `error` says why.
    """
    try:
        _require_no_run(flow, home, target)
    except FlowValidationError as error:
        raise RunInterrupted("stopped", Cause("group_busy", {"what": error.what}), error) from None


def _require_no_run(flow: Flow, home: LocalWorkspace, target: Path) -> None:
    """Return when no run of the flow writes to its mirror, here or at the workstation that owns the workspace."""
    or_else = "preview an object of a step before it, or give preview() force=True"
    what = f"the preview's write to the mirror ({target.name})"
    refuse_owned_elsewhere(home.layout.workspace_state_dir, home.local.identity, what=what, or_else=or_else)
    ledger = home.ledger()
    ledger.recover()  # a run whose process died writes nothing any more
    running = [run for run in ledger.running(flow.group) if run.flow == flow.name]
    if running:
        raise GroupBusyError(
            f"{what} is not done now: the flow is running (run {running[0].run_id[:8]})",
            where=f'flow "{flow.name}"',
            fix=f"wait for its end, {or_else}",
        )


def _seal(flow: Flow, home: LocalWorkspace | None) -> tuple[str, ...]:
    """How the notebook's code stands to the deployed flow; nothing when it is not deployed."""
    if home is None or flow.name is None:
        return ()
    cells = home.deployments().changed_cells(flow.name)
    if cells is None:
        return ()
    if not cells:
        return ("same code as the deployed flow",)
    return (f"differs from the deployed flow: {cells_text(cells)}",)


def _first_source(flow: Flow) -> Source:
    sources = startup_sources(flow)
    if sources:
        return sources[0]
    trigger = flow.trigger
    assert trigger is not None
    wanted = f" with extensions {', '.join(trigger.extensions)}" if trigger.extensions else ""
    raise FlowValidationError(
        f"there is no file to preview{wanted} in {trigger.source}",
        where="Flow.preview",
        fix="put a file there, or correct source= and extensions=",
    )

"""Look at one object of a flow, made by the same code and with the same paths as in production.

Steps that would give what they gave last time in this process are not run again (`memo`); one line says which ran and why.
"""

from __future__ import annotations

import ast
import inspect
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from data_engine.argument_checks import checked
from data_engine.engine.candidates import Source, pick_source, startup_sources
from data_engine.engine.feed_schemas import PassFrames, RunFrames
from data_engine.engine.local_workspace import LocalWorkspace, settle_flow, workspace_of
from data_engine.engine.memo.cache import PreviewCache
from data_engine.engine.memo.caption import (
    PreviewSummary,
    caption,
    caption_html,
    loud_html,
    outside_text,
    show_caption,
)
from data_engine.engine.memo.runner import KeptResults, PreviewRunner
from data_engine.engine.params import as_steps_see, params_for
from data_engine.engine.result_display import ProgressLine, bound_display, place_at_step, placed, require_plan
from data_engine.engine.run import item_executor, make_context, outcome_of, require_source, require_steps
from data_engine.engine.run_sources import guard_of_preview, guard_of_run, preview_files
from data_engine.engine.scratch import Scratch, scratch_of
from data_engine.engine.stale import StaleHelper, stale_helpers
from data_engine.engine.standing import standing_of
from data_engine.errors import FlowExecutionError, FlowValidationError, GroupBusyError, ShortInterrupt
from data_engine.flow.check import names_saved
from data_engine.flow.control import StepControl
from data_engine.flow.flow import Flow
from data_engine.flow.hints import is_of_its_file, never_computed, quoted
from data_engine.flow.object_names import saved_twice
from data_engine.flow.report import Report
from data_engine.flow.report_page import framed
from data_engine.flow.spec import Map
from data_engine.notebook.locate import annotate_call
from data_engine.notebook.mistakes import DroppedCall, dropped_calls
from data_engine.platforms.files import content_of
from data_engine.suggestions import near_offer
from data_engine.trial import refuse_in_trial
from data_engine.workspace.layout import current_notebook, kernel_shell
from data_engine.workspace.settings import PreviewSettings

if TYPE_CHECKING:
    from data_engine.compare.profile import Profile

_cache = PreviewCache()
_last: PreviewSummary | None = None


class ComparedValues(Protocol):
    """The comparison of a notebook's compiled slice with this kernel."""

    def what_differs(self, slice_texts: tuple[str, ...], parts: Mapping[str, bytes]) -> str:
        """Say which of the `parts` that a preview fingerprinted is not as in the slice of these texts; "" where unknown."""


compared_values: dict[str, ComparedValues] = {}
"""The comparisons by the name of their flow; the comparing code puts them here."""


def preview(
    flow: Flow,
    *,
    use: str | None = None,
    source: str | os.PathLike[str] | None = None,
    params: Mapping[str, Any] | None = None,
    fresh: bool = False,
    write: bool = False,
    force: bool = False,
) -> Any:
    """The object saved as `use` (where several steps save it, the last one's), or the last step's result; later steps are not run.

    What the steps write through the context goes to a scratch folder of this machine, which begins as production is; with
    `write` it goes where production writes. Beside it a preview changes nothing that exists. Steps whose code, inputs and reads are as they were are not run again; `fresh=True` runs them all. What comes back is
    the caller's own: changing it changes no later preview.

    Raises:
        FlowValidationError: no steps, no such object, or no source to preview; with `write` but no `force`, a deployed flow of
            another name writes the same mirror.
        FlowExecutionError: a step raised; placed in its notebook cell.
        OwnedElsewhereError: with `write` but no `force`, another workstation owns the workspace.
        GroupBusyError: with `write` but no `force`, the flow is running.
    """
    global _last
    started_s = time.perf_counter()
    is_loaded = flow._workspace_root is not None
    try:
        flow = settle_flow(flow, may_be_gone=not write)
        stop = steps_until(flow, use)
        values = params_for(flow, params)
        chosen = pick_source(flow, source) if source is not None else first_source(flow)
        home = workspace_of(flow)
        if write and home is not None and not force:
            _require_may_write(flow, home)
    except FlowValidationError as wrong:
        annotate_call(wrong)
        raise
    helpers = stale_helpers()
    line = ProgressLine()
    items = item_executor(home, stays_here=True)
    control = StepControl(emit=line, spread=items.spread, run_id="preview", flow=flow.name or "")
    scratch = None if write else scratch_of(flow, home, limit_bytes=_settings_of(home).copy_limit_bytes)
    runner = make_runner(flow, chosen, home=home, params=values, control=control, scratch=scratch, fresh=fresh)
    try:
        require_source(flow, chosen)
        name = use or "current"
        value = runner.run(stop, [name])[name]
        require_plan(flow, flow.steps[stop - 1], value, chosen.path)
    except BaseException as raised:
        error = outcome_of(raised)[2]
        place_at_step(error, flow.steps[control.index])
        if source is None:
            say_first(error, flow, chosen)
        _tell_all_outside(flow, runner)
        if isinstance(raised, KeyboardInterrupt):
            step = f" in step {control.label!r}" if control.label else ""
            raise ShortInterrupt(f"the preview of {flow.name or 'the flow'} was interrupted{step}") from None
        if error is raised:
            raise
        raise error from raised.__cause__
    finally:
        items.close()
        line.close()
        preview_files(home).add(runner.outside)
        if scratch is not None:
            scratch.end()
    steps = tuple(runner.reports[index] for index in sorted(runner.reports))
    moved, standing = _standing(flow, home, helpers, runner.parts, is_loaded=is_loaded)
    notes = (
        *_no_candidate(flow, chosen, is_named=source is not None),
        *_notes_of_code(flow, use),
        *_not_computed(flow, stop, value),
        *map(str, helpers),
        *_moved_kernel(home),
        *moved,
    )
    _last = PreviewSummary(
        flow.name or "",
        steps,
        time.perf_counter() - started_s,
        tuple(runner.in_place) if write else tuple(runner.wrote),
        notes,
        source=None if chosen.path is None else chosen.path.name,
        is_in_place=write,
        outside=tuple(map(Path, runner.outside)),
        standing=standing,
    )
    bound_display(value)
    _show_page(flow, stop, control, scratch)
    show_caption(caption(_last), caption_html(_last))
    return value


def profile(
    flow: Flow,
    *,
    use: str | None = None,
    source: str | os.PathLike[str] | None = None,
    params: Mapping[str, Any] | None = None,
) -> Profile:
    """The profile of the frame that a preview with these arguments gives.

    Raises:
        FlowValidationError: as `preview`, or the object is no frame; names those that are saved.
        FlowExecutionError: a step raised, or the query of a lazy frame; placed at the step's function.
    """
    from data_engine.compare.profile import profile_of, require_frame

    value = preview(flow, use=use, source=source, params=params)
    require_frame(value, quoted(use) if use else "the last result")
    settled = settle_flow(flow, may_be_gone=True)
    with placed(settled, settled.steps[steps_until(settled, use) - 1]):
        return profile_of(value)


def _show_page(flow: Flow, stop: int, control: StepControl, scratch: Scratch | None) -> None:
    """Show the page in a kernel's cell where the last of the steps is a report, in a frame in which nothing can act."""
    shell, mirror = kernel_shell(), flow.mirror_spec
    if shell is None or mirror is None or not isinstance(flow.steps[stop - 1].fn, Report):
        return
    final = Path(control.reports[-1].path)
    path = final if scratch is None else scratch.root(mirror.root) / final.relative_to(mirror.root)
    page = framed(content_of(path).decode("utf-8", "replace"), final.name)
    shell.display_pub.publish({"text/plain": f"report {final.name}", "text/html": page})


def make_runner(
    flow: Flow,
    source: Source,
    *,
    home: LocalWorkspace | None,
    params: Mapping[str, Any],
    control: StepControl,
    scratch: Scratch | None,
    fresh: bool = False,
) -> PreviewRunner:
    """The runner of the steps of a settled flow for `source`, which reuses what this process has kept of them."""
    context = make_context(flow, source, home=home, control=control, started_at_s=time.time())
    context.params = as_steps_see(flow, params, secret=context.secret)
    if home is not None and home.has_ledger and (frames := PassFrames(flow, home)).are_judged:
        control.feed = RunFrames(frames, None)
    return PreviewRunner(
        flow,
        context,
        control,
        source,
        KeptResults(_cache, _settings_of(home).cache_bytes, fresh),
        scratch=scratch,
        ours=() if home is None else home.own_folders,
        guard=guard_of_run(flow, source, home, mirror=None)
        if scratch is None
        else guard_of_preview(flow, source, home, scratch.folder),
    )


def _settings_of(home: LocalWorkspace | None) -> PreviewSettings:
    return PreviewSettings() if home is None else home.settings().preview


def _tell_all_outside(flow: Flow, runner: PreviewRunner) -> None:
    """Report what a failed preview, which has no caption, has written for real."""
    if words := outside_text(list(map(Path, runner.outside))):
        warning = f"the preview of {flow.name or 'the flow'} did not finish, and {' · '.join(words)}"
        show_caption(warning, loud_html(warning))


def last_report() -> PreviewSummary | None:
    """The report of the last preview of this process, None before the first."""
    return _last


def cached_bytes() -> int:
    """About how many bytes of results are kept from previews of this process."""
    return _cache.used_bytes


@checked()
def clear_preview_cache() -> None:
    """Forget every result kept from previews of this process.

    Example:
        >>> clear_preview_cache()
    """
    _cache.clear()


def steps_until(flow: Flow, use: str | None) -> int:
    """The number of steps to run until the object `use` has its last value; all of them for None and "current".

    Raises:
        FlowValidationError: no steps, or none saves such an object; lists those that are.
    """
    require_steps(flow)
    if use is None or use == "current":
        return len(flow.steps)
    numbers = [number for number, step in enumerate(flow.steps, start=1) if use in names_saved(step)]
    if numbers:
        return numbers[-1]
    names = dict.fromkeys(name for step in flow.steps for name in names_saved(step))
    raise FlowValidationError(
        f"no step of flow {flow.name!r} saves an object {use!r}",
        where="Flow.preview(use=...)",
        fix=f"{near_offer(use, names)}add save_as={use!r} to the step that makes it; saved objects: {', '.join(names) or 'none'}",
    )


def _require_may_write(flow: Flow, home: LocalWorkspace) -> None:
    """Return when nothing else may be writing where the flow writes: no run of it, here or at the workstation that owns the workspace,
    and no other flow that is deployed."""
    from data_engine.engine.run_sources import refuse_shared_mirror
    from data_engine.lease.status import refuse_owned_elsewhere

    refuse_in_trial("preview(write=True)")
    or_else = "leave write=True out, or give preview() force=True"
    what = "the preview with write=True"
    refuse_owned_elsewhere(home.layout.workspace_state_dir, home.local.identity, what=what, or_else=or_else)
    ledger = home.ledger()
    ledger.recover()  # a run whose process died writes nothing any more
    running = [run for run in ledger.running(flow.group) if run.flow == flow.name]
    if running:
        raise GroupBusyError(
            f"{what} is not done now: the flow is running (run {running[0].run_id[:8]})",
            where=f'flow "{flow.name}"',
            fix=f"wait until it has ended, {or_else}",
        )
    refuse_shared_mirror(home, flow)


def _notes_of_code(flow: Flow, use: str | None) -> tuple[str, ...]:
    """The notes on the steps as they are written, and on the `build()` of this kernel's cells that made them."""
    names = getattr(kernel_shell(), "user_ns", {})
    places = [_globals_of(step.fn) for step in flow.steps] or [names]
    dropped: list[DroppedCall] = []
    if callable(names.get("build")) and any(place is names for place in places):
        with suppress(OSError, TypeError, ValueError, SyntaxError):  # its text is not at hand
            dropped = dropped_calls(ast.parse(inspect.getsource(names["build"])).body[0])
    return (
        *(f"{call.message} (line {call.line} of build(); {call.fix})" for call in dropped),
        *saved_twice(flow.steps, use),
    )


def _no_candidate(flow: Flow, chosen: Source, *, is_named: bool) -> tuple[str, ...]:
    """The note that a named source is none that the flow takes by itself."""
    if not is_named or flow.trigger is None or chosen.key is None or not chosen.key.path:
        return ()
    from data_engine.planning.due import PlannedFlow, why_no_candidate

    why = why_no_candidate(PlannedFlow.of(flow), chosen.key.path)
    if why is None:
        return ()
    return (f"in production no run takes {Path(chosen.key.path).name} unless it is named: {why.text}",)


def _not_computed(flow: Flow, stop: int, value: object) -> tuple[str, ...]:
    """The note that a run computes nothing of the LazyFrame that the last step of the flow gives."""
    warning = never_computed(flow.steps[stop - 1], value) if stop == len(flow.steps) else None
    return () if warning is None else (warning,)


def _moved_kernel(home: LocalWorkspace | None) -> tuple[str, ...]:
    """The note that relative paths in steps start elsewhere than in production, where a cell has changed the working directory."""
    shell = kernel_shell()
    started = getattr(shell, "starting_dir", None)
    if home is None or not isinstance(started, str):
        return ()
    now = os.getcwd()
    expected = (started, str(home.layout.flow_modules_dir))
    if os.path.realpath(now) in [os.path.realpath(folder) for folder in expected]:
        return ()
    return (
        f"this kernel works in {now} (%cd): relative paths in steps start there, but in production they start at flow_modules",
    )


def _standing(
    flow: Flow,
    home: LocalWorkspace | None,
    stale: Sequence[StaleHelper],
    parts: Mapping[str, bytes],
    *,
    is_loaded: bool,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The notes to act on, and how the code that ran compares with the deployed flow; nothing when it is not deployed, or its notebook is gone.

    Of a flow that cells of a kernel made, and that is not `is_loaded`, the code that ran counts, else the file. Edited helpers that are `stale` are left out.
    """
    if home is None or flow.name is None:
        return (), ()
    place = current_notebook()
    if place is not None and place.problem is not None and place.path.stem == flow.name:
        warning = (
            f"{place.path.name} was renamed or moved since the kernel started: {place.fix} to run or deploy its flow"
        )
        return (warning,), ()
    standing = standing_of(home, flow, is_loaded=is_loaded, stale={helper.path for helper in stale})
    if standing is None or not standing.is_deployed:
        return (), ()
    values = compared_values.get(flow.name) if standing.in_cells else None
    moved = "" if values is None else values.what_differs(standing.saved, parts)
    if standing.differs:
        words = standing.text if standing.in_cells else f"differs from the deployed flow: {', '.join(standing.differs)}"
        return tuple(filter(None, [moved])), (words,)
    if moved or standing.is_behind:
        return tuple(filter(None, [moved])), ()
    return (), ("same code as the deployed flow",)


def first_source(flow: Flow) -> Source:
    """The source of a preview that names none.

    Raises:
        FlowValidationError: there is none.
    """
    sources = startup_sources(flow)
    if sources:
        return sources[0]
    trigger = flow.trigger
    assert trigger is not None
    suffix = f" with extensions {', '.join(trigger.extensions)}" if trigger.extensions else ""
    raise FlowValidationError(
        f"there is no file to preview{suffix} in {trigger.source}",
        where="Flow.preview",
        fix="put a file there, or correct source= and extensions=",
    )


def say_first(error: BaseException, flow: Flow, chosen: Source) -> None:
    """Add to the fix of a step's error that `first_source` chose its source, and how to take another, where that may be the reason."""
    if not isinstance(error, FlowExecutionError) or error.phase != "step" or chosen.path is None:
        return
    if error.__cause__ is not None and not is_of_its_file(error.__cause__):
        return
    try:
        names = [source.key.path for source in startup_sources(flow) if source.key is not None]
    except FlowValidationError:
        return
    others = [name for name in names if chosen.key is not None and name != chosen.key.path]
    if others:
        first = f"{chosen.path.name} is the first of {len(names):,} files: source={quoted(others[0])} (--source in %flow) takes another one"
        error.fix = "; or ".join(filter(None, (error.fix, first)))


def _globals_of(fn: Any) -> dict[str, Any]:
    fn = fn.fn if isinstance(fn, Map) else fn
    while isinstance(fn, partial):
        fn = fn.func
    return getattr(inspect.unwrap(fn), "__globals__", {})

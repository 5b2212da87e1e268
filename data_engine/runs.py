"""Run flows in the caller's process: once, as they become due, or to show a result."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from typing import Any, Literal
from weakref import WeakKeyDictionary

from data_engine.argument_checks import checked
from data_engine.cause import Cause
from data_engine.display_hook import Listing
from data_engine.engine.access.access_log import current_files
from data_engine.engine.candidates import Source, pick_to_run, startup_sources
from data_engine.engine.groups import holding_group
from data_engine.engine.local_workspace import LocalWorkspace, settle_flow, workspace_of
from data_engine.engine.params import params_for
from data_engine.engine.recording import readers_watched
from data_engine.engine.result_display import ProgressLine, bound_display
from data_engine.engine.run import RunPass, require_steps
from data_engine.engine.run_sources import refuse_shared_mirror
from data_engine.engine.standing import (
    as_it_may_run,
    edited_error,
    never_deployed_text,
    say_never_deployed,
    standing_of,
)
from data_engine.errors import FlowStoppedError, FlowValidationError, ShortInterrupt
from data_engine.flow.context import FlowContext
from data_engine.flow.control import RunInterrupted
from data_engine.flow.flow import Flow
from data_engine.lease.folder import server_ahead_s
from data_engine.lease.status import refuse_owned_elsewhere
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.wall_clock import PRUNED_AT, Believed, WallClock, prune
from data_engine.model import Event, StepFinished, StepProgress
from data_engine.notebook.catalog import CatalogEntry, find_module, no_steps, read_catalog
from data_engine.notebook.locate import annotate_call
from data_engine.notebook.module_sets import file_facts
from data_engine.scheduler.foreground import run_until_interrupted
from data_engine.status.deployed_before import find_flow
from data_engine.trial import refuse_in_trial

_PRUNE_EVERY_S = 3600.0
_REREAD_EVERY_S = 2.0
_ASK_TO_PRUNE_EVERY_S = 60.0
_asked_to_prune: WeakKeyDictionary[Ledger, float] = WeakKeyDictionary()


def run_once(
    flow: Flow,
    *,
    source: str | os.PathLike[str] | None = None,
    params: Mapping[str, Any] | None = None,
    on_error: str = "raise",
    edited: bool = False,
    force: bool = False,
    listen: Callable[[Event], None] | None = None,
) -> list[FlowContext]:
    """Run `flow` now for each of its sources, recorded when it belongs to a workspace; one context for each.

    `listen` is called with every event, after it was recorded. With `edited` code that is not deployed runs, and is marked.

    Raises:
        FlowExecutionError: with `on_error="raise"`, the first failure; `.completed` holds the finished contexts.
        FlowStoppedError: a run was stopped; `.completed` likewise.
        FlowValidationError: without `edited`, the code is not what is deployed; without `force`, a deployed flow of another name
            writes the same mirror.
        OwnedElsewhereError: another workstation owns the workspace, and there is no `force`.
        GroupBusyError: the flow's group is running further up in this very call.
        KeyboardInterrupt: it was interrupted; the run that had begun is recorded as stopped.
    """
    try:
        refuse_in_trial("run_once")
        is_loaded, flow = flow._workspace_root is not None, settle_flow(flow)
        standing = None
        if (where := workspace_of(flow)) is not None:
            require_steps(flow)
            standing = standing_of(where, flow, is_loaded=is_loaded)
            flow = as_it_may_run(flow, where, standing, edited=edited)
        contexts = _run_once(flow, source, params, on_error, listen, force)
    except KeyboardInterrupt:
        note = "" if workspace_of(flow) is None else "; what had begun is recorded as stopped"
        raise ShortInterrupt(f"the run of {flow.name or 'the flow'} was interrupted{note}") from None
    except FlowValidationError as error:
        annotate_call(error)
        raise
    if listen is None and current_files() is None:
        say_never_deployed(flow, standing)
    return contexts


def _run_once(
    flow: Flow,
    source: str | os.PathLike[str] | None,
    params: Mapping[str, Any] | None,
    on_error: str,
    listen: Callable[[Event], None] | None,
    force: bool,
) -> list[FlowContext]:
    require_steps(flow)
    values = params_for(flow, params)
    sources = startup_sources(flow) if source is None else (pick_to_run(flow, source),)
    where = workspace_of(flow)
    if where is not None and not force:
        _refuse_owned_elsewhere(where, "run_once()")
        refuse_shared_mirror(where, flow)
    line = ProgressLine(len(sources))
    ledger = None if where is None else where.ledger()
    telling = threading.Lock()

    several = len(sources) > 1

    def sink(event: Event) -> None:
        if ledger is not None:
            ledger.record(event, end_waits=several)
        if several or listen is not None or type(event) in (StepProgress, StepFinished):
            with telling:
                line(event)
                if listen is not None:
                    listen(event)

    hears: Literal["all", "runs", "lines"] = "all" if listen is not None else "runs" if several else "lines"
    runs = RunPass(flow, home=where, sink=sink, params=values, hears=hears)
    watched = readers_watched() if several else contextlib.nullcontext()
    try:
        with watched:
            return run_sources(runs, sources, keeps_errors=on_error == "continue")
    finally:
        line.close()
        if where is not None:
            _prune_when_due(where)


@checked()
def run(*flows: Flow, edited: bool = False, force: bool = False) -> list[FlowContext]:
    """Run `flows` here as they become due, until Ctrl-C; groups side by side, the flows of one group one at a time.

    A poll flow runs for each source that is new or changed, a schedule at its times, a manual flow once at the start. Runs
    are recorded when the flow belongs to a workspace; a failure is reported in one line and ends nothing else. At Ctrl-C the
    running steps end, their runs are recorded as stopped, and the answer is empty; a second Ctrl-C leaves at once.
    When all flows are manual, it returns once they have run, with their contexts. Code that is not what is deployed runs with
    `edited` only, as in `Flow.run_once`.

    Raises:
        FlowValidationError: no flow, something else, or two of one name; without `edited`, the code of one is not what is
            deployed; without `force`, a deployed flow of another name writes the mirror of one.
        FlowExecutionError: all flows are manual, and one failed; `.completed` holds the finished contexts.

    Example:
        >>> flow = Flow(group="Demo", name="answer").step(lambda context: 42)
        >>> [context.current for context in run(flow)]
        [42]
    """
    if not flows:
        raise FlowValidationError(
            "run() was given no flow", where="run(*flows)", fix="run(flow, ...), such as run(*discover_flows())"
        )
    for flow in flows:
        require_steps(flow)
    refuse_in_trial("run")
    settled = [settle_flow(flow) for flow in flows]
    homes = {where.layout.root: where for flow in settled if (where := workspace_of(flow)) is not None}
    if not force:
        for where in homes.values():
            _refuse_owned_elsewhere(where, "run()")
        for flow in settled:
            if (home := workspace_of(flow)) is not None:
                refuse_shared_mirror(home, flow)
    to_run = list(settled)
    for number, (given, flow) in enumerate(zip(flows, settled, strict=True)):
        if (home := workspace_of(flow)) is not None:
            standing = standing_of(home, flow, is_loaded=given._workspace_root is not None)
            to_run[number] = as_it_may_run(flow, home, standing, edited=edited)
            say_never_deployed(flow, standing)

    def upkeep() -> None:
        for where in homes.values():
            _prune_when_due(where)

    return Listing(run_until_interrupted(to_run, upkeep=upkeep))


def run_workspace(
    where: LocalWorkspace,
    names: Sequence[str] = (),
    *,
    edited: bool = False,
    listen: Callable[[Event], None],
    broken: Callable[[CatalogEntry], None],
    tell: Callable[[str], None],
) -> None:
    """Run the flows of the workspace at `where` (those named, or all that are not manual) as they become due, until Ctrl-C.

    Modules are read again when their files change, and new ones join. After an edit that breaks a module its last good version goes on. `broken`
    is called with the entry of each that does not become a flow, again when its files change. `tell` gets a line about each that
    was never deployed.

    Raises:
        FlowValidationError: a name that is no flow, or nothing to watch; without `edited`, a flow whose code is not what is deployed.
    """
    for name in names:
        find_flow(where, name)
    _refuse_owned_elsewhere(where, "running flows here")
    good: dict[str, Flow] = {}
    facts: object = None
    looked_s = float("-inf")
    is_any_broken = False
    stepless: list[FlowValidationError] = []
    ran: dict[str, object] = {}
    told: set[str] = set()

    def reread() -> list[Flow] | None:
        nonlocal facts, looked_s, is_any_broken
        if time.monotonic() - looked_s < _REREAD_EVERY_S:
            return None
        deployed = where.deployments().deployed()
        looked_s, before = time.monotonic(), facts
        facts = (file_facts(where.layout.flow_modules_dir), deployed)
        if before == facts:
            return None
        module_names = set()
        entries = [entry for entry in read_catalog(where.modules()) if not names or entry.name in names]
        if before is None and not edited:
            refuse_edited(
                where, [flow for entry in entries if (flow := entry.flow) and (names or flow.mode != "manual")]
            )
        for entry in entries:
            module_names.add(entry.name)
            if entry.flow is not None and not entry.steps:
                stepless.append(no_steps(entry.name))
                entry = replace(entry, flow=None, error=stepless[-1])
            entry = _with_shared_mirror_refused(where, entry)
            if entry.mode != "manual" or names:
                entry = _as_it_may_run(where, entry, edited=edited)
            if entry.flow is None:
                is_any_broken = True
                if (pointer := deployed.get(entry.name)) is not None and ran.get(entry.name) != pointer:
                    good.pop(entry.name, None)  # what was good is not what is deployed, since somebody rolled it back
                broken(entry)
                continue
            if entry.flow.mode == "manual" and not names:
                good.pop(entry.name, None)
                continue
            good[entry.name], ran[entry.name] = entry.flow, deployed.get(entry.name)
            if entry.name not in deployed and entry.name not in told:
                told.add(entry.name)
                tell(never_deployed_text(entry.name))
        for name in good.keys() - module_names:
            del good[name]
        return list(good.values())

    flows = reread() or []
    if names and not flows and stepless:
        raise stepless[0]
    if not flows and not is_any_broken:
        raise FlowValidationError(
            "there is nothing to watch: no flow polls or has a schedule",
            where=str(where.layout.flow_modules_dir),
            fix='give a flow .watch(mode="poll", ...) or .watch(mode="schedule", ...), or name the manual ones',
        )

    def load(name: str) -> Flow:
        modules = where.modules()
        flow = modules.load(find_module(modules, name)).flow
        return as_it_may_run(flow, where, standing_of(where, flow, is_loaded=True), edited=edited)

    run_until_interrupted(flows, load=load, reread=reread, listen=listen, upkeep=lambda: _prune_when_due(where))


def show(flow: Flow) -> Any:
    """The final result of a flow with exactly one source.

    Raises:
        FlowValidationError: it has none or several.
    """
    settled = settle_flow(flow)
    require_steps(settled)
    count = len(startup_sources(settled))
    if count != 1:
        raise FlowValidationError(
            f"show() needs exactly one result, but the flow has {count} sources",
            where="Flow.show",
            fix="use preview(source=...) for one file, or run_once() for all",
        )
    value = run_once(settled)[0].current
    bound_display(value)
    return value


def _refuse_owned_elsewhere(where: LocalWorkspace, what: str) -> None:
    refuse_owned_elsewhere(
        where.layout.workspace_state_dir,
        where.local.identity,
        what=what,
        or_else="give run_once() or run() force=True",
        state_root=where.local.state_root,
        older_id=where.layout.workspace_id,
    )


def refuse_edited(where: LocalWorkspace, flows: Iterable[Flow]) -> None:
    """Return when each of these flows of modules that is deployed has the code that is deployed.

    Raises:
        FlowValidationError: others have not; it names all of them, and what differs.
    """
    edits: dict[str, str] = {}
    for flow in flows:
        standing = standing_of(where, flow, is_loaded=True)
        if standing is not None and standing.differs:
            edits[flow.name or ""] = standing.text
    if edits:
        raise edited_error(edits, str(where.layout.flow_modules_dir))


def _as_it_may_run(where: LocalWorkspace, entry: CatalogEntry, *, edited: bool) -> CatalogEntry:
    if entry.flow is None:
        return entry
    try:
        return replace(
            entry, flow=as_it_may_run(entry.flow, where, standing_of(where, entry.flow, is_loaded=True), edited=edited)
        )
    except FlowValidationError as error:
        return replace(entry, flow=None, error=error)


def _with_shared_mirror_refused(where: LocalWorkspace, entry: CatalogEntry) -> CatalogEntry:
    try:
        if entry.flow is not None:
            refuse_shared_mirror(where, entry.flow)
    except FlowValidationError as error:
        return replace(entry, flow=None, error=error)
    return entry


def _prune_when_due(where: LocalWorkspace) -> None:
    """Drop history past its retention, if the clock is believed: at most once an hour on this machine, checked once a minute."""
    ledger = where.ledger()
    if time.monotonic() - _asked_to_prune.get(ledger, float("-inf")) < _ASK_TO_PRUNE_EVERY_S:
        return
    _asked_to_prune[ledger] = time.monotonic()
    now_s = time.time()
    last = ledger.setting(PRUNED_AT)
    if last is None or now_s - float(last) > _PRUNE_EVERY_S or float(last) > now_s:
        ledger.set_setting(PRUNED_AT, str(now_s))
        clock = WallClock(ledger, lambda: server_ahead_s(where.layout.workspace_state_dir)).judge()
        if isinstance(clock, Believed):
            prune(ledger, retention_days=where.settings().history.retention_days, at=clock)


def run_sources(runs: RunPass, sources: Sequence[Source], *, keeps_errors: bool) -> list[FlowContext]:
    """Run all sources inside the flow's group, which is left between two of them where somebody goes first; their contexts in order.

    Unless errors are kept, nothing more begins after the first failure; when the running ones have ended, the error of the first
    source in order is raised, with `.completed`. At a Ctrl-C parallel runs end at their next step.

    Raises:
        FlowExecutionError, FlowStoppedError: a run failed or was stopped, and errors are not kept.
        GroupBusyError: the flow's group is running further up in this very call.
    """
    flow, home = runs.flow, runs.home
    at_once = 1 if flow.trigger is None else min(flow.trigger.max_parallel, len(sources))
    if at_once > 1:
        return _side_by_side(runs, sources, at_once, keeps_errors=keeps_errors)
    finished: list[FlowContext] = Listing()
    waiting = iter(sources)
    while len(finished) < len(sources):
        with holding_group(flow, home) as gives_way:
            for source in waiting:
                context = runs.run(source)
                if context.error is not None and not keeps_errors:
                    raise _with_completed(context.error, finished)
                finished.append(context)
                if len(finished) < len(sources) and gives_way():
                    break
    return finished


def _side_by_side(runs: RunPass, sources: Sequence[Source], at_once: int, *, keeps_errors: bool) -> list[FlowContext]:
    flow, home = runs.flow, runs.home
    waiting = deque(enumerate(sources))
    running: dict[Future[FlowContext], int] = {}
    contexts: dict[int, FlowContext] = {}
    failed: dict[int, BaseException] = {}
    is_interrupted = False

    def may_work() -> None:
        if is_interrupted:
            raise RunInterrupted("stopped", Cause("interrupted"))

    def take(future: Future[FlowContext]) -> None:
        number, error = running.pop(future), future.exception()
        if error is None:
            contexts[number] = future.result()
            error = None if keeps_errors else contexts[number].error
        if error is not None:
            failed[number] = error

    runs.may_work = may_work
    with ThreadPoolExecutor(at_once, thread_name_prefix=f"run {flow.name}") as pool:
        try:
            while waiting and not failed:
                with holding_group(flow, home) as gives_way:
                    has_begun = False
                    while running or (waiting and not failed and not (has_begun and gives_way())):
                        while waiting and len(running) < at_once and not failed and not (has_begun and gives_way()):
                            number, source = waiting.popleft()
                            running[pool.submit(copy_context().run, runs.run, source)] = number
                            has_begun = True
                        for future in wait(running, return_when=FIRST_COMPLETED).done:
                            take(future)
        except BaseException:
            is_interrupted = True
            raise
    if failed:
        completed = Listing(contexts[number] for number in sorted(contexts.keys() - failed.keys()))
        raise _with_completed(failed[min(failed)], completed)
    return Listing(contexts[number] for number in sorted(contexts))


def _with_completed(error: BaseException, finished: list[FlowContext]) -> BaseException:
    if isinstance(error, (FlowValidationError, FlowStoppedError)):
        error.completed = finished
    return error

"""The sources of one flow, run here and now: one after the other, or as many at once as its `max_parallel` says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context

from data_engine.cause import Cause
from data_engine.engine.candidates import Source
from data_engine.engine.groups import holding_group
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowStoppedError, FlowValidationError
from data_engine.flow.context import FlowContext
from data_engine.flow.control import RunInterrupted
from data_engine.flow.flow import Flow
from data_engine.shown import Listing

RunOne = Callable[[Source, Callable[[], None] | None], FlowContext]
"""Runs one source; the second argument is asked whether the run may go on."""


def run_sources(
    flow: Flow, sources: Sequence[Source], home: LocalWorkspace | None, run_one: RunOne, *, keeps_errors: bool
) -> list[FlowContext]:
    """The contexts of all sources in order, each run inside the flow's group.

    Unless errors are kept, nothing more begins after the first failure; it is raised when what runs has ended, that of the
    first source in order with `.completed`. At a Ctrl-C what runs beside others ends at its next step.

    Raises:
        FlowExecutionError, FlowStoppedError: a run failed or was stopped, and errors are not kept.
        GroupBusyError: the flow's group is running further up in this very call.
    """
    at_once = 1 if flow.trigger is None else min(flow.trigger.max_parallel, len(sources))
    if at_once > 1:
        return _side_by_side(flow, sources, home, run_one, at_once, keeps_errors=keeps_errors)
    finished: list[FlowContext] = Listing()
    for one in sources:
        with holding_group(flow, home, by_hand=True):
            context = run_one(one, None)
        if context.error is not None and not keeps_errors:
            raise _with_completed(context.error, finished)
        finished.append(context)
    return finished


def _side_by_side(
    flow: Flow,
    sources: Sequence[Source],
    home: LocalWorkspace | None,
    run_one: RunOne,
    at_once: int,
    *,
    keeps_errors: bool,
) -> list[FlowContext]:
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

    with ThreadPoolExecutor(at_once, thread_name_prefix=f"run {flow.name}") as pool:
        try:
            while waiting and not failed:
                with holding_group(flow, home, by_hand=True) as gives_way:
                    has_begun = False
                    while running or (waiting and not failed and not (has_begun and gives_way())):
                        while waiting and len(running) < at_once and not failed and not (has_begun and gives_way()):
                            number, source = waiting.popleft()
                            running[pool.submit(copy_context().run, run_one, source, may_work)] = number
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

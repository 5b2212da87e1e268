"""One run of one flow for one source: context, steps, events, and the status they end in."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.candidates import Source, is_unchanged, signature_of
from data_engine.engine.capture import captured
from data_engine.engine.executor import item_executor
from data_engine.engine.kept_objects import KeptObjects
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.memo.file_events import guarding
from data_engine.engine.memo.inputs import current_files
from data_engine.engine.memo.own_sources import OwnSources, cause_of_source
from data_engine.engine.memo.sql_writes import says_copy, sql_watched
from data_engine.engine.params import as_steps_see, defaults_words, is_as_scheduled, unread
from data_engine.engine.recording import Recording, readers_watched
from data_engine.engine.run_sources import guard_of_run, seen_by_hand
from data_engine.engine.staged_run import cause_of_target, staged_run
from data_engine.errors import (
    FlowExecutionError,
    FlowStoppedError,
    FlowValidationError,
    LedgerError,
    SecretMissingError,
    message_of,
)
from data_engine.flow.context import FlowContext, WorkspaceConfigContext
from data_engine.flow.control import RunInterrupted, StepControl
from data_engine.flow.debug import FlowDebugContext
from data_engine.flow.flow import Flow
from data_engine.flow.forgotten import forgotten_return, never_computed
from data_engine.flow.places import IN_PLACE, NotedPlaces, Places
from data_engine.flow.step_error import step_error
from data_engine.flow.steps import run_steps
from data_engine.flow.trigger import Schedule
from data_engine.formatting import first_few
from data_engine.ledger.log_limits import LogBound, clipped, end_of_log, size_of
from data_engine.ledger.warned import counts_as_warning
from data_engine.model import (
    Event,
    LogLine,
    RunAbout,
    RunFinished,
    RunStarted,
    SeenSource,
    StepFinished,
    utc_text,
)
from data_engine.notebook.deploy import no_steps
from data_engine.notebook.locate import annotate
from data_engine.scheduler.slots import zone_of
from data_engine.secret import knows_any, masked, masked_in
from data_engine.workspace.layout import kernel_shell

_LONGEST_DETAIL = 500
_MOST_TAKEN = 3


def run_source(
    flow: Flow,
    source: Source,
    *,
    home: LocalWorkspace | None,
    sink: Callable[[Event], None],
    params: Mapping[str, Any],
    may_work: Callable[[], None] | None = None,
    seen: tuple[SeenSource, ...] | None = None,
    run_id: str | None = None,
    keep_last: Callable[[LogLine], None] | None = None,
    about: RunAbout | None = None,
    knows_outputs: bool = True,
) -> FlowContext:
    """Run every step of `flow` for `source`; its context, whose `error` is set when the run did not succeed.

    `seen` are the sources the run settles, as they were seen when it was found due; without it a poll flow's are looked at
    now. `sink` gets every event as it happens, but of a long log only the first lines; its last ones come before the run's
    end, and `keep_last` gets each line that may be one of them as it happens. The error is a `FlowExecutionError` (placed in its notebook cell) when the code
    raised, a `FlowValidationError` when the input was wrong, a `FlowStoppedError` when it was stopped or out of time.

    `about` is what is known of why it runs and by whom; without it somebody asked for it here. With other params than a run
    that comes by itself is given, it settles nothing: what is due, done or held stays so.

    A step that is about to overwrite a source of the run fails by that. Of a batch the sources are what it has `seen`, unless who
    looked has no history (`knows_outputs`) and may have taken outputs of the flow for sources.

    Raises:
        LedgerError: the sink could not record the run.
        KeyboardInterrupt: the run is recorded as stopped.
    """
    kept = _WarningsCounted(sink)
    run = _Run(
        flow,
        source,
        home=home,
        sink=_bounded(kept, keep_last),
        params=params,
        may_work=may_work,
        seen=seen,
        run_id=run_id or uuid.uuid4().hex,
        about=about,
        knows_outputs=knows_outputs,
    )
    run.begin()
    try:
        run.work()
    except BaseException as raised:
        error = run.fail(raised)
        if not isinstance(error, (FlowValidationError, FlowStoppedError)) or isinstance(error, LedgerError):
            raise
        run.context.error = error
    else:
        run.succeed()
    finally:
        run.close()
    run.context.warnings = kept.count("success" if run.context.error is None else "failed")
    return run.context


class _WarningsCounted:
    """A sink that remembers the levels of what may count as a warning."""

    def __init__(self, sink: Callable[[Event], None]) -> None:
        self._sink = sink
        self._levels: list[str] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, LogLine) and counts_as_warning(event.level, "success"):
            self._levels.append(event.level)
        self._sink(event)

    def count(self, status: str) -> int:
        """How many the log of a run has that ended so."""
        return sum(counts_as_warning(level, status) for level in self._levels)


class _Run:
    """One run: told of by `begin`, carried out by `work`, and ended by `fail` or `succeed`."""

    def __init__(
        self,
        flow: Flow,
        source: Source,
        *,
        home: LocalWorkspace | None,
        sink: Callable[[Event], None],
        params: Mapping[str, Any],
        may_work: Callable[[], None] | None,
        seen: tuple[SeenSource, ...] | None,
        run_id: str,
        about: RunAbout | None,
        knows_outputs: bool,
    ) -> None:
        self.started_s = time.perf_counter()
        self.started_at_s = time.time()
        self.flow, self.source, self.params, self.sink = flow, source, params, sink
        self.run_id, self.name = run_id, flow.name or ""
        self.items = item_executor(home)
        self.control = StepControl(
            emit=sink,
            may_work=_permission(home, may_work, self.started_s),
            spread=self.items.spread,
            run_id=run_id,
            flow=self.name,
        )
        if seen is None:
            seen = seen_by_hand(flow, source, home)
        self.seen = seen
        self.settles = seen if is_as_scheduled(flow, params) else ()
        self.recording = (
            None if home is None else Recording(flow, source, seen, home=home, given=params, run_id=run_id, about=about)
        )
        self.stage = stage = staged_run(flow, source, seen, home=home, control=self.control)
        mirror = None if flow.mirror_spec is None else flow.mirror_spec.root if stage is None else stage.folder
        self.guard = guard = guard_of_run(flow, source, home, seen if knows_outputs else (), mirror=mirror)
        places: Places | None = stage
        if guard is not None and mirror is not None:
            places = NotedPlaces(stage or IN_PLACE, guard.hand_out)
        self.context = make_context(
            flow, source, home=home, control=self.control, started_at_s=self.started_at_s, places=places
        )
        if about is not None and about.scheduled_for is not None:
            self.context.scheduled_for = _in_zone_of(flow, about.scheduled_for, home)

    def begin(self) -> None:
        """Tell that it has begun."""
        group, source, recording = self.flow.group, self.source, self.recording
        try:
            told = None if recording is None else recording.about()
            at_s, settles = self.started_at_s, self.settles
            self.sink(RunStarted(self.run_id, self.name, group, source.text, at_s, source.key, settles, told))
            if recording is not None:
                recording.is_begun()
        except KeyboardInterrupt as raised:  # it may have begun all the same
            self._finish("stopped", outcome_of(raised)[1], message_of(raised))
            raise

    def work(self) -> None:
        """Go through the steps."""
        flow, context, stage = self.flow, self.context, self.stage
        require_steps(flow)
        if context.source is None:
            require_source(flow, self.source)
        context.params = as_steps_see(flow, self.params, secret=context.secret)
        if self.recording is not None and (said := defaults_words(context.params, self.params)) is not None:
            self._log("INFO", said)
        with captured(self.control, is_bounded=kernel_shell() is not None), self._watched():
            if stage is None:
                self._take_steps()
            elif not stage.publish_what_was_made():
                self._take_steps()
                stage.end(context)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self.recording is not None:
                stack.enter_context(self.recording.watching())
            if self.guard is not None:
                stack.enter_context(readers_watched())
                stack.enter_context(guarding(self.guard))
            if (self.guard is not None or self.recording is not None) and says_copy(self.flow):
                stack.enter_context(sql_watched())
            yield

    def _take_steps(self) -> None:
        recording, sink, guard = self.recording, self.sink, self.guard
        kept = KeptObjects(self.flow.steps)
        for event in run_steps(self.flow, self.context, control=self.control):
            if guard is not None and isinstance(event, StepFinished):
                event = self._with_outputs(event, guard)
            if recording is not None:
                recording.take(event, self.context.current)
            sink(event)
            if isinstance(event, StepFinished) and event.status == "success":
                for said in kept.after(event.step_index, self.context.objects):
                    self._log("WARNING", said)

    def _with_outputs(self, event: StepFinished, guard: OwnSources) -> StepFinished:
        """The event with the files that the step has written and not returned.

        Raises:
            FlowExecutionError: the step has swallowed that it must not overwrite its source.
        """
        if guard.refused and event.status == "success":
            step = self.flow.steps[event.step_index]
            raise step_error(self.flow, step, self.context, guard.refused[0], None, {}, None)[0]
        new = guard.new_outputs()
        if not new:
            return event
        final = self.context.places.final
        return event._replace(outputs=tuple(dict.fromkeys((*event.outputs, *(str(final(Path(one))) for one in new)))))

    def fail(self, raised: BaseException) -> BaseException:
        """Tell of its bad end; what callers are given as its error."""
        status, why, error = outcome_of(raised)
        if status == "failed":
            self._log("ERROR", message_of(error))
        self._finish(status, why, message_of(error))
        return error

    def succeed(self) -> None:
        """Tell of its good end."""
        path, seen = self.source.path, self.seen
        if self.guard is not None and (taken := list(self.guard.taken)):
            self._log("INFO", f"moved or removed {first_few(taken, _MOST_TAKEN)}, of the flow's own sources")
        if path is not None and seen and not is_unchanged(path, seen[0].signature):
            self._log("WARNING", _changed_words(path))
        for said in () if self.recording is None else self.recording.warnings():
            self._log("WARNING", said)
        objects = self.context.objects
        saved = [(step, objects[step.save_as]) for step in self.flow.steps if step.save_as in objects]
        for said in filter(None, (forgotten_return(step, result) for step, result in saved)):
            self._log("WARNING", said)
        lazy = None if kernel_shell() is not None else never_computed(self.flow.steps[-1], self.context.current)
        if lazy is not None:  # in a cell its author may collect it
            self._log("WARNING", lazy)
        if names := unread(self.context.params, self.params):
            self._log("WARNING", f"no step has read the params {', '.join(names)}, which the run was given")
        self._finish("success", None, None)

    def close(self) -> None:
        """Let go of what it kept for its items and its writing."""
        self.items.close()
        if self.stage is not None:
            self.stage.close()

    def _log(self, level: str, text: str) -> None:
        self.sink(LogLine(self.run_id, self.name, self.control.label, level, text, time.time()))

    def _finish(self, status: str, why: Cause | None, error: str | None) -> None:
        elapsed_s = time.perf_counter() - self.started_s
        for said in () if self.recording is None else self.recording.files.doubts:
            self._log("WARNING", said)
        is_due_again = why is not None and why.kind == "target_changed"
        spent = None if self.recording is None else self.recording.spent()
        settles = () if is_due_again else self.settles
        self.sink(RunFinished(self.run_id, status, time.time(), elapsed_s, error, why, settles, spent))


def _changed_words(path: Path) -> str:
    """What is said of a source that is no more as it was when its run began."""
    if signature_of(path) is None:
        return f"{path} was gone when the run ended: it counts as done, and is due again only if it comes back changed"
    return f"{path} changed while it was read; it is due again; if a step writes it, after every run"


def _in_zone_of(flow: Flow, slot_utc: str, home: LocalWorkspace | None) -> datetime:
    """The slot as its schedule says it: in the flow's zone."""
    name = flow.trigger.tz if isinstance(flow.trigger, Schedule) else None
    zone = zone_of(name or (None if home is None else home.settings().timezone))
    return datetime.fromtimestamp(datetime.fromisoformat(slot_utc).timestamp(), zone)


def _bounded(sink: Callable[[Event], None], keep_last: Callable[[LogLine], None] | None) -> Callable[[Event], None]:
    """The sink of a run whose log is kept within its bound."""
    bound: LogBound[LogLine] = LogBound()
    lock = threading.Lock()

    def bounded(event: Event) -> None:
        if knows_any():
            event = _masked(event)
        if isinstance(event, LogLine):
            event = clipped(event)
            size_bytes = size_of(event.message)
            if bound.takes(size_bytes):
                sink(event)
                return
            with lock:
                bound.hold(event, size_bytes)
                if keep_last is not None:
                    keep_last(event)
            return
        if isinstance(event, RunFinished):
            for line in end_of_log(*bound.rest()):
                sink(line)
        sink(event)

    return bounded


def _masked(event: Event) -> Event:
    """The event as it may be stored and shown. Sources keep their names: they are known by them."""
    if isinstance(event, LogLine):
        return event._replace(message=masked(event.message))
    if isinstance(event, StepFinished):
        return event._replace(error=masked_in(event.error), outputs=masked_in(event.outputs))
    if isinstance(event, RunFinished):
        why = event.why and Cause(event.why.kind, masked_in(dict(event.why.data)))
        return event._replace(error=masked_in(event.error), why=why, spent=masked_in(event.spent))
    return event


def make_context(
    flow: Flow,
    source: Source,
    *,
    home: LocalWorkspace | None,
    control: StepControl,
    started_at_s: float,
    places: Places | None = None,
) -> FlowContext:
    """The context of a run that is about to begin, but for its params; `places` says where it writes, else in place."""
    places = places or IN_PLACE
    mirror = source.mirror(flow)
    metadata: dict[str, Any] = {
        "started_at_utc": utc_text(started_at_s),
        "run_id": control.run_id,
        "step_outputs": {},
    }
    if source.path is not None:
        metadata["file_hash"] = source.file_hash
    root = None if home is None else home.layout.root
    exists = source.root is not None and (source.path or source.root).exists()
    return FlowContext(
        flow_name=flow.name or "",
        group=flow.group,
        source=source.context() if exists else None,
        mirror=mirror if mirror is None or places is IN_PLACE else replace(mirror, places=places),
        metadata=metadata,
        config=WorkspaceConfigContext(root, on_read=_note_config),
        debug=None if home is None else _debug(flow, source, home, control),
        workspace_root=root,
        control=control,
        places=places,
    )


def _note_config(path: Path) -> None:
    files = current_files()
    if files is not None and path.suffix:  # not the folder
        files.note(path)


def require_steps(flow: Flow) -> None:
    """Refuse to run a flow that does nothing.

    Raises:
        FlowValidationError: it has no steps.
    """
    if not flow.steps:
        raise no_steps(flow.name or "flow", f'flow "{flow.name}"')


def require_source(flow: Flow, source: Source) -> None:
    """Refuse to run for a source that is not there.

    Raises:
        FlowValidationError: names the path.
    """
    target = source.path or source.root
    if target is not None and not target.exists():
        raise FlowValidationError(
            f"Source {'file' if source.path else 'path'} not found: {target}",
            where=f'flow "{flow.name}", watch(source={(flow.trigger and flow.trigger.source_as_authored)!r})',
            fix="create it, connect its drive, or correct source= (relative paths start at the flow_modules folder)",
        )


def outcome_of(raised: BaseException) -> tuple[str, Cause, BaseException]:
    """The status, cause and error for callers of what ended a run."""
    if isinstance(raised, RunInterrupted):
        error = raised.error or FlowStoppedError(raised.why.text)
        error.__cause__ = raised
        return raised.status, raised.why, error
    if isinstance(raised, FlowStoppedError):
        raised.args = masked_in(raised.args)
        return "stopped", Cause("stopped_by_flow"), raised
    if isinstance(raised, FlowValidationError):
        if isinstance(raised, SecretMissingError) or isinstance(raised.__cause__, SecretMissingError):
            why = Cause("secret_missing")
        else:
            why = Cause("code_raised") if isinstance(raised, FlowExecutionError) else Cause("input_wrong")
        why = cause_of_target(raised) or cause_of_source(raised) or why
        return "failed", why.where(**_facts_of(annotate(raised))), raised
    if isinstance(raised, KeyboardInterrupt):
        return "stopped", Cause("interrupted"), raised
    return "failed", Cause("code_raised"), raised


def _facts_of(error: FlowValidationError) -> dict[str, Any]:
    """Where code raised and what, for the cause of its run."""
    step = detail = helper = None
    if isinstance(error, FlowExecutionError):
        step, detail = error.step_label, error.detail.partition("\n")[0][:_LONGEST_DETAIL]
        is_elsewhere = error.places and not (error.cell or "").startswith(error.places[0]["notebook"])
        helper = error.cell if is_elsewhere else None
    fix = {} if error.fix is None else {"fix": error.fix}
    return {"step": step, "detail": detail, "helper": helper, "places": list(error.places), **fix}


def _permission(
    home: LocalWorkspace | None, may_work: Callable[[], None] | None, started_s: float
) -> Callable[[], None]:
    limit_s = None if home is None else home.settings().limits.run_timeout_s
    if limit_s is None:
        return may_work or _always

    def check() -> None:
        if may_work is not None:
            may_work()
        if time.perf_counter() - started_s > limit_s:
            raise RunInterrupted("killed", Cause("time_limit", {"limit_s": limit_s}))

    return check


def _always() -> None:
    """The permission of a run without limits."""


def _debug(flow: Flow, source: Source, home: LocalWorkspace, control: StepControl) -> FlowDebugContext:
    return FlowDebugContext(
        home.local.debug_dir,
        workspace_id=home.layout.workspace_id,
        flow_name=flow.name or "",
        run_id=control.run_id,
        source_path=source.text,
        control=control,
    )

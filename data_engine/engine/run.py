"""One run of one flow for one source: context, steps, events, and the status they end in."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from data_engine.cause import Cause
from data_engine.engine.access.access_log import Namespace, bound, current_files
from data_engine.engine.access.file_events import guarding
from data_engine.engine.access.guards import OverwritesSourceError, OwnSources
from data_engine.engine.access.interceptors import held
from data_engine.engine.candidates import Source, is_unchanged, same_name, same_name_error, signature_of
from data_engine.engine.capture import captured
from data_engine.engine.feed_schemas import PassFrames, RunFrames
from data_engine.engine.items.threads import IN_ITEM, ON_NODE, Threads
from data_engine.engine.kept_inputs import FailedStep, GivenInputs, KeptInputs, keep, why_no_room
from data_engine.engine.kept_tables import TargetHeldError, keeping_of, source_of_rows
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.memo.values import copy_of
from data_engine.engine.memo.values import is_unchanged as is_value_unchanged
from data_engine.engine.params import as_steps_see, defaults_text, is_as_scheduled, unread
from data_engine.engine.publication import TargetChangedError
from data_engine.engine.quarantine import Quarantine, quarantine_of
from data_engine.engine.recording import RecordedPass, Recording, readers_watched
from data_engine.engine.run_sources import guard_of_run, same_bytes_text, seen_by_hand, taken_in
from data_engine.engine.stage import staged_run
from data_engine.errors import (
    FeedChangedError,
    FlowExecutionError,
    FlowStoppedError,
    FlowValidationError,
    LedgerError,
    SecretMissingError,
    message_of,
)
from data_engine.flow.context import FlowContext, WorkspaceConfigContext
from data_engine.flow.control import ItemMap, RunInterrupted, StepControl
from data_engine.flow.debug import FlowDebugContext
from data_engine.flow.flow import Flow
from data_engine.flow.hints import forgotten_return, never_computed
from data_engine.flow.locations import IN_PLACE, NotedPlaces, Places
from data_engine.flow.noted import NotedOfRun
from data_engine.flow.object_names import taken_changed, taken_later
from data_engine.flow.rules import CheckResult
from data_engine.flow.scan import missing_source_fix
from data_engine.flow.spec import StepSpec
from data_engine.flow.steps import run_steps, step_error
from data_engine.flow.trigger import Schedule
from data_engine.formatting import beginning, first_few
from data_engine.keeping import Keeping, RunOfRows, keeping
from data_engine.ledger.logs import LogBound, clipped, counts_as_warning, end_of_log, size_of
from data_engine.ledger.rows import changes_as_json
from data_engine.model import (
    Event,
    FeedCount,
    LogLine,
    ReportFacts,
    RunAbout,
    RunFinished,
    RunSpent,
    RunStarted,
    SeenSource,
    StepFinished,
    StepStarted,
    utc_text,
)
from data_engine.notebook.catalog import no_steps
from data_engine.notebook.locate import annotate
from data_engine.planning.feeds import shrunk
from data_engine.planning.slots import zone_of
from data_engine.platforms.names import lead_of
from data_engine.secret import knows_any, masked, masked_in
from data_engine.workspace.layout import kernel_shell
from data_engine.workspace.settings import ExecutorSettings

_LONGEST_DETAIL = 500
_MOST_TAKEN = 3


class RunPass:
    """The runs of one flow in one pass, one for each source: what they have in common is found once.

    `sink` gets every event as it happens, but of a long log only the first lines; its last ones come before the run's
    end, and `keep_last` gets each line that may be one of them as it happens. It `hears` all, or no steps: of runs their starts and
    ends, of each the lines of the log and progress; or these lines alone.

    A step that is about to overwrite a source of its run fails by that. With other params than a run that comes by itself is
    given, or with code that is not deployed, a run settles nothing: what is due, done or held stays so.

    Raises:
        SettingsError: the workspace's settings cannot be read.
    """

    def __init__(
        self,
        flow: Flow,
        *,
        home: LocalWorkspace | None,
        sink: Callable[[Event], None],
        params: Mapping[str, Any],
        may_work: Callable[[], None] | None = None,
        keep_last: Callable[[LogLine], None] | None = None,
        hears: Literal["all", "runs", "lines"] = "all",
    ) -> None:
        self.flow, self.home, self.params, self.name = flow, home, params, flow.name or ""
        self.sink, self.keep_last, self.may_work = sink, keep_last, may_work or (lambda: None)
        self.settles = flow._edited is None and is_as_scheduled(flow, params)
        settings = None if home is None else home.settings()
        self.executor = None if settings is None else settings.executor
        self.limit_s = None if settings is None else settings.limits.run_timeout_s
        self.recorded = None if home is None else RecordedPass(flow, params, home=home)
        self.frames = None if home is None else PassFrames(flow, home)
        self.hears_steps = hears == "all" or home is not None or bool(taken_later(flow.steps))
        self.hears_runs = self.hears_steps or hears == "runs"
        self.saving = [step for step in flow.steps if step.save_as is not None]
        self.in_kernel = kernel_shell() is not None
        self.lead_of = lead_of if flow.trigger is None else lru_cache(16)(lead_of)  # a manual pass is one run
        self.quarantine = None if home is None else quarantine_of(home.layout.root, flow)
        is_here = settings is not None and settings.replay.keep_s > 0 and not os.environ.get(ON_NODE)
        self.replay = settings.replay if is_here and settings is not None else None

    @cached_property
    def captured(self) -> list[tuple[Namespace, str]]:
        """The names in the author's modules that hold a reader or a writer itself."""
        return held(step.fn for step in self.flow.steps)

    def frames_of_run(self, about: RunAbout | None) -> RunFrames | None:
        """What takes the frames of a run of this pass; None outside of a workspace, and where no step saves, checks or maps."""
        if self.frames is None or not self.frames.taken:
            return None
        return RunFrames(self.frames, None if about is None else about.deployment_id)

    def run(
        self,
        source: Source,
        *,
        seen: tuple[SeenSource, ...] | None = None,
        run_id: str | None = None,
        about: RunAbout | None = None,
        knows_outputs: bool = True,
    ) -> FlowContext:
        """Run every step for `source`; its context, whose `error` is set when the run did not succeed.

        `seen` are the sources the run settles, as they were seen when it was found due; without it a poll flow's are looked at
        now. The error is a `FlowExecutionError` (placed in its notebook cell) when the code raised, a `FlowValidationError`
        when the input was wrong, a `FlowStoppedError` when it was stopped or out of time. `about` says why and for whom it
        runs; without it somebody asked for it here. Of a batch its own sources are what it has `seen`, unless the caller has no
        history (`knows_outputs`) and may have taken outputs of the flow for sources.

        Raises:
            LedgerError: the sink could not record the run.
            KeyboardInterrupt: the run is recorded as stopped.
        """
        run = _Run(
            self, source, seen=seen, run_id=run_id or os.urandom(16).hex(), about=about, knows_outputs=knows_outputs
        )
        run.begin(about)
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
        run.context.warnings = run.sink.warnings("success" if run.context.error is None else "failed")
        return run.context


class _Teller:
    """Passes on the events of one run: secrets masked, a long log within its bound, and its warnings counted."""

    def __init__(self, sink: Callable[[Event], None], keep_last: Callable[[LogLine], None] | None) -> None:
        self._sink, self._keep_last = sink, keep_last
        self._levels: list[str] = []
        self._lock = threading.Lock()

    @cached_property
    def _bound(self) -> LogBound[LogLine]:
        return LogBound()

    def __call__(self, event: Event) -> None:
        if knows_any():
            event = _masked(event)
        if isinstance(event, LogLine):
            self._line(event)
            return
        self._sink(event)

    def end_log(self) -> None:
        """Pass on the last lines of a long log: no other follows."""
        if "_bound" in self.__dict__:
            for line in end_of_log(*self._bound.rest()):
                self._pass_on(line)

    def warnings(self, status: str) -> int:
        """The number of warnings in the log of a run that ended so."""
        return sum(counts_as_warning(level, status) for level in self._levels) if self._levels else 0

    def _line(self, line: LogLine) -> None:
        line = clipped(line)
        size_bytes = size_of(line.message)
        with self._lock:
            if not self._bound.takes(size_bytes):
                self._bound.hold(line, size_bytes)
                if self._keep_last is not None:
                    self._keep_last(line)
                return
        self._pass_on(line)

    def _pass_on(self, line: LogLine) -> None:
        if counts_as_warning(line.level, "success"):
            self._levels.append(line.level)
        self._sink(line)


class _Run:
    """One run: reported by `begin`, carried out by `work`, and ended by `fail` or `succeed`."""

    def __init__(
        self,
        of: RunPass,
        source: Source,
        *,
        seen: tuple[SeenSource, ...] | None,
        run_id: str,
        about: RunAbout | None,
        knows_outputs: bool,
    ) -> None:
        self.started_s = time.perf_counter()
        self.started_at_s = time.time()
        flow, home = of.flow, of.home
        self.of, self.flow, self.source, self.params, self.name = of, flow, source, of.params, of.name
        self.run_id, self.sink = run_id, _Teller(of.sink, of.keep_last)
        self.items = item_executor(home, of.executor)
        self.control = StepControl(
            emit=self.sink,
            may_work=of.may_work if of.limit_s is None else self._may_work,
            spread=self.items.spread,
            run_id=run_id,
            flow=self.name,
        )
        is_there = False
        if seen is None:
            seen = seen_by_hand(flow, source, home)
            is_there = bool(seen) and source.path is not None
        self.seen = seen
        self.settles = seen if of.settles else ()
        self.recording = None if of.recorded is None else Recording(of.recorded, source, seen, run_id)
        self.frames = of.frames_of_run(about)
        self.control.feed = self.frames
        self.taken_in = taken_in(flow, source, seen) if of.settles and home is not None else {}
        self.rejections: list[CheckResult] = []
        self.given: GivenInputs | None = None
        self.noted = NotedOfRun()
        self.quarantine = None
        if of.quarantine is not None:
            self.quarantine = Quarantine(of.quarantine, self.name, source, run_id)
        self.stage = stage = staged_run(flow, source, seen, home=home, control=self.control, before=self._keep_rejected)
        staged = stage if flow.is_staged else None
        mirror = None if flow.mirror_spec is None else flow.mirror_spec.root if staged is None else staged.folder
        self.keeping = _written_at_once(of, source, run_id) if stage is None else stage.keeping
        seen = seen if knows_outputs else ()
        self.guard = guard = guard_of_run(flow, source, home, seen, mirror=mirror, lead_of=of.lead_of)
        if guard is not None:
            guard.fed = frozenset().union(*self.taken_in.values())
        places: Places | None = staged
        if guard is not None and mirror is not None:
            places = NotedPlaces(staged or IN_PLACE, guard.hand_out)
        self.context = make_context(
            flow,
            source,
            home=home,
            control=self.control,
            started_at_s=self.started_at_s,
            places=places,
            is_there=is_there,
        )
        if about is not None and about.scheduled_for is not None:
            self.context.scheduled_for = in_zone_of(flow, about.scheduled_for, home)

    def _may_work(self) -> None:
        self.of.may_work()
        if time.perf_counter() - self.started_s > (self.of.limit_s or 0.0):
            raise RunInterrupted("killed", Cause("time_limit", {"limit_s": self.of.limit_s}))

    def begin(self, about: RunAbout | None) -> None:
        """Report its start."""
        if not self.of.hears_runs:
            return
        group, source, recorded = self.flow.group, self.source, self.of.recorded
        try:
            details = None if recorded is None else recorded.about(about)
            at_s, settles = self.started_at_s, self.settles
            self.sink(RunStarted(self.run_id, self.name, group, source.text, at_s, source.key, settles, details))
            if details is not None and details.distributions is not None and recorded is not None:
                recorded.is_begun()
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
        if self.recording is not None and (text := defaults_text(context.params, self.params)) is not None:
            self.control.log(text)
        self._tell_of_sources()
        with captured(self.control):
            if stage is None and self.recording is None and self.guard is None:
                self._take_steps()
                return  # of no workspace: nothing is kept of it
            with (
                bound(keeping, self.keeping),
                readers_watched(self.of.captured),
                nullcontext() if self.recording is None else self.recording.watching(),
                nullcontext() if self.guard is None else guarding(self.guard),
            ):
                if stage is None:
                    self._take_steps()
                elif not stage.publish_what_was_made():
                    self._take_steps()
                    stage.end(context)
        self._keep_rejected()
        if self.quarantine is not None and not any(check.rejected for check in self.control.checked):
            self.quarantine.forget(but_of=None if stage is None else stage.finished)

    def _tell_of_sources(self) -> None:
        """Log what is unusual about the sources.

        Raises:
            FlowValidationError: another file has the source's name, in another encoding of its accents.
        """
        if (root := self.source.root) is not None and self.source.key is not None:
            keys = [self.source.key] if self.source.path is not None else [entry.key for entry in self.seen]
            if (name := same_name(root, [key.path for key in keys])) is not None:
                error = same_name_error(name, root)
                if self.source.path is not None:  # each would take the other's place, in tables too
                    raise error
                self.control.log(error.what, "WARNING")
        if self.settles and self.of.home is not None:
            text = same_bytes_text(self.flow, self.settles, self.of.home)
            if text is not None:
                self.control.log(text)
        if (text := self._shrunk_text()) is not None:
            self.control.log(text, "WARNING")

    def _shrunk_text(self) -> str | None:
        """What to tell of a batch that has shrunk, and is not held for that."""
        trigger, key, home = self.flow.trigger, self.source.key, self.of.home
        if trigger is None or trigger.shrink != "tell" or not self.taken_in or home is None:
            return None
        counts = {intake: len(files) for intake, files in self.taken_in.items()}
        found = shrunk(home.ledger().feeds(self.name).get("" if key is None else key.root), counts, is_slot=True)
        return None if found is None else f'{found[1].what}; the flow runs all the same, as shrink="tell" says'

    def _keep_rejected(self) -> None:
        """Keep what checks have rejected so far, before outputs take their place; once is enough."""
        if (
            self.quarantine is not None
            and (rejections := [check for check in self.control.checked if check.rejected]) != self.rejections
        ):
            self.quarantine.keep(rejections)
            self.rejections = rejections

    def _take_steps(self) -> None:
        recording, sink, guard, frames = self.recording, self.sink, self.guard, self.frames
        check, noted = None if guard is None else self._refuse_overwriting, self.noted
        if not self.of.hears_steps:
            for _ in run_steps(self.flow, self.context, control=self.control, check=check, is_told=False):
                pass
            return
        copies = KeptObjects(self.flow.steps)
        given = self.given = None if self.of.replay is None else GivenInputs()
        for event in run_steps(self.flow, self.context, control=self.control, check=check):
            if type(event) is StepStarted:
                if given is not None:
                    given.note(self.context)
            elif type(event) is StepFinished:
                if guard is not None:
                    event = self._with_outputs(event, guard)
                if recording is not None:
                    recording.take(event, self.context.current)
                event = noted.take(event, self.context)
                if frames is not None:
                    frames.take(event.step_index, self.context.current, is_good=event.status == "success")
            sink(event)
            if type(event) is StepFinished and event.status == "success":
                for warning in copies.after(event.step_index, self.context.objects):
                    self.control.log(warning, "WARNING")
        self.given = None

    def _refuse_overwriting(self, step: StepSpec) -> None:
        """Return when the step was refused nothing.

        Raises:
            FlowExecutionError: it has swallowed that it must not overwrite its source.
        """
        if self.guard is not None and self.guard.refused:
            raise step_error(self.flow, step, self.context, self.guard.refused[0], None, {}, None)[0]

    def _with_outputs(self, event: StepFinished, guard: OwnSources) -> StepFinished:
        """The event with the files that the step has written and not returned."""
        new = guard.new_outputs()
        if not new:
            return event
        final = self.context.places.final
        return event._replace(outputs=tuple(dict.fromkeys((*event.outputs, *(str(final(Path(path))) for path in new)))))

    def fail(self, raised: BaseException) -> BaseException:
        """Report its failure; the error for callers."""
        status, why, error = outcome_of(raised)
        if status == "failed":
            self.control.log(message_of(error), "ERROR")
        if self.keeping is not None and self.keeping.written:
            self.control.log(_written_text(self.keeping), "WARNING")
        inputs = self._inputs_to_keep(error)
        self._finish(status, why, message_of(error))
        if inputs is not None:
            self._keep_inputs(*inputs)
        return error

    def _inputs_to_keep(self, error: BaseException) -> tuple[KeptInputs, str] | None:
        """What is kept for a replay of the step that failed, and under which key; None where nothing can be."""
        given, settings, home, index = self.given, self.of.replay, self.of.home, self.control.index
        if given is None or settings is None or home is None or not isinstance(error, FlowExecutionError):
            return None
        try:
            mirror, step = self.context.mirror, self.flow.steps[index]
            written = [
                home.databases,
                *([] if mirror is None else [mirror.final_root, mirror.places.root(mirror.final_root)]),
            ]
            noted = self.noted.values
            failed = FailedStep(self.run_id, self.name, index, step, error, given, self.params, tuple(written), noted)
            inputs = failed.inputs(settings.size_bytes)
            why = why_no_room(home.local.replays_dir, inputs)
            if why is None:
                return inputs, failed.key
        except (
            Exception
        ) as raised:  # an object of the author's that cannot be looked at: the error of the run is what counts
            why = message_of(raised)
        self.control.log(f"the inputs of step {error.step_label!r} are not kept for a replay: {why}", "WARNING")
        return None

    def _keep_inputs(self, inputs: KeptInputs, key: str) -> None:
        settings, home = self.of.replay, self.of.home
        assert settings is not None
        assert home is not None
        keep(home.local.replays_dir, inputs, key, settings)

    def succeed(self) -> None:
        """Report its success, with the warnings."""
        path, seen = self.source.path, self.seen
        if self.guard is not None and (taken := list(self.guard.taken)):
            self.control.log(f"moved or removed {first_few(taken, _MOST_TAKEN)}, of the flow's own sources")
        if path is not None and seen and not is_unchanged(path, seen[0].signature):
            self.control.log(_changed_text(path), "WARNING")
        for warning in () if self.recording is None else self.recording.warnings():
            self.control.log(warning, "WARNING")
        objects = self.context.objects
        for step in self.of.saving:
            forgotten = None if step.save_as not in objects else forgotten_return(step, objects[step.save_as])
            if forgotten is not None:
                self.control.log(forgotten, "WARNING")
        lazy = None if self.of.in_kernel else never_computed(self.flow.steps[-1], self.context.current)
        if lazy is not None:  # in a cell its author may collect it
            self.control.log(lazy, "WARNING")
        if names := unread(self.context.params, self.params):
            self.control.log(f"no step has read the params {', '.join(names)}, which the run was given", "WARNING")
        self._finish("success", None, None)

    def close(self) -> None:
        """Close the executor of its items and its stage."""
        self.items.close()
        if self.stage is not None:
            self.stage.close()

    def _finish(self, status: str, why: Cause | None, error: str | None) -> None:
        elapsed_s = time.perf_counter() - self.started_s
        for doubt in () if self.recording is None else self.recording.doubts():
            self.control.log(doubt, "WARNING")
        self.sink.end_log()
        if not self.of.hears_runs:
            return
        is_due_again = why is not None and why.kind == "target_changed"
        settles = () if is_due_again else self.settles
        spent = self._spent(is_good=status == "success")
        self.sink(RunFinished(self.run_id, status, time.time(), elapsed_s, error, why, settles, spent))
        if spent is not None and spent.schema is not None and self.frames is not None:
            self.frames.note_sent(spent.schema)

    def _spent(self, *, is_good: bool) -> RunSpent | None:
        """What the run used and made; None where nothing of it is recorded."""
        if self.recording is None:
            return None
        puts_apart = is_good and self.quarantine is not None
        wrote = {} if self.keeping is None else self.keeping.wrote(is_good=is_good)
        spent = self.recording.spent(self.control.checked, wrote, puts_apart=puts_apart, is_good=is_good)
        if is_good and self.taken_in:
            moved = set() if self.guard is None else {path for path in self.guard.taken if not os.path.lexists(path)}
            counts = {intake.name: len(files - moved) for intake, files in self.taken_in.items()}
            spent = spent._replace(feed=FeedCount(counts))
        schema = None if self.frames is None else self.frames.schema(finds_drift=is_good and self.of.settles)
        if schema is not None:
            spent = spent._replace(schema=schema)
        if is_good and self.control.reports:
            spent = spent._replace(reports=tuple(map(_masked_report, self.control.reports)))
        return spent


def _masked_report(made: ReportFacts) -> ReportFacts:
    return made._replace(text=beginning(made.text, _LONGEST_DETAIL))


def _written_at_once(of: RunPass, source: Source, run_id: str) -> Keeping | None:
    """What the helpers are given of a run without a stage; None outside of a workspace."""
    if of.home is None:
        return None
    return keeping_of(of.home.databases, RunOfRows(run_id, of.name, source_of_rows(source, of.home)))


def _changed_text(path: Path) -> str:
    """The warning about a source that has changed since its run began."""
    if signature_of(path) is None:
        return f"{path} was gone when the run ended: it counts as done, and is due again only if it comes back changed"
    return f"{path} changed while it was read; it is due again; if a step writes it, after every run"


def _written_text(run: Keeping) -> str:
    """What a run that did not succeed has left in tables."""
    tables = [f"{path.name}:{table}" for path, table in run.written]
    return (
        f"had written {first_few(tables, _MOST_TAKEN)} before it ended; what replace_rows_by_file, replace_rows_by_values and"
        " replace_table are given is written only when a run has succeeded, where its mirror is staged or it has none"
    )


def in_zone_of(flow: Flow, slot_utc: str, home: LocalWorkspace | None) -> datetime:
    """The slot as its schedule says it: in the flow's zone."""
    name = flow.trigger.tz if isinstance(flow.trigger, Schedule) else None
    zone = zone_of(name or (None if home is None else home.settings().timezone))
    return datetime.fromtimestamp(datetime.fromisoformat(slot_utc).timestamp(), zone)


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
    is_there: bool = False,
) -> FlowContext:
    """The context of a run that is about to begin, but for its params; `places` says where it writes, else in place. A source that
    `is_there` was just seen; any other is looked for."""
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
    exists = is_there or (source.root is not None and (source.path or source.root).exists())
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
    if files is not None:
        files.config(path)


def require_steps(flow: Flow) -> None:
    """Refuse to run a flow that does nothing.

    Raises:
        FlowValidationError: it has no steps.
    """
    if not flow.steps:
        raise no_steps(flow.name or "flow")


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
            fix=missing_source_fix(target),
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
        why = _cause_of_change(raised) or why
        return "failed", why.where(**_facts_of(annotate(raised))), raised
    if isinstance(raised, KeyboardInterrupt):
        return "stopped", Cause("interrupted"), raised
    return "failed", Cause("code_raised"), raised


def _cause_of_change(error: BaseException | None) -> Cause | None:
    """The cause where a target could not be replaced, a step would have overwritten its source, or the feed has changed; None elsewhere."""
    while error is not None:
        if isinstance(error, OverwritesSourceError):
            return Cause("overwrites_source", {"path": error.where})
        if isinstance(error, FeedChangedError):
            return Cause("feed_changed", {"changes": changes_as_json(error.changes)})
        if isinstance(error, (TargetChangedError, TargetHeldError)):
            return Cause("target_changed" if isinstance(error, TargetChangedError) else "target_held")
        error = error.__cause__
    return None


def _facts_of(error: FlowValidationError) -> dict[str, Any]:
    """The place and text of the error that ended a run, for its cause."""
    step = detail = helper = None
    if isinstance(error, FlowExecutionError):
        step, detail = error.step_label, error.detail.partition("\n")[0][:_LONGEST_DETAIL]
        is_elsewhere = error.places and not (error.cell or "").startswith(error.places[0]["notebook"])
        helper = error.cell if is_elsewhere else None
    fix = {} if error.fix is None else {"fix": error.fix}
    return {"step": step, "detail": detail, "helper": helper, "places": list(error.places), **fix}


def _debug(flow: Flow, source: Source, home: LocalWorkspace, control: StepControl) -> FlowDebugContext:
    return FlowDebugContext(
        home.local.debug_dir,
        workspace_id=home.layout.workspace_id,
        flow_name=flow.name or "",
        run_id=control.run_id,
        source_path=source.text,
        control=control,
    )


MOST_BYTES = 8 * 1024 * 1024
"""A larger object is not looked at: a run is not to be slower, or to need more memory, by what it is warned of."""


class _Copy(NamedTuple):
    value: Any
    before: Any
    until: int


class KeptObjects:
    """The objects that a step saves and a later one takes by name, each with a copy as long as a step can change it."""

    def __init__(self, steps: Sequence[StepSpec]) -> None:
        self._steps = steps
        self._takers = taken_later(steps)
        self._copies: dict[str, _Copy] = {}

    def after(self, index: int, objects: Mapping[str, Any]) -> list[str]:
        """The warnings after step number `index` (from 0), which ended well: that it has changed what a later one takes.

        Example:
            >>> from data_engine import Flow
            >>> copies = KeptObjects(Flow("G").step(list, save_as="raw").step(sorted).step(len, use="raw").steps)
            >>> rows = [2, 1]
            >>> copies.after(0, {"raw": rows}), rows.sort(), len(copies.after(1, {"raw": rows}))
            ([], None, 1)
        """
        if not self._takers:
            return []
        warnings = []
        for name, copy in list(self._copies.items()):
            is_there = objects.get(name) is copy.value
            if is_there and index < copy.until and _is_as_it_was(copy):
                continue
            del self._copies[name]
            if is_there and index < copy.until:
                warnings += taken_changed(self._steps, index, [name])
        saved, until = self._steps[index].save_as, self._takers.get(index)
        if saved is not None and until is not None:
            self._keep(saved, objects.get(saved), until)
        return warnings

    def _keep(self, name: str, value: Any, until: int) -> None:
        try:
            copied = copy_of(value, most_bytes=MOST_BYTES)
        except Exception:  # what an author's object does when it is copied is no error of the run
            return
        if copied.size_bytes <= MOST_BYTES:
            self._copies[name] = _Copy(value, copied.value, until)


def _is_as_it_was(copy: _Copy) -> bool:
    try:
        return is_value_unchanged(copy.value, copy.before)
    except Exception:  # nor what it does when it is compared
        return True


class ItemExecutor(Protocol):
    """Spreads the items of the maps of one run. One thread goes through them."""

    def spread(self, work: ItemMap) -> list[Any]:
        """The results of the items in input order, as `items.threads.spread` gives them."""

    def close(self) -> None:
        """End what is kept warm, when the run has ended."""


def item_executor(
    home: LocalWorkspace | None, settings: ExecutorSettings | None = None, *, stays_here: bool = False
) -> ItemExecutor:
    """The executor for the items of one run of a flow that belongs to `home`, or to no workspace.

    `settings` are the workspace's, where they are at hand. A run that `stays_here`, as a preview does, whose scratch folder is this machine's, uses processes in a cluster's place.

    Raises:
        SettingsError: the workspace's settings cannot be read.
    """
    if home is None or os.environ.get(IN_ITEM):
        return Threads()
    settings = settings or home.settings().executor
    if settings.kind == "threads":
        return Threads()
    on_node = os.environ.get(ON_NODE)
    if on_node:  # a run that waited there for tasks of its own would wait for itself
        from data_engine.engine.items.processes import Processes

        share = int(on_node)
        return Processes(min(share, settings.workers), cores=share) if share > 1 else Threads()
    if settings.kind == "processes" or stays_here:
        from data_engine.engine.items.processes import Processes

        return Processes(settings.workers)
    from data_engine.cluster.connection import connected
    from data_engine.cluster.local import scheduler_of
    from data_engine.engine.items.cluster import Cluster

    return Cluster(lambda: connected(scheduler_of(settings, home.layout.root, home.local.runtime_dir)), home)

"""The loop over a flow's steps that runs only what changed.

A step's key is made of its code, what it consumes and the run's facts. Behind the key lies an entry: the result, where one can
be kept, and everything the step read. When all of that is as it was, the step's *out key* is known without running it; it
stands for the result in the keys of later steps, kept or not. A step whose reads are not all seen, or that changes
something beside its result, gets a new out key each time, and everything after it runs too.

A step runs in the state it would find if all before it had just run: its inputs are handed out once for each preview, so
what is one object in production is one object here. Where that cannot be had (a step that changes its input, whose value
another step's result holds too), the preview starts over and makes every value in order.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

from data_engine.engine.access.access_log import (
    AccessLog,
    Kind,
    Namespace,
    active_logs,
    bound,
    not_logged,
    signature_of,
)
from data_engine.engine.access.afterwards import Before, first_sources
from data_engine.engine.access.file_events import FileGuard, current_guard, failing_when_refused, guarding
from data_engine.engine.access.guards import PreviewGuard
from data_engine.engine.access.interceptors import Interceptors, headings_twice, intercepted
from data_engine.engine.candidates import Source
from data_engine.engine.capture import captured
from data_engine.engine.memo.cache import (
    DEFAULT_CACHE_BYTES,
    CacheEntry,
    Comparisons,
    Place,
    PreviewCache,
    Reads,
    StepMakeup,
    facts_of,
    signatures_of,
    why_defined_anew,
    why_no_entry,
)
from data_engine.engine.memo.caption import PreviewedStep
from data_engine.engine.memo.fingerprint import Traces, code_fingerprint, value_digest, world
from data_engine.engine.memo.tracer import Tracer, digest_of
from data_engine.engine.memo.values import (
    CannotCopy,
    TooLarge,
    copy_of,
    holds_arrays,
    is_lazy,
    is_unchanged,
    mutable_ids,
    paths_in,
)
from data_engine.engine.params import values_of
from data_engine.engine.scratch import BESIDE, Scratch, ScratchFile
from data_engine.flow.check import Check, SplitRows, names_saved
from data_engine.flow.context import FlowContext, WorkspaceConfigContext
from data_engine.flow.control import StepControl
from data_engine.flow.flow import Flow
from data_engine.flow.hints import forgotten_return
from data_engine.flow.locations import IN_PLACE, NotedPlaces, Places
from data_engine.flow.object_names import taken_changed
from data_engine.flow.report import Report
from data_engine.flow.spec import Collect, Map, StepSpec
from data_engine.flow.steps import Earlier, note_outputs, outputs_of, run_steps
from data_engine.formatting import beginning
from data_engine.keeping import read_from
from data_engine.ledger.logs import counts_as_warning
from data_engine.model import Event, LogLine
from data_engine.record import frozen
from data_engine.secret import Secret

_LONGEST_WARNING = 300


@frozen
class KeptResults:
    """The results that a preview may reuse: `cache` holds `limit_bytes` at most; a `fresh` preview takes nothing from it."""

    cache: PreviewCache
    limit_bytes: int = DEFAULT_CACHE_BYTES
    fresh: bool = False


class PreviewRunner:
    """One preview of a flow: `run` gives objects that its steps save; `reports` has the outcome of each, by number.

    With `scratch` its steps write there; without, where production writes, and `in_place` holds the paths that were handed out.
    `wrote` holds what steps that ran have written to scratch, as production calls it; `parts` what their code is made of.
    Files below `ours` are Data Engine's own, and no step depends on them. The `guard` is shown what the steps change.
    """

    def __init__(
        self,
        flow: Flow,
        context: FlowContext,
        control: StepControl,
        source: Source,
        results: KeptResults,
        *,
        scratch: Scratch | None = None,
        ours: tuple[str, ...] = (),
        guard: FileGuard | None = None,
    ) -> None:
        self.flow = flow
        self.context = context
        self.control = control
        self.source = source
        self.cache = results.cache
        self.limit_bytes = results.limit_bytes
        self.fresh = results.fresh
        self.sink, control.emit = control.emit, self._emit
        self.scratch = scratch
        self.ours = ours
        self.guard = guard
        self.reports: dict[int, PreviewedStep] = {}
        self.wrote: dict[Path, None] = {}
        self.in_place: dict[Path, None] = {}
        self.reasons: dict[int, str] = {}
        self.parts: dict[str, bytes] = {}
        self.needs_order = False
        self.interceptors = Interceptors()
        self.warned: list[str] = []

    def run(self, stop: int, names: Collection[str]) -> dict[str, Any]:
        """The objects `names` that the first `stop` steps save; under "current" the last result.

        Raises: as `run_steps`.
        """
        flow_place = self.place(0)[:4]
        in_order = self.fresh or self.cache.needs_order(flow_place)
        fresh = self.fresh
        with self._watching():
            while True:
                self.control.reports.clear()
                try:
                    objects = _Attempt(self, in_order=in_order, fresh=fresh).run(stop, names)
                except _StartOver:
                    in_order, fresh = True, in_order  # the second time nothing is taken from the cache
                else:
                    self.cache.set_order(flow_place, needed=self.needs_order)
                    return objects

    def run_from(self, first: int, current: Any, objects: Mapping[str, Any]) -> Any:
        """The last result of the steps from number `first` (from 0) on, which are given these; nothing is reused, and nothing kept.

        Raises: as `run_steps`.
        """
        traces: Traces = {}
        context = watched(self.context)
        attributes = attributes_of(context)
        attributes.update(current=current, objects=dict(objects))
        if self.scratch is not None:
            attributes["places"] = self.scratch
            if context.mirror is not None:
                attributes["mirror"] = replace(context.mirror, places=self.scratch)
        with self._watching():
            for spec in self.flow.steps[first:]:
                code, before = code_fingerprint(spec, traces), None
                if isinstance(self.guard, PreviewGuard):
                    before = Before(self.guard, first_sources(self.source.path, self.source.root), code.alive)
                log = AccessLog(value_digest, scratch=self.scratch, ours=self.ours)
                only = watched_step(spec, code.captured, context, self.interceptors, log, before)
                for event in run_steps(replace(self.flow, steps=(only,)), context, control=self.control):
                    self.sink(event)
                if isinstance(value := attributes["current"], SplitRows):
                    attributes["current"] = value.good
                    attributes["objects"] |= _split(value, spec)
        return attributes["current"]

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Inside, what the steps read is seen, and what they would change beside scratch is held back."""
        with (
            closing(self.interceptors),
            guarding(self.guard),
            captured(self.control, prints=False),
            not_logged(),
            bound(read_from, (lambda path: path) if self.scratch is None else self.scratch.file_to_read),
        ):
            yield

    def _emit(self, event: Event) -> None:
        """Pass an event on; the warnings of the step that runs are left in `warned`."""
        if isinstance(event, LogLine) and counts_as_warning(event.level, "success"):
            self.warned.append(beginning(event.message, _LONGEST_WARNING))
        self.sink(event)

    @property
    def outside(self) -> tuple[str, ...]:
        """The files beside scratch that its steps have made, or changed as an earlier preview's."""
        return self.guard.touched if isinstance(self.guard, PreviewGuard) else ()

    def place(self, index: int) -> Place:
        """Where step number `index` stands, whatever its code."""
        names = [_name(step) for step in self.flow.steps[: index + 1]]
        place = (str(self.context.workspace_root), self.flow.name or "", self.flow.group, str(self.source.path))
        return (*place, names[-1], str(names.count(names[-1])))

    def findings(self, index: int) -> list[str]:
        """What the checks before step number `index` have found, in words; those of reused steps too."""
        return [line for at in range(index) for line in self.reports[at].checked]

    def facts(self) -> list[object]:
        """The facts that every step of this preview depends on beside code and values."""
        flow, source = self.flow, self.source
        mirror = None if flow.mirror_spec is None else str(flow.mirror_spec.root)
        extensions = None if flow.trigger is None else flow.trigger.extensions
        place = (str(source.root), str(source.path), source.key, str(self.context.workspace_root))
        return [flow.name, flow.group, mirror, extensions, place, self.context.source is None, self.scratch is None]


class _StartOver(BaseException):
    """The preview starts over: reused results do not fit what a step did. A BaseException, so that no step swallows it."""


@dataclass(slots=True)
class _Step:
    """One step in one attempt. `before` is the number of the step whose result is its `context.current`, `saved` those of
    the steps whose results have a name; `entry` is there once the step was reused or ran."""

    spec: StepSpec
    code: Tracer
    makeup: StepMakeup
    key: bytes
    before: int | None
    saved: dict[str, int]
    entry: CacheEntry = field(init=False)

    @property
    def name(self) -> str:
        return _name(self.spec)

    @property
    def inputs(self) -> dict[str, int]:
        """The numbers of the steps whose results it may be given; no step saves an object as "current"."""
        return ({} if self.before is None else {"current": self.before}) | self.saved


class _Attempt:
    """One pass over the steps. With `in_order` every value is made or copied before the next step is looked at."""

    def __init__(self, preview: PreviewRunner, *, in_order: bool, fresh: bool) -> None:
        self.preview = preview
        self.flow = preview.flow
        self.cache = preview.cache
        self.scratch = preview.scratch
        self.context = watched(preview.context)
        if self.scratch is not None:
            self.scratch.begin()
        self.in_order = in_order
        self.fresh = fresh
        self.steps: list[_Step] = []
        self.traces: Traces = {}
        self.world: dict[str, bytes] = {}
        self.values: dict[int, Any] = {}
        self.ran: set[int] = set()
        self.changed: dict[int, int] = {}  # the steps whose values a later one has changed, and the first that did
        self.writer: str | None = None  # the step from which on the context is handed on as it is
        self.comparisons = Comparisons(preview.source.path, preview.context.workspace_root)
        self.facts = digest_of(*preview.facts())
        self.params = params_digest(preview.context.params)

    def run(self, stop: int, names: Collection[str]) -> dict[str, Any]:
        """Reuse or run the steps; the objects of these names."""
        saved: dict[str, int] = {}
        for index, spec in enumerate(self.flow.steps[:stop]):
            by_name = spec.use is not None and spec.use != "current"
            before = saved.get(spec.use or "") if by_name else (index - 1 if index else None)
            self._take(index, self._step(spec, before, dict(saved)))
            saved |= {name: index for name in (spec.save_as, _rejected(spec)) if name is not None}
        saved["current"] = stop - 1
        return {name: self._object(name, saved[name]) for name in names if name in saved}

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _step(self, spec: StepSpec, before: int | None, saved: dict[str, int]) -> _Step:
        code = code_fingerprint(spec, self.traces)
        self.world = world()  # a trace may import libraries, which set variables
        consumed = {} if before is None else {self.steps[before].name: self.steps[before].entry.out_key}
        if "objects" in code.mentions:
            consumed |= {f"{name} (saved)": self.steps[at].entry.out_key for name, at in saved.items()}
        consumed["params"] = self.params or b""
        makeup = StepMakeup({**code.parts, **self.world}, consumed)
        key = digest_of(self.facts, sorted(makeup.parts.items()), sorted(makeup.consumed.items()))
        return _Step(spec, code, makeup, key, before, saved)

    def _take(self, index: int, step: _Step) -> None:
        """Reuse a step or run it."""
        self.steps.append(step)
        self.preview.parts |= step.code.parts
        reasons = self.preview.reasons
        past = self.cache.past(self.preview.place(index), step.makeup)
        entry = self.cache.get(self._key_here(step)) or self.cache.get(step.key)
        unseen = step.code.unseen or self._unseen_state(step)
        why = self._why_run(step, entry, past, unseen)
        if why is not None or entry is None:
            why = reasons.setdefault(index, why or "first preview")
            if entry is not None and entry.needs_order and not self.in_order:
                raise _StartOver
            self._run(index, why, unseen)
            return
        step.entry = entry
        earlier = reasons.get(index)  # it ran before the preview started over
        self.preview.reports[index] = replace(entry.report, ran=earlier is not None, why=earlier)
        if self.in_order and entry.shares:
            self._run(index, "its result is part of another's", None)
        elif self.in_order:
            self._value(index)

    def _why_run(
        self, step: _Step, entry: CacheEntry | None, past: StepMakeup | None, unseen: str | None
    ) -> str | None:
        """Why the step cannot be reused."""
        if self.fresh:
            return "fresh=True"
        if self.writer is not None:
            return f"{self.writer} writes to the context"
        if isinstance(step.spec.fn, Report):
            return "a report is written each time"
        if unseen is not None:
            return f"depends on something that cannot be tracked: {unseen}"
        if entry is None:
            return why_no_entry(past, step.makeup)
        classes = [each.code.classes for each in self.steps]
        why = entry.unseen or self.comparisons.why_moved(entry) or why_defined_anew(entry, classes)
        return why or (None if self.scratch is None else self._why_not_in_scratch(self.scratch, entry))

    def _why_not_in_scratch(self, scratch: Scratch, entry: CacheEntry) -> str | None:
        """Why the scratch folder keeps the step from being reused; where it does not, its files are there again."""
        for path, version in entry.versions.items():
            if scratch.version(path) != version:
                return f"file {os.path.basename(path)} changed"
        return None if scratch.restore(entry.scratch) else "what it wrote is too large to be kept"

    def _key_here(self, step: _Step) -> bytes:
        """The key of a step that has asked for a path of the scratch folder: its result may name that."""
        if self.scratch is None:
            return step.key
        return digest_of(step.key, str(self.scratch.folder), self.scratch.start)

    def _unseen_state(self, step: _Step) -> str | None:
        """The state that no key covers: a saved handle or generator this step can reach, which an earlier step may have used up."""
        if step.code.odd_metadata:
            return "metadata that differs from run to run"
        for name, at in step.saved.items():
            if self.steps[at].entry.is_stateful and ("objects" in step.code.mentions or at == step.before):
                return f"the state of {name}"
        return "params whose content cannot be compared" if self.params is None else None

    # -- values --------------------------------------------------------------------------------------------------------

    def _value(self, index: int) -> Any:
        """The one object that is this step's result in this preview."""
        if index in self.values:
            return self.values[index]
        step = self.steps[index]
        entry = step.entry
        if entry.same_as is not None:
            self.values[index] = self._value(step.inputs[entry.same_as])
        elif entry.report.not_kept is None:
            self.values[index] = copy_of(entry.value).value
        else:
            self._run(index, f"its result is not kept ({entry.report.not_kept})", None)
            if step.entry.out_key != entry.out_key:
                raise _StartOver
        return self.values[index]

    def _object(self, name: str | None, index: int) -> Any:
        """The object of this name that the step gives; a check has two."""
        return SplitRows.pick(self._value(index), name, _rejected(self.steps[index].spec))

    def _origin(self, index: int) -> int:
        """The step whose value is handed on as the result of step number `index`."""
        step = self.steps[index]
        same_as = step.entry.same_as
        return index if same_as is None else self._origin(step.inputs[same_as])

    # -- running -------------------------------------------------------------------------------------------------------

    def _run(self, index: int, why: str, unseen: str | None) -> None:
        step, attributes = self.steps[index], attributes_of(self.context)
        if self.writer is None:
            self._hand_out(index, attributes)
        log = AccessLog(value_digest, scratch=self.scratch, ours=self.preview.ours)
        self._renew_context(index, log)
        if self.preview.source.path is not None:
            log.note("content", str(self.preview.source.path))
        literals = signatures_of(step.code.paths, self.preview.ours)
        parts, state = {**step.code.parts, **self.world}, changeable_state(attributes, step.spec)
        before = self._before(step, literals)
        only = watched_step(step.spec, step.code.captured, self.context, self.preview.interceptors, log, before)
        alone = replace(self.flow, steps=(only,))
        earlier = Earlier.of(self.flow, step.before, step.saved)
        self.preview.warned.clear()
        control = self.preview.control
        control.checked.clear()
        control.findings[:] = self.preview.findings(index)
        for event in run_steps(alone, self.context, control=control, earlier=earlier):
            self.preview.sink(event)
        self.comparisons.forget()
        written = {} if self.scratch is None else self.scratch.end_step()
        value = attributes["current"]
        if warning := forgotten_return(step.spec, value):
            self.preview.warned.append(warning)
        is_odd = not log.tables <= step.code.tables
        if is_odd:
            log.mark_unseen("the context as a whole")
        is_writer = changeable_state(attributes, step.spec) != state
        changed = self._changed_in_place(step)
        self._note_changed(index, changed)
        writing = self._writing(step, is_writer=is_writer)
        impure = self._impurity(step, parts, changed) or writing
        self.ran.add(index)
        self.values[index] = value
        if isinstance(value, SplitRows):
            attributes["current"] = value.good
            attributes["objects"] |= _split(value, step.spec)
        missed = unseen or log.unseen
        again = impure or (None if missed is None else f"depends on something that cannot be tracked: {missed}")
        entry = self._entry(step.name, why, value, log, literals)
        entry.unseen, entry.needs_order, entry.scratch = again, is_odd or impure is not None, written
        self._store(index, entry, value)
        self._note_written(written)
        self.preview.needs_order = self.preview.needs_order or entry.needs_order
        if entry.needs_order and not self.in_order and (is_odd or not self.ran.issuperset(range(index))):
            raise _StartOver

    def _before(self, step: _Step, literals: Reads) -> Before | None:
        """The files that the step must leave, as they are before it."""
        guard, source = self.preview.guard, self.preview.source
        if not isinstance(guard, PreviewGuard):
            return None
        named = (path for kind, path in literals if kind == "content")
        return Before(guard, chain(first_sources(source.path, source.root), named), step.code.alive)

    def _hand_out(self, index: int, attributes: dict[str, Any]) -> None:
        """Give a step its inputs, and those saved objects that it may look at."""
        step = self.steps[index]
        code, use = step.code, step.spec.use if step.spec.use != "current" else None
        is_open = "objects" in code.mentions or code.odd_metadata or self.in_order or use not in (None, *step.saved)
        if code.odd_metadata:
            for at in range(index):
                self._value(at)
        objects = {name: self._object(name, at) for name, at in step.saved.items() if is_open or name == use}
        attributes.update(current=None if step.before is None else self._object(use, step.before), objects=objects)

    def _renew_context(self, index: int, log: AccessLog) -> None:
        """Renew what a step reads through the context, so that nothing is remembered from an earlier step."""
        context, attributes = self.context, attributes_of(self.context)
        if isinstance(self.preview.guard, PreviewGuard):
            self.preview.guard.use = next(reversed(self.steps[index].saved), None)

        attributes["config"] = WorkspaceConfigContext(context.workspace_root, on_read=log.config)

        def note(place: Path, is_folder: bool) -> None:
            self.preview.in_place.setdefault(place)
            log.targets.setdefault(str(place))

        places: Places = self.scratch or NotedPlaces(IN_PLACE, note)
        if self.scratch is not None:
            self.scratch.begin_step()
            self.scratch.read = lambda path: log.note("stat", str(path))
            self.scratch.read_database = lambda path: log.note("database", str(path))
        attributes["places"] = places
        if context.mirror is not None:
            attributes["mirror"] = replace(context.mirror, places=places)
        if self.writer is None:
            attributes["metadata"]["step_outputs"] = {}
            for at in range(index):
                if at in self.values and outputs_of(self.values[at]):
                    note_outputs(context, self.flow.steps[at].label, self.values[at])

    def _note_written(self, written: Mapping[Path, ScratchFile]) -> None:
        """Note for the caption what a step has written to scratch."""
        for path, file in written.items():
            if self.scratch is not None and file.is_written and not path.name.endswith(BESIDE):
                self.preview.wrote.setdefault(self.scratch.final(path))

    def _impurity(self, step: _Step, parts: Mapping[str, bytes], changed: Sequence[int]) -> str | None:
        """What the step changed beside its result and the context; the steps of `changed` are known to have changed results."""
        code = step.code if step.code.is_as_it_was() else code_fingerprint(step.spec, self.traces)
        self.world = world()
        after = {**code.parts, **self.world}
        label = next((label for label in {**parts, **after} if parts.get(label) != after.get(label)), None)
        if label is not None:
            return f"it changes {label}"
        if not changed:
            return None
        at = max(changed, key=lambda at: self.changed[self._origin(at)])  # what it is the first to change, if anything
        by = self.steps[self.changed[self._origin(at)]]
        return f"{'it' if by is step else by.name} changes {self.steps[at].name} in place"

    def _writing(self, step: _Step, *, is_writer: bool) -> str | None:
        """Say that the step, or an earlier one, writes to the context; from there on it is handed on as it is, as in a run, since later
        steps may take anything from it."""
        if not is_writer and self.writer is None:
            return None
        self.writer = self.writer or step.name
        return ("it" if is_writer else self.writer) + " writes to the context"

    def _changed_in_place(self, step: _Step) -> list[int]:
        """The numbers of the steps whose results the step, which has run, or one before it has changed."""
        inputs = [at for at in dict.fromkeys(step.inputs.values()) if at in self.values]
        entries = {at: self.steps[self._origin(at)].entry for at in inputs}
        return [
            at
            for at in inputs
            if entries[at].report.not_kept is None and not is_unchanged(self.values[at], entries[at].value)
        ]

    def _note_changed(self, index: int, changed: Sequence[int]) -> None:
        """Note for the caption that step number `index` is the first to change what a later one takes."""
        names = [self.flow.steps[at].save_as for at in changed if self._origin(at) not in self.changed]
        self.preview.warned += taken_changed(self.flow.steps, index, names)
        self.changed = {**{self._origin(at): index for at in changed}, **self.changed}

    # -- keeping -------------------------------------------------------------------------------------------------------

    def _entry(self, name: str, why: str, value: Any, log: AccessLog, literals: Reads) -> CacheEntry:
        """The entry of a step: its report, what it read and left behind; of the paths in its code, those that it did not make itself."""
        report = PreviewedStep(
            name,
            ran=True,
            why=why,
            at_s=time.time(),
            doubts=tuple(log.doubts),
            headings=headings_twice(value),
            warned=tuple(self.preview.warned),
            checked=tuple(check.words for check in self.preview.control.checked),
        )
        reads = {place: signature for place, signature in literals.items() if place[1] not in log.written} | log.reads
        return CacheEntry(reads, log.frames, _files_left(value, log), log.versions, report)

    def _store(self, index: int, entry: CacheEntry, value: Any) -> None:
        step, is_at_home = self.steps[index], self.scratch is not None and self.scratch.was_asked
        entry.out_key = _out_key(step.key, entry, value, is_collect=isinstance(step.spec.fn, Collect))
        self._keep(step, entry, value)
        step.entry = entry
        self.cache.put(self._key_here(step) if is_at_home else step.key, entry, self.preview.limit_bytes)
        self.preview.reports[index] = entry.report

    def _keep(self, step: _Step, entry: CacheEntry, value: Any) -> None:
        """Put a copy of the value into its entry, or say why there is none."""
        others = {name: self.values[at] for name, at in step.inputs.items() if at in self.values}
        try:
            copied, size_bytes, classes = copy_of(value, apart=any(map(holds_arrays, others.values())))
        except CannotCopy as error:
            entry.report = replace(entry.report, not_kept=str(error))
            entry.is_stateful = not is_lazy(value) and not isinstance(error, TooLarge)
            return
        mine = mutable_ids(value)
        entry.same_as = next((name for name, other in others.items() if other is value and mine), None)
        if entry.same_as is None:
            if size_bytes > self.preview.limit_bytes:
                entry.report = replace(entry.report, not_kept="larger than the preview cache")
                return
            entry.value, entry.size_bytes, entry.classes = copied, size_bytes, classes
            entry.shares = bool(mine) and any(not mine.isdisjoint(mutable_ids(other)) for other in others.values())


def _name(step: StepSpec) -> str:
    return step.save_as or step.label


def _rejected(step: StepSpec) -> str | None:
    """The name of a check's rejected rows."""
    return step.fn.rejected if isinstance(step.fn, Check) else None


def _split(value: SplitRows, step: StepSpec) -> dict[str, Any]:
    """The objects that a check gives."""
    return {name: SplitRows.pick(value, name, _rejected(step)) for name in names_saved(step)}


def _out_key(key: bytes, entry: CacheEntry, value: Any, *, is_collect: bool) -> bytes:
    """The key for the result of a step with this key, in the keys of later steps."""
    if entry.unseen is not None:
        return os.urandom(32)
    tokens = sorted((str(path), file.token) for path, file in entry.scratch.items())
    left = facts_of(entry.files)
    if is_collect:  # what else lies in the folder is no matter
        return digest_of(key, value_digest(value) or os.urandom(32), left, tokens)
    named = sorted((name, digest) for (_, name), (_, digest) in entry.frames.items())
    return digest_of(key, facts_of(entry.reads), named, sorted(entry.versions.items()), left, tokens)


def _files_left(value: Any, log: AccessLog) -> Reads:
    """The files that a step left behind: those it wrote or was given the paths of, and those that its result names."""
    paths = [*log.written, *log.targets, *(os.path.abspath(path) for path in paths_in(value))]
    files = [path for path in dict.fromkeys(paths) if log.scratch is None or not log.scratch.holds(path)]
    kinds: dict[str, Kind] = {path: "kind" if os.path.isdir(path) else "content" for path in files}
    return {(kind, path): signature_of(kind, path) for path, kind in kinds.items()}


def watched_step(
    spec: StepSpec,
    captured: Iterable[tuple[Namespace, str]],
    context: WatchedContext,
    interceptors: Interceptors,
    log: AccessLog,
    before: Before | None = None,
) -> StepSpec:
    """The step with its function watched: what it reads is logged, and which tables of the context it looks at."""
    fn: Any = spec.fn
    if isinstance(fn, Report):
        pass  # it asks for nothing but objects
    elif isinstance(fn, Check):
        fn = fn.apart if fn.rejected is not None else fn
    else:
        fn = replace(fn, fn=intercepted(fn.fn)) if isinstance(fn, Map) else intercepted(fn)

    @wraps(spec.fn, assigned=(), updated=())
    def watched_fn(step_context: FlowContext) -> Any:
        context.looked_at = log.tables
        with interceptors.intercept(log, captured), failing_when_refused():
            try:
                value = fn(step_context)
            finally:
                context.looked_at = set()
            if before is not None and isinstance(guard := current_guard(), PreviewGuard):
                with not_logged():
                    path = before.changed(log)
                if path is not None:
                    guard.found_changed(path)
            return value

    return replace(spec, fn=watched_fn)


_TABLES = ("objects", "metadata")


class WatchedContext(FlowContext):
    """A context that notices which of its tables are looked at, by whatever way: `looked_at` holds their names."""

    __slots__ = ("looked_at",)

    looked_at: set[str]

    def __new__(cls, *_: object, **__: object) -> WatchedContext:
        context = super().__new__(cls)
        context.looked_at = set()
        return context

    def __repr__(self) -> str:
        return super().__repr__().replace("WatchedContext(", "FlowContext(", 1)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        self.looked_at.update(_TABLES)
        return attributes_of(self)

    @property
    def objects(self) -> dict[str, Any]:
        """As `FlowContext.objects`."""
        return self._noticed("objects")

    @objects.setter
    def objects(self, value: dict[str, Any]) -> None:
        attributes_of(self)["objects"] = value

    @property
    def metadata(self) -> dict[str, Any]:
        """As `FlowContext.metadata`."""
        return self._noticed("metadata")

    @metadata.setter
    def metadata(self, value: dict[str, Any]) -> None:
        attributes_of(self)["metadata"] = value

    def secret(self, name: str) -> Secret:
        """As `FlowContext.secret`; it may be another by the next preview. What a keyring reads and writes is not the step's."""
        for log in active_logs():
            log.mark_unseen(f"the secret {name}")
        with not_logged():
            return super().secret(name)

    def _noticed(self, name: str) -> dict[str, Any]:
        self.looked_at.add(name)
        table: dict[str, Any] = attributes_of(self)[name]
        return table


WatchedContext.__name__ = "FlowContext"  # what Python calls it in the text of an error, as in production


def attributes_of(context: FlowContext) -> dict[str, Any]:
    """The context's own attributes, to read and to set unnoticed."""
    attributes: dict[str, Any] = vars(FlowContext)["__dict__"].__get__(context)
    return attributes


def watched(context: FlowContext) -> WatchedContext:
    """A watched context with the attributes of `context`, in which no step has run."""
    attributes = dict(attributes_of(context))
    attributes |= {"metadata": {**attributes["metadata"], "step_outputs": {}}, "objects": {}}
    return WatchedContext(**attributes)


def changeable_state(attributes: Mapping[str, Any], step: StepSpec) -> object:
    """The state of the context that `step` could change: its attributes, its saved objects, its metadata."""
    own = {name: id(value) for name, value in attributes.items() if name not in ("current", "control", *_TABLES)}
    objects = {name: id(value) for name, value in attributes["objects"].items() if name != step.save_as}
    metadata = {name: id(value) for name, value in attributes["metadata"].items() if name != "step_outputs"}
    outputs = attributes["metadata"].get("step_outputs")
    if isinstance(outputs, dict):  # the step's own may be numbered
        outputs = {name: id(value) for name, value in outputs.items() if not str(name).startswith(step.label)}
    return own, objects, params_digest(attributes["params"]), metadata, outputs


def params_digest(params: Any) -> bytes | None:
    """The content of `context.params`, in which a secret counts by its value; None where unknown."""
    values = {
        name: sha256(value.reveal().encode()).digest() if isinstance(value, Secret) else value
        for name, value in values_of(params).items()
    }
    return value_digest(values) if values else b"none"

"""A replay: the failing step of a run, with the inputs it was given, in the caller's process.

What the run has kept is read (`data_engine/engine/kept_inputs.py`); what it has not is made again by the steps before, on the same
version of the source. The context leads to scratch, as in a preview, so that nothing of production changes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from data_engine.display_hook import Displayable
from data_engine.engine.candidates import Source, listed_source, pick_source
from data_engine.engine.kept_inputs import KeptInputs, call_of, kept_inputs
from data_engine.engine.local_workspace import LocalWorkspace, settle_flow
from data_engine.engine.memo.caption import loud_html, outside_text, show_caption
from data_engine.engine.memo.fingerprint import code_fingerprint
from data_engine.engine.memo.runner import PreviewRunner
from data_engine.engine.memo.values import CannotCopy, copy_of
from data_engine.engine.params import params_for
from data_engine.engine.preview import make_runner
from data_engine.engine.recording import environment
from data_engine.engine.result_display import ProgressLine, bound_display, place_at_step
from data_engine.engine.run import in_zone_of, item_executor, outcome_of
from data_engine.engine.run_sources import preview_files
from data_engine.engine.scratch import scratch_of
from data_engine.errors import FlowValidationError, message_of
from data_engine.flow.check import names_saved
from data_engine.flow.context import FlowContext
from data_engine.flow.control import StepControl
from data_engine.flow.flow import Flow
from data_engine.flow.paths import portable_text
from data_engine.flow.spec import StepSpec
from data_engine.formatting import cli_line, duration_text, first_few
from data_engine.ledger.outputs import path_mover
from data_engine.model import Run, utc_text
from data_engine.secret import MASK
from data_engine.status.deployed_before import find_flow
from data_engine.status.openings import failing_step
from data_engine.workspace.layout import current_notebook, kernel_shell

_MOST_NAMED = 10
_MADE_AGAIN, _LOST = "made again by the steps before", "no step before gives it"


class Replay(Displayable):
    """The failing step of a run, open with what it was given.

    `context` is the context of that step, whose mirror and databases are scratch; `item` is the failing item of a map, else None; `step`
    is the step as the flow has it now. `error` is the recorded error, `locals` are the author's variables at the failing line as short
    texts. `missing` says what was not kept or is of another version here, and why. `run()` goes on from the step to the end.
    """

    def __init__(self, home: LocalWorkspace, run: Run, index: int, kept: KeptInputs | None) -> None:
        self._home, self._run, self._kept = home, run, kept
        self._index = index
        self.run_id = run.run_id
        self.flow_name = run.flow
        self.error = run.error or run.cause or ""
        self.locals: dict[str, str] = {} if kept is None else dict(kept.locals)
        self.missing: dict[str, str] = {}
        self.item: Any = None
        flow = flow_now(home, run.flow)
        self.step: StepSpec = flow.steps[index]
        self._scratch = scratch_of(
            flow, home, limit_bytes=home.settings().preview.copy_limit_bytes, of=f"~replay {run.run_id[:8]}"
        )
        self._metadata: Mapping[str, Any] = {}
        self._current, self._objects = self._inputs(flow)
        self._metadata = run.metadata if kept is None else kept.metadata
        self.context = self._context(flow)

    def __repr__(self) -> str:
        return f"<Replay of step {self.step.label!r} of run {self.run_id[:8]} ({self.flow_name})>"

    @property
    def call(self) -> str:
        """The line that calls the step's function as the run did, in a cell where `replay` and `context` are this replay's."""
        return call_of(self.step, has_item=self._kept is not None and self._kept.has_item)

    def run(self, **params: Any) -> Any:
        """The last result of the flow, from this step on: by the code as it is now, with the parameters of the run but for those named.

        Nothing of production is changed: what the steps write goes to scratch.

        Raises:
            FlowExecutionError: a step raised; placed in its notebook cell.
            FlowValidationError: an unknown parameter, or the flow has lost the step.
        """
        started_s = time.perf_counter()
        flow = flow_now(self._home, self.flow_name)
        index = index_now(flow, self._run, self.step.label, self._index)
        with self._running(flow, params) as (runner, control):
            self._scratch.begin()
            current, objects = _copied(self._current, self._objects)
            try:
                value = runner.run_from(index, current, objects)
            except BaseException as raised:
                error = outcome_of(raised)[2]
                place_at_step(error, next((step for step in flow.steps if step.label == control.label), self.step))
                if error is raised:
                    raise
                raise error from raised.__cause__
        self._tell(flow, index, runner, time.perf_counter() - started_s)
        bound_display(value)
        return value

    def _tell(self, flow: Flow, index: int, runner: PreviewRunner, elapsed_s: float) -> None:
        names = first_few([step.save_as or step.label for step in flow.steps[index:]], 3)
        written = [path.name for path in self._scratch.written]
        wrote = [f"wrote {first_few(written, 3)} (scratch)"] if written else []
        parts = [f"replay {self.run_id[:8]}", f"{self.step.label} passes now", f"{names} ran", *wrote]
        outside = outside_text(list(map(Path, runner.outside)))
        text = " · ".join([*parts, *outside, duration_text(elapsed_s)])
        show_caption(text, loud_html(text) if outside else None)

    # -- what the step was given ------------------------------------------------------------------------------------------

    @cached_property
    def _values(self) -> dict[str, Any]:
        """The parameters of the run."""
        recorded = {name: value for name, value in (self._run.params or {}).items() if value != MASK}
        for name in (self._run.params or {}).keys() - recorded.keys():
            self.missing[f"params {name}"] = "secrets are never kept: it is asked for here"
        return recorded if self._kept is None else {**recorded, **self._kept.params}

    def _runner(self, flow: Flow, control: StepControl, params: Mapping[str, Any]) -> PreviewRunner:
        values = params_for(flow, {**self._values, **params})
        source = source_of(self._home, flow, self._run)
        runner = make_runner(flow, source, home=self._home, params=values, control=control, scratch=self._scratch)
        self._settle(flow, runner.context)
        return runner

    @contextmanager
    def _running(self, flow: Flow, params: Mapping[str, Any]) -> Iterator[tuple[PreviewRunner, StepControl]]:
        """What runs steps inside, with a line of progress and what spreads items; what they wrote elsewhere is noted."""
        with closing(ProgressLine()) as line, closing(item_executor(self._home, stays_here=True)) as items:
            control = StepControl(emit=line, spread=items.spread, run_id=self.run_id, flow=self.flow_name)
            runner = self._runner(flow, control, params)
            try:
                yield runner, control
            finally:
                preview_files(self._home).add(runner.outside)

    def _settle(self, flow: Flow, context: FlowContext) -> None:
        """Give the context the facts of the run."""
        context.metadata |= self._metadata
        context.metadata["started_at_utc"] = self._run.started_at_utc
        if self._run.scheduled_for is not None:
            context.scheduled_for = in_zone_of(flow, self._run.scheduled_for, self._home)

    def _context(self, flow: Flow) -> FlowContext:
        control = StepControl(run_id=self.run_id, flow=self.flow_name)
        context = self._runner(flow, control, {}).context
        context.places = self._scratch
        if context.mirror is not None:
            context.mirror = replace(context.mirror, places=self._scratch)
        context.current, context.objects = _copied(self._current, self._objects)
        return context

    def _inputs(self, flow: Flow) -> tuple[Any, dict[str, Any]]:
        """The current object and the saved ones, kept or made again; notes the item and what is missing."""
        kept, before = self._kept, flow.steps[: self._index]
        saved = list(dict.fromkeys(name for step in before for name in names_saved(step)))
        missing = self._not_kept(saved)
        wanted = [name for name in missing if name != "item"]
        is_made_again = bool(before) and (bool(wanted) or any(map(_may_write, before)))
        changed = self._changed()
        if is_made_again or not before:
            self._require_same(flow, changed)
        self._scratch.begin_anew()
        made = self._made_again(flow, wanted) if is_made_again else {}
        self._scratch.begin()
        values = {name: made[name] for name in wanted if name in made}
        if kept is not None:
            values = {"current": kept.current, **kept.objects, **values}
            self.item = _item_of(values["current"], kept.item_index) if "item" in missing else kept.item
        there = made.keys() if self.item is None else {*made, "item"}
        told = {name: f"{why}; {_MADE_AGAIN if name in there else _LOST}" for name, why in missing.items()}
        self.missing = {**told, **self.missing, **changed, **_other_packages(self._home, self._run)}
        names = saved if kept is None else kept.names
        return values.get("current"), {name: values[name] for name in names if name in values}

    def _not_kept(self, saved: Sequence[str]) -> dict[str, str]:
        """The names of the inputs that are not kept, and why."""
        if self._kept is not None:
            return dict(self._kept.missing)
        why = "nothing of this run is kept on this machine"
        return dict.fromkeys(["current", *saved] if self._index else [], why)

    def _made_again(self, flow: Flow, wanted: Sequence[str]) -> dict[str, Any]:
        with self._running(flow, {}) as (runner, _):
            try:
                made = runner.run(self._index, ["current", *wanted])
            except Exception as raised:
                error = outcome_of(raised)[2]
                raise FlowValidationError(
                    f"the inputs of step {self.step.label!r} cannot be made again: {message_of(error)}",
                    where=f"replay of run {self.run_id[:8]}",
                    fix=self._fix("correct the step before"),
                ) from raised
        self._scratch.go_on()
        if (use := flow.steps[self._index].use) is not None and use != "current" and use in made:
            made["current"] = made[use]
        return made

    # -- what is not as it was --------------------------------------------------------------------------------------------

    def _changed(self) -> dict[str, str]:
        """The files that the run read which are not as they were, and why."""
        inputs = self._run.inputs
        move = path_mover(self._home.ledger(), self._home.layout, [file.path for file in inputs])
        changed: dict[str, str] = {}
        for file in inputs:
            path = move(file.path)
            try:
                facts = os.stat(path)
            except OSError:
                changed[path] = "it is gone"
                continue
            if file.size_bytes is not None and (facts.st_size, utc_text(facts.st_mtime)) != (
                file.size_bytes,
                file.modified_at_utc,
            ):
                changed[path] = "it has changed since the run"
        source = self._run.source
        if source is not None and not inputs and not os.path.exists(moved := move(source)):
            changed[moved] = "it is gone"
        return dict(list(changed.items())[:_MOST_NAMED])

    def _require_same(self, flow: Flow, changed: Mapping[str, str]) -> None:
        """Return when the source is as it was.

        Raises:
            FlowValidationError: it is not; names what was kept.
        """
        trigger = flow.trigger
        if trigger is None or trigger.source is None:
            return
        root = str(trigger.source)
        for path, why in changed.items():
            if path == root or path.startswith(f"{root.rstrip(os.sep)}{os.sep}"):
                raise FlowValidationError(
                    f"the version of {os.path.basename(path)} that run {self.run_id[:8]} read is not there any more: {why}",
                    where=path,
                    fix=self._fix("put that version back"),
                )

    def _fix(self, first: str) -> str:
        kept = [] if self._kept is None else self._kept.kept_names
        names = f"kept are {', '.join(kept)}" if kept else "nothing of the step's inputs was kept"
        return f"{first}, or preview another file; {names} (`{cli_line('log', self.run_id[:8])}` shows the error and its variables)"


def replay(home: LocalWorkspace, run: Run) -> Replay:
    """The failing step of a run, with what it was given.

    Raises:
        FlowValidationError: no step of the run has failed, the flow has lost the step, or what was not kept cannot be made again.
    """
    step = failing_step(home, run)
    flow = flow_now(home, run.flow)
    kept = kept_inputs(home.local.replays_dir, run.run_id, home.settings_shown().replay)
    return Replay(home, run, index_now(flow, run, step.label, step.index), kept)


def index_now(flow: Flow, run: Run, label: str, index: int) -> int:
    """The number of the step of this label, which was number `index`, in the flow as it is now.

    Raises:
        FlowValidationError: the flow has no such step any more.
    """
    if index < len(flow.steps) and flow.steps[index].label == label:
        return index
    same = [number for number, step in enumerate(flow.steps) if step.label == label]
    if len(same) == 1:
        return same[0]
    raise FlowValidationError(
        f"{run.flow} has no step {label!r} any more, which failed in run {run.run_id[:8]}",
        where=f"flow {run.flow!r}",
        fix=f"give the step this name again, label={label!r}",
    )


def flow_now(home: LocalWorkspace, name: str) -> Flow:
    """The flow as this kernel's cells build it where it is their notebook's, else as it is saved.

    Raises:
        FlowValidationError: there is none, or it is broken.
    """
    shell, place = kernel_shell(), current_notebook()
    if shell is not None and place is not None and place.path.stem == name:
        build = shell.user_ns.get("build")
        if place.path.parent == home.layout.flow_modules_dir and callable(build) and isinstance(flow := build(), Flow):
            return settle_flow(flow, may_be_gone=True)
    return home.modules().load(find_flow(home, name)).flow


def source_of(home: LocalWorkspace, flow: Flow, run: Run) -> Source:
    """The source that the run ran for, where it lies now.

    Raises:
        FlowValidationError: it is none of the flow's any more.
    """
    trigger = flow.trigger
    if trigger is None or trigger.source is None or run.source is None:
        return Source()
    path = Path(path_mover(home.ledger(), home.layout, [run.source])(run.source))
    if path == trigger.source:
        return listed_source(trigger, "")
    if path.is_relative_to(trigger.source):
        return listed_source(trigger, portable_text(path.relative_to(trigger.source)))
    return pick_source(flow, path)


def _may_write(step: StepSpec) -> bool:
    """Whether the code of a step asks the context for a place to write."""
    return not {"mirror", "database"}.isdisjoint(code_fingerprint(step).mentions)


def _item_of(current: Any, index: int) -> Any:
    """The item of this number of what a map goes through, which may be used up, or shorter now: None then."""
    with suppress(Exception):
        return tuple(current)[index]
    return None


def _copied(current: Any, objects: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The inputs as a step may change them; what is one object stays one, and what cannot be copied is handed on."""
    done: dict[int, Any] = {}

    def copied(value: Any) -> Any:
        if id(value) not in done:
            done[id(value)] = value
            with suppress(CannotCopy):
                done[id(value)] = copy_of(value).value
        return done[id(value)]

    return copied(current), {name: copied(value) for name, value in objects.items()}


def _other_packages(home: LocalWorkspace, run: Run) -> dict[str, str]:
    """The packages that are of another version here than where the run was, and Python."""
    return dict(list(_versions(home, run))[:_MOST_NAMED])


def _versions(home: LocalWorkspace, run: Run) -> Iterator[tuple[str, str]]:
    here = environment()
    if run.environment is None or run.environment == here.digest:
        return
    if run.python is not None and run.python != here.python:
        yield "Python", f"{here.python} here, {run.python} where it failed"
    now = dict(line.partition(" ")[::2] for line in here.distributions)
    for line in home.ledger().environment(run.environment):
        name, _, version = line.partition(" ")
        if now.get(name) != version:
            yield f"package {name}", f"{now.get(name, 'not installed')} here, {version} where it failed"

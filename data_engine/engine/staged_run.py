"""A run of a flow whose mirror is staged: what it made before and could not publish, and its results by their final paths."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from data_engine.cause import Cause
from data_engine.engine.access.access_log import not_logged
from data_engine.engine.access.file_events import current_guard
from data_engine.engine.candidates import Source
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.publication import STAGING, TargetChangedError, TargetHeldError, finish, remove_stage
from data_engine.engine.stage import Maker, Stage, spares
from data_engine.errors import FlowValidationError
from data_engine.flow.batch import Batch, is_lazy_frame
from data_engine.flow.context import FlowContext
from data_engine.flow.control import StepControl
from data_engine.flow.flow import Flow
from data_engine.ledger.publications import RunOfStage, runs_of_stages
from data_engine.model import LogLine, PublishStarted, SeenSource
from data_engine.nofollow import FoundFile, Place, inside, opened, walk
from data_engine.platforms.host import host_name
from data_engine.workspace.machine import machine_id


def staged_run(
    flow: Flow,
    source: Source,
    seen: tuple[SeenSource, ...],
    *,
    home: LocalWorkspace | None,
    control: StepControl,
    before: Callable[[], None],
) -> StagedRun | None:
    """Where a run writes whose flow has a staged mirror; None for every other flow."""
    if not flow.is_staged:
        return None
    machine = host_name() if home is None else _machine(home.local.state_root)
    made_of = seen[0].signature[:2] if source.path is not None and seen else None
    key = None if source.key is None else (source.key.root, source.key.path)

    def log(text: str, level: str = "INFO") -> None:
        control.emit(LogLine(control.run_id, flow.name or "", control.label, level, text, time.time()))

    def runs(run_ids: Collection[str]) -> Mapping[str, RunOfStage]:
        return {} if home is None else runs_of_stages(home.local.ledger_path, run_ids)

    return StagedRun(
        flow, Maker(machine, control.run_id, made_of), key, runs=runs, record=control.emit, log=log, before=before
    )


class StagedRun(Stage):
    """The stage of one run, with what concerns its flow.

    `runs` tells what the history knows of runs. A flow of no workspace has none: nothing of it is ever finished.
    """

    def __init__(
        self,
        flow: Flow,
        maker: Maker,
        source: tuple[str, str] | None,
        *,
        runs: Callable[[Collection[str]], Mapping[str, RunOfStage]],
        record: Callable[[PublishStarted], None],
        log: Callable[..., None],
        before: Callable[[], None] = lambda: None,
    ) -> None:
        assert flow.mirror_spec is not None
        super().__init__(flow.mirror_spec.root, maker, record=record, log=log, before=before)
        self.finished: str | None = None
        self._flow, self._source, self._runs = flow, source, runs

    def publish_what_was_made(self) -> bool:
        """Finish what earlier runs of this flow have begun to publish, and remove what those have left whose process is gone; whether
        the steps need not run again for this source.

        Raises: as `Stage.publish`.
        """
        is_done = False
        for left in left_stages(self.final_root, self._runs):
            run = left.run
            if run is None or run.flow != (self._flow.name or "") or run.status == "started":
                continue
            made = run.publication
            if made is None or run.source != self._source or made.mirror != self.final_root.name:
                clear(self.final_root, left)
                continue
            is_same = made.code is not None and made.code == self._code() and made.made_of == self._maker.made_of
            is_whole = finish(self.final_root, left.name, made, is_own=run.is_own)
            is_same = is_same and is_whole
            self._log(f"published what run {made.run_id[:8]} had made" + ("" if is_same else ", and runs again"))
            is_done = is_done or is_same
            self.finished = made.run_id
        return is_done

    def end(self, context: FlowContext) -> None:
        """All steps have succeeded: publish, and let the context name what was made as it is called from now on.

        Raises: as `Stage.publish`.
        """
        for name, value in {"the result": context.current, **context.objects}.items():
            if self._is_lazy_over_stage(value):
                self._log(
                    f"{name} still reads from the stage, which is removed now: collect it in the step, or scan"
                    " context.mirror.final(path) after the run",
                    "WARNING",
                )
        with not_logged():
            self.succeed(self._code)
        context.current = self._final_value(context.current)
        context.objects = {name: self._final_value(value) for name, value in context.objects.items()}
        outputs = context.metadata.get("step_outputs", {})
        context.metadata["step_outputs"] = {name: self._final_value(value) for name, value in outputs.items()}

    def _try(self, there: Place, one: FoundFile) -> tuple[int, int] | None:
        if (guard := current_guard()) is not None:
            guard.about_to_write(str(self.final_root.joinpath(*one.folder, one.name)))
        return super()._try(there, one)

    def _final_value(self, value: Any) -> Any:
        """The value with every path of the stage in it as it is from now on."""
        if isinstance(value, Path):
            return self.final(value)
        if isinstance(value, Batch):
            return Batch(tuple(map(self._final_value, value.items)))
        if type(value) is tuple:
            return tuple(map(self._final_value, value))
        if type(value) is list:
            return list(map(self._final_value, value))
        if type(value) is dict:
            return {key: self._final_value(item) for key, item in value.items()}
        return value

    def _is_lazy_over_stage(self, value: Any) -> bool:
        if is_lazy_frame(value):
            return _names(value.explain(optimized=False), self.folder)
        duckdb: Any = sys.modules.get("duckdb")
        if duckdb is not None and isinstance(value, duckdb.DuckDBPyRelation):
            return _names(value.sql_query(), self.folder)
        return False

    def _code(self) -> str:
        """What stands for the flow's code and all it reaches."""
        from data_engine.engine.memo.content import digest_of
        from data_engine.engine.memo.fingerprint import code_fingerprint

        return digest_of([sorted(code_fingerprint(step).parts.items()) for step in self._flow.steps]).hex()


def _names(text: str, folder: Path) -> bool:
    """Whether a plan or a query names the folder, with whichever separators, escaped or not."""
    spelled = re.compile(r"[\\/]+")
    return spelled.sub("/", str(folder)) in spelled.sub("/", text)


def cause_of_target(error: BaseException | None) -> Cause | None:
    """What of a target has failed a run; None where it is something else."""
    while error is not None:
        if isinstance(error, TargetChangedError):
            return Cause("target_changed")
        if isinstance(error, TargetHeldError):
            return Cause("target_held")
        error = error.__cause__
    return None


@cache
def _machine(state_root: Path) -> str:
    return machine_id(state_root)


OLD_S = 7 * 86_400.0
"""A stage of an unknown run, and one that waits for a retry, are removed when nothing in them has changed for so long."""

GRACE_S = 60.0
"""A stage in which something changed so lately is not touched, unless the process of its run is gone."""

_GONE = ("abandoned", "killed")
"""How runs end whose process is gone."""

RunsById = Callable[[Collection[str]], Mapping[str, RunOfStage]]
"""The runs with these ids that the history knows (ledger/publications.py)."""


class LeftStage(NamedTuple):
    """A stage of a run that is not of this process's making now; `run` is what the history knows of it."""

    name: str
    machine: str
    run: RunOfStage | None


def left_stages(final_root: Path, runs: RunsById) -> Iterator[LeftStage]:
    """The stages beside the mirror, but for the one that waits for the next run here."""
    staging = final_root.parent / STAGING
    try:
        with opened(final_root.parent, STAGING) as place:
            names = {
                name.removesuffix(".json") for name in place.names()
            }  # an earlier Data Engine wrote its lists there
    except OSError:
        return
    stages = [name for name in sorted(names) if not spares.is_spare(staging, name)]
    known = runs([name.rpartition("-")[2] for name in stages])
    for name in stages:
        machine, _, run_id = name.rpartition("-")
        yield LeftStage(name, machine, known.get(run_id))


def tidy(final_root: Path, *, machine: str, runs: RunsById, is_owner: bool, now_s: float) -> int:
    """Finish and remove what runs that are over have left beside the mirror; how many stages went.

    This machine's own, and as the owner those of others. A stage of another mirror in the same folder is left to its own.
    """
    count = 0
    for left in list(left_stages(final_root, runs)):
        if left.machine == machine or is_owner:
            count += clear(final_root, left, now_s=now_s)
    with suppress(OSError), opened(final_root.parent) as beside:
        os.rmdir(beside.at(STAGING), dir_fd=beside.descriptor)  # where none is left
    return count


def clear(final_root: Path, left: LeftStage, *, now_s: float | None = None) -> bool:
    """Finish or remove what a run has left, if it is over; whether the stage is gone now."""
    run, now_s = left.run, time.time() if now_s is None else now_s
    made = None if run is None else run.publication
    if run is not None and run.status == "started":
        return False
    if made is not None and made.mirror != final_root.name:
        return False
    idle_s = _idle_s(final_root, left.name, now_s)
    if idle_s is None:
        return run is not None and _remove_list(final_root, left.name)
    waits_s = GRACE_S
    if run is None or (made is not None and made.code is not None):  # nobody has retried it
        waits_s = OLD_S
    elif run.is_own and run.status in _GONE:
        waits_s = 0.0
    if idle_s < waits_s:
        return False
    if run is not None and made is not None and made.code is None:
        with suppress(FlowValidationError):
            finish(final_root, left.name, made, is_own=run.is_own)
            return True
        return False
    remove_stage(final_root, left.name)
    return True


def _remove_list(final_root: Path, name: str) -> bool:
    """Remove what an earlier Data Engine has listed there, whose stage is gone; whether it was there."""
    with suppress(OSError), opened(final_root.parent, STAGING) as staging:
        os.unlink(staging.at(f"{name}.json"), dir_fd=staging.descriptor)
        return True
    return False


def _idle_s(final_root: Path, name: str, now_s: float) -> float | None:
    """How long nothing in the stage has changed, a time in the future is a change just now; None where there is no such folder."""
    try:
        with opened(final_root.parent) as beside, inside(beside, (STAGING,)) as staging:
            facts = staging.facts(name)
            if facts is None:
                return None
            with inside(staging, (name,)) as stage:
                newest_s = max([facts.st_mtime, *(one.facts.st_mtime for one in walk(stage))])
    except OSError:
        return None
    return max(now_s - newest_s, 0.0)

"""A job on the cluster: which of its runs a node was given, and what of them has begun and ended, as it comes home."""

from __future__ import annotations

import pickle
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from data_engine.cause import Cause
from data_engine.engine.death import how_it_ended
from data_engine.errors import FlowExecutionError
from data_engine.model import Event, LogLine, RunFinished, RunStarted, StepFinished, StepStarted
from data_engine.scheduler.executor import Job, JobSource


@dataclass(slots=True)
class BegunRun:
    """A run that has begun on a node and not ended."""

    started: RunStarted
    step: StepStarted | None = None


@dataclass(slots=True)
class PlacedJob:
    """A job, and its newest attempt: `sources` were given to the process of a node that is called `process`.

    `suspects` are the runs that a lost process may have begun and not ended. Each is tried once more on its own, so that
    it is certain whose run it was when that process is lost as well. `parts` are those told that wait for one before
    them; `taken` counts what was taken of them.
    """

    job: Job
    attempt: str = ""
    address: str = ""
    process: str = ""
    sources: tuple[JobSource, ...] = ()
    future: Any = None
    taken: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)
    run: BegunRun | None = None
    begun: set[str | None] = field(default_factory=set)
    ended: set[str | None] = field(default_factory=set)
    suspects: set[str | None] = field(default_factory=set)
    is_left: bool = False

    @property
    def run_id(self) -> str | None:
        """The run that has begun and not ended."""
        return None if self.run is None else self.run.started.run_id

    @property
    def not_begun(self) -> tuple[JobSource, ...]:
        """The sources whose runs nobody has begun."""
        return tuple(one for one in self.job.sources if one.run_id not in self.begun)

    def has(self, run_id: str) -> bool:
        """Whether a run is in it, begun or not, and has not ended."""
        return run_id not in self.ended and any(one.run_id == run_id for one in self.job.sources)

    def next_sources(self) -> tuple[JobSource, ...]:
        """What the next attempt is given: a suspect on its own, else all that comes before one; empty where all have ended."""
        rest = [one for one in self.job.sources if one.run_id not in self.ended]
        if rest and rest[0].run_id in self.suspects:
            return tuple(rest[:1])
        return tuple(takewhile(lambda one: one.run_id not in self.suspects, rest))

    def begin_attempt(self, address: str, process: str) -> Job:
        """Give the next sources to the process of a node; the job that it is to run."""
        self.attempt, self.address, self.process = uuid.uuid4().hex, address, process
        self.future, self.taken, self.sources = None, 0, self.next_sources()
        self.parts.clear()
        numbers = [number for number, one in enumerate(self.job.sources) if one in self.sources]
        abouts = tuple(self.job.abouts[number] for number in numbers) if self.job.abouts else ()
        return replace(self.job, sources=self.sources, abouts=abouts)

    def lose(self) -> JobSource | None:
        """Note that the process of the attempt is gone: whose run was tried twice by now, None where all may be tried again."""
        rest = [one for one in self.sources if one.run_id not in self.ended]
        if self.run is not None:
            rest = [one for one in rest if one.run_id == self.run_id]
        is_second = len(rest) == 1 and rest[0].run_id in self.suspects
        self.suspects |= {one.run_id for one in rest}
        return rest[0] if is_second else None

    def take_parts(self) -> Iterator[list[Event]]:
        """What was told next, as far as nothing is missing before it."""
        while (part := self.parts.pop(self.taken, None)) is not None:
            self.taken += 1
            yield self._take(pickle.loads(part))

    def end_run(self, source: JobSource | None, group: str, status: str, cause: Cause) -> list[Event]:
        """How the run under way ends whose node is gone; that of `source`, where nobody has heard that it began."""
        told: list[Event] = []
        if self.run is None and source is not None:
            about = self.job.about(self.job.sources.index(source))
            seen = source.seen or ()
            where = source.path or source.root
            started = RunStarted(
                source.run_id or "", self.job.flow or "", group, where, time.time(), source.key, seen, about
            )
            told += self._take([started])
        if self.run is not None:
            told += self._take(_end_of(self.run, status, cause))
        return told

    def _take(self, events: list[Event]) -> list[Event]:
        told: list[Event] = []
        for event in events:
            if isinstance(event, RunStarted):
                is_again = event.run_id in self.begun
                self.run = BegunRun(event)
                self.begun.add(event.run_id)
                if is_again:
                    continue
            elif self.run is not None and isinstance(event, StepStarted):
                self.run.step = event
            elif self.run is not None and isinstance(event, StepFinished):
                self.run.step = None
            elif isinstance(event, RunFinished):
                self.ended.add(event.run_id)
                self.run = None
            told.append(event)
        return told


def _end_of(run: BegunRun, status: str, cause: Cause) -> list[Event]:
    """How a run ends whose node is gone."""
    started, step = run.started, run.step
    now_s = time.time()
    label = None if step is None else step.label
    text = cause.text
    if step is not None or status == "failed":
        error = FlowExecutionError(
            flow_name=started.flow,
            phase="step",
            detail=text,
            step_label=label,
            source_path=started.source,
            ended=how_it_ended(status),
        )
        text = str(error)
    told: list[Event] = [LogLine(started.run_id, started.flow, label, "ERROR", text, now_s)]
    if step is not None:
        elapsed_s = max(0.0, now_s - step.at_s)
        told.append(StepFinished(started.run_id, step.step_index, step.label, status, now_s, elapsed_s, text))
    elapsed_s = max(0.0, now_s - started.at_s)
    told.append(RunFinished(started.run_id, status, now_s, elapsed_s, text, cause.where(step=label), started.seen))
    return told

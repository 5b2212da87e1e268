"""A job on a node of a cluster: what of it has begun and ended, as its numbered parts come home."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
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
    """A job on a node. `parts` are those told that wait for one before them; `taken` counts what was taken of them. `life`
    is the execution of its task that told them: Dask begins a task again by itself where a node comes back."""

    job: Job
    address: str
    attempt: str
    tries: int
    future: Any = None
    life: str | None = None
    taken: int = 0
    parts: dict[int, bytes] = field(default_factory=dict)
    run: BegunRun | None = None
    begun: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)

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
        is_in_it = any(one.run_id == run_id for one in self.job.sources) and run_id not in self.ended
        return is_in_it or self.run_id == run_id

    def rest(self) -> Job | None:
        """The job with the runs that have not ended; None where all have."""
        job = self.job
        left = [number for number, one in enumerate(job.sources) if one.run_id not in self.ended]
        if not left:
            return None
        abouts = tuple(job.abouts[number] for number in left) if job.abouts else ()
        return replace(job, sources=tuple(job.sources[number] for number in left), abouts=abouts)

    def take_parts(self) -> Iterator[list[Event]]:
        """What was told next, as far as nothing is missing before it."""
        while (part := self.parts.pop(self.taken, None)) is not None:
            self.taken += 1
            yield self._take(pickle.loads(part))

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


def end_of(started: RunStarted, step: StepStarted | None, status: str, cause: Cause) -> list[Event]:
    """How a run ends whose node is gone."""
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

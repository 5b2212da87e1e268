"""The report of a worker's run: its events in order, with the lines that were written meanwhile, within the bounds of a log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data_engine.cause import Cause, how_it_ended
from data_engine.daemon.worker_process import is_machinery, line_text
from data_engine.errors import FlowExecutionError
from data_engine.ledger.logs import LAST_LINES, LogBound, end_of_log, size_of
from data_engine.model import STDERR, Event, LogLine, RunFinished, RunStarted, StepFinished, StepStarted

_EARLY_LINES = 200
BYSTANDER = Cause("ended_with_another")


class RunEvents:
    """The events of the runs of one job after another. `events` are those that nobody has taken yet.

    `finish_lines` is called before a run's log ends, so that the beginning of a line counts as one.
    """

    def __init__(self, modules_dir: Path, *, finish_lines: Callable[[], None]) -> None:
        self._modules_dir = modules_dir
        self._finish_lines = finish_lines
        self._early: list[tuple[str, str]] = []
        self.events: list[Event] = []
        self.run: CurrentRun | None = None

    def begin_job(self) -> None:
        """Forget what was written outside of any run."""
        self._early.clear()

    def begin_run(self, started: RunStarted) -> CurrentRun:
        """Begin a run; lines written since the last one, as by a module's import, are the first of its log."""
        self.run = run = CurrentRun(started, LogBound(), time.monotonic())
        now_s = time.time()
        lines = (LogLine(started.run_id, started.flow, None, level, line, now_s) for level, line in self._early)
        self.events += [started, *lines]
        self._early.clear()
        return run

    def take(self, event: Event) -> None:
        """Take an event of the run; those of other runs are left out."""
        run = self.run
        if run is None or run.started.run_id != event.run_id:
            return
        if isinstance(event, StepStarted):
            run.step, run.step_begun_s = event, time.monotonic()
        elif isinstance(event, StepFinished):
            run.step = None
            if event.status != "success":
                self._finish_lines()
                self._end_log(run)
        elif isinstance(event, RunFinished):
            self._finish_lines()
            self._leave(run)
        self.events.append(event)

    def take_lines(self, level: str, lines: list[bytes]) -> None:
        """Take lines of a standard stream."""
        run = self.run
        if run is None:
            if len(self._early) < _EARLY_LINES:
                self._early += [(level, text) for line in lines if (text := line_text(line))]
            return
        step, at_s = None if run.step is None else run.step.label, time.time()
        for number, line in enumerate(lines):
            if run.written.is_full:
                left = lines[number:]
                run.written.leave_out(max(len(left) - LAST_LINES, 0))
                for last_line in left[-LAST_LINES:]:
                    run.written.hold(_Written(level, step, at_s, last_line), len(last_line))
                break
            entry = self._as_line(run, _Written(level, step, at_s, line))
            if entry is not None and run.written.takes(size_of(entry.message)):
                self.events.append(entry)

    def abandon(self, started: RunStarted) -> None:
        """Report a run that began after its worker was given up, and end it."""
        end = RunFinished(started.run_id, "abandoned", time.time(), 0.0, BYSTANDER.text, BYSTANDER, started.seen)
        self.events += [started, end]

    def end_run(
        self,
        status: str,
        cause: Cause,
        last_lines: Iterable[Event],
        *,
        cell: str | None = None,
        places: Sequence[Mapping[str, object]] = (),
    ) -> None:
        """End the run of a worker that is gone, after the last lines of its log; `cell` and `places` say where it was."""
        run = self.run
        assert run is not None
        started, step = run.started, run.step
        label = None if step is None else step.label
        text = cause.text
        if step is not None or status == "failed":
            error = FlowExecutionError(
                flow_name=started.flow,
                phase="step",
                detail=cause.text,
                step_label=label,
                source_path=started.source,
                ended=how_it_ended(status),
            )
            error.set_place(cell)
            text = str(error)
        cause = cause.where(step=label, places=places)
        now_s, clock_s = time.time(), time.monotonic()
        self.events += last_lines
        self._leave(run)
        self.events.append(LogLine(started.run_id, started.flow, label, "ERROR", text, now_s))
        if step is not None:
            word = "stopped" if status == "killed" else status
            elapsed_s = clock_s - run.step_begun_s
            self.events.append(StepFinished(started.run_id, step.step_index, step.label, word, now_s, elapsed_s, text))
        elapsed_s = clock_s - run.begun_s
        self.events.append(RunFinished(started.run_id, status, now_s, elapsed_s, text, cause, started.seen))

    def _leave(self, run: CurrentRun) -> None:
        if run.timer is not None:
            run.timer.cancel()
        self._end_log(run)
        self.run = None

    def _end_log(self, run: CurrentRun) -> None:
        """Report the last lines that were written, before the events of the run's end."""
        left_out, last = run.written.rest()
        lines = [line for written in last if (line := self._as_line(run, written)) is not None]
        self.events += end_of_log(left_out, lines)

    def _as_line(self, run: CurrentRun, written: _Written) -> LogLine | None:
        """A written line as one of the log; None for one that tells an author nothing."""
        level, step, at_s, line = written
        text = line_text(line)
        if not text or (level == STDERR and is_machinery(text, self._modules_dir)):
            return None
        return LogLine(run.started.run_id, run.started.flow, step, level, text, at_s)


class _Written(NamedTuple):
    """A line on a standard stream, as it was written."""

    level: str
    step: str | None
    at_s: float
    line: bytes


@dataclass(slots=True)
class CurrentRun:
    """The run a worker is in; `timer` ends it when it takes too long."""

    started: RunStarted
    written: LogBound[_Written]
    begun_s: float
    step: StepStarted | None = None
    step_begun_s: float = 0.0
    timer: asyncio.TimerHandle | None = None

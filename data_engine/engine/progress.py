"""One progress line for work that takes longer than a second: sources of a run, items of a map."""

from __future__ import annotations

import time
from typing import Any

from data_engine.model import Event, RunFinished, RunStarted, StepFinished, StepProgress

_SHOW_AFTER_S, _SOURCES_EVERY_S = 1.0, 0.1


class ProgressLine:
    """Draws itself (by Rich, in notebooks and terminals) from a run's events, once a second has passed.

    Call it with each event; close it at the end. With several sources it counts them, else the items of the running step.
    """

    def __init__(self, total_sources: int = 1, *, clock: Any = time.monotonic, console: Any = None) -> None:
        self._total = total_sources
        self._clock = clock
        self._console = console
        self._started_s: float = clock()
        self._drawn_s = float("-inf")
        self._done = 0
        self._bar: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self._done += 1
        now_s = self._clock()
        if now_s - self._started_s < _SHOW_AFTER_S:
            return
        if self._total > 1:
            is_last = self._done == self._total  # it stays
            if is_last or now_s - self._drawn_s >= _SOURCES_EVERY_S:  # drawing takes longer than a fast run
                self._drawn_s = now_s
                self._show_sources(event)
        elif isinstance(event, StepProgress):
            self._show(event.label, event.done, event.total)
            if event.done == event.total:
                self.close()
        elif isinstance(event, StepFinished):
            self.close()

    def close(self) -> None:
        """Take the line away; what it said last stays in a notebook's output."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show_sources(self, event: Event) -> None:
        if isinstance(event, RunStarted) and event.source is not None:
            self._show("sources", self._done, self._total, event.source.rpartition("/")[2])
        elif isinstance(event, StepProgress):
            self._show("sources", self._done, self._total, f"{event.label} {event.done}/{event.total or '?'}")
        elif isinstance(event, RunFinished):
            self._show("sources", self._done, self._total)

    def _show(self, label: str, done: int, total: int | None, current: str = "") -> None:
        if self._bar is None:
            self._bar = _make_bar(self._console)
            self._bar.add_task(label, current="")
        (task,) = self._bar.task_ids
        self._bar.update(task, description=label, completed=done, total=total, current=current)
        self._bar.start()  # draws it the first time
        self._bar.refresh()


def _make_bar(console: Any) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    in_kernel = console.is_jupyter
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[current]}", markup=False),
        console=console,
        auto_refresh=False,
        transient=not in_kernel,
        redirect_stdout=False,
        redirect_stderr=False,
        disable=not (in_kernel or console.is_terminal),
    )

"""One progress line for work that takes longer than a second: sources of a run, items of a map."""

from __future__ import annotations

import time
from typing import Any

from data_engine.model import Event, RunFinished, RunStarted, StepFinished, StepProgress
from data_engine.workspace.here import kernel_shell

_SHOW_AFTER_S = 1.0


class ProgressLine:
    """Draws itself (tqdm, in notebooks and terminals) from a run's events, once a second has passed.

    Call it with each event; close it at the end. With several sources it counts them, else the items of the running step.
    """

    def __init__(self, total_sources: int = 1, *, clock: Any = time.monotonic, make_bar: Any = None) -> None:
        self._total = total_sources
        self._clock = clock
        self._make_bar = make_bar or _make_bar
        self._started_s: float = clock()
        self._done = 0
        self._bar: Any = None
        self._label = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self._done += 1
        if self._clock() - self._started_s < _SHOW_AFTER_S:
            return
        if self._total > 1:
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
            self._bar.close()
            self._bar = None

    def _show_sources(self, event: Event) -> None:
        if isinstance(event, RunStarted) and event.source is not None:
            self._show("sources", self._done, self._total)
            self._bar.set_postfix_str(event.source.rpartition("/")[2], refresh=True)
        elif isinstance(event, StepProgress):
            self._show("sources", self._done, self._total)
            self._bar.set_postfix_str(f"{event.label} {event.done}/{event.total or '?'}", refresh=True)
        elif isinstance(event, RunFinished):
            self._show("sources", self._done, self._total)

    def _show(self, label: str, done: int, total: int | None) -> None:
        if self._label != label:  # the bar itself forgets its label where there is no terminal
            self.close()
        if self._bar is None:
            self._bar, self._label = self._make_bar(label, total), label
        self._bar.total = total
        self._bar.n = done
        self._bar.refresh()


def _make_bar(label: str, total: int | None) -> Any:
    from tqdm.auto import tqdm

    in_kernel = kernel_shell() is not None
    return tqdm(desc=label, total=total, leave=in_kernel, disable=False if in_kernel else None)

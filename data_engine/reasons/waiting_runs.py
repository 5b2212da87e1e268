"""What is told of runs that wait: how many of each flow, which come next, and for what they wait."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from data_engine.counted import counted
from data_engine.reasons.kinds import read_reason
from data_engine.reasons.row import Reason
from data_engine.record import Record, frozen

MOST_NAMED = 20
"""Of a flow; a folder may hold a hundred thousand files."""


@frozen
class NextRun(Record):
    """A run that waits: the id that it will have, and the `source` that it is for."""

    run_id: str
    source: str | None = None

    @property
    def source_name(self) -> str:
        """The last part of its source; "" without one."""
        return _last_part(self.source)


@frozen
class WaitingRuns(Record):
    """Runs of one flow that wait in this daemon for the same thing: `count` of them, the next for `source`, and `why`; None
    where it is about to begin. `runs` are the first of them, by which each can be stopped alone.

    Example:
        >>> from data_engine.reasons.kinds import ByHand
        >>> WaitingRuns("claims", "Claims", 3, "/in/monday.csv", ByHand()).text
        'claims: 3 runs wait, the next for monday.csv: runs by hand only'
    """

    computed: ClassVar = ("text",)

    flow: str
    group: str
    count: int
    source: str | None = None
    why: Reason | None = field(default=None, metadata={"of": read_reason})
    runs: tuple[NextRun, ...] = field(default=(), metadata={"of": NextRun.read})

    @property
    def reason(self) -> str:
        """What it waits for, in words."""
        return "about to begin" if self.why is None else self.why.text

    @property
    def text(self) -> str:
        """One line for people."""
        runs = counted(self.count, "run waits", "runs wait")
        name = "" if self.source is None else f"{'' if self.count == 1 else ', the next'} for {self.source_name}"
        return f"{self.flow}: {runs}{name}: {self.reason}"

    @property
    def source_name(self) -> str:
        """The last part of the next one's source; "" without one."""
        return _last_part(self.source)


def _last_part(source: str | None) -> str:
    return (source or "").replace("\\", "/").rstrip("/").rpartition("/")[2]

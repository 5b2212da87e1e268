"""Runs that wait in a daemon, and the reason that they wait for."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar

from data_engine.formatting import plural
from data_engine.reasons.kinds import read_reason
from data_engine.reasons.remedies import Reason
from data_engine.record import Record, frozen

MOST_NAMED = 20
"""Waiting runs named for one flow; a folder may hold a hundred thousand files."""


@frozen
class NextRun(Record):
    """A waiting run: its later id, and its `source`."""

    run_id: str
    source: str | None = None

    @property
    def source_name(self) -> str:
        """The last part of its source; "" without one."""
        return _last_part(self.source)


@frozen
class WaitingRuns(Record):
    """Runs of one flow that wait in this daemon for the same reason: `count` of them, the next for `source`, and `why` (None: about to
    begin). `runs` are the first of them, each with the id to stop it by.

    Example:
        >>> from data_engine.reasons.kinds import ByHand, WaitingForOwnRun
        >>> WaitingRuns("claims", "Claims", 3, "/in/monday.csv", ByHand()).text
        'claims: 3 runs wait, the next for monday.csv: runs by hand only'
        >>> WaitingRuns("claims", "Claims", 1, None, WaitingForOwnRun()).text
        'claims: 1 run waits for a run of this flow to end (max_parallel)'
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
        """The reason that they wait for, in words."""
        return "about to begin" if self.why is None else self.why.text

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.flow}: {self.words}"

    @property
    def words(self) -> str:
        """How many wait and what for, without the flow's name."""
        runs = plural(self.count, "run waits", "runs wait")
        if self.source is None and self.reason.startswith("waiting "):
            return f"{runs} {self.reason.removeprefix('waiting ')}"
        name = "" if self.source is None else f"{'' if self.count == 1 else ', the next'} for {self.source_name}"
        return f"{runs}{name}: {self.reason}"

    @property
    def source_name(self) -> str:
        """The last part of the next one's source; "" without one."""
        return _last_part(self.source)


def _last_part(source: str | None) -> str:
    return (source or "").replace("\\", "/").rstrip("/").rpartition("/")[2]

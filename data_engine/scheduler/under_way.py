"""What of the work of one workspace is under way: jobs that an executor has, and the runs of them that have begun."""

from __future__ import annotations

from dataclasses import dataclass, field

from data_engine.cause import Cause
from data_engine.scheduler.run_queue import Work


@dataclass(slots=True)
class Active:
    """A run under way, as `status` shows it."""

    run_id: str
    flow: str
    group: str
    source: str | None
    started_at_s: float
    step: str | None = None
    step_at_s: float | None = None
    done: int | None = None
    total: int | None = None
    is_stopping: bool = False


@dataclass(slots=True)
class HandedOut:
    """A job that the executor has."""

    works: list[Work]
    content: str | None
    started_s: float
    pass_number: int
    began: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    stopped: Cause | None = None
    """Why what it has not begun is not to run any more."""

    def not_begun(self) -> list[Work]:
        """What of it has no run yet."""
        return [work for work in self.works if work.item.run_id not in self.began]

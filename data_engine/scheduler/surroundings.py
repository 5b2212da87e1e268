"""What a dispatcher needs around it: who says whether and what may run, who feeds backfills, and who hears of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from data_engine.flow.flow import Flow
from data_engine.model import Deployment, Event, RunFinished
from data_engine.record import frozen
from data_engine.scheduler.run_queue import Work


@frozen
class ReadyFlow:
    """A flow that can run: as planning knows it, the folder of the deployed set its module is in (None: as authored), and
    the deployment that says so."""

    flow: Flow
    content: Path | None = None
    deployment: Deployment | None = None


class Surroundings(Protocol):
    """What decides, around a scheduler, whether and what it may run: the daemon, or a `run` in the caller's process."""

    def may_begin(self) -> bool:
        """Whether new runs may begin now."""
        ...

    def keeps_workspace(self) -> bool:
        """Whether this machine owns the workspace and does not give it up."""
        ...

    def ready_flows(self) -> Mapping[str, ReadyFlow]:
        """The flows that can run, by name."""
        ...

    def tell(self) -> None:
        """Something changed that people see."""
        ...


class Backfills(Protocol):
    """Who feeds the works of backfills, one after the other, and is told what became of them."""

    def ended(self, flow: str, event: RunFinished) -> None:
        """A run of the flow has ended, and that is recorded; it may be one of a backfill."""
        ...

    def dropped(self, work: Work) -> None:
        """A work of a backfill waits no more, and has no run."""
        ...

    def wants(self, work: Work) -> bool:
        """Whether a work of a backfill that was handed out and not begun shall wait again."""
        ...


class NoBackfills:
    """There are none."""

    def ended(self, flow: str, event: RunFinished) -> None:
        """Nobody asks."""

    def dropped(self, work: Work) -> None:
        """There is none."""

    def wants(self, work: Work) -> bool:
        """Nobody does."""
        return False


class Alerts(Protocol):
    """Who hears of runs to tell people of their troubles."""

    def heard(self, flow: str, events: Sequence[Event]) -> None:
        """Something happened in runs of the flow, and is recorded."""
        ...


class NoAlerts:
    """Nobody is told."""

    def heard(self, flow: str, events: Sequence[Event]) -> None:
        """Nobody listens."""

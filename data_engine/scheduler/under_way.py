"""What of the work of one workspace is under way: jobs that an executor has, and the runs of them that have begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from data_engine.cause import Cause
from data_engine.engine.params import params_text
from data_engine.model import Deployment, Event, LogLine, RunAbout, RunFinished, RunStarted, StepProgress, StepStarted
from data_engine.reasons.kinds import MOST_NAMED, Freed, NextRun, Retried, Slot, Tick, WaitingRuns, WhyDue
from data_engine.reasons.remedies import Reason
from data_engine.scheduler.run_queue import Item, Work
from data_engine.workspace.machine import person


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

    def show_step(self, event: StepStarted | StepProgress) -> None:
        """Show what a step of it does."""
        if isinstance(event, StepStarted):
            self.step, self.step_at_s, self.done, self.total = event.label, event.at_s, None, None
        else:
            self.done, self.total = event.done, event.total


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


def waiting_runs(works: Sequence[Work], count: int, why: Reason | None) -> WaitingRuns:
    """What is told of runs of one flow that wait: `count` of them, of which `works` are the first."""
    first = works[0]
    runs = tuple(NextRun(work.item.run_id, work.item.source.text) for work in works[:MOST_NAMED])
    return WaitingRuns(first.flow, first.group, count, first.item.source.text, why, runs)


def never_begun(work: Work, status: str, text: str, why: Cause, now_s: float) -> tuple[Event, ...]:
    """The run of a work that never begins: it ends as it is begun, for this reason."""
    item: Item = work.item
    seen = () if item.due is None else item.due.seen
    about = about_work(work, None)._replace(params=params_text(item.params))
    return (
        RunStarted(item.run_id, work.flow, work.group, item.source.text, now_s, item.source.key, seen, about),
        LogLine(item.run_id, work.flow, None, "ERROR", text, now_s),
        RunFinished(item.run_id, status, now_s, 0.0, text, why, seen),
    )


def about_work(work: Work, deployment: Deployment | None) -> RunAbout:
    """What is known of the run of this work before it begins; `deployment` says which code it runs."""
    about: RunAbout | None = work.item.about
    if about is None:
        why = None if work.item.due is None else work.item.due.why
        kind, detail = ("hand", None) if why is None else why_begun(why)
        slot_utc = why.slot_utc if isinstance(why, Slot) else None
        about = RunAbout(kind, detail, "@".join(person()), scheduled_for=slot_utc)
    if deployment is None:
        return about
    return about._replace(deployment_id=deployment.id, git_commit=deployment.git_commit, git_dirty=deployment.git_dirty)


def why_begun(why: WhyDue) -> tuple[str, str | None]:
    """The kind of trigger of what was due, and its detail.

    Example:
        >>> from data_engine.reasons.kinds import New
        >>> why_begun(Slot("2026-01-01T06:00:00+00:00")), why_begun(New())[0]
        (('slot', '2026-01-01T06:00:00+00:00'), 'file')
    """
    if isinstance(why, Slot):
        return "slot", why.slot_utc
    if isinstance(why, Tick):
        return "slot", None
    if isinstance(why, (Freed, Retried)):
        return "retry", why.text
    return ("hand", None) if why.kind == "asked" else ("file", why.text)

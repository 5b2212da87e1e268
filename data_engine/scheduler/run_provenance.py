"""Why a run that waited is begun, and by whom: the words of its record."""

from __future__ import annotations

from data_engine.model import Deployment, RunAbout
from data_engine.reasons.kinds import Freed, Retried, Slot, Tick, WhyDue
from data_engine.scheduler.run_queue import Work
from data_engine.workspace.machine import person


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

"""What becomes of runs that were abandoned, whose process or machine died: what does them again, and when."""

from __future__ import annotations

from data_engine.engine.flow_reasons import NotDeployed
from data_engine.engine.reasons import Disabled, EngineOff, Interrupted
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Schedule
from data_engine.model import Run, SourceState
from data_engine.scheduler.plan import holds

_WHEN = {
    EngineOff.kind: "it runs again as soon as the engine is on",
    Disabled.kind: "it runs again as soon as the flow is enabled",
    NotDeployed.kind: "it runs again as soon as the flow is deployed",
}


def abandoned_words(lost: Interrupted, blocked: str) -> str:
    """How the last run of a source ended, and when it is done again, by the kind of what keeps it from running now.

    Example:
        >>> abandoned_words(Interrupted("3f9c12ab77", "its process died (pid 77)"), "engine_off")
        'its last run (3f9c12ab) was abandoned: its process died (pid 77); it runs again as soon as the engine is on'
    """
    run = "" if lost.run_id is None else f" ({lost.run_id[:8]})"
    because = f": {lost.error}" if lost.error else ""
    return f"its last run{run} was abandoned{because}; {_WHEN.get(blocked, 'it runs again then')}"


def abandoned(state: SourceState | None) -> Interrupted | None:
    """The last run of a source, where that was abandoned and is to be done again; None of one that was abandoned twice, too."""
    if state is None or state.status != "abandoned" or holds(state):
        return None
    return Interrupted(state.last_run_id, (state.error or "").partition("\n")[0] or None)


def what_does_again(run: Run, flow: Flow) -> str:
    """What does a run again that was abandoned, as `LastRunFailed.again` calls it; `flow` reads no folder.

    Example:
        >>> from data_engine.model import RunTrigger
        >>> nightly = Flow("A", "nightly").watch(mode="schedule", time="06:30")
        >>> what_does_again(Run("3f", "nightly", "A", None, "abandoned", "", trigger=RunTrigger("slot")), nightly)
        'newest_slot'
        >>> what_does_again(Run("3f", "nightly", "A", None, "abandoned", "", trigger=RunTrigger("hand")), nightly)
        'nothing'
    """
    kind, trigger = None if run.trigger is None else run.trigger.kind, flow.trigger
    if kind == "backfill":
        return "backfill"
    if kind != "slot" or not isinstance(trigger, Schedule):
        return "nothing"
    if trigger.interval_seconds is not None:
        return "interval"
    return {"all": "slot", "latest": "newest_slot"}.get(trigger.catch_up, "nothing")

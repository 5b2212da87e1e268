"""What a person types, or does, to change what a reason says; and of several reasons each way once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from data_engine.engine import flow_reasons as of_flow
from data_engine.engine import reasons as of_source
from data_engine.engine.fact import Fact
from data_engine.notebook.standing import Standing
from data_engine.typed import typed

_ID_LENGTH = 8


def way_on(why: Fact, flow: str, source: str | None = None, mend: str | None = None) -> str | None:
    """What changes it, with the command; None where it changes by itself, or is as it should be.

    `mend` is the fix of the error of a source that is held. Without a `source` the words are about any of them.

    Example:
        >>> way_on(of_source.Disabled(), "claims")
        '`data-engine enable claims` lets it run by itself'
        >>> way_on(of_source.Settling(0.5), "claims")
    """
    words = _WAYS.get(why.kind)
    return None if words is None else words(_About(why, flow, source, mend))


class _About:
    """What the words of a way are made of."""

    def __init__(self, why: Any, flow: str, source: str | None, mend: str | None) -> None:
        self.why, self.flow, self.source, self.mend = why, flow, source, mend

    def typed(self, verb: str, *words: str) -> str:
        """The command, in the quotes of a message."""
        return f"`{typed(verb, self.flow, *words)}`"

    def of_one(self, verb: str, *, any_of_them: str = "") -> str:
        """The command for the source alone; without one as `any_of_them` ends it."""
        return self.typed(verb, "--source", self.source) if self.source else f"`{typed(verb, self.flow)}{any_of_them}`"

    def run(self, verb: str, run_id: str) -> str:
        """The command about a run."""
        return f"`{typed(verb, run_id[:_ID_LENGTH])}`"


def _held(about: _About) -> str:
    why, again = about.why, f"{about.of_one('retry')} tries {'it' if about.source else 'all of them'} again"
    if why.status != "failed" or why.run_id is None:
        return again
    mend = f"; {about.mend}" if about.mend else ""
    return f"{about.run('log', why.run_id)} shows the whole error{mend}; {again}"


def _running(about: _About) -> str | None:
    run_id, pid = about.why.run_id, about.why.pid
    if pid is not None:
        return f"end it where it runs, in process {pid}: with Ctrl-C, or by an interrupt of the kernel"
    return None if run_id is None else f"{about.run('stop-run', run_id)} ends it at its next step or item"


def _waits_for_group(about: _About) -> str:
    runs = about.why.runs
    if not runs:
        return f"`{typed('status')}` tells what runs"
    return f"{about.run('stop-run', runs[0].run_id)} ends what it waits for, at its next step or item"


def _not_deployed(about: _About) -> str:
    deploy = f"{about.typed('deploy')} lets production run it"
    return f"correct what is wrong, then {deploy}" if about.why.error else deploy


def _edited(about: _About) -> str:
    deploy = f"{about.typed('deploy')} lets production run it as it is now"
    return f"correct what is wrong, then {deploy}" if about.why.error else deploy


def _undeployed(about: _About) -> str:
    if about.why.renamed_to is not None:
        return f"`{typed('explain', about.why.renamed_to)}` tells of it"
    if not about.why.is_kept:
        return f"{about.typed('runs')} tells what it did"
    return f"{about.typed('restore')} brings its notebook back, {about.typed('rollback')} lets production run it again"


_WAYS: Mapping[str, Callable[[_About], str | None]] = {
    of_source.Disabled.kind: lambda one: f"{one.typed('enable')} lets it run by itself",
    of_source.EngineOff.kind: lambda one: f"`{typed('start')}` lets flows run by themselves",
    of_source.OwnedElsewhere.kind: lambda one: f"`{typed('lease', 'request')}` asks {one.why.owner} for the workspace",
    of_source.ByHand.kind: lambda one: f"{one.typed('run')} runs it",
    of_source.NotYet.kind: lambda one: f"{one.typed('run')} runs it now",
    of_source.Done.kind: lambda one: f"{one.of_one('run', any_of_them=' --source FILE')} runs it again",
    of_source.Held.kind: _held,
    of_source.HeldSlot.kind: lambda one: f"{one.typed('retry')} runs it again",
    of_source.RetryLater.kind: lambda one: f"{one.of_one('retry')} tries it now",
    of_source.Locked.kind: lambda one: "close it there",
    of_source.Running.kind: _running,
    of_flow.Stopping.kind: lambda one: f"{one.run('kill-run', one.why.run_id)} ends its process now",
    of_source.NameFiltered.kind: lambda one: "give it another name",
    of_source.NotListed.kind: lambda one: f"name its extension in watch(extensions=...), then {one.typed('deploy')}",
    of_source.NoFiles.kind: lambda one: "put a file there, or correct source= or extensions=",
    of_source.Unreachable.kind: lambda one: (
        "create it, connect its drive, check its permissions, or correct source="
        " (relative paths start at the flow_modules folder)"
    ),
    of_source.WaitingForGroup.kind: _waits_for_group,
    of_source.WaitingForWorker.kind: lambda one: f"`{typed('status')}` tells what runs",
    of_source.WaitingForOwnRun.kind: lambda one: f"`{typed('status')}` tells what runs",
    of_source.WaitingForShare.kind: lambda one: f"`{typed('doctor')}` says what is wrong with the drive",
    of_flow.Broken.kind: lambda one: f"{one.typed('compile')} checks it again",
    of_flow.Edited.kind: _edited,
    of_flow.ModuleGone.kind: lambda one: Standing("gone", file=one.why.file, renamed_to=one.why.renamed_to).fix,
    of_flow.Undeployed.kind: _undeployed,
    of_flow.NotDeployed.kind: _not_deployed,
    of_flow.Requested.kind: lambda one: f"`{typed('status')}` tells the answer",
    of_flow.Trouble.kind: lambda one: one.why.fix or f"`{typed('doctor')}` says what is wrong",
    of_flow.LastRunWarned.kind: lambda one: f"{one.run('log', one.why.run_id)} shows them",
    of_flow.Late.kind: lambda one: f"{one.typed('run')} runs it now",
    of_flow.Overlong.kind: lambda one: one.why.run_id and f"{one.run('stop-run', one.why.run_id)} ends it",
}
"""By kind; what is in no need of one is not here: it is due, or settles, or will be looked at."""

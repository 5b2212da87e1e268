"""What a person types, or does, to change what a reason says; and of several reasons each way once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from data_engine.engine import flow_reasons as of_flow
from data_engine.engine import reasons as of_source
from data_engine.engine.fact import Fact
from data_engine.engine.machine_facts import SILENT_FIX
from data_engine.engine.status import FlowFacts, WorkspaceFacts
from data_engine.flow.control import STOPS_AT
from data_engine.typed import typed

_ID_LENGTH = 8


def way_on(
    why: Fact,
    flow: str,
    source: str | None = None,
    mend: str | None = None,
    blocked_by: Collection[str] = (),
    *,
    is_batch: bool = False,
) -> str | None:
    """What changes it, with the command; None where it changes by itself, or is as it should be.

    `mend` is the fix of the error of a source that is held. Without a `source` the words are about any of them. `blocked_by`
    are the kinds of what keeps the whole flow from running, so that a command that cannot work now is not named alone. A flow that
    `is_batch` runs for all of its files at once.

    Example:
        >>> way_on(of_source.Disabled(), "claims")
        '`data-engine enable claims` lets it run by itself'
        >>> way_on(of_source.Settling(0.5), "claims")
        >>> way_on(of_source.HeldSlot("", None), "claims", blocked_by=["engine_off"])
        '`data-engine start` tries it again, with all that is held'
    """
    words = _WAYS.get(why.kind)
    return None if words is None else words(_About(why, flow, source, mend, blocked_by, is_batch=is_batch))


def word_of(why: Fact) -> str:
    """What the way on of a reason begins with.

    Example:
        >>> word_of(of_source.EngineOff()), word_of(of_flow.Undeployed("claims", "2026-01-05T06:00:00+00:00", "anna", "parts"))
        ('engine off', 'renamed to parts')
    """
    if isinstance(why, of_flow.Undeployed) and why.renamed_to is not None:
        return f"renamed to {why.renamed_to}"
    return why.kind.replace("_", " ")


DAEMON_ENDING = "daemon_ending"
"""The kind of what keeps flows from running that is no reason of its own: the daemon only waits for its running work."""

FLOW_GONE = (of_flow.Undeployed.kind,)
"""What keeps a flow from running that is neither in production nor a notebook any more."""

DEPEND = frozenset(
    one.kind
    for one in (
        of_source.Held,
        of_source.HeldSlot,
        of_source.RetryLater,
        of_source.Done,
        of_source.Disabled,
        of_source.EngineOff,
        of_flow.LastRunFailed,
        of_flow.LastWritten,
    )
)
"""The kinds of reasons whose way depends on what else keeps the flow from running."""


def blocked_by(known: WorkspaceFacts, flow: FlowFacts) -> tuple[str, ...]:
    """The kinds of all that keeps the flow from running by itself, whatever is due."""
    is_draft = flow.standing.kind == "not_deployed" and known.elsewhere is None
    is_off = known.unasked is None and not known.engine.on
    found = (
        (of_flow.NotDeployed.kind, is_draft),
        (of_source.Disabled.kind, not flow.is_enabled),
        (of_source.EngineOff.kind, is_off),
        (DAEMON_ENDING, is_off and known.daemon.ending),
    )
    return tuple(kind for kind, is_so in found if is_so)


class _About:
    """What the words of a way are made of."""

    def __init__(
        self,
        why: Any,
        flow: str,
        source: str | None,
        mend: str | None,
        blocked_by: Collection[str] = (),
        *,
        is_batch: bool = False,
    ) -> None:
        self.is_batch = is_batch
        self.why, self.flow, self.source, self.mend, self.blocked_by = why, flow, source, mend, blocked_by

    def typed(self, verb: str, *words: str) -> str:
        """The command, in the quotes of a message."""
        return f"`{typed(verb, self.flow, *words)}`"

    def of_one(self, verb: str) -> str:
        """The command for the source alone; without one for all."""
        return self.typed(verb, "--source", self.source) if self.source else self.typed(verb)

    def retried(self) -> str:
        """What tries again what is held, as things are now."""
        it = "it" if self.source or self.why.kind == of_source.HeldSlot.kind else "all of them"
        if of_flow.NotDeployed.kind in self.blocked_by:
            one = ["--source", self.source] if self.source and not self.is_batch else []
            it = "it for all of its files" if self.is_batch else it
            return f"`{typed('run', '--once', self.flow, *one)}` runs {it} here, once"
        first = f"{self.typed('enable')}, then " if of_source.Disabled.kind in self.blocked_by else ""
        if of_source.EngineOff.kind in self.blocked_by:
            return f"{first}{_start(self)} tries {it} again, with all that is held"
        if self.why.kind == of_source.RetryLater.kind:
            return f"{first}{self.of_one('retry')} tries {it} now"
        return f"{first}{self.of_one('retry')} tries {it} again"

    def run(self, verb: str, run_id: str) -> str:
        """The command about a run."""
        return f"`{typed(verb, run_id[:_ID_LENGTH])}`"


def _held(about: _About) -> str:
    why, again = about.why, about.retried()
    if why.status != "failed" or why.run_id is None:
        return again
    mend = f"; {about.mend}" if about.mend else ""
    return f"{about.run('log', why.run_id)} shows the whole error{mend}; {again}"


def _failed(about: _About) -> str:
    verb = ("run", "--once") if of_flow.NotDeployed.kind in about.blocked_by else ("run",)
    mend = f"; {about.mend}" if about.mend else ""
    shows = "shows how far it got" if about.why.status == "abandoned" else "shows the whole error"
    return f"{about.run('log', about.why.run_id)} {shows}{mend}; `{typed(*verb, about.flow)}` runs it again"


def _slots_passed(about: _About) -> str:
    since, until = about.why.days
    return f"{about.typed('backfill', '--since', since, '--until', until, '--reprocess', 'missing')} runs them"


def _running(about: _About) -> str | None:
    run_id, pid = about.why.run_id, about.why.pid
    if pid is not None:
        return _end_it_there(pid)
    return f"{about.run('stop', run_id)} ends it at its {STOPS_AT}" if run_id else None


def _end_it_there(pid: int) -> str:
    return f"end it where it runs, in process {pid}: with Ctrl-C, or by an interrupt of the kernel"


def _start(about: _About) -> str:
    """What starts the engine."""
    if DAEMON_ENDING in about.blocked_by:
        return f"`{typed('start')}`, once the daemon has ended (it waits for its running work; `{typed('kill')}` ends it now),"
    return f"`{typed('start')}`"


def _disabled(about: _About) -> str:
    enable = f"{about.typed('enable')} lets it run by itself"
    return (
        f"{enable}, and {_start(about)} starts the engine" if of_source.EngineOff.kind in about.blocked_by else enable
    )


def _done(about: _About) -> str:
    verb = ("run", "--once") if of_flow.NotDeployed.kind in about.blocked_by else ("run",)
    if about.is_batch:
        return f"`{typed(*verb, about.flow)}` runs it again, for all of its files"
    if about.why.by_earlier:
        return f"{about.typed('backfill', '--reprocess', 'all')} runs all files again"
    if about.source:
        return f"`{typed(*verb, about.flow, '--source', about.source)}` runs it again"
    return f"`{typed(*verb, about.flow)} --source FILE` runs it again"


def _waits_for_group(about: _About) -> str:
    runs = about.why.runs
    if not runs:
        return f"`{typed('status')}` shows what runs"
    if not runs[0].in_daemon:
        return _end_it_there(runs[0].pid)
    return f"{about.run('stop', runs[0].run_id)} ends what it waits for, at its {STOPS_AT}"


def _not_deployed(about: _About) -> str:
    deploy = f"{about.typed('deploy')} lets production run it"
    both = f"; {about.typed('deploy', '--yes')} lets both write there" if about.why.shares_with else ""
    return f"{_before_deploy(about)}, then {deploy}{both}" if about.why.error or both else deploy


def _edited(about: _About) -> str:
    return f"{_not_deployed(about)} as it is now"


def _before_deploy(about: _About) -> str:
    if about.why.shares_with is None:
        return "correct what is wrong"
    return f"give it another mirror(root=...) than that of {about.why.shares_with}"


def _written(about: _About) -> str | None:
    if about.why.run_id is None:
        return None
    shown = f"{about.run('log', about.why.run_id)} shows all of it"
    if about.why.state != "gone" or of_flow.Undeployed.kind in about.blocked_by:
        return shown
    verb = ("run", "--once") if of_flow.NotDeployed.kind in about.blocked_by else ("run",)
    one = ["--source", about.source] if about.source else []
    again = "makes it again, where it is given those parameters" if about.why.params else "makes it again"
    return f"`{typed(*verb, about.flow, *one)}` {again}; {shown}"


def _filtered(about: _About) -> str:
    if about.why.part.startswith("~$"):
        return "nothing: Excel or Word made it beside a file that is open there, and removes it when that is closed"
    return "give it another name"


def _undeployed(about: _About) -> str:
    if about.why.renamed_to is not None:
        return f"`{typed('explain', about.why.renamed_to)}` shows it"
    if not about.why.is_kept:
        return f"{about.typed('runs')} shows what it did"
    return f"{about.typed('restore')} brings its notebook back, {about.typed('rollback')} lets production run it again"


_WAYS: Mapping[str, Callable[[_About], str | None]] = {
    of_source.Disabled.kind: _disabled,
    of_source.EngineOff.kind: lambda one: f"{_start(one)} lets flows run by themselves",
    of_flow.DaemonSilent.kind: lambda one: SILENT_FIX,
    of_source.OwnedElsewhere.kind: lambda one: f"`{typed('lease', 'request')}` asks {one.why.owner} for the workspace",
    of_source.ByHand.kind: lambda one: f"{one.typed('run')} runs it",
    of_source.NotYet.kind: lambda one: f"{one.typed('run')} runs it now",
    of_source.Done.kind: _done,
    of_source.Held.kind: _held,
    of_source.HeldSlot.kind: _About.retried,
    of_source.RetryLater.kind: _About.retried,
    of_source.Locked.kind: lambda one: "close it there",
    of_source.Running.kind: _running,
    of_flow.Stopping.kind: lambda one: f"{one.run('kill', one.why.run_id)} ends its process now",
    of_source.NameFiltered.kind: _filtered,
    of_source.NotListed.kind: lambda one: f"name its extension in watch(extensions=...), then {one.typed('deploy')}",
    of_source.NoFiles.kind: lambda one: "put a file there, or correct source= or extensions=",
    of_source.Unreachable.kind: lambda one: (
        "create it, connect its drive, check its permissions, or correct source="
        " (relative paths start at the flow_modules folder)"
    ),
    of_source.WaitingForGroup.kind: _waits_for_group,
    of_source.WaitingForWorker.kind: lambda one: f"`{typed('status')}` shows what runs",
    of_source.WaitingForOwnRun.kind: lambda one: f"`{typed('status')}` shows what runs",
    of_source.WaitingForShare.kind: lambda one: f"`{typed('doctor')}` says what is wrong with the drive",
    of_flow.SlotsPassed.kind: _slots_passed,
    of_flow.Broken.kind: lambda one: f"{one.typed('compile')} checks it again",
    of_flow.Edited.kind: _edited,
    of_flow.ModuleGone.kind: lambda one: one.why.standing.fix,
    of_flow.Undeployed.kind: _undeployed,
    of_flow.NotDeployed.kind: _not_deployed,
    of_flow.Requested.kind: lambda one: f"`{typed('status')}` shows the answer",
    of_flow.Trouble.kind: lambda one: one.why.fix or f"`{typed('doctor')}` says what is wrong",
    of_flow.LastRunFailed.kind: _failed,
    of_flow.LastWritten.kind: _written,
    of_flow.LastRunWarned.kind: lambda one: f"{one.run('log', one.why.run_id)} shows them",
    of_flow.Late.kind: lambda one: f"{one.typed('run')} runs it now",
    of_flow.Overlong.kind: _running,
}
"""By kind; what is in no need of one is not here: it is due, or settles, or will be looked at."""

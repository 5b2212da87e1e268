"""What a command is checked against: a status, and the reasons that several commands share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from data_engine.errors import FlowValidationError, OwnedElsewhereError
from data_engine.record import frozen

if TYPE_CHECKING:
    from data_engine.model import ActiveRun
    from data_engine.status.record import FlowStatus, WorkspaceStatus

OTHERS = ("owned", "control_requested", "takeover_available")
"""The states in which a workstation has control, or had it until it fell silent."""
UNUSABLE = ("unreachable", "damaged")


@frozen
class Refusal:
    """Why a command is not carried out now. One that `binds` is refused; else the command would change nothing, or the owner has to look
    first (who owns, what was saved a moment ago): its button cannot be pressed, and who asks all the same learns what came of it."""

    kind: str
    sentence: str
    fix: str = ""
    binds: bool = False

    def error(self, where: str) -> FlowValidationError:
        """The same as an error."""
        kind = OwnedElsewhereError if self.kind == "owned_elsewhere" else FlowValidationError
        return kind(self.sentence, where=where, fix=self.fix or None)


@frozen
class Situation:
    """A status, as this machine, whose id is `machine_id`, reads it."""

    status: WorkspaceStatus
    machine_id: str | None = None

    # -- the workspace ---------------------------------------------------------------------------------------------------

    @property
    def elsewhere(self) -> Refusal | None:
        """That another workstation has control, or that nobody can see who has."""
        lease = self.status.lease
        if lease.state in UNUSABLE:
            return Refusal("owned_elsewhere", unusable_words(lease))
        if lease.state not in OTHERS or self.is_mine:
            return None
        return Refusal("owned_elsewhere", f"{host_of(lease.owner)} has control of this workspace")

    @property
    def unheard(self) -> Refusal | None:
        """The same where the workstation that has control cannot be asked to do it: it is not heard of."""
        return None if self.status.lease.state in ("owned", "control_requested") else self.elsewhere

    @property
    def is_mine(self) -> bool:
        """Whether this workstation has control."""
        return self.status.lease.state == "mine" or self.status.lease.is_mine

    @property
    def is_asked_from_here(self) -> bool:
        """Whether this workstation has asked for control."""
        asking = self.status.lease.requested_by
        return asking is not None and self.machine_id is not None and asking["machine_id"] == self.machine_id

    @property
    def no_daemon(self) -> Refusal | None:
        """That there is none."""
        return unless(self.status.daemon.running, "no_daemon", "no daemon runs here")

    @property
    def leaving(self) -> Refusal | None:
        """That the daemon only waits for its running work."""
        if not (self.status.engine.stopping or self.status.daemon.ending):
            return None
        fix = "wait until it has ended and start it again, or end it now with `data-engine kill`"
        return Refusal("daemon_ending", "the daemon is ending: it only waits for its running work", fix, binds=True)

    # -- a flow ----------------------------------------------------------------------------------------------------------

    def flow(self, name: str | None) -> FlowStatus | None:
        """The flow of this name."""
        return next((flow for flow in self.status.flows if flow.name == name), None)

    def running(self, name: str | None) -> tuple[ActiveRun, ...]:
        """The runs of the flow that are under way; of every flow without a name."""
        return tuple(run for run in self.status.active_runs if name in (None, run.flow))

    def not_runnable(self, name: str) -> Refusal | None:
        """That production cannot run the flow, or its owner cannot be asked."""
        flow = self.flow(name)
        if (unheard := self.unheard) is not None or flow is None:
            return unheard
        if flow.state_kind == "broken":
            return Refusal("broken", "the module is broken: fix it first")
        return when(flow.state_kind == "not_deployed", "not_deployed", "it is not deployed: deploy it first")

    def gone(self, name: str | None) -> Refusal | None:
        """That the notebook of the flow is gone, and what to do with it where it lies now."""
        flow = self.flow(name)
        if flow is None or flow.standing.kind != "gone":
            return None
        return self.found_again(name) or Refusal("gone", "its notebook is gone: restore it, or undeploy the flow")

    def found_again(self, name: str | None) -> Refusal | None:
        """What to do with the notebook of the flow where it lies now, of which nobody needs a second copy."""
        flow = self.flow(name)
        standing = None if flow is None else flow.standing
        if standing is None:
            return None
        if standing.moved_to is not None:
            return Refusal("moved", f"move {standing.moved_to} back into flow_modules itself")
        if standing.renamed_to is not None:
            return Refusal("renamed", f"deploy {standing.renamed_to}, as its notebook is called now")
        return None


def first(refusals: Iterable[Refusal | None]) -> Refusal | None:
    """The first reason that holds."""
    return next((one for one in refusals if one is not None), None)


def when(is_so: object, kind: str, sentence: str) -> Refusal | None:
    """A reason that does not bind, where it is so."""
    return Refusal(kind, sentence) if is_so else None


def unless(is_so: object, kind: str, sentence: str) -> Refusal | None:
    """A reason that does not bind, where it is not so."""
    return None if is_so else Refusal(kind, sentence)


def unusable_words(lease: Mapping[str, Any]) -> str:
    """That nobody can see who has control, and why."""
    is_away, damage = lease["state"] == "unreachable", lease.get("damage")
    what = "The shared state cannot be reached" if is_away else "The shared state is damaged"
    told = f"{what}: {lease['note']}" if lease.get("note") else what
    return f"{told} · {damage['fix']}" if damage else told


def host_of(machine: Any) -> str:
    """How people call a machine that the lease names."""
    found = machine or {}
    return str(found.get("host_name") or found.get("machine_id") or "another workstation")

"""Who may own, and who does: what a daemon knows of it in memory, and its decisions as plain functions over views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Protocol

from data_engine.errors import OwnedElsewhereError, WorkspaceError
from data_engine.lease.protocol import NEVER, Fenced, Identity
from data_engine.lease.status import LeaseStatus
from data_engine.lease.view import View, is_of_this_machine
from data_engine.ledger.belief import Verdict, clock_warnings
from data_engine.record import frozen


class Sets(Protocol):
    """The files of the deployments on the share, which an owner keeps whole and tidy."""

    def check(self) -> str | None:
        """Write anew from this machine's own copy what is damaged of what flows run; in words what cannot be.

        Raises:
            OSError: the share is away.
        """
        ...

    def collect(self, may_go_on: Callable[[], bool]) -> None:
        """Remove what no deployment that is kept names, as long as `may_go_on` says so.

        Raises:
            OSError: the share is away.
        """
        ...


@frozen
class OwnershipState:
    """What is known of the ownership without asking anybody.

    `token` is the fencing token while this daemon owns the workspace (it may have lapsed), else None. Work may start until
    `work_until_s` on `boot_clock()`. `engine_on` is what the newest generation says of the engine, `is_again` whether the owner
    before was a daemon of this machine. `lost_to` names who took
    the workspace from this daemon. `trouble` is what keeps the share from being written, `trouble_kinds` which of our
    ways to it that concerns. `seen_s` is when `lease` was seen.
    `clock` says whether this machine's wall clock is believed, None before it was judged. `is_lapsed` is said when no new work
    may start although the workspace is ours. `history` is the generation whose rows were last taken in from others, by its nonce.
    """

    token: int | None = None
    work_until_s: float = NEVER
    engine_on: bool = False
    is_again: bool = False
    lease: LeaseStatus = field(default_factory=LeaseStatus)
    lost_to: str | None = None
    trouble: str | None = None
    trouble_kinds: tuple[str, ...] = ()
    seen_s: float = NEVER
    clock: Verdict | None = None
    is_lapsed: bool = False
    history: str | None = None

    @property
    def unaged(self) -> tuple[object, ...]:
        """Equal while nothing happens that anybody has to be told of: a heartbeat and the time that passes are nothing."""
        facts = (self.token, self.engine_on, self.is_again, self.lost_to, self.trouble, self.is_lapsed, self.history)
        return (*facts, self.lease.unaged, clock_warnings(self.clock))


def may_claim(view: View, me: Identity, *, is_takeover: bool) -> bool:
    """Whether somebody who wants to own may claim what `view` saw; from a silent owner only in a takeover, or when it died here."""
    if view.state != "stale":
        return view.is_claimable
    return is_takeover or (view.top is not None and is_of_this_machine(view.top, me))


def claims_by_itself(view: View, me: Identity, *, wants_control: bool, takes_over: Callable[[], bool]) -> bool:
    """Whether to take what was given to this machine, what it asked for, or what nobody runs any more, where that is set."""
    top = view.top
    if top is None or not view.is_claimable:
        return False
    is_given = view.state == "available" and (top.handoff_to == me.machine_id or wants_control)
    is_silent = view.state == "stale" and (wants_control or (takes_over() and top.engine_on))
    return is_given or is_silent or view.state == "mine"


def not_owned_here(status: LeaseStatus, why: str = "") -> OwnedElsewhereError:
    """The error that says who owns instead, or what is in the way, and what helps."""
    fix = {
        "owned": "ask for it: `data-engine lease request`, or Workspace.request_control()",
        "control_requested": "wait until its owner agrees, or until its lease is free",
        "takeover_available": "take it over: `data-engine lease take-over`, or Workspace.take_over()",
        "damaged": status.fix,
    }.get(status.state, "check whether the drive is connected and writable; `data-engine doctor` measures it")
    what = f"this machine does not own the workspace: {status.words}"
    return OwnedElsewhereError(f"{what} ({why})" if why else what, where="the workspace's lease", fix=fix)


def late_here(trouble: str | None) -> OwnedElsewhereError:
    """The error of an owner whose heartbeat could not be written in time, so that it may change nothing now."""
    why = f": {trouble}" if trouble else ""
    return OwnedElsewhereError(
        f"this machine owns the workspace, but its heartbeat could not be written in time{why}",
        where="the workspace's lease",
        fix="nothing was changed; try again once the drive answers (`data-engine doctor` measures it)",
    )


def only_observed_here(unfit: str) -> OwnedElsewhereError:
    """The error that says why nobody can own a workspace in this place."""
    return OwnedElsewhereError(
        f"this machine can only observe the workspace: {unfit}",
        where="the workspace's folder",
        fix="see `data-engine doctor`",
    )


def not_published(error: Exception | None) -> WorkspaceError:
    """The error of a decision that nobody may have seen yet."""
    return WorkspaceError(
        f"it may not have been published: {error}",
        where="the shared folder",
        fix="once the drive answers, check whether it was published (`data-engine deployments`); if not, ask again",
    )


def lost_to(fenced: Fenced, me: Identity) -> str | None:
    """Who took the workspace from `me`; None where it was given up, by a release whose answer was lost."""
    newest = fenced.generation
    if newest is None:
        return "somebody else"
    if newest.kind == "release" and newest.by.daemon_id == me.daemon_id:
        return None
    return f"{newest.by.shown}, which repaired the shared history," if newest.kind == "repair" else newest.by.shown

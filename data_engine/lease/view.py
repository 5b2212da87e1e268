"""What a look at the share means: the rule of silence, and the view it gives. Frozen values in, frozen values out.

No time written by another machine is ever compared: silence is measured on the clock of the one who listens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from data_engine.lease.protocol import NEVER, Damage, Generation, Identity, LeaseRecord, Limits, Request
from data_engine.record import frozen

State = Literal["available", "reserved", "owned", "mine", "stale", "unreachable", "damaged"]


@frozen
class Observed:
    """What one observer has seen so far, in seconds of its own clock. `mark` only ever moves forward.

    `moved_s`: when the newest sign of the owner was first seen; `silent_since_s`: since when silence counts, which is
    later after a hole in the looking; `polled_s`: the last successful look; `token_s`: when the token was first seen.
    """

    mark: tuple[int, int] = (-1, -1)
    moved_s: float = NEVER
    silent_since_s: float = NEVER
    polled_s: float = NEVER
    token: int = -1
    token_s: float = NEVER
    request_mark: tuple[str, int] = ("", -1)
    request_s: float = NEVER


@frozen
class View:
    """What one look showed and what it means here; `limits` are those of the owner, else one's own.

    `available`, `stale` and `mine` may be claimed (`mine`: a claim of this daemon whose answer was lost). `reserved` is
    handed over to somebody who has not taken it yet. When it is `unreachable`, `away` is what the drive said. When it is
    `damaged`, `damage` is what is, where only the heartbeat is `top` is there, and `silent_s` is for how long this machine
    has known of the damage and heard nothing of an owner.
    """

    state: State
    limits: Limits
    top: Generation | None = None
    lease: LeaseRecord | None = None
    request: Request | None = None
    silent_s: float = 0.0
    heartbeat_age_s: float | None = None
    owned_for_s: float = 0.0
    away: str = ""
    damage: Damage | None = None

    @property
    def why(self) -> str:
        """What is wrong when it is `unreachable` or `damaged`."""
        return self.away if self.damage is None else self.damage.what

    @property
    def is_claimable(self) -> bool:
        """Whether `Observer.claim` may try."""
        return self.state in ("available", "stale", "mine")


def observe(
    seen: Observed,
    top: Generation,
    lease: LeaseRecord | None,
    request: Request | None,
    *,
    before_s: float,
    after_s: float,
    limits: Limits,
) -> Observed:
    """What has been seen after a look that began at `before_s` and ended at `after_s`.

    The rule of silence: it begins anew when (generation, beat under the current token) moves forward, and when nobody
    was looking for longer than `max_gap_s`. A missing or damaged heartbeat, or one with another token, is no news.
    """
    mark = (top.number, lease.beat if lease is not None and lease.token == top.token else -1)
    if mark > seen.mark:
        seen = replace(seen, mark=mark, moved_s=after_s, silent_since_s=after_s)
    elif after_s - seen.polled_s > limits.max_gap_s:
        seen = replace(seen, silent_since_s=after_s)
    if top.token != seen.token:
        seen = replace(seen, token=top.token, token_s=before_s)
    request_mark = ("", -1) if request is None else (request.request_id, request.beat)
    if request is not None and request_mark != seen.request_mark:
        seen = replace(seen, request_mark=request_mark, request_s=after_s)
    return replace(seen, polled_s=after_s)


def view_of(
    seen: Observed,
    top: Generation,
    lease: LeaseRecord | None,
    request: Request | None,
    *,
    before_s: float,
    limits: Limits,
    me: Identity,
    is_dead_here: bool,
) -> View:
    """What a look means to `me`; `is_dead_here`: the owner was a daemon of this machine that is known to be gone."""
    silent_s = max(0.0, before_s - seen.silent_since_s)
    is_live = request is not None and before_s - seen.request_s < limits.request_expiry_s
    is_own = is_live and request is not None and request.requester_daemon_id == top.by.daemon_id and top.is_owned
    return View(
        _state(top, silent_s, limits, me, is_dead_here),
        limits,
        top,
        lease,
        request if is_live and not is_own else None,
        silent_s,
        max(0.0, before_s - seen.moved_s) if top.is_owned else None,
        max(0.0, before_s - seen.token_s) if top.is_owned else 0.0,
    )


def is_of_this_machine(top: Generation, me: Identity) -> bool:
    """Whether `top` was appended by a daemon that held the very lock `me` holds, on the same operating system.

    A home folder shared by two hosts, or one machine id in a container image, does not match.
    """
    pairs = (
        (top.by.machine_id, me.machine_id),
        (top.by.lock_id, me.lock_id),
        (top.by.host_id, me.host_id),
    )
    return all(theirs and theirs == ours for theirs, ours in pairs) and top.by.daemon_id != me.daemon_id


def _state(top: Generation, silent_s: float, limits: Limits, me: Identity, is_dead_here: bool) -> State:
    if top.is_owned:
        if top.by.daemon_id == me.daemon_id:
            return "mine"
        return "stale" if is_dead_here or silent_s >= limits.stale_after_s else "owned"
    if top.handoff_to not in ("", me.machine_id) and silent_s < limits.handoff_grace_s:
        return "reserved"
    return "available"

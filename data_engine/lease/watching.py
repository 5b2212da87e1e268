"""What a machine does about a silent owner: decided from plain values, by its own clock alone.

A claim gives the right to tell for `RIGHT_S`; one that has told nobody may be followed by another after `AGAIN_S`. So nobody
tells any more when the next one may begin, on clocks that run at most 10 % apart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import field, replace
from typing import Literal, Protocol, TypeAlias

from data_engine.lease.alarms import MOST_CLAIMS, Alarm, AlarmClaim, Shown
from data_engine.lease.protocol import NEVER, Identity, Limits
from data_engine.lease.view import View, is_of_this_machine
from data_engine.record import frozen

RIGHT_S = 360.0
"""So long after it began to claim a machine may tell."""

AGAIN_S = 600.0
"""A claim that has been seen for so long, and has told nobody, may be followed by another."""

LOOK_S = 60.0
"""How often a machine looks at what another one has claimed."""

Move: TypeAlias = Literal["done", "record", "tell", "claim", "wait", "forget"]


class Teller(Protocol):
    """How a machine tells people. Nothing of it waits for a channel; what is kept is kept over a crash."""

    def is_free(self, message_id: str) -> bool:
        """Whether a message may be sent without a claim: it is of no alarm, or somebody has it; memory only."""
        ...

    def kinds(self) -> Collection[str]:
        """The kinds this machine can tell now, and people want to hear; memory only."""
        ...

    def is_whole(self) -> bool:
        """Whether it reaches all who are to be told; memory only."""
        ...

    def id_of(self, alarm: Alarm) -> str:
        """The id of the message: the same on every machine."""
        ...

    def tell(self, alarm: Alarm, about: About) -> None:
        """Keep the message until it is sent; the same once more changes nothing."""
        ...

    def is_told(self, alarm: Alarm) -> bool:
        """Whether one recipient at least has it from this machine."""
        ...

    def drop(self, alarm: Alarm) -> None:
        """Let nobody be told any more who has not been."""
        ...

    def drop_others(self, alarms: Collection[Alarm]) -> None:
        """The same for all alarms but these."""
        ...

    def tell_away(self, why: str) -> None:
        """Tell that the share cannot be used, as a trouble of this machine."""
        ...

    def tell_back(self) -> None:
        """Tell that it can be again; nothing where `tell_away` was not called before, by this process or an earlier one."""
        ...

    def is_away_told(self) -> bool:
        """Whether `tell_away` was called last."""
        ...


@frozen
class About:
    """What people are told: the owner, whether its engine was on, and since when nothing is heard; then how it was over.

    `has_ended`: it has given the workspace up with its engine on, as a daemon does whose machine is shut down.
    """

    owner: str
    engine_on: bool
    since_utc: str
    over: str = ""
    has_ended: bool = False


@frozen
class Pursued:
    """One message as one machine pursues it. `over` is how the silence ended, "" while it lasts.

    `claims` is how many were seen, the last of them first at `claim_s`; `mine` says until when each claim of this process,
    by its nonce, may tell; `look_s` when the share is looked at next. `is_done`: people were told, and its end is waited for.
    `is_seen`: this process has seen the silence itself, and has not only found an alarm of it.
    """

    alarm: Alarm
    about: About
    over: str = ""
    claims: int = 0
    claim_s: float = NEVER
    mine: Mapping[str, float] = field(default_factory=dict)
    look_s: float = NEVER
    is_done: bool = False
    is_seen: bool = False

    def seen(self, shown: Shown, now_s: float) -> Pursued:
        """After a look at the share."""
        if shown.claims == self.claims:
            return self
        return replace(self, claims=shown.claims, claim_s=now_s)

    def tried(self, nonce: str, until_s: float) -> Pursued:
        """With a claim of this process more."""
        return replace(self, mine={**self.mine, nonce: until_s}, look_s=NEVER)

    @property
    def until_s(self) -> float:
        """Until when this process may tell; -inf without a claim."""
        return max(self.mine.values(), default=NEVER)

    @property
    def next(self) -> Pursued:
        """The message that follows: that it is over."""
        alarm = replace(self.alarm, kind="recovered")
        return Pursued(alarm, replace(self.about, over=self.over), self.over)


def is_unattended(view: View) -> bool:
    """Whether nobody owns the workspace since an owner ended with its engine on. Who stops the engine leaves it off."""
    top = view.top
    return view.state == "available" and top is not None and top.kind == "release" and top.engine_on


def is_alarming(view: View, me: Identity, *, is_whole: bool) -> bool:
    """Whether the owner has been silent, or nobody has run its engine, for so long that people are to be told.

    Who reaches only some of them leaves it to others for a threshold more. A daemon of this machine that died is no silent
    machine; others see to that.
    """
    top = view.top
    if top is None or is_of_this_machine(top, me):
        return False
    is_silent = view.state == "stale" and top.is_owned
    return (is_silent or is_unattended(view)) and view.silent_s >= view.limits.stale_after_s * (1 if is_whole else 2)


def how_over(one: Pursued, view: View) -> str:
    """How what people were told has ended, in words; "" where it goes on, or nobody can tell.

    Only a new generation ends it. An owner that was frozen in the middle of a heartbeat shows one beat more when it wakes, and
    may freeze again before it renews: that is the same silence, under the same number. A workspace whose engine nobody runs is
    looked after again when somebody has owned it for the threshold: a deployment from elsewhere owns it for a moment.
    """
    top, owner = view.top, one.about.owner
    if top is None or view.state in ("unreachable", "damaged") or top.number <= one.alarm.number:
        return ""
    if top.kind == "repair":
        return f"{top.by.shown} has repaired the workspace's history"
    if one.about.has_ended and (is_unattended(view) or (top.is_owned and view.owned_for_s < view.limits.stale_after_s)):
        return ""
    if not top.is_owned:
        return f"{top.by.shown} has given the workspace up"
    return f"{owner} gives signs of life again" if top.by.shown == owner else f"{top.by.shown} owns the workspace now"


def judge(one: Pursued, shown: Shown, me: Identity, *, is_told: bool, may_begin: bool, now_s: float) -> Move:
    """What to do about one message, after a look at the share that `one` has seen.

    `is_told`: this machine has told somebody. `may_begin`: the first claim may be made now.

    Example:
        >>> me, one = Identity("m2", "d1"), Pursued(Alarm(7, "9f3c", "silent_owner"), About("EVE-PC", True, ""))
        >>> judge(one, Shown(), me, is_told=False, may_begin=True, now_s=0.0)
        'claim'
        >>> ben = AlarmClaim("9f3c", "ab", "m3", "BEN-PC", "", "", "EVE-PC", True, "", "")
        >>> one = one.seen(Shown(1, ben), 10.0)
        >>> [judge(one, Shown(1, ben), me, is_told=False, may_begin=True, now_s=now_s) for now_s in (20.0, 610.0)]
        ['wait', 'claim']
        >>> judge(one.tried("ab", 370.0), Shown(1, ben), me, is_told=False, may_begin=True, now_s=20.0)
        'tell'
    """
    if shown.is_sent:
        return "done"
    if is_told:
        return "record"
    if shown.claims == 0:
        return "claim" if may_begin else "forget"
    if shown.claims > MOST_CLAIMS:
        return "forget"
    newest = shown.newest
    is_mine = newest is not None and newest.nonce in one.mine
    if newest is not None and is_mine and now_s < one.mine[newest.nonce]:
        return "tell"
    is_left = newest is not None and not is_mine and _is_of_dead_daemon(newest, me)
    wait_s = AGAIN_S * (1 + len(one.mine)) if is_mine else AGAIN_S  # who could not tell lets others go first
    return "claim" if is_left or now_s - one.claim_s >= wait_s else "wait"


def _is_of_dead_daemon(claim: AlarmClaim, me: Identity) -> bool:
    """Whether an earlier daemon of this machine made it: the one that holds the machine's lock now knows that it is gone."""
    pairs = ((claim.machine_id, me.machine_id), (claim.lock_id, me.lock_id), (claim.host_id, me.host_id))
    return all(theirs and theirs == ours for theirs, ours in pairs)


@frozen
class Reach:
    """Whether this machine can use the share: since when it cannot, or can again; and whether people were told that it cannot."""

    away_s: float | None = None
    back_s: float | None = None
    is_told: bool = False

    def after(self, away: bool, now_s: float, limits: Limits) -> tuple[Reach, Literal["away", "back", None]]:
        """After a look, and what is to be told: once a trouble, when either has lasted for the stale threshold.

        Example:
            >>> reach, told = Reach(), []
            >>> for now_s, away in ((0.0, True), (50.0, True), (90.0, True), (200.0, True), (210.0, False), (300.0, False)):
            ...     reach, what = reach.after(away, now_s, Limits())
            ...     told.append(what)
            >>> told
            [None, None, 'away', None, None, 'back']
        """
        if away:
            since_s = now_s if self.away_s is None else self.away_s
            if not self.is_told and now_s - since_s >= limits.stale_after_s:
                return Reach(since_s, None, True), "away"
            return Reach(since_s, None, self.is_told), None
        if not self.is_told:
            return Reach(), None
        since_s = now_s if self.back_s is None else self.back_s
        if now_s - since_s >= limits.stale_after_s:
            return Reach(), "back"
        return Reach(None, since_s, True), None

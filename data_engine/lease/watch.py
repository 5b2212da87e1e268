"""A machine that watches the owner: what it sees leads to claims on the share, and to messages in its own outbox.

One thread does all of it, the one that talks to the share; any other only asks whether a message may be sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from data_engine.clock import boot_clock
from data_engine.lease.alarms import Alarm, AlarmClaim, AlarmFiles
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.protocol import NEVER, Identity, InDoubt
from data_engine.lease.removal import forget_gone
from data_engine.lease.view import View
from data_engine.lease.watching import (
    LOOK_S,
    RIGHT_S,
    About,
    Move,
    Pursued,
    Reach,
    Teller,
    how_over,
    is_alarming,
    is_unattended,
    judge,
)

log = logging.getLogger(__name__)

_FOR_EVER = float("inf")
_LONG_AGO_S = 86_400.0


class NoWatch:
    """Of a machine that tells nobody anything."""

    left_alone: Mapping[str, str] = MappingProxyType({})

    def __init__(self) -> None:
        self.wake: Callable[[], None] = lambda: None

    def look(self, view: View, held: HeldLease | None) -> None:
        """Nothing."""

    def may_send(self, message_id: str) -> bool:
        """Whatever is there."""
        return True


class Watch:
    """One daemon that watches. `look` is called after every look at the share, with what it showed.

    `oldest` gives the number of the first generation there is; `wake` is called when there is a message to send.
    """

    def __init__(
        self,
        alarms: AlarmFiles,
        teller: Teller,
        me: Identity,
        *,
        oldest: Callable[[], int],
        new_id: Callable[[], str],
        utc: Callable[[], str],
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self.wake: Callable[[], None] = lambda: None
        self._alarms, self._teller, self._me = alarms, teller, me
        self._oldest, self._new_id, self._utc, self._clock = oldest, new_id, utc, clock
        self._pursued: dict[int, Pursued] = {}
        self._rights: dict[str, float] = {}
        self._has_begun = False
        self._token: int | None = None
        self._listed: set[int] = set()
        self._list_due_s = NEVER
        self._reach = Reach(is_told=teller.is_away_told())
        self._why_unclaimed: str | None = None

    @property
    def left_alone(self) -> Mapping[str, str]:
        """What lies among the alarms on the share and is not Data Engine's, with the reason, by its path."""
        return self._alarms.left_alone

    def may_send(self, message_id: str) -> bool:
        """Whether a message may be sent now; asked right before it is, memory only."""
        return self._teller.is_free(message_id) or self.may_tell(message_id)

    def may_tell(self, message_id: str) -> bool:
        """Whether this machine's claim lets it send this message of an alarm now."""
        return self._clock() < self._rights.get(message_id, NEVER)

    def look(self, view: View, held: HeldLease | None) -> None:
        """Do what is due after a look that showed `view`; `held` where this machine owns the workspace.

        Raises:
            OSError, LeaseOutcome: the share is away, full or read-only: it is done at a later look.
            LedgerError: this machine's ledger cannot be used.
        """
        try:
            if view.state not in ("unreachable", "damaged"):
                self._look_at_the_share(view, held)
        finally:
            self._look_whether_it_can_be_used(view)

    def is_known(self, view: View) -> bool:
        """Whether this is what people are being told already: nobody runs the engine, whoever has owned the workspace for a moment."""
        earlier = (one for one in self._pursued.values() if one.about.has_ended and one.is_seen and not one.over)
        return is_unattended(view) and any(earlier)

    # -- the alarms ---------------------------------------------------------------------------------------------------

    def _look_at_the_share(self, view: View, held: HeldLease | None) -> None:
        kinds = self._teller.kinds()
        is_to_tell = "silent_owner" in kinds and is_alarming(view, self._me, is_whole=self._teller.is_whole())
        try:
            if kinds and not self._has_begun:
                self._take_up(view)
            if held is not None:
                self._look_for_own(held)
            top = view.top
            if is_to_tell and top is not None and top.number not in self._pursued and not self.is_known(view):
                about = About(top.by.shown, top.engine_on, self._utc(), has_ended=not top.is_owned)
                self._pursue(Alarm(top.number, top.nonce, "silent_owner"), about, is_seen=True)
            for one in list(self._pursued.values()):
                self._go_on(one, view)
        except OSError as error:
            if is_to_tell or any(not one.is_done and not one.over for one in self._pursued.values()):
                self._why_unclaimed = f"an owner is not heard of, and the alarm cannot be claimed: {error}"
            raise
        self._why_unclaimed = None
        forget_gone(self._alarms.folder, self._alarms.left_alone)

    def _take_up(self, view: View) -> None:
        """Go on with what an earlier daemon of this machine has claimed, and with an alarm of the newest generation."""
        top, found = view.top, []
        self._listed = set(self._alarms.listed())
        for number in sorted(self._listed)[-self._alarms.keep :]:
            first = self._alarms.first(number)
            if first is None:
                continue
            alarm = Alarm(number, first.generation, "silent_owner")
            if (top is not None and top.nonce == first.generation) or self._is_left_here(alarm):
                found.append((alarm, first))
        for alarm, first in found:
            self._pursue(alarm, _about(first))
        self._teller.drop_others([one for alarm, _ in found for one in (alarm, replace(alarm, kind="recovered"))])
        self._has_begun = True

    def _is_left_here(self, alarm: Alarm) -> bool:
        """Whether an earlier daemon of this machine began to tell of it not long ago, and has not come to its end."""
        newest = self._alarms.look(alarm).newest
        is_own = newest is not None and newest.machine_id == self._me.machine_id
        if newest is None or not is_own or _is_long_ago(newest.at_utc, self._utc()):
            return False
        return not self._alarms.look(replace(alarm, kind="recovered")).is_sent

    def _look_for_own(self, held: HeldLease) -> None:
        """As the owner: whether others have told that this machine was silent, or that the owner before it was."""
        is_new = held.token != self._token
        now_s = self._clock()
        if not is_new and now_s < self._list_due_s:
            return
        listed = set(self._alarms.listed())
        news = {held.token - 1} & listed if is_new else {one for one in listed - self._listed if one < held.head.number}
        for number in sorted(news - self._pursued.keys()):
            first = self._alarms.first(number)
            if first is not None:
                self._pursue(Alarm(number, first.generation, "silent_owner"), _about(first))
        if len(listed) > self._alarms.keep:
            self._alarms.collect(self._oldest())
        self._token, self._listed, self._list_due_s = held.token, listed, now_s + LOOK_S

    def _pursue(self, alarm: Alarm, about: About, *, is_seen: bool = False) -> None:
        self._pursued[alarm.number] = Pursued(alarm, about, is_seen=is_seen)

    def _go_on(self, one: Pursued, view: View) -> None:
        """Do what is due for one message."""
        now_s, kinds = self._clock(), self._teller.kinds()
        one = replace(one, over=one.over or how_over(one, view))
        if one.is_done and one.over:
            one = one.next
        self._keep(one)
        if one.is_done or not kinds:
            return
        if one.alarm.kind not in kinds:
            del self._pursued[one.alarm.number]
            return
        is_told = self._teller.is_told(one.alarm)
        if not is_told and one.until_s <= now_s < one.look_s:
            return
        shown = self._alarms.look(one.alarm)
        one = replace(one.seen(shown, now_s), look_s=now_s + LOOK_S)
        self._keep(one)
        self._do(judge(one, shown, self._me, is_told=is_told, may_begin=_may_begin(one, view), now_s=now_s), one)

    def _keep(self, one: Pursued) -> None:
        self._pursued[one.alarm.number] = one

    def _do(self, move: Move, one: Pursued) -> None:
        if move == "record":
            self._alarms.note_sent(one.alarm, self._utc())
            self._give_right(one, _FOR_EVER)  # of several recipients some may not have it yet
            self._has_been_told(one)
        elif move == "done":
            if not self._teller.is_told(one.alarm):
                self._teller.drop(one.alarm)
            self._has_been_told(one)
        elif move == "tell":
            self._tell(one)
        elif move == "claim":
            self._claim(one)
        elif move == "forget":
            self._forget(one)

    def _has_been_told(self, one: Pursued) -> None:
        """Wait for its end, to tell that; or think of it no more."""
        if one.alarm.kind == "recovered":
            del self._pursued[one.alarm.number]
        else:
            self._keep(replace(one, is_done=True))

    def _forget(self, one: Pursued) -> None:
        self._teller.drop(one.alarm)
        self._give_right(one, NEVER)
        del self._pursued[one.alarm.number]

    def _tell(self, one: Pursued) -> None:
        self._give_right(one, one.until_s)
        self._teller.tell(one.alarm, replace(one.about, over=one.over))
        self.wake()

    def _claim(self, one: Pursued) -> None:
        """Claim what nobody has, or has told anybody of; the right to tell counts from before."""
        me, nonce, until_s = self._me, self._new_id(), self._clock() + RIGHT_S
        by = AlarmClaim(
            *(one.alarm.generation, nonce, me.machine_id, me.host_name, me.lock_id, me.host_id),
            *(one.about.owner, one.about.engine_on, one.about.since_utc, self._utc(), one.about.has_ended),
        )
        self._keep(replace(one, look_s=NEVER))
        try:
            is_won = self._alarms.claim(one.alarm, one.claims, by)
        except InDoubt:
            self._keep(one.tried(nonce, until_s))
            raise
        if is_won:
            log.info("this machine tells people of %s: %s", one.about.owner, one.alarm.kind)
            won = replace(one.tried(nonce, until_s), claims=one.claims + 1, claim_s=self._clock())
            self._keep(won)
            if one.claims and self._alarms.look(one.alarm).is_sent:  # by one that was frozen, a moment ago
                self._do("done", won)
            elif self._clock() < until_s:
                self._tell(won)
            return
        shown = self._alarms.look(one.alarm)
        if shown.claims <= one.claims:  # what it is about is gone
            self._forget(one)
        else:
            self._keep(one.seen(shown, self._clock()))

    def _give_right(self, one: Pursued, until_s: float) -> None:
        self._rights = {**self._rights, self._teller.id_of(one.alarm): until_s}

    # -- the share itself ---------------------------------------------------------------------------------------------

    def _look_whether_it_can_be_used(self, view: View) -> None:
        """A share that cannot be used is a trouble of this machine, told by it."""
        why = view.away if view.state == "unreachable" else self._why_unclaimed
        before = self._reach
        after, what = before.after(why is not None, self._clock(), view.limits)
        if what == "away" and "unreachable" not in self._teller.kinds():
            after = replace(after, is_told=False)
        elif what == "away":
            self._teller.tell_away(why or "")
        elif what == "back":
            self._teller.tell_back()
        if what is not None:
            self.wake()
        self._reach = after


def _may_begin(one: Pursued, view: View) -> bool:
    """Whether a first claim of this message may be made."""
    if one.alarm.kind == "recovered":
        return bool(one.over)
    is_silent = view.state == "stale" or is_unattended(view)
    return is_silent and view.top is not None and view.top.nonce == one.alarm.generation


def _about(claim: AlarmClaim) -> About:
    return About(claim.owner, claim.engine_on, claim.since_utc, has_ended=claim.has_ended)


def _is_long_ago(then_utc: str, now_utc: str) -> bool:
    """Both as this machine has written them."""
    try:
        return (datetime.fromisoformat(now_utc) - datetime.fromisoformat(then_utc)).total_seconds() > _LONG_AGO_S
    except (ValueError, TypeError):
        return False

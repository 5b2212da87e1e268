"""Notifies people, by messages in this machine's outbox, of a silent owner and of a share that this machine cannot use."""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, tzinfo

from data_engine.alerting.wording import shown_time
from data_engine.clock import boot_clock
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.formatting import first_few
from data_engine.lease.alarms import (
    Alarm,
    AlarmClaim,
    AlarmFiles,
    Move,
    PursuedAlarm,
    how_over,
    is_alarming,
    is_unattended,
    judge,
)
from data_engine.lease.folder import OsFolder, forget_gone
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.keeper import Keeper
from data_engine.lease.protocol import NEVER, Identity, InDoubt, View
from data_engine.ledger import outbox
from data_engine.ledger.connection import put_setting
from data_engine.ledger.freshness import deployed_since
from data_engine.ledger.troubles import all_troubles
from data_engine.message import Message, Notice, message, message_id
from data_engine.model import utc_text
from data_engine.planning.slots import zone_of
from data_engine.workspace.machine import machine_id, person
from data_engine.workspace.secret_store import has_secret

log = logging.getLogger(__name__)

LOOK_S = 60.0
"""How often a machine reads what another one has claimed."""

_SECRETS_S, _SECRETS_AGAIN_S = 600.0, 60.0
"""How often secrets are looked for: where all were found, and where some were not."""

_SILENCE, _AWAY = "told_silence", "told_unreachable"
"""The settings of the ledger that hold what people were told of, and not yet that it is over."""

_MOST_NAMED = 5


def watch_owner(home: LocalWorkspace, keeper: Keeper, wake: Callable[[], None]) -> OwnerWatch:
    """The watch of a daemon with this `keeper`; `wake` is called when there is a message to send."""
    return OwnerWatch(
        AlarmFiles(OsFolder(home.layout.workspace_state_dir), _new_id),
        AlarmOutbox(home),
        keeper.me,
        oldest=keeper.oldest,
        wake=wake,
    )


def _new_id() -> str:
    return uuid.uuid4().hex[:16]


def _now_utc() -> str:
    return utc_text(time.time())


class OwnerWatch:
    """Watches for silent owners in one daemon. `look` is called after every look at the share, by the thread that looks, with what it showed.

    `oldest` gives the number of the first generation there is; `wake` is called when there is a message to send.
    """

    def __init__(
        self,
        alarms: AlarmFiles,
        messages: AlarmOutbox,
        me: Identity,
        *,
        oldest: Callable[[], int],
        wake: Callable[[], None] = lambda: None,
        new_id: Callable[[], str] = _new_id,
        utc: Callable[[], str] = _now_utc,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self._alarms, self._messages, self._me = alarms, messages, me
        self._oldest, self._wake, self._new_id, self._utc, self._clock = oldest, wake, new_id, utc, clock
        alarm = messages.kept()
        self._silence = None if alarm is None else PursuedAlarm(alarm, is_kept=True)
        self._collect_due_s = NEVER
        self._is_away_told = messages.is_away_told()
        self._turned_s: float | None = None
        self._why_unclaimed: str | None = None

    def is_known(self, view: View) -> bool:
        """Whether people are told of this already: nobody runs the engine, whoever has owned the workspace for a moment."""
        return self._silence is not None and self._silence.alarm.has_ended and is_unattended(view)

    def look(self, view: View, held: HeldLease | None) -> Mapping[str, str]:
        """Do what is due after a look that showed `view`; `held` where this machine owns the workspace.

        Returns what was left alone among the alarms on the share because it is not Data Engine's, and why, by its path.

        Raises:
            OSError, LeaseOutcome: the share is away, full or read-only: it is done at a later look.
            LedgerError: this machine's ledger cannot be used.
        """
        try:
            if view.state not in ("unreachable", "damaged"):
                self._look_at_the_share(view, held)
        finally:
            self._look_whether_it_can_be_used(view)
        return self._alarms.left_alone

    def _look_at_the_share(self, view: View, held: HeldLease | None) -> None:
        self._why_unclaimed = None
        if held is not None and self._clock() >= self._collect_due_s:
            self._collect_due_s = self._clock() + LOOK_S
            self._alarms.collect(self._oldest())
        if kinds := self._messages.kinds():
            self._see_the_end(view)
            if "silent_owner" in kinds and is_alarming(view, self._me, is_whole=self._messages.is_whole()):
                self._see_a_silence(view)
            if self._silence is not None and not self._silence.is_done:
                self._go_on(self._silence, view)
        forget_gone(self._alarms.folder, self._alarms.left_alone)

    def _see_a_silence(self, view: View) -> None:
        top, silence = view.top, self._silence
        assert top is not None
        if silence is not None:
            if silence.alarm.number == top.number or self.is_known(view):
                return
            self._messages.end(silence.alarm)
        alarm = Alarm(top.number, top.nonce, top.by.shown, top.engine_on, self._utc(), not top.is_owned)
        self._silence = PursuedAlarm(alarm)

    def _see_the_end(self, view: View) -> None:
        silence = self._silence
        over = "" if silence is None else how_over(silence, view)
        if silence is None or not over:
            return
        if not silence.is_done and self._messages.is_told(silence.alarm):
            self._alarms.note_sent(silence.alarm, self._utc())
        self._messages.end(silence.alarm, over)
        self._silence = None
        self._wake()

    def _go_on(self, silence: PursuedAlarm, view: View) -> None:
        """Read the alarm on the share where it is due, and make the move."""
        now_s, is_told = self._clock(), self._messages.is_told(silence.alarm)
        if not is_told and now_s < silence.look_s:
            return
        state = self._alarms.look(silence.alarm)
        if state.claims != silence.claims:
            silence = replace(silence, claims=state.claims, claim_s=now_s)
        self._silence = silence = replace(silence, look_s=now_s + LOOK_S)
        is_silent = view.state == "stale" or is_unattended(view)
        may_begin = is_silent and view.top is not None and view.top.nonce == silence.alarm.generation
        self._do(judge(silence, state, is_told=is_told, may_begin=may_begin, now_s=now_s), silence)

    def _do(self, move: Move, silence: PursuedAlarm) -> None:
        if move == "record":
            self._alarms.note_sent(silence.alarm, self._utc())
            self._silence = replace(silence, is_done=True)
        elif move == "done":
            if not self._messages.is_told(silence.alarm):
                self._messages.end(silence.alarm)
            self._silence = replace(silence, is_done=True)
        elif move == "notify":
            self._messages.put(silence.alarm)
            self._silence = replace(silence, is_kept=True)
            self._wake()
        elif move == "claim":
            self._claim(silence)

    def _claim(self, silence: PursuedAlarm) -> None:
        """Claim an alarm that nobody has claimed, or that its first claim has told nobody of."""
        nonce = self._new_id()
        by = AlarmClaim(silence.alarm.generation, nonce, self._me.machine_id, self._me.host_name, self._utc())
        try:
            is_won = self._alarms.claim(silence.alarm, silence.claims, by)
        except InDoubt:  # the next look finds its nonce there, or not
            self._silence = replace(silence, nonce=nonce, look_s=NEVER)
            raise
        except OSError as error:
            self._silence = replace(silence, look_s=NEVER)
            self._why_unclaimed = f"an owner is not heard of, and the alarm cannot be claimed: {error}"
            raise
        self._silence = won = replace(silence, nonce=nonce, look_s=NEVER)
        if is_won:
            log.info("this machine notifies people that %s is not heard of", silence.alarm.owner)
            self._do("notify", won)

    def _look_whether_it_can_be_used(self, view: View) -> None:
        """A share that cannot be used is a trouble of this machine, told by it: each change once it has lasted for the threshold."""
        why = view.away if view.state == "unreachable" else self._why_unclaimed
        if (why is not None) == self._is_away_told:
            self._turned_s = None
            return
        self._turned_s = self._clock() if self._turned_s is None else self._turned_s
        if self._clock() - self._turned_s < view.limits.stale_after_s:
            return
        if why is None:
            self._messages.put_back()
        elif "unreachable" in self._messages.kinds():
            self._messages.put_away(why)
        else:
            return
        self._is_away_told, self._turned_s = why is not None, None
        self._wake()


class AlarmOutbox:
    """The messages about what an `OwnerWatch` sees, as far as `[alerts]` wants it and this machine has the secrets.

    It is asked on the thread of the share. Secrets are looked for on a thread of their own, now and then: a keyring
    may take its time, or ask somebody.
    """

    def __init__(
        self,
        home: LocalWorkspace,
        *,
        has: Callable[[str], bool] = has_secret,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home, self._ledger = home, home.ledger()
        self._has, self._clock = has, clock
        self._recipients: tuple[str, ...] = ()
        self._to: tuple[str, ...] = ()
        self._look_s = float("-inf")
        self._looking: threading.Thread | None = None

    def look_for_secrets(self) -> None:
        """Look which of the recipients this machine can reach; it may take long."""
        names = self._home.settings().alerts.to
        available = tuple(name for name in names if self._has(name))
        self._recipients, self._to = names, available
        self._look_s = self._clock() + (_SECRETS_S if available == names else _SECRETS_AGAIN_S)

    def _look_when_due(self) -> None:
        is_due = self._home.settings().alerts.to != self._recipients or self._clock() >= self._look_s
        if is_due and (self._looking is None or not self._looking.is_alive()):
            self._looking = threading.Thread(target=self.look_for_secrets, name="secrets of alerts", daemon=True)
            self._looking.start()

    def kinds(self) -> Collection[str]:
        """The kinds of alerts that this machine can send now, and people want."""
        self._look_when_due()
        return self._home.settings().alerts.on if self._to else ()

    def is_whole(self) -> bool:
        """Whether this machine reaches all recipients."""
        return self._to == self._recipients

    def id_of(self, alarm: Alarm) -> str:
        """The id of the message: the same on every machine."""
        return message_id(self._home.local.identity, "silent_owner", alarm.number, alarm.generation)

    def put(self, alarm: Alarm) -> None:
        """Keep the message until it is sent, and the alarm until it has ended; the same once more changes nothing."""
        notice = silent_owner(alarm, self._home.layout.workspace_id, self._zone(), self._in_trouble())
        alert = self._message("silent_owner", self.id_of(alarm), notice)
        self._keep(alert, _SILENCE, json.dumps(asdict(alarm)))

    def kept(self) -> Alarm | None:
        """The alarm that this machine told last, or was about to tell, and that has not ended."""
        try:
            record = json.loads(self._ledger.setting(_SILENCE) or "null")
            return None if record is None else Alarm(**record)
        except (FlowValidationError, ValueError, TypeError, LookupError):
            return None

    def is_told(self, alarm: Alarm) -> bool:
        """Whether one recipient at least has it from this machine."""
        with self._ledger.reading() as connection:
            return outbox.is_sent(connection, self.id_of(alarm))

    def end(self, alarm: Alarm, over: str = "") -> None:
        """Forget the alarm: withdraw messages not sent yet, and tell those who have one how it was `over`."""
        own_id, alert = self.id_of(alarm), None
        if over and "recovered" in self.kinds() and self.is_told(alarm):
            headline = f"the workspace {self._home.layout.workspace_id} has a working owner again: {over}"
            notice = Notice(headline, since=shown_time(alarm.since_utc, self._zone()) or None)
            alert = self._message("recovered", message_id(own_id, "recovered"), notice)
        with self._ledger.writing(durable=alert is not None) as (connection, _):
            if not outbox.is_sent(connection, own_id):
                connection.execute("DELETE FROM deliveries WHERE message_id = ?", (own_id,))
                connection.execute("DELETE FROM outbox WHERE message_id = ?", (own_id,))
            outbox.put(connection, [] if alert is None else [alert])
            connection.execute("DELETE FROM settings WHERE key = ?", (_SILENCE,))

    def put_away(self, why: str) -> None:
        """Tell people that this machine cannot use the share."""
        at = datetime.now(UTC)
        own_id = message_id(self._home.local.identity, "unreachable", machine_id(self._home.local.state_root), at)
        notice = Notice(
            f"{_host()} cannot use the shared folder of the workspace {self._home.layout.workspace_id}",
            error=why,
            fix="check whether its drive is connected and has room; `data-engine doctor` there measures it",
        )
        alert = replace(self._message("unreachable", own_id, notice), at=at)
        self._keep(alert, _AWAY, json.dumps([own_id, at.isoformat()]))

    def put_back(self) -> None:
        """Tell people that it can be used again, where they were told that it cannot."""
        before = self._ledger.setting(_AWAY)
        if not before:
            return
        (own_id, at_utc), alert = json.loads(before), None
        if "recovered" in self.kinds():
            headline = f"{_host()} can use the shared folder of the workspace {self._home.layout.workspace_id} again"
            notice = Notice(headline, since=shown_time(at_utc, self._zone()) or None)
            alert = self._message("recovered", message_id(own_id, "recovered"), notice)
        with self._ledger.writing(durable=True) as (connection, _):
            outbox.put(connection, [] if alert is None else [alert])
            connection.execute("DELETE FROM settings WHERE key = ?", (_AWAY,))

    def is_away_told(self) -> bool:
        """Whether people were told that the share cannot be used, and not yet that it can be again."""
        try:
            return bool(self._ledger.setting(_AWAY))
        except FlowValidationError:
            return False

    def _keep(self, alert: Message, key: str, value: str) -> None:
        """Put the message into the outbox, with what is remembered of it."""
        with self._ledger.writing(durable=True) as (connection, _):
            outbox.put(connection, [alert])
            put_setting(connection, key, value)

    def _zone(self) -> tzinfo | None:
        timezone = self._home.settings().timezone
        return None if timezone is None else zone_of(timezone)

    def _in_trouble(self) -> list[str]:
        """The flows that were in trouble, as far as their owner has published it."""
        troubles = (row for row in all_troubles(self._ledger) if not row.is_closed and row.recovered_at_utc is None)
        flows = sorted({row.key.flow for row in troubles})
        return [flow for flow in flows if deployed_since(self._ledger, flow) is not None]

    def _message(self, kind: str, own_id: str, notice: Notice) -> Message:
        sender = f"{self._home.layout.workspace_id} on {_host()}"
        return message(kind, notice.headline, [notice], id=own_id, to=self._to, at=datetime.now(UTC), sender=sender)


def silent_owner(alarm: Alarm, workspace: str, zone: tzinfo | None = None, in_trouble: Sequence[str] = ()) -> Notice:
    """The notice about an owner that is not heard of; times are on the clock of `zone` (None: this machine's).

    `in_trouble` are flows whose trouble it has told last: a message that still waited there is sent by nobody else.

    Example:
        >>> notice = silent_owner(Alarm(7, "9f3c", "EVE-PC", True, "2026-01-05T03:12:00+00:00"), "sales", UTC, ["claims"])
        >>> notice.headline, notice.since
        ('EVE-PC, which owns the workspace sales, has fallen silent', '2026-01-05 03:12:00 UTC (noticed)')
        >>> notice.reason
        'its engine was on: no flow runs by itself until it is back or taken over; in trouble when it was last heard of: claims'
    """
    engine = "its engine was on: no flow runs by itself until it is back or taken over"
    named = first_few(in_trouble, _MOST_NAMED)
    parts = (
        engine if alarm.engine_on else "its engine was off",
        f"in trouble when it was last heard of: {named}" if named else "",
    )
    remedy = "`data-engine lease take-over` takes the workspace over"
    if alarm.has_ended:
        remedy = "`data-engine start` runs the engine there"
    return Notice(
        f"nobody owns the workspace {workspace}: {alarm.owner} has ended"
        if alarm.has_ended
        else f"{alarm.owner}, which owns the workspace {workspace}, has fallen silent",
        reason="; ".join(filter(None, parts)),
        since=f"{shown_time(alarm.since_utc, zone)} (noticed)",
        fix=f"check that this machine is on and reaches the shared folder; on another one, {remedy}",
    )


def _host() -> str:
    return person()[1]

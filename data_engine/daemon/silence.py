"""How a daemon tells people of a silent owner, and of a share that it cannot use itself: messages in its own outbox."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, tzinfo

from data_engine.alerting.wording import shown_time
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.formatting import first_few
from data_engine.lease.alarms import Alarm
from data_engine.ledger import outbox
from data_engine.ledger.freshness import deployed_since
from data_engine.ledger.troubles import all_troubles
from data_engine.message import Message, Notice, message, message_id
from data_engine.planning.slots import zone_of
from data_engine.workspace.machine import machine_id, person
from data_engine.workspace.secret_store import has_secret

PREFIX = "silence."
"""What the ids of these messages begin with: they may be sent only as long as this machine's claim lasts."""

_LOOK_S, _LOOK_AGAIN_S = 600.0, 60.0
"""How often secrets are looked for: where all were found, and where some were not."""

_TOLD, _AWAY = "told_silence", "told_unreachable"
"""The settings of the ledger that hold what people were told of, and not yet that it is over."""

_MOST_NAMED = 5


class AlarmTeller:
    """Tells people what a `Watch` sees, as far as `[alerts]` wants it and this machine has the secrets.

    All but `is_free` is asked on the thread of the share. Secrets are looked for on a thread of their own, now and then: a keyring
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
        self._wanted: tuple[str, ...] = ()
        self._to: tuple[str, ...] = ()
        self._look_s = float("-inf")
        self._looking: threading.Thread | None = None
        with self._ledger.reading() as connection:
            ids = connection.execute(
                "SELECT DISTINCT message_id FROM deliveries WHERE state = 'sent' AND message_id LIKE ?", (f"{PREFIX}%",)
            )
            self._sent_ids = {str(message_id) for (message_id,) in ids}

    def look_for_secrets(self) -> None:
        """Look which of the recipients this machine can reach; it may take long."""
        wanted = self._home.settings().alerts.to
        found = tuple(name for name in wanted if self._has(name))
        self._wanted, self._to = wanted, found
        self._look_s = self._clock() + (_LOOK_S if found == wanted else _LOOK_AGAIN_S)

    def _look_when_due(self) -> None:
        is_due = self._home.settings().alerts.to != self._wanted or self._clock() >= self._look_s
        if is_due and (self._looking is None or not self._looking.is_alive()):
            self._looking = threading.Thread(target=self.look_for_secrets, name="secrets of alerts", daemon=True)
            self._looking.start()

    def is_free(self, message_id: str) -> bool:
        """Whether a message may be sent without a claim: it is of no alarm, or somebody has it."""
        return not message_id.startswith(PREFIX) or message_id in self._sent_ids

    # -- what the watch asks ------------------------------------------------------------------------------------------

    def kinds(self) -> Collection[str]:
        """The kinds this machine can tell now, and people want to hear."""
        self._look_when_due()
        return self._home.settings().alerts.on if self._to else ()

    def is_whole(self) -> bool:
        """Whether it reaches all who are to be told."""
        return self._to == self._wanted

    def id_of(self, alarm: Alarm) -> str:
        """The id of the message: the same on every machine."""
        return PREFIX + message_id(self._home.local.identity, "silent_owner", alarm.number, alarm.generation)[:24]

    def tell(self, alarm: Alarm) -> None:
        """Keep the message until it is sent, and the alarm until it has ended; the same once more changes nothing."""
        notice = silent_owner(alarm, self._home.layout.workspace_id, self._zone(), self._in_trouble())
        told = self._message("silent_owner", self.id_of(alarm), notice)
        self._keep(told, _TOLD, json.dumps([asdict(alarm)]))

    def kept(self) -> Alarm | None:
        """What this machine has told last, or was about to, and has not ended."""
        try:
            kept = json.loads(self._ledger.setting(_TOLD) or "null")
            return None if kept is None else Alarm(**{name: value for part in kept for name, value in part.items()})
        except (FlowValidationError, ValueError, TypeError, LookupError):
            return None

    def is_told(self, alarm: Alarm) -> bool:
        """Whether one recipient at least has it from this machine."""
        with self._ledger.reading() as connection:
            found = outbox.is_sent(connection, self.id_of(alarm))
        if found:
            self._sent_ids = {*self._sent_ids, self.id_of(alarm)}
        return found

    def end(self, alarm: Alarm, over: str = "") -> None:
        """Forget it. Let nobody be told any more who has not been; whoever has been is told how it was `over`."""
        own_id, told = self.id_of(alarm), None
        if over and "recovered" in self.kinds() and self.is_told(alarm):
            headline = f"the workspace {self._home.layout.workspace_id} has a working owner again: {over}"
            notice = Notice(headline, since=shown_time(alarm.since_utc, self._zone()) or None)
            told = self._message("recovered", message_id(own_id, "recovered"), notice)
        with self._ledger.writing(durable=told is not None) as (connection, _):
            if not outbox.is_sent(connection, own_id):
                connection.execute("DELETE FROM deliveries WHERE message_id = ?", (own_id,))
                connection.execute("DELETE FROM outbox WHERE message_id = ?", (own_id,))
            outbox.put(connection, [] if told is None else [told])
            connection.execute("DELETE FROM settings WHERE key = ?", (_TOLD,))

    def tell_away(self, why: str) -> None:
        """Tell that the share cannot be used, as a trouble of this machine."""
        at = datetime.now(UTC)
        own_id = message_id(self._home.local.identity, "unreachable", machine_id(self._home.local.state_root), at)
        notice = Notice(
            f"{_host()} cannot use the shared folder of the workspace {self._home.layout.workspace_id}",
            error=why,
            fix="check whether its drive is connected and has room; `data-engine doctor` there measures it",
        )
        told = replace(self._message("unreachable", own_id, notice), at=at)
        self._keep(told, _AWAY, json.dumps([own_id, at.isoformat()]))

    def tell_back(self) -> None:
        """Tell that it can be again, where people were told that it cannot."""
        before = self._ledger.setting(_AWAY)
        if not before:
            return
        (own_id, at_utc), told = json.loads(before), None
        if "recovered" in self.kinds():
            headline = f"{_host()} can use the shared folder of the workspace {self._home.layout.workspace_id} again"
            notice = Notice(headline, since=shown_time(at_utc, self._zone()) or None)
            told = self._message("recovered", message_id(own_id, "recovered"), notice)
        with self._ledger.writing(durable=True) as (connection, _):
            outbox.put(connection, [] if told is None else [told])
            connection.execute("DELETE FROM settings WHERE key = ?", (_AWAY,))

    def is_away_told(self) -> bool:
        """Whether people were told that the share cannot be used, and not yet that it can be again."""
        try:
            return bool(self._ledger.setting(_AWAY))
        except FlowValidationError:
            return False

    def _keep(self, told: Message, key: str, value: str) -> None:
        """Put the message into the outbox, with what is remembered of it."""
        with self._ledger.writing(durable=True) as (connection, _):
            outbox.put(connection, [told])
            connection.execute(
                "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )

    def _zone(self) -> tzinfo | None:
        timezone = self._home.settings().timezone
        return None if timezone is None else zone_of(timezone)

    def _in_trouble(self) -> list[str]:
        """The flows that were in trouble, as far as their owner has published it."""
        troubles = (one for one in all_troubles(self._ledger) if not one.is_closed and one.recovered_at_utc is None)
        flows = sorted({one.key.flow for one in troubles})
        return [flow for flow in flows if deployed_since(self._ledger, flow) is not None]

    def _message(self, kind: str, own_id: str, notice: Notice) -> Message:
        sender = f"{self._home.layout.workspace_id} on {_host()}"
        return message(kind, notice.headline, [notice], id=own_id, to=self._to, at=datetime.now(UTC), sender=sender)


def silent_owner(alarm: Alarm, workspace: str, zone: tzinfo | None = None, in_trouble: Sequence[str] = ()) -> Notice:
    """What is told of an owner that is not heard of; times are on the clock of `zone` (None: this machine's).

    `in_trouble` are flows whose trouble it has told last: a message that still waited there is sent by nobody else.

    Example:
        >>> told = silent_owner(Alarm(7, "9f3c", "EVE-PC", True, "2026-01-05T03:12:00+00:00"), "sales", UTC, ["claims"])
        >>> told.headline, told.since
        ('EVE-PC, which owns the workspace sales, has fallen silent', '2026-01-05 03:12:00 UTC (noticed)')
        >>> told.reason
        'its engine was on: no flow runs by itself until it is back or taken over; in trouble when it was last heard of: claims'
    """
    engine = "its engine was on: no flow runs by itself until it is back or taken over"
    named = first_few(in_trouble, _MOST_NAMED)
    parts = (
        engine if alarm.engine_on else "its engine was off",
        f"in trouble when it was last heard of: {named}" if named else "",
    )
    here = "`data-engine lease take-over` takes the workspace over"
    if alarm.has_ended:
        here = "`data-engine start` runs the engine there"
    return Notice(
        f"nobody owns the workspace {workspace}: {alarm.owner} has ended"
        if alarm.has_ended
        else f"{alarm.owner}, which owns the workspace {workspace}, has fallen silent",
        reason="; ".join(filter(None, parts)),
        since=f"{shown_time(alarm.since_utc, zone)} (noticed)",
        fix=f"check that this machine is on and reaches the shared folder; on another one, {here}",
    )


def _host() -> str:
    return person()[1]

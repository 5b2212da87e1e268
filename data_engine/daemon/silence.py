"""How a daemon tells people of a silent owner, and of a share that it cannot use itself: messages in its own outbox."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import UTC, datetime

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.lease.alarms import Alarm
from data_engine.lease.watching import About
from data_engine.ledger import alarm_messages
from data_engine.ledger.alarm_messages import PREFIX
from data_engine.message import Message, Notice, message, message_id
from data_engine.workspace.machine import machine_id, person
from data_engine.workspace.secret_store import has_secret

_LOOK_S, _LOOK_AGAIN_S = 600.0, 60.0
"""How often secrets are looked for: where all were found, and where some were not."""


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
        self._looking = threading.Lock()
        self._told = alarm_messages.told(self._ledger)

    def look_for_secrets(self) -> None:
        """Look which of the recipients this machine can reach; it may take long."""
        with self._looking:
            wanted = self._home.settings().alerts.to
            found = tuple(name for name in wanted if self._has(name))
            self._wanted, self._to = wanted, found
            self._look_s = self._clock() + (_LOOK_S if found == wanted else _LOOK_AGAIN_S)

    def _look_when_due(self) -> None:
        is_due = self._home.settings().alerts.to != self._wanted or self._clock() >= self._look_s
        if is_due and not self._looking.locked():
            threading.Thread(target=self.look_for_secrets, name="secrets of alerts", daemon=True).start()

    def is_free(self, message_id: str) -> bool:
        """Whether a message may be sent without a claim: it is of no alarm, or somebody has it."""
        return not message_id.startswith(PREFIX) or message_id in self._told

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
        return PREFIX + message_id(self._home.local.identity, alarm.kind, alarm.number, alarm.generation)[:24]

    def tell(self, alarm: Alarm, about: About) -> None:
        """Keep the message until it is sent; the same once more changes nothing."""
        made = silent_owner if alarm.kind == "silent_owner" else recovered
        told = made(about, self._home.layout.workspace_id)
        alarm_messages.keep(self._ledger, self._message(alarm.kind, self.id_of(alarm), told))

    def is_told(self, alarm: Alarm) -> bool:
        """Whether one recipient at least has it from this machine."""
        found = alarm_messages.is_told(self._ledger, self.id_of(alarm))
        if found:
            self._told = {*self._told, self.id_of(alarm)}
        return found

    def drop(self, alarm: Alarm) -> None:
        """Let nobody be told any more who has not been."""
        alarm_messages.withdraw(self._ledger, self.id_of(alarm))

    def drop_others(self, alarms: Collection[Alarm]) -> None:
        """The same for all alarms but these."""
        alarm_messages.withdraw_others(self._ledger, [self.id_of(one) for one in alarms])

    def tell_away(self, why: str) -> None:
        """Tell that the share cannot be used, as a trouble of this machine."""
        at = datetime.now(UTC)
        own_id = message_id(self._home.local.identity, "unreachable", machine_id(self._home.local.state_root), at)
        told = unreachable(why, self._home.layout.workspace_id, _host())
        alarm_messages.note_away(self._ledger, replace(self._message("unreachable", own_id, told), at=at))

    def tell_back(self) -> None:
        """Tell that it can be again, where people were told that it cannot."""
        before = alarm_messages.away(self._ledger)
        if before is None:
            return
        told = None
        if "recovered" in self.kinds():
            notice = reachable(before[1], self._home.layout.workspace_id, _host())
            told = self._message("recovered", message_id(before[0], "recovered"), notice)
        alarm_messages.note_back(self._ledger, told)

    def is_away_told(self) -> bool:
        """Whether people were told that the share cannot be used, and not yet that it can be again."""
        try:
            return alarm_messages.away(self._ledger) is not None
        except (FlowValidationError, ValueError):
            return False

    def _message(self, kind: str, own_id: str, notice: Notice) -> Message:
        sender = f"{self._home.layout.workspace_id} on {_host()}"
        return message(kind, notice.headline, [notice], id=own_id, to=self._to, at=datetime.now(UTC), sender=sender)


def silent_owner(about: About, workspace: str) -> Notice:
    """What is told of an owner that is not heard of.

    Example:
        >>> told = silent_owner(About("EVE-PC", True, "2026-01-05T03:12:00+00:00"), "sales")
        >>> told.headline, told.reason
        ('EVE-PC, which owns the workspace sales, is not heard of', 'its engine was on: no flow runs by itself until then')
    """
    engine = "its engine was on: no flow runs by itself until then" if about.engine_on else "its engine was off"
    return Notice(
        f"{about.owner}, which owns the workspace {workspace}, is not heard of",
        reason=engine + (f"; {about.over}" if about.over else ""),
        since=f"{about.since_utc} (noticed)",
        fix="look whether that machine is on and reaches the shared folder; on another one, `data-engine lease take-over` owns the "
        "workspace in its place",
    )


def recovered(about: About, workspace: str) -> Notice:
    """What is told when that is over.

    Example:
        >>> recovered(About("EVE-PC", True, "", "BEN-PC owns the workspace now"), "sales").headline
        'the workspace sales is looked after again: BEN-PC owns the workspace now'
    """
    return Notice(f"the workspace {workspace} is looked after again: {about.over}", since=about.since_utc or None)


def unreachable(why: str, workspace: str, host: str) -> Notice:
    """What a machine tells of a share that it cannot use.

    Example:
        >>> unreachable("Host is down", "sales", "BEN-PC").headline
        'BEN-PC cannot use the shared folder of the workspace sales'
    """
    return Notice(
        f"{host} cannot use the shared folder of the workspace {workspace}",
        error=why,
        fix="look whether its drive is connected and has room; `data-engine doctor` there measures it",
    )


def reachable(since: str, workspace: str, host: str) -> Notice:
    """What it tells when it can use it again.

    Example:
        >>> reachable("", "sales", "BEN-PC").headline
        'BEN-PC can use the shared folder of the workspace sales again'
    """
    return Notice(f"{host} can use the shared folder of the workspace {workspace} again", since=since or None)


def _host() -> str:
    return person()[1]

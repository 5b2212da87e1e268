"""Decide whether this machine's wall clock is believed for removing old history, with pure functions; and remove it.

A wrong clock makes all history old at once, so a time is not believed because the machine says it. Where the workspace's
drive has a clock of its own, that clock decides. Elsewhere a time is believed that is near the newest earlier record, and
after the daemon has run for a day under it. Who knows better says so: `data-engine doctor --accept-clock`. What is written
under a clock in doubt never counts as a record to be near to: the ledger keeps the newest time that was believed.

All times are seconds since the epoch.

What asks a ledger raises `LedgerError` where it cannot be used.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

from data_engine.clock import boot_clock
from data_engine.ledger.connection import put_setting
from data_engine.model import utc_text
from data_engine.record import frozen

if TYPE_CHECKING:
    from data_engine.ledger.ledger import Ledger

FURTHEST_S = 2 * 86_400.0
"""A time further than this from the newest record is in doubt; clocks that are no further apart agree, for what is days old."""

LONG_ENOUGH_S = 86_400.0
"""A clock under which the daemon has run for so long is believed, where no other clock is there to ask."""

PRUNED_AT = "pruned_at_s"
"""The setting that keeps when a process other than the daemon has last removed what is old."""

_KEEP_EVERY_S = 600.0
_DAY_S = 86_400
_YEAR_DAYS = 365
_JUMP_S = 3600.0
_SETTING = "wall clock"

# The runs of an open backfill show which are still to come, the newest runs of sources how many rows are rejected now, and the newest
# good run of a flow how its feed is.
_OLD_RUNS = (
    "FROM runs WHERE started_at_utc < :before AND finished_at_utc < :before AND status != 'started'"
    " AND NOT (trigger_kind IS 'backfill' AND trigger_detail IN"
    " (SELECT backfill_id FROM backfills WHERE state = 'running'))"
    " AND NOT (coalesce(rejected, 0) > 0 AND NOT EXISTS (SELECT 1 FROM runs AS newer WHERE newer.rejected IS NOT NULL"
    " AND newer.flow_name = runs.flow_name AND newer.source_key IS runs.source_key"
    " AND newer.finished_at_utc > runs.finished_at_utc))"
    " AND NOT (schema IS NOT NULL AND edited IS NULL AND status = 'success' AND NOT EXISTS (SELECT 1 FROM runs AS newer"
    " WHERE newer.flow_name = runs.flow_name AND newer.status = 'success' AND newer.schema IS NOT NULL AND newer.edited IS NULL"
    " AND newer.finished_at_utc > runs.finished_at_utc))"
)


@frozen
class KnownClocks:
    """The facts that a ledger keeps about the clocks it was used under.

    `believed_s` is the newest record: the last time that was believed, or that others published; `highest_s` is the highest
    it ever was. `is_accepted`: a person said so, whatever the file server says. `doubted_s` is the last time of the clock in
    doubt, `ran_s` how long the daemon has run under that one, `server_ahead_s` how far the file server's was ahead of it.
    """

    believed_s: float | None = None
    highest_s: float | None = None
    is_accepted: bool = False
    doubted_s: float | None = None
    ran_s: float = 0.0
    server_ahead_s: float | None = None


@frozen
class Believed:
    """A time that may decide what is old: whatever removes history by its age asks for one.

    `highest_s` is the highest time that was ever believed, this one included.
    """

    now_s: float
    highest_s: float


@frozen
class Doubted:
    """A time that removes nothing. `server_s` is the file server's, None where it has no clock of its own."""

    now_s: float
    newest_s: float | None
    server_s: float | None = None

    @property
    def text(self) -> str:
        """The doubt in words, and what follows from it.

        Example:
            >>> Doubted(401.5 * 86_400.0, 1.5 * 86_400.0).text
            'the clock of this machine says 1971-02-06, 400 days after the newest record: no history is removed because of its age'
        """
        text = f"the clock of this machine says {_day(self.now_s)}"
        if self.newest_s is not None and not _is_near(self.now_s, self.newest_s):
            side = "after" if self.now_s > self.newest_s else "before"
            text += f", {abs(self.now_s - self.newest_s) / 86_400:.0f} days {side} the newest record"
        if self.server_s is not None:
            text += f", and that of the file server {_day(self.server_s)}"
        return f"{text}: no history is removed because of its age"

    @property
    def fix(self) -> str:
        """The remedy."""
        waits = "; it is trusted after the daemon has run for a day with it" if self.server_s is None else ""
        return f"correct it, or confirm that it is right: data-engine doctor --accept-clock{waits}"


def clock_warnings(verdict: Verdict | None) -> tuple[str, ...]:
    """The warnings of a status about the clock; none where it is believed.

    Example:
        >>> clock_warnings(Believed(1.0, 1.0)), len(clock_warnings(Doubted(0.0, None)))
        ((), 1)
    """
    return (f"{verdict.text}; {verdict.fix}",) if isinstance(verdict, Doubted) else ()


Verdict: TypeAlias = Believed | Doubted


def judge(now_s: float, known: KnownClocks, *, server_ahead_s: float | None, went_on_s: float = 0.0) -> Verdict:
    """Whether `now_s` is believed.

    `server_ahead_s` is how far the file server's clock is ahead, None where none can be asked: then what it said last of this
    clock stands. `went_on_s` is how long the daemon has run under this clock since `known` was kept.

    Example:
        >>> day_s, known = 86_400.0, KnownClocks(believed_s=0.0)
        >>> [type(judge(days * day_s, known, server_ahead_s=None)).__name__ for days in (2, 3)]
        ['Believed', 'Doubted']
        >>> type(judge(3 * day_s, known, server_ahead_s=1.0)).__name__
        'Believed'
    """
    newest_s = known.believed_s
    is_near = newest_s is None or _is_near(now_s, newest_s)
    doubted = _doubted_before(now_s, known, went_on_s)
    if server_ahead_s is None:
        server_ahead_s = doubted.server_ahead_s
    if server_ahead_s is not None:
        is_believed = abs(server_ahead_s) <= FURTHEST_S or (known.is_accepted and is_near)
    else:
        is_believed = is_near or doubted.ran_s + went_on_s >= LONG_ENOUGH_S
    if is_believed:
        return Believed(now_s, max(now_s, known.highest_s or now_s))
    return _doubted(now_s, newest_s, server_ahead_s)


def after(known: KnownClocks, verdict: Verdict, *, server_ahead_s: float | None, went_on_s: float = 0.0) -> KnownClocks:
    """The facts to keep once a time was judged."""
    now_s = verdict.now_s
    if isinstance(verdict, Doubted):
        doubted = _doubted_before(now_s, known, went_on_s)
        ahead_s = doubted.server_ahead_s if server_ahead_s is None else server_ahead_s
        return replace(known, doubted_s=now_s, ran_s=doubted.ran_s + went_on_s, server_ahead_s=ahead_s)
    is_near = known.believed_s is not None and _is_near(now_s, known.believed_s)
    is_server_for_it = server_ahead_s is not None and abs(server_ahead_s) <= FURTHEST_S
    return KnownClocks(
        believed_s=max(now_s, known.believed_s or now_s) if is_near else now_s,
        highest_s=verdict.highest_s,
        is_accepted=known.is_accepted and is_near and not is_server_for_it,
    )


def accepted(known: KnownClocks, now_s: float) -> KnownClocks:
    """The facts to keep once a person has said that `now_s` is right."""
    return KnownClocks(believed_s=now_s, highest_s=max(now_s, known.highest_s or now_s), is_accepted=True)


def with_record(known: KnownClocks, at_s: float) -> KnownClocks:
    """The facts to keep once a record of that time was taken in from others."""
    return replace(known, believed_s=max(at_s, known.believed_s or at_s), highest_s=max(at_s, known.highest_s or at_s))


def went_on_s(before: tuple[float, float], now: tuple[float, float]) -> float:
    """How long one wall clock went on between two looks, each a wall time and a time of `boot_clock()`; 0 where it was set.

    Example:
        >>> went_on_s((1000.0, 50.0), (1600.0, 650.0)), went_on_s((1000.0, 50.0), (90_000.0, 650.0))
        (600.0, 0.0)
    """
    wall_s, boot_s = now[0] - before[0], now[1] - before[1]
    return max(0.0, boot_s) if abs(wall_s - boot_s) <= _JUMP_S else 0.0


def read_known(connection: sqlite3.Connection) -> KnownClocks:
    """The facts that the ledger keeps about clocks."""
    row = connection.execute("SELECT value FROM settings WHERE key = ?", (_SETTING,)).fetchone()
    values = {} if row is None else json.loads(row[0])
    return KnownClocks(
        **{field.name: values[field.name] for field in fields(KnownClocks) if values.get(field.name) is not None}
    )


def keep_known(connection: sqlite3.Connection, known: KnownClocks) -> None:
    """Store these facts, in a transaction of the caller's."""
    put_setting(connection, _SETTING, json.dumps(asdict(known)))


class WallClock:
    """Judges the time. One thread uses it: the one that may wait for the share.

    `server_ahead_s` says how far the file server's clock is ahead of this machine's, None where the drive has none of its
    own; what it cannot say (`OSError`) counts as None. With `runs` this process is the daemon: how long it has run under
    a clock counts.
    """

    def __init__(
        self,
        ledger: Ledger,
        server_ahead_s: Callable[[], float | None],
        *,
        runs: bool = False,
        wall: Callable[[], float] = time.time,
        clock: Callable[[], float] = boot_clock,
    ) -> None:
        self._ledger = ledger
        self._ask_server = server_ahead_s
        self._runs = runs
        self._wall = wall
        self._clock = clock
        self._kept: tuple[float, float] | None = None
        self._last: Verdict | None = None

    def judge(self) -> Verdict:
        """Whether the time is believed, now."""
        try:
            server_ahead_s = self._ask_server()
        except OSError as error:
            import logging

            logging.getLogger(__name__).info("the file server's clock cannot be asked: %s", error)
            server_ahead_s = None
        now_s, boot_s = now = self._wall(), self._clock()
        same_clock_s = went_on_s(self._kept, now) if self._runs and self._kept is not None else 0.0

        def judged(known: KnownClocks) -> Verdict:
            return judge(now_s, known, server_ahead_s=server_ahead_s, went_on_s=same_clock_s)

        with self._ledger.reading() as connection:
            verdict = judged(read_known(connection))
        is_known = self._kept is not None and type(verdict) is type(self._last)
        since_s = 0.0 if self._kept is None else boot_s - self._kept[1]
        was_set = self._runs and same_clock_s == 0.0 and since_s > 0
        if not is_known or was_set or since_s >= _KEEP_EVERY_S:
            with self._ledger.writing() as (connection, _):
                known = read_known(connection)  # another process may have kept something meanwhile
                verdict = judged(known)
                keep_known(connection, after(known, verdict, server_ahead_s=server_ahead_s, went_on_s=same_clock_s))
            self._kept = now
        self._tell(verdict)
        return verdict

    def _tell(self, verdict: Verdict) -> None:
        if type(verdict) is not type(self._last):
            import logging

            log = logging.getLogger(__name__)
            if not isinstance(verdict, Believed):
                log.warning("%s; %s", verdict.text, verdict.fix)
            elif self._last is not None:
                log.info("the clock of this machine is trusted again")
        self._last = verdict


def accept_clock(ledger: Ledger, now_s: float) -> None:
    """Believe `now_s` from here on, because a person says that it is right; what is old goes at the next occasion."""
    with ledger.writing() as (connection, _):
        keep_known(connection, accepted(read_known(connection), now_s))
        connection.execute("DELETE FROM settings WHERE key = ?", (PRUNED_AT,))


def kept_doubt(ledger: Ledger, now_s: float) -> Doubted | None:
    """The doubt about the clock that says `now_s` that a process has kept; None where it was believed, or another clock was meant."""
    with ledger.reading() as connection:
        known = read_known(connection)
    if known.doubted_s is None or not _is_near(now_s, known.doubted_s):
        return None
    return _doubted(now_s, known.believed_s, known.server_ahead_s)


def prune(ledger: Ledger, *, retention_days: float, at: Believed) -> int:
    """Remove runs that ended earlier, with their steps and logs, and older logs of no run; how many runs went.

    What is known of sources, outputs and slots stays. Slots that a wrong clock served go too, or they would count as served when their time comes.
    """
    before = {"before": utc_text(at.now_s - retention_days * _DAY_S)}
    year_before = utc_text(at.now_s - max(retention_days, _YEAR_DAYS) * _DAY_S)
    with ledger.writing() as (connection, _):
        connection.execute(f"DELETE FROM step_runs WHERE run_id IN (SELECT run_id {_OLD_RUNS})", before)
        connection.execute(f"DELETE FROM logs WHERE run_id IN (SELECT run_id {_OLD_RUNS})", before)
        connection.execute(
            "DELETE FROM logs WHERE created_at_utc < :before"
            " AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.run_id = logs.run_id)",
            before,
        )
        connection.execute("DELETE FROM schedule_slots WHERE slot_utc > ?", (utc_text(at.highest_s + FURTHEST_S),))
        for table in ("backfill_items", "backfills"):
            connection.execute(
                f"DELETE FROM {table} WHERE at_utc < ? AND backfill_id NOT IN"
                " (SELECT backfill_id FROM backfills WHERE state = 'running')",
                (year_before,),
            )
        connection.execute(
            "DELETE FROM troubles WHERE is_closed AND at_utc < ?",
            (year_before,),
        )
        return connection.execute(f"DELETE {_OLD_RUNS}", before).rowcount


def _doubted(now_s: float, newest_s: float | None, server_ahead_s: float | None) -> Doubted:
    return Doubted(now_s, newest_s, None if server_ahead_s is None else now_s + server_ahead_s)


def _doubted_before(now_s: float, known: KnownClocks, went_on_s: float) -> KnownClocks:
    """The facts about the clock that says `now_s`, where it is the clock in doubt; else none."""
    if known.doubted_s is None:
        return KnownClocks()
    is_same = known.doubted_s - FURTHEST_S <= now_s <= known.doubted_s + went_on_s + FURTHEST_S
    return known if is_same else KnownClocks()


def _is_near(at_s: float, other_s: float) -> bool:
    return abs(at_s - other_s) <= FURTHEST_S


def _day(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).astimezone().strftime("%Y-%m-%d")

"""This machine's wall clock as one process judges it, again and again; belief.py decides."""

from __future__ import annotations

import time
from collections.abc import Callable

from data_engine.clock import boot_clock
from data_engine.ledger import belief
from data_engine.ledger.belief import Believed, Doubted, Known, Verdict
from data_engine.ledger.ledger import Ledger

PRUNED_AT = "pruned_at_s"
"""The setting that keeps when a process other than the daemon has last removed what is old."""

_KEEP_EVERY_S = 600.0


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
        """Whether the time is believed, now.

        Raises:
            LedgerError: what is known of the clock cannot be read or kept.
        """
        try:
            server_ahead_s = self._ask_server()
        except OSError as error:
            import logging

            logging.getLogger(__name__).info("the file server's clock cannot be asked: %s", error)
            server_ahead_s = None
        now_s, boot_s = now = self._wall(), self._clock()
        went_on_s = belief.went_on_s(self._kept, now) if self._runs and self._kept is not None else 0.0

        def judged(known: Known) -> Verdict:
            return belief.judge(now_s, known, server_ahead_s=server_ahead_s, went_on_s=went_on_s)

        with self._ledger.reading() as connection:
            verdict = judged(belief.read_known(connection))
        is_set = self._runs and self._kept is not None and went_on_s == 0.0 and boot_s > self._kept[1]
        if self._is_worth_keeping(verdict, boot_s, is_set=is_set):
            with self._ledger.writing() as (connection, _):
                known = belief.read_known(connection)  # another process may have kept something meanwhile
                verdict = judged(known)
                belief.keep_known(
                    connection, belief.after(known, verdict, server_ahead_s=server_ahead_s, went_on_s=went_on_s)
                )
            self._kept = now
        self._tell(verdict)
        return verdict

    def _is_worth_keeping(self, verdict: Verdict, boot_s: float, *, is_set: bool) -> bool:
        return (
            self._kept is None
            or type(verdict) is not type(self._last)
            or boot_s - self._kept[1] >= _KEEP_EVERY_S
            or is_set
        )

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
    """Believe `now_s` from here on, because a person says that it is right; what is old goes at the next occasion.

    Raises:
        LedgerError: it cannot be kept.
    """
    with ledger.writing() as (connection, _):
        belief.keep_known(connection, belief.accepted(belief.read_known(connection), now_s))
        connection.execute("DELETE FROM settings WHERE key = ?", (PRUNED_AT,))


def kept_doubt(ledger: Ledger, now_s: float) -> Doubted | None:
    """The doubt about this machine's clock that a process has kept; asks nobody.

    Raises:
        LedgerError: it cannot be read.
    """
    with ledger.reading() as connection:
        return belief.doubt_of(belief.read_known(connection), now_s)

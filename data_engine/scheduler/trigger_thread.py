"""Polling the folders of poll flows and the clock for schedules: a thread for each flow, so that a share that hangs holds up
no other. What is due is handed over; nothing is run here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from data_engine.clock import boot_clock
from data_engine.planning.due import Due, NotDue, PlannedFlow
from data_engine.reasons.kinds import NotYet
from data_engine.reasons.remedies import Reason
from data_engine.scheduler.folder_poller import FolderPoller
from data_engine.scheduler.schedule_clock import ScheduleClock

log = logging.getLogger(__name__)

LONGEST_SLEEP_S = 30.0
_CLOCK_EVERY_S = 1.0
_TROUBLE_PAUSE_S = 5.0
_LOOK_PAUSE_S = 0.02
_LONGEST_GAP_S = 60.0

Planner: TypeAlias = FolderPoller | ScheduleClock


class TriggerThread:
    """Looks for what of one flow is due, until it is closed; `deliver(thread, dues)` is called from its thread.

    `make` gives the planner; it is called in the thread, because it may read a slow share. A schedule's slot is delivered
    once, and the next one only after `settled`; `why` is what planning said last of it. What goes wrong is told to
    `tell_trouble`, and tried again.
    """

    def __init__(
        self,
        planned: PlannedFlow,
        make: Callable[[Callable[[], None]], Planner],
        deliver: Callable[[TriggerThread, list[Due]], None],
        tell_trouble: Callable[[TriggerThread, Exception], None],
    ) -> None:
        self.planned = planned
        self.planner: Planner | None = None
        self.why: Reason | None = None
        self.has_missed_events = False
        self._make = make
        self._deliver = deliver
        self._tell_trouble = tell_trouble
        self._is_open = True
        self._is_pending = False
        self._is_outdated = False
        self._event = threading.Event()
        self._on_since_s = time.time()
        self._looked_boot_s = boot_clock()
        threading.Thread(target=self._run, name=f"trigger {planned.flow}", daemon=True).start()

    @property
    def flow(self) -> str:
        """The name of its flow."""
        return self.planned.flow

    @property
    def next_utc(self) -> str | None:
        """When a schedule's next slot or tick comes; None while one is under way."""
        return self.why.next_utc if isinstance(self.why, NotYet) else None

    def wake(self) -> None:
        """Look now."""
        self._event.set()

    def settled(self) -> None:
        """The slot or tick that was delivered is done with."""
        self._is_pending = False
        self.wake()

    def check_anew(self) -> None:
        """The slot that was delivered is not run: see whether another process has served it."""
        self._is_outdated = True
        self.settled()

    def close(self) -> None:
        """Look no more; a look under way ends by itself."""
        self._is_open = False
        self.wake()

    def _run(self) -> None:
        was_woken = False
        while self._is_open:
            self._event.clear()
            try:
                if self.planner is None:
                    self.planner = self._make(self.wake)
                    if self.has_missed_events and isinstance(self.planner, FolderPoller):
                        self.planner.reload()
                due, wait_s = self._look(self.planner)
            except Exception as error:
                log.exception("looking for what is due in %s failed", self.flow)
                self._tell_trouble(self, error)
                due, wait_s = [], _TROUBLE_PAUSE_S
            if due and self._is_open:
                self._deliver(self, due)
            if was_woken or due:
                time.sleep(_LOOK_PAUSE_S)  # the ends of many fast runs are one look
            was_woken = self._event.wait(min(max(wait_s, 0.0), LONGEST_SLEEP_S))
        if isinstance(self.planner, FolderPoller):
            self.planner.close()

    def _look(self, planner: Planner) -> tuple[list[Due], float]:
        """What is due, and in how many seconds to look again."""
        if isinstance(planner, FolderPoller):
            return planner.poll(), planner.next_look_s - boot_clock()
        now_s, boot_s = time.time(), boot_clock()
        self._on_since_s = on_since(self._on_since_s, now_s=now_s, gap_s=boot_s - self._looked_boot_s)
        self._looked_boot_s = boot_s
        if self._is_pending:
            return [], LONGEST_SLEEP_S
        if self._is_outdated:
            self._is_outdated = False
            planner.refresh(now_s=now_s)
        verdict = planner.check(now_s=now_s, local_s=boot_s, on_since_s=self._on_since_s)
        self.why = verdict.why
        if isinstance(verdict, NotDue):
            return [], _CLOCK_EVERY_S if self.next_utc is None else min(_CLOCK_EVERY_S, seconds_until(self.next_utc))
        planner.begin(verdict, now_s=now_s)
        self._is_pending = True
        return [verdict], _CLOCK_EVERY_S


def on_since(since_s: float, *, now_s: float, gap_s: float) -> float:
    """Since when somebody has been looking at the clock, as it goes now; `gap_s` is how long nobody did until now.

    Example:
        >>> on_since(100.0, now_s=160.0, gap_s=1.0), on_since(100.0, now_s=40_000.0, gap_s=39_000.0)
        (100.0, 40000.0)
        >>> on_since(100.0, now_s=50.0, gap_s=1.0)
        50.0
    """
    was_asleep, was_set_back = gap_s > _LONGEST_GAP_S, now_s < since_s
    return now_s if was_asleep or was_set_back else since_s


def seconds_until(utc: str) -> float:
    """How long until a time in UTC ISO-8601; 0 when it is past."""
    return max(0.0, datetime.fromisoformat(utc).timestamp() - time.time())

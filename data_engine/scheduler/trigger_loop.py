"""Polling the folders of poll flows and the clock for schedules: one thread looks at all flows, each when its time has come.

A look that takes long has a thread of its own, so that a share that hangs holds up no other flow. What is due is handed over;
nothing is run here.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
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
_LONG_S = 0.1
"""A look that took longer than this has a thread of its own the next time."""
_STUCK_S = 1.0
"""A look that was short before and takes so long hangs: another thread goes on with the others."""

Planner: TypeAlias = FolderPoller | ScheduleClock


class Trigger:
    """Looks for what of one flow is due, until it is closed; `deliver(trigger, dues)` is called from the thread that looks.

    `make` gives the planner; it is called by the first look, because it may read a slow share. A schedule's slot is delivered
    once, and the next one only after `settled`; `why` is what planning said last of it. What goes wrong is told to
    `tell_trouble`, and tried again.
    """

    def __init__(
        self,
        loop: TriggerLoop,
        planned: PlannedFlow,
        make: Callable[[Callable[[], None]], Planner],
        deliver: Callable[[Trigger, list[Due]], None],
        tell_trouble: Callable[[Trigger, Exception], None],
    ) -> None:
        self.planned = planned
        self.planner: Planner | None = None
        self.why: Reason | None = None
        self.has_missed_events = False
        self.is_woken = False
        self.is_slow = True
        self.not_before_s = 0.0
        self._loop = loop
        self._make = make
        self._deliver = deliver
        self._tell_trouble = tell_trouble
        self._is_open = True
        self._is_pending = False
        self._is_outdated = False
        self._on_since_s = time.time()
        self._looked_boot_s = boot_clock()
        loop.look_apart(self)

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
        self.is_woken = True
        self._loop.wake(self)

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

    def look(self) -> float | None:
        """Look once; in how many seconds to look again, None once it is closed."""
        was_woken, self.is_woken = self.is_woken, False
        if not self._is_open:
            if isinstance(self.planner, FolderPoller):
                self.planner.close()
            return None
        due: list[Due] = []
        try:
            if self.planner is None:
                self.planner = self._make(self.wake)
                if self.has_missed_events and isinstance(self.planner, FolderPoller):
                    self.planner.reload()
            due, wait_s = self._look(self.planner)
            if due and self._is_open:
                self._deliver(self, due)
        except Exception as error:
            log.exception("looking for what is due in %s failed", self.flow)
            self._tell_trouble(self, error)
            wait_s = _TROUBLE_PAUSE_S
        if was_woken or due:
            self.not_before_s = time.monotonic() + _LOOK_PAUSE_S  # the ends of many fast runs are one look
        return min(max(wait_s, 0.0), LONGEST_SLEEP_S)

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
        self.why = why = verdict.why
        if isinstance(verdict, NotDue):
            left_s = why.left_s(now_s) if isinstance(why, NotYet) and why.next_utc is not None else _CLOCK_EVERY_S
            return [], min(_CLOCK_EVERY_S, left_s)
        planner.begin(verdict, now_s=now_s)
        self._is_pending = True
        return [verdict], _CLOCK_EVERY_S


class TriggerLoop:
    """Looks at the triggers that are added, each when its time has come, on one thread as long as looks are short.

    The first look of a trigger, which reads the history and the folder, and each after a long one has a thread of its own.
    `beat`, called every few seconds, lets another thread go on where a look that was short before hangs.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._due: list[tuple[float, int, Trigger]] = []
        self._at_s: dict[Trigger, float] = {}
        self._numbers = itertools.count()
        self._leader: threading.Thread | None = None
        self._began_s: float | None = None

    def wake(self, trigger: Trigger) -> None:
        """Look at it now, or once more when the look under way has ended."""
        with self._condition:
            if trigger in self._at_s:
                self._put(trigger, 0.0)

    def beat(self) -> None:
        """Let another thread go on with the others where a look hangs."""
        with self._condition:
            if self._began_s is not None and time.monotonic() - self._began_s > _STUCK_S:
                self._start_leader()

    def _put(self, trigger: Trigger, wait_s: float) -> None:
        """Look at it so much later; on the condition. What stands in line for a later time is passed over."""
        at_s = max(time.monotonic() + (0.0 if trigger.is_woken else wait_s), trigger.not_before_s)
        self._at_s[trigger] = at_s
        heapq.heappush(self._due, (at_s, next(self._numbers), trigger))
        if self._leader is None:
            self._start_leader()
        elif self._due[0][2] is trigger:
            self._condition.notify_all()

    def _start_leader(self) -> None:
        self._began_s = None
        self._leader = threading.Thread(target=self._lead, name="triggers", daemon=True)
        self._leader.start()

    def _lead(self) -> None:
        while (trigger := self._next()) is not None:
            if trigger.is_slow:
                self.look_apart(trigger)
            else:
                self._look(trigger)

    def _next(self) -> Trigger | None:
        """The next trigger whose time has come; None where none is left, or another thread leads by now."""
        with self._condition:
            if self._leader is threading.current_thread():
                self._began_s = None
            while self._leader is threading.current_thread():
                while self._due and self._at_s.get(self._due[0][2]) != self._due[0][0]:
                    heapq.heappop(self._due)
                if not self._due:
                    self._leader = None
                    break
                wait_s = self._due[0][0] - time.monotonic()
                if wait_s > 0:
                    self._condition.wait(wait_s)
                    continue
                _, _, trigger = heapq.heappop(self._due)
                del self._at_s[trigger]
                self._began_s = time.monotonic()
                return trigger
        return None

    def look_apart(self, trigger: Trigger) -> None:
        """Look at it now in a thread of its own, and then as it says."""
        threading.Thread(target=self._look, args=(trigger,), name=f"trigger {trigger.flow}", daemon=True).start()

    def _look(self, trigger: Trigger) -> None:
        began_s = time.monotonic()
        try:
            wait_s = trigger.look()
        except RuntimeError:  # nobody can be told any more: the event loop has ended
            wait_s = None
        trigger.is_slow = time.monotonic() - began_s > _LONG_S
        if wait_s is not None:
            with self._condition:
                self._put(trigger, wait_s)


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

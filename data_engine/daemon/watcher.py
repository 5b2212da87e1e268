"""Looking at the sources of poll flows and at the clock for schedules: a thread for each, so that a share that hangs holds
up nobody else. What is due is handed over; nothing is run here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from data_engine.engine.clockwork import Clockwork
from data_engine.engine.lookout import Lookout
from data_engine.engine.plan import Due, NotDue

log = logging.getLogger(__name__)

LONGEST_SLEEP_S = 30.0
_CLOCK_EVERY_S = 1.0
_TROUBLE_PAUSE_S = 5.0

Watching: TypeAlias = Lookout | Clockwork
Deliver: TypeAlias = Callable[[str, list[Due]], None]


class Watcher:
    """Looks at one flow until it is closed; `deliver(flow, dues)` is called from its thread.

    `make` gives what is looked at; it is called in the thread, because it may read a slow share. A schedule's slot is
    delivered once, and the next one only after `settled`.
    """

    def __init__(self, flow: str, make: Callable[[Callable[[], None]], Watching], deliver: Deliver) -> None:
        self.flow = flow
        self.watching: Watching | None = None
        self.next_utc: str | None = None
        self._make = make
        self._deliver = deliver
        self._is_open = True
        self._is_pending = False
        self._event = threading.Event()
        self._on_since_s = time.time()
        threading.Thread(target=self._run, name=f"watch {flow}", daemon=True).start()

    def wake(self) -> None:
        """Look now."""
        self._event.set()

    def settled(self) -> None:
        """The slot or tick that was delivered is done with."""
        self._is_pending = False
        self.wake()

    def close(self) -> None:
        """Look no more; a look under way ends by itself."""
        self._is_open = False
        self.wake()

    def _run(self) -> None:
        while self._is_open:
            self._event.clear()
            try:
                if self.watching is None:
                    self.watching = self._make(self.wake)
                due, wait_s = self._look(self.watching)
            except Exception:
                log.exception("looking for what is due in %s failed", self.flow)
                due, wait_s = [], _TROUBLE_PAUSE_S
            if due and self._is_open:
                self._deliver(self.flow, due)
            self._event.wait(min(max(wait_s, 0.0), LONGEST_SLEEP_S))
        if isinstance(self.watching, Lookout):
            self.watching.close()

    def _look(self, watching: Watching) -> tuple[list[Due], float]:
        """What is due, and in how many seconds to look again."""
        if isinstance(watching, Lookout):
            return watching.look(), watching.next_look_s - time.monotonic()
        if self._is_pending:
            return [], LONGEST_SLEEP_S
        verdict = watching.look(now_s=time.time(), local_s=time.monotonic(), on_since_s=self._on_since_s)
        if isinstance(verdict, NotDue):
            self.next_utc = getattr(verdict.why, "next_utc", None)
            return [], _CLOCK_EVERY_S if self.next_utc is None else min(_CLOCK_EVERY_S, seconds_until(self.next_utc))
        self._is_pending = True
        watching.begin(verdict)
        return [verdict], _CLOCK_EVERY_S


def seconds_until(utc: str) -> float:
    """How long until a time in UTC ISO-8601; 0 when it is past."""
    return max(0.0, datetime.fromisoformat(utc).timestamp() - time.time())

"""Look for what is due in one workspace: a trigger for each flow that runs by itself.

One thread looks at all flows, each when its time has come (`TriggerLoop`). A look that takes long has a thread of its own, so that a
share that hangs holds up no other flow. What is due is handed over; everything else happens on the loop's thread.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import math
import os
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeAlias

from data_engine.clock import boot_clock
from data_engine.engine.candidates import Source, listed_source, startup_sources
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Schedule
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outputs import own_outputs
from data_engine.ledger.rows import SourceStates
from data_engine.model import Event, Run, RunFinished, RunStarted, SourceKey, SourceState
from data_engine.planning.due import Due, NotDue, PlannedFlow, SourceRules, state_after, why_blocked
from data_engine.planning.feeds import Backlog
from data_engine.reasons.kinds import FeedShrunk, Looks, NotYet, RetryLater, Slot
from data_engine.reasons.remedies import Reason
from data_engine.scheduler.executor import SourceRun
from data_engine.scheduler.feed_hold import FeedWaits
from data_engine.scheduler.folder_poller import FolderPoller, KnownSources, known_sources
from data_engine.scheduler.run_queue import Work, came_by_itself
from data_engine.scheduler.scanner import FileEvents
from data_engine.scheduler.schedule_clock import ScheduleClock
from data_engine.workspace.settings import WorkspaceSettings

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
    """Looks for what is due of one flow, until it is closed; `deliver(trigger, dues)` is called from the thread that looks.

    `make` gives the planner; it is called by the first look, because it may read a slow share. A schedule's slot is delivered
    once, and the next one only after `settled`; `why` is what planning said last of it. What goes wrong is told to
    `tell_trouble`, and tried again. `settings` are those that it looks by, `version` is that of the flow's code. Batches that wait
    for the flow, of `waits`, hear of each look.
    """

    settings: object
    version: object

    def __init__(
        self,
        loop: TriggerLoop,
        planned: PlannedFlow,
        make: Callable[[Callable[[], None]], Planner],
        deliver: Callable[[Trigger, list[Due]], None],
        tell_trouble: Callable[[Trigger, Exception], None],
        waits: FeedWaits | None = None,
    ) -> None:
        self.planned = planned
        self.planner: Planner | None = None
        self.why: Reason | None = None
        self.has_missed_events = False
        self.is_woken = False
        self.is_slow = True
        self.not_before_s = 0.0
        self._fresh_s = -math.inf
        self._waits = waits
        self._note_again_s = 0.0
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

    def look_from(self, begin_s: float) -> None:
        """Look now, unless a look that began at `begin_s` or later was asked for already."""
        if self._fresh_s < begin_s:
            self._fresh_s = begin_s
            self.wake()

    def settled(self) -> None:
        """Note that the delivered slot or tick is done."""
        self._is_pending = False
        self.wake()

    def check_anew(self) -> None:
        """Check whether another process has served the delivered slot, which is not run."""
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
            if self._waits is not None and self._waits.concern(self.flow):
                wait_s = min(wait_s, self._note_backlog(self._waits, self.planner))
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
            return planner.poll(self._fresh_s), planner.next_look_s - boot_clock()
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

    def _note_backlog(self, waits: FeedWaits, planner: Planner) -> float:
        """Tell what the flow has to do, not more often than that may cost; in how many seconds to tell it again."""
        began_s = boot_clock()
        if began_s < self._note_again_s:
            return self._note_again_s - began_s
        if isinstance(planner, FolderPoller):
            backlog = planner.backlog()
        else:
            backlog = Backlog(self._looked_boot_s, frozenset(() if planner.owed is None else (planner.owed,)))
        if backlog.looked_s > -math.inf:
            waits.note(self.flow, backlog)
        self._note_again_s = began_s + 10 * (boot_clock() - began_s)
        return math.inf


class TriggerLoop:
    """Looks at the triggers that are added, each when its time has come, on one thread as long as looks are short.

    The first look of a trigger, which reads the history and the folder, and each after a long one has a thread of its own.
    `tick`, called every few seconds, lets another thread go on where a look that was short before hangs.
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

    def tick(self) -> None:
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


log = logging.getLogger(__name__)

_TRY_AGAIN_S = 1.0
_OTHERS_EVERY_S = 0.5
_KNOWN_RUNS = 100


class _History:
    """The runs of a flow that this engine knows: those that are `under_way` here; `others` counts those of other processes."""

    def __init__(self) -> None:
        self.others = 0
        self.under_way: set[str] = set()
        self._run_ids: deque[str] = deque(maxlen=_KNOWN_RUNS)
        self._lock = threading.Lock()

    def note_own(self, run_id: str) -> None:
        with self._lock:
            self._run_ids.append(run_id)

    def notice(self, newest: Run | None) -> bool:
        """Whether the flow's newest run is another process's, and was not noticed before."""
        with self._lock:
            if newest is None or newest.run_id in self._run_ids:
                return False
            self._run_ids.append(newest.run_id)
            self.others += 1
            return True


@dataclass(slots=True)
class _Slot:
    """A slot or tick of a schedule whose runs have not all ended: `left` of `run_ids`.

    `clock` is the one that began it; `waiting` are the triggers that are told when it is done with.
    """

    flow: str
    due: Due
    clock: ScheduleClock
    run_ids: frozenset[str]
    left: set[str]
    waiting: list[Trigger]
    last_run_id: str = ""


class TriggerSet:
    """The triggers of one workspace (None: of none, where nothing is remembered).

    What is due goes to `hand_over`; `drop` takes back what waits of a flow, or of all, and of which a claim holds. What
    cannot be kept now goes to `say_trouble`, what people should know of a flow to `say`.
    """

    def __init__(
        self,
        home: LocalWorkspace | None,
        *,
        loop: asyncio.AbstractEventLoop,
        hand_over: Callable[[Sequence[Work]], None],
        drop: Callable[[str | None, Callable[[Work], bool]], Sequence[Work]],
        say_trouble: Callable[[FlowValidationError], None],
        say: Callable[[str, str], None],
    ) -> None:
        self._home, self._ledger = home, None if home is None else home.ledger()
        self._loop, self._hand_over, self._drop = loop, hand_over, drop
        self._say_trouble, self._say = say_trouble, say
        self._trigger_loop = TriggerLoop()
        self._triggers: dict[str, Trigger] = {}
        self._recalled: dict[str, KnownSources] = {}
        self._slots: dict[Hashable, _Slot] = {}
        self._numbers = itertools.count(1)
        self._file_events = FileEvents()
        self._histories: defaultdict[str, _History] = defaultdict(_History)
        self._apart: dict[str, dict[SourceKey, SourceState]] = {}
        self._flows: dict[str, PlannedFlow] = {}
        self._others: tuple[float, dict[str, list[str]]] = (-math.inf, {})
        self.waits = FeedWaits(self._flows, self._triggers, self._runs_of, self._look_from)

    # -- which flows are looked at ---------------------------------------------------------------------------------

    def set_flow(self, name: str, flow: Flow | None, *, version: object, frees_held: bool) -> None:
        """Look for what is due of `flow`, or no longer: it is None, runs by hand, or is disabled.

        With `frees_held` what was held is tried again. `version` is another one when the flow's code was edited. What the runs of an
        edit that is not deployed have done is known here only, so that none of it is due again before this process ends.
        """
        planned = None if flow is None else PlannedFlow.of(flow)
        if planned is None:
            self._flows.pop(name, None)
        else:
            self._flows[name] = planned
        switch = None if self._ledger is None else self._ledger.switches().get(name)
        if planned is not None and (planned.trigger.mode == "manual" or why_blocked(switch) is not None):
            planned = None
        if (is_apart := flow is not None and flow._edited is not None) != (name in self._apart):
            self.forget(name)
            self._apart.pop(name, None)
            if is_apart:
                self._apart[name] = {}
        trigger = self._triggers.get(name)
        if trigger is not None:
            if trigger.version != version and isinstance(trigger.planner, FolderPoller):
                trigger.planner.expect_new_code()
            trigger.version = version
            if planned is not None and trigger.planned == planned and self._uses_settings_of_now(trigger):
                if frees_held:
                    self.free(name)
                return
            self.forget(name)
        if flow is not None and planned is not None:
            make, deliver = self._maker(planned, frees_held), self._deliverer(flow)
            trigger = self._triggers[name] = Trigger(
                self._trigger_loop, planned, make, deliver, self._tell_trouble, self.waits
            )
            trigger.settings, trigger.version = self._settings_used_by(planned), version
        self.waits.note(name)

    def forget(self, name: str) -> None:
        """Look at the flow no more, and let nothing of it wait that came by itself."""
        trigger = self._triggers.pop(name, None)
        if trigger is not None:
            trigger.close()
            self.waits.forget(name)
        self._drop_waiting(name)

    def stop(self) -> None:
        """Look at nothing, and let nothing wait that came by itself."""
        for trigger in self._triggers.values():
            trigger.close()
            self.waits.end(trigger.flow)
        self._triggers.clear()
        self._recalled.clear()  # what is known by the time somebody looks again may be another
        self._drop_waiting(None)

    def close(self) -> None:
        """Look at nothing any more, ever."""
        self.stop()
        self._file_events.close()

    def tick(self) -> None:
        """Let no flow wait for another whose folder does not answer; called every few seconds."""
        self._trigger_loop.tick()
        self.waits.note()

    @property
    def are_outdated(self) -> bool:
        """Whether one of them looks by settings that were edited since."""
        return any(trigger.settings != self._settings_used_by(trigger.planned) for trigger in self._triggers.values())

    def names(self) -> list[str]:
        """The flows that are looked at."""
        return list(self._triggers)

    def reload(self) -> None:
        """Judge everything anew: others have written the history."""
        for poller in self._pollers().values():
            poller.reload()

    def free(self, name: str, keys: frozenset[SourceKey] | None = None) -> int:
        """Hold these sources of the flow (all without) no longer; of a schedule its slots: how many of those were held."""
        planner = self.planner(name)
        if isinstance(planner, FolderPoller):
            planner.free(keys)
        elif planner is not None and keys is None:
            count = planner.free()
            self._triggers[name].wake()
            return count
        return 0

    def accept(self, name: str) -> FeedShrunk | None:
        """Let the flow's batch run with the sources that are there; the reason that held it, None where there was none."""
        planner = self.planner(name)
        held = None if planner is None else planner.accept()
        if held is not None:
            self._triggers[name].wake()
        return held

    def feed_shrunk(self, name: str) -> FeedShrunk | None:
        """The reason that holds the flow's batch, whose sources are gone; None where there is none."""
        planner = self.planner(name)
        return None if planner is None else planner.feed_shrunk

    # -- what is known of them -------------------------------------------------------------------------------------

    def planner(self, name: str) -> Planner | None:
        """The planner that decides when the flow is due."""
        trigger = self._triggers.get(name)
        return None if trigger is None else trigger.planner

    def next_utc(self, name: str) -> str | None:
        """When the flow's next slot or tick comes."""
        trigger = self._triggers.get(name)
        return None if trigger is None else trigger.next_utc

    def is_new_to(self, name: str) -> bool:
        """Whether the flow is watched, and nobody knows yet when it comes next."""
        trigger = self._triggers.get(name)
        return trigger is not None and not isinstance(trigger.planner, FolderPoller) and trigger.why is None

    def why(self, name: str) -> Reason | None:
        """The last reason that planning gave for the flow as a whole: its next slot, a slot that is held, a source out of reach."""
        trigger = self._triggers.get(name)
        if trigger is None:
            return None
        planner = trigger.planner
        if isinstance(planner, FolderPoller):
            return planner.unreachable or planner.feed_shrunk or planner.waits_for
        return trigger.why if planner is None or planner.held is None else planner.held

    def slow_looks(self, name: str) -> Looks | None:
        """How often a polled flow's folder is looked through, where that is much rarer than its interval says."""
        planner = self.planner(name)
        return planner.slow_looks if isinstance(planner, FolderPoller) else None

    def retries_to_come(self) -> dict[str, list[tuple[str, RetryLater]]]:
        """The failed files of polled flows that `[retry]` tries again later, by flow."""
        return {name: retries for name, poller in self._pollers().items() if (retries := poller.retries_to_come)}

    def source_troubles(self) -> dict[str, str]:
        """The troubles of each polled flow's folder, in one line; "" where there is none."""
        return {name: _source_trouble(poller) for name, poller in self._pollers().items()}

    def _pollers(self) -> dict[str, FolderPoller]:
        planners = [(name, trigger.planner) for name, trigger in self._triggers.items()]
        return {name: planner for name, planner in planners if isinstance(planner, FolderPoller)}

    # -- what is remembered ----------------------------------------------------------------------------------------

    def recall(self, names: Iterable[str]) -> None:
        """Read what is known of many sources, from any thread, before they are watched."""
        if self._ledger is None:
            return
        with suppress(FlowValidationError, OSError):  # it is read again, and told, where it is needed
            for name in names:
                self._recalled[name] = self._states(self._ledger, name)

    def forget_recalled(self) -> None:
        """Keep of what was recalled only what somebody is about to ask for."""
        self._recalled = {name: states for name, states in self._recalled.items() if name in self._triggers}

    def known_sources(self, name: str) -> KnownSources:
        """The known states of the flow's sources.

        Raises:
            LedgerError: the history cannot be read.
        """
        if self._ledger is None or self._home is None:
            return KnownSources(SourceStates(name))
        sources = self._recalled.pop(name, None) or self._states(self._ledger, name)
        for state in self._apart.get(name, {}).values():
            sources.states.put(state)
        return sources._replace(outputs=own_outputs(self._ledger, self._home.layout, name))

    def _states(self, ledger: Ledger, name: str) -> KnownSources:
        # In this order: what is read knows at least of the runs that were noticed.
        history, newest = self._histories[name], ledger.last_run(name)
        if newest is not None and newest.status != "started":
            history.notice(newest)
        others = history.others
        return known_sources(ledger, name)._replace(others=others)

    # -- told by the dispatcher ------------------------------------------------------------------------------------

    def handed_out(self, name: str, run_ids: Sequence[str]) -> None:
        """These runs of the flow are about to begin: from now on any file may be one they write."""
        self._histories[name].under_way.update(run_ids)

    def heard(self, name: str, events: Sequence[Event]) -> None:
        """Take events of the flow's runs."""
        for event in events:
            if isinstance(event, RunStarted):
                self._histories[name].note_own(event.run_id)
            elif isinstance(event, RunFinished) and (apart := self._apart.get(name)) is not None:
                apart |= {seen.key: state_after(apart.get(seen.key), name, seen, event) for seen in event.seen}
        trigger = self._triggers.get(name)
        if trigger is not None and isinstance(trigger.planner, FolderPoller):
            trigger.planner.note(*events)
        elif trigger is not None and trigger.planner is None:
            trigger.has_missed_events = True  # it is reading the history just now
        # In this order: the poller has a run's report before the run counts as ended.
        ended = [event.run_id for event in events if isinstance(event, RunFinished)]
        self._histories[name].under_way.difference_update(ended)
        if ended and self.waits.concern(name):
            self.waits.note(name)

    def job_ended(self, name: str, run_ids: Sequence[str]) -> None:
        """Note that these runs have ended, and that all their events were heard."""
        left = self._histories[name].under_way
        if not left.isdisjoint(run_ids):
            left.difference_update(run_ids)
            self.waits.note(name)
            planner = self.planner(name)
            if isinstance(planner, FolderPoller):
                planner.wake()

    def notice_others(self, name: str) -> int:
        """How often runs of the flow were noticed that are another process's; what was due before the last may be done by it.

        Raises:
            LedgerError: the history cannot be read.
        """
        trigger = self._triggers.get(name)
        if self._ledger is None or trigger is None:
            return 0
        mode, history = trigger.planned.trigger, self._histories[name]
        if isinstance(mode, Schedule) and mode.interval_seconds is not None:
            return 0  # ticks are this engine's own
        if history.notice(self._ledger.last_run(name)) and isinstance(trigger.planner, FolderPoller):
            trigger.planner.reload()
        return history.others

    def take_back(self, work: Work) -> bool:
        """Take back due work that has no run: whether it shall wait again; a file is judged anew instead."""
        planner = self.planner(work.flow)
        if isinstance(planner, FolderPoller):
            if work.due is not None:
                planner.give_back(work.due)
            return False
        return work.flow in self._triggers

    def judge_anew(self, work: Work) -> None:
        """Judge anew dropped work, which another process may have done."""
        slot = self._slots.pop(work.batch, None)
        if slot is None:
            self.take_back(work)
            return
        for trigger in slot.waiting:
            trigger.check_anew()

    def settled(self, work: Work) -> None:
        """Note that the work is done; its slot is when all its works are."""
        slot = self._slots.get(work.batch)
        if slot is None:
            return
        slot.left.discard(work.run.run_id)
        slot.last_run_id = work.run.run_id
        if not slot.left:
            self._end_slot(work.batch)

    # -- planner ---------------------------------------------------------------------------------------------------

    def _settings_used_by(self, planned: PlannedFlow) -> object:
        """The settings that decide when something of the flow is due."""
        settings = self._workspace_settings()
        if not isinstance(planned.trigger, Schedule):
            return SourceRules.of(settings)
        is_by_slots = planned.trigger.interval_seconds is None
        return (settings.timezone, settings.history.retention_days) if is_by_slots else None

    def _uses_settings_of_now(self, trigger: Trigger) -> bool:
        """Whether it goes by the settings as they are; a poller that is there is given them, and keeps what it knows."""
        used = self._settings_used_by(trigger.planned)
        if trigger.settings != used and isinstance(trigger.planner, FolderPoller) and isinstance(used, SourceRules):
            trigger.planner.use_rules(used)
            trigger.settings = used
        return trigger.settings == used

    def _workspace_settings(self) -> WorkspaceSettings:
        return WorkspaceSettings() if self._home is None else self._home.settings()

    def _maker(self, planned: PlannedFlow, frees_held: bool) -> Callable[[Callable[[], None]], Planner]:
        settings = self._workspace_settings()

        def make(wake: Callable[[], None]) -> Planner:
            if isinstance(planned.trigger, Schedule):
                return ScheduleClock(
                    planned,
                    settings=settings,
                    ledger=None if planned.flow in self._apart else self._ledger,
                    now_s=time.time(),
                    local_s=boot_clock(),
                    frees_held=frees_held,
                    waits=self.waits,
                )
            poller = FolderPoller(
                planned,
                read=lambda: self.known_sources(planned.flow),
                rules=SourceRules.of(settings),
                under_way=self._histories[planned.flow].under_way,
                waits=self.waits,
                events=self._file_events,
                wake=wake,
            )
            if frees_held:
                poller.free()
            return poller

        return make

    def _look_from(self, name: str, begin_s: float) -> None:
        trigger = self._triggers.get(name)
        if trigger is not None:
            trigger.look_from(begin_s)

    def _runs_of(self, name: str, is_exact: bool) -> tuple[str, ...]:
        """The ids of the flow's runs under way: of this process, and of others as they are (`is_exact`) or were a moment ago. From any
        thread."""
        now_s = time.monotonic()
        if self._ledger is not None and (is_exact or now_s - self._others[0] > _OTHERS_EVERY_S):
            others: dict[str, list[str]] = {}
            with suppress(FlowValidationError, OSError):  # asked again in a moment
                for run in self._ledger.active_runs(but_of=os.getpid()):
                    others.setdefault(run.flow, []).append(run.run_id)
            self._others = now_s, others
        history = self._histories.get(name)
        return (*(() if history is None else history.under_way.copy()), *self._others[1].get(name, ()))

    def _deliverer(self, flow: Flow) -> Callable[[Trigger, list[Due]], None]:
        def deliver(trigger: Trigger, dues: list[Due]) -> None:
            """Called from the thread that looks."""
            planner = trigger.planner
            if isinstance(planner, FolderPoller):
                others = planner.others
                sources = [(listed_source(planner.planned.trigger, planner.name_of(due)), due) for due in dues]
            else:
                others = self._histories[trigger.flow].others
                sources = [(source, due) for due in dues for source in startup_sources(flow)]
            self._loop.call_soon_threadsafe(self._take_due, trigger, flow.group, sources, dues, others)

        return deliver

    def _take_due(
        self, trigger: Trigger, group: str, sources: Sequence[tuple[Source, Due]], dues: Sequence[Due], others: int
    ) -> None:
        name, planner = trigger.flow, trigger.planner
        if self._triggers.get(name) is not trigger:
            return
        if isinstance(planner, FolderPoller) and others < self._histories[name].others:
            for due in dues:
                planner.give_back(due)
            return
        number = None
        for due in dues:
            if isinstance(due.why, Slot) and due.why.skipped_before_utc is not None:
                self._say(name, due.why.text)
        if isinstance(planner, ScheduleClock):
            if (
                under_way := self._under_way(name, dues[0])
            ) is not None:  # begun before the engine was stopped and started: one run is enough
                under_way.waiting.append(trigger)
                return
            number = next(self._numbers)
        runs = [(SourceRun(source, uuid.uuid4().hex, due.seen or None), due) for source, due in sources]
        if number is not None and isinstance(planner, ScheduleClock):
            run_ids = frozenset(run.run_id for run, _ in runs)
            self._slots[number] = _Slot(name, dues[0], planner, run_ids, set(run_ids), [trigger])
            if not runs:
                self._end_slot(number)
        self._hand_over([Work(name, group, run, number, due=due, others=others) for run, due in runs])

    def _under_way(self, name: str, due: Due) -> _Slot | None:
        """The run of the same slot that goes on."""
        slots = (slot for slot in self._slots.values() if slot.flow == name)
        return next((slot for slot in slots if _slot_utc(slot.due) == _slot_utc(due) is not None), None)

    def _tell_trouble(self, trigger: Trigger, error: Exception) -> None:
        """Called from the thread that looks."""
        text = (str(error) or type(error).__name__).partition("\n")[0]
        self._loop.call_soon_threadsafe(self._say, trigger.flow, text)

    def _drop_waiting(self, name: str | None) -> None:
        # A slot of which something never runs is not served.
        for work in self._drop(name, came_by_itself):
            self._slots.pop(work.batch, None)

    def _end_slot(self, number: Hashable) -> None:
        slot = self._slots.get(number)
        if slot is None:
            return
        try:
            if self._triggers.get(slot.flow) in slot.waiting or self._ran_to_its_end(slot):
                slot.clock.serve(slot.due, slot.last_run_id)
        except LedgerError as error:
            self._say_trouble(error)
            self._loop.call_later(_TRY_AGAIN_S, self._end_slot, number)
            return
        del self._slots[number]
        for trigger in slot.waiting:
            trigger.settled()

    def _ran_to_its_end(self, slot: _Slot) -> bool:
        """Whether no run of the slot was stopped when its trigger was: what is handed over unfinished is run elsewhere."""
        if self._ledger is None:
            return True
        runs = [self._ledger.run(run_id) for run_id in slot.run_ids]
        return all(run is not None and run.status in ("success", "failed") for run in runs)


def _slot_utc(due: Due) -> str | None:
    return due.why.slot_utc if isinstance(due.why, Slot) else None


def _source_trouble(poller: FolderPoller) -> str:
    if poller.unreachable is not None:
        return f"{poller.root} is {poller.unreachable.text}"
    first = sorted(poller.troubles.copy().items())[:3]
    return "; ".join(f"{poller.root / folder} cannot be read: {why}" for folder, why in first)

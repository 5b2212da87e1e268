"""Who looks for what is due in one daemon: a thread for each flow that runs by itself. Everything on the daemon's thread,
but for the looking (`thread`), which only hands over what is due.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from data_engine.clock import boot_clock
from data_engine.daemon.dispatcher import Dispatcher, Item, came_by_itself
from data_engine.engine.candidates import Source, listed_source, startup_sources
from data_engine.engine.home import Home
from data_engine.engine.reasons import Reason, Slot
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Schedule
from data_engine.ledger.rows import SourceStates
from data_engine.model import Event, SourceKey
from data_engine.scheduler.file_events import FileEvents
from data_engine.scheduler.folder_poller import FolderPoller, KnownSources
from data_engine.scheduler.plan import Due, PlannedFlow, Rules, why_blocked
from data_engine.scheduler.run_queue import Work
from data_engine.scheduler.schedule_clock import ScheduleClock
from data_engine.scheduler.trigger_thread import TriggerThread, Watching

log = logging.getLogger(__name__)

_TRY_AGAIN_S = 1.0


@dataclass(slots=True)
class _Slot:
    """A slot or tick of a schedule whose runs have not all ended: `left` of `run_ids`.

    `schedule_clock` is the one that began it; `waiting` are the trigger threads that are told when it is done with.
    """

    flow: str
    due: Due
    schedule_clock: ScheduleClock
    run_ids: frozenset[str]
    left: set[str]
    waiting: list[TriggerThread]
    last_run_id: str = ""


class TriggerSet:
    """The trigger threads of one daemon; what they find goes to `runs`."""

    def __init__(self, home: Home, dispatcher: Dispatcher) -> None:
        self._home, self._ledger, self._dispatcher = home, home.ledger(), dispatcher
        self._loop = asyncio.get_running_loop()
        self._threads: dict[str, TriggerThread] = {}
        self._settings: dict[str, object] = {}
        self._recalled: dict[str, SourceStates] = {}
        self._slots: dict[int, _Slot] = {}
        self._numbers = itertools.count(1)
        self._file_events = FileEvents()

    # -- which flows are looked at ---------------------------------------------------------------------------------

    def watch(self, name: str, flow: Flow | None, *, frees_held: bool) -> None:
        """Look for what is due of `flow`, or no longer: it is None, runs by hand, or is disabled.

        With `frees_held` what was held is tried again.
        """
        watch = None if flow is None else PlannedFlow.of(flow)
        if watch is not None and (
            watch.trigger.mode == "manual" or why_blocked(name, switches=self._ledger.switches()) is not None
        ):
            watch = None
        thread = self._threads.get(name)
        if thread is not None:
            is_same = watch is not None and getattr(thread.watching, "watch", watch) == watch
            if is_same and self._settings.get(name) == self._used_settings():
                if frees_held:
                    self.free(name)
                return
            self.forget(name)
        if flow is not None and watch is not None:
            self._settings[name] = self._used_settings()
            self._threads[name] = TriggerThread(name, self._maker(watch, frees_held), self._deliverer(flow))

    def forget(self, name: str) -> None:
        """Look at the flow no more, and let nothing of it wait that came by itself."""
        thread = self._threads.pop(name, None)
        if thread is not None:
            thread.close()
        self._drop_waiting(name)

    def stop(self) -> None:
        """Look at nothing, and let nothing wait that came by itself."""
        for thread in self._threads.values():
            thread.close()
        self._threads.clear()
        self._drop_waiting(None)

    def close(self) -> None:
        """Look at nothing any more, ever."""
        self.stop()
        self._file_events.close()

    @property
    def are_outdated(self) -> bool:
        """Whether one of them looks by settings that were edited since."""
        used = self._used_settings()
        return any(self._settings[name] != used for name in self._threads)

    def names(self) -> list[str]:
        """The flows that are looked at."""
        return list(self._threads)

    def reload(self) -> None:
        """Others have written the history: judge everything anew."""
        for thread in self._threads.values():
            if isinstance(thread.watching, FolderPoller):
                thread.watching.reload()

    def free(self, name: str, keys: frozenset[SourceKey] | None = None) -> int:
        """Hold these sources of the flow (all without) no longer; of a schedule its slots: how many of those were held."""
        looking = self.watching(name)
        if isinstance(looking, FolderPoller):
            looking.free(keys)
        elif looking is not None and keys is None:
            count = looking.free()
            self._threads[name].wake()
            return count
        return 0

    # -- what is known of them -------------------------------------------------------------------------------------

    def watching(self, name: str) -> Watching | None:
        """What looks at the flow now."""
        thread = self._threads.get(name)
        return None if thread is None else thread.watching

    def next_utc(self, name: str) -> str | None:
        """When the flow's next slot or tick comes."""
        thread = self._threads.get(name)
        return None if thread is None else thread.next_utc

    def is_new_to(self, name: str) -> bool:
        """Whether the flow is watched, and nobody knows yet when it comes next."""
        thread = self._threads.get(name)
        return thread is not None and not isinstance(thread.watching, FolderPoller) and thread.why is None

    def why(self, name: str) -> Reason | None:
        """What planning said last of the flow as a whole: its next slot, a slot that is held, a source out of reach."""
        thread = self._threads.get(name)
        if thread is None:
            return None
        looking = thread.watching
        if isinstance(looking, FolderPoller):
            return looking.unreachable
        return thread.why if looking is None or looking.held is None else looking.held

    # -- what is remembered ----------------------------------------------------------------------------------------

    def recall(self, names: Iterable[str]) -> None:
        """Read what is known of many sources, from any thread, before they are watched."""
        with suppress(FlowValidationError, OSError):  # it is read again, and told, where it is needed
            for name in names:
                self._recalled[name] = self._ledger.source_states(name)

    def forget_recalled(self) -> None:
        """Keep of what was recalled only what somebody is about to ask for."""
        self._recalled = {name: states for name, states in self._recalled.items() if name in self._threads}

    def memory(self, name: str) -> KnownSources:
        """What is known of the flow's sources.

        Raises:
            LedgerError: the history cannot be read.
        """
        states = self._recalled.pop(name, None)
        return KnownSources(self._ledger.source_states(name) if states is None else states, self._ledger.outputs(name))

    # -- told by the runs ------------------------------------------------------------------------------------------

    def heard(self, name: str, events: Sequence[Event]) -> None:
        """Something happened in runs of the flow."""
        looking = self.watching(name)
        if isinstance(looking, FolderPoller):
            looking.note(*events)

    def take_back(self, work: Work) -> bool:
        """Work that was due has no run: whether it shall wait again; a file is judged anew instead."""
        looking = self.watching(work.flow)
        if isinstance(looking, FolderPoller):
            looking.give_back(work.item.due)
            return False
        return work.flow in self._threads

    def settled(self, work: Work) -> None:
        """The work is done with; its slot is when all of it is."""
        number = work.item.slot
        slot = self._slots.get(number)
        if slot is None:
            return
        slot.left.discard(work.item.run_id)
        slot.last_run_id = work.item.run_id
        if not slot.left:
            self._end_slot(number)

    # -- looking ---------------------------------------------------------------------------------------------------

    def _used_settings(self) -> object:
        """What of the settings decides when something is due."""
        settings = self._home.settings()
        return Rules.of(settings), settings.timezone, settings.history.retention_days

    def _maker(self, watch: PlannedFlow, frees_held: bool) -> Callable[[Callable[[], None]], Watching]:
        settings = self._home.settings()

        def make(wake: Callable[[], None]) -> Watching:
            if isinstance(watch.trigger, Schedule):
                return ScheduleClock(
                    watch,
                    settings=settings,
                    ledger=self._ledger,
                    now_s=time.time(),
                    local_s=boot_clock(),
                    frees_held=frees_held,
                )
            return FolderPoller(
                watch,
                read=lambda: self.memory(watch.flow),
                rules=Rules.of(settings),
                frees_held=frees_held,
                events=self._file_events,
                wake=wake,
            )

        return make

    def _deliverer(self, flow: Flow) -> Callable[[TriggerThread, list[Due]], None]:
        def deliver(thread: TriggerThread, dues: list[Due]) -> None:
            """Called from the thread's thread."""
            looking = thread.watching
            if isinstance(looking, FolderPoller):
                sources = [(listed_source(looking.watch.trigger, looking.name_of(due)), due) for due in dues]
            else:
                sources = [(source, due) for due in dues for source in startup_sources(flow)]
            self._loop.call_soon_threadsafe(self._take_due, thread, flow.group, sources, dues)

        return deliver

    def _take_due(
        self, thread: TriggerThread, group: str, sources: Sequence[tuple[Source, Due]], dues: Sequence[Due]
    ) -> None:
        name, looking = thread.flow, thread.watching
        if self._threads.get(name) is not thread:
            return
        number = None
        if isinstance(looking, ScheduleClock):
            under_way = self._under_way(name, dues[0])
            if under_way is not None:  # begun before the engine was stopped and started: one run is enough
                under_way.waiting.append(thread)
                return
            number = next(self._numbers)
        items = [Item(source, uuid.uuid4().hex, {}, due, number) for source, due in sources]
        if number is not None and isinstance(looking, ScheduleClock):
            run_ids = frozenset(item.run_id for item in items)
            self._slots[number] = _Slot(name, dues[0], looking, run_ids, set(run_ids), [thread])
            if not items:
                self._end_slot(number)
        self._dispatcher.add([Work(name, group, item, batch=number) for item in items])

    def _under_way(self, name: str, due: Due) -> _Slot | None:
        """The same wall-clock slot of the flow, when its runs have not all ended."""
        if not isinstance(due.why, Slot):
            return None
        slots = [slot for slot in self._slots.values() if slot.flow == name]
        return next((slot for slot in slots if _slot_utc(slot.due) == due.why.slot_utc), None)

    def _drop_waiting(self, name: str | None) -> None:
        # A slot of which something never runs is not served.
        for work in self._dispatcher.drop(name, only=came_by_itself):
            self._slots.pop(work.item.slot, None)

    def _end_slot(self, number: int) -> None:
        slot = self._slots.get(number)
        if slot is None:
            return
        try:
            if self._threads.get(slot.flow) in slot.waiting or self._ran_to_its_end(slot):
                slot.schedule_clock.serve(slot.due, slot.last_run_id)
        except LedgerError as error:
            self._dispatcher.say_trouble(error)
            self._loop.call_later(_TRY_AGAIN_S, self._end_slot, number)
            return
        del self._slots[number]
        for thread in slot.waiting:
            thread.settled()

    def _ran_to_its_end(self, slot: _Slot) -> bool:
        """Whether no run of the slot was stopped when its thread was: what is handed over unfinished is run elsewhere."""
        runs = [self._ledger.run(run_id) for run_id in slot.run_ids]
        return all(run is not None and run.status in ("success", "failed") for run in runs)


def _slot_utc(due: Due) -> str | None:
    return due.why.slot_utc if isinstance(due.why, Slot) else None

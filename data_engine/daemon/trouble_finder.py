"""What is wrong with a flow of the daemon now, and whether it is good again: from its history, its files and its triggers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from data_engine.alerting.deciding import rejection
from data_engine.alerting.expectations import Judgement, counts_of, freshness, late_slot, look
from data_engine.alerting.wording import failure, seconds_of
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.params import is_as_scheduled
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll
from data_engine.ledger.freshness import is_good_since, newest_checked
from data_engine.ledger.troubles import Trouble, TroubleKey
from data_engine.model import SourceState, utc_text
from data_engine.planning.due import PlannedFlow, disabled_by
from data_engine.reasons.kinds import EngineOff, HeldSlot, WaitingForGroup, WaitingForWorker
from data_engine.reasons.remedies import Reason
from data_engine.scheduler.dispatcher import Active, Dispatcher
from data_engine.scheduler.surroundings import ReadyFlow
from data_engine.scheduler.trigger_set import TriggerSet
from data_engine.status.build import HeldFiles
from data_engine.status.sentences import in_the_way

LOOK_BACK_S = 86_400.0
"""What went wrong longer ago is not told when somebody begins to own, or to be told."""

OF_FAILURES = ("failed", "held")
_ON_ITS_OWN = ("failed", "abandoned")
"""How a run that holds a file has ended, when nobody ended it on purpose."""


class Around(Protocol):
    """What decides, around an alerter, whether and of what it tells: the daemon."""

    is_engine_on: bool

    def tells_of_flows(self) -> bool:
        """Whether this machine owns the workspace, and not for one commit only."""
        ...

    def ready_flows(self) -> Mapping[str, ReadyFlow]:
        """What production runs."""
        ...

    def held(self, flow: str) -> int:
        """How many files of the flow are held."""
        ...

    def tell(self) -> None:
        """Something changed that people see."""
        ...


class TroubleFinder:
    """Finds what is wrong with one flow. On the daemon's loop; files are looked at in a thread."""

    def __init__(
        self,
        home: LocalWorkspace,
        dispatcher: Dispatcher[Any],
        triggers: TriggerSet,
        around: Around,
        expecting: Expecting,
    ) -> None:
        self._home, self._ledger = home, home.ledger()
        self._dispatcher, self._triggers, self._around, self._expecting = dispatcher, triggers, around, expecting
        self._held_files = HeldFiles(self._ledger)

    def now(
        self, flow: Flow, sources: Mapping[str, str], *, on_since_s: float, now_s: float
    ) -> tuple[list[Trouble], float | None]:
        """What is late, missed or overlong now, and a slot that is held; and when that may be otherwise by itself.

        `sources` are those of the runs under way. Slots before `on_since_s`, since when the engine is on, are not missed.

        Raises:
            LedgerError: the history cannot be read.
        """
        name = flow.name or ""
        judged = self._expecting.of(flow)
        looks, found = [judged.next_s], list[Trouble]()
        if judged.late is not None:
            found.append(Trouble(TroubleKey(name, "late"), judged.late.since_utc, {"reason": self.in_the_way(name)}))
        for one in judged.overlong[:1]:
            said = {"run_id": one.run_id, "within_s": one.within_s, "source": sources.get(one.run_id)}
            found.append(Trouble(TroubleKey(name, "overlong"), one.since_utc, said))
        if self._around.is_engine_on and name in self._triggers.names():
            late, next_s = self._late_slot(flow, max(on_since_s, now_s - LOOK_BACK_S), now_s)
            looks.append(next_s)
            found += late
            why = self._triggers.why(name)
            if isinstance(why, HeldSlot):
                said = {"reason": why.text, "detail": why.cause}
                key = TroubleKey(name, "held", error_type="abandoned")
                found.append(Trouble(key, why.since_utc or why.slot_utc, said))
        return found, min((at_s for at_s in looks if at_s is not None), default=None)

    def _late_slot(self, flow: Flow, after_s: float, now_s: float) -> tuple[list[Trouble], float | None]:
        """A slot that has not begun: it is late where it waits for its turn, else missed."""
        name, timezone = flow.name or "", self._home.settings().timezone
        slot_s, began, next_s = late_slot(self._ledger, flow, timezone=timezone, after_s=after_s, now_s=now_s)
        if slot_s is None:
            return [], next_s
        waits = isinstance(self._dispatcher.why_waiting(name, []), (WaitingForGroup, WaitingForWorker))
        reason = self.in_the_way(name) if began is None else f"it began at {began[:19].replace('T', ' ')} UTC"
        key = TroubleKey(name, "late", "slot") if waits and began is None else TroubleKey(name, "missed")
        return [Trouble(key, utc_text(slot_s), {"reason": reason})], next_s

    async def in_history(self, flow: Flow, open_kinds: Sequence[str], *, kind: str, now_s: float) -> list[Trouble]:
        """What failed and is not told of: before this machine owned, or files that were given up on after their retries.

        `open_kinds` are the kinds of trouble that are known, `kind` is what a failure of the flow is.

        Raises:
            LedgerError: the history cannot be read.
        """
        since_utc = utc_text(now_s - LOOK_BACK_S)
        if not isinstance(flow.trigger, Poll):
            return [] if "failed" in open_kinds else self._failed_last(flow, since_utc)
        has_retries = bool(self._home.settings().retry.retries)
        if "held" in open_kinds or ("failed" in open_kinds and not has_retries):
            return []
        bad = [one for one in await self._bad_files(flow) if _at(one) >= since_utc]
        return [] if not bad else self._given_up(flow, max(bad, key=_at), "held" if has_retries else kind)

    def _failed_last(self, flow: Flow, since_utc: str) -> list[Trouble]:
        """That the flow's last run failed, when it did since then."""
        last = self._ledger.last_run(flow.name or "")
        if last is None or last.status != "failed" or not is_as_scheduled(flow, last.params or {}):
            return []
        at_utc = last.last_at_utc
        key, said = failure(last.flow, "failed", last.why, last.error, again=command_again(flow))
        return (
            [Trouble(key, at_utc, said | {"source": last.source, "run_id": last.run_id})] if at_utc >= since_utc else []
        )

    def _given_up(self, flow: Flow, state: SourceState, kind: str) -> list[Trouble]:
        """That a file is held as its last run left it."""
        run = None if state.last_run_id is None else self._ledger.run(state.last_run_id)
        if run is not None and not is_as_scheduled(flow, run.params or {}):
            return []
        key, said = failure(state.flow, kind, None if run is None else run.why, state.error)
        return [Trouble(key, _at(state), said | {"source": state.key.path or None, "run_id": state.last_run_id})]

    def rejected(
        self, flow: Flow, known: Iterable[Trouble], *, now_s: float
    ) -> tuple[list[Trouble], dict[TroubleKey, str]]:
        """What checks reject now, a trouble for each source; and of which `known` ones no rows are rejected any more, each with when.

        It is read from the history, so that of a run which ended just before its daemon died the next one tells.

        Raises:
            LedgerError: the history cannot be read.
        """
        open_ones = [one for one in known if one.key.kind == "rejected" and not one.is_closed]
        open_keys = {str(one.detail.get("key")): one.key for one in open_ones}
        since_utc, name = utc_text(now_s - LOOK_BACK_S), flow.name or ""
        found = newest_checked(self._ledger, name, rejecting_since=since_utc, sources=open_keys)
        runs = {source: run for source, run in found.items() if is_as_scheduled(flow, run.params or {})}
        seen = [rejection(source, run) for source, run in runs.items() if run.rejected]
        over = {open_keys[source]: run.last_at_utc for source, run in runs.items() if not run.rejected}
        return seen, over

    async def is_good(self, flow: Flow, since_utc: str) -> bool | None:
        """Whether no file of the flow is held by a failure, or its newest slot has gone well; None while that is worked on.

        Raises:
            LedgerError: the history cannot be read.
        """
        name = flow.name or ""
        if isinstance(flow.trigger, Poll):
            return not await self._bad_files(flow)
        is_busy = any(work.flow == name for work in self._dispatcher.handed_out())
        if is_busy or self._dispatcher.why_waiting(name, []) is not None:
            return None
        return is_good_since(self._ledger, name, since_utc, counts=counts_of(flow))

    def over(
        self, flow: Flow, known: Sequence[Trouble], seen: Sequence[Trouble], now_s: float
    ) -> dict[TroubleKey, str]:
        """Which of the known troubles that come with time are over, each with when.

        Raises:
            LedgerError: the history cannot be read.
        """
        there, found = {one.key for one in seen}, {}
        for one in known:
            if one.key.kind not in ("missed", "late") or one.key in there:
                continue
            if one.key.kind == "missed" or one.key.step == "slot":
                done_s = freshness(self._ledger, flow).for_s
                if done_s is None or done_s < seconds_of(one.since_utc):
                    continue
            found[one.key] = utc_text(now_s)
        return found

    async def _bad_files(self, flow: Flow) -> list[SourceState]:
        """The files of a poll flow that are held by a run that nobody ended on purpose."""
        return await asyncio.to_thread(self._look_at_files, flow)

    def _look_at_files(self, flow: Flow) -> list[SourceState]:
        held = self._held_files.of([PlannedFlow.of(flow)]).get(flow.name or "", set())
        states = self._ledger.not_good() if held else []
        return [one for one in states if one.flow == flow.name and one.key in held and one.status in _ON_ITS_OWN]

    def in_the_way(self, flow: str) -> str | None:
        """What keeps the flow from a success, in a line.

        Raises:
            LedgerError: the history cannot be read.
        """
        disabled = disabled_by(self._ledger.switches().get(flow))
        why: Reason | None = disabled or self._dispatcher.why_waiting(flow, []) or self._triggers.why(flow)
        return in_the_way(
            why if disabled or self._around.is_engine_on else EngineOff(),
            held=self._around.held(flow),
            last_run=self._ledger.last_run(flow),
            is_running=any(run.flow == flow for run in self._dispatcher.active.values()),
        )


def command_again(flow: Flow) -> Literal["retry", "run"]:
    """The command that runs the flow once more after a failure: what of files failed is held, anything else is not."""
    return "retry" if isinstance(flow.trigger, Poll) else "run"


def _at(state: SourceState) -> str:
    """When the file was settled last; "" where that is not known."""
    return state.last_at_utc or ""


class Expecting:
    """Judges flows and keeps it until it may be another. On the daemon's loop; `active` are the runs under way that count."""

    def __init__(
        self,
        home: LocalWorkspace,
        active: Callable[[], Iterable[Active]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._ledger, self._active, self._clock = home, home.ledger(), active, clock
        self._judged: dict[str, tuple[Flow, str | None, Judgement]] = {}
        self._version: tuple[int, int] | None = None

    def of(self, flow: Flow | None) -> Judgement:
        """How the flow stands.

        Raises:
            LedgerError: the history cannot be read.
        """
        if flow is None or not flow.expectations or flow.name is None:
            return Judgement()
        now_s, timezone = self._clock(), self._home.settings().timezone
        known = self._judged.get(flow.name)
        if known is not None and known[:2] == (flow, timezone) and not _is_over(known[2], now_s):
            return known[2]
        runs = {run.run_id: run.started_at_s for run in self._active() if run.flow == flow.name}
        found = look(self._ledger, flow, timezone=timezone, active=runs, now_s=now_s)
        self._judged[flow.name] = flow, timezone, found
        return found

    def forget(self, flow: str) -> None:
        """A run of the flow has begun or ended."""
        self._judged.pop(flow, None)

    def have_others_written(self, *, is_owner: bool) -> bool:
        """Whether the history is another than when this was last asked; all is judged anew then.

        Of an owner what it writes itself does not count: it has heard of that.

        Raises:
            LedgerError: the history cannot be read.
        """
        version = (self._ledger.data_version(), 0) if is_owner else self._ledger.version()
        if version == self._version:
            return False
        self._version = version
        self._judged.clear()
        return True


def _is_over(found: Judgement, now_s: float) -> bool:
    """Whether a time has come that it changes at; or the clock was set back over it."""
    if found.next_s is not None and now_s >= found.next_s:
        return True
    return found.late is not None and now_s < datetime.fromisoformat(found.late.since_utc).timestamp()

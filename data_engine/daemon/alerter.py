"""The alerts of a daemon's flows: decides on runs that end and times that come, and keeps the messages.

Only the owner tells of flows. Nothing here holds up a run: what happened is noted, and decided on a moment later. While
nothing happens, each tick of the daemon compares one time. The troubles of a flow, and their ends, are found in its history,
its files and its triggers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, Protocol

from data_engine.alerting.deciding import (
    MOST_OF_A_FLOW,
    OF_FAILURES,
    AlertDecision,
    Recipients,
    Telling,
    decide,
    decide_reports,
    drifted,
    gathered,
    held_trouble,
    is_failure,
    rejection,
)
from data_engine.alerting.expectations import (
    WAIT_GRACE_S,
    ExpectationState,
    counts_of,
    freshness,
    grace_of,
    late_slot,
    look,
)
from data_engine.alerting.wording import failure, seconds_of
from data_engine.daemon.notifier import Notifier
from data_engine.engine.left_behind import gone_sources, readers_of
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.params import is_as_scheduled, is_of_production
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll
from data_engine.ledger import outbox
from data_engine.ledger import troubles as trouble_rows
from data_engine.ledger.backfills import newest as newest_backfills
from data_engine.ledger.feed_schemas import drifting_runs
from data_engine.ledger.freshness import failures_between, is_good_since, newest_checked
from data_engine.ledger.outputs import new_pages
from data_engine.ledger.troubles import TroubleKey, TroubleRecord
from data_engine.message import Message, message
from data_engine.model import Event, RunFinished, RunStarted, SourceState, utc_text
from data_engine.notebook.mirror_warnings import folders_of
from data_engine.planning.due import PlannedFlow, disabled_by
from data_engine.planning.slots import zone_of
from data_engine.reasons.kinds import (
    EngineOff,
    FeedShrunk,
    HeldSlot,
    UpstreamRunning,
    WaitingForGroup,
    WaitingForWorker,
)
from data_engine.reasons.remedies import Reason
from data_engine.record import frozen
from data_engine.scheduler.dispatcher import Active, Alerts, Dispatcher, ReadyFlow
from data_engine.scheduler.trigger_set import TriggerSet
from data_engine.status.build import HeldFiles
from data_engine.status.sentences import in_the_way
from data_engine.workspace.settings import AlertSettings

log = logging.getLogger(__name__)

_SOON_S = 0.1
_PAUSE_S = 0.5
_AGAIN_S = 1.0
_FIRST_LOOK_S = 5.0
"""So long after an engine was started, what it finds held is known."""


@frozen
class _AlertedFlow:
    """A flow with recipients of alerts, or with expectations."""

    flow: Flow
    recipients: Recipients
    within_s: float | None


@dataclass(slots=True)
class _Changes:
    """What runs of a flow have reported since the last decision: failures, when one ended well (and in time), and whether one
    had a check that rejects rows."""

    failures: dict[TroubleKey, TroubleRecord] = field(default_factory=dict)
    good_utc: str | None = None
    in_time_utc: str | None = None
    has_checked: bool = False


class Alerter(Alerts):
    """Decides when a run ends or a time has come, and keeps troubles and messages. Everything on the daemon's loop.

    `sender` is what messages say they are from; `on_messages` is called when new ones wait in the outbox.
    """

    def __init__(
        self,
        home: LocalWorkspace,
        dispatcher: Dispatcher[Any],
        triggers: TriggerSet,
        around: AlertHost,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        *,
        sender: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._ledger = home, home.ledger()
        self._around, self._spawn, self._sender, self._clock = around, spawn, sender, clock
        self._apart: set[str] = set()
        self.expecting = Expecting(
            home,
            lambda: [run for run in dispatcher.active.values() if run.run_id not in self._apart],
            clock=clock,
        )
        self.on_messages: Callable[[], None] = lambda: None
        self._finder = TroubleFinder(home, dispatcher, triggers, around, self.expecting)
        self._settings: tuple[AlertSettings, str | None] | None = None
        self._alerted: dict[str, _AlertedFlow] = {}
        self._troubles: dict[str, dict[TroubleKey, TroubleRecord]] | None = None
        self._changes: dict[str, _Changes] = {}
        self._sources: dict[str, str] = {}
        self._to_look: set[str] = set()
        self._caught_up: set[str] = set()
        self._next: dict[str, float] = {}
        self._soonest_s = float("inf")
        self._on_since_s = 0.0
        self._is_working = False
        dispatcher.alerts = self

    def tells_by(self, notifier: Notifier) -> None:
        """Let the notifier send the messages kept here, and ask here for the recipients of today."""
        self.on_messages, notifier.recipients = notifier.wake, self._recipients

    def _recipients(self) -> Collection[str] | None:
        """The secrets of all recipients; None where the settings or a deployed flow cannot be read just now."""
        flows = self._around.ready_flows()
        if not self._home.is_settings_file_read() or self._home.deployments().deployed().keys() - flows.keys():
            return None
        rules = [rule for ready in flows.values() for rule in ready.flow.alerts]
        return {*self._home.settings().alerts.to, *(to for rule in rules for to in rule.to or ())}

    # -- called by the dispatcher ----------------------------------------------------------------------------------

    def heard(self, flow: str, events: Sequence[Event]) -> None:
        """Take events of the flow's runs, which are recorded."""
        alerted = self._alerted.get(flow)
        for event in events:
            if isinstance(event, RunFinished):
                self._ended(flow, alerted, event)
            elif isinstance(event, RunStarted) and alerted is not None:
                self._began(alerted, event)

    def _began(self, alerted: _AlertedFlow, event: RunStarted) -> None:
        if not _is_as_scheduled(alerted.flow, event):
            self._apart.add(event.run_id)
            return
        if event.source is not None:
            self._sources[event.run_id] = event.source
        if alerted.within_s is not None:
            self.expecting.forget(event.flow)
            self._look_at(event.flow, event.at_s + alerted.within_s)

    def _ended(self, flow: str, alerted: _AlertedFlow | None, event: RunFinished) -> None:
        source = self._sources.pop(event.run_id, None)
        if event.run_id in self._apart:
            self._apart.discard(event.run_id)
            return
        self.expecting.forget(flow)
        if alerted is None or not alerted.recipients.are_any:
            return
        changes = self._changes.setdefault(flow, _Changes())
        if event.status == "success":
            changes.good_utc = utc_text(event.at_s)
            changes.has_checked |= event.spent is not None and event.spent.rejected is not None
            if alerted.within_s is not None and event.elapsed_s <= alerted.within_s:
                changes.in_time_utc = changes.good_utc
        elif is_failure(event):
            kind, error = self._kind_of_failure(alerted), event.error or event.cause
            key, detail = failure(flow, kind, event.why, error, again=command_again(alerted.flow))
            if key not in changes.failures and len(changes.failures) <= MOST_OF_A_FLOW:
                about = {"run_id": event.run_id} | ({"source": source} if source else {})
                changes.failures[key] = TroubleRecord(key, utc_text(event.at_s), detail | about)
        self._look_soon(flow)

    def _kind_of_failure(self, alerted: _AlertedFlow) -> str:
        """Failed; or held, where people want to hear of that alone and a failure is the end of it."""
        gives_up = isinstance(alerted.flow.trigger, Poll) and not self._home.settings().retry.retries
        return "held" if gives_up and not alerted.recipients.of("failed") else "failed"

    # -- called by the daemon --------------------------------------------------------------------------------------

    def engine_started(self, *, was_off: bool) -> None:
        """The engine is on; what passed while a person had it off is not missed."""
        if was_off:
            self._on_since_s = self._clock()
        for flow in self._alerted:
            self._look_at(flow, self._clock() + _FIRST_LOOK_S)

    def owner_changed(self) -> None:
        """Read the troubles again: the workspace has become ours, or is ours no more."""
        self._troubles = None
        self._caught_up.clear()
        self._changes.clear()
        self._settings = None  # the next tick begins anew

    def flows_changed(self) -> None:
        """Take up what production runs now, and the recipients in the settings."""
        settings, now_s = self._home.settings(), self._clock()
        self._settings = settings.alerts, settings.timezone
        alerted_flows = {}
        for name, ready in self._around.ready_flows().items():
            within_s = next((rule.within_s for rule in ready.flow.expectations if rule.within_s is not None), None)
            alerted = _AlertedFlow(ready.flow, Recipients(settings.alerts, ready.flow.alerts), within_s)
            if alerted.recipients.are_any or ready.flow.expectations:
                alerted_flows[name] = alerted
                if self._alerted.get(name) != alerted or name not in self._caught_up:
                    self._look_at(name, now_s)
        for gone in self._alerted.keys() - alerted_flows.keys():
            self.expecting.forget(gone)
        self._alerted = alerted_flows
        self._next = {name: at_s for name, at_s in self._next.items() if name in alerted_flows}

    def tick(self) -> None:
        """Called every two seconds: look at the flows whose time has come, and at those in trouble when others have written
        the history.

        Raises:
            LedgerError: the history cannot be read.
        """
        settings = self._home.settings()
        if self._settings != (settings.alerts, settings.timezone):
            self.flows_changed()
        if not self._alerted:
            return
        is_owner = self._around.tells_of_flows()
        if self.expecting.have_others_written(is_owner=is_owner) and is_owner:
            for flow, by_key in self._by_flow().items():
                if any(not trouble.is_closed for trouble in by_key.values()):
                    self._changes.setdefault(flow, _Changes()).good_utc = utc_text(self._clock())
                    self._look_soon(flow)
        if self._clock() >= self._soonest_s:
            self._look_at_what_has_come(self._clock())

    def files_changed(self, flows: Iterable[str]) -> None:
        """Look at flows that have newly held or gone files."""
        for flow in flows:
            if flow in self._alerted and self._alerted[flow].recipients.are_any:
                self._look_soon(flow)

    def _look_at_what_has_come(self, now_s: float) -> None:
        come = [flow for flow, at_s in self._next.items() if at_s <= now_s]
        for flow in come:
            del self._next[flow]
        self._soonest_s = min(self._next.values(), default=float("inf"))
        for flow in come:
            self._look_soon(flow)
        for flow in come:
            alerted = self._alerted.get(flow)  # it may have been withdrawn while it was decided about
            next_s = None if alerted is None else self.expecting.of(alerted.flow).next_s
            if next_s is not None:
                self._look_at(flow, next_s)
        if come:
            self._around.tell()

    def _look_at(self, flow: str, at_s: float) -> None:
        self._next[flow] = min(at_s, self._next.get(flow, at_s))
        self._soonest_s = min(self._soonest_s, at_s)

    # -- deciding --------------------------------------------------------------------------------------------------

    def _look_soon(self, flow: str) -> None:
        self._to_look.add(flow)
        if not self._is_working and self._around.tells_of_flows():
            self._is_working = True
            self._spawn(self._work())

    async def _work(self) -> None:
        """Decide about the flows of which something happened, a moment later for all that happens meanwhile."""
        try:
            await asyncio.sleep(_SOON_S)
            while self._to_look and self._around.tells_of_flows():
                flows, self._to_look = sorted(self._to_look), set()
                await self._decide_all({flow: self._alerted[flow] for flow in flows if flow in self._alerted})
                await asyncio.sleep(_PAUSE_S)
        except Exception:
            log.exception("deciding what people are told failed")
        finally:
            self._is_working = False

    async def _decide_all(self, alerted_flows: Mapping[str, _AlertedFlow]) -> None:
        """Decide about these flows and store it; an error with one of them does not hold up the others."""
        taken = {flow: self._changes.pop(flow, _Changes()) for flow in alerted_flows}
        decided: dict[str, AlertDecision] = {}
        left: dict[str, FlowValidationError] = {}
        for flow, alerted in alerted_flows.items():
            try:
                decided[flow] = await self._decide(flow, alerted, taken[flow])
            except FlowValidationError as error:  # what it is decided by cannot be read just now
                left[flow] = error
            except Exception:
                log.exception("what people are told of %s cannot be decided", flow)
            await asyncio.sleep(0)
        try:
            if self._around.tells_of_flows():
                self._keep(decided)
        except FlowValidationError as error:
            left |= dict.fromkeys(decided, error)
        if left:
            log.warning("what people are told of %s flows is decided again: %s", len(left), next(iter(left.values())))
            for flow in left:
                self._put_back(flow, taken[flow])
            self._to_look.update(left)
            await asyncio.sleep(_AGAIN_S)

    def _put_back(self, flow: str, changes: _Changes) -> None:
        later = self._changes.setdefault(flow, _Changes())
        later.failures = changes.failures | later.failures
        later.good_utc = later.good_utc or changes.good_utc
        later.in_time_utc = later.in_time_utc or changes.in_time_utc
        later.has_checked |= changes.has_checked

    async def _decide(self, flow: str, alerted: _AlertedFlow, changes: _Changes) -> AlertDecision:
        if not alerted.recipients.are_any and not self._of(flow):
            return AlertDecision()
        now_s = self._clock()
        troubles, next_s = self._finder.now(alerted.flow, self._sources, on_since_s=self._on_since_s, now_s=now_s)
        if next_s is not None:
            self._look_at(flow, next_s)
        records, rejected, good_again = self._of(flow), list[TroubleRecord](), dict[TroubleKey, str]()
        if changes.has_checked or flow not in self._caught_up or any(key.kind == "rejected" for key in records):
            look = self._finder.rejected
            rejected, good_again = await asyncio.to_thread(look, alerted.flow, [*records.values()], now_s=now_s)
        drift: list[TroubleRecord] = []
        if changes.good_utc or flow not in self._caught_up or any(key.kind == "drift" for key in records):
            drift, as_before = await asyncio.to_thread(
                self._finder.drift, alerted.flow, [*records.values()], now_s=now_s
            )
            good_again |= as_before
        troubles = [*changes.failures.values(), *rejected, *drift, *troubles]
        if flow not in self._caught_up or self._around.held(flow):
            kinds = [trouble.key.kind for trouble in troubles]
            kinds += [trouble.key.kind for trouble in records.values() if not trouble.is_closed]
            kind = self._kind_of_failure(alerted)
            troubles += await self._finder.in_history(alerted.flow, kinds, kind=kind, now_s=now_s)
        over = good_again | await self._over(flow, alerted, changes, troubles, now_s)
        timezone = self._home.settings().timezone
        records = self._of(flow)
        pages = await self._decide_pages(alerted, now_s)
        decision = decide(
            flow,
            records.values(),
            troubles,
            over,
            alerted.recipients,
            failures=self._failures(alerted.flow, records.values(), now_s),
            now_s=now_s,
            zone=None if timezone is None else zone_of(timezone),
        )
        return AlertDecision(
            (*decision.changed, *pages.changed),
            (*decision.tellings, *pages.tellings),
            min(filter(None, (decision.next_s, pages.next_s)), default=None),
        )

    async def _decide_pages(self, alerted: _AlertedFlow, now_s: float) -> AlertDecision:
        """Decide about the pages of the flow's reports: those of runs since the last message, a day back at most."""
        name = alerted.flow.name or ""
        if not alerted.recipients.of("report"):
            return AlertDecision()
        known = self._of(name).get(TroubleKey(name, "report"))
        since_utc = max(utc_text(now_s - LOOK_BACK_S), "" if known is None else known.since_utc)
        counts = partial(is_of_production, alerted.flow)
        pages = await asyncio.to_thread(new_pages, self._ledger, name, since_utc, counts)
        backfills = newest_backfills(self._ledger, name, 1, state="running") if pages else []
        return decide_reports(name, known, pages, alerted.recipients, is_backfilling=bool(backfills), now_s=now_s)

    async def _over(
        self, flow: str, alerted: _AlertedFlow, changes: _Changes, troubles: Sequence[TroubleRecord], now_s: float
    ) -> dict[TroubleKey, str]:
        """Which of the flow's troubles are over, each with when."""
        open_rows = [row for row in self._of(flow).values() if not row.is_closed and row.recovered_at_utc is None]
        over = self._finder.over(alerted.flow, open_rows, troubles, now_s)
        there = {row.key.kind for row in troubles}
        in_time_utc = utc_text(now_s) if alerted.within_s is None else changes.in_time_utc
        if in_time_utc is not None and "overlong" not in there:
            over |= {row.key: in_time_utc for row in open_rows if row.key.kind == "overlong"}
        bad = [row for row in open_rows if row.key.kind in OF_FAILURES]
        if changes.good_utc is not None and (bad or changes.failures):
            is_good = await self._is_good(alerted, changes, there, bad)
            if is_good:
                over |= {row.key: changes.good_utc for row in bad}
            elif is_good is None:
                self._changes.setdefault(flow, _Changes()).good_utc = changes.good_utc
                self._look_at(flow, now_s + _AGAIN_S)
        return over

    async def _is_good(
        self, alerted: _AlertedFlow, changes: _Changes, there: Set[str], bad: Sequence[TroubleRecord]
    ) -> bool | None:
        """Whether the flow, of which a run ended well, is good again; None when that is to be asked a moment later."""
        if changes.failures:  # what is told now may be over already
            return None
        if not there.isdisjoint(OF_FAILURES):
            return False
        return await self._finder.is_good(alerted.flow, min(trouble.since_utc for trouble in bad))

    def _failures(self, flow: Flow, records: Iterable[TroubleRecord], now_s: float) -> int:
        """How many files or slots that nobody was told of have failed until the end of a digest, when that has come."""
        records = list(records)
        opener = next((row for row in records if row.digest_until_utc is not None), None)
        until_utc = None if opener is None else opener.digest_until_utc
        if opener is None or opener.told_at_utc is None or until_utc is None or until_utc > utc_text(now_s):
            return 0
        message = opener.message_id if opener.key.kind in OF_FAILURES else None  # the digest tells of the first then
        told_of = [row for row in records if row.message_id == message and (message or not row.is_closed)]
        failures = [row for row in told_of if row.key.kind in OF_FAILURES]
        first_utc = min((row.since_utc for row in failures), default=opener.told_at_utc)  # many may have failed by then
        told = [str(row.detail["run_id"]) for row in failures if row.detail.get("run_id")]
        of_files = isinstance(flow.trigger, Poll)
        return failures_between(self._ledger, flow.name or "", first_utc, until_utc, told=told, of_files=of_files)

    def _keep(self, decided: Mapping[str, AlertDecision]) -> None:
        """Store what was decided, and its messages, in one commit."""
        changed = [trouble for decision in decided.values() for trouble in decision.changed]
        tellings = [note for decision in decided.values() for note in decision.tellings]
        if changed or tellings:
            messages = [self._message(note) for note in gathered(tellings, self._home.layout.workspace_id)]
            with self._ledger.writing(durable=bool(messages)) as (connection, rev):
                trouble_rows.put(connection, rev, changed)
                changes = outbox.put(connection, messages)
            if changes:
                self.on_messages()
            self._around.tell()
        for trouble in changed:
            self._of(trouble.key.flow)[trouble.key] = trouble
        for flow, decision in decided.items():
            self._caught_up.add(flow)
            if decision.next_s is not None:
                self._look_at(flow, decision.next_s)

    def _message(self, note: Telling) -> Message:
        at = datetime.fromtimestamp(self._clock(), UTC)
        return message(
            *(note.kind, note.subject, note.notices),
            id=note.id,
            to=note.to,
            at=at,
            sender=self._sender,
            flow=note.flow,
            attachment=note.attachment,
        )

    # -- troubles on record ----------------------------------------------------------------------------------------

    def _of(self, flow: str) -> dict[TroubleKey, TroubleRecord]:
        return self._by_flow().setdefault(flow, {})

    def _by_flow(self) -> dict[str, dict[TroubleKey, TroubleRecord]]:
        """The troubles on record, by flow and key."""
        if self._troubles is None:
            self._troubles = {}
            for trouble in trouble_rows.all_troubles(self._ledger):
                self._troubles.setdefault(trouble.key.flow, {})[trouble.key] = trouble
        return self._troubles


def _is_as_scheduled(flow: Flow, event: RunStarted) -> bool:
    """Whether the run is one that a schedule or a file could have begun: it says something about production."""
    params = None if event.about is None else event.about.params
    if params is None:
        return True
    try:
        values = json.loads(params)
    except ValueError:
        return False
    return isinstance(values, dict) and is_as_scheduled(flow, values)


LOOK_BACK_S = 86_400.0
"""How far back troubles are told to a new owner, or to new recipients."""

_ON_ITS_OWN = ("failed", "abandoned")
"""How a run that holds a file has ended, when nobody ended it on purpose."""


class AlertHost(Protocol):
    """What an alerter asks of its daemon."""

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
        """Note that something has changed that people see."""
        ...


class TroubleFinder:
    """Finds what is wrong with one flow. On the daemon's loop; files are looked at in a thread."""

    def __init__(
        self,
        home: LocalWorkspace,
        dispatcher: Dispatcher[Any],
        triggers: TriggerSet,
        around: AlertHost,
        expecting: Expecting,
    ) -> None:
        self._home, self._ledger = home, home.ledger()
        self._dispatcher, self._triggers, self._around, self._expecting = dispatcher, triggers, around, expecting
        self._held_files = HeldFiles(self._ledger)

    def now(
        self, flow: Flow, sources: Mapping[str, str], *, on_since_s: float, now_s: float
    ) -> tuple[list[TroubleRecord], float | None]:
        """The troubles that come with time: late, missed, overlong, and a slot that is held; and when they may change by themselves.

        `sources` are those of the runs under way. Slots before `on_since_s`, since when the engine is on, are not missed.

        Raises:
            LedgerError: the history cannot be read.
        """
        name = flow.name or ""
        judged = self._expecting.of(flow)
        looks, troubles = [judged.next_s], list[TroubleRecord]()
        if judged.late is not None:
            troubles.append(
                TroubleRecord(TroubleKey(name, "late"), judged.late.since_utc, {"reason": self.in_the_way(name)})
            )
        for run in judged.overlong[:1]:
            detail = {"run_id": run.run_id, "within_s": run.within_s, "source": sources.get(run.run_id)}
            troubles.append(TroubleRecord(TroubleKey(name, "overlong"), run.since_utc, detail))
        if self._around.is_engine_on and name in self._triggers.names():
            late, next_s = self._late_slot(flow, max(on_since_s, now_s - LOOK_BACK_S), now_s)
            looks.append(next_s)
            troubles += late
            why = self._triggers.why(name)
            if isinstance(why, (FeedShrunk, HeldSlot)):
                troubles.append(held_trouble(name, why, utc_text(now_s)))
            elif isinstance(why, UpstreamRunning) and why.since_utc is not None and judged.late is None:
                late_s = seconds_of(why.since_utc) + grace_of(flow.expectations, WAIT_GRACE_S)
                looks.append(late_s if late_s > now_s else None)
                if late_s <= now_s:
                    key = TroubleKey(name, "late", "upstream")
                    troubles.append(TroubleRecord(key, why.since_utc, {"reason": why.text}))
        return troubles, min((at_s for at_s in looks if at_s is not None), default=None)

    def _late_slot(self, flow: Flow, after_s: float, now_s: float) -> tuple[list[TroubleRecord], float | None]:
        """A slot that has not begun: it is late where it waits for its turn, else missed. What waits for flows that feed it is late by
        that wait alone."""
        name, timezone = flow.name or "", self._home.settings().timezone
        if isinstance(self._triggers.why(name), UpstreamRunning):
            return [], None
        slot_s, began, next_s = late_slot(self._ledger, flow, timezone=timezone, after_s=after_s, now_s=now_s)
        if slot_s is None:
            return [], next_s
        waited_s = self._triggers.waits.ended_s(name)
        if waited_s is not None and waited_s >= slot_s:
            in_time_s = waited_s + grace_of(flow.expectations)
            if now_s < in_time_s or (began and seconds_of(began) <= in_time_s):
                return [], min(in_time_s, next_s or in_time_s) if now_s < in_time_s else next_s
        waits = isinstance(self._dispatcher.why_waiting(name, []), (WaitingForGroup, WaitingForWorker))
        waits = waits or isinstance(self._triggers.why(name), FeedShrunk)
        reason = self.in_the_way(name) if began is None else f"it began at {began[:19].replace('T', ' ')} UTC"
        key = TroubleKey(name, "late", "slot") if waits and began is None else TroubleKey(name, "missed")
        return [TroubleRecord(key, utc_text(slot_s), {"reason": reason})], next_s

    async def in_history(
        self, flow: Flow, open_kinds: Sequence[str], *, kind: str, now_s: float
    ) -> list[TroubleRecord]:
        """Failures that nobody was told of: before this machine owned, or of files after their last retry.

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
        bad = [state for state in await self._bad_files(flow) if _at(state) >= since_utc]
        return [] if not bad else self._held_file(flow, max(bad, key=_at), "held" if has_retries else kind)

    def _failed_last(self, flow: Flow, since_utc: str) -> list[TroubleRecord]:
        """The trouble of the flow's last run, where it failed since then."""
        last = self._ledger.last_run(flow.name or "")
        if last is None or last.status != "failed" or not is_of_production(flow, last):
            return []
        key, detail = failure(last.flow, "failed", last.why, last.error, again=command_again(flow))
        trouble = TroubleRecord(key, last.last_at_utc, detail | {"source": last.source, "run_id": last.run_id})
        return [trouble] if trouble.since_utc >= since_utc else []

    def _held_file(self, flow: Flow, state: SourceState, kind: str) -> list[TroubleRecord]:
        """The trouble of a file that is held, from its last run."""
        run = None if state.last_run_id is None else self._ledger.run(state.last_run_id)
        if run is not None and not is_of_production(flow, run):
            return []
        key, detail = failure(state.flow, kind, None if run is None else run.why, state.error)
        return [
            TroubleRecord(key, _at(state), detail | {"source": state.key.path or None, "run_id": state.last_run_id})
        ]

    def rejected(
        self, flow: Flow, records: Iterable[TroubleRecord], *, now_s: float
    ) -> tuple[list[TroubleRecord], dict[TroubleKey, str]]:
        """The trouble of each source with rejected rows; and the `records` ones that are over, each with when.

        It is read from the history, so that of a run which ended just before its daemon died the next one tells.

        Raises:
            LedgerError: the history cannot be read.
        """
        open_rows = [trouble for trouble in records if trouble.key.kind == "rejected" and not trouble.is_closed]
        open_keys = {str(trouble.detail.get("key")): trouble.key for trouble in open_rows}
        since_utc, name = utc_text(now_s - LOOK_BACK_S), flow.name or ""
        by_source = newest_checked(self._ledger, name, rejecting_since=since_utc, sources=open_keys)
        runs = {source: run for source, run in by_source.items() if is_of_production(flow, run)}
        gone = {source for _, source in gone_sources(((name, source) for source in runs), [flow])}
        troubles = [rejection(source, run) for source, run in runs.items() if run.rejected and source not in gone]
        over = {open_keys[source]: run.last_at_utc for source, run in runs.items() if not run.rejected}
        return troubles, over | {open_keys[source]: utc_text(now_s) for source in gone & open_keys.keys()}

    def drift(
        self, flow: Flow, records: Iterable[TroubleRecord], *, now_s: float
    ) -> tuple[list[TroubleRecord], dict[TroubleKey, str]]:
        """The trouble of a feed that has changed, with the flows that read what this one writes; and the `records` ones that are over, each
        with when.

        Raises:
            LedgerError: the history cannot be read.
        """
        name = flow.name or ""
        run = drifting_runs(self._ledger).get(name)
        troubles = []
        if run is not None and run.last_at_utc >= utc_text(now_s - LOOK_BACK_S):
            mirror = folders_of(flow).mirror
            others = [ready.flow for other, ready in self._around.ready_flows().items() if other != name]
            troubles = [drifted(run, [] if mirror is None else readers_of([mirror], others))]
        there = set() if run is None else {drifted(run, []).key}
        open_keys = [row.key for row in records if row.key.kind == "drift" and not row.is_closed]
        return troubles, {key: utc_text(now_s) for key in open_keys if key not in there}

    async def is_good(self, flow: Flow, since_utc: str) -> bool | None:
        """Whether no file of the flow is held by a failure, or its newest slot has gone well; None while that is worked on.

        Raises:
            LedgerError: the history cannot be read.
        """
        name = flow.name or ""
        if self._triggers.feed_shrunk(name) is not None:
            return False
        if isinstance(flow.trigger, Poll):
            return not await self._bad_files(flow)
        is_busy = any(work.flow == name for work in self._dispatcher.handed_out())
        if is_busy or self._dispatcher.why_waiting(name, []) is not None:
            return None
        return is_good_since(self._ledger, name, since_utc, counts=counts_of(flow))

    def over(
        self, flow: Flow, records: Sequence[TroubleRecord], troubles: Sequence[TroubleRecord], now_s: float
    ) -> dict[TroubleKey, str]:
        """Which of the known troubles that come with time are over, each with when.

        Raises:
            LedgerError: the history cannot be read.
        """
        there, times = {trouble.key for trouble in troubles}, {}
        for trouble in records:
            if trouble.key.kind not in ("missed", "late") or trouble.key in there:
                continue
            if trouble.key.kind == "missed" or trouble.key.step:
                done_s = freshness(self._ledger, flow).for_s
                if done_s is None or done_s < seconds_of(trouble.since_utc):
                    continue
            times[trouble.key] = utc_text(now_s)
        return times

    async def _bad_files(self, flow: Flow) -> list[SourceState]:
        """The files of a poll flow that are held by a run that nobody ended on purpose."""
        return await asyncio.to_thread(self._look_at_files, flow)

    def _look_at_files(self, flow: Flow) -> list[SourceState]:
        held = self._held_files.of([PlannedFlow.of(flow)]).get(flow.name or "", set())
        states = self._ledger.not_good() if held else []
        return [file for file in states if file.flow == flow.name and file.key in held and file.status in _ON_ITS_OWN]

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
    """Judges flows, and keeps each judgement until it may change. On the daemon's loop; `active` are the runs that count."""

    def __init__(
        self,
        home: LocalWorkspace,
        active: Callable[[], Iterable[Active]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._home, self._ledger, self._active, self._clock = home, home.ledger(), active, clock
        self._judged: dict[str, tuple[Flow, str | None, ExpectationState]] = {}
        self._version: tuple[int, int] | None = None

    def of(self, flow: Flow | None) -> ExpectationState:
        """How the flow stands.

        Raises:
            LedgerError: the history cannot be read.
        """
        if flow is None or not flow.expectations or flow.name is None:
            return ExpectationState()
        now_s, timezone = self._clock(), self._home.settings().timezone
        entry = self._judged.get(flow.name)
        if entry is not None and entry[:2] == (flow, timezone) and not _is_over(entry[2], now_s):
            return entry[2]
        runs = {run.run_id: run.started_at_s for run in self._active() if run.flow == flow.name}
        judgement = look(self._ledger, flow, timezone=timezone, active=runs, now_s=now_s)
        self._judged[flow.name] = flow, timezone, judgement
        return judgement

    def forget(self, flow: str) -> None:
        """A run of the flow has begun or ended."""
        self._judged.pop(flow, None)

    def have_others_written(self, *, is_owner: bool) -> bool:
        """Whether the history has changed since the last call; if so, all is judged anew.

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


def _is_over(judgement: ExpectationState, now_s: float) -> bool:
    """Whether the time has come when the judgement may change, or the clock was set back."""
    if judgement.next_s is not None and now_s >= judgement.next_s:
        return True
    return judgement.late is not None and now_s < datetime.fromisoformat(judgement.late.since_utc).timestamp()

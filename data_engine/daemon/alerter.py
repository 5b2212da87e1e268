"""What people are told of the flows of a daemon: runs that end and times that come are decided on, and kept with the messages.

Only the owner tells of flows. Nothing here holds up a run: what happened is noted, and decided on a moment later. While
nothing happens, each beat of the daemon compares one time.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from data_engine.alerting.deciding import MOST_OF_A_FLOW, Decision, Recipients, Telling, decide, gathered
from data_engine.alerting.wording import failure
from data_engine.daemon.notifier import Notifier
from data_engine.daemon.trouble_finder import OF_FAILURES, Around, Expecting, TroubleFinder, command_again
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.engine.params import is_as_scheduled
from data_engine.errors import FlowValidationError
from data_engine.flow.flow import Flow
from data_engine.flow.trigger import Poll
from data_engine.ledger import outbox, troubles
from data_engine.ledger.freshness import failures_between
from data_engine.ledger.troubles import Trouble, TroubleKey
from data_engine.message import Message, message
from data_engine.model import Event, RunFinished, RunStarted, utc_text
from data_engine.planning.slots import zone_of
from data_engine.record import frozen
from data_engine.scheduler.dispatcher import Dispatcher
from data_engine.scheduler.trigger_set import TriggerSet
from data_engine.workspace.settings import AlertSettings

log = logging.getLogger(__name__)

_SOON_S = 0.1
_PAUSE_S = 0.5
_AGAIN_S = 1.0
_FIRST_LOOK_S = 5.0
"""So long after an engine was started, what it finds held is known."""


@frozen
class _Concern:
    """A flow that somebody is told of, or of which something is expected."""

    flow: Flow
    recipients: Recipients
    within_s: float | None


@dataclass(slots=True)
class _News:
    """What has happened in runs of a flow since it was last decided about: failures, and when one ended well (in time)."""

    failures: dict[TroubleKey, Trouble] = field(default_factory=dict)
    good_utc: str | None = None
    in_time_utc: str | None = None


class Alerter:
    """Hears of runs, looks when a time has come, and keeps what is told. Everything on the daemon's loop.

    `sender` is what messages say they are from; `on_messages` is called when new ones wait in the outbox.
    """

    def __init__(
        self,
        home: LocalWorkspace,
        dispatcher: Dispatcher[Any],
        triggers: TriggerSet,
        around: Around,
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
        self._concerns: dict[str, _Concern] = {}
        self._known: dict[str, dict[TroubleKey, Trouble]] | None = None
        self._news: dict[str, _News] = {}
        self._sources: dict[str, str] = {}
        self._to_look: set[str] = set()
        self._caught_up: set[str] = set()
        self._next: dict[str, float] = {}
        self._soonest_s = float("inf")
        self._on_since_s = 0.0
        self._is_working = False
        dispatcher.alerts = self

    def tells_by(self, notifier: Notifier) -> None:
        """Let the notifier send what is kept here, and ask here who is still told of anything."""
        self.on_messages, notifier.named = notifier.wake, self._named

    def _named(self) -> Collection[str] | None:
        """The secrets of all who are told of anything; None where the settings or a deployed flow cannot be read just now."""
        flows = self._around.ready_flows()
        if not self._home.is_settings_file_read() or self._home.deployments().deployed().keys() - flows.keys():
            return None
        rules = [rule for one in flows.values() for rule in one.flow.alerts]
        return {*self._home.settings().alerts.to, *(to for rule in rules for to in rule.to or ())}

    # -- told by the dispatcher ------------------------------------------------------------------------------------

    def heard(self, flow: str, events: Sequence[Event]) -> None:
        """Something happened in runs of the flow, and is recorded."""
        concern = self._concerns.get(flow)
        for event in events:
            if isinstance(event, RunFinished):
                self._ended(flow, concern, event)
            elif isinstance(event, RunStarted) and concern is not None:
                self._began(concern, event)

    def _began(self, concern: _Concern, event: RunStarted) -> None:
        if not _is_as_scheduled(concern.flow, event):
            self._apart.add(event.run_id)
            return
        if event.source is not None:
            self._sources[event.run_id] = event.source
        if concern.within_s is not None:
            self.expecting.forget(event.flow)
            self._look_at(event.flow, event.at_s + concern.within_s)

    def _ended(self, flow: str, concern: _Concern | None, event: RunFinished) -> None:
        source = self._sources.pop(event.run_id, None)
        if event.run_id in self._apart:
            self._apart.discard(event.run_id)
            return
        self.expecting.forget(flow)
        if concern is None or not concern.recipients.are_any:
            return
        news = self._news.setdefault(flow, _News())
        if event.status == "success":
            news.good_utc = utc_text(event.at_s)
            if concern.within_s is not None and event.elapsed_s <= concern.within_s:
                news.in_time_utc = news.good_utc
        elif _is_failure(event):
            kind, error = self._kind_of_failure(concern), event.error or event.cause
            key, said = failure(flow, kind, event.why, error, again=command_again(concern.flow))
            if key not in news.failures and len(news.failures) <= MOST_OF_A_FLOW:
                about = {"run_id": event.run_id} | ({"source": source} if source else {})
                news.failures[key] = Trouble(key, utc_text(event.at_s), said | about)
        self._look_soon(flow)

    def _kind_of_failure(self, concern: _Concern) -> str:
        """Failed; or held, where people want to hear of that alone and a failure is the end of it."""
        gives_up = isinstance(concern.flow.trigger, Poll) and not self._home.settings().retry.retries
        return "held" if gives_up and not concern.recipients.of("failed") else "failed"

    # -- told by the daemon ----------------------------------------------------------------------------------------

    def engine_started(self, *, was_off: bool) -> None:
        """The engine is on; what passed while a person had it off is not missed."""
        if was_off:
            self._on_since_s = self._clock()
        for flow in self._concerns:
            self._look_at(flow, self._clock() + _FIRST_LOOK_S)

    def owner_changed(self) -> None:
        """The workspace is ours now, or is not any more: what was told is read again from what travelled."""
        self._known = None
        self._caught_up.clear()
        self._news.clear()
        self._settings = None  # the next beat begins anew

    def flows_changed(self) -> None:
        """What production runs has changed, or whom people named in the settings."""
        settings, now_s = self._home.settings(), self._clock()
        self._settings = settings.alerts, settings.timezone
        found = {}
        for name, ready in self._around.ready_flows().items():
            within_s = next((one.within_s for one in ready.flow.expectations if one.within_s is not None), None)
            concern = _Concern(ready.flow, Recipients(settings.alerts, ready.flow.alerts), within_s)
            if concern.recipients.are_any or ready.flow.expectations:
                found[name] = concern
                if self._concerns.get(name) != concern or name not in self._caught_up:
                    self._look_at(name, now_s)
        for gone in self._concerns.keys() - found.keys():
            self.expecting.forget(gone)
        self._concerns = found
        self._next = {name: at_s for name, at_s in self._next.items() if name in found}

    def beat(self) -> None:
        """Called every two seconds: look at the flows whose time has come, and at those in trouble when others have written
        the history.

        Raises:
            LedgerError: the history cannot be read.
        """
        settings = self._home.settings()
        if self._settings != (settings.alerts, settings.timezone):
            self.flows_changed()
        if not self._concerns:
            return
        is_owner = self._around.tells_of_flows()
        if self.expecting.have_others_written(is_owner=is_owner) and is_owner:
            for flow, known in self._kept().items():
                if any(not one.is_closed for one in known.values()):
                    self._news.setdefault(flow, _News()).good_utc = utc_text(self._clock())
                    self._look_soon(flow)
        if self._clock() >= self._soonest_s:
            self._look_at_what_has_come(self._clock())

    def held_changed(self) -> None:
        """Files are held, or are not any more."""
        for flow, concern in self._concerns.items():
            if concern.recipients.are_any and self._around.held(flow):
                self._look_soon(flow)

    def _look_at_what_has_come(self, now_s: float) -> None:
        come = [flow for flow, at_s in self._next.items() if at_s <= now_s]
        for flow in come:
            del self._next[flow]
        self._soonest_s = min(self._next.values(), default=float("inf"))
        for flow in come:
            self._look_soon(flow)
        for flow in come:
            concern = self._concerns.get(flow)  # it may have been withdrawn while it was decided about
            next_s = None if concern is None else self.expecting.of(concern.flow).next_s
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
                await self._decide_all({flow: self._concerns[flow] for flow in flows if flow in self._concerns})
                await asyncio.sleep(_PAUSE_S)
        except Exception:
            log.exception("deciding what people are told failed")
        finally:
            self._is_working = False

    async def _decide_all(self, concerns: Mapping[str, _Concern]) -> None:
        """Decide about these flows and keep it; what goes wrong with one of them keeps no other from being told of."""
        taken = {flow: self._news.pop(flow, _News()) for flow in concerns}
        decided: dict[str, Decision] = {}
        left: dict[str, FlowValidationError] = {}
        for flow, concern in concerns.items():
            try:
                decided[flow] = await self._decide(flow, concern, taken[flow])
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

    def _put_back(self, flow: str, news: _News) -> None:
        later = self._news.setdefault(flow, _News())
        later.failures = news.failures | later.failures
        later.good_utc = later.good_utc or news.good_utc
        later.in_time_utc = later.in_time_utc or news.in_time_utc

    async def _decide(self, flow: str, concern: _Concern, news: _News) -> Decision:
        if not concern.recipients.are_any and not self._of(flow):
            return Decision()
        now_s = self._clock()
        seen, next_s = self._finder.now(concern.flow, self._sources, on_since_s=self._on_since_s, now_s=now_s)
        if next_s is not None:
            self._look_at(flow, next_s)
        look = self._finder.rejected
        rejected, good_again = await asyncio.to_thread(look, concern.flow, [*self._of(flow).values()], now_s=now_s)
        seen = [*news.failures.values(), *rejected, *seen]
        if flow not in self._caught_up or self._around.held(flow):
            kinds = [one.key.kind for one in seen]
            kinds += [one.key.kind for one in self._of(flow).values() if not one.is_closed]
            kind = self._kind_of_failure(concern)
            seen += await self._finder.in_history(concern.flow, kinds, kind=kind, now_s=now_s)
        over = good_again | await self._over(flow, concern, news, seen, now_s)
        timezone = self._home.settings().timezone
        known = self._of(flow)
        return decide(
            flow,
            known.values(),
            seen,
            over,
            concern.recipients,
            failures=self._failures(flow, known.values(), now_s),
            now_s=now_s,
            zone=None if timezone is None else zone_of(timezone),
        )

    async def _over(
        self, flow: str, concern: _Concern, news: _News, seen: Sequence[Trouble], now_s: float
    ) -> dict[TroubleKey, str]:
        """Which of the flow's troubles are over, each with when."""
        known = [one for one in self._of(flow).values() if not one.is_closed and one.recovered_at_utc is None]
        over = self._finder.over(concern.flow, known, seen, now_s)
        there = {one.key.kind for one in seen}
        in_time_utc = utc_text(now_s) if concern.within_s is None else news.in_time_utc
        if in_time_utc is not None and "overlong" not in there:
            over |= {one.key: in_time_utc for one in known if one.key.kind == "overlong"}
        bad = [one for one in known if one.key.kind in OF_FAILURES]
        if news.good_utc is not None and (bad or news.failures):
            is_good = await self._is_good(concern, news, there, bad)
            if is_good:
                over |= {one.key: news.good_utc for one in bad}
            elif is_good is None:
                self._news.setdefault(flow, _News()).good_utc = news.good_utc
                self._look_at(flow, now_s + _AGAIN_S)
        return over

    async def _is_good(self, concern: _Concern, news: _News, there: Set[str], bad: Sequence[Trouble]) -> bool | None:
        """Whether the flow, of which a run ended well, is good again; None when that is to be asked a moment later."""
        if news.failures:  # what is told now may be over already
            return None
        if not there.isdisjoint(OF_FAILURES):
            return False
        return await self._finder.is_good(concern.flow, min(one.since_utc for one in bad))

    def _failures(self, flow: str, known: Iterable[Trouble], now_s: float) -> int:
        """How many runs have failed until the end of a digest, when that has come, besides those its first message told of."""
        opener = next((one for one in known if one.digest_until_utc is not None), None)
        until_utc = None if opener is None else opener.digest_until_utc
        if opener is None or opener.told_at_utc is None or until_utc is None or until_utc > utc_text(now_s):
            return 0
        if opener.key.kind not in OF_FAILURES:
            return failures_between(self._ledger, flow, opener.told_at_utc, until_utc)
        told = [one for one in known if one.message_id == opener.message_id and one.key.kind in OF_FAILURES]
        first_utc = min(one.since_utc for one in told)  # many may have failed by when it was told
        return max(0, failures_between(self._ledger, flow, first_utc, until_utc) - (len(told) - 1))

    def _keep(self, decided: Mapping[str, Decision]) -> None:
        """What was decided, and its messages, in one commit."""
        changed = [one for decision in decided.values() for one in decision.changed]
        tellings = [one for decision in decided.values() for one in decision.tellings]
        if changed or tellings:
            messages = [self._message(one) for one in gathered(tellings, self._home.layout.workspace_id)]
            with self._ledger.writing(durable=bool(messages)) as (connection, rev):
                troubles.put(connection, rev, changed)
                news = outbox.put(connection, messages)
            if news:
                self.on_messages()
            self._around.tell()
        for one in changed:
            self._of(one.key.flow)[one.key] = one
        for flow, decision in decided.items():
            self._caught_up.add(flow)
            if decision.next_s is not None:
                self._look_at(flow, decision.next_s)

    def _message(self, one: Telling) -> Message:
        at = datetime.fromtimestamp(self._clock(), UTC)
        return message(
            one.kind, one.subject, one.notices, id=one.id, to=one.to, at=at, sender=self._sender, flow=one.flow
        )

    # -- what was told ---------------------------------------------------------------------------------------------

    def _of(self, flow: str) -> dict[TroubleKey, Trouble]:
        return self._kept().setdefault(flow, {})

    def _kept(self) -> dict[str, dict[TroubleKey, Trouble]]:
        """What is kept of each flow, by its name."""
        if self._known is None:
            self._known = {}
            for one in troubles.all_troubles(self._ledger):
                self._known.setdefault(one.key.flow, {})[one.key] = one
        return self._known


def _is_failure(event: RunFinished) -> bool:
    is_out_of_time = event.why is not None and event.why.kind == "time_limit"
    return event.status == "failed" or (event.status == "killed" and is_out_of_time)


def _is_as_scheduled(flow: Flow, event: RunStarted) -> bool:
    """Whether the run is one that a schedule or a file could have begun: it says something about production."""
    params = None if event.about is None else event.about.params
    if params is None:
        return True
    try:
        given = json.loads(params)
    except ValueError:
        return False
    return isinstance(given, dict) and is_as_scheduled(flow, given)

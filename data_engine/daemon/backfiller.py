"""The backfills that run: their runs are handed to the dispatcher a few at a time, after all that is due, until all have ended.

What is left to do is seen from the history whenever this begins: a run of a backfill has an id that follows from the backfill
and its place in it. So a crash, a restart or another owner goes on where the last one ended, and runs nothing twice.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from data_engine.engine.candidates import Source, listed_source
from data_engine.errors import FlowValidationError, LedgerError
from data_engine.flow.flow import Flow
from data_engine.ledger import backfills as rows
from data_engine.ledger.backfills import BackfillRow, backfill_of, run_id_of
from data_engine.ledger.ledger import Ledger
from data_engine.model import Backfill, PlannedRun, RunAbout, RunFinished
from data_engine.scheduler.dispatcher import Backfills, Dispatcher, ReadyFlow
from data_engine.scheduler.executor import SourceRun
from data_engine.scheduler.run_queue import Turn, Work

log = logging.getLogger(__name__)

_LEAST_AHEAD = 128
_MOST_AHEAD = 512
_MOST_DEATHS = 2
_TIMED = 50
_KEEP_EVERY_S = 5.0
_GOES_ON_AFTER = frozenset(
    ("handed_over", "taken_over", "owned_meanwhile", "no_longer_owner", "owner_lost", "session_ended")
)
"""The causes of stops that no person asked for: such a run waits again."""


@dataclass(slots=True)
class _Running:
    """One backfill under way: the numbers of the runs that wait, and by id those that are handed out."""

    row: BackfillRow
    planned: list[PlannedRun]
    waiting: deque[int] = field(default_factory=deque)
    out: dict[str, int] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    deaths: dict[int, int] = field(default_factory=dict)
    bad_slots: set[str] = field(default_factory=set)
    left_of_slot: dict[str, int] = field(default_factory=dict)
    ended: int = 0
    ended_before: int = -1
    failed: int = 0
    kept_s: float = 0.0
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMED))
    waits_for: str | None = None

    @property
    def is_over(self) -> bool:
        return not self.waiting and not self.out

    def left_s(self, now_s: float) -> float | None:
        """About how long the rest takes, by how long the last runs took."""
        if len(self.times) < 2:
            return None
        return (now_s - self.times[0]) / len(self.times) * (len(self.planned) - self.ended)


class Backfiller(Backfills):
    """Feeds the dispatcher. Everything on the daemon's loop; `flows` are those that can run now."""

    def __init__(
        self,
        ledger: Ledger,
        dispatcher: Dispatcher,  # type: ignore[type-arg]
        flows: Callable[[], Mapping[str, ReadyFlow]],
        tell: Callable[[], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._dispatcher, self._flows, self._tell, self._clock = ledger, dispatcher, flows, tell, clock
        self._running: dict[str, _Running] = {}
        self._of_run: dict[str, str] = {}
        self._coming: set[str] = set()
        dispatcher.backfills = self

    @property
    def is_busy(self) -> bool:
        """Whether one has work that can be done here."""
        return any(backfill.waits_for is None for backfill in self._running.values())

    def running_of(self, flow: str) -> list[str]:
        """The ids of the flow's backfills that run."""
        return [backfill_id for backfill_id, backfill in self._running.items() if backfill.row.flow == flow]

    # -- beginning and ending ------------------------------------------------------------------------------------------

    async def begin(
        self,
        row: BackfillRow,
        planned: Sequence[PlannedRun],
        publish: Callable[[Callable[[], None]], Awaitable[None]],
    ) -> None:
        """Publish the backfill and begin with it; where publishing fails it is stopped.

        Raises: as `publish`.
        """
        self._coming.add(row.backfill_id)
        try:
            await publish(lambda: rows.add(self._ledger, row, planned))
        except FlowValidationError:
            rows.put(self._ledger, replace(row, state="stopped"))
            raise
        finally:
            self._coming.discard(row.backfill_id)
        self.take_up()

    def take_up(self) -> None:
        """Go on with all backfills that run, as the history says.

        Raises:
            LedgerError: it cannot be read.
        """
        for row in rows.newest(self._ledger, limit=1_000, state="running"):
            if row.backfill_id not in self._running and row.backfill_id not in self._coming:
                self._begin(row)
        self.feed()

    def let_go(self) -> None:
        """Feed nothing any more: another workstation goes on with them."""
        self._running.clear()
        self._of_run.clear()

    def tick(self) -> None:
        """Called every few seconds: notice lost runs, record the progress, and feed.

        Raises:
            LedgerError: the history cannot be read or written.
        """
        for backfill_id, backfill in list(self._running.items()):
            if backfill.ended == backfill.ended_before:  # where they end one after the other nothing is lost
                for run_id in set(backfill.out) - self._dispatcher.to_come():
                    self._settle_lost(backfill, run_id)
            backfill.ended_before = backfill.ended
            self._keep(backfill)
            self._end_if_over(backfill_id)
        self.take_up()

    def stop(self, backfill_id: str) -> BackfillRow:
        """Begin no more runs of the backfill; those that run end by themselves.

        Raises:
            LedgerError: it cannot be kept.
            FlowValidationError: it does not run.
        """
        row = known_backfill(self._ledger, backfill_id)
        if row.state != "running":
            raise FlowValidationError(
                f"backfill {row.backfill_id[:8]} of {row.flow} does not run: it is {row.state}",
                where="backfill",
                fix="`data-engine backfill --status` lists those that run",
            )
        backfill = self._running.pop(row.backfill_id, None)
        if backfill is not None:
            row = self._row_of(backfill)
        rows.put(self._ledger, row := replace(row, state="stopped"))
        self._dispatcher.withdraw(row.backfill_id)
        for run_id in [] if backfill is None else backfill.out:
            self._of_run.pop(run_id, None)
        self._tell()
        return row

    def retry(self, backfill_id: str) -> BackfillRow:
        """Run the failed runs of the backfill again, and those that a stop left out.

        Raises:
            LedgerError: it cannot be kept.
            FlowValidationError: it runs, or nothing of it failed.
        """
        row = known_backfill(self._ledger, backfill_id)
        if row.state == "running":
            raise FlowValidationError(
                f"backfill {row.backfill_id[:8]} of {row.flow} still runs",
                where="backfill",
                fix=f"wait until it has ended, or stop it: data-engine backfill --stop {row.backfill_id[:8]}",
            )
        if not row.failed and row.ended >= row.total:
            raise FlowValidationError(
                f"nothing of backfill {row.backfill_id[:8]} of {row.flow} failed",
                where="backfill",
                fix="to run all of it again, ask for a new one with --reprocess all",
            )
        row = replace(row, state="running", round=row.round + 1)
        rows.put(self._ledger, row)
        self.take_up()
        self._tell()
        return row

    # -- feeding -------------------------------------------------------------------------------------------------------

    def feed(self) -> None:
        """Queue some more runs of each backfill that has few in the queue.

        Raises:
            LedgerError: the history cannot be read.
        """
        works: list[Work] = []
        for backfill in self._running.values():
            row = backfill.row
            ready = self._flows().get(row.flow)
            backfill.waits_for = None if ready is not None else f"waits until {row.flow} is deployed and not broken"
            if ready is None or len(backfill.out) >= _LEAST_AHEAD:
                continue
            while backfill.waiting and len(backfill.out) < _MOST_AHEAD:
                number = backfill.waiting.popleft()
                if _leaves_what_is_done(row) and rows.is_done_since(self._ledger, row, backfill.planned[number]):
                    backfill.ended += 1  # by a due run, which goes first
                else:
                    works.append(self._work(backfill, number, ready.flow))
        if works:
            self._dispatcher.add(works)

    def _work(self, backfill: _Running, number: int, flow: Flow) -> Work:
        planned, row = backfill.planned[number], backfill.row
        run_id = run_id_of(row.backfill_id, number, row.round, backfill.attempts.get(number, 0))
        backfill.out[run_id] = number
        self._of_run[run_id] = row.backfill_id
        about = RunAbout("backfill", row.backfill_id, row.by, scheduled_for=planned.scheduled_for)
        run = SourceRun(_source(flow, planned), run_id, about=about)
        return Work(row.flow, flow.group, run, row.backfill_id, Turn.BACKFILL, dict(row.params))

    # -- called by the dispatcher --------------------------------------------------------------------------------------

    def ended(self, flow: str, event: RunFinished) -> None:
        """Take the recorded end of a run of the flow, which may be one of a backfill."""
        backfill_id = self._of_run.pop(event.run_id, None)
        backfill = self._running.get(backfill_id or "")
        if backfill is None:
            if event.status == "success" and event.seen:
                self._drop_done(flow, {source.key.path for source in event.seen})
            return
        number = backfill.out.pop(event.run_id)
        self._count(backfill, number, event.run_id, event.status, None if event.why is None else event.why.kind)
        backfill.times.append(self._clock())
        try:
            if len(backfill.out) < _LEAST_AHEAD and backfill.waiting:
                self.feed()
            if backfill.is_over:
                self._end_if_over(backfill.row.backfill_id)
        except LedgerError as error:  # the next tick tries it again
            log.warning("%s", error)

    def _drop_done(self, flow: str, paths: Collection[str]) -> None:
        """Drop the runs of these sources, which due runs have done, where a backfill wants only failed or missing ones."""
        for backfill_id in self.running_of(flow):
            backfill = self._running[backfill_id]
            if not _leaves_what_is_done(backfill.row):
                continue
            ids = {run_id for run_id, number in backfill.out.items() if backfill.planned[number].source in paths}
            for work in self._dispatcher.drop(flow, only=lambda work, ids=ids: work.run.run_id in ids):  # type: ignore[misc]
                self._of_run.pop(work.run.run_id, None)
                del backfill.out[work.run.run_id]
                backfill.ended += 1

    def dropped(self, work: Work) -> None:
        """Let a work of a backfill wait here again, which was dropped without a run."""
        backfill_id = self._of_run.pop(work.run.run_id, None)
        backfill = self._running.get(backfill_id or "")
        if backfill is not None:
            backfill.waiting.appendleft(backfill.out.pop(work.run.run_id))

    def wants(self, work: Work) -> bool:
        """Whether a work of a backfill that was handed out and not begun shall wait again."""
        return work.run.run_id in self._of_run

    # -- progress ------------------------------------------------------------------------------------------------------

    def under_way(self) -> list[Backfill]:
        """The backfills that run, with their progress."""
        return [self._progress(backfill) for backfill in self._running.values()]

    def _progress(self, backfill: _Running) -> Backfill:
        row, left_s = self._row_of(backfill), backfill.left_s(self._clock())
        return replace(backfill_of(row), left_s=left_s, waits_for=backfill.waits_for)

    def _row_of(self, backfill: _Running) -> BackfillRow:
        return replace(backfill.row, ended=backfill.ended, failed=backfill.failed)

    # -- what the history says -----------------------------------------------------------------------------------------

    def _begin(self, row: BackfillRow) -> None:
        begun = rows.begun_runs(self._ledger, row.backfill_id)
        backfill = _Running(row, rows.planned_runs(self._ledger, row.backfill_id))
        for planned in backfill.planned:
            if planned.scheduled_for is not None:
                slot = planned.scheduled_for
                backfill.left_of_slot[slot] = backfill.left_of_slot.get(slot, 0) + 1
        for number in range(len(backfill.planned)):
            self._recall(backfill, number, begun)
        backfill.kept_s = self._clock()
        self._running[row.backfill_id] = backfill

    def _recall(self, backfill: _Running, number: int, begun: Mapping[str, tuple[str, str | None]]) -> None:
        """Take a run's end from the history of its tries; it waits where none of this round counts."""
        row, tries = backfill.row, list[str]()
        for round_ in range(row.round + 1):
            tries = _tries(begun, row.backfill_id, number, round_)
            for run_id in tries:
                if begun[run_id][0] == "success":
                    self._count(backfill, number, run_id, "success", None)
                    return
                if begun[run_id][0] == "started":
                    backfill.out[run_id] = number
                    self._of_run[run_id] = row.backfill_id
                    backfill.attempts[number] = len(tries) - 1
                    return
        backfill.attempts[number] = max(0, len(tries) - 1)
        backfill.deaths[number] = sum(begun[run_id][0] == "abandoned" for run_id in tries[:-1])
        if tries:
            self._count(backfill, number, tries[-1], *begun[tries[-1]])
        else:
            backfill.waiting.append(number)

    def _count(self, backfill: _Running, number: int, run_id: str, status: str, cause: str | None) -> None:
        """Count a run that has ended, or let it wait again because it was cut short."""
        slot = backfill.planned[number].scheduled_for
        backfill.deaths[number] = backfill.deaths.get(number, 0) + (status == "abandoned")
        is_cut_short = status == "abandoned" or (status in ("stopped", "killed") and cause in _GOES_ON_AFTER)
        if is_cut_short and backfill.deaths[number] < _MOST_DEATHS:
            backfill.attempts[number] = backfill.attempts.get(number, 0) + 1
            backfill.waiting.append(number)
            return
        backfill.ended += 1
        backfill.failed += status != "success"
        if slot is not None:
            backfill.left_of_slot[slot] -= 1
            if status != "success":
                backfill.bad_slots.add(slot)
            elif not backfill.left_of_slot[slot] and slot not in backfill.bad_slots:
                self._serve(backfill, slot, run_id)

    def _serve(self, backfill: _Running, slot: str, run_id: str) -> None:
        """Record the slot as served: all its runs succeeded, as its schedule would have run them."""
        if not backfill.row.is_as_scheduled or backfill.row.asked.get("where") is not None:
            return
        try:
            self._ledger.serve_slot(backfill.row.flow, slot, run_id)
        except LedgerError as error:
            log.warning("the slot of %s is not known to be served: %s", slot, error)

    def _settle_lost(self, backfill: _Running, run_id: str) -> None:
        run = self._ledger.run(run_id)
        number = backfill.out.pop(run_id)
        self._of_run.pop(run_id, None)
        if run is None:
            backfill.waiting.appendleft(number)
        else:
            status = "abandoned" if run.status == "started" else run.status
            self._count(backfill, number, run_id, status, None if run.why is None else run.why.kind)

    def _keep(self, backfill: _Running) -> None:
        now_s = self._clock()
        is_new = (backfill.ended, backfill.failed) != (backfill.row.ended, backfill.row.failed)
        if is_new and now_s - backfill.kept_s >= _KEEP_EVERY_S:
            backfill.row, backfill.kept_s = self._row_of(backfill), now_s
            rows.put(self._ledger, backfill.row)

    def _end_if_over(self, backfill_id: str) -> None:
        backfill = self._running[backfill_id]
        if backfill.is_over:
            rows.put(self._ledger, replace(self._row_of(backfill), state="done"))
            del self._running[backfill_id]
            log.info("backfill %s of %s: %s", backfill_id[:8], backfill.row.flow, self._progress(backfill).text)
            self._tell()


def known_backfill(ledger: Ledger, backfill_id: str) -> BackfillRow:
    """The backfill with this id, or with the only id that begins so.

    Raises:
        FlowValidationError: there is none.
    """
    row = rows.known(ledger, backfill_id)
    if row is None:
        raise FlowValidationError(
            f"there is no backfill {backfill_id!r}",
            where="backfill",
            fix="take an id from `data-engine backfill --status`",
        )
    return row


def newest_backfills(
    ledger: Ledger, running: Sequence[Backfill], flow: str | None = None, backfill_id: str | None = None
) -> list[Backfill]:
    """The newest backfills, of one flow or all; or the one with this id, with its runs. `running` says how far those are.

    Raises:
        FlowValidationError: it does not exist.
    """
    live = {backfill.id: backfill for backfill in running}
    if backfill_id is None:
        return [live.get(row.backfill_id) or backfill_of(row) for row in rows.newest(ledger, flow)]
    row = known_backfill(ledger, backfill_id)
    planned, runs = rows.planned_runs(ledger, row.backfill_id), rows.runs_of(ledger, row.backfill_id)
    return [replace(live.get(row.backfill_id) or backfill_of(row), planned=tuple(planned), runs=tuple(runs))]


def _leaves_what_is_done(row: BackfillRow) -> bool:
    return row.is_as_scheduled and row.asked.get("reprocess") != "all"


def _tries(begun: Mapping[str, object], backfill_id: str, number: int, round_: int) -> list[str]:
    """The ids of those tries of a run in a round that were begun."""
    tries: list[str] = []
    while (run_id := run_id_of(backfill_id, number, round_, len(tries))) in begun:
        tries.append(run_id)
    return tries


def _source(flow: Flow, planned: PlannedRun) -> Source:
    """The file or folder of a run, as it is on this machine."""
    if planned.source is None or flow.trigger is None or flow.trigger.source is None:
        return Source()
    return listed_source(flow.trigger, planned.source)

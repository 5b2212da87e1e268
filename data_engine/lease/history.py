"""Publish new rows to the shared history, take in those that others published, and repair damage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from data_engine.errors import RefusedSegmentError
from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import NEVER, Damage, Damaged, Fold, Generation, StaleView, View
from data_engine.lease.repair import Repaired
from data_engine.ledger.replication import UnpublishedRows
from data_engine.ledger.share import SharedHistory
from data_engine.ledger.wall_clock import Believed, Verdict
from data_engine.model import utc_text

log = logging.getLogger(__name__)

HEALTHY = "nothing of the shared history is damaged: nothing was changed"
_TRIES = 3
_COLLECT_EVERY = 8
_DROP_EVERY_S = 3600.0


class Publisher:
    """Publishes one ledger's rows for whoever holds the lease; one thread uses it.

    Every method raises what `HeldLease.commit` raises, and `LedgerError` when the ledger cannot be used.
    """

    def __init__(
        self, observer: Observer, share: SharedHistory, retention_days: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        self._observer = observer
        self._share = share
        self._retention_days = retention_days
        self._clock = clock
        self._commits = 0
        self._dropped_s = NEVER

    @property
    def is_collection_due(self) -> bool:
        """Whether so much was published that old generations and segments should be collected."""
        return self._commits % _COLLECT_EVERY == 0

    def commit(
        self, held: HeldLease, *, engine_on: bool | None, at: Verdict | None, is_worth_it: bool
    ) -> Generation | None:
        """Publish what is new, if anything is or `is_worth_it` all the same; more than a segment takes follows at once.

        `at` is the time by which rows are too old to keep: nothing is dropped by one that is not believed.
        """
        batch = self._share.unpublished(held.token)
        if batch is None and not is_worth_it:
            return None
        before = held.head
        folds = self._folds(before, at)
        published = held.commit({} if batch is None else batch.tables, fold=folds, engine_on=engine_on)
        names = _names_of(batch, published)
        new = published.names - before.names - set(names.values())
        folded = {
            table: (fold.names, segment.name)
            for table, fold in folds.items()
            for segment in published.files.get(table, ())
            if segment.name in new
        }
        return self._note_published(batch, published, folded)

    def publish_again(self, held: HeldLease, broken: Mapping[str, Collection[str]]) -> Generation:
        """Publish from this ledger what these segments held, in their place; `broken`: their names per table."""
        self._share.publish_again(broken)
        batch = self._share.unpublished(held.token)
        folds = {table: Fold(tuple(names), None) for table, names in broken.items()}
        published = held.commit({} if batch is None else batch.tables, fold=folds)
        return self._note_published(batch, published, {})

    def _note_published(
        self, batch: UnpublishedRows | None, published: Generation, folded: Mapping[str, tuple[Sequence[str], str]]
    ) -> Generation:
        self._share.mark_published(batch, published.number, _names_of(batch, published), folded)
        self._commits += 1
        return published

    def _folds(self, head: Generation, at: Verdict | None) -> dict[str, Fold]:
        sizes = {table: [(segment.name, segment.size_bytes) for segment in rows] for table, rows in head.files.items()}
        contents = self._share.folds(sizes, self._observer.fetch)
        folds = {table: Fold(tuple(names), content) for table, (names, content) in contents.items()}
        if isinstance(at, Believed) and self._clock() - self._dropped_s > _DROP_EVERY_S:
            self._dropped_s = self._clock()
            names = {table: [name for name, _ in rows] for table, rows in sizes.items()}
            old = self._share.expired(names, retention_days=self._retention_days(), at=at)
            folds |= {table: Fold(tuple(gone), None) for table, gone in old.items()}
        return folds


def _names_of(batch: UnpublishedRows | None, published: Generation) -> dict[str, str]:
    """The names of the batch's segments in the generation that has just published them, by table."""
    return {} if batch is None else {table: published.files[table][-1].name for table in batch.tables}


class HistoryKeeper:
    """Keeps this ledger level with the shared history, and knows its damage; one thread uses it.

    `nonce` is that of the newest generation whose rows this ledger holds, `taken_in` that of the last one whose rows came
    from the share. `damage` is that of the history beside the list, None while all of it can be read.
    """

    def __init__(self, observer: Observer, share: SharedHistory) -> None:
        self._observer = observer
        self._share = share
        self.nonce: str | None = None
        self.taken_in: str | None = None
        self.damage: Damage | None = None

    def remember(self) -> None:
        """Store the known end of the list."""
        self._share.note_list(*self._observer.known_list)

    def is_due(self, view: View) -> bool:
        """Whether the newest generation has rows that are not here, or damage that may have gone."""
        return view.top is not None and (view.top.nonce != self.nonce or self.damage is not None)

    def take_in(self, view: View, *, mine: bool = False) -> View:
        """Take in all that the newest generation of `view` lists; returns the view that it was: the list may have grown.

        Raises:
            Damaged: some of it is missing or cannot be read; it is told until it can.
            StaleView: it changes faster than it can be read.
            OSError, LedgerError: the share is away, or this machine's ledger cannot be used.
        """
        for _ in range(_TRIES):
            top = view.top
            if top is None:
                return view
            try:
                self._hydrate(top, mine=mine)
                if self.damage is not None:  # what a claim has missed may be there again
                    self._observer.generations.check_whole(top, ())
            except Damaged as error:
                self.note(error)
                raise
            except RefusedSegmentError as error:
                damaged = Damaged(error.why, file=f"state/{error.table}/{error.name}")
                self.note(damaged)
                raise damaged from error
            except FileNotFoundError:  # collected while it was read: there is a newer one
                view = self._observer.poll()
                continue
            self.nonce = self.taken_in = top.nonce
            self.damage = None
            return view
        raise StaleView("the shared history changes faster than it can be read")

    def check(self, held: HeldLease, publisher: Publisher) -> None:
        """Notice as the owner that a segment is gone, before somebody needs it, and fix it.

        Raises:
            LeaseOutcome, OSError, LedgerError: as `HeldLease.commit`.
        """
        try:
            self._observer.generations.check_whole(held.head, self._share.seen)
        except Damaged as error:
            self.note(error)
            self.fix(held, publisher)

    def fix(self, held: HeldLease, publisher: Publisher) -> list[str]:
        """As the owner: publish again, from this machine's ledger, the rows of missing or damaged segments; returns their names.

        The owner has taken in all that the list holds, so nothing is lost by leaving them out.

        Raises:
            LeaseOutcome, OSError, LedgerError: as `HeldLease.commit`.
        """
        broken = self._observer.generations.broken_segments(held.head, self._share.refused)
        if broken:
            self.published(publisher.publish_again(held, broken))
            log.warning("published again, because segments were missing or damaged: %s", ", ".join(broken))
        self.damage = None
        return [f"{table}/{name}" for table, names in broken.items() for name in names]

    def repair(self, view: View) -> Repaired | None:
        """Go on from the readable part of a damaged list, as `Observer.repair` does."""
        repaired = self._observer.repair(view, self._share.refused)
        self.remember()
        return repaired

    def published(self, generation: Generation) -> None:
        """Note that this ledger holds all that `generation` lists, because it has published it."""
        self.remember()
        self.nonce = generation.nonce

    def note(self, error: Damaged) -> None:
        """Keep the damage until it has gone."""
        if self.damage is None or self.damage.what != str(error):
            self.damage = Damage.of(error, utc_text(time.time()))
            log.warning("the shared history is damaged: %s", error)

    def _hydrate(self, top: Generation, *, mine: bool) -> None:
        settled = self._share.hydrate(
            top.number,
            {table: [segment.name for segment in segments] for table, segments in top.files.items()},
            self._observer.fetch,
            owner=top.token if top.is_owned else None,
            mine=mine,
            repairs={repair.nonce: (repair.base, repair.tables) for repair in top.repairs},
            token=top.token,
        )
        for run_id in settled:
            log.warning("run %s was abandoned: its workstation lost the workspace", run_id)


def repair_text(repaired: Repaired) -> str:
    """The result of a repair, and what is lost, in words for people.

    Example:
        >>> from data_engine.lease.protocol import Identity
        >>> repaired = Repaired(Generation(8, "repair", 8, "ab", Identity("m1", "d1")), (5, 6, 7), ())
        >>> repair_text(repaired).partition(";")[2].partition(";")[0]
        ' lost on the share: generations 5 to 7'
    """
    generations = repaired.lost_generations
    lost = [f"generation {number}" for number in generations[:1]]
    if len(generations) > 1:
        lost = [f"generations {generations[0]} to {generations[-1]}"]
    lost += repaired.lost_segments
    if not lost:
        return "repaired; nothing was lost"
    return f"repaired; lost on the share: {', '.join(lost)}; a workstation that still holds these rows publishes them again when it owns the workspace"

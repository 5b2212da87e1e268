"""What an owner publishes: the rows its ledger has written since, with small segments folded and old ones dropped."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from data_engine.lease.held_lease import HeldLease
from data_engine.lease.observer import Observer
from data_engine.lease.protocol import NEVER, Fold, Generation
from data_engine.ledger.belief import Believed, Verdict
from data_engine.ledger.replication import Batch
from data_engine.ledger.share import Share

_COLLECT_EVERY = 8
_DROP_EVERY_S = 3600.0


class Publisher:
    """Publishes one ledger's rows for whoever holds the lease; one thread uses it.

    Every method raises what `HeldLease.commit` raises, and `LedgerError` when the ledger cannot be used.
    """

    def __init__(
        self, observer: Observer, share: Share, retention_days: Callable[[], float], clock: Callable[[], float]
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
        folded = {
            table: (fold.names, made)
            for table, fold in folds.items()
            for made in _new_names(before, published, table) - {names.get(table)}
        }
        return self._noted(batch, published, folded)

    def publish_again(self, held: HeldLease, broken: Mapping[str, Collection[str]]) -> Generation:
        """Publish from this ledger what these segments held, in their place; per table their names."""
        self._share.publish_again(broken)
        batch = self._share.unpublished(held.token)
        folds = {table: Fold(tuple(names), None) for table, names in broken.items()}
        published = held.commit({} if batch is None else batch.tables, fold=folds)
        return self._noted(batch, published, {})

    def _noted(
        self, batch: Batch | None, published: Generation, folded: Mapping[str, tuple[Sequence[str], str]]
    ) -> Generation:
        self._share.mark_published(batch, published.number, _names_of(batch, published), folded)
        self._commits += 1
        return published

    def _folds(self, head: Generation, at: Verdict | None) -> dict[str, Fold]:
        sizes = {table: [(one.name, one.size_bytes) for one in rows] for table, rows in head.files.items()}
        made = self._share.folds(sizes, self._observer.fetch)
        folds = {table: Fold(tuple(names), content) for table, (names, content) in made.items()}
        if isinstance(at, Believed) and self._clock() - self._dropped_s > _DROP_EVERY_S:
            self._dropped_s = self._clock()
            names = {table: [name for name, _ in rows] for table, rows in sizes.items()}
            old = self._share.expired(names, retention_days=self._retention_days(), at=at)
            folds |= {table: Fold(tuple(gone), None) for table, gone in old.items()}
        return folds


def _names_of(batch: Batch | None, published: Generation) -> dict[str, str]:
    """What the segments of the batch are called in the generation that has just published them."""
    return {} if batch is None else {table: published.files[table][-1].name for table in batch.tables}


def _new_names(before: Generation, after: Generation, table: str) -> set[str]:
    known = {segment.name for segment in before.files.get(table, ())}
    return {segment.name for segment in after.files.get(table, ())} - known

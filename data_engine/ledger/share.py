"""Exchange a ledger's rows with the shared history: new rows go out, those that others published come in.

segments.py says at its head how a daemon uses this, and what the files hold.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_engine.errors import RefusedSegmentError
from data_engine.formatting import plural
from data_engine.ledger import parquet_process, replication, wall_clock
from data_engine.ledger.connection import meta
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.replication import UnpublishedRows, UnreadableRows
from data_engine.ledger.segments import LARGEST_FOLD_BYTES, TABLES, plan_folds
from data_engine.model import utc_text

log = logging.getLogger(__name__)

LARGEST_SPOOL_BYTES = 4_000_000_000
"""The size of all segments that wait at once to be taken in; a first refresh of years has some hundred MB."""

Fetch = Callable[[str, str], bytes]
"""The bytes of a segment, by table and name."""

_RAISE = "UPDATE meta SET value = max(value, ?) WHERE key = ?"
_NEWEST = (
    "SELECT CAST(strftime('%s', newest_utc) AS REAL) FROM taken_segments"
    " WHERE shared_table = ? AND name = ? AND newest_utc <= ?"
)
"""The time of the newest row in a segment that was taken in, where it is not in the future."""

_DAY_S = 86_400

_REQUESTS_DAYS = 365
"""A request is remembered so long that no backup brings its file back to be carried out again; a backfill too."""


class SharedHistory:
    """The shared history as one ledger of the workspace at `root` sees it. One thread uses it; the ledger may be in use.

    Work that needs PyArrow is done by a short-lived child; with `perform=parquet_process.perform` it is done here.

    Every method raises `LedgerError` when the ledger cannot be used. What `fetch` raises comes through, and what was begun is
    then as if it had not been.

    `left_out` is a sentence about the rows that were not taken in so far; None when there were none.

    Example:
        >>> import tempfile
        >>> from data_engine.model import Switch
        >>> folder = Path(tempfile.mkdtemp())
        >>> with Ledger.open(folder / "a.sqlite") as ledger:
        ...     ledger.set_switch("claims", Switch(False))
        ...     share = SharedHistory(ledger, folder)
        ...     batch = share.unpublished(token=7)
        ...     share.mark_published(batch, 8, {"flow_switches": "0000000008-9f3c.parquet"})
        ...     share.unpublished(token=7), share.known_list[0]
        (None, 8)
        >>> with Ledger.open(folder / "b.sqlite") as ledger:
        ...     _ = SharedHistory(ledger, folder).hydrate(8, {"flow_switches": ["0000000008-9f3c.parquet"]},
        ...                                       lambda table, name: batch.tables[table], owner=7)
        ...     ledger.switches()["claims"].is_enabled
        False
    """

    def __init__(
        self,
        ledger: Ledger,
        root: Path,
        *,
        perform: Callable[[parquet_process.Request], Any] = parquet_process.in_child,
    ) -> None:
        self._ledger = ledger
        self._root = root
        self._perform = perform
        self._owner: int | None = -1
        self._refused: dict[tuple[str, str], RefusedSegmentError] = {}
        self._unfoldable: set[tuple[str, str]] = set()
        self._rows_left_out = 0
        self.left_out: str | None = None

    @property
    def known_list(self) -> tuple[int, str, frozenset[str]]:
        """The known end of the list of generations: the highest number, its nonce, and the nonces of its repairs."""
        return self._ledger.known_list()

    def note_list(self, number: int, nonce: str, repairs: Collection[str]) -> None:
        """Keep the known end of the list, also through a power cut. It goes back only where a repair made the list shorter."""
        before = self._ledger.known_list()
        if (number, nonce, frozenset(repairs)) == before:
            return
        with self._ledger.writing(durable=True) as (connection, _):
            connection.execute("UPDATE meta SET value = ? WHERE key = 'known_generation'", (number,))
            connection.execute("DELETE FROM known_list WHERE NOT is_repair")
            put = "INSERT INTO known_list VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
            connection.execute(put, (number, nonce, False))
            connection.executemany(put, [(0, repair, True) for repair in repairs])

    @property
    def seen(self) -> frozenset[str]:
        """The names of the segments that were taken in, or were published from here, and are still listed."""
        return self._ledger.taken_segments()

    @property
    def has_owned(self) -> bool:
        """Whether anything was ever published from here: the drive was tried then."""
        return bool(self._ledger.rows("SELECT 1 FROM own_tokens LIMIT 1"))

    @property
    def rev(self) -> int:
        """The revision of the newest row that was written here."""
        self._ledger.flush()
        return self._meta("rev")

    def is_published_until(self, rev: int) -> bool:
        """Whether all rows up to this revision are published."""
        with self._ledger.reading() as connection:
            return not replication.has_unpublished(connection, rev)

    def unpublished(self, token: int, *, limit: int = 100_000) -> UnpublishedRows | None:
        """The rows that were written since the last commit, to be published under `token`; None when there are none.

        About `limit` rows of a table at most: with more, call again after the commit.
        """
        self._ledger.flush()
        with self._ledger.reading() as connection:
            if not replication.has_unpublished(connection, meta(connection, "rev")):
                return None
        with self._ledger.writing() as (connection, rev):
            replication.begin_token(connection, token, rev)
        batch = self._perform(parquet_process.ReadUnpublished(self._ledger.path, token, self._root, limit))
        assert batch is None or isinstance(batch, UnpublishedRows)
        return batch

    def mark_published(
        self,
        batch: UnpublishedRows | None,
        generation: int,
        names: Mapping[str, str] | None = None,
        folded: Mapping[str, tuple[Sequence[str], str]] | None = None,
    ) -> None:
        """Remember, also through a power cut, that `generation` holds `batch`: never call it before the commit succeeded.

        `names`: what the batch's segments are called now; `folded`: per table the names that were folded and the new one.
        """
        put = "INSERT INTO taken_segments VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
        with self._ledger.writing(durable=True) as (connection, _):
            connection.execute(_RAISE, (generation, "known_generation"))
            if batch is not None:
                connection.execute(_RAISE, (batch.rev, "published_rev"))
                replication.note_seen(connection, batch.token, batch.rev)
                rows = [(table, name, batch.newest.get(table)) for table, name in (names or {}).items()]
                connection.executemany(put, rows)
            for table, (olds, name) in (folded or {}).items():
                count, newest = connection.execute(
                    "SELECT count(*), max(newest_utc) FROM taken_segments WHERE shared_table = ?"
                    " AND name IN (SELECT value FROM json_each(?))",
                    (table, json.dumps(olds)),
                ).fetchone()
                # A fold of what was not all taken in is taken in itself.
                if count == len(set(olds)):
                    connection.execute(put, (table, name, newest))

    def hydrate(
        self,
        generation: int,
        names: Mapping[str, Collection[str]],
        fetch: Fetch,
        *,
        owner: int | None,
        mine: bool = False,
        repairs: Mapping[str, tuple[int, Collection[str]]] | None = None,
        token: int | None = None,
        now_s: float | None = None,
    ) -> list[str]:
        """Take in what `generation` lists and was not taken in before; the ids of runs that were closed as abandoned.

        Runs, sources, outputs, slots, switches and resets change together; steps and logs of runs follow. Nothing that
        was written here is removed because a generation lacks it; a generation older than one taken in is left alone, unless
        it tells of a repair. `repairs` are those it tells of, by nonce: the generation that each went on from, and the tables
        that have lost rows. What this ledger holds of these is published again when this machine owns.

        `owner` is the fencing token of the machine that owns the workspace in it, None when nobody does: what still
        runs under another token is shown as abandoned. With `mine` (after a claim) that is settled and published.
        """
        hydrated = self._meta("hydrated_generation")
        news = self._unaccounted(repairs or {})
        if generation < hydrated and not news:
            return []
        if news:  # before what was published since is taken in: it is newer than what is lost
            self._account(news, has_history=hydrated >= 0)
        taken: set[tuple[str, str]] = set(self._ledger.rows("SELECT shared_table, name FROM taken_segments"))
        unseen = self._unseen(names, taken)
        if unseen:
            listed_under = generation if owner is None else owner
            self._take_in(unseen, fetch, listed_under if token is None else token)
        elif generation == hydrated and owner == self._owner and not mine and not news:
            return []
        gone = taken - {(table, name) for table, listed in names.items() for name in listed}
        at_s = time.time() if now_s is None else now_s
        settled = self._note_hydrated(generation, unseen, gone, owner=owner, mine=mine, now_s=at_s)
        self._owner = owner
        return settled

    def _unseen(self, names: Mapping[str, Collection[str]], taken: set[tuple[str, str]]) -> list[tuple[str, str]]:
        """The segments of tables known here that were not taken in yet, by table and name.

        Raises:
            RefusedSegmentError: one of them was refused before.
        """
        listed = [(table, name) for table, names in names.items() if table in TABLES for name in names]
        unseen = [key for key in listed if key not in taken]
        for key in unseen:
            if key in self._refused:
                raise self._refused[key]
        return unseen

    def _take_in(self, unseen: Sequence[tuple[str, str]], fetch: Fetch, token: int) -> None:
        with tempfile.TemporaryDirectory(prefix="data-engine-") as folder:
            try:
                segments = list(_spooled(unseen, fetch, Path(folder)))
                self._tell(self._perform(parquet_process.TakeIn(self._ledger.path, self._root, segments, token)))
            except RefusedSegmentError as refused:
                log.warning("%s: %s", refused.where, refused.what)
                self._refused[refused.table, refused.name] = refused
                raise

    def _note_hydrated(
        self,
        generation: int,
        unseen: Sequence[tuple[str, str]],
        gone: Collection[tuple[str, str]],
        *,
        owner: int | None,
        mine: bool,
        now_s: float,
    ) -> list[str]:
        """Record that all of `generation` is here, and close or show as abandoned what its owner does not run."""
        self._ledger.flush()
        with self._ledger.writing(durable=True) as (connection, rev):
            newest = [connection.execute(_NEWEST, (*key, utc_text(now_s))).fetchone() for key in unseen]
            if (newest_s := max((row[0] for row in newest if row and row[0] is not None), default=None)) is not None:
                wall_clock.keep_known(connection, wall_clock.with_record(wall_clock.read_known(connection), newest_s))
            connection.executemany("DELETE FROM taken_segments WHERE shared_table = ? AND name = ?", list(gone))
            connection.execute("UPDATE meta SET value = ? WHERE key = 'hydrated_generation'", (generation,))
            connection.execute(_RAISE, (generation, "known_generation"))
            if mine and owner is not None:
                replication.begin_token(connection, owner, rev)
                return replication.settle_lost(connection, now_s=now_s, rev=rev)
            replication.abandon_lost(connection, owner)
            return []

    def publish_again(self, tables: Collection[str]) -> None:
        """Let the next commits publish all rows that this ledger holds of these tables, whoever published them before."""
        self._ledger.flush()
        with self._ledger.writing(durable=True) as (connection, rev):
            replication.publish_again(connection, tables, rev)

    def folds(self, sizes: Mapping[str, Sequence[tuple[str, int]]], fetch: Fetch) -> dict[str, tuple[list[str], bytes]]:
        """Per table the names of neighbours that should become one segment, and its bytes; mostly empty.

        For the owner. What cannot be folded stays as it is, so that nothing that lies there keeps it from publishing.
        """
        ((own,),) = self._ledger.rows("SELECT max(token) FROM own_tokens")
        folds: dict[str, tuple[list[str], bytes]] = {}
        for table, listed in sizes.items():
            if table not in TABLES or own is None:
                continue
            sized = [(name, LARGEST_FOLD_BYTES if (table, name) in self._unfoldable else size) for name, size in listed]
            if names := plan_folds(sized):
                with tempfile.TemporaryDirectory(prefix="data-engine-") as folder:
                    segments = list(_spooled([(table, name) for name in names], fetch, Path(folder)))
                    try:
                        folds[table] = names, self._perform(parquet_process.MergeSegments(segments, own))
                    except RefusedSegmentError as refused:
                        log.warning("%s stays as it is: %s", refused.where, refused.what)
                        self._unfoldable.add((table, refused.name))
        return folds

    def expired(
        self, names: Mapping[str, Collection[str]], *, retention_days: float, at: wall_clock.Believed
    ) -> dict[str, list[str]]:
        """Per table the names of the segments of runs, steps and logs that hold nothing newer than the retention."""
        before = utc_text(at.now_s - retention_days * _DAY_S)
        requests_before = utc_text(at.now_s - max(retention_days, _REQUESTS_DAYS) * _DAY_S)
        old = set(
            self._ledger.rows(
                "SELECT shared_table, name FROM taken_segments"
                " WHERE newest_utc < iif(shared_table IN ('requests', 'backfills', 'backfill_items', 'troubles'), ?, ?)",
                *(requests_before, before),
            )
        )
        segments = {table: [name for name in listed if (table, name) in old] for table, listed in names.items()}
        return {table: listed for table, listed in segments.items() if listed}

    def _account(self, repairs: Mapping[str, tuple[int, Collection[str]]], *, has_history: bool) -> None:
        self._ledger.flush()
        with self._ledger.writing(durable=True) as (connection, rev):
            connection.executemany("INSERT INTO accounted_repairs VALUES (?)", [(nonce,) for nonce in repairs])
            for base, tables in repairs.values() if has_history else ():
                replication.publish_again(connection, tables, rev, after=base)

    def _unaccounted(
        self, repairs: Mapping[str, tuple[int, Collection[str]]]
    ) -> dict[str, tuple[int, Collection[str]]]:
        if not repairs:
            return {}
        nonces = {nonce for (nonce,) in self._ledger.rows("SELECT nonce FROM accounted_repairs")}
        return {nonce: repair for nonce, repair in repairs.items() if nonce not in nonces}

    @property
    def refused(self) -> frozenset[str]:
        """The names of segments that were read and are none that a Data Engine writes."""
        return frozenset(name for _, name in self._refused)

    def _tell(self, left_out: Sequence[UnreadableRows]) -> None:
        for loss in left_out:
            log.warning("%d rows of %s/%s were left out: %s", loss.rows, loss.table, loss.name, loss.why)
            self._rows_left_out += loss.rows
        if left_out:
            last = left_out[-1]
            self.left_out = (
                f"{plural(self._rows_left_out, 'row of the shared history was', 'rows of the shared history were')} left out, because no Data Engine"
                f" writes such rows: {last.table}/{last.name}: {last.why}"
            )

    def _meta(self, key: str) -> int:
        with self._ledger.reading() as connection:
            return meta(connection, key)


def _spooled(names: Sequence[tuple[str, str]], fetch: Fetch, folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Each segment in a file of its own, so that never more than one is in memory."""
    size = 0
    for number, (table, name) in enumerate(names):
        path = folder / str(number)
        data = fetch(table, name)
        size += len(data)
        if size > LARGEST_SPOOL_BYTES:
            raise RefusedSegmentError("with those before it, it is too large to be taken in", table=table, name=name)
        path.write_bytes(data)
        yield table, name, path

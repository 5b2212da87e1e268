"""Segments of the shared history: rows of one table as Parquet bytes and back, and folding. Knows no lease and no ledger.

How a daemon shares its ledger (`Share` in share.py; nothing here needs to be called for it):

    share = Share(ledger, workspace_root)
    share.known_generation, share.note_generation(n)            highest number ever seen; kept through a power cut
    share.seen                                                  names of the segments taken in already
    share.hydrate(n, names, fetch, owner=token)                 an observer takes a whole generation in; owner None: nobody
    share.hydrate(n, names, fetch, owner=token, mine=True)      after a claim, before the first commit
    batch = share.unpublished(token)                            None when nothing is new; else batch.tables: {table: bytes}
    folds = share.folds(sizes, fetch)                           {table: (names, bytes)}, mostly {}
    ... lease.commit(add=batch.tables, fold=folds) ...
    share.mark_published(batch, n, {table: name}, {table: (names, name)})    only after success
    share.expired(names, retention_days=30, at=believed)        {table: names} whose rows are all too old to keep

`names` is what a generation lists, `{table: [name, ...]}` in its order; `sizes` the same with `(name, size_bytes)`;
`fetch(table, name)` gives the bytes. A commit in doubt is repeated with the same batch or a new one.

Every row says under which fencing token it was committed and which revision it had in its ledger. `(fencing_token, rev)`
grows along the chain of generations, so of two rows with one key the greater is the newer, in whatever order they are
read. A row may be there twice: a reader takes the newest per key. Times are UTC ISO-8601 texts with offset. A path inside
the workspace is relative to its root, any other is as its machine wrote it. A text that is no Unicode has `\\udcXX` in it.
A reset forgets the runs, steps, logs and file state of its flow that are older than itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from data_engine.errors import LedgerError

if TYPE_CHECKING:
    import pyarrow as pa

FOLD_AT = 16
"""So many neighbours of similar size become one segment."""

LARGEST_FOLD_BYTES = 32_000_000
"""A fold takes no more than this in, and a segment of a quarter of it is not folded again: memory has a bound."""

_SMALLEST_TIER_BYTES = 32_000
_TIER_FACTOR = 8
_ROWS_AT_A_TIME = 16_384


class Table(NamedTuple):
    """A shared table: its columns as `{name: "text" | "int" | "real" | "bool"}` and the key that makes a row one row."""

    columns: dict[str, str]
    key: tuple[str, ...]


def _table(key: str, **columns: str) -> Table:
    return Table({**columns, "fencing_token": "int", "rev": "int"}, tuple(key.split()))


TABLES = {
    "runs": _table(
        "run_id",
        run_id="text",
        flow_name="text",
        group_name="text",
        source_path="text",
        source_root="text",
        source_key="text",
        status="text",
        started_at_utc="text",
        finished_at_utc="text",
        elapsed_s="real",
        error_text="text",
        cause="text",
        started_seen="text",
    ),
    "step_runs": _table(
        "run_id step_index",
        run_id="text",
        step_index="int",
        flow_name="text",
        step_label="text",
        status="text",
        started_at_utc="text",
        finished_at_utc="text",
        elapsed_s="real",
        error_text="text",
        output_path="text",
    ),
    # A line of no run has no number: it is the same line when all of it is the same.
    "logs": _table(
        "run_id line_no flow_name level message created_at_utc",
        run_id="text",
        line_no="int",
        flow_name="text",
        step_label="text",
        level="text",
        message="text",
        created_at_utc="text",
    ),
    "file_state": _table(
        "flow_name source_root source_key",
        flow_name="text",
        source_root="text",
        source_key="text",
        size_bytes="int",
        mtime_ns="int",
        content_hash="text",
        last_status="text",
        last_error_text="text",
        last_run_id="text",
        last_at_utc="text",
        success_size_bytes="int",
        success_mtime_ns="int",
        success_content_hash="text",
        last_success_run_id="text",
        last_success_at_utc="text",
        abandoned_in_a_row="int",
    ),
    "outputs": _table("flow_name output_path", flow_name="text", output_path="text"),
    "schedule_slots": _table("flow_name slot_utc", flow_name="text", slot_utc="text", run_id="text"),
    "flow_switches": _table("flow_name", flow_name="text", enabled="bool"),
    "resets": _table("flow_name", flow_name="text", reset_at_utc="text"),
}
"""Every table that travels with the workspace."""


def encode(table: str, columns: Sequence[Sequence[Any]]) -> bytes:
    """`columns`, those of `TABLES[table]` in their order and of one length, as the bytes of a Parquet file.

    Example:
        >>> columns = [["claims", "audit"], [True, False], [7, 7], [12, 13]]
        >>> list(decode("flow_switches", encode("flow_switches", columns))) == [columns]
        True
    """
    pa, _ = _arrow()
    schema = _schema(table)
    arrays = [
        pa.array(map(bool, column) if kind.type == pa.bool_() else column, kind.type)
        for column, kind in zip(columns, schema, strict=True)
    ]
    return _written(pa.Table.from_arrays(arrays, schema=schema))


def decode(table: str, data: bytes) -> Iterator[list[list[Any]]]:
    """The columns of a segment, those of `TABLES[table]` in their order, for some thousand rows at a time.

    A column the segment lacks holds None; one that is not known is left out.

    Raises:
        LedgerError: it is no Parquet file, is damaged, or its rows cannot be told apart.
    """
    pa, parquet = _arrow()
    try:
        file = parquet.ParquetFile(pa.BufferReader(data), pre_buffer=False)
        there = _checked(table, file.schema_arrow)
        for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=sorted(there), use_threads=False):
            missing = [None] * batch.num_rows
            yield [batch.column(name).to_pylist() if name in there else missing for name in TABLES[table].columns]
    except (pa.ArrowException, OSError) as error:
        raise _damaged(table, error) from error


def fold(table: str, segments: Sequence[bytes]) -> bytes:
    """One segment with the newest row of each key in `segments`, in their order.

    Raises:
        LedgerError: one of them is damaged.

    Example:
        >>> old, new = [["claims"], [True], [7], [12]], [["claims"], [False], [9], [1]]
        >>> data = fold("flow_switches", [encode("flow_switches", new), encode("flow_switches", old)])
        >>> list(decode("flow_switches", data))
        [[['claims'], [False], [9], [1]]]
    """
    pa, parquet = _arrow()
    schema = _schema(table)
    try:
        whole = pa.concat_tables(
            _conformed(table, parquet.ParquetFile(pa.BufferReader(data)).read(), schema) for data in segments
        )
        newest: dict[tuple[Any, ...], tuple[int, int, int]] = {}
        first = 0
        for batch in whole.select([*TABLES[table].key, "fencing_token", "rev"]).to_batches(_ROWS_AT_A_TIME):
            *keys, tokens, revs = (column.to_pylist() for column in batch.columns)
            for index, (key, token, rev) in enumerate(zip(zip(*keys, strict=True), tokens, revs, strict=True), first):
                if (known := newest.get(key)) is None or known[:2] < (token, rev):
                    newest[key] = token, rev, index
            first += batch.num_rows
        kept = whole.take(pa.array(sorted(index for _, _, index in newest.values()), pa.int64()))
    except (pa.ArrowException, OSError) as error:
        raise _damaged(table, error) from error
    return _written(kept)


def plan_folds(sizes: Sequence[tuple[str, int]]) -> list[str]:
    """The names of the neighbours to fold next, of a table's `(name, size_bytes)` in their order; [] when none need it.

    Segments fall into tiers by size. `FOLD_AT` neighbours, none of a higher tier, are folded when that at least doubles the
    largest: so a row is written again some six times in all, and the segments that may still grow stay few.

    Example:
        >>> young = [(f"s{number}", 4_000) for number in range(16)]
        >>> plan_folds([("old", 900_000), *young])[::15], plan_folds([("old", 900_000), *young[:15]])
        (['s0', 's15'], [])

    Reference: size-tiered compaction as in Cassandra and Lucene's TieredMergePolicy.
    """
    for tier in sorted({_tier(size) for _, size in sizes}):
        for stretch in _stretches(sizes, tier):
            taken = _fitting(stretch)
            largest, whole = max((size for _, size in taken), default=0), sum(size for _, size in taken)
            if (len(taken) >= FOLD_AT and 2 * largest <= whole) or len(taken) < len(stretch):
                return [name for name, _ in taken]
    return []


def _stretches(sizes: Iterable[tuple[str, int]], tier: int) -> Iterator[list[tuple[str, int]]]:
    """Neighbours none of which is of a higher tier or large enough to stay."""
    stretch: list[tuple[str, int]] = []
    for name, size in sizes:
        if _tier(size) > tier or size > LARGEST_FOLD_BYTES // 4:
            yield stretch
            stretch = []
        else:
            stretch.append((name, size))
    yield stretch


def _fitting(stretch: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """As many of the first as a fold may take in."""
    total = 0
    for number, (_, size) in enumerate(stretch):
        total += size
        if total > LARGEST_FOLD_BYTES:
            return stretch[:number]
    return stretch


def _tier(size: int) -> int:
    tier = 0
    while size > _SMALLEST_TIER_BYTES:
        size //= _TIER_FACTOR
        tier += 1
    return tier


def _written(whole: pa.Table) -> bytes:
    pa, parquet = _arrow()
    sink = pa.BufferOutputStream()
    parquet.write_table(whole, sink, compression="zstd", store_schema=False, row_group_size=_ROWS_AT_A_TIME)
    return bytes(sink.getvalue())


def _schema(table: str) -> pa.Schema:
    pa, _ = _arrow()
    types = {"text": pa.string(), "int": pa.int64(), "real": pa.float64(), "bool": pa.bool_()}
    return pa.schema([(name, types[kind]) for name, kind in TABLES[table].columns.items()])


def _checked(table: str, found: pa.Schema) -> set[str]:
    """The known columns that are there."""
    wanted = _schema(table)
    there = {name for name in found.names if name in TABLES[table].columns}
    wrong = [name for name in there if found.field(name).type != wanted.field(name).type]
    missing = {*TABLES[table].key, "fencing_token", "rev"} - there
    if wrong or missing:
        raise _damaged(table, f"column {(wrong or sorted(missing))[0]} is {'of another type' if wrong else 'missing'}")
    return there


def _conformed(table: str, whole: pa.Table, schema: pa.Schema) -> pa.Table:
    pa, _ = _arrow()
    there = _checked(table, whole.schema)
    columns = [
        whole.column(field.name) if field.name in there else pa.nulls(whole.num_rows, field.type) for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _damaged(table: str, why: object) -> LedgerError:
    return LedgerError(
        f"a segment of the shared history cannot be read: {why}",
        where=f"table {table}",
        mend="run data-engine doctor on the owner's workstation",
    )


def _arrow() -> tuple[Any, Any]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    return pa, parquet

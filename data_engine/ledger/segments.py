"""Segments of the shared history: rows of one table as Parquet bytes and back, and folding. Knows no lease and no ledger.

How a daemon shares its ledger (`Share` in share.py; nothing here needs to be called for it):

    share = Share(ledger, workspace_root)
    share.known_list, share.note_list(n, nonce, repairs)        the known end of the list; kept through a power cut
    share.seen                                                  names of the segments taken in already
    share.left_out                                              a sentence about rows that were not taken in; None
    share.hydrate(n, names, fetch, owner=token)                 an observer takes a whole generation in; owner None: nobody
    share.hydrate(n, names, fetch, owner=token, mine=True)      after a claim, before the first commit
    batch = share.unpublished(token)                            None when nothing is new; else batch.tables: {table: bytes}
    folds = share.folds(sizes, fetch)                           {table: (names, bytes)}, mostly {}
    ... lease.commit(add=batch.tables, fold=folds) ...
    share.mark_published(batch, n, {table: name}, {table: (names, name)})    only after success
    share.expired(names, retention_days=30, at=believed)        {table: names} whose rows are all too old to keep

`names` is what a generation lists, `{table: [name, ...]}` in its order; `sizes` the same with `(name, size_bytes)`;
`fetch(table, name)` gives the bytes. `hydrate` also takes the generation's own `token`, which is the owner's when there is one. A commit in doubt is repeated with the same batch or a new one.

Every row says under which fencing token it was committed and which revision it had in its ledger. `(fencing_token, rev)`
grows along the chain of generations, so of two rows with one key the greater is the newer, in whatever order they are
read. A row may be there twice: a reader takes the newest per key. Times are UTC ISO-8601 texts with offset. A path inside
the workspace is relative to its root, any other is as its machine wrote it. A text that is no Unicode has `\\udcXX` in it.
A reset forgets the runs, steps, logs and file state of its flow that are older than itself.

Whoever can write to the share can write a segment, with its right checksum. So what a file says of its own size is checked
before anything of it is unfolded, then what is unfolded is counted, and what is no such table is refused as a whole. What
the rows may hold is checked one by one, in checks.py. No limit here is met by what a Data Engine writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from data_engine.errors import RefusedSegmentError
from data_engine.formatting import beginning

if TYPE_CHECKING:
    import pyarrow as pa

FOLD_AT = 16
"""So many neighbours of similar size become one segment."""

LARGEST_FOLD_BYTES = 32_000_000
"""A fold takes no more than this in, and a segment of a quarter of it is not folded again: memory has a bound."""

LARGEST_SEGMENT_BYTES = 128_000_000
"""The size on the share. A commit writes 1 to 100 kB, at worst some ten MB; one segment at a time is in a daemon's memory."""

LARGEST_UNFOLDED_BYTES = 512_000_000
"""The rows of one segment, in all. A commit's are below 100 MB, at the very worst 400; a file of some kB can unfold to any size."""

MOST_ROWS = 16_000_000
"""The most rows of one segment. A commit has some 100,000; a fold of very short rows the most."""

LARGEST_UNFOLDED_FOLD_BYTES = 256_000_000
MOST_FOLD_ROWS = 2_000_000
"""A fold has all its rows in memory at once; segments that would need more stay as they are."""

_MOST_COLUMNS = 1_000
_MOST_FOOTER_ITEMS = 10_000
_LONGEST_FOOTER_TEXT = 1_000_000
"""The most of the lists and texts in a file's footer: 16 million rows are 1,000 row groups, and a least or largest value has 4 kB."""

_SMALLEST_TIER_BYTES = 32_000
_TIER_FACTOR = 8
_GROUP_ROWS = 16_384
_ROWS_AT_A_TIME = 4_096
"""16,384 error texts of 30 kB would be half a GB, twice."""


class SharedTable(NamedTuple):
    """A shared table: its columns as `{name: "text" | "int" | "real" | "bool"}`, the key that makes a row one row, and which columns
    may hold None."""

    columns: dict[str, str]
    key: tuple[str, ...]
    optional: frozenset[str]


_TYPES = {
    **dict.fromkeys(("number", "round", "total", "ended", "failed", "again", "abandoned_in_a_row"), "int"),
    **dict.fromkeys(("size_bytes", "mtime_ns", "success_size_bytes", "success_mtime_ns", "peak_memory_bytes"), "int"),
    **dict.fromkeys(("step_index", "line_no", "rows_in", "rows_out", "rejected", "fencing_token", "rev"), "int"),
    **dict.fromkeys(("git_dirty", "is_as_scheduled", "is_closed", "accepted"), "int"),
    **dict.fromkeys(("elapsed_s", "cpu_s"), "real"),
    "enabled": "bool",
}
"""The type of each column that is no text, in whichever table."""


def _table(key: str, columns: str) -> SharedTable:
    names = [*columns.split(), "fencing_token", "rev"]
    kinds = {name.rstrip("?"): _TYPES.get(name.rstrip("?"), "text") for name in names}
    return SharedTable(kinds, tuple(key.split()), frozenset(name.rstrip("?") for name in names if name.endswith("?")))


TABLES = {
    "runs": _table(
        "run_id",
        "run_id flow_name group_name source_path? source_root? source_key? status started_at_utc finished_at_utc?"
        " elapsed_s? error_text? cause? started_seen? cause_kind? cause_data? trigger_kind? trigger_detail? run_by? params?"
        " deployment_id? git_commit? git_dirty? python? environment? inputs? outputs? peak_memory_bytes? cpu_s?"
        " scheduled_for? publication? checks? rejected? edited? feed? schema? drift? accepted? reads? reports? metadata?",
    ),
    "step_runs": _table(
        "run_id step_index",
        "run_id step_index flow_name step_label status started_at_utc finished_at_utc? elapsed_s? error_text? output_path?"
        " rows_in? rows_out?",
    ),
    # A line of no run has no number: it is the same line when all of it is the same.
    "logs": _table(
        "run_id line_no flow_name level message created_at_utc",
        "run_id? line_no? flow_name? step_label? level message created_at_utc",
    ),
    "file_state": _table(
        "flow_name source_root source_key",
        "flow_name source_root source_key size_bytes mtime_ns content_hash? last_status last_error_text? last_run_id?"
        " last_at_utc? success_size_bytes? success_mtime_ns? success_content_hash? last_success_run_id?"
        " last_success_at_utc? abandoned_in_a_row",
    ),
    "outputs": _table("flow_name output_path", "flow_name output_path"),
    "schedule_slots": _table("flow_name slot_utc", "flow_name slot_utc run_id?"),
    "flow_switches": _table("flow_name", "flow_name enabled decided_by? machine? at_utc? note?"),
    "resets": _table("flow_name", "flow_name reset_at_utc"),
    "deployments": _table(
        "deployment_id",
        "deployment_id number flow_name kind set_id digest decided_by machine at_utc note cells helpers git_commit?"
        " git_dirty? config points_to? asked_by? mirror? watches? compared?",
    ),
    "requests": _table(
        "request_id state",
        "request_id verb flow_name state outcome? answer? run_ids asked_by machine file_owner? at_utc",
    ),
    "environments": _table("digest", "digest python distributions"),
    "frame_schemas": _table("digest", "digest frames"),
    "backfills": _table(
        "backfill_id",
        "backfill_id flow_name kind asked params is_as_scheduled asked_by at_utc state round total ended failed",
    ),
    "backfill_items": _table("backfill_id number", "backfill_id number source_key? slot_utc? at_utc"),
    "troubles": _table(
        "flow_name kind step error_type cell",
        "flow_name kind step error_type cell since_utc detail told_at_utc? message_id? digest_until_utc? recovered_at_utc?"
        " is_closed again at_utc",
    ),
    "read_sets": _table("digest", "digest files"),
    "reference_files": _table("reference_path", "reference_path size_bytes? mtime_ns? content_hash? at_utc"),
}
"""Every table that travels with the workspace; a column with a question mark may hold None."""


def encode(table: str, columns: Sequence[Sequence[Any]]) -> bytes:
    """`columns`, those of `TABLES[table]` in their order and of one length, as the bytes of a Parquet file.

    Example:
        >>> who = [["anna", None], ["ANNA-PC", None], ["2026-01-05T06:00:00+00:00", None], ["", None]]
        >>> columns = [["claims", "audit"], [True, False], *who, [7, 7], [12, 13]]
        >>> list(decode("flow_switches", encode("flow_switches", columns))) == [columns]
        True
    """
    pa, _ = _arrow()
    schema = _schema(table)
    arrays = [
        pa.array(map(bool, column) if kind.type == pa.bool_() else column, kind.type)
        for column, kind in zip(columns, schema, strict=True)
    ]
    return _bytes_of(pa.Table.from_arrays(arrays, schema=schema))


def decode(table: str, data: bytes, name: str = "") -> Iterator[list[list[Any]]]:
    """The columns of a segment, those of `TABLES[table]` in their order, for some thousand rows at a time.

    A column the segment lacks holds None; one that is not known is left out.

    Raises:
        RefusedSegmentError: it is no Parquet file, its rows cannot be told apart, or it is larger than any segment is.
    """
    for batch in _batches(table, data, name):
        yield [column.to_pylist() for column in batch.columns]


def fold(
    table: str,
    segments: Iterable[tuple[str, bytes]],
    refused: Callable[[Sequence[Sequence[Any]]], Collection[int]] = lambda columns: (),
) -> bytes:
    """One segment with the newest row of each key in `segments`, `(name, bytes)` in their order.

    `refused` says which rows of some columns are left out.

    Raises:
        RefusedSegmentError: one of them is damaged, or all together are larger than a fold may be.

    Example:
        >>> old, new = [["claims"], ["out/a.csv"], [7], [12]], [["claims"], ["out/a.csv"], [9], [1]]
        >>> data = fold("outputs", [("b", encode("outputs", new)), ("a", encode("outputs", old))])
        >>> list(decode("outputs", data))
        [[['claims'], ['out/a.csv'], [9], [1]]]
    """
    pa, _ = _arrow()
    at = [list(TABLES[table].columns).index(column) for column in TABLES[table].key]
    newest: dict[tuple[Any, ...], tuple[int, int, int]] = {}
    batches: list[Any] = []
    first = size = 0
    for name, data in segments:
        for batch in _batches(table, data, name):
            first, size = first + batch.num_rows, size + batch.nbytes
            if first > MOST_FOLD_ROWS or size > LARGEST_UNFOLDED_FOLD_BYTES:
                raise RefusedSegmentError("with those before it, it is too large to be folded", table=table, name=name)
            columns = [column.to_pylist() for column in batch.columns]
            out = refused(columns)
            keys = zip(*(columns[column] for column in at), strict=True)
            rows = enumerate(zip(keys, *columns[-2:], strict=True), first - batch.num_rows)
            for index, (key, token, rev) in rows:
                if index - first + batch.num_rows in out:
                    continue
                if (before := newest.get(key)) is None or before[:2] < (token, rev):
                    newest[key] = token, rev, index
            batches.append(batch)
    whole = pa.Table.from_batches(batches, schema=_schema(table))
    return _bytes_of(whole.take(pa.array(sorted(index for _, _, index in newest.values()), pa.int64())))


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
    """The first segments, as many as a fold may take in."""
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


def _bytes_of(whole: pa.Table) -> bytes:
    pa, parquet = _arrow()
    sink = pa.BufferOutputStream()
    parquet.write_table(whole, sink, compression="zstd", store_schema=False, row_group_size=_GROUP_ROWS)
    return bytes(sink.getvalue())


def _schema(table: str) -> pa.Schema:
    pa, _ = _arrow()
    types = {"text": pa.string(), "int": pa.int64(), "real": pa.float64(), "bool": pa.bool_()}
    return pa.schema([(name, types[kind]) for name, kind in TABLES[table].columns.items()])


def _batches(table: str, data: bytes, name: str) -> Iterator[pa.RecordBatch]:
    """The rows as `TABLES` has them, some thousand at a time, each text valid; no more than the file says, nor than is allowed."""
    pa, parquet = _arrow()
    schema = _schema(table)
    rows = size = 0
    try:
        file = parquet.ParquetFile(
            pa.BufferReader(data),
            pre_buffer=False,
            thrift_string_size_limit=_LONGEST_FOOTER_TEXT,
            thrift_container_size_limit=_MOST_FOOTER_ITEMS,
        )
        if why := _why_too_large(file.metadata):
            raise RefusedSegmentError(why, table=table, name=name)
        file_schema = file.schema_arrow
        if why := _why_another(table, file_schema, schema):
            raise RefusedSegmentError(why, table=table, name=name)
        columns = [column for column in TABLES[table].columns if column in file_schema.names]
        for batch in file.iter_batches(_ROWS_AT_A_TIME, columns=columns, use_threads=False):
            rows, size = rows + batch.num_rows, size + batch.nbytes
            if rows > file.metadata.num_rows or size > LARGEST_UNFOLDED_BYTES:
                raise RefusedSegmentError(
                    "it decompresses to more than it says, or than is taken in", table=table, name=name
                )
            batch.validate(full=True)
            yield pa.RecordBatch.from_arrays(
                [
                    batch.column(field.name) if field.name in columns else pa.nulls(batch.num_rows, field.type)
                    for field in schema
                ],
                schema=schema,
            )
        if rows != file.metadata.num_rows:
            raise RefusedSegmentError("it decompresses to less than it says", table=table, name=name)
    except RefusedSegmentError:
        raise
    except (pa.ArrowException, OSError, MemoryError, ValueError) as error:  # ValueError: names that are no UTF-8
        raise RefusedSegmentError(_first_line(error), table=table, name=name) from error


def _why_too_large(footer: Any) -> str | None:
    """Why a file that says this of itself is not unfolded at all."""
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    size = sum(group.total_byte_size for group in groups)
    if not 0 <= footer.num_rows <= MOST_ROWS or any(group.num_rows < 0 for group in groups):
        return f"it says that it has {footer.num_rows:,} rows"
    if any(group.total_byte_size < 0 for group in groups) or size > LARGEST_UNFOLDED_BYTES:
        return f"it says that it decompresses to {size:,} bytes"
    return f"it has {footer.num_columns:,} columns" if footer.num_columns > _MOST_COLUMNS else None


def _why_another(table: str, schema: pa.Schema, own: pa.Schema) -> str | None:
    """Why a file with these columns is none of this table."""
    for column in TABLES[table].columns:
        count = schema.names.count(column)
        if count > 1:
            return f"column {column} is there {count} times"
        if count == 0 and column in (*TABLES[table].key, "fencing_token", "rev"):
            return f"column {column} is missing"
        if count == 1 and schema.field(column).type != own.field(column).type:
            return f"column {column} is of another type"
    return None


def _first_line(error: BaseException) -> str:
    """The first line of a library's error, cut and printable: it may quote what it read."""
    line = str(error).strip().partition("\n")[0].encode("ascii", "backslashreplace").decode()
    return f"{type(error).__name__}: {beginning(''.join(c for c in line if c.isprintable()), 200)}"


def _arrow() -> tuple[Any, Any]:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    return pa, parquet

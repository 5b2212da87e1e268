"""Segments: what goes in comes out, anybody can read them, files of earlier versions stay readable, and folds stay few."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.errors import RefusedSegmentError
from data_engine.ledger.segments import FOLD_AT, LARGEST_FOLD_BYTES, TABLES, decode, encode, fold, plan_folds
from tests.support import examples

GOLDEN = Path(__file__).with_name("golden_segments")

UNKNOWN = (None,) * 25
"""What segments of before do not say of how a run began and what it took."""

NOBODY = (None,) * 4
"""What segments of before do not say of who switched a flow, where, when and why."""

ROWS: dict[str, list[tuple[Any, ...]]] = {
    "runs": [
        (
            "r1",
            "claims",
            "G",
            "in/a.csv",
            "../in",
            "a.csv",
            "success",
            "t0",
            "t1",
            0.25,
            None,
            None,
            None,
            None,
            None,
            *UNKNOWN,
            7,
            12,
        ),
        (
            "r2",
            "claims",
            "G",
            None,
            None,
            None,
            "started",
            "t2",
            None,
            None,
            None,
            None,
            '[["../in","ü",1,2,null]]',
            None,
            None,
            *UNKNOWN,
            7,
            13,
        ),
    ],
    "step_runs": [("r1", 0, "claims", "Read", "success", "t0", "t1", 0.125, None, "out/x.csv", None, None, 7, 12)],
    "logs": [
        ("r1", 1, "claims", "Read", "INFO", "3 rows", "t0", 7, 12),
        (None, None, None, None, "WARNING", "a\\udcff", "t1", 7, 13),
    ],
    "file_state": [
        ("claims", "../in", "a.csv", 10, 2**62, None, "failed", "no", "r1", "t1", 9, 5, "ab", "r0", "t0", 0, 7, 12)
    ],
    "outputs": [("claims", "out/x.csv", 7, 12)],
    "schedule_slots": [("claims", "2026-01-01T00:00:00+00:00", "r1", 7, 12)],
    "flow_switches": [("claims", False, *NOBODY, 7, 12), ("audit", True, *NOBODY, 7, 13)],
    "resets": [("claims", "2026-01-01T00:00:00.000000+00:00", 7, 12)],
    "deployments": [
        (
            *("d1", 1, "claims", "deploy", "ab" * 12, "cd" * 32, "anna", "ANNA-PC", "t0", "", "[3]", "[]", None, None),
            *('[["a.toml","ef"]]', None, None, "../out", None, None, 7, 12),
        )
    ],
    "requests": [("r1", "run", "claims", "taken", None, None, '["a"]', "bob", "BOB-PC", None, "t0", 7, 12)],
    "environments": [("0c25ce2754dc3761", "3.11.7", '["polars 2.1.0"]', 7, 12)],
    "frame_schemas": [("0c25ce2754dc3761", '[["raw","c0de",[["day","Date"]]]]', 7, 12)],
    "read_sets": [("0c25ce2754dc3761", '[["ref/a.csv",10,7,null]]', 7, 12)],
    "reference_files": [("ref/a.csv", 10, 2**62, "ab" * 32, "t0", 7, 12), ("ref/b.csv", None, None, None, "t1", 7, 13)],
    "backfills": [("b1", "claims", "files", "{}", "{}", 1, "anna@ANNA-PC", "t0", "done", 0, 2, 2, 0, 7, 12)],
    "backfill_items": [("b1", 0, "a.csv", None, "t0", 7, 12), ("b1", 1, None, "t1", "t0", 7, 12)],
    "troubles": [
        ("claims", "failed", "Clean", "KeyError", "cell 4", "t0", "{}", "t1", "m1", "t2", None, 0, 0, "t1", 7, 12),
        ("claims", "late", "", "", "", "t0", "{}", "t1", "m2", None, "t3", 1, 2, "t3", 7, 13),
    ],
}


def columns_of(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def rows_of(table: str, data: bytes) -> list[tuple[Any, ...]]:
    return [row for columns in decode(table, data) for row in zip(*columns, strict=True)]


def folded(table: str, parts: Sequence[bytes]) -> bytes:
    return fold(table, [(str(number), part) for number, part in enumerate(parts)])


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.none() | st.text(max_size=20),
    "int": st.none() | st.integers(-(2**63), 2**63 - 1),
    "real": st.none() | st.floats(allow_nan=False),
    "bool": st.booleans(),
}
VERSIONS = st.tuples(st.integers(0, 3), st.integers(0, 3))


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[tuple[Any, ...]]]:
    """A table and rows of it, with few keys and few versions."""
    table = draw(st.sampled_from(sorted(TABLES)))
    kinds = list(TABLES[table].columns.values())[:-2]
    values = st.tuples(*(VALUES[kind] for kind in kinds))
    known = draw(st.lists(values, min_size=1, max_size=4))
    return table, [(*draw(st.sampled_from(known)), *draw(VERSIONS)) for _ in range(draw(st.integers(1, 8)))]


@given(tables())
@settings(max_examples=examples(50), deadline=None)
def test_what_is_written_is_read(case: tuple[str, list[tuple[Any, ...]]]) -> None:
    """Every text, number and gap of every table."""
    table, rows = case

    assert rows_of(table, encode(table, columns_of(rows))) == rows


@given(tables(), st.data())
@settings(max_examples=examples(50), deadline=None)
def test_a_fold_has_the_newest_row_of_each_key(case: tuple[str, list[tuple[Any, ...]]], data: st.DataObject) -> None:
    """Whatever the parts and their order; folding folds gives the same."""
    table, rows = case
    names = list(TABLES[table].columns)
    at = [names.index(name) for name in TABLES[table].key]
    cut = data.draw(st.integers(1, len(rows)))
    parts = [encode(table, columns_of(part)) for part in (rows[:cut], rows[cut:]) if part]
    newest: dict[tuple[Any, ...], tuple[int, int]] = {}
    for row in rows:
        key = tuple(row[i] for i in at)
        newest[key] = max(newest.get(key, (0, 0)), row[-2:])
    whole = folded(table, parts)

    found = rows_of(table, whole)
    assert {tuple(row[i] for i in at): row[-2:] for row in found} == newest
    assert len(found) == len(newest)
    assert set(map(repr, found)) <= set(map(repr, rows))
    assert rows_of(table, folded(table, [whole, *parts])) == found


def test_a_fold_keeps_a_shrinking_table_small() -> None:
    """One row per source, however often it ran."""
    row = ROWS["file_state"][0]
    parts = [
        encode("file_state", columns_of([(*row[:-1], rev) for rev in range(n, n + 50)])) for n in range(0, 800, 50)
    ]

    assert rows_of("file_state", folded("file_state", parts)) == [(*row[:-1], 799)]


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_file_of_the_first_version_is_read(table: str) -> None:
    """Segments live on a share for years. A file here is never written again; a later format gets files beside them."""
    data = (GOLDEN / f"{table}.parquet").read_bytes()

    assert rows_of(table, data) == ROWS[table]


def newest(table: str) -> Path:
    """The file of the newest version of a table's format; the first has no number."""
    return max(GOLDEN.glob(f"{table}*.parquet"), key=lambda path: (len(path.name), path.name))


@pytest.mark.parametrize("table", sorted(TABLES))
def test_the_format_is_that_of_its_version(table: str) -> None:
    """Names, types and order of the columns are those of the file that is kept here."""
    import pyarrow.parquet as parquet

    written = parquet.read_schema(io.BytesIO(encode(table, columns_of(ROWS[table]))))
    assert written == parquet.read_schema(newest(table))
    assert written.metadata is None


def test_anybody_can_read_a_segment() -> None:
    """With Polars and with DuckDB: ordinary names and types, nothing to decode."""
    import duckdb
    import polars as pl

    frame = pl.read_parquet(io.BytesIO(newest("runs").read_bytes()))
    assert dict(frame.schema) == {
        name: {"text": pl.String, "int": pl.Int64, "real": pl.Float64}[kind]
        for name, kind in TABLES["runs"].columns.items()
    }
    assert frame.select("run_id", "status", "elapsed_s").rows() == [("r1", "success", 0.25), ("r2", "started", None)]
    path = newest("flow_switches")
    with duckdb.connect() as connection:
        answer = connection.execute("SELECT flow_name FROM read_parquet(?) WHERE enabled", [str(path)]).fetchall()
    assert answer == [("audit",)]


def test_a_column_that_is_missing_is_empty_and_one_too_many_is_left_out() -> None:
    """Versions that know more or less columns read each other's segments."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    whole = parquet.read_table(io.BytesIO(encode("step_runs", columns_of(ROWS["step_runs"]))))
    other = whole.drop_columns(["elapsed_s"]).append_column("later", pa.array(["x"]))
    sink = io.BytesIO()
    parquet.write_table(other, sink)
    row = ROWS["step_runs"][0]
    expected = [(*row[:7], None, *row[8:])]

    assert rows_of("step_runs", sink.getvalue()) == expected
    assert rows_of("step_runs", folded("step_runs", [sink.getvalue()])) == expected


def test_a_damaged_segment_is_named_with_its_fix() -> None:
    """No Parquet, a part of one, another table's, another type."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    good = encode("runs", columns_of(ROWS["runs"]))
    odd = io.BytesIO()
    parquet.write_table(pa.table({"flow_name": ["a"], "enabled": ["x"], "fencing_token": [1], "rev": [1]}), odd)
    for table, data in (("runs", b""), ("runs", good[:-9]), ("outputs", good), ("flow_switches", odd.getvalue())):
        with pytest.raises(RefusedSegmentError, match="refused") as caught:
            rows_of(table, data)
        assert (caught.value.where, bool(caught.value.fix)) == (f"table {table}", True)
        with pytest.raises(RefusedSegmentError, match=f"state/{table}/0"):
            folded(table, [data])


def grow(sizes: Sequence[int], *, shrink: int = 0) -> tuple[list[int], int]:
    """Commits of these sizes with folds between; the sizes left, and the bytes that were written in all."""
    files: list[tuple[str, int]] = []
    written = 0
    for number, size in enumerate(sizes):
        files.append((f"s{number}", size))
        written += size
        while names := plan_folds(files):
            known = dict(files)
            at = [name for name, _ in files].index(names[0])
            assert [name for name, _ in files[at : at + len(names)]] == names
            new = sum(known[name] for name in names)
            assert new <= LARGEST_FOLD_BYTES
            new = min(new, shrink) if shrink else new
            files[at : at + len(names)] = [(f"f{number}", new)]
            written += new
    return [size for _, size in files], written


@pytest.mark.parametrize("seed", range(6))
def test_folding_keeps_the_list_short_and_writes_little_again(seed: int) -> None:
    """3,000 commits of very different sizes."""
    rng = random.Random(seed)
    sizes = [int(2_000 * 10 ** rng.uniform(0, seed / 2)) for _ in range(3_000)]
    left, written = grow(sizes)

    full = [size for size in left if size > LARGEST_FOLD_BYTES // 4]
    assert len(left) - len(full) <= 2 * FOLD_AT
    assert written <= 8 * sum(sizes)


def test_a_table_that_does_not_grow_stays_one_short_list() -> None:
    """Every fold gives 50 kB again, as for a fixed number of sources."""
    left, written = grow([4_000] * 2_000, shrink=50_000)

    assert len(left) <= 2 * FOLD_AT
    assert written <= 4 * 4_000 * 2_000

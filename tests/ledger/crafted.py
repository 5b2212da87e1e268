"""Segments as a hostile or faulty writer makes them, built with PyArrow when they are needed."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet

from data_engine.ledger.segments import TABLES, encode

T0, T1 = "2026-01-01T00:00:00.000000+00:00", "2026-01-01T00:00:01.500000+00:00"

FILES = '{"files":[["in/a.csv",10,7,null],["/data/b.parquet",null,null,3]],"more":2}'
REFERENCES = '[["ref/a.csv",10,7,"' + "ab" * 32 + '"],["/data/b.csv",10,7,null]]'
PUBLICATION = '["out",[["a.csv",5,7,null,null]],null,null]'
COMPARED = '{"at_utc":"","differences":["`RATES` is 1 here, 2 in production"],"changed":[3]}'
ABOUT = (
    *("slot", T0, "anna@ANNA-PC", '{"month":"2013-01-01"}', "d1", "0123456789abcdef", 1, "3.11.7", "0c25ce2754dc3761"),
    *(
        FILES,
        FILES,
        95_375_360,
        0.25,
        T0,
        PUBLICATION,
        '[["Check","positive",9,2,1]]',
        3,
        "cell 3",
        '{"sources .csv":10}',
        *("0c25ce2754dc3761", '[["raw",["day"],[],[["a","Int64","String"]],"a.csv"]]', 1, "0c25ce2754dc3761"),
        f'[["/out/a.html","{"ab" * 32}","Delays"]]',
        '{"batch_no":7}',
    ),
)
"""How a run began and what it took."""

GOOD: dict[str, tuple[Any, ...]] = {
    "runs": (
        "r1",
        "claims",
        "G",
        "in/a.csv",
        "../in",
        "a.csv",
        "success",
        T0,
        T1,
        1.5,
        None,
        None,
        None,
        None,
        None,
        *ABOUT,
        1,
        5,
    ),
    "step_runs": ("r1", 0, "claims", "Read", "success", T0, T1, 0.5, None, "out/x.csv", 10, 3, 1, 5),
    "logs": ("r1", 1, "claims", "Read", "INFO", "3 rows", T0, 1, 5),
    "file_state": ("claims", "../in", "a.csv", 10, 7, None, "failed", "no", "r1", T1, 9, 5, "ab", "r0", T0, 0, 1, 5),
    "outputs": ("claims", "out/x.csv", 1, 5),
    "schedule_slots": ("claims", T0, "r1", 1, 5),
    "flow_switches": ("claims", False, "anna", "ANNA-PC", "2026-01-01T00:00:00.000000+00:00", "stock-taking", 1, 5),
    "resets": ("audit", T0, 1, 5),
    "deployments": (
        *(
            "d1",
            1,
            "claims",
            "deploy",
            "ab" * 12,
            "cd" * 32,
            "anna",
            "ANNA-PC",
            T0,
            "why",
            "[3, 7]",
            '["flow_helpers/a.py"]',
        ),
        *("0123456789abcdef", 0, '[["a.toml", "ef"]]', None, None, "../out", "../in", COMPARED, 1, 5),
    ),
    "requests": (*("r1", "run", "claims", "answered", "done", "{}", '["a"]', "bob", "BOB-PC", "bob", T0, 1, 5),),
    "environments": ("0c25ce2754dc3761", "3.11.7", '["polars 2.1.0"]', 1, 5),
    "frame_schemas": ("0c25ce2754dc3761", '[["raw","c0de",[["day","Date"]]]]', 1, 5),
    "read_sets": ("0c25ce2754dc3761", REFERENCES, 1, 5),
    "reference_files": ("ref/a.csv", 10, 7, "ab" * 32, T0, 1, 5),
    "backfills": (
        *("b1", "claims", "slots", '{"since":"2026-03"}', '{"days":3}', 1, "anna@ANNA-PC", T0, "running", 0, 31, 4, 1),
        *(1, 5),
    ),
    "backfill_items": ("b1", 0, "a.csv", T0, T0, 1, 5),
    "troubles": (
        *(
            "claims",
            "failed",
            "Clean",
            "KeyError",
            "claims.ipynb, cell 4",
            T0,
            '{"source":"a.csv"}',
            T0,
            "3fa2",
            T0,
            None,
        ),
        *(0, 1, T0, 1, 5),
    ),
}
"""One row of each table that every Data Engine believes, committed under token 1."""

STARTED = (
    *(*GOOD["runs"][:6], "started", T0, None, None, None, None, '[["../in","a.csv",1,2,null]]', None, None),
    *(*ABOUT[:9], *(None,) * 16, 1, 5),
)


def good(table: str, **changes: Any) -> tuple[Any, ...]:
    """The row of `GOOD` with some columns changed."""
    return tuple(changes.get(name, value) for name, value in zip(TABLES[table].columns, GOOD[table], strict=True))


def segment(table: str, *rows: Sequence[Any]) -> bytes:
    """These rows as the product writes them; their values may be anything of the right type."""
    return encode(table, [list(column) for column in zip(*rows, strict=True)])


def written(columns: dict[str, Any], **options: Any) -> bytes:
    """A Parquet file with these columns, whatever they are."""
    sink = io.BytesIO()
    parquet.write_table(pa.table(columns), sink, **({"compression": "zstd"} | options))
    return sink.getvalue()


def columns_of(table: str, rows: Sequence[Sequence[Any]] = ()) -> dict[str, Any]:
    """The Arrow columns of a segment of this table, to change some of them."""
    return dict(
        zip(
            TABLES[table].columns,
            parquet.read_table(io.BytesIO(segment(table, *(rows or [GOOD[table]])))).columns,
            strict=True,
        )
    )


def raw_text(*values: bytes) -> pa.Array:
    """A column of texts that are no UTF-8."""
    binary = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(values), *binary.buffers()[1:])


def long_texts(size: int, rows: int) -> bytes:
    """`rows` log lines, each with the same message of `size` bytes: some kB that unfold to their product."""
    line = columns_of("logs")
    columns: dict[str, Any] = {name: pa.repeat(column[0], rows) for name, column in line.items()}
    columns["line_no"] = pa.array(range(1, rows + 1), pa.int64())
    columns["message"] = pa.DictionaryArray.from_arrays(
        pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array(["x" * size])
    )
    return written(columns, store_schema=False)


def many_rows(rows: int) -> bytes:
    """So many switches of one flow."""
    sink = io.BytesIO()
    part = min(rows, 1_000_000)
    columns = {name: pa.repeat(column[0], part) for name, column in columns_of("flow_switches").items()}
    batch = pa.table(columns)
    with parquet.ParquetWriter(sink, batch.schema, compression="zstd", store_schema=False) as writer:
        for _ in range(rows // part):
            writer.write_table(batch)
    return sink.getvalue()


def no_segments(table: str) -> dict[str, bytes]:
    """Files that are no segment of this table, each with what is wrong."""
    whole = segment(table, GOOD[table])
    columns = columns_of(table)
    key = TABLES[table].key[0]
    return {
        "empty": b"",
        "text": b"no parquet at all",
        "cut": whole[:-9],
        "without a head": whole[4:],
        "long footer": whole[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1",
        "no rev": written({name: column for name, column in columns.items() if name != "rev"}),
        "no key": written({name: column for name, column in columns.items() if name != key}),
        "key of bytes": written(columns | {key: pa.array([b"r1"])}),
        "key of lists": written(columns | {key: pa.array([["r1"]])}),
        "key of structs": written(columns | {key: pa.array([{"a": {"b": "r1"}}])}),
        "key of maps": written(columns | {key: pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64()))}),
        "rev of text": written(columns | {"rev": pa.array(["5"])}),
        "rev of reals": written(columns | {"rev": pa.array([5.0])}),
        "rev beyond int64": written(columns | {"rev": pa.array([2**64 - 1], pa.uint64())}),
        "rev of decimals": written(columns | {"rev": pa.array([5], pa.decimal128(38, 0))}),
        "no name": _with(whole, key.encode(), b"\xdf" * len(key)),
        "column twice": _twice(columns, key),
        "a thousand columns": written(columns | {f"c{n}": pa.array([n]) for n in range(1_001)}),
        "no UTF-8": written(columns | {key: raw_text(b"r\xff")}, store_schema=False),
        "a surrogate": written(columns | {key: raw_text(b"r\xed\xa0\x80")}, store_schema=False),
    }


def _with(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


def _twice(columns: dict[str, Any], name: str) -> bytes:
    sink = io.BytesIO()
    arrays = [*columns.values(), columns[name]]
    parquet.write_table(pa.Table.from_arrays(arrays, names=[*columns, name]), sink)
    return sink.getvalue()


ODD_TEXTS = (
    "",
    ".",
    "..",
    "../../etc/passwd",
    "a/../../b",
    "..\\..\\b",
    "/etc/passwd",
    "/dev/zero",
    "CON",
    "C:\\Windows\\win.ini",
    "C:x",
    "\\\\.\\pipe\\x",
    "\\\\host\\share\\x",
    "//host/share/x",
    "a\0b",
    "\x1b[2J",
    "x" * 70_000,
    "\udc80".encode("utf-8", "backslashreplace").decode(),
    "\\udc2e\\udc2e/x",
    "2026-02-30T00:00:00+00:00",
    "9999-12-31T23:59:59+00:00",
    "0001-01-01T00:00:00+00:00",
    "2026-01-01",
    "[[[[",
    "[" * 100_000,
    '[["../in","../../a.csv",1,2,null]]',
    '[["in","a",1e999,2,null]]',
    '[["in","a",true,2,{}]]',
    "null",
    "success",
    "sucess",
    T0,
    "claims",
    "r1",
)
ODD_NUMBERS = (-1, 0, 1, 2, 2**31, 2**40 + 1, 2**53, 2**62, 2**63 - 1, -(2**63))
ODD_REALS = (float("nan"), float("inf"), float("-inf"), -1.0, 1e308, 0.0)


def odd_value(kind: str, rng: random.Random) -> Any:
    """A value of a column of this kind that no row should have, or seldom."""
    if rng.random() < 0.1:
        return None
    choices: dict[str, Sequence[Any]] = {
        "text": ODD_TEXTS,
        "int": ODD_NUMBERS,
        "real": ODD_REALS,
        "bool": (True, False),
    }
    return rng.choice(choices[kind])


def odd_rows(table: str, rng: random.Random) -> bytes:
    """A segment of the right form with odd values in some places."""
    rows = []
    for _ in range(rng.randint(1, 6)):
        row = list(STARTED if table == "runs" and rng.random() < 0.3 else GOOD[table])
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(row))
            kind = list(TABLES[table].columns.values())[at]
            row[at] = odd_value(kind, rng)
            if row[at] is None and kind == "bool":
                row[at] = False
        rows.append(row)
    return segment(table, *rows)


def odd_columns(table: str, rng: random.Random) -> bytes:
    """A Parquet file with columns of other types, other names, or in other forms."""
    columns = columns_of(table, [GOOD[table]] * rng.randint(1, 3))
    count = len(next(iter(columns.values())))
    types = [pa.int8(), pa.uint64(), pa.float32(), pa.large_string(), pa.binary(), pa.date32(), pa.bool_(), pa.null()]
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(list(columns))
        what = rng.randrange(6)
        if what == 0:
            del columns[name]
        elif what == 1:
            columns[name] = pa.nulls(count, rng.choice(types))
        elif what == 2:
            columns[name] = pa.array([[["x"]]] * count)
        elif what == 3:
            columns[name] = pa.nulls(count, columns[name].type)
        elif what == 4:
            columns[f"more{rng.randrange(9)}"] = pa.array([{"a": [1]}] * count)
        elif pa.types.is_string(columns[name].type):
            columns[name] = raw_text(
                *(bytes(rng.randrange(256) for _ in range(rng.randint(0, 4))) for _ in range(count))
            )
        if not columns:
            break
    options = {
        "compression": rng.choice(["zstd", "snappy", "gzip", "lz4", "none"]),
        "use_dictionary": rng.random() < 0.5,
        "data_page_version": rng.choice(["1.0", "2.0"]),
        "store_schema": rng.random() < 0.5,
        "write_statistics": rng.random() < 0.5,
    }
    return written(columns, **options)


def odd_bytes(data: bytes, rng: random.Random) -> bytes:
    """`data` with some of its bytes changed, moved, lost or doubled; most of all in its footer, which says what it is."""
    found = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        if len(found) < 16:
            break
        footer = max(len(found) - 8 - int.from_bytes(data[-8:-4], "little"), 0)
        at = rng.randrange(footer if rng.random() < 0.7 and footer < len(found) else 0, len(found))
        what = rng.randrange(6)
        if what == 0:
            found[at] = rng.randrange(256)
        elif what == 1:
            found[at] ^= 1 << rng.randrange(8)
        elif what == 2:
            found[at : at + rng.randint(1, 8)] = b"\xff" * rng.randint(1, 8)
        elif what == 3:
            del found[at : at + rng.randint(1, 40)]
        elif what == 4:
            found[at:at] = found[at : at + rng.randint(1, 40)]
        else:
            found = found[:at]
    return bytes(found)

"""Pairs that are easily told wrong, each with the words that tell it right."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Sequence
from dataclasses import make_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from data_engine.compare.comparing import MISSING, compare
from data_engine.compare.difference import Difference
from data_engine.errors import FlowValidationError
from data_engine.flow.batch import Batch, ItemError


class Case(NamedTuple):
    """Two values, the key, and what their difference says: `equal` and its words."""

    before: Any
    after: Any
    equal: bool
    words: str
    key: Sequence[str] = ()


def frame(**columns: Any) -> pl.DataFrame:
    return pl.DataFrame(columns)


def column(values: list[Any], dtype: Any) -> pl.DataFrame:
    return pl.DataFrame({"a": pl.Series(values, dtype=dtype)})


NAN, INF = float("nan"), float("inf")
NOON = datetime(2026, 7, 1, 12)
ABC = frame(id=[1, 2, 3], a=["x", "y", "z"])

TABLES: dict[str, Case] = {
    "the same frame": Case(ABC, ABC.clone(), True, "equal"),
    "a duplicate key before": Case(
        frame(id=[1, 1, 2], a=[1, 2, 3]), frame(id=[1, 2], a=[1, 3]), False,
        "1 row removed, 1 key occurs more than once", ["id"],
    ),
    "a duplicate key after": Case(
        frame(id=[1, 2], a=[1, 3]), frame(id=[1, 1, 2], a=[1, 1, 3]), False,
        "1 row added, 1 key occurs more than once", ["id"],
    ),
    "duplicate keys on both sides with the same rows": Case(
        frame(id=[1, 1], a=[1, 2]), frame(id=[1, 1], a=[2, 1]), True, "equal, 1 key occurs more than once", ["id"]
    ),
    "a null key is a key": Case(
        frame(id=[None, 1], a=[1, 2]), frame(id=[1, None], a=[2, 5]), False,
        "1 row changed (a 1), rows in another order", ["id"],
    ),
    "two null keys": Case(
        frame(id=[None, None], a=[1, 2]), frame(id=[None], a=[1]), False,
        "1 row removed, 1 key occurs more than once", ["id"],
    ),
    "a key of two columns with nulls": Case(
        frame(d=[1, None], s=["x", None], a=[1, 2]), frame(d=[1, None], s=["x", None], a=[1, 3]), False,
        "1 row changed (a 1)", ["d", "s"],
    ),
    "NaN is NaN": Case(frame(a=[NAN, 1.0]), frame(a=[NAN, 1.0]), True, "equal"),
    "NaN is not null": Case(frame(a=[NAN, 1.0]), frame(a=[None, 1.0]), False, "1 row removed, 1 added"),
    "NaN and null by key": Case(
        frame(id=[1, 2], a=[NAN, None]), frame(id=[1, 2], a=[None, NAN]), False, "2 rows changed (a 2)", ["id"]
    ),
    "NaN is not a number": Case(frame(id=[1], a=[NAN]), frame(id=[1], a=[1.0]), False, "1 row changed (a 1)", ["id"]),
    "-0.0 is 0.0": Case(frame(a=[-0.0]), frame(a=[0.0]), True, "equal"),
    "-0.0 is 0.0 by key": Case(frame(id=[1], a=[-0.0]), frame(id=[1], a=[0.0]), True, "equal", ["id"]),
    "infinities": Case(frame(a=[INF, -INF]), frame(a=[-INF, INF]), True, "equal, rows in another order"),
    "an infinity is near nothing": Case(
        frame(id=[1, 2], a=[INF, INF]), frame(id=[1, 2], a=[-INF, 1e308]), False, "2 rows changed (a 2)", ["id"]
    ),
    "float noise": Case(frame(a=[0.1 + 0.2]), frame(a=[0.3]), True, "equal"),
    "float noise by key": Case(frame(id=[1], a=[1e9]), frame(id=[1], a=[1e9 + 0.5]), True, "equal", ["id"]),
    "more than noise": Case(frame(id=[1], a=[1e9]), frame(id=[1], a=[1e9 + 2]), False, "1 row changed (a 1)", ["id"]),
    "noise about zero is a difference": Case(
        frame(id=[1], a=[0.0]), frame(id=[1], a=[1e-300]), False, "1 row changed (a 1)", ["id"]
    ),
    "the smallest float": Case(frame(a=[5e-324]), frame(a=[0.0]), False, "1 row removed, 1 added"),
    "single and double precision": Case(
        column([0.5], pl.Float32), column([0.5], pl.Float64), False, "a is Float64, was Float32"
    ),
    "decimals of another scale": Case(
        column([Decimal("1.10")], pl.Decimal(10, 2)), column([Decimal("1.1000")], pl.Decimal(38, 4)), False,
        "a is Decimal(precision=38, scale=4), was Decimal(precision=10, scale=2)",
    ),
    "a decimal of 38 digits": Case(
        column([Decimal("9" * 36 + ".01")], pl.Decimal(38, 2)), column([Decimal("9" * 36 + ".02")], pl.Decimal(38, 2)),
        False, "1 row removed, 1 added",
    ),
    "decimals whose common scale does not fit": Case(
        column([Decimal("9" * 36 + ".1")], pl.Decimal(38, 2)), column([Decimal("0.5")], pl.Decimal(38, 30)), False,
        "a is Decimal(precision=38, scale=30), was Decimal(precision=38, scale=2), 1 row removed, 1 added",
    ),
    "equal instants in other zones": Case(
        column([NOON], pl.Datetime("us", "UTC")),
        column([NOON], pl.Datetime("us", "UTC")).with_columns(pl.col("a").dt.convert_time_zone("Asia/Tokyo")), True,
        "equal, a is kept as Datetime(time_unit='us', time_zone='Asia/Tokyo'), was Datetime(time_unit='us', time_zone='UTC')",
    ),
    "other instants in other zones": Case(
        column([NOON], pl.Datetime("us", "UTC")),
        column([NOON], pl.Datetime("us")).with_columns(pl.col("a").dt.replace_time_zone("Asia/Tokyo")), False,
        "1 row removed, 1 added, a is kept as Datetime(time_unit='us', time_zone='Asia/Tokyo'), was Datetime(time_unit='us', time_zone='UTC')",
    ),
    "a moment without a zone is no instant": Case(
        column([NOON], pl.Datetime("us")), column([NOON], pl.Datetime("us", "UTC")), False,
        "a is Datetime(time_unit='us', time_zone='UTC'), was Datetime(time_unit='us', time_zone=None) (values not compared)",
    ),
    "the last day in two units of time": Case(
        frame(a=[datetime(9999, 12, 31)]).cast(pl.Datetime("ms")), frame(a=[datetime(9999, 12, 31)]).cast(pl.Datetime("us")),
        False, "a is Datetime(time_unit='us', time_zone=None), was Datetime(time_unit='ms', time_zone=None)",
    ),
    "a date and its midnight": Case(
        frame(a=[date(1960, 2, 29)]), frame(a=[datetime(1960, 2, 29)]), False,
        "a is Datetime(time_unit='us', time_zone=None), was Date",
    ),
    "dates before 1970": Case(frame(a=[date(1, 1, 1)]), frame(a=[date(1, 1, 2)]), False, "1 row removed, 1 added"),
    "moments before 1970": Case(
        frame(id=[1], a=[datetime(1899, 12, 31, 23, 59, 59)]), frame(id=[1], a=[datetime(1899, 12, 31, 23, 59, 59)]),
        True, "equal", ["id"],
    ),
    "durations of other units": Case(
        column([timedelta(days=-1)], pl.Duration("ms")), column([timedelta(days=-1)], pl.Duration("ns")), False,
        "a is Duration(time_unit='ns'), was Duration(time_unit='ms')",
    ),
    "a category and a text": Case(
        column(["x", "y"], pl.Categorical), column(["y", "x"], pl.String), True,
        "equal, rows in another order, a is kept as String, was Categorical",
    ),
    "categories in another order of codes": Case(
        column(["x", "y"], pl.Enum(["x", "y"])), column(["x", "y"], pl.Enum(["y", "x"])), True,
        "equal, a is kept as Enum(categories=['y', 'x']), was Enum(categories=['x', 'y'])",
    ),
    "nested lists": Case(frame(a=[[[1, 2], [3]]]), frame(a=[[[1, 2], [4]]]), False, "1 row removed, 1 added"),
    "lists with noise and NaN": Case(
        frame(id=[1], a=[[0.1 + 0.2, NAN]]), frame(id=[1], a=[[0.3, NAN]]), True, "equal", ["id"]
    ),
    "an empty list is not null": Case(
        column([[], [1]], pl.List(pl.Int64)), column([None, [1]], pl.List(pl.Int64)), False, "1 row removed, 1 added"
    ),
    "structs": Case(frame(a=[{"x": 1.0, "y": "p"}]), frame(a=[{"x": 1.0 + 1e-13, "y": "p"}]), True, "equal"),
    "a struct with another field": Case(
        frame(a=[{"x": 1}]), frame(a=[{"z": 1}]), False,
        "a is Struct({'z': Int64}), was Struct({'x': Int64}) (values not compared)",
    ),
    "a null struct is not a struct of nulls": Case(
        column([None], pl.Struct({"x": pl.Int64})), column([{"x": None}], pl.Struct({"x": pl.Int64})), False,
        "1 row removed, 1 added",
    ),
    "an array and a list": Case(
        column([[1, 2]], pl.Array(pl.Int64, 2)), column([[1, 2]], pl.List(pl.Int64)), False,
        "a is List(Int64), was Array(Int64, shape=(2,))",
    ),
    "a renamed column": Case(
        ABC, ABC.rename({"a": "b"}), False, "column a removed, column b added"
    ),
    "a renamed column by key, beside a row that went": Case(
        ABC, ABC.rename({"a": "b"}).head(2), False, "column a removed, column b added, 1 row removed", ["id"]
    ),
    "a column removed and another added": Case(
        ABC, frame(id=[1, 2, 3], b=["x", "y", "!"]), False, "column a removed, column b added"
    ),
    "a column of nulls looks like no other": Case(
        frame(a=[None], i=[1]), frame(i=[1], b=[None]), False, "column a removed, column b added"
    ),
    "columns that differ by case only": Case(
        frame(Id=[1], id=[2]), frame(id=[2], ID=[1]), False, "column Id removed, column ID added"
    ),
    "empty frames": Case(ABC.clear(), ABC.clear(), True, "equal"),
    "everything went": Case(ABC, ABC.clear(), False, "3 rows removed"),
    "everything came, by key": Case(ABC.clear(), ABC, False, "3 rows added", ["id"]),
    "no columns on either side": Case(pl.DataFrame(), pl.DataFrame(), True, "equal"),
    "no columns before": Case(pl.DataFrame(), frame(a=[1]), False, "column a added, 1 row added"),
    "no column in common": Case(frame(a=[1, 2]), frame(b=["x"]), False, "column a removed, column b added, 1 row removed"),
    "another order of rows": Case(ABC, ABC.reverse(), True, "equal, rows in another order"),
    "another order of rows by key": Case(ABC, ABC.reverse(), True, "equal, rows in another order", ["id"]),
    "another order of columns": Case(ABC, ABC.select("a", "id"), True, "equal, columns in another order"),
    "a row that is there twice": Case(frame(a=[1, 1]), frame(a=[1]), False, "1 row removed"),
    "values that change places": Case(frame(a=[1, 2], b=[2, 1]), frame(a=[2, 2], b=[1, 1]), False, "1 row removed, 1 added"),
    "a value in the other column": Case(frame(a=[1], b=[2]), frame(a=[2], b=[1]), False, "1 row removed, 1 added"),
    "binary": Case(frame(a=[b"\0\xff"]), frame(a=[b"\0\xfe"]), False, "1 row removed, 1 added"),
    "binary is not a text": Case(
        frame(a=[b"x"]), frame(a=["x"]), False, "a is String, was Binary (values not compared)"
    ),
    "huge integers": Case(
        column([2**64 - 1, 2**63], pl.UInt64), column([2**64 - 1, 2**63 - 1], pl.UInt64), False, "1 row removed, 1 added"
    ),
    "integers beyond what a float holds": Case(
        frame(id=[2**53, 2**53 + 1], a=[1, 2]), frame(id=[2**53 + 1, 2**53], a=[2, 1]), True,
        "equal, rows in another order", ["id"],
    ),
    "integers of 128 bits": Case(
        column([2**100], pl.Int128), column([2**100 + 1], pl.Int128), False, "1 row removed, 1 added"
    ),
    "signed and unsigned": Case(column([1, 2], pl.Int8), column([1, 2], pl.UInt64), False, "a is UInt64, was Int8"),
    "whole numbers and floats": Case(frame(a=[1, 2]), frame(a=[1.0, 2.0]), False, "a is Float64, was Int64"),
    "numbers and texts": Case(frame(a=[1]), frame(a=["1"]), False, "a is String, was Int64 (values not compared)"),
    "true and one": Case(frame(a=[True]), frame(a=[1]), False, "a is Int64, was Boolean"),
    "a column that was all null": Case(
        column([None, None], pl.Null), frame(a=[None, 1]), False, "a is Int64, was Null, 1 row removed, 1 added"
    ),
    "letters that look the same": Case(frame(a=["é"]), frame(a=["e\u0301"]), False, "1 row removed, 1 added"),
    "names with quotes and dots": Case(
        frame(**{'a."b': [1], "": [2]}), frame(**{'a."b': [1], "": [3]}), False, "1 row changed ( 1)", ['a."b']
    ),
    "column names our own work uses": Case(
        frame(i=[1, 2], j=[1, 2], h=[1, 2], n=[1, 2]), frame(i=[2, 1], j=[2, 1], h=[2, 1], n=[2, 5]), False,
        "1 row changed (n 1), rows in another order", ["i", "j"],
    ),
}  # fmt: skip

Colour = enum.Enum("Colour", ["RED", "BLUE"])
Then, Now = (make_dataclass("Total", ["net", "tax"]) for _ in range(2))


class _Stubborn:
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


VALUES: dict[str, Case] = {
    "scalars": Case(1, 2, False, "1 value differs"),
    "a number and its text": Case(1, "1", False, "1 value differs"),
    "floats with noise": Case(0.1 + 0.2, 0.3, True, "equal"),
    "a whole number and a float": Case(1, 1.0, True, "equal"),
    "none": Case(None, None, True, "equal"),
    "json in depth": Case({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}, 4], "c": 0}, False, "3 values differ"),
    "a list and a tuple": Case([1, 2], (1, 2), True, "equal"),
    "sets in any order": Case({"b", "a"}, {"a", "b"}, True, "equal"),
    "a list of frames": Case([ABC, ABC], [ABC, ABC.head(2)], False, "[1]: 1 row removed"),
    "a frame more in a list": Case([ABC], [ABC, ABC], False, "[1]: only after"),
    "frames by name": Case({"x": ABC, "n": 1}, {"x": ABC, "n": 2}, False, "n: 1 value differs"),
    "a batch and what failed in it": Case(
        Batch((1, ItemError("b.csv", ValueError("bad")))), Batch((1, 2)), False, "1 value differs"
    ),
    "a frame and a number": Case(ABC, 1, False, "differs, it is 1, was DataFrame, 3 rows × 2 columns"),
    "a series": Case(ABC["a"], ABC["a"].reverse(), True, "equal, rows in another order"),
    "a lazy frame": Case(ABC.lazy(), ABC, True, "equal"),
    "arrow": Case(pa.table({"a": [1, 2]}), pa.table({"a": [1, 3]}), False, "1 row removed, 1 added"),
    "values of an enumeration": Case(Colour.RED, Colour.BLUE, False, "1 value differs"),
    "objects whose class was loaded again": Case(Then(1, 2), Now(1, 2), True, "equal"),
    "objects without equality": Case(object(), object(), False, "cannot be compared, object does not define equality"),
    "objects that refuse": Case(
        _Stubborn(), _Stubborn(), False, "cannot be compared, _Stubborn cannot be compared: RuntimeError: no"
    ),
    "on one side only": Case(MISSING, ABC, False, "only after"),
}


@pytest.mark.parametrize("case", [*TABLES.values(), *VALUES.values()], ids=[*TABLES, *VALUES])
def test_hard_cases(case: Case) -> None:
    """Equal or not, and in the same words every time."""
    found = compare(case.before, case.after, key=case.key)

    assert (str(found), found.equal) == (case.words, case.equal)
    assert Difference.read(json.loads(json.dumps(found.as_dict(), default=str))).equal == case.equal


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _write_duckdb(path: Path, value: pl.DataFrame) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.register("given", value.to_arrow())
        connection.sql("create table t as select * from given")
        connection.sql("create view v as select 1 as one")


FILES: dict[str, tuple[str, Callable[[Path, Any], object], Any, Any, bool, str]] = {
    "parquet": ("a.parquet", lambda path, value: value.write_parquet(path), ABC, ABC.head(2), False, "1 row removed"),
    "csv": ("a.csv", lambda path, value: value.write_csv(path), ABC, ABC.reverse(), True, "equal, rows in another order"),
    "csv with leading zeros": ("a.csv", Path.write_text, "c\n007\n", "c\n7\n", False,
                               "c is Int64, was String (values not compared)"),
    "csv with float noise": ("a.csv", Path.write_text, "c\n0.30000000000000004\n", "c\n0.3\n", True, "equal"),
    "csv with semicolons": ("a.csv", Path.write_text, "a;b\n1;2\n", "a;b\n1;3\n", False, "1 row removed, 1 added"),
    "an empty csv": ("a.csv", Path.write_text, "", "", True, "equal"),
    "excel": ("a.xlsx", lambda path, value: value.write_excel(path), ABC, ABC.head(1), False, "Sheet1: 2 rows removed"),
    "json": ("a.json", _write_json, {"a": 1.0, "b": 2}, {"b": 2, "a": 1}, True, "equal"),
    "json lines": ("a.jsonl", Path.write_text, '{"a": 1}\n{"a": 2}\n', '{"a": 1}\n', False, "1 value differs"),
    "duckdb": ("a.duckdb", _write_duckdb, ABC, ABC.head(1), False, "t: 2 rows removed"),
    "arrow file": ("a.arrow", lambda path, value: value.write_ipc(path), ABC, ABC, True, "equal"),
    "another file": ("a.bin", Path.write_bytes, b"1", b"2", False, "its bytes differ"),
    "the same other file": ("a.txt", Path.write_bytes, b"1", b"1", True, "equal"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_are_compared_as_what_they_are(name: str, tmp_path: Path) -> None:
    """Tables as tables, JSON by value, others by their bytes."""
    file, write, then, now, is_equal, words = FILES[name]
    paths = []
    for side, value in (("before", then), ("after", now)):
        (tmp_path / side).mkdir()
        paths.append(tmp_path / side / file)
        write(paths[-1], value)

    found = compare(*paths)

    assert (str(found), found.equal) == (words, is_equal)


@pytest.mark.parametrize("file", ["a.parquet", "a.xlsx", "a.json", "a.arrow"])
def test_a_file_that_is_no_table_is_compared_by_its_bytes_and_told(file: str, tmp_path: Path) -> None:
    """What was cut off half-way is not silently equal to anything."""
    paths = [tmp_path / f"{side}-{file}" for side in "ab"]
    for path in paths:
        path.write_bytes(b"{half" + path.name[:1].encode())

    found = compare(*paths)

    assert not found.equal
    assert str(found).startswith("its bytes differ, ")
    assert "cannot be read as what its name says" in found.notes[0]


WRONG_KEYS: dict[str, tuple[Any, str]] = {
    "no such column": (["day"], "the key 'day' is not a column of what was there before"),
    "only on one side": (["old"], "the key 'old' is not a column of what was there after"),
    "floats": (["f"], "the key 'f' holds floats, and two floats are seldom exactly equal"),
    "types that do not compare": (
        ["t"],
        "the key 't' is String, was Int64: no row before and after can have the same key",
    ),
    "the same twice": (["f", "f"], "key=['f', 'f'] names a column twice"),
    "no name": (3, "key=3 names no columns"),
}


@pytest.mark.parametrize("name", WRONG_KEYS)
def test_a_wrong_key_is_refused(name: str) -> None:
    """At once, and by name."""
    key, what = WRONG_KEYS[name]

    with pytest.raises(FlowValidationError) as caught:
        compare(frame(f=[1.0], t=[1], old=[1]), frame(f=[1.0], t=["1"]), key=key)

    assert caught.value.what == what
    assert caught.value.fix


def test_a_part_that_lacks_the_key_is_compared_without_it() -> None:
    """A key is for the tables that have it."""
    found = compare({"x": ABC, "y": frame(b=[1])}, {"x": ABC, "y": frame(b=[2])}, key="id")

    assert found.parts["x"].key == ("id",)
    assert found.parts["y"].notes == (
        "compared without the key: the key 'id' is not a column of what was there before",
    )


def test_the_tolerance_may_be_asked_for() -> None:
    """Nought means to the bit; a tenth is for estimates; what is out of range is refused."""
    then, now = frame(id=[1], a=[1.0]), frame(id=[1], a=[1.05])

    assert compare(then, now, key="id", tolerance=0.1).equal
    assert not compare(frame(a=[0.3]), frame(a=[0.1 + 0.2]), tolerance=0).equal
    with pytest.raises(FlowValidationError, match="not a number from 0"):
        compare(then, now, tolerance=2)


def test_samples_are_few_and_show_what_differs() -> None:
    """Of a thousand rows that differ, twenty; of a changed row only the columns that do."""
    then = pl.select(id=pl.int_range(1000), a=pl.int_range(1000), b=pl.lit("same"))

    found = compare(then, then.with_columns(a=pl.col("a") + 1), key="id")

    assert len(found.samples) == 20
    assert found.samples[3].key == {"id": 3}
    assert found.samples[3].differs == {"a": (3, 4)}


def test_a_difference_crosses_processes() -> None:
    """As a pickle and as JSON it is the same."""
    import pickle

    found = compare({"x": ABC, "when": NOON.replace(tzinfo=UTC)}, {"x": ABC.head(1), "when": NOON.replace(tzinfo=UTC)})

    assert pickle.loads(pickle.dumps(found)).as_dict() == found.as_dict()
    assert Difference.read(found.as_dict()).text == found.text == "x: 2 rows removed"

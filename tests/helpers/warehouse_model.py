"""Calls on a warehouse as plain values, a slow model of what they do, and a server that does them until it is killed."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

DATES = (date(2024, 2, 29), date(1969, 12, 31))
STAMPS = (datetime(2024, 2, 29), datetime(1999, 1, 1, 12, 30))

Value = Any
Slice = list[tuple[str, str, list[Value]]]
"""Name, kind and values of each column; kinds are int, float, text, date, stamp and null."""


@dataclass(frozen=True)
class ByFile:
    """`replace_rows_by_file`."""

    key: str
    columns: Slice


@dataclass(frozen=True)
class ByValues:
    """`replace_rows_by_values` on the column k."""

    columns: Slice


@dataclass(frozen=True)
class Whole:
    """`replace_table`."""

    columns: Slice


@dataclass(frozen=True)
class Keys:
    """`normalize_columns` on all columns."""

    columns: Slice


@dataclass(frozen=True)
class Compact:
    """`compact_database` that drops no column."""


Call = ByFile | ByValues | Whole | Keys | Compact


def frame_of(columns: Slice) -> Any:
    import polars as pl

    kinds = {
        "int": pl.Int64,
        "float": pl.Float64,
        "text": pl.String,
        "date": pl.Date,
        "stamp": pl.Datetime("us"),
        "null": pl.Null,
    }
    return pl.DataFrame([pl.Series(name, values, dtype=kinds[kind]) for name, kind, values in columns])


def do(db: Path, call: Call) -> list[tuple[Value, ...]] | None:
    """Make the call; the rows it gives for `Keys`."""
    from data_engine.helpers import (
        compact_database,
        normalize_columns,
        replace_rows_by_file,
        replace_rows_by_values,
        replace_table,
    )

    match call:
        case ByFile(key, columns):
            replace_rows_by_file(db, "Größe", df=frame_of(columns), file_hash=key)
        case ByValues(columns):
            replace_rows_by_values(db, "Größe", df=frame_of(columns), column="k")
        case Whole(columns):
            replace_table(db, "Größe", df=frame_of(columns))
        case Keys(columns):
            frame = frame_of(columns)
            found = normalize_columns(db, "dim", df=frame, on=frame.columns, drop_key=False)
            assert found is not None
            return [row[-1] for row in found.rows()]
        case Compact():
            compact_database(db, drop_all_null_columns=False)
    return None


class Refused(Exception):
    """The model expects a ValueError."""


def folded(name: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def stored(value: Value, source: str, target: str) -> Value:
    """`value` as a column of kind `target` holds it; `Refused` when it would not come back the same."""
    if value is None or source == target:
        return value
    match source, target:
        case "int", "float":
            return float(value)
        case "float", "int" if value == int(value):
            return int(value)
        case "date", "stamp":
            return datetime(value.year, value.month, value.day)
        case "stamp", "date" if value == datetime(value.year, value.month, value.day):
            return value.date()
        case _, "text":
            return str(value)
    raise Refused


@dataclass
class Column:
    name: str
    kind: str


@dataclass
class Model:
    """One table and one dimension as lists and dicts."""

    columns: dict[str, Column] | None = None
    rows: list[dict[str, Value]] = field(default_factory=list)
    keys: dict[tuple[Value, ...], int] = field(default_factory=dict)

    def do(self, call: Call) -> list[int] | None:
        """What the call gives; `Refused` when it must be, with nothing changed."""
        match call:
            case ByFile(key, columns):
                self._slice([*columns, ("file_key", "text", [key] * len(columns[0][2]))], "file_key", [(key, "text")])
            case ByValues(columns):
                (k,) = (column for column in columns if folded(column[0]) == "k")
                if not k[2] or (self.columns is not None and "k" not in self.columns):
                    raise Refused
                self._slice(columns, "k", [(value, k[1]) for value in k[2]])
            case Whole(columns):
                self.columns, self.rows = {}, []
                self._add(columns)
            case Keys(columns):
                naturals = list(zip(*(values for _, _, values in columns), strict=True))
                new = {natural for natural in naturals if natural not in self.keys}
                for natural in sorted(
                    new, key=lambda one: [(part is None, part or 0) if part != "" else (False, "") for part in one]
                ):
                    self.keys[natural] = len(self.keys) + 1
                return [self.keys[natural] for natural in naturals]
        return None

    def _slice(self, columns: Slice, by: str, lookups: list[tuple[Value, str]]) -> None:
        if self.columns is None:
            self.columns = {}
            self._add(columns)
            return
        kept = [row for row in self.rows if not any(self._is(row.get(by), by, *one) for one in lookups)]
        changes = {}
        for name, kind, values in columns:
            there = self.columns.get(folded(name))
            if there is not None:
                changes[folded(name)] = self._meet(there, kind, values, kept)
        for name, kind in changes.items():
            for row in kept:
                row[name] = stored(row.get(name), self.columns[name].kind, kind)
            self.columns[name].kind = kind
        self.rows = kept
        self._add(columns)

    def _is(self, value: Value, name: str, other: Value, kind: str) -> bool:
        assert self.columns is not None
        if name not in self.columns or value is None or other is None:
            return value is None and other is None and name in self.columns
        try:
            return bool(value == stored(other, kind, self.columns[name].kind))
        except Refused:
            return False

    def _meet(self, there: Column, kind: str, values: list[Value], kept: list[dict[str, Value]]) -> str:
        """The column's kind from now on."""
        if all(value is None for value in values) or kind == there.kind:
            return there.kind
        for narrow, wide in (("int", "float"), ("date", "stamp")):
            if {kind, there.kind} == {narrow, wide}:
                return wide
        is_free = all(row.get(folded(there.name)) is None for row in kept)
        if is_free and (self.rows or there.kind == "text"):
            return kind
        try:
            for value in values:
                stored(value, kind, there.kind)
        except Refused:
            if is_free:
                return kind
            raise
        return there.kind

    def _add(self, columns: Slice) -> None:
        assert self.columns is not None
        for name, kind, _ in columns:
            self.columns.setdefault(folded(name), Column(name, "text" if kind == "null" else kind))
        for number in range(len(columns[0][2])):
            self.rows.append(
                {
                    folded(name): stored(values[number], kind, self.columns[folded(name)].kind)
                    for name, kind, values in columns
                }
            )


def contents(db: Path) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """The table's columns with their kinds, its rows and the dimension's rows, the rows in no order."""
    import duckdb
    import polars as pl

    kinds = {pl.Int64: "int", pl.Float64: "float", pl.String: "text", pl.Date: "date", pl.Datetime("us"): "stamp"}
    columns: list[tuple[str, str]] = []
    rows: list[str] = []
    keys: list[tuple[Value, ...]] = []
    if not db.exists():
        return columns, rows, []
    with duckdb.connect(str(db), read_only=True) as conn:
        tables = {row[0] for row in conn.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        if "Größe" in tables:
            frame = conn.sql('FROM "Größe"').pl()
            columns, rows = (
                [(name, kinds[kind]) for name, kind in frame.schema.items()],
                sorted(map(repr, frame.rows())),
            )
        if "dim" in tables:
            keys = conn.sql("SELECT dimension_key, a, b FROM dim").pl().rows()
    return columns, rows, _keys(keys)


def expected(model: Model) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """The same of the model."""
    columns = list((model.columns or {}).values())
    rows = [tuple(row.get(folded(column.name)) for column in columns) for row in model.rows]
    keys = _keys([(number, *natural) for natural, number in model.keys.items()])
    return [(one.name, one.kind) for one in columns], sorted(map(repr, rows)), keys


def _keys(rows: list[tuple[Value, ...]]) -> list[str]:
    """Keys with their natural values; 2 and 2.0 are one."""
    return sorted(repr((key, None if a is None else float(a), b)) for key, a, b in rows)


def serve(db: Path) -> None:
    """Make the pickled calls that come on stdin; answer each with a line."""
    print("ready", flush=True)
    while True:
        call = pickle.load(sys.stdin.buffer)
        try:
            print("done", do(db, call), flush=True)
        except ValueError:
            print("refused", flush=True)

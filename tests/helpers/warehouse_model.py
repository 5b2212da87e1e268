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
    """`normalize_columns`, `build_dimension` or `attach_dimension` on the columns a and b."""

    how: str
    columns: Slice


@dataclass(frozen=True)
class Naturals:
    """`denormalize_columns` of some keys."""

    keys: list[int | None]


@dataclass(frozen=True)
class Rows:
    """`read_rows_by_values` of values of one kind of the column k; `read_table` without values."""

    kind: str
    values: list[Value] | None


@dataclass(frozen=True)
class Index:
    """`ensure_index` on the column k."""


@dataclass(frozen=True)
class Compact:
    """`compact_database`; of the table alone where columns may go."""

    drops: bool


Call = ByFile | ByValues | Whole | Keys | Naturals | Rows | Index | Compact


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
    """Make the call; the rows it gives where it is made for them."""
    from data_engine.helpers import (
        attach_dimension,
        build_dimension,
        compact_database,
        denormalize_columns,
        ensure_index,
        normalize_columns,
        read_rows_by_values,
        read_table,
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
        case Keys("build", columns):
            return _rows(build_dimension(db, "dim", df=frame_of(columns)))
        case Keys("attach", columns):
            return _rows(attach_dimension(db, "dim", df=frame_of(columns), on=["a", "b"]))
        case Keys(_, columns):
            return _rows(normalize_columns(db, "dim", df=frame_of(columns), on=["a", "b"], drop_key=False))
        case Naturals(keys):
            frame = frame_of([("dimension_key", "int", keys)])
            return _rows(denormalize_columns(db, "dim", df=frame, select=["a", "b"]))
        case Rows(_, None):
            return _rows(read_table(db, "Größe"))
        case Rows(kind, values):
            lookup = frame_of([("k", kind, values or [])])["k"]
            return _rows(read_rows_by_values(db, "Größe", column="K", is_in=lookup, select="*"))
        case Index():
            ensure_index(db, "Größe", columns="K")
        case Compact(drops):
            compact_database(db, tables="Größe" if drops else None, drop_all_null_columns=drops)
    return None


def _rows(frame: Any) -> list[tuple[Value, ...]]:
    return list(frame.rows())


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
    has_dimension: bool = False

    def do(self, call: Call) -> list[tuple[Value, ...]] | None:
        """What the call gives; `Refused` when it must be, with nothing changed."""
        if isinstance(call, (Naturals, Rows, Index, Compact)) and self.columns is None and not self.has_dimension:
            raise Refused  # there is no database
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
            case Keys(how, columns):
                return self._dimension(how, list(zip(*(values for _, _, values in columns), strict=True)))
            case Naturals(keys):
                if not self.has_dimension:
                    raise Refused
                naturals = {number: natural for natural, number in self.keys.items()}
                return [(key, *naturals.get(key or 0, (None, None))) for key in keys]
            case Rows(kind, values):
                return self._found(kind, values)
            case Index():
                if "k" not in (self.columns or {}):
                    raise Refused
            case Compact(drops):
                if drops:
                    self._drop_columns()
        return None

    def _dimension(self, how: str, naturals: list[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
        if how == "attach":
            if not self.has_dimension:
                raise Refused
        else:
            self.has_dimension = True
            for natural in _in_order({natural for natural in naturals if natural not in self.keys}):
                self.keys[natural] = len(self.keys) + 1
        given_back = _in_order(set(naturals)) if how == "build" else naturals
        return [(*natural, self.keys.get(natural)) for natural in given_back]

    def _found(self, kind: str, values: list[Value] | None) -> list[tuple[Value, ...]]:
        if self.columns is None or (values is not None and "k" not in self.columns):
            raise Refused
        numbers = list(range(len(self.rows))) if values is None else []
        for value in values or []:
            held = [number for number, row in enumerate(self.rows) if self._is(row.get("k"), "k", value, kind)]
            numbers += [number for number in held if number not in numbers]
        return [tuple(self.rows[number].get(name) for name in self.columns) for number in numbers]

    def _drop_columns(self) -> None:
        if self.columns is None:
            raise Refused
        empty = [name for name in self.columns if all(row.get(name) is None for row in self.rows)]
        for name in (empty[1:] if len(empty) == len(self.columns) else empty) if self.rows else []:
            del self.columns[name]

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


def _in_order(naturals: set[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    """By the first part, then the second, nulls last."""
    return sorted(naturals, key=lambda one: (one[0] is None, one[0] or 0, one[1] is None, one[1] or ""))


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
    """Make the pickled calls that come on stdin; answer each with a pickle."""
    while True:
        call = pickle.load(sys.stdin.buffer)
        try:
            answer: Any = do(db, call)
        except ValueError:
            answer = "refused"
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.buffer.flush()

"""Compare any two values, as tables, files, values or parts."""

from __future__ import annotations

import dataclasses
import enum
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from data_engine.compare.difference import MOST_SAMPLES, Difference, Named, Rows, Sample
from data_engine.compare.tables import TOLERANCE, Frame, ParquetFile, Table, are_equal, compare_tables
from data_engine.errors import FlowValidationError, message_of
from data_engine.flow.batch import Batch, ItemError, is_relation
from data_engine.formatting import beginning
from data_engine.keeping import OUR_SCHEMA
from data_engine.platforms.files import content_of
from data_engine.record import Record, frozen
from data_engine.secret import knows_any, masked, masked_in
from data_engine.user_files import head_of, sha256_of, writer_of

_PLAIN = (str, int, float, bool, bytes, type(None))
_LONGEST_WORDS = 60


MISSING = object()
"""The side of a comparison that does not have the value."""


def compare(
    before: object,
    after: object,
    *,
    key: str | Sequence[str] | None = None,
    tolerance: float = TOLERANCE,
    is_strict: bool = True,
) -> Difference:
    """The difference of two values: frames, Arrow, relations, files by their paths, scalars, and lists and dicts of these.

    Tables are compared by the columns `key`, without one as a multiset of rows. Floats are equal within the relative
    `tolerance`, rows as wholes by about three digits more than it says. Other objects are compared by `==`. A table for
    which `key` is none is compared without it, and that is noted, unless `is_strict`. Secrets that this process knows are compared as
    they are and shown as `***`.

    Raises:
        FlowValidationError: `key` names a column that a table lacks, or that cannot be a key; `tolerance` is none.

    Example:
        >>> str(compare([1, {"a": 2}], [1, {"a": 3}]))
        '1 value differs'
        >>> compare(1.0, 1.0 + 1e-12).equal, str(compare("a", MISSING))
        (True, 'only before')
    """
    difference = _Comparison(keys(key), require_tolerance(tolerance), is_strict).of(before, after)
    return _masked(difference) if knows_any() else difference


def _masked(value: Any) -> Any:
    """A difference, or what is in one, with `***` for each secret."""
    if isinstance(value, Record):
        names = (one.name for one in dataclasses.fields(value))  # type: ignore[arg-type]
        return replace(value, **{name: _masked(getattr(value, name)) for name in names})  # type: ignore[type-var]
    if isinstance(value, Named):
        return Named({masked(name): _masked(one) for name, one in value.items()})
    return tuple(map(_masked, value)) if type(value) is tuple else masked_in(value)


def require_tolerance(tolerance: float) -> float:
    """The relative tolerance, when it is one.

    Raises:
        FlowValidationError: it is none.
    """
    if not isinstance(tolerance, (int, float)) or isinstance(tolerance, bool) or not 0 <= tolerance < 1:
        raise FlowValidationError(
            f"the tolerance {tolerance!r} is not a number from 0 to below 1",
            where="tolerance=",
            fix="give one such as 1e-9",
        )
    return float(tolerance)


def keys(key: str | Sequence[str] | None) -> tuple[str, ...]:
    """The columns of a key, given as one name or several.

    Raises:
        FlowValidationError: it is no name, or names one twice.
    """
    columns = () if key is None else (key,) if isinstance(key, str) else key
    if not isinstance(columns, Sequence) or not all(isinstance(column, str) and column for column in columns):
        raise FlowValidationError(
            f"key={key!r} names no columns", where="key=", fix='write key="id" or key=["day", "store"]'
        )
    if len(set(columns)) < len(columns):
        raise FlowValidationError(f"key={key!r} names a column twice", where="key=", fix="name each once")
    return tuple(columns)


@frozen
class _Comparison:
    """How values are compared. A table that has no such key is an error where `is_strict`, else it is compared without."""

    key: tuple[str, ...]
    tolerance: float
    is_strict: bool = True

    def of(self, before: object, after: object) -> Difference:
        if before is MISSING or after is MISSING:
            return _one_sided(before, after)
        then: Content = _content(before)
        now: Content = _content(after)
        texts = (words(before), words(after))
        if isinstance(then, (Frame, ParquetFile)) and isinstance(now, (Frame, ParquetFile)):
            return self._tables(then, now)
        if isinstance(then, Several) and isinstance(now, Several):
            return self._parts(then.things, now.things, texts)
        if isinstance(then, Json) and isinstance(now, Json):
            return self._value(then.value, now.value, texts)
        opaque = [side for side in (then, now) if isinstance(side, Opaque)]
        if opaque:
            notes = tuple(dict.fromkeys(side.why for side in opaque if side.why))
            is_same = (
                len(opaque) == 2 and len({(os.stat(side.path).st_size, sha256_of(side.path)) for side in opaque}) == 1
            )
            return Difference("file", *texts, is_same=is_same, notes=notes)
        return Difference("value", *texts, is_same=False, notes=(f"it is {texts[1]}, was {texts[0]}",))

    def _tables(self, before: Table, after: Table) -> Difference:
        try:
            return compare_tables(before, after, key=self.key, tolerance=self.tolerance)
        except FlowValidationError as wrong:
            if self.is_strict:
                raise
            without = compare_tables(before, after, tolerance=self.tolerance)
            return replace(without, notes=(f"compared without the key: {wrong.what}",))

    def _parts(self, before: Mapping[str, Any], after: Mapping[str, Any], texts: tuple[str, str]) -> Difference:
        names = dict.fromkeys([*before, *after])
        each = replace(self, is_strict=False)
        parts = {name: each.of(before.get(name, MISSING), after.get(name, MISSING)) for name in names}
        return Difference("parts", *texts, parts=Named(parts))

    def _value(self, before: object, after: object, texts: tuple[str, str]) -> Difference:
        """Values as JSON has them: the places at which they differ."""
        before, after = _unwrapped(before), _unwrapped(after)
        if _holds_more(before) or _holds_more(after):
            named = [_named_parts(value) for value in (before, after)]
            if type(before) is type(after) and named[0] is not None and named[1] is not None:
                return self._parts(named[0], named[1], texts)
        places = list(_places(before, after, "", self.tolerance))
        notes = tuple(dict.fromkeys(place.why for place in places if place.why))
        if notes:
            return Difference("unknown", *texts, is_same=False, notes=notes)
        samples = tuple(
            Sample(place.kind, Named({"path": place.path}), Named({"value": (place.before, place.after)}))
            for place in places[:MOST_SAMPLES]
        )
        return Difference("value", *texts, rows=Rows(changed=len(places)), samples=samples, is_same=not places)


def _content(value: object) -> Content:
    """The form in which a value is compared."""
    table = table_of(value)
    if table is not None:
        return table
    if isinstance(value, os.PathLike):
        path = Path(os.fspath(value))
        if path.is_file():
            return read_file(path)
        if path.is_dir():
            files = {str(file.relative_to(path)): file for file in sorted(path.rglob("*")) if file.is_file()}
            return Several(files)
        return Json(str(path))
    return Json(value)


def table_of(value: object) -> Table | None:
    """The value as a table; None when it is none."""
    if isinstance(value, (Frame, ParquetFile)):
        return value
    if isinstance(value, pl.DataFrame):
        return Frame(value)
    if isinstance(value, pl.LazyFrame):
        return Frame(value.collect(engine="streaming"))
    if isinstance(value, pl.Series):
        return Frame(value.alias(value.name or "value").to_frame())
    top = type(value).__module__.partition(".")[0]
    if is_relation(value):
        return Frame(pl.DataFrame(value.to_arrow_table()))  # type: ignore[attr-defined]
    if top in ("pyarrow", "pandas", "duckdb", "_duckdb") and hasattr(value, "__arrow_c_stream__"):
        return Frame(pl.DataFrame(value))
    if top == "numpy" and getattr(value, "ndim", 0) in (1, 2) and getattr(value, "dtype", None) is not None:
        with suppress(Exception):  # a dtype that Polars does not know; its values are compared one by one
            return Frame(pl.from_numpy(value))  # type: ignore[arg-type]
    return None


def _one_sided(before: object, after: object) -> Difference:
    if before is after:
        return Difference("missing")
    left, right = ("" if value is MISSING else words(value) for value in (before, after))
    side = "after" if before is MISSING else "before"
    return Difference("missing", left, right, is_same=False, notes=(f"only {side}",))


def words(value: object) -> str:
    """A value in a few words."""
    if isinstance(value, (pl.DataFrame, pl.Series)):
        height = len(value)
        more = f" × {value.width:,} columns" if isinstance(value, pl.DataFrame) else ""
        return f"{type(value).__name__}, {height:,} rows{more}"
    if isinstance(value, os.PathLike):
        return Path(os.fspath(value)).name
    if isinstance(value, (list, tuple, set, frozenset, dict, Batch)):
        return f"{type(value).__name__} of {len(value):,}"
    if isinstance(value, _PLAIN):
        text = repr(masked_in(value)[: 2 * _LONGEST_WORDS] if isinstance(value, (str, bytes)) else value)
        return beginning(text, _LONGEST_WORDS)
    return type(value).__qualname__


# -- values of Python ------------------------------------------------------------------------------------------------------


@frozen
class _Place:
    """A place at which two values differ; `why` they cannot be compared, where they cannot."""

    path: str
    before: Any
    after: Any
    kind: str = "changed"
    why: str = ""


def _places(before: object, after: object, path: str, tolerance: float) -> Iterator[_Place]:
    before, after = _unwrapped(before), _unwrapped(after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            inside = f"{path}.{name}" if path else str(name)
            if name not in before or name not in after:
                kind = "added" if name in after else "removed"
                yield _Place(inside, _plain(before.get(name)), _plain(after.get(name)), kind)
            else:
                yield from _places(before[name], after[name], inside, tolerance)
        return
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        for number in range(max(len(before), len(after))):
            inside = f"{path}[{number}]"
            if number >= len(before):
                yield _Place(inside, None, _plain(after[number]), "added")
            elif number >= len(after):
                yield _Place(inside, _plain(before[number]), None, "removed")
            else:
                yield from _places(before[number], after[number], inside, tolerance)
        return
    is_equal, why = _is_equal(before, after, tolerance)
    if not is_equal:
        yield _Place(path, _plain(before), _plain(after), why=why)


def _is_equal(before: object, after: object, tolerance: float) -> tuple[bool, str]:
    """Whether the two are equal, and why that cannot be told."""
    if before is after:
        return True, ""
    if table_of(before) is not None and table_of(after) is not None:
        return _Comparison((), tolerance).of(before, after).equal, ""
    name = type(before).__qualname__
    if type(before).__eq__ is object.__eq__ and type(before).__qualname__ == type(after).__qualname__:
        return False, f"{name} does not define equality"
    try:
        return are_equal(before, after, tolerance), ""
    except Exception as error:
        return False, f"{name} cannot be compared: {type(error).__name__}: {message_of(error)}"


def _unwrapped(value: object) -> object:
    """Values that hold others by what they hold; the class of the other side is another one when its module was loaded anew."""
    if isinstance(value, Batch):
        return list(value)
    if isinstance(value, ItemError):
        return {"item": _unwrapped(value.item), "error": f"{type(value.error).__name__}: {message_of(value.error)}"}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: getattr(value, part.name) for part in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return f"{type(value).__qualname__}.{value.name}"
    if isinstance(value, (set, frozenset)):
        return (
            value
            if not all(isinstance(part, _PLAIN) for part in value)
            else sorted(value, key=lambda part: (str(type(part)), part))
        )
    if isinstance(value, os.PathLike) and not isinstance(value, (str, bytes)):
        path = Path(os.fspath(value))
        return value if path.exists() else str(path)
    return value


def _holds_more(value: object) -> bool:
    """Whether it holds tables or files, each of which is a part to compare."""
    inside: Sequence[object] = ()
    if isinstance(value, Mapping):
        inside = list(value.values())
    elif isinstance(value, (list, tuple)):
        inside = value
    return any(_is_part(_unwrapped(part)) for part in inside)


def _is_part(value: object) -> bool:
    if isinstance(value, _PLAIN):
        return False
    if isinstance(value, os.PathLike):
        return True
    return table_of(value) is not None if not isinstance(value, (Mapping, list, tuple)) else _holds_more(value)


def _named_parts(value: object) -> dict[str, Any] | None:
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return {f"[{number}]": part for number, part in enumerate(value)}
    return None


def _plain(value: object) -> Any:
    """A value of a sample: short, and of Python's own types."""
    return value if isinstance(value, _PLAIN) else words(value)


_NUMBERS = r"^[+-]?(?:0|[1-9]\d*)$"
_FLOATS = r"^(?:[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|NaN|[+-]?inf)$"


@frozen
class Several:
    """Several things by name: the sheets of a workbook, the tables of a database, the files of a folder."""

    things: Mapping[str, Any]


@frozen
class Json:
    """A value as JSON has them."""

    value: object


@frozen
class Opaque:
    """A file that is compared by its bytes; `why` it is not what its name says."""

    path: Path
    why: str = ""


Content = Table | Several | Json | Opaque


def read_file(path: Path) -> Content:
    """The form in which a file is compared; one that cannot be read as what its name says is compared by its bytes.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("id,code\\n1,007\\n")
        >>> dict(read_file(path).schema)
        {'id': Int64, 'code': String}
    """
    try:
        return _read(path)
    except Exception as error:  # of any library
        why = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0]
        return Opaque(path, f"{path.name} cannot be read as what its name says: {beginning(why, 200)}")


def _read(path: Path) -> Content:
    kind = path.suffix.lower()
    if kind == ".gz":
        kind = Path(path.stem).suffix.lower()
    if kind in (".parquet", ".pq"):
        return ParquetFile(path)
    if kind in (".csv", ".tsv"):
        return Frame(_read_csv(path, "\t" if kind == ".tsv" else ","))
    if kind in (".arrow", ".feather", ".ipc"):
        return Frame(pl.read_ipc(content_of(path)))
    if kind in (".xlsx", ".xlsm", ".xls", ".xlsb", ".ods"):
        sheets = pl.read_excel(path, sheet_id=0, raise_if_empty=False)
        return Several({name: Frame(frame) for name, frame in sheets.items()})
    if kind in (".jsonl", ".ndjson"):
        return Json([json.loads(line) for line in content_of(path).decode().splitlines() if line.strip()])
    if kind == ".json":
        return Json(json.loads(content_of(path).decode("utf-8-sig")))
    if head_of(path, 12)[8:] != b"DUCK":
        return Opaque(path)
    if (writer := writer_of(path)) is not None:
        return Opaque(path, f"{path.name} is compared by its bytes, as it is open for writing in {writer}")
    return Several(_tables_of(path))


def _read_csv(path: Path, separator: str) -> pl.DataFrame:
    """The file's columns as texts, and as numbers where no text is lost by that: 007 stays what it is."""
    raw = content_of(path)
    if not raw.strip():
        return pl.DataFrame()
    if separator == "," and path.suffix.lower() == ".csv":
        first = raw[: raw.find(b"\n") if b"\n" in raw else len(raw)]
        separator = ";" if first.count(b";") > first.count(b",") else ","
    texts = pl.read_csv(raw, separator=separator, infer_schema=False)
    return texts.select(_as_numbers(texts.get_column(name)) for name in texts.columns)


def _as_numbers(texts: pl.Series) -> pl.Series:
    if texts.null_count() == len(texts):
        return texts
    for pattern, dtype in ((_NUMBERS, pl.Int64), (_FLOATS, pl.Float64)):
        if bool(texts.str.contains(pattern).all()):
            numbers = texts.cast(dtype, strict=False)
            if numbers.null_count() == texts.null_count():
                return numbers
    return texts


def _tables_of(path: Path) -> dict[str, Frame]:
    import duckdb

    with duckdb.connect(str(path), read_only=True) as connection:
        names = connection.execute(
            "select schema_name, table_name from duckdb_tables() where not internal and schema_name <> ? order by all",
            [OUR_SCHEMA],
        ).fetchall()
        tables = {}
        for schema, name in names:
            quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
            label = name if schema == "main" else f"{schema}.{name}"
            frame = pl.DataFrame(connection.sql(f"select * from {quoted}").to_arrow_table())
            tables[label] = Frame(frame)
    return tables

"""The profile of a frame: what each column holds, in a few values that are computed where the frame lives.

A frame of Polars is asked by one query, a relation of DuckDB by two of SQL, pandas and Arrow through Polars, which shares their memory
where it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import isfinite
from typing import Any

import polars as pl

from data_engine.display_hook import Displayable
from data_engine.errors import FlowValidationError
from data_engine.flow.batch import frame_kind
from data_engine.formatting import both_ends, plural
from data_engine.record import Record, frozen
from data_engine.secret import masked, masked_in

MOST_COLUMNS = 200
"""Columns of a profile: of a wider frame the first ones."""
MOST_FREQUENT = 5
BINS = 20
SAMPLED = 20_000
"""Rows among which frequent values are looked for; they are counted in all rows."""

_MOST_LETTERS = 200
_CANDIDATES = 20


@frozen
class Frequent(Record):
    """A value that occurs more than once, and in how many rows."""

    value: Any
    rows: int


@frozen
class ColumnProfile(Record):
    """What a column holds. Nulls and NaN are counted apart, and are in none of the other facts.

    `distinct` is None where values of the type are not counted, and `note` says so. `mean` is there for numbers and durations, of the finite
    ones. `histogram` has the number of rows in each of 20 equal parts between the smallest and the largest finite value; it is empty for
    texts. A text that is long has its two ends.
    """

    name: str
    type: str
    nulls: int = 0
    nans: int = 0
    distinct: int | None = None
    smallest: Any = None
    largest: Any = None
    mean: Any = None
    frequent: tuple[Frequent, ...] = ()
    histogram: tuple[int, ...] = ()
    note: str = ""


@frozen
class Profile(Displayable, Record):
    """The profile of a frame: how many `rows` and `columns` it has, and the first 200 columns each with what it holds.

    Frequent values are at most five, the most frequent first. In more than 20,000 rows they are those of an even sample of so many,
    counted in all rows: a value that makes up a hundredth of the rows is always among them, unless five others are more frequent.

    Example:
        >>> import polars as pl
        >>> profile = profile_of(pl.DataFrame({"city": ["Bonn", "Bonn", None], "size": [1, 2, 6]}))
        >>> city, size = profile.shown
        >>> city.nulls, city.distinct, city.frequent[0].value, size.smallest, size.largest, size.mean
        (1, 1, 'Bonn', 1, 6, 3.0)
    """

    rows: int
    columns: int
    shown: tuple[ColumnProfile, ...] = ()

    @property
    def text(self) -> str:
        """Its size in a few words."""
        return f"{plural(self.rows, 'row')} × {plural(self.columns, 'column')}"


def profile_of(value: object) -> Profile:
    """The profile of a frame: a DataFrame, LazyFrame or Series of Polars, the first two of pandas, a table of Arrow, a relation of DuckDB.

    Secrets that this process knows are shown as `***`. Values that no column of Polars can have, as of several types in a column of pandas,
    are not counted, and the column's note says so.

    Raises:
        FlowValidationError: it is no frame.
    """
    kind = frame_kind(value)
    if not kind:
        raise FlowValidationError(
            f"a profile is made of a frame, and this is {type(value).__name__}",
            where="profile",
            fix="name an object that is a DataFrame, a LazyFrame, an Arrow table or a DuckDB relation",
        )
    return _PROFILERS[kind](value)


# -- Polars ---------------------------------------------------------------------------------------------------------------


def _of_polars(frame: pl.DataFrame | pl.LazyFrame) -> Profile:
    schema = frame.collect_schema()
    names = list(schema)[:MOST_COLUMNS]
    lazy = frame.lazy() if isinstance(frame, pl.LazyFrame) else frame.select(pl.nth(range(len(names)))).lazy()
    types = [schema[name] for name in names]
    rows, facts = _measured(lazy, types)
    shown = (_column(name, str(kind), kind, of) for name, kind, of in zip(names, types, facts, strict=True))
    return Profile(rows, len(schema), tuple(shown))


def _measured(frame: pl.LazyFrame, types: Sequence[pl.DataType]) -> tuple[int, list[dict[str, Any]]]:
    """The number of rows and the facts of the first columns, which have these types, by one query."""
    each = [_facts(pl.nth(number).alias("value"), kind) for number, kind in enumerate(types)]
    asked = [fact.alias(f"{number} {name}") for number, facts in enumerate(each) for name, fact in facts.items()]
    found = frame.select(pl.len().alias("rows"), *asked).collect()
    answers = [{name: found[f"{number} {name}"] for name in facts} for number, facts in enumerate(each)]
    return int(found["rows"].item()), [{name: _plain(answer) for name, answer in facts.items()} for facts in answers]


def _facts(column: pl.Expr, kind: pl.DataType) -> dict[str, pl.Expr]:
    """The expressions of one value each for the facts of a column."""
    facts = {"nulls": column.null_count()}
    if not _is_counted(kind):
        return facts
    finite, distinct = column, column.n_unique() - (column.null_count() > 0)
    if kind.is_float():
        facts["nans"] = column.is_nan().sum()
        finite, distinct = column.filter(column.is_finite()), distinct - column.is_nan().any()
    facts["distinct"] = distinct
    if kind != pl.Binary:
        candidates = _candidates(column)
        counts = column.filter(column.is_in(candidates.implode())).value_counts(name="rows")
        facts |= {"smallest": column.min(), "largest": column.max(), "frequent": counts.implode()}
    if kind.is_numeric() or kind == pl.Duration:
        facts["mean"] = finite.mean()
    if kind.is_numeric() or kind.is_temporal():
        numbers = finite.to_physical().cast(pl.Float64)
        facts["histogram"] = numbers.hist(bin_count=BINS, include_category=False, include_breakpoint=False).implode()
    return facts


def _candidates(column: pl.Expr) -> pl.Expr:
    """The values that occur most often among rows chosen evenly: all of few rows, of many one out of each of 20,000 equal stretches.
    Which one differs from stretch to stretch, so that nothing that comes at regular distances is missed."""
    count = pl.min_horizontal(pl.len(), SAMPLED)
    stretch = pl.int_range(0, count)
    rows = stretch * pl.len() // count + stretch.hash() % (pl.len() // count)
    runs = column.gather(rows).drop_nulls().sort().rle()
    length = runs.struct.field("len")
    repeated = runs.filter(length > 1).sort_by(length.filter(length > 1), descending=True, maintain_order=True)
    return repeated.struct.field("value").head(_CANDIDATES)


def _is_counted(kind: pl.DataType) -> bool:
    is_text = kind in (pl.String, pl.Categorical, pl.Enum, pl.Binary, pl.Boolean, pl.Null)
    return is_text or kind.is_numeric() or kind.is_temporal()


def _plain(answer: pl.Series) -> Any:
    """The value of a fact in Python's types; of a time that Python has not, its text."""
    try:
        value = answer.item()
        return value.to_list() if isinstance(value, pl.Series) else value
    except (ValueError, OverflowError):
        if answer.dtype.is_nested():
            counts = answer.explode().to_frame().unnest(answer.name)
            return counts.with_columns(pl.col("value").cast(pl.String)).to_dicts()
        return answer.cast(pl.String).item()


def _column(name: str, type_name: str, kind: Any, facts: dict[str, Any]) -> ColumnProfile:
    """The column's profile of what Polars or DuckDB answered; `kind` is Polars' type, None where it has none."""
    note = ""
    if "distinct" not in facts:
        note = f"values of {type_name} are not counted"
    elif kind == pl.Binary:
        note = "values of Binary are not shown"
    counts = [one for one in facts.get("frequent") or () if one["rows"] > 1 and one["value"] == one["value"]]
    counts = sorted(counts, key=lambda one: (-one["rows"], str(one["value"])))[:MOST_FREQUENT]
    histogram = tuple(facts.get("histogram") or ())
    return ColumnProfile(
        masked(name),
        type_name,
        facts["nulls"],
        facts.get("nans") or 0,
        facts.get("distinct"),
        *(_shown(facts.get(name)) for name in ("smallest", "largest", "mean")),
        tuple(Frequent(_shown(one["value"]), one["rows"]) for one in counts),
        histogram if any(histogram) else (),
        note,
    )


def _shown(value: Any) -> Any:
    """A value without secrets, a long text cut; None for NaN, which is the smallest of nothing."""
    value = masked_in(value)
    return both_ends(value, _MOST_LETTERS) if isinstance(value, str) else value if value == value else None


# -- pandas and Arrow -----------------------------------------------------------------------------------------------------


def _of_pandas(frame: Any) -> Profile:
    """A DataFrame, its index with it where that has a name or is not the number of the row."""
    index = frame.index
    is_plain = type(index).__name__ == "RangeIndex" and index.name is None
    levels = [] if is_plain else [index.get_level_values(level).to_series() for level in range(index.nlevels)]
    names = [str(level.name) if level.name is not None else "index" for level in levels]
    columns = [*levels, *(frame.iloc[:, number] for number in range(min(frame.shape[1], MOST_COLUMNS)))]
    names += map(str, frame.columns)
    found = ((name, column.dtype, column) for name, column in zip(names, columns, strict=False))
    return _of_columns(len(frame), found, len(levels) + frame.shape[1])


def _of_arrow(table: Any) -> Profile:
    columns = zip(table.schema.names, table.schema.types, table.columns, strict=True)
    return _of_columns(table.num_rows, columns, table.num_columns)


def _of_columns(rows: int, columns: Iterator[tuple[str, Any, Any]], count: int) -> Profile:
    """The profile of columns, each with its name, its type and its values of pandas or Arrow."""
    given = list(islice(columns, MOST_COLUMNS))
    series = [_as_polars(values) for _, _, values in given]
    counted = pl.DataFrame({str(number): one for number, one in enumerate(series) if one is not None})
    facts = iter(_measured(counted.lazy(), counted.dtypes)[1])
    kinds = iter(counted.dtypes)
    shown = [
        _column(name, str(kind), None, {"nulls": _nulls(values)})
        if one is None
        else _column(name, str(kind), next(kinds), next(facts))
        for (name, kind, values), one in zip(given, series, strict=True)
    ]
    return Profile(rows, count, tuple(shown))


def _as_polars(values: Any) -> pl.Series | None:
    """A column of pandas or Arrow as Polars has it, without a copy where that can be; None where it cannot hold the values."""
    try:
        if hasattr(values, "iloc"):
            return pl.from_pandas(values)
        series = pl.from_arrow(values)
    except Exception:  # of three libraries, by what the values are
        return None
    return series if isinstance(series, pl.Series) else None


def _nulls(values: Any) -> int:
    return int(values.isna().sum() if hasattr(values, "iloc") else values.null_count)


# -- DuckDB ---------------------------------------------------------------------------------------------------------------

_FLOATS = ("float", "double")
_WHOLE = ("tinyint", "smallint", "integer", "bigint", "hugeint")
_NUMBERS = (*_FLOATS, *_WHOLE, *(f"u{kind}" for kind in _WHOLE), "decimal", "bignum")
_ZONED = "timestamp with time zone"
_TIMES = ("date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", _ZONED)
_OTHERS = ("boolean", "varchar", "enum", "uuid", "time", "time with time zone", "interval", "bit", "null")
_COUNTED = frozenset((*_NUMBERS, *_TIMES, *_OTHERS))


def _of_relation(relation: Any) -> Profile:
    """One query groups the rows by each column at once, and one counts those in each part of the histograms."""
    columns = list(zip(relation.columns, relation.types, strict=True))
    if len({name.casefold() for name in relation.columns}) < len(columns):  # SQL cannot name one of two
        return _of_arrow(relation.to_arrow_table())
    shown = columns[:MOST_COLUMNS]
    kinds = [kind.id for _, kind in shown]
    named = relation.project(", ".join(_projected(number, *column) for number, column in enumerate(shown)))
    counted = [f"c{number}" for number, kind in enumerate(kinds) if kind in _COUNTED]
    known = [f"count(k{number}) as k{number}" for number in range(len(kinds))]
    sets = ", ".join(f"({name})" for name in counted) or "()"
    groups = named.aggregate(", ".join(["count(*) as n", *known, *counted]), f"grouping sets ({sets})")
    each = [_sql_facts(number, kind) for number, kind in enumerate(kinds)]
    facts = [f"{fact} as {name}{number}" for number, facts in enumerate(each) for name, fact in facts.items()]
    (row,) = groups.aggregate(", ".join(["sum(n)", *facts])).fetchall()
    times = len(counted) or 1  # so often each row is in `groups`
    rows, values = int(row[0] or 0) // times, iter(row[1:])
    answers = [{name: next(values) for name in facts} for facts in each]
    for answer in answers:
        known_rows = int(answer["known"] or 0) // times
        answer |= {"nulls": rows - known_rows, "nans": known_rows - int(answer.get("values", known_rows) or 0)}
    for number, histogram in _histograms(named, kinds, answers):
        answers[number]["histogram"] = histogram
    profiles = (_column(name, str(kind), None, of) for (name, kind), of in zip(shown, answers, strict=True))
    return Profile(rows, len(columns), tuple(profiles))


def _projected(number: int, name: str, kind: Any) -> str:
    """The column without NaN as `c`, and as `k` a value that is null where it is."""
    column = '"' + name.replace('"', '""') + '"'
    value = f"case when not isnan({column}) then {column} end" if kind.id in _FLOATS else column
    return f"{value} as c{number}, case when {column} is not null then 1 end as k{number}"


def _sql_facts(number: int, kind: str) -> dict[str, str]:
    """The aggregates over the groups for the facts of a column, where `n` is the number of rows of a group."""
    facts = {"known": f"sum(k{number})"}
    if kind not in _COUNTED:
        return facts
    c = f"c{number}"
    facts |= {"distinct": f"count({c})", "smallest": f"min({c})", "largest": f"max({c})"}
    repeated = f"filter ({c} is not null and n > 1)"
    facts["frequent"] = f"arg_max({{'value': {c}, 'rows': n}}, n, {MOST_FREQUENT}) {repeated}"
    if kind in _FLOATS:
        facts["values"] = f"sum(n) filter ({c} is not null)"
    x = _number_of(number, kind)
    if kind in _NUMBERS:
        facts["mean"] = f"sum({x} * n) / sum(n) filter ({x} is not null)"
    if kind in (*_NUMBERS, *_TIMES):
        facts |= {"low": f"min({x})", "high": f"max({x})"}
    return facts


def _number_of(number: int, kind: str) -> str:
    """The value as a finite number, of a time its seconds."""
    c = f"c{number}" if kind in (*_NUMBERS, _ZONED) else f"c{number}::timestamp"
    value = f"{c}::double" if kind in _NUMBERS else f"epoch({c})"
    return f"case when isfinite({c}) then {value} end" if kind in (*_FLOATS, *_TIMES) else value


def _histograms(named: Any, kinds: Sequence[str], answers: Sequence[dict[str, Any]]) -> Iterator[tuple[int, list[int]]]:
    """The histogram of each column that has one, by its number."""
    ranges = {number: (of["low"], of["high"]) for number, of in enumerate(answers) if of.get("low") is not None}
    ranges = {number: (low, high) for number, (low, high) in ranges.items() if isfinite(high - low)}
    if not ranges:
        return
    parts = []
    for number, (low, high) in ranges.items():
        place = (
            f"({_number_of(number, kinds[number])} - ({low!r})) / {high - low!r} * {BINS}"
            if high > low
            else f"{BINS // 2 - 1}"
        )
        parts.append(
            f"histogram(least(floor({place}), {BINS - 1})::tinyint) filter ({_number_of(number, kinds[number])} is not null)"
        )
    (row,) = named.aggregate(", ".join(parts)).fetchall()
    for number, counts in zip(ranges, row, strict=True):
        yield number, [counts.get(part, 0) for part in range(BINS)]


_PROFILERS: dict[str, Callable[[Any], Profile]] = {
    "polars.DataFrame": _of_polars,
    "polars.LazyFrame": _of_polars,
    "polars.Series": lambda series: _of_polars(series.to_frame()),
    "pandas.DataFrame": _of_pandas,
    "pandas.Series": lambda series: _of_pandas(series.to_frame()),
    "pyarrow.Table": _of_arrow,
    "pyarrow.RecordBatch": _of_arrow,
    "duckdb.DuckDBPyRelation": _of_relation,
}
"""By `frame_kind`."""

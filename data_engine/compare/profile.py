"""The profile of a frame: what each column holds, in a few values that are computed where the frame lives.

A frame of Polars is asked by one query, a relation of DuckDB by one of SQL, pandas and Arrow through Polars, which shares their memory
where it can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
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
"""Rows that are looked at before all are: whether a column has few values, else which ones may be frequent."""

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
    ones. `histogram` has the number of rows in each of 20 equal parts between the smallest and the largest finite value, for numbers and times;
    else it is empty. Of a long text both ends are kept.
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

    Frequent values are at most five, the most frequent first, each counted in all rows. In many rows with many values they are looked for
    among 20,000 rows: of many values that are about as frequent as each other, others may be a little more frequent.

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
    require_frame(value, "this")
    return _PROFILERS[frame_kind(value)](value)


def require_frame(value: object, name: str) -> None:
    """Return where `value` is a frame; `name` says what it is called.

    Raises:
        FlowValidationError: it is none.
    """
    if not frame_kind(value):
        raise FlowValidationError(
            f"{name} is {type(value).__name__}, and a profile is made of a frame",
            where="Flow.profile(use=...)",
            fix="name an object that is a DataFrame, a LazyFrame, an Arrow table or a DuckDB relation",
        )


# -- Polars ---------------------------------------------------------------------------------------------------------------


def _of_polars(frame: pl.DataFrame | pl.LazyFrame) -> Profile:
    schema = frame.collect_schema()
    first = frame.select(pl.nth(range(min(len(schema), MOST_COLUMNS))))
    measured = _measured(first.collect() if isinstance(first, pl.LazyFrame) else first)
    shown = (_column(name, str(schema[name]), schema[name], of) for name, of in zip(schema, measured[1], strict=False))
    return Profile(measured[0], len(schema), tuple(shown))


def _measured(frame: pl.DataFrame) -> tuple[int, list[dict[str, Any]]]:
    """The number of rows and the facts of each column, by one query and a look at some rows."""
    sample = _even_sample(frame)
    each = [_facts(pl.nth(number).alias("value"), some) for number, some in enumerate(sample.iter_columns())]
    asked = [fact.alias(f"{number} {name}") for number, facts in enumerate(each) for name, fact in facts.items()]
    found = frame.select(asked)
    answers = [{name: found[f"{number} {name}"] for name in facts} for number, facts in enumerate(each)]
    return frame.height, [_answer(facts) for facts in answers]


def _even_sample(frame: pl.DataFrame) -> pl.DataFrame:
    """All of few rows; of many one out of each of 20,000 equal stretches. Which one differs from stretch to stretch, so that nothing that
    comes at regular distances is missed."""
    if frame.height <= SAMPLED:
        return frame
    stretch = pl.int_range(SAMPLED)
    return frame[pl.select(stretch * frame.height // SAMPLED + stretch.hash() % (frame.height // SAMPLED)).to_series()]


def _facts(column: pl.Expr, sample: pl.Series) -> dict[str, pl.Expr]:
    """The expressions of one value each for the facts of a column: by counting each of its values where the sample has few, else those
    of the sample that occur more than once."""
    kind = sample.dtype
    facts = {"nulls": column.null_count()}
    if not _is_counted(kind):
        return facts
    finite = column
    if kind.is_float():
        facts["nans"] = column.is_nan().sum()
        finite = column.filter(column.is_finite())
    if kind.is_numeric() or kind == pl.Duration:
        facts["mean"] = finite.mean()
    if kind.is_numeric() or kind.is_temporal():
        numbers = finite.to_physical().cast(pl.Float64)
        facts["histogram"] = numbers.hist(bin_count=BINS, include_category=False, include_breakpoint=False).implode()
    if len(sample) < SAMPLED or sample.n_unique() <= SAMPLED // 4:
        return facts | {"counts": column.value_counts(name="rows").implode()}
    counts = sample.alias("value").value_counts(name="rows").filter(pl.col("rows") > 1).drop_nulls()
    candidates = counts.sort("rows", "value", descending=[True, False])["value"].head(_CANDIDATES)
    counted = column.filter(column.is_in(candidates.implode())).value_counts(name="rows")
    is_long = kind in (
        pl.String,
        pl.Binary,
    )  # a hash of 64 bits: two of a million values have the same once in forty million times
    distinct = (column.hash() if is_long else column).n_unique() - (column.null_count() > 0)
    distinct = distinct - column.is_nan().any() if kind.is_float() else distinct
    return facts | {
        "smallest": column.min(),
        "largest": column.max(),
        "distinct": distinct,
        "counts": counted.implode(),
    }


def _answer(facts: dict[str, pl.Series]) -> dict[str, Any]:
    """The facts of a column in Python's types."""
    counts = facts.pop("counts", None)
    found = {name: _plain(fact)[0] for name, fact in facts.items()}
    if counts is not None:
        known = counts.explode().struct.unnest().drop_nulls("value")
        known = known.drop_nans("value") if known["value"].dtype.is_float() else known
        if "smallest" not in found:
            ends = known.select(smallest=pl.col("value").min(), largest=pl.col("value").max())
            found |= {"distinct": known.height} | {end.name: _plain(end)[0] for end in ends}
        repeated = known.filter(pl.col("rows") > 1).sort("rows", "value", descending=[True, False]).head(MOST_FREQUENT)
        found["frequent"] = list(zip(_plain(repeated["value"]), repeated["rows"], strict=True))
    return found


def _is_counted(kind: pl.DataType) -> bool:
    is_text = kind in (pl.String, pl.Categorical, pl.Enum, pl.Binary, pl.Boolean, pl.Null)
    return is_text or kind.is_numeric() or kind.is_temporal()


def _plain(values: pl.Series) -> list[Any]:
    """The values in Python's types; of times that Python has not, their texts."""
    if values.dtype == pl.List:
        return [None if part is None else part.to_list() for part in values]
    try:
        return values.to_list()
    except (ValueError, OverflowError):
        return values.cast(pl.String).to_list()


def _column(name: str, type_name: str, kind: Any, facts: dict[str, Any]) -> ColumnProfile:
    """The column's profile of what Polars or DuckDB answered; `kind` is Polars' type, None where it has none."""
    note = ""
    if "distinct" not in facts:
        note = f"values of {type_name} are not counted"
    elif kind == pl.Binary:
        note = "values of Binary are not shown"
        facts = {fact: value for fact, value in facts.items() if fact not in ("smallest", "largest", "frequent")}
    histogram = tuple(facts.get("histogram") or ())
    nulls, nans = facts["nulls"], facts.get("nans") or 0
    return ColumnProfile(
        masked(name),
        type_name,
        nulls,
        nans,
        facts.get("distinct"),
        _shown(facts.get("smallest")),
        _shown(facts.get("largest")),
        _shown(facts.get("mean")),
        tuple(Frequent(_shown(value), count) for value, count in facts.get("frequent") or ()),
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
    facts = iter(_measured(counted)[1])
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
        series: Any = pl.from_pandas(values) if hasattr(values, "iloc") else pl.from_arrow(values)
    except Exception:  # of three libraries, by what the values are
        return None
    return series if isinstance(series, pl.Series) else None


def _nulls(values: Any) -> int:
    return int(values.isna().sum() if hasattr(values, "iloc") else values.null_count)


# -- DuckDB ---------------------------------------------------------------------------------------------------------------

_FLOATS = ("float", "double")
_WHOLE = ("tinyint", "smallint", "integer", "bigint", "hugeint")
_NUMBERS = (*_FLOATS, *_WHOLE, *(f"u{kind}" for kind in _WHOLE), "decimal")
_ZONED = "timestamp with time zone"
_TIMES = ("date", "timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns", _ZONED)
_OTHERS = ("boolean", "varchar", "enum", "uuid", "time", "time with time zone", "interval", "bit", "null")
_COUNTED = frozenset((*_NUMBERS, *_TIMES, *_OTHERS))
_RELATION = "_data_engine_profiled"


def _of_relation(relation: Any) -> Profile:
    """One statement, which reads the relation once: what it gives is kept by DuckDB while all of it is counted."""
    columns = list(zip(relation.columns, relation.types, strict=True))
    if len({name.casefold() for name in relation.columns}) < len(columns):  # SQL cannot name one of two
        return _of_arrow(relation.to_arrow_table())
    shown = columns[:MOST_COLUMNS]
    kinds = [kind.id for _, kind in shown]
    alike: dict[str, list[int]] = {}
    for number, (_, kind) in enumerate(shown):
        if kind.id in _COUNTED:
            alike.setdefault(str(kind), []).append(number)
    looks = {
        f"{name}{number}": fact for number, kind in enumerate(kinds) for name, fact in _looks(number, kind).items()
    }
    measured = [number for number, kind in enumerate(kinds) if kind in (*_NUMBERS, *_TIMES)]
    lists = [*map(_counts, alike.values()), *([_histograms(measured)] if measured else [])]
    statement = (
        f"with kept as materialized (select {', '.join(_kept(number, name, kind.id) for number, (name, kind) in enumerate(shown))}"
        f" from {_RELATION}), looks as (select count(*), {', '.join(looks.values())} from kept)"
        f" select {', '.join(['looks.*', *(f'({one})' for one in lists)])} from looks"
    )
    (row,) = relation.query(_RELATION, statement).fetchall()
    answers = dict(zip(looks, row[1:], strict=False))
    found = [{name: answers[f"{name}{number}"] for name in _looks(number, kind)} for number, kind in enumerate(kinds)]
    for one in (one for of_type in row[1 + len(looks) :] for one in of_type or ()):
        found[one["number"]] |= one
    profiles = (
        _column(name, str(kind), None, _answered(of, kind.id)) for (name, kind), of in zip(shown, found, strict=True)
    )
    return Profile(row[0], len(columns), tuple(profiles))


def _answered(facts: dict[str, Any], kind: str) -> dict[str, Any]:
    """What SQL answered for a column, as the facts of any column are."""
    if kind not in _COUNTED:
        return facts
    parts = facts.get("parts") or {}
    return facts | {
        "distinct": facts.get("distinct", 0),
        "mean": facts.get("mean") if kind in _NUMBERS else None,
        "frequent": [(one["value"], one["rows"]) for one in facts.get("frequent") or ()],
        "histogram": [parts.get(part, 0) for part in range(BINS)],
    }


def _kept(number: int, name: str, kind: str) -> str:
    """What is kept of each row: `k`, whether the value is known; `c`, the value without NaN; `x`, a finite number, of a time its seconds."""
    column = '"' + name.replace('"', '""') + '"'
    kept = f"{column} is not null as k{number}"
    if kind in _COUNTED:
        kept += f", {f'case when not isnan({column}) then {column} end' if kind in _FLOATS else column} as c{number}"
    if kind in (*_NUMBERS, *_TIMES):
        seconds = f"epoch({column if kind == _ZONED else f'{column}::timestamp'})"
        is_finite = f"isfinite({column})" if kind in (*_FLOATS, *_TIMES) else "true"
        kept += f", case when {is_finite} then {f'{column}::double' if kind in _NUMBERS else seconds} end as x{number}"
    return kept


def _looks(number: int, kind: str) -> dict[str, str]:
    """The facts that need no groups."""
    c, looks = f"c{number}", {"nulls": f"count(*) filter (not k{number})"}
    if kind not in _COUNTED:
        return looks
    nans = f"count(*) filter (k{number} and {c} is null)"
    return looks | {"nans": nans, "smallest": f"min({c})", "largest": f"max({c})"}


def _histograms(numbers: list[int]) -> str:
    """The query for the means and histograms of all columns that are numbers or times."""
    columns = ", ".join(f"x{number}" for number in numbers)
    values = f"(select unnest({numbers}) as number, unnest([{columns}]) as x from kept)"
    ranges = f"(select number, min(x) as low, max(x) - min(x) as wide, avg(x) as mean from {values} group by number)"
    place = f"least(floor((x - low) / wide * {BINS}), {BINS - 1})"
    part = f"try_cast(case when wide > 0 then {place} else {BINS // 2 - 1} end as tinyint)"
    parts = f"histogram({part}) filter (x is not null and isfinite(wide))"
    each = f"select number, any_value(mean) as mean, {parts} as parts from {values} join {ranges} using (number) group by number"
    return f"select list({{'number': number, 'mean': mean, 'parts': parts}}) from ({each})"


def _counts(numbers: list[int]) -> str:
    """The query that counts the values of all columns of one type."""
    columns = ", ".join(f"c{number}" for number in numbers)
    values = f"select unnest({numbers}) as number, unnest([{columns}]) as value from kept"
    groups = f"select number, value, count(*) as n from ({values}) where value is not null group by all"
    most = f"arg_max({{'value': value, 'rows': n}}, n, {MOST_FREQUENT}) filter (n > 1)"
    each = f"select number, count(*) as found, {most} as most from ({groups}) group by number"
    return f"select list({{'number': number, 'distinct': found, 'frequent': most}}) from ({each})"


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

"""`compare` says of any two frames what a slow model in plain Python says."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.compare.comparing import compare
from tests.compare.model import Said, model
from tests.support import examples

_FLOATS = [0.0, -0.0, 1.5, 0.1 + 0.2, 0.3, float("nan"), float("inf"), float("-inf"), 1e300, 1e-300, None]
_NUMBERS = [0, 1, 2, 3, 7, None]
_MOMENTS = [datetime(1970, 1, 1), datetime(1901, 5, 6, 7, 8, 9), datetime(2026, 3, 29, 2, 30), None]
_AWARE = [None if one is None else one.replace(tzinfo=UTC) for one in _MOMENTS]
_LISTS = [[], [1.0, None], [float("nan")], [0.1 + 0.2], [0.3], None]
_STRUCTS = [{"a": 1, "b": 1.5}, {"a": None, "b": float("nan")}, {"a": 1, "b": 1.5 + 1e-12}, None]

COLUMNS: list[tuple[Any, Any, list[Any]]] = [
    (pl.Int64, pl.Int64, [*_NUMBERS, 2**63 - 1, -(2**63)]),
    (pl.Int8, pl.UInt64, _NUMBERS),
    (pl.UInt64, pl.UInt64, [*_NUMBERS, 2**64 - 1]),
    (pl.Int64, pl.Float64, _NUMBERS),
    (pl.Float64, pl.Float64, _FLOATS),
    (pl.Float32, pl.Float32, [0.5, float("nan"), None, -0.0, 0.0]),
    (pl.Boolean, pl.Boolean, [True, False, None]),
    (pl.Boolean, pl.Int64, [True, False, None]),
    (pl.String, pl.String, ["", "a", "A", "é", None]),
    (pl.String, pl.Categorical, ["", "a", "b", None]),
    (pl.Enum(["a", "b"]), pl.Enum(["b", "a"]), ["a", "b", None]),
    (pl.Binary, pl.Binary, [b"", b"\0", b"a", None]),
    (pl.Date, pl.Date, [date(1969, 12, 31), date(2026, 1, 1), None]),
    (pl.Date, pl.Datetime("us"), [date(1969, 12, 31), date(2026, 1, 1), None]),
    (pl.Datetime("us"), pl.Datetime("us"), _MOMENTS),
    (pl.Datetime("ms"), pl.Datetime("ns"), _MOMENTS),
    (pl.Datetime("us", "UTC"), pl.Datetime("us", "Europe/Berlin"), _AWARE),
    (pl.Datetime("ms", "UTC"), pl.Datetime("us", "UTC"), _AWARE),
    (pl.Duration("ms"), pl.Duration("us"), [timedelta(0), timedelta(days=-1, seconds=3), None]),
    (pl.Time, pl.Time, [time(0), time(23, 59, 59), None]),
    (pl.Decimal(10, 2), pl.Decimal(12, 4), [Decimal("0"), Decimal("1.10"), Decimal("-3"), None]),
    (pl.Decimal(10, 2), pl.Int64, [0, 1, -300, None]),
    (pl.Decimal(10, 2), pl.Float64, [0, 1, -300, None]),
    (pl.List(pl.Float64), pl.List(pl.Float64), _LISTS),
    (pl.Struct({"a": pl.Int64, "b": pl.Float64}), pl.Struct({"a": pl.Int64, "b": pl.Float64}), _STRUCTS),
    (pl.Null, pl.Int64, [None]),
]
KEYS = [one for one in COLUMNS if not any(kind in str(one[:2]) for kind in ("Float", "List", "Struct", "Null"))]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Two frames that have much in common, and a key or none."""
    keys = draw(st.lists(st.sampled_from(KEYS), max_size=2))
    others = draw(st.lists(st.sampled_from(COLUMNS), max_size=3))
    chosen = {f"k{n}": one for n, one in enumerate(keys)} | {f"c{n}": one for n, one in enumerate(others)}
    row = st.tuples(*(st.sampled_from(values) for _, _, values in chosen.values()))
    then = draw(st.lists(row, max_size=8))
    taken = draw(st.lists(st.sampled_from(then), max_size=8)) if then else []
    now = draw(st.permutations([*taken, *draw(st.lists(row, max_size=3))]))
    if draw(st.booleans()):
        now = draw(st.permutations(then))
    frames = [
        pl.DataFrame(
            {name: pl.Series(name, [row[n] for row in rows], one[side]) for n, (name, one) in enumerate(chosen.items())}
        )
        for side, rows in enumerate((then, now))
    ]
    return frames[0], frames[1], [name for name in chosen if name.startswith("k")]


@given(pair=pairs())
@settings(max_examples=examples(80), deadline=None)
def test_a_difference_says_what_the_model_says(pair: tuple[pl.DataFrame, pl.DataFrame, list[str]]) -> None:
    """Rows added, removed and changed, values changed by column, order and duplicates."""
    before, after, key = pair

    found = compare(before, after, key=key)

    rows = found.rows
    said = Said(
        rows.added,
        rows.removed,
        rows.changed,
        dict(found.changed_values),
        found.order.rows,
        (found.duplicates.before, found.duplicates.after),
    )
    assert said == model(before, after, key)
    assert (rows.before, rows.after) == (before.height, after.height)
    is_whole = not (rows.added or rows.removed or rows.changed)
    assert found.equal == (is_whole and not any(one.matters for one in found.columns.retyped))


@given(pair=pairs())
@settings(max_examples=examples(30), deadline=None)
def test_the_other_way_round_added_is_removed(pair: tuple[pl.DataFrame, pl.DataFrame, list[str]]) -> None:
    """And what changed is the same."""
    before, after, key = pair

    there, back = compare(before, after, key=key), compare(after, before, key=key)

    assert (there.rows.added, there.rows.removed) == (back.rows.removed, back.rows.added)
    assert there.changed_values == back.changed_values
    assert there.equal == back.equal


@given(pair=pairs())
@settings(max_examples=examples(30), deadline=None)
def test_every_sample_is_a_row_that_differs(pair: tuple[pl.DataFrame, pl.DataFrame, list[str]]) -> None:
    """There is one where rows differ, never more than 20, and a changed row shows only values that differ."""
    before, after, key = pair

    found = compare(before, after, key=key)

    kinds = [one.kind for one in found.samples]
    counts = {"added": found.rows.added, "removed": found.rows.removed, "changed": found.rows.changed}
    assert len(found.samples) <= 20
    assert all(
        kinds.count(kind) <= number and bool(kinds.count(kind)) == bool(number) for kind, number in counts.items()
    )
    assert all(one.differs for one in found.samples if one.kind == "changed")

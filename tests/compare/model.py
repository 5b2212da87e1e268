"""What a difference must say, by plain Python over lists: slow, and nothing of it taken from the product."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date, datetime
from typing import Any, NamedTuple

import polars as pl


class Said(NamedTuple):
    """The facts that are compared."""

    added: int
    removed: int
    changed: int
    changed_values: dict[str, int]
    is_other_order: bool
    duplicates: tuple[int, int]


def same(one: Any, other: Any, *, tolerance: float = 1e-9) -> bool:
    """Whether two values of one column are equal."""
    if one is None or other is None:
        return one is other
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name], tolerance=tolerance) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(a, b, tolerance=tolerance) for a, b in zip(one, other, strict=True))
    if isinstance(one, float) or isinstance(other, float):
        one, other = float(one), float(other)
        if math.isnan(one) or math.isnan(other):
            return math.isnan(one) and math.isnan(other)
        if math.isinf(one) or math.isinf(other):
            return one == other
        return abs(one - other) <= tolerance * max(abs(one), abs(other))
    return bool(midnight(one) == midnight(other))


def midnight(value: Any) -> Any:
    """A date as the moment it begins with."""
    is_date = isinstance(value, date) and not isinstance(value, datetime)
    return datetime(value.year, value.month, value.day) if is_date else value


def digits(value: Any, is_float: bool) -> Any:
    """What stands for a value where whole rows are counted."""
    if value is None:
        return ("null",)
    if isinstance(value, dict):
        return tuple((name, digits(one, isinstance(one, float))) for name, one in value.items())
    if isinstance(value, list):
        return ("list", *(digits(one, isinstance(one, float)) for one in value))
    if is_float:
        number = float(value)
        return "nan" if math.isnan(number) else number if math.isinf(number) else float(f"{number:.11e}") + 0.0
    return midnight(value)


def model(before: pl.DataFrame, after: pl.DataFrame, key: list[str]) -> Said:
    """What `compare` must say of two frames whose common columns are of types that compare."""
    names = [name for name in before.columns if name in after.columns]
    floats = {name for name in names if before[name].dtype.is_float() or after[name].dtype.is_float()}
    then, now = before.select(names).rows(named=True), after.select(names).rows(named=True)

    def whole(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(digits(row[name], name in floats) for name in names)

    def known_by(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(digits(row[name], False) for name in key)

    if not key:
        counts = Counter(map(whole, then)), Counter(map(whole, now))
        differ = {row for row in counts[0] | counts[1] if counts[0][row] != counts[1][row]}
        stayed = [[whole(row) for row in side if whole(row) not in differ] for side in (then, now)]
        gone, came = (counts[0] - counts[1]).total(), (counts[1] - counts[0]).total()
        return Said(came, gone, 0, {}, stayed[0] != stayed[1], (0, 0))
    seen = Counter(map(known_by, then)), Counter(map(known_by, now))
    twice = {one for side in seen for one, number in side.items() if number > 1}
    rest = [[whole(row) for row in side if known_by(row) in twice] for side in (then, now)]
    gone, came = (Counter(rest[0]) - Counter(rest[1])).total(), (Counter(rest[1]) - Counter(rest[0])).total()
    places = {known_by(row): (number, row) for number, row in enumerate(now) if known_by(row) not in twice}
    changed_values: Counter[str] = Counter()
    changed, order = 0, []
    for row in then:
        one = known_by(row)
        if one in twice:
            continue
        if one not in places:
            gone += 1
            continue
        number, other = places.pop(one)
        order.append(number)
        differ = {name for name in names if name not in key and not same(row[name], other[name])}
        changed += bool(differ)
        changed_values.update(differ)
    duplicates = tuple(sum(number > 1 for number in side.values()) for side in seen)
    is_other_order = order != sorted(order)
    return Said(came + len(places), gone, changed, dict(changed_values), is_other_order, (duplicates[0], duplicates[1]))

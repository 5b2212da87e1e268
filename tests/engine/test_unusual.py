"""What is marked as unusual: less than one of 1,000 values drawn like those before, and a third of the rows at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_engine.status.trends import LEAST, MOST, Past

Draw = Callable[[Random, int], float]


def unusual(values: Sequence[float], *, floor: float) -> list[bool]:
    """For each value whether it is unusual after those before it."""
    past = Past(floor=floor)
    found = []
    for value in values:
        limits = past.limits()
        found.append(limits is not None and limits.is_unusual(value))
        past.add(value)
    return found


def normal(share: float, mean: float = 10_000) -> Draw:
    return lambda random, _: max(0, round(random.gauss(mean, share * mean)))


def lognormal(sigma: float, median: float = 10_000) -> Draw:
    return lambda random, _: round(median * math.exp(random.gauss(0, sigma)))


def seconds(sigma: float) -> Draw:
    return lambda random, _: 20 * math.exp(random.gauss(0, sigma))


def poisson(mean: float) -> Draw:
    def draw(random: Random, _: int) -> float:
        passed, count = random.expovariate(1), 0
        while passed < mean:
            passed, count = passed + random.expovariate(1), count + 1
        return count

    return draw


def mostly(value: float, other: float, share: float) -> Draw:
    return lambda random, _: other if random.random() < share else value


def weekly(random: Random, number: int) -> float:
    return round(random.gauss(300 if number % 7 in (5, 6) else 10_000, 100))


LIKE: dict[str, Draw] = {
    "normal 1 %": normal(0.01),
    "normal 10 %": normal(0.1),
    "normal 30 %": normal(0.3),
    "lognormal 0.1": lognormal(0.1),
    "lognormal 0.2": lognormal(0.2),
    "lognormal 0.5": lognormal(0.5),
    "lognormal 1": lognormal(1.0),
    "seconds": seconds(0.3),
    "a few rows": poisson(3),
    "some rows": poisson(30),
    "one row more now and then": mostly(1000, 1001, 0.05),
    "a fifth more often": mostly(10, 12, 0.2),
    "always the same": mostly(1000, 1000, 0.5),
    "uniform": lambda random, _: random.randrange(1000),
    "weekends": weekly,
}


def limits_after(draw: Draw, random: Random, number: int) -> Past:
    past = Past(floor=1.0)
    for at in range(number):
        past.add(draw(random, at))
    return past


def share_marked(draw: Draw, change: float, *, pasts: int = 250, each: int = 60) -> float:
    """How many of the next values are marked, after pasts of three lengths."""
    random = Random(7)
    marked = 0
    lengths = (LEAST, 100, MOST)
    for number in lengths:
        for _ in range(pasts):
            limits = limits_after(draw, random, number).limits()
            assert limits is not None
            marked += sum(limits.is_unusual(change * draw(random, number + at)) for at in range(each))
    return marked / (len(lengths) * pasts * each)


@pytest.mark.parametrize("name", LIKE)
def test_less_than_one_of_a_thousand_like_values_is_marked(name: str) -> None:
    """45,000 values after 750 pasts."""
    assert share_marked(LIKE[name], 1) < 0.001


@pytest.mark.parametrize(
    "name", ["normal 1 %", "normal 10 %", "lognormal 0.1", "one row more now and then", "always the same"]
)
def test_a_third_of_the_rows_is_seen_at_once(name: str) -> None:
    assert share_marked(LIKE[name], 1 / 3, pasts=20) > 0.99
    assert share_marked(LIKE[name], 3, pasts=20) > 0.99


def test_nothing_is_marked_before_fifty() -> None:
    assert not any(unusual([100.0] * (LEAST - 1) + [1.0], floor=1.0))
    assert unusual([100.0] * LEAST + [1.0], floor=1.0)[-1]


def test_one_row_or_a_hundredth_is_never_unusual() -> None:
    found = [
        unusual([value] * 60 + [now], floor=1.0)[-1] for value, now in ((5, 6), (5, 7), (1000, 1010), (1000, 1012))
    ]
    assert found == [False, True, False, True]


def test_what_lasts_is_marked_once() -> None:
    """A new level is told when it comes, and is the past from then on."""
    assert [at for at, is_so in enumerate(unusual([100.0] * 60 + [10.0] * 300, floor=1.0)) if is_so] == [60]


def test_what_is_long_ago_is_forgotten() -> None:
    values = [0.0] + [100.0] * MOST + [0.0]
    assert unusual(values, floor=1.0)[-1]


@given(st.lists(st.floats(0, 1e12), min_size=LEAST, max_size=LEAST + 20), st.floats(0, 1e12))
def test_nothing_that_was_seen_is_unusual(values: list[float], other: float) -> None:
    past = Past(floor=1.0)
    for value in values:
        past.add(value)
    limits = past.limits()
    assert limits is not None
    assert limits.low <= limits.high
    assert not math.isnan(limits.low + limits.high)
    assert not any(map(limits.is_unusual, values))

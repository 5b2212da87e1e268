"""What of a row count or a duration is unusual, judged by the like ones before it: pure.

A value is unusual when it lies outside a prediction interval of the values before it, on the plain scale as on logarithms, and
outside everything that was seen among them. The interval is Student's, drawn for their number and for one value in 2,000 on each side.
On the plain scale alone, counts that are spread like a lognormal would be marked too often above; on logarithms alone, those that
are spread like a normal would be marked too often below. Nobody can tell the two apart from fifty values, so both have a say.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from statistics import NormalDist

LEAST = 50
"""From so many values on something can be unusual."""

MOST = 200
"""The values before it that one is judged by, at most."""

_Z = NormalDist().inv_cdf(1 - 1 / 2_000)


@dataclass(frozen=True, slots=True)
class Limits:
    """The next value is unusual below `low` or above `high`."""

    low: float
    high: float

    def is_unusual(self, value: float) -> bool:
        """Whether the value lies outside."""
        return not self.low <= value <= self.high


class Past:
    """The newest values, and what would be unusual after them.

    Example:
        >>> past = Past(floor=1.0)
        >>> for number in range(50):
        ...     past.add(1000 + number % 7)
        >>> limits = past.limits()
        >>> [limits.is_unusual(value) for value in (1003, 1012, 333, 3000)]
        [False, False, True, True]
    """

    def __init__(self, *, floor: float) -> None:
        """`floor` is the difference from everything seen that is never unusual; a hundredth of a value never is either."""
        self._floor = floor
        self._values: deque[float] = deque()
        self._logs: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        """Know this value from now on, and forget the oldest where there are too many."""
        self._values.append(value)
        self._logs.append(math.log(max(value, 0.0) + self._floor))
        insort(self._sorted, value)
        if len(self._values) > MOST:
            self._logs.popleft()
            del self._sorted[bisect_left(self._sorted, self._values.popleft())]

    def limits(self) -> Limits | None:
        """What the next value is judged by; None as long as too few are known."""
        if len(self._values) < LEAST:
            return None
        low, high = self._sorted[0], self._sorted[-1]
        plain = _interval(self._values)
        logs = _interval(self._logs)
        low = min(low, plain[0], math.exp(logs[0]) - self._floor)
        high = max(high, plain[1], math.exp(min(logs[1], 700.0)) - self._floor)
        return Limits(low - max(self._floor, abs(low) / 100), high + max(self._floor, abs(high) / 100))


def _interval(values: deque[float]) -> tuple[float, float]:
    """Where the next one lies but once in 1,000, were they drawn from a normal distribution."""
    number = len(values)
    mean = math.fsum(values) / number
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (number - 1))
    reach = _student(number - 1) * deviation * math.sqrt(1 + 1 / number)
    return mean - reach, mean + reach


def _student(freedom: int) -> float:
    """The quantile of Student's distribution that belongs to `_Z`: Abramowitz and Stegun, 26.7.5; exact to 1e-4 from 49 on."""
    z, v = _Z, freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )

"""How the rows and the durations of a flow went over its runs, and what of it is unusual."""

from __future__ import annotations

import json
import math
from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from statistics import NormalDist

from data_engine.ledger.ledger import Ledger
from data_engine.model import Run, StepRun
from data_engine.record import Record, frozen
from data_engine.shown import Shown
from data_engine.status.runs import by_label

SHOWN = 100
"""The newest runs that a trend shows."""

_FLOOR = 1.0
"""One row, or one second: a smaller difference is never unusual."""

_OFTEN = 0.5


@frozen
class TrendPoint(Record):
    """One run: its value, rows or seconds, and whether that is unusual after the runs before it."""

    run_id: str
    at_utc: str
    value: float
    is_unusual: bool = False


@frozen
class Trend(Record):
    """A value over the runs, the oldest first, `of` a "step" by its label (of two alike the second is "Clean (2)"), an "output"
    by its path or its folder's, or the whole "run", whose `name` is "".

    `kind` is "rows" or "duration" (seconds). The newest value is unusual below `low` or above `high`; None with too few runs.
    """

    name: str
    kind: str
    points: tuple[TrendPoint, ...] = field(metadata={"of": TrendPoint.read})
    low: float | None = None
    high: float | None = None
    of: str = "step"


@frozen
class Trends(Shown, Record):
    """The trends of a flow over its newest `runs` like runs: good ones that were given the same `params`."""

    flow: str
    runs: int
    params: Mapping[str, object] = field(default_factory=dict)
    trends: tuple[Trend, ...] = field(default=(), metadata={"of": Trend.read})


def trends_of(ledger: Ledger, flow: str) -> Trends:
    """The trends of a flow by its history on this machine.

    Raises:
        LedgerError: the history cannot be read.
    """
    runs = [run for run in ledger.runs(flow, SHOWN + MOST, status="success") if not run.from_the_future]
    like = like_runs(runs)
    steps = ledger.steps_of([run.run_id for run in like])
    return Trends(flow, len(like), (like[-1].params or {}) if like else {}, tuple(_trends(like, steps)))


def like_runs(newest: Sequence[Run]) -> list[Run]:
    """Those of the runs that were given what most of them were given, the oldest first.

    Example:
        >>> def run(run_id, **params):
        ...     return Run(run_id, "claims", "Claims", None, "success", "2026-01-05T06:30:00+00:00", params=params)
        >>> [one.run_id for one in like_runs([run("c"), run("b", month="2013-01"), run("a")])]
        ['a', 'c']
    """
    given = [json.dumps(run.params or {}, sort_keys=True, default=str) for run in newest]
    if not given:
        return []
    [(most, _)] = Counter(given).most_common(1)
    return [run for run, params in zip(newest, given, strict=True) if params == most][::-1]


def trend(name: str, kind: str, told: Sequence[tuple[Run, float]], *, of: str = "step") -> Trend:
    """The newest of the values as a trend, each judged by those before it."""
    past = Past(floor=_FLOOR)
    points = []
    limits = None
    for number, (run, value) in enumerate(told):
        if number >= len(told) - SHOWN:
            limits = past.limits()
            is_unusual = limits is not None and limits.is_unusual(value)
            points.append(TrendPoint(run.run_id, run.started_at_utc, value, is_unusual))
        past.add(value)
    if limits is None:
        return Trend(name, kind, tuple(points), of=of)
    return Trend(name, kind, tuple(points), max(limits.low, 0.0), max(limits.high, 0.0), of)


def _trends(runs: Sequence[Run], steps: Mapping[str, Sequence[StepRun]]) -> Iterator[Trend]:
    """Rows first: of outputs, then of each step; then how long the run and each step took."""
    written: dict[str, list[tuple[Run, float]]] = {}
    for run, name, rows in _written(runs):
        written.setdefault(name, []).append((run, rows))
    told: dict[tuple[str, str], list[tuple[Run, float]]] = {}
    for run in runs:
        for label, step in by_label(steps.get(run.run_id, ())).items():
            if step.rows_out is not None:
                told.setdefault((label, "rows"), []).append((run, float(step.rows_out)))
            if step.elapsed_s is not None:
                told.setdefault((label, "duration"), []).append((run, step.elapsed_s))
    yield from (trend(name, "rows", values, of="output") for name, values in written.items() if len(values) > 1)
    yield from (
        trend(name, kind, values) for (name, kind), values in told.items() if kind == "rows" and len(values) > 1
    )
    whole = [(run, run.elapsed_s) for run in runs if run.elapsed_s is not None]
    if len(whole) > 1:
        yield trend("", "duration", whole, of="run")
    yield from (
        trend(name, kind, values) for (name, kind), values in told.items() if kind != "rows" and len(values) > 1
    )


def _written(runs: Sequence[Run]) -> Iterator[tuple[Run, str, float]]:
    """The rows of each output: by its path where most runs write it, else all that a run wrote into its folder.

    A run that wrote more files than are named by their paths says nothing of a folder.
    """
    often = Counter(file.path for run in runs for file in run.outputs if file.rows is not None)
    for run in runs:
        rows: Counter[str] = Counter()
        for file in run.outputs:
            if file.rows is None:
                continue
            if often[file.path] >= _OFTEN * len(runs):
                rows[file.path] += file.rows
            elif not run.more_outputs:
                rows[_folder(file.path)] += file.rows
        yield from ((run, name, float(number)) for name, number in rows.items())


def _folder(path: str) -> str:
    """The folder of a file as its run named it, on whichever system.

    Example:
        >>> _folder("/out/days/1.parquet"), _folder(r"C:\\out\\1.parquet")
        ('/out/days', 'C:\\\\out')
    """
    return path[: max(path.rfind("/"), path.rfind("\\"), 1)]


LEAST = 50
"""From so many values on something can be unusual."""

MOST = 200
"""The values before it that one is judged by, at most."""

_Z = NormalDist().inv_cdf(1 - 1 / 2_000)


@frozen
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

"""One line for each figure: what was measured, the limit, and whether it holds."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

_failed = False


def report(name: str, value: float, limit: float, unit: str, note: str = "") -> None:
    """Print the figure beside its limit; `finish()` exits with 1 when any was over."""
    global _failed
    is_met = value <= limit
    _failed = _failed or not is_met
    print(f"{name:<64} {value:>10.3f} {unit:<8} limit {limit:>8.3f}  {'ok' if is_met else 'OVER'}  {note}", flush=True)


def note_failure() -> None:
    """A figure that another process has printed was over its limit."""
    global _failed
    _failed = True


def finish() -> None:
    """Leave with 0 when every figure was within its limit."""
    sys.exit(1 if _failed else 0)


def by_floor(ours: Callable[[], object], floor: Callable[[], object], runs: int) -> float:
    """How many times as long as `floor` `ours` takes: the median over pairs in turn, so that both meet the same weather."""
    ours(), floor()
    return statistics.median(median_s(ours, 1, warm_up=0) / median_s(floor, 1, warm_up=0) for _ in range(runs))


def median_s(call: Callable[[], object], runs: int, *, warm_up: int = 1) -> float:
    """The median seconds of `call` over `runs` runs after `warm_up` uncounted ones."""
    for _ in range(warm_up):
        call()
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)

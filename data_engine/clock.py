"""A clock that counts sleep and never goes back, for deadlines; times as they are stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""For times before it too, which `fromtimestamp` refuses on Windows."""

_SINCE_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""Reference: clock_gettime(2), CLOCK_BOOTTIME; macOS's CLOCK_MONOTONIC counts sleep, what `time.monotonic` reads there does not.
Windows has neither, and its `time.monotonic` counts sleep."""

_read: Callable[[int], float] | None = getattr(time, "clock_gettime", None)


def boot_clock() -> float:
    """Seconds since this machine started, its sleep included; equal in every process of the machine."""
    return time.monotonic() if _read is None or _SINCE_BOOT is None else _read(_SINCE_BOOT)


def utc_text(at_s: float) -> str:
    """Seconds since the epoch as UTC ISO-8601 with offset and microseconds.

    Example:
        >>> utc_text(0)
        '1970-01-01T00:00:00.000000+00:00'
    """
    second, microsecond = divmod(round(at_s * 1_000_000), 1_000_000)
    return f"{_second_text(second)}.{microsecond:06d}+00:00"


@lru_cache(maxsize=8)
def _second_text(second: int) -> str:
    return (EPOCH + timedelta(seconds=second)).isoformat()[:19]

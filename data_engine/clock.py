"""A clock that counts sleep and never goes back, for deadlines."""

from __future__ import annotations

import time
from collections.abc import Callable

_SINCE_BOOT: int | None = getattr(time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None))
"""Reference: clock_gettime(2), CLOCK_BOOTTIME; macOS's CLOCK_MONOTONIC counts sleep, what `time.monotonic` reads there does not.
Windows has neither, and its `time.monotonic` counts sleep."""

_read: Callable[[int], float] | None = getattr(time, "clock_gettime", None)


def boot_clock() -> float:
    """Seconds since this machine started, its sleep included; equal in every process of the machine."""
    return time.monotonic() if _read is None or _SINCE_BOOT is None else _read(_SINCE_BOOT)

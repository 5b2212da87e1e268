"""A clock that counts sleep and never goes back, for deadlines."""

from __future__ import annotations

import sys
import time

if sys.platform == "linux":

    def boot_clock() -> float:
        """Seconds since this machine started, its sleep included; equal in every process of the machine.

        Reference: clock_gettime(2), CLOCK_BOOTTIME.
        """
        return time.clock_gettime(time.CLOCK_BOOTTIME)

elif sys.platform == "darwin":

    def boot_clock() -> float:
        """Seconds since this machine started, its sleep included; equal in every process of the machine.

        Reference: macOS's CLOCK_MONOTONIC counts sleep; what `time.monotonic` reads there does not.
        """
        return time.clock_gettime(time.CLOCK_MONOTONIC)

else:

    def boot_clock() -> float:
        """Seconds since this machine started, its sleep included; equal in every process of the machine."""
        return time.monotonic()

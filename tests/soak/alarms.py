"""`python -m tests.soak.alarms [N] [FIRST]`: N random schedules of the alarms of silent owners, from the seed FIRST on.

Two processes share them. Prints what was injected and what happened, and the seed of each schedule that broke something;
the exit code is 1 then.
"""

from __future__ import annotations

import logging
import multiprocessing
import random
import sys
import time
from collections import Counter

from tests.lease.alarm_schedules import violations
from tests.soak.lease import CHUNK, PROCESSES, report


def play(seeds: range) -> tuple[list[tuple[int, str]], Counter[str]]:
    """One share of the schedules."""
    logging.getLogger("data_engine").setLevel(logging.ERROR)
    return violations(seeds)


def main() -> int:
    """0 when nothing broke."""
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    total = numbers[0] if numbers else 2000
    first = numbers[1] if len(numbers) > 1 else random.SystemRandom().randrange(10**9)
    print(f"{total:,} schedules from seed {first}", flush=True)
    counts: Counter[str] = Counter()
    broken: list[tuple[int, str]] = []
    begun_s = time.monotonic()
    chunks = [range(at, min(at + CHUNK, first + total)) for at in range(first, first + total, CHUNK)]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for found, some in pool.imap_unordered(play, chunks):
            counts.update(some)
            broken += found
            for seed, violation in found:
                print(f"BROKEN by seed {seed}: {violation}", flush=True)
    report(counts, broken, time.monotonic() - begun_s)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

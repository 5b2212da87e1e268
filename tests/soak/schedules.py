"""What the campaigns of random schedules share: `N` of them from a first seed on, in two processes, and the table of what happened."""

from __future__ import annotations

import logging
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

PROCESSES = 2
CHUNK = 200

Found = tuple[list[tuple[int, str]], Counter[str]]
"""(seed, what) of every schedule that broke something, and all counts."""


def campaign(violations: Callable[[range], Found]) -> bool:
    """Play as many schedules as the command line says; whether nothing broke."""
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    total = numbers[0] if numbers else 2000
    first = numbers[1] if len(numbers) > 1 else random.SystemRandom().randrange(10**9)
    print(f"{total:,} schedules from seed {first}", flush=True)
    counts: Counter[str] = Counter()
    broken = 0
    begun_s = time.monotonic()
    chunks = [range(at, min(at + CHUNK, first + total)) for at in range(first, first + total, CHUNK)]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for found, some in pool.imap_unordered(partial(_play, violations), chunks):
            counts.update(some)
            broken += len(found)
            for seed, violation in found:
                print(f"BROKEN by seed {seed}: {violation}", flush=True)
    for what, count in sorted(counts.items()):
        print(f"{count:14,}  {what}")
    print(f"{broken:14,}  schedules that broke something, {time.monotonic() - begun_s:.0f} s", flush=True)
    return not broken


def _play(violations: Callable[[range], Found], seeds: range) -> Found:
    logging.getLogger("data_engine").setLevel(logging.ERROR)
    return violations(seeds)

"""`python -m tests.soak.lease [N] [FIRST] [--explore]`: N random schedules of the lease, from the seed FIRST on.

Two processes share them. Prints what was injected and what happened, and the seed of each schedule that broke something;
the exit code is 1 then. With `--explore` the small scenarios are explored as well: two preemptions everywhere (one with
two heirs), and one fault at every operation.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Iterable

from tests.lease.explore import SCENARIOS, with_a_fault, with_preemptions
from tests.lease.schedules import violations

PROCESSES = 2
CHUNK = 200


def play(seeds: range) -> tuple[list[tuple[int, str]], Counter[str]]:
    """One share of the schedules."""
    return violations(seeds)


def explore(job: tuple[str, int]) -> tuple[str, int, list[str]]:
    """One scenario: with so many preemptions, -1 for one fault at every operation."""
    name, preemptions = job
    courses = with_a_fault(name) if preemptions < 0 else with_preemptions(name, preemptions)
    played, broken = 0, []
    for violation in courses:
        played += 1
        if violation is not None:
            broken.append(violation)
    what = "one fault and one preemption" if preemptions < 0 else f"{preemptions} preemptions"
    return f"{name}, {what}", played, broken


def report(counts: Counter[str], broken: Iterable[tuple[int, str]], seconds: float) -> None:
    """The table."""
    for what, count in sorted(counts.items()):
        print(f"{count:14,}  {what}")
    for seed, violation in broken:
        print(f"BROKEN by seed {seed}: {violation}")
    print(f"{len(list(broken)):14,}  schedules that broke something, {seconds:.0f} s")


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
    is_bad = False
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for found, some in pool.imap_unordered(play, chunks):
            counts.update(some)
            broken += found
            for seed, violation in found:
                print(f"BROKEN by seed {seed}: {violation}", flush=True)
        report(counts, broken, time.monotonic() - begun_s)
        if "--explore" in sys.argv:
            jobs = [(name, 1 if len(bodies) == 3 else 2) for name, bodies in SCENARIOS.items()]
            for what, played, wrong in pool.imap_unordered(explore, [*jobs, *((name, -1) for name in SCENARIOS)]):
                print(f"{played:14,}  {what}: {wrong[0] if wrong else 'nothing broke'}", flush=True)
                is_bad = is_bad or bool(wrong)
    return 1 if broken or is_bad else 0


if __name__ == "__main__":
    sys.exit(main())

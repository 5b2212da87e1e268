"""`python -m tests.soak.lease [N] [FIRST] [--explore]`: N random schedules of the lease, from the seed FIRST on.

Two processes share them. Prints what was injected and what happened, and the seed of each schedule that broke something;
the exit code is 1 then. With `--explore` the small scenarios are explored as well: two preemptions everywhere (one with
two heirs), and one fault at every operation.
"""

from __future__ import annotations

import multiprocessing
import sys

from tests.lease.explore import SCENARIOS, with_a_fault, with_preemptions
from tests.lease.schedules import violations
from tests.soak.schedules import PROCESSES, campaign


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


def main() -> int:
    """0 when nothing broke."""
    is_good = campaign(violations)
    if "--explore" not in sys.argv:
        return 0 if is_good else 1
    jobs = [(name, 1 if len(bodies) == 3 else 2) for name, bodies in SCENARIOS.items()]
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        for what, played, wrong in pool.imap_unordered(explore, [*jobs, *((name, -1) for name in SCENARIOS)]):
            print(f"{played:14,}  {what}: {wrong[0] if wrong else 'nothing broke'}", flush=True)
            is_good = is_good and not wrong
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())

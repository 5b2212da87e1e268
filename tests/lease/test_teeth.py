"""The checker has teeth: each broken rule is caught by the schedules of the normal run, or by a scenario of its own."""

from __future__ import annotations

from itertools import chain, islice

import pytest

from tests.lease.cores import on_all_cores
from tests.lease.explore import preempted, with_preemptions
from tests.lease.mutants import MUTANTS, broken
from tests.lease.schedules import first_violation
from tests.lease.test_schedules import FIXED

EXPLORED: dict[str, tuple[str, dict[int, int]]] = {
    "collects_by_listing": ("takeover from a slow owner", {87: 1}),
    "resumes_by_heartbeat": ("takeover from a beating owner", {36: 1, 94: 1}),
}
"""Too rare for a thousand schedules, found where the placements of preemptions are tried one after another; one that shows it."""
SEEN_AT = {
    "claims_the_newest": 242,
    "claims_without_reading": 602,
    "collects_newest_first": 516,
    "collects_unlisted": 41,
    "counts_its_own_sleep": 29,
    "ends_at_a_hole": 326,
    "fold_at_the_end": 28,
    "leaves_it_in_the_way": 682,
    "proof_at_end": 68,
    "repairs_at_once": 242,
    "repairs_from_the_list": 38,
    "stage_elsewhere": 216,
    "works_until_released": 968,
}
"""A seed that has shown it, which is played first: all are played where it does not show it any more."""
DIRECTED = {"slow_heartbeat_counts", "repairs_by_a_cache", "repairs_without_a_turn", "forgets_what_it_knew"}
"""In test_failures: a heartbeat that ended late proves nothing; a repair never gives up what a late cache does not show. In
test_damage: nobody goes on where a restored backup ended, or takes an older generation for the newest."""
CHECKED = sorted(MUTANTS.keys() - DIRECTED)


def is_caught(name: str) -> bool:
    """Whether the broken rule is seen, within the seeds that the normal run plays or the first courses of its scenario."""
    with broken(name):
        if name not in EXPLORED:
            return first_violation(chain((SEEN_AT.get(name, 0),), range(FIXED))) is not None
        scenario, moves = EXPLORED[name]
        courses = chain((preempted(scenario, True, moves),), islice(with_preemptions(scenario, len(moves)), 5000))
        return any(courses)


pytestmark = pytest.mark.timeout(600)  # all mutants are played for the first of them


@pytest.fixture(scope="module")
def caught() -> dict[str, bool]:
    return dict(zip(CHECKED, on_all_cores(is_caught, CHECKED), strict=True))


@pytest.mark.parametrize("name", CHECKED)
def test_a_broken_rule_is_caught(name: str, caught: dict[str, bool]) -> None:
    """Within the fixed schedules, or by its scenario."""
    assert caught[name], MUTANTS[name][0]

"""The checker has teeth: each broken rule is caught by the schedules of the normal run, or by a scenario of its own."""

from __future__ import annotations

from itertools import islice

import pytest

from tests.lease.explore import with_preemptions
from tests.lease.mutants import MUTANTS, broken
from tests.lease.schedules import first_violation
from tests.lease.test_schedules import FIXED

EXPLORED = {
    "collects_by_listing": ("takeover from a slow owner", 1),
    "resumes_by_heartbeat": ("takeover from a beating owner", 2),
}
DIRECTED = {"slow_heartbeat_counts"}
"""In test_failures: a heartbeat that ended late proves nothing."""


@pytest.mark.parametrize("name", sorted(MUTANTS.keys() - EXPLORED.keys() - DIRECTED))
def test_a_broken_rule_is_caught_by_the_fixed_schedules(name: str) -> None:
    """Within the seeds that the normal run plays."""
    with broken(name):
        assert first_violation(range(FIXED)) is not None, MUTANTS[name][0]


@pytest.mark.parametrize("name", sorted(EXPLORED))
def test_a_broken_rule_is_caught_by_a_scenario(name: str) -> None:
    """Too rare for a thousand schedules, found where its placements are tried one after another."""
    scenario, preemptions = EXPLORED[name]
    with broken(name):
        caught = any(violation for violation in islice(with_preemptions(scenario, preemptions), 5000))

    assert caught, MUTANTS[name][0]

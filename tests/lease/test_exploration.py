"""Small scenarios to the end: every placement of a preemption, and one fault at every operation."""

from __future__ import annotations

from itertools import product

from tests.lease.cores import on_all_cores
from tests.lease.explore import RENAMES, SCENARIOS, with_a_fault, with_preemptions

PREEMPTED = tuple(name for name in SCENARIOS if name != "two heirs, one slow owner")


def preempted(job: tuple[str, bool]) -> list[str | None]:
    """The courses of one scenario with one kind of rename: without a preemption, and with one at every second operation."""
    name, replaces_empty = job
    half = {"first": int(replaces_empty), "each": 2}
    without = with_preemptions(name, 0, renames=[replaces_empty])
    return [*without, *with_preemptions(name, 1, renames=[replaces_empty], **half)]


def befallen(replaces_empty: bool) -> list[str | None]:
    """The courses of three first claims with a fault at every second operation, each with a preemption somewhere."""
    half = {"first": int(replaces_empty), "each": 2}
    return list(with_a_fault("three first claims", preemptions=2, renames=[replaces_empty], **half))


def test_no_placement_of_a_preemption_breaks_anything() -> None:
    """None, or one at any operation, in turn on both kinds of rename; the soak places two on each, and has two heirs as well."""
    jobs = list(product(PREEMPTED, RENAMES))
    found = dict(zip(jobs, on_all_cores(preempted, jobs), strict=True))

    assert {job: set(courses) for job, courses in found.items()} == {job: {None} for job in jobs}
    assert min(len(courses) for courses in found.values()) > 50


def test_no_fault_at_any_operation_of_three_first_claims_breaks_anything() -> None:
    """A crash before or after it, a lost answer, or an error, with a preemption somewhere; in turn on both kinds of rename, on each in the soak."""
    for courses in on_all_cores(befallen, RENAMES):
        assert len(courses) > 250
        assert set(courses) == {None}

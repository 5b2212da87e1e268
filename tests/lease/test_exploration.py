"""Small scenarios to the end: every placement of a preemption, and one fault at every operation."""

from __future__ import annotations

import pytest

from tests.lease.explore import SCENARIOS, with_a_fault, with_preemptions


@pytest.mark.parametrize("name", [name for name, bodies in SCENARIOS.items() if name != "two heirs, one slow owner"])
def test_no_placement_of_a_preemption_breaks_anything(name: str) -> None:
    """None, or one at any operation; the soak places two, and has two heirs as well."""
    courses = [violation for count in (0, 1) for violation in with_preemptions(name, count)]

    assert len(courses) > 200
    assert set(courses) == {None}


def test_no_fault_at_any_operation_of_three_first_claims_breaks_anything() -> None:
    """A crash before or after it, a lost answer, or an error, with a preemption somewhere."""
    courses = list(with_a_fault("three first claims", preemptions=2))

    assert len(courses) > 500
    assert set(courses) == {None}

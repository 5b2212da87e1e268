"""Deployments and requests under faults: random schedules of the product's code, and broken rules that they must catch."""

from __future__ import annotations

import logging
from itertools import chain

import pytest

from tests.lease.cores import on_all_cores
from tests.lease.decision_mutants import MUTANTS, broken
from tests.lease.decisions import first_violation, violations

FIXED = 80
PLAYED, PART = 40, 20
"""So many of them are played with every rule as it is; `python -m tests.soak.decisions` plays more."""
SEEN_AT = {
    "begun_before_taken": 303,
    "carried_when_fenced": 616,
    "collects_by_listing": 84,
    "interrupted_begun_again": 228,
    "old_file_carried_out": 12,
}
"""A seed that has shown it, which is played first: the fixed ones are played where it does not show it any more."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="data_engine")


def test_no_schedule_breaks_a_promise() -> None:
    """No schedule runs a set that no owner pointed to; what was acknowledged stays; a request is carried out at most once,
    exactly once where its owner lives, and by no fenced owner."""
    parts = on_all_cores(violations, [range(first, first + PART) for first in range(0, PLAYED, PART)])

    assert [broken for found, _ in parts for broken in found] == []


def is_caught(name: str) -> bool:
    """Whether the broken rule is seen within the fixed schedules."""
    with broken(name):
        return first_violation(chain((SEEN_AT.get(name, 0),), range(FIXED))) is not None


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_broken_rule_is_caught(name: str) -> None:
    assert is_caught(name), MUTANTS[name][2].__doc__

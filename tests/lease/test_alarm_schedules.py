"""Alarms of silent owners under faults: random schedules of the product's code, and broken rules that they must catch."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import chain

import pytest

from tests.lease.alarm_mutants import MUTANTS, broken
from tests.lease.alarm_schedules import first_violation, violations
from tests.lease.cores import on_all_cores

FIXED = 80
PLAYED, PART = 60, 30
"""So many of them are played with every rule as it is; `python -m tests.soak.alarms` plays more."""
SEEN_AT = {"error_believed": 42, "told_by_who_came_too_late": 108}
"""A seed that has shown it, which is played first: the fixed ones are played where it does not show it any more."""

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="data_engine")


def test_no_alarm_is_lost_or_told_twice() -> None:
    """Deaths, pauses, late caches, returns: people are told of each silence, once while clocks and delays keep their bounds, and
    of its end; in time also when who claims it first dies or cannot send."""
    parts = on_all_cores(violations, [range(first, first + PART) for first in range(0, PLAYED, PART)])

    assert [broken for found, _ in parts for broken in found] == []
    counts = sum((some for _, some in parts), Counter[str]())
    assert sum(count for what, count in counts.items() if what.startswith("liveness phase")) == PLAYED
    for event in ("alarm told", "recovery told", "claimed anew", "fault: died between call and answer"):
        assert counts[event] > PLAYED / 20, event


def is_caught(name: str) -> bool:
    """Whether the broken rule is seen within the fixed schedules."""
    with broken(name):
        return first_violation(chain((SEEN_AT.get(name, 0),), range(FIXED))) is not None


@pytest.fixture(scope="module")
def caught() -> dict[str, bool]:
    names = sorted(MUTANTS)
    return dict(zip(names, on_all_cores(is_caught, names), strict=True))


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_broken_rule_is_caught(name: str, caught: dict[str, bool]) -> None:
    assert caught[name], MUTANTS[name][2].__doc__

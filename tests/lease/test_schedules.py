"""The product's lease under random schedules with faults: nothing is lost, no two own, no two work at once.

`python -m tests.soak.lease N` runs more.
"""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from data_engine.lease.protocol import Limits
from tests.lease.cores import on_all_cores
from tests.lease.schedules import violation_of, violations
from tests.lease.simulated_share import Profile
from tests.support import examples

FIXED = 150
PLAYED = 76
"""So many of them are played with every rule as it is; `python -m tests.soak.lease` plays more."""
FRESH = 20
PART = 38
KEPT = (1_073_678, 1_168_511, 1_197_932, 5_002_890, 5_004_360, 5_013_438, 5_018_192)
"""Fresh seeds that broke something once: a repair that believed a late cache, one by the limits of an owner before, or one by
when a look began; a fold of what a late generation had folded."""


def test_fixed_schedules_break_nothing() -> None:
    """Crashes, lost answers, pauses, old caches, full disks, damage: every invariant holds, and takeover comes in time."""
    parts = on_all_cores(violations, [*(range(first, first + PART) for first in range(0, PLAYED, PART)), KEPT])

    assert [broken for found, _ in parts for broken in found] == []
    counts = sum((some for _, some in parts), Counter[str]())
    assert counts["liveness phase"] == PLAYED + len(KEPT)
    for event in ("takeover", "hand-over", "fold", "fault: crash", "fault: error, but done", "fault: stale answer"):
        assert counts[event] > PLAYED / 10, event


def test_fresh_schedules_break_nothing() -> None:
    """A failing seed is shown: keep it in KEPT."""
    first = random.SystemRandom().randrange(10**9)
    parts = on_all_cores(violations, [range(at, at + FRESH // 2) for at in (first, first + FRESH // 2)])

    assert [broken for found, _ in parts for broken in found] == []


@settings(max_examples=examples(12), deadline=None)
@given(
    seed=st.integers(0, 2**32),
    crash=st.sampled_from([0, 0.01, 0.03]),
    lost=st.sampled_from([0, 0.01, 0.05]),
    damage=st.sampled_from([0, 0.005]),
    replaces_empty=st.booleans(),
    heartbeat_s=st.sampled_from([10, 30]),
)
def test_drawn_faults_break_nothing(
    seed: int, crash: float, lost: float, damage: float, replaces_empty: bool, heartbeat_s: float
) -> None:
    """Also with clocks that run five times too fast, caches of minutes and clocks that stop in sleep."""
    profile = Profile(
        timing_holds=False,
        p_crash=crash,
        p_error_after=lost,
        p_damage=damage,
        replaces_empty=replaces_empty,
        cache_s=120,
        p_cache=0.6,
        p_slow=0.2,
        p_blind=0.5,
        rates=(0.2, 5.0),
        limits=(Limits(heartbeat_s, 3 * heartbeat_s), Limits(30, 90)),
    )

    assert violation_of(seed, profile=profile)[0] is None

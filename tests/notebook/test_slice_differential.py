"""Generated notebooks run whole and as their slices: a value that differs without a warning naming the cause fails.

`python -m tests.soak.slices` does the same for an hour.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tests.notebook.generated import Generated, generate, judge, named_cells

MOST_S = 20.0
NOTEBOOKS = 600


def test_what_is_left_out_never_changes_a_value_in_silence() -> None:
    """Of some hundred notebooks, following the warnings makes every slice equal to its notebook."""
    found: Counter[str] = Counter()
    silent = []
    began = time.monotonic()
    for seed in range(NOTEBOOKS):
        verdict = judge(generate(seed))
        found[verdict.kind] += 1
        if verdict.kind == "silent":
            silent.append(f"seed {seed}\n{verdict.detail}")
        if time.monotonic() - began > MOST_S:
            break

    assert not silent, "\n\n".join(silent[:3])
    assert found["equal"] > 10
    assert found["different, warned"] > 2, f"the notebooks hold too little that a slice can miss: {found}"


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (("a = [1]", "a.append(2)", "def build():\n    return a"), "equal"),
        (("a = iter([1, 2])", "print(list(a))", "def build():\n    return list(a)"), "different, warned"),
        (("a = iter([1, 2])", "#| skip\nprint(list(a))", "def build():\n    return list(a)"), "silent"),
        (("a = [1]", "%time b = a", "def build():\n    return b"), "void"),
        (("for a in [1]:\n    pass", "def build():\n    return a"), "refused"),
    ],
)
def test_the_judge_sees_a_difference(cells: tuple[str, ...], kind: str) -> None:
    """The comparison itself: what a skipped cell changes is a silent difference."""
    verdict = judge(Generated(0, cells))

    assert verdict.kind == kind, verdict.detail


STORES = {
    "by another name": ("box = {}\nb = box", "b['k'] = a"),
    "before another name reads it": ("box = {}\nb = box", "box['k'] = a"),
    "by a name that may be another": ("box = {}\nb = box if n > 3 else box", "b['k'] = a"),
    "in a part of it": ("box = {'r': []}\nb = box['r']", "b.append(a)"),
    "in what holds it": ("box = {}\nb = [box]", "b[0]['k'] = a"),
    "by a function": ("def put(d, x):\n    d['k'] = x", "box = {}", "put(box, a)"),
    "by a method": ("class Box:\n    def take(self, x):\n        self.r = x\nbox = Box()", "b = box\nb.take(a)"),
    "by a bound method": ("box = []\nput = box.append", "put(a)"),
    "by a library": ("import heapq\nbox = []", "heapq.heappush(box, a)"),
    "by its operator": ("box = []\nb = box", "b += [a]"),
    "in what a method gives": ("box = {}", "box.setdefault('k', []).append(a)"),
    "in a loop": ("box = {'r': []}", "for part in box.values():\n    part.append(a)"),
}


@pytest.mark.parametrize("how", STORES)
def test_what_was_stored_somewhere_is_followed(how: str) -> None:
    """A change of what an object holds is a change of the object, under whichever name it was stored there."""
    result = "def build():\n    return getattr(box, 'r', box)"
    cells = ("a = [3, 1, 2]\nn = 2", *STORES[how], "other = a if n > 3 else a\nother.append(4)", result)

    verdict = judge(Generated(0, cells))

    assert verdict.kind in ("equal", "different, warned"), verdict.detail


def test_a_warning_names_its_cells() -> None:
    """What follows the warnings reads the cells from their texts."""
    drawn = "`rng.random(...)` draws from `rng` and is left out (cells 2, 4 and 6), so build() gets other numbers"

    assert named_cells(drawn, 2) == {2, 4, 6}
    assert named_cells("`m.fit(...)` changes `m`, which build() needs, and is left out", 3) == {3}
    assert named_cells("pd.read_csv() reads data", 3) == set()

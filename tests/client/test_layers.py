"""Where boxes and lines of a picture lie: nothing overlaps, lines go from left to right, and it fits, whatever leads to whatever."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from data_engine.view.layers import FLAT, HIGH, PAD, layout

NAMES = st.sampled_from([f"n{number}" for number in range(14)])
EDGES = st.lists(st.tuples(NAMES, NAMES), max_size=30)
WIDTHS = st.dictionaries(NAMES, st.floats(40, 400), min_size=14, max_size=14)
ROOMS = st.sampled_from([100, 400, 800, 1600, 4000])


@given(WIDTHS, EDGES, ROOMS)
def test_boxes_stand_apart_and_each_line_is_drawn(
    widths: dict[str, float], edges: list[tuple[str, str]], room: int
) -> None:
    placed = layout(widths, edges, room, {"n0", "n2", "n4", "n6"})

    high = FLAT if placed.is_flat else HIGH
    boxes = [*placed.boxes.values(), *(box for _, box in placed.again)]
    assert placed.boxes.keys() == widths.keys()
    assert placed.lines.keys() == {(a, b) for a, b in edges if a != b}
    for one, other in combinations(boxes, 2):
        beside = one.x + one.wide <= other.x + 1e-6 or other.x + other.wide <= one.x + 1e-6
        assert beside or abs(one.y - other.y) >= high - 1e-6
    assert all(box.x >= PAD and box.y - high / 2 >= PAD - 1e-6 and box.x + box.wide <= placed.wide for box in boxes)
    assert max((box.y + high / 2 for box in boxes), default=0) <= placed.high
    assert placed.wide <= max(1.2 * room, 1.2 * 240) + 1e-6
    assert layout(dict(widths), list(edges), room, {"n6", "n4", "n2", "n0"}) == placed


@given(EDGES)
def test_what_is_made_of_something_stands_to_its_right(edges: list[tuple[str, str]]) -> None:
    """Of edges without a circle."""
    ahead = [(a, b) for a, b in edges if int(a[1:]) < int(b[1:])]
    for room in (400, 4000):
        boxes = layout({f"n{number}": 100 for number in range(14)}, ahead, room).boxes

        assert room == 400 or all(boxes[a].x + boxes[a].wide < boxes[b].x for a, b in ahead)


def test_a_place_far_away_is_repeated_instead_of_a_long_line() -> None:
    """In stairs, where a line would pass other boxes of its column."""
    edges = [edge for n in range(4) for edge in ((f"in{n}", f"flow{n}"), ("ref", f"flow{n}"), (f"flow{n}", f"out{n}"))]
    names = dict.fromkeys(name for edge in edges for name in edge)
    placed = layout(dict.fromkeys(names, 150.0), edges, 200, {name for name in names if "flow" not in name})

    assert placed.is_flat
    assert [name for name, _ in placed.again] == ["ref"] * 3

"""The places of boxes and lines in a picture that goes from left to right: in columns, or in stairs where those have no room.

Columns (the method of Sugiyama): a box stands after what leads to it, columns are ordered so that few lines cross, and each box is as near to its
neighbours as that order allows. Stairs: a row for each box. Libraries that do this need a compiled program, or know no width.

Reference:
    https://doi.org/10.1109/TSMC.1981.4308636
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, TypeAlias

Edge: TypeAlias = tuple[str, str]


class Knee(NamedTuple):
    """Where a line passes a column."""

    source: str
    target: str
    column: int


Spot: TypeAlias = str | Knee
Stacks: TypeAlias = list[list[Spot]]
Near: TypeAlias = tuple[dict[Spot, list[Spot]], dict[Spot, list[Spot]]]
"""The neighbours of each box and knee: on its left, and on its right."""

HIGH, FLAT, PAD = 44.0, 28.0, 10.0
"""The height of a box in columns and in stairs, and the border of the picture."""
_GAP_Y, _GAP_PART, _GAP_LINE, _ROW, _BACK = 12.0, 28.0, 14.0, 35.0, 16.0
_LEAST_GAP, _MOST_GAP, _LEAST_WIDE, _MOST_WIDE, _STAIR, _LEAST_FLAT = 28.0, 84.0, 116, 260, 22.0, 190.0
_LEAST_ROOM, _LEAST_STAIRS, _LONGEST, _SWEEPS, _LARGER = 240.0, 440.0, 16, 13, 1.2


class Box(NamedTuple):
    """The place of a box: `x` is its left side, `y` its middle."""

    x: float
    y: float
    wide: float


class Layout(NamedTuple):
    """The boxes by name, the path of each line, and the size of the picture. In stairs, `is_flat`, places stand `again` where lines would be long."""

    boxes: dict[str, Box]
    lines: dict[Edge, str]
    wide: float
    high: float
    is_flat: bool
    again: tuple[tuple[str, Box], ...] = ()


def layout(widths: Mapping[str, float], edges: Iterable[Edge], room: float, places: Collection[str] = ()) -> Layout:
    """Where boxes lie, given the widths of their texts, within `room`, or up to a fifth more where names would be cut. Connected boxes stand
    together, those without a line below. `places` may be repeated.

    Example:
        >>> edges = [("in", "clean"), ("clean", "out")]
        >>> [box.x for box in layout({"in": 90, "clean": 90, "out": 90}, edges, 600).boxes.values()]
        [10.0, 184.0, 358.0]
        >>> layout({"in": 90, "clean": 90, "out": 90}, edges, 200).is_flat
        True
    """
    room = max(room, _LEAST_ROOM)
    links = [edge for edge in dict.fromkeys(edges) if edge[0] != edge[1]]
    joined = dict.fromkeys(end for edge in links for end in edge)
    rank = ranks(joined, links)
    columns = _column_boxes({name: widths[name] for name in joined}, rank, room)
    ahead = _ahead(links, rank)
    order = _order(joined, ahead)
    boxes, lines, y = dict[str, Box](), dict[Edge, str](), PAD if len(ahead) == len(links) else PAD + _BACK
    again: list[tuple[str, Box]] = []
    if columns is None:
        y = _flights(boxes, lines, again, _stairs(ahead, order, rank, places), widths, room, y)
    else:
        for part in _parts(order, links):
            y = _columns(boxes, lines, [edge for edge in ahead if edge[0] in part], part, rank, columns, y)
    half = (FLAT if columns is None else HIGH) / 2
    lines |= {edge: _back(boxes[edge[0]], boxes[edge[1]], half) for edge in links if edge not in lines}
    y = _loose(boxes, {name: wide for name, wide in widths.items() if name not in joined}, room, half, y)
    right = max((box.x + box.wide for box in boxes.values()), default=0.0)
    return Layout(boxes, lines, right + PAD, y, columns is None, tuple(again))


def _ahead(links: Sequence[Edge], rank: Mapping[str, int]) -> list[Edge]:
    return [(a, b) for a, b in links if rank[a] < rank[b]]


def _back(one: Box, other: Box, half: float) -> str:
    """The path of a line that leads back, in a circle: over both boxes."""
    x1, x2, top = one.x + one.wide / 2, other.x + other.wide / 2, min(one.y, other.y) - half - _BACK
    return f"M{x1:g} {one.y - half:g}C{x1:g} {top:g} {x2:g} {top:g} {x2:g} {other.y - half:g}"


def _loose(boxes: dict[str, Box], widths: Mapping[str, float], room: float, half: float, top: float) -> float:
    """Place what has no line in rows below `top`; where they end."""
    wide = min(max(widths.values(), default=0.0), room - 2 * PAD)
    across = max(1, int((room - 2 * PAD + _GAP_Y) // (wide + _GAP_Y)))
    for at, name in enumerate(widths):
        row, column = divmod(at, across)
        boxes[name] = Box(PAD + column * (wide + _GAP_Y), top + half + row * (2 * half + _GAP_Y), wide)
    return top - (-len(widths) // across) * (2 * half + _GAP_Y)


def ranks(names: Iterable[str], links: Sequence[Edge]) -> dict[str, int]:
    """The column of each name: after the last of those that lead to it; what nothing leads to stands just before who takes it.

    Example:
        >>> ranks("abcd", [("a", "b"), ("b", "c"), ("d", "c")])
        {'a': 0, 'd': 1, 'b': 1, 'c': 2}
    """
    before: dict[str, set[str]] = {name: set() for name in names}
    for a, b in links:
        before[b].add(a)
    left, rank = dict(before), dict[str, int]()
    while left:
        free = [name for name, of in left.items() if not of & left.keys()] or [next(iter(left))]
        for name in free:
            rank[name] = max((rank[other] + 1 for other in before[name] if other in rank), default=0)
        left = {name: of for name, of in left.items() if name not in rank}
    for name in [name for name, of in before.items() if not of]:
        rank[name] = max(min((rank[b] for a, b in links if a == name), default=1) - 1, 0)
    return rank


def _column_boxes(widths: Mapping[str, float], rank: Mapping[str, int], room: float) -> list[Box] | None:
    """The side and width of each column; None where there is no room for them."""
    wides = [
        max(wide for name, wide in widths.items() if rank[name] == at)
        for at in range(1 + max(rank.values(), default=-1))
    ]
    gaps = max(len(wides) - 1, 1)
    for most, share in ((_MOST_WIDE, 1.0), *((most, _LARGER) for most in range(_MOST_WIDE, _LEAST_WIDE - 1, -2))):
        cut = [min(wide, most) for wide in wides]
        if (gap := (share * room - 2 * PAD - sum(cut)) / gaps) >= _LEAST_GAP:
            lefts = accumulate((wide + min(gap, _MOST_GAP) for wide in cut), initial=PAD)
            return [Box(x, 0.0, wide) for x, wide in zip(lefts, cut, strict=False)]
    return None


def _order(names: Iterable[str], links: Sequence[Edge]) -> dict[str, int]:
    """The names with their places in an order: each after what leads to it, as soon as that can be."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for a, b in links:
        before.setdefault(b, []).append(a)
        after.setdefault(a, []).append(b)
    order: dict[str, int] = {}

    def put(name: str) -> None:
        for other in before.get(name, ()):
            if other not in order:
                put(other)
        if name not in order:  # the last of those has put it else
            order[name] = len(order)
            for other in after.get(name, ()):
                if all(one in order for one in before[other]):
                    put(other)

    for name in names:
        put(name)
    return order


def _parts(order: Mapping[str, int], links: Sequence[Edge]) -> list[dict[str, int]]:
    """The connected parts of an order, the largest first."""
    part = {name: {name} for name in order}
    for a, b in links:
        if part[a] is not part[b]:
            small, large = sorted((part[a], part[b]), key=len)
            large |= small
            part |= dict.fromkeys(small, large)
    parts = sorted({id(one): one for one in part.values()}.values(), key=len, reverse=True)
    return [{name: at for name, at in order.items() if name in one} for one in parts]


def _columns(
    boxes: dict[str, Box],
    lines: dict[Edge, str],
    links: Sequence[Edge],
    part: Mapping[str, int],
    rank: Mapping[str, int],
    columns: Sequence[Box],
    top: float,
) -> float:
    """Place one part below `top`; where it ends. A line that passes columns has a knee in each, so that it meets no box there."""
    ways: dict[Edge, list[Spot]] = {
        (a, b): [a, *(Knee(a, b, at) for at in range(rank[a] + 1, rank[b])), b] for a, b in links
    }
    near: Near = ({}, {})
    stacks: Stacks = [[name for name in part if rank[name] == at] for at in range(len(columns))]
    for way in ways.values():
        for one, other in pairwise(way):
            near[0].setdefault(other, []).append(one)
            near[1].setdefault(one, []).append(other)
        for knee in way:
            if isinstance(knee, Knee):
                stacks[knee.column].append(knee)
    for stack in stacks:
        stack.sort(key=lambda name: part[name.source if isinstance(name, Knee) else name])
    _untangle(stacks, near)
    y = _heights(stacks, near)
    shift = top + HIGH / 2 - min(y[name] for name in part)
    for name in part:
        column = columns[rank[name]]
        boxes[name] = Box(column.x, y[name] + shift, column.wide)
    for (a, b), way in ways.items():
        x, at = boxes[a].x + boxes[a].wide, boxes[a].y
        path = f"M{x:g} {at:g}"
        for step, spot in enumerate(way[1:], rank[a] + 1):
            left, low = columns[step].x, y[spot] + shift
            path += f"C{(x + left) / 2:g} {at:.1f} {(x + left) / 2:g} {low:.1f} {left:g} {low:.1f}"
            x, at = left + columns[step].wide, low
            path += f"H{x:g}" if isinstance(spot, Knee) else ""
        lines[a, b] = path
    return max(y.values()) + shift + HIGH / 2 + _GAP_PART


def _untangle(stacks: Stacks, near: Near) -> None:
    """Order each column by the mean of its neighbours, and swap two where fewer lines cross then."""
    place = {name: (at + 0.5) / len(stack) for stack in stacks for at, name in enumerate(stack)}
    for sweep in range(_SWEEPS):
        for stack in reversed(stacks) if sweep % 2 else stacks:
            stack.sort(key=lambda name: _mean([place[other] for other in near[sweep % 2].get(name, ())], place[name]))
            place |= {name: (at + 0.5) / len(stack) for at, name in enumerate(stack)}
            for at in [*range(len(stack) - 1), *reversed(range(len(stack) - 1))]:
                one, other = stack[at : at + 2]
                if _crossings(other, one, near, place) < _crossings(one, other, near, place):
                    stack[at : at + 2] = other, one
                    place[one], place[other] = place[other], place[one]


def _heights(stacks: Stacks, near: Near) -> dict[Spot, float]:
    """The middle of each box and knee: near its neighbours on the left and on the right in turn."""
    y: dict[Spot, float] = {name: at * (HIGH + _GAP_Y) for stack in stacks for at, name in enumerate(stack)}
    for sweep in range(2 * _SWEEPS + 1):
        for stack in filter(None, reversed(stacks) if sweep % 2 else stacks):
            wanted = [_mean([y[other] for other in near[sweep % 2].get(name, ())], y[name]) for name in stack]
            y |= zip(
                stack,
                _spread(wanted, [_GAP_LINE if isinstance(name, Knee) else HIGH + _GAP_Y for name in stack]),
                strict=True,
            )
    return y


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _crossings(
    one: Spot,
    other: Spot,
    near: Near,
    place: Mapping[Spot, float],
) -> int:
    """How many lines of two neighbours cross where `one` stands first."""
    ends = ((place[a], place[b]) for side in near for a in side.get(one, ()) for b in side.get(other, ()))
    return sum(a > b for a, b in ends)


def _spread(wanted: Sequence[float], highs: Sequence[float]) -> list[float]:
    """The middles nearest to those wanted at which boxes of these heights stand in this order and do not overlap."""
    offsets = list(accumulate(((one + other) / 2 for one, other in pairwise(highs)), initial=0.0))
    blocks: list[tuple[float, int]] = []
    for middle, offset in zip(wanted, offsets, strict=True):
        total, count = middle - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            total, count = total + blocks[-1][0], count + blocks.pop()[1]
        blocks.append((total, count))
    starts = [total / count for total, count in blocks for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _flights(
    boxes: dict[str, Box],
    lines: dict[Edge, str],
    again: list[tuple[str, Box]],
    stairs: tuple[Sequence[tuple[str, int, bool]], Mapping[Edge, tuple[int, int]]],
    widths: Mapping[str, float],
    room: float,
    top: float,
) -> float:
    """Place the rows of stairs below `top`, in as many flights beside one another as there is room for; where they end. No line passes from one
    flight to another."""
    rows, ends = stairs
    breaks = [row for row in range(len(rows)) if not any(first < row <= last for first, last in ends.values())]
    beside = max(1, int(room // _LEAST_STAIRS))
    starts = sorted({min(breaks, key=lambda row: abs(row - len(rows) * at / beside)) for at in range(beside)})
    inside = (room - 2 * PAD - (len(starts) - 1) * _GAP_PART) / len(starts)
    step = min(_STAIR, (inside - _LEAST_FLAT) / max(at for _, at, _ in rows))
    placed = list[Box]()
    for row, (name, at, is_again) in enumerate(rows):
        flight = bisect_right(starts, row) - 1
        x, y = PAD + flight * (inside + _GAP_PART) + at * step, top + FLAT / 2 + (row - starts[flight]) * _ROW
        placed.append(Box(x, y, min(widths[name], inside - at * step)))
        if is_again:
            again.append((name, placed[row]))
        else:
            boxes[name] = placed[row]
    for edge, (first, last) in ends.items():
        x, y = placed[first].x + step / 2, placed[last].y
        lines[edge] = f"M{x:g} {placed[first].y + FLAT / 2:g}V{y - 6:g}q0 6 6 6H{placed[last].x:g}"
    return max(box.y for box in placed) + FLAT / 2 + _GAP_PART


def _stairs(
    links: Sequence[Edge], order: Mapping[str, int], rank: Mapping[str, int], places: Collection[str]
) -> tuple[list[tuple[str, int, bool]], dict[Edge, tuple[int, int]]]:
    """The rows: name, column, and whether it stands elsewhere already; and each line as the rows of its ends. A box follows what leads to it. Where
    a line would meet another one or a box, the place at its end is repeated beside the other end."""
    column, joined, kept = list(order), set(links), list[Edge]()
    above: dict[str, list[Edge]] = {}
    below: dict[str, list[Edge]] = {}
    passed: list[tuple[float, int]] = []
    for a, b in sorted(links, key=lambda edge: order[edge[1]]):
        first, last = order[a], order[b]
        is_clear = all(
            rank[one] > rank[a] or (rank[one] == rank[a] and (one, b) in joined) for one in column[first + 1 : last]
        )
        is_clear &= last - first <= _LONGEST and not any(at == rank[a] and first < row < last for row, at in passed)
        is_clear &= all(rank[p] != rank[a] or a == p or b == q or order[p] > last or order[q] < first for p, q in kept)
        if is_clear:
            kept.append((a, b))
        else:
            beside = above.setdefault(b, []) if a in places else below.setdefault(a, [])
            beside.append((a, b))
            passed.append((last - 0.5, rank[b] - 1) if a in places else (first + 0.5, rank[a] + 1))
    rows: list[tuple[str, int, bool]] = []
    lines: dict[Edge, tuple[int, int]] = {}
    at: dict[str, int] = {}
    for name in order:
        for edge in above.get(name, ()):
            lines[edge] = len(rows), len(rows) + len(above[name]) - above[name].index(edge)
            rows.append((edge[0], rank[name] - 1, True))
        at[name] = len(rows)
        rows.append((name, rank[name], False))
        for edge in below.get(name, ()):
            lines[edge] = at[name], len(rows)
            rows.append((edge[1], rank[name] + 1, True))
    return rows, lines | {(a, b): (at[a], at[b]) for a, b in kept}

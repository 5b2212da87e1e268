"""The lineage of a flow or a place: its verb, and its picture in layers from left to right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from data_engine.formatting import plural
from data_engine.status.lineage import Lineage, LineageEdge, LineageNode
from data_engine.view.card import Card, Lines, Part, Picture
from data_engine.view.svg import clean, fit, width
from data_engine.view.verb import Answer, Option, Place, Subject

_HIGH, _GAP_Y, _GAP_X, _MOST_WIDE, _PAD = 30, 14, 64, 260, 10


def lineage(
    place: Place,
    subject: Annotated[
        str | None, Subject("X", "A flow, a file, a folder, or a table (w.duckdb:sales); else all flows.")
    ] = None,
    depth: Annotated[int, Option("So many steps each way.", "N", least=1)] = 1,
) -> Answer:
    """What a flow, a file, a folder or a table is made from, and what is made from it; without X all flows and the places between them.

    It is known from what runs have read and written, and from what flows say that they read and write. Of a table its writers
    are known, and who reads its database.
    """
    value = place.workspace.lineage(subject, depth)
    return Answer(lambda: lineage_card(value), value.as_dict, value=value)


def lineage_card(value: Lineage) -> Card:
    """The picture of a lineage, and a sentence for each edge."""
    if not value.edges:
        words = "There are no flows." if not value.nodes else "Nobody reads or writes it, as far as is known."
        words = (
            words
            if value.subject or not value.nodes
            else "These flows name no places, and no run has read or written a file."
        )
        return Card(value.subject or "All flows", (), (Lines((words,)),))
    sentences = tuple(edge.text for edge in value.edges)
    parts: tuple[Part, ...] = (Picture(lineage_svg(value)), Lines(sentences))
    return Card(value.subject or "All flows", (), parts)


def layers(value: Lineage) -> list[list[LineageNode]]:
    """The nodes by layer, from left to right: each after what leads to it, in the order in which lines cross least. Where nodes lead to
    each other in a circle, the first in their order is the left one.

    Example:
        >>> nodes = tuple(LineageNode(name, "flow") for name in "abc")
        >>> edges = tuple(LineageEdge(start, end, start) for start, end in ("ab", "bc", "ac"))
        >>> [[node.id for node in layer] for layer in layers(Lineage("", nodes, edges))]
        [['a'], ['b'], ['c']]
    """
    before: dict[str, set[str]] = {node.id: set() for node in value.nodes}
    for edge in value.edges:
        before[edge.target].add(edge.source)
    rank = _ranks(before)
    for name in [name for name, of in before.items() if not of]:  # what nobody makes stands beside who reads it
        rank[name] = max(min((rank[edge.target] for edge in value.edges if edge.source == name), default=1) - 1, 0)
    placed: list[list[LineageNode]] = [[] for _ in range(max(rank.values(), default=0) + 1)]
    row: dict[str, float] = {}
    for node in sorted(value.nodes, key=lambda node: rank[node.id]):
        near = [row[other] for other in before[node.id] if other in row]
        placed[rank[node.id]].append(node)
        row[node.id] = sum(near) / len(near) if near else len(placed[rank[node.id]])
    return [sorted(layer, key=lambda node: row[node.id]) for layer in placed]


def _ranks(before: Mapping[str, set[str]]) -> dict[str, int]:
    """The layer of each node: one more than the last of those that lead to it."""
    left, rank = dict(before), dict[str, int]()
    while left:
        free = [name for name, of in left.items() if not of & left.keys()] or [next(iter(left))]
        for name in free:
            rank[name] = max((rank[other] + 1 for other in before[name] if other in rank), default=0)
        left = {name: of for name, of in left.items() if name not in rank}
    return rank


def lineage_svg(value: Lineage) -> str:
    """The picture: a column for each layer, flows with round ends, a curve for each edge with its sentence as a tip."""
    columns = layers(value)
    high = max(len(column) for column in columns) * (_HIGH + _GAP_Y) + _GAP_Y
    boxes: dict[str, tuple[float, float, float]] = {}
    parts, x = [], float(_PAD)
    for column in columns:
        texts = [fit(_words(node), _MOST_WIDE) for node in column]
        wide = max(width(text) for text in texts) + 2 * _PAD + 8
        top = (high - len(column) * (_HIGH + _GAP_Y) + _GAP_Y) / 2
        for number, (node, text) in enumerate(zip(column, texts, strict=True)):
            y = top + number * (_HIGH + _GAP_Y)
            boxes[node.id] = x, y + _HIGH / 2, wide
            parts.append(_box(node, text, x, y, wide, is_subject=node.id == value.subject))
        x += wide + _GAP_X
    curves = "".join(_curve(edge, boxes) for edge in value.edges)
    full = x - _GAP_X + _PAD
    title = clean(f"Lineage of {value.subject or 'all flows'}")
    return (
        f'<svg class="de-lineage" xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{title}" width="{full:.0f}"'
        f' height="{high:.0f}" viewBox="0 0 {full:.0f} {high:.0f}">{_STYLE}{curves}{"".join(parts)}</svg>'
    )


def _words(node: LineageNode) -> str:
    return node.id if node.count is None else f"{node.id} ({plural(node.count, 'file')})"


def _box(node: LineageNode, text: str, x: float, y: float, wide: float, *, is_subject: bool) -> str:
    tip = f"<title>{clean(f'{node.kind} {_words(node)}')}</title>"
    kind = f"de-{'f' if node.kind == 'flow' else 'p'}{' de-x' if is_subject else ''}"
    corner = _HIGH / 2 if node.kind == "flow" else 3
    return (
        f'<g class="{kind}">{tip}<rect x="{x:g}" y="{y:g}" width="{wide:g}" height="{_HIGH}" rx="{corner:g}"/>'
        f'<text x="{x + wide / 2:g}" y="{y + _HIGH / 2 + 4.5:g}">{clean(text)}</text></g>'
    )


def _curve(edge: LineageEdge, boxes: Mapping[str, tuple[float, float, float]]) -> str:
    (x1, y1, wide1), (x2, y2, wide2) = boxes[edge.source], boxes[edge.target]
    kind = "de-e" if edge.run_id is not None else "de-e de-o"
    if x2 > x1:
        start, end, bend = x1 + wide1, x2 - 1, _GAP_X / 2
        line = f"M{start:g} {y1:g}C{start + bend:g} {y1:g} {end - bend:g} {y2:g} {end:g} {y2:g}m-5 -4l5 4l-5 4"
    else:  # back, in a circle: above both
        start, end, above = x1 + wide1 / 2, x2 + wide2 / 2, min(y1, y2) - _HIGH / 2
        line = f"M{start:g} {above:g}C{start:g} {above - 22:g} {end:g} {above - 22:g} {end:g} {above:g}m-4 -5l4 5l4 -5"
    return f'<path class="{kind}" d="{line}"><title>{clean(edge.text)}</title></path>'


_STYLE = (
    "<style>"
    ".de-lineage text{fill:var(--de-fg,currentColor);font:13px var(--de-font,system-ui,sans-serif);text-anchor:middle}"
    ".de-lineage rect{fill:var(--de-back,none);stroke:var(--de-dim,gray);stroke-width:1.2}"
    ".de-lineage .de-f text{font-weight:600}.de-lineage .de-f rect{stroke:var(--de-accent,#1976d2)}"
    ".de-lineage .de-x rect{stroke-width:2.6}"
    ".de-lineage .de-e{stroke:var(--de-dim,gray);stroke-width:1.4;fill:none}.de-lineage .de-o{stroke-dasharray:4 4}"
    "</style>"
)

"""The lineage of a flow or a place: its verb, and its picture from left to right; of all flows the map, with the state of each."""

from __future__ import annotations

from typing import Annotated

from data_engine.formatting import plural
from data_engine.status.lineage import Lineage, LineageEdge, LineageNode
from data_engine.view.card import Card, Lines, Part, Picture
from data_engine.view.layers import FLAT, HIGH, Box, layout
from data_engine.view.svg import SHAPES, clean, fit, width
from data_engine.view.verb import Answer, Option, Place, Subject

ROOM = 960
"""The width of a picture that nobody gives a width."""
_MARGIN, _ICON, _SMALL, _BOLD, _BESIDE = 9.0, 17.0, 11.0, 1.1, 8.0
_LEAST_FLOW = 120.0
"""A state of a flow that comes later has room."""


def lineage(
    place: Place,
    subject: Annotated[
        str | None, Subject("X", "A flow, a file, a folder, or a table (w.duckdb:sales); else all flows.")
    ] = None,
    depth: Annotated[int, Option("So many steps each way.", "N", least=1)] = 1,
) -> Answer:
    """What a flow, a file, a folder or a table is made from, and what is made from it; without X the map of all flows and the places between them.

    It is known from what runs have read and written, and from what flows say that they read and write. Of a table its writers
    are known, and who reads its database.
    """
    value = place.workspace.lineage(subject, depth)
    return Answer(lambda: lineage_card(value), value.as_dict, value=value)


def lineage_card(value: Lineage) -> Card:
    """The picture of a lineage, and a sentence for each edge."""
    title = value.subject or "All flows"
    if not value.nodes:
        return Card(title, (), (Lines(("There are no flows.",)),))
    sentences = tuple(edge.text for edge in value.edges)
    states = tuple(f"{node.id}: {node.mark.word}" for node in value.nodes if node.mark is not None)
    states += tuple(f"{node.id}: {plural(node.count, 'file')}" for node in value.nodes if node.count is not None)
    if not sentences:
        nobody = "Nobody reads or writes it, as far as is known."
        nowhere = "These flows name no places, and no run has read or written a file."
        sentences = (nobody if value.subject else nowhere,)
    parts: tuple[Part, ...] = (Picture(lineage_svg(value)), Lines(sentences))
    return Card(title, (), (*parts, Lines(states)) if states else parts)


def lineage_svg(value: Lineage, room: float = ROOM, *, leads: bool = False) -> str:
    """The picture, at most `room` wide where its names stay readable: a box for each node, a curve for each edge with its sentence as a tip.

    In a page it `leads` somewhere: boxes are buttons, each with its name in `data-node`, and the page gives those of flows their state.
    """
    nodes = {node.id: node for node in value.nodes}
    texts = {node.id: _texts(node, leads=leads) for node in value.nodes}
    edges = [(edge.source, edge.target) for edge in value.edges]
    places = {node.id for node in value.nodes if node.kind != "flow"}
    for is_flat in (False, True):
        placed = layout(
            {name: _wide(nodes[name], *texts[name], is_flat=is_flat) for name in nodes}, edges, room, places
        )
        if not placed.is_flat:
            break
    curves = "".join(
        _curve(edge, placed.lines[edge.source, edge.target]) for edge in value.edges if edge.source != edge.target
    )
    boxes = "".join(
        _box(
            nodes[name],
            box,
            texts[name],
            is_flat=placed.is_flat,
            kinds=f"{kind}{' de-x' if name == value.subject else ''}",
            leads=leads,
        )
        for kind, some in (("", placed.boxes.items()), (" de-a", placed.again))
        for name, box in some
    )
    title = clean(f"Lineage of {value.subject}" if value.subject else "All flows and the places between them")
    scale = min(1.0, room / placed.wide)
    size = f'width="{placed.wide * scale:.0f}" height="{placed.high * scale:.0f}" viewBox="0 0 {placed.wide:.0f} {placed.high:.0f}"'
    return (
        f'<svg class="de-lineage" xmlns="http://www.w3.org/2000/svg" data-room="{room:.0f}" role="{"group" if leads else "img"}" aria-label="{title}" {size}>'
        f"{_STYLE}{curves}{boxes}</svg>"
    )


_WIDEST_STATE = "edit has errors"
"""The panel writes the state of now; the picture has room for any."""


def _texts(node: LineageNode, *, leads: bool) -> tuple[str, str]:
    """The name of a node, and what stands below it."""
    if node.kind == "flow":
        return node.id, _WIDEST_STATE if leads else "" if node.mark is None else node.mark.word
    folder, slash, name = node.id.rstrip("/").rpartition("/")
    files = "" if node.count is None else plural(node.count, "file")
    end = "/" if node.kind == "folder" else ""
    return f"{name}{end}", " · ".join(filter(None, (folder or slash, files)))


def _wide(node: LineageNode, name: str, below: str, *, is_flat: bool = False) -> float:
    first, second = width(name) * (_BOLD if node.kind == "flow" else 1), width(below, _SMALL)
    text = first + second + (_BESIDE if second else 0) if is_flat else max(first, second)
    return max(text + 2 * _MARGIN + _ICON + 2, _LEAST_FLOW if node.kind == "flow" else 0)


def _box(node: LineageNode, box: Box, texts: tuple[str, str], *, is_flat: bool, kinds: str, leads: bool) -> str:
    (name, below), high, is_flow = texts, FLAT if is_flat else HIGH, node.kind == "flow"
    x, y, room = box.x + _MARGIN + _ICON, box.y, box.wide - 2 * _MARGIN - _ICON
    tone, inside, tip = (
        "idle",
        _ICONS["database" if _is_database(node) else node.kind],
        f"{node.kind} {node.path or node.id}",
    )
    if is_flow and leads:
        below, tip = "", node.id
    elif node.mark is not None:
        tone, inside, tip = node.mark.tone, SHAPES[node.mark.shape], f"{tip}: {node.mark.word}"
    if node.count is not None:
        tip = f"{tip} ({plural(node.count, 'file')})"
    shown = fit(name, room / (_BOLD if is_flow else 1))
    left = room - is_flat * (width(shown) + _BESIDE)
    small = clean(below if is_flow else fit(below, left, _SMALL) if left > 24 else "")
    first = y + 4.5 if is_flat or not texts[1] else y - 3.5
    at = f'dx="{_BESIDE:g}"' if is_flat else f'x="{x:g}" y="{y + 12.5:g}"'
    lines = f'<text x="{x:g}" y="{first:g}">{clean(shown)}<tspan class="de-s" {at}>{small}</tspan></text>'
    what = (
        f' role="button" tabindex="0" data-node="{clean(node.id)}" data-kind="{node.kind}" data-path="{clean(node.path or "")}"'
        if leads
        else ""
    )
    return (
        f'<g class="de-n {"de-f" if is_flow else "de-p"}{kinds} de-{tone}"{what} aria-label="{clean(tip)}"><title>{clean(tip)}</title>'
        f'<rect x="{box.x:g}" y="{y - high / 2:.1f}" width="{box.wide:g}" height="{high:g}" rx="{8 if is_flow else 4}"/>'
        f'<g class="de-i" transform="translate({box.x + _MARGIN:g} {first - 10.5:.1f})">{inside}</g>{lines}</g>'
    )


def _is_database(node: LineageNode) -> bool:
    return node.kind == "table" or node.id.endswith((".duckdb", ".db", ".sqlite"))


def _curve(edge: LineageEdge, line: str) -> str:
    kind = "de-e" if edge.run_id is not None else "de-e de-o"
    return f'<path class="{kind}" d="{line}"><title>{clean(edge.text)}</title></path>'


_ICONS = {
    "flow": SHAPES["ring"],
    "folder": '<path d="M1 2.5h3.6l1.3 1.6H11v5.9H1z"/>',
    "file": '<path d="M2.5 1h4.3l2.7 2.7V11h-7zM6.8 1v2.7h2.7"/>',
    "database": '<path d="M1.8 2.8v6.4c0 2 8.4 2 8.4 0V2.8M1.8 6c0 2 8.4 2 8.4 0"/><ellipse cx="6" cy="2.8" rx="4.2" ry="1.6"/>',
}
"""The drawing of each kind of node, 12 by 12."""
_STYLE = (
    "<style>"
    ".de-lineage{display:block}"
    ".de-lineage text{fill:var(--de-fg,currentColor);font:13px var(--de-font,system-ui,sans-serif)}"
    ".de-lineage .de-f text{font-weight:600}.de-lineage .de-s{fill:var(--de-dim,gray);font-size:11px;font-weight:400}"
    ".de-lineage rect{fill:var(--de-back,#fff);stroke:var(--de-line,#ccc)}"
    ".de-lineage .de-f{--t:var(--de-accent,#1976d2)}.de-lineage .de-bad{--t:var(--de-bad,#d32f2f)}.de-lineage .de-warn{--t:var(--de-warn,#ef6c00)}"
    ".de-lineage .de-f>rect{stroke:var(--t);fill:color-mix(in srgb,var(--t) 9%,var(--de-back,#fff))}"
    ".de-lineage .de-p>rect{fill:var(--de-soft,#f5f5f5)}"
    ".de-lineage .de-i{color:var(--t)}.de-lineage .de-good .de-i{color:var(--de-good,#388e3c)}.de-lineage .de-idle .de-i{color:var(--de-dim,gray)}"
    ".de-lineage .de-p .de-i{fill:none;stroke:currentColor;stroke-width:1.2}"
    ".de-lineage .de-bad .de-s,.de-lineage .de-warn .de-s{fill:var(--t)}"
    ".de-lineage .de-x>rect{stroke:var(--de-accent,#1976d2);stroke-width:2.4}"
    ".de-lineage .de-a>rect{fill:var(--de-back,#fff);stroke-dasharray:3 3}.de-lineage .de-a text{font-style:italic}"
    ".de-lineage .de-e{fill:none;stroke:gray;stroke:color-mix(in srgb,var(--de-dim,gray) 60%,var(--de-back,#fff));stroke-width:1.5}.de-lineage .de-o{stroke-dasharray:5 4}"
    ".de-lineage .de-e:hover{stroke:var(--de-accent,#1976d2);stroke-width:2.5}"
    "</style>"
)

"""What follows from the folders that flows write and read: a mirror of two flows, flows that feed each other, and the order of flows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from data_engine.flow.flow import Flow
from data_engine.flow.spec import Collect


class Folders(NamedTuple):
    """Where a flow writes, None where it has no mirror; the files and folders it reads, as far as it says so, and which of them it watches."""

    mirror: Path | None = None
    reads: tuple[Path, ...] = ()
    watched: Path | None = None


def mirror_warnings(flows: Mapping[str, Folders]) -> dict[str, list[str]]:
    """What to tell of each flow, by its name.

    Example:
        >>> flows = {"a": Folders(Path("/x"), (), Path("/y")), "b": Folders(Path("/y"), (), Path("/x")), "c": Folders(Path("/z"))}
        >>> print(*mirror_warnings(flows)["b"])
        it starts itself again: b writes into the folder that a watches, a writes into the folder that b watches; this never ends, unless extensions= keeps their files apart
        >>> mirror_warnings({"c": Folders(Path("/z")), "d": Folders(Path("/z"))})["d"]
        ['the mirror root /z is shared by c, d']
    """
    told: dict[str, list[str]] = {}
    for name, places in flows.items():
        sharing = sorted(other for other, one in flows.items() if one.mirror == places.mirror)
        if places.mirror is not None and len(sharing) > 1:
            told.setdefault(name, []).append(shared_words(places.mirror, sharing))
    feeds = {name: sorted(_fed_by(name, flows)) for name in flows}
    for name in flows:
        if (circle := _way_back(name, feeds)) is not None:
            way = ", ".join(f"{one} writes into the folder that {other} watches" for one, other in circle)
            text = f"it starts itself again: {way}; this never ends, unless extensions= keeps their files apart"
            told.setdefault(name, []).append(text)
    return told


def shared_words(mirror: Path, flows: Collection[str]) -> str:
    """That these flows write one mirror.

    Example:
        >>> shared_words(Path("out"), ["c", "d"])
        'the mirror root out is shared by c, d'
    """
    return f"the mirror root {mirror} is shared by {', '.join(sorted(flows))}"


def _fed_by(name: str, flows: Mapping[str, Folders]) -> Iterator[str]:
    """The other flows that watch where this flow writes."""
    for other, places in flows.items():
        if other != name and places.watched is not None and is_read(flows[name].mirror, [places.watched]):
            yield other


def _way_back(start: str, feeds: Mapping[str, list[str]]) -> list[tuple[str, str]] | None:
    """The shortest way from a flow over those it feeds back to itself, as pairs; it begins with whoever feeds it."""
    came: dict[str, str] = {}
    todo = [start]
    for one in todo:
        for other in feeds[one]:
            if other == start:
                way = [(one, start)]
                while way[0][0] != start:
                    way.insert(0, (came[way[0][0]], way[0][0]))
                return way
            if other not in came:
                came[other] = one
                todo.append(other)
    return None


def folders_of(flow: Flow) -> Folders:
    """Those that a flow names in `watch(source=...)`, `collect(root=...)` and `mirror(root=...)`."""
    source = None if flow.trigger is None or flow.trigger.source is None else Path(flow.trigger.source)
    roots = [step.fn.root.path for step in flow.steps if isinstance(step.fn, Collect) and step.fn.root is not None]
    mirror = None if flow.mirror_spec is None else Path(flow.mirror_spec.root)
    return Folders(
        mirror,
        tuple(Path(one) for one in (source, *roots) if one is not None),
        source if flow.mode == "poll" else None,
    )


def is_read(mirror: Path | None, places: Iterable[Path]) -> bool:
    """Whether who reads these files and folders may find there what is written into the mirror: one lies in the other.

    Example:
        >>> [is_read(Path("/out/claims"), [Path(place)]) for place in ("/out", "/out/claims/a.csv", "/output")]
        [True, True, False]
    """
    return mirror is not None and any(mirror.is_relative_to(one) or one.is_relative_to(mirror) for one in places)


def reading_order(flows: Mapping[str, Folders]) -> list[str]:
    """The names in their order, but each after those whose mirrors it reads; in a circle the first name is first.

    Example:
        >>> from pathlib import Path
        >>> reading_order({"a": Folders(None, (Path("/out/b"),)), "b": Folders(Path("/out")), "c": Folders(Path("/in"))})
        ['b', 'a', 'c']
        >>> reading_order({"b": Folders(Path("/x"), (Path("/y"),)), "a": Folders(Path("/y"), (Path("/x"),))})
        ['a', 'b']
    """
    left = {name: _writers(name, flows) for name in sorted(flows)}
    order: list[str] = []
    while left:
        name = next((one for one, before in left.items() if not before & left.keys()), next(iter(left)))
        order.append(name)
        del left[name]
    return order


def _writers(name: str, flows: Mapping[str, Folders]) -> set[str]:
    """The other flows whose mirror this one reads."""
    reads = flows[name].reads
    return {other for other, one in flows.items() if other != name and is_read(one.mirror, reads)}

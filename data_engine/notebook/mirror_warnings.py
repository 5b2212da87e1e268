"""Compares the folders that flows write and read: mirrors that two flows share, flows that feed each other, and the order of flows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from data_engine.flow.flow import Flow
from data_engine.flow.spec import Collect


class Folders(NamedTuple):
    """The mirror of a flow, None where it has none, and the files and folders it reads, as far as it says so."""

    mirror: Path | None = None
    reads: tuple[Path, ...] = ()


def mirror_warnings(flows: Iterable[Flow]) -> dict[str, list[str]]:
    """The warnings of each flow, by its name: another flow writes its mirror too, or it starts itself again through others."""
    places = {flow.name or "": (flow, folders_of(flow)) for flow in flows}
    warnings: dict[str, list[str]] = {}
    feeds: dict[str, list[str]] = {}
    for name, (_, own) in places.items():
        sharing = [other for other, (_, folders) in places.items() if folders.mirror == own.mirror]
        if own.mirror is not None and len(sharing) > 1:
            warnings[name] = [shared_text(own.mirror, sharing)]
        feeds[name] = sorted(
            other
            for other, (flow, folders) in places.items()
            if other != name and flow.mode == "poll" and is_read(own.mirror, folders.reads[:1])
        )
    for name in feeds:
        if circle := _circle(name, feeds):
            pairs = (f"{writer} writes into the folder that {reader} watches" for writer, reader in pairwise(circle))
            text = f"it starts itself again: {', '.join(pairs)}; this never ends, unless extensions= keeps their files apart"
            warnings.setdefault(name, []).append(text)
    return warnings


def _circle(start: str, feeds: Mapping[str, list[str]]) -> list[str]:
    """The shortest way from a flow back to itself over those it feeds; empty where there is none."""
    ways, names = [[start]], set[str]()
    for way in ways:
        for other in feeds[way[-1]]:
            if other == start:
                return [*way, start]
            if other not in names:
                names.add(other)
                ways.append([*way, other])
    return []


def shared_text(mirror: Path, flows: Collection[str]) -> str:
    """The text for flows that write one mirror.

    Example:
        >>> shared_text(Path("out"), ["c", "d"])
        'the mirror root out is shared by c, d'
    """
    return f"the mirror root {mirror} is shared by {', '.join(sorted(flows))}"


def folders_of(flow: Flow) -> Folders:
    """The folders that a flow names in `watch(source=...)`, `collect(root=...)` and `mirror(root=...)`."""
    source = None if flow.trigger is None or flow.trigger.source is None else Path(flow.trigger.source)
    roots = [step.fn.root.path for step in flow.steps if isinstance(step.fn, Collect) and step.fn.root is not None]
    mirror = None if flow.mirror_spec is None else Path(flow.mirror_spec.root)
    return Folders(mirror, tuple(Path(path) for path in (source, *roots) if path is not None))


def is_read(mirror: Path | None, places: Iterable[Path]) -> bool:
    """Whether a reader of these files and folders may meet files of the mirror: one lies in the other.

    Example:
        >>> [is_read(Path("/out/claims"), [Path(place)]) for place in ("/out", "/out/claims/a.csv", "/output")]
        [True, True, False]
    """
    return mirror is not None and any(mirror.is_relative_to(place) or place.is_relative_to(mirror) for place in places)


def reading_order(flows: Mapping[str, Folders]) -> list[str]:
    """The names in their order, but each after those whose mirrors it reads; in a circle the first name is first.

    Example:
        >>> from pathlib import Path
        >>> reading_order({"a": Folders(None, (Path("/out/b"),)), "b": Folders(Path("/out")), "c": Folders(Path("/in"))})
        ['b', 'a', 'c']
        >>> reading_order({"b": Folders(Path("/x"), (Path("/y"),)), "a": Folders(Path("/y"), (Path("/x"),))})
        ['a', 'b']
    """
    sources = {
        name: {other for other, own in flows.items() if other != name and is_read(own.mirror, flows[name].reads)}
        for name in sorted(flows)
    }  # whose mirrors each reads
    order: list[str] = []
    while sources:
        name = next((flow for flow, needs in sources.items() if not needs & sources.keys()), next(iter(sources)))
        order.append(name)
        del sources[name]
    return order

"""In which order flows run once that read what others write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from data_engine.flow.flow import Flow
from data_engine.flow.spec import Collect


class Folders(NamedTuple):
    """Where a flow writes, None where it has no mirror; and the files and folders it reads, as far as it says so."""

    mirror: Path | None = None
    reads: tuple[Path, ...] = ()


def folders_of(flow: Flow) -> Folders:
    """Those that a flow names in `watch(source=...)`, `collect(root=...)` and `mirror(root=...)`."""
    source = None if flow.trigger is None else flow.trigger.source
    roots = [step.fn.root.path for step in flow.steps if isinstance(step.fn, Collect) and step.fn.root is not None]
    mirror = None if flow.mirror_spec is None else Path(flow.mirror_spec.root)
    return Folders(mirror, tuple(Path(one) for one in (source, *roots) if one is not None))


def reading_order(flows: Mapping[str, Folders]) -> list[str]:
    """The names in their order, but each after those whose mirrors it reads; in a circle the first name is first.

    Example:
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
    """The other flows whose mirror is one of the folders that this one reads, or lies in one, or has one in it."""
    reads = flows[name].reads
    return {other for other, one in flows.items() if other != name and _are_read(one.mirror, reads)}


def _are_read(mirror: Path | None, reads: Iterable[Path]) -> bool:
    return mirror is not None and any(mirror.is_relative_to(one) or one.is_relative_to(mirror) for one in reads)

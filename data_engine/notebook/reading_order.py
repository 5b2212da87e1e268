"""In which order flows run once that read what others write."""

from __future__ import annotations

from collections.abc import Mapping

from data_engine.notebook.mirror_warnings import Folders, is_read


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

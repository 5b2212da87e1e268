"""Which of the files that a batch run settles its flow does not collect: they count as done, and nobody reads them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from data_engine.cut import first_few
from data_engine.flow.flow import Flow
from data_engine.flow.spec import Collect

_MOST_NAMED = 3


def not_collected(flow: Flow, root: Path, names: Sequence[str]) -> list[str]:
    """Those of the `names` inside the source root that no collect step takes; none where no step collects from there.

    Example:
        >>> flow = Flow("Sales", "all").collect(".csv")
        >>> not_collected(flow, Path("/in"), ["a.csv", "sub/b.csv", "c.xlsx"])
        ['sub/b.csv', 'c.xlsx']
        >>> not_collected(Flow("Sales", "all").collect(".csv", root="/other"), Path("/in"), ["a.csv", "c.xlsx"])
        []
    """
    steps = [step.fn for step in flow.steps if isinstance(step.fn, Collect)]
    places = [(_folder(step, root), step) for step in steps]
    lead = f"{root.as_posix().rstrip('/')}/"
    there = [(place, step) for place, step in places if place.startswith(lead) or lead.startswith(place)]
    if not there:
        return []
    return [name for name in names if not any(_takes(step, place, lead + name) for place, step in there)]


def not_collected_words(left: Sequence[str], count: int, flow: Flow) -> str:
    """What a run is warned of that settles `count` files and collects all but those that are `left`.

    Example:
        >>> not_collected_words(["sub/b.csv"], 2, Flow("Sales", "all").collect(".csv")).partition(";")[0]
        '1 of 2 watched files was not collected, and counts as done all the same: sub/b.csv'
    """
    named = first_few(left, _MOST_NAMED)
    was = "was not collected, and counts" if len(left) == 1 else "were not collected, and count"
    steps = [step.fn for step in flow.steps if isinstance(step.fn, Collect)]
    taken = tuple(one for step in steps for one in step.extensions)
    ways = []
    if any("/" in name and name.lower().endswith(taken) for name in left):
        ways.append("collect(..., recursive=True) takes subfolders")
    if any(not name.lower().endswith(taken) for name in left):
        ways.append("name their extensions in collect(...), or only those that it takes in watch(extensions=...)")
    fix = f"; {', '.join(ways)}" if ways else ""
    return f"{len(left):,} of {count:,} watched files {was} as done all the same: {named}{fix}"


def without(names: Sequence[str], root: Path, read: Collection[str]) -> list[str]:
    """Those of the names that are not among the paths that were `read`."""
    return [name for name in names if str(root / name) not in read] if read else list(names)


def _folder(step: Collect, root: Path) -> str:
    folder = root if step.root is None else step.root.path
    return f"{folder.as_posix().rstrip('/')}/"


def _takes(step: Collect, place: str, path: str) -> bool:
    if not path.startswith(place) or not path.lower().endswith(step.extensions):
        return False
    return step.recursive or "/" not in path[len(place) :]

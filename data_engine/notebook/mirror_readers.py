"""Who reads what another flow writes: by the files and folders that flows name."""

from __future__ import annotations

from collections.abc import Iterable
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


def is_read(mirror: Path | None, places: Iterable[Path]) -> bool:
    """Whether who reads these files and folders may find there what is written into the mirror: one lies in the other.

    Example:
        >>> [is_read(Path("/out/claims"), [Path(place)]) for place in ("/out", "/out/claims/a.csv", "/output")]
        [True, True, False]
    """
    return mirror is not None and any(mirror.is_relative_to(one) or one.is_relative_to(mirror) for one in places)

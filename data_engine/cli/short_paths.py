"""Paths as a table tells them: seen from the workspace, or by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def short_path(path: str | None, root: Path) -> str:
    """`path` as seen from the workspace's root when it lies in it; "-" for none.

    Example:
        >>> short_path("/team/claims/data/in", Path("/team/claims")), short_path(None, Path("/team/claims"))
        ('data/in', '-')
    """
    if path is None:
        return "-"
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path


def source_names(sources: Iterable[str], root: Path) -> dict[str, str]:
    """Each source by its name, or where several have that name by its path seen from the workspace.

    Example:
        >>> list(source_names(["/team/in/north/may.csv", "/team/in/south/may.csv", "/team/in/june.csv"], Path("/team")).values())
        ['in/north/may.csv', 'in/south/may.csv', 'june.csv']
    """
    known = list(dict.fromkeys(sources))
    count = Counter(Path(one).name for one in known)
    return {one: Path(one).name if count[Path(one).name] == 1 else short_path(one, root) for one in known}

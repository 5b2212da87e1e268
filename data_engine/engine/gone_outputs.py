"""Which outputs of runs do not exist any more: a bounded look, which a drive that hangs does not hold up."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from data_engine.cut import first_few
from data_engine.engine.source_trouble import LOOK_LIMIT_S

_MOST_LOOKS = 2_000
_MOST_NAMED = 3


def gone_outputs(
    outputs: Callable[[Sequence[str]], Mapping[str, tuple[str, ...]]], run_ids: Iterable[str], *, workspace: str
) -> dict[str, tuple[str, ...]]:
    """By the id of its run the `outputs` that are gone; of what was not looked at within `LOOK_LIMIT_S`, nothing.

    Outside the `workspace` nothing is said of a folder that is away with the folder above it: that is a drive, and no loss.

    Example:
        >>> gone_outputs(lambda ids: {"r1": ("/nowhere/out/a.parquet",)}, ["r1"], workspace="/ws")
        {}
    """
    asked = list(dict.fromkeys(run_ids))
    written = outputs(asked) if asked else {}
    found: dict[str, tuple[str, ...]] = {}

    def look() -> None:
        looks = 0
        for run_id, paths in written.items():
            looks += len(paths)
            if looks > _MOST_LOOKS:
                return
            gone = tuple(path for path in paths if is_gone(path, workspace=workspace))
            if gone:
                found[run_id] = gone

    if written:
        within_the_limit(look)
    return dict(found)


def count_gone(paths: Sequence[Path]) -> int:
    """How many of these files are gone; 0 where they are too many, or do not answer within `LOOK_LIMIT_S`.

    Example:
        >>> count_gone([Path(__file__), Path("/nowhere/a.csv")])
        1
    """
    found: list[int] = []

    def look() -> None:
        found.append(sum(not os.path.lexists(path) for path in paths))

    if paths and len(paths) <= _MOST_LOOKS:
        within_the_limit(look)
    return sum(found)


def is_gone(path: str, *, workspace: str) -> bool:
    """Whether the file is not there, and the workspace it lies in, or its folder or the one above, is."""
    try:
        os.stat(path)
    except FileNotFoundError:
        folder = os.path.dirname(path)
        if Path(path).is_relative_to(workspace):
            return os.path.isdir(workspace)
        return os.path.isdir(folder) or os.path.isdir(os.path.dirname(folder))
    except OSError:
        return False
    return False


def within_the_limit(look: Callable[[], None]) -> None:
    """Wait for a look, but no longer than a person would for a drive that hangs."""
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(LOOK_LIMIT_S)


def gone_words(paths: Sequence[str]) -> str:
    """That outputs are gone.

    Example:
        >>> gone_words(["/out/a.csv"]), gone_words([f"/out/{number}.csv" for number in range(5)])
        ('its output /out/a.csv is gone', 'its outputs /out/0.csv, /out/1.csv, /out/2.csv and 2 more are gone')
    """
    if len(paths) == 1:
        return f"its output {paths[0]} is gone"
    return f"its outputs {first_few(paths, _MOST_NAMED)} are gone"

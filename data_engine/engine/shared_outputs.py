"""That a run has replaced what a run for another file of the same folder had written: of both only the newest is left."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path

from data_engine.engine.candidates import Source
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.flow.flow import Flow
from data_engine.formatting import path_in
from data_engine.ledger.outputs import Writer, other_writers

_MOST_OUTPUTS = 20
_MOST_OTHERS = 5
_MOST_REMEMBERED = 10_000
_DATABASES = (".duckdb", ".db", ".ddb", ".sqlite", ".sqlite3")


def replaced_words(
    flow: Flow, source: Source, home: LocalWorkspace, outputs: Iterable[str], *, read: Collection[str], run_id: str
) -> str | None:
    """What a run is warned of that has written `outputs` and `read` these files; None where it replaced nothing of another file.

    An output that the run read or appended to, and a database, keep what they held. Another file that is gone has no claim, and a
    file that came after that run replaces on purpose: the newest counts.
    """
    path, mirror = source.path, flow.mirror_spec
    if path is None or mirror is None or source.key is None or not source.key.path:
        return None
    own = [
        output
        for output in outputs
        if output not in read and not output.lower().endswith(_DATABASES) and Path(output).is_relative_to(mirror.root)
    ][:_MOST_OUTPUTS]
    name, text = flow.name or "", str(path)
    came_s = _came_s(path)
    others = _writers_here(home.local.ledger_path, name, own, text) if own else {}
    if own and not others:
        others = other_writers(home.local.ledger_path, name, own, source=text, run_id=run_id)
    for output, sources in others.items():
        waited = list(dict.fromkeys(one for one, written_s in sources if came_s <= written_s))
        there = next((one for one in waited[:_MOST_OTHERS] if os.path.exists(one)), None)
        if there is not None:
            return words(
                str(Path(output).relative_to(mirror.root)),
                there if source.root is None else path_in(source.root, there),
                source.key.path,
            )
    return None


def words(output: str, other: str, own: str) -> str:
    """What is said of an output that held what came of another file.

    Example:
        >>> words("all.parquet", "may.csv", "june.csv").partition(":")[0]
        'all.parquet now holds june.csv alone, and no longer what an earlier run made of may.csv'
    """
    return (
        f"{output} now holds {own} alone, and no longer what an earlier run made of {other}: for one file from all sources, "
        'watch(run_as="batch") with collect(...); for one file per source, context.mirror.with_extension(...)'
    )


def _came_s(path: Path) -> float:
    """When a file came to its folder, which a copy that keeps the time of its content does not tell by that; 0 of one that is gone."""
    with suppress(OSError):
        found = os.stat(path)
        return max(found.st_mtime, found.st_ctime)
    return 0.0


def _writers_here(ledger: Path, flow: str, outputs: list[str], source: str) -> dict[str, list[Writer]]:
    """By output the other source for which a run of this process wrote it last; it may not be in the history yet."""
    found = {}
    with _lock:
        for output in outputs:
            key = (ledger, flow, output)
            last = _written.pop(key, None)
            _written[key] = source, time.time()
            if last is not None and last[0] != source:
                found[output] = [last]
        while len(_written) > _MOST_REMEMBERED:
            del _written[next(iter(_written))]
    return found


_lock = threading.Lock()
_written: dict[tuple[Path, str, str], Writer] = {}

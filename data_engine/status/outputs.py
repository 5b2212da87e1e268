"""What of the outputs of runs is gone, and which run wrote a file last, from what and with what."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from data_engine.formatting import first_few
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outputs import OutputRun, output_runs
from data_engine.model import RunFile
from data_engine.reasons.kinds import LastWritten
from data_engine.status.runs import params_words
from data_engine.status.source_trouble import LOOK_LIMIT_S

_MOST_LOOKS = 2_000
_MOST_NAMED = 3


def gone_outputs(written: Mapping[str, tuple[str, ...]], *, workspace: str) -> dict[str, tuple[str, ...]]:
    """By the id of its run the files `written` that are gone; of what was not looked at within `LOOK_LIMIT_S`, nothing.

    Outside the `workspace` nothing is said of a folder that is away with the folder above it: that is a drive, and no loss.

    Example:
        >>> gone_outputs({"r1": ("/nowhere/out/a.parquet",)}, workspace="/ws")
        {}
    """
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


State = Literal["as_written", "changed", "gone", "source_gone", "unknown"]
_SAME_TIME_S = 2.0
"""Drives keep times as coarsely as this."""


def last_written(
    ledger: Ledger, subject: str, file: str, *, workspace: str, by_name: bool
) -> Iterator[tuple[str, str | None, LastWritten]]:
    """The flows that wrote the file, each with the source of the run that did last; `by_name` also where only its name is given, or
    its path inside the `workspace`.

    Raises:
        LedgerError: the history cannot be read.
    """
    inside = [os.path.relpath(file, workspace)] if Path(file).is_relative_to(workspace) else []
    endings = [one for one in dict.fromkeys([os.path.normpath(subject), *inside]) if not one.startswith(os.pardir)]
    asked = [file, os.path.join(workspace, subject)]
    for one in output_runs(ledger, file, endings if by_name else ()):
        run = one.run
        if run is None:
            yield one.flow, None, LastWritten(one.path)
            continue
        read = () if run.source is not None else tuple(part.path for part in run.inputs)
        with_ = params_words(run)
        state, path = _now(one, asked, workspace)
        if state == "gone" and run.source is not None and is_gone(run.source, workspace=workspace):
            state = "source_gone"
        why = LastWritten(path, run.run_id, run.finished_at_utc, with_, read, run.more_inputs if read else 0, state)
        yield one.flow, run.source, why


def _now(one: OutputRun, asked: Sequence[str], workspace: str) -> tuple[State, str]:
    """How the file is now, as far as its drive answers, and where: where its workspace was moved, as it was `asked` for."""
    kept = next((part for part in one.run.outputs if part.path == one.path), None) if one.run is not None else None
    same = [path for path in asked if os.path.basename(path) == os.path.basename(one.path)]
    found: list[tuple[State, str]] = []

    def look() -> None:
        at = next(filter(os.path.lexists, (one.path, *same)), one.path)
        found.append((state_of(kept, at, workspace=workspace), at))

    if kept is not None:
        within_the_limit(look)
    return found[0] if found else ("unknown", one.path)


def state_of(kept: RunFile | None, path: str, *, workspace: str) -> State:
    """How the file at `path` is now, beside what was recorded of it.

    Example:
        >>> kept = RunFile("/out/a.csv", 3, "2026-01-05T06:30:00+00:00")
        >>> state_of(kept, "/out/a.csv", workspace="/ws"), state_of(None, __file__, workspace="/ws")
        ('gone', 'unknown')
    """
    if kept is None or kept.size_bytes is None or kept.modified_at_utc is None:
        return "unknown"
    try:
        facts = os.stat(path)
    except OSError:
        return "gone" if is_gone(path, workspace=workspace) else "unknown"
    later_s = facts.st_mtime - datetime.fromisoformat(kept.modified_at_utc).timestamp()
    return "changed" if facts.st_size != kept.size_bytes or abs(later_s) > _SAME_TIME_S else "as_written"

"""What is said of a file that a flow wrote: which run wrote it last, from what, with what, and whether it is as that run left it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from data_engine.engine.fact_source import FactSource
from data_engine.engine.flow_reasons import LastWritten
from data_engine.engine.gone_outputs import is_gone, within_the_limit
from data_engine.engine.run_facts import params_words
from data_engine.ledger.output_runs import OutputRun
from data_engine.model import RunFile

State = Literal["as_written", "changed", "gone", "unknown"]
_SAME_TIME_S = 2.0
"""Drives keep times as coarsely as this."""


def last_written(
    source: FactSource, subject: str, file: str, *, workspace: str, by_name: bool
) -> Iterator[tuple[str, str | None, LastWritten]]:
    """The flows that wrote the file, each with the source of the run that did last; `by_name` also where only its name is given, or
    its path inside the `workspace`.

    Raises:
        LedgerError: the history cannot be read.
    """
    inside = [os.path.relpath(file, workspace)] if Path(file).is_relative_to(workspace) else []
    endings = [one for one in dict.fromkeys([os.path.normpath(subject), *inside]) if not one.startswith(os.pardir)]
    asked = [file, os.path.join(workspace, subject)]
    for one in source.output_runs(file, endings if by_name else ()):
        run = one.run
        if run is None:
            yield one.flow, None, LastWritten(one.path)
            continue
        read = () if run.source is not None else tuple(part.path for part in run.inputs)
        with_ = params_words(run)
        state, path = _now(one, asked, workspace)
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

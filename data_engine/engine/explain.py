"""Why each source of a poll flow does or does not run, as rows for people: planning's own values, in words.

With an engine that is on they are those its last look was decided by; without one the folder is looked at once, here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from data_engine.engine.lookout import Lookout, Memory
from data_engine.engine.plan import Due, Rules, Verdict, Watch, why_no_candidate
from data_engine.engine.reasons import (
    Done,
    NeedsHash,
    NoFiles,
    OwnOutput,
    Reason,
    Running,
    Settling,
    WaitsForSettling,
)
from data_engine.errors import FlowValidationError
from data_engine.flow.suggestions import closest_name
from data_engine.model import utc_text

MOST_ROWS = 1000
"""Of one flow; a folder may hold a hundred thousand files."""

_WOULD_RUN = (Running, Settling, WaitsForSettling, NeedsHash)


def reason_row(flow: str, source: str | None, text: str, next_run_utc: str | None = None) -> dict[str, Any]:
    """One line of an explanation; without a source it is about the whole flow."""
    return {"flow": flow, "source": source, "reason": text, "next_run_utc": next_run_utc}


def source_rows(
    lookout: Lookout,
    *,
    path: str | None = None,
    waiting: Reason | None = None,
    under_way: Collection[str | None] = (),
) -> list[dict[str, Any]]:
    """Each source as the engine judges it, and how often it looks; or the one file at `path` inside the folder.

    `waiting` is why work that could start does not; `under_way` are the sources of running runs.
    """

    def why_of(source: str, verdict: Verdict) -> Reason:
        is_next = isinstance(verdict.why, Running) and source not in under_way
        return waiting if is_next and waiting is not None else verdict.why

    rows = _rows(lookout, path, why_of)
    if path is None and lookout.unreachable is None:
        next_utc = utc_text(time.time() + max(0.0, lookout.next_scan_s - time.monotonic()))
        rows.append(reason_row(lookout.watch.flow, None, lookout.looks.text, next_utc))
    return rows


def offline_rows(
    watch: Watch,
    memory: Memory,
    rules: Rules,
    blocked: Reason,
    *,
    path: str | None = None,
    under_way: Collection[str | None] = (),
) -> list[dict[str, Any]]:
    """Each source while nothing of the flow runs by itself, from a look at its folder now: `blocked` is why what would run
    does not."""
    lookout = Lookout(watch, read=lambda: memory, rules=replace(rules, retries=0), frees_held=False)
    lookout.look()
    while lookout.is_looking:
        lookout.look()

    def why_of(source: str, verdict: Verdict) -> Reason:
        if source in under_way:
            return Running()
        return blocked if isinstance(verdict, Due) or isinstance(verdict.why, _WOULD_RUN) else verdict.why

    rows = _rows(lookout, path, why_of)
    return rows if path is not None else [reason_row(watch.flow, None, blocked.text), *rows]


def flows_of_file(
    path: Path, watches: Mapping[str, Watch | None], *, named: str = ""
) -> Iterator[tuple[Watch, str, dict[str, Any] | None]]:
    """The flows under whose source the file lies, with its path inside, and the row that says so where its name rules it out.

    A file at `path`, which is absolute, or one that is `named` by its path inside the source.
    """
    for flow in sorted(watches):
        watch = watches[flow]
        source = None if watch is None else watch.trigger.source
        if watch is None or source is None:
            continue
        found = path if path.is_relative_to(source) else Path(os.path.normpath(source / named))
        if found.is_relative_to(source) and (found == path or (found != source and found.exists())):
            inside = "" if found == source else found.relative_to(source).as_posix()
            why = why_no_candidate(watch, inside) if inside else None
            yield watch, inside, None if why is None else reason_row(flow, str(found), why.text)


def nothing_to_explain(subject: str, flows: Collection[str]) -> FlowValidationError:
    """The error for what is neither a flow nor a file of one."""
    near = closest_name(subject, flows)
    meant = f"did you mean {near}? Else " if near else ""
    return FlowValidationError(
        f"{subject!r} is neither a flow nor a file of any flow's source",
        where="explain",
        mend=f"{meant}name a flow ({', '.join(sorted(flows)) or 'none'}) or a path under a source folder",
    )


def edit_rows(flow: str, edit: str | None) -> list[dict[str, Any]]:
    """That the reasons are of what is deployed, where an edit is not."""
    if edit is None:
        return []
    words, _, error = edit.partition("\n")
    return [reason_row(flow, None, f"{words}: what is deployed runs" + (f"\n{error}" if error else ""))]


def broken_row(flow: str, error: FlowValidationError | None) -> dict[str, Any]:
    """Why a broken module does not run, with its place and mend."""
    return reason_row(flow, None, f"broken: {error or 'unknown'}")


def _rows(lookout: Lookout, path: str | None, why_of: Callable[[str, Verdict], Reason]) -> list[dict[str, Any]]:
    flow, root = lookout.watch.flow, lookout.root
    found = list(lookout.verdicts(path))
    if not found:
        why = NoFiles() if path is None else lookout.why_not_there(path)
        return [reason_row(flow, str(root / (path or "")), why.text)]
    found.sort(key=lambda verdict: isinstance(verdict.why, (Done, OwnOutput)))  # what somebody may wait for comes first
    rows = []
    for verdict in found[:MOST_ROWS]:
        source = str(root / verdict.key.path) if verdict.key is not None and verdict.key.path else str(root)
        rows.append(reason_row(flow, source, why_of(source, verdict).text))
    if len(found) > MOST_ROWS:
        rows.append(reason_row(flow, None, f"and {len(found) - MOST_ROWS:,} more: ask for one by its path"))
    return rows

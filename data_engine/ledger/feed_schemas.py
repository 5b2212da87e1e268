"""The columns of the frames of good runs: which a flow has had, which flows have drifted, and what a person accepts.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import PurePath
from typing import NamedTuple

from data_engine.formatting import day_time
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import RUN_COLUMNS, drift_of, frames_of, restored, run_of
from data_engine.model import Frame, FrameChange, Run, future_utc

_MOST_KNOWN = 200
_IS_KNOWN = "flow_name = ? AND schema {} AND edited IS NULL AND (status = 'success' OR accepted = 1)"
"""Good runs, and those whose feed a person has accepted; of code that was not deployed none."""

_DRIFTED = f"""
SELECT flow_name, {RUN_COLUMNS}, max(finished_at_utc) FROM runs
WHERE drift IS NOT NULL AND status = 'success' AND finished_at_utc <= ?
    AND NOT EXISTS (SELECT 1 FROM deployments WHERE deployments.flow_name = runs.flow_name
        AND deployments.at_utc > runs.finished_at_utc)
GROUP BY flow_name
"""
"""The newest run of each flow that drifted, since its last deploy."""


class KnownFrames(NamedTuple):
    """The frames that a run had whose feed was good, or was accepted; `until` is its source, or when it was."""

    frames: tuple[Frame, ...]
    until: str | None = None


def is_known(ledger: Ledger, flow: str, digest: str) -> bool:
    """Whether a good run of the flow had just these frames."""
    return bool(ledger.rows(f"SELECT 1 FROM runs WHERE {_IS_KNOWN.format('= ?')} LIMIT 1", flow, digest))


def known_frames(ledger: Ledger, flow: str) -> list[KnownFrames]:
    """The frames of the flow's good runs, each set of them once, that of the newest run first."""
    return [
        KnownFrames(frames, PurePath(restored(source)).name if source else day_time(at_utc))
        for frames, source, at_utc in _frames_had(ledger, flow)
    ]


def _frames_had(ledger: Ledger, flow: str) -> list[tuple[tuple[Frame, ...], str | None, str]]:
    """The same, each with the source of the newest run that had them, and when that ended."""
    rows = ledger.rows(
        "SELECT frames, source_path, max(finished_at_utc) AS at_utc FROM runs JOIN frame_schemas ON digest = schema"
        f" WHERE {_IS_KNOWN.format('IS NOT NULL')} AND finished_at_utc <= ? GROUP BY schema ORDER BY at_utc DESC LIMIT {_MOST_KNOWN}",
        flow,
        future_utc(time.time()),
    )
    return [(frames_of(text), source, at_utc) for text, source, at_utc in rows]


def drifting_runs(ledger: Ledger) -> dict[str, Run]:
    """The good run of each flow that had columns no run had before, until a deploy or a good run that has others in their place."""
    rows = ledger.rows(_DRIFTED, future_utc(time.time()))
    runs = (run_of(tuple(row[:-1])) for _, *row in rows)
    return {run.flow: run for run in runs if not any(_is_without(run, had) for had in _frames_had(ledger, run.flow))}


def _is_without(drifted: Run, had: tuple[tuple[Frame, ...], str | None, str]) -> bool:
    """Whether a later run had the frames that have drifted, and not with all the columns that they had then."""
    frames, _, at_utc = had
    if at_utc <= drifted.last_at_utc:
        return False
    for name in {change.name for change in drifted.drift}:
        kinds = [columns for key, columns in drifted.schemas.items() if key == name or key.startswith(f"{name} (")]
        others = [set(frame.columns) for frame in frames if frame.name == name]
        if others and any(set(columns) not in others for columns in kinds):
            return True
    return False


def accept_feeds(ledger: Ledger, flow: str) -> tuple[FrameChange, ...]:
    """Take the columns of those runs that hold sources of the flow, or were its last, and failed by a check `as_before`, beside those of
    good runs; how they differ, each once."""
    runs = unaccepted_runs(ledger, flow)
    with ledger.writing(durable=True) as (connection, rev):
        rows = [(rev, run.run_id) for run in runs]
        connection.executemany("UPDATE runs SET accepted = 1, rev = ? WHERE run_id = ?", rows)
    return changes_of(runs)


def unaccepted_runs(ledger: Ledger, flow: str) -> list[Run]:
    """The runs that hold sources of the flow, or were its last, and failed because columns are not as before; the newest first."""
    return ledger.runs_where(
        "flow_name = ?1 AND status = 'failed' AND cause_kind = 'feed_changed' AND accepted IS NULL AND schema IS NOT NULL AND (run_id IN"
        " (SELECT last_run_id FROM file_state WHERE flow_name = ?1 AND last_status = 'failed') OR run_id ="
        " (SELECT run_id FROM runs WHERE flow_name = ?1 ORDER BY started_at_utc DESC, rowid DESC LIMIT 1)) ORDER BY started_at_utc DESC",
        flow,
    )


def changes_of(runs: Iterable[Run]) -> tuple[FrameChange, ...]:
    """How the columns of runs that failed for that are not as before, each change once."""
    texts = (json.dumps({} if run.why is None else run.why.data.get("changes")) for run in runs)
    return tuple(dict.fromkeys(change for text in texts for change in drift_of(text)))

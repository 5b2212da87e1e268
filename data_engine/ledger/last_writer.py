"""For which other source a flow's run wrote the same file before, asked by a process that only looks at the history."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from data_engine.ledger.connection import connect_to_look
from data_engine.ledger.rows import files_of, restored, storable

MOST_RUNS = 500
"""The newest runs of the flow that are looked through."""

_BEFORE = "SELECT 1 FROM outputs WHERE flow_name = ? AND output_path = ?"
_WRITERS = """
SELECT source_path, outputs, finished_at_utc FROM (
    SELECT source_path, outputs, finished_at_utc, status, run_id FROM runs WHERE flow_name = ? ORDER BY started_at_utc DESC LIMIT ?
) WHERE status = 'success' AND run_id <> ? AND source_path IS NOT NULL AND source_path <> ? AND instr(outputs, ?)
"""

Writer: TypeAlias = tuple[str, float]
"""The source that a run was for, and when it had written."""


def other_writers(
    ledger_path: Path, flow: str, paths: Sequence[str], *, source: str, run_id: str
) -> dict[str, list[Writer]]:
    """By path the other sources for which newest runs of the flow wrote it, the newest first; nothing where nobody can look."""
    found: dict[str, list[Writer]] = {}
    with suppress(sqlite3.Error, OSError), closing(connect_to_look(ledger_path)) as connection:
        for path in paths:
            if connection.execute(_BEFORE, storable((flow, path))).fetchone() is None:
                continue
            asked = storable((flow, MOST_RUNS, run_id, source, json.dumps(path)[1:-1]))
            for other, outputs, ended in connection.execute(_WRITERS, asked):
                if any(one.path == path for one in files_of(outputs)[0]):
                    found.setdefault(path, []).append((restored(other), datetime.fromisoformat(ended).timestamp()))
    return found

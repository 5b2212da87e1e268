"""Which runs wrote an output, asked by its path or its name; and for which other source a flow wrote the same file before."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

from data_engine.ledger.connection import connect_to_look
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import RUN_COLUMNS, files_of, restored, run_of, storable
from data_engine.model import Run
from data_engine.record import frozen

MOST_OUTPUTS = 20
"""Of one name, the first by their paths."""


@frozen
class OutputRun:
    """An output of a flow, as it was recorded, with the newest run that wrote it; None where that is forgotten."""

    flow: str
    path: str
    run: Run | None


def output_runs(ledger: Ledger, path: str, endings: Sequence[str] = ()) -> list[OutputRun]:
    """Who wrote the file at this absolute path; where nobody did, who wrote one whose path ends with one of `endings`, such as its name.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    found: list[OutputRun] = []
    with ledger.reading() as connection:
        rows = connection.execute(
            "SELECT flow_name, output_path FROM outputs WHERE output_path = ?", storable((path,))
        ).fetchall()
        for ending in () if rows else endings:
            rows += connection.execute(
                "SELECT flow_name, output_path FROM outputs WHERE substr(output_path, -length(?1)) = ?1"
                " ORDER BY output_path LIMIT ?2",
                storable((os.sep + ending, MOST_OUTPUTS)),
            ).fetchall()
        for flow, written in dict.fromkeys(rows):
            run = connection.execute(
                f"SELECT {RUN_COLUMNS} FROM runs WHERE flow_name = ? AND outputs IS NOT NULL AND instr(outputs, ?)"
                " ORDER BY started_at_utc DESC, rowid DESC LIMIT 1",
                (flow, json.dumps(restored(written))),
            ).fetchone()
            found.append(OutputRun(restored(flow), restored(written), None if run is None else run_of(tuple(run))))
    return found


def outputs_beside_sources(ledger_path: Path, flow: str, root: str) -> frozenset[str]:
    """The files below the source folder `root` that the flow has written and never read as sources, asked by a process that only looks
    at the history; none where nobody can look."""
    lead = root.rstrip(os.sep) + os.sep
    with suppress(sqlite3.Error, OSError), closing(connect_to_look(ledger_path)) as connection:
        asked = "SELECT output_path FROM outputs WHERE flow_name = ?1 AND substr(output_path, 1, length(?2)) = ?2"
        outputs = {restored(path) for (path,) in connection.execute(asked, storable((flow, lead)))}
        if outputs:
            keys = connection.execute("SELECT source_key FROM file_state WHERE flow_name = ?", storable((flow,)))
            outputs.difference_update(os.path.join(lead, *restored(key).split("/")) for (key,) in keys)
        return frozenset(outputs)
    return frozenset()


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

"""Which runs wrote an output, asked by its path or its name; and for which other source a flow wrote the same file before."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from data_engine.ledger.connection import connect_to_look
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import RUN_COLUMNS, restored, run_of, storable
from data_engine.model import Run

MOST_OUTPUTS = 20
"""Of one name, the first by their paths."""


class OutputRun(NamedTuple):
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

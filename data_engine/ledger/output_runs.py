"""Which runs wrote an output: asked by its path, or by its name."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import NamedTuple

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

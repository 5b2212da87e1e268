"""The references in the ledger: what the newest good runs read beside their sources, and how these files were at the last look.
Both are shared, so that every workstation gives the same answer without a look at a share.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outputs import path_mover
from data_engine.ledger.rows import references_of, restored, storable
from data_engine.model import Reference
from data_engine.workspace.layout import WorkspaceLayout


class GoodRun(NamedTuple):
    """The newest good run of a source or slot, with the times at which it began and ended: `source` is its path inside the flow's folder, `slot` the slot it was for, `references`
    what it read beside its source."""

    flow: str
    run_id: str
    started_at_utc: str
    finished_at_utc: str
    source: str | None = None
    slot: str | None = None
    references: tuple[Reference, ...] = ()


class Sighting(NamedTuple):
    """A reference as it was at the last look that found it changed."""

    reference: Reference
    at_utc: str


_NEWEST_GOOD = """
SELECT flow_name, run_id, started_at_utc, finished_at_utc, source_key, scheduled_for, reads FROM runs WHERE rowid IN (
    SELECT ran FROM (SELECT rowid AS ran, max(finished_at_utc) FROM runs INDEXED BY runs_newest_good WHERE status = 'success'
        GROUP BY flow_name, source_root, source_key, scheduled_for)
) ORDER BY finished_at_utc, rowid
"""


def newest_good_runs(ledger: Ledger, layout: WorkspaceLayout) -> list[GoodRun]:
    """The newest good run of each source and slot, oldest first, with the current paths of its references; none where no run has any.
    Runs that read the same versions share one tuple."""
    if not ledger.rows("SELECT 1 FROM runs WHERE reads IS NOT NULL LIMIT 1"):
        return []
    rows = ledger.rows(_NEWEST_GOOD)
    wanted = json.dumps(list({row[-1] for row in rows} - {None}))
    texts = ledger.rows("SELECT digest, files FROM read_sets WHERE digest IN (SELECT value FROM json_each(?))", wanted)
    read = {digest: references_of(text) for digest, text in texts}
    moved = path_mover(ledger, layout, {file.path for files in read.values() for file in files})
    sets = {digest: tuple(file._replace(path=moved(file.path)) for file in files) for digest, files in read.items()}
    return [
        GoodRun(restored(flow), run_id, began, ended, key and restored(key), slot, sets.get(reads, ()))
        for flow, run_id, began, ended, key, slot, reads in rows
    ]


def sightings(ledger: Ledger, layout: WorkspaceLayout) -> dict[str, Sighting]:
    """The last sighting of each reference that was found changed, by its current path."""
    rows = ledger.rows(
        "SELECT reference_path, size_bytes, mtime_ns, content_hash, at_utc FROM reference_files ORDER BY at_utc"
    )
    moved = path_mover(ledger, layout, [restored(row[0]) for row in rows])
    seen = (Sighting(Reference(moved(restored(path)), *facts), at_utc) for path, *facts, at_utc in rows)
    return {sighting.reference.path: sighting for sighting in seen}


def put_sightings(ledger: Ledger, references: Iterable[Reference], at_utc: str) -> None:
    """Store how these files are now."""
    with ledger.writing() as (connection, rev):
        connection.executemany(
            "INSERT INTO reference_files (reference_path, size_bytes, mtime_ns, content_hash, at_utc, rev) VALUES (?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (reference_path) DO UPDATE SET size_bytes = excluded.size_bytes, mtime_ns = excluded.mtime_ns,"
            " content_hash = excluded.content_hash, at_utc = excluded.at_utc, rev = excluded.rev",
            [storable((*reference, at_utc, rev)) for reference in references],
        )


def writers_of(ledger: Ledger, layout: WorkspaceLayout, paths: Iterable[str]) -> Mapping[str, set[str]]:
    """The flows that ever wrote each of these files."""
    rows = ledger.rows("SELECT flow_name, output_path FROM outputs")
    moved = path_mover(ledger, layout, [path for _, path in rows])
    writers: dict[str, set[str]] = {path: set() for path in paths}
    for flow, path in rows:
        if (now := moved(restored(path))) in writers:
            writers[now].add(restored(flow))
    return writers

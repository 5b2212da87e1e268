"""Backfills in the ledger: their planned runs and their progress. The runs themselves say which of them are done.

The runs of a backfill carry its id, and an id of their own that follows from it, so that nothing has to be kept in step.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from data_engine.errors import LedgerError
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import FLAG, MAPPING, RUN_COLUMNS, RowShape, restored, run_of, storable
from data_engine.model import Backfill, PlannedRun, Run
from data_engine.record import frozen

# A run without outputs wrote nothing, unless its flow never has any: then it writes where nobody looks.
_WROTE = "(outputs IS NOT NULL OR NOT EXISTS (SELECT 1 FROM outputs WHERE flow_name = ?1))"


@frozen
class BackfillRow:
    """One backfill: `asked` holds its range and choice, `round` counts how often its failed runs were repeated.

    With `is_as_scheduled` its runs have the params of a run that comes by itself.
    """

    backfill_id: str
    flow: str
    kind: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    is_as_scheduled: bool = True
    by: str = ""
    at_utc: str = ""
    state: str = "running"
    round: int = 0
    total: int = 0
    ended: int = 0
    failed: int = 0


_SHAPE = RowShape(
    "backfills",
    "backfill_id, flow_name, kind, asked, params, is_as_scheduled, asked_by, at_utc, state, round, total, ended, failed",
    BackfillRow,
    asked=MAPPING,
    params=MAPPING,
    is_as_scheduled=FLAG,
)


@frozen
class LastEnd:
    """How the newest run of a source or slot ended, and whether any run of it ended well."""

    status: str
    has_success: bool


def run_id_of(backfill_id: str, number: int, round_: int, attempt: int) -> str:
    """The id of one try of a run of a backfill: the same whoever derives it.

    Example:
        >>> run_id_of("b7", 0, 0, 0) == run_id_of("b7", 0, 0, 0) != run_id_of("b7", 0, 1, 0)
        True
    """
    return hashlib.sha256(f"{backfill_id} {number} {round_} {attempt}".encode()).hexdigest()[:32]


def backfill_of(row: BackfillRow) -> Backfill:
    """The backfill of a row, as people read it."""
    return Backfill(
        row.backfill_id,
        row.flow,
        row.state,
        row.total,
        row.ended,
        row.failed,
        kind=row.kind,
        params=row.params,
        by=row.by,
        at_utc=row.at_utc,
        since=row.asked.get("since"),
        until=row.asked.get("until"),
        where=row.asked.get("where"),
        reprocess=str(row.asked.get("reprocess", "all")),
    )


def add(ledger: Ledger, row: BackfillRow, planned: Sequence[PlannedRun]) -> None:
    """Store a backfill with its planned runs."""
    with ledger.writing() as (connection, rev):
        _SHAPE.insert(connection, rev, [row])
        connection.executemany(
            "INSERT INTO backfill_items (backfill_id, number, source_key, slot_utc, at_utc, rev)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            [
                storable((row.backfill_id, number, run.source, run.scheduled_for, row.at_utc, rev))
                for number, run in enumerate(planned)
            ],
        )


def put(ledger: Ledger, row: BackfillRow) -> None:
    """Store the state and the progress of a backfill."""
    with ledger.writing() as (connection, rev):
        connection.execute(
            "UPDATE backfills SET state = ?, round = ?, ended = ?, failed = ?, rev = ? WHERE backfill_id = ?",
            (row.state, row.round, row.ended, row.failed, rev, row.backfill_id),
        )


def newest(ledger: Ledger, flow: str | None = None, limit: int = 20, *, state: str | None = None) -> list[BackfillRow]:
    """The newest backfills, of one flow or of all, the newest first."""
    where = "(?1 IS NULL OR flow_name = ?1) AND (?2 IS NULL OR state = ?2) ORDER BY at_utc DESC, rowid DESC LIMIT ?3"
    return _select(ledger, where, flow, state, limit)


def known(ledger: Ledger, backfill_id: str) -> BackfillRow | None:
    """The backfill with this id, or with the only id that begins so; None when there is none.

    Raises:
        LedgerError: several ids begin so; the message names them.
    """
    rows = _select(ledger, "backfill_id = ?", backfill_id)
    if not rows and backfill_id:
        until = backfill_id + chr(0x10FFFF)
        rows = _select(ledger, "backfill_id > ? AND backfill_id < ? ORDER BY backfill_id LIMIT 4", backfill_id, until)
    if len(rows) > 1:
        ids = ", ".join(row.backfill_id for row in rows[:3])
        raise LedgerError(
            f"several backfills begin with {backfill_id!r}: {ids}", where="backfill", fix="give more characters"
        )
    return rows[0] if rows else None


def planned_runs(ledger: Ledger, backfill_id: str) -> list[PlannedRun]:
    """The planned runs of a backfill, in order."""
    rows = ledger.rows(
        "SELECT source_key, slot_utc FROM backfill_items WHERE backfill_id = ? ORDER BY number", backfill_id
    )
    return [PlannedRun(key and restored(key), slot) for key, slot in rows]


def begun_runs(ledger: Ledger, backfill_id: str) -> dict[str, tuple[str, str | None]]:
    """The status and the kind of cause of each run that has begun, by run id."""
    rows = ledger.rows(
        "SELECT run_id, status, cause_kind FROM runs WHERE trigger_kind = 'backfill' AND trigger_detail = ?",
        backfill_id,
    )
    return {run_id: (status, cause) for run_id, status, cause in rows}


def runs_of(ledger: Ledger, backfill_id: str, limit: int = 100_000) -> list[Run]:
    """The runs of a backfill that have begun, newest first."""
    mine = "trigger_kind = 'backfill' AND trigger_detail = ? ORDER BY started_at_utc DESC, rowid DESC LIMIT ?"
    return ledger.runs_where(mine, backfill_id, limit)


def ends_of_sources(ledger: Ledger, flow: str) -> dict[str, LastEnd]:
    """How the runs of each source ended, by its path inside the flow's folder; for a flow whose sources have no state."""
    ends: dict[str, LastEnd] = {}
    query = "SELECT source_key, status FROM runs WHERE flow_name = ? ORDER BY started_at_utc, rowid"
    for key, status in ledger.rows(query, flow):
        if key is not None:
            at = restored(key)
            ends[at] = LastEnd(status, status == "success" or (at in ends and ends[at].has_success))
    return ends


def ends_of_slots(ledger: Ledger, flow: str) -> dict[tuple[str, str | None], LastEnd]:
    """How the runs that count for the flow's schedule ended, by slot and source."""
    ends: dict[tuple[str, str | None], LastEnd] = {}
    with ledger.reading() as connection:
        rows = connection.execute(
            "SELECT scheduled_for, source_key, status FROM runs WHERE flow_name = ? AND scheduled_for IS NOT NULL"
            " AND (trigger_kind = 'slot' OR trigger_detail IN (SELECT backfill_id FROM backfills WHERE is_as_scheduled))"
            " ORDER BY started_at_utc, rowid",
            storable((flow,)),
        )
        for slot, key, status in rows:
            at = slot, key and restored(key)
            ends[at] = LastEnd(status, status == "success" or (at in ends and ends[at].has_success))
        # Of a slot whose run was pruned only this row is left.
        gone = connection.execute(
            "SELECT slot_utc FROM schedule_slots WHERE flow_name = ? AND run_id <> ''"
            " AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.run_id = schedule_slots.run_id)",
            storable((flow,)),
        )
        for (slot,) in gone:
            ends.setdefault((slot, None), LastEnd("success", True))
    return ends


def is_done_since(ledger: Ledger, row: BackfillRow, planned: PlannedRun) -> bool:
    """Whether a run of the source or slot, by itself or on request, has ended well since the backfill was requested."""
    if planned.scheduled_for is not None:
        query = (
            "SELECT 1 FROM runs WHERE flow_name = ? AND source_key IS ? AND finished_at_utc > ? AND scheduled_for = ?"
            " AND status = 'success' AND trigger_kind = 'slot' LIMIT 1"
        )
        values = [row.flow, planned.source, row.at_utc, planned.scheduled_for]
    else:
        query = (
            "SELECT 1 FROM file_state WHERE flow_name = ? AND source_key = ? AND last_success_at_utc > ?"
            " AND last_status = 'success' LIMIT 1"
        )
        values = [row.flow, planned.source, row.at_utc]
    return bool(ledger.rows(query, *values))


def written_with_params(ledger: Ledger, flow: str) -> dict[str | None, Run]:
    """The newest good run of each source that had params, or ran an edit, and wrote files, by the source's path inside the flow's folder."""
    rows = ledger.rows(
        f"SELECT source_key, {RUN_COLUMNS} FROM runs WHERE rowid IN (SELECT rowid FROM ("
        " SELECT rowid, max(finished_at_utc) FROM runs WHERE flow_name = ?1 AND status = 'success'"
        f" AND coalesce(params, edited) IS NOT NULL AND {_WROTE} GROUP BY source_key))",
        flow,
    )
    return {key and restored(key): run_of(tuple(row)) for key, *row in rows}


def newest_writer(ledger: Ledger, flow: str) -> Run | None:
    """The newest good run of the flow that wrote files, whatever its params."""
    newest = f"flow_name = ?1 AND status = 'success' AND {_WROTE} ORDER BY finished_at_utc DESC LIMIT 1"
    return next(iter(ledger.runs_where(newest, flow)), None)


def _select(ledger: Ledger, where: str, *parameters: Any) -> list[BackfillRow]:
    with ledger.reading() as connection:
        return _SHAPE.select(connection, where, *parameters)

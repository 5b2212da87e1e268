"""The cards of backfills."""

from __future__ import annotations

from collections.abc import Sequence

from data_engine.formatting import local_time, plural, zoned_words
from data_engine.marks import Mark, mark_of
from data_engine.model import Backfill
from data_engine.status.sentences import (
    none_named_words,
    short_error,
)
from data_engine.view.card import (
    MOST_ROWS,
    Card,
    Cell,
    Code,
    Note,
    file_cell,
    table,
)


def backfill_card(backfill: Backfill) -> Card:
    """One backfill: its progress, and the planned runs or those that did not succeed."""
    bad = [run for run in backfill.runs if run.status not in ("success", "started")]
    facts: tuple[Cell, ...] = (backfill.text, Code(backfill.id[:8], backfill.id)) if backfill.id else (backfill.text,)
    if (none := none_named_words(backfill)) is not None:
        return Card(f"{backfill.flow}: backfill", facts, (Note(Mark(none, "warn", "triangle")),))
    if bad or not backfill.planned:
        rows = [
            (
                mark_of(run.status),
                zoned_words(run.scheduled_for, backfill.tz),
                file_cell(run.source),
                Code(run.run_id[:8], run.run_id),
                short_error(run.error or run.cause, run.why),
            )
            for run in bad[:MOST_ROWS]
        ]
        parts = (table(("Status", "Slot", "Source", "Run", "Why"), rows, total=len(bad)),) if bad else ()
        return Card(f"{backfill.flow}: backfill", facts, parts)
    runs, zone = backfill.planned, backfill.tz
    slots = [(zoned_words(run.scheduled_for, zone), Code(run.source or "")) for run in runs[:MOST_ROWS]]
    return Card(f"{backfill.flow}: backfill", facts, (table(("Slot", "Source"), slots, total=len(runs)),))


def backfills_card(backfills: Sequence[Backfill]) -> Card:
    """Backfills with their progress, the newest first."""
    rows = [
        (Code(entry.id[:8], entry.id), entry.flow, entry.by, local_time(entry.at_utc), entry.text)
        for entry in backfills[:MOST_ROWS]
    ]
    columns = ("Backfill", "Flow", "Asked by", "At", "Progress")
    return Card(plural(len(backfills), "backfill"), (), (table(columns, rows, total=len(backfills)),))

"""The cards of flow modules, and of why they run or do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from data_engine.formatting import plural
from data_engine.marks import mark_of
from data_engine.notebook.catalog import CatalogEntry
from data_engine.status.explain import Explanation, ways
from data_engine.status.sentences import (
    first_line,
    short_reason,
)
from data_engine.view.card import (
    MOST_ROWS,
    Card,
    Code,
    Faint,
    Note,
    Pairs,
    Part,
    file_cell,
    table,
)
from data_engine.view.errors import error_places


def entries_card(entries: Sequence[CatalogEntry], deployment: Mapping[str, str]) -> Card:
    """Flow modules with their state in production, and the errors of broken ones."""
    rows = [
        (
            mark_of("good" if entry.error is None else "broken"),
            Code(entry.path.name, str(entry.path)),
            Faint(entry.group or ""),
            deployment.get(entry.name, ""),
            first_line("" if entry.error is None else entry.error.what),
        )
        for entry in entries
    ]
    parts: list[Part] = [table(("Module", "File", "Group", "Production", "Error"), rows)] if rows else []
    warnings: set[str] = set()
    for entry in entries:
        parts += [Note.warning(warning) for warning in entry.warnings if warning not in warnings]
        warnings.update(entry.warnings)
        if entry.error is not None:
            parts.append(Pairs(error_places(entry.error)))
    if len(rows) == 1 and entries[0].error is None:
        return Card(entries[0].path.name, (deployment.get(entries[0].name, ""),), tuple(parts[1:]))
    return Card(plural(len(entries), "flow module"), (), tuple(parts))


def reasons_card(reasons: Sequence[Explanation]) -> Card:
    """What `explain` says, a line for each candidate or tick."""
    rows = [
        (reason.flow, file_cell(reason.source), reason.why.mark(short_reason(reason.why, reason.cause)))
        for reason in reasons[: 5 * MOST_ROWS]
    ]
    shown = table(("Flow", "Source", "Reason"), rows, total=len(reasons))
    changes = Pairs(tuple((kind, way) for kind, _, way in (line.partition(": ") for line in ways(reasons))))
    return Card("Why it runs, or does not", (), (shown, changes))

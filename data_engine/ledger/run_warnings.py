"""Count the warnings in the logs of runs, and list their texts; each function raises `LedgerError` where the ledger cannot be used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from data_engine.ledger.logs import counts_as_warning

if TYPE_CHECKING:
    from data_engine.ledger.ledger import Ledger
    from data_engine.model import Run


class WarningCounts:
    """The warning counts of one ledger; those of runs that have ended are kept as long as they are asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, int] = {}

    def of(self, runs: Iterable[Run]) -> dict[str, int]:
        """The count of each run with warnings, by run id."""
        runs = list(runs)
        counts = {run.run_id: self._known[run.run_id] for run in runs if run.run_id in self._known}
        new = dict.fromkeys((run.run_id for run in runs if run.run_id not in counts), 0)
        new |= warnings_of(self._ledger, new)
        self._known = counts | {
            run.run_id: new[run.run_id] for run in runs if run.run_id in new and run.finished_at_utc
        }
        return {run_id: count for run_id, count in (counts | new).items() if count}


def runs_as_json(ledger: Ledger, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Runs as the JSON of commands holds them: each with the number of its warnings."""
    return [run.as_dict() | {"warnings": run.warnings} for run in with_warnings(ledger, runs)]


def with_warnings(ledger: Ledger, runs: Iterable[Run]) -> list[Run]:
    """The runs, each with the number of its warnings."""
    runs = list(runs)
    counts = warnings_of(ledger, [run.run_id for run in runs])
    return [replace(run, warnings=counts.get(run.run_id, 0)) for run in runs]


def warnings_of(ledger: Ledger, run_ids: Iterable[str]) -> dict[str, int]:
    """How many warnings each of these runs has in its log, of those that have any."""
    counts: dict[str, int] = {}
    rows = ledger.rows(
        "SELECT logs.run_id, level, runs.status, count(*) FROM logs JOIN runs ON runs.run_id = logs.run_id"
        " WHERE logs.run_id IN (SELECT value FROM json_each(?)) AND level IN ('WARNING', 'ERROR', 'CRITICAL')"
        " GROUP BY logs.run_id, level",
        json.dumps(list(run_ids)),
    )
    for run_id, level, status, count in rows:
        if counts_as_warning(level, status):
            counts[run_id] = counts.get(run_id, 0) + count
    return counts


def warning_texts(ledger: Ledger, runs: Sequence[Run], most: int = 5) -> list[str]:
    """The warnings of these runs, as they were logged, each text once; `most` texts, of the first `most` runs that have any."""
    counts = warnings_of(ledger, [run.run_id for run in runs])
    chosen = [run for run in runs if run.run_id in counts][:most]
    lines = ((run.status, line) for run in chosen for line in ledger.log(run.run_id))
    texts = dict.fromkeys(line.message for status, line in lines if counts_as_warning(line.level, status))
    return list(texts)[:most]

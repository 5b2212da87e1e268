"""Which runs somebody asks for, by a flow or a source file, status and time; and how many there are of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from data_engine.engine.deployed_before import names_of, require_flow
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.ledger.ledger import Ledger, RunsWanted
from data_engine.model import Run, utc_text
from data_engine.scheduler.backfill import bounds
from data_engine.scheduler.slots import zone_of
from data_engine.typed import typed


@dataclass(frozen=True, slots=True)
class FoundRuns:
    """The newest runs that are meant, newest first, and the `total` of them."""

    runs: list[Run]
    total: int

    @property
    def cut(self) -> int:
        """How many were left out."""
        return self.total - len(self.runs)


def wanted_runs(status: str | None, since: str | None, until: str | None) -> RunsWanted:
    """The runs in a status that began in a range of days, months or times of this machine, as their start is told; both ends are in it.

    Raises:
        FlowValidationError: a text is no day, or the range ends before it begins.

    Example:
        >>> wanted_runs("failed", "2026-03-01T06:00+00:00", None).since_utc
        '2026-03-01T06:00:00.000000+00:00'
    """
    since_s, until_s = bounds(since, until, zone_of(None), of="runs")
    since_utc, until_utc = (None if one is None else utc_text(one) for one in (since_s, until_s))
    return RunsWanted(None, status, None, since_utc, until_utc)


def find_runs(home: LocalWorkspace, name: str | None, limit: int, wanted: RunsWanted) -> FoundRuns:
    """The newest runs of a flow, also under the names that it had before, or of a source file by its name or path; None: of all.

    Raises:
        LedgerError: the history cannot be read, or what is wanted is not possible.
        FlowValidationError: nothing in the history is called so, nor any flow; names the nearest.
    """
    ledger = home.ledger()
    if name is None:
        return _of_each(ledger, [wanted], limit)
    found = _of_each(ledger, [wanted.of(flow=one) for one in names_of(ledger, name)], limit)
    if not found.runs:
        sources = ledger.sources_called(name, os.path.abspath(name))
        found = _of_each(ledger, [wanted.of(source=one) for one in sources], limit)
        if not sources:
            _require_flow(home, ledger, name)
    return found


def _ended(fix: str | None) -> str:
    """A fix with its end, and what joins another to it."""
    return "" if not fix else f"{fix} Else" if fix.endswith("?") else f"{fix}; else"


def _of_each(ledger: Ledger, asked: list[RunsWanted], limit: int) -> FoundRuns:
    found = [run for one in asked for run in ledger.runs_wanted(one, limit)]
    found = sorted(found, key=lambda run: run.started_at_utc, reverse=True)[:limit] if len(asked) > 1 else found
    return FoundRuns(found, len(found) if len(found) < limit else sum(map(ledger.count_wanted, asked)))


def _require_flow(home: LocalWorkspace, ledger: Ledger, name: str) -> None:
    """Refuse a name that is neither a flow's nor anything's in the history, with what tells of a run where it is the id of one."""
    try:
        require_flow(home, name)
    except FlowValidationError as error:
        if ledger.run(name) is not None:
            raise FlowValidationError(
                f"{name!r} is a run, and neither a flow nor a source file", where="runs", fix=typed("log", name)
            ) from error
        fix = f"{_ended(error.fix)} `{typed('list')}` shows the flows, and `{typed('runs')}` what ran, with its sources"
        raise FlowValidationError(error.what, where=error.where, fix=fix) from error

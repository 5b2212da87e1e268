"""Which runs somebody asks for, by a flow or a source file, status and time; and how many there are of them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from data_engine.engine.deployed_before import former_names, published, require_flow
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.ledger.ledger import Ledger, RunsWanted
from data_engine.model import Run
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


def find_runs(home: LocalWorkspace, name: str | None, limit: int, wanted: RunsWanted) -> FoundRuns:
    """The newest runs of a flow, also under the names that it had before, or of a source file by its name or path; None: of all.

    Raises:
        LedgerError: the history cannot be read, or what is wanted is not possible.
        FlowValidationError: nothing in the history is called so, nor any flow; names the nearest.
    """
    ledger = home.ledger()
    if name is None:
        return _of_each(ledger, [wanted], limit)
    found = _of_each(ledger, [wanted.of(flow=one) for one in (name, *former_names(published(ledger), name))], limit)
    if not found.runs:
        sources = ledger.sources_called(name, os.path.abspath(name))
        found = _of_each(ledger, [wanted.of(source=one) for one in sources], limit)
        if not sources:
            _require_flow(home, ledger, name)
    return found


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
        fix = f"{error.fix}; else `{typed('list')}` shows the flows, and `{typed('runs')}` what ran, with its sources"
        raise FlowValidationError(error.what, where=error.where, fix=fix) from error

"""The history of a workspace's deployments, as people are told of it."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.ledger.deployments import published
from data_engine.model import Deployment, utc_text
from data_engine.notebook import history
from data_engine.notebook.catalog import module_files

_DAY_S = 86_400.0


def history_of(home: LocalWorkspace, flow: str | None = None) -> list[Deployment]:
    """Every deployment, or those of one flow, the newest first.

    Raises:
        LedgerError: the history cannot be read.
    """
    rows = published(home.ledger())
    told = history.told(rows, kept_ids=kept_ids(home, rows))
    return [one for one in told if flow in (None, one.flow)]


def left_out(home: LocalWorkspace, but: Collection[str]) -> dict[str, Deployment]:
    """The flows that somebody undeployed though their modules are there, but for these: with what let them run no more.

    Raises:
        LedgerError: the history cannot be read.
    """
    rows = sorted(published(home.ledger()), key=lambda one: (one.number, one.id))
    newest = {one.flow: one for one in rows}
    left = history.ended(rows).keys() & module_files(home.layout.flow_modules_dir).keys() - set(but)
    return {flow: newest[flow] for flow in sorted(left)}


def kept_ids(home: LocalWorkspace, rows: Sequence[Deployment]) -> set[str]:
    """The deployments whose sets stay."""
    settings = home.settings()
    since_utc = utc_text(time.time() - settings.history.retention_days * _DAY_S)
    return history.kept(rows, keep=settings.deploy.keep, since_utc=since_utc)

"""Deployments in the ledger: rows that are added and never changed, of which only published ones count.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from data_engine.ledger.rows import FLAG, IS_PUBLISHED, LIST, RowShape
from data_engine.model import Deployment, KernelComparison

if TYPE_CHECKING:
    import sqlite3

    from data_engine.ledger.ledger import Ledger

_SHAPE = RowShape(
    "deployments",
    "deployment_id, number, flow_name, kind, set_id, digest, decided_by, machine, at_utc, note, cells, helpers,"
    " git_commit, git_dirty, config, points_to, asked_by, mirror, watches, compared",
    Deployment,
    cells=LIST,
    helpers=LIST,
    git_dirty=FLAG,
    config=LIST,
    compared=(lambda compared: json.dumps(compared.as_dict()), lambda text: KernelComparison.read(json.loads(text))),
)


def published(ledger: Ledger, flow: str | None = None) -> list[Deployment]:
    """The deployments that every workstation can see, of one flow or of all, the newest first; others do not hold yet."""
    with ledger.reading() as connection:
        if flow is not None:
            return _selected(connection, "flow_name = ?", flow)
        return published_in(connection)


def published_mark(ledger: Ledger) -> tuple[int, int]:
    """How many deployments are published, and the newest number: the same as long as `published` gives the same."""
    query = f"SELECT count(*), coalesce(max(number), 0) FROM deployments WHERE {IS_PUBLISHED}"
    ((count, newest),) = ledger.rows(query)
    return count, newest


def renamings(ledger: Ledger) -> list[Deployment]:
    """The published deployments of renamed flows, the newest first: the end under the old name, and the start under the new."""
    ends = "kind = 'withdraw' AND points_to IS NOT NULL"
    with ledger.reading() as connection:
        return _selected(connection, f"{ends} OR deployment_id IN (SELECT points_to FROM deployments WHERE {ends})")


def present_name(rows: Sequence[Deployment], flow: str, since_utc: str) -> str:
    """The name now of a flow that had this name at that time; `rows` is the history, or its rows about renamed flows.

    Example:
        >>> rows = [Deployment("d2", 2, "parts", "deploy", "s"),
        ...     Deployment("d3", 3, "claims", "withdraw", "", of="d2", at_utc="2026-01-05")]
        >>> [present_name(rows, "claims", since_utc) for since_utc in ("2026-01-04", "2026-01-06")]
        ['parts', 'claims']
    """
    flow_of = {row.id: row.flow for row in rows}
    for row in sorted(rows, key=lambda row: row.number):
        if row.kind == "withdraw" and row.flow == flow and row.at_utc >= since_utc and row.of in flow_of:
            flow = flow_of[row.of]
    return flow


def deployments_of(ledger: Ledger, run_ids: Collection[str]) -> dict[str, str]:
    """The id of the deployment of each of these runs that has one, by run id."""
    query = "SELECT run_id, deployment_id FROM runs WHERE run_id IN (SELECT value FROM json_each(?)) AND deployment_id IS NOT NULL"
    return dict(ledger.rows(query, json.dumps(list(run_ids))))


def has_good_run(ledger: Ledger, flows: Sequence[str], deployments: Sequence[str]) -> bool:
    """Whether a run of one of these deployments, under one of the flow's names, has ended well."""
    names, ids = (", ".join("?" * len(values)) for values in (flows, deployments))
    query = (
        f"SELECT 1 FROM runs WHERE flow_name IN ({names}) AND status = 'success' AND deployment_id IN ({ids}) LIMIT 1"
    )
    return bool(ledger.rows(query, *flows, *deployments))


def published_in(connection: sqlite3.Connection) -> list[Deployment]:
    """The published deployments of all flows, over a connection that may only read.

    Raises:
        sqlite3.Error: it cannot be read, or is older than deployments are.
    """
    return _selected(connection, "TRUE")


def _selected(connection: sqlite3.Connection, where: str, *parameters: str) -> list[Deployment]:
    return _SHAPE.select(connection, f"{IS_PUBLISHED} AND ({where}) ORDER BY number DESC", *parameters)


def add(ledger: Ledger, new: Sequence[Deployment]) -> list[Deployment]:
    """Add deployments and return them with their numbers; they hold once published. An id that is there keeps its row."""
    with ledger.writing() as (connection, rev):
        (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM deployments").fetchone()
        numbered = [replace(deployment, number=last + 1 + at) for at, deployment in enumerate(new)]
        _SHAPE.insert(connection, rev, numbered)
        return numbered

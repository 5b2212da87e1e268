"""Deployments in the ledger: rows that are added and never changed, of which only published ones count."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from data_engine.ledger.rows import IS_PUBLISHED, restored, storable
from data_engine.model import Compared, Deployment

if TYPE_CHECKING:
    import sqlite3

    from data_engine.ledger.ledger import Ledger

_AT_ONCE = 500
_COLUMNS = (
    "deployment_id, number, flow_name, kind, set_id, digest, decided_by, machine, at_utc, note, cells, helpers,"
    " git_commit, git_dirty, config, points_to, asked_by, mirror, watches, compared"
)


def published(ledger: Ledger, flow: str | None = None) -> list[Deployment]:
    """What every workstation can see, of one flow when named, the newest first; what is not published yet does not hold.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with ledger.reading() as connection:
        if flow is not None:
            return _selected(connection, "flow_name = ?", storable(flow))
        return published_in(connection)


def published_mark(ledger: Ledger) -> tuple[int, int]:
    """How many deployments are published, and the number of the newest: the same as long as `published` gives the same.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with ledger.reading() as connection:
        query = f"SELECT count(*), coalesce(max(number), 0) FROM deployments WHERE {IS_PUBLISHED}"
        many, newest = connection.execute(query).fetchone()
        return many, newest


def renamings(ledger: Ledger) -> list[Deployment]:
    """Of what is published that which tells of renamed flows, the newest first: what ended one under a name, and what it became.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    ends = "kind = 'withdraw' AND points_to IS NOT NULL"
    with ledger.reading() as connection:
        return _selected(connection, f"{ends} OR deployment_id IN (SELECT points_to FROM deployments WHERE {ends})")


def deployments_of(ledger: Ledger, run_ids: Collection[str]) -> dict[str, str]:
    """The id of the deployment that each of these runs ran, of those that ran one.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    found: dict[str, str] = {}
    ids = iter(run_ids)
    while some := list(islice(ids, _AT_ONCE)):
        marks = ", ".join("?" * len(some))
        query = f"SELECT run_id, deployment_id FROM runs WHERE run_id IN ({marks}) AND deployment_id IS NOT NULL"
        with ledger.reading() as connection:
            found |= dict(connection.execute(query, some).fetchall())
    return found


def has_good_run(ledger: Ledger, flows: Sequence[str], deployments: Sequence[str]) -> bool:
    """Whether a run of one of these deployments of a flow, by its names, is known to have ended well.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    names, ids = (", ".join("?" * len(these)) for these in (flows, deployments))
    query = (
        f"SELECT 1 FROM runs WHERE flow_name IN ({names}) AND status = 'success' AND deployment_id IN ({ids}) LIMIT 1"
    )
    with ledger.reading() as connection:
        return connection.execute(query, storable((*flows, *deployments))).fetchone() is not None


def published_in(connection: sqlite3.Connection) -> list[Deployment]:
    """As `published`, for who only looks at a ledger.

    Raises:
        sqlite3.Error: it cannot be read, or is older than deployments are.
    """
    return _selected(connection, "TRUE")


def _selected(connection: sqlite3.Connection, where: str, *given: str) -> list[Deployment]:
    query = f"SELECT {_COLUMNS} FROM deployments WHERE {IS_PUBLISHED} AND ({where}) ORDER BY number DESC"
    return [_deployment(row) for row in connection.execute(query, given)]


def add(ledger: Ledger, new: Sequence[Deployment]) -> list[Deployment]:
    """Add deployments, numbered after all others; as they are then. They hold once they are published. One of an id that is there
    already stays as it is.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    with ledger.writing() as (connection, rev):
        (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM deployments").fetchone()
        numbered = [replace(one, number=last + 1 + at) for at, one in enumerate(new)]
        connection.executemany(
            f"INSERT INTO deployments ({_COLUMNS}, rev) VALUES ({', '.join('?' * 21)})"
            " ON CONFLICT (deployment_id) DO NOTHING",
            [storable((*_row(one), rev)) for one in numbered],
        )
        return numbered


def _row(one: Deployment) -> tuple[Any, ...]:
    dirty = None if one.git_dirty is None else int(one.git_dirty)
    return (
        *(one.id, one.number, one.flow, one.kind, one.set_id, one.digest, one.by, one.machine, one.at_utc, one.note),
        *(json.dumps(one.cells), json.dumps(one.helpers), one.git_commit, dirty, json.dumps(one.config)),
        *(one.of, one.asked_by, one.mirror, one.watches),
        None if one.compared is None else json.dumps(one.compared.as_dict()),
    )


def _deployment(row: Sequence[Any]) -> Deployment:
    (
        deployment_id,
        number,
        flow,
        kind,
        set_id,
        digest,
        by,
        machine,
        at_utc,
        note,
        cells,
        helpers,
        commit,
        dirty,
        *last,
    ) = row
    config, of, asked_by, mirror, watches, compared = last
    return Deployment(
        deployment_id,
        number,
        restored(flow),
        kind,
        set_id,
        digest,
        restored(by),
        restored(machine),
        at_utc,
        restored(note),
        tuple(json.loads(cells)),
        tuple(json.loads(helpers)),
        commit,
        None if dirty is None else bool(dirty),
        tuple((name, value) for name, value in json.loads(config)),
        of,
        asked_by and restored(asked_by),
        mirror and restored(mirror),
        watches and restored(watches),
        None if compared is None else Compared.read(json.loads(compared)),
    )

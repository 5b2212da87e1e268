"""Requests of other workstations in the ledger: taken before they are begun, answered afterwards, known for a year.

Each is a row of its own, so that an answer that was never published leaves the other in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import IS_PUBLISHED, restored, storable
from data_engine.record import Record, frozen

_COLUMNS = "request_id, verb, flow_name, state, outcome, answer, run_ids, asked_by, machine, file_owner, at_utc"


@frozen
class RequestRow(Record):
    """What was published of a request: `state` "taken" or "answered", then with its `outcome` and an `answer` in JSON."""

    sparse: ClassVar = ("answer", "file_owner")

    request_id: str
    verb: str
    flow: str
    state: str
    outcome: str | None = None
    answer: str | None = None
    run_ids: tuple[str, ...] = ()
    by: str = ""
    machine: str = ""
    file_owner: str | None = None
    at_utc: str = ""


@frozen
class RequestRows:
    """The requests in a ledger; each method raises `LedgerError` where that cannot be used."""

    ledger: Ledger

    def write(self, rows: Sequence[RequestRow]) -> None:
        """Add these rows; they count once they are published."""
        with self.ledger.writing() as (connection, rev):
            connection.executemany(
                f"INSERT INTO requests ({_COLUMNS}, rev) VALUES ({', '.join('?' * 12)}) ON CONFLICT DO NOTHING",
                [storable((*_row(one), rev)) for one in rows],
            )

    def known(self, ids: Iterable[str]) -> dict[str, RequestRow]:
        """What was published of these requests, by id."""
        wanted = json.dumps(list(ids))
        found = self._asked("request_id IN (SELECT value FROM json_each(?)) ORDER BY state DESC", wanted)
        return {one.request_id: one for one in found}  # "answered" comes after "taken"

    def unanswered(self) -> list[RequestRow]:
        """Those that were taken, by whichever owner, and not answered."""
        answered = f"SELECT request_id FROM requests WHERE state = 'answered' AND {IS_PUBLISHED}"
        return self._asked(f"state = 'taken' AND request_id NOT IN ({answered})")

    def newest(self, since_utc: str, limit: int = 20) -> list[RequestRow]:
        """The newest requests since then, the newest first."""
        where = "at_utc >= ? ORDER BY at_utc DESC, request_id LIMIT ?"
        ids = dict.fromkeys(one.request_id for one in self._asked(where, since_utc, 2 * limit))
        rows = self.known(ids)
        return [rows[one] for one in ids][:limit]

    def _asked(self, where: str, *parameters: Any) -> list[RequestRow]:
        with self.ledger.reading() as connection:
            found = connection.execute(f"SELECT {_COLUMNS} FROM requests WHERE {IS_PUBLISHED} AND {where}", parameters)
            return [_of(row) for row in found]


def _row(one: RequestRow) -> tuple[Any, ...]:
    return (
        *(one.request_id, one.verb, one.flow, one.state, one.outcome, one.answer, json.dumps(one.run_ids)),
        *(one.by, one.machine, one.file_owner, one.at_utc),
    )


def _of(row: Sequence[Any]) -> RequestRow:
    request_id, verb, flow, state, outcome, answer, run_ids, by, machine, file_owner, at_utc = row
    return RequestRow(
        request_id,
        verb,
        restored(flow),
        state,
        outcome,
        answer and restored(answer),
        tuple(json.loads(run_ids)),
        restored(by),
        restored(machine),
        file_owner and restored(file_owner),
        at_utc,
    )

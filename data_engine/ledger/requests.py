"""Requests of other workstations in the ledger: taken before they are begun, answered afterwards, known for a year.

Each is a row of its own, so that an answer that was never published leaves the other in its place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import IS_PUBLISHED, LIST, RowShape
from data_engine.record import Record, frozen


@frozen
class RequestRow(Record):
    """A row of a request: its `state` is "taken", or "answered" with an `outcome` and an `answer` in JSON."""

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


_SHAPE = RowShape(
    "requests",
    "request_id, verb, flow_name, state, outcome, answer, run_ids, asked_by, machine, file_owner, at_utc",
    RequestRow,
    run_ids=LIST,
)


@frozen
class RequestRows:
    """The requests in a ledger; each method raises `LedgerError` where that cannot be used."""

    ledger: Ledger

    def write(self, rows: Sequence[RequestRow]) -> None:
        """Add these rows; they count once they are published."""
        with self.ledger.writing() as (connection, rev):
            _SHAPE.insert(connection, rev, rows)

    def known(self, ids: Iterable[str]) -> dict[str, RequestRow]:
        """The last published row of each of these requests, by id."""
        text = json.dumps(list(ids))
        rows = self._select("request_id IN (SELECT value FROM json_each(?)) ORDER BY state DESC", text)
        return {row.request_id: row for row in rows}  # "answered" comes after "taken"

    def unanswered(self) -> list[RequestRow]:
        """The requests that any owner has taken and none has answered."""
        answered = f"SELECT request_id FROM requests WHERE state = 'answered' AND {IS_PUBLISHED}"
        return self._select(f"state = 'taken' AND request_id NOT IN ({answered})")

    def newest(self, since_utc: str, limit: int = 20) -> list[RequestRow]:
        """The newest requests since then, the newest first."""
        where = "at_utc >= ? ORDER BY at_utc DESC, request_id LIMIT ?"
        ids = dict.fromkeys(row.request_id for row in self._select(where, since_utc, 2 * limit))
        rows = self.known(ids)
        return [rows[request_id] for request_id in ids][:limit]

    def _select(self, where: str, *parameters: Any) -> list[RequestRow]:
        with self.ledger.reading() as connection:
            return _SHAPE.select(connection, f"{IS_PUBLISHED} AND {where}", *parameters)

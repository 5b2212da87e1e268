"""The reported troubles in the ledger: shared with all machines, so that a new owner neither repeats nor forgets a message.

A row is one trouble: its key, since when it is there, its messages, and whether it is over. It stays when it is closed, and
begins anew when the same trouble comes again.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, NamedTuple

from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import json_object, restored, storable
from data_engine.record import frozen

LONGEST_PART = 200
"""Characters of each part of a key."""

_COLUMNS = (
    "flow_name, kind, step, error_type, cell, since_utc, detail, told_at_utc, message_id, digest_until_utc,"
    " recovered_at_utc, is_closed, again, at_utc"
)


class TroubleKey(NamedTuple):
    """The identity of a trouble: the flow ("" is the workspace), the kind, and of a failure step, error type and cell."""

    flow: str
    kind: str
    step: str = ""
    error_type: str = ""
    cell: str = ""


@frozen
class TroubleRecord:
    """The state of a trouble. `detail` holds the facts for its message.

    It is told when `told_at_utc` is set; until `digest_until_utc` what follows in its flow waits. It is over at
    `recovered_at_utc`, and `is_closed` when that was told too; `again` counts how often it came back before that.
    """

    key: TroubleKey
    since_utc: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    told_at_utc: str | None = None
    message_id: str | None = None
    digest_until_utc: str | None = None
    recovered_at_utc: str | None = None
    is_closed: bool = False
    again: int = 0
    at_utc: str = ""


def all_troubles(ledger: Ledger) -> list[TroubleRecord]:
    """Every trouble that is kept, also those that are closed."""
    return [_of(row) for row in ledger.rows(f"SELECT {_COLUMNS} FROM troubles")]


def put(connection: sqlite3.Connection, rev: int, troubles: Iterable[TroubleRecord]) -> None:
    """Store the state of troubles, inside a transaction of the caller's with its revision."""
    columns = _COLUMNS.split(", ")
    changes = ", ".join(f"{name} = excluded.{name}" for name in [*columns[5:], "rev"])
    connection.executemany(
        f"INSERT INTO troubles ({_COLUMNS}, rev) VALUES ({', '.join('?' * (len(columns) + 1))})"
        f" ON CONFLICT (flow_name, kind, step, error_type, cell) DO UPDATE SET {changes}",
        [storable((*_values(trouble), rev)) for trouble in troubles],
    )


def _values(trouble: TroubleRecord) -> tuple[Any, ...]:
    return (
        *(*trouble.key, trouble.since_utc, json.dumps(dict(trouble.detail), ensure_ascii=True), trouble.told_at_utc),
        *(trouble.message_id, trouble.digest_until_utc, trouble.recovered_at_utc, int(trouble.is_closed)),
        *(trouble.again, trouble.at_utc),
    )


def _of(row: tuple[Any, ...]) -> TroubleRecord:
    flow, kind, step, error_type, cell, since_utc, detail, told_at, message_id, until, recovered, closed, again, at = (
        row
    )
    key = TroubleKey(restored(flow), kind, restored(step), restored(error_type), restored(cell))
    values = json_object(detail) or {}
    return TroubleRecord(key, since_utc, values, told_at, message_id, until, recovered, bool(closed), again, at)

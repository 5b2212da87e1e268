"""The messages of alarms in this machine's outbox: put, asked whether somebody has them, and taken back while nobody has."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection

from data_engine.ledger import outbox
from data_engine.ledger.ledger import Ledger
from data_engine.message import Message

PREFIX = "silence."
"""What the ids of these messages begin with: they may be sent only as long as this machine's claim lasts."""

_AWAY = "told_unreachable"


def keep(ledger: Ledger, message: Message) -> None:
    """Put the message into the outbox; the same once more changes nothing.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    with ledger.writing(durable=True) as (connection, _):
        outbox.put(connection, [message])


def is_told(ledger: Ledger, message_id: str) -> bool:
    """Whether one recipient at least has the message.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with ledger.reading() as connection:
        return "sent" in outbox.states(connection, [message_id]).get(message_id, {}).values()


def told(ledger: Ledger) -> set[str]:
    """The messages of alarms that one recipient at least has.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    with ledger.reading() as connection:
        return _ids(connection, "sent")


def withdraw(ledger: Ledger, message_id: str) -> None:
    """Take a message back that nobody has got.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    with ledger.writing() as (connection, _):
        _withdraw(connection, {message_id})


def withdraw_others(ledger: Ledger, ids: Collection[str]) -> None:
    """Take all messages of alarms back that nobody has got, but these.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    with ledger.writing() as (connection, _):
        _withdraw(connection, _ids(connection, "waiting") - set(ids))


def note_away(ledger: Ledger, message: Message) -> None:
    """Put the message that the share cannot be used into the outbox, and remember it.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    with ledger.writing(durable=True) as (connection, _):
        outbox.put(connection, [message])
        connection.execute(
            "INSERT INTO settings (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (_AWAY, json.dumps([message.id, message.at.isoformat()])),
        )


def away(ledger: Ledger) -> tuple[str, str] | None:
    """The id and the time of the last such message, while its end was not told.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    kept = ledger.setting(_AWAY)
    if not kept:
        return None
    message_id, at = json.loads(kept)
    return str(message_id), str(at)


def note_back(ledger: Ledger, message: Message | None) -> None:
    """Put the message that it can be used again into the outbox, if it is to be told, and forget the trouble.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    with ledger.writing(durable=True) as (connection, _):
        outbox.put(connection, [] if message is None else [message])
        connection.execute("DELETE FROM settings WHERE key = ?", (_AWAY,))


def _ids(connection: sqlite3.Connection, state: str) -> set[str]:
    rows = connection.execute(
        "SELECT DISTINCT message_id FROM deliveries WHERE state = ? AND message_id LIKE ?", (state, f"{PREFIX}%")
    )
    return {str(message_id) for (message_id,) in rows}


def _withdraw(connection: sqlite3.Connection, ids: Collection[str]) -> None:
    for message_id in ids:
        if "sent" in outbox.states(connection, [message_id]).get(message_id, {}).values():
            continue
        connection.execute("DELETE FROM deliveries WHERE message_id = ?", (message_id,))
        connection.execute("DELETE FROM outbox WHERE message_id = ?", (message_id,))

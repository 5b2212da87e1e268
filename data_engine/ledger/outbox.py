"""Keep messages to people in the ledger until each recipient has got them: put in a caller's commit, tried with growing pauses.

A delivery is one message for one recipient. It waits until the notifier has answered that it is sent; after a day of tries
it is given up. Both stay to be seen. What waits is bounded: the oldest is given up for what is new.

Each function raises `LedgerError` where the ledger cannot be used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from data_engine.ledger.ledger import Ledger
from data_engine.ledger.rows import restored, storable
from data_engine.message import Message, Undelivered, clean
from data_engine.model import utc_text
from data_engine.record import frozen

FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 3600.0
TRIED_FOR_S = 24 * 3600.0
LEAST_TRIES = 12
"""A machine that slept for a day has not tried for a day."""

MOST_WAITING = 1000
MOST_WAITING_BYTES = 4 * 1024**2
KEPT_S = 7 * 24 * 3600.0
"""How long messages are remembered that were sent or given up."""

_IS_OVER = (
    "EXISTS (SELECT 1 FROM troubles WHERE troubles.message_id = outbox.message_id) AND NOT EXISTS (SELECT 1 FROM troubles"
    " WHERE troubles.message_id = outbox.message_id AND recovered_at_utc IS NULL)"
)
"""Whether all troubles that the message tells of have ended."""

_LONGEST_ERROR = 500
_MOST_ENDED = 2000


@frozen
class Delivery:
    """A message that is to go to one recipient now; `tries` is how often that was tried before."""

    message_id: str
    to: str
    tries: int = 0


@frozen
class MessageBody:
    """The content of a message for a notifier; `has_it` are marks of those behind the recipient's address that have it already,
    `attachment` is the path of a page that goes with it."""

    kind: str
    subject: str
    text: str
    html: str
    has_it: tuple[str, ...] = ()
    attachment: str | None = None


def next_try_s(tries: int, put_s: float, now_s: float) -> float | None:
    """The time of the next try after `tries` failures, the last of them now; None to give up.

    Example:
        >>> [next_try_s(tries, 0.0, 0.0) for tries in (1, 2, 3, 20)]
        [10.0, 20.0, 40.0, 3600.0]
        >>> next_try_s(40, 0.0, 86_400.0), next_try_s(3, 0.0, 90_000.0)
        (None, 90040.0)
    """
    if now_s - put_s >= TRIED_FOR_S and tries >= LEAST_TRIES:
        return None
    return now_s + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(tries - 1, 20))


def put(connection: sqlite3.Connection, messages: Iterable[Message]) -> int:
    """Keep messages for their recipients, inside a transaction of the caller's; returns how many were new.

    A message whose id is known already is put once: only recipients it did not have are added. Without recipients it is not kept.
    """
    new_count = sum(_put(connection, message) for message in messages if message.to)
    if new_count:
        _make_room(connection)
    return new_count


def due(ledger: Ledger, now_s: float) -> list[Delivery]:
    """The deliveries to try now: first those never tried, then those tried longest ago."""
    # A next try later than any pause was written before the clock was set back.
    rows = ledger.rows(
        "SELECT message_id, recipient, tries FROM deliveries WHERE state = 'waiting'"
        " AND (next_try_utc <= ? OR next_try_utc > ?) ORDER BY tried_utc IS NOT NULL, tried_utc, put_utc",
        *(utc_text(now_s), utc_text(now_s + 2 * LONGEST_PAUSE_S)),
    )
    return [Delivery(message_id, restored(to), tries) for message_id, to, tries in rows]


def next_due_s(ledger: Ledger, now_s: float) -> float | None:
    """The time of the next delivery that is not due yet; None when there is none."""
    ((at_utc,),) = ledger.rows(
        "SELECT min(next_try_utc) FROM deliveries WHERE state = 'waiting' AND next_try_utc > ?", utc_text(now_s)
    )
    return None if at_utc is None else datetime.fromisoformat(at_utc).timestamp()


def body(ledger: Ledger, message_id: str, to: str) -> MessageBody | None:
    """The content of the message for this recipient; None when it is gone."""
    rows = ledger.rows(
        "SELECT kind, subject, body_text, body_html, has_it, attachment FROM outbox JOIN deliveries USING (message_id)"
        " WHERE message_id = ? AND recipient = ?",
        *(message_id, to),
    )
    bodies = (
        MessageBody(kind, subject, text, html, tuple(has_it.split()), path and restored(path))
        for kind, subject, text, html, has_it, path in rows
    )
    return next(bodies, None)


def sent(ledger: Ledger, message_id: str, to: str, at_s: float) -> None:
    """Record that the recipient has the message: it is never tried again. All else that waits for this recipient is due now."""
    at_utc = utc_text(at_s)
    with ledger.writing(durable=True) as (connection, _):
        connection.execute(
            "UPDATE deliveries SET state = 'sent', tries = tries + 1, next_try_utc = NULL, tried_utc = ?1, answered_utc = ?1,"
            " last_error = NULL WHERE message_id = ?2 AND recipient = ?3",
            storable((at_utc, message_id, to)),
        )
        _hurry(connection, to, at_utc)
        _forget(connection, message_id, at_s)


def hurry(ledger: Ledger, to: str, at_s: float) -> int:
    """Make all that waits for the recipient due now, because its address works again; returns how many messages."""
    with ledger.writing() as (connection, _):
        return _hurry(connection, to, utc_text(at_s))


def failed(
    ledger: Ledger, message_ids: Sequence[str], to: str, at_s: float, error: str, has_it: Sequence[str] = ()
) -> None:
    """Record that the first of these could not be sent, so that the others were not tried; and when to try each again.

    That is later each time, and after a day never. `has_it` are marks of those behind the address that did get the first.
    """
    text = clean(error, _LONGEST_ERROR)
    with ledger.writing() as (connection, _):
        for number, message_id in enumerate(message_ids):
            row = connection.execute(
                "SELECT tries, put_utc FROM deliveries WHERE message_id = ? AND recipient = ? AND state = 'waiting'",
                storable((message_id, to)),
            ).fetchone()
            if row is None:
                continue
            tries, put_utc = row
            again_s = next_try_s(tries + 1, datetime.fromisoformat(put_utc).timestamp(), at_s)
            again_utc = None if again_s is None else utc_text(again_s)
            connection.execute(
                "UPDATE deliveries SET tries = tries + 1, tried_utc = coalesce(?, tried_utc), last_error = ?, next_try_utc = ?,"
                " state = ?, has_it = trim(has_it || ' ' || ?) WHERE message_id = ? AND recipient = ?",
                (
                    *(utc_text(at_s) if number == 0 else None, text, again_utc),
                    *(
                        "given_up" if again_s is None else "waiting",
                        "" if number else " ".join(has_it),
                        message_id,
                        storable(to),
                    ),
                ),
            )
            if again_s is None:
                _forget(connection, message_id, at_s)


def tried(ledger: Ledger) -> set[str]:
    """The recipients for whom a message waits that was tried without success."""
    rows = ledger.rows("SELECT DISTINCT recipient FROM deliveries WHERE state = 'waiting' AND tries > 0")
    return {restored(to) for (to,) in rows}


def give_up(ledger: Ledger, to: str, at_s: float, why: str) -> int:
    """Give up the messages to this recipient that were tried without success, as people want it; returns how many.

    Only `history` tells of them then.
    """
    with ledger.writing() as (connection, _):
        rows = connection.execute(
            "UPDATE deliveries SET state = 'given_up', next_try_utc = NULL, last_error = ?, answered_utc = ?"
            " WHERE recipient = ? AND state = 'waiting' AND tries > 0 RETURNING message_id",
            storable((clean(why, _LONGEST_ERROR), utc_text(at_s), to)),
        ).fetchall()
        for (message_id,) in rows:
            _forget(connection, message_id, at_s)
    return len(rows)


def undelivered(ledger: Ledger, limit: int = 100) -> list[Undelivered]:
    """The messages that recipients have not got, the newest first: those that wait, and those given up that no person has seen.

    What was given up is left out when its troubles are over.
    """
    given_up = f"state = 'given_up' AND answered_utc IS NULL AND kind != 'recovered' AND NOT ({_IS_OVER})"
    return _newest(ledger, f"state = 'waiting' OR ({given_up})", limit)


def history(ledger: Ledger, limit: int = 100) -> list[Undelivered]:
    """The newest messages, each for each recipient, the newest first: also what was sent, and what was given up, of the last week."""
    return _newest(ledger, "TRUE", limit)


def are_shown(ledger: Ledger, shown: Iterable[Undelivered], at_s: float) -> None:
    """Record that a person has seen these: `undelivered` leaves out those that are given up."""
    with ledger.writing() as (connection, _):
        connection.executemany(
            "UPDATE deliveries SET answered_utc = ? WHERE message_id = ? AND recipient = ? AND state = 'given_up'",
            [storable((utc_text(at_s), delivery.message_id, delivery.to)) for delivery in shown],
        )


def _newest(ledger: Ledger, which: str, limit: int) -> list[Undelivered]:
    """The newest deliveries for which the SQL condition holds."""
    rows = ledger.rows(
        "SELECT message_id, recipient, state, kind, flow_name, subject, put_utc, tries, last_error, next_try_utc"
        f" FROM deliveries JOIN outbox USING (message_id) WHERE {which} ORDER BY put_utc DESC, recipient LIMIT ?",
        limit,
    )
    return [
        Undelivered(message_id, restored(to), state, kind, flow and restored(flow), *rest)
        for message_id, to, state, kind, flow, *rest in rows
    ]


def is_sent(connection: sqlite3.Connection, message_id: str) -> bool:
    """Whether one recipient at least has the message."""
    query = "SELECT 1 FROM deliveries WHERE message_id = ? AND state = 'sent' LIMIT 1"
    return connection.execute(query, (message_id,)).fetchone() is not None


def _put(connection: sqlite3.Connection, message: Message) -> int:
    text, html = storable((message.text, message.html))
    now_utc = utc_text(message.at.astimezone(UTC).timestamp())
    is_new = connection.execute(
        "INSERT INTO outbox (message_id, kind, flow_name, subject, body_text, body_html, attachment, size_bytes, at_utc)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        storable(
            (
                *(message.id, message.kind, message.flow, message.subject, text, html),
                *(message.attachment, _size(text, html), now_utc),
            )
        ),
    ).rowcount
    added = 0
    for to in message.to:
        added += connection.execute(
            "INSERT INTO deliveries (message_id, recipient, state, put_utc, next_try_utc) VALUES (?, ?, 'waiting', ?, ?)"
            " ON CONFLICT DO NOTHING",
            storable((message.id, to, now_utc, now_utc)),
        ).rowcount
    if added and not is_new:  # what has ended has no text any more
        connection.execute(
            "UPDATE outbox SET body_text = ?, body_html = ?, size_bytes = ? WHERE message_id = ?",
            (text, html, _size(text, html), message.id),
        )
    return is_new


def _size(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)


def _hurry(connection: sqlite3.Connection, to: str, at_utc: str) -> int:
    return connection.execute(
        "UPDATE deliveries SET next_try_utc = ?1 WHERE recipient = ?2 AND state = 'waiting' AND tries > 0 AND next_try_utc > ?1",
        storable((at_utc, to)),
    ).rowcount


def _make_room(connection: sqlite3.Connection) -> None:
    """Give up the oldest of what waits, where there is more than is kept."""
    rows = connection.execute(
        "SELECT message_id, size_bytes FROM outbox WHERE message_id IN"
        " (SELECT message_id FROM deliveries WHERE state = 'waiting') ORDER BY at_utc DESC, rowid DESC"
    ).fetchall()
    held, size = 0, 0
    for message_id, size_bytes in rows:
        held, size = held + 1, size + size_bytes
        if held > MOST_WAITING or (size > MOST_WAITING_BYTES and held > 1):
            connection.execute(
                "UPDATE deliveries SET state = 'given_up', next_try_utc = NULL, last_error = ?"
                " WHERE message_id = ? AND state = 'waiting'",
                ("too many messages waited: this one was dropped for newer ones", message_id),
            )
            _drop_text(connection, message_id)


def _forget(connection: sqlite3.Connection, message_id: str, now_s: float) -> None:
    """Keep no text of what has ended for all its recipients, and nothing of what ended long ago."""
    _drop_text(connection, message_id)
    connection.execute(
        "DELETE FROM outbox WHERE message_id NOT IN (SELECT message_id FROM deliveries WHERE state = 'waiting')"
        " AND (at_utc < ? OR rowid NOT IN (SELECT rowid FROM outbox ORDER BY at_utc DESC, rowid DESC LIMIT ?))",
        (utc_text(now_s - KEPT_S), MOST_WAITING + _MOST_ENDED),
    )
    connection.execute("DELETE FROM deliveries WHERE message_id NOT IN (SELECT message_id FROM outbox)")


def _drop_text(connection: sqlite3.Connection, message_id: str) -> None:
    connection.execute(
        "UPDATE outbox SET body_text = '', body_html = '', size_bytes = 0 WHERE message_id = ?1"
        " AND NOT EXISTS (SELECT 1 FROM deliveries WHERE message_id = ?1 AND state = 'waiting')",
        (message_id,),
    )

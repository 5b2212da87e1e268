"""A message to try whether people are reached: to each recipient by a channel of its own, all at once, and what became of each."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from data_engine.daemon.channel import Channel, try_it
from data_engine.errors import FlowValidationError
from data_engine.formatting import typed
from data_engine.ledger.outbox import Body
from data_engine.message import Message, Notice, message
from data_engine.record import Record, frozen

_AT_ONCE = 4


@frozen
class Tried(Record):
    """What became of a message to one recipient; `what` and `fix` say why it was not sent. `service` is what its address leads to."""

    to: str = ""
    sent: bool = False
    service: str | None = None
    what: str | None = None
    fix: str | None = None
    took_s: float = 0.0


def trial_message(sender: str, to: Sequence[str]) -> Message:
    """What is sent; `sender` says where it is from."""
    text = "This is a test: Data Engine can tell you when a flow of this workspace needs attention."
    return message(
        "test",
        f"Test message from {sender}",
        [Notice(text, fix="nothing")],
        id=uuid.uuid4().hex,
        to=to,
        at=datetime.now(UTC),
        sender=sender,
    )


def try_all(told: Message, open_channel: Callable[[str], Channel] = Channel) -> list[Tried]:
    """Send the message to all its recipients, each by itself; in their order."""

    def send(to: str) -> Tried:
        began_s = time.monotonic()
        service = None
        try:
            with open_channel(to) as channel:
                service = channel.service
                channel.send(told.id, Body(told.kind, told.subject, told.text, told.html))
        except FlowValidationError as error:
            fix = _another_address(to) if error.fix == try_it(to) else error.fix  # which is what is done here
            return Tried(to, False, service, error.what, fix, time.monotonic() - began_s)
        return Tried(to, True, service, took_s=time.monotonic() - began_s)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(send, told.to))


def _another_address(to: str) -> str:
    return f"check the server, and the address: `{typed('secret', 'set', to)}` sets another address"


def look_at(to: str, open_channel: Callable[[str], Channel] = Channel) -> str:
    """What the recipient's address leads to, such as "E-Mail"; nothing is sent.

    Raises:
        NotSentError: there is no such secret, its address cannot be used, or Apprise is not installed.
    """
    with open_channel(to) as channel:
        return channel.service

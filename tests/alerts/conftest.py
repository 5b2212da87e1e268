"""A mail server, a webhook and a ledger, each test's own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from data_engine.ledger.ledger import Ledger
from data_engine.message import Message, Notice, message
from tests.alerts.servers import Mailbox, Webhook, mail_server, webhook

AT_S = 1_700_000_000.0


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server that wants a login."""
    with mail_server() as found:
        yield found


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """A webhook that takes everything."""
    with webhook() as found:
        yield found


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger.open(tmp_path / "runtime" / "ledger.sqlite") as opened:
        yield opened


def told(id: str = "3fa2", *to: str, at_s: float = AT_S, error: str = "KeyError: 'amount'") -> Message:
    """A message about a flow that failed."""
    notice = Notice(
        "The flow claims failed.",
        flow="claims",
        source="in/monday.csv",
        step="Read",
        cell="claims.ipynb, cell 3, line 2",
        error=error,
        since="10:02",
        fix="data-engine retry claims",
    )
    return message(
        "failed",
        "claims failed",
        [notice],
        id=id,
        to=to or ("ops",),
        at=datetime.fromtimestamp(at_s, UTC),
        sender="sales on ws-7",
        flow="claims",
    )


def waiting(ledger: Ledger) -> int:
    """How many deliveries are still tried."""
    with ledger.reading() as connection:
        return int(connection.execute("SELECT count(*) FROM deliveries WHERE state = 'waiting'").fetchone()[0])

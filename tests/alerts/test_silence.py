"""What a daemon keeps in its outbox of silent owners and of a share it cannot use."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data_engine.daemon.notifier import Notifier
from data_engine.daemon.ownership import AlarmTeller
from data_engine.engine.local_workspace import local_workspace
from data_engine.lease.alarms import Alarm
from data_engine.ledger import deployments, outbox, troubles
from data_engine.ledger.troubles import Trouble, TroubleKey
from data_engine.model import Deployment
from tests.support import WorkspaceFiles

ALARM = Alarm(42, "9f3c", "EVE-PC", True, "2026-01-05T03:12:00+00:00")


@pytest.fixture
def team(tmp_path: Path) -> WorkspaceFiles:
    return WorkspaceFiles(tmp_path / "team", '[alerts]\nto = ["ops", "boss"]\n')


def teller_of(team: WorkspaceFiles, *secrets: str) -> AlarmTeller:
    """One on a machine that has these secrets."""
    teller = AlarmTeller(local_workspace(team.root), has=lambda name: name in secrets)
    teller.look_for_secrets()
    return teller


def kept(team: WorkspaceFiles) -> list[tuple[str, ...]]:
    """Kind, recipient, state and subject of what is in the outbox."""
    with closing(sqlite3.connect(local_workspace(team.root).local.ledger_path)) as connection:
        text = "SELECT kind, recipient, state, subject FROM deliveries JOIN outbox USING (message_id) ORDER BY kind, recipient"
        return connection.execute(text).fetchall()


def test_a_message_is_kept_for_whom_this_machine_reaches(team: WorkspaceFiles) -> None:
    """Once, whoever tells it again; it says who is silent and what to do."""
    teller = teller_of(team, "ops")
    teller.tell(ALARM)
    teller.tell(ALARM)

    assert kept(team) == [
        ("silent_owner", "ops", "waiting", "EVE-PC, which owns the workspace team, has fallen silent")
    ]
    body = outbox.body(local_workspace(team.root).ledger(), teller.id_of(ALARM), "ops")
    assert body is not None
    assert "its engine was on" in body.text
    assert "data-engine lease take-over" in body.text
    assert (teller.is_whole(), teller_of(team, "ops", "boss").is_whole()) == (False, True)


def test_a_machine_that_was_shut_down_is_told_as_such(team: WorkspaceFiles) -> None:
    """Nobody is to be relieved: whoever starts the engine elsewhere owns the workspace."""
    teller = teller_of(team, "ops")
    teller.tell(replace(ALARM, has_ended=True))

    assert kept(team) == [("silent_owner", "ops", "waiting", "nobody owns the workspace team: EVE-PC has ended")]
    body = outbox.body(local_workspace(team.root).ledger(), teller.id_of(ALARM), "ops")
    assert body is not None
    assert "`data-engine start` runs the engine there" in body.text
    assert "take-over" not in body.text


def test_the_message_names_the_flows_that_were_in_trouble(team: WorkspaceFiles) -> None:
    """What the owner had still to send when it fell silent is sent by nobody else: so people know where to look. Times are the workspace's."""
    team.source("config/data_engine.toml", 'timezone = "Europe/Berlin"')
    ledger = local_workspace(team.root).ledger()
    rows = (("claims", None, False), ("good", "2026-01-05T03:00:00+00:00", True), ("withdrawn", None, False))
    with ledger.writing() as (connection, rev):
        since_utc = "2026-01-05T02:00:00+00:00"
        known = [
            Trouble(TroubleKey(flow, "failed"), since_utc, recovered_at_utc=over, is_closed=closed)
            for flow, over, closed in rows
        ]
        troubles.put(connection, rev, known)
    at_utc = "2026-01-01T00:00:00+00:00"
    deployments.add(ledger, [Deployment(flow, 0, flow, "deploy", "5f0c", at_utc=at_utc) for flow in ("claims", "good")])
    teller = teller_of(team, "ops")
    teller.tell(ALARM)

    body = outbox.body(ledger, teller.id_of(ALARM), "ops")
    assert body is not None
    assert "in trouble when it was last heard of: claims\n" in body.text
    assert "Since: 2026-01-05 04:12:00 CET (noticed)\n" in body.text


def test_a_machine_without_the_secrets_tells_nobody(team: WorkspaceFiles) -> None:
    """What is wanted and what can be done are one answer."""
    assert (teller_of(team).kinds(), "silent_owner" in teller_of(team, "boss").kinds()) == ((), True)


def test_the_id_is_the_same_on_every_machine(team: WorkspaceFiles) -> None:
    """And another one for each silence."""
    one, two = teller_of(team, "ops"), teller_of(team, "boss")

    assert one.id_of(ALARM) == two.id_of(ALARM)
    assert one.id_of(ALARM) != one.id_of(Alarm(43, "9f3c"))


def test_what_nobody_has_can_be_taken_back(team: WorkspaceFiles) -> None:
    """What somebody has stays, and may be sent to the others without a claim, also after a restart."""
    teller = teller_of(team, "ops", "boss")
    teller.tell(ALARM)
    message_id = teller.id_of(ALARM)
    assert (teller.is_free("3fa2"), teller.is_free(message_id), teller.is_told(ALARM)) == (True, False, False)
    assert teller_of(team).kept() == ALARM

    teller.end(ALARM, "BEN-PC owns the workspace now")
    assert (kept(team), teller_of(team).kept()) == ([], None)

    teller.tell(ALARM)
    outbox.sent(local_workspace(team.root).ledger(), message_id, "ops", 1.0)
    assert teller.is_told(ALARM)
    teller.end(ALARM)
    assert [row[1:3] for row in kept(team)] == [("boss", "waiting"), ("ops", "sent")]
    assert (teller.is_free(message_id), teller_of(team, "ops").is_free(message_id)) == (True, True)


def test_the_end_is_told_to_whom_was_told_of_the_silence(team: WorkspaceFiles) -> None:
    """In a message of its own, which needs no claim."""
    teller = teller_of(team, "ops")
    teller.tell(ALARM)
    outbox.sent(local_workspace(team.root).ledger(), teller.id_of(ALARM), "ops", 1.0)

    teller.end(ALARM, "BEN-PC owns the workspace now")

    assert kept(team)[0] == (
        *("recovered", "ops", "waiting"),
        "the workspace team has a working owner again: BEN-PC owns the workspace now",
    )
    (due,) = outbox.due(local_workspace(team.root).ledger(), time.time() + 1)
    assert teller.is_free(due.message_id)


def test_a_share_that_is_away_is_told_until_it_is_back(team: WorkspaceFiles) -> None:
    """A restart remembers it; its end is a message of its own, once."""
    teller_of(team, "ops").tell_away("Host is down")
    again = teller_of(team, "ops")
    assert again.is_away_told()

    again.tell_back()
    again.tell_back()

    assert [row[0] for row in kept(team)] == ["recovered", "unreachable"]
    assert not again.is_away_told()


def test_what_may_not_be_sent_now_waits_without_a_try(team: WorkspaceFiles) -> None:
    """The notifier asks right before it sends."""
    teller = teller_of(team, "ops")
    teller.tell(ALARM)
    opened: list[str] = []
    ledger = local_workspace(team.root).ledger()

    def open_channel(to: str) -> Channel:
        opened.append(to)
        return Channel()

    gate: Any = SimpleNamespace(may_send=teller.is_free)
    notifier = Notifier(ledger, lambda: None, gate, open_channel=open_channel)
    notifier._look()
    notifier.close()

    assert opened == []
    assert [one.tries for one in outbox.undelivered(ledger)] == [0]


class Channel:
    """One that takes everything."""

    def send(self, message_id: str, body: outbox.Body) -> None: ...
    def end(self) -> None: ...
    def close(self) -> None: ...

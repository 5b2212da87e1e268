"""What a daemon keeps in its outbox of silent owners and of a share it cannot use."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from data_engine.daemon.silence import AlarmOutbox
from data_engine.engine.local_workspace import local_workspace
from data_engine.lease.alarms import Alarm
from data_engine.ledger import deployments, outbox, troubles
from data_engine.ledger.troubles import TroubleKey, TroubleRecord
from data_engine.model import Deployment
from tests.support import WorkspaceFiles

ALARM = Alarm(42, "9f3c", "EVE-PC", True, "2026-01-05T03:12:00+00:00")


@pytest.fixture
def team(tmp_path: Path) -> WorkspaceFiles:
    return WorkspaceFiles(tmp_path / "team", '[alerts]\nto = ["ops", "boss"]\n')


def messages_of(team: WorkspaceFiles, *secrets: str) -> AlarmOutbox:
    """One on a machine that has these secrets."""
    messages = AlarmOutbox(local_workspace(team.root), has=lambda name: name in secrets)
    messages.look_for_secrets()
    return messages


def kept(team: WorkspaceFiles) -> list[tuple[str, ...]]:
    """Kind, recipient, state and subject of what is in the outbox."""
    with closing(sqlite3.connect(local_workspace(team.root).local.ledger_path)) as connection:
        text = "SELECT kind, recipient, state, subject FROM deliveries JOIN outbox USING (message_id) ORDER BY kind, recipient"
        return connection.execute(text).fetchall()


def test_a_message_is_kept_for_whom_this_machine_reaches(team: WorkspaceFiles) -> None:
    """Once, whoever tells it again; it says who is silent and what to do."""
    messages = messages_of(team, "ops")
    messages.put(ALARM)
    messages.put(ALARM)

    assert kept(team) == [
        ("silent_owner", "ops", "waiting", "EVE-PC, which owns the workspace team, has fallen silent")
    ]
    body = outbox.body(local_workspace(team.root).ledger(), messages.id_of(ALARM), "ops")
    assert body is not None
    assert "its engine was on" in body.text
    assert "data-engine lease take-over" in body.text
    assert (messages.is_whole(), messages_of(team, "ops", "boss").is_whole()) == (False, True)


def test_a_machine_that_was_shut_down_is_told_as_such(team: WorkspaceFiles) -> None:
    """Nobody is to be relieved: whoever starts the engine elsewhere owns the workspace."""
    messages = messages_of(team, "ops")
    messages.put(replace(ALARM, has_ended=True))

    assert kept(team) == [("silent_owner", "ops", "waiting", "nobody owns the workspace team: EVE-PC has ended")]
    body = outbox.body(local_workspace(team.root).ledger(), messages.id_of(ALARM), "ops")
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
            TroubleRecord(TroubleKey(flow, "failed"), since_utc, recovered_at_utc=over, is_closed=closed)
            for flow, over, closed in rows
        ]
        troubles.put(connection, rev, known)
    at_utc = "2026-01-01T00:00:00+00:00"
    deployments.add(ledger, [Deployment(flow, 0, flow, "deploy", "5f0c", at_utc=at_utc) for flow in ("claims", "good")])
    messages = messages_of(team, "ops")
    messages.put(ALARM)

    body = outbox.body(ledger, messages.id_of(ALARM), "ops")
    assert body is not None
    assert "in trouble when it was last heard of: claims\n" in body.text
    assert "Since: 2026-01-05 04:12:00 CET (noticed)\n" in body.text


def test_a_machine_without_the_secrets_tells_nobody(team: WorkspaceFiles) -> None:
    """What is wanted and what can be done are one answer."""
    assert (messages_of(team).kinds(), "silent_owner" in messages_of(team, "boss").kinds()) == ((), True)


def test_the_id_is_the_same_on_every_machine(team: WorkspaceFiles) -> None:
    """And another one for each silence."""
    one, two = messages_of(team, "ops"), messages_of(team, "boss")

    assert one.id_of(ALARM) == two.id_of(ALARM)
    assert one.id_of(ALARM) != one.id_of(Alarm(43, "9f3c"))


def test_what_nobody_has_can_be_taken_back(team: WorkspaceFiles) -> None:
    """What somebody has stays, and is sent to the others."""
    messages = messages_of(team, "ops", "boss")
    messages.put(ALARM)
    message_id = messages.id_of(ALARM)
    assert not messages.is_told(ALARM)
    assert messages_of(team).kept() == ALARM

    messages.end(ALARM, "BEN-PC owns the workspace now")
    assert (kept(team), messages_of(team).kept()) == ([], None)

    messages.put(ALARM)
    outbox.sent(local_workspace(team.root).ledger(), message_id, "ops", 1.0)
    assert messages.is_told(ALARM)
    messages.end(ALARM)
    assert [row[1:3] for row in kept(team)] == [("boss", "waiting"), ("ops", "sent")]


def test_the_end_is_told_to_whom_was_told_of_the_silence(team: WorkspaceFiles) -> None:
    """In a message of its own."""
    messages = messages_of(team, "ops")
    messages.put(ALARM)
    outbox.sent(local_workspace(team.root).ledger(), messages.id_of(ALARM), "ops", 1.0)

    messages.end(ALARM, "BEN-PC owns the workspace now")

    assert kept(team)[0] == (
        *("recovered", "ops", "waiting"),
        "the workspace team has a working owner again: BEN-PC owns the workspace now",
    )


def test_a_share_that_is_away_is_told_until_it_is_back(team: WorkspaceFiles) -> None:
    """A restart remembers it; its end is a message of its own, once."""
    messages_of(team, "ops").put_away("Host is down")
    again = messages_of(team, "ops")
    assert again.is_away_told()

    again.put_back()
    again.put_back()

    assert [row[0] for row in kept(team)] == ["recovered", "unreachable"]
    assert not again.is_away_told()

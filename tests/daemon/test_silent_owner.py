"""Three daemons on one folder, and the owner ends: people are told once, and once more when somebody owns again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.alerts.servers import Webhook, webhook
from tests.daemon.stations import SETTINGS, Make, Station, shared_workspace
from tests.support import end_now, until

HAND = """
from data_engine import Flow

def build():
    return Flow(group="Hand").step(lambda context: 1, label="one")
"""
STALE_S, POLL_S, HEARTBEAT_S = 4.0, 4.0 / 9, 0.5


@pytest.fixture
def team(tmp_path: Path) -> Path:
    root = shared_workspace(tmp_path / "team", hand=HAND)
    (root / "config" / "data_engine.toml").write_text(SETTINGS + '[alerts]\nto = ["ops"]\n')
    return root


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """A webhook that takes everything."""
    with webhook() as found:
        yield found


def messages(station: Station) -> list[tuple[str, str]]:
    """Kind and state of what is in its outbox."""
    with closing(sqlite3.connect(station.local.ledger_path)) as connection:
        return connection.execute(
            "SELECT kind, state FROM deliveries JOIN outbox USING (message_id) ORDER BY at_utc"
        ).fetchall()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("killed", "anna, which owns the workspace team, has fallen silent"),
        ("shut down", "nobody owns the workspace team: anna has ended"),
    ],
)
def test_one_message_in_one_outbox(team: Path, station: Make, hook: Webhook, how: str, words: str) -> None:
    """The owner dies, or ends in order with its engine on: after the threshold one of the two others tells; the end is told once as
    well."""
    anna, ben, cat = (station(name) for name in ("anna", "ben", "cat"))
    for one in (anna, ben, cat):
        one.knows("ops", hook.url())
    anna.start()
    for one in (ben, cat):
        one.start(engine=False)
    until(lambda: ben.lease["state"] == cat.lease["state"] == "owned")

    if how == "killed":
        end_now(anna.pid)
    else:
        anna.daemon.post("/shutdown")  # as the system asks it to
    killed_s = time.monotonic()
    alarms = team / ".workspace_state" / "alarms"
    until(lambda: alarms.is_dir() and list(alarms.iterdir()))
    assert time.monotonic() - killed_s > STALE_S - HEARTBEAT_S

    until(lambda: hook.posts)
    until(lambda: ("silent_owner", "sent") in [*messages(ben), *messages(cat)])
    time.sleep(3 * POLL_S)
    assert sorted([messages(ben), messages(cat)]) == [[], [("silent_owner", "sent")]]
    assert words in str(hook.posts)

    anna.end()  # it is gone; what is left of it is waited for
    anna.start()
    until(lambda: [kind for one in (anna, ben, cat) for kind, _ in messages(one)].count("recovered") == 1)
    until(lambda: len(hook.posts) == 2)
    time.sleep(3 * POLL_S)
    assert len(hook.posts) == 2

"""`data-engine alert test`, and what `status` and `doctor` say of recipients."""

from __future__ import annotations

import time

import pytest

from data_engine import Workspace
from data_engine.ledger import outbox
from data_engine.ledger.ledger import Ledger
from tests.alerts.conftest import told
from tests.alerts.servers import PASSWORD, mail_server, webhook
from tests.cli.conftest import Cli
from tests.support import WorkspaceFiles

SETTINGS = '[alerts]\nto = ["ops", "chat"]\n'
FLOW = """
    from data_engine import Flow

    def build():
        return Flow(group="G").watch(mode="manual").alert(to=["boss"], on=["failed"]).step(lambda context: 1)
"""


def test_everybody_is_sent_a_message_and_told_of_each(
    cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0 when all were reached, 1 when one was not; the same as JSON."""
    ws.source("config/data_engine.toml", SETTINGS)
    with mail_server() as mailbox, webhook() as hook:
        monkeypatch.setenv("DATA_ENGINE_SECRET_OPS", mailbox.url())
        monkeypatch.setenv("DATA_ENGINE_SECRET_CHAT", hook.url())
        good = cli("--workspace", ws.root, "alert", "test")
        hook.status = 500
        bad = cli("--workspace", ws.root, "alert", "test")
        as_json = cli("--workspace", ws.root, "alert", "test", "--json")

    assert good.code == 0, good
    assert "ops: sent (E-Mail" in good.out
    assert "chat: sent (JSON" in good.out
    assert "Test message from ws on" in str(mailbox.mails[0]["Subject"])
    assert (bad.code, as_json.code) == (1, 1)
    assert "ops: sent" in bad.out
    assert "chat: not sent:" in bad.err
    assert "500" in bad.err
    assert "alert test" not in bad.err  # that is what was done
    assert "data-engine secret set chat" in bad.err
    assert as_json.json["sent"] is False
    assert [(one["to"], one["sent"]) for one in as_json.json["recipients"]] == [("ops", True), ("chat", False)]
    assert PASSWORD not in "".join(f"{one.out}{one.err}" for one in (good, bad, as_json))


def test_one_recipient_can_be_tried_before_it_is_in_the_settings(
    cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the name of its secret; one that is not there is a wrong request."""
    with webhook() as hook:
        monkeypatch.setenv("DATA_ENGINE_SECRET_NEW", hook.url())
        answer = cli("--workspace", ws.root, "alert", "test", "new")
        wrong = cli("--workspace", ws.root, "alert", "test", "nobody")

    assert answer.code == 0
    assert len(hook.posts) == 1
    assert wrong.code == 2
    assert "data-engine secret set nobody" in wrong.err
    assert "where: data-engine alert test nobody" in wrong.err


def test_without_recipients_it_says_how_to_name_some(cli: Cli, ws: WorkspaceFiles) -> None:
    """And sends nothing."""
    answer = cli("--workspace", ws.root, "alert", "test")

    assert answer.code == 2
    assert "[alerts] to is empty" in answer.err
    assert "data-engine secret set ops" in answer.err


def test_the_status_tells_what_was_not_delivered_and_why(cli: Cli, ws: WorkspaceFiles) -> None:
    """To whom, why, how many, since when, and when it is tried again: in one line for each reason."""
    ledger_path = Workspace(ws.root).home.local.ledger_path
    now_s = time.time()
    with Ledger.open(ledger_path) as ledger:
        with ledger.writing() as (connection, _):
            outbox.put(connection, [told(str(number), at_s=now_s) for number in range(7)])
        outbox.failed(
            ledger, [str(number) for number in range(7)], "ops", now_s, "refused: 554 no such list" + 60 * " and so on"
        )

    answer = cli("--workspace", ws.root, "status")
    as_json = cli("--workspace", ws.root, "status", "--json")

    words = " ".join(answer.out.split())
    assert "warning: Alerts do not reach ops: refused: 554 no such list and so on" in words
    assert "…; 7 messages, the newest of" in words
    assert "(tried once, again at" in words
    assert words.count("Alerts do not reach") == 1
    assert max(map(len, answer.out.splitlines())) < 400
    assert len(as_json.json["undelivered"]) == 7
    assert as_json.json["undelivered"][0]["to"] == "ops"


def test_what_was_given_up_is_told_by_the_status_until_the_history_was_looked_at(cli: Cli, ws: WorkspaceFiles) -> None:
    """By a person, not as JSON; what was not listed is told on."""
    now_s = time.time()
    with Ledger.open(Workspace(ws.root).home.local.ledger_path) as ledger:
        with ledger.writing() as (connection, _):
            outbox.put(connection, [told(str(number), at_s=now_s - 2 * 86_400) for number in range(3)])
        for _ in range(outbox.LEAST_TRIES):
            outbox.failed(ledger, ["0", "1", "2"], "ops", now_s, "refused")

    def asked(*words: str) -> str:
        return cli("--workspace", ws.root, *words).out

    assert "data-engine alert history shows all that was not delivered" in asked("status")
    asked("alert", "history", "--json")
    assert "2 more were given up: --limit 3" in asked("alert", "history", "--limit", "1")
    assert "do not reach ops: refused; 2 messages" in asked("status")
    assert asked("alert", "history").count("given up") == 3
    assert "Alerts do not reach" not in asked("status")
    assert asked("alert", "history").count("given up") == 3


def test_doctor_checks_each_recipient_and_sends_nothing(
    cli: Cli, ws: WorkspaceFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That its secret is there and holds an address that can be used."""
    ws.module("claims", FLOW)
    ws.source("config/data_engine.toml", '[alerts]\nto = ["ops", "chat", "odd"]\n')
    with webhook() as hook:
        monkeypatch.setenv("DATA_ENGINE_SECRET_CHAT", hook.url())
        monkeypatch.setenv("DATA_ENGINE_SECRET_ODD", f"nosuch://{PASSWORD}")
        answer = cli("--workspace", ws.root, "doctor", "--json")

    found = {one["name"]: one for one in answer.json["findings"] if one["name"].startswith("alerts")}
    assert {name: one["ok"] for name, one in found.items()} == {
        "alerts to ops": False,
        "alerts to chat": True,
        "alerts to odd": False,
        "alerts to boss": False,
    }
    assert "data-engine secret set ops" in found["alerts to ops"]["fix"]
    assert hook.posts == []
    assert PASSWORD not in answer.out


def test_an_address_in_the_settings_is_refused_and_not_repeated(cli: Cli, ws: WorkspaceFiles) -> None:
    """The file is everybody's: the address belongs into a secret."""
    ws.source("config/data_engine.toml", f'[alerts]\nto = ["mailto://ann:{PASSWORD}@example.org"]\n')

    answer = cli("--workspace", ws.root, "alert", "test")

    assert answer.code == 2
    assert "not the name of a secret: it looks like an address" in answer.err
    assert PASSWORD not in f"{answer.out}{answer.err}"

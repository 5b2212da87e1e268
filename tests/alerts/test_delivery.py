"""A whole daemon delivers: what waits when it starts, over kills and restarts, and no secret is found anywhere afterwards."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import psutil
import pytest

from data_engine import Workspace
from data_engine.ledger import outbox
from data_engine.ledger.ledger import Ledger
from data_engine.message import Message
from data_engine.workspace.machine import state_root
from tests.alerts.conftest import told
from tests.alerts.servers import PASSWORD, Mailbox, Webhook, silent_server
from tests.daemon.test_secrets import stored_texts
from tests.support import WorkspaceFiles, end_now, until

MANUAL = """
    from data_engine import Flow

    def build():
        return Flow(group="G").watch(mode="manual").step(lambda context: 1)
"""


@pytest.fixture
def workspace(ws: WorkspaceFiles) -> Iterator[Workspace]:
    ws.module("quick", MANUAL)
    found = Workspace(ws.root)
    yield found
    found.kill()


def put(workspace: Workspace, *messages: Message) -> None:
    with Ledger.open(workspace.home.local.ledger_path) as ledger, ledger.writing() as (connection, _):
        outbox.put(connection, messages)


def daemon_pid(workspace: Workspace) -> int:
    pid = workspace.status().daemon.pid
    assert pid is not None
    return pid


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def waiting(workspace: Workspace) -> list[tuple[str, str, int]]:
    return [(one.message_id, one.to, one.tries) for one in workspace.status().undelivered]


def test_what_waits_is_sent_by_the_daemon_and_told_until_then(
    workspace: Workspace, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The status tells it without a daemon too."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_OPS", mailbox.url())
    put(workspace, told("3fa2", at_s=time.time()))
    assert waiting(workspace) == [("3fa2", "ops", 0)]
    workspace.start()

    until(lambda: mailbox.mails)
    until(lambda: waiting(workspace) == [])
    assert len(mailbox.mails) == 1


def test_a_daemon_killed_between_the_call_and_its_record_sends_once_more_under_the_same_id(
    workspace: Workspace, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least once: and a second time only then."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_CHAT", hook.url())
    hook.answer_now.clear()
    put(workspace, told("3fa2", "chat", at_s=time.time()))
    workspace.start()
    until(lambda: hook.posts)
    pid = daemon_pid(workspace)
    senders = [one for one in psutil.Process(pid).children() if "notify_process" in " ".join(one.cmdline())]
    end_now(pid)
    until(lambda: is_gone(pid))
    until(lambda: all(is_gone(one.pid) for one in senders))
    hook.answer_now.set()
    assert len(senders) >= 1
    assert waiting(workspace) == [("3fa2", "chat", 0)]
    workspace.start()

    until(lambda: waiting(workspace) == [])
    assert hook.ids() == ["3fa2", "3fa2"]
    end_now(daemon_pid(workspace))
    workspace.start()
    time.sleep(2)
    assert hook.ids() == ["3fa2", "3fa2"]


def test_a_notifier_killed_between_the_call_and_its_answer_is_tried_again(
    ws: WorkspaceFiles, workspace: Workspace, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the first pause, under the same id; the daemon goes on."""
    ws.source("config/data_engine.toml", '[alerts]\nto = ["chat"]\n')
    monkeypatch.setenv("DATA_ENGINE_SECRET_CHAT", hook.url())
    hook.answer_now.clear()
    put(workspace, told("3fa2", "chat", at_s=time.time()))
    workspace.start()
    until(lambda: hook.posts)
    (sender,) = [
        one for one in psutil.Process(daemon_pid(workspace)).children() if "notify_process" in " ".join(one.cmdline())
    ]
    end_now(sender.pid)
    until(lambda: waiting(workspace) == [("3fa2", "chat", 1)])
    hook.answer_now.set()

    until(lambda: waiting(workspace) == [])
    assert hook.ids() == ["3fa2", "3fa2"]


def test_a_channel_that_hangs_holds_up_neither_runs_nor_other_channels(
    workspace: Workspace, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run beside it takes as long as without it, and another recipient is told at once."""
    with silent_server() as port:
        monkeypatch.setenv("DATA_ENGINE_SECRET_DEAD", f"json://127.0.0.1:{port}")
        monkeypatch.setenv("DATA_ENGINE_SECRET_CHAT", hook.url())
        put(workspace, told("1", "dead", "chat", at_s=time.time()))
        workspace.deploy("quick")
        workspace.start()
        until(lambda: hook.ids() == ["1"])
        began_s = time.monotonic()
        (run,) = workspace.run("quick")  # type: ignore[misc]
        took_s = time.monotonic() - began_s

        assert run.status == "success"  # type: ignore[union-attr]
        assert took_s < 15
        assert [one[1] for one in waiting(workspace)] == ["dead"]


def test_a_daemon_with_something_to_deliver_does_not_leave(
    ws: WorkspaceFiles, workspace: Workspace, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However idle it is: nobody else would deliver it."""
    ws.source("config/data_engine.toml", '[daemon]\nidle_exit = "1s"\n[alerts]\nto = ["ops"]\n')
    mailbox.refusal = "451 later"
    monkeypatch.setenv("DATA_ENGINE_SECRET_OPS", mailbox.url())
    put(workspace, told("3fa2", at_s=time.time()))
    workspace.start()
    pid = daemon_pid(workspace)
    until(lambda: waiting(workspace)[0][2] == 1)
    time.sleep(5)
    assert not is_gone(pid)
    assert mailbox.mails == []
    mailbox.refusal = None

    until(lambda: mailbox.mails)
    until(lambda: is_gone(pid))


def test_no_part_of_an_address_is_found_anywhere_afterwards(
    workspace: Workspace, mailbox: Mailbox, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A canary: refusals and successes, the status, and all that lies in the workspace and on this machine."""
    monkeypatch.setenv("DATA_ENGINE_SECRET_OPS", mailbox.url())
    monkeypatch.setenv("DATA_ENGINE_SECRET_CHAT", hook.url())
    monkeypatch.setenv("DATA_ENGINE_SECRET_WRONG", mailbox.url(password=f"{PASSWORD}-x"))
    monkeypatch.setenv("DATA_ENGINE_SECRET_GONE", f"json://127.0.0.1:1/{PASSWORD}")
    monkeypatch.setenv("DATA_ENGINE_SECRET_ODD", f"nosuch://{PASSWORD}@127.0.0.1/")
    hook.status = 500
    names = ("ops", "chat", "wrong", "gone", "odd")
    workspace.layout.settings_path.write_text(f"[alerts]\nto = {json.dumps(names)}\n")
    put(workspace, told("1", *names, at_s=time.time()))
    workspace.start()
    until(lambda: mailbox.mails and len(waiting(workspace)) == 4 and all(one[2] for one in waiting(workspace)))
    lines = [" ".join(one.cmdline()) for one in psutil.Process(daemon_pid(workspace)).children(recursive=True)]
    texts = [json.dumps(workspace.status().as_dict()), *lines]
    workspace.shutdown()
    until(lambda: not workspace.status().daemon.running)
    texts += [text for _, text in stored_texts(workspace.root, state_root())]

    assert any("message 1 was not sent to wrong" in text for text in texts)  # the log is among them
    assert [text[:200] for text in texts if PASSWORD in text] == []
    assert "failed" in json.dumps([one.as_dict() for one in workspace.status().undelivered])

"""Real processes send to real servers: mail, webhooks, and those that hang, refuse, answer 500 or answer late."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from data_engine import Flow
from data_engine.daemon import notifier as channels
from data_engine.daemon.notifier import Channel
from data_engine.daemon.notify_process import MOST_ATTACHED_BYTES, private_parts
from data_engine.errors import NotSentError
from data_engine.ledger.outbox import MessageBody
from data_engine.secret import forms_of, hidden
from tests.alerts.conftest import told
from tests.alerts.servers import PASSWORD, Mailbox, Webhook, free_port, silent_server
from tests.support import end_now, pause, until


def body(id: str = "3fa2") -> MessageBody:
    found = told(id)
    return MessageBody(found.kind, found.subject, found.text, found.html)


def give(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    monkeypatch.setenv(f"DATA_ENGINE_SECRET_{name.upper()}", url)


def test_a_mail_has_a_plain_and_an_html_part(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the id of its message, by which one that comes twice is known."""
    give(monkeypatch, "ops", mailbox.url())

    with Channel("ops") as channel:
        channel.send("3fa2", body())
        channel.send("3fa3", body("3fa3"))

    assert channel.service == "E-Mail"
    mail = mailbox.mails[0]
    assert "claims failed" in str(mail["Subject"])
    assert mail["X-Data-Engine-Message"] == "3fa2"
    assert mailbox.mails[1]["X-Data-Engine-Message"] == "3fa3"
    assert "team@example.org" in str(mail["To"])
    assert "Flow: claims<br>" in mailbox.part(0, "html")
    for part in (mailbox.part(0, "html").replace("&#x27;", "'"), mailbox.part(0, "plain")):
        assert "KeyError: 'amount'" in part
        assert "claims.ipynb, cell 3, line 2" in part
        assert "Message 3fa2" in part


def test_a_mail_brings_the_page_of_a_report(
    mailbox: Mailbox, hook: Webhook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it is, whoever reads it; and no other file leaves this machine, as a history of others may name one."""
    give(monkeypatch, "boss", mailbox.url())
    flow = Flow(group="G", name="delays").mirror(root=tmp_path).step(lambda context: "12 late", save_as="text")
    flow.report("text", title="Delays").run_once()
    page, other, large = tmp_path / "delays.html", tmp_path / "secret.html", tmp_path / "large.html"
    other.write_text("<p>private</p>")
    large.write_bytes(page.read_bytes() + b" " * MOST_ATTACHED_BYTES)

    with Channel("boss") as channel:
        for number, path in enumerate((page, other, large, tmp_path / "gone.html", tmp_path)):
            channel.send(f"3fa{number}", replace(body(f"3fa{number}"), kind="report", attachment=str(path)))

    first, *rest = mailbox.mails
    (attached,) = first.iter_attachments()
    assert (attached.get_filename(), attached.get_content_type()) == ("delays.html", "text/html")
    content = attached.get_content()
    assert (content.encode() if isinstance(content, str) else content) == page.read_bytes()
    assert [list(mail.iter_attachments()) for mail in rest] == [[], [], [], []]


def test_a_webhook_gets_plain_text(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands in the message."""
    give(monkeypatch, "chat", hook.url())

    with Channel("chat") as channel:
        channel.send("3fa2", body())

    (post,) = hook.posts
    assert post["title"] == "claims failed"
    assert post["message"].split() == told().text.split()
    assert hook.ids() == ["3fa2"]


def test_a_server_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, without the address."""
    give(monkeypatch, "chat", f"json://127.0.0.1:{free_port()}/{PASSWORD}")

    with Channel("chat") as channel, pytest.raises(NotSentError, match=r"refused|10061") as caught:
        channel.send("3fa2", body())

    assert PASSWORD not in str(caught.value)


def test_what_a_server_refuses_is_told(mailbox: Mailbox, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password, a mail that is not taken, and a 500 are words of theirs; the channel goes on."""
    give(monkeypatch, "wrong", mailbox.url(password="an0ther-pw-77"))
    give(monkeypatch, "ops", mailbox.url())
    give(monkeypatch, "chat", hook.url())
    hook.status, mailbox.refusal = 500, "554 no such list"

    with Channel("wrong") as channel, pytest.raises(NotSentError, match="535") as login:
        channel.send("1", body("1"))
    with Channel("ops") as channel:
        with pytest.raises(NotSentError, match=r"554.*no such list"):
            channel.send("1", body("1"))
        mailbox.refusal = None
        channel.send("1", body("1"))
    with Channel("chat") as channel:
        with pytest.raises(NotSentError, match="500"):
            channel.send("1", body("1"))
        hook.status = 200
        channel.send("1", body("1"))

    assert "an0ther-pw-77" not in str(login.value)
    assert len(mailbox.mails) == 1
    assert hook.ids() == ["1", "1"]


def test_of_several_behind_an_address_only_those_who_did_not_get_it_are_sent_to_again(
    mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recipient whose address is wrong does not make the others hear the same once more, for a day."""
    give(monkeypatch, "ops", mailbox.url(to="anna@example.org,gone@example.org,ben@example.org"))
    mailbox.refuses = {"gone@example.org"}

    with Channel("ops") as channel:
        with pytest.raises(NotSentError, match=r"gone|\*\*\*") as caught:
            channel.send("1", body("1"))
        assert len(caught.value.has_it) == 2
        mailbox.refuses = set()
        channel.send("1", replace(body("1"), has_it=caught.value.has_it))

    assert [mail["To"].addresses[0].addr_spec for mail in mailbox.mails] == [
        "anna@example.org",
        "ben@example.org",
        "gone@example.org",
    ]


def test_a_server_that_answers_late_has_it_once(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later than Apprise waits by itself, which would take it for lost and send it again."""
    give(monkeypatch, "chat", hook.url())
    hook.delay_s = 6.0

    with Channel("chat") as channel:
        channel.send("1", body("1"))

    assert hook.ids() == ["1"]


def test_a_server_that_hangs_costs_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is ended, and the channel is none any more."""
    with silent_server() as port:
        give(monkeypatch, "chat", f"json://127.0.0.1:{port}/")
        began_s = time.monotonic()
        channel = Channel("chat", send_limit_s=1.0)
        with pytest.raises(NotSentError, match="no answer within 1 s"):
            channel.send("1", body("1"))

    assert time.monotonic() - began_s < 20
    assert not channel.is_open
    channel.close()
    assert not channel._process.is_there


def test_a_process_that_reads_nothing_costs_its_limit(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is larger than its pipe is waited for as long as any answer."""
    give(monkeypatch, "chat", hook.url())
    channel = Channel("chat", send_limit_s=1.0)
    pause(channel._process.pid)
    began_s = time.monotonic()
    with pytest.raises(NotSentError, match="no answer within 1 s"):
        channel.send("1", replace(body("1"), text="x" * 1_000_000))

    assert time.monotonic() - began_s < 20
    channel.close()


def test_a_process_that_is_killed_is_told(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the call and its answer: nobody knows whether it was taken."""
    give(monkeypatch, "chat", hook.url())
    hook.answer_now.clear()
    with Channel("chat") as channel:
        import threading

        killing = threading.Thread(target=lambda: until(lambda: hook.posts) and end_now(channel._process.pid))
        killing.start()
        with pytest.raises(NotSentError, match="its process ended"):
            channel.send("1", body("1"))
        killing.join()
        assert not channel.is_open


@pytest.mark.parametrize(
    "url",
    [
        "no address at all",
        "unknownscheme://somewhere",
        "mailto://127.0.0.1:2525",
        "anna@firma.example",
        "mailtos://anna@firma.example:pa55word@mail.firma.example?to=a@b.example",
        "https://hook.firma.example/pa55word",
        "json://one.example json://two.example",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_address_is_refused_without_telling_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent, with the fix."""
    give(monkeypatch, "ops", url)

    with pytest.raises(NotSentError, match="holds no address that Apprise knows") as caught:
        Channel("ops")

    assert url not in str(caught.value)
    assert "data-engine secret set ops" in str(caught.value.fix)
    assert not any(part in f"{caught.value}{caught.value.fix}" for part in ("anna", "pa55word", "firma"))


FLOW = f"{'0123456789abcdef' * 2}/triggers/manual/paths/invoke?api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=pa55word"


@pytest.mark.parametrize(
    ("url", "service"),
    [
        (f"https://prod-12.westeurope.logic.azure.com:443/workflows/{FLOW}", "Teams"),
        (f"https://x.environment.api.powerplatform.com/powerautomate/automations/direct/workflows/{FLOW}", "Teams"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack"),
        ("https://discord.com/api/webhooks/123456789012345678/abcDEF-ghi_jkl", "Discord"),
    ],
)
def test_the_address_that_a_service_shows_is_taken_as_it_is(
    url: str, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apprise is asked; only what it does not know is refused."""
    give(monkeypatch, "ops", url)
    with Channel("ops") as channel:
        assert service in channel.service


def test_a_secret_that_is_missing_is_named() -> None:
    """With the command that makes it."""
    with pytest.raises(NotSentError, match="'nobody' is not on this machine") as caught:
        Channel("nobody")

    assert "data-engine secret set nobody" in str(caught.value.fix)


def test_without_apprise_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has no need to tell anybody does not have it installed. What is no address is told in the same round."""
    (tmp_path / "apprise.py").write_text("raise ImportError('not here', name='apprise')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    give(monkeypatch, "ops", "json://127.0.0.1:9")
    give(monkeypatch, "ann", "ann@firma.example")

    with pytest.raises(NotSentError, match="Apprise, which sends messages, is not installed") as caught:
        Channel("ops")
    with pytest.raises(NotSentError, match="is not installed, and the secret 'ann' holds no address") as both:
        Channel("ann")

    assert caught.value.fix == "pip install 'data-engine[alerts]'"
    assert str(both.value.fix).startswith("pip install 'data-engine[alerts]'; then data-engine secret set ann, with ")


def test_the_process_has_the_address_neither_in_its_arguments_nor_secrets_of_others(
    hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the variable that it reads, where the secret is kept in one."""
    give(monkeypatch, "chat", hook.url())
    give(monkeypatch, "dwh", "an0ther-pw-77")

    with Channel("chat") as channel:
        child = psutil.Process(channel._process.pid)
        processes = [child, *child.children(recursive=True)]
        lines = " ".join(" ".join(one.cmdline()) for one in processes)
        environments = " ".join(str(one.environ()) for one in processes)

    assert PASSWORD not in lines
    assert "an0ther-pw-77" not in environments


@pytest.mark.skipif(
    sys.platform == "darwin", reason="macOS has no signal at a parent's death; the process ends with its pipe"
)
def test_the_process_ends_with_whoever_has_started_it(hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that is killed leaves nobody behind who sends."""
    give(monkeypatch, "chat", hook.url())
    code = (
        "from data_engine.daemon.notifier import Channel\n"
        "channel = Channel('chat')\nprint(channel._process.pid, flush=True)\nimport time\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=dict(os.environ))
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    end_now(parent.pid)
    parent.wait()
    parent.stdout.close()

    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_whoever_sends_loads_apprise_and_nobody_else_does() -> None:
    """The daemon's modules import none of it."""
    code = "import sys, data_engine.daemon.daemon, data_engine.daemon.notifier\nprint('apprise' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("url", "said", "shown"),
    [
        (
            "mailto://ann:pass1@example.org?to=team-leads@example.org",
            "ann pass1 to team-leads@example.org",
            "*** *** to ***",
        ),
        ("json://hook.example.org/T0KEN-4711", "GET hook.example.org/T0KEN-4711", "GET hook.example.org/***"),
        ("slack://TokenAAAA/TokenBBBB/TokenCCCC/#general", "POST /TokenAAAA/TokenBBBB #general", "POST /***/*** ***"),
        ("slack://TokenDDDD/TokenEEEE/TokenFFFF/@leads", "POST /TokenDDDD/TokenEEEE to leads", "POST /***/*** to ***"),
        ("ntfy://topic-of-ours", "404 for topic-of-ours", "404 for ***"),
        ("tgram://123456789:abcdefg_hijklmnop/98765", "bot123456789:abcdefg_hijklmnop said no", "bot*** said no"),
    ],
)
def test_parts_of_an_address_are_hidden(url: str, said: str, shown: str) -> None:
    """Passwords, tokens, topics, recipients; a server's name is told."""
    assert hidden(said, forms_of(*private_parts(url))) == shown


def test_no_limit_lets_a_start_hang(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A keyring that asks somebody who is not there is waited for so long, and no longer."""
    (tmp_path / "apprise.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    give(monkeypatch, "ops", "json://127.0.0.1:9")

    with pytest.raises(NotSentError, match=r"no answer within 1\.5 s"):
        Channel("ops", start_limit_s=1.5)

    assert channels.START_LIMIT_S > channels.SEND_LIMIT_S

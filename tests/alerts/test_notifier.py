"""The notifier's own decisions, with channels that do as the test says: who is sent to, what is recorded, who waits for whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from data_engine.daemon.notifier import Notifier
from data_engine.errors import LedgerError, NotSentError
from data_engine.ledger import outbox
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outbox import Delivery, MessageBody
from data_engine.status.sentences import told_once
from tests.alerts.conftest import AT_S, told, waiting
from tests.alerts.test_outbox import put
from tests.support import until


class Post:
    """Channels to everybody: what came, and how each recipient behaves."""

    def __init__(self) -> None:
        self.came: list[tuple[str, str]] = []
        self.refuses: set[str] = set()
        self.refuses_message: set[str] = set()
        self.hangs: set[str] = set()
        self.dies: set[str] = set()
        self.unknown: set[str] = set()
        self.at_once: list[int] = []
        self.let_go = threading.Event()

    def open(self, to: str) -> Any:
        if to in self.unknown:
            raise NotSentError("no such secret", fix=f"data-engine secret set {to}")
        return _Line(self, to)


class _Line:
    def __init__(self, post: Post, to: str) -> None:
        self._post, self._to = post, to
        self.is_open = True

    def send(self, message_id: str, body: MessageBody) -> None:
        assert body.text
        if self._to in self._post.hangs:
            self._post.let_go.wait(60)
        if self._to in self._post.dies:
            self.is_open = False
            raise NotSentError("its process ended (-9)")
        if self._to in self._post.refuses or message_id in self._post.refuses_message:
            raise NotSentError("refused")
        self._post.came.append((message_id, self._to))

    def end(self) -> None:
        self.is_open = False
        self._post.let_go.set()

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def make(ledger: Ledger, post: Post) -> Iterator[Callable[..., Notifier]]:
    """Makes a notifier at a time that stands still."""
    made = []

    def start(now: Callable[[], float] = lambda: AT_S) -> Notifier:
        made.append(Notifier(ledger, lambda: None, open_channel=post.open, now=now))
        made[-1].start()
        return made[-1]

    yield start
    post.let_go.set()
    for one in made:
        one.close()


def test_each_message_goes_to_each_of_its_recipients_once(
    ledger: Ledger, post: Post, make: Callable[..., Notifier]
) -> None:
    """In the order they were put, and nothing is left."""
    put(ledger, told("1", "ops", "anna"), told("2", "ops", at_s=AT_S - 1))
    make()

    until(lambda: len(post.came) == 3)
    until(lambda: not waiting(ledger))
    assert [message for message, to in post.came if to == "ops"] == ["2", "1"]
    assert [message for message, to in post.came if to == "anna"] == ["1"]
    assert outbox.undelivered(ledger) == []


def test_what_is_put_later_is_sent_when_it_wakes(ledger: Ledger, post: Post, make: Callable[..., Notifier]) -> None:
    """At once, not at the next look."""
    notifier = make()
    until(lambda: not notifier.is_waiting)
    put(ledger, told("1"))
    began_s = time.monotonic()
    notifier.wake()

    until(lambda: post.came)
    assert time.monotonic() - began_s < 5


def test_a_refusal_waits_with_its_reason_and_tries_the_others_of_that_recipient_later(
    ledger: Ledger, post: Post, make: Callable[..., Notifier]
) -> None:
    """One call tells that a channel is dead: its other messages are not thrown at it."""
    post.refuses.add("ops")
    calls = []
    original = _Line.send
    put(ledger, told("1"), told("2"), told("1", "anna"))
    post_send = lambda self, message_id, body: calls.append(self._to) or original(self, message_id, body)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Line, "send", post_send)
        make()
        until(lambda: post.came and len([one for one in outbox.undelivered(ledger) if one.error]) == 2)

    shown = outbox.undelivered(ledger)
    assert [
        (one.message_id, one.to, one.error, one.tries) for one in sorted(shown, key=lambda one: one.message_id)
    ] == [
        ("1", "ops", "refused", 1),
        ("2", "ops", "refused", 1),
    ]
    assert calls.count("ops") == 1
    assert post.came == [("1", "anna")]


def test_a_message_that_alone_is_refused_lets_the_others_pass(
    ledger: Ledger, post: Post, make: Callable[..., Notifier]
) -> None:
    """A channel that took one takes the next."""
    post.refuses_message.add("2")
    put(ledger, told("1"), told("2"), told("3"))
    make()

    until(lambda: len(post.came) == 2)
    until(lambda: [one.message_id for one in outbox.undelivered(ledger)] == ["2"])


def test_channels_that_hang_hold_up_no_other(ledger: Ledger, post: Post, make: Callable[..., Notifier]) -> None:
    """However many there are of them."""
    hanging = [f"dead{number}" for number in range(8)]
    post.hangs |= set(hanging)
    put(ledger, told("1", *hanging))
    notifier = make()
    until(lambda: len(notifier._channels) == len(hanging))
    put(ledger, told("2", "ops"))
    notifier.wake()

    until(lambda: ("2", "ops") in post.came)
    assert not post.let_go.is_set()


def test_a_process_that_dies_is_a_try_that_failed(ledger: Ledger, post: Post, make: Callable[..., Notifier]) -> None:
    """The message is tried again under its id; what was not tried is due at once."""
    post.dies.add("ops")
    put(ledger, told("1"))
    clock = [AT_S]
    notifier = make(lambda: clock[0])
    until(lambda: [one.error for one in outbox.undelivered(ledger)] == ["its process ended (-9)"])
    post.dies.clear()
    clock[0] += outbox.FIRST_PAUSE_S
    notifier.wake()

    until(lambda: post.came == [("1", "ops")])


def test_a_secret_that_is_missing_is_told_with_its_fix(
    ledger: Ledger, post: Post, make: Callable[..., Notifier]
) -> None:
    """The messages are kept."""
    post.unknown.add("ops")
    put(ledger, told("1"))
    make()

    until(lambda: [one.error for one in outbox.undelivered(ledger)] == ["no such secret; data-engine secret set ops"])
    assert waiting(ledger) == 1


def test_what_did_not_reach_somebody_who_is_named_no_more_is_given_up_and_told_no_more(
    ledger: Ledger, post: Post, make: Callable[..., Notifier]
) -> None:
    """Not before it was tried, and not while nobody can say who is named."""
    post.refuses |= {"ops", "anna"}
    put(ledger, told("1", "ops", "anna"), told("2", "ops"))
    notifier = make()
    until(lambda: all(one.tries for one in outbox.undelivered(ledger)))
    notifier.wake()
    until(lambda: not notifier._awake.is_set())
    assert waiting(ledger) == 3

    notifier.recipients = lambda: {"anna"}
    put(ledger, told("3", "ops"))
    notifier.wake()

    until(lambda: waiting(ledger) == 1)
    states = {(one.message_id, one.to): one for one in outbox.history(ledger)}
    assert states["1", "anna"].state == "waiting"
    assert [states[key, "ops"].next_try_utc for key in "123"] == [None, None, None]
    assert [(one.to, count) for one, count in told_once(outbox.undelivered(ledger))] == [("anna", 1)]
    assert "is not named any more" in (states["1", "ops"].error or "")


def test_what_was_sent_and_cannot_be_recorded_is_not_sent_again(
    ledger: Ledger, post: Post, make: Callable[..., Notifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is tried until it is written; the message is not due meanwhile for this notifier."""
    is_full = [True]
    original = outbox.sent

    def full_at_first(*given: Any) -> None:
        if is_full[0]:
            raise LedgerError("the disk is full")
        original(*given)

    monkeypatch.setattr(outbox, "sent", full_at_first)
    monkeypatch.setattr("data_engine.daemon.notifier._AGAIN_S", 0.05)
    put(ledger, told("1"))
    notifier = make()
    until(lambda: post.came)
    for _ in range(5):
        notifier.wake()
        time.sleep(0.05)
    assert waiting(ledger) == 1
    is_full[0] = False

    until(lambda: not waiting(ledger))
    assert post.came == [("1", "ops")]


def test_an_error_nobody_expected_ends_no_notifier(
    ledger: Ledger, post: Post, make: Callable[..., Notifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one of a look, nor a system that gives no thread just now: what waits is sent a moment later."""
    monkeypatch.setattr("data_engine.daemon.notifier._AGAIN_S", 0.05)
    errors = [RuntimeError("nobody expected it"), RuntimeError("can't start new thread")]
    due, start = outbox.due, threading.Thread.start

    def look(*given: Any) -> list[Delivery]:
        if len(errors) == 2:
            raise errors.pop(0)
        return due(*given)

    def begin(thread: threading.Thread) -> None:
        if errors and thread.name == "notifier of ops":
            raise errors.pop()
        start(thread)

    monkeypatch.setattr(outbox, "due", look)
    monkeypatch.setattr(threading.Thread, "start", begin)
    put(ledger, told("1"))
    make()

    until(lambda: post.came == [("1", "ops")])
    assert errors == []


def test_a_notifier_that_ends_waits_for_no_channel_that_hangs(
    ledger: Ledger, post: Post, make: Callable[..., Notifier], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was sending is not recorded as failed: nobody knows, and the next one tries again."""
    monkeypatch.setattr("data_engine.daemon.notifier._END_WITHIN_S", 0.3)
    post.hangs.add("ops")
    post.dies.add("ops")
    put(ledger, told("1"), told("2"))
    notifier = make()
    until(lambda: notifier._channels)
    began_s = time.monotonic()
    notifier.close()

    assert time.monotonic() - began_s < 5
    assert [(one.tries, one.error) for one in outbox.undelivered(ledger)] == [(0, None), (0, None)]

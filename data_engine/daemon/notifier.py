"""Sends what waits in the outbox: one thread that looks when something is due, and one for each channel in use.

Each recipient has a channel of its own, a process with a limit for each answer that ends with whoever has started it, so that one that
hangs or refuses holds up its own messages and no others. What was sent is recorded before anything else is tried with it. And a
message to try whether people are reached.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from data_engine.answering_process import AnsweringProcess, NoAnswer
from data_engine.errors import FlowValidationError, LedgerError, NotSentError
from data_engine.formatting import cli_line
from data_engine.ledger import outbox
from data_engine.ledger.ledger import Ledger
from data_engine.ledger.outbox import Delivery, MessageBody
from data_engine.message import Message, Notice, message
from data_engine.record import Record, frozen
from data_engine.workspace.layout import without_kernel
from data_engine.workspace.secret_store import PREFIX, variable_of

START_LIMIT_S = 60.0
"""For a keyring that asks its user, and a machine that is busy."""

SEND_LIMIT_S = 30.0
"""Longer than what the process waits for a server."""


class Channel:
    """A way to whom the secret `to` leads, until it is closed; another thread may `end` it at any time.

    Raises:
        NotSentError: there is no such secret, its address cannot be used, or Apprise is not installed.
    """

    def __init__(self, to: str, *, start_limit_s: float = START_LIMIT_S, send_limit_s: float = SEND_LIMIT_S) -> None:
        self.to = to
        self._send_limit_s = send_limit_s
        self.is_open = True
        self._where = f"the secret {to!r}"
        try:
            self._process = AnsweringProcess(
                "data_engine.daemon.notify_process:main", str(os.getpid()), environment=_environment(to)
            )  # what it writes to standard error goes nowhere: it may hold what no log may
        except OSError as error:
            raise NotSentError(
                f"no process that sends could be started: {error.strerror}", where=self._where
            ) from error
        try:
            reply = self._ask({"to": to}, start_limit_s)
            if "service" not in reply:
                raise NotSentError(
                    str(reply.get("what")), where=reply.get("where") or self._where, fix=reply.get("fix")
                )
        except BaseException:
            self.close()
            raise
        self.service = str(reply["service"])

    def send(self, message_id: str, body: MessageBody) -> None:
        """Send one message; returns when the other side has taken it.

        Raises:
            NotSentError: it was not, or nobody knows.
        """
        message = {
            "id": message_id,
            "kind": body.kind,
            "subject": body.subject,
            "text": body.text,
            "html": body.html,
            "has_it": list(body.has_it),
            "attachment": body.attachment,
        }
        has_it: list[str] = []
        try:
            reply = self._ask(message, self._send_limit_s)
            while "has_it" in reply:  # one after the other, each within the limit
                has_it.append(str(reply["has_it"]))
                reply = self._reply(lambda: self._process.receive(self._send_limit_s))
            if reply.get("error") is not None:
                raise NotSentError(str(reply["error"]), where=self._where, fix=try_it(self.to))
        except NotSentError as error:
            error.has_it = tuple(has_it)
            raise

    def end(self) -> None:
        """End the process now: whatever it was asked for is not known to be done."""
        self._process.end()

    def close(self) -> None:
        """End the process: nothing was asked of it that it has not answered, or it does not answer."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        return self._reply(lambda: self._process.ask(json.dumps(request).encode(), limit_s))

    def _reply(self, wait: Callable[[], bytes]) -> dict[str, Any]:
        try:
            reply = json.loads(wait())
        except NoAnswer as ended:
            self.is_open = False
            raise NotSentError(str(ended), where=self._where, fix=try_it(self.to)) from None
        return reply if isinstance(reply, dict) else {}


def try_it(to: str) -> str:
    """The command that tries a recipient."""
    return cli_line("alert", "test", to)


def _environment(to: str) -> dict[str, str]:
    """This process's environment without the secrets of others."""
    return {
        name: value
        for name, value in without_kernel(os.environ).items()
        if not name.startswith(PREFIX) or name == variable_of(to)
    }


# -- a message to try whether people are reached ---------------------------------------------------------------------------

_AT_ONCE = 4


@frozen
class Tried(Record):
    """The outcome of a message to one recipient; `what` and `fix` say why it was not sent. `service` is what its address leads to."""

    to: str = ""
    sent: bool = False
    service: str | None = None
    what: str | None = None
    fix: str | None = None
    took_s: float = 0.0


def trial_message(sender: str, to: Sequence[str]) -> Message:
    """The test message; `sender` says where it is from."""
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


def try_all(trial: Message, open_channel: Callable[[str], Channel] = Channel) -> list[Tried]:
    """Send the message to all its recipients, each by itself; in their order."""

    def send(to: str) -> Tried:
        began_s = time.monotonic()
        service = None
        try:
            with open_channel(to) as channel:
                service = channel.service
                channel.send(trial.id, MessageBody(trial.kind, trial.subject, trial.text, trial.html))
        except FlowValidationError as error:
            another = f"check the server, and the address: `{cli_line('secret', 'set', to)}` sets another address"
            fix = another if error.fix == try_it(to) else error.fix  # which is what is done here
            return Tried(to, False, service, error.what, fix, time.monotonic() - began_s)
        return Tried(to, True, service, took_s=time.monotonic() - began_s)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(send, trial.to))


def look_at(to: str, open_channel: Callable[[str], Channel] = Channel) -> str:
    """What the recipient's address leads to, such as "E-Mail"; nothing is sent.

    Raises:
        NotSentError: there is no such secret, its address cannot be used, or Apprise is not installed.
    """
    with open_channel(to) as channel:
        return channel.service


NOT_NAMED = "it is not named any more"
"""Why a message to a recipient is given up whom the settings and flows do not name."""

_LOOK_EVERY_S = 30.0
"""A clock may be set, and a machine may sleep."""

_AGAIN_S = 5.0
_END_WITHIN_S = 5.0
_ENDED_WITHIN_S = 2.0

log = logging.getLogger(__name__)


class Notifier:
    """Tries each delivery of the outbox until it is sent or given up. `changed` is called, on a thread of its own, when one ended."""

    def __init__(
        self,
        ledger: Ledger,
        changed: Callable[[], object],
        *,
        open_channel: Callable[[str], Channel] = Channel,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._ledger, self._changed = ledger, changed
        self._open_channel, self._now = open_channel, now
        self.recipients: Callable[[], Collection[str] | None] = lambda: None
        """The recipients of today; None where they are not known just now."""
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._looker: threading.Thread | None = None
        self._senders: dict[str, threading.Thread] = {}
        self._channels: dict[str, Channel] = {}
        self.is_waiting = False
        """Whether something in the outbox is still to be tried."""

    def start(self) -> None:
        """Begin to look."""
        self._looker = threading.Thread(target=self._look_again_and_again, name="notifier", daemon=True)
        self._looker.start()

    def wake(self) -> None:
        """Look at the outbox now."""
        self._awake.set()

    def close(self) -> None:
        """Begin nothing more; what is being sent may take some seconds more, and is tried again by the next daemon where it needs more."""
        self._closing.set()
        self._awake.set()
        self._wait_for_threads(_END_WITHIN_S)
        for channel in list(self._channels.values()):
            channel.end()
        self._wait_for_threads(_ENDED_WITHIN_S)

    def _wait_for_threads(self, timeout_s: float) -> None:
        until_s = time.monotonic() + timeout_s
        if self._looker is not None:  # first: it begins with others
            self._looker.join(timeout_s)
        for thread in list(self._senders.values()):
            with suppress(RuntimeError):  # it is just about to begin
                thread.join(max(0.0, until_s - time.monotonic()))

    def _look_again_and_again(self) -> None:
        while not self._closing.is_set():
            try:
                wait_s = self._look()
            except LedgerError as error:
                log.warning("messages wait: %s", error)
                wait_s = _AGAIN_S
            except Exception:  # whatever it is: without this thread nobody would be told of anything any more
                log.exception("messages wait")
                wait_s = _AGAIN_S
            self._awake.wait(wait_s)
            self._awake.clear()

    def _look(self) -> float:
        """Begin what is due; the seconds until the next look."""
        now_s = self._now()
        self._give_up_whom_nobody_names(now_s)
        due: dict[str, list[Delivery]] = {}
        for delivery in outbox.due(self._ledger, now_s):
            due.setdefault(delivery.to, []).append(delivery)
        for to, deliveries in due.items():
            if to not in self._senders:
                self._begin(to, deliveries)
        next_s = outbox.next_due_s(self._ledger, now_s)
        self.is_waiting = bool(due) or next_s is not None
        if next_s is None:  # the end of a channel wakes
            return _LOOK_EVERY_S
        return min(_LOOK_EVERY_S, max(0.01, next_s - now_s))

    def _give_up_whom_nobody_names(self, now_s: float) -> None:
        """Give up the messages to recipients whom people have taken out of the settings since."""
        waiting = outbox.tried(self._ledger)
        recipients = self.recipients() if waiting else None
        if recipients is None:
            return
        for to in sorted(waiting - set(recipients)):
            count = outbox.give_up(
                self._ledger, to, now_s, f"{NOT_NAMED}: neither by [alerts] to nor by a flow's .alert(to=...)"
            )
            if count:
                log.warning("%d messages to %s are given up: %s", count, to, NOT_NAMED)
                with suppress(RuntimeError):  # the loop of the daemon has ended
                    self._changed()

    def _begin(self, to: str, deliveries: Sequence[Delivery]) -> None:
        thread = threading.Thread(target=self._use, args=(to, deliveries), name=f"notifier of {to}", daemon=True)
        self._senders[to] = thread
        try:
            thread.start()
        except BaseException:  # the system gives no thread now
            del self._senders[to]
            raise

    def _use(self, to: str, deliveries: Sequence[Delivery]) -> None:
        try:
            self._deliver(to, deliveries)
        except Exception as error:
            log.exception("messages to %s failed", to)
            self._record_failure(deliveries, NotSentError(f"{type(error).__name__}: {error}"))
        finally:
            del self._senders[to]
            self._awake.set()
            with suppress(RuntimeError):  # the loop of the daemon has ended
                self._changed()

    def _deliver(self, to: str, deliveries: Sequence[Delivery]) -> None:
        try:
            channel = self._open_channel(to)
        except FlowValidationError as error:
            self._record_failure(deliveries, error)
            return
        self._channels[to] = channel
        try:
            self._send_all(channel, deliveries)
        finally:
            del self._channels[to]
            channel.close()

    def _send_all(self, channel: Channel, deliveries: Sequence[Delivery]) -> None:
        """Send one after the other; where the first is not taken, the others are not tried."""
        has_worked = False
        for number, delivery in enumerate(deliveries):
            if self._closing.is_set():
                return
            body = outbox.body(self._ledger, delivery.message_id, delivery.to)
            try:
                if body is None:
                    raise NotSentError("its text is gone")
                channel.send(delivery.message_id, body)
            except NotSentError as error:
                if self._closing.is_set() and not channel.is_open and not error.has_it:
                    return  # ended from here
                if not has_worked:
                    self._record_failure(deliveries[number:], error)
                    return
                self._record_failure([delivery], error)
                if not channel.is_open:
                    return
            else:
                has_worked = True
                self._record_success(delivery)

    def _record_success(self, delivery: Delivery) -> None:
        at_s = self._now()
        self._record(lambda: outbox.sent(self._ledger, delivery.message_id, delivery.to, at_s))
        log.info("message %s was sent to %s", delivery.message_id, delivery.to)

    def _record_failure(self, deliveries: Sequence[Delivery], error: FlowValidationError) -> None:
        """Record that the first did not arrive, so that the others of the same recipient were not tried."""
        at_s, why = self._now(), "; ".join(filter(None, (error.what, error.fix)))
        ids, to = [delivery.message_id for delivery in deliveries], deliveries[0].to
        has_it = error.has_it if isinstance(error, NotSentError) else ()
        self._record(lambda: outbox.failed(self._ledger, ids, to, at_s, why, has_it))
        log.warning("message %s was not sent to %s: %s", deliveries[0].message_id, deliveries[0].to, why)

    def _record(self, write: Callable[[], None]) -> None:
        """Write, and try again until it succeeds: what was sent must not be sent again."""
        while True:
            try:
                write()
            except LedgerError as error:
                log.warning("what became of a message cannot be recorded: %s", error)
                if self._closing.wait(_AGAIN_S):
                    return
            else:
                return

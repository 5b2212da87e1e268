"""One address and the process that sends to it, with a limit for each answer; and a message to try whether people are reached.

The process ends with whoever has started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from data_engine.daemon.environment import import_path, without_kernel
from data_engine.errors import FlowValidationError, NotSentError
from data_engine.formatting import cli_line
from data_engine.ledger.outbox import Body
from data_engine.message import Message, Notice, message
from data_engine.platforms.processes import apart, program_of
from data_engine.record import Record, frozen
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
        self._is_late = False
        self.is_open = True
        self._where = f"the secret {to!r}"
        program, environment = program_of(sys.executable, _environment(to))
        try:
            self._child = subprocess.Popen(
                [program, "-P", "-m", "data_engine.daemon.notify_process", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it may hold what no log may
                env=environment,
                **apart(),
            )
        except OSError as error:
            raise NotSentError(
                f"no process that sends could be started: {error.strerror}", where=self._where
            ) from error
        try:
            told = self._ask({"to": to}, start_limit_s)
            if "service" not in told:
                raise NotSentError(str(told.get("what")), where=told.get("where") or self._where, fix=told.get("fix"))
        except BaseException:
            self.close()
            raise
        self.service = str(told["service"])

    def send(self, message_id: str, body: Body) -> None:
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
        }
        has_it: list[str] = []
        try:
            told = self._ask(message, self._send_limit_s)
            while "has_it" in told:  # one after the other, each within the limit
                has_it.append(str(told["has_it"]))
                with self._within(self._send_limit_s):
                    told = self._answer(self._send_limit_s)
            if told.get("error") is not None:
                raise NotSentError(str(told["error"]), where=self._where, fix=try_it(self.to))
        except NotSentError as error:
            error.has_it = tuple(has_it)
            raise

    def end(self) -> None:
        """End the process now: whatever it was asked for is not known to be done."""
        self._child.kill()

    def close(self) -> None:
        """End the process: nothing was asked of it that it has not answered, or it does not answer."""
        with suppress(OSError):
            assert self._child.stdin is not None
            self._child.stdin.close()
        self._child.kill()
        with self._child:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, told: Mapping[str, Any], limit_s: float) -> dict[str, Any]:
        with self._within(limit_s):
            assert self._child.stdin is not None
            with suppress(OSError):  # it has ended, which its answer tells
                self._child.stdin.write(json.dumps(told).encode() + b"\n")
                self._child.stdin.flush()
            return self._answer(limit_s)

    @contextmanager
    def _within(self, limit_s: float) -> Iterator[None]:
        """Inside, the process is ended when it takes longer: also one that does not read what it is told."""
        timer = threading.Timer(limit_s, self._give_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _answer(self, limit_s: float) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if line.endswith(b"\n"):
            answer = json.loads(line)
            return answer if isinstance(answer, dict) else {}
        self.is_open = False
        self._child.kill()
        what = f"no answer within {limit_s:g} s" if self._is_late else f"its process ended ({self._child.wait()})"
        raise NotSentError(what, where=self._where, fix=try_it(self.to))

    def _give_up(self) -> None:
        self._is_late = True
        self._child.kill()


def try_it(to: str) -> str:
    """What a person types to try a recipient."""
    return cli_line("alert", "test", to)


def _environment(to: str) -> dict[str, str]:
    """This process's environment without the secrets of others."""
    kept = {
        name: value
        for name, value in without_kernel(os.environ).items()
        if not name.startswith(PREFIX) or name == variable_of(to)
    }
    return kept | import_path(kept)


# -- a message to try whether people are reached ---------------------------------------------------------------------------

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
            another = f"check the server, and the address: `{cli_line('secret', 'set', to)}` sets another address"
            fix = another if error.fix == try_it(to) else error.fix  # which is what is done here
            return Tried(to, False, service, error.what, fix, time.monotonic() - began_s)
        return Tried(to, True, service, took_s=time.monotonic() - began_s)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(send, told.to))


def look_at(to: str, open_channel: Callable[[str], Channel] = Channel) -> str:
    """What the recipient's address leads to, such as "E-Mail"; nothing is sent.

    Raises:
        NotSentError: there is no such secret, its address cannot be used, or Apprise is not installed.
    """
    with open_channel(to) as channel:
        return channel.service
